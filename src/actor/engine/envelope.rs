//! What travels to an actor: boxes ([`Boxed`]), questions on their askers' stacks ([`ask`](super::ask)), and calls
//! ([`call`](super::call)). An [`Envelope`] is each, as one thin pointer without the type of the message. Its holder has the right, and the
//! duty, to have it handled or refused.
//!
//! A block begins with a [`Node`], which links it into a list without another allocation, and says by its table what the rest is. Mostly
//! the block is a box ([`Boxed`], when its content is still known); it may also lie elsewhere, pinned, and the envelope is the right to it.
//!
//! # Invariants
//!
//! 1. An envelope is run by an actor of the type that its route was made for: an address has both.
//! 2. No user code runs under the lock of a mailbox: messages are moved there, not dropped.
//! 3. A node is the first field of a `repr(C)` block, whose type its table was made for, and every pointer to it was made from
//!    one to the whole.
//! 4. There is one envelope of a block at a time. Its holder owns the block, or may use it as the block's owner has promised.
//!    An [`OwningList`](crate::base::list::OwningList) holds the envelopes that are linked in it.

#![allow(unsafe_code)]

use std::alloc::{Layout, handle_alloc_error};
use std::any::TypeId;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;

use super::owed::{Owed, Refusal};
use super::waiting::CapacityWaiter;
use crate::actor::{ActorId, Exit};
use crate::base::list::{Linked, Links, Owner};
use crate::base::spin::LockRelease;
use crate::task::header::Wake;
use crate::task::pool;

/// How a handler or a hook ends. `Err`: the actor has to end, too.
pub(crate) type GoesOn = Result<(), Box<Exit>>;

/// Takes the envelope, the lock, and the actor and its context.
pub(crate) type RunFn = unsafe fn(Envelope, Held<'_>, *mut (), *mut ()) -> GoesOn;

/// What one kind of envelope can do.
pub(crate) struct Ops {
    /// Lets go of the lock, has the message handled, and answers. The last two are the actor and its context. `Err`: the
    /// actor has to end. Does not unwind.
    pub(crate) run: RunFn,
    pub(crate) form: Form,
    /// Which actors it is for.
    pub(crate) actor: TypeId,
    /// It counts against the mailbox's capacity.
    pub(crate) is_counted: bool,
    /// The message is in the ordinary queue now, under the lock: nobody will let it in any more. Who waits for the answer is told.
    harden: unsafe fn(NonNull<Node>),
    /// The envelope is dropped: with its box, or with its share of a block. Of a pinned block nothing is.
    pub(crate) discard: unsafe fn(NonNull<Node>),
    content: TypeId,
}

/// The operations of blocks with an `E`.
pub(crate) struct EnvelopeKind<E> {
    ops: Ops,
    _content: PhantomData<fn(E) -> E>,
}

impl<E: 'static> EnvelopeKind<E> {
    pub(super) const fn new(
        run: RunFn,
        form: Form,
        actor: TypeId,
        is_counted: bool,
        harden: unsafe fn(NonNull<Node>),
        discard: unsafe fn(NonNull<Node>),
    ) -> Self {
        let content = TypeId::of::<E>();
        Self { ops: Ops { run, form, actor, is_counted, harden, discard, content }, _content: PhantomData }
    }
}

/// What every block begins with.
pub(crate) struct Node {
    links: Links<Node>,
    ops: &'static Ops,
}

impl Node {
    #[inline]
    pub(crate) fn new<E>(kind: &'static EnvelopeKind<E>) -> Self {
        Self { links: Links::new(), ops: &kind.ops }
    }

    #[inline]
    pub(crate) fn is_linked(&self) -> bool {
        self.links.is_linked()
    }

    #[inline]
    pub(crate) fn ops(&self) -> &'static Ops {
        self.ops
    }
}

// SAFETY: the links are a field of the node, and only lists change them.
unsafe impl Linked for Node {
    #[inline]
    fn links(&self) -> &Links<Self> {
        &self.links
    }
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

/// Why a message is refused.
pub(crate) struct Refused<'a> {
    pub(crate) why: Refusal,
    pub(crate) by: ActorId,
    /// It has counted against the mailbox's capacity.
    pub(crate) is_counted: bool,
    /// Why that actor takes no more messages.
    pub(crate) exit: &'a dyn Fn() -> Exit,
    /// Counts a dead letter, by the type of its message, and whether it is a note of an actor to itself.
    pub(crate) lose: &'a dyn Fn(&'static str, bool),
}

