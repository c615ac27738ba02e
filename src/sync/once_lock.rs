//! `OnceLock`: a value that is set once.
//!
//! # Invariants
//!
//! 1. Only the closure that the `once` runs writes `value`, and nobody refers to it before `once` is complete. Afterwards
//!    it holds a value and is not written any more, but through an exclusive reference.

use std::cell::UnsafeCell;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

use crate::sync::once::Once;

/// Holds a value that is set once, by the thread that comes first: [`std::sync::OnceLock`].
///
/// A thread that comes while the value is being made waits, green threads parked; that wait is a cancellation point. A
/// panic or a cancel in the closure leaves the cell empty: the next thread runs its own.
///
/// ```
/// use green::sync::OnceLock;
///
/// static NAME: OnceLock<String> = OnceLock::new();
/// assert_eq!(NAME.get_or_init(|| "green".to_owned()), "green");
/// assert_eq!(NAME.set("blue".to_owned()), Err("blue".to_owned()));
/// ```
///
/// Values that are not `Send` do not go through it, and what is put in lives long enough:
///
/// ```compile_fail
/// let cell = green::sync::OnceLock::new();
/// {
///     let short = String::new();
///     cell.set(&short).unwrap();
/// }
/// cell.get();
/// ```
pub struct OnceLock<T> {
    once: Once,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: a thread that shares the cell may put a value in, which another drops (`Send`), and refer to it (`Sync`).
unsafe impl<T: Sync + Send> Sync for OnceLock<T> {}
// SAFETY: the value goes along.
unsafe impl<T: Send> Send for OnceLock<T> {}
impl<T: RefUnwindSafe + UnwindSafe> RefUnwindSafe for OnceLock<T> {}
impl<T: UnwindSafe> UnwindSafe for OnceLock<T> {}

impl<T> OnceLock<T> {
    /// Makes an empty cell.
    ///
    /// ```
    /// static CELL: green::sync::OnceLock<u32> = green::sync::OnceLock::new();
    /// assert_eq!(CELL.get(), None);
    /// ```
    #[inline]
    #[must_use]
    pub const fn new() -> Self {
        Self { once: Once::new(), value: UnsafeCell::new(None) }
    }

    /// Returns the value, if there is one. Never waits, also if another thread is making the value.
    ///
    /// ```
    /// let cell = green::sync::OnceLock::new();
    /// assert_eq!(cell.get(), None);
    /// cell.set(3).unwrap();
    /// assert_eq!(cell.get(), Some(&3));
    /// ```
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // SAFETY: invariant 1.
        if self.once.is_completed() { unsafe { &*self.value.get() }.as_ref() } else { None }
    }

    /// Returns the value to change it, if there is one.
    ///
    /// ```
    /// let mut cell = green::sync::OnceLock::from(3);
    /// *cell.get_mut().unwrap() += 1;
    /// assert_eq!(cell.get(), Some(&4));
    /// ```
    #[inline]
    pub fn get_mut(&mut self) -> Option<&mut T> {
        // A closure that did not end has stored nothing.
        self.value.get_mut().as_mut()
    }

    /// Waits until there is a value, and returns it. A cancellation point where it has to wait.
    ///
    /// ```
    /// static CELL: green::sync::OnceLock<u32> = green::sync::OnceLock::new();
    /// let waits = green::spawn(|| *CELL.wait());
    /// CELL.set(5).unwrap();
    /// assert_eq!(waits.join().unwrap(), 5);
    /// ```
    #[inline]
    #[track_caller]
    pub fn wait(&self) -> &T {
        self.once.wait_force();
        self.get().expect("the cell is complete")
    }

    /// Puts `value` in, if the cell is empty. When it returns, there is a value.
    ///
    /// It waits while another thread is making a value; that wait is a cancellation point.
    ///
    /// ```
    /// let cell = green::sync::OnceLock::new();
    /// assert_eq!(cell.set("first"), Ok(()));
    /// assert_eq!(cell.set("second"), Err("second"));
    /// ```
    ///
    /// # Errors
    ///
    /// If there is a value already; gives `value` back.
    #[inline]
    #[track_caller]
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("it is called once"));
        value.map_or(Ok(()), Err)
    }

    /// Returns the value; makes it with `f` if there is none.
    ///
    /// Of many threads that call this, one runs its closure, and the others wait for it. The closure may park. That
    /// wait is a cancellation point, and so is the beginning of `f`; if the thread is cancelled in `f`, the cell is
    /// empty, and a thread that waits runs its own closure.
    ///
    /// ```
    /// use green::sync::OnceLock;
    ///
    /// static PORT: OnceLock<u16> = OnceLock::new();
    /// green::scope(|s| {
    ///     for _ in 0..3 {
    ///         s.spawn(|| assert_eq!(*PORT.get_or_init(|| 8080), 8080));
    ///     }
    /// });
    /// ```
    ///
    /// # Panics
    ///
    /// With the panic of `f`; the cell is empty then. In debug builds, if `f` initialises the same cell: it would wait
    /// for itself for ever, as it does in release builds.
    #[inline]
    #[track_caller]
    pub fn get_or_init<F: FnOnce() -> T>(&self, f: F) -> &T {
        if let Some(value) = self.get() {
            return value;
        }
        self.once.call_once_force(|_| {
            let value = f();
            // SAFETY: invariant 1: this is the closure.
            unsafe { *self.value.get() = Some(value) };
        });
        self.get().expect("the cell is complete")
    }

    /// Returns the value, if there is one, and does away with the cell.
    ///
    /// ```
    /// let cell = green::sync::OnceLock::from("text");
    /// assert_eq!(cell.into_inner(), Some("text"));
    /// ```
    #[inline]
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// Takes the value out, if there is one; the cell is empty then, and can be set again.
    ///
    /// ```
    /// let mut cell = green::sync::OnceLock::from(1);
    /// assert_eq!(cell.take(), Some(1));
    /// assert_eq!(cell.set(2), Ok(()));
    /// ```
    #[inline]
    pub fn take(&mut self) -> Option<T> {
        std::mem::take(self).into_inner()
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut d = f.debug_tuple("OnceLock");
        match self.get() {
            Some(value) => d.field(value),
            None => d.field(&format_args!("<uninit>")),
        };
        d.finish()
    }
}

impl<T: Clone> Clone for OnceLock<T> {
    fn clone(&self) -> Self {
        self.get().cloned().map_or_else(Self::new, Self::from)
    }
}

impl<T> From<T> for OnceLock<T> {
    fn from(value: T) -> Self {
        let cell = Self::new();
        match cell.set(value) {
            Ok(()) => cell,
            Err(_) => unreachable!("a fresh cell is empty"),
        }
    }
}

impl<T: PartialEq> PartialEq for OnceLock<T> {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl<T: Eq> Eq for OnceLock<T> {}
