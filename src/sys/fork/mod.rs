//! Children of fork(2): which process are we?

mod once;
mod per_process;

pub(crate) use once::ForkSafeOnce;
pub(crate) use per_process::PerProcess;

use std::io;

use crate::base::atomic::{AtomicU32, Ordering};

/// How many forks lie between the first process of the program and this one.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// What a child is told that uses what is its parent's.
pub(crate) const MESSAGE: &str = "this process is a child of fork, and the threads of the green runtime are its parent's, \
     they do not run here: exec, exit, or make a Runtime of its own";

/// The number of this process among those that have forked one another. What was made under another number is a parent's.
pub(crate) fn generation() -> u32 {
    // ORDERING: Relaxed: the forking thread changes it before anything else runs in the child.
    GENERATION.load(Ordering::Relaxed)
}

/// The child begins.
pub(crate) fn begin_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// What a function that may fail says.
pub(crate) fn error() -> io::Error {
    io::Error::other(MESSAGE)
}

/// Has each thread that forks call `before`, and `parent` or `child` afterwards, in the child before anything else.
pub(crate) fn at_each_fork(
    before: unsafe extern "C" fn(),
    parent: unsafe extern "C" fn(),
    child: unsafe extern "C" fn(),
) {
    #[cfg(not(miri))]
    crate::sys::library::pin();
    #[cfg(not(miri))]
    // SAFETY: functions that live as long as the code. An error (no memory) leaves children without them.
    unsafe {
        libc::pthread_atfork(Some(before), Some(parent), Some(child));
    }
    #[cfg(miri)]
    let _ = (before, parent, child);
}