/// The lock of the mailbox that an envelope was just taken out of; and the sender that has got the place, and is told so when the lock is
/// free.
pub(crate) struct Held<'a> {
    pub(super) lock: LockRelease<'a>,
    pub(super) waiter: Option<Arc<CapacityWaiter<Envelope>>>,
}

impl Held<'_> {
    #[inline]
    pub(crate) fn release(self) {
        drop(self.lock);
        if let Some(waiter) = self.waiter {
            waiter.open();
        }
    }
}

/// See the module's text. Dropped, it drops its box.
#[must_use]
pub(crate) struct Envelope(NonNull<Node>);

// SAFETY: what is in a box is `Send`, and the caller that makes an envelope of a pinned block promises as much.
unsafe impl Send for Envelope {}

// SAFETY: boxes stay where they are, and what is pinned does, too.
unsafe impl Owner for Envelope {
    type Node = Node;

    #[inline]
    fn into_node(self) -> NonNull<Node> {
        ManuallyDrop::new(self).0
    }

    #[inline]
    unsafe fn from_node(node: NonNull<Node>) -> Self {
        Self(node)
    }
}

impl Envelope {
    /// The envelope of a pinned block.
    ///
    /// # Safety
    ///
    /// Invariants 3 and 4; the block may be used from any thread, and stays where it is as long as there is the envelope.
    #[inline]
    pub(crate) unsafe fn pinned(node: NonNull<Node>) -> Self {
        Self(node)
    }

    #[inline]
    fn ops(&self) -> &'static Ops {
        // SAFETY: invariant 4.
        unsafe { self.0.as_ref() }.ops
    }

    /// Is it the envelope of that block?
    pub(crate) fn is(&self, node: NonNull<Node>) -> bool {
        self.0 == node
    }

    /// # Safety
    ///
    /// It is a box with an `E`.
    #[inline]
    pub(crate) unsafe fn boxed<E>(self) -> Boxed<E> {
        Boxed { envelope: self, _content: PhantomData }
    }

    /// # Safety
    ///
    /// It is a box with an `E`.
    #[inline]
    pub(crate) unsafe fn open<E>(self) -> E {
        // SAFETY: as the caller promises; invariant 3.
        unsafe {
            let block = self.into_node().cast::<BoxBlock<E>>();
            let content = (&raw const (*block.as_ptr()).content).read();
            pool::free(block);
            content
        }
    }
}

impl Drop for Envelope {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: invariants 3 and 4.
        unsafe { (self.ops().discard)(self.0) }
    }
}

impl AsRef<Envelope> for Envelope {
    #[inline]
    fn as_ref(&self) -> &Self {
        self
    }
}

#[repr(C)]
struct BoxBlock<E> {
    node: Node,
    content: E,
}

/// # Safety
///
/// As [`Envelope::open`].
unsafe fn discard<E>(node: NonNull<Node>) {
    // SAFETY: as the caller promises.
    drop(unsafe { Envelope(node).open::<E>() });
}

/// The envelope of a box whose content is known.
#[must_use]
pub(crate) struct Boxed<E> {
    envelope: Envelope,
    _content: PhantomData<E>,
}

impl<E: Send + 'static> Boxed<E> {
    #[inline]
    pub(crate) fn new(kind: &'static EnvelopeKind<E>, content: E) -> Self {
        let block = pool::allocate::<BoxBlock<E>>().unwrap_or_else(|| handle_alloc_error(Layout::new::<BoxBlock<E>>()));
        let place = block.as_ptr();
        // SAFETY: fresh memory for this type. Field by field: a large content is moved straight into it.
        unsafe {
            (&raw mut (*place).content).write(content);
            (&raw mut (*place).node).write(Node::new(kind));
        }
        Self { envelope: Envelope(block.cast()), _content: PhantomData }
    }

    /// As [`new`](Self::new), of what `fill` writes where it is going to be: so a large part of it is moved once.
    ///
    /// # Safety
    ///
    /// `fill` writes all of it, and does not unwind.
    #[inline(always)]
    pub(crate) unsafe fn filled(kind: &'static EnvelopeKind<E>, fill: impl FnOnce(*mut E)) -> Self {
        let block = pool::allocate::<BoxBlock<E>>().unwrap_or_else(|| handle_alloc_error(Layout::new::<BoxBlock<E>>()));
        let place = block.as_ptr();
        // SAFETY: fresh memory for this type; as the caller promises.
        unsafe {
            fill(&raw mut (*place).content);
            (&raw mut (*place).node).write(Node::new(kind));
        }
        Self { envelope: Envelope(block.cast()), _content: PhantomData }
    }

    /// What is in the box, where it is.
    #[inline]
    pub(crate) fn content(&mut self) -> &mut E {
        // SAFETY: `new` and `of` have made it of such a box; invariants 3 and 4, and `self` is borrowed as long.
        unsafe { &mut (*self.envelope.0.cast::<BoxBlock<E>>().as_ptr()).content }
    }

    #[inline]
    pub(crate) fn open(self) -> E {
        // SAFETY: `new` and `of` have made it of such a box.
        unsafe { self.envelope.open() }
    }

    /// # Panics
    ///
    /// If it is no box with an `E`.
    pub(crate) fn of(envelope: Envelope) -> Self {
        assert_eq!(envelope.ops().content, TypeId::of::<E>(), "an envelope with another content");
        Self { envelope, _content: PhantomData }
    }
}

