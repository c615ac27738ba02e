//! The line before a mutex or a readers-writer lock: [`waiters`](crate::park::waiters), and how often its first was overtaken.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::ops::Deref;

use crate::park::waiters::{Claimed, WaitNode, WaitPayload, Waiters, WakeList};

/// What a thread that waits for a lock says, and is told.
#[derive(Debug)]
pub(crate) struct Contender {
    /// For the lock's own use: reader or writer.
    pub(crate) kind: u32,
    /// The thread has the lock, by its waker, or because it has found it free when it was to enter the line; without, one that is woken only has to look again.
    pub(crate) given: Cell<bool>,
    /// Where deadlocks are named: its turn, from when it enters the line until it leaves; 0: it is not in it.
    #[cfg(any(debug_assertions, green_deadlocks))]
    pub(crate) turn: Cell<u64>,
}

impl WaitPayload for Contender {}

impl Contender {
    pub(crate) fn of(kind: u32) -> WaitNode<Self> {
        WaitNode::with(Self {
            kind,
            given: Cell::new(false),
            #[cfg(any(debug_assertions, green_deadlocks))]
            turn: Cell::new(0),
        })
    }
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct LockQueue {
    waiters: Waiters<Contender>,
    /// How often in a row an unlock has found the lock taken again when it came to wake the first one.
    overtaken: u8,
    /// The last turn that somebody has got.
    #[cfg(any(debug_assertions, green_deadlocks))]
    turns: u64,
}

/// So often the first waiter is overtaken before it is promised the lock.
const OVERTAKEN_AT_MOST: u8 = 16;

impl LockQueue {
    pub(crate) const fn new() -> Self {
        Self {
            waiters: Waiters::new(),
            overtaken: 0,
            #[cfg(any(debug_assertions, green_deadlocks))]
            turns: 0,
        }
    }

    /// The thread enters the line; if it has been woken, it has its turn still.
    #[inline(always)]
    pub(crate) fn take_turn(&mut self, contender: &Contender) {
        #[cfg(any(debug_assertions, green_deadlocks))]
        if contender.turn.get() == 0 {
            self.turns += 1;
            contender.turn.set(self.turns);
        }
        #[cfg(not(any(debug_assertions, green_deadlocks)))]
        let _ = contender;
    }

    /// The thread leaves the line without the lock.
    #[inline(always)]
    pub(crate) fn leave_turn(&mut self, contender: &Contender) {
        #[cfg(any(debug_assertions, green_deadlocks))]
        contender.turn.set(0);
        #[cfg(not(any(debug_assertions, green_deadlocks)))]
        let _ = contender;
    }

    /// An unlock has come to wake the first waiter and has found the lock taken again. True: that was once too often.
    pub(crate) fn is_out_of_patience(&mut self) -> bool {
        self.overtaken = if self.overtaken == OVERTAKEN_AT_MOST { 0 } else { self.overtaken + 1 };
        self.overtaken == OVERTAKEN_AT_MOST
    }

    /// The kind of the first.
    pub(crate) fn first_kind(&self) -> Option<u32> {
        self.waiters.first().map(|contender| contender.kind)
    }

    /// Ends the wait of the first thread that has not left; `given`: with the lock. The caller lets it go, outside the queue's
    /// lock.
    pub(crate) fn wake_first(&mut self, given: bool) -> Option<Claimed<Contender>> {
        let claimed = self.waiters.claim_first()?;
        self.overtaken = 0;
        claimed.payload().given.set(given);
        Some(claimed)
    }

    /// Ends the wait of the first thread; `given`: with the lock. False: it had left.
    pub(crate) fn wake_next(&self, given: bool, wakes: &mut WakeList<Contender>) -> bool {
        let Some(claimed) = self.waiters.claim_next() else { return false };
        claimed.payload().given.set(given);
        wakes.push(claimed);
        true
    }
}

impl Deref for LockQueue {
    type Target = Waiters<Contender>;

    fn deref(&self) -> &Waiters<Contender> {
        &self.waiters
    }
}
