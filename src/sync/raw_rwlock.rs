//! The readers-writer lock without its value. The protocol is that of [`raw_mutex`](super::raw_mutex), with two kinds of
//! threads; the folder's PROTOCOL.md has both.
//!
//! One word:
//!
//! | bits      | meaning, set when                                       | cleared by                                      |
//! | --------- | ------------------------------------------------------- | ----------------------------------------------- |
//! | `QUEUED`  | a thread enters the queue                               | the thread that takes the last one out          |
//! | `WAKING`  | the first waiter, a writer, was woken to try again      | that writer: takes the lock, queues again, or leaves |
//! | `HANDOFF` | that writer lost again, or the first waiter was overtaken too often: it has the next turn | the thread that hands it the lock, or finds the queue empty |
//! | `WRITER`  | a writer has the lock                                   | its unlock                                      |
//! | 4..32     | the number of readers that have it                      | their unlocks                                   |
//!
//! Never `WRITER` and readers; never `WAKING` and `HANDOFF`. Writers are woken to try again, so that a writer that runs
//! may overtake one that is only being woken; readers are handed the lock, all that stand at the front at once, as they do
//! not exclude each other. No reader comes in while one of the first three bits is set.

use std::cell::Cell;
use std::mem::offset_of;

use crate::base::atomic::{AtomicU32, Ordering};
use crate::base::lock::Lock;
use crate::park::waiters::{WaitNode, WakeList};
use crate::park::{Wait, WaitResult, checkpoint, quick_checkpoint, quick_checkpoint_as, wait_in};
use crate::sync::holder::LockHolder;
use crate::sync::queue::{Contender, LockQueue};
use crate::sync::readers::{READERS_ARE_KNOWN, Readers, SharedClaim};
use crate::sync::spin::Spin;
use crate::task::Ticket;
use crate::task::header::Reason;

const QUEUED: u32 = 1;
const WAKING: u32 = 1 << 1;
const HANDOFF: u32 = 1 << 2;
pub(super) const WRITER: u32 = 1 << 3;
pub(super) const READER: u32 = 1 << 4;
const READERS: u32 = !(READER - 1);
/// With so many readers no other thread may come in as one; but those that wait already may.
const FULL: u32 = 1 << 31;

/// What a thread wants, as the kind of its node.
const READ: u32 = 0;
const WRITE: u32 = 1;

/// The bits of the word that keep a thread out, and what it adds when it comes in.
#[inline(always)]
fn bars(kind: u32) -> (u32, u32) {
    match kind {
        READ => (WRITER | HANDOFF | WAKING | QUEUED | FULL, READER),
        _ => (WRITER | HANDOFF | READERS, WRITER),
    }
}

/// See the module's text.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct RawRwLock {
    word: AtomicU32,
    pub(super) holder: LockHolder,
    queue: Lock<LockQueue>,
    pub(super) readers: Readers,
}

impl RawRwLock {
    /// Where the word and the holder are.
    pub(super) const PLACES: [usize; 2] = [offset_of!(Self, word), offset_of!(Self, holder)];

    pub(crate) const fn new() -> Self {
        Self {
            word: AtomicU32::new(0),
            holder: LockHolder::new(),
            queue: Lock::new(LockQueue::new()),
            readers: Readers::new(),
        }
    }

