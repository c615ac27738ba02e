//! Runtimes: a set of workers, and everything that their threads share.

use std::io;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use crate::base::debug::debug;
use crate::blocking::pool::BlockingPool;
use crate::dump;
use crate::flight::{MOST_EVENTS, Recording};
use crate::park::interrupt;
use crate::park::no_park::assert_may_park;
use crate::park::on_switch::{MakeSwitchCalls, OnSwitch};
use crate::recorder::Detail;
use crate::rt::first;
use crate::rt::join::JoinHandle;
use crate::rt::spawn::{Placement, Settings, spawn_in};
use crate::rt::workers::WorkerThreads;
use crate::sched::deque::Deque;
use crate::sched::runtime_name::DEFAULT_NAME;
use crate::sched::schedule::schedule_of;
use crate::sched::shared::{LAST_WORDS, Rules};
use crate::sched::switched::needs_no_calls;
use crate::sched::{Shared, remote, watched};
use crate::stack::StackSize;
use crate::stall;
use crate::sys::membarrier;
use crate::thread_locals::ThreadLocals;

pub(crate) const WORKERS: RangeInclusive<usize> = 1..=1024;
const BLOCKING_THREADS: RangeInclusive<usize> = 1..=32_768;
const BLOCKING_QUEUE: RangeInclusive<usize> = 1..=1 << 20;
const SPARE_WORKERS: RangeInclusive<usize> = 0..=1024;
/// An interpreter is too slow to be watched.
const STALL_LIMIT: Duration = if cfg!(miri) { Duration::ZERO } else { Duration::from_millis(20) };
/// Of a runtime with more than one worker.
const DEFAULT_SPARES: usize = 16;
pub(super) const RECORDER_EVENTS: RangeInclusive<usize> = 1..=MOST_EVENTS;
/// An interpreter is too slow to make large rings.
const EVENTS: usize = if cfg!(miri) { 64 } else { 4096 };
pub(super) const MAX_STALL_LIMIT: Duration = Duration::from_secs(3600);

/// Starts a [`Runtime`] with settings of its own: what [`Runtime::builder`] returns.
///
/// Every setting has a default; a bad one is an error of [`build`](RuntimeBuilder::build) that names it.
///
/// ```
/// let runtime = green::Runtime::builder().workers(1).thread_name("io").build()?;
/// let name = runtime.run(|| std::thread::current().name().map(str::to_owned));
/// assert_eq!(name.as_deref(), Some("io-0"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RuntimeBuilder {
    pub(super) workers: Option<usize>,
    pub(super) stack_size: Option<usize>,
    pub(super) thread_locals: ThreadLocals,
    migration: Option<bool>,
    thread_name: String,
    blocking_threads: usize,
    blocking_queue: usize,
    virtual_time: bool,
    pub(super) on_switch: Option<MakeSwitchCalls>,
    pub(super) stall_limit: Duration,
    spare_workers: Option<usize>,
    stopping_timeout: Duration,
    pub(super) recorder: Detail,
    pub(super) recorder_events: usize,
}

impl RuntimeBuilder {
    fn new() -> Self {
        Self {
            workers: None,
            stack_size: None,
            thread_locals: ThreadLocals::PerWorker,
            migration: None,
            thread_name: DEFAULT_NAME.to_owned(),
            blocking_threads: 512,
            blocking_queue: 4096,
            virtual_time: false,
            on_switch: None,
            stall_limit: STALL_LIMIT,
            spare_workers: None,
            stopping_timeout: LAST_WORDS,
            recorder: Detail::default(),
            recorder_events: EVENTS,
        }
    }

