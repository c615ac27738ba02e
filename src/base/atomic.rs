//! The atomics of the crate, the cells that they guard, and OS threads, by one name.
//!
//! The protocol files (`task/wait.rs`, `sched/idle.rs`, `sync/raw_mutex.rs` and the like) take their atomics from here; the
//! models, `tests/loom*.rs`, include the same files and put loom's atomics in this module's place.

pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

#[cfg(target_os = "linux")]
pub(crate) use std::sync::atomic::compiler_fence;

pub(crate) use crossbeam_utils::Backoff;

pub(crate) use std::hint::spin_loop;
pub(crate) use std::thread::{Builder as OsThread, yield_now};

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
