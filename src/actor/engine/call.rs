//! A call: the message, and the promise of its reply, in one counted block. The envelope in the target's mailbox has a share of it,
//! and so has the asker. The message is moved once on its way in, from its sender's argument to its [`MessageSlot`], and once on
//! its way out, to the argument of its handler or back.
//!
//! # Protocol: which side has the message
//!
//! ```text
//!  the handler                                            the asker that takes its message back
//!  H1  takes the envelope out, under the mailbox's lock   W1  claims the message
//!  H2  claims the message                                 W2  under the mailbox's lock: takes the envelope out, if it is in
//! ```
//!
//! The side that claims first has the message, and no other claim is good. If the asker claims first, no handler will see the
//! message. If W2 then finds the envelope, its place in the mailbox goes to a sender that waits for room. If not, H1 came
//! before, and H2 finds nothing. If the handler claims first, the asker is told that the handler has started.
//!
//! # Invariants
//!
//! 1. A slot is initialised until it is claimed, and its claimer moves the message out.
//! 2. A `CallBlock` begins with its node (it is `repr(C)`). Its one envelope is made with it, and is a share of its `Arc`.
//! 3. While the message is not claimed, its envelope is in no other mailbox than that of the promise's debtor: only a
//!    handler passes the debt on.

#![allow(unsafe_code)]

use std::any::{TypeId, type_name};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::Arc;

use super::cell::{Core, hold, unlink};
use super::edge::How;
use super::enqueue::Sent;
use super::envelope::{Envelope, EnvelopeKind, Form, Node, Refused, RunFn};
use super::fits::assert_fits;
use super::frame::Terms;
use super::guard::contained;
use super::lost::lost;
use super::origin::SendOrigin;
use super::owed::{Owed, Unanswered};
use super::promise::{Promise, Promised};
use crate::actor::{ActorId, Message, SendError};
use crate::base::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::base::list::Owner;
use crate::park::owed_answer::ChosenTime;
use crate::sys::fork;

/// Where a message is until somebody claims it.
struct MessageSlot<M> {
    claimed: AtomicU32,
    msg: UnsafeCell<MaybeUninit<M>>,
}

/// The message of a slot that this was claimed from; the slot outlives it.
pub(crate) struct Claim<M>(NonNull<M>);

impl<M> MessageSlot<M> {
    fn claim(&self) -> Option<Claim<M>> {
        // ORDERING: Relaxed: it decides between two sides that have the block already, and with it the message as it was put in.
        let first = self.claimed.swap(1, Ordering::Relaxed) == 0;
        first.then(|| Claim(NonNull::from(&self.msg).cast()))
    }

    fn is_unclaimed(&self) -> bool {
        // ORDERING: Relaxed: for the last share, which comes after all others.
        self.claimed.load(Ordering::Relaxed) == 0
    }
}

impl<M> Claim<M> {
    /// # Safety
    ///
    /// The slot is still there.
    #[inline(always)]
    pub(crate) unsafe fn take(self) -> M {
        // SAFETY: invariant 1: there is one claim, and it is used once; the slot is there.
        unsafe { self.0.read() }
    }
}

impl<M> Drop for MessageSlot<M> {
    fn drop(&mut self) {
        if let Some(claim) = self.claim() {
            // SAFETY: the slot is being dropped.
            drop(unsafe { claim.take() });
        }
    }
}

/// See the module's text.
#[repr(C)]
pub(crate) struct CallBlock<M: Message> {
    node: Node,
    /// [`fork::generation`] of the process that made it.
    made_in: u32,
    chain: u64,
    chosen: ChosenTime,
    /// The actor that has claimed the message, or has got it from one that has, and has lost it; 0: none.
    lost_by: AtomicU64,
    promise: Promise<M::Reply>,
    slot: MessageSlot<M>,
}

