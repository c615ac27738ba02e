//! A small lock for a few loads and stores: one exchange to take it, one store to let it go.
//!
//! It is for critical sections that are shorter than putting a thread to sleep: no user code, no allocation that matters,
//! no parking inside. A thread that finds the lock taken spins for a moment and then lets other OS threads run, because the
//! holder may have lost its CPU. (std's `Mutex` needs a second exchange to see whether somebody sleeps: measured at 6 ns of the 25 of
//! a message's way into a mailbox and out again.)
//!
//! # Invariants
//!
//! 1. `value` is touched only by the thread that changed `taken` from 0 to 1, until that thread stores 0.

use std::cell::UnsafeCell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};

use crate::base::atomic::{AtomicU32, Ordering, spin_loop, yield_now};

/// Polls of a locked word between two calls of `yield_now`.
const SPINS: u32 = 64;

pub(crate) struct SpinLock<T> {
    taken: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the value is handed from thread to thread by the lock.
unsafe impl<T: Send> Send for SpinLock<T> {}
// SAFETY: as above; there is one holder at a time (invariant 1).
unsafe impl<T: Send> Sync for SpinLock<T> {}

/// The right to the value; dropped, the lock is free.
pub(crate) struct Locked<'a, T> {
    lock: &'a SpinLock<T>,
}

impl<T> SpinLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { taken: AtomicU32::new(0), value: UnsafeCell::new(value) }
    }

    #[inline]
    pub(crate) fn lock(&self) -> Locked<'_, T> {
        // ORDERING: Acquire pairs with the Release in `unlock`.
        if self.taken.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.lock_taken();
        }
        Locked { lock: self }
    }

    #[cold]
    #[inline(never)]
    fn lock_taken(&self) {
        let mut looks = 0;
        loop {
            while self.taken.load(Ordering::Relaxed) != 0 {
                looks += 1;
                if looks % SPINS == 0 { yield_now() } else { spin_loop() }
            }
            // ORDERING: as in `lock`.
            if self.taken.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }
}

/// The right to let go of a lock, without the value. Dropped, the lock is free.
pub(crate) struct LockRelease<'a> {
    taken: &'a AtomicU32,
}

impl<'a, T> Locked<'a, T> {
    /// The holder is through with the value.
    #[inline]
    pub(crate) fn done(self) -> LockRelease<'a> {
        LockRelease { taken: &ManuallyDrop::new(self).lock.taken }
    }
}

impl Drop for LockRelease<'_> {
    #[inline]
    fn drop(&mut self) {
        unlock(self.taken);
    }
}

#[inline]
fn unlock(taken: &AtomicU32) {
    // ORDERING: Release pairs with the Acquire in `lock`.
    taken.store(0, Ordering::Release);
}

impl<T> Deref for Locked<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: invariant 1: this is the holder.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Locked<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and `self` is borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Locked<'_, T> {
    #[inline]
    fn drop(&mut self) {
        unlock(&self.lock.taken);
    }
}

impl<T> fmt::Debug for SpinLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpinLock").field("taken", &(self.taken.load(Ordering::Relaxed) != 0)).finish_non_exhaustive()
    }
}
