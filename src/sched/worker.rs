//! One worker: its queues, its loop, and how threads come to run on it.
//!
//! # Invariants
//!
//! 1. A `Worker` is touched by its own OS thread only: by its loop, and by the threads that run on it. It is shared among
//!    those by `&`, so all its parts are cells.
//! 2. `here` is the first field of the `repr(C)` struct, and the pointer given to `WorkerContext::enter` was made from one to the
//!    whole worker: so a `WorkerContext` that is entered on this OS thread is part of a `Worker`.
//! 3. A thread stands in at most one of `ready` and `next_start` of the queues and `here.woken`, or runs. Each of them, and each entry of a deque,
//!    has a counted reference.
//! 4. The loop runs no user code: closures, results and destructors run on the threads' own stacks, and so do the wakers of
//!    foreign async code ([`errand`](super::errand)).

use std::cell::{Cell, OnceCell, UnsafeCell};
use std::mem::offset_of;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use crate::base::atomic::Ordering;
use crate::flight::{EventKind, Scribe};
use crate::park::current::WorkerContext;
use crate::park::{fire, os};
use crate::sched::clock::Clock;
use crate::sched::counters::DelayProbe;
use crate::sched::deque::Deque;
use crate::sched::events::Events;
use crate::sched::idle::Idle;
use crate::sched::inbox::Batch;
use crate::sched::live::Live;
use crate::sched::policy::Policy;
use crate::sched::queues::Queues;
use crate::sched::remote::{Remote, WatchedWorker};
use crate::sched::roster::{OwnedList, SlotStock};
use crate::sched::shared::Shared;
use crate::sched::siblings::Siblings;
use crate::sched::stock::Stock;
use crate::sched::watched;
use crate::stack::Cache;
use crate::sys::clock::{real_ns, virtual_ns};
use crate::sys::system_thread::SystemThread;
use crate::task::{Header, Task};
#[cfg(green_thread_locals)]
use crate::thread_locals::block::BlockPool;

/// Thread ids taken at a time.
const IDS: u64 = 1024;

/// See the module's text.
#[repr(C)]
pub(crate) struct Worker {
    here: WorkerContext,
    pub(crate) shared: Arc<Shared>,
    pub(crate) remote: &'static Remote,
    /// Position among the runtime's workers.
    pub(crate) number: usize,
    /// It is a [spare one](super::spare).
    pub(crate) is_spare: bool,
    pub(crate) queues: Queues,
    pub(crate) live: Live,
    pub(crate) stacks: UnsafeCell<Cache>,
    ids: Cell<(u64, u64)>,
    pub(crate) clock: Clock,
    pub(crate) events: Events,
    pub(crate) policy: Policy,
    pub(super) delay: DelayProbe,
    pub(crate) scribe: Scribe,
    pub(crate) stopping: Cell<bool>,
    /// Why no stack is [handed on](Worker::hand_on): so many threads run on top of another, and whether there is a reason that stays.
    pub(super) keeps_stacks: Cell<u32>,
    /// So many threads can wait for a time without an allocation.
    pub(super) timer_room: Cell<usize>,
    pub(super) siblings: Siblings,
    pub(crate) stock: Stock,
    pub(super) slots: SlotStock,
    pub(super) owned: OnceCell<Option<OwnedList>>,
    #[cfg(green_thread_locals)]
    blocks: UnsafeCell<BlockPool>,
}

impl Worker {
    /// Where a debugger finds the first thread that lives here, and the worker's number.
    pub(super) const FIRST_LIVE: usize = offset_of!(Self, live) + Live::FIRST;
    pub(super) const NUMBER: usize = offset_of!(Self, number);

    pub(crate) fn new(shared: Arc<Shared>, number: usize, unstarted: Deque<Task>) -> Self {
        let is_spare = number >= shared.remotes.len();
        let (remote, roster, stock) = (shared.remote(number), shared.roster, Stock::new(&shared));
        let now_ns = real_ns();
        let virtual_time = shared.virtual_time.then_some(&remote.virtual_ns);
        // ORDERING: Relaxed: of this OS thread only.
        virtual_time.inspect(|time| time.store(now_ns, Ordering::Relaxed));
        let scribe = Scribe::new(shared.identity().addr(), number, shared.recording);
        // Where every wake is recorded, none may take the short way.
        let is_shared = shared.moves || scribe.writes_all();
        Self {
            here: WorkerContext::new(remote.index, is_shared, &remote.latch, now_ns, virtual_time),
            shared,
            remote,
            number,
            is_spare,
            queues: Queues::new(unstarted),
            live: Live::new(&remote.live, &remote.listed),
            stacks: UnsafeCell::new(Cache::new()),
            ids: Cell::new((0, 0)),
            clock: Clock::new(now_ns),
            events: Events::default(),
            policy: Policy::new(),
            delay: DelayProbe::new(),
            scribe,
            stopping: Cell::new(false),
            keeps_stacks: Cell::new(u32::from(is_shared)),
            timer_room: Cell::new(0),
            siblings: Siblings::default(),
            stock,
            slots: SlotStock::new(roster),
            owned: OnceCell::new(),
            #[cfg(green_thread_locals)]
            blocks: UnsafeCell::default(),
        }
    }

