//! `RwLock` and its guards.
//!
//! # Invariants
//!
//! 1. A write guard exists only while its thread has the raw lock alone; a read guard only while it has it together with
//!    other readers. Each lets go what it has when it is dropped.

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::sync::{LockResult, TryLockError, TryLockResult};
use std::time::Duration;

use crate::park::unwind::PanicMark;
use crate::sync::poison::{self, lock_traits};
use crate::sync::raw_rwlock::RawRwLock;
use crate::sync::readers::Reading;
use crate::sys::clock::after_ns;

/// Protects a value that many readers may have at once, or one writer: [`std::sync::RwLock`].
///
/// For green threads and OS threads, in any mix; a green thread that waits is parked. No thread starves: a thread that
/// waits keeps later readers out, and is overtaken by running writers only until it has lost once. So a thread that
/// reads while it reads already may wait for ever, if a writer came in between; as with std. (In debug builds it is
/// [told so](crate::sync#what-differs-from-std).)
///
/// A panic of a writer poisons the lock; that of a reader, a cancel, or a [`timeout`](crate::timeout) that ends does
/// not.
///
/// ```
/// use green::sync::RwLock;
///
/// let lock = RwLock::new(5);
/// {
///     let (one, two) = (lock.read().unwrap(), lock.read().unwrap());
///     assert_eq!(*one + *two, 10);
/// }
/// *lock.write().unwrap() += 1;
/// assert_eq!(*lock.read().unwrap(), 6);
/// ```
pub struct RwLock<T: ?Sized> {
    raw: RawRwLock,
    poison: poison::Flag,
    value: UnsafeCell<T>,
}

// SAFETY: invariant 1: the value is reached by one writer, as if it were sent there, …
unsafe impl<T: ?Sized + Send> Send for RwLock<T> {}
// SAFETY: … or by many readers, as if it were shared.
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<T> {}

/// Gives shared access to the value of an [`RwLock`], and lets the lock go when it is dropped:
/// [`std::sync::RwLockReadGuard`].
///
/// ```compile_fail
/// fn sent<T: Send>(_: T) {}
/// sent(green::sync::RwLock::new(0).read().unwrap());
/// ```
#[must_use = "if unused the RwLock will immediately unlock"]
pub struct RwLockReadGuard<'a, T: ?Sized + 'a> {
    /// No reference: the value may change as soon as the lock is let go, while the guard is still an argument of `drop`.
    value: NonNull<T>,
    lock: &'a RawRwLock,
    reading: Reading,
}

/// Gives exclusive access to the value of an [`RwLock`], and lets the lock go when it is dropped:
/// [`std::sync::RwLockWriteGuard`].
///
/// ```compile_fail
/// fn sent<T: Send>(_: T) {}
/// sent(green::sync::RwLock::new(0).write().unwrap());
/// ```
#[must_use = "if unused the RwLock will immediately unlock"]
pub struct RwLockWriteGuard<'a, T: ?Sized + 'a> {
    lock: &'a RwLock<T>,
    mark: PanicMark,
    _not_send: PhantomData<*const ()>,
}

// SAFETY: a shared guard gives a shared value.
unsafe impl<T: ?Sized + Sync> Sync for RwLockReadGuard<'_, T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Sync> Sync for RwLockWriteGuard<'_, T> {}

impl<T> RwLock<T> {
    /// Makes a lock that no thread has.
    ///
    /// ```
    /// static NAMES: green::sync::RwLock<Vec<&str>> = green::sync::RwLock::new(Vec::new());
    /// NAMES.write().unwrap().push("green");
    /// ```
    #[inline]
    #[must_use]
    pub const fn new(t: T) -> Self {
        Self { raw: RawRwLock::new(), poison: poison::Flag::new(), value: UnsafeCell::new(t) }
    }

