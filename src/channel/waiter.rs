//! Who waits on a channel: nodes on parked stacks, in lists under the channel's locks.
//!
//! # Invariants
//!
//! 1. A node lies in the frame of the thread that waits. It is linked under the lock that guards its list, by the commit
//!    of the park; a thread that wakes for another reason than through this node takes that lock and unlinks it before it
//!    leaves the frame. So whoever finds a node in a list, under the lock, may use it, and its ticket.
//! 2. Whoever has won the ticket of a node holds a [`Claimed`]. The thread sleeps until that schedules it, whatever
//!    happens, so until then the node, and the place that it names, belong to the holder, with or without the lock.
//! 3. `place` names a `MaybeUninit<T>` for a direct node: the message of a sender, or room for a receiver's; for the
//!    node of a select it names the select's token. `T` is the channel's.

use std::cell::Cell;
use std::fmt;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr::{self, NonNull};

use crate::base::list::{Linked, Links, List};
use crate::channel::token::Token;
use crate::park::{Wait, WaitResult, notify, schedule, wait_in};
use crate::task::Ticket;
use crate::task::header::Wake;
use crate::task::wait::End;

/// What a node waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// To have its message passed on, or to be given one.
    Direct,
    /// To have this operation selected, of several.
    Select,
    /// To be told that the operation could be selected.
    Watch,
}

/// How a wait ended for this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Not through this node.
    None,
    /// The message was passed on; or the token is filled.
    Done,
    /// The other side is gone.
    Closed,
    /// Somebody was about to pass a message and did not: try again.
    Abandoned,
}

/// See the module's text.
pub(crate) struct Node {
    links: Links<Node>,
    ticket: Cell<Option<Ticket>>,
    role: Cell<Role>,
    outcome: Cell<Outcome>,
    place: Cell<*mut ()>,
    wake: Cell<Option<Wake>>,
}

// SAFETY: `links` is the node's own.
unsafe impl Linked for Node {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

impl Node {
    #[inline(always)]
    pub(crate) const fn new(role: Role, place: *mut ()) -> Self {
        Self {
            links: Links::new(),
            ticket: Cell::new(None),
            role: Cell::new(role),
            outcome: Cell::new(Outcome::None),
            place: Cell::new(place),
            wake: Cell::new(None),
        }
    }

    /// For the thread that waits, before the node is linked.
    #[inline(always)]
    pub(crate) fn set_ticket(&self, ticket: Ticket) {
        self.ticket.set(Some(ticket));
    }

    /// Makes the node fresh for another wait. It is not linked.
    pub(crate) fn reset(&self, role: Role, place: *mut ()) {
        self.role.set(role);
        self.place.set(place);
        self.outcome.set(Outcome::None);
        self.ticket.set(None);
    }

    #[inline(always)]
    pub(crate) fn role(&self) -> Role {
        self.role.get()
    }

    /// Ends the wait, if it is still on. A direct node is the only one of its thread, so it has the only ticket.
    ///
    /// # Safety
    ///
    /// The caller has just taken the node out of its list, and holds the lock, which the thread needs before it can leave
    /// its wait otherwise (invariant 1).
    #[inline(always)]
    unsafe fn end(&self) -> Option<Wake> {
        let ticket = self.ticket.get()?;
        if self.role.get() != Role::Direct {
            // SAFETY: as the caller promises.
            return unsafe { ticket.end(End::Notified) }; // KEY: select-exchange
        }
        // SAFETY: as above; it is the wait's only ticket.
        unsafe { notify(ticket) }
    }

