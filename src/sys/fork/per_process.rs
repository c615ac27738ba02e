//! A value that each process has for itself, made when it is first asked for.
//!
//! # Invariants
//!
//! 1. `place` is null or comes from a box that is never freed.

use std::ptr;

use crate::base::atomic::{AtomicPtr, Ordering};
use crate::sys::fork::{generation, install};

/// A value that each process has for itself: a child of fork begins with a new one, as threads that are not there may have the locks in the parent's.
pub(crate) struct PerProcess<T> {
    place: AtomicPtr<OfProcess<T>>,
    new: fn() -> T,
}

/// A value, and the [`generation`] that it belongs to.
struct OfProcess<T> {
    generation: u32,
    value: T,
}

impl<T: Sync> PerProcess<T> {
    pub(crate) const fn new(new: fn() -> T) -> Self {
        Self { place: AtomicPtr::new(ptr::null_mut()), new }
    }

    /// The value of this process, if it has one yet.
    #[inline]
    pub(crate) fn made(&self) -> Option<&'static T> {
        // ORDERING: Acquire pairs with the Release in `get`: who sees the value sees it whole.
        let found = self.place.load(Ordering::Acquire);
        // SAFETY: invariant 1.
        unsafe { found.as_ref() }.filter(|made| made.generation == generation()).map(|made| &made.value)
    }

    /// A parent's value, as it was when this process was forked, if this one has none of its own yet: for `new`.
    pub(crate) fn of_parent(&self) -> Option<&'static T> {
        // ORDERING(argued): Acquire pairs with the Release in `get`: another thread of the parent's may have made it. No model forks.
        let found = self.place.load(Ordering::Acquire);
        // SAFETY: null, or from a box that is never freed.
        unsafe { found.as_ref() }.filter(|made| made.generation != generation()).map(|made| &made.value)
    }

    #[inline]
    pub(crate) fn get(&self) -> &'static T {
        self.made().unwrap_or_else(|| self.make())
    }

    #[cold]
    fn make(&self) -> &'static T {
        install();
        loop {
            let found = self.place.load(Ordering::Relaxed);
            if let Some(made) = self.made() {
                return made;
            }
            let made = Box::into_raw(Box::new(OfProcess { generation: generation(), value: (self.new)() }));
            // ORDERING: Release as above. Relaxed on failure: another was first, and is read anew.
            if self.place.compare_exchange(found, made, Ordering::Release, Ordering::Relaxed).is_err() {
                // SAFETY: it comes from a box, and nobody has seen it.
                drop(unsafe { Box::from_raw(made) });
            }
        }
    }
}
