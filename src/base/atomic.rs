//! The atomics of the crate, by one name.
//!
//! The protocol files (`task/wait.rs`, `sched/idle.rs`, `lock/raw_mutex.rs` and the like) take their atomics from here; the
//! models, `tests/loom*.rs`, include the same files and put loom's atomics in this module's place.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

pub(crate) use std::hint::spin_loop;
pub(crate) use std::thread::yield_now;

/// The models put `true` here: small blocks and no spinning, so that they reach the rare cases.
pub(crate) const MODELLED: bool = false;
