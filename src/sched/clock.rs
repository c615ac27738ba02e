//! When a worker looks at the time, and for what.

use std::cell::Cell;

use crate::sched::tidy::Tidy;

/// Turns after which the clock is looked at although there is still something to run.
const TURNS_PER_TICK: u32 = 8;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Clock {
    turns: Cell<u32>,
    /// When a timer last ended a sleep.
    pub(crate) got_up_for_timers_ns: Cell<u64>,
    pub(crate) tidy: Tidy,
}

impl Clock {
    pub(crate) fn new(now_ns: u64) -> Self {
        Self { turns: Cell::new(0), got_up_for_timers_ns: Cell::new(0), tidy: Tidy::new(now_ns) }
    }

    /// A turn begins.
    #[inline(always)]
    pub(crate) fn count_turn(&self) {
        self.turns.set(self.turns.get().wrapping_add(1));
    }

    /// Have there been so many turns that it is time for a look?
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        self.turns.get() >= TURNS_PER_TICK
    }

    /// The worker looks, or needs not.
    #[inline]
    pub(crate) fn looked(&self) {
        self.turns.set(0);
    }
}
