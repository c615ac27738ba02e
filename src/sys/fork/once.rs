//! A value that is made once, by code that a fork may catch half way.
//!
//! With std's `OnceLock` a child of fork waits for ever where another thread of its parent was making the value: that thread is not there.
//! Here the turn to make it is each process's own ([`PerProcess`]), and a value that the parent had made is the child's, too. What the maker does beside
//! it returning a value may have been done before, in whole or in part, if a fork came in between.
//!
//! # Invariants
//!
//! 1. `place` is null or comes from a box that is never freed.

use std::ptr;

use crate::base::atomic::{AtomicPtr, Ordering};
use crate::base::lock::Lock;
use crate::sys::fork::PerProcess;

/// See the module's text. For statics: the value is never dropped.
pub(crate) struct ForkSafeOnce<T: 'static> {
    place: AtomicPtr<T>,
    turn: PerProcess<Lock<()>>,
}

impl<T: Send + Sync> ForkSafeOnce<T> {
    pub(crate) const fn new() -> Self {
        Self { place: AtomicPtr::new(ptr::null_mut()), turn: PerProcess::new(|| Lock::new(())) }
    }

    #[inline]
    pub(crate) fn get(&self) -> Option<&'static T> {
        // ORDERING: Acquire pairs with the Release in `make`: who sees the value sees it whole.
        let found = self.place.load(Ordering::Acquire);
        // SAFETY: invariant 1.
        unsafe { found.as_ref() }
    }

    /// The value; the first caller makes it, while others wait.
    #[inline]
    pub(crate) fn get_or_init(&self, make: impl FnOnce() -> T) -> &'static T {
        match self.get() {
            Some(value) => value,
            None => self.make(make),
        }
    }

    #[cold]
    fn make(&self, make: impl FnOnce() -> T) -> &'static T {
        let _turn = self.turn.get().lock();
        self.get().unwrap_or_else(|| {
            let made: &'static T = Box::leak(Box::new(make()));
            // ORDERING: Release as above.
            self.place.store(ptr::from_ref(made).cast_mut(), Ordering::Release);
            made
        })
    }
}