    /// Sets the number of workers, which are OS threads: 1 to 1024. Default: [`std::thread::available_parallelism`].
    ///
    /// ```
    /// let runtime = green::Runtime::builder().workers(2).build()?;
    /// assert_eq!(runtime.workers(), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn workers(mut self, n: usize) -> Self {
        self.workers = Some(n);
        self
    }

    /// Sets the size of a green thread's stack, in bytes of address space, guard page included; rounded up to a power
    /// of two.
    ///
    /// 16 KiB to 1 GiB. Default: 256 KiB. Memory is taken page by page, as the stack is used; what a deep call of a
    /// thread has taken goes back once the thread has waited for a second or two. What small stacks ask of signal
    /// handlers: [`Builder::stack_size`](crate::thread::Builder::stack_size).
    ///
    /// ```
    /// let runtime = green::Runtime::builder().workers(1).stack_size(64 << 10).build()?;
    /// # drop(runtime);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Sets whose thread-locals the runtime's green threads use. Default: their workers'.
    ///
    /// A thread may have it otherwise: [`Builder::thread_locals`](crate::thread::Builder::thread_locals).
    ///
    /// ```
    /// use green::{Runtime, ThreadLocals};
    /// match Runtime::builder().workers(1).thread_locals(ThreadLocals::PerThread).build() {
    ///     Ok(runtime) => drop(runtime),
    ///     Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::Unsupported),
    /// }
    /// ```
    #[must_use]
    pub fn thread_locals(mut self, thread_locals: ThreadLocals) -> Self {
        self.thread_locals = thread_locals;
        self
    }

    /// Has something called whenever a thread of the runtime goes on and suspends: what `make` makes for it, on the thread that spawns it, unless the thread has its
    /// [own](crate::thread::Builder::on_switch).
    ///
    /// So a runtime's threads can all carry along what a library keeps for each OS thread; actors are threads here, and `make` is called when one is started. For the
    /// default runtime: [`build_default`](Self::build_default).
    ///
    /// ```
    /// use std::cell::Cell;
    /// thread_local!(static DEPTH: Cell<u32> = const { Cell::new(0) });
    ///
    /// struct Depth(u32);
    /// impl green::thread::OnSwitch for Depth {
    ///     fn resume(&mut self) { self.0 = DEPTH.replace(self.0) }
    ///     fn suspend(&mut self) { self.0 = DEPTH.replace(self.0) }
    /// }
    /// // A thread begins one deeper than that which has spawned it.
    /// let runtime = green::Runtime::builder().workers(1).on_switch(|| Depth(DEPTH.get() + 1)).build()?;
    /// assert_eq!(runtime.run(|| (DEPTH.get(), green::spawn(|| DEPTH.get()).join().unwrap())), (1, 2));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn on_switch<C: OnSwitch + 'static>(mut self, make: impl Fn() -> C + Send + Sync + 'static) -> Self {
        self.on_switch = Some(MakeSwitchCalls::new(make));
        self
    }

    /// Sets whether threads that have started may go on on another worker. Default: they may where the system lets them, as [`Runtime::migrates`] tells.
    ///
    /// They need membarrier(2) of Linux, which a sandbox may forbid: if `true` is asked for, that is an error of [`build`](Self::build).
    ///
    /// It concerns threads with thread-locals of their own in a runtime whose threads have them ([`thread_locals`](Self::thread_locals)): others always stay
    /// where they started. A thread that is ready, and for which its worker has no time, is taken over by a worker that has. A thread that has called
    /// [`spawn_local`](crate::spawn_local) stays from then on, and so does what it has spawned so; an actor stays while it handles messages. What the system
    /// keeps for each OS thread (its signal mask, its priority, the CPUs that it may use) does not move along.
    ///
    /// ```
    /// use green::{Runtime, ThreadLocals};
    /// let builder = Runtime::builder().workers(2).thread_locals(ThreadLocals::PerThread);
    /// if let Ok(runtime) = builder.migration(false).build() {
    ///     assert_eq!(runtime.run(|| 6 * 7), 42); // on one worker from begin to end
    /// }
    /// ```
    #[must_use]
    pub fn migration(mut self, on: bool) -> Self {
        self.migration = Some(on);
        self
    }

    /// Sets the beginning of the names of the runtime's OS threads. Default: `green`, which makes `green-0`, `green-1`,
    /// …
    ///
    /// ```
    /// let runtime = green::Runtime::builder().workers(1).thread_name("db").build()?;
    /// let name = runtime.run(|| std::thread::current().name().map(str::to_owned));
    /// assert_eq!(name.as_deref(), Some("db-0"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn thread_name(mut self, prefix: impl Into<String>) -> Self {
        self.thread_name = prefix.into();
        self
    }

    /// Sets how many OS threads at most run [`blocking`](crate::blocking) closures and the calls of [`fs`](crate::fs):
    /// 1 to 32 768. Default: 512.
    ///
    /// They start when there is a closure for them, and end when they have had none for ten seconds. One that runs a
    /// closure which its caller has left ([`unblock`](crate::unblock)) still counts. Look-ups of names have their own,
    /// at most 64 in the process.
    ///
    /// ```
    /// let runtime = green::Runtime::builder().workers(1).blocking_threads(4).build()?;
    /// assert_eq!(runtime.run(|| green::blocking(|| 7)), 7);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn blocking_threads(mut self, n: usize) -> Self {
        self.blocking_threads = n;
        self
    }

    /// Sets how many [`blocking`](crate::blocking) closures may wait for one of those threads: 1 to 1 048 576. Default:
    /// 4096.
    ///
    /// A caller beyond it waits for a place.
    ///
    /// ```
    /// let runtime = green::Runtime::builder().workers(1).blocking_threads(1).blocking_queue(16).build()?;
    /// # drop(runtime);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn blocking_queue(mut self, n: usize) -> Self {
        self.blocking_queue = n;
        self
    }

    /// Gives the runtime a time of its own, for tests: it stands still while anything runs, and jumps to the next timer when nothing
    /// can. It has one worker.
    ///
    #[doc = include_str!("docs/virtual_time.md")]
    #[doc(alias = "start_paused")]
    #[doc(alias = "pause")]
    #[doc(alias = "advance")]
    #[must_use]
    pub fn virtual_time(mut self) -> Self {
        self.virtual_time = true;
        self
    }

    /// Sets after how long a worker that does not come round is reported as a [stall](crate::stall), if something waits for it, up to an hour. Zero: never.
    /// Default: 20 ms.
    ///
    /// Of the default runtime `GREEN_STALL_LIMIT` sets it, in milliseconds. A runtime with [`virtual_time`](Self::virtual_time) is not watched.
    ///
    /// ```
    /// use std::time::Duration;
    /// let runtime = green::Runtime::builder().workers(1).stall_limit(Duration::from_millis(100)).build()?;
    /// # drop(runtime);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn stall_limit(mut self, limit: Duration) -> Self {
        self.stall_limit = limit;
        self
    }

    /// Sets how many spare workers there may be at one time: 0 to 1024. Default: 16; of a runtime with one worker none.
    ///
    /// When all workers have been [stalled](crate::stall) for ten times the [`stall_limit`](Self::stall_limit), and there are threads that have not started, a
    /// spare worker starts them: an OS thread more, which ends when it has nothing to run and no thread lives on it. So threads that spin until another has done
    /// something get on. Not without a stall limit.
    ///
    /// ```
    /// let limit = std::time::Duration::from_millis(20);
    /// let runtime = green::Runtime::builder().workers(1).stall_limit(limit).spare_workers(1).build()?;
    /// let set = std::sync::OnceLock::new();
    /// runtime.run(|| {
    ///     green::scope(|scope| {
    ///         scope.spawn(|| set.set(7));
    ///         while set.get().is_none() {
    ///             std::hint::spin_loop();
    ///         }
    ///     });
    /// });
    /// assert_eq!(set.get(), Some(&7));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn spare_workers(mut self, n: usize) -> Self {
        self.spare_workers = Some(n);
        self
    }

    /// Sets how long a [`stopping`](crate::actor::Actor::stopping), the destructor of an actor's state or of a message that was queued, or one of what a thread that has not started has captured, may wait once the runtime has begun to end. Default: five seconds.
    ///
    /// When it is over, one that waits is unwound where it waits, and at each further wait; what computes goes on. The actors that end on the workers have this time together,
    /// from when the [`Runtime`] is dropped; then those that had not run by then, that rest or are queued, as long again for each of the two. So a drop comes back after thrice
    /// this time at the latest, unless a thread computes, or other threads end actors meanwhile by what they send: those are waited for five seconds, if this is shorter. On the workers it is real time, also under [virtual time](Self::virtual_time); then that of the thread that drops the runtime. Zero: none may wait.
    /// [`Duration::MAX`]: each may for ever.
    ///
    /// ```
    #[doc = include_str!("docs/stopping_timeout.md")]
    /// ```
    #[must_use]
    pub fn stopping_timeout(mut self, d: Duration) -> Self {
        self.stopping_timeout = d;
        self
    }

    /// Sets what the [flight recorder](crate::recorder) records. Default: [`Detail::Rare`], which costs next to nothing. With [`Detail::All`] a spawn with its join
    /// takes 25 % more instructions, a message to an actor 53 %, a question to one 27 %, a round trip over two channels 30 %, a yield 2 %. Of the default runtime `GREEN_RECORDER` sets it.
    ///
    /// ```
    /// use green::recorder::{Detail, Happening};
    /// let runtime = green::Runtime::builder().workers(1).recorder(Detail::All).build()?;
    /// runtime.run(|| green::sleep(std::time::Duration::from_millis(1)));
    /// let trace = green::recorder::snapshot();
    /// assert!(trace.events().iter().any(|event| matches!(event.what, Happening::Parks(_, Some("sleep")))));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn recorder(mut self, detail: Detail) -> Self {
        self.recorder = detail;
        self
    }

    /// Sets how many events the [flight recorder](crate::recorder) keeps of each worker, rounded up to a power of two: 1 to 16 777 216, of 16 bytes
    /// each. Default: 4096. Of the default runtime `GREEN_RECORDER_EVENTS` sets it.
    ///
    /// ```
    /// let error = green::Runtime::builder().recorder_events(0).build().unwrap_err();
    /// assert!(error.to_string().contains("recorder_events = 0"), "{error}");
    /// ```
    #[must_use]
    pub fn recorder_events(mut self, n: usize) -> Self {
        self.recorder_events = n;
        self
    }

    /// Starts the runtime: its workers run when this returns.
    ///
    /// ```
    /// let error = green::Runtime::builder().workers(0).build().unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    /// assert!(error.to_string().contains("workers = 0"));
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a setting out of its bounds, which the message names; whatever the system says when it
    /// refuses an OS thread; `Other` when there would be more than 4096 workers in the process. Those of a runtime that
    /// has ended do not count. Those of [`dump::on_signal`](crate::dump::on_signal), if `GREEN_DUMP` asks for it. `Unsupported` if its threads are to have thread-locals of
    /// their own, or to [migrate](Self::migration), and cannot: the message says why.
    pub fn build(self) -> io::Result<Runtime> {
        let workers = match self.workers {
            Some(n) if self.virtual_time && n != 1 => {
                return Err(invalid(format!("workers = {n}, and virtual time needs one worker")));
            }
            Some(n) => within("workers", n, WORKERS)?,
            None if self.virtual_time => 1,
            None => std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(*WORKERS.end()),
        };
        let default_spares = if workers == 1 { 0 } else { DEFAULT_SPARES };
        let spare_workers = within("spare_workers", self.spare_workers.unwrap_or(default_spares), SPARE_WORKERS)?;
        let events = within("recorder_events", self.recorder_events, RECORDER_EVENTS)?;
        let all = self.recorder == Detail::All;
        let recording = Recording { events: if self.recorder == Detail::Off { 0 } else { events }, all };
        let stall_limit_ns =
            if self.virtual_time { 0 } else { self.stall_limit.min(MAX_STALL_LIMIT).as_nanos() as u64 };
        let stack_size = self.stack_size.map_or(Ok(StackSize::DEFAULT), StackSize::new)?;
        let blocking_threads = within("blocking_threads", self.blocking_threads, BLOCKING_THREADS)?;
        let blocking_queue = within("blocking_queue", self.blocking_queue, BLOCKING_QUEUE)?;
        if self.thread_name.contains('\0') {
            return Err(invalid("thread_name must not contain a NUL byte".to_owned()));
        }
        if self.thread_locals == ThreadLocals::PerThread {
            ThreadLocals::supported()?;
            if self.on_switch.is_some() {
                return Err(needs_no_calls());
            }
        }
        dump::from_env()?;
        let first = first::begin();
        let moves = self.moves(workers)?;
        let group = remote::acquire(workers)
            .ok_or_else(|| io::Error::other(format!("more than {} workers in one process", remote::MAX_WORKERS)))?;
        let deques: Vec<_> = (0..workers).map(|_| Deque::new()).collect();
        let stealers = deques.iter().map(Deque::stealer).collect();
        let pool = BlockingPool::new(blocking_threads, blocking_queue, format!("{}-blocking", self.thread_name));
        let schedule = schedule_of(moves, all);
        let (thread_locals, virtual_time, on_switch) = (self.thread_locals, self.virtual_time, self.on_switch);
        let rules = Rules {
            stack_size,
            thread_locals,
            moves,
            schedule,
            virtual_time,
            on_switch,
            stall_limit_ns,
            recording,
            stopping_timeout: self.stopping_timeout,
        };
        let spare_workers = if stall_limit_ns == 0 { 0 } else { spare_workers };
        let shared = Shared::new(group, spare_workers, stealers, rules, pool, &self.thread_name);
        let threads = WorkerThreads::new(self.thread_name, !shared.spares.is_empty(), shared.last_words);
        let runtime = Runtime { shared, threads };
        crate::sched::debug::keep();
        for (number, deque) in deques.into_iter().enumerate() {
            runtime.threads.start(&runtime.shared, number, deque).map_err(|error| {
                let message = format!("worker {number} of {workers} could not be started: {error}");
                io::Error::new(error.kind(), message)
            })?;
        }
        if stall_limit_ns != 0 {
            let (shared, threads) = (Arc::downgrade(&runtime.shared), Arc::clone(&runtime.threads));
            watched::set_start_spare(runtime.shared.identity(), Arc::new(move || threads.start_spare(&shared)));
            stall::watch();
        }
        first.made();
        Ok(runtime)
    }

    /// Do started threads go on on another worker?
    fn moves(&self, workers: usize) -> io::Result<bool> {
        let may_move = self.migration != Some(false) && self.thread_locals == ThreadLocals::PerThread && workers > 1;
        // Without the heavy fence nobody could stand in for another.
        match may_move.then(membarrier::heavy) {
            Some(Err(error)) if self.migration == Some(true) => {
                Err(io::Error::new(error.kind(), format!("started threads cannot move: {error}")))
            }
            found => Ok(found.is_some_and(|fence| fence.is_ok())),
        }
    }
}

