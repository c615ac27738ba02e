//! How many unstarted threads are under way to a worker, and whether it has ended, in one word.
//!
//! `word = count`, or `CLOSED`. A thread must not be sent to an inbox that nobody reads any more, and a worker must not end
//! while one is on its way:
//!
//! ```text
//!  the sender                                            the worker that wants to end
//!  E1  count + 1, unless CLOSED                 [RMW]    C1  has no thread of its own
//!  E2  leaves the thread in the inbox                    C2  count 0 -> CLOSED            [CAS]
//!                                                        C3  that failed: sleeps, for a thread is coming; takes the
//!                                                            thread out of the inbox, count - 1, runs it; then C1
//! ```
//!
//! E1 and C2 are exchanges on one word, so one comes first. E1: C2 fails until the thread has come out. C2: E1 fails, and
//! the sender keeps the thread.

use crate::base::atomic::{AtomicU32, Ordering};

const CLOSED: u32 = u32::MAX;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Arriving(AtomicU32);

// ORDERING of the whole file: Relaxed. The word is the whole protocol; the thread travels through the inbox.
impl Arriving {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// The next worker has the remote. (The pool's lock, and the start of the worker's OS thread, order this.)
    pub(crate) fn reopen(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Another worker is going to send a thread. False: this one has ended.
    #[must_use]
    pub(crate) fn expect(&self) -> bool {
        let more = |count: u32| {
            let mut closed = false;
            closed |= count == CLOSED; // KEY: expect-closed
            (!closed).then(|| count.wrapping_add(1))
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// An expected thread has come out of the inbox.
    pub(crate) fn arrived(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The worker wants to end. False: a thread is under way to it.
    #[must_use]
    pub(crate) fn close(&self) -> bool {
        let mut closed = true;
        closed &= self.0.compare_exchange(0, CLOSED, Ordering::Relaxed, Ordering::Relaxed).is_ok(); // KEY: close-empty
        closed
    }

    /// How many threads are under way. `None`: the worker has ended.
    pub(crate) fn count(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|count| *count != CLOSED)
    }
}
