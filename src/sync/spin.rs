//! How long a thread looks at a taken lock before it parks.
#![forbid(unsafe_code)]

use crate::base::atomic::spin_loop;

/// Looks, in all. The pauses between them double from one to 2^6 `spin_loop`s.
const LOOKS: u32 = 7;

/// A bounded series of growing pauses. While one thread pauses, the holder of the lock has its cache line alone, and can
/// take and release it many times.
#[derive(Debug)]
pub(crate) struct Spin(u32);

impl Spin {
    pub(crate) fn new() -> Self {
        Self(0)
    }

    /// Pauses. False: the pauses are used up, and the caller should park.
    #[inline]
    pub(crate) fn pause(&mut self) -> bool {
        if self.0 == LOOKS {
            return false;
        }
        for _ in 0..1 << self.0 {
            spin_loop();
        }
        self.0 += 1;
        true
    }
}
