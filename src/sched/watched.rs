//! The runtimes whose workers are watched for stalls, and the sleep of the [`monitor`](super::monitor), which watches them.
//!
//! While every worker sleeps the monitor sleeps, too, until one of them gets busy. That costs a worker one load when it gets up. While all that are busy are in the
//! turns in which they have been for long, it sleeps longer and longer, and is woken by the others in the same way.
//!
//! ```text
//!  a worker gets busy                          the monitor
//!  W1  its word in `remote.busy` := busy       N1  SLEEPS := 1
//!  W2  light fence                             N2  heavy fence
//!  W3  SLEEPS? := 0, unparks the monitor       N3  looks at all workers: another one is busy? SLEEPS := 0, goes on
//!                                              N4  parks, until its next look at the latest
//! ```
//!
//! **The monitor does not sleep past a worker that gets busy.** If N3 does not see W1, then N2 comes before W2 in the order of these fences
//! ([`membarrier`](crate::sys::membarrier)), and W3 sees N1; the parker keeps what comes before N4. Where there is no heavy fence the monitor looks every second instead.
//!
//! A monitor that went to sleep as often as the workers would be woken as often as these, for 5 µs each time. So it does when nothing has happened for a while.
//! What is woken late is a hint: a stall is noticed later, and nothing else.

use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::base::lock::{Lock, LockGuard};
use crate::sched::nap::Nap;
use crate::sched::remote::{Remote, WatchedWorker};
use crate::sched::runtime_name::RuntimeName;
use crate::sys::clock::real_ns;
use crate::sys::fork::PerProcess;
use crate::sys::parker::Parker;
use crate::sys::system_thread::CpuUsage;

/// How long the monitor sleeps where nobody can wake it.
const SECOND_NS: u64 = 1_000_000_000;

static NAP: Nap = Nap::new();

/// What there is once in a process.
pub(super) struct Watchman {
    runtimes: Lock<Vec<WatchedRuntime>>,
    parker: Parker,
    /// There is a monitor.
    pub(super) started: Lock<bool>,
}

static WATCHMAN: PerProcess<Watchman> =
    PerProcess::new(|| Watchman { runtimes: Lock::new(Vec::new()), parker: Parker::new(), started: Lock::new(false) });

/// What the monitor sees of a runtime's workers.
pub(super) trait WorkersSeen: Sync {
    /// Of the worker with this number; the spare ones that there have been so far come after the others.
    fn remote(&self, number: usize) -> Option<&'static Remote>;

    /// Is there a thread that has not started, which any worker may take?
    fn has_unstarted(&self) -> bool;

    /// Does something wait for the worker with this number, as far as one sees quickly? More does, or less: [`glance`](super::glance). `is_alone`: as there.
    fn seems_awaited(&self, number: usize, watched: &WatchedWorker, is_alone: bool) -> bool;
}

/// One runtime.
pub(super) struct WatchedRuntime {
    crew: NonNull<dyn WorkersSeen>,
    pub(super) name: RuntimeName,
    /// Without the spare ones.
    workers: usize,
    pub(super) limit_ns: u64,
    /// Of each worker, and of each spare one that was seen.
    pub(super) seen: Vec<WorkerSeen>,
    /// Starts a spare worker, if there is one left.
    pub(super) start_spare: Option<StartSpare>,
    /// Looks in a row at which there were unstarted threads.
    pub(super) unstarted: u32,
}

/// Called by the monitor.
pub(crate) type StartSpare = Arc<dyn Fn() + Send + Sync>;

// SAFETY: what is shared is `Sync`; it is there as long as this is in the list.
unsafe impl Send for WatchedRuntime {}

/// What the monitor has seen of a worker.
#[derive(Clone, Default, Debug)]
pub(super) struct WorkerSeen {
    /// The number of the turn, and the worker's word that says that it was busy all the time; `None`: it slept.
    pub(super) turn: Option<(u32, u64)>,
    /// When it was first seen in that turn.
    pub(super) since_ns: u64,
    /// What runs there, only compared, and since when that and the turn are as they are. (A thread that has let another run on top of itself goes on in the turn of that.)
    pub(super) runs: usize,
    pub(super) runs_since_ns: u64,
    /// What it had used of processors soon after.
    pub(super) usage: Option<CpuUsage>,
    /// Looks in a row at which something seemed to wait for it.
    pub(super) waits: u32,
    /// Each other worker of the runtime has been in one turn for the limit, too: none of them looks after this one.
    pub(super) is_alone: bool,
    /// When it is looked at closely in any case.
    pub(super) look_ns: u64,
    pub(super) reported: bool,
}

