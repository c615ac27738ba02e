//! Words that one owner changes, by plain stores, and that others may look at: what they see may be old. They order nothing, and no protocol rests on
//! them: so the models have std's atomics here, too.
#![forbid(unsafe_code)]

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

macro_rules! shown {
    ($(#[$doc:meta])* $name:ident, $atomic:ident, $number:ty) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name($atomic);

        impl $name {
            pub(crate) const fn new(value: $number) -> Self {
                Self($atomic::new(value))
            }

            #[inline(always)]
            pub(crate) fn get(&self) -> $number {
                self.0.load(Ordering::Relaxed)
            }

            /// For the owner.
            #[inline(always)]
            pub(crate) fn set(&self, value: $number) {
                self.0.store(value, Ordering::Relaxed);
            }
        }
    };
}

shown!(
    /// A number of 32 bits.
    ShownCount, AtomicU32, u32
);
shown!(
    /// A number of 64 bits.
    ShownWord, AtomicU64, u64
);

/// A pointer, which who only looks does not follow.
#[derive(Debug)]
pub(crate) struct ShownPtr<T>(AtomicPtr<T>);

impl<T> ShownPtr<T> {
    pub(crate) const fn null() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> *mut T {
        self.0.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn set(&self, value: *mut T) {
        self.0.store(value, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(crate) fn replace(&self, value: *mut T) -> *mut T {
        let before = self.get();
        self.set(value);
        before
    }
}
