//! Should a worker let a sibling that gets no CPU have its own for a moment?
//!
//! Threads that have started stay on their worker, so nobody takes them over when their worker gets no CPU: on a machine where
//! something else computes, too (the load generator of `benches/echo`, on two CPUs), the kernel has one worker wait for a tick of
//! 4 ms, or for two, while the other goes on. A `sched_yield` of the other one does not help: the two stand in the queues of
//! different CPUs. A CPU that falls idle does: it takes over a thread that waits for one.
//!
//! So a worker that is about to wait for events (step S4), and whose last round was short, probes a sibling. It *yields its CPU* when
//! the sibling (1) has made no progress for 100 µs, (2) has work: it runs threads, or has events in its poller, or is overdue from
//! yielding its own CPU, and (3) gets no CPU: its thread clock does not advance. The worker then sleeps in its parker for 600 µs,
//! though there may be events. What wakes a sleeper of step S4 wakes this one; events wait for so long. If the sibling has hardly
//! run meanwhile (it is blocked in a system call, or others have taken the CPU), the worker does not do it again for 1 ms, then
//! for 2, up to 256.
//!
//! # What it buys
//!
//! Without it: `green_without = "cpu_yield"`. Of each load with and without, on two CPUs, with its client on the same two; the median of the
//! rounds of a command (`benches/without cpu_yield`, and what stands below):
//!
//! | load | requests/s | CPU a request | half within | 99 % within |
//! | --- | --- | --- | --- | --- |
//! | `echo -- --connections 64 --servers green` (it was made for this) | 128 700, 117 800 | 7.5, 7.0 µs | 0.46, 0.19 ms | 1.1, 7.0 ms |
//! | `echo -- --connections 1000 --servers green` | 125 800, 121 400 | 7.3, 7.5 µs | 7.7, 7.8 ms | 16.8, 17.2 ms |
//! | `http wrk -t1 -c16 -d4 --latency http://127.0.0.1:8099/` | 92 200, 77 700 | 10.3, 12.7 µs | 0.09, 0.12 ms | 1.6, 3.8 ms |
//! | `http wrk -t1 -c64 -d4 --latency http://127.0.0.1:8099/` | 89 900, 72 700 | 10.6, 13.4 µs | 0.36, 0.42 ms | 4.3, 4.5 ms |
//! | `http ab -q -t 4 -n 1000000 -c 32 http://127.0.0.1:8099/`: a connection a request | 21 200, 20 400 | 33, 43 µs | 1, 1 ms | 3, 4 ms |
//! | `BESIDE=1`: the first, beside a process that computes | 82 400, 95 100 | 6.9, 7.6 µs | 0.85, 0.18 ms | 2.6, 9.6 ms |
//! | `BESIDE=1`: the fourth | 64 400, 74 700 | – | 0.69, 0.43 ms | 4.3, 4.8 ms |
//! | `BESIDE=1`: `savina -- --workers 2`, programs of actors | times 0.53 to 1.79 of those without, 0.97 in the mean: nothing | | | |
//!
//! So it wins on loads that were not made for it, the three of `http`, and is on. Beside a process that takes whatever CPU it gets, it
//! gives a tenth of the requests for a shorter tail.

#![forbid(unsafe_code)]

use std::cell::Cell;

use crate::sched::policy::heartbeat::Activity;
use crate::sched::remote::Remote;
use crate::sys::clock::real_ns;
use crate::sys::cpu_clock::CpuClock;

/// A sibling that has stood still for less is left alone.
const STILL_NS: u64 = 100_000;
/// How seldom a sibling's poller is looked at when there is never anything in it.
const SELDOM_NS: u64 = 16 * STILL_NS;
/// How long a worker yields.
const GIVES_NS: u64 = 600_000;
/// A worker whose rounds last longer does not: its threads wait as long for their turn as for the system's.
const ROUND_NS: u64 = 1_000_000;
/// After it has done so for nothing it does not do it again for so long, twice as long each time.
const RESTS_NS: u64 = 1_000_000;
const RESTS_MAX_NS: u64 = 256 * RESTS_NS;

const POLLS: u32 = Activity::Polls as u32;
const YIELDS_CPU: u32 = Activity::YieldsCpu as u32;

