//! Libraries in C and C++ that are loaded late, with thread-locals of each model. They need g++, which `.ci/tools` installs, and `.ci/cross`, which says in
//! `GREEN_TEST_CXX` what compiles for this architecture.

use std::ffi::{CString, c_int, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::RwLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::help::in_a_child;
use crate::{many, runtime};

/// How code finds thread-locals.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Model {
    /// It asks libc for the address, with the number of the library: x86_64's default.
    General,
    /// It calls what the loader has put where the library describes the variable: aarch64's default.
    Descriptors,
    /// They are at a fixed distance from the thread pointer, in the room that libc has left for them.
    Initial,
}

const MODELS: [Model; 3] = [Model::General, Model::Descriptors, Model::Initial];

impl Model {
    fn flag(self) -> &'static str {
        match self {
            Self::General if cfg!(target_arch = "x86_64") => "-mtls-dialect=gnu",
            Self::General => "-mtls-dialect=trad",
            Self::Descriptors if cfg!(target_arch = "x86_64") => "-mtls-dialect=gnu2",
            Self::Descriptors => "-mtls-dialect=desc",
            Self::Initial => "-ftls-model=initial-exec",
        }
    }

    /// What the loader has to do for it, by the names of both architectures.
    fn relocations(self) -> &'static [&'static str] {
        match self {
            Self::General => &["DTPMOD"],
            Self::Descriptors => &["TLSDESC"],
            Self::Initial => &["_TPOFF", "_TPREL"],
        }
    }
}

/// A file that goes when it is not used any more.
#[derive(Debug)]
struct Library(PathBuf);

impl Drop for Library {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

impl Library {
    fn new(source: &str, flags: &[&str]) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/thread_locals").join(source);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("green-library-{}-{number}.so", std::process::id()));
        let mut compiler = Command::new(std::env::var("GREEN_TEST_CXX").as_deref().unwrap_or("g++"));
        let built = compiler.args(["-O1", "-shared", "-fPIC"]).args(flags).arg("-o").arg(&path).arg(source).status();
        assert!(built.expect("g++ is there").success());
        Self(path)
    }

    /// One with few thread-locals of such a model: libc has room for them beside those of the program.
    fn of(model: Model) -> Self {
        Self::with(model, 100, 16)
    }

    /// One with thread-locals of such a model, `room` bytes of them and some more, that are aligned so.
    fn with(model: Model, room: usize, align: usize) -> Self {
        let library =
            Self::new("first_values.c", &["-xc", model.flag(), &format!("-DROOM={room}"), &format!("-DALIGN={align}")]);
        let read = Command::new("readelf").args(["-rW"]).arg(&library.0).output().expect("readelf comes with g++");
        let relocations = String::from_utf8_lossy(&read.stdout);
        let has = |model: Model| model.relocations().iter().any(|name| relocations.contains(name));
        MODELS.into_iter().for_each(|other| assert_eq!(has(other), other == model, "{relocations}"));
        library
    }

    fn load(&self) -> Loaded {
        let name = CString::new(self.0.to_str().unwrap()).unwrap();
        // SAFETY: its initialisers do nothing.
        let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
        assert!(!handle.is_null(), "{self:?}");
        Loaded(handle)
    }
}

#[derive(Debug)]
struct Loaded(*mut c_void);

// SAFETY: a handle is any thread's.
unsafe impl Send for Loaded {}
// SAFETY: as above.
unsafe impl Sync for Loaded {}

impl Loaded {
    fn address(&self, name: &std::ffi::CStr) -> *mut c_void {
        // SAFETY: the handle is one.
        let address = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        assert!(!address.is_null(), "{name:?}");
        address
    }

