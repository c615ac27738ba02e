//! When a thread that others have woken was left for its worker: now and then one of them is timed, so that the [delays](super::counters::DelayProbe) tell how long it has
//! waited in the inbox, too.
//!
//! | state    | set by                                   | then                                             |
//! | -------- | ---------------------------------------- | ------------------------------------------------ |
//! | `IDLE`   | the owner, when it has got what it wanted | nobody notes anything                            |
//! | `WANTED` | the owner                                | the next waker takes it                          |
//! | `TAKEN`  | that waker                               | it notes thread and time, and is the only one to |
//! | `NOTED`  | the same, before it leaves the thread    | the owner finds the thread in its inbox          |
#![forbid(unsafe_code)]

use std::ptr;

use crate::base::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use crate::sys::clock::real_ns;
use crate::task::Header;

const IDLE: u32 = 0;
const WANTED: u32 = 1;
const TAKEN: u32 = 2;
const NOTED: u32 = 3;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct WakeProbe {
    state: AtomicU32,
    /// Only compared.
    thread: AtomicPtr<Header>,
    since_ns: AtomicU64,
}

impl WakeProbe {
    pub(crate) fn new() -> Self {
        Self { state: AtomicU32::new(IDLE), thread: AtomicPtr::new(ptr::null_mut()), since_ns: AtomicU64::new(0) }
    }

    /// Another worker has the remote.
    pub(crate) fn reset(&self) {
        self.state.store(IDLE, Ordering::Relaxed);
    }

    /// The owner wants the next thread to be noted.
    pub(crate) fn want(&self) {
        // ORDERING: Relaxed: nothing comes with it. On failure one is under way.
        _ = self.state.compare_exchange(IDLE, WANTED, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// A waker is about to leave `thread`.
    #[inline]
    pub(crate) fn leaves(&self, thread: *mut Header) {
        if self.state.load(Ordering::Relaxed) == WANTED {
            self.note(thread);
        }
    }

    #[cold]
    #[inline(never)]
    fn note(&self, thread: *mut Header) {
        // ORDERING: Acquire pairs with the Release in `comes`: the note before was read.
        if self.state.compare_exchange(WANTED, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            self.thread.store(thread, Ordering::Relaxed);
            self.since_ns.store(real_ns(), Ordering::Relaxed);
            // ORDERING: Release pairs with the Acquire in `comes`.
            self.state.store(NOTED, Ordering::Release);
        }
    }

    /// The owner has found `thread` in its inbox. When it was left there, if it is the one that was noted.
    pub(crate) fn comes(&self, thread: *mut Header) -> Option<u64> {
        // ORDERING: Acquire pairs with the Release in `note`.
        let is_noted = self.state.load(Ordering::Acquire) == NOTED && self.thread.load(Ordering::Relaxed) == thread;
        is_noted.then(|| {
            let since_ns = self.since_ns.load(Ordering::Relaxed);
            // ORDERING: Release: the note was read before another may be written; its writer takes `WANTED`, which follows in the word.
            self.state.store(IDLE, Ordering::Release);
            since_ns
        })
    }
}
