//! A library with green threads inside, for programs in any language that load and unload it:
//!
//! ```sh
//! cargo build --release -p green-examples --example plugin   # target/release/examples/libplugin.so
//! ```
//!
//! The runtime is the library's own and ends with each call. The library itself stays mapped once it has been used, `dlclose`
//! or not: the process then has signal handlers that lie in it.

/// Adds the numbers below `n` up, each in a thread of its own.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_sum(n: u64) -> u64 {
    let runtime = green::Runtime::builder().workers(2).build().expect("two OS threads can be had");
    runtime.run(move || {
        let threads: Vec<_> = (0..n).map(|number| green::spawn(move || number)).collect();
        threads.into_iter().map(|thread| thread.join().expect("it does not panic")).sum()
    })
}

/// Takes ctrl-c over, from a plain OS thread and without a runtime. True: done.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_watch_ctrl_c() -> bool {
    green::timeout(std::time::Duration::ZERO, green::signal::ctrl_c).is_err()
}

/// Tries a pthread mutex, in a green thread with thread-locals of its own: what `pthread_mutex_trylock` says; -1: there are no such threads here.
///
/// # Safety
///
/// As of `pthread_mutex_trylock`.
#[cfg(target_os = "linux")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn plugin_try_lock(mutex: *mut std::ffi::c_void) -> std::ffi::c_int {
    unsafe extern "C" {
        fn pthread_mutex_trylock(mutex: *mut std::ffi::c_void) -> std::ffi::c_int;
    }
    let builder = green::Runtime::builder().workers(1).thread_locals(green::ThreadLocals::PerThread);
    let Ok(runtime) = builder.build() else { return -1 };
    let mutex = mutex.expose_provenance();
    // SAFETY: as the caller promises.
    runtime.run(move || unsafe { pthread_mutex_trylock(std::ptr::with_exposed_provenance_mut(mutex)) })
}

thread_local! {
    static CALLS: std::cell::RefCell<Vec<()>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// How often the calling thread has called this; -1: its thread-locals have been destroyed.
#[unsafe(no_mangle)]
pub extern "C" fn plugin_count() -> i32 {
    let count = |calls: &std::cell::RefCell<Vec<()>>| {
        calls.borrow_mut().push(());
        calls.borrow().len() as i32
    };
    CALLS.try_with(count).unwrap_or(-1)
}
