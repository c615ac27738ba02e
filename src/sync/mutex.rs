//! `Mutex` and its guard.
//!
//! # Invariants
//!
//! 1. A guard exists only while its thread has the raw lock, and lets it go when it is dropped; so the value is reached
//!    by one thread at a time.

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{LockResult, TryLockError, TryLockResult};
use std::time::Duration;

use crate::park::unwind::PanicMark;
use crate::sync::poison::{self, lock_traits};
use crate::sync::raw_mutex::RawMutex;
use crate::sys::clock::after_ns;

/// Protects a value that many threads use, one at a time: [`std::sync::Mutex`].
///
/// For green threads and OS threads, in any mix. [`lock`](Mutex::lock) parks a green thread while another has the lock;
/// its worker runs others meanwhile. Unlike std's, the lock may be held while its thread is parked. Threads get the
/// lock roughly in the order in which they came: one that runs may overtake one that is just being woken, but a waiter
/// that was woken and lost is handed the lock by the next unlock. Neither waiting nor waking allocates.
///
/// A panic of the thread that holds the lock poisons it, as std's; a cancel, or a [`timeout`](crate::timeout) that
/// ends, does not.
///
/// ```
/// use green::sync::{Arc, Mutex};
///
/// green::run(|| {
///     let counter = Arc::new(Mutex::new(0));
///     let threads: Vec<_> = (0..10)
///         .map(|_| {
///             let counter = counter.clone();
///             green::spawn(move || *counter.lock().unwrap() += 1)
///         })
///         .collect();
///     for thread in threads {
///         thread.join().unwrap();
///     }
///     assert_eq!(*counter.lock().unwrap(), 10);
/// });
/// ```
pub struct Mutex<T: ?Sized> {
    raw: RawMutex,
    poison: poison::Flag,
    value: UnsafeCell<T>,
}

// SAFETY: invariant 1: sharing the mutex gives one thread at a time the value, as if it were sent there.
unsafe impl<T: ?Sized + Send> Send for Mutex<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Sync for Mutex<T> {}

/// Gives access to the value of a [`Mutex`], and lets the lock go when it is dropped: [`std::sync::MutexGuard`].
///
/// It stays on its OS thread:
///
/// ```compile_fail
/// fn sent<T: Send>(_: T) {}
/// sent(green::sync::Mutex::new(0).lock().unwrap());
/// ```
#[must_use = "if unused the Mutex will immediately unlock"]
pub struct MutexGuard<'a, T: ?Sized + 'a> {
    lock: &'a Mutex<T>,
    mark: PanicMark,
    _not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives a shared value.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<T> Mutex<T> {
    /// Makes a mutex that no thread holds.
    ///
    /// ```
    /// static TOTAL: green::sync::Mutex<u32> = green::sync::Mutex::new(0);
    /// *TOTAL.lock().unwrap() += 1;
    /// ```
    #[inline]
    #[must_use]
    pub const fn new(t: T) -> Self {
        Self { raw: RawMutex::new(), poison: poison::Flag::new(), value: UnsafeCell::new(t) }
    }

    /// Returns the value, and does away with the mutex. Never waits: no other thread can hold the lock of a mutex that
    /// is owned.
    ///
    /// ```
    /// let mutex = green::sync::Mutex::new(1);
    /// *mutex.lock().unwrap() += 1;
    /// assert_eq!(mutex.into_inner().unwrap(), 2);
    /// ```
    ///
    /// # Errors
    ///
    /// If the mutex is poisoned; the error holds the value.
    pub fn into_inner(self) -> LockResult<T>
    where
        T: Sized,
    {
        let poison = self.poison;
        poison.wrap(self.value.into_inner())
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes the lock, waits while another thread has it, and returns a guard that lets it go when it is dropped.
    ///
    /// A green thread that waits is parked, after some spinning if the holder runs on another worker; an OS thread
    /// sleeps. A cancellation point, for green threads even if the lock is free: a thread that is cancelled here does
    /// not have the lock.
    ///
    /// ```
    /// use green::sync::Mutex;
    ///
    /// let log = Mutex::new(Vec::new());
    /// green::scope(|s| {
    ///     for n in 0..3 {
    ///         let log = &log;
    ///         s.spawn(move || log.lock().unwrap().push(n));
    ///     }
    /// });
    /// assert_eq!(log.lock().unwrap().len(), 3);
    /// ```
    ///
    /// # Errors
    ///
    /// If a thread has panicked while it had the lock (the mutex is poisoned). The lock is taken all the same: the
    /// error holds the guard.
    ///
    /// # Panics
    ///
    /// In debug builds, if the thread holds the lock already: it would wait for ever, as it does in release builds.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        self.raw.lock();
        self.locked()
    }

    /// Takes the lock if it is free. Never waits; not a cancellation point.
    ///
    /// ```
    /// let mutex = green::sync::Mutex::new(0);
    /// let guard = mutex.try_lock().unwrap();
    /// assert!(mutex.try_lock().is_err());
    /// drop(guard);
    /// assert!(mutex.try_lock().is_ok());
    /// ```
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the lock is taken, or promised to a thread that waits; `Poisoned`, with the guard, if the mutex
    /// is poisoned.
    #[inline]
    #[track_caller]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        if self.raw.try_lock() { Ok(self.locked()?) } else { Err(TryLockError::WouldBlock) }
    }

