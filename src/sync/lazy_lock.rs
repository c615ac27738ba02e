//! `LazyLock`: a value that is made at its first use.
//!
//! # Invariants
//!
//! 1. Only the closure that the `once` runs touches `contents`, before `once` is complete; afterwards it is a `Value` and
//!    not written any more, but through an exclusive reference. That the closure has panicked is `Gone`.

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};

use crate::park::interrupt::shielded;
use crate::sync::once::Once;

/// Holds a value that its closure makes at the first use: [`std::sync::LazyLock`].
///
/// A thread that comes while the closure runs waits, green threads parked; that wait is a cancellation point. The
/// closure may park, but is not ended by a cancel or by a `timeout` around it, which take effect afterwards: it could
/// not be run again. If it panics, the value is poisoned for good, as std's.
///
/// ```
/// use green::sync::LazyLock;
///
/// static SQUARES: LazyLock<Vec<u32>> = LazyLock::new(|| (0..10).map(|n| n * n).collect());
/// assert_eq!(SQUARES[3], 9);
/// ```
pub struct LazyLock<T, F = fn() -> T> {
    once: Once,
    contents: UnsafeCell<LazyState<T, F>>,
}

enum LazyState<T, F> {
    Closure(F),
    Value(T),
    Gone,
}

// SAFETY: a shared one gives `&T`, and moves `F`, and what it makes, to the thread that comes first.
unsafe impl<T: Sync + Send, F: Send> Sync for LazyLock<T, F> {}
impl<T: RefUnwindSafe + UnwindSafe, F: UnwindSafe> RefUnwindSafe for LazyLock<T, F> {}
impl<T: UnwindSafe, F: UnwindSafe> UnwindSafe for LazyLock<T, F> {}

impl<T, F: FnOnce() -> T> LazyLock<T, F> {
    /// Makes a value that `f` will compute at the first use.
    ///
    /// ```
    /// let text = String::from("7");
    /// let number = green::sync::LazyLock::new(move || text.parse::<u32>().unwrap());
    /// assert_eq!(*number, 7);
    /// ```
    #[inline]
    #[must_use]
    pub const fn new(f: F) -> Self {
        Self { once: Once::new(), contents: UnsafeCell::new(LazyState::Closure(f)) }
    }

    /// Returns the value; runs the closure if this is the first use. Going through `*` does the same.
    ///
    /// Of many threads one runs the closure, and the others wait for it: a cancellation point. The closure itself is
    /// not ended by a cancel.
    ///
    /// ```
    /// use green::sync::LazyLock;
    /// let lazy = LazyLock::new(|| 92);
    /// assert_eq!(LazyLock::force(&lazy), &92);
    /// assert_eq!(&*lazy, &92);
    /// ```
    ///
    /// # Panics
    ///
    /// With the panic of the closure; if it has panicked before. In debug builds, if the closure needs the value
    /// itself.
    #[inline]
    #[track_caller]
    pub fn force(this: &Self) -> &T {
        if !this.once.is_completed() {
            this.make();
        }
        Self::get(this).unwrap_or_else(|| poisoned())
    }

    #[cold]
    #[track_caller]
    fn make(&self) {
        self.once.call_once_force(|state| {
            if state.is_poisoned() {
                poisoned();
            }
            // SAFETY: invariant 1: this is the closure.
            let contents = unsafe { &mut *self.contents.get() };
            contents.make();
        });
    }

    /// Returns the value to change it; runs the closure if this is the first use.
    ///
    /// ```
    /// use green::sync::LazyLock;
    /// let mut lazy = LazyLock::new(|| 92);
    /// *LazyLock::force_mut(&mut lazy) += 1;
    /// assert_eq!(*lazy, 93);
    /// ```
    ///
    /// # Panics
    ///
    /// With the panic of the closure; if it has panicked before.
    #[inline]
    #[track_caller]
    pub fn force_mut(this: &mut Self) -> &mut T {
        if !this.once.is_completed() {
            this.make();
        }
        Self::get_mut(this).unwrap_or_else(|| poisoned())
    }
}

impl<T, F> LazyLock<T, F> {
    /// Returns the value, if it has been made. Never waits, and does not run the closure.
    ///
    /// ```
    /// use green::sync::LazyLock;
    /// let lazy = LazyLock::new(|| 92);
    /// assert_eq!(LazyLock::get(&lazy), None);
    /// LazyLock::force(&lazy);
    /// assert_eq!(LazyLock::get(&lazy), Some(&92));
    /// ```
    #[inline]
    pub fn get(this: &Self) -> Option<&T> {
        if !this.once.is_completed() {
            return None;
        }
        // SAFETY: invariant 1.
        unsafe { &*this.contents.get() }.value()
    }

    /// Returns the value to change it, if it has been made. Does not run the closure.
    ///
    /// ```
    /// use green::sync::LazyLock;
    /// let mut lazy = LazyLock::new(|| 92);
    /// assert_eq!(LazyLock::get_mut(&mut lazy), None);
    /// ```
    #[inline]
    pub fn get_mut(this: &mut Self) -> Option<&mut T> {
        match this.contents.get_mut() {
            LazyState::Value(value) => Some(value),
            LazyState::Closure(_) | LazyState::Gone => None,
        }
    }
}

impl<T, F: FnOnce() -> T> LazyState<T, F> {
    fn make(&mut self) {
        if let LazyState::Closure(f) = std::mem::replace(self, LazyState::Gone) {
            *self = LazyState::Value(shielded(f));
        }
    }
}

impl<T, F> LazyState<T, F> {
    fn value(&self) -> Option<&T> {
        match self {
            LazyState::Value(value) => Some(value),
            LazyState::Closure(_) | LazyState::Gone => None,
        }
    }
}

#[cold]
#[inline(never)]
#[track_caller]
fn poisoned() -> ! {
    panic!("LazyLock instance has previously been poisoned")
}

impl<T, F: FnOnce() -> T> Deref for LazyLock<T, F> {
    type Target = T;

    #[inline]
    #[track_caller]
    fn deref(&self) -> &T {
        Self::force(self)
    }
}

impl<T, F: FnOnce() -> T> DerefMut for LazyLock<T, F> {
    #[inline]
    #[track_caller]
    fn deref_mut(&mut self) -> &mut T {
        Self::force_mut(self)
    }
}

impl<T: Default> Default for LazyLock<T> {
    fn default() -> Self {
        Self::new(T::default)
    }
}

impl<T: fmt::Debug, F> fmt::Debug for LazyLock<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut d = f.debug_tuple("LazyLock");
        match Self::get(self) {
            Some(value) => d.field(value),
            None => d.field(&format_args!("<uninit>")),
        };
        d.finish()
    }
}
