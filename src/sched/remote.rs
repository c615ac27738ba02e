//! The remotes of all workers of the process, and how a thread that is woken gets home.
//!
//! A waker holds a ticket to a thread, and nothing that keeps the thread's runtime alive: as soon as it has handed the
//! thread over, the thread may run, end, and its runtime be gone, while the waker still has to look whether the worker
//! must be unparked. So a remote is never freed: a runtime that ends gives its remotes back, and the next ones take them, each
//! by itself. What that means to threads that come too late is in [`counted`](super::counted); a late `unpark` is at worst one idle
//! look round.

use std::ptr::{self, NonNull};
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use crate::base::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use crate::base::lock::Lock;
use crate::driver::handle::PollerHandle;
use crate::park::current::WorkerContext;
use crate::park::latch::Latch;
use crate::sched::arriving::Arriving;
use crate::sched::biased::BiasedLock;
use crate::sched::counters::Counters;
use crate::sched::doorbell::Doorbell;
use crate::sched::given::Given;
use crate::sched::idle::Idle;
use crate::sched::inbox::Queued;
use crate::sched::live::ListPlaces;
use crate::sched::policy::busy_share::BusyShare;
use crate::sched::policy::heartbeat::Heartbeat;
use crate::sched::policy::run_rate::RunRate;
use crate::sched::roster::Roster;
use crate::sched::wake_probe::WakeProbe;
use crate::sys::fork::PerProcess;
use crate::sys::system_thread::SystemThread;
use crate::task::state::CancelFound;
use crate::task::{Header, Task};

/// Workers in the process at one time, all runtimes together.
pub(crate) const MAX_WORKERS: usize = 4096;

impl Queued for Header {
    #[inline]
    fn link(&self) -> &AtomicPtr<Header> {
        self.link()
    }
}

/// What one worker shows to the rest of the process.
pub(crate) struct Remote {
    pub(crate) doorbell: Doorbell<Header>,
    cancels: Lock<Vec<Task>>,
    /// Threads that live on the worker, as of late.
    pub(crate) live: AtomicU32,
    /// Guards the list of those threads, and `here`, against the end of the worker.
    pub(crate) listed: BiasedLock<ListPlaces>,
    /// How quickly the worker goes through its actors.
    pub(crate) run_rate: RunRate,
    /// How much of its time it spends running threads.
    pub(crate) busy: BusyShare,
    /// That the worker goes on.
    pub(crate) heartbeat: Heartbeat,
    /// Unstarted threads that other workers have sent and that have not come out of the inbox.
    pub(crate) arriving: Arriving,
    /// Which they are.
    pub(crate) given: Given,
    pub(crate) counters: Counters,
    /// When a thread was woken.
    pub(crate) wake_probe: WakeProbe,
    /// The poller that the worker sleeps in, if it has one: there it is fetched.
    poller: Lock<Option<Arc<PollerHandle>>>,
    /// The time of a worker that has virtual time.
    pub(crate) virtual_ns: AtomicU64,
    /// The number by which a thread's state word names this remote.
    pub(crate) index: u16,
    /// Whether others may stand in for the worker.
    pub(crate) latch: CachePadded<Latch>,
    /// The worker, for the [`monitor`](super::monitor) and a dump, and its OS thread. The worker does not end while one has the lock.
    pub(crate) watched: Lock<Option<WatchedWorker>>,
    /// The worker, for those that stand in; and for fibers that run on OS threads of their own (the `threads` backend).
    pub(crate) here: AtomicPtr<WorkerContext>,
    /// That of the runtime whose first remote this is.
    roster: Roster,
}

/// A worker that has begun and has not ended, and its OS thread.
#[derive(Debug)]
pub(crate) struct WatchedWorker {
    pub(crate) here: *const WorkerContext,
    pub(crate) os: SystemThread,
}

// SAFETY: it is an address; what may be touched there says who follows it.
unsafe impl Send for WatchedWorker {}

