//! The waiters of a channel: nodes on parked stacks, in lists under the channel's locks.
//!
//! The lists keep the invariants of [`waiters`](crate::park::waiters); what a claimed node's `place` names belongs to its claimer.
//!
//! # Invariants
//!
//! 1. `place` names a `MaybeUninit<T>` for a direct node: the message of a sender, or room for a receiver's; for the
//!    node of a select it names the select's [`Selected`]. `T` is the channel's.

use std::cell::Cell;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr;

use crate::channel::selected::Selected;
use crate::park::waiters::{Claimed, WaitNode, WaitPayload, Waiters, WakeList};
use crate::park::{Wait, WaitResult, wait_in};
use crate::task::Ticket;

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
    /// The message was passed on; or the select has got something.
    Done,
    /// The other side is gone.
    Closed,
    /// Somebody was about to pass a message and did not: try again.
    Abandoned,
}

/// What passes between the thread of a node and its claimer.
#[derive(Debug)]
pub(crate) struct Handover {
    role: Cell<Role>,
    outcome: Cell<Outcome>,
    place: Cell<*mut ()>,
}

// SAFETY: what `place` names is of the channel's own `T`, or a select's; the channel is `Send` if that is.
unsafe impl Send for Handover {}

impl WaitPayload for Handover {
    /// A direct node is the only one of its thread.
    #[inline(always)]
    fn has_only_ticket(&self) -> bool {
        self.role.get() == Role::Direct
    }

    fn abandon(&self) {
        self.outcome.set(Outcome::Abandoned);
    }
}

/// One thread that waits for one operation.
pub(crate) type ChannelWaiter = WaitNode<Handover>;

impl WaitNode<Handover> {
    #[inline(always)]
    pub(crate) const fn new(role: Role, place: *mut ()) -> Self {
        Self::with(Handover { role: Cell::new(role), outcome: Cell::new(Outcome::None), place: Cell::new(place) })
    }

    /// Makes the node fresh for another wait. It is not linked.
    pub(crate) fn reset(&self, role: Role, place: *mut ()) {
        self.payload.role.set(role);
        self.payload.place.set(place);
        self.payload.outcome.set(Outcome::None);
    }

    #[inline(always)]
    pub(crate) fn role(&self) -> Role {
        self.payload.role.get()
    }

    /// For the thread that has waited.
    #[inline(always)]
    pub(crate) fn outcome(&self) -> Outcome {
        self.payload.outcome.get()
    }
}

impl Waiters<Handover> {
    /// Takes the first thread, if its node is direct and its wait still on; `None` says nothing about the others.
    #[inline(always)]
    pub(crate) fn claim_direct(&self) -> Option<Claimed<Handover>> {
        if self.first()?.role.get() == Role::Direct { self.claim_next() } else { None }
    }

    /// Ends the waits at the front of the list: those that only watch go to `wakes`; the first other one that could
    /// still be ended is the caller's. Nodes whose waits have ended already are dropped from the list.
    #[inline(always)]
    pub(crate) fn claim(&self, wakes: &mut WakeList<Handover>) -> Option<Claimed<Handover>> {
        while let Some(claimed) = self.claim_first() {
            if claimed.role() != Role::Watch {
                return Some(claimed);
            }
            claimed.payload().outcome.set(Outcome::Done);
            wakes.push(claimed);
        }
        None
    }

    /// Tells everybody that the other side is gone.
    pub(crate) fn close(&self, wakes: &mut WakeList<Handover>) {
        while let Some(claimed) = self.claim(wakes) {
            if claimed.role() == Role::Select {
                claimed.select(Selected::Closed);
            }
            claimed.payload().outcome.set(Outcome::Closed);
            wakes.push(claimed);
        }
    }

    /// Does a thread wait that could be served, other than the thread of `but` itself? Those that watch do not count.
    pub(crate) fn has_any(&self, but: Option<Ticket>) -> bool {
        self.any(|node| node.role() != Role::Watch && !but.is_some_and(|but| node.is_of(but)))
    }

    /// Ends the waits of those that only watch, other than the thread of `but`.
    pub(crate) fn wake_watchers(&self, but: Ticket, wakes: &mut WakeList<Handover>) {
        self.claim_those(
            |node| node.role() == Role::Watch && !node.is_of(but),
            |claimed| {
                claimed.payload().outcome.set(Outcome::Done);
                wakes.push(claimed);
            },
        );
    }
}

impl Claimed<Handover> {
    #[inline(always)]
    pub(crate) fn role(&self) -> Role {
        self.payload().role.get()
    }

    /// Gives a message to a receiver.
    ///
    /// # Safety
    ///
    /// It is a receiver of a channel of `T`.
    #[inline(always)]
    pub(crate) unsafe fn give<T>(&self, message: T) {
        let handover = self.payload();
        handover.outcome.set(Outcome::Done);
        match handover.role.get() {
            // SAFETY: invariant 1; the place is the claimer's.
            Role::Direct => unsafe { handover.place.get().cast::<T>().write(message) },
            _ => self.select(Selected::message(message)),
        }
    }

    /// Takes a sender's message.
    ///
    /// # Safety
    ///
    /// It is a sender of a channel of `T`, and direct.
    #[inline(always)]
    pub(crate) unsafe fn take<T>(&self) -> T {
        let handover = self.payload();
        debug_assert_eq!(handover.role.get(), Role::Direct);
        handover.outcome.set(Outcome::Done);
        // SAFETY: invariant 1, and the place is the claimer's; its thread finds the outcome `Done` and knows that the message is
        // gone.
        unsafe { handover.place.get().cast::<T>().read() }
    }

    /// Tells a select what it has got.
    pub(crate) fn select(&self, selected: Selected) {
        let handover = self.payload();
        debug_assert_eq!(handover.role.get(), Role::Select);
        handover.outcome.set(Outcome::Done);
        // SAFETY: invariant 1, and the place is the claimer's; what is overwritten is `Empty`.
        unsafe { handover.place.get().cast::<Selected>().write(selected) };
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
    register: impl FnOnce(&ChannelWaiter, Ticket) -> bool,
    unregister: impl FnOnce(&ChannelWaiter),
) -> Result<(), (Outcome, T)> {
    let mut kept = ManuallyDrop::new(message);
    let node = ChannelWaiter::new(Role::Direct, place(&mut kept));
    // What is raised drops the message.
    let mut back = None;
    let leave = || {
        unregister(&node);
        // SAFETY: nobody has claimed the node, and now nobody can; it is taken once, as `kept` is not used any more.
        back = Some(unsafe { node.payload.place.get().cast::<T>().read() });
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
    register: impl FnOnce(&ChannelWaiter, Ticket) -> bool,
    unregister: impl FnOnce(&ChannelWaiter),
) -> Option<T> {
    let mut message = MaybeUninit::<T>::uninit();
    let node = ChannelWaiter::new(Role::Direct, place(&mut message));
    let ended = wait_in(wait, |ticket| register(&node, ticket), || unregister(&node));
    // SAFETY: `Done` says that a message was given.
    (ended == WaitResult::Notified && node.outcome() == Outcome::Done).then(|| unsafe { message.assume_init() })
}

/// The address of a place, for a node.
#[inline(always)]
pub(crate) fn place<T>(place: &mut T) -> *mut () {
    ptr::from_mut(place).cast()
}
