//! What a runtime has counted: [`Metrics`].

use std::time::Duration;

use crate::base::atomic::Ordering;
use crate::rt::default::with_shared;
use crate::rt::runtime::Runtime;
use crate::sched::Shared;
use crate::sched::counters::{Counter, Counters, DELAYS};
use crate::sched::policy::busy_share;
use crate::sched::remote::Remote;
use crate::stack;
use crate::sys::clock::real_ns;

/// What a [`Runtime`] has counted so far, and how much of everything there is now: what [`Runtime::metrics`] returns.
///
/// Each worker counts by plain stores to memory of its own, so counting costs a thread next to nothing. Numbers that are read while the
/// runtime works are a few turns old, and need not fit each other to the last unit. What is counted since the beginning never
/// falls.
///
/// ```
/// let metrics = green::run(green::metrics);
/// assert!(!metrics.workers.is_empty());
/// ```
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// Of all workers together.
    pub threads: ThreadMetrics,
    /// One for each worker, in the order of their numbers; then one for each place of a [spare worker](crate::RuntimeBuilder::spare_workers) that there has been.
    pub workers: Vec<WorkerMetrics>,
    /// Since the beginning: [spare workers](crate::RuntimeBuilder::spare_workers) that were started.
    pub spare_workers: u64,
    /// The OS threads that run [`blocking`](crate::blocking) closures.
    pub blocking: BlockingMetrics,
    /// The stacks of the whole process, all runtimes together.
    pub stacks: StackMetrics,
}

/// The green threads of a runtime.
///
/// ```
/// let metrics = green::run(green::metrics);
/// assert!(metrics.threads.live >= 1 && metrics.threads.spawned >= 1);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ThreadMetrics {
    /// Spawned, and not started yet.
    pub unstarted: u64,
    /// Started, and not ended: those that run, are ready, or wait. (The turns of actors that are under way are not among them, see [`Runtime::actor_metrics`].)
    pub live: u64,
    /// Workers that are up and run threads, or turns of actors, or look for the next one.
    pub running: u64,
    /// Threads, and turns of actors, that were ready to run when their worker last looked.
    pub ready: u64,
    /// Threads that wait: those that live, less those that are ready or run. So they are too few by the turns of actors that are ready or run.
    pub parked: u64,
    /// Spawned since the beginning: each of these is unstarted, live or ended.
    pub spawned: u64,
    /// Since the beginning: ended, in whatever way. One that has never started, because its runtime was stopped first, is not among them.
    pub ended: u64,
    /// Of these: ended in a panic.
    pub panicked: u64,
    /// Of these: ended by a [cancel](crate::thread::JoinHandle::cancel).
    pub cancelled: u64,
}

/// One worker of a runtime.
///
/// ```
/// let metrics = green::run(green::metrics);
/// assert!((0.0..=1.0).contains(&metrics.workers[0].busy));
/// ```
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct WorkerMetrics {
    /// Is it a spare one? When it has ended it counts on where its successor begins.
    pub spare: bool,
    /// How much of its time it has run threads, from 0 to 1, as a moving average over 134 ms. A processor that it does not get counts as
    /// busy.
    pub busy: f64,
    /// Threads and turns of actors that live on it: they have started there, and not ended, or will start nowhere else.
    pub live: u64,
    /// Threads, and turns of actors, that were ready to run when it last looked; none while it sleeps.
    pub ready: u64,
    /// Since the beginning: threads that have started on it.
    pub started: u64,
    /// Since the beginning: turns of actors.
    pub actor_runs: u64,
    /// Since the beginning: unstarted threads and actors that it has taken from others.
    pub stolen: u64,
    /// Since the beginning: unstarted threads that it has given to others, because it had more.
    pub given: u64,
    /// Since the beginning: wake-ups of its threads by others than its own threads. (Threads that it is given are no wake-ups.)
    pub woken: u64,
    /// Since the beginning: how often it has gone to sleep.
    pub sleeps: u64,
    /// Since the beginning: how often it has asked the system for events.
    pub polls: u64,
    /// Since the beginning: events of descriptors that it got.
    pub events: u64,
    /// Since the beginning: timers that were due.
    pub timers: u64,
    /// Since the beginning: [stalls](crate::stall).
    pub stalls: u64,
    /// How long threads that were ready have waited for their turn, the time included in which one that others have woken has waited for the worker to come
    /// round, or to get up: a sample.
    pub delays: Histogram,
}

