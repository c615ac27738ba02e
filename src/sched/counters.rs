//! What a worker counts, for [`Metrics`](crate::metrics::Metrics). Only the owner writes, or a worker that stands in for it, by plain stores; others read, and may see a count that is
//! some turns old.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::ptr;

use crate::base::atomic::{AtomicU64, Ordering};
use crate::sched::ready::ReadyQueue;
use crate::sched::wake_probe::WakeProbe;
use crate::sys::clock::real_ns;
use crate::task::Header;
use crate::task::unwound::EndsBy;

/// A number that its owner changes.
#[derive(Debug)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    #[inline(always)]
    pub(crate) fn add(&self, more: u64) {
        self.set(self.get() + more);
    }

    #[inline(always)]
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Delays are counted by their powers of two: below 1 µs (1024 ns), 2 µs, …, and the rest: a second and more.
pub(crate) const DELAYS: usize = 21;
const SHORTEST: u32 = 10;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Counters {
    /// Threads that threads of the worker have spawned, that have started on it, that have ended on it, and of these in a panic or by a cancel.
    pub(crate) spawned: Counter,
    pub(crate) started: Counter,
    pub(crate) ended: Counter,
    pub(crate) panicked: Counter,
    pub(crate) cancelled: Counter,
    /// Unstarted threads that it has taken from others, and given to them.
    pub(crate) stolen: Counter,
    pub(crate) given: Counter,
    /// Threads of the worker that others have woken.
    pub(crate) woken: Counter,
    /// Threads that were ready when its last round began.
    pub(crate) ready: Counter,
    pub(crate) sleeps: Counter,
    pub(crate) polls: Counter,
    pub(crate) events: Counter,
    pub(crate) timers: Counter,
    /// Changed by the [`monitor`](super::monitor) alone.
    pub(crate) stalls: Counter,
    /// By [`DELAYS`].
    pub(crate) delays: [Counter; DELAYS],
    /// All of these together.
    pub(crate) delays_ns: Counter,
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            spawned: Counter::new(),
            started: Counter::new(),
            ended: Counter::new(),
            panicked: Counter::new(),
            cancelled: Counter::new(),
            stolen: Counter::new(),
            given: Counter::new(),
            woken: Counter::new(),
            ready: Counter::new(),
            sleeps: Counter::new(),
            polls: Counter::new(),
            events: Counter::new(),
            timers: Counter::new(),
            stalls: Counter::new(),
            delays: [const { Counter(AtomicU64::new(0)) }; DELAYS],
            delays_ns: Counter::new(),
        }
    }

    /// Another worker begins to count.
    pub(crate) fn reset(&self) {
        let Self {
            spawned,
            started,
            ended,
            panicked,
            cancelled,
            stolen,
            given,
            woken,
            ready,
            sleeps,
            polls,
            events,
            timers,
            stalls,
            delays,
            delays_ns,
        } = self;
        let counters = [
            spawned, started, ended, panicked, cancelled, stolen, given, woken, ready, sleeps, polls, events, timers,
            stalls, delays_ns,
        ];
        counters.into_iter().chain(delays).for_each(|counter| counter.set(0));
    }

    /// A thread of the worker, which runs, ends without a value.
    pub(crate) fn ended(&self, how: EndsBy) {
        match how {
            EndsBy::Panic => self.panicked.add(1),
            EndsBy::Cancel => self.cancelled.add(1),
        }
    }
}

/// At one in so many looks at the clock, which come every eight turns or when there is nothing to run, a thread's delay is measured; a prime, so
/// that it does not keep step with what repeats.
const LOOKS_PER_PROBE: u32 = 7;

/// A sample that has not ended after so long is given up: its thread may have gone elsewhere. As much is the longest delay that is told from others.
const LONGEST_NS: u64 = 1_000_000_000;

/// How long threads that are ready wait for their turn, by samples: now and then the last one of the queue is timed, or the next one that others wake.
#[derive(Debug)]
pub(crate) struct DelayProbe {
    looks: Cell<u32>,
    /// Only compared.
    thread: Cell<*const Header>,
    since_ns: Cell<u64>,
    /// The next sample is of one that others wake.
    of_woken: Cell<bool>,
}

impl DelayProbe {
    pub(crate) fn new() -> Self {
        Self { looks: Cell::new(0), thread: Cell::new(ptr::null()), since_ns: Cell::new(0), of_woken: Cell::new(false) }
    }

    /// The worker looks at the clock, and so many are `ready`. True: at this look a sample begins.
    #[inline]
    pub(crate) fn look(&self, ready: &ReadyQueue, counters: &Counters, woken: &WakeProbe) -> bool {
        let left = self.looks.get();
        self.looks.set(left.wrapping_sub(1));
        if left == 0 {
            self.begin(ready, counters, woken);
        }
        left == 0
    }

    #[cold]
    #[inline(never)]
    fn begin(&self, ready: &ReadyQueue, counters: &Counters, woken: &WakeProbe) {
        self.looks.set(LOOKS_PER_PROBE - 1);
        counters.ready.set(ready.len() as u64);
        let now_ns = real_ns();
        // One that waits for long is worth more than the next.
        if !self.thread.get().is_null() && now_ns.saturating_sub(self.since_ns.get()) < LONGEST_NS {
            return;
        }
        self.thread.set(ptr::null());
        let of_woken = self.of_woken.replace(!self.of_woken.get());
        if of_woken || ready.len() == 0 {
            woken.want();
        } else {
            self.thread.set(ready.last());
            self.since_ns.set(now_ns);
        }
    }

    /// A thread has come that others have woken at `since_ns`.
    pub(crate) fn came(&self, thread: *const Header, since_ns: u64) {
        if self.thread.get().is_null() {
            self.thread.set(thread);
            self.since_ns.set(since_ns);
        }
    }

    /// `thread` has its turn.
    #[inline(always)]
    pub(crate) fn turn(&self, thread: *const Header, counters: &Counters) {
        if self.thread.get() == thread {
            self.end(counters);
        }
    }

    #[cold]
    #[inline(never)]
    fn end(&self, counters: &Counters) {
        self.thread.set(ptr::null());
        let delay_ns = real_ns().saturating_sub(self.since_ns.get());
        counters.delays[class(delay_ns)].add(1);
        counters.delays_ns.add(delay_ns);
    }
}

fn class(delay_ns: u64) -> usize {
    let bits = u64::BITS - delay_ns.leading_zeros();
    (bits.saturating_sub(SHORTEST) as usize).min(DELAYS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_counted_by_its_power_of_two() {
        for (delay_ns, at) in
            [(0, 0), (1023, 0), (1024, 1), (2047, 1), (2048, 2), (1 << 29, DELAYS - 1), (u64::MAX, DELAYS - 1)]
        {
            assert_eq!(class(delay_ns), at, "{delay_ns}");
        }
        assert_eq!(class((1 << 29) - 1), DELAYS - 2);
    }
}
