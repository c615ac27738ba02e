//! Threads that wait in line: nodes in their own frames, first come first served, and those that a waker has taken out. The
//! locks, the channels and [`queue`](super::queue) are made of it; what passes from waker to thread is their payload.
//!
//! # Invariants
//!
//! 1. A node lies in the frame of the thread that waits. It is linked under the lock that guards its list, by the commit of the
//!    park; a thread that wakes for another reason than through this node takes that lock and unlinks it before it leaves the
//!    frame. So a thread that finds a node in a list, under the lock, may use it, and its ticket.
//! 2. The thread that has won the ticket of a node holds a [`Claimed`], or has put it into a [`WakeList`]. The thread sleeps until
//!    that schedules it, whatever happens; so until then the node, and what its payload names, belong to the holder, with or
//!    without the lock.
//! 3. Nobody parks, and no user code runs, while the lock is held.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use crate::base::list::{Linked, Links, List};
use crate::park::{notify, schedule};
use crate::task::Ticket;
use crate::task::header::Wake;
use crate::task::wait::End;

/// What a node says to the thread that takes it out, and what that says to the node's thread.
pub(crate) trait WaitPayload {
    /// Is this node the only one that has its wait's ticket?
    #[inline(always)]
    fn has_only_ticket(&self) -> bool {
        true
    }

    /// The thread has been claimed, and is let go with nothing.
    #[inline(always)]
    fn abandon(&self) {}
}

impl WaitPayload for () {}
impl WaitPayload for u32 {}

/// One thread that waits.
pub(crate) struct WaitNode<P> {
    links: Links<WaitNode<P>>,
    ticket: Cell<Option<Ticket>>,
    /// Used by a [`WakeList`].
    wake: Cell<Option<Wake>>,
    pub(crate) payload: P,
}

// SAFETY: `links` is the node's own.
unsafe impl<P> Linked for WaitNode<P> {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

impl<P> WaitNode<P> {
    #[inline(always)]
    pub(crate) const fn with(payload: P) -> Self {
        Self { links: Links::new(), ticket: Cell::new(None), wake: Cell::new(None), payload }
    }

    /// Does the node stand for the wait of `ticket`?
    pub(crate) fn is_of(&self, ticket: Ticket) -> bool {
        self.ticket.get() == Some(ticket)
    }
}

impl<P: WaitPayload> WaitNode<P> {
    /// Ends the wait, if it is still on.
    ///
    /// # Safety
    ///
    /// The caller has just taken the node out of its list, and holds the lock, which the thread needs before it can leave
    /// its wait otherwise (invariant 1).
    #[inline(always)]
    unsafe fn end(&self) -> Option<Wake> {
        let ticket = self.ticket.get()?;
        if !self.payload.has_only_ticket() {
            // SAFETY: as the caller promises.
            return unsafe { ticket.end(End::Notified) }; // KEY: select-exchange
        }
        // SAFETY: as above; it is the wait's only ticket.
        unsafe { notify(ticket) }
    }
}

/// The line. A lock guards it, the "lock" of the invariants.
#[derive(Debug)]
pub(crate) struct Waiters<P>(List<WaitNode<P>>);

// SAFETY: the nodes are touched under the lock, or by their claimer (invariants 1 and 2); a ticket may be used from any
// thread, and so may a payload that is `Send`.
unsafe impl<P: Send> Send for Waiters<P> {}

impl<P> Waiters<P> {
    pub(crate) const fn new() -> Self {
        Self(List::new())
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the first node says.
    #[inline(always)]
    pub(crate) fn first(&self) -> Option<&P> {
        // SAFETY: invariant 1; the lock is held as long as the list is borrowed, and a thread that takes the node out borrows it.
        self.0.front().map(|node| unsafe { &(*node.as_ptr()).payload })
    }

    /// Puts a thread at the end.
    ///
    /// # Safety
    ///
    /// The node's frame keeps invariant 1; the node is in no list. `ticket` is of a wait that has begun.
    #[inline(always)]
    pub(crate) unsafe fn push_back(&self, node: &WaitNode<P>, ticket: Ticket) {
        node.ticket.set(Some(ticket));
        // SAFETY: as the caller promises.
        unsafe { self.0.push_back(NonNull::from(node)) };
    }

    /// Puts a thread at the front, because it has been there before.
    ///
    /// # Safety
    ///
    /// As [`push_back`](Self::push_back).
    pub(crate) unsafe fn push_front(&self, node: &WaitNode<P>, ticket: Ticket) {
        node.ticket.set(Some(ticket));
        // SAFETY: as the caller promises.
        unsafe { self.0.push_front(NonNull::from(node)) };
    }

    /// Takes a thread out whose wait something else has ended, unless others have.
    ///
    /// # Safety
    ///
    /// The node was linked in this list, or never in any.
    pub(crate) unsafe fn remove(&self, node: &WaitNode<P>) {
        if node.links.is_linked() {
            // SAFETY: it is linked, so here.
            unsafe { self.0.remove(NonNull::from(node)) };
        }
    }

    /// Is there one of which `is` holds?
    pub(crate) fn any(&self, is: impl Fn(&WaitNode<P>) -> bool) -> bool {
        let mut next = self.0.front();
        while let Some(node) = next {
            // SAFETY: invariant 1, and the lock is held.
            if is(unsafe { node.as_ref() }) {
                return true;
            }
            next = self.0.next_of(node);
        }
        false
    }
}

impl<P: WaitPayload> Waiters<P> {
    /// Takes the first thread out and ends its wait. `None`: there is none, or it has left its wait by another way; that says
    /// nothing about the others.
    #[inline(always)]
    pub(crate) fn claim_next(&self) -> Option<Claimed<P>> {
        let node = self.0.pop_front()?;
        // SAFETY: invariant 1: it was in the list, and the lock is held: this is a method of what the lock guards.
        unsafe { Claimed::new(node) }
    }

