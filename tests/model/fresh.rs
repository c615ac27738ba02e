//! For models of files with statics in them: atomics and locks that `const fn`s can make, and that are new in each run of a
//! model. Their models take turns.

/// As the prelude's.
pub(crate) mod base {
    pub(crate) use crate::model::prelude::{abort, debug, list, shown};

    pub(crate) mod atomic {
        pub(crate) use crate::model::fresh::AtomicU32;
        pub(crate) use crate::model::prelude::atomic::*;
    }

    pub(crate) mod lock {
        pub(crate) use crate::model::fresh::Lock;
    }

    pub(crate) mod report {
        pub(crate) fn report(message: std::fmt::Arguments<'_>) {
            unreachable!("{message}")
        }
    }
}

use std::cell::{RefCell, UnsafeCell};
use std::collections::HashMap;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use loom::sync::{Mutex, MutexGuard, atomic};

/// The number of the run that is on.
static RUN: AtomicU64 = AtomicU64::new(0);
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

thread_local! {
    /// Made by the model's first thread before there is another: loom demands that a use comes after the making.
    static MADE: RefCell<HashMap<u32, Vec<atomic::AtomicU32>>> = RefCell::default();
}

/// As `model::check`.
pub(crate) fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    crate::model::check(preemptions, move || {
        RUN.fetch_add(1, Relaxed);
        let made = [(0, 40), (1, 2), (u32::MAX, 2)];
        MADE.set(
            made.map(|(value, count)| (value, (0..count).map(|_| atomic::AtomicU32::new(value)).collect())).into(),
        );
        model();
    });
}

/// A value of the run that is on; those of earlier ones are forgotten, as they would be dropped outside of theirs.
struct Fresh<T>(UnsafeCell<Option<(u64, Box<T>)>>);

// SAFETY: loom runs a model's threads on one OS thread, and models take turns.
unsafe impl<T> Sync for Fresh<T> {}
// SAFETY: as above.
unsafe impl<T> Send for Fresh<T> {}

impl<T> Fresh<T> {
    const fn new() -> Self {
        Self(UnsafeCell::new(None))
    }

    fn get(&self, make: impl FnOnce() -> T) -> &T {
        let run = RUN.load(Relaxed);
        // SAFETY: as for `Sync`; the box stays as long as the run does.
        let made = unsafe { &mut *self.0.get() };
        if made.as_ref().is_none_or(|(made_in, _)| *made_in != run) {
            std::mem::forget(made.replace((run, Box::new(make()))));
        }
        &made.as_ref().expect("it was just made").1
    }
}

pub(crate) struct AtomicU32(u32, Fresh<atomic::AtomicU32>);

impl AtomicU32 {
    pub(crate) const fn new(value: u32) -> Self {
        Self(value, Fresh::new())
    }
}

impl Deref for AtomicU32 {
    type Target = atomic::AtomicU32;

    fn deref(&self) -> &atomic::AtomicU32 {
        let take = || MADE.with_borrow_mut(|made| made.get_mut(&self.0).and_then(Vec::pop));
        self.1.get(|| take().unwrap_or_else(|| panic!("no atomic with {} was made, or too few", self.0)))
    }
}

/// Null at first; the model's first thread touches it before there is another.
pub(crate) struct AtomicPtr<T>(Fresh<atomic::AtomicPtr<T>>);

impl<T> AtomicPtr<T> {
    pub(crate) const fn new(value: *mut T) -> Self {
        assert!(value.is_null());
        Self(Fresh::new())
    }
}

impl<T> Deref for AtomicPtr<T> {
    type Target = atomic::AtomicPtr<T>;

    fn deref(&self) -> &atomic::AtomicPtr<T> {
        self.0.get(|| atomic::AtomicPtr::new(std::ptr::null_mut()))
    }
}

impl<T> std::fmt::Debug for AtomicPtr<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AtomicPtr")
    }
}

impl std::fmt::Debug for AtomicU32 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AtomicU32")
    }
}

/// As `base::lock::Lock`. What a static one holds at the beginning needs no drop.
pub(crate) struct Lock<T>(ManuallyDrop<T>, Fresh<Mutex<T>>);

// SAFETY: the first value is moved out of it under the lock.
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(ManuallyDrop::new(value), Fresh::new())
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        // SAFETY: it is read once, or each time as what owns nothing.
        let lock = self.1.get(|| Mutex::new(unsafe { std::ptr::read(&raw const *self.0) }));
        lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> std::fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lock")
    }
}
