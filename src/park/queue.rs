//! A FIFO of waiting threads, green and OS alike, under a lock of its own: the simplest thing to wait on.
//!
//! Its waiters keep the invariants of [`waiters`](super::waiters).

use crate::base::lock::Lock;
use crate::park::waiters::{WaitNode, Waiters, WakeList};
use crate::park::{Wait, WaitResult, park, wait_in};
use crate::task::Ticket;

/// State of type `S` and the threads that wait for it to change.
pub(crate) struct WaitQueue<S> {
    inner: Lock<Guarded<S>>,
}

struct Guarded<S> {
    state: S,
    waiters: Waiters<()>,
}

impl<S> WaitQueue<S> {
    pub(crate) const fn new(state: S) -> Self {
        Self { inner: Lock::new(Guarded { state, waiters: Waiters::new() }) }
    }

    /// Looks at the state, or changes it; wakes nobody.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut S) -> R) -> R {
        f(&mut self.inner.lock().state)
    }

    /// Changes the state; if `f` says so, wakes the thread that has waited longest.
    pub(crate) fn notify_one(&self, f: impl FnOnce(&mut S) -> bool) {
        let mut inner = self.inner.lock();
        let first = if f(&mut inner.state) { inner.waiters.claim_first() } else { None };
        drop(inner);
        if let Some(first) = first {
            first.schedule();
        }
    }

    /// Changes the state; if `f` says so, wakes all that wait.
    pub(crate) fn notify_all(&self, f: impl FnOnce(&mut S) -> bool) {
        let mut wakes = WakeList::new();
        let mut inner = self.inner.lock();
        if f(&mut inner.state) {
            inner.waiters.claim_all(&mut wakes);
        }
    }

    /// Waits until `ready` finds in the state what it looks for. `None`: the wait's own deadline has passed first.
    pub(crate) fn wait_until<R>(&self, wait: Wait, mut ready: impl FnMut(&mut S) -> Option<R>) -> Option<R> {
        let mut wait = wait;
        loop {
            let (mut found, node) = (None, WaitNode::with(()));
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
            let (mut found, node) = (None, WaitNode::with(()));
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
        node: &WaitNode<()>,
        ticket: Ticket,
        found: &mut Option<R>,
        ready: impl FnOnce(&mut S) -> Option<R>,
    ) -> bool {
        let mut inner = self.inner.lock();
        *found = ready(&mut inner.state);
        if found.is_none() {
            // SAFETY: the callers' node is fresh, and they `leave` if anything but a waker ends the wait.
            unsafe { inner.waiters.push_back(node, ticket) };
        }
        found.is_none()
    }

    /// Leaves the queue, after the wait has ended otherwise.
    fn leave(&self, node: &WaitNode<()>) {
        // SAFETY: it was linked here, if at all.
        unsafe { self.inner.lock().waiters.remove(node) };
    }
}
