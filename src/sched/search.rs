//! What a worker does when it has nothing to run: searches, sleeps, gets up. The steps of `sched/PROTOCOL.md`.

use std::sync::Arc;

use crossbeam_deque::{Steal, Stealer};

use crate::sched::cpu_yield::Doing;
use crate::sched::idle::Sleep;
use crate::sched::worker::Worker;
use crate::sys::clock::{NEVER, now_ns, precisely};
use crate::task::Task;

/// How long an idle worker searches before it sleeps: about what waking it again would cost (spikes: 20 to 40 µs).
pub(crate) const SEARCH_NS: u64 = 30_000;
/// What is left of that after searches for nothing; every [`FULL_SEARCH`]th of them is a full one all the same. What comes
/// from the poller does not count: the poller wakes its worker without anybody's search. So a worker that has one then goes
/// to sleep without a search, but for a full one after 16, 32, 64, … times, and at least every [`RARE_SEARCH`]th time.
const LEAST_SEARCH_NS: u64 = 1_000;
const FULL_SEARCH: u32 = 16;
const RARE_SEARCH: u32 = 256;
/// Looks in a row at which a worker has had one unstarted thread before a searcher takes that: a thread that is spawned
/// and joined at once stays where it is.
const PATIENCE: u32 = 32;
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
        if self.stopping.get() {
            if self.live_count() == 0 && self.remote.arriving.close() {
                return false;
            }
            // Threads that could not be interrupted when they were asked (they unwound, say) are asked again.
            self.cancel_all();
            if self.has_own_work() {
                return true;
            }
        }
        let limit = self.shared.searchers;
        let mut searching = limit > 0 && self.search_pays() && self.shared.idle().try_search(limit);
        loop {
            if searching && self.search() {
                return true;
            }
            self.stacks().trim();
            self.remote.pace.rests();
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

    /// Looks for work for a bounded time. True: there is some, and this worker is no longer a searcher.
    fn search(&self) -> bool {
        let mut now = now_ns();
        let until = now + self.search_length();
        let (mut patience, mut looks) = (0, 0);
        loop {
            let stolen = self.steal(patience >= PATIENCE, &mut patience, now);
            looks += 1;
            now = now_ns();
            let worth_it = stolen.is_some() || self.has_own_work();
            if worth_it {
                self.search_ns.set((self.search_ns.get() * 4).clamp(LEAST_SEARCH_NS, SEARCH_NS));
                self.searches.set(0);
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

    /// False: the worker has a poller, and has searched for nothing so often that it does without for now.
    fn search_pays(&self) -> bool {
        self.search_ns.get() > 0 || {
            let idle = self.searches.get().wrapping_add(1);
            self.searches.set(idle);
            idle.is_multiple_of(if idle.is_power_of_two() { FULL_SEARCH } else { RARE_SEARCH })
        }
    }

    /// How long the next search may last: half of the last one, unless that one was worth it.
    fn search_length(&self) -> u64 {
        let (length, searches) = (self.search_ns.get(), self.searches.get().wrapping_add(1));
        if length == 0 {
            return SEARCH_NS;
        }
        self.searches.set(searches);
        let gives_up = length <= LEAST_SEARCH_NS && self.here().poller().is_some();
        self.search_ns.set(if gives_up { 0 } else { (length / 2).max(LEAST_SEARCH_NS) });
        if searches.is_multiple_of(FULL_SEARCH) { SEARCH_NS } else { length }
    }

    /// This worker has found something: if it was the last searcher, it sees to what publishers left to it. Without a
    /// lookout that is a single thread, too.
    pub(crate) fn stop_searching(&self) {
        let shared = &self.shared;
        let idle = self.shared.idle();
        let work = || if idle.has_lookout() { shared.has_work_to_share() } else { shared.has_unstarted() };
        if idle.found() && work() {
            shared.wake_thief_for(Some(self.number), work);
        }
    }

    /// Takes one unstarted thread from elsewhere. `singles`: also from a worker that has only one. Counts in `seen` the
    /// looks in a row at which something was left where it is.
    fn steal(&self, singles: bool, seen: &mut u32, now_ns: u64) -> Option<Task> {
        let shared = &self.shared;
        if let Some(task) = shared.take_injected() {
            return Some(task);
        }
        let mut left = false;
        let count = shared.stealers.len();
        for at in self.number + 1..self.number + count {
            let stealer = &shared.stealers[at % count];
            let len = stealer.len();
            left |= len >= 1;
            let worth_it = len >= 1 && shared.remotes[at % count].pace.is_worth_helping(now_ns);
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
    fn adopt(&self, task: Task) {
        if let Some(thread) = self.claim(task) {
            self.set_next_start(thread);
        }
    }

    /// Sleeps until there is mail, a timer is due, or, for the lookout, something to steal. True: it was woken to search,
    /// and is counted as a searcher.
    #[must_use]
    fn sleep(&self, searching: bool) -> bool {
        let idle = self.shared.idle();
        let workers = self.shared.workers();
        self.tidy_later();
        // Step 1: counted as asleep.
        let mut lookout = idle.announce(searching, workers) == Sleep::Lookout;
        // Step 2: marked as asleep, unless there is mail.
        if !self.remote.inbox.doze() {
            return self.get_up(lookout, true);
        }
        let mut nap_ns = LOOKOUT_MIN_NS;
        let mut work;
        loop {
            // Step 3: the last look.
            idle.before_last_look();
            work = self.shared.has_work_to_share();
            if work {
                break;
            }
            // Step 4.
            let timer_ns = self.here().wheel.borrow().next_ns();
            let timers_ns = timer_ns.max(self.got_up_for_timers_ns.get() + TIMERS_NS);
            let nap_until_ns = if lookout { now_ns() + nap_ns } else { NEVER };
            if self.sleep_until(timers_ns.min(nap_until_ns).min(self.tidy_ns())) {
                break;
            }
            let now_ns = now_ns();
            if timer_ns <= now_ns {
                self.got_up_for_timers_ns.set(now_ns);
                break;
            }
            if self.tidy_ns() <= now_ns {
                self.tidy(now_ns);
            }
            if lookout {
                if idle.resign_if_all_asleep(workers) {
                    lookout = false;
                    // Somebody may be up and not yet counted so, and have relied on the lookout.
                    if self.shared.has_unstarted() {
                        break;
                    }
                } else if self.look_round() {
                    break;
                }
                nap_ns = (nap_ns * 2).min(LOOKOUT_MAX_NS);
            }
        }
        let search = self.get_up(lookout, false);
        // Where no worker may search, this look is all there is.
        if work
            && !search
            && let Some(task) = self.steal(false, &mut 0, now_ns())
        {
            self.adopt(task);
        }
        search
    }

    /// Step 4: sleeps in the poller, if there is one, else in the parker. True: unparked, or there are events.
    fn sleep_until(&self, deadline_ns: u64) -> bool {
        let Some(poller) = self.here().poller() else {
            let park = || self.remote.parker.park(deadline_ns);
            return if deadline_ns == NEVER { park() } else { precisely(park) };
        };
        if !self.sleeps_in_poller.replace(true) {
            self.remote.set_poller(Some(Arc::clone(poller.home())));
            self.remote.pulse.begin();
        }
        self.turns.set(0);
        if self.give_way(deadline_ns) {
            return true;
        }
        self.remote.pulse.beat(Doing::Polls);
        let woken = self.remote.parker.park_elsewhere(|| self.has_events.set(poller.wait(deadline_ns.max(1))));
        self.remote.pulse.beat(Doing::Runs);
        woken || self.has_events.get()
    }

    /// The lookout's look: takes even a single thread, if its worker does not come to it.
    fn look_round(&self) -> bool {
        let mut seen = 0;
        for _ in 0..=PATIENCE {
            if let Some(task) = self.steal(seen >= PATIENCE, &mut seen, now_ns()) {
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

    /// Step 5. `counted`: this worker has announced itself, but never dozed. True: it was woken to search.
    fn get_up(&self, lookout: bool, counted: bool) -> bool {
        let idle = self.shared.idle();
        let mut mail = self.remote.inbox.take();
        if mail.asleep || counted {
            idle.roused();
        }
        if lookout && idle.resign() && self.shared.has_unstarted() {
            self.shared.wake_thief_for(Some(self.number), || self.shared.has_unstarted());
        }
        let search = std::mem::take(&mut mail.search);
        self.deliver(mail);
        if self.has_events.take() {
            self.deliver_events();
        }
        search
    }
}

/// The oldest entry of a worker's deque whose thread has not been started by a joiner.
fn steal_unstarted(stealer: &Stealer<Task>) -> Option<Task> {
    loop {
        match stealer.steal() {
            Steal::Success(task) if task.state.is_started() => {}
            Steal::Success(task) => return Some(task),
            Steal::Empty => return None,
            Steal::Retry => std::hint::spin_loop(),
        }
    }
}
