//! What a worker does when it has nothing to run: searches, sleeps, gets up. The steps of `sched/PROTOCOL.md`.

use std::cell::Cell;
use std::sync::Arc;

use crate::flight::EventKind;
use crate::sched::deque::Stealer;
use crate::sched::doorbell::Sleeper;
use crate::sched::policy::heartbeat::Activity;
use crate::sched::queues::is_stale;
use crate::sched::spare::SpareSlot;
use crate::sched::worker::Worker;
use crate::sys::clock::{NEVER, precisely, real_ns};
use crate::task::Task;

/// Looks in a row at which a worker has had one unstarted thread before a searcher takes that: a thread that is spawned
/// and joined at once stays where it is.
const PATIENCE: u32 = 32;
/// Looks of a searcher for one at threads that it might take over: that disturbs the worker that has them.
const LOOKS_PER_SHARE: u32 = 64;
/// Looks of a searcher for one of them at its own poller.
const LOOKS_PER_POLL: u32 = 4;
/// How long the lookout sleeps between two looks round, at first and at most. (A poller sleeps in whole milliseconds; less
/// than one costs another system call.)
const LOOKOUT_MIN_NS: u64 = 1_100_000;
const LOOKOUT_MAX_NS: u64 = 16_000_000;
/// Timers that come thicker than this are gathered: a worker gets up for them only so often. As much is the slack that Linux
/// gives a sleep by itself.
const TIMERS_NS: u64 = 50_000;

impl Worker {
    /// Searches, then sleeps, until there may be something to run. False: the runtime stops, and this worker is done.
    pub(crate) fn wait_for_work(&self) -> bool {
        let since_ns = real_ns();
        self.remote.busy.turns(false, since_ns);
        self.remote.counters.ready.set(0);
        self.scribe.write_apart(EventKind::Sleeps, 0);
        let goes_on = self.search_or_sleep();
        self.scribe.write_apart(EventKind::GetsUp, 0);
        if goes_on {
            self.gets_busy(since_ns);
        }
        goes_on
    }

    fn search_or_sleep(&self) -> bool {
        if self.stopping.get() {
            if self.live.count() == 0 {
                if self.looks_after_the_last() {
                    return true;
                }
                if self.remote.arriving.close() {
                    return false;
                }
            }
            // Threads that could not be interrupted when they were asked (they unwound, say) are asked again.
            self.cancel_all(false);
            if self.has_own_work() {
                return true;
            }
        }
        if self.is_spare
            && !self.stopping.get()
            && let Some(goes_on) = self.spare_waits()
        {
            return goes_on;
        }
        let limit = if self.is_spare { 0 } else { self.shared.searchers };
        let mut searching = limit > 0 && self.policy.search.pays() && self.shared.idle().try_search(limit);
        loop {
            if searching && self.search() {
                return true;
            }
            self.stacks().trim();
            self.remote.latch.show_ready(0);
            self.remote.run_rate.rests();
            searching = self.sleep(searching);
            if !searching {
                return true;
            }
            if self.has_own_work() || self.stopping.get() {
                self.stop_searching();
                return true;
            }
        }
    }

    /// A spare worker has nothing to run: steps B1 to B3 of [`spare`](super::spare). False: it ends; `None`: it sleeps.
    fn spare_waits(&self) -> Option<bool> {
        if let Some(task) = self.steal(true, &mut 0, real_ns()) {
            self.adopt(task);
            return Some(true);
        }
        let ends = self.live.count() == 0 && !self.has_own_work() && self.remote.arriving.close();
        ends.then_some(false)
    }

