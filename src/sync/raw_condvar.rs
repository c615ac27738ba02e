//! The condition variable without its public face.
//!
//! A waiter enters the queue before it lets the mutex go, both in the commit of its park. So a notifier that has had the
//! mutex since finds it there. `waiting` says without the lock that the queue is empty: a waiter stores to it while it
//! has the mutex, so a notifier that has had the mutex since sees it, and others have no claim.

use std::cell::Cell;

use crate::base::atomic::{AtomicU32, Ordering};
use crate::base::lock::Lock;
use crate::park::waiters::{WaitNode, Waiters, WakeList};
use crate::park::{Wait, WaitResult, wait_in};
use crate::sync::raw_mutex::RawMutex;
use crate::task::header::Reason;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct RawCondvar {
    waiting: AtomicU32,
    queue: Lock<Waiters<()>>,
}

impl RawCondvar {
    pub(crate) const fn new() -> Self {
        Self { waiting: AtomicU32::new(0), queue: Lock::new(Waiters::new()) }
    }

    /// Wakes the thread that has waited longest.
    #[inline]
    pub(crate) fn notify_one(&self) {
        if self.waiting.load(Ordering::Relaxed) != 0 {
            self.notify_first();
        }
    }

    /// Wakes all threads that wait now.
    #[inline]
    pub(crate) fn notify_all(&self) {
        if self.waiting.load(Ordering::Relaxed) != 0 {
            self.notify_everybody();
        }
    }

    #[cold]
    fn notify_first(&self) {
        let first = {
            let waiters = self.queue.lock();
            let first = waiters.claim_first();
            self.count(&waiters);
            first
        };
        if let Some(first) = first {
            first.schedule();
        }
    }

    #[cold]
    fn notify_everybody(&self) {
        let mut wakes = WakeList::new();
        let waiters = self.queue.lock();
        waiters.claim_all(&mut wakes);
        self.count(&waiters);
    }

    /// Under the queue's lock, which has just been changed.
    fn count(&self, waiters: &Waiters<()>) {
        self.waiting.store(u32::from(!waiters.is_empty()), Ordering::Relaxed);
    }

    /// Lets `mutex`, which the thread has, go and waits. Says whether it was notified. Unwinds without the mutex.
    pub(crate) fn wait(&self, mutex: &RawMutex, deadline_ns: u64) -> bool {
        let mut wait = Wait::new(Reason::Condvar).on(self).until(deadline_ns);
        let held = HeldMutex(mutex, Cell::new(true));
        loop {
            let node = WaitNode::with(());
            let enter = |ticket| {
                {
                    let waiters = self.queue.lock();
                    // SAFETY: the node is fresh, and `leave` is called if anything but a waker ends the wait.
                    unsafe { waiters.push_back(&node, ticket) };
                    self.count(&waiters);
                }
                held.let_go();
                true
            };
            let leave = || {
                let waiters = self.queue.lock();
                // SAFETY: it is in this queue or in none.
                unsafe { waiters.remove(&node) };
                self.count(&waiters);
            };
            match wait_in(&mut wait, enter, leave) {
                WaitResult::TimedOut => return false,
                // Interrupted before it could wait, but it must not be unwound now.
                WaitResult::Interrupted if held.1.get() => {}
                // Interrupted later: what was meant for this thread since may be lost, so it has to look.
                _ => return true,
            }
        }
    }
}

/// A mutex that the thread has until it waits, or is unwound.
struct HeldMutex<'a>(&'a RawMutex, Cell<bool>);

impl HeldMutex<'_> {
    fn let_go(&self) {
        if self.1.take() {
            self.0.unlock();
        }
    }
}

impl Drop for HeldMutex<'_> {
    fn drop(&mut self) {
        self.let_go();
    }
}
