//! Children of fork(2): which process are we?

mod once;
mod per_process;
#[cfg(all(test, target_os = "linux", not(any(miri, green_emulated))))]
pub(crate) mod tests;

pub(crate) use once::ForkSafeOnce;
pub(crate) use per_process::PerProcess;

use std::cell::Cell;
use std::io;

use crate::base::atomic::{AtomicBool, AtomicU32, Ordering};

/// Grows at each fork, in the child.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// What a child is told that uses what is its parent's.
pub(crate) const MESSAGE: &str = "this process is a child of fork, and the threads of the green runtime are its parent's, \
     they do not run here: exec, exit, or make a Runtime of its own";

/// The number of this process among those that have forked one another. What was made under another number is a parent's.
#[inline]
pub(crate) fn generation() -> u32 {
    // ORDERING: Relaxed: the forking thread changes it before anything else runs in the child.
    GENERATION.load(Ordering::Relaxed)
}

unsafe extern "C" fn begin_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Has children know from now on that they are: before the first lock that a child would find taken. Waits for nobody, as the caller may be anywhere, in an allocator or
/// in a library's constructor: two threads that come at once both see to it, and a child then counts twice. (A library that is unloaded takes this handler with it.)
pub(crate) fn install() {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    thread_local! {
        static INSTALLS: Cell<bool> = const { Cell::new(false) };
    }
    // ORDERING(argued): Acquire pairs with the Release below: the handler is there. No model forks.
    if !INSTALLED.load(Ordering::Acquire) && !INSTALLS.replace(true) {
        #[cfg(not(miri))]
        // SAFETY: a function that lives as long as the code. An error (no memory) leaves children without it.
        unsafe {
            libc::pthread_atfork(None, None, Some(begin_child));
        }
        #[cfg(miri)]
        let _ = begin_child as unsafe extern "C" fn();
        INSTALLED.store(true, Ordering::Release); // ORDERING(argued): as above.
        INSTALLS.set(false);
    }
}

/// Bits in which a number of [`calling_thread`] is.
pub(crate) const THREAD_BITS: u32 = 56;
/// Those of its lower half; the upper half is the process.
const HALF: u32 = THREAD_BITS / 2;

/// A number of this process and of its calling OS thread, whatever thread-locals that is on. In a child of fork it is another. Not 0.
pub(crate) fn calling_thread() -> u64 {
    #[cfg(all(target_os = "linux", not(miri)))]
    // SAFETY: no requirements.
    let thread = unsafe { libc::syscall(libc::SYS_gettid) } as u64;
    // No thread has other thread-locals than its own there.
    #[cfg(not(all(target_os = "linux", not(miri))))]
    let thread = {
        static LAST: AtomicU32 = AtomicU32::new(0);
        thread_local! {
            static NUMBER: Cell<u32> = const { Cell::new(0) };
        }
        if NUMBER.get() == 0 {
            NUMBER.set(LAST.fetch_add(1, Ordering::Relaxed) + 1);
        }
        u64::from(NUMBER.get())
    };
    const MASK: u64 = (1 << HALF) - 1;
    (u64::from(std::process::id()) & MASK) << HALF | thread & MASK
}

/// Are both numbers, of [`calling_thread`], of one process?
pub(crate) fn is_same_process(one: u64, other: u64) -> bool {
    one >> HALF == other >> HALF
}

/// What a function that may fail says.
pub(crate) fn error() -> io::Error {
    io::Error::other(MESSAGE)
}

/// Has each thread that forks call `before`, and `parent` or `child` afterwards, in the child before anything else but what counts it.
pub(crate) fn at_each_fork(
    before: unsafe extern "C" fn(),
    parent: unsafe extern "C" fn(),
    child: unsafe extern "C" fn(),
) {
    install();
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