    /// Takes the first thread out whose wait is still on, and ends that.
    #[inline(always)]
    pub(crate) fn claim_first(&self) -> Option<Claimed<P>> {
        while !self.is_empty() {
            if let Some(claimed) = self.claim_next() {
                return Some(claimed);
            }
        }
        None
    }

    /// Ends the waits of all.
    pub(crate) fn claim_all(&self, wakes: &mut WakeList<P>) {
        while let Some(claimed) = self.claim_first() {
            wakes.push(claimed);
        }
    }

    /// Ends the waits of those of which `is` holds, and gives each to `claim`.
    pub(crate) fn claim_those(&self, is: impl Fn(&WaitNode<P>) -> bool, mut claim: impl FnMut(Claimed<P>)) {
        let all = |claimed| {
            claim(claimed);
            true
        };
        self.claim_while(is, all);
    }

    /// The same, as long as `claim` wants more.
    #[inline]
    pub(crate) fn claim_while(&self, is: impl Fn(&WaitNode<P>) -> bool, mut claim: impl FnMut(Claimed<P>) -> bool) {
        let mut next = self.0.front();
        while let Some(node) = next {
            next = self.0.next_of(node);
            // SAFETY: invariant 1, and the lock is held.
            if is(unsafe { node.as_ref() }) {
                // SAFETY: it is linked here; then as in `claim_next`.
                let claimed = unsafe {
                    self.0.remove(node);
                    Claimed::new(node)
                };
                if claimed.is_some_and(|claimed| !claim(claimed)) {
                    return;
                }
            }
        }
    }
}

/// A thread whose wait the holder has ended, and which sleeps until the holder lets it go (invariant 2). Dropped, it is let go
/// with nothing.
pub(crate) struct Claimed<P: WaitPayload> {
    node: NonNull<WaitNode<P>>,
    wake: ManuallyDrop<Wake>,
}

impl<P: WaitPayload> Claimed<P> {
    /// # Safety
    ///
    /// As [`WaitNode::end`].
    #[inline(always)]
    unsafe fn new(node: NonNull<WaitNode<P>>) -> Option<Self> {
        // SAFETY: as the caller promises.
        let wake = unsafe { node.as_ref().end()? };
        Some(Self { node, wake: ManuallyDrop::new(wake) })
    }

    /// The caller waits, in this very moment, and gives itself into somebody else's hands.
    ///
    /// # Safety
    ///
    /// Called in the commit of the park whose ticket this is; the caller sleeps until it is scheduled.
    pub(crate) unsafe fn own(node: &WaitNode<P>, ticket: Ticket) -> Option<Self> {
        // SAFETY: it is the caller's own header.
        let wake = unsafe { ticket.end(End::Notified)? };
        Some(Self { node: NonNull::from(node), wake: ManuallyDrop::new(wake) })
    }

    #[inline(always)]
    pub(crate) fn payload(&self) -> &P {
        // SAFETY: invariant 2.
        unsafe { &(*self.node.as_ptr()).payload }
    }

    /// Lets the thread go. The node is not touched any more.
    #[inline(always)]
    pub(crate) fn schedule(self) {
        schedule(self.into_wake());
    }

    #[inline(always)]
    fn into_wake(self) -> Wake {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `self` is consumed without its drop, so the wake is taken once.
        unsafe { ManuallyDrop::take(&mut this.wake) }
    }
}

impl<P: WaitPayload> Drop for Claimed<P> {
    fn drop(&mut self) {
        self.payload().abandon();
        // SAFETY: the value goes, so the wake is taken once.
        unsafe { ManuallyDrop::take(&mut self.wake) }.schedule();
    }
}

/// Threads to be let go when the locks are released, in order. Linked through their nodes: it allocates nothing.
///
/// It is declared before the guards of the locks, so that it is dropped after them: that lets the threads go.
pub(crate) struct WakeList<P>(List<WaitNode<P>>);

impl<P> WakeList<P> {
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self(List::new())
    }

    #[cold]
    #[inline(never)]
    fn schedule(&mut self) {
        while let Some(node) = self.0.pop_front() {
            // SAFETY: invariant 2: the thread is not scheduled yet; after this the node is not touched.
            if let Some(wake) = unsafe { node.as_ref() }.wake.take() {
                schedule(wake);
            }
        }
    }
}

impl<P: WaitPayload> WakeList<P> {
    pub(crate) fn push(&mut self, claimed: Claimed<P>) {
        let node = claimed.node;
        let wake = claimed.into_wake();
        // SAFETY: invariant 2: it was taken out of its list when it was claimed, and stays until it is scheduled.
        unsafe {
            node.as_ref().wake.set(Some(wake));
            self.0.push_back(node);
        }
    }
}

impl<P> Drop for WakeList<P> {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.0.is_empty() {
            self.schedule();
        }
    }
}
