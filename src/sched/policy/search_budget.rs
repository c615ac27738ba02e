//! How long does an idle worker search for work before it sleeps?
//!
//! A search that finds something saves a wake-up, 20 to 40 µs; one that finds nothing costs its CPU time. So each search for
//! nothing halves the next one, down to 1 µs, and one that was worth it makes the next four times as long, up to 30 µs. Every 16th is
//! of full length all the same. A worker with a poller then stops searching, because the poller wakes it without anybody's search:
//! it tries again after 16, 32, 64, … idle times, and at least every 256th time.
//!
//! # What it buys
//!
//! Without it (`green_without = "search_budget"`) each search lasts 30 µs.
//!
//! | `benches/without search_budget` …, two CPUs | with | without |
//! | --- | --- | --- |
//! | `echo -- --connections 64 --servers green`, the client on the same two | 133 900 requests/s, CPU 7.1 µs each, 99 % within 1.1 ms | 93 900, 9.6 µs, 8.1 ms |
//! | `savina -- --workers 2`, programs of actors | the same within noise, for each of the fifteen | |

use std::cell::Cell;

/// About what it costs to wake the worker again.
const FULL_NS: u64 = 30_000;
const LEAST_NS: u64 = 1_000;
/// One search in so many is of full length.
const FULL: u32 = 16;
/// One idle time in so many has a search.
const RARE: u32 = 256;

const ON: bool = cfg!(not(green_without = "search_budget"));

/// See the module's text.
#[derive(Debug)]
pub(crate) struct SearchBudget {
    /// The next search; 0: the worker does without for now.
    next_ns: Cell<u64>,
    /// Searches for nothing, then idle times without one.
    fruitless: Cell<u32>,
}

impl SearchBudget {
    pub(crate) fn new() -> Self {
        Self { next_ns: Cell::new(FULL_NS), fruitless: Cell::new(0) }
    }

    /// Does the worker, which has become idle, search at all?
    pub(crate) fn pays(&self) -> bool {
        self.next_ns.get() > 0 || {
            let idle = self.fruitless.get().wrapping_add(1);
            self.fruitless.set(idle);
            idle.is_multiple_of(if idle.is_power_of_two() { FULL } else { RARE })
        }
    }

    /// A search begins: how long may it last?
    pub(crate) fn spend_ns(&self, has_poller: bool) -> u64 {
        let (length_ns, searches) = (self.next_ns.get(), self.fruitless.get().wrapping_add(1));
        if length_ns == 0 || !ON {
            return FULL_NS;
        }
        self.fruitless.set(searches);
        let gives_up = length_ns <= LEAST_NS && has_poller;
        self.next_ns.set(if gives_up { 0 } else { (length_ns / 2).max(LEAST_NS) });
        if searches.is_multiple_of(FULL) { FULL_NS } else { length_ns }
    }

    /// The search has found work. (What comes from the poller does not count.)
    pub(crate) fn was_worth_it(&self) {
        self.next_ns.set((self.next_ns.get() * 4).clamp(LEAST_NS, FULL_NS));
        self.fruitless.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn searches_for_nothing_become_short_and_every_16th_is_a_full_one() {
        let budget = SearchBudget::new();
        let lengths: Vec<u64> = (0..34).map(|_| budget.spend_ns(false)).collect();
        assert_eq!(lengths[..6], [30_000, 15_000, 7_500, 3_750, 1_875, 1_000]);
        let full: Vec<usize> = (1..34).filter(|at| lengths[*at] == FULL_NS).collect();
        assert_eq!(full, [15, 31]);
        assert!(budget.pays(), "without a poller it searches each time");
    }

    #[test]
    fn a_search_that_was_worth_it_makes_the_next_ones_longer() {
        let budget = SearchBudget::new();
        (0..10).for_each(|_| _ = budget.spend_ns(false));
        budget.was_worth_it();
        assert_eq!(budget.spend_ns(false), 4_000);
        (0..3).for_each(|_| budget.was_worth_it());
        assert_eq!(budget.spend_ns(false), FULL_NS);
    }

    #[test]
    fn a_worker_with_a_poller_searches_more_and_more_seldom() {
        let budget = SearchBudget::new();
        (0..6).for_each(|_| _ = budget.spend_ns(true));
        let before = budget.fruitless.get();
        let searched: Vec<u32> = (before + 1..1025).filter(|_| budget.pays()).map(|_| budget.fruitless.get()).collect();
        assert_eq!(searched, [16, 32, 64, 128, 256, 512, 768, 1024]);
        assert_eq!(budget.spend_ns(true), FULL_NS, "if it searches, then in full");
        budget.was_worth_it();
        assert!(budget.pays() && budget.pays());
    }
}
