//! Giving way: a worker lets a sibling that gets no processor have its own for a moment. The rule is in `sched/PROTOCOL.md`.
//!
//! All of it is a hint, by relaxed loads. Who gives way sleeps in its parker, which ends with what ends every sleep of step
//! S4, or by itself; only its events wait meanwhile, and not longer than [`GIVES_NS`].

#![forbid(unsafe_code)]

use std::cell::Cell;

use crate::base::atomic::{AtomicU32, Ordering};
use crate::sched::remote::Remote;
use crate::sched::worker::Worker;
use crate::sys::clock::now_ns;
use crate::sys::cpu_clock::CpuClock;

/// A sibling that has stood still for less is left alone.
const STILL_NS: u64 = 100_000;
/// How seldom a sibling's poller is looked at when there is never anything in it.
const SELDOM_NS: u64 = 16 * STILL_NS;
/// How long a worker gives way.
const GIVES_NS: u64 = 600_000;
/// A worker whose rounds last longer does not: its threads wait as long for their turn as for the system's.
const ROUND_NS: u64 = 1_000_000;
/// After it has done so for nothing it does not do it again for so long, twice as long each time.
const RESTS_NS: u64 = 1_000_000;
const RESTS_MAX_NS: u64 = 256 * RESTS_NS;

/// What a worker does, as far as others can tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Doing {
    /// It runs threads, or looks for some.
    Runs = 0,
    /// It waits for events.
    Polls = 1,
    GivesWay = 2,
}

const POLLS: u32 = Doing::Polls as u32;
const GIVES_WAY: u32 = Doing::GivesWay as u32;

/// How a worker that has a poller shows that it goes on: a count that moves when it does something else.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    /// `count << 2 | doing`. Stored by the worker alone.
    word: AtomicU32,
    clock: CpuClock,
}

impl Heartbeat {
    pub(crate) fn new() -> Self {
        Self { word: AtomicU32::new(Doing::Runs as u32), clock: CpuClock::new() }
    }

    /// Called on the worker's own thread, before all else.
    pub(crate) fn begin(&self) {
        self.clock.take();
    }

    #[inline]
    pub(crate) fn beat(&self, doing: Doing) {
        let count = (self.word.load(Ordering::Relaxed) & !3).wrapping_add(4);
        self.word.store(count | doing as u32, Ordering::Relaxed);
    }

    #[inline]
    fn word(&self) -> u32 {
        self.word.load(Ordering::Relaxed)
    }
}

/// What a worker knows of the sibling that it watches: one after the other.
#[derive(Debug, Default)]
pub(crate) struct SiblingProbe {
    /// Which one: so many after the worker itself, and one more.
    at: Cell<usize>,
    seen: Cell<u32>,
    since_ns: Cell<u64>,
    /// When the worker came by last.
    before_ns: Cell<u64>,
    /// How seldom a poller is looked at for now.
    look_ns: Cell<u64>,
    rest_ns: Cell<u64>,
    rest_until_ns: Cell<u64>,
}

impl SiblingProbe {
    /// The worker comes by. Was its last round a short one?
    fn comes_by(&self, now_ns: u64) -> bool {
        now_ns <= self.before_ns.replace(now_ns) + ROUND_NS
    }

    fn begin(&self, word: u32, now_ns: u64) {
        self.seen.set(word);
        self.since_ns.set(now_ns);
    }

    /// Has the sibling stood still for long, as far as its pulse says?
    fn stands_still(&self, word: u32, now_ns: u64) -> bool {
        let long_ns = match word & 3 {
            POLLS => self.look_ns.get().max(STILL_NS),
            GIVES_WAY => GIVES_NS + STILL_NS,
            _ => STILL_NS,
        };
        now_ns >= self.rest_until_ns.get().max(self.since_ns.get() + long_ns)
    }

    /// Has it something to do? One that runs may have, and one that has given way for too long.
    fn has_work(&self, word: u32, has_events: impl FnOnce() -> bool) -> bool {
        if word & 3 != POLLS {
            return true;
        }
        let work = has_events();
        self.look_ns.set(if work { 0 } else { (self.look_ns.get() * 2).clamp(STILL_NS, SELDOM_NS) });
        work
    }

    /// The worker has given way for `took_ns`, and the sibling has run for `ran_ns` of it.
    fn gave_way(&self, took_ns: u64, ran_ns: u64, now_ns: u64) {
        let worth_it = ran_ns >= took_ns / 4;
        self.rest_ns.set(if worth_it { 0 } else { (self.rest_ns.get() * 2).clamp(RESTS_NS, RESTS_MAX_NS) });
        self.rest_until_ns.set(now_ns + self.rest_ns.get());
    }
}

