//! The threads that wait for a lock: nodes on their own stacks, linked in the order in which they came.
//!
//! # Invariants
//!
//! 1. A node lies on the stack of the thread that waits, and is linked only while its ticket's wait is on or until the
//!    thread has had the queue's lock: a thread whose wait is not ended by `Notified` takes the lock and looks
//!    ([`leave`](Waiters::leave)) before it leaves the frame. So whoever finds a node in the list, under the lock, may
//!    use it.
//! 2. A node is touched under the lock, or by a waker that has won its ticket and not yet scheduled the thread.
//! 3. Nobody parks, and no user code runs, while the lock is held.

use std::cell::Cell;
use std::ptr::NonNull;

use crate::base::list::{Linked, Links, List};
use crate::park::{notify, schedule};
use crate::task::Ticket;
use crate::task::header::Wake;

/// One thread that waits. `kind` is for the lock's own use: reader or writer, or the number of permits.
pub(crate) struct Node {
    links: Links<Node>,
    ticket: Cell<Option<Ticket>>,
    wake: Cell<Option<Wake>>,
    pub(crate) kind: u32,
    /// The waker has given the thread what it waits for; without, it only has to look again.
    pub(crate) given: Cell<bool>,
}

// SAFETY: `links` is the node's own.
unsafe impl Linked for Node {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

impl Node {
    pub(crate) fn new(kind: u32) -> Self {
        let (ticket, wake, given) = (Cell::new(None), Cell::new(None), Cell::new(false));
        Self { links: Links::new(), ticket, wake, kind, given }
    }
}

/// The queue. It lies inside a `base::lock::Lock`, the "lock" of the invariants.
pub(crate) struct Waiters {
    list: List<Node>,
    /// How often in a row an unlock has found the lock taken again when it came to wake the first one.
    overtaken: u8,
}

/// So often the first waiter is overtaken before it is promised the lock.
const PATIENCE: u8 = 16;

// SAFETY: the raw links are touched only as invariant 2 says; a ticket may be used from any thread.
unsafe impl Send for Waiters {}

impl Waiters {
    pub(crate) const fn new() -> Self {
        Self { list: List::new(), overtaken: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// An unlock has come to wake the first waiter and has found the lock taken again. True: that was once too often.
    pub(crate) fn is_out_of_patience(&mut self) -> bool {
        self.overtaken = if self.overtaken == PATIENCE { 0 } else { self.overtaken + 1 };
        self.overtaken == PATIENCE
    }

    /// The kind of the first node.
    pub(crate) fn first_kind(&self) -> Option<u32> {
        // SAFETY: invariant 1.
        self.list.front().map(|node| unsafe { node.as_ref() }.kind)
    }

    /// Puts a thread at the end, or at the front (`first`: it has been there before).
    ///
    /// # Safety
    ///
    /// The node's frame keeps to invariant 1; the node is in no queue. `ticket` is of a wait that has begun.
    pub(crate) unsafe fn enter(&mut self, node: &Node, ticket: Ticket, first: bool) {
        node.ticket.set(Some(ticket));
        node.given.set(false);
        let node = NonNull::from(node);
        // SAFETY: the caller's promise.
        unsafe { if first { self.list.push_front(node) } else { self.list.push_back(node) } }
    }

    /// Takes a thread out whose wait something else has ended. False: it is not in the queue any more.
    ///
    /// # Safety
    ///
    /// The node is in this queue or in none.
    pub(crate) unsafe fn leave(&mut self, node: &Node) -> bool {
        let linked = node.links.is_linked();
        if linked {
            // SAFETY: the caller's promise.
            unsafe { self.list.remove(NonNull::from(node)) };
        }
        linked
    }

    /// Takes the first thread out and ends its wait; `given`: with what it waited for. Threads that have left their wait
    /// by another way are dropped on the way. The caller owes it a `schedule`, outside the lock.
    pub(crate) fn wake_first(&mut self, given: bool) -> Option<Wake> {
        while let Some(node) = self.list.pop_front() {
            if let Some(wake) = Self::end(node, given) {
                self.overtaken = 0;
                return Some(wake);
            }
        }
        None
    }

    fn end(node: NonNull<Node>, given: bool) -> Option<Wake> {
        // SAFETY: invariant 1: it was in the list, and the lock is held.
        let node = unsafe { node.as_ref() };
        node.given.set(given);
        let ticket = node.ticket.take()?;
        // SAFETY: the thread needs the lock before it can leave its wait otherwise; the node has its only ticket.
        unsafe { notify(ticket) }
    }

    /// Moves the first thread from the queue to `woken`, its wait ended. False: it had left its wait by another way.
    pub(crate) fn wake_first_into(&mut self, woken: &Woken, given: bool) -> bool {
        let Some(node) = self.list.pop_front() else { return false };
        let Some(wake) = Self::end(node, given) else { return false };
        // SAFETY: invariant 2: its wait is won and it is not scheduled, so the node stays; it is in no list now.
        unsafe {
            node.as_ref().wake.set(Some(wake));
            woken.list.push_back(node);
        }
        true
    }
}

/// Threads whose waits have been won, to be scheduled when the lock is let go. It uses their nodes' own links, so it
/// needs no memory.
pub(crate) struct Woken {
    list: List<Node>,
}

impl Woken {
    pub(crate) fn new() -> Self {
        Self { list: List::new() }
    }

    pub(crate) fn schedule(self) {
        while let Some(node) = self.list.pop_front() {
            // SAFETY: invariant 2: the thread is not scheduled yet; after the next line the node is not touched.
            let wake = unsafe { node.as_ref() }.wake.take();
            if let Some(wake) = wake {
                schedule(wake);
            }
        }
    }
}
