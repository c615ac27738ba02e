//! The poison flag of a lock, and std's errors made from it.
#![forbid(unsafe_code)]

use std::sync::{LockResult, PoisonError};

use crate::base::atomic::{AtomicBool, Ordering};
use crate::park::unwind::PanicMark;

/// Has a thread left the lock by a panic?
#[derive(Debug)]
pub(super) struct Flag(AtomicBool);

impl Flag {
    pub(super) const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    // ORDERING: Relaxed in all of these: the flag is read and written under the lock; without it, it is a hint.
    #[inline(always)]
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// The guard that was made at `mark` lets go.
    #[inline(always)]
    pub(super) fn leave(&self, mark: PanicMark) {
        if mark.is_left_by_panic() {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[inline(always)]
    pub(super) fn wrap<T>(&self, value: T) -> LockResult<T> {
        if self.get() { Err(PoisonError::new(value)) } else { Ok(value) }
    }
}