impl<E> AsRef<Envelope> for Boxed<E> {
    fn as_ref(&self) -> &Envelope {
        &self.envelope
    }
}

impl<E> From<Boxed<E>> for Envelope {
    #[inline]
    fn from(boxed: Boxed<E>) -> Self {
        boxed.envelope
    }
}

impl Envelope {
    #[inline]
    pub(crate) fn is_ask(&self) -> bool {
        matches!(self.ops().form, Form::Ask { .. })
    }

    /// Does it count against the mailbox's capacity?
    #[inline]
    pub(super) fn is_counted(&self) -> bool {
        self.ops().is_counted
    }

    /// The message was let in, and goes into the ordinary queue: nobody will let it in any more. Under the lock of the mailbox.
    pub(super) fn harden(&self) {
        // SAFETY: it is its own operation, and the lock is held.
        unsafe { (self.ops().harden)(self.0) }
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
    ) -> GoesOn {
        let ops = self.ops();
        // What the types of addresses guarantee; were that wrong, another's state would be taken for this type.
        if ops.actor != actor {
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

    /// The message was let in, and queues: says so to the one that waits for the answer, if there is one. Under the lock of the mailbox.
    fn harden(&self) {}
}

/// Boxes with an `E`, which `run` has handled by actors of one type. `is_counted`: against the mailbox's capacity.
pub(crate) const fn boxes<E: Payload>(run: RunFn, actor: TypeId, is_counted: bool) -> EnvelopeKind<E> {
    EnvelopeKind::new(run, Form::Box { refuse: refuse_box::<E> }, actor, is_counted, harden_box::<E>, discard::<E>)
}

/// # Safety
///
/// It is a box with an `E`, which nobody else uses meanwhile.
unsafe fn harden_box<E: Payload>(node: NonNull<Node>) {
    // SAFETY: as the caller promises.
    unsafe { &(*node.cast::<BoxBlock<E>>().as_ptr()).content }.harden();
}

/// # Safety
///
/// It is a box with an `E`.
unsafe fn refuse_box<E: Payload>(envelope: Envelope, refused: &Refused<'_>) {
    // SAFETY: as the caller promises.
    unsafe { envelope.open::<E>() }.refuse(refused);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::list::OwningList;

    impl Payload for Arc<u32> {
        fn refuse(self, _: &Refused<'_>) {}
    }
    impl Payload for String {
        fn refuse(self, _: &Refused<'_>) {}
    }

    unsafe fn run(_: Envelope, _: Held<'_>, _: *mut (), _: *mut ()) -> GoesOn {
        Ok(())
    }

    static ARC: EnvelopeKind<Arc<u32>> = boxes(run, TypeId::of::<u8>(), true);
    static TEXT: EnvelopeKind<String> = boxes(run, TypeId::of::<u8>(), false);

    #[test]
    fn boxes_of_several_types_queue_together_and_what_is_left_is_dropped() {
        let shared = Arc::new(7);
        let mut queue = OwningList::<Envelope>::new();
        queue.push_back(Boxed::new(&ARC, Arc::clone(&shared)).into());
        queue.push_back(Boxed::new(&TEXT, "x".to_owned()).into());
        queue.push_back(Boxed::new(&ARC, Arc::clone(&shared)).into());
        let first = queue.pop_front().expect("three are in");
        assert_eq!((first.is_counted(), *Boxed::<Arc<u32>>::of(first).open()), (true, 7));
        let second = queue.pop_front().expect("two are in");
        assert_eq!(Boxed::<String>::of(second).open(), "x");
        assert_eq!(Arc::strong_count(&shared), 2);
        drop(queue);
        assert_eq!(Arc::strong_count(&shared), 1);
    }

    #[test]
    #[should_panic(expected = "another content")]
    fn a_box_is_not_taken_for_another() {
        let _ = Boxed::<String>::of(Boxed::new(&ARC, Arc::new(7)).into());
    }
}