    fn are_as_at_first(&self) -> bool {
        // SAFETY: the function of that name in `first_values.c`.
        let call =
            unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> c_int>(self.address(c"are_as_at_first")) };
        call() != 0
    }

    fn set(&self, number: c_int) {
        // SAFETY: as above.
        let call = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(c_int)>(self.address(c"set")) };
        call(number);
    }

    fn are_as_set(&self, number: c_int) -> bool {
        // SAFETY: as above.
        let call =
            unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(c_int) -> c_int>(self.address(c"are_as_set")) };
        call(number) != 0
    }

    /// The calling thread, which has not been here, finds first values, and then its own while others set theirs.
    #[track_caller]
    fn are_the_threads_own(&self, number: usize) {
        let number = number as c_int + 1;
        assert!(self.are_as_at_first(), "thread {number}");
        self.set(number);
        for _ in 0..3 {
            green::yield_now();
            assert!(self.are_as_set(number), "thread {number}");
        }
    }

    fn unload(self) {
        // SAFETY: nobody uses it: the caller has it.
        assert_eq!(unsafe { libc::dlclose(self.0) }, 0);
    }
}

#[test]
#[ignore = "needs g++: .ci/tools"]
fn cpp_exceptions_are_the_threads_own() {
    extern "C" fn yields() {
        green::yield_now();
    }
    let library = Library::new("exceptions.cpp", &["-std=c++17"]).load();
    // SAFETY: the library has these two functions.
    let (throws_and_catches, how_many_destroyed) = unsafe {
        (
            std::mem::transmute::<*mut c_void, extern "C" fn(c_int, extern "C" fn()) -> bool>(
                library.address(c"throws_and_catches"),
            ),
            std::mem::transmute::<*mut c_void, extern "C" fn() -> c_int>(library.address(c"how_many_destroyed")),
        )
    };
    for round in 1..=3 {
        many(50, |number| assert!(throws_and_catches(number as c_int, yields)));
        assert_eq!(how_many_destroyed(), 50 * round);
    }
}

#[test]
#[ignore = "needs g++: .ci/tools"]
fn a_library_that_is_loaded_late_has_its_first_values_in_each_thread_that_starts_later() {
    let ended = in_a_child(&[], || {
        for model in MODELS {
            let runtime = runtime().unwrap();
            let fifty = |f: &(dyn Fn(usize) + Sync)| {
                runtime.run(|| green::scope(|scope| (0..50).for_each(|number| drop(scope.spawn(move || f(number))))));
            };
            // So that there are blocks that were used before.
            fifty(&|_| green::yield_now());
            let library = Library::of(model).load();
            for _ in 0..3 {
                fifty(&|number| library.are_the_threads_own(number));
            }
        }
    });
    ended.assert_success();
}

/// Their thread-locals are more than libc keeps room for, so that they are made for each thread when it first touches them.
#[test]
#[ignore = "needs g++: .ci/tools"]
fn a_library_with_many_thread_locals_that_comes_and_goes_and_comes_again_has_its_first_values_in_threads_that_live() {
    let ended = in_a_child(&[], || {
        for model in [Model::General, Model::Descriptors] {
            let library = Library::with(model, 20_000, 64);
            let loaded = RwLock::new(None::<Loaded>);
            let barrier = green::sync::Barrier::new(51);
            let runtime = runtime().unwrap();
            let live = |number| {
                for _ in 0..2 {
                    barrier.wait();
                    loaded.read().unwrap().as_ref().unwrap().are_the_threads_own(number);
                    barrier.wait();
                }
            };
            runtime.run(|| {
                green::scope(|scope| {
                    let live = &live;
                    (0..50).for_each(|number| drop(scope.spawn(move || live(number))));
                    for _ in 0..2 {
                        *loaded.write().unwrap() = Some(library.load());
                        barrier.wait();
                        barrier.wait();
                        loaded.write().unwrap().take().unwrap().unload();
                    }
                });
            });
        }
    });
    ended.assert_success();
}

#[test]
#[ignore = "needs g++: .ci/tools"]
fn a_library_may_be_unloaded_when_another_came_after_it() {
    let ended = in_a_child(&[], || {
        let (first, second) = (Library::of(Model::Initial), Library::of(Model::Initial));
        let library = first.load();
        second.load();
        // From a thread that has the thread-locals of both.
        let runtime = std::thread::spawn(runtime).join().unwrap().unwrap();
        let some = || runtime.run(|| (0..3).for_each(|_| green::spawn(|| ()).join().unwrap()));
        some();
        library.unload();
        some();
    });
    ended.assert_success();
}
