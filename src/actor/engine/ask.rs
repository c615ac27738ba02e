//! Questions, which lie on their askers' stacks: the message goes out of an [`Ask`], the answer comes into it, and nothing is
//! allocated.
//!
//! # Invariants
//!
//! Those of [`envelope`](super::envelope), and:
//!
//! 1. There is an envelope of an ask while that is `QUEUED`: in a list of its target's mailbox, among those that wait for room there,
//!    or in the hands of the thread that holds that lock, or of the asker itself.
//! 2. An [`Ask`] is pinned, and its drop takes the lock of its target's mailbox first, unless it is `DONE`; what makes it
//!    `DONE` happens under that lock, or on the asker's own worker while the asker does not run. So a thread that finds, under
//!    that lock, an ask that is not `DONE` may use it. While an ask is handled, only the handler's thread and the asker's own
//!    touch it: if both live on one worker, they do so in turn, without the lock.
//! 3. The last touch of the thread that makes an ask `DONE` is the end of the asker's wait: an asker that was woken so goes on
//!    without the lock.

#![allow(unsafe_code)]

use std::any::TypeId;
use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomPinned;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use super::cell::{Core, hold, unlink};
use super::edge::How;
use super::envelope::{Envelope, EnvelopeKind, Form, GoesOn, Node, RunFn};
use super::frame::{Asked, Frame, ReplyTo, Terms};
use super::mailbox_state::MailboxState;
use super::origin::SendOrigin;
use super::owed::{Owed, Refusal, Unanswered};
use super::promise::{Promise, deferred, settle};
use super::waiting::WaitingSender;
use crate::actor::{Deferred, Exit, Message, Overflow, SendError};
use crate::base::atomic::{AtomicPtr, Ordering};
use crate::base::list::Owner;
use crate::park::owed_answer::{ChosenTime, NAMED, OwedAnswer};
use crate::park::{Wait, WaitResult, park};
use crate::sched::Worker;
use crate::sys::clock::NEVER;
use crate::task::Ticket;
use crate::task::header::Wake;

/// Where an ask is: `DONE` (it has its answer or was never sent, and nobody else will touch it), `QUEUED` (its envelope is on
/// its way, or in the mailbox of its target), or else it is handled, in the frame that this points to.
const DONE: *mut Frame = ptr::null_mut();
const QUEUED: *mut Frame = ptr::without_provenance_mut(1);

/// What an ask has. One field for each, so that neither is moved about as part of a whole.
#[derive(Clone, Copy)]
enum Answered {
    Nothing,
    /// `reply` is initialised.
    Reply,
    /// `error` is.
    Error,
    /// `later` is: the reply was put off.
    Later,
}

/// The home of an OS thread that asks.
const NO_WORKER: u32 = u32::MAX;

/// A question to `target`, on the asker's stack. Dropped, it takes its message back, or forgets about the reply.
#[repr(C)]
pub(crate) struct Ask<'t, M: Message> {
    node: Node,
    /// See [`DONE`]. Changed under the lock of the target's mailbox, or by a neighbour.
    place: AtomicPtr<Frame>,
    ticket: Cell<Option<Ticket>>,
    deadline_ns: u64,
    /// The worker that the asker lives on; [`NO_WORKER`].
    home: u32,
    /// The actor that asks, if it is one: its edge goes when the answer is there.
    asker: Option<&'t Core>,
    // Not beside the deadline: both are written one by one and would be read as one, which waits for the writes.
    chain: u64,
    target: &'t Core,
    msg: UnsafeCell<Option<M>>,
    answered: Cell<Answered>,
    reply: UnsafeCell<MaybeUninit<M::Reply>>,
    error: UnsafeCell<MaybeUninit<SendError<M>>>,
    later: UnsafeCell<MaybeUninit<Arc<Promise<M::Reply>>>>,
    /// For the report of a deadlock.
    owed: OwedAnswer,
    chosen: ChosenTime,
    /// The asker's own: nobody was given a ticket.
    awake: Cell<bool>,
    _pinned: PhantomPinned,
}

/// An ask is `DONE`, and the thread that has made it so does not touch it any more.
#[derive(Clone, Copy)]
pub(super) struct Done(());

