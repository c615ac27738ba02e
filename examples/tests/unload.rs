//! A library with green in it (`plugin.rs`) is loaded, used, and unloaded: what it has left in the process goes on working.
#![cfg(target_os = "linux")]
#![cfg(not(any(miri, target_env = "musl")))]
#![allow(missing_docs)]

#[path = "../../tests/help/mod.rs"]
mod help;

use std::cell::RefCell;
use std::ffi::{CString, c_void};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicI32, Ordering};

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

#[test]
fn a_recursive_mutex_of_the_program_keeps_the_librarys_green_threads_out() {
    let builder = green::Runtime::builder().workers(1).thread_locals(green::ThreadLocals::PerThread);
    let Ok(runtime) = builder.build() else { return };
    let path = CString::new(library("plugin").as_os_str().as_bytes()).unwrap();
    // SAFETY: the library is what `plugin.rs` says, and stays; the mutex is made before it is used, and stays in its place.
    let said = runtime.run(|| unsafe {
        let library = libc::dlopen(path.as_ptr(), libc::RTLD_NOW);
        let try_lock = libc::dlsym(library, c"plugin_try_lock".as_ptr());
        assert!(!try_lock.is_null());
        let try_lock = std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void) -> i32>(try_lock);
        let (mut attributes, mut mutex) = (std::mem::zeroed(), libc::PTHREAD_MUTEX_INITIALIZER);
        libc::pthread_mutexattr_init(&raw mut attributes);
        libc::pthread_mutexattr_settype(&raw mut attributes, libc::PTHREAD_MUTEX_RECURSIVE);
        libc::pthread_mutex_init(&raw mut mutex, &raw const attributes);
        // The lowest numbers of both copies are tried.
        let said: Vec<i32> = green::scope(|scope| {
            let mutex = (&raw mut mutex).expose_provenance();
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(move || {
                        let mutex: *mut libc::pthread_mutex_t = std::ptr::with_exposed_provenance_mut(mutex);
                        assert_eq!(libc::pthread_mutex_lock(mutex), 0);
                        let said = try_lock(mutex.cast());
                        assert_eq!(libc::pthread_mutex_unlock(mutex), 0);
                        said
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        said
    });
    assert_eq!(said, [libc::EBUSY; 3]);
}

/// A result that is dropped when its thread's thread-locals have been destroyed finds them again, those of the library, too.
#[test]
fn a_librarys_thread_locals_have_a_second_life_as_well() {
    type Count = extern "C" fn() -> i32;
    static COUNTED: AtomicI32 = AtomicI32::new(0);
    struct Counts(Count);
    impl Drop for Counts {
        fn drop(&mut self) {
            COUNTED.store((self.0)(), Ordering::SeqCst);
        }
    }
    /// Opens the first, waits for the second.
    struct Waits(help::Gate, help::Gate);
    impl Drop for Waits {
        fn drop(&mut self) {
            self.0.open();
            self.1.wait();
        }
    }
    thread_local!(static WAITS: RefCell<Option<Waits>> = const { RefCell::new(None) });
    let builder = green::Runtime::builder().workers(1).thread_locals(green::ThreadLocals::PerThread);
    let Ok(runtime) = builder.build() else { return };
    let path = CString::new(library("plugin").as_os_str().as_bytes()).unwrap();
    // SAFETY: the library is what `plugin.rs` says, and stays; `plugin_count` has this type.
    let count = unsafe {
        let library = libc::dlopen(path.as_ptr(), libc::RTLD_NOW);
        let count = libc::dlsym(library, c"plugin_count".as_ptr());
        assert!(!count.is_null());
        std::mem::transmute::<*mut c_void, Count>(count)
    };
    runtime.run(|| {
        let (reached, gate) = (help::Gate::new(), help::Gate::new());
        let waits = Waits(reached.clone(), gate.clone());
        let thread = green::spawn(move || {
            assert_eq!((count(), count()), (1, 2));
            WAITS.set(Some(waits));
            Counts(count)
        });
        reached.wait();
        drop(thread);
        gate.open();
    });
    drop(runtime);
    assert_eq!(COUNTED.load(Ordering::SeqCst), 1);
}