    /// Looks for work for a bounded time. True: there is some, and this worker is no longer a searcher.
    fn search(&self) -> bool {
        let mut now = real_ns();
        let until = now + self.policy.search.spend_ns(self.here().poller().is_some());
        let (mut patience, mut looks) = (0, 0);
        loop {
            let stolen = self.steal(patience >= PATIENCE, &mut patience, now);
            looks += 1;
            now = real_ns();
            if looks % LOOKS_PER_SHARE == 1 {
                self.share_ready();
            }
            let worth_it = stolen.is_some() || self.has_own_work();
            if worth_it {
                self.policy.search.was_worth_it();
            }
            let events = !worth_it && looks % LOOKS_PER_POLL == 1 && self.look_for_events();
            let found = worth_it || events || self.here().wheel.borrow().next_ns() <= now;
            if let Some(task) = stolen {
                self.adopt(task);
            }
            if found {
                self.stop_searching();
                return true;
            }
            if now >= until {
                return false;
            }
            for _ in 0..16 {
                std::hint::spin_loop();
            }
        }
    }

    /// This worker has found something: if it was the last searcher, it sees to what publishers left to it. Without a
    /// lookout that is a single thread, too.
    pub(crate) fn stop_searching(&self) {
        let shared = &self.shared;
        let idle = self.shared.idle();
        let work = || if idle.has_lookout() { shared.has_work_to_share() } else { shared.has_unstarted() };
        if idle.found() && work() {
            shared.notify_thief_for(Some(self.number), work);
        }
    }

    /// Takes one unstarted thread from elsewhere. `singles`: also from a worker that has only one. Counts in `seen` the
    /// looks in a row at which something was left where it is.
    pub(super) fn steal(&self, singles: bool, seen: &mut u32, now_ns: u64) -> Option<Task> {
        let shared = &self.shared;
        if let Some(task) = shared.take_injected() {
            return Some(task);
        }
        let mut left = false;
        let count = shared.stealers.len();
        let others = if self.is_spare { 0..count } else { self.number + 1..self.number + count };
        for at in others {
            let stealer = &shared.stealers[at % count];
            let len = stealer.len();
            left |= len >= 1;
            let worth_it = len >= 1 && shared.remotes[at % count].run_rate.is_worth_helping(now_ns);
            if worth_it
                && (len >= 2 || singles)
                && let Some(task) = steal_unstarted(stealer)
            {
                return Some(task);
            }
        }
        *seen = if left { *seen + 1 } else { 0 };
        None
    }

    /// Makes a stolen thread this worker's own, and the next to run: as it can no longer be stolen, it must not wait
    /// behind one that still could be.
    pub(super) fn adopt(&self, task: Task) {
        if let Some(thread) = self.claim(task) {
            self.remote.counters.stolen.add(1);
            // SAFETY: it was claimed here and has not started, so it is alive.
            unsafe { self.record_of(EventKind::Stolen, thread) };
            self.queues.set_next_start(thread);
        }
    }

    /// Sleeps until something is left for it, a timer is due, or, for the lookout, there is something to steal. True: it was
    /// woken to search, and is counted as a searcher.
    #[must_use]
    fn sleep(&self, searching: bool) -> bool {
        self.clock.tidy.later();
        self.remote.counters.sleeps.add(1);
        let (idle, workers) = (self.counted_in(), if self.is_spare { 1 } else { self.shared.workers() });
        let night = Night { worker: self, nap_ns: Cell::new(LOOKOUT_MIN_NS), saw_work: Cell::new(false) };
        let mut batch = self.remote.doorbell.go_to_sleep(idle, workers, searching, &night);
        let search = std::mem::take(&mut batch.search);
        if self.is_spare {
            self.remote.doorbell.spare_is_up(self.shared.idle());
        }
        self.deliver(batch);
        if self.events.are_waiting.take() {
            self.deliver_events();
        }
        // Where no worker may search, this look is all there is.
        if night.saw_work.get() && !search {
            match self.steal(false, &mut 0, real_ns()) {
                Some(task) => self.adopt(task),
                None => _ = self.share_ready(),
            }
        }
        search
    }

