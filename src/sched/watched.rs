//! The runtimes whose workers are watched for stalls, and the sleep of the [`monitor`](super::monitor), which watches them.
//!
//! While every worker sleeps the monitor sleeps, too, until one of them gets busy. That costs a worker one load when it gets up.
//!
//! ```text
//!  a worker gets busy                          the monitor
//!  W1  its word in `remote.busy` := busy       N1  SLEEPS := 1
//!  W2  light fence                             N2  heavy fence
//!  W3  SLEEPS? := 0, unparks the monitor       N3  looks at all workers: one is busy? SLEEPS := 0, goes on
//!                                              N4  parks
//! ```
//!
//! **The monitor never sleeps while a worker is busy.** If N3 does not see W1, then N2 comes before W2 in the order of these fences
//! ([`membarrier`]), and W3 sees N1; the parker keeps what comes before N4. Where there is no heavy fence the monitor looks every second instead.
//!
//! A monitor that went to sleep as often as the workers would be woken as often as these, for 5 µs each time. So it does when nothing has happened for a while.
//! What is woken late is a hint: a stall is noticed later, and nothing else.

use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

use crossbeam_deque::{Injector, Stealer};

use crate::base::atomic::{AtomicU32, Ordering};
use crate::base::lock::{Lock, LockGuard};
use crate::sched::remote::Remote;
use crate::sys::clock::{NEVER, real_ns};
use crate::sys::fork::PerProcess;
use crate::sys::membarrier;
use crate::sys::parker::Parker;
use crate::sys::system_thread::CpuUsage;
use crate::task::Task;

/// How long the monitor sleeps where nobody can wake it.
const SECOND_NS: u64 = 1_000_000_000;

static SLEEPS: AtomicU32 = AtomicU32::new(0);

/// What there is once in a process.
pub(super) struct Watchman {
    runtimes: Lock<Vec<WatchedRuntime>>,
    parker: Parker,
    /// There is a monitor.
    pub(super) started: Lock<bool>,
}

static WATCHMAN: PerProcess<Watchman> =
    PerProcess::new(|| Watchman { runtimes: Lock::new(Vec::new()), parker: Parker::new(), started: Lock::new(false) });

/// One runtime.
pub(super) struct WatchedRuntime {
    key: usize,
    /// Of the workers, then of the spare ones.
    pub(super) remotes: Box<[&'static Remote]>,
    stealers: Box<[Stealer<Task>]>,
    injector: NonNull<Injector<Task>>,
    pub(super) limit_ns: u64,
    pub(super) seen: Box<[WorkerSeen]>,
    /// Starts a spare worker, if there is one left.
    pub(super) start_spare: Option<StartSpare>,
    /// Looks in a row at which there were unstarted threads.
    pub(super) unstarted: u32,
}

/// Called by the monitor.
pub(crate) type StartSpare = Arc<dyn Fn() + Send + Sync>;

// SAFETY: the queue is made for many threads; it is there as long as this is in the list.
unsafe impl Send for WatchedRuntime {}

/// What the monitor has seen of a worker.
#[derive(Clone, Default, Debug)]
pub(super) struct WorkerSeen {
    /// The number of the turn, and the worker's word that says that it was busy all the time; `None`: it slept.
    pub(super) turn: Option<(u32, u64)>,
    /// When it was first seen in that turn.
    pub(super) since_ns: u64,
    /// What it had used of processors soon after.
    pub(super) usage: Option<CpuUsage>,
    /// Looks in a row at which something waited for it, as far as others can see.
    pub(super) waits: u32,
    /// When it is asked whether threads of its own wait.
    pub(super) ask_ns: u64,
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

    /// The monitor sleeps until a worker gets busy: steps N1 to N4. `is_any_busy` looks at all workers.
    pub(super) fn sleep_soundly(&self, is_any_busy: impl FnOnce() -> bool) {
        SLEEPS.store(1, Ordering::Relaxed);
        let is_fenced = membarrier::heavy().is_ok();
        if is_any_busy() {
            SLEEPS.store(0, Ordering::Relaxed);
            return;
        }
        self.parker.park(if is_fenced { NEVER } else { real_ns() + SECOND_NS });
        SLEEPS.store(0, Ordering::Relaxed);
    }
}

/// Steps W2 and W3.
#[inline]
pub(super) fn worker_gets_busy() {
    membarrier::light();
    if SLEEPS.load(Ordering::Relaxed) != 0 {
        wake();
    }
}

#[cold]
#[inline(never)]
fn wake() {
    // ORDERING: Relaxed: the parker orders what there is to order.
    if SLEEPS.swap(0, Ordering::Relaxed) != 0 {
        WATCHMAN.get().parker.unpark();
    }
}

/// From now on the workers of a runtime are watched, which `key` stands for.
///
/// # Safety
///
/// The injector stays where it is until the runtime is forgotten.
pub(super) unsafe fn watch(
    key: *const (),
    remotes: Box<[&'static Remote]>,
    stealers: &[Stealer<Task>],
    injector: &Injector<Task>,
    limit_ns: u64,
) {
    let seen = vec![WorkerSeen::default(); remotes.len()].into();
    WATCHMAN.get().runtimes().push(WatchedRuntime {
        key: key.addr(),
        remotes,
        seen,
        start_spare: None,
        unstarted: 0,
        stealers: stealers.into(),
        injector: NonNull::from(injector),
        limit_ns,
    });
}

/// The runtime has spare workers.
pub(crate) fn set_start_spare(key: *const (), start: StartSpare) {
    if let Some(runtime) = WATCHMAN.get().runtimes().iter_mut().find(|runtime| runtime.key == key.addr()) {
        runtime.start_spare = Some(start);
    }
}

/// The runtime ends.
pub(super) fn forget(key: *const ()) {
    WATCHMAN.get().runtimes().retain(|runtime| runtime.key != key.addr());
}

impl WatchedRuntime {
    pub(super) fn key(&self) -> usize {
        self.key
    }

    /// Is there a thread that has not started, which any worker may take?
    pub(super) fn has_unstarted(&self) -> bool {
        // SAFETY: as below.
        let injector = unsafe { self.injector.as_ref() };
        !injector.is_empty() || self.stealers.iter().any(|stealer| !stealer.is_empty())
    }

    /// Those that are spare.
    pub(super) fn spares(&self) -> Range<usize> {
        self.stealers.len()..self.remotes.len()
    }

    /// Does something wait for this worker, as far as others can see: a thread that was woken or shall start, or an event?
    pub(super) fn waits_for(&self, number: usize) -> bool {
        let remote = self.remotes[number];
        // SAFETY: it is there as long as this is in the list.
        let injector = unsafe { self.injector.as_ref() };
        !remote.doorbell.is_silent()
            || self.stealers.get(number).is_some_and(|stealer| !stealer.is_empty())
            || !injector.is_empty()
            || remote.latch.ready() > 0
            || remote.live.load(Ordering::Relaxed) >= 2 && remote.has_events()
    }
}
