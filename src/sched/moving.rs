#![doc = include_str!("MOVING.md")]

use std::ptr::NonNull;
use std::time::Duration;

use crate::base::atomic::Ordering;
use crate::sched::remote::{self, Remote};
use crate::sched::search::steal_unstarted;
use crate::sched::siblings::Sibling;
use crate::sched::worker::Worker;
use crate::sys::clock::real_ns;
use crate::task::Header;
use crate::task::state::CancelFound;

/// A worker that has been in one turn for so long does not come to its other threads.
const STUCK_NS: u64 = 1_000_000;
/// The most threads that are taken over at one time: while they are, their worker has to wait.
const MOST: usize = 64;
/// So many threads of a queue are looked at for one that may be taken over.
const LOOKS: usize = 4;

/// What a worker does in the place of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum StandIn {
    /// It takes half of the ready threads over.
    Share,
    /// That worker is stuck: all that it would do for those of its threads that wait, too.
    Full,
}

/// As [`schedule`](super::schedule), in a runtime whose threads move.
///
/// # Safety
///
/// As [`Header::schedule`].
pub(crate) unsafe fn schedule(thread: NonNull<Header>) {
    // SAFETY: the thread waits, so it is alive until it is handed over; until then nobody takes it over.
    let home = unsafe { thread.as_ref() }.state.home();
    match Worker::current() {
        Some(worker) if worker.remote.index == home => worker.woken_in_turn(thread),
        // SAFETY: as the caller promises.
        _ => unsafe { remote::get(home).send(thread) },
    }
}

impl Worker {
    /// A thread of this worker is woken by one that runs here, or by the loop.
    fn woken_in_turn(&self, thread: NonNull<Header>) {
        if !self.remote.latch.enter() {
            return self.woken_here(thread);
        }
        self.woken_here(thread);
        let wake = self.show_ready();
        self.remote.latch.leave(); // KEY: moving-leave-again
        if wake {
            self.shared.notify_thief(Some(self.number));
        }
    }

    /// Shows others how many threads they may take over. True: somebody should be woken for that, or to be on guard.
    #[inline]
    fn show_ready(&self) -> bool {
        let idle = self.shared.idle();
        let count = if idle.is_anybody_idle() { self.queues.ready.count(is_takeable, LOOKS).min(2) } else { 0 };
        self.remote.latch.show_ready(count);
        count >= 2 && idle.lacks_searcher() || self.live.count() >= 2 && idle.publish_one()
    }

    /// A thread with thread-locals of its own, and on them, has begun or goes on: others may have the parts.
    #[cfg(green_thread_locals)]
    #[inline]
    pub(super) fn begin_own_turn(&self) {
        if self.shared.moves {
            let wake = self.show_ready();
            self.remote.latch.leave_for_turn(); // KEY: moving-leave
            if wake {
                self.shared.notify_thief(Some(self.number));
            }
        }
    }

    /// It suspends or ends.
    #[cfg(green_thread_locals)]
    #[inline]
    pub(super) fn end_own_turn(&self) {
        if self.shared.moves {
            self.remote.latch.enter(); // KEY: moving-enter
        }
    }

    /// The workers but this one, from the next one on, with their positions; the spare ones that there have been, too: threads live on them.
    fn siblings(&self) -> impl Iterator<Item = (usize, &'static Remote)> {
        let all = || self.shared.every_remote().enumerate();
        all().skip(self.number + 1).chain(all().take(self.number))
    }

    /// Takes threads over from a worker that has more than one ready. True: there are some.
    pub(super) fn share_ready(&self) -> bool {
        self.shared.moves
            && !self.stopping.get()
            && self.siblings().any(|(_, sibling)| sibling.latch.ready() >= 2 && self.stand_in(sibling, StandIn::Share))
    }

    /// Runs what there is, where others rely on a look at them every millisecond: see [`look_after_siblings`](Self::look_after_siblings).
    #[inline(never)]
    pub(super) fn run_looking(&self) {
        while let Some(thread) = self.next_or_look() {
            let _ = self.turn(thread);
        }
    }

    /// As [`next`](Self::next), after a look that is overdue.
    #[inline(always)]
    pub(super) fn next_or_look(&self) -> Option<NonNull<Header>> {
        // Not where the thread is chosen already: the loop may be on another one's thread-locals.
        if self.clock.is_overdue() && !self.queues.has_next_start() {
            self.tick(true);
        }
        self.next()
    }

    /// Stands in for workers that are stuck; without anything to run, takes over a thread that has stood ready, by itself, for two looks. At most once a
    /// millisecond.
    pub(super) fn look_after_siblings(&self, now_ns: u64) {
        if now_ns < self.siblings.due_ns.get() {
            return;
        }
        self.siblings.due_ns.set(now_ns + STUCK_NS);
        let mut seen = self.siblings.seen.borrow_mut();
        for (at, sibling) in self.siblings() {
            if at >= seen.len() {
                seen.resize(at + 1, Sibling::default());
            }
            let (before, turn) = (seen[at].clone(), sibling.latch.turn());
            let has_ready = sibling.latch.ready() > 0;
            let same = turn.is_some() && turn == before.turn;
            let since_ns = if same { before.since_ns } else { now_ns };
            seen[at] = Sibling { turn, since_ns, has_ready };
            if same && now_ns - since_ns >= STUCK_NS {
                self.stand_in(sibling, StandIn::Full);
                self.start_one_of(at);
            } else if has_ready && before.has_ready && !self.has_some() {
                self.stand_in(sibling, StandIn::Share);
            }
        }
    }

