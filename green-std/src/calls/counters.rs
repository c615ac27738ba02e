//! What has parked, and what has blocked.

use std::sync::atomic::{AtomicU64, Ordering};

use green::__interposed::futex_waits;

/// One counter.
pub(crate) struct Counter(AtomicU64);

impl Counter {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

pub(crate) static DESCRIPTORS: Counter = Counter::new();
pub(crate) static SLEEPS: Counter = Counter::new();
/// But for the waits for words, which the table of these counts.
pub(crate) static FUTEXES: Counter = Counter::new();
pub(crate) static HANDED_OVER: Counter = Counter::new();
pub(crate) static BLOCKED: Counter = Counter::new();

/// How often functions of libc have parked a green thread, in this process so far. (A child of fork goes on from its parent's numbers.)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Counters {
    /// Waits for sockets, pipes and the like.
    pub descriptors: u64,
    /// Sleeps.
    pub sleeps: u64,
    /// Waits for locks, channels, `std::thread::park` and all else that is made of futexes.
    pub futexes: u64,
    /// Calls that were made by a thread of the blocking pool: look-ups of names, `waitpid` and the like.
    pub handed_over: u64,
    /// Calls that blocked a worker although this crate knows them: a limit on descriptors was reached, or the call was made in a way that cannot park
    /// (the crate's documentation has the list).
    pub blocked: u64,
}

/// Reads the counters.
///
/// ```
/// let before = green_std::counters();
/// assert!(green_std::counters().descriptors >= before.descriptors);
/// ```
pub fn counters() -> Counters {
    Counters {
        descriptors: DESCRIPTORS.get(),
        sleeps: SLEEPS.get(),
        futexes: FUTEXES.get() + futex_waits(),
        handed_over: HANDED_OVER.get(),
        blocked: BLOCKED.get(),
    }
}
