//! A worker's stock of references to its runtime, for actors.
//!
//! Each actor has a weak one, which keeps the address of its runtime from being that of another. To make one and to drop it costs a locked instruction each; so
//! those of actors that end on a worker are kept for those that are made there.
//!
//! # Invariants
//!
//! 1. As many weak references as `kept` says are the stock's own, beside `weak`.

#![allow(unsafe_code)]

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::sync::{Arc, Weak};

use crate::sched::Shared;

/// So many are kept.
const MOST: usize = 256;

/// See the module's text.
pub(crate) struct Stock {
    weak: Weak<Shared>,
    kept: Cell<usize>,
}

impl Stock {
    /// Of a worker of that runtime.
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self { weak: Arc::downgrade(shared), kept: Cell::new(0) }
    }

    /// One that was kept.
    ///
    /// # Safety
    ///
    /// It is the caller's: one that `kept` does not count any more.
    #[inline]
    unsafe fn one(&self) -> Weak<Shared> {
        // SAFETY: as the caller promises, and invariant 1.
        unsafe { Weak::from_raw(self.weak.as_ptr()) }
    }

    /// One to the worker's own runtime.
    #[inline]
    pub(crate) fn take(&self) -> Weak<Shared> {
        let Some(left) = self.kept.get().checked_sub(1) else { return self.weak.clone() };
        self.kept.set(left);
        // SAFETY: it is not counted any more.
        unsafe { self.one() }
    }

    /// One to the worker's own runtime goes back.
    #[inline]
    pub(crate) fn put(&self, weak: Weak<Shared>) {
        if self.kept.get() < MOST {
            self.kept.set(self.kept.get() + 1);
            let _ = ManuallyDrop::new(weak);
        }
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        // SAFETY: each is counted once, and nobody counts them any more.
        (0..self.kept.take()).for_each(|_| drop(unsafe { self.one() }));
    }
}