    /// Returns the value, and does away with the lock. Never waits: no other thread can have a lock that is owned.
    ///
    /// ```
    /// let lock = green::sync::RwLock::new(String::new());
    /// lock.write().unwrap().push_str("text");
    /// assert_eq!(lock.into_inner().unwrap(), "text");
    /// ```
    ///
    /// # Errors
    ///
    /// If the lock is poisoned; the error holds the value.
    pub fn into_inner(self) -> LockResult<T>
    where
        T: Sized,
    {
        let poison = self.poison;
        poison.wrap(self.value.into_inner())
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Takes the lock for reading, together with other readers; waits while a writer has it, or waits for it.
    ///
    /// Returns a guard that lets the lock go when it is dropped. A reader that comes while a writer waits queues behind
    /// that writer. A cancellation point, for green threads even if it need not wait.
    ///
    /// ```
    /// let lock = green::sync::RwLock::new(1);
    /// let here = lock.read().unwrap();
    /// green::scope(|s| {
    ///     s.spawn(|| assert_eq!(*lock.read().unwrap(), 1)); // both read
    /// });
    /// assert_eq!(*here, 1);
    /// ```
    ///
    /// # Errors
    ///
    /// If a writer has panicked (the lock is poisoned). The lock is taken all the same: the error holds the guard.
    ///
    /// # Panics
    ///
    /// In debug builds, if it would wait for itself, or close a cycle of waits: if it has the lock for writing, or reads already and a writer waits. In release
    /// builds it waits for ever. If there are 2^27 readers.
    #[inline]
    #[track_caller]
    pub fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        self.raw.read();
        self.reading()
    }