pub(super) fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

fn within(what: &str, n: usize, bounds: RangeInclusive<usize>) -> io::Result<usize> {
    if bounds.contains(&n) {
        return Ok(n);
    }
    Err(invalid(format!("{what} = {n} is not within {} to {}", bounds.start(), bounds.end())))
}

/// Owns a set of workers and the green threads on them, apart from every other.
///
/// Most programs need none: [`spawn`](crate::spawn) and [`run`](crate::run) use the default runtime, which starts at
/// first use and lasts until the process ends. A thread stays in the runtime that it was spawned in, and what it spawns
/// stays there too. Wakes, locks and channels work across runtimes.
///
/// ```
/// let runtime = green::Runtime::builder().workers(2).stack_size(128 << 10).build().unwrap();
/// assert_eq!(runtime.run(|| green::spawn(|| 6 * 7).join().unwrap()), 42);
/// ```
///
/// # Drop
///
/// Dropping a `Runtime` cancels its threads and returns when all of them have unwound and its workers have ended, so
/// the destructors have run, those of the workers' thread-locals too. Its [`actors`](crate::actor) have ended by then,
/// also those that rested; messages that they have not handled are dead letters, and a line on standard error says how
/// many ([`shutdown`](Runtime::shutdown) has them handled). An actor whose `stopping` waits when the [time for that](RuntimeBuilder::stopping_timeout) is over is unwound there. A thread that computes without a
/// blocking call, or swallows every cancel, keeps the drop waiting. Dropped by one of its own threads, or in a [`blocking`](crate::blocking) closure of one, the runtime does
/// not wait, since that thread has to end as well: an OS thread of its own does, until all this is done. Under `panic = "abort"` nothing can be unwound: the drop waits until
/// the threads end by themselves.
///
/// # fork
///
/// In a child of fork(2) that does not exec, the parent's runtimes do not run. Spawning, `run`, joining and dropping a
/// runtime panic there ([`thread::Builder::spawn`](crate::thread::Builder::spawn) is an error), and so do sending to,
/// stopping and joining one of the parent's actors that has not ended, and waiting for its answer. A green thread that
/// has called fork is a plain OS thread: sleeps, locks, channels, files, sockets and `blocking` work as they do there,
/// a new `Runtime` does, and what [`local!`](crate::local) declares has its first value. What waits for a thread of the
/// parent's (a lock that it holds, a channel) waits for ever, as it would with std's threads.
/// Should the closure of that green thread return in the child, the process aborts: end it with `exit` or exec.
pub struct Runtime {
    pub(crate) shared: Arc<Shared>,
    pub(super) threads: Arc<WorkerThreads>,
}

