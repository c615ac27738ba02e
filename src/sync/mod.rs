#![doc = include_str!("README.md")]

// Floor 10.
mod barrier;
mod condvar;
mod holder;
mod lazy_lock;
pub mod mpsc;
mod mutex;
mod once;
mod once_lock;
mod poison;
mod queue;
mod raw_condvar;
mod raw_mutex;
mod raw_rwlock;
mod readers;
mod rwlock;
mod semaphore;
mod spin;
mod wait_group;

use std::mem::offset_of;

use crate::park::waits_on::{self, LockImage};
use crate::sync::holder::LockHolder;

/// What reads a lock from outside knows where the parts are.
const _: () = {
    let places = [offset_of!(LockImage, word), offset_of!(LockImage, holder) - LockHolder::THREAD];
    let all = [raw_mutex::RawMutex::PLACES, raw_rwlock::RawRwLock::PLACES, Once::PLACES];
    let mut at = 0;
    while at < all.len() {
        assert!(all[at][0] == places[0] && all[at][1] == places[1]);
        at += 1;
    }
    assert!(waits_on::LOCKED == raw_mutex::LOCKED && waits_on::WRITER == raw_rwlock::WRITER);
    assert!(1 << waits_on::READERS_SHIFT == raw_rwlock::READER);
};

#[cfg(any(debug_assertions, green_deadlocks))]
const _: () = {
    use crate::park::possession::Possession;
    let there = offset_of!(LockImage, reader) - offset_of!(LockImage, holder);
    assert!(there == Possession::READER - Possession::THREAD);
};

#[doc = include_str!("PROTOCOL.md")]
mod protocol {}

pub use barrier::{Barrier, BarrierWaitResult};
pub use condvar::Condvar;
pub use lazy_lock::LazyLock;
pub use mutex::{Mutex, MutexGuard};
pub use once::{Once, OnceState};
pub use once_lock::OnceLock;
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{Semaphore, SemaphoreGuard};
pub use std::sync::{Arc, LockResult, PoisonError, TryLockError, TryLockResult, WaitTimeoutResult, Weak, atomic};
pub use wait_group::WaitGroup;
