//! When a worker looks at the time, and for what.

use std::cell::Cell;

use crate::base::atomic::{AtomicU32, Ordering};
use crate::sched::tidy::Tidy;

/// Turns after which the clock is looked at although there is still something to run.
const TURNS_PER_TICK: u32 = 8;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Clock {
    /// How many turns there were: while it stays the same, the worker is in one of them. Changed by the owner, read by the
    /// [`monitor`](super::monitor), too.
    turns: AtomicU32,
    /// What it was when the clock was looked at.
    looked_at: Cell<u32>,
    /// When a timer last ended a sleep.
    pub(crate) got_up_for_timers_ns: Cell<u64>,
    pub(crate) tidy: Tidy,
}

impl Clock {
    pub(crate) fn new(now_ns: u64) -> Self {
        Self {
            turns: AtomicU32::new(0),
            looked_at: Cell::new(0),
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

    /// The worker looks, or needs not.
    #[inline]
    pub(crate) fn looked(&self) {
        self.looked_at.set(self.turns());
    }
}
