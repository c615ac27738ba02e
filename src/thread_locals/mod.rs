#![doc = include_str!("PROTOCOL.md")]

#[cfg(green_thread_locals)]
pub(crate) mod block;
#[cfg(green_thread_locals)]
pub(crate) mod getattr;
#[cfg(green_thread_locals)]
mod kit;
#[cfg(green_thread_locals)]
mod numbers;
#[cfg(green_thread_locals)]
mod probe;
#[cfg(green_thread_locals)]
mod setxid;
#[cfg(green_thread_locals)]
mod template;
mod unsupported;

#[cfg(green_thread_locals)]
#[doc(hidden)]
pub use probe::blocks_made_new;
pub use unsupported::Unsupported;

/// Whose thread-locals a green thread uses: its worker's, or its own.
///
/// *Thread-local* is all that is kept by thread: what `thread_local!` declares, std's panic count, errno, the values of pthread keys, the owner of
/// a pthread mutex.
///
/// ```
/// use green::ThreadLocals;
/// if let Err(unsupported) = ThreadLocals::supported() {
///     println!("{unsupported}"); // why not
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum ThreadLocals {
    /// Those of the worker, shared with all green threads on it: the cheapest, and to be had everywhere.
    ///
    /// What sets a thread-local, waits, and sets it back, disturbs its neighbours: see [`no_park`](crate::no_park).
    #[default]
    PerWorker,
    /// Its own, as an OS thread has them: what keeps state by thread is right across a park.
    ///
    /// A switch costs two writes of a register more, and a thread some five kilobytes. Destructors of thread-locals, and those of pthread
    /// keys, run before `join` returns, and may park. In a runtime whose threads have them, a thread goes on on any worker that has time for it
    /// ([`RuntimeBuilder::migration`](crate::RuntimeBuilder::migration)). An actor has its thread-locals for one run; it rests without.
    PerThread,
}

/// Says whether [`PerThread`](ThreadLocals::PerThread) is to be had; the first call finds out. While no thread forks: it starts threads, and has libc list its libraries under a lock, which
/// a child that was forked meanwhile would find taken.
pub(crate) fn supported() -> Result<(), Unsupported> {
    #[cfg(green_thread_locals)]
    return probe::supported();
    #[cfg(not(green_thread_locals))]
    Err(Unsupported::new("they need Linux on x86_64 or aarch64, glibc, and that linked dynamically".to_owned()))
}

/// The same, if somebody has called that.
pub(crate) fn known() -> Option<Result<(), Unsupported>> {
    #[cfg(green_thread_locals)]
    return probe::known();
    #[cfg(not(green_thread_locals))]
    None
}

/// Does the calling thread have thread-locals of its own?
#[inline]
pub(crate) fn is_own() -> bool {
    #[cfg(green_thread_locals)]
    return block::is_own();
    #[cfg(not(green_thread_locals))]
    false
}

/// The calling thread is about to fork. True: it was on a block, and goes on as its worker until [`after_fork`].
pub(crate) fn before_fork() -> bool {
    #[cfg(green_thread_locals)]
    return block::before_fork();
    #[cfg(not(green_thread_locals))]
    false
}

/// It has forked, and this is the parent or the child. True: as its worker, until [`after_fork`].
pub(crate) fn has_forked_as_worker() -> bool {
    #[cfg(green_thread_locals)]
    return block::has_forked_as_worker();
    #[cfg(not(green_thread_locals))]
    false
}

/// After [`before_fork`] said so.
pub(crate) fn after_fork() {
    #[cfg(green_thread_locals)]
    block::after_fork();
}

/// Makes libc's `pthread_getattr_np` right in threads with thread-locals of their own ([`ThreadLocals::PerThread`]).
///
/// Once in a program, outside of all functions: it defines the function of that name, which calls libc's. Without it a library that asks there where its
/// stack is gets the error `ESRCH`; all else is right without it. Where there are no such threads, it does nothing.
///
/// ```
/// green::pthread_getattr_np!();
/// # fn main() {}
/// ```
#[cfg(all(green_thread_locals, not(all(green_sanitized, green_sanitizer = "address"))))]
#[macro_export]
macro_rules! pthread_getattr_np {
    () => {
        #[unsafe(no_mangle)]
        unsafe extern "C" fn pthread_getattr_np(
            thread: ::core::ffi::c_ulong,
            attributes: *mut ::core::ffi::c_void,
        ) -> ::core::ffi::c_int {
            // SAFETY: as of libc's function.
            unsafe { $crate::__pthread_getattr_np(thread, attributes) }
        }
    };
}

/// Does nothing here: there is nothing to do, or it is done.
///
/// ```
/// green::pthread_getattr_np!();
/// # fn main() {}
/// ```
#[cfg(not(all(green_thread_locals, not(all(green_sanitized, green_sanitizer = "address")))))]
#[macro_export]
macro_rules! pthread_getattr_np {
    () => {};
}
