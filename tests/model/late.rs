//! What `const fn`s can make, which loom's types are not: they are made when they are first touched. The model's first thread
//! touches them before another sees them, because loom demands that a use comes after the making.

use std::ops::Deref;
use std::sync::{OnceLock, PoisonError};

use loom::sync::{Mutex, MutexGuard};

/// As the prelude's.
pub(crate) mod base {
    pub(crate) use crate::model::prelude::{abort, debug, list, shown};

    pub(crate) mod atomic {
        pub(crate) use crate::model::late::{AtomicU32, AtomicUsize};
        pub(crate) use crate::model::prelude::atomic::*;
    }

    pub(crate) mod lock {
        pub(crate) use crate::model::late::Lock;
    }
}

macro_rules! late {
    ($($name:ident $value:ty),*) => {$(
        #[derive(Debug)]
        pub(crate) struct $name($value, OnceLock<loom::sync::atomic::$name>);

        impl $name {
            pub(crate) const fn new(value: $value) -> Self {
                Self(value, OnceLock::new())
            }
        }

        impl Deref for $name {
            type Target = loom::sync::atomic::$name;

            fn deref(&self) -> &Self::Target {
                self.1.get_or_init(|| loom::sync::atomic::$name::new(self.0))
            }
        }
    )*};
}

late!(AtomicU32 u32, AtomicUsize usize);

/// As `base::lock::Lock`.
#[derive(Debug)]
pub(crate) struct Lock<T> {
    first: std::sync::Mutex<Option<T>>,
    lock: OnceLock<Mutex<T>>,
}

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { first: std::sync::Mutex::new(Some(value)), lock: OnceLock::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let lock = self.lock.get_or_init(|| Mutex::new(self.first.lock().unwrap().take().unwrap()));
        // All threads of a model are one thread to std: where one is unwound, the others are.
        lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