    /// Step 4: sleeps in the poller, if there is one, else in the parker; 0: only looks. True: unparked, or there are events.
    pub(super) fn sleep_until(&self, deadline_ns: u64) -> bool {
        let Some(poller) = self.here().poller() else {
            let park = || self.remote.doorbell.parker.park(deadline_ns);
            return if deadline_ns == NEVER || deadline_ns == 0 { park() } else { precisely(park) };
        };
        if !self.events.sleeps_in_poller.replace(true) {
            self.remote.set_poller(Some(Arc::clone(poller.handle())));
            self.remote.heartbeat.begin();
        }
        self.clock.looked();
        if !self.is_spare && self.policy.before_poll(&self.shared.remotes, self.number, deadline_ns) {
            return true;
        }
        self.remote.counters.polls.add(1);
        self.remote.heartbeat.beat(Activity::Polls);
        let woken =
            self.remote.doorbell.parker.park_elsewhere(|| self.events.are_waiting.set(poller.wait(deadline_ns.max(1))));
        self.remote.heartbeat.beat(Activity::Runs);
        woken || self.events.are_waiting.get()
    }

    /// The lookout's look: takes even a single thread, if its worker does not come to it.
    fn look_round(&self) -> bool {
        if self.shared.moves {
            self.look_after_siblings(real_ns());
            if self.has_some() {
                return true;
            }
        }
        let mut seen = 0;
        for _ in 0..=PATIENCE {
            if let Some(task) = self.steal(seen >= PATIENCE, &mut seen, real_ns()) {
                self.adopt(task);
                return true;
            }
            if seen == 0 {
                return false;
            }
            for _ in 0..64 {
                std::hint::spin_loop();
            }
        }
        false
    }
}

/// One sleep of a worker.
struct Night<'a> {
    worker: &'a Worker,
    /// How long the lookout sleeps next.
    nap_ns: Cell<u64>,
    /// The last look has found something.
    saw_work: Cell<bool>,
}

impl Sleeper for Night<'_> {
    fn has_work_to_share(&self) -> bool {
        self.saw_work.set(!self.worker.is_spare && self.worker.shared.has_work_to_share());
        self.saw_work.get()
    }

    fn has_unstarted(&self) -> bool {
        self.worker.shared.has_unstarted()
    }

    fn sleep(&self, lookout: bool) -> bool {
        let worker = self.worker;
        let timer_ns = worker.here().wheel.borrow().next_ns();
        if let Some(time) = worker.here().virtual_time {
            return worker.sleep_virtually(time, timer_ns);
        }
        let timers_ns = timer_ns.max(worker.clock.got_up_for_timers_ns.get() + TIMERS_NS);
        let longest_ns = if worker.shared.moves { LOOKOUT_MIN_NS } else { LOOKOUT_MAX_NS };
        let nap_ns = self.nap_ns.replace((self.nap_ns.get() * 2).min(longest_ns));
        let nap_until_ns = if lookout { real_ns() + nap_ns } else { NEVER };
        if worker.sleep_until(timers_ns.min(nap_until_ns).min(worker.clock.tidy.next_ns(&worker.live))) {
            return true;
        }
        let now_ns = real_ns();
        if timer_ns <= now_ns {
            worker.clock.got_up_for_timers_ns.set(now_ns);
            return true;
        }
        if worker.clock.tidy.next_ns(&worker.live) <= now_ns {
            worker.clock.tidy.step(&worker.live, now_ns);
        }
        false
    }

    fn look_round(&self) -> bool {
        self.worker.look_round()
    }

    fn notify_thief(&self) {
        let shared = &self.worker.shared;
        shared.notify_thief_for(Some(self.worker.number), || shared.has_unstarted());
    }

    fn is_spare_up(&self) -> bool {
        let Worker { shared, is_spare, .. } = self.worker;
        shared.moves && !is_spare && !shared.is_stopping() && shared.spares.iter().any(SpareSlot::is_up)
    }
}

/// The oldest entry of a worker's deque whose thread has not been started by a joiner.
pub(super) fn steal_unstarted(stealer: &Stealer<Task>) -> Option<Task> {
    std::iter::from_fn(|| stealer.steal()).find(|task| !is_stale(task))
}
