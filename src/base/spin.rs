//! A small lock for a few loads and stores: one exchange to take it, one store to let it go.
//!
//! It is for critical sections that are shorter than putting a thread to sleep: no user code, no allocation that matters,
//! no parking inside. A thread that finds the lock taken spins for a moment and then lets other OS threads run, because the
//! holder may have lost its CPU. (std's `Mutex` needs a second exchange to see whether somebody sleeps: measured at 6 ns of the 25 of
//! a message's way into a mailbox and out again.)
//!
//! Two threads that want one lock again and again send its cache line, and those of what it guards, to and fro with each turn, which costs five
//! times as much as the turn. So a thread that finds the same lock taken a second time within [`HOT`] stays away for [`AWAY`], without a look: meanwhile
//! the other has some fifty turns with all of it in its own cache. (Measured on two cores: four askers of one actor 1.7 times, four tellers 1.2
//! times as many messages.)
//!
//! # Invariants
//!
//! 1. `value` is touched only by the thread that changed `taken` from 0 to 1, until that thread stores 0.

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr;
use std::time::{Duration, Instant};

use crate::base::atomic::{AtomicU32, MODELLED, Ordering, spin_loop, yield_now};

/// Polls of a locked word between two calls of `yield_now`.
const SPINS: u32 = 64;
/// See the module's text.
const HOT: Duration = Duration::from_micros(10);
/// As well.
const AWAY: Duration = Duration::from_nanos(1_500);
/// Looks at the clock while it stays away, at most: it may stand still.
const CLOCK_LOOKS: u32 = 1_000;

thread_local! {
    /// What this OS thread found last.
    static LAST: Cell<Option<TakenLock>> = const { Cell::new(None) };
}

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

    /// The value, without the lock.
    ///
    /// # Safety
    ///
    /// The caller is the only one that can get at the lock, and what others have done under it comes before this.
    #[inline]
    pub(crate) unsafe fn unshared(&self) -> &T {
        // SAFETY: as the caller promises, nobody has the lock or takes it.
        unsafe { &*self.value.get() }
    }

    /// Is the lock free, with all that others have done under it?
    #[inline]
    pub(crate) fn is_free(&self) -> bool {
        // ORDERING(argued): Acquire pairs with the Release in `unlock`: who has just let go of the last address is done with the block. In the models it does
        // nothing more there than to unlock.
        self.taken.load(Ordering::Acquire) == 0
    }

    /// Takes the lock, without an exchange.
    ///
    /// # Safety
    ///
    /// It is [free](Self::is_free), and until this returns nobody else can get at it.
    #[inline]
    pub(crate) unsafe fn lock_unshared(&self) -> Locked<'_, T> {
        self.taken.store(1, Ordering::Relaxed);
        Locked { lock: self }
    }

    #[cold]
    #[inline(never)]
    fn lock_taken(&self) {
        if !MODELLED {
            _ = stay_away(ptr::from_ref(&self.taken).addr());
        }
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

/// The lock at that address was found taken. Leaves it to the others for a while, if it is hot: true.
fn stay_away(lock: usize) -> bool {
    let now = Instant::now();
    let found = TakenLock { lock, at: now };
    let is_hot = LAST.replace(Some(found)).is_some_and(|last| found.is_hot(last));
    if is_hot {
        let mut looks = 0..CLOCK_LOOKS;
        while looks.next().is_some() && now.elapsed() < AWAY {
            std::hint::spin_loop();
        }
    }
    is_hot
}

/// A lock that was found taken, by its address, and when.
#[derive(Clone, Copy)]
struct TakenLock {
    lock: usize,
    at: Instant,
}

impl TakenLock {
    /// Was it the last one, too, and not long ago?
    fn is_hot(self, last: TakenLock) -> bool {
        last.lock == self.lock && self.at.duration_since(last.at) < HOT
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
    assert!(!MODELLED || taken.load(Ordering::Relaxed) == 1, "a lock has one holder");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_found_taken_twice_in_a_row_within_a_moment_is_hot() {
        let first = TakenLock { lock: 8, at: Instant::now() };
        let next = |lock, after| TakenLock { lock, at: first.at + after };
        assert!(next(8, Duration::ZERO).is_hot(first) && next(8, HOT - Duration::from_nanos(1)).is_hot(first));
        assert!(!next(8, HOT).is_hot(first), "that was long ago");
        assert!(!next(16, Duration::ZERO).is_hot(first), "it is another lock");
    }

    #[test]
    fn a_hot_lock_is_left_alone_for_a_moment_and_no_other() {
        let second_time = |first: usize, second: usize| {
            LAST.set(None);
            assert!(!stay_away(first), "the first time");
            let start = Instant::now();
            stay_away(second).then(|| start.elapsed())
        };
        assert_eq!(second_time(8, 16), None);
        // Where the OS takes the processor away between two calls, or Miri is slow, the lock is not hot in the second one.
        let stays = (0..1000).find_map(|_| second_time(8, 8));
        assert!(cfg!(miri) || stays.is_some_and(|time| time >= AWAY), "{stays:?}");
    }
}