    /// The worker that this code runs on.
    #[inline(always)]
    pub(crate) fn current<'a>() -> Option<&'a Worker> {
        // SAFETY: invariant 2. (A reference to a `WorkerContext` would reach no further than that: Miri says so.)
        WorkerContext::entered().map(|here| unsafe { here.cast::<Worker>().as_ref() })
    }

    #[inline(always)]
    pub(crate) fn here(&self) -> &WorkerContext {
        &self.here
    }

    /// The stacks of this worker. Not re-entered: no method of the cache calls back.
    #[inline]
    #[expect(clippy::mut_from_ref, reason = "a cell of the owner's; the reference lives for one call")]
    pub(crate) fn stacks(&self) -> &mut Cache {
        // SAFETY: invariant 1, and nobody keeps the reference longer than one call of the cache.
        unsafe { &mut *self.stacks.get() }
    }

    /// The blocks of threads with thread-locals of their own. Not re-entered: no method of the pool calls back.
    #[cfg(green_thread_locals)]
    #[expect(clippy::mut_from_ref, reason = "as above")]
    pub(crate) fn blocks(&self) -> &mut BlockPool {
        // SAFETY: as for `stacks`.
        unsafe { &mut *self.blocks.get() }
    }

    /// The worker's whole life on its OS thread: runs threads until the runtime stops and all of its own are gone.
    pub(crate) fn run(&self) {
        let here = ptr::from_ref(self).cast::<WorkerContext>();
        self.remote.here.store(here.cast_mut(), Ordering::Release); // ORDERING: pairs with the load in `thread_main`.
        // SAFETY: `self` outlives this call, which takes the pointer out again.
        unsafe { WorkerContext::enter(here) };
        #[cfg(green_thread_locals)]
        {
            self.here.blocked_signals.look();
            if self.shared.moves {
                self.here.hub.set();
            }
        }
        // Of the whole worker: the word that threads are resumed with.
        let _ = here.expose_provenance();
        *self.remote.watched.lock() = Some(WatchedWorker { here, os: SystemThread::current() });
        self.gets_busy(real_ns());
        loop {
            if self.scribe.writes_all() {
                self.run_recorded();
            } else if self.shared.moves {
                self.run_looking();
            } else {
                while let Some(thread) = self.next() {
                    let _ = self.turn(thread);
                }
            }
            if !self.wait_for_work() {
                break;
            }
        }
        *self.remote.watched.lock() = None;
        self.remote.set_poller(None);
        // What is left in the deque are entries of threads that were started by a joiner.
        while self.queues.unstarted.pop().is_some() {}
        // ORDERING: Relaxed: who lists threads looks under the lock; a debugger, while the process stands still.
        self.remote.listed.own(|_| self.remote.here.store(ptr::null_mut(), Ordering::Relaxed));
        // SAFETY: no worker.
        unsafe { WorkerContext::enter(ptr::null()) };
    }