impl Watchman {
    pub(super) fn get() -> &'static Self {
        WATCHMAN.get()
    }

    /// The runtimes that are watched; none ends while the caller has the result.
    pub(super) fn runtimes(&self) -> LockGuard<'_, Vec<WatchedRuntime>> {
        self.runtimes.lock()
    }

    /// The monitor sleeps until `deadline_ns`.
    pub(super) fn sleep_until(&self, deadline_ns: u64) {
        self.parker.park(deadline_ns);
    }

    /// The same, or until a worker gets busy: steps N1 to N4. `has_news` looks at all workers. False: the time has passed.
    pub(super) fn sleep_lightly(&self, deadline_ns: u64, has_news: impl FnOnce() -> bool) -> bool {
        let mut was_woken = true;
        NAP.sleep(has_news, |is_fenced| {
            was_woken = self.parker.park(if is_fenced { deadline_ns } else { deadline_ns.min(real_ns() + SECOND_NS) });
        });
        was_woken
    }
}

/// Steps W2 and W3.
#[inline]
pub(super) fn worker_gets_busy() {
    NAP.gets_busy(|| WATCHMAN.get().parker.unpark());
}

/// From now on the first `workers` workers of a runtime are watched, and its spare ones.
///
/// # Safety
///
/// The runtime stays where it is until it is forgotten.
pub(super) unsafe fn watch(crew: NonNull<dyn WorkersSeen>, name: &RuntimeName, workers: usize, limit_ns: u64) {
    let (name, seen) = (name.clone(), Vec::new());
    let runtime = WatchedRuntime { crew, name, workers, limit_ns, seen, start_spare: None, unstarted: 0 };
    WATCHMAN.get().runtimes().push(runtime);
}

/// The runtime has spare workers.
pub(crate) fn set_start_spare(key: *const (), start: StartSpare) {
    if let Some(runtime) = WATCHMAN.get().runtimes().iter_mut().find(|runtime| runtime.key() == key.addr()) {
        runtime.start_spare = Some(start);
    }
}

/// What the monitor has last seen a worker in.
#[derive(Clone, Copy, Debug)]
pub(super) struct LongTurn {
    pub(super) turn: u32,
    /// What runs, only compared.
    pub(super) runs: usize,
    pub(super) since_ns: u64,
}

/// In which turn a worker of a runtime was when the monitor last looked, what it ran, and since when. As long as it is in that, and runs that, what waits there has waited for longer: who begins to wait ends a turn, or lets another
/// thread run. (It may be too long by as much as it takes until the monitor sees what the worker has written.) Not in a visit to a
/// worker's list: the monitor makes such visits while it has the runtimes.
pub(super) fn long_turn(key: *const (), number: usize) -> Option<LongTurn> {
    let runtimes = WATCHMAN.get().runtimes();
    let seen = runtimes.iter().find(|runtime| runtime.key() == key.addr())?.seen.get(number)?;
    let (turn, _) = seen.turn.filter(|_| seen.runs != 0)?;
    Some(LongTurn { turn, runs: seen.runs, since_ns: seen.runs_since_ns })
}

/// The runtime ends.
pub(super) fn forget(key: *const ()) {
    WATCHMAN.get().runtimes().retain(|runtime| runtime.key() != key.addr());
}

impl WatchedRuntime {
    #[cfg(test)]
    pub(super) fn of_a_test(crew: &'static dyn WorkersSeen, workers: usize, limit_ns: u64) -> Self {
        let (crew, name) = (NonNull::from(crew), RuntimeName::next("test"));
        Self { crew, name, workers, limit_ns, seen: Vec::new(), start_spare: None, unstarted: 0 }
    }

    pub(super) fn key(&self) -> usize {
        self.crew.cast::<()>().addr().get()
    }

    pub(super) fn crew(&self) -> &dyn WorkersSeen {
        // SAFETY: it is there as long as this is in the list.
        unsafe { self.crew.as_ref() }
    }

    /// Of all workers, with their numbers.
    pub(super) fn remotes(&self) -> impl Iterator<Item = (usize, &'static Remote)> {
        (0..).map_while(|number| Some((number, self.crew().remote(number)?)))
    }

    /// Those that are spare, among all that were seen.
    pub(super) fn spares(&self) -> Range<usize> {
        self.workers..self.seen.len()
    }
}
