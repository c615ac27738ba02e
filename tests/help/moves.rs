//! What the tests of threads that move share.

use std::io;
use std::time::{Duration, Instant};

use green::{Runtime, ThreadLocals};

/// A runtime whose threads move. `None`: none is to be had here.
pub(crate) fn runtime(workers: usize) -> Option<Runtime> {
    match Runtime::builder().workers(workers).thread_locals(ThreadLocals::PerThread).build() {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{error}");
            eprintln!("not tried: {error}");
            None
        }
    }
}

/// The number of the OS thread that runs the caller.
pub(crate) fn os_thread() -> i64 {
    // SAFETY: the call has no arguments.
    unsafe { libc::syscall(libc::SYS_gettid) }
}

/// Keeps a CPU busy.
pub(crate) fn compute(d: Duration) {
    let start = Instant::now();
    while start.elapsed() < d {
        std::hint::spin_loop();
    }
}