    /// Takes the lock for reading if it need not wait. Not a cancellation point.
    ///
    /// ```
    /// let lock = green::sync::RwLock::new(1);
    /// assert!(lock.try_read().is_ok());
    /// let writer = lock.write().unwrap();
    /// assert!(lock.try_read().is_err());
    /// # drop(writer);
    /// ```
    ///
    /// # Errors
    ///
    /// `WouldBlock` if a writer has the lock, or a thread waits for it; `Poisoned`, with the guard, if the lock is
    /// poisoned.
    #[inline]
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        if self.raw.try_read() { Ok(self.reading()?) } else { Err(TryLockError::WouldBlock) }
    }

    /// Takes the lock for reading; waits for at most `d`. A cancellation point.
    ///
    /// ```
    /// use std::time::Duration;
    /// let lock = green::sync::RwLock::new(1);
    /// let writer = lock.write().unwrap();
    /// let reads = || lock.read_timeout(Duration::from_millis(1)).is_ok();
    /// assert!(!green::scope(|s| s.spawn(reads).join().unwrap()));
    /// # drop(writer);
    /// ```
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the lock could not be had in that time; `Poisoned`, with the guard, if the lock is poisoned.
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    pub fn read_timeout(&self, d: Duration) -> TryLockResult<RwLockReadGuard<'_, T>> {
        if self.raw.read_until(after_ns(d)) { Ok(self.reading()?) } else { Err(TryLockError::WouldBlock) }
    }

    /// Takes the lock for writing, alone; waits while another thread has it.
    ///
    /// Returns a guard that lets the lock go when it is dropped. A cancellation point, for green threads even if it
    /// need not wait.
    ///
    /// ```
    /// let lock = green::sync::RwLock::new(1);
    /// *lock.write().unwrap() += 1;
    /// assert_eq!(*lock.read().unwrap(), 2);
    /// ```
    ///
    /// # Errors
    ///
    /// If a writer has panicked (the lock is poisoned). The lock is taken all the same: the error holds the guard.
    ///
    /// # Panics
    ///
    /// In debug builds, if it would wait for itself, or close a cycle of waits: if it has the lock, be it for reading. In release builds it waits for ever.
    #[inline]
    #[track_caller]
    pub fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.raw.write();
        self.writing()
    }

    /// Takes the lock for writing if it need not wait. Not a cancellation point.
    ///
    /// ```
    /// let lock = green::sync::RwLock::new(1);
    /// let reader = lock.read().unwrap();
    /// assert!(lock.try_write().is_err());
    /// drop(reader);
    /// assert!(lock.try_write().is_ok());
    /// ```
    ///
    /// # Errors
    ///
    /// `WouldBlock` if another thread has the lock, or it is promised to one that waits; `Poisoned`, with the guard, if
    /// the lock is poisoned.
    #[inline]
    #[track_caller]
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        if self.raw.try_write() { Ok(self.writing()?) } else { Err(TryLockError::WouldBlock) }
    }

    /// Takes the lock for writing; waits for at most `d`. A cancellation point.
    ///
    /// ```
    /// use std::time::Duration;
    /// let lock = green::sync::RwLock::new(1);
    /// let reader = lock.read().unwrap();
    /// assert!(lock.write_timeout(Duration::from_millis(1)).is_err());
    /// # drop(reader);
    /// ```
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the lock could not be had in that time; `Poisoned`, with the guard, if the lock is poisoned.
    #[track_caller]
    pub fn write_timeout(&self, d: Duration) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        if self.raw.write_until(after_ns(d)) { Ok(self.writing()?) } else { Err(TryLockError::WouldBlock) }
    }

    #[inline(always)]
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    fn reading(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        // SAFETY: the pointer of an `UnsafeCell` is not null.
        let value = unsafe { NonNull::new_unchecked(self.value.get()) };
        self.poison.wrap(RwLockReadGuard { value, lock: &self.raw, reading: self.raw.readers.enter(&self.raw.holder) })
    }

    #[inline(always)]
    fn writing(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        self.poison.wrap(RwLockWriteGuard { lock: self, mark: PanicMark::now(), _not_send: PhantomData })
    }

    /// Returns whether a writer has panicked. Another thread may change that at any time.
    ///
    /// ```
    /// let lock = green::sync::RwLock::new(0);
    /// green::scope(|s| s.spawn(|| { let _guard = lock.write(); panic!("poisons the lock") }).join()).unwrap_err();
    /// assert!(lock.is_poisoned());
    /// ```
    #[inline]
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.poison.get()
    }

    /// Makes a poisoned lock an ordinary one again, after its value has been put in order.
    ///
    /// ```
    /// let lock = green::sync::RwLock::new(0);
    /// # green::scope(|s| s.spawn(|| { let _guard = lock.write(); panic!("poisons the lock") }).join()).unwrap_err();
    /// if let Err(poisoned) = lock.write() {
    ///     *poisoned.into_inner() = 1;
    ///     lock.clear_poison();
    /// }
    /// assert_eq!(*lock.read().unwrap(), 1);
    /// ```
    pub fn clear_poison(&self) {
        self.poison.clear();
    }

    /// Returns a reference to the value. Takes no lock: the lock is borrowed exclusively.
    ///
    /// ```
    /// let mut lock = green::sync::RwLock::new(0);
    /// *lock.get_mut().unwrap() = 10;
    /// assert_eq!(*lock.read().unwrap(), 10);
    /// ```
    ///
    /// # Errors
    ///
    /// If the lock is poisoned; the error holds the reference.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.poison.wrap(self.value.get_mut())
    }
}

impl<'a, T: ?Sized> RwLockWriteGuard<'a, T> {
    /// Turns a writer into a reader; no other writer comes in between. Readers that wait are let in. Never waits.
    ///
    /// ```
    /// use green::sync::{RwLock, RwLockWriteGuard};
    /// let lock = RwLock::new(1);
    /// let mut writing = lock.write().unwrap();
    /// *writing = 2;
    /// let reading = RwLockWriteGuard::downgrade(writing);
    /// assert_eq!(*reading + *lock.read().unwrap(), 4);
    /// ```
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    pub fn downgrade(s: Self) -> RwLockReadGuard<'a, T> {
        let guard = ManuallyDrop::new(s);
        guard.lock.raw.downgrade();
        guard.lock.reading().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: invariant 1.
        unsafe { self.value.as_ref() }
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: invariant 1.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: invariant 1.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for RwLockReadGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.readers.leave(self.reading, &self.lock.holder);
        self.lock.unlock_read();
    }
}

impl<T: ?Sized> Drop for RwLockWriteGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.poison.leave(self.mark);
        self.lock.raw.unlock_write();
    }
}

lock_traits!(RwLock, try_read, format_args!("<locked>"), RwLockReadGuard, RwLockWriteGuard);
