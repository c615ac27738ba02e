//! A lock for a few instructions: what guards the queues of the green locks. Its holder neither parks nor runs
//! code of the users; so an OS thread waits for it at most as long as another one is off its core.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The right to what a [`Lock`] guards.
pub(crate) type LockGuard<'a, T> = MutexGuard<'a, T>;

/// [`std::sync::Mutex`] without poisoning: nothing unwinds under it.
pub(crate) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> LockGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> std::fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lock").finish_non_exhaustive()
    }
}
