//! The unstarted threads that are under way to a worker, through its inbox: for a dump, as nobody else can look into that.
//!
//! # Invariants
//!
//! 1. A thread in the list is alive: it is added before it is sent, with a reference that goes along, and removed when it comes out, before it starts.

use std::ptr::NonNull;

use crate::base::lock::Lock;
use crate::task::Header;

/// See the module's text. They are few: what a worker gives away at a time.
pub(crate) struct Given(Lock<Vec<NonNull<Header>>>);

// SAFETY: what is done with the pointers is done under the lock, where invariant 1 holds.
unsafe impl Send for Given {}
// SAFETY: as above.
unsafe impl Sync for Given {}

impl Given {
    pub(crate) fn new() -> Self {
        Self(Lock::new(Vec::new()))
    }

    /// The thread is about to be sent.
    pub(crate) fn add(&self, thread: NonNull<Header>) {
        self.0.lock().push(thread);
    }

    /// It has come.
    pub(crate) fn remove(&self, thread: NonNull<Header>) {
        let mut given = self.0.lock();
        if let Some(at) = given.iter().position(|other| *other == thread) {
            given.remove(at);
        }
    }

    /// Calls `f` with those that are under way, the oldest first. Its results are returned.
    pub(crate) fn map<R>(&self, f: impl Fn(&Header) -> R) -> Vec<R> {
        let given = self.0.lock();
        // SAFETY: invariant 1, and it is in the list as long as the lock is had.
        given.iter().map(|thread| f(unsafe { thread.as_ref() })).collect()
    }
}
