//! How a worker shows its siblings that it goes on. All of it is a hint, by relaxed loads.

#![forbid(unsafe_code)]

use crate::base::atomic::{AtomicU32, Ordering};
use crate::sys::cpu_clock::CpuClock;

/// What a worker does, as far as others can tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Activity {
    /// It runs threads, or looks for some.
    Runs = 0,
    /// It waits for events.
    Polls = 1,
    YieldsCpu = 2,
}

/// How a worker that has a poller shows that it goes on: a count that moves when it does something else.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    /// `count << 2 | doing`. Stored by the worker alone.
    word: AtomicU32,
    pub(crate) clock: CpuClock,
}

impl Heartbeat {
    pub(crate) fn new() -> Self {
        Self { word: AtomicU32::new(Activity::Runs as u32), clock: CpuClock::new() }
    }

    /// Called on the worker's own thread, before all else.
    pub(crate) fn begin(&self) {
        self.clock.take();
    }

    #[inline]
    pub(crate) fn beat(&self, doing: Activity) {
        let count = (self.word.load(Ordering::Relaxed) & !3).wrapping_add(4);
        self.word.store(count | doing as u32, Ordering::Relaxed);
    }

    /// The count, and what the worker does: as long as it is the same, the worker stands still.
    #[inline]
    pub(crate) fn word(&self) -> u32 {
        self.word.load(Ordering::Relaxed)
    }
}