    /// For the thread that has waited.
    #[inline(always)]
    pub(crate) fn outcome(&self) -> Outcome {
        self.outcome.get()
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("role", &self.role).field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

/// The nodes that wait on one side of a channel, first come first served. The channel's lock guards it.
#[derive(Debug)]
pub(crate) struct Waiters(List<Node>);

// SAFETY: the nodes are touched under the lock, or by their claimer (invariants 1 and 2); a ticket may be used from any
// thread.
unsafe impl Send for Waiters {}

impl Waiters {
    pub(crate) const fn new() -> Self {
        Self(List::new())
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// # Safety
    ///
    /// The caller keeps invariant 1 of the module.
    #[inline(always)]
    pub(crate) unsafe fn push(&self, node: &Node) {
        // SAFETY: as the caller promises; the node is not linked: it is fresh, or was taken out under the lock.
        unsafe { self.0.push_back(NonNull::from(node)) };
    }

    /// Takes a node back that may have been taken out by others.
    ///
    /// # Safety
    ///
    /// The node was linked in this list, or never in any.
    pub(crate) unsafe fn remove(&self, node: &Node) {
        if node.links.is_linked() {
            // SAFETY: it is linked, so here.
            unsafe { self.0.remove(NonNull::from(node)) };
        }
    }

    /// Takes the first thread, if its node is direct and its wait still on; `None` says nothing about the others.
    #[inline(always)]
    pub(crate) fn claim_direct(&self) -> Option<Claimed> {
        let node = self.0.front()?;
        // SAFETY: invariant 1, and the lock is held: this is a method of what the lock guards.
        let this = unsafe { node.as_ref() };
        if this.role.get() != Role::Direct {
            return None;
        }
        // SAFETY: it is the first of this list; then as above.
        let wake = unsafe {
            self.0.remove(node);
            this.end()?
        };
        Some(Claimed { node, wake: ManuallyDrop::new(wake) })
    }

    /// Ends the waits at the front of the list: those that only watch go to `wakes`; the first other one that could
    /// still be ended is the caller's. Nodes whose waits have ended already are dropped from the list.
    #[inline(always)]
    pub(crate) fn claim(&self, wakes: &mut Wakes) -> Option<Claimed> {
        while let Some(node) = self.0.pop_front() {
            // SAFETY: invariant 1, and the lock is held: this is a method of what the lock guards.
            let this = unsafe { node.as_ref() };
            // SAFETY: as above.
            let Some(wake) = (unsafe { this.end() }) else { continue };
            let claimed = Claimed { node, wake: ManuallyDrop::new(wake) };
            if this.role.get() != Role::Watch {
                return Some(claimed);
            }
            this.outcome.set(Outcome::Done);
            wakes.push(claimed);
        }
        None
    }

    /// Tells everybody that the other side is gone.
    pub(crate) fn close(&self, wakes: &mut Wakes) {
        while let Some(claimed) = self.claim(wakes) {
            claimed.set_closed();
            wakes.push(claimed);
        }
    }

    /// Does anybody wait who could be served, other than the thread of `but` itself? Those that watch do not count.
    pub(crate) fn has_any(&self, but: Option<Ticket>) -> bool {
        let mut next = self.0.front();
        while let Some(node) = next {
            // SAFETY: invariant 1, and the lock is held.
            let this = unsafe { node.as_ref() };
            if this.role.get() != Role::Watch && (but.is_none() || this.ticket.get() != but) {
                return true;
            }
            next = self.0.next_of(node);
        }
        false
    }

    /// Ends the waits of those that only watch, other than the thread of `but`.
    pub(crate) fn wake_watchers(&self, but: Ticket, wakes: &mut Wakes) {
        let mut next = self.0.front();
        while let Some(node) = next {
            next = self.0.next_of(node);
            // SAFETY: invariant 1, and the lock is held.
            let this = unsafe { node.as_ref() };
            let Some(ticket) = this.ticket.get().filter(|ticket| this.role.get() == Role::Watch && *ticket != but)
            else {
                continue;
            };
            // SAFETY: it is linked here; the thread cannot leave its wait before it has had the lock (invariant 1).
            if let Some(wake) = unsafe {
                self.0.remove(node);
                ticket.end(End::Notified)
            } {
                this.outcome.set(Outcome::Done);
                wakes.push(Claimed { node, wake: ManuallyDrop::new(wake) });
            }
        }
    }
}

/// A thread whose wait the holder has ended, and which sleeps until the holder lets it go (invariant 2). Dropped, it is
/// told to try again.
pub(crate) struct Claimed {
    node: NonNull<Node>,
    wake: ManuallyDrop<Wake>,
}

impl Claimed {
    /// The caller waits, in this very moment, and gives itself into somebody else's hands.
    ///
    /// # Safety
    ///
    /// Called in the commit of the park whose ticket the node has; the caller sleeps until it is scheduled.
    pub(crate) unsafe fn own(node: &Node) -> Option<Self> {
        // SAFETY: it is the caller's own header.
        let wake = unsafe { node.ticket.get()?.end(End::Notified)? };
        Some(Self { node: NonNull::from(node), wake: ManuallyDrop::new(wake) })
    }

    fn node(&self) -> &Node {
        // SAFETY: invariant 2.
        unsafe { self.node.as_ref() }
    }

    pub(crate) fn role(&self) -> Role {
        self.node().role.get()
    }

    /// Gives a message to a receiver.
    ///
    /// # Safety
    ///
    /// It is a receiver of a channel of `T`.
    #[inline(always)]
    pub(crate) unsafe fn give<T>(&self, message: T) {
        let node = self.node();
        node.outcome.set(Outcome::Done);
        match node.role.get() {
            // SAFETY: invariants 2 and 3.
            Role::Direct => unsafe { node.place.get().cast::<T>().write(message) },
            _ => self.set_token(Token::message(message)),
        }
    }

    /// Takes a sender's message.
    ///
    /// # Safety
    ///
    /// It is a sender of a channel of `T`, and direct.
    #[inline(always)]
    pub(crate) unsafe fn take<T>(&self) -> T {
        let node = self.node();
        debug_assert_eq!(node.role.get(), Role::Direct);
        node.outcome.set(Outcome::Done);
        // SAFETY: invariants 2 and 3; its thread finds the outcome `Done` and knows that the message is gone.
        unsafe { node.place.get().cast::<T>().read() }
    }

    /// Fills the token of a select.
    pub(crate) fn set_token(&self, token: Token) {
        let node = self.node();
        debug_assert_eq!(node.role.get(), Role::Select);
        node.outcome.set(Outcome::Done);
        // SAFETY: invariants 2 and 3; the token that is overwritten is `Empty`.
        unsafe { node.place.get().cast::<Token>().write(token) };
    }

    fn set_closed(&self) {
        if self.role() == Role::Select {
            self.set_token(Token::Closed);
        }
        self.node().outcome.set(Outcome::Closed);
    }

    /// Lets the thread go. The node is not touched any more.
    #[inline(always)]
    pub(crate) fn schedule(self) {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `self` is consumed without its drop, so the wake is taken once.
        schedule(unsafe { ManuallyDrop::take(&mut this.wake) });
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        self.node().outcome.set(Outcome::Abandoned);
        // SAFETY: the value goes, so the wake is taken once.
        unsafe { ManuallyDrop::take(&mut self.wake) }.schedule();
    }
}

impl fmt::Debug for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claimed").field("node", self.node()).finish_non_exhaustive()
    }
}

/// Threads to be let go when the locks are released, in order. Linked through their nodes: it allocates nothing.
///
/// It is declared before the guards of the locks, so that it is dropped after them.
pub(crate) struct Wakes(List<Node>);

impl Wakes {
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self(List::new())
    }

