//! `blocking` and `unblock`: closures that block an OS thread, run where that does no harm.

use std::sync::{Arc, Weak};

use crate::blocking::call::call;
use crate::blocking::pool::BlockingPool;
use crate::park::current::with_header;
use crate::park::fork;
use crate::rt::default::with_shared;
use crate::sched::{Shared, Worker};
use crate::sys::fork::PerProcess;

/// Threads for look-ups of names. One that gets no answer takes its thread for ten seconds and more.
const LOOK_UPS: usize = 64;

/// Runs `f` on an OS thread that may block, and waits for its value: for file reads, foreign code, long computations.
///
/// The caller's worker goes on with other threads meanwhile. As the caller waits, `f` may borrow from its stack; for that it
/// has to wait to the end: a cancel or a time-out takes effect as long as `f` waits for an OS thread (then `f` is dropped, by
/// the caller), not once it runs. If `f` may take long and needs nothing of the caller's stack, use [`unblock`].
///
/// Each runtime has a bounded pool of such OS threads, and a bounded queue in front of it
/// ([`RuntimeBuilder::blocking_threads`](crate::RuntimeBuilder::blocking_threads),
/// [`blocking_queue`](crate::RuntimeBuilder::blocking_queue)); beyond both the caller waits for a place. So **a closure must not
/// wait for what another closure, or a file of [`green::fs`](crate::fs), has to do**: when such closures have all the threads,
/// the one that they wait for gets none. What `f` spawns goes to the caller's runtime. On a plain OS thread, or when the
/// system refuses the pool its first OS thread, `f` runs where it is.
///
/// # Panics
///
/// With what `f` panics with; inside [`no_park`](crate::no_park) on a green thread.
///
/// ```
/// let path = String::from("Cargo.toml");
/// let text = green::run(|| green::blocking(|| std::fs::read_to_string(&path)));
/// assert!(text.unwrap().contains("green"));
/// ```
#[track_caller]
pub fn blocking<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    let Some(worker) = Worker::current() else { return f() };
    // SAFETY: the caller does not leave.
    unsafe { call(&worker.shared.pool, Arc::downgrade(&worker.shared), f, false) }
}

/// Runs `f` on an OS thread that may block, and waits for its value, but can be interrupted: `f` owns what it uses.
///
/// This is [`blocking`] for closures that do not borrow, so a cancel or a [`timeout`](crate::timeout) takes effect at
/// any time. As long as `f` waits for an OS thread it is taken back, and dropped by the caller. Once it runs it is left
/// behind: it runs to its end, on one of the pool's bounded OS threads, its value is dropped there, and a panic is lost
/// with it. Dropping the runtime does not wait for it; what it spawns after that is an error. On a plain OS thread `f`
/// runs where it is, but inside a `timeout` on the default runtime's pool.
///
/// ```
/// use std::time::Duration;
/// // Something that never answers.
/// let (_silent, ask) = std::sync::mpsc::channel::<u32>();
/// let answer = green::run(|| green::timeout(Duration::from_millis(10), || green::unblock(move || ask.recv())));
/// assert!(answer.is_err());
/// ```
///
/// # Panics
///
/// With what `f` panics with; inside [`no_park`](crate::no_park) on a green thread; on a plain OS thread inside a
/// `timeout`, if the default runtime cannot be started.
#[track_caller]
pub fn unblock<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    if may_block() || fork::is_orphan() {
        return f();
    }
    let shared = with_shared(|shared| Ok(Arc::clone(shared)));
    let shared = shared.unwrap_or_else(|error| panic!("there is no pool for a blocking closure: {error}"));
    if shared.pool.is_the_parents() {
        return f();
    }
    // SAFETY: the closure and its value borrow nothing.
    unsafe { call(&shared.pool, Arc::downgrade(&shared), f, true) }
}

static NAMES: PerProcess<BlockingPool> =
    PerProcess::new(|| BlockingPool::new(LOOK_UPS, usize::MAX, "green-names".to_owned()));

/// As [`unblock`], for a look-up of a name. Those have few threads of their own in this process: files that do not answer take
/// none of them away, nor the other way round. `f` calls nothing of this crate's.
pub(crate) fn look_up<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    if may_block() {
        return f();
    }
    // SAFETY: the closure and its value borrow nothing.
    unsafe { call(NAMES.get(), Weak::<Shared>::new(), f, true) }
}

/// As [`blocking`], in a pool of this process for what waits for OS threads, other processes, and the like. `f` calls nothing of this crate's.
#[cfg(green_thread_locals)]
pub(crate) fn wait_for_others<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    /// As many threads as there is to wait for: one that is waited for may itself wait for what another waits for here.
    static WAITS: PerProcess<BlockingPool> =
        PerProcess::new(|| BlockingPool::new(usize::MAX, usize::MAX, "green-waits".to_owned()));
    if may_block() {
        return f();
    }
    // SAFETY: the caller does not leave.
    unsafe { call(WAITS.get(), Weak::<Shared>::new(), f, false) }
}

/// May the caller simply block? A plain OS thread may, outside a `timeout`.
pub(crate) fn may_block() -> bool {
    Worker::current().is_none() && with_header(|thread| thread.limits.is_empty())
}
