//! Whether a runtime ends, in one word.
#![forbid(unsafe_code)]

use crate::base::atomic::{AtomicU32, Ordering, fence};

/// Every thread of the runtime is cancelled.
const STOPS: u32 = 1;
/// And its workers are gone.
const OVER: u32 = 2;

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

    /// Are the workers gone?
    pub(crate) fn is_over(&self) -> bool {
        // ORDERING: Relaxed: what is queued by a thread that does not know yet is discarded in the end.
        self.0.load(Ordering::Relaxed) == OVER
    }

    /// They are.
    pub(crate) fn end(&self) {
        // ORDERING: Relaxed: as in `is_over`.
        self.0.store(OVER, Ordering::Relaxed);
    }
}
