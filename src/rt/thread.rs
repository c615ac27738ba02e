//! What std's `thread` module has, for green threads and for the OS threads that deal with them.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use crate::park::current::{current_task, with_header};
use crate::park::{self, Wait, checkpoint, unwind, wait_for_token};
use crate::rt::builder::Builder;
use crate::rt::default::from_env;
use crate::rt::handle::Thread;
use crate::rt::join::JoinHandle;
use crate::rt::lent::lent;
use crate::rt::runtime::WORKERS;
use crate::sched::Worker;
use crate::sys::clock::{NEVER, after_ns};
use crate::task::header::Reason;

/// Spawns a green thread, and returns a handle to it: [`std::thread::spawn`], at the cost of a task.
///
/// The thread starts on the caller's worker, after the threads that were spawned there before it, unless an idle worker
/// takes it first, or a thread joins it: then it starts at once. Once started it stays on its worker, unless it
/// [moves](crate::RuntimeBuilder::migration). Outside a runtime
/// it goes to the default one, which starts at first use. Does not wait.
///
/// The handle can [`join`](JoinHandle::join) the thread, or ask it to end ([`cancel`](JoinHandle::cancel)). When the
/// handle is dropped, the thread goes on without one; when the process ends, so do all threads, in whatever they do. A
/// panic ends its thread only. `f` may not borrow from the caller's stack: for that there is [`scope`](crate::scope).
/// For a name or a stack size of its own: [`Builder`].
///
/// Green threads of one worker share an OS thread: what code in `f` must not hold [across a
/// park](crate#what-not-to-do-across-a-park) is a std lock, a guard that sets a thread-local, and some more.
///
/// ```
/// let thread = green::spawn(|| "done");
/// assert_eq!(thread.join().unwrap(), "done");
/// ```
///
/// Threads speak to each other by channels, locks and atomics:
///
/// ```
/// let (sender, receiver) = green::channel::bounded(16);
/// for n in 0..3 {
///     let sender = sender.clone();
///     green::spawn(move || sender.send(n * n).unwrap());
/// }
/// drop(sender);
/// assert_eq!(receiver.iter().sum::<i32>(), 5);
/// ```
///
/// The closure has to be `Send`, because another worker may start it:
///
/// ```compile_fail
/// let rc = std::rc::Rc::new(1);
/// green::spawn(move || println!("{rc}"));
/// ```
///
/// # Panics
///
/// If there is no memory for it, or the default runtime cannot start; [`Builder::spawn`] returns an error instead.
#[inline]
#[track_caller]
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match Builder::new().spawn(f) {
        Ok(handle) => handle,
        Err(error) => panic!("failed to spawn a green thread: {error}"),
    }
}

/// Spawns a green thread on the calling worker. It is never stolen, so the closure need not be `Send`.
///
/// Everything else is as for [`spawn`]. Does not wait.
///
/// ```
/// green::run(|| {
///     let shared = std::rc::Rc::new(7);
///     let also = shared.clone();
///     let thread = green::spawn_local(move || *also);
///     assert_eq!(thread.join().unwrap(), *shared);
/// });
/// ```
///
/// A value that is not `Send` does not leave the worker with the handle either:
///
/// ```compile_fail
/// green::run(|| {
///     let thread = green::spawn_local(|| std::rc::Rc::new(1));
///     green::spawn(move || thread.join());
/// });
/// ```
///
/// # Panics
///
/// Outside a green thread; if there is no memory for it.
#[track_caller]
pub fn spawn_local<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    Builder::new().spawn_local(f).unwrap_or_else(|error| panic!("failed to spawn a green thread: {error}"))
}

/// Returns a handle to the calling thread: a green one, or a plain OS thread.
///
/// ```
/// let named = green::thread::Builder::new().name("here".into());
/// let thread = named.spawn(|| green::thread::current().name().map(str::to_owned))?;
/// assert_eq!(thread.join().unwrap().as_deref(), Some("here"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn current() -> Thread {
    Thread(current_task())
}

/// Waits until [`Thread::unpark`] is called for this thread; returns at once if that has been called since the last
/// `park`.
///
/// Each thread has a token, which is not there at first: `unpark` puts it there, `park` waits for it and takes it. So
/// an `unpark` that comes first is not lost, and two of them let one `park` through. What the caller of `unpark` did
/// before is visible when this returns.
///
/// Unlike std's, it does not return without an `unpark`; but check in a loop what you wait for, as any code that has
/// the handle may call it. While a green thread is parked, its worker runs others. A cancellation point; a thread that
/// is cancelled leaves the token.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicBool, Ordering};
///
/// let ready = Arc::new(AtomicBool::new(false));
/// let seen = ready.clone();
/// let thread = green::spawn(move || {
///     while !seen.load(Ordering::Acquire) {
///         green::thread::park();
///     }
/// });
/// ready.store(true, Ordering::Release);
/// thread.thread().unpark();
/// thread.join().unwrap();
/// ```
pub fn park() {
    park_until(NEVER);
}

