//! The condition variable without its public face.
//!
//! A waiter enters the queue before it lets the mutex go, both in the commit of its park. So a notifier that has had the
//! mutex since finds it there. `waiting` says without the lock that the queue is empty: a waiter stores to it while it
//! has the mutex, so whoever has had the mutex since sees it, and others have no claim.

use crate::base::atomic::{AtomicU32, Ordering};
use crate::base::lock::Lock;
use crate::park::{Wait, Woken, interrupt, park, schedule};
use crate::sync::queue::{self, Node, Waiters};
use crate::sync::raw_mutex::RawMutex;
use crate::task::header::Reason;

/// See the module's text. `new` is with the public type: loom's atomics are not `const`.
#[derive(Debug)]
pub(crate) struct RawCondvar {
    pub(crate) waiting: AtomicU32,
    pub(crate) queue: Lock<Waiters>,
}

impl RawCondvar {
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
        let wake = {
            let mut waiters = self.queue.lock();
            let wake = waiters.wake_first(false);
            self.count(&waiters);
            wake
        };
        if let Some(wake) = wake {
            schedule(wake);
        }
    }

    #[cold]
    fn notify_everybody(&self) {
        let woken = queue::Woken::new();
        {
            let mut waiters = self.queue.lock();
            while !waiters.is_empty() {
                waiters.wake_first_into(&woken, false);
            }
            self.count(&waiters);
        }
        woken.schedule();
    }

    /// Under the queue's lock, which has just been changed.
    fn count(&self, waiters: &Waiters) {
        self.waiting.store(u32::from(!waiters.is_empty()), Ordering::Relaxed);
    }

    /// Lets `mutex`, which the thread has, go and waits. Says whether it was notified. Unwinds without the mutex.
    pub(crate) fn wait(&self, mutex: &RawMutex, deadline_ns: u64) -> bool {
        let mut wait = Wait::new(Reason::Condvar).until(deadline_ns);
        let mut held = true;
        loop {
            let node = Node::new(0);
            let woken = park(wait, |ticket| {
                {
                    let mut waiters = self.queue.lock();
                    // SAFETY: the node is fresh, and `leave` is called below if anything but a waker ends the wait.
                    unsafe { waiters.enter(&node, ticket, false) };
                    self.count(&waiters);
                }
                if std::mem::take(&mut held) {
                    mutex.unlock();
                }
                true
            });
            if woken == Woken::Notified {
                return true;
            }
            {
                let mut waiters = self.queue.lock();
                // SAFETY: it is in this queue or in none.
                unsafe { waiters.leave(&node) };
                self.count(&waiters);
            }
            if woken != Woken::Interrupted {
                return false;
            }
            if !held {
                // What was meant for this thread since may be lost: it has to look.
                let _ = interrupt::raise(wait);
                return true;
            }
            // Interrupted before it could wait, but it must not be unwound now.
            let unlock = UnlockOnUnwind(mutex);
            wait = interrupt::raise(wait);
            std::mem::forget(unlock);
        }
    }
}

/// Lets the mutex go when a wait is left by unwinding.
struct UnlockOnUnwind<'a>(&'a RawMutex);

impl Drop for UnlockOnUnwind<'_> {
    fn drop(&mut self) {
        self.0.unlock();
    }
}