const ON: bool = cfg!(not(green_without = "cpu_yield"));

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

    /// Has the sibling stood still for long, as far as its heartbeat says?
    fn stands_still(&self, word: u32, now_ns: u64) -> bool {
        let long_ns = match word & 3 {
            POLLS => self.look_ns.get().max(STILL_NS),
            YIELDS_CPU => GIVES_NS + STILL_NS,
            _ => STILL_NS,
        };
        now_ns >= self.rest_until_ns.get().max(self.since_ns.get() + long_ns)
    }

    /// Has it something to do? One that runs may have, and one that yields for too long.
    fn has_work(&self, word: u32, has_events: impl FnOnce() -> bool) -> bool {
        if word & 3 != POLLS {
            return true;
        }
        let work = has_events();
        self.look_ns.set(if work { 0 } else { (self.look_ns.get() * 2).clamp(STILL_NS, SELDOM_NS) });
        work
    }

    /// Before the worker, which is that `number` of `remotes`, waits for events until `deadline_ns`: yields its CPU if a sibling needs
    /// it. True: it was unparked meanwhile.
    #[inline]
    pub(crate) fn yield_cpu(&self, remotes: &[&'static Remote], number: usize, deadline_ns: u64) -> bool {
        if remotes.len() == 1 || !CpuClock::IS_KNOWN || !ON {
            return false;
        }
        let now = real_ns();
        let short = self.comes_by(now);
        let sibling = self.sibling(remotes, number);
        let word = sibling.heartbeat.word();
        if word != self.seen.get() {
            self.begin(word, now);
            return false;
        }
        short && self.stands_still(word, now) && self.look_after(remotes, number, word, deadline_ns)
    }

    fn sibling(&self, remotes: &[&'static Remote], number: usize) -> &'static Remote {
        remotes[(number + 1 + self.at.get()) % remotes.len()]
    }

    /// The sibling stands still: yields if it has work and no CPU, and turns to the next one.
    #[cold]
    fn look_after(&self, remotes: &[&'static Remote], number: usize, word: u32, deadline_ns: u64) -> bool {
        let (own, sibling) = (remotes[number], self.sibling(remotes, number));
        let starves = self.has_work(word, || sibling.has_events());
        let used_ns = if starves { sibling.heartbeat.clock.stands_at_ns() } else { None };
        let unparked = used_ns.is_some_and(|used_ns| {
            own.heartbeat.beat(Activity::YieldsCpu);
            let before = real_ns();
            let unparked = own.doorbell.parker.park(deadline_ns.min(before + GIVES_NS));
            own.heartbeat.beat(Activity::Runs);
            let now = real_ns();
            let ran_ns = sibling.heartbeat.clock.read_ns().unwrap_or(0).saturating_sub(used_ns);
            self.has_yielded(now - before, ran_ns, now);
            self.before_ns.set(now);
            unparked
        });
        self.at.set((self.at.get() + 1) % (remotes.len() - 1));
        self.begin(self.sibling(remotes, number).heartbeat.word(), self.before_ns.get());
        unparked
    }

    /// The worker has yielded for `took_ns`, and the sibling has run for `ran_ns` of it.
    fn has_yielded(&self, took_ns: u64, ran_ns: u64, now_ns: u64) {
        let worth_it = ran_ns >= took_ns / 4;
        self.rest_ns.set(if worth_it { 0 } else { (self.rest_ns.get() * 2).clamp(RESTS_NS, RESTS_MAX_NS) });
        self.rest_until_ns.set(now_ns + self.rest_ns.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::policy::heartbeat::Heartbeat;

    #[test]
    fn a_sibling_is_left_alone_for_a_while_and_for_longer_if_yielding_was_for_nothing() {
        let (probe, heartbeat) = (SiblingProbe::default(), Heartbeat::new());
        probe.begin(heartbeat.word(), 1000);
        assert!(!probe.stands_still(heartbeat.word(), 1000 + STILL_NS - 1));
        assert!(probe.stands_still(heartbeat.word(), 1000 + STILL_NS));
        let mut now = 1_000_000;
        for rest in [1, 2, 4, 8] {
            probe.has_yielded(GIVES_NS, GIVES_NS / 5, now);
            assert!(!probe.stands_still(heartbeat.word(), now + rest * RESTS_NS - 1));
            now += rest * RESTS_NS;
            assert!(probe.stands_still(heartbeat.word(), now));
        }
        probe.has_yielded(GIVES_NS, GIVES_NS / 3, now);
        assert!(probe.stands_still(heartbeat.word(), now), "it ran meanwhile");
    }

    #[test]
    fn a_sibling_has_work_if_it_runs_or_has_events_and_an_empty_poller_is_looked_at_more_and_more_seldom() {
        let (probe, heartbeat) = (SiblingProbe::default(), Heartbeat::new());
        assert!(probe.has_work(heartbeat.word(), || unreachable!("it runs")));
        let before = heartbeat.word();
        heartbeat.beat(Activity::Polls);
        assert_ne!(heartbeat.word(), before);
        probe.begin(heartbeat.word(), 0);
        assert!(probe.has_work(heartbeat.word(), || true));
        for times in [1, 2, 4, 8, 16, 16] {
            assert!(!probe.has_work(heartbeat.word(), || false));
            assert!(!probe.stands_still(heartbeat.word(), times * STILL_NS - 1));
            assert!(probe.stands_still(heartbeat.word(), times * STILL_NS));
        }
    }

    #[test]
    fn a_sibling_that_yields_its_cpu_is_left_alone_until_it_should_have_got_up() {
        let (probe, heartbeat) = (SiblingProbe::default(), Heartbeat::new());
        heartbeat.beat(Activity::YieldsCpu);
        probe.begin(heartbeat.word(), 0);
        assert!(!probe.stands_still(heartbeat.word(), GIVES_NS + STILL_NS - 1));
        assert!(probe.stands_still(heartbeat.word(), GIVES_NS + STILL_NS));
        assert!(probe.has_work(heartbeat.word(), || unreachable!("it does not poll")));
    }

    #[test]
    fn a_worker_with_long_rounds_does_not_yield() {
        let probe = SiblingProbe::default();
        probe.comes_by(1_000_000);
        assert!(probe.comes_by(1_000_000 + ROUND_NS));
        assert!(!probe.comes_by(1_000_001 + 2 * ROUND_NS));
    }
}
