//! The mutex without its value: which thread has it, which comes next. The protocol is in the folder's PROTOCOL.md.
//!
//! One word:
//!
//! | bit       | set when                                                | cleared by                                      |
//! | --------- | ------------------------------------------------------- | ----------------------------------------------- |
//! | `LOCKED`  | a thread takes the lock, or is handed it                | its unlock                                      |
//! | `QUEUED`  | a thread enters the queue                               | the thread that takes the last one out          |
//! | `WAKING`  | the first waiter was woken to try again                 | that waiter: takes the lock, queues again, or leaves |
//! | `HANDOFF` | that waiter lost again, or was overtaken too often: the first in the queue has the next turn | the thread that hands it the lock, or finds the queue empty |
//!
//! Any thread may take `LOCKED` while it is clear and `HANDOFF` is not set. The other bits change under the queue's lock, except
//! that the waiter that `WAKING` belongs to may clear it while it takes the lock. Never both `WAKING` and `HANDOFF`.
//!
//! The queue's invariants are those of [`waiters`](crate::park::waiters); this file keeps to invariant 1 by [`RawMutex::leave`].

use std::cell::Cell;
use std::mem::offset_of;

use crate::base::atomic::{AtomicU32, Ordering};
use crate::base::lock::Lock;
use crate::park::waiters::{Claimed, WaitNode};
use crate::park::{Wait, WaitResult, checkpoint, quick_checkpoint_as, wait_in};
use crate::sync::holder::LockHolder;
use crate::sync::queue::{Contender, LockQueue};
use crate::sync::spin::Spin;
use crate::task::Ticket;
use crate::task::header::Reason;

pub(super) const LOCKED: u32 = 1;
const QUEUED: u32 = 1 << 1;
const WAKING: u32 = 1 << 2;
const HANDOFF: u32 = 1 << 3;

/// See the module's text.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct RawMutex {
    word: AtomicU32,
    holder: LockHolder,
    queue: Lock<LockQueue>,
}

impl RawMutex {
    /// Where the word and the holder are.
    pub(super) const PLACES: [usize; 2] = [offset_of!(Self, word), offset_of!(Self, holder)];

    pub(crate) const fn new() -> Self {
        Self { word: AtomicU32::new(0), holder: LockHolder::new(), queue: Lock::new(LockQueue::new()) }
    }

