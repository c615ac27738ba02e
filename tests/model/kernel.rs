//! The stand-in for the futex: a word that a thread sleeps on. A deadline other than "never" has always passed.

use std::sync::PoisonError;

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Condvar, Mutex, MutexGuard};

use crate::model::prelude::clock::NEVER;

#[derive(Debug)]
pub(crate) struct Futex {
    lock: Mutex<()>,
    changed: Condvar,
}

impl Futex {
    pub(crate) fn new() -> Self {
        Self { lock: Mutex::new(()), changed: Condvar::new() }
    }

    /// All threads of a model are one thread to std: where one is unwound, the others are.
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As the kernel, compares the word when it has shut wakers out.
    pub(crate) fn wait(&self, word: &AtomicU32, expected: u32, deadline_ns: u64) -> bool {
        if deadline_ns != NEVER {
            return false;
        }
        let guard = self.lock();
        // Another exchange that changes nothing: it reads the newest value, as the kernel does.
        if word.fetch_add(0, Ordering::Relaxed) == expected {
            drop(self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner));
        }
        true
    }

    pub(crate) fn wake(&self, _word: &AtomicU32) {
        // Let go before the sleeper is told: the kernel's own locks give it nothing that the waker wrote.
        drop(self.lock());
        self.changed.notify_one();
    }
}