/// The remotes of one runtime, and the word in which its sleepers are counted.
pub(crate) struct RemoteGroup {
    pub(crate) remotes: Box<[&'static Remote]>,
    pub(crate) idle: &'static Idle,
    /// Of its spare workers. Each is counted by itself.
    pub(crate) spares: Box<[&'static Remote]>,
}

/// What no runtime has now.
struct Spares {
    remotes: Vec<&'static Remote>,
    idles: Vec<&'static Idle>,
    /// How many remotes were ever made.
    made: usize,
}

static SPARES: PerProcess<Lock<Spares>> = PerProcess::new(|| Lock::new(Spares::after_a_parent()));
pub(super) static TABLE: [AtomicPtr<Remote>; MAX_WORKERS] = [const { AtomicPtr::new(ptr::null_mut()) }; MAX_WORKERS];

impl Spares {
    /// None; what a parent of this process has made keeps its numbers.
    fn after_a_parent() -> Self {
        let made = TABLE.iter().position(|place| place.load(Ordering::Relaxed).is_null()).unwrap_or(MAX_WORKERS);
        Self { remotes: Vec::new(), idles: Vec::new(), made }
    }

    /// How many there may be yet.
    fn left(&self) -> usize {
        self.remotes.len() + (MAX_WORKERS - self.made)
    }

    fn idle(&mut self) -> &'static Idle {
        self.idles.pop().unwrap_or_else(|| Box::leak(Box::new(Idle::new())))
    }

    /// There is one left.
    fn take(&mut self, idle: &'static Idle) -> &'static Remote {
        let Some(remote) = self.remotes.pop() else { return self.make(idle) };
        remote.arriving.reopen();
        remote.busy.reset();
        remote.run_rate.reset();
        remote.counters.reset();
        remote.wake_probe.reset();
        remote.doorbell.counted.hand_over(idle);
        remote
    }

    fn make(&mut self, idle: &'static Idle) -> &'static Remote {
        let remote: &'static Remote = Box::leak(Box::new(CachePadded::new(Remote {
            doorbell: Doorbell::new(idle),
            cancels: Lock::new(Vec::new()),
            live: AtomicU32::new(0),
            listed: BiasedLock::new(ListPlaces::NONE),
            run_rate: RunRate::new(),
            busy: BusyShare::new(),
            heartbeat: Heartbeat::new(),
            arriving: Arriving::new(),
            given: Given::new(),
            counters: Counters::new(),
            wake_probe: WakeProbe::new(),
            poller: Lock::new(None),
            virtual_ns: AtomicU64::new(0),
            index: self.made as u16,
            latch: CachePadded::new(Latch::new()),
            watched: Lock::new(None),
            here: AtomicPtr::new(ptr::null_mut()),
            roster: Roster::new(),
        })));
        // ORDERING: Release pairs with the Acquire in `get`.
        TABLE[self.made].store(ptr::from_ref(remote).cast_mut(), Ordering::Release);
        self.made += 1;
        remote
    }
}

/// Remotes for `workers` workers. `None`: there would be more than [`MAX_WORKERS`] in the process.
pub(crate) fn acquire(workers: usize) -> Option<RemoteGroup> {
    let mut pool = SPARES.get().lock();
    if pool.left() < workers {
        return None;
    }
    let idle = pool.idle();
    let remotes = (0..workers).map(|_| pool.take(idle)).collect();
    Some(RemoteGroup { remotes, idle, spares: Box::new([]) })
}

/// The remote of a spare worker, which is counted by itself. `None`, as above.
pub(crate) fn acquire_spare() -> Option<&'static Remote> {
    let mut pool = SPARES.get().lock();
    (pool.left() > 0).then(|| {
        let idle = pool.idle();
        pool.take(idle)
    })
}

/// Gives the remotes of a runtime back, all of whose workers have ended.
pub(crate) fn release(group: RemoteGroup) {
    for remote in group.remotes.iter().chain(&group.spares) {
        remote.doorbell.counted.wait_for_the_late();
        // A cancel that came too late.
        drop(remote.take_cancels());
        remote
            .doorbell
            .answer(remote.doorbell.counted.idle(), false)
            .deliver(|_| unreachable!("a thread was woken after its runtime had ended"));
    }
    let mut pool = SPARES.get().lock();
    // The one that was given back last is the warmest, and is taken first; of a group, the first.
    pool.remotes.extend(group.spares.iter().chain(group.remotes.iter().rev()));
    pool.idles.extend(group.spares.iter().map(|remote| remote.doorbell.counted.idle()));
    pool.idles.push(group.idle);
}

