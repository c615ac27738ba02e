//! When a worker looks at the time, and for what.

use std::cell::Cell;

use crate::base::atomic::{AtomicU32, Ordering};
use crate::sched::tidy::Tidy;

/// Turns after which the clock is looked at although there is still something to run.
const TURNS_PER_TICK: u32 = 8;
/// Where turns take longer than an eighth of this, and others rely on a look as often: fewer turns.
const SLOW_NS: u64 = 1_000_000;
/// Threads that are long at it compute. Two that talk have a turn for each message, and a hundredth of that.
const LONG_TURN_NS: u64 = 50_000;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Clock {
    /// How many turns there were: while it stays the same, the worker is in one of them. Changed by the owner, read by the
    /// [`monitor`](super::monitor), too.
    turns: AtomicU32,
    /// What it was when the clock was looked at.
    looked_at: Cell<u32>,
    /// After how many turns a look may not wait for the end of a round; what the count was, and when, when that was last judged.
    slow_turns: Cell<u32>,
    paced_at: Cell<u32>,
    paced_ns: Cell<u64>,
    /// Since when the worker has had something to run without a pause, and what the count was then.
    busy_since_ns: Cell<u64>,
    busy_since: Cell<u32>,
    /// Turns have been short: before this one the clock is not read again for that.
    short_until: Cell<u32>,
    /// When a timer last ended a sleep.
    pub(crate) got_up_for_timers_ns: Cell<u64>,
    pub(crate) tidy: Tidy,
}

impl Clock {
    pub(crate) fn new(now_ns: u64) -> Self {
        Self {
            turns: AtomicU32::new(0),
            looked_at: Cell::new(0),
            slow_turns: Cell::new(u32::MAX),
            paced_at: Cell::new(0),
            paced_ns: Cell::new(now_ns),
            busy_since_ns: Cell::new(now_ns),
            busy_since: Cell::new(0),
            short_until: Cell::new(0),
            got_up_for_timers_ns: Cell::new(0),
            tidy: Tidy::new(now_ns),
        }
    }

    /// A turn begins.
    #[inline(always)]
    pub(crate) fn count_turn(&self) {
        self.turns.store(self.turns().wrapping_add(1), Ordering::Relaxed);
    }

    /// The number of the present turn, or of the last one.
    #[inline(always)]
    pub(crate) fn turns(&self) -> u32 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Have there been so many turns that it is time for a look?
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        self.turns().wrapping_sub(self.looked_at.get()) >= TURNS_PER_TICK
    }

    /// Do turns take so long that a look is due in the middle of a round?
    #[inline]
    pub(crate) fn is_overdue(&self) -> bool {
        self.turns().wrapping_sub(self.looked_at.get()) >= self.slow_turns.get()
    }

    /// The worker looks, and others rely on it (`sched/MOVING.md`): the next look is due after so many turns as fit into [`SLOW_NS`], going by the last eight or more.
    pub(crate) fn set_pace(&self, now_ns: u64) {
        let turns = self.turns().wrapping_sub(self.paced_at.get());
        if turns >= TURNS_PER_TICK {
            let spent_ns = now_ns.saturating_sub(self.paced_ns.replace(now_ns)).max(1);
            self.paced_at.set(self.turns());
            let fit = u64::from(turns) * SLOW_NS / spent_ns;
            self.slow_turns.set(if fit < u64::from(TURNS_PER_TICK) { fit.max(1) as u32 } else { u32::MAX });
        }
    }

    /// The worker had nothing to run until now: that says nothing of its turns.
    pub(crate) fn gets_busy(&self, idle_since_ns: u64, now_ns: u64) {
        self.paced_ns.set(self.paced_ns.get() + now_ns.saturating_sub(idle_since_ns));
        self.busy_since_ns.set(now_ns);
        self.busy_since.set(self.turns());
        self.short_until.set(self.turns());
    }

    /// Has the worker been busy for a while, in turns that were long by and large? The clock is read once in eight turns, where they are short.
    pub(crate) fn has_long_turns(&self, now_ns: impl FnOnce() -> u64) -> bool {
        let now = self.turns();
        if self.short_until.get().wrapping_sub(now).wrapping_sub(1) < TURNS_PER_TICK {
            return false;
        }
        let spent_ns = now_ns().saturating_sub(self.busy_since_ns.get());
        let turns = u64::from(now.wrapping_sub(self.busy_since.get()));
        if spent_ns < turns * LONG_TURN_NS {
            self.short_until.set(now.wrapping_add(TURNS_PER_TICK));
            return false;
        }
        spent_ns >= SLOW_NS
    }

    /// The worker looks, or needs not.
    #[inline]
    pub(crate) fn looked(&self) {
        self.looked_at.set(self.turns());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_whose_turns_are_long_looks_at_the_clock_every_millisecond() {
        let clock = Clock::new(0);
        let turns = |n: u32| (0..n).for_each(|_| clock.count_turn());
        turns(100);
        assert!(clock.is_due() && !clock.is_overdue(), "nobody relies on it");
        let mut now_ns = 0;
        let mut look_after = |n: u32, spent_ns: u64| {
            turns(n);
            now_ns += spent_ns;
            clock.set_pace(now_ns);
            clock.looked();
        };
        // Quick turns: the end of a round comes soon.
        look_after(0, 100_000);
        turns(100);
        assert!(!clock.is_overdue());
        // Long ones, of 4 ms and of 300 us.
        for (each_ns, after) in [(4_000_000, 1), (300_000, 3)] {
            look_after(100, 100 * each_ns);
            turns(after - 1);
            assert!(!clock.is_overdue());
            turns(1);
            assert!(clock.is_overdue());
        }
        // A short one among them is no sign of more.
        look_after(100, 400_000_000);
        look_after(1, 1_000);
        turns(1);
        assert!(clock.is_overdue());
        // Several are.
        look_after(20, 20_000);
        look_after(20, 20_000);
        turns(1);
        assert!(!clock.is_overdue());
    }

    #[test]
    fn a_sleep_does_not_pass_for_slow_turns() {
        let clock = Clock::new(0);
        let eight_turns_until = |now_ns| {
            (0..8).for_each(|_| clock.count_turn());
            clock.set_pace(now_ns);
            clock.looked();
            clock.count_turn();
            clock.is_overdue()
        };
        assert!(!eight_turns_until(10_000));
        clock.gets_busy(10_000, 1_000_010_000);
        assert!(!eight_turns_until(1_000_020_000));
        assert!(eight_turns_until(2_000_000_000));
    }

    #[test]
    fn long_turns_are_those_since_the_last_sleep_and_neither_a_first_one_nor_those_of_who_talk() {
        let clock = Clock::new(0);
        (0..1000).for_each(|_| clock.count_turn());
        assert!(!clock.has_long_turns(|| 2_000_000), "2 µs");
        assert!(!clock.has_long_turns(|| unreachable!()), "nor eight turns later");
        clock.gets_busy(2_000_000, 3_000_000);
        (0..2).for_each(|_| clock.count_turn());
        assert!(!clock.has_long_turns(|| 3_100_000), "it has just begun");
        assert!(clock.has_long_turns(|| 5_000_000));
        (0..100).for_each(|_| clock.count_turn());
        assert!(!clock.has_long_turns(|| 8_000_000));
        (0..8).for_each(|_| clock.count_turn());
        assert!(clock.has_long_turns(|| 9_000_000));
    }
}
