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
use crate::rt::runtime::{MAX_STALL_LIMIT, RECORDER_EVENTS, Runtime, RuntimeBuilder, WORKERS, invalid, output};
use crate::rt::spawn::{Placement, Settings, spawn_in};
use crate::sched::{Shared, Worker};
use crate::stack::StackSize;
use crate::sys::fork::{ForkSafeOnce, PerProcess};
use crate::thread_locals::ThreadLocals;

static DEFAULT: ForkSafeOnce<Runtime> = ForkSafeOnce::new();

/// The default runtime; the settings come from the environment. After an error the next caller tries again.
pub(crate) fn default_runtime() -> io::Result<&'static Runtime> {
    match DEFAULT.get() {
        Some(runtime) => Ok(runtime),
        None => start_default(Runtime::builder()).map(|(runtime, _)| runtime),
    }
}

/// Starts it, if nobody has; `true`: this has.
fn start_default(builder: RuntimeBuilder) -> io::Result<(&'static Runtime, bool)> {
    static STARTS: PerProcess<Lock<()>> = PerProcess::new(|| Lock::new(()));
    let _one = STARTS.get().lock();
    if let Some(runtime) = DEFAULT.get() {
        return Ok((runtime, false));
    }
    let started = from_environment(builder)?.build()?;
    Ok((DEFAULT.get_or_init(|| started), true))
}

/// What the environment says goes before what the program says.
fn from_environment(mut builder: RuntimeBuilder) -> io::Result<RuntimeBuilder> {
    builder.workers = from_env("GREEN_WORKERS", WORKERS)?.or(builder.workers);
    builder.stack_size = from_env("GREEN_STACK_SIZE", StackSize::BOUNDS)?.or(builder.stack_size);
    if let Some(thread_locals) = thread_locals_from_env("GREEN_THREAD_LOCALS")? {
        builder.thread_locals = thread_locals;
        if thread_locals == ThreadLocals::PerThread {
            // Such threads need no calls, and take none.
            builder.on_switch = None;
        }
    }
    if let Some(ms) = from_env("GREEN_STALL_LIMIT", 0..=MAX_STALL_LIMIT.as_millis() as usize)? {
        builder.stall_limit = Duration::from_millis(ms as u64);
    }
    if let Some(detail) = recorder_from_env("GREEN_RECORDER")? {
        builder.recorder = detail;
    }
    if let Some(events) = from_env("GREEN_RECORDER_EVENTS", RECORDER_EVENTS)? {
        builder.recorder_events = events;
    }
    Ok(builder)
}

impl RuntimeBuilder {
    /// Starts the default runtime, that of [`run`](crate::run) and [`spawn`](crate::spawn), with these settings: before anything else has started it.
    ///
    /// The environment variables that [`run`](crate::run) names go before them, so that they can still be changed without a rebuild.
    /// `GREEN_THREAD_LOCALS=thread` takes the place of [`on_switch`](Self::on_switch), too: threads with thread-locals of their own have nothing called ([`OnSwitch`](crate::thread::OnSwitch)).
    ///
    /// ```
    /// green::Runtime::builder().workers(2).thread_name("app").build_default()?;
    /// let name = green::run(|| std::thread::current().name().map(str::to_owned));
    /// assert!(name.unwrap().starts_with("app-"));
    /// // Too late for others.
    /// let error = green::Runtime::builder().build_default().unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `AlreadyExists`: it has started, by this or by its first use. `InvalidInput` if one of those variables is bad. Those of [`build`](Self::build), after which it may still be
    /// started.
    #[doc(alias = "build_global")]
    #[doc(alias = "install")]
    pub fn build_default(self) -> io::Result<()> {
        match start_default(self)? {
            (_, true) => Ok(()),
            (_, false) => Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the default runtime has started: its settings have to be made before its first use",
            )),
        }
    }
}

/// A number from the environment; unset: `None`.
pub(crate) fn from_env(name: &str, bounds: RangeInclusive<usize>) -> io::Result<Option<usize>> {
    let Some(value) = std::env::var_os(name) else { return Ok(None) };
    match value.to_str().and_then(|value| value.trim().parse().ok()) {
        Some(n) if bounds.contains(&n) => Ok(Some(n)),
        _ => Err(invalid(format!("{name}={value:?} is not a number from {} to {}", bounds.start(), bounds.end()))),
    }
}

fn thread_locals_from_env(name: &str) -> io::Result<Option<ThreadLocals>> {
    match std::env::var_os(name) {
        None => Ok(None),
        Some(value) if value == "worker" => Ok(Some(ThreadLocals::PerWorker)),
        Some(value) if value == "thread" => Ok(Some(ThreadLocals::PerThread)),
        Some(value) => Err(invalid(format!("{name}={value:?} is neither \"worker\" nor \"thread\""))),
    }
}

fn recorder_from_env(name: &str) -> io::Result<Option<Detail>> {
    let Some(value) = std::env::var_os(name) else { return Ok(None) };
    let known = [Detail::Off, Detail::Rare, Detail::All].into_iter().find(|detail| value == *detail.to_string());
    known.map(Some).ok_or_else(|| invalid(format!("{name}={value:?} is neither \"off\", \"rare\" nor \"all\"")))
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
/// [`recorder`](crate::recorder)) and `GREEN_RECORDER_EVENTS` (how many each worker keeps) set the default runtime's. A program may set these, and others, by
/// [`RuntimeBuilder::build_default`](crate::RuntimeBuilder::build_default).
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