impl<M: Message> Drop for CallBlock<M> {
    /// It was refused or lost, and its asker has gone without a look: for one that wants no reply it makes no difference which came first.
    fn drop(&mut self) {
        // ORDERING: Relaxed: this is the last share, which comes after all others.
        let lost_by = self.lost_by.load(Ordering::Relaxed);
        if lost_by != 0 && self.promise.is_settled() {
            lost(ActorId(lost_by), type_name::<M>());
        }
        if self.slot.is_unclaimed() && self.promise.is_settled() {
            self.promise.debtor().iter().for_each(|target| lost(target.core().id(), type_name::<M>()));
        }
    }
}

// SAFETY: the message and the reply are `Send`, and each is reached by one at a time: by claim, and under the promise's lock.
// The node is the mailbox's, under its lock.
unsafe impl<M: Message> Send for CallBlock<M> {}
// SAFETY: as above.
unsafe impl<M: Message> Sync for CallBlock<M> {}

/// Calls with an `M`, which `run` has handled by actors of one type.
pub(crate) const fn calls<M: Message>(run: RunFn, actor: TypeId) -> EnvelopeKind<CallBlock<M>> {
    let form = Form::Box { refuse: refuse_call::<M> };
    EnvelopeKind::new(run, form, actor, true, harden_call::<M>, discard::<M>)
}

/// A call that is nowhere yet, and its envelope.
pub(crate) struct NewCall<M: Message> {
    pub(crate) call: Arc<CallBlock<M>>,
    pub(crate) envelope: Envelope,
    pub(crate) origin: SendOrigin,
}

impl<M: Message> NewCall<M> {
    // Inlined: an argument that is passed by reference would be a copy.
    #[inline(always)]
    pub(crate) fn new(kind: &'static EnvelopeKind<CallBlock<M>>, target: &Core, msg: M, origin: SendOrigin) -> Self {
        assert_fits::<M>(target);
        let block = Arc::<CallBlock<M>>::new_uninit();
        let place = Arc::as_ptr(&block).cast_mut().cast::<CallBlock<M>>();
        // SAFETY: fresh memory for this type that nobody else has, of which every field is written. The message first: an atomic
        // operation in between, as of `Arc::get_mut`, and the compiler moves it in two steps.
        let block = unsafe {
            (&raw mut (*place).slot.msg).cast::<M>().write(msg);
            (&raw mut (*place).slot.claimed).write(AtomicU32::new(0));
            (&raw mut (*place).node).write(Node::new(kind));
            (&raw mut (*place).made_in).write(fork::generation());
            (&raw mut (*place).chain).write(origin.terms.chain);
            (&raw mut (*place).chosen).write(origin.terms.chosen);
            (&raw mut (*place).lost_by).write(AtomicU64::new(0));
            (&raw mut (*place).promise).write(Promise::new(
                Some(target.weak()),
                origin.terms.deadline_ns,
                How::message(origin.terms.chain),
            ));
            block.assume_init()
        };
        let node = node_of(&block);
        std::mem::forget(Arc::clone(&block));
        // SAFETY: invariant 2: of the share that was just forgotten. What is in the block may be used from any thread.
        let envelope = unsafe { Envelope::pinned(node) };
        Self { call: block, envelope, origin }
    }
}

impl<M: Message> CallBlock<M> {
    /// Step H2.
    pub(crate) fn claim(&self) -> Option<Claim<M>> {
        self.slot.claim()
    }

    pub(crate) fn terms(&self) -> Terms {
        Terms { deadline_ns: self.promise.deadline_ns(), chain: self.chain, chosen: self.chosen }
    }

    /// Has somebody chosen a time for the deadline?
    pub(crate) fn chosen(&self) -> ChosenTime {
        self.chosen
    }

    /// Not in a child of fork, if it was made in the parent: no actor of the parent's answers there.
    pub(crate) fn assert_comes(&self) {
        assert!(self.made_in == fork::generation(), "a reply does not come: {}", fork::MESSAGE);
    }

    /// It is in the mailbox: unless it was let in, it waits behind others.
    pub(super) fn is_in(&self, sent: &Sent) {
        if self.chain != 0 && !matches!(sent, Sent::Admitted) {
            self.promise.is_queued(0);
        }
    }