/// The roster of the runtime whose first remote has that index. It outlives the runtime, as the remotes do.
pub(crate) fn roster_of(index: u16) -> &'static Roster {
    &get(index).roster
}

#[inline]
pub(crate) fn get(index: u16) -> &'static Remote {
    // ORDERING: Acquire pairs with the Release in `acquire`.
    let remote = TABLE[usize::from(index)].load(Ordering::Acquire);
    // SAFETY: an index comes from a remote that was made, and those are never freed.
    unsafe { &*remote }
}

impl Remote {
    /// Leaves a thread that may run again.
    ///
    /// # Safety
    ///
    /// The caller has won the thread's wait; this is the remote of the thread's home.
    pub(crate) unsafe fn send(&self, thread: NonNull<Header>) {
        self.wake_probe.leaves(thread.as_ptr());
        // SAFETY: the thread lives at least until its worker has taken it out and run it; invariant 4 of the header.
        unsafe { self.doorbell.send(thread, || self.wake_poller()) };
    }

    /// Leaves a thread that shall start on the worker, which expects it.
    ///
    /// # Safety
    ///
    /// The caller is the worker that has claimed it. It has not started, and is in no queue; its reference goes along.
    pub(crate) unsafe fn send_unstarted(&self, thread: NonNull<Header>) {
        // SAFETY: it is alive as long as its reference is.
        unsafe { thread.as_ref() }.state.set_home(self.index);
        self.given.add(thread);
        // SAFETY: it waits for nothing, is in no queue and has been claimed, so it is this worker's alone.
        unsafe { self.doorbell.send(thread, || self.wake_poller()) };
    }

    /// How many threads the worker has, or will have. `None`: it has ended.
    pub(crate) fn load(&self) -> Option<u32> {
        Some(self.live.load(Ordering::Relaxed) + self.arriving.count()?)
    }

    /// Has the worker look at its cancels and its runtime's shutdown.
    pub(crate) fn notify_control(&self) {
        self.doorbell.notify_control(|| self.wake_poller());
    }

    /// Makes a searcher of the worker if it sleeps. False: it does not.
    pub(crate) fn notify_search(&self) -> bool {
        self.doorbell.notify_search(|| self.wake_poller())
    }

    /// Are there events in the poller that the worker sleeps in?
    pub(crate) fn has_events(&self) -> bool {
        let poller = self.poller.lock().clone();
        poller.is_some_and(|poller| poller.has_events())
    }

    /// The worker sleeps in its poller: ends that.
    #[cold]
    fn wake_poller(&self) {
        let poller = self.poller.lock().clone();
        // None: the worker has got up for another reason, and ended.
        if let Some(poller) = poller {
            poller.wake();
        }
    }

    /// From now on the worker sleeps in this poller; `None`: it ends.
    pub(crate) fn set_poller(&self, poller: Option<Arc<PollerHandle>>) {
        *self.poller.lock() = poller;
    }

    pub(crate) fn take_cancels(&self) -> Vec<Task> {
        std::mem::take(&mut *self.cancels.lock())
    }
}

/// Cancels `thread`: it unwinds from the blocking call that it is in, or from its next one.
pub(crate) fn cancel(thread: &Task) {
    interrupt(thread, thread.state.cancel());
}

/// The second half: `thread` was marked as cancelled.
pub(crate) fn interrupt(thread: &Task, found: CancelFound) {
    // The home worker ends the wait: only there can nothing happen to the thread meanwhile. So a thread that is about to
    // wait needs no fence to see the flag: the notice reaches its worker after it has suspended.
    if let CancelFound::Started { home } = found {
        let remote = get(home);
        remote.cancels.lock().push(thread.clone());
        remote.notify_control();
    }
}
