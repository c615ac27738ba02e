//! What the models put in the place of the crate's lowest floors: `base::abort`, `base::atomic`, `sys::clock`, `sys::fork`, `fiber`,
//! `stack`. A model takes what its source files ask for, under the name by which they ask, and puts its own beside it:
//!
//! ```text
//! mod base {
//!     pub(crate) use crate::model::prelude::{abort, atomic};
//! }
//! ```

#![allow(unused_imports, reason = "each model uses a part of it")]

pub(crate) mod abort {
    pub(crate) fn fatal(message: std::fmt::Arguments<'_>) -> ! {
        panic!("{message}")
    }
}

/// loom's atomics, cells and threads.
pub(crate) mod atomic {
    pub(crate) use loom::cell::UnsafeCell;
    pub(crate) use loom::hint::spin_loop;
    pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
    pub(crate) use loom::thread::{Builder as OsThread, yield_now};

    pub(crate) const MODELLED: bool = true;

    /// Lets the other threads go on.
    pub(crate) struct Backoff;

    impl Backoff {
        pub(crate) fn new() -> Self {
            Self
        }

        pub(crate) fn snooze(&self) {
            yield_now();
        }
    }
}

/// The models have no clock. A model with deadlines adds what they mean there.
pub(crate) mod clock {
    pub(crate) const NEVER: u64 = u64::MAX;
}

pub(crate) mod fork {
    pub(crate) const MESSAGE: &str = "no model forks";

    pub(crate) fn generation() -> u32 {
        0
    }

    pub(crate) fn is_orphan() -> bool {
        false
    }
}

/// No thread of a model runs on a stack of ours.
pub(crate) mod fiber {
    pub(crate) type Entry = unsafe fn(*mut ());

    #[derive(Debug)]
    pub(crate) struct Fiber;
}

pub(crate) mod stack {
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct StackSize;
}