    /// Takes the lock; waits if it is taken.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn lock(&self) {
        let caller = quick_checkpoint_as();
        // ORDERING: Acquire pairs with the Release in `unlock`: what the last holder wrote is visible.
        if self.word.compare_exchange(0, LOCKED, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return self.lock_contended();
        }
        self.holder.set_to(caller);
    }

    #[cold]
    #[inline(never)]
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    fn lock_contended(&self) {
        if self.word.load(Ordering::Relaxed) & LOCKED != 0 {
            self.holder.refuse_own("has this mutex locked");
        }
        checkpoint();
        let wait = Wait::new(Reason::Mutex);
        let _waits = self.holder.about_to_wait("a mutex", &wait);
        let _ = self.wait(wait);
        self.holder.set();
    }

    /// As `lock`, until `deadline_ns`. Says whether the lock is taken.
    #[track_caller]
    pub(crate) fn lock_until(&self, deadline_ns: u64) -> bool {
        checkpoint();
        self.holder.set_if(self.try_take(false) || self.wait(Wait::new(Reason::Mutex).until(deadline_ns)))
    }

    /// Takes the lock again after a condition variable's wait; a cancel does not end it.
    #[track_caller]
    pub(crate) fn lock_again(&self) {
        if !self.try_take(false) {
            let wait = Wait::new(Reason::Mutex).uninterruptible();
            let _waits = self.holder.about_to_wait("a mutex, as its condition variable was notified", &wait);
            let _ = self.wait(wait);
        }
        self.holder.set();
    }

    /// Takes the lock if nobody has it, nor is promised it.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn try_lock(&self) -> bool {
        self.holder.set_if(self.try_take(false))
    }

    /// Lets the lock go.
    #[inline(always)]
    pub(crate) fn unlock(&self) {
        self.holder.clear();
        // ORDERING: Release pairs with the Acquires of the threads that take the lock.
        let before = self.word.fetch_sub(LOCKED, Ordering::Release);
        // A thread waits, and none is on its way already.
        if before & (QUEUED | WAKING) == QUEUED {
            self.unlock_contended(); // KEY: mutex-unlock
        }
    }

    #[cold]
    #[inline(never)]
    fn unlock_contended(&self) {
        let next = self.pass_on(&mut self.queue.lock());
        if let Some(next) = next {
            next.schedule();
        }
    }

    /// If the lock has been let go with threads in the queue: wakes the first one, or hands it the lock. Under the queue's
    /// lock.
    fn pass_on(&self, waiters: &mut LockQueue) -> Option<Claimed<Contender>> {
        loop {
            // ORDERING: Acquire pairs with the Release in `unlock`: what the last holder wrote goes to the thread that
            // is handed the lock, by way of its ticket.
            let word = self.word.load(Ordering::Acquire);
            if waiters.is_empty() {
                self.word.fetch_and(!(QUEUED | HANDOFF), Ordering::Relaxed);
                return None;
            }
            if word & WAKING != 0 {
                // The thread on its way looks after the rest.
                return None;
            }
            if word & LOCKED != 0 {
                // The holder's unlock looks after it, unless there is none any more: then the exchange fails.
                let promise = if waiters.is_out_of_patience() { word | HANDOFF } else { word };
                if self.word.compare_exchange(word, promise, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                    return None;
                }
                continue;
            }
            if word & HANDOFF != 0 {
                // Nobody else takes the lock now.
                if let Some(next) = waiters.wake_first(true) {
                    self.word.fetch_xor(HANDOFF | LOCKED, Ordering::Relaxed);
                    self.tidy(waiters);
                    return Some(next);
                }
            } else if let Some(next) = waiters.wake_first(false) {
                self.word.fetch_or(WAKING, Ordering::Relaxed);
                self.tidy(waiters);
                return Some(next);
            }
        }
    }

    /// The last waiter has been taken out of the queue, perhaps.
    fn tidy(&self, waiters: &LockQueue) {
        if waiters.is_empty() {
            self.word.fetch_and(!QUEUED, Ordering::Relaxed);
        }
    }

    /// Waits for the lock. False: the wait's own deadline has passed first.
    fn wait(&self, mut wait: Wait) -> bool {
        wait = wait.on(self);
        let node = Contender::of(0);
        // `WAKING` is this thread's.
        let woken = Cell::new(false);
        loop {
            if self.try_for_a_while(woken.get()) {
                return true;
            }
            let leave = || self.leave(&node, woken.take());
            match wait_in(&mut wait, |ticket| self.enter(&node, ticket, &woken), leave) {
                WaitResult::Refused => return true,
                WaitResult::Notified if node.payload.given.take() => return true,
                WaitResult::Notified => woken.set(true),
                // It may have been let go at the last moment.
                WaitResult::TimedOut => return self.try_take(false),
                WaitResult::Interrupted => {}
            }
        }
    }

    /// Takes the lock if it is free and promised to nobody.
    #[inline(always)]
    fn try_take(&self, woken: bool) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while word & (LOCKED | HANDOFF) == 0 {
            let next = if woken { (word | LOCKED) & !WAKING } else { word | LOCKED };
            // ORDERING: Acquire pairs with the Release in `unlock`.
            match self.word.compare_exchange_weak(word, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Tries, with bounded pauses; not at all while the holder is a thread of the same worker, which cannot go on before
    /// this one stops.
    fn try_for_a_while(&self, woken: bool) -> bool {
        let mut spin = Spin::new();
        loop {
            if self.try_take(woken) {
                return true;
            }
            if self.holder.is_on_this_worker() || !spin.pause() {
                return false;
            }
        }
    }

    /// Enters the queue; false if the lock could be taken instead.
    fn enter(&self, node: &WaitNode<Contender>, ticket: Ticket, woken: &Cell<bool>) -> bool {
        let waiters = self.queue.lock();
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word & (LOCKED | HANDOFF) == 0 {
                if self.try_take(woken.get()) {
                    return false;
                }
                word = self.word.load(Ordering::Relaxed);
                continue;
            }
            let next = if woken.get() { (word | QUEUED | HANDOFF) & !WAKING } else { word | QUEUED };
            // ORDERING: Relaxed: if the holder's unlock comes after this, it sees the bit in the same word and then
            // takes the queue's lock; if it came before, the exchange fails.
            match self.word.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        // SAFETY: the node is in no queue: it is fresh, or was taken out by its waker or by `leave`. `wait` calls `leave`
        // whenever anything but a waker ends the wait.
        unsafe { if woken.take() { waiters.push_front(node, ticket) } else { waiters.push_back(node, ticket) } };
        true
    }

    /// Takes back whatever a thread that no longer waits had in the queue and in the word; passes on what it was to
    /// have.
    #[cold]
    fn leave(&self, node: &WaitNode<Contender>, woken: bool) {
        let next = {
            let mut waiters = self.queue.lock();
            // SAFETY: it is in this queue or in none.
            unsafe { waiters.remove(node) };
            if woken {
                self.word.fetch_and(!WAKING, Ordering::Relaxed); // KEY: mutex-waking
            }
            self.pass_on(&mut waiters)
        };
        if let Some(next) = next {
            next.schedule();
        }
    }
}