/// How an ask ended for an asker that gave up.
pub(super) enum AskLeft {
    Answered(Done),
    /// The handler has not started, and will not.
    Unhandled,
    Handled,
}

impl<'t, M: Message> Ask<'t, M> {
    #[inline(always)]
    pub(super) fn new(
        kind: &'static EnvelopeKind<Ask<'static, M>>,
        target: &'t Core,
        msg: M,
        origin: SendOrigin,
    ) -> Self {
        Self {
            node: Node::new(kind),
            place: AtomicPtr::new(DONE),
            ticket: Cell::new(None),
            deadline_ns: origin.terms.deadline_ns,
            home: Worker::current().map_or(NO_WORKER, |worker| u32::from(worker.here().home())),
            asker: origin.actor,
            chain: origin.terms.chain,
            target,
            msg: UnsafeCell::new(Some(msg)),
            answered: Cell::new(Answered::Nothing),
            reply: UnsafeCell::new(MaybeUninit::uninit()),
            error: UnsafeCell::new(MaybeUninit::uninit()),
            later: UnsafeCell::new(MaybeUninit::uninit()),
            owed: OwedAnswer::new(),
            chosen: origin.terms.chosen,
            awake: Cell::new(true),
            _pinned: PhantomPinned,
        }
    }

    pub(super) fn deadline_ns(&self) -> u64 {
        self.deadline_ns
    }

    pub(super) fn chain(&self) -> u64 {
        self.chain
    }

    #[inline(always)]
    fn terms(&self) -> Terms {
        Terms { deadline_ns: self.deadline_ns, chain: self.chain, chosen: self.chosen }
    }

    pub(super) fn chosen(&self) -> ChosenTime {
        self.chosen
    }

    pub(super) fn owed(&self) -> &OwedAnswer {
        &self.owed
    }

    /// Is the asker's wait, for what the target has, an edge in the report of a deadlock? Not if somebody has chosen a time for it, or it may be sent away for a newer one.
    pub(super) fn is_reported(&self) -> bool {
        NAMED && !self.chosen.is_chosen() && self.target.mailbox.lock().overflow != Overflow::DropOldest
    }

    fn node(&self) -> NonNull<Node> {
        NonNull::from(self).cast()
    }

    #[inline]
    fn is_at(&self, place: *mut Frame) -> bool {
        // ORDERING(argued): Acquire pairs with the Release in `conclude`, for an asker that looks without the lock (`done_awake`): what
        // it asked on top of itself may have been answered by another thread, which has evicted it. The models have no workers.
        ptr::eq(self.place.load(Ordering::Acquire), place)
    }

    /// Hands the ask's envelope to `enqueue`. `Err` gives it back: the ask is in no mailbox. The ask is `DONE`, and has no answer.
    #[inline(always)]
    pub(super) fn enqueue<T, E>(
        self: Pin<&Self>,
        ticket: Option<Ticket>,
        enqueue: impl FnOnce(Envelope) -> Result<T, (E, Envelope)>,
    ) -> Result<T, E> {
        debug_assert!(self.is_at(DONE), "an ask is enqueued once");
        self.awake.set(ticket.is_none());
        self.ticket.set(ticket);
        self.place.store(QUEUED, Ordering::Relaxed);
        // SAFETY: invariants 1 and 2: it is pinned, and `leave` finds the envelope.
        enqueue(unsafe { Envelope::pinned(self.node()) }).map_err(|(error, envelope)| {
            let _ = envelope.into_node();
            self.place.store(DONE, Ordering::Relaxed);
            error
        })
    }

    /// Waits; the answer ends it. `commit` is the one of [`park`], and owes the ticket to [`enqueue`](Self::enqueue) or
    /// [`renew`](Self::renew).
    #[inline(always)]
    pub(super) fn wait(self: Pin<&Self>, wait: Wait, commit: impl FnOnce(Ticket) -> bool) -> Result<Done, WaitResult> {
        match park(wait, commit) {
            // Invariant 3: nobody else ends a wait so.
            WaitResult::Notified => Ok(Done(())),
            woken => Err(woken),
        }
    }