impl UnwindSafe for Runtime {}
impl RefUnwindSafe for Runtime {}

impl Runtime {
    /// Returns a builder with the default settings.
    ///
    /// ```
    /// let runtime = green::Runtime::builder().workers(1).build()?;
    /// assert_eq!(runtime.run(|| 2 + 2), 4);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::new()
    }

    /// Starts a runtime with the default settings.
    ///
    /// ```
    /// let runtime = green::Runtime::new()?;
    /// assert_eq!(runtime.run(|| 1 + 1), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`RuntimeBuilder::build`].
    pub fn new() -> io::Result<Runtime> {
        Self::builder().build()
    }

    /// Says whether started threads go on on another worker where their own has no time for them: [`RuntimeBuilder::migration`].
    ///
    /// ```
    /// // With thread-locals of their workers they do not.
    /// assert!(!green::Runtime::new()?.migrates());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn migrates(&self) -> bool {
        self.shared.moves
    }

    /// Runs `f` as a green thread of this runtime, waits for its end, and returns its value.
    ///
    /// `f` may borrow from the caller's stack. So a cancel does not interrupt the wait. Threads that `f` leaves behind
    /// go on. The caller may be a plain OS thread, or a green thread of this or another runtime.
    ///
    /// ```
    /// let runtime = green::Runtime::builder().workers(1).build()?;
    /// let names = ["a", "b"];
    /// let joined = runtime.run(|| names.concat());
    /// assert_eq!(joined, "ab");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// With what `f` panics with; if there is no memory for the thread; inside [`no_park`](crate::no_park).
    #[track_caller]
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        assert_may_park("Runtime::run");
        // SAFETY: `f` and its result may borrow: the thread is joined before this returns, whatever happens.
        let handle = unsafe { spawn_in(&self.shared, Settings::here(), Placement::Anywhere, (), f) };
        output(handle)
    }

    /// Spawns a green thread in this runtime, and returns a handle to it. Does not wait.
    ///
    /// It is [`spawn`](crate::spawn) with a runtime that is named.
    ///
    /// ```
    /// let runtime = green::Runtime::builder().workers(1).build()?;
    /// let thread = runtime.spawn(|| "there");
    /// assert_eq!(thread.join().unwrap(), "there");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If there is no memory for the thread.
    #[track_caller]
    pub fn spawn<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        // SAFETY: nothing is borrowed.
        let handle = unsafe { spawn_in(&self.shared, Settings::here(), Placement::Anywhere, (), f) };
        handle.unwrap_or_else(|error| panic!("failed to spawn a green thread: {error}"))
    }

    /// Returns how many workers the runtime has.
    ///
    /// ```
    /// let runtime = green::Runtime::builder().workers(3).build()?;
    /// assert_eq!(runtime.workers(), 3);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn workers(&self) -> usize {
        self.shared.remotes.len()
    }
}

debug! { Runtime (this) workers: this.workers(); }

/// What the thread returns or panics with.
#[track_caller]
pub(super) fn output<T>(thread: io::Result<JoinHandle<T>>) -> T {
    let thread = thread.unwrap_or_else(|error| panic!("failed to spawn a green thread: {error}"));
    thread.join_shielded().unwrap_or_else(|payload| interrupt::resume(payload))
}