impl Worker {
    /// In step S4, before the worker waits for events: gives way if a sibling needs it. True: it was unparked meanwhile.
    #[inline]
    pub(super) fn give_way(&self, deadline_ns: u64) -> bool {
        if self.shared.remotes.len() == 1 || !CpuClock::IS_KNOWN {
            return false;
        }
        let (watch, now) = (&self.watch, now_ns());
        let short = watch.comes_by(now);
        let (sibling, word) = self.watched();
        if word != watch.seen.get() {
            watch.begin(word, now);
            return false;
        }
        short && watch.stands_still(word, now) && self.look_after(sibling, word, deadline_ns)
    }

    fn watched(&self) -> (&'static Remote, u32) {
        let remotes = &self.shared.remotes;
        let sibling = remotes[(self.number + 1 + self.watch.at.get()) % remotes.len()];
        (sibling, sibling.pulse.word())
    }

    /// The sibling stands still: gives way if it has work and no processor, and turns to the next one.
    #[cold]
    fn look_after(&self, sibling: &Remote, word: u32, deadline_ns: u64) -> bool {
        let watch = &self.watch;
        let starves = watch.has_work(word, || sibling.has_events());
        let used_ns = if starves { sibling.pulse.clock.stands_at_ns() } else { None };
        let unparked = used_ns.is_some_and(|used_ns| {
            self.remote.pulse.beat(Doing::GivesWay);
            let before = now_ns();
            let unparked = self.remote.parker.park(deadline_ns.min(before + GIVES_NS));
            self.remote.pulse.beat(Doing::Runs);
            let now = now_ns();
            let ran_ns = sibling.pulse.clock.read_ns().unwrap_or(0).saturating_sub(used_ns);
            watch.gave_way(now - before, ran_ns, now);
            watch.before_ns.set(now);
            unparked
        });
        watch.at.set((watch.at.get() + 1) % (self.shared.remotes.len() - 1));
        watch.begin(self.watched().1, watch.before_ns.get());
        unparked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sibling_is_left_alone_for_a_while_and_for_longer_if_giving_way_was_for_nothing() {
        let (watch, pulse) = (SiblingProbe::default(), Heartbeat::new());
        watch.begin(pulse.word(), 1000);
        assert!(!watch.stands_still(pulse.word(), 1000 + STILL_NS - 1));
        assert!(watch.stands_still(pulse.word(), 1000 + STILL_NS));
        let mut now = 1_000_000;
        for rest in [1, 2, 4, 8] {
            watch.gave_way(GIVES_NS, GIVES_NS / 5, now);
            assert!(!watch.stands_still(pulse.word(), now + rest * RESTS_NS - 1));
            now += rest * RESTS_NS;
            assert!(watch.stands_still(pulse.word(), now));
        }
        watch.gave_way(GIVES_NS, GIVES_NS / 3, now);
        assert!(watch.stands_still(pulse.word(), now), "it ran meanwhile");
    }

    #[test]
    fn a_sibling_has_work_if_it_runs_or_has_events_and_an_empty_poller_is_looked_at_more_and_more_seldom() {
        let (watch, pulse) = (SiblingProbe::default(), Heartbeat::new());
        assert!(watch.has_work(pulse.word(), || unreachable!("it runs")));
        let before = pulse.word();
        pulse.beat(Doing::Polls);
        assert_ne!(pulse.word(), before);
        watch.begin(pulse.word(), 0);
        assert!(watch.has_work(pulse.word(), || true));
        for times in [1, 2, 4, 8, 16, 16] {
            assert!(!watch.has_work(pulse.word(), || false));
            assert!(!watch.stands_still(pulse.word(), times * STILL_NS - 1));
            assert!(watch.stands_still(pulse.word(), times * STILL_NS));
        }
    }

    #[test]
    fn a_sibling_that_gives_way_is_left_alone_until_it_should_have_got_up() {
        let (watch, pulse) = (SiblingProbe::default(), Heartbeat::new());
        pulse.beat(Doing::GivesWay);
        watch.begin(pulse.word(), 0);
        assert!(!watch.stands_still(pulse.word(), GIVES_NS + STILL_NS - 1));
        assert!(watch.stands_still(pulse.word(), GIVES_NS + STILL_NS));
        assert!(watch.has_work(pulse.word(), || unreachable!("it does not poll")));
    }

    #[test]
    fn a_worker_with_long_rounds_does_not_give_way() {
        let watch = SiblingProbe::default();
        watch.comes_by(1_000_000);
        assert!(watch.comes_by(1_000_000 + ROUND_NS));
        assert!(!watch.comes_by(1_000_001 + 2 * ROUND_NS));
    }
}
