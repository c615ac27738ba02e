//! Whether a runtime ends, in one word.
#![forbid(unsafe_code)]

use crate::base::atomic::{AtomicU32, Ordering, fence};

/// Every thread of the runtime is cancelled.
const STOPS: u32 = 1;
/// And its workers are gone.
const OVER: u32 = 2;
/// They are not, but the time for last words is over: see [`last_words`](crate::task::last_words).
const LATE: u32 = 3;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct StopWord(AtomicU32);

impl StopWord {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Does the runtime end, or has it ended?
    pub(crate) fn stops(&self) -> bool {
        // ORDERING: Acquire pairs with `stop`.
        self.0.load(Ordering::Acquire) != 0
    }

    /// From now on it ends; then `notify_all` brings every worker that there is to look.
    pub(crate) fn stop(&self, notify_all: impl FnOnce()) {
        // ORDERING: Release pairs with `stops`; the notices bring every worker to look.
        self.0.store(STOPS, Ordering::Release);
        // ORDERING: SeqCst pairs with the fence in `SpareSlot::take`.
        fence(Ordering::SeqCst); // KEY: stop-fence
        notify_all();
    }

    /// Step H3, by who has stopped it, or by a thread that looks at the clock for that one, which may have ended it meanwhile.
    pub(crate) fn hurry(&self, notify_all: impl FnOnce()) {
        // ORDERING: Release pairs with `is_late`; a spare worker that was missed by `stop` has not started.
        if self.0.compare_exchange(STOPS, LATE, Ordering::Release, Ordering::Relaxed).is_ok() {
            notify_all();
        }
    }

    /// Is the time for last words over?
    pub(crate) fn is_late(&self) -> bool {
        // ORDERING: Acquire pairs with `hurry`; the notices bring every worker to look.
        self.0.load(Ordering::Acquire) == LATE
    }

    /// Are the workers gone?
    pub(crate) fn is_over(&self) -> bool {
        // ORDERING: Relaxed: what is queued by a thread that does not know yet is discarded in the end.
        self.0.load(Ordering::Relaxed) == OVER
    }

    /// They are.
    pub(crate) fn end(&self) {
        // ORDERING: Relaxed: as in `is_over`. (A swap, as the models take a store that `hurry` comes before for one that it may undo.)
        self.0.swap(OVER, Ordering::Relaxed);
    }
}
