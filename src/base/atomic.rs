//! The atomics of the crate, by one name.
//!
//! The protocol files (`park/word.rs`, `sched/idle.rs`, `sched/inbox.rs`) take their atomics from here and use nothing
//! else of the crate; `tests/loom.rs` includes the same files and puts loom's atomics in this module's place.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

pub(crate) use std::hint::spin_loop;
pub(crate) use std::thread::yield_now;

/// The models put `true` here: small blocks and no spinning, so that they reach the rare cases.
pub(crate) const MODELLED: bool = false;
