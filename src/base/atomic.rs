//! The atomics of the crate, the cells that they guard, and OS threads, by one name.
//!
//! The protocol files (`task/wait.rs`, `sched/idle.rs`, `sync/raw_mutex.rs` and the like) take their atomics from here; the
//! models, `tests/loom*.rs`, include the same files and put loom's atomics in this module's place.

pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

#[cfg(target_os = "linux")]
pub(crate) use std::sync::atomic::compiler_fence;

pub(crate) use std::hint::spin_loop;
pub(crate) use std::thread::Builder as OsThread;

use crate::base::lock::waiting;

/// [`std::thread::yield_now`], for a thread that waits for another one inside of this crate: no green neighbour has its turn meanwhile, whatever the program's `sched_yield` does.
#[cold]
pub(crate) fn yield_now() {
    waiting(std::thread::yield_now);
}

/// [`crossbeam_utils::Backoff`], for the same.
pub(crate) struct Backoff(crossbeam_utils::Backoff);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(crossbeam_utils::Backoff::new())
    }

    pub(crate) fn snooze(&self) {
        waiting(|| self.0.snooze());
    }
}

/// The models put `true` here: small blocks and no spinning, so that they reach the rare cases.
pub(crate) const MODELLED: bool = false;

/// [`std::cell::UnsafeCell`], for what a protocol hands from thread to thread: the models have loom's in its place, which
/// reports accesses that meet.
#[derive(Debug)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Has `f` read the value.
    #[inline(always)]
    pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
        f(self.0.get())
    }

    /// Has `f` change the value.
    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}