    /// The runtime stops, and no thread is left here. True: threads are left elsewhere, one of which may compute and keep the others from their end; so this worker
    /// has looked after them, and does not end yet.
    pub(super) fn looks_after_the_last(&self) -> bool {
        let has_others = |remote: &Remote| remote.live.load(Ordering::Relaxed) >= 2;
        let stays = self.shared.moves && self.siblings().any(|(_, sibling)| has_others(sibling));
        if stays {
            std::thread::sleep(Duration::from_nanos(STUCK_NS));
            self.look_after_siblings(real_ns());
        }
        stays
    }

    /// A worker that is stuck does not come to its unstarted threads, either, and this one, which may be busy for long, too, steals none: one of them starts here.
    fn start_one_of(&self, at: usize) {
        if let Some(stealer) = self.shared.stealers.get(at).filter(|_| !self.is_spare)
            && let Some(task) = steal_unstarted(stealer)
        {
            self.remote.counters.stolen.add(1);
            self.queues.unstarted.push(task);
        }
    }

    /// True: this worker has taken threads over. Other threads of its own may be ready, too, for events that it has found there.
    fn stand_in(&self, sibling: &Remote, how: StandIn) -> bool {
        let Some(taken) = sibling.latch.take() else { return false };
        // ORDERING: Acquire pairs with the Release in `Worker::run`.
        let owner = sibling.here.load(Ordering::Acquire).cast::<Worker>();
        // SAFETY: the pointer is one to the whole worker (invariant 2 of the worker). The latch is not to be had before its loop has begun, nor after that has
        // ended; while this has it the owner touches nothing of what is touched here (the invariants in the module's text).
        let owner = unsafe { &*owner };
        if how == StandIn::Full {
            self.do_duties_of(owner);
        }
        let count = owner.queues.ready.len();
        let got = self.take_over(owner, if how == StandIn::Full { count } else { count.div_ceil(2) }.min(MOST));
        sibling.latch.show_ready(owner.queues.ready.count(is_takeable, LOOKS).min(2));
        drop(taken);
        self.queue_errands();
        got
    }

    /// What the loop of `owner` would do between two turns. Then its threads that can go on are in its queue.
    fn do_duties_of(&self, owner: &Worker) {
        let now_ns = real_ns();
        // The threads that this wakes are left in the owner's inbox.
        owner.fire_due(now_ns);
        if let Some(poller) = owner.here().poller()
            && poller.wait(0)
        {
            poller.deliver(now_ns, |wakes| self.events.add(wakes));
        }
        let mut control = owner.take_woken();
        if control {
            owner.obey_cancels_of_suspended();
            control = owner.take_woken() || self.shared.is_stopping();
        }
        owner.queue_woken(); // KEY: moving-slot
        if control {
            owner.remote.notify_control();
        }
    }

    /// Ends the waits of threads that were cancelled. One that is not suspended is left to the worker's own loop: what may end its wait is not known yet.
    fn obey_cancels_of_suspended(&self) {
        for task in self.remote.take_cancels() {
            // In this order: one that is seen to wait is seen where it lives.
            let waits = task.wait.waiting().is_some();
            if !task.state.is_at(self.remote.index) {
                continue;
            }
            // SAFETY: as in `is_takeable`: it lives here.
            if waits && unsafe { (*task.fiber.get()).is_some() } {
                self.interrupt(&task);
            } else {
                remote::interrupt(&task, CancelFound::Started { home: self.remote.index });
            }
        }
    }

    /// Queues what is in the inbox. True: there is a notice, too, which is the caller's now.
    fn take_woken(&self) -> bool {
        let mut batch = self.remote.doorbell.answer(self.counted_in(), false);
        let control = std::mem::take(&mut batch.control);
        self.deliver(batch);
        control
    }

    /// Makes up to `most` threads of `owner` that are ready this worker's own, the oldest first. True: there was one.
    fn take_over(&self, owner: &Worker, most: usize) -> bool {
        let mut got = 0;
        for _ in 0..owner.queues.ready.len() {
            if got == most {
                break;
            }
            let Some(thread) = owner.queues.ready.pop() else { break };
            // SAFETY: it was in the queue, so it is alive.
            let header = unsafe { thread.as_ref() };
            if !is_takeable(header) {
                owner.make_ready(thread); // KEY: moving-put-back
                continue; // KEY: moving-whole
            }
            owner.here().take_timer(header); // KEY: moving-timer
            header.state.move_to(self.remote.index); // KEY: moving-home
            // SAFETY: it lives there, and here from now on.
            unsafe {
                owner.live.remove(thread); // KEY: moving-leaves-list
                self.live.push(thread); // KEY: moving-joins-list
            }
            self.make_ready(thread); // KEY: moving-queue
            // This worker has cancelled what it had; the owner, which may be stuck, has not come to that.
            if self.stopping.get() {
                self.cancel(header);
            }
            got += 1;
        }
        self.here().wheel.borrow_mut().make_room(self.live.count());
        got > 0
    }
}

/// May a thread that is ready go on elsewhere? Not one that stays, nor one that is on its way to suspend: the fiber of that is not in its place. (One that has
/// not started, and was sent to its worker, has none either.) For whoever has the worker's parts.
fn is_takeable(thread: &Header) -> bool {
    // SAFETY: invariant 3 of the header: the caller has the parts of the thread's worker, and the fiber is put there and taken out by a thread whose worker is
    // inside.
    let has_fiber = || unsafe { (*thread.fiber.get()).is_some() };
    thread.state.is_movable() && (has_fiber() || !thread.wait.has_begun())
}
