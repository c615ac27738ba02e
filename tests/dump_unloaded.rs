//! A dump of a program that unloads a library meanwhile.
#![cfg(all(
    green_backend = "asm",
    feature = "backtrace",
    target_os = "linux",
    target_env = "gnu",
    not(any(miri, green_emulated, green_sanitized))
))]

mod help;

use std::ffi::{CString, c_void};
use std::path::PathBuf;
use std::process::Command;

/// A library in which a thread may wait: it calls what it is given.
const LIBRARY: &str = r#"
    #![no_std]
    #[panic_handler]
    fn never(_: &core::panic::PanicInfo<'_>) -> ! { loop {} }
    #[unsafe(no_mangle)]
    extern "C" fn calls(called: extern "C" fn()) -> u32 { called(); core::hint::black_box(5) }
"#;

fn built() -> PathBuf {
    let path = |end: &str| std::env::temp_dir().join(format!("green-unloaded-{}.{end}", std::process::id()));
    std::fs::write(path("rs"), LIBRARY).unwrap();
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--edition=2024", "--crate-name=unloaded", "--crate-type=cdylib", "-Cpanic=abort"]);
    rustc.arg("-Cforce-unwind-tables=yes").arg("-o").arg(path("so")).arg(path("rs"));
    let output = rustc.output().expect("a compiler has built this");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_file(path("rs")).unwrap();
    path("so")
}

extern "C" fn waits() {
    green::thread::park();
}

type Calls = extern "C" fn(extern "C" fn()) -> u32;

#[derive(Clone, Copy)]
struct Library(*mut c_void);

// SAFETY: a handle is any thread's.
unsafe impl Send for Library {}

impl Library {
    fn load(path: &CString) -> Self {
        // SAFETY: its initialisers do nothing.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
        assert!(!handle.is_null());
        Self(handle)
    }

    fn calls(self) -> Calls {
        // SAFETY: it is loaded, and its function is of this type.
        unsafe { std::mem::transmute::<*mut c_void, Calls>(libc::dlsym(self.0, c"calls".as_ptr())) }
    }

    fn unload(self) {
        // SAFETY: nobody is in it.
        assert_eq!(unsafe { libc::dlclose(self.0) }, 0);
    }
}

/// The dump has copied the stacks of some threads and walks them one by one: one has left the library before its turn comes, and the program unloads that.
#[test]
fn a_dump_read_the_tables_of_a_library_that_was_unloaded_meanwhile() {
    let in_child = || {
        let path = built();
        let name = CString::new(path.to_str().unwrap()).unwrap();
        let runtime = help::runtime(1);
        let spawn_others = || [(); 5].map(|()| runtime.spawn(green::thread::park));
        let first_half = spawn_others();
        let mut library = Library::load(&name);
        let inside = runtime.spawn(move || library.calls()(waits));
        let second_half = spawn_others();
        let others = || first_half.iter().chain(&second_half);
        others().for_each(|thread| help::until_parked(thread.thread(), "park"));
        help::until_parked(inside.thread(), "park");
        // Where it is loaded, the stack of who waits in it is known to its end.
        let mut frames = Vec::new();
        green::dump::for_each(|thread| {
            if thread.id() == inside.thread().id() {
                frames = thread.frames().to_vec();
            }
            Ok(())
        })
        .unwrap();
        assert!(frames.len() > 5, "{frames:x?}");
        let id = inside.thread().id();
        let (mut left, mut shown) = (Some(inside), false);
        green::dump::for_each(|thread| {
            if thread.id() == id {
                shown = true;
                // It is met first: the library is still there.
                assert!(left.is_none(), "{thread:?}");
            } else if let Some(inside) = left.take() {
                inside.thread().unpark();
                assert_eq!(inside.join().unwrap(), 5);
                library.unload();
                library = Library(std::ptr::null_mut());
            }
            Ok(())
        })
        .unwrap();
        assert!(shown && library.0.is_null());
        others().for_each(|thread| thread.thread().unpark());
        std::fs::remove_file(path).unwrap();
    };
    help::in_a_child(&[], in_child).assert_success();
}