/// The OS threads of a runtime that run [`blocking`](crate::blocking) closures.
///
/// ```
/// let metrics = green::run(green::metrics);
/// assert!(metrics.blocking.idle <= metrics.blocking.threads);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct BlockingMetrics {
    /// OS threads, now.
    pub threads: usize,
    /// Of these, those that have nothing to do.
    pub idle: usize,
    /// Closures that wait for one.
    pub queued: usize,
}

/// The stacks of the process.
///
/// ```
/// let metrics = green::run(green::metrics);
/// assert!(metrics.stacks.claimed <= metrics.stacks.most_claimed);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct StackMetrics {
    /// Stacks that are in use, at hand for the next thread, or promised to one that has not started.
    pub claimed: usize,
    /// The most that there ever were.
    pub most_claimed: usize,
    /// How a guard page is made here: `"advice"` (`MADV_GUARD_INSTALL`) or `"protection"` (`mprotect`).
    pub guards: &'static str,
}

/// How often durations fell between bounds that are powers of two: below 1024 ns, below 2048 ns, and so on.
///
/// ```
/// let metrics = green::run(green::metrics);
/// assert!(metrics.workers[0].delays.counts().all(|(bound, _)| !bound.is_zero()));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Histogram {
    counts: [u64; DELAYS],
    sum_ns: u64,
}

impl Histogram {
    /// Returns the bounds and the counts, from the shortest: how many durations were shorter than the bound, and not shorter than the one
    /// before. The last bound is [`Duration::MAX`].
    ///
    /// ```
    /// let metrics = green::run(green::metrics);
    /// let delays = &metrics.workers[0].delays;
    /// assert_eq!(delays.counts().next().unwrap().0, std::time::Duration::from_nanos(1024));
    /// assert_eq!(delays.counts().map(|(_, count)| count).sum::<u64>(), delays.len());
    /// ```
    pub fn counts(&self) -> impl Iterator<Item = (Duration, u64)> {
        let bound = |at| if at + 1 == DELAYS { Duration::MAX } else { Duration::from_nanos(1024_u64 << at) };
        self.counts.into_iter().enumerate().map(move |(at, count)| (bound(at), count))
    }

    /// Returns how many durations there are.
    ///
    /// ```
    /// let delays = green::run(green::metrics).workers[0].delays;
    /// assert_eq!(delays.len() == 0, delays.is_empty());
    /// ```
    #[must_use]
    pub fn len(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns whether there are none.
    ///
    /// ```
    /// let delays = green::run(green::metrics).workers[0].delays;
    /// assert_eq!(delays.is_empty(), delays.counts().all(|(_, count)| count == 0));
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how long they are together. While the worker goes on, the last that is counted may not be in it yet, or some may be that are not counted.
    ///
    /// ```
    /// let delays = green::run(green::metrics).workers[0].delays;
    /// println!("{:?} on average", delays.sum().div_f64(delays.len().max(1) as f64));
    /// ```
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }
}

impl Runtime {
    /// Returns what the runtime has counted. It takes a few microseconds, and stops nobody.
    ///
    /// ```
    /// let runtime = green::Runtime::builder().workers(2).build()?;
    /// runtime.run(|| (0..10).for_each(|n| assert_eq!(green::spawn(move || n).join().unwrap(), n)));
    /// let metrics = runtime.metrics();
    /// assert_eq!(metrics.workers.len(), 2);
    /// assert_eq!(metrics.threads.spawned, 11);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        read(&self.shared)
    }
}

