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