    /// For another wait of the same ask. False: the answer is there.
    #[cold]
    pub(super) fn renew(self: Pin<&Self>, ticket: Ticket) -> bool {
        let _mailbox = self.target.mailbox.lock();
        let waits = !self.is_at(DONE);
        self.awake.set(false);
        self.ticket.set(waits.then_some(ticket)); // KEY: ask-again
        waits
    }

    /// The answer is there, for an asker that has not waited, without the lock. `None`: look again with the lock.
    #[inline(always)]
    pub(super) fn done_awake(self: Pin<&Self>) -> Option<Done> {
        (self.awake.get() && self.is_at(DONE)).then_some(Done(()))
    }

    /// The message, of an ask that is in no mailbox and was not handled.
    #[cold]
    pub(super) fn take_message(self: Pin<&Self>) -> M {
        let _mailbox = self.target.mailbox.lock();
        // SAFETY: the lock is held, and nobody else has an ask that is done.
        let msg = if self.is_at(DONE) { unsafe { (*self.msg.get()).take() } } else { None };
        msg.expect("an ask that is in no mailbox has its message")
    }

    /// The answer. Waits for it, if it was put off.
    #[inline(always)]
    pub(super) fn take_answer(self: Pin<&Self>, _: Done) -> Result<M::Reply, SendError<M>> {
        match self.answered.replace(Answered::Nothing) {
            // SAFETY: nobody else touches an ask that is done; `answered` says what is initialised, and is taken along.
            Answered::Reply => Ok(unsafe { (*self.reply.get()).assume_init_read() }),
            // SAFETY: as above.
            Answered::Error => Err(unsafe { (*self.error.get()).assume_init_read() }),
            Answered::Later => {
                // SAFETY: as above.
                let later = unsafe { (*self.later.get()).assume_init_read() };
                match later.wait(self.deadline_ns, self.chosen) {
                    Ok(reply) => Ok(*reply),
                    Err(why) => why.without_message(),
                }
            }
            Answered::Nothing => unreachable!("an ask that is done has its answer"),
        }
    }

    /// The asker gives up: nobody touches the ask afterwards.
    #[cold]
    pub(super) fn leave(self: Pin<&Self>) -> AskLeft {
        let mut mailbox = self.target.mailbox.lock();
        let place = self.place.swap(DONE, Ordering::Relaxed);
        self.owed.end();
        let (left, sender) = if ptr::eq(place, DONE) {
            (AskLeft::Answered(Done(())), None)
        } else if ptr::eq(place, QUEUED) {
            (AskLeft::Unhandled, self.withdraw(&mut mailbox))
        } else {
            // SAFETY: invariant 2: the run has not answered, so it has not left this frame.
            unsafe { &*place }.reply_to.set(ReplyTo::Nobody);
            (AskLeft::Handled, None)
        };
        hold(mailbox, sender).release();
        left
    }

    /// Takes the envelope of a `QUEUED` ask out of its mailbox. Another sender may have room now.
    fn withdraw(&self, mailbox: &mut MailboxState) -> Option<WaitingSender<Envelope>> {
        if let Some(waiting) = mailbox.withdraw(|waiting| waiting.envelope.is(self.node())) {
            let _ = waiting.envelope.into_node();
            return None;
        }
        if !self.node.is_linked() {
            crate::base::abort::fatal(format_args!("an ask left its stack while its message was in nobody's mailbox"));
        }
        // SAFETY: invariant 1: it is in one of the lists of this mailbox.
        let (envelope, sender) = unsafe { unlink(mailbox, self.node(), self.chain) };
        let _ = envelope.into_node();
        sender
    }