    /// The answer, for the asker.
    pub(crate) fn unpack(
        self: &Arc<Self>,
        answer: Result<Box<M::Reply>, Unanswered>,
    ) -> Result<M::Reply, SendError<M>> {
        match answer {
            Ok(reply) => Ok(*reply),
            Err(why) => self.error(why),
        }
    }

    /// The answer that there will not be, with the message, if that was not claimed: then it leaves the mailbox.
    #[cold]
    #[inline(never)]
    pub(crate) fn error<T>(self: &Arc<Self>, why: Unanswered) -> Result<T, SendError<M>> {
        let Some(claim) = self.withdraw() else { return why.without_message() };
        // SAFETY: the slot is here.
        why.with_message(|| unsafe { claim.take() })
    }

    /// Takes the message back and drops it, if it was not claimed.
    pub(crate) fn take_back(self: &Arc<Self>) {
        if let Some(claim) = self.withdraw() {
            // SAFETY: the slot is here.
            drop(unsafe { claim.take() });
        }
    }

    /// Steps W1 and W2.
    fn withdraw(self: &Arc<Self>) -> Option<Claim<M>> {
        let claim = self.slot.claim()?;
        if let Some(target) = self.promise.debtor() {
            let mut mailbox = target.core().mailbox.lock();
            // SAFETY: invariant 3: if it is linked, then there; that mailbox's lock guards the node.
            let taken = self.node.is_linked().then(|| unsafe { unlink(&mut mailbox, node_of(self), self.chain) });
            let (envelope, sender) = taken.unzip();
            hold(mailbox, sender.flatten()).release(); // KEY: capacity-of-a-call
            drop(envelope);
        }
        Some(claim)
    }
}

/// The pointer to the whole block, of which the node is the first part.
fn node_of<M: Message>(call: &Arc<CallBlock<M>>) -> NonNull<Node> {
    NonNull::new(Arc::as_ptr(call).cast_mut()).expect("an `Arc` is not null").cast()
}

/// # Safety
///
/// It is the envelope of a `CallBlock<M>`.
pub(crate) unsafe fn share_of<M: Message>(envelope: NonNull<Node>) -> Arc<CallBlock<M>> {
    // SAFETY: as the caller promises; invariant 2.
    unsafe { Arc::from_raw(envelope.cast::<CallBlock<M>>().as_ptr()) }
}

/// # Safety
///
/// As [`share_of`].
unsafe fn discard<M: Message>(node: NonNull<Node>) {
    // SAFETY: as the caller promises.
    drop(unsafe { share_of::<M>(node) });
}

/// # Safety
///
/// It is the envelope of a `CallBlock<M>`, and stays one.
unsafe fn harden_call<M: Message>(node: NonNull<Node>) {
    // SAFETY: as the caller promises: the envelope's share of the block is there.
    unsafe { node.cast::<CallBlock<M>>().as_ref() }.promise.harden();
}

/// # Safety
///
/// As [`share_of`].
unsafe fn refuse_call<M: Message>(envelope: Envelope, refused: &Refused<'_>) {
    // SAFETY: as the caller promises.
    let call = unsafe { share_of::<M>(envelope.into_node()) };
    contained(|| {
        // With an asker the message stays: it is the asker's. Nobody can take it back when this is the last share.
        let claim = if Arc::strong_count(&call) == 1 { call.claim() } else { None };
        call.promise.refuse(refused.why);
        if let Some(claim) = claim {
            (refused.lose)(type_name::<M>(), false);
            // SAFETY: the slot is here.
            drop(unsafe { claim.take() });
        }
        drop(call);
    });
}

impl<M: Message> Promised for CallBlock<M> {
    type Reply = M::Reply;

    fn promise(&self) -> &Promise<M::Reply> {
        &self.promise
    }

    fn note_lost(&self, by: ActorId) {
        // ORDERING: Relaxed: for the last share.
        self.lost_by.store(by.0, Ordering::Relaxed);
    }
}
