//! A value that is set seldom, and read by anybody at any time without a lock: also in a child of fork, whose parent's threads may have been anywhere.
//!
//! # Invariants
//!
//! 1. The pointer is null, or comes from a box that is never freed: a reader may have it as long as it likes.

use std::ptr;

use crate::base::atomic::{AtomicPtr, Ordering};

/// See the module's text. Each value that is set stays allocated for ever.
#[derive(Debug)]
pub(crate) struct Latest<T>(AtomicPtr<T>);

impl<T: Send + Sync + 'static> Latest<T> {
    pub(crate) const fn none() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    pub(crate) fn set(&self, value: T) {
        // ORDERING: Release pairs with the Acquire in `get`: who sees the value sees it whole.
        self.0.store(Box::into_raw(Box::new(value)), Ordering::Release);
    }

    pub(crate) fn get(&self) -> Option<&'static T> {
        // ORDERING: Acquire, as above.
        let latest = self.0.load(Ordering::Acquire);
        // SAFETY: invariant 1.
        unsafe { latest.as_ref() }
    }
}
