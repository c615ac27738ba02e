//! The poison flag of a lock, and std's errors made from it.
#![forbid(unsafe_code)]

use std::sync::{LockResult, PoisonError};

use crate::base::atomic::{AtomicBool, Ordering};
use crate::park::unwind::PanicMark;

/// Has a thread left the lock by a panic?
#[derive(Debug)]
pub(super) struct Flag(AtomicBool);

impl Flag {
    pub(super) const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    // ORDERING: Relaxed in all of these: the flag is read and written under the lock; without it, it is a hint.
    #[inline(always)]
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// The guard that was made at `mark` lets go.
    #[inline(always)]
    pub(super) fn leave(&self, mark: PanicMark) {
        if mark.is_left_by_panic() {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[inline(always)]
    pub(super) fn wrap<T>(&self, value: T) -> LockResult<T> {
        if self.get() { Err(PoisonError::new(value)) } else { Ok(value) }
    }
}

/// What the locks have in common besides their methods, and what their guards have.
macro_rules! lock_traits {
    ($lock:ident, $try_lock:ident, $locked:expr, $($guard:ident),+) => {
        impl<T: ?Sized> UnwindSafe for $lock<T> {}
        impl<T: ?Sized> RefUnwindSafe for $lock<T> {}

        impl<T> From<T> for $lock<T> {
            fn from(t: T) -> Self {
                Self::new(t)
            }
        }

        impl<T: Default> Default for $lock<T> {
            fn default() -> Self {
                Self::new(T::default())
            }
        }

        impl<T: ?Sized + fmt::Debug> fmt::Debug for $lock<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut d = f.debug_struct(stringify!($lock));
                match self.$try_lock() {
                    Ok(guard) => d.field("data", &&*guard),
                    Err(TryLockError::Poisoned(error)) => d.field("data", &&**error.get_ref()),
                    Err(TryLockError::WouldBlock) => d.field("data", &$locked),
                };
                d.field("poisoned", &self.is_poisoned()).finish_non_exhaustive()
            }
        }

        $(lock_traits!($guard: Debug, Display);)+
    };
    ($guard:ident: $($format:ident),+) => {$(
        impl<T: ?Sized + fmt::$format> fmt::$format for $guard<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (**self).fmt(f)
            }
        }
    )+};
}

pub(super) use lock_traits;
