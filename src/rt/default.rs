//! The default runtime, its settings, which come from the environment, and `run`.

use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use crate::base::lock::Lock;
use crate::park::fork;
use crate::park::no_park::assert_may_park;
use crate::recorder::Detail;
use crate::rt::lent::lent;
use crate::rt::runtime::{MAX_STALL_LIMIT, RECORDER_EVENTS, Runtime, WORKERS, invalid, output};
use crate::rt::spawn::{Placement, Settings, spawn_in};
use crate::sched::{Shared, Worker};
use crate::stack::StackSize;
use crate::sys::fork::{ForkSafeOnce, PerProcess};
use crate::thread_locals::ThreadLocals;

/// The default runtime; the settings come from the environment. After an error the next caller tries again.
pub(crate) fn default_runtime() -> io::Result<&'static Runtime> {
    static DEFAULT: ForkSafeOnce<Runtime> = ForkSafeOnce::new();
    static STARTS: PerProcess<Lock<()>> = PerProcess::new(|| Lock::new(()));
    if let Some(runtime) = DEFAULT.get() {
        return Ok(runtime);
    }
    let _one = STARTS.get().lock();
    if let Some(runtime) = DEFAULT.get() {
        return Ok(runtime);
    }
    let mut builder = Runtime::builder();
    builder.workers = from_env("GREEN_WORKERS", WORKERS)?;
    builder.stack_size = from_env("GREEN_STACK_SIZE", StackSize::BOUNDS)?;
    builder.thread_locals = thread_locals_from_env("GREEN_THREAD_LOCALS")?;
    if let Some(ms) = from_env("GREEN_STALL_LIMIT", 0..=MAX_STALL_LIMIT.as_millis() as usize)? {
        builder.stall_limit = Duration::from_millis(ms as u64);
    }
    builder.recorder = recorder_from_env("GREEN_RECORDER")?;
    if let Some(events) = from_env("GREEN_RECORDER_EVENTS", RECORDER_EVENTS)? {
        builder.recorder_events = events;
    }
    let started = builder.build()?;
    Ok(DEFAULT.get_or_init(|| started))
}

/// A number from the environment; unset: `None`.
pub(crate) fn from_env(name: &str, bounds: RangeInclusive<usize>) -> io::Result<Option<usize>> {
    let Some(value) = std::env::var_os(name) else { return Ok(None) };
    match value.to_str().and_then(|value| value.trim().parse().ok()) {
        Some(n) if bounds.contains(&n) => Ok(Some(n)),
        _ => Err(invalid(format!("{name}={value:?} is not a number from {} to {}", bounds.start(), bounds.end()))),
    }
}

fn thread_locals_from_env(name: &str) -> io::Result<ThreadLocals> {
    match std::env::var_os(name) {
        None => Ok(ThreadLocals::PerWorker),
        Some(value) if value == "worker" => Ok(ThreadLocals::PerWorker),
        Some(value) if value == "thread" => Ok(ThreadLocals::PerThread),
        Some(value) => Err(invalid(format!("{name}={value:?} is neither \"worker\" nor \"thread\""))),
    }
}

fn recorder_from_env(name: &str) -> io::Result<Detail> {
    let Some(value) = std::env::var_os(name) else { return Ok(Detail::default()) };
    let known = [Detail::Off, Detail::Rare, Detail::All].into_iter().find(|detail| value == *detail.to_string());
    known.ok_or_else(|| invalid(format!("{name}={value:?} is neither \"off\", \"rare\" nor \"all\"")))
}

/// Runs `f` as a green thread of the default runtime (of the caller's, inside one), waits for its end, and returns its
/// value.
///
/// This is how a program's `main` becomes a green thread. `run` does not wait for threads that `f` has spawned and left
/// behind: join them, or use [`scope`](crate::scope); nor for [`actors`](crate::actor), which [`shutdown`](crate::shutdown())
/// stops in good order. If messages still wait for some when the process ends, a line on standard error says how many. `f` may borrow from the caller's stack; so a cancel does not
/// interrupt the wait.
///
/// The environment variables `GREEN_WORKERS`, `GREEN_STACK_SIZE` (bytes), `GREEN_THREAD_LOCALS` (`worker` or `thread`:
/// [`ThreadLocals`]), `GREEN_STALL_LIMIT` (milliseconds; 0: off), `GREEN_RECORDER` (`off`, `rare` or `all`:
/// [`recorder`](crate::recorder)) and `GREEN_RECORDER_EVENTS` (how many each worker keeps) set the default runtime's.
///
/// ```
/// let lines = green::run(|| {
///     let workers: Vec<_> = (1..=3).map(|n| green::spawn(move || n * n)).collect();
///     workers.into_iter().map(|w| w.join().unwrap()).collect::<Vec<_>>()
/// });
/// assert_eq!(lines, [1, 4, 9]);
/// ```
///
/// # Panics
///
/// With what `f` panics with; if the runtime cannot be started, because one of those variables is bad or the system
/// refuses a thread; inside [`no_park`](crate::no_park).
#[track_caller]
pub fn run<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    assert_may_park("green::run");
    let settings = Settings::here();
    let handle = with_shared(|shared| {
        // SAFETY: `f` and its result may borrow: the thread is joined before this returns, whatever happens.
        unsafe { spawn_in(shared, settings, Placement::Anywhere, (), f) }
    });
    output(handle)
}

/// Calls `f` with the caller's runtime, or the default one.
#[inline]
pub(crate) fn with_shared<R>(f: impl FnOnce(&Arc<Shared>) -> io::Result<R>) -> io::Result<R> {
    match Worker::current() {
        Some(worker) => f(&worker.shared),
        None => f(&shared_elsewhere()?),
    }
}

/// The runtime of an OS thread that is no worker.
#[inline(never)]
fn shared_elsewhere() -> io::Result<Arc<Shared>> {
    if fork::is_orphan() {
        return Err(crate::sys::fork::error());
    }
    match lent() {
        Some(runtime) => {
            runtime.upgrade().ok_or_else(|| io::Error::other("the runtime that this closure was called from has ended"))
        }
        None => Ok(Arc::clone(&default_runtime()?.shared)),
    }
}
