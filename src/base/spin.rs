//! A small lock for a few loads and stores: one exchange to take it, one store to let it go.
//!
//! It is for critical sections that are shorter than putting a thread to sleep: no user code, no allocation that matters,
//! no parking inside. A thread that finds the lock taken spins for a moment and then lets other OS threads run, because the
//! holder may have lost its CPU. (std's `Mutex` needs a second exchange to see whether somebody sleeps: measured at 6 ns of the 25 of
//! a message's way into a mailbox and out again.)
//!
//! Two threads that want one lock again and again send its cache line, and those of what it guards, to and fro with each turn, which costs several
//! times as much as the turn. So a thread that finds the same lock taken again within [`HOT`] stays away, without a look: meanwhile the other has its turns
//! with all of it in its own cache. It stays for [`AWAY`] first and for twice as long each further time, up to [`LONGEST`] (truncated exponential back-off: T. Anderson,
//! "The Performance of Spin Lock Alternatives for Shared-Memory Multiprocessors", 1990). With four senders to one actor on two cores each of them then brings in some hundred
//! messages in a row, and a message costs little more than on one core.
//!
//! # Invariants
//!
//! 1. `value` is touched only by the thread that changed `taken` from 0 to 1, until that thread stores 0.

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::base::atomic::{AtomicU32, MODELLED, Ordering, spin_loop, yield_now};

/// Polls of a locked word between two calls of `yield_now`.
const SPINS: u32 = 64;
/// See the module's text.
const HOT: Duration = Duration::from_micros(10);
/// As well.
const AWAY: Duration = Duration::from_nanos(1_500);
/// As well: sixteen times as long.
const LONGEST: Duration = Duration::from_micros(24);
/// Looks at the clock while it stays away, at most: it may stand still.
const CLOCK_LOOKS: u32 = 10_000;

/// The holder would wait for the CPU on which a thread stays away.
static HAS_ONE_CPU: AtomicBool = AtomicBool::new(false);

/// This process may use so many CPUs. (Not asked here: that reads files, and the caller may have any lock.)
pub(crate) fn note_cpus(cpus: usize) {
    HAS_ONE_CPU.store(cpus == 1, Ordering::Relaxed);
}

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
        if !MODELLED && !HAS_ONE_CPU.load(Ordering::Relaxed) {
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

/// The lock at that address was found taken. Leaves it to the others for a while, if it is hot: for how long.
fn stay_away(lock: usize) -> Duration {
    let found = Instant::now();
    let away = LAST.get().map_or(Duration::ZERO, |last| last.away_again(lock, found));
    let (mut now, mut looks) = (found, 0..CLOCK_LOOKS);
    while now.duration_since(found) < away && looks.next().is_some() {
        std::hint::spin_loop();
        now = Instant::now();
    }
    LAST.set(Some(TakenLock { lock, until: now, away }));
    away
}

/// A lock that was found taken.
#[derive(Clone, Copy)]
struct TakenLock {
    /// Its address.
    lock: usize,
    /// When the thread went back to it.
    until: Instant,
    /// For how long it had stayed away by then.
    away: Duration,
}

impl TakenLock {
    /// How long to stay away from a lock that is found taken after this one.
    fn away_again(self, lock: usize, now: Instant) -> Duration {
        let is_hot = self.lock == lock && now.duration_since(self.until) < HOT;
        if is_hot { (2 * self.away).clamp(AWAY, LONGEST) } else { Duration::ZERO }
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
    fn a_lock_that_is_found_taken_again_and_again_is_left_alone_for_longer_and_longer() {
        let after = |away| TakenLock { lock: 8, until: Instant::now(), away };
        let again = |last: TakenLock, lock, later| last.away_again(lock, last.until + later);
        let first = after(Duration::ZERO);
        assert_eq!(again(first, 8, Duration::ZERO), AWAY);
        assert_eq!(again(first, 8, HOT - Duration::from_nanos(1)), AWAY);
        assert_eq!(again(first, 8, HOT), Duration::ZERO, "that was long ago");
        assert_eq!(again(first, 16, Duration::ZERO), Duration::ZERO, "it is another lock");
        assert_eq!(again(after(AWAY), 8, Duration::ZERO), 2 * AWAY);
        assert_eq!(again(after(AWAY), 8, HOT), Duration::ZERO, "it has cooled down");
        assert_eq!(again(after(LONGEST), 8, Duration::ZERO), LONGEST);
    }

    #[test]
    fn a_hot_lock_is_left_alone_for_a_moment_and_no_other() {
        let second_time = |first: usize, second: usize| {
            LAST.set(None);
            assert_eq!(stay_away(first), Duration::ZERO, "the first time");
            let start = Instant::now();
            (stay_away(second), start.elapsed())
        };
        assert_eq!(second_time(8, 16).0, Duration::ZERO);
        // Where the OS takes the processor away between two calls, or Miri is slow, the lock is not hot in the second one.
        let stays = (0..1000).map(|_| second_time(8, 8)).find(|(away, _)| !away.is_zero());
        assert!(cfg!(miri) || stays.is_some_and(|(away, time)| away == AWAY && time >= AWAY), "{stays:?}");
    }
}
