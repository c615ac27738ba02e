//! What travels to an actor: boxes ([`Boxed`]), questions on their askers' stacks ([`ask`](super::ask)), and calls
//! ([`call`](super::call)). An [`Envelope`] is each. Its holder has the right, and the duty, to have it handled or refused.
//!
//! # Invariants
//!
//! Those of [`erased`](super::erased), and:
//!
//! 1. An envelope is run by an actor of the type that its route was made for: an address has both.
//! 2. No user code runs under the lock of a mailbox: messages are moved there, not dropped.

#![allow(unsafe_code)]

use std::any::TypeId;
use std::ptr::NonNull;
use std::sync::Arc;

use super::erased;
use super::owed::{Owed, Refusal};
use super::waiting::CapacityWaiter;
use crate::actor::{ActorId, Exit};
use crate::base::spin::LockRelease;
use crate::task::header::Wake;

pub(crate) type Node = erased::Node<Ops>;
pub(crate) type Envelope = erased::Erased<Ops>;
pub(crate) type Boxed<E> = erased::TypedBox<Ops, E>;
pub(crate) type Kind<E> = erased::Kind<Ops, E>;

/// Takes the envelope, the lock, and the actor and its context.
pub(crate) type RunFn = unsafe fn(Envelope, Held<'_>, *mut (), *mut ()) -> Result<(), Box<Exit>>;

/// What one kind of envelope can do.
pub(crate) struct Ops {
    /// Lets go of the lock, has the message handled, and answers. The last two are the actor and its context. `Err`: the
    /// actor has to end. Does not unwind.
    pub(crate) run: RunFn,
    pub(crate) form: Form,
    /// Which actors it is for.
    pub(crate) actor: fn() -> TypeId,
    /// It counts against the mailbox's capacity.
    pub(crate) is_counted: bool,
}

/// Gives the promise that the asker of the node waits for from now on.
type PutOff = unsafe fn(NonNull<Node>) -> (Arc<dyn Owed>, Option<Wake>);

/// What can be done with a message that is not handled.
pub(crate) enum Form {
    /// Not an ask.
    Box {
        /// Gives the message back, or counts it as a dead letter. Without the lock. Does not unwind.
        refuse: unsafe fn(Envelope, &Refused<'_>),
    },
    Ask {
        /// Gives the message back, under the lock.
        refuse: unsafe fn(Envelope, Refusal) -> Option<Wake>,
        /// The handler runs, under the lock: has the asker wait for a promise from now on.
        put_off: PutOff,
    },
}

/// Why a message is refused, and by which actor.
pub(crate) struct Refused<'a> {
    pub(crate) actor: ActorId,
    pub(crate) why: Refusal,
    /// Why that actor takes no more messages.
    pub(crate) exit: &'a dyn Fn() -> Exit,
}

/// The lock of the mailbox that an envelope was just taken out of; and the sender that has got the place, and is told so when the lock is
/// free.
pub(crate) struct Held<'a> {
    lock: LockRelease<'a>,
    waiter: Option<Arc<CapacityWaiter<Envelope>>>,
}

impl<'a> Held<'a> {
    #[inline]
    pub(super) fn new(lock: LockRelease<'a>, waiter: Option<Arc<CapacityWaiter<Envelope>>>) -> Self {
        Self { lock, waiter }
    }

    #[inline]
    pub(crate) fn release(self) {
        drop(self.lock);
        if let Some(waiter) = self.waiter {
            waiter.open();
        }
    }
}

impl Envelope {
    #[inline]
    pub(super) fn is_ask(&self) -> bool {
        matches!(self.ops().form, Form::Ask { .. })
    }

    /// Does it count against the mailbox's capacity?
    #[inline]
    pub(super) fn is_counted(&self) -> bool {
        self.ops().is_counted
    }

    /// Has the message handled, and answered. It was just taken out of the mailbox whose lock is held. `Err`: the actor has to end.
    /// Does not unwind.
    ///
    /// # Safety
    ///
    /// `me` is an actor of type `actor`, `ctx` its context, and nobody else uses them meanwhile.
    #[inline(always)]
    pub(crate) unsafe fn run<'a>(
        self,
        held: impl FnOnce() -> Held<'a>,
        actor: TypeId,
        me: *mut (),
        ctx: *mut (),
    ) -> Result<(), Box<Exit>> {
        let ops = self.ops();
        // What the types of addresses guarantee; were that wrong, another's state would be taken for this type.
        if (ops.actor)() != actor {
            crate::base::abort::fatal(format_args!("a message came to an actor of another type"));
        }
        // SAFETY: as the caller promises; invariant 1.
        unsafe { (ops.run)(self, held(), me, ctx) }
    }

    /// Refuses an ask. `Err`: it is a box, to be refused when the lock is free. Under the lock of the mailbox that it was in.
    pub(super) fn refuse_ask(self, why: Refusal) -> Result<Option<Wake>, Self> {
        match self.ops().form {
            // SAFETY: it is its own operation, and the lock is held.
            Form::Ask { refuse, .. } => Ok(unsafe { refuse(self, why) }),
            Form::Box { .. } => Err(self),
        }
    }

    /// Refuses a box. Without the lock.
    pub(super) fn refuse_box(self, refused: &Refused<'_>) {
        match self.ops().form {
            // SAFETY: it is its own operation.
            Form::Box { refuse } => unsafe { refuse(self, refused) },
            Form::Ask { .. } => unreachable!("an ask is refused under the lock"),
        }
    }
}

/// What a box carries.
pub(crate) trait Payload: Send + Sized + 'static {
    /// Gives the message back, or counts it as a dead letter. Does not unwind.
    fn refuse(self, refused: &Refused<'_>);
}

/// Boxes with an `E`, which `run` has handled by actors of one type. `is_counted`: against the mailbox's capacity.
pub(crate) const fn boxes<E: Payload>(run: RunFn, actor: fn() -> TypeId, is_counted: bool) -> Kind<E> {
    Kind::boxed(Ops { run, form: Form::Box { refuse: refuse_box::<E> }, actor, is_counted })
}

/// # Safety
///
/// It is a box with an `E`.
unsafe fn refuse_box<E: Payload>(envelope: Envelope, refused: &Refused<'_>) {
    // SAFETY: as the caller promises.
    unsafe { envelope.open::<E>() }.refuse(refused);
}
