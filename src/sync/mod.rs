#![doc = include_str!("README.md")]

mod condvar;
mod mutex;
mod owner;
mod poison;
mod queue;
mod raw_mutex;
mod spin;

pub use condvar::Condvar;
pub use mutex::{Mutex, MutexGuard};
pub use std::sync::{Arc, LockResult, PoisonError, TryLockError, TryLockResult, WaitTimeoutResult, Weak, atomic};
