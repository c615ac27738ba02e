//! What std's `thread` module has, for green threads and for the OS threads that deal with them.

use std::fmt;
use std::io;
use std::num::{NonZeroU64, NonZeroUsize};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use crate::park::current::{current_task, with_header};
use crate::park::{self, Wait, checkpoint, unwind, wait_for_token};
use crate::rt::builder::Builder;
use crate::rt::join::JoinHandle;
use crate::rt::runtime::{WORKERS, from_env, lent};
use crate::sched::Worker;
use crate::sys::clock::{NEVER, after_ns};
use crate::task::header::Reason;
use crate::task::wait::End;
use crate::task::{Task, Ticket};

/// Spawns a green thread: [`std::thread::spawn`], at the cost of a task.
///
/// It starts on the caller's worker, after the threads that were spawned there before it, unless an idle worker takes it
/// first or somebody joins it: then it starts at once. Once started it stays on its worker. Outside a runtime it goes to
/// the default one. Does not wait.
///
/// Green threads of one worker share an OS thread: what code in `f` must not hold [across a park](crate#what-not-to-do-across-a-park) is a std lock, a
/// guard that sets a thread-local, and some more.
///
/// # Panics
///
/// If there is no memory for it, or the default runtime cannot start; [`Builder::spawn`] gives an error instead.
///
/// ```
/// let thread = green::spawn(|| "done");
/// assert_eq!(thread.join().unwrap(), "done");
/// ```
///
/// The closure has to be `Send`, because another worker may start it:
///
/// ```compile_fail
/// let rc = std::rc::Rc::new(1);
/// green::spawn(move || println!("{rc}"));
/// ```
#[inline]
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Builder::new().spawn(f).unwrap_or_else(|error| panic!("failed to spawn a green thread: {error}"))
}

/// Spawns a green thread on the calling worker. It is never stolen, so the closure need not be `Send`.
///
/// # Panics
///
/// Outside a green thread; if there is no memory for it.
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
pub fn spawn_local<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    Builder::new().spawn_local(f).unwrap_or_else(|error| panic!("failed to spawn a green thread: {error}"))
}

/// A unique number of a thread, green or OS, in this process: [`std::thread::ThreadId`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ThreadId(NonZeroU64);

/// A handle to a thread, green or OS: [`std::thread::Thread`].
#[derive(Clone)]
pub struct Thread(pub(crate) Task);

impl UnwindSafe for Thread {}
impl RefUnwindSafe for Thread {}

impl Thread {
    /// The thread's number.
    #[must_use]
    pub fn id(&self) -> ThreadId {
        ThreadId(NonZeroU64::new(self.0.id).expect("the numbers of threads begin with 1"))
    }

    /// The thread's name, if it was given one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.name()
    }

    /// Ends the thread's [`park`], or the next one that it begins. Tokens do not add up. Never waits.
    pub fn unpark(&self) {
        if let Some(epoch) = self.0.token.put() {
            // SAFETY: `self` keeps the header alive.
            if let Some(wake) = unsafe { Ticket::new(self.0.as_ptr(), epoch).end(End::Notified) } {
                wake.schedule();
            }
        }
    }
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread").field("id", &self.id()).field("name", &self.name()).finish_non_exhaustive()
    }
}

/// The calling thread: a green one, or a plain OS thread.
#[must_use]
pub fn current() -> Thread {
    Thread(current_task())
}

/// Waits until [`Thread::unpark`], at once if that has been called since the last `park`. A cancellation point.
///
/// Unlike std's, it does not return without one; but do not rely on who called it.
pub fn park() {
    park_until(NEVER);
}

/// As [`park`], for at most `dur`.
pub fn park_timeout(dur: Duration) {
    park_until(after_ns(dur));
}

fn park_until(deadline_ns: u64) {
    checkpoint();
    with_header(|thread| wait_for_token(&thread.token, Wait::new(Reason::Park).until(deadline_ns)));
}

/// Lets the other threads of this worker run. Not a cancellation point.
///
/// Everything that was ready is run first, and then up to 16 threads that have not started. Like every wait this is a park: some
/// things must not be held [across a park](crate#what-not-to-do-across-a-park). On a plain OS thread: [`std::thread::yield_now`].
#[inline(always)]
pub fn yield_now() {
    park::yield_now();
}

/// Is the calling thread unwinding? [`std::thread::panicking`] of a green thread: that one counts by OS thread, so it also
/// says yes when a neighbour of the same worker is parked in a destructor while it unwinds.
#[must_use]
pub fn panicking() -> bool {
    unwind::unwinding()
}

/// How many green threads run at the same moment: the workers of the caller's runtime; outside, those that the default
/// runtime has or would have.
///
/// # Errors
///
/// As [`std::thread::available_parallelism`]; a bad `GREEN_WORKERS`.
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