/// Returns what the caller's runtime has counted, or, on a thread that belongs to none, the default one.
///
/// ```
/// let metrics = green::run(|| {
///     green::spawn(|| ()).join().unwrap();
///     green::metrics()
/// });
/// assert!(metrics.threads.spawned >= 2 && metrics.threads.live >= 1);
/// ```
///
/// # Panics
///
/// If the default runtime has not started yet, and cannot.
#[must_use]
pub fn metrics() -> Metrics {
    with_shared(|shared| Ok(read(shared)))
        .unwrap_or_else(|error| panic!("failed to start the default runtime: {error}"))
}

fn read(shared: &Shared) -> Metrics {
    let now_ns = real_ns();
    let workers = shared.remotes.iter().map(|remote| worker(remote, Existence::Always, now_ns));
    let spares = shared.spares.iter().map_while(|slot| {
        let existence = if slot.is_taken() { Existence::Now } else { Existence::Before };
        slot.remote().map(|remote| worker(remote, existence, now_ns))
    });
    let (workers, up): (Vec<WorkerMetrics>, Vec<bool>) = workers.chain(spares).unzip();
    let sum =
        |count: fn(&Counters) -> &Counter| shared.every_remote().map(|remote| count(&remote.counters).get()).sum();
    // Each before that which it is a part of.
    let ended: u64 = sum(|counters| &counters.ended);
    let started: u64 = sum(|counters| &counters.started);
    let spawned = shared.spawned();
    let live = started.saturating_sub(ended);
    let running = workers.iter().zip(up).filter(|(worker, up)| *up && worker.live > 0).count() as u64;
    let ready = workers.iter().map(|worker| worker.ready).sum();
    let (threads, idle, queued) = shared.pool.counts();
    let (claimed, most_claimed) = stack::counts();
    Metrics {
        threads: ThreadMetrics {
            unstarted: spawned.saturating_sub(started),
            live,
            running,
            ready,
            parked: live.saturating_sub(running + ready),
            spawned,
            ended,
            panicked: sum(|counters| &counters.panicked),
            cancelled: sum(|counters| &counters.cancelled),
        },
        workers,
        spare_workers: shared.spares_started.load(Ordering::Relaxed),
        blocking: BlockingMetrics { threads, idle, queued },
        stacks: StackMetrics { claimed, most_claimed, guards: stack::guard_kind() },
    }
}

/// When there is a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Existence {
    Always,
    /// It is spare, and is there.
    Now,
    /// It is spare, and has ended.
    Before,
}

/// What the worker has counted, and whether it is up.
fn worker(remote: &Remote, existence: Existence, now_ns: u64) -> (WorkerMetrics, bool) {
    let counters = &remote.counters;
    let has_ended = existence == Existence::Before;
    let up = !has_ended && remote.busy.busy_since().is_some();
    let metrics = WorkerMetrics {
        spare: existence != Existence::Always,
        busy: if has_ended { 0.0 } else { f64::from(remote.busy.at(now_ns)) / f64::from(busy_share::ALL) },
        live: u64::from(remote.load().unwrap_or(0)),
        ready: if up { counters.ready.get() } else { 0 },
        started: counters.started.get(),
        actor_runs: remote.run_rate.started(),
        stolen: counters.stolen.get(),
        given: counters.given.get(),
        woken: counters.woken.get(),
        sleeps: counters.sleeps.get(),
        polls: counters.polls.get(),
        events: counters.events.get(),
        timers: counters.timers.get(),
        stalls: counters.stalls.get(),
        delays: Histogram {
            counts: std::array::from_fn(|at| counters.delays[at].get()),
            sum_ns: counters.delays_ns.get(),
        },
    };
    (metrics, up)
}