    /// Takes the lock; waits for at most `d` while another thread has it. A cancellation point.
    ///
    /// ```
    /// use std::time::Duration;
    /// let mutex = green::sync::Mutex::new(0);
    /// let guard = mutex.lock_timeout(Duration::from_secs(1)).unwrap();
    /// assert!(mutex.lock_timeout(Duration::from_millis(1)).is_err());
    /// # drop(guard);
    /// ```
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the lock could not be had in that time; `Poisoned`, with the guard, if the mutex is poisoned.
    #[track_caller]
    pub fn lock_timeout(&self, d: Duration) -> TryLockResult<MutexGuard<'_, T>> {
        if self.raw.lock_until(after_ns(d)) { Ok(self.locked()?) } else { Err(TryLockError::WouldBlock) }
    }

    /// The lock has been taken.
    #[inline(always)]
    fn locked(&self) -> LockResult<MutexGuard<'_, T>> {
        self.poison.wrap(MutexGuard { lock: self, mark: PanicMark::now(), _not_send: PhantomData })
    }

    /// Returns whether a thread has panicked while it had the lock. Another thread may change that at any time.
    ///
    /// ```
    /// let mutex = green::sync::Mutex::new(0);
    /// green::scope(|s| {
    ///     let broken = s.spawn(|| {
    ///         let _guard = mutex.lock();
    ///         panic!("poisons the mutex");
    ///     });
    ///     assert!(broken.join().is_err());
    /// });
    /// assert!(mutex.is_poisoned());
    /// ```
    #[inline]
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.poison.get()
    }

    /// Makes a poisoned mutex an ordinary one again, after its value has been put in order.
    ///
    /// ```
    /// let mutex = green::sync::Mutex::new(1);
    /// # green::scope(|s| s.spawn(|| { let _guard = mutex.lock(); panic!("poisons the mutex") }).join()).unwrap_err();
    /// let value = mutex.lock().unwrap_or_else(|poisoned| {
    ///     let mut guard = poisoned.into_inner();
    ///     *guard = 0;
    ///     mutex.clear_poison();
    ///     guard
    /// });
    /// assert_eq!(*value, 0);
    /// assert!(!mutex.is_poisoned());
    /// ```
    pub fn clear_poison(&self) {
        self.poison.clear();
    }

    /// Returns a reference to the value. Takes no lock: the mutex is borrowed exclusively.
    ///
    /// ```
    /// let mut mutex = green::sync::Mutex::new(0);
    /// *mutex.get_mut().unwrap() = 10;
    /// assert_eq!(*mutex.lock().unwrap(), 10);
    /// ```
    ///
    /// # Errors
    ///
    /// If the mutex is poisoned; the error holds the reference.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.poison.wrap(self.value.get_mut())
    }
}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// For the condition variable: lets the lock go without dropping the guard, and takes it again.
    pub(super) fn suspend(self) -> Suspended<'a, T> {
        let guard = ManuallyDrop::new(self);
        Suspended { lock: guard.lock, mark: guard.mark }
    }
}

/// A guard whose lock is let go for the time of a wait.
pub(super) struct Suspended<'a, T: ?Sized> {
    lock: &'a Mutex<T>,
    mark: PanicMark,
}

impl<'a, T: ?Sized> Suspended<'a, T> {
    /// The lock, which the thread still has when this is made.
    pub(super) fn raw(&self) -> &'a RawMutex {
        &self.lock.raw
    }

    /// The guard again. The thread has the lock again.
    pub(super) fn resume(self) -> LockResult<MutexGuard<'a, T>> {
        self.lock.poison.wrap(MutexGuard { lock: self.lock, mark: self.mark, _not_send: PhantomData })
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: invariant 1.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: invariant 1.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.poison.leave(self.mark);
        self.lock.raw.unlock();
    }
}

lock_traits!(Mutex, try_lock, "<locked>", MutexGuard);