    pub(crate) fn push(&mut self, claimed: Claimed) {
        let mut claimed = ManuallyDrop::new(claimed);
        // SAFETY: the claim is consumed without its drop.
        let wake = unsafe { ManuallyDrop::take(&mut claimed.wake) };
        claimed.node().wake.set(Some(wake));
        // SAFETY: it was taken out of the channel's list when it was claimed, and stays until it is scheduled.
        unsafe { self.0.push_back(claimed.node) };
    }

    #[cold]
    #[inline(never)]
    fn schedule(&mut self) {
        while let Some(node) = self.0.pop_front() {
            // SAFETY: invariant 2.
            if let Some(wake) = unsafe { node.as_ref() }.wake.take() {
                wake.schedule();
            }
        }
    }
}

impl Drop for Wakes {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.0.is_empty() {
            self.schedule();
        }
    }
}

/// One wait of a sender. An error: the message, which nobody has taken, and how the wait ended for it.
///
/// # Safety
///
/// `register` links the node among the senders of a channel of `T`, if at all; `unregister` unlinks it there if it is linked.
#[inline]
pub(crate) unsafe fn offer<T>(
    wait: &mut Wait,
    message: T,
    register: impl FnOnce(&Node, Ticket) -> bool,
    unregister: impl FnOnce(&Node),
) -> Result<(), (Outcome, T)> {
    let mut kept = ManuallyDrop::new(message);
    let node = Node::new(Role::Direct, place(&mut kept));
    // What is raised drops the message.
    let mut back = None;
    let leave = || {
        unregister(&node);
        // SAFETY: nobody has taken it (invariant 2), and now nobody can; it is taken once, as `kept` is not used any more.
        back = Some(unsafe { node.place.get().cast::<T>().read() });
    };
    let _ = wait_in(wait, |ticket| register(&node, ticket), leave);
    match node.outcome() {
        Outcome::Done => Ok(()),
        outcome => Err((outcome, back.unwrap_or_else(|| ManuallyDrop::into_inner(kept)))),
    }
}

/// One wait of a receiver: the message that it was given.
///
/// # Safety
///
/// As [`offer`]; among the receivers.
#[inline(always)]
pub(crate) unsafe fn accept<T>(
    wait: &mut Wait,
    register: impl FnOnce(&Node, Ticket) -> bool,
    unregister: impl FnOnce(&Node),
) -> Option<T> {
    let mut message = MaybeUninit::<T>::uninit();
    let node = Node::new(Role::Direct, place(&mut message));
    let ended = wait_in(wait, |ticket| register(&node, ticket), || unregister(&node));
    // SAFETY: `Done` says that a message was given.
    (ended == WaitResult::Notified && node.outcome() == Outcome::Done).then(|| unsafe { message.assume_init() })
}

/// The address of a place, for a node.
#[inline(always)]
pub(crate) fn place<T>(place: &mut T) -> *mut () {
    ptr::from_mut(place).cast()
}