    /// The count of sleepers that the worker is in.
    pub(super) fn counted_in(&self) -> &'static Idle {
        if self.is_spare { self.remote.doorbell.counted.idle() } else { self.shared.idle() }
    }

    /// The worker begins, or goes on after a sleep, since when it had nothing to run.
    pub(super) fn gets_busy(&self, idle_since_ns: u64) {
        let now_ns = real_ns();
        self.remote.busy.turns(true, now_ns);
        self.clock.gets_busy(idle_since_ns, now_ns);
        if self.shared.stall_limit_ns != 0 {
            watched::worker_gets_busy();
        }
    }

    /// Puts a thread that the worker's own threads or loop have woken into the slot; the thread that stood there goes to the queue.
    #[inline]
    pub(super) fn woken_here(&self, thread: NonNull<Header>) {
        if let Some(before) = NonNull::new(self.here.woken.replace(thread.as_ptr())) {
            self.make_ready(before);
        }
    }

    /// Queues a thread; its counted reference goes along.
    #[inline]
    pub(crate) fn make_ready(&self, thread: NonNull<Header>) {
        // SAFETY: invariant 3: it is in no queue, and its reference keeps it alive.
        unsafe { self.queues.ready.push(thread) };
    }

    /// Queues an unstarted thread that any worker may steal, and sees to it that somebody does when it is worth it.
    #[inline]
    pub(crate) fn spawn(&self, task: Task) {
        self.queues.note_youngest(&task);
        self.offer(task, true);
    }

    /// Queues a thread that starts here and stays, as its maker does from now on: they may share what is not `Send`.
    pub(crate) fn spawn_here(&self, task: Task) {
        if let Some(maker) = self.here.current() {
            maker.state.pin();
        }
        task.state.claim_unshared(self.remote.index);
        let thread = task.into_raw();
        self.here.inside(|| {
            // SAFETY: nobody else has seen it; it is taken out when it ends.
            unsafe { self.live.push(thread) };
            self.make_ready(thread);
        });
    }

    /// As [`spawn`](Self::spawn), for a re-armable task that is not started. A worker that goes through them quickly needs no help; the lookout stays on
    /// guard.
    #[inline]
    pub(crate) fn launch(&self, task: Task) {
        self.offer(task, !self.remote.run_rate.is_quick());
    }

    /// Puts an unstarted thread where any worker may take it. `worth_it`: two of them are worth waking one.
    #[inline(always)]
    fn offer(&self, task: Task, worth_it: bool) {
        if self.is_spare {
            return self.offer_to_all(task);
        }
        self.queues.unstarted.push(task);
        if self.shared.remotes.len() > 1 {
            let idle = self.shared.idle();
            let more = worth_it && self.queues.unstarted.len() >= 2;
            let wake = if more { idle.publish_more() } else { idle.publish_one() };
            if wake {
                self.shared.notify_thief(Some(self.number));
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn offer_to_all(&self, task: Task) {
        self.shared.inject(task);
    }

    /// A fresh thread id.
    #[inline]
    pub(crate) fn fresh_id(&self) -> u64 {
        let (mut next, mut end) = self.ids.get();
        if next == end {
            next = os::fresh_ids(IDS);
            end = next + IDS;
        }
        self.ids.set((next + 1, end));
        next
    }

    /// The thread to run next. The order: one that was stolen; the thread woken last (a bounded number of times in a
    /// row); then rounds: everything that was ready when the round began, oldest first, and after it unstarted threads
    /// in the order in which they were spawned, a bounded number, some of them from outside.
    #[inline(always)]
    pub(super) fn next(&self) -> Option<NonNull<Header>> {
        let queues = &self.queues;
        if let Some(thread) = queues.take_next_start() {
            return Some(thread);
        }
        if let Some(thread) = self.next_woken() {
            return Some(thread);
        }
        loop {
            if let Some(thread) = self.next_ready() {
                return Some(thread);
            }
            if let Some(thread) = self.next_unstarted() {
                return Some(thread);
            }
            self.tick(false);
            if !self.queues.begin_round() {
                self.tick(true);
                if !self.queues.begin_round() && !self.has_unstarted() {
                    return NonNull::new(self.here.woken.replace(ptr::null_mut()));
                }
            }
        }
    }

    /// The thread woken last, if it may go before the others once more.
    #[inline(always)]
    fn next_woken(&self) -> Option<NonNull<Header>> {
        if let Some(thread) = NonNull::new(self.here.woken.get()) {
            self.here.woken.set(ptr::null_mut());
            if self.queues.continues_streak() {
                return Some(thread);
            }
            self.make_ready(thread);
        }
        self.queues.end_streak();
        None
    }

    /// The oldest thread that was ready when the round began. It is about to have its turn.
    #[inline(always)]
    fn next_ready(&self) -> Option<NonNull<Header>> {
        let thread = self.queues.next_ready()?;
        self.delay.turn(thread.as_ptr(), &self.remote.counters);
        Some(thread)
    }

    /// As [`next`](Self::next), but `None` where that would look for more than what is ready.
    #[cfg(green_thread_locals)]
    pub(super) fn next_at_hand(&self) -> Option<NonNull<Header>> {
        if self.clock.is_overdue() {
            return None;
        }
        let thread = self.next_woken().or_else(|| self.next_ready());
        if thread.is_some() || self.has_unstarted() || !self.remote.doorbell.is_silent() || self.clock.is_due() {
            return thread;
        }
        self.queues.begin_round();
        self.next_ready()
    }

    /// Takes in what others have left, what is due on the wheel, and events (`now`: look at the clock in any case). With
    /// nothing to run it does not look for events: the worker is about to wait for them. Should its inbox keep it from that
    /// again and again, the turns go on counting, and it looks at the beginning of a round.
    #[inline]
    pub(super) fn tick(&self, now: bool) {
        if !self.remote.doorbell.is_silent() {
            self.empty_inbox();
        }
        if now || self.clock.is_due() {
            #[cfg(green_thread_locals)]
            self.here.blocked_signals.look_if_in_doubt();
            if self.delay.look(&self.queues.ready, &self.remote.counters, &self.remote.wake_probe) {
                self.record_load();
            }
            let has_time = self.shared.moves || self.here.poller().is_some() || !self.here.wheel.borrow().is_empty();
            if has_time {
                self.tick_time();
            } else if !now {
                self.clock.looked();
                self.clock.tidy.without_time(&self.live);
            }
        }
    }

    /// The part of a tick that looks at the clock.
    #[inline(never)]
    fn tick_time(&self) {
        let now_ns = real_ns();
        if self.fire_due(virtual_ns().unwrap_or(now_ns)) {
            self.queue_woken();
        }
        if self.shared.moves {
            self.clock.set_pace(now_ns);
            self.look_after_siblings(now_ns);
        }
        if self.clock.tidy.is_due(now_ns) {
            self.clock.tidy.step(&self.live, now_ns);
        }
        match self.here.poller() {
            Some(_) if !self.has_ready() && !self.has_unstarted() => return,
            Some(poller) if poller.is_due(now_ns) => _ = self.look_for_events(),
            _ => {}
        }
        self.clock.looked();
    }

    /// Ends the waits whose timers are due. True: there were some.
    pub(super) fn fire_due(&self, now_ns: u64) -> bool {
        let mut fired = false;
        loop {
            let due = self.here.wheel.borrow_mut().turn(now_ns);
            let Some(thread) = due else { break };
            // SAFETY: `park` has put the timer in, and takes it out before it leaves the wait.
            unsafe {
                self.record_of(EventKind::Timer, thread);
                fire(thread);
            }
            self.remote.counters.timers.add(1);
            fired = true;
        }
        fired
    }

    /// Looks for events, and queues the threads that they wake. True: the queue has something to run.
    pub(crate) fn look_for_events(&self) -> bool {
        let Some(poller) = self.here.poller() else { return false };
        self.remote.counters.polls.add(1);
        if poller.wait(0) {
            self.deliver_events();
        } else {
            poller.looked(real_ns());
        }
        self.queues.ready.len() > 0
    }

    /// Queues the threads that the poller's last events wake, in the order of the events.
    pub(crate) fn deliver_events(&self) {
        if let Some(poller) = self.here.poller() {
            let count = poller.deliver(real_ns(), |wakes| self.events.add(wakes));
            self.scribe.write_apart(EventKind::Polls, count);
            self.remote.counters.events.add(count);
            self.queue_woken();
            self.queue_errands();
        }
    }

    /// Of those that the loop has woken together none goes first: the one in the slot queues behind the others.
    pub(super) fn queue_woken(&self) {
        if let Some(last) = NonNull::new(self.here.woken.replace(ptr::null_mut())) {
            self.make_ready(last);
        }
    }

    fn has_ready(&self) -> bool {
        self.queues.ready.len() > 0 || !self.here.woken.get().is_null()
    }

    /// Takes what others have left in the inbox.
    #[cold]
    #[inline(never)]
    pub(crate) fn empty_inbox(&self) {
        self.deliver(self.remote.doorbell.answer(self.counted_in(), false));
    }

    pub(crate) fn deliver(&self, batch: Batch<Header>) {
        let (search, control) = (batch.search, batch.control);
        batch.deliver(|thread| {
            // SAFETY: it was in the inbox, so it is alive.
            let header = unsafe { thread.as_ref() };
            self.scribe_here().write(EventKind::Arrives, header.id);
            // SAFETY: invariant 3 of the header: this is its home worker, and it does not run; or another stands in for the worker, and it is on its way
            // to suspend, on a block.
            if unsafe { (*header.fiber.get()).is_none() } && !header.wait.has_begun() {
                // In this order, for who lists threads meanwhile.
                // SAFETY: it comes out of the inbox once.
                unsafe { self.live.push(thread) };
                self.remote.given.remove(thread);
                self.remote.arriving.arrived();
            } else {
                self.remote.counters.woken.add(1);
                if let Some(since_ns) = self.remote.wake_probe.comes(thread.as_ptr()) {
                    self.delay.came(thread.as_ptr(), since_ns);
                }
            }
            self.make_ready(thread);
        });
        if control {
            self.obey();
        }
        if search {
            // It was woken to search, but has work of its own now: another one shall search.
            self.stop_searching();
        }
    }

    /// Has the worker something to run, or something in its inbox?
    pub(crate) fn has_own_work(&self) -> bool {
        !self.remote.doorbell.is_silent() || self.has_some()
    }

    /// Has the worker something to run?
    pub(super) fn has_some(&self) -> bool {
        !self.here.woken.get().is_null() || self.queues.has_some()
    }
}
