//! With a debugger and a C++ compiler, which `.ci/tools` installs.

use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::{CString, c_int, c_void};
use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use crate::help::in_a_child;
use crate::{many, runtime};

thread_local! {
    static NUMBER: Cell<c_int> = const { Cell::new(0) };
}

/// The debugger stops here.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn green_test_stop(number: c_int) -> c_int {
    black_box(number)
}

/// The debugger calls it.
#[unsafe(no_mangle)]
extern "C" fn green_test_number() -> c_int {
    NUMBER.get()
}

#[test]
#[ignore = "needs gdb: .ci/tools"]
fn what_a_debugger_runs() {
    black_box(green_test_number as extern "C" fn() -> c_int);
    many(3, |number| {
        let number = number as c_int + 70;
        NUMBER.set(number);
        // SAFETY: errno of the calling thread.
        unsafe { *libc::__errno_location() = number + 100 };
        green::yield_now();
        green_test_stop(number);
    });
}

#[test]
#[ignore = "needs gdb: .ci/tools"]
fn a_debugger_finds_a_threads_frames_and_its_own_thread_locals() {
    assert!(runtime().is_some());
    let mut gdb = Command::new("gdb");
    gdb.args(["-batch", "-nx", "-ex", "set language c", "-ex", "break green_test_stop", "-ex", "run"]);
    for _ in 0..3 {
        gdb.args(["-ex", "backtrace", "-ex", "info threads", "-ex", "print ((int (*)()) green_test_number)()"]);
        gdb.args(["-ex", "print *((int *(*)()) __errno_location)()"]);
        gdb.args(["-ex", "printf \"on %lx.\\n\", $fs_base", "-ex", "continue"]);
    }
    gdb.arg("--args").arg(std::env::current_exe().unwrap());
    gdb.args(["tools::what_a_debugger_runs", "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    let done = gdb.output().expect("gdb is there");
    let output = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    let stops: Vec<&str> = output.split(" hit Breakpoint 1").skip(1).collect();
    assert_eq!(stops.len(), 3, "{output}");
    // gdb 13 calls no functions where the processor has more state than it knows (AMX).
    let calls = !output.contains("Couldn't write extended state status");
    let mut blocks = HashSet::new();
    for (number, stop) in stops.into_iter().enumerate() {
        for frame in ["at tests/thread_locals/tools.rs", "at src/sched/own.rs", "_entry ("] {
            assert!(stop.contains(frame), "{frame} is not in {output}");
        }
        let number = number + 70;
        let shows = |value: usize| stop.contains(&format!("= {value}\n"));
        assert!(!calls || shows(number) && shows(number + 100), "{output}");
        let block = stop.split_once("\non ").and_then(|(_, rest)| rest.split_once(".\n"));
        assert!(
            block.is_some_and(|(block, _)| block.len() > 6 && blocks.insert(block)),
            "each has its thread pointer: {output}"
        );
        assert!(!stop.contains("corrupt") && !stop.contains("Cannot access"), "{output}");
    }
    assert!(output.contains("exited normally"), "{output}");
}

#[test]
#[ignore = "needs g++: .ci/tools"]
fn cpp_exceptions_are_the_threads_own() {
    extern "C" fn yields() {
        green::yield_now();
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/thread_locals/exceptions.cpp");
    let library = std::env::temp_dir().join(format!("green-exceptions-{}.so", std::process::id()));
    let mut compiler = Command::new(option_env!("GREEN_TEST_CXX").unwrap_or("g++"));
    let built = compiler.args(["-std=c++17", "-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
    assert!(built.expect("g++ is there").success());
    let name = CString::new(library.to_str().unwrap()).unwrap();
    // SAFETY: the library is the one above, with these two functions.
    let (throws_and_catches, how_many_destroyed) = unsafe {
        let library = libc::dlopen(name.as_ptr(), libc::RTLD_NOW);
        assert!(!library.is_null());
        (
            std::mem::transmute::<*mut c_void, extern "C" fn(c_int, extern "C" fn()) -> bool>(libc::dlsym(
                library,
                c"throws_and_catches".as_ptr(),
            )),
            std::mem::transmute::<*mut c_void, extern "C" fn() -> c_int>(libc::dlsym(
                library,
                c"how_many_destroyed".as_ptr(),
            )),
        )
    };
    std::fs::remove_file(library).unwrap();
    for round in 1..=3 {
        many(50, |number| assert!(throws_and_catches(number as c_int, yields)));
        assert_eq!(how_many_destroyed(), 50 * round);
    }
}

/// A library with a thread-local `a`, 5 at first, and `int get()`, which counts it up.
fn library_of(name: &str) -> CString {
    let path = std::env::temp_dir().join(format!("green-{name}-{}.so", std::process::id()));
    let source = path.with_extension("c");
    let text = "__thread int a __attribute__((tls_model(\"initial-exec\"))) = 5;\nint get(void) { return a++; }\n";
    std::fs::write(&source, text).unwrap();
    let mut compiler = Command::new(option_env!("GREEN_TEST_CXX").unwrap_or("g++"));
    let built = compiler.args(["-xc", "-O1", "-shared", "-fPIC", "-o"]).arg(&path).arg(&source).status();
    assert!(built.expect("g++ is there").success());
    std::fs::remove_file(source).unwrap();
    CString::new(path.to_str().unwrap()).unwrap()
}

fn open(name: &std::ffi::CStr) -> *mut c_void {
    // SAFETY: a library as above, without initialisers.
    let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
    assert!(!library.is_null(), "{name:?}");
    library
}

#[test]
#[ignore = "needs g++: .ci/tools"]
fn a_library_that_is_loaded_late_has_its_first_values_in_each_thread_that_starts_later() {
    let ended = in_a_child(&[], || {
        let name = library_of("late");
        let runtime = runtime().unwrap();
        // So that there are blocks that were used before.
        runtime.run(|| (0..3).for_each(|_| green::spawn(|| ()).join().unwrap()));
        let library = open(&name);
        // SAFETY: the function of the library.
        let get = unsafe {
            std::mem::transmute::<*mut c_void, extern "C" fn() -> c_int>(libc::dlsym(library, c"get".as_ptr()))
        };
        for _ in 0..4 {
            assert_eq!(runtime.run(move || (get(), get())), (5, 6));
        }
        std::fs::remove_file(name.to_str().unwrap()).unwrap();
    });
    ended.assert_success();
}

#[test]
#[ignore = "needs g++: .ci/tools"]
fn a_library_may_be_unloaded_when_another_came_after_it() {
    let ended = in_a_child(&[], || {
        let (first, second) = (library_of("first"), library_of("second"));
        let library = open(&first);
        open(&second);
        // From a thread that has the thread-locals of both.
        let runtime = std::thread::spawn(runtime).join().unwrap().unwrap();
        let some = || runtime.run(|| (0..3).for_each(|_| green::spawn(|| ()).join().unwrap()));
        some();
        // SAFETY: nothing of it is in use.
        assert_eq!(unsafe { libc::dlclose(library) }, 0);
        some();
        [first, second].iter().for_each(|name| std::fs::remove_file(name.to_str().unwrap()).unwrap());
    });
    ended.assert_success();
}
