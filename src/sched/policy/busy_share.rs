//! How much of its time does a worker spend running threads? A moving average, in one word that its siblings may read.
//!
//! The worker says when it has nothing to run, and when it has something again. What it did before counts less and less: after a
//! [`WINDOW`] of one or the other only that counts. (In between the average moves in a straight line, which for short spans is the same
//! as exponentially.) As the present span counts, too, a worker that computes without a pause looks more and more busy.
//!
//! `word = average (24 bits) | busy now (1 bit) | since when (39 bits: units of 1024 ns, and a wrap after six days is a wrong hint)`.

#![forbid(unsafe_code)]

use crate::base::atomic::{AtomicU64, Ordering};

/// A worker that is always busy.
pub(crate) const ALL: u32 = (1 << 24) - 1;

/// In units: 134 ms.
const WINDOW: u64 = 1 << 17;
const UNIT_SHIFT: u32 = 10;
const SINCE: u64 = (1 << 39) - 1;
const BUSY: u64 = 1 << 39;
const AVERAGE_SHIFT: u32 = 40;

/// See the module's text. All of it is a hint, by relaxed loads; only the worker stores.
#[derive(Debug)]
pub(crate) struct BusyShare(AtomicU64);

impl BusyShare {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Another worker has the remote.
    pub(crate) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// The worker was always busy.
    #[cfg(test)]
    pub(crate) fn set_all(&self) {
        self.0.store(u64::from(ALL) << AVERAGE_SHIFT | BUSY, Ordering::Relaxed);
    }

    /// The average, up to `now_ns`, of [`ALL`].
    pub(crate) fn at(&self, now_ns: u64) -> u32 {
        let word = self.0.load(Ordering::Relaxed);
        let average = (word >> AVERAGE_SHIFT) as i64;
        let span = (now_ns >> UNIT_SHIFT).wrapping_sub(word) & SINCE;
        // The worker may have turned since the caller looked at the clock.
        let span = if span > SINCE / 2 { 0 } else { span.min(WINDOW) as i64 };
        let to = if word & BUSY != 0 { i64::from(ALL) } else { 0 };
        (average + (to - average) * span / WINDOW as i64) as u32
    }

    /// A word that stays the same while the worker is busy without a pause; `None`: it is not.
    pub(crate) fn busy_since(&self) -> Option<u64> {
        let word = self.0.load(Ordering::Relaxed);
        (word & BUSY != 0).then_some(word)
    }

    /// From now on the worker is busy, or is not.
    pub(crate) fn turns(&self, busy: bool, now_ns: u64) {
        let busy = if busy { BUSY } else { 0 };
        let word = u64::from(self.at(now_ns)) << AVERAGE_SHIFT | busy | now_ns >> UNIT_SHIFT & SINCE;
        self.0.store(word, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn percent(share: u32) -> u64 {
        (u64::from(share) * 100).div_ceil(u64::from(ALL))
    }

    #[test]
    fn a_worker_that_works_half_of_its_time_is_half_busy_and_one_that_computes_is_more_and_more_so() {
        let (share, mut now) = (BusyShare::new(), 1_000 * MS);
        share.turns(false, now);
        for _ in 0..500 {
            share.turns(true, now);
            share.turns(false, now + MS);
            now += 2 * MS;
        }
        assert!((48..=52).contains(&percent(share.at(now))), "{}", percent(share.at(now)));
        share.turns(true, now);
        assert!((72..=78).contains(&percent(share.at(now + 67 * MS))));
        assert_eq!(percent(share.at(now + 140 * MS)), 100);
    }

    #[test]
    fn a_worker_that_has_slept_long_is_not_busy_any_more() {
        let share = BusyShare::new();
        share.turns(true, 1_000 * MS);
        share.turns(false, 2_000 * MS);
        assert_eq!(percent(share.at(2_000 * MS)), 100);
        assert!((48..=52).contains(&percent(share.at(2_067 * MS))));
        assert_eq!(share.at(2_140 * MS), 0);
        assert_eq!(share.at(20_000 * MS), 0);
    }

    #[test]
    fn short_spans_count_in_proportion() {
        let (share, mut now) = (BusyShare::new(), 1_000 * MS);
        for _ in 0..200_000 {
            share.turns(true, now);
            share.turns(false, now + 2_048);
            now += 8_192;
        }
        assert!((23..=27).contains(&percent(share.at(now))), "{}", percent(share.at(now)));
    }
}