/// Waits until [`Thread::unpark`] is called for this thread, for at most `dur`.
///
/// It does not say which of the two ended the wait. Everything else is as for [`park`].
///
/// ```
/// use std::time::{Duration, Instant};
/// let start = Instant::now();
/// green::thread::park_timeout(Duration::from_millis(5)); // no unpark comes
/// assert!(start.elapsed() >= Duration::from_millis(5));
/// ```
pub fn park_timeout(dur: Duration) {
    park_until(after_ns(dur));
}

fn park_until(deadline_ns: u64) {
    checkpoint();
    with_header(|thread| wait_for_token(&thread.token, Wait::new(Reason::Park).until(deadline_ns)));
}

/// Lets the other threads of this worker run. Not a cancellation point.
///
/// Everything that was ready is run first, and then up to 16 threads that have not started. Nothing pre-empts a green
/// thread, so a long computation calls this now and then. To wait for something, use
/// a lock, a channel or [`park`], which cost nothing while they wait.
///
/// It is a park like every wait: some things must not be held [across a park](crate#what-not-to-do-across-a-park). On a
/// plain OS thread it is [`std::thread::yield_now`].
///
/// ```
/// let mut sum = 0_u64;
/// for n in 0..10_000_u64 {
///     sum += n;
///     if n % 1000 == 0 {
///         green::yield_now();
///     }
/// }
/// assert_eq!(sum, 49_995_000);
/// ```
#[inline(always)]
pub fn yield_now() {
    park::yield_now();
}

/// Returns whether the calling thread is unwinding, by a panic or a cancel: [`std::thread::panicking`] of a green
/// thread.
///
/// std's counts by OS thread, so it also says yes when a neighbour of the same worker is parked in a destructor while
/// it unwinds.
///
/// ```
/// struct Rollback;
/// impl Drop for Rollback {
///     fn drop(&mut self) {
///         assert!(green::thread::panicking());
///     }
/// }
/// let thread = green::spawn(|| {
///     let _guard = Rollback;
///     panic!("half-way");
/// });
/// assert!(thread.join().is_err());
/// assert!(!green::thread::panicking());
/// ```
#[must_use]
pub fn panicking() -> bool {
    unwind::unwinding()
}

/// Returns how many green threads can run at the same moment: the number of workers of the caller's runtime.
///
/// Outside a runtime, that of the default one, which need not have started: `GREEN_WORKERS`, or what
/// [`std::thread::available_parallelism`] says of the processors that this process may use (affinity and cgroup quotas
/// count).
///
/// ```
/// let parts = green::thread::available_parallelism()?.get();
/// assert!(parts >= 1);
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// Those of [`std::thread::available_parallelism`]; `InvalidInput` if `GREEN_WORKERS` is no number within its bounds.
pub fn available_parallelism() -> io::Result<NonZeroUsize> {
    let shared = Worker::current().map(|worker| Arc::clone(&worker.shared)).or_else(|| lent()?.upgrade());
    if let Some(workers) = shared.and_then(|shared| NonZeroUsize::new(shared.remotes.len())) {
        return Ok(workers);
    }
    match from_env("GREEN_WORKERS", WORKERS)?.and_then(NonZeroUsize::new) {
        Some(workers) => Ok(workers),
        None => std::thread::available_parallelism(),
    }
}

#[cfg(test)]
mod tests {
    use super::spawn;
    use crate::rt::runtime::Runtime;
    use crate::sched::Worker;

    /// A tree of so many leaves: their number, and how many threads the workers of its nodes have given away.
    fn tree(leaves: u32) -> (u32, u32) {
        if leaves == 1 {
            return (1, 0);
        }
        let parts: Vec<_> = (0..10).map(|_| spawn(move || tree(leaves / 10))).collect();
        let parts = parts.into_iter().map(|part| part.join().expect("it does not panic"));
        let (leaves, given) = parts.fold((0, 0), |(leaves, given), part| (leaves + part.0, given.max(part.1)));
        (leaves, given.max(Worker::current().expect("on a worker").policy.balance.given.get()))
    }

    #[test]
    fn a_tree_of_threads_that_are_joined_is_hardly_handed_round() {
        for workers in [2, 4] {
            let runtime = Runtime::builder().workers(workers).build().unwrap();
            let (leaves, given) = runtime.run(|| tree(if cfg!(miri) { 100 } else { 100_000 }));
            assert!(given <= leaves / 100, "{given} of {leaves}");
        }
    }
}