    /// Says that the answer is there, and ends the asker's wait. `neighbour`: the asker lives on the caller's worker.
    ///
    /// # Safety
    ///
    /// The ask is not `DONE`, and the lock that guards it is held, or it is a neighbour's (invariant 2). What `answered` says is
    /// initialised.
    #[inline(always)]
    unsafe fn conclude(&self, answered: Answered, neighbour: bool) -> Option<Wake> {
        self.answered.set(answered);
        // The asker does not wait for the actor any more, although it does not know yet: before its wait is ended, or a walk
        // could find an edge that stands for nothing. It waits, or is about to look, so its edge is not in use there.
        if let Some(asker) = self.asker {
            asker.edge.clear();
        }
        self.owed.end();
        // None: the asker is below the run on this worker, or has not come to wait yet; it looks when it does.
        let (ticket, home) = (self.ticket.take(), self.home);
        // ORDERING(argued): Release pairs with the Acquire in `is_at`, see there.
        self.place.store(DONE, Ordering::Release);
        // SAFETY: an asker that has waited takes the lock before it leaves, unless the wait that is ended here tells it, or it
        // does not run now. What else could end the wait of a neighbour, its worker's wheel and loop, does not run now either.
        unsafe { ticket?.notify(neighbour.then_some(home as u16)) }
    }

    /// # Safety
    ///
    /// As [`conclude`](Self::conclude).
    #[inline(always)]
    unsafe fn put(&self, answer: Result<M::Reply, SendError<M>>, neighbour: bool) -> Option<Wake> {
        // SAFETY: as the caller promises; the asker, which takes what is written, sees `answered`.
        unsafe {
            let answered = match answer {
                Ok(reply) => {
                    (*self.reply.get()).write(reply);
                    Answered::Reply
                }
                Err(error) => {
                    (*self.error.get()).write(error);
                    Answered::Error
                }
            };
            self.conclude(answered, neighbour)
        }
    }
}

impl<M: Message> Drop for Ask<'_, M> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: it is pinned until this is over.
        let this = unsafe { Pin::new_unchecked(&*self) };
        if !this.is_at(DONE) || !matches!(this.answered.get(), Answered::Nothing) {
            this.drop_unfinished();
        }
    }
}

impl<M: Message> Ask<'_, M> {
    #[cold]
    #[inline(never)]
    fn drop_unfinished(self: Pin<&Self>) {
        let _ = self.leave();
        // SAFETY: nobody else touches the ask now; `answered` says what is initialised, and is taken along.
        unsafe {
            match self.answered.replace(Answered::Nothing) {
                Answered::Nothing => {}
                Answered::Reply => (*self.reply.get()).assume_init_drop(),
                Answered::Error => (*self.error.get()).assume_init_drop(),
                Answered::Later => (*self.later.get()).assume_init_drop(),
            }
        }
    }
}

/// Asks with an `M`, which `run` has handled by actors of one type.
pub(crate) const fn asks<M: Message>(run: RunFn, actor: TypeId) -> EnvelopeKind<Ask<'static, M>> {
    let form = Form::Ask { refuse: refuse_ask::<M>, put_off: put_off_ask::<M> };
    EnvelopeKind::new(run, form, actor, true, harden_ask::<M>, |_| {})
}

