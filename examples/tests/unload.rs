//! A library with green in it (`plugin.rs`) is loaded, used, and unloaded: what it has left in the process goes on working.
#![cfg(target_os = "linux")]
#![cfg(not(any(miri, target_env = "musl")))]
#![allow(missing_docs)]

#[path = "../../tests/help/mod.rs"]
mod help;

use std::ffi::{CString, c_void};
use std::os::unix::ffi::OsStrExt;

use help::{in_a_child, library};

/// Loads the library, has it used on an OS thread of its own, which ends, and unloads it.
fn load_use_and_unload(name: &str, using: unsafe fn(*mut c_void)) {
    let path = CString::new(library("plugin").as_os_str().as_bytes()).unwrap();
    // SAFETY: the library is what `plugin.rs` says; the function is in it, and is not used when it is closed.
    unsafe {
        let library = libc::dlopen(path.as_ptr(), libc::RTLD_NOW);
        assert!(!library.is_null(), "{path:?} can be loaded");
        let function = libc::dlsym(library, CString::new(name).unwrap().as_ptr());
        assert!(!function.is_null(), "{name} is in the library");
        let function = function.expose_provenance();
        std::thread::spawn(move || using(std::ptr::with_exposed_provenance_mut(function))).join().unwrap();
        assert_eq!(libc::dlclose(library), 0);
    }
}

unsafe fn sum(function: *mut c_void) {
    // SAFETY: `plugin_sum` has this type.
    let sum = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(u64) -> u64>(function) };
    assert_eq!(sum(100), 4950);
}

unsafe fn watch(function: *mut c_void) {
    // SAFETY: `plugin_watch_ctrl_c` has this type.
    let watch = unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> bool>(function) };
    assert!(watch());
}

extern "C" fn exit_42(_: i32) {
    // SAFETY: `_exit` may be called in a handler.
    unsafe { libc::_exit(42) };
}

#[test]
fn a_fault_after_the_library_was_unloaded_reaches_the_hosts_handler() {
    let ended = in_a_child(&[], || {
        // SAFETY: the handler calls nothing but `_exit`.
        unsafe { libc::signal(libc::SIGSEGV, exit_42 as *const () as usize) };
        for _ in 0..3 {
            load_use_and_unload("plugin_sum", sum);
        }
        let null = std::hint::black_box(std::ptr::null_mut::<u8>().wrapping_add(8));
        // SAFETY: none: this is the fault that is tested.
        unsafe { null.write_volatile(1) };
    });
    assert_eq!(ended.code, Some(42), "{}", ended.output);
}

#[test]
fn a_ctrl_c_after_the_library_was_unloaded_finds_its_handler() {
    let ended = in_a_child(&[], || {
        load_use_and_unload("plugin_watch_ctrl_c", watch);
        // SAFETY: no requirements.
        unsafe { libc::raise(libc::SIGINT) };
    });
    ended.assert_success();
}

#[test]
fn the_host_goes_on_and_ends_after_the_library_was_unloaded() {
    let ended = in_a_child(&[], || {
        load_use_and_unload("plugin_sum", sum);
        // What was registered for the end of an OS thread or for a fork is called by the host's, too.
        std::thread::spawn(|| {}).join().unwrap();
        // SAFETY: the child calls nothing but `_exit`.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::_exit(7);
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
            assert_eq!(libc::WEXITSTATUS(status), 7);
        }
    });
    ended.assert_success();
}
