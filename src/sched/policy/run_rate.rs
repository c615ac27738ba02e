//! Is it worth helping a worker with its actors?
//!
//! A run of a re-armable task (an actor with one small message) lasts 50 ns. Taken over by another worker it costs both more
//! than that: the lines of the deque, of the actor, its mail and its messages change cores, and change back with the next
//! message. So a worker that goes through such runs quickly is left alone, however many of them it has queued.
//!
//! The worker counts the runs that it starts. A worker that looks for work reads that count twice, some microseconds apart, and
//! leaves its verdict for all: while a worker is *quick* nobody steals from it, sleeps less because of it, or is woken by it
//! for its actors. A verdict is about the past. So the lookout judges anew at each of its looks (`sched/PROTOCOL.md`), and what
//! stands behind a handler that is suddenly slow waits for that, 16 ms at most.
//!
//! A worker that starts no such runs is never quick: it is as if this file were not there.
//!
//! # What it buys
//!
//! Without it (`green_without = "run_rate"`) each worker is worth helping. `benches/without run_rate savina -- --workers 2`, on two CPUs, median
//! of four rounds:
//!
//! | program | with | without |
//! | --- | --- | --- |
//! | fork-join throughput | 21 ms | 43 ms |
//! | fork-join creation | 7.8 ms | 11.4 ms |
//! | concurrent dictionary | 15 ms | 38 ms |
//! | dining philosophers | 24 ms | 63 ms |
//! | sleeping barber | 25 ms | 20 ms |
//! | the ten others | | within 9 % of each other |

use crate::base::atomic::{AtomicU32, AtomicU64, Ordering};

/// What is judged is a span of at least this.
const SPAN_NS: u64 = 4_000;
/// After a pause like this the count says nothing.
const STALE_NS: u64 = 64_000;
/// Shorter runs are not worth taking.
const WORTH_NS: u64 = 1_000;

const SLOW: u32 = 0;
const QUICK: u32 = 1;
const UNKNOWN: u32 = 2;

const ON: bool = cfg!(not(green_without = "run_rate"));

/// How quick one worker is. All of it is a hint: nothing is ordered by it, and thieves may overwrite each other.
#[derive(Debug)]
pub(crate) struct RunRate {
    /// Runs of re-armable tasks that the worker has started. Stored by the worker only.
    starts: AtomicU64,
    /// The last thief's.
    verdict: AtomicU32,
    /// Where the present span began: `starts`, and the time.
    counted: AtomicU32,
    since_ns: AtomicU64,
}

impl RunRate {
    pub(crate) fn new() -> Self {
        Self {
            starts: AtomicU64::new(0),
            verdict: AtomicU32::new(SLOW),
            counted: AtomicU32::new(0),
            since_ns: AtomicU64::new(0),
        }
    }

    /// The worker starts a run.
    #[inline]
    pub(crate) fn starts(&self) {
        self.starts.store(self.starts.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// How many it has started.
    pub(crate) fn started(&self) -> u64 {
        self.starts.load(Ordering::Relaxed)
    }

    /// Another worker has the remote.
    pub(crate) fn reset(&self) {
        self.starts.store(0, Ordering::Relaxed);
        self.counted.store(0, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_quick(&self) -> bool {
        self.verdict.load(Ordering::Relaxed) == QUICK
    }

    /// The worker sleeps, so what was quick is over.
    pub(crate) fn rests(&self) {
        self.verdict.store(SLOW, Ordering::Relaxed);
    }

    /// For a thief, at each of its looks: may it take what is queued there?
    pub(crate) fn is_worth_helping(&self, now_ns: u64) -> bool {
        if !ON {
            return true;
        }
        let span_ns = now_ns.saturating_sub(self.since_ns.load(Ordering::Relaxed));
        if span_ns < SPAN_NS {
            return self.verdict.load(Ordering::Relaxed) == SLOW;
        }
        let starts = self.starts.load(Ordering::Relaxed) as u32;
        let runs = starts.wrapping_sub(self.counted.load(Ordering::Relaxed));
        let verdict = match runs {
            0 => SLOW,
            _ if span_ns > STALE_NS => UNKNOWN,
            _ if u64::from(runs) * WORTH_NS > span_ns => QUICK,
            _ => SLOW,
        };
        self.counted.store(starts, Ordering::Relaxed);
        self.since_ns.store(now_ns, Ordering::Relaxed);
        self.verdict.store(verdict, Ordering::Relaxed);
        verdict == SLOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many runs, then a look at that time.
    fn look(run_rate: &RunRate, runs: u32, now_ns: u64) -> bool {
        (0..runs).for_each(|_| run_rate.starts());
        run_rate.is_worth_helping(now_ns)
    }

    #[test]
    fn a_worker_without_actors_is_worth_helping_at_every_look() {
        let run_rate = RunRate::new();
        assert!((0..100).all(|n| look(&run_rate, 0, 1_000_000 + n * 300)));
    }

    #[test]
    fn quick_runs_are_left_alone_and_slow_ones_are_not() {
        let run_rate = RunRate::new();
        assert!(!look(&run_rate, 5, 1_000_000), "what was before is not known");
        assert!(!look(&run_rate, 9, 1_003_000), "nor is it yet");
        assert!(!run_rate.is_quick());
        assert!(!look(&run_rate, 9, 1_005_000), "18 runs in 5 us");
        assert!(run_rate.is_quick());
        assert!(!look(&run_rate, 0, 1_006_000), "the verdict stands");
        assert!(look(&run_rate, 1, 1_010_000), "a run of 5 us");
        assert!(!run_rate.is_quick());
        assert!(look(&run_rate, 2, 1_011_000), "the verdict stands");
    }

    #[test]
    fn a_worker_that_slept_is_not_quick_any_more() {
        let run_rate = RunRate::new();
        let _ = look(&run_rate, 9, 1_000_000);
        assert!(!look(&run_rate, 9, 1_005_000) && run_rate.is_quick());
        run_rate.rests();
        assert!(!run_rate.is_quick());
    }
}