/// # Safety
///
/// It is the envelope of an `Ask<M>`, under the lock.
unsafe fn harden_ask<M: Message>(node: NonNull<Node>) {
    // SAFETY: as the caller promises.
    unsafe { node.cast::<Ask<'_, M>>().as_ref() }.harden();
}

impl<M: Message> Ask<'_, M> {
    /// Nobody lets the message in any more. Under the lock, while it is not `DONE`.
    #[inline(always)]
    fn harden(&self) {
        if self.chain != 0
            && let Some(asker) = self.asker
        {
            asker.edge.harden();
            self.owed.harden();
        }
    }

    /// The handler begins, in that frame. The message, and whether the asker lives on this worker. The caller lets go of the lock.
    ///
    /// # Safety
    ///
    /// It is the envelope of an `Ask<M>`, under the lock.
    #[inline(always)]
    pub(crate) unsafe fn begin(envelope: Envelope, core: &Core, frame: &Frame) -> (Option<M>, bool) {
        let node = envelope.into_node();
        // SAFETY: as the caller promises.
        let ask = unsafe { node.cast::<Ask<'_, M>>().as_ref() };
        ask.place.store(ptr::from_ref(frame).cast_mut(), Ordering::Relaxed);
        frame.set(ReplyTo::Asked(Asked(node)), ask.terms());
        ask.harden();
        let neighbour = ask.home == u32::from(core.header.state.home());
        // SAFETY: as the caller promises, under the lock.
        (unsafe { (*ask.msg.get()).take() }, neighbour)
    }
}

/// Gives the asker of the message that was handled in this frame its answer, or drops it if nobody waits. Passes a reason to
/// end on. `neighbour`: the asker lives on this worker, so it does not run now, and what it does to the ask needs no lock.
#[inline(always)]
pub(crate) fn answer<M: Message>(
    core: &Core,
    frame: &Frame,
    result: Result<M::Reply, Box<Exit>>,
    neighbour: bool,
) -> GoesOn {
    let mailbox = if neighbour { None } else { Some(core.mailbox.lock()) };
    let node = match frame.reply_to.replace(ReplyTo::Nobody) {
        ReplyTo::Asked(Asked(node)) => node,
        reply_to => {
            drop(mailbox);
            return settle::<M>(core, reply_to, result.map(Box::new));
        }
    };
    let (answer, end) = match result {
        Ok(reply) => (Ok(reply), Ok(())),
        Err(exit) => (Err(SendError::Died((*exit).clone())), Err(exit)),
    };
    // SAFETY: it is handled in this frame (it would have said so if it had left); the lock is held, or it is a neighbour's.
    let wake = unsafe { node.cast::<Ask<'_, M>>().as_ref().put(answer, neighbour) };
    drop(mailbox);
    if let Some(wake) = wake {
        wake.schedule();
    }
    end
}

/// # Safety
///
/// It is an `Ask<M>`, under the lock.
unsafe fn refuse_ask<M: Message>(envelope: Envelope, why: Refusal) -> Option<Wake> {
    // SAFETY: as the caller promises.
    unsafe {
        let ask = envelope.into_node().cast::<Ask<'_, M>>().as_ref();
        let msg = (*ask.msg.get()).take()?;
        ask.put(Unanswered::Refused(why).with_message(|| msg), false)
    }
}

/// # Safety
///
/// It is an `Ask<M>` that is handled, under the lock.
unsafe fn put_off_ask<M: Message>(node: NonNull<Node>) -> (Arc<dyn Owed>, Option<Wake>) {
    let promise = Arc::new(Promise::<M::Reply>::new(None, NEVER, How::PLAIN));
    // SAFETY: as the caller promises.
    let wake = unsafe {
        let ask = node.cast::<Ask<'_, M>>().as_ref();
        (*ask.later.get()).write(Arc::clone(&promise));
        ask.conclude(Answered::Later, false)
    };
    (promise, wake)
}

/// If an ask waits for what the running handler returns, it waits for a promise from now on.
fn put_off(core: &Core, frame: &Frame) {
    let mailbox = core.mailbox.lock();
    let node = match frame.reply_to.replace(ReplyTo::Nobody) {
        ReplyTo::Asked(Asked(node)) => node,
        reply_to => return frame.reply_to.set(reply_to),
    };
    // SAFETY: it is handled in this frame, and the lock is held.
    let (promise, wake) = match unsafe { node.as_ref() }.ops().form {
        // SAFETY: as above.
        Form::Ask { put_off, .. } => unsafe { put_off(node) },
        Form::Box { .. } => unreachable!("only asks wait in a frame"),
    };
    frame.reply_to.set(ReplyTo::Owed(promise));
    drop(mailbox);
    if let Some(wake) = wake {
        wake.schedule();
    }
}

/// Makes a `Deferred` of the running handler's reply. `None`: the handler's reply is of another type. Whatever the handler
/// returns is dropped from now on.
pub(crate) fn defer<R: Send + 'static>(core: &Core, frame: &Frame) -> Option<Deferred<R>> {
    put_off(core, frame);
    let ReplyTo::Owed(owed) = frame.reply_to.replace(ReplyTo::Nobody) else { return Some(Deferred::nobody()) };
    match deferred(owed) {
        Ok(deferred) => {
            deferred.owed_by(None, How::PLAIN);
            Some(deferred)
        }
        Err(owed) => {
            frame.reply_to.set(ReplyTo::Owed(owed));
            None
        }
    }
}
