//! A lock for a few instructions: what guards the queues of the green locks. Its holder neither parks nor runs
//! code of the users; so an OS thread waits for it at most as long as another one is off its core.

use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// The right to what a [`Lock`] guards.
pub(crate) type LockGuard<'a, T> = MutexGuard<'a, T>;

/// [`std::sync::Mutex`] without poisoning: nothing unwinds under it.
pub(crate) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// `None`: somebody has it.
    pub(crate) fn try_lock(&self) -> Option<LockGuard<'_, T>> {
        self.0.try_lock().ok()
    }

    #[inline]
    pub(crate) fn lock(&self) -> LockGuard<'_, T> {
        lock(&self.0)
    }
}

thread_local! {
    /// How often it waits, one wait inside of another.
    static WAITS: Cell<u32> = const { Cell::new(0) };
}

/// Does the calling thread wait for a lock of this crate, or else for another thread inside of it? Then it must not park: what holds the lock may be a worker's loop, or a thread
/// that would have to run on the caller's worker; and the caller may be where nothing else may run.
#[cfg_attr(not(green_thread_locals), allow(dead_code, reason = "nothing parks in std's locks here"))]
pub(crate) fn is_waited_for() -> bool {
    WAITS.get() > 0
}

/// Runs `f`, in which the calling thread may wait for others inside of this crate: see [`is_waited_for`].
#[inline(never)]
pub(crate) fn waiting<R>(f: impl FnOnce() -> R) -> R {
    begin_waiting();
    let result = f();
    end_waiting();
    result
}

/// As [`waiting`], until [`end_waiting`] on the same thread-locals.
pub(crate) fn begin_waiting() {
    WAITS.set(WAITS.get() + 1);
}

pub(crate) fn end_waiting() {
    // Libc may call a handler of which it has not called the first half.
    WAITS.set(WAITS.get().saturating_sub(1));
}

/// Locks `mutex`, poisoned or not. All waiting for locks of this crate is in here: see [`is_waited_for`].
#[inline]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.try_lock() {
        Ok(guard) => guard,
        Err(TryLockError::Poisoned(error)) => error.into_inner(),
        Err(TryLockError::WouldBlock) => wait(mutex),
    }
}

#[cold]
#[inline(never)]
fn wait<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    waiting(|| mutex.lock().unwrap_or_else(PoisonError::into_inner))
}

impl<T> std::fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lock").finish_non_exhaustive()
    }
}
