//! A FIFO of waiting threads, green and OS alike, under a lock of its own: the simplest thing to wait on.
//!
//! # Invariants
//!
//! 1. A node lies on the stack of the thread that waits; it is linked while that thread waits, and the thread takes the
//!    lock and looks before it leaves the frame: so whoever finds a node in the list, under the lock, may use it.
//! 2. A node is touched only under the lock.
//! 3. Nobody parks, and no user code runs, while the lock is held.

use std::cell::Cell;
use std::ptr::NonNull;

use crate::base::list::{Linked, Links, List};
use crate::base::lock::Lock;
use crate::park::{Wait, WaitResult, notify, park, wait_in};
use crate::task::Ticket;
use crate::task::header::Wake;

struct Node {
    links: Links<Node>,
    ticket: Cell<Option<Ticket>>,
}

// SAFETY: `links` is the node's own.
unsafe impl Linked for Node {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

impl Node {
    fn new() -> Self {
        Self { links: Links::new(), ticket: Cell::new(None) }
    }
}

/// State of type `S` and the threads that wait for it to change.
pub(crate) struct WaitQueue<S> {
    inner: Lock<Inner<S>>,
}

struct Inner<S> {
    state: S,
    waiting: List<Node>,
}

// SAFETY: the raw links are touched only under the lock (invariant 2); a ticket may be used from any thread.
unsafe impl<S: Send> Send for Inner<S> {}

impl<S> WaitQueue<S> {
    pub(crate) const fn new(state: S) -> Self {
        Self { inner: Lock::new(Inner { state, waiting: List::new() }) }
    }

    /// Looks at the state, or changes it; wakes nobody.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut S) -> R) -> R {
        f(&mut self.inner.lock().state)
    }

    /// Changes the state and wakes as many waiting threads, first come first, as `f` says.
    pub(crate) fn notify(&self, f: impl FnOnce(&mut S) -> usize) {
        let mut inner = self.inner.lock();
        let count = f(&mut inner.state);
        for _ in 0..count {
            let Some(wake) = inner.pop() else { return };
            drop(inner);
            wake.schedule();
            inner = self.inner.lock();
        }
    }

    /// Waits until `ready` finds in the state what it looks for. `None`: the wait's own deadline has passed first.
    pub(crate) fn wait_until<R>(&self, wait: Wait, mut ready: impl FnMut(&mut S) -> Option<R>) -> Option<R> {
        let mut wait = wait;
        loop {
            let (mut found, node) = (None, Node::new());
            let ended =
                wait_in(&mut wait, |ticket| self.enter(&node, ticket, &mut found, &mut ready), || self.leave(&node));
            if ended == WaitResult::Interrupted {
                continue;
            }
            // Look before the next wait can be interrupted: else what the notifier meant for this thread is lost.
            found = found.or_else(|| self.with(&mut ready));
            if found.is_some() || ended == WaitResult::TimedOut {
                return found;
            }
        }
    }

    /// As [`wait_until`](Self::wait_until), but comes back from an interruption: then, or if there is nothing to raise, it is
    /// the caller that goes on.
    ///
    /// # Errors
    ///
    /// `TimedOut`: the wait's own deadline has passed. `Interrupted`: the caller has to call
    /// [`interrupt::raise`](crate::park::interrupt::raise).
    pub(crate) fn try_wait_until<R>(
        &self,
        wait: Wait,
        mut ready: impl FnMut(&mut S) -> Option<R>,
    ) -> Result<R, WaitResult> {
        loop {
            let (mut found, node) = (None, Node::new());
            let ended = park(wait, |ticket| self.enter(&node, ticket, &mut found, &mut ready));
            if ended != WaitResult::Notified && ended != WaitResult::Refused {
                self.leave(&node);
                return Err(ended);
            }
            // Look before the next wait can be interrupted: else what the notifier meant for this thread is lost.
            if let Some(found) = found.or_else(|| self.with(&mut ready)) {
                return Ok(found);
            }
        }
    }

    /// Looks, and enters the queue if what is looked for is not there. True: the thread has to wait.
    fn enter<R>(
        &self,
        node: &Node,
        ticket: Ticket,
        found: &mut Option<R>,
        ready: impl FnOnce(&mut S) -> Option<R>,
    ) -> bool {
        let mut inner = self.inner.lock();
        *found = ready(&mut inner.state);
        if found.is_none() {
            node.ticket.set(Some(ticket));
            // SAFETY: the callers' node is fresh, and stays in their frame until it is unlinked: by `leave` or by `pop`.
            unsafe { inner.waiting.push_back(NonNull::from(node)) };
        }
        found.is_none()
    }

    /// Leaves the queue, after the wait has ended otherwise.
    fn leave(&self, node: &Node) {
        let inner = self.inner.lock();
        if node.links.is_linked() {
            // SAFETY: it was linked here, and still is.
            unsafe { inner.waiting.remove(NonNull::from(node)) };
        }
    }
}

impl<S> Inner<S> {
    /// Unlinks threads from the front until one's wait could be ended.
    fn pop(&mut self) -> Option<Wake> {
        while let Some(node) = self.waiting.pop_front() {
            // SAFETY: invariant 1, and the lock is held.
            let ticket = unsafe { node.as_ref() }.ticket.take();
            // SAFETY: the thread cannot leave its wait before it has had the lock; the node had its only ticket.
            if let Some(wake) = ticket.and_then(|ticket| unsafe { notify(ticket) }) {
                return Some(wake);
            }
        }
        None
    }
}

impl<S: std::fmt::Debug> std::fmt::Debug for WaitQueue<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WaitQueue").field("state", &self.inner.lock().state).finish_non_exhaustive()
    }
}