    /// Takes the lock together with other readers; waits while a writer has it or waits.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn read(&self) {
        quick_checkpoint();
        if !self.try_take(READ, false) {
            self.contended(READ);
        }
    }

    /// Takes the lock alone.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn write(&self) {
        let caller = quick_checkpoint_as();
        // ORDERING: Acquire pairs with the Releases of the unlocks: what the last holders did comes before.
        if self.word.compare_exchange(0, WRITER, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.contended(WRITE);
            return self.holder.set();
        }
        self.holder.set_to(caller);
    }

    #[cold]
    #[inline(never)]
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    fn contended(&self, kind: u32) {
        if self.word.load(Ordering::Relaxed) & WRITER != 0 {
            self.holder.refuse_own("has this lock for writing");
        }
        checkpoint();
        let (node, wait) = (Contender::of(kind), Wait::new(Reason::RwLock));
        let claim = SharedClaim::new((&self.holder, &self.readers, &self.queue), &node.payload, kind == WRITE);
        let _waits = claim.about_to_wait(&wait);
        let _ = self.wait(&node, wait);
    }

    /// As `read`, until `deadline_ns`. Says whether the lock is taken.
    pub(crate) fn read_until(&self, deadline_ns: u64) -> bool {
        checkpoint();
        self.try_take(READ, false) || self.wait_until(READ, deadline_ns)
    }

    /// As `write`, until `deadline_ns`. Says whether the lock is taken.
    #[track_caller]
    pub(crate) fn write_until(&self, deadline_ns: u64) -> bool {
        checkpoint();
        self.holder.set_if(self.try_take(WRITE, false) || self.wait_until(WRITE, deadline_ns))
    }

    #[inline(always)]
    pub(crate) fn try_read(&self) -> bool {
        self.try_take(READ, false)
    }

    #[inline(always)]
    #[track_caller]
    pub(crate) fn try_write(&self) -> bool {
        self.holder.set_if(self.try_take(WRITE, false))
    }

    /// A reader lets the lock go.
    #[inline(always)]
    pub(crate) fn unlock_read(&self) {
        // ORDERING: Release pairs with the Acquire of the next writer: what this thread has read was not overwritten.
        let before = self.word.fetch_sub(READER, Ordering::Release);
        if before & READERS == READER && before & (QUEUED | WAKING) == QUEUED {
            self.unlock_contended(); // KEY: rwlock-unlock
        }
    }

    /// The writer lets the lock go.
    #[inline(always)]
    pub(crate) fn unlock_write(&self) {
        self.holder.clear();
        // ORDERING: Release pairs with the Acquires of the threads that take the lock.
        let before = self.word.fetch_sub(WRITER, Ordering::Release);
        if before & (QUEUED | WAKING) == QUEUED {
            self.unlock_contended();
        }
    }

    /// The writer becomes a reader, with no other writer in between.
    pub(crate) fn downgrade(&self) {
        self.holder.clear();
        // ORDERING: Release pairs with the Acquires of the readers that come in now.
        let before = self.word.fetch_add(READER - WRITER, Ordering::Release);
        if before & (QUEUED | WAKING) == QUEUED {
            self.unlock_contended();
        }
    }

    #[cold]
    #[inline(never)]
    fn unlock_contended(&self) {
        let mut wakes = WakeList::new();
        self.pass_on(&mut self.queue.lock(), &mut wakes);
    }

    /// If the lock is free for the first in the queue: lets readers in, or wakes a writer, or hands it the lock. Under the
    /// queue's lock.
    fn pass_on(&self, waiters: &mut LockQueue, wakes: &mut WakeList<Contender>) {
        while let Some(kind) = waiters.first_kind() {
            // ORDERING: Acquire pairs with the Releases of the unlocks: what the last holders wrote goes to the threads
            // that are handed the lock, by way of their tickets.
            let word = self.word.load(Ordering::Acquire);
            if word & WAKING != 0 {
                // The writer on its way looks after the rest.
                return;
            }
            let in_the_way = if kind == READ { WRITER } else { WRITER | READERS };
            if word & in_the_way != 0 {
                // The holders' unlock looks after the queue, unless there is no holder any more.
                let promise = if waiters.is_out_of_patience() { word | HANDOFF } else { word };
                if self.word.compare_exchange(word, promise, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                    return;
                }
            } else if kind == READ {
                self.let_readers_in(word, waiters, wakes);
            } else if word & HANDOFF != 0 {
                // Nobody else takes the lock now.
                if waiters.wake_next(true, wakes) {
                    self.word.fetch_xor(HANDOFF | WRITER, Ordering::Relaxed);
                    self.tidy(waiters);
                    return;
                }
            } else if waiters.wake_next(false, wakes) {
                self.word.fetch_or(WAKING, Ordering::Relaxed);
                self.tidy(waiters);
                return;
            }
        }
        self.tidy(waiters);
    }

    /// The queue begins with a reader, and no writer has the lock.
    fn let_readers_in(&self, word: u32, waiters: &LockQueue, wakes: &mut WakeList<Contender>) {
        // One reader's place keeps writers out meanwhile.
        let next = (word & !HANDOFF).wrapping_add(READER);
        // ORDERING: Acquire as in `pass_on`: a writer may have come and gone since.
        if self.word.compare_exchange(word, next, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return;
        }
        while waiters.first_kind() == Some(READ) {
            if waiters.wake_next(true, wakes) {
                self.word.fetch_add(READER, Ordering::Relaxed);
            }
        }
        self.word.fetch_sub(READER, Ordering::Relaxed);
    }

    /// The last waiter has been taken out of the queue, perhaps.
    fn tidy(&self, waiters: &LockQueue) {
        if waiters.is_empty() {
            self.word.fetch_and(!(QUEUED | HANDOFF), Ordering::Relaxed);
        }
    }

    fn wait_until(&self, kind: u32, deadline_ns: u64) -> bool {
        self.wait(&Contender::of(kind), Wait::new(Reason::RwLock).until(deadline_ns))
    }

    /// Waits for the lock. False: the wait's own deadline has passed first.
    fn wait(&self, node: &WaitNode<Contender>, mut wait: Wait) -> bool {
        wait = wait.on(self);
        let kind = node.payload.kind;
        // `WAKING` is this thread's.
        let woken = Cell::new(false);
        loop {
            if self.try_for_a_while(kind, woken.get()) {
                return true;
            }
            let leave = || self.leave(node, woken.take());
            match wait_in(&mut wait, |ticket| self.enter(node, ticket, &woken), leave) {
                WaitResult::Refused => return true,
                WaitResult::Notified if node.payload.given.get() => return true,
                WaitResult::Notified => woken.set(true),
                // It may have been let go at the last moment.
                WaitResult::TimedOut => return self.try_take(kind, false),
                WaitResult::Interrupted => {}
            }
        }
    }

    /// Takes the lock if nobody is in the way.
    #[inline(always)]
    fn try_take(&self, kind: u32, woken: bool) -> bool {
        let (bars, add) = bars(kind);
        let mut word = self.word.load(Ordering::Relaxed);
        while word & bars == 0 {
            let next = if woken { (word + add) & !WAKING } else { word + add };
            // ORDERING: Acquire pairs with the Releases of the unlocks.
            match self.word.compare_exchange_weak(word, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
        false
    }

    /// Tries, with bounded pauses; not at all while the holder is a thread of the same worker.
    fn try_for_a_while(&self, kind: u32, woken: bool) -> bool {
        let mut spin = Spin::new();
        // Who looks at the line knows of such a one whether it waits still.
        let in_line_only = READERS_ARE_KNOWN && kind == READ;
        loop {
            if !in_line_only && self.try_take(kind, woken) {
                return true;
            }
            let word = self.word.load(Ordering::Relaxed);
            let hopeless = in_line_only || word & WRITER != 0 && self.holder.is_on_this_worker();
            if hopeless || !spin.pause() {
                assert!(kind != READ || word & FULL == 0, "too many active read locks on RwLock");
                return false;
            }
        }
    }

    /// Enters the queue; false if the lock could be taken instead.
    fn enter(&self, node: &WaitNode<Contender>, ticket: Ticket, woken: &Cell<bool>) -> bool {
        let (mut waiters, kind) = (self.queue.lock(), node.payload.kind);
        loop {
            if self.try_take(kind, woken.get()) {
                node.payload.given.set(true);
                return false;
            }
            let word = self.word.load(Ordering::Relaxed);
            if word & bars(kind).0 == 0 {
                continue;
            }
            let next = if woken.get() { (word | QUEUED | HANDOFF) & !WAKING } else { word | QUEUED };
            // ORDERING: Relaxed: an unlock that comes after this sees the bit in the same word and takes the queue's lock;
            // if it came before, the exchange fails.
            if self.word.compare_exchange(word, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                break;
            }
        }
        waiters.take_turn(&node.payload);
        // SAFETY: the node is in no queue: it is fresh, or was taken out by its waker or by `leave`. `wait` calls `leave`
        // whenever anything but a waker ends the wait.
        unsafe { if woken.take() { waiters.push_front(node, ticket) } else { waiters.push_back(node, ticket) } };
        true
    }

    /// Takes back whatever a thread that no longer waits had in the queue and in the word; passes on what it was to
    /// have, and lets in the threads that waited behind it alone.
    #[cold]
    fn leave(&self, node: &WaitNode<Contender>, woken: bool) {
        let mut wakes = WakeList::<Contender>::new();
        let mut waiters = self.queue.lock();
        waiters.leave_turn(&node.payload);
        // SAFETY: it is in this queue or in none.
        unsafe { waiters.remove(node) };
        if woken {
            self.word.fetch_and(!WAKING, Ordering::Relaxed); // KEY: rwlock-waking
        }
        self.pass_on(&mut waiters, &mut wakes); // KEY: rwlock-leave
    }
}
