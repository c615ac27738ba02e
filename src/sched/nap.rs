//! The monitor's sleep, from which a worker that gets busy wakes it: steps N1 to N4 and W2, W3 of [`watched`](super::watched).
#![forbid(unsafe_code)]

use crate::base::atomic::{AtomicU32, Ordering};
use crate::sys::membarrier;

/// See the module's text. One sleeps at a time.
#[derive(Debug)]
pub(crate) struct Nap {
    sleeps: AtomicU32,
}

impl Nap {
    pub(crate) const fn new() -> Self {
        Self { sleeps: AtomicU32::new(0) }
    }

    /// Calls `park` unless `has_news`, which looks at all workers. `park` is told whether a worker that gets busy ends the sleep for certain.
    pub(crate) fn sleep(&self, has_news: impl FnOnce() -> bool, park: impl FnOnce(bool)) {
        self.sleeps.store(1, Ordering::Relaxed); // KEY: monitor-sleeps
        let mut is_fenced = false;
        is_fenced |= membarrier::heavy().is_ok(); // KEY: monitor-fence
        if !has_news() {
            park(is_fenced);
        }
        self.sleeps.store(0, Ordering::Relaxed);
    }

    /// A worker has got busy, and its word says so: `unpark` is called if the monitor sleeps.
    #[inline(always)]
    pub(crate) fn gets_busy(&self, unpark: impl FnOnce()) {
        membarrier::light(); // KEY: worker-fence
        if self.sleeps.load(Ordering::Relaxed) != 0 {
            self.wake(unpark);
        }
    }

    #[cold]
    #[inline(never)]
    fn wake(&self, unpark: impl FnOnce()) {
        // ORDERING: Relaxed: the parker orders what there is to order.
        if self.sleeps.swap(0, Ordering::Relaxed) != 0 {
            unpark();
        }
    }
}
