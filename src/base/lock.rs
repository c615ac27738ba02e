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
    static WAITED_FOR: Cell<bool> = const { Cell::new(false) };
}

/// Does the calling thread wait for a lock of this crate, or else for another thread inside of it? Then it must not park: what holds the lock may be a worker's loop, or a thread
/// that would have to run on the caller's worker; and the caller may be where nothing else may run.
#[cfg_attr(not(green_thread_locals), allow(dead_code, reason = "nothing parks in std's locks here"))]
pub(crate) fn is_waited_for() -> bool {
    WAITED_FOR.get()
}

/// Runs `f`, in which the calling thread may wait for others inside of this crate: see [`is_waited_for`].
#[inline(never)]
pub(crate) fn waiting<R>(f: impl FnOnce() -> R) -> R {
    let before = WAITED_FOR.replace(true);
    let result = f();
    WAITED_FOR.set(before);
    result
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
