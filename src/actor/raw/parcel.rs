//! What travels to an actor: boxes ([`Letter`], with an [`Envelope`] in it), and questions ([`Ask`]), which lie on their askers'
//! stacks: the message goes out of an ask, the answer comes into it, and nothing is allocated. A [`Parcel`] is either. Who
//! has it has the right, and the duty, to have it handled or refused.
//!
//! # Invariants
//!
//! Those of `task/parcel.rs`, and:
//!
//! 1. There is a parcel of an ask while that is `QUEUED`: in a list of its target's mail, among those that wait for room there,
//!    or in the hands of whoever holds that lock, or of the asker itself.
//! 2. An [`Ask`] is pinned, and whoever drops it takes the lock of its target's mail first, unless it is `DONE`; what makes it
//!    `DONE` happens under that lock, or on the asker's own worker while that does not run. So who finds an ask that is not
//!    `DONE` under that lock may use it. While it is handled, nobody but that handler's thread and its own touches it: if
//!    both live on one worker, they do so in turn, without the lock.
//! 3. The last touch of whoever makes it `DONE` is the end of its wait: an asker that was woken so goes on without the lock.
//! 4. A parcel is run by an actor of the type that its route was made for: an address has both.
//! 5. No user code runs under the lock of a mail: messages are moved there, not dropped.

#![allow(unsafe_code)]

use std::any::TypeId;
use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomPinned;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use super::Refusal;
use super::cell::Core;
use super::frame::{Frame, ReplyTo, handle, settle};
use super::mail::Mail;
use super::room::Room;
use crate::actor::promise::{Owed, Promise};
use crate::actor::{Actor, Context, Exit, Handler, Message, SendError};
use crate::base::atomic::{AtomicPtr, Ordering};
use crate::base::list::Owner;
use crate::base::spin::Locked;
use crate::park::{Wait, WaitResult, park};
use crate::sched::Worker;
use crate::task::header::Wake;
use crate::task::{Ticket, parcel};

type Run = unsafe fn(Parcel, Locked<'_, Mail>, Option<Arc<Room>>, *mut (), *mut ()) -> Result<(), Box<Exit>>;

type PutOff = unsafe fn(NonNull<Node>) -> (Arc<dyn Owed>, Option<Wake>);

/// What one kind of parcel can do.
pub(crate) struct Ops {
    /// Lets go of the lock, has the message handled, and answers. The last two are the actor and its context. `Err`: the
    /// actor has to end. Does not unwind.
    pub(super) run: Run,
    /// Gives the message back, or counts it as a dead letter. Of an ask under the lock; of a box without it.
    pub(super) refuse: unsafe fn(Parcel, &Core, Refusal) -> Option<Wake>,
    /// Of an ask, whose handler runs, under the lock: has the asker wait for a promise from now on.
    pub(super) put_off: Option<PutOff>,
    /// Which actors it is for.
    pub(super) actor: fn() -> TypeId,
    /// It counts against the mailbox's capacity.
    pub(super) is_counted: bool,
}

pub(super) type Node = parcel::Node<Ops>;
pub(crate) type Parcel = parcel::Parcel<Ops>;
pub(crate) type Letter<E> = parcel::Letter<Ops, E>;
pub(crate) type Kind<E> = parcel::Kind<Ops, E>;

impl Parcel {
    #[inline]
    pub(super) fn is_ask(&self) -> bool {
        self.ops().put_off.is_some()
    }

    /// Does it count against the mailbox's capacity?
    #[inline]
    pub(super) fn is_counted(&self) -> bool {
        self.ops().is_counted
    }

    /// Has the message handled by `me`, and answered. It was just taken out of the mail that is locked; `room` is what that made.
    /// `Err`: the actor has to end. Does not unwind.
    #[inline(always)]
    pub(super) fn run<A: Actor>(
        self,
        mail: Locked<'_, Mail>,
        room: Option<Arc<Room>>,
        me: &mut A,
        ctx: &mut Context<A>,
    ) -> Result<(), Box<Exit>> {
        let ops = self.ops();
        // What the types of addresses guarantee; were that wrong, another's state would be taken for an `A`.
        if (ops.actor)() != TypeId::of::<A>() {
            crate::base::abort::fatal(format_args!("a message came to an actor of another type"));
        }
        // SAFETY: invariant 4.
        unsafe { (ops.run)(self, mail, room, ptr::from_mut(me).cast(), ptr::from_mut(ctx).cast()) }
    }

    /// Refuses an ask. `Err`: it is a box, to be refused when the lock is free. Under the lock of the mail that it was in.
    pub(super) fn refuse_ask(self, core: &Core, why: Refusal) -> Result<Option<Wake>, Self> {
        if !self.is_ask() {
            return Err(self);
        }
        // SAFETY: they are its own operations, and the lock is held.
        Ok(unsafe { (self.ops().refuse)(self, core, why) })
    }

    /// Refuses a box. Without the lock.
    pub(super) fn refuse_box(self, core: &Core, why: Refusal) {
        assert!(!self.is_ask(), "an ask is refused under the lock");
        // SAFETY: they are its own operations.
        let _ = unsafe { (self.ops().refuse)(self, core, why) };
    }
}

/// What a box carries to actors of type `A`.
pub(super) trait Envelope<A: Actor>: Send + Sized + 'static {
    /// Has the message handled, and answers. `Err`: the actor has to end. Does not unwind. The box is opened where its message
    /// is needed: a large one is moved once.
    fn run(letter: Letter<Self>, me: &mut A, ctx: &mut Context<A>) -> Result<(), Box<Exit>>;

    /// Gives the message back, or counts it as a dead letter. Does not unwind.
    fn refuse(self, core: &Core, why: Refusal);
}

/// Boxes with an `E` for actors of type `A`. `is_counted`: against the mailbox's capacity.
pub(super) const fn boxes<A: Actor, E: Envelope<A>>(is_counted: bool) -> Kind<E> {
    let (run, refuse) = (run_box::<A, E>, refuse_box::<A, E>);
    Kind::boxed(Ops { run, refuse, put_off: None, actor: TypeId::of::<A>, is_counted })
}

/// # Safety
///
/// It is a box with an `E`; the rest is an `A` and its context, which nobody else uses meanwhile.
unsafe fn run_box<A: Actor, E: Envelope<A>>(
    parcel: Parcel,
    mail: Locked<'_, Mail>,
    room: Option<Arc<Room>>,
    me: *mut (),
    ctx: *mut (),
) -> Result<(), Box<Exit>> {
    unlock(mail, room);
    // SAFETY: as the caller promises.
    unsafe { E::run(parcel.letter(), &mut *me.cast::<A>(), &mut *ctx.cast::<Context<A>>()) }
}

/// # Safety
///
/// It is a box with an `E`.
unsafe fn refuse_box<A: Actor, E: Envelope<A>>(parcel: Parcel, core: &Core, why: Refusal) -> Option<Wake> {
    // SAFETY: as the caller promises.
    unsafe { parcel.open::<E>() }.refuse(core, why);
    None
}

/// Takes a parcel out of one of the lists of its mail that senders put parcels in. Another sender may have room now.
///
/// # Safety
///
/// The node is linked, in a list of this mail; `chain` is the one that it was sent with.
#[cold]
pub(super) unsafe fn unlink(mail: &mut Mail, node: NonNull<Node>, chain: u64) -> (Parcel, Option<Arc<Room>>) {
    let is_admitted = chain != 0 && mail.admitted().is_some_and(|admitted| admitted.contains(node));
    if let Some(admitted) = mail.admitted().filter(|_| is_admitted) {
        // SAFETY: it was just found there.
        return (unsafe { admitted.remove(node) }, None);
    }
    // SAFETY: as the caller promises: there is no other list.
    let parcel = unsafe { mail.queue.remove(node) };
    (parcel, mail.taken_out())
}

#[inline]
pub(super) fn unlock(mail: Locked<'_, Mail>, room: Option<Arc<Room>>) {
    drop(mail);
    if let Some(room) = room {
        room.open();
    }
}

/// Where an ask is: `DONE` (it has its answer or was never sent, and nobody else will touch it), `QUEUED` (its parcel is on
/// its way, or in the mail of its target), or else it is handled, in the frame that this points to.
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
pub(super) struct Ask<'t, M: Message> {
    node: Node,
    /// See [`DONE`]. Changed under the lock of the target's mail, or by a neighbour.
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
    /// The asker's own: nobody was given a ticket.
    awake: Cell<bool>,
    _pinned: PhantomPinned,
}

/// An ask is `DONE`, and whoever has made it so does not touch it any more.
#[derive(Clone, Copy)]
pub(super) struct Done(());

/// How an ask ended for an asker that gave up.
pub(super) enum Left {
    Answered(Done),
    /// The handler has not started, and will not.
    Unhandled,
    Handled,
}

/// Asks with an `M` for actors of type `A`.
pub(super) const fn asks<A: Handler<M>, M: Message>() -> Kind<Ask<'static, M>> {
    let (run, refuse) = (run_ask::<A, M>, refuse_ask::<M>);
    Kind::pinned(Ops { run, refuse, put_off: Some(put_off_ask::<M>), actor: TypeId::of::<A>, is_counted: true })
}

impl<'t, M: Message> Ask<'t, M> {
    #[inline(always)]
    pub(super) fn new(
        kind: &'static Kind<Ask<'static, M>>,
        target: &'t Core,
        msg: M,
        asker: Option<&'t Core>,
        deadline_ns: u64,
        chain: u64,
    ) -> Self {
        Self {
            node: Node::new(kind),
            place: AtomicPtr::new(DONE),
            ticket: Cell::new(None),
            deadline_ns,
            home: Worker::current().map_or(NO_WORKER, |worker| u32::from(worker.remote.index)),
            asker,
            chain,
            target,
            msg: UnsafeCell::new(Some(msg)),
            answered: Cell::new(Answered::Nothing),
            reply: UnsafeCell::new(MaybeUninit::uninit()),
            error: UnsafeCell::new(MaybeUninit::uninit()),
            later: UnsafeCell::new(MaybeUninit::uninit()),
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

    fn node(&self) -> NonNull<Node> {
        NonNull::from(self).cast()
    }

    #[inline]
    fn is_at(&self, place: *mut Frame) -> bool {
        // ORDERING(argued): Acquire pairs with the Release in `conclude`, for an asker that looks without the lock (`done_awake`): what
        // it asked on top of itself may have been answered by another thread, which has evicted it. The models have no workers.
        ptr::eq(self.place.load(Ordering::Acquire), place)
    }

    /// Hands the ask's parcel to `put`. `Err` gives it back: the ask is in no mail. The ask is `DONE`, and has no answer.
    #[inline(always)]
    pub(super) fn post<T, E>(
        self: Pin<&Self>,
        ticket: Option<Ticket>,
        put: impl FnOnce(Parcel) -> Result<T, (E, Parcel)>,
    ) -> Result<T, E> {
        debug_assert!(self.is_at(DONE), "an ask is posted once");
        self.awake.set(ticket.is_none());
        self.ticket.set(ticket);
        self.place.store(QUEUED, Ordering::Relaxed);
        // SAFETY: invariants 1 and 2: it is pinned, and `leave` finds the parcel.
        put(unsafe { Parcel::pinned(self.node()) }).map_err(|(error, parcel)| {
            let _ = parcel.into_node();
            self.place.store(DONE, Ordering::Relaxed);
            error
        })
    }

    /// Waits; the answer ends it. `commit` is the one of [`park`], and owes the ticket to [`post`](Self::post) or
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
        let _mail = self.target.mail.lock();
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

    /// The message, if it is in no mail and was not handled.
    #[cold]
    pub(super) fn take_message(self: Pin<&Self>) -> Option<M> {
        let _mail = self.target.mail.lock();
        // SAFETY: the lock is held, and nobody else has an ask that is done.
        if self.is_at(DONE) { unsafe { (*self.msg.get()).take() } } else { None }
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
                match later.wait(self.deadline_ns) {
                    Ok(reply) => Ok(*reply),
                    Err(why) => why.without_message(),
                }
            }
            Answered::Nothing => unreachable!("an ask that is done has its answer"),
        }
    }

    /// The asker gives up: nobody touches the ask afterwards.
    #[cold]
    pub(super) fn leave(self: Pin<&Self>) -> Left {
        let mut mail = self.target.mail.lock();
        let place = self.place.swap(DONE, Ordering::Relaxed);
        let (left, room) = if ptr::eq(place, DONE) {
            (Left::Answered(Done(())), None)
        } else if ptr::eq(place, QUEUED) {
            (Left::Unhandled, self.withdraw(&mut mail))
        } else {
            // SAFETY: invariant 2: the run has not answered, so it has not left this frame.
            unsafe { &*place }.reply_to.set(ReplyTo::Nobody);
            (Left::Handled, None)
        };
        unlock(mail, room);
        left
    }

    /// Takes the parcel of a `QUEUED` ask out of its mail. Another sender may have room now.
    fn withdraw(&self, mail: &mut Mail) -> Option<Arc<Room>> {
        if let Some(waiting) = mail.leave_room(|waiting| waiting.parcel.is(self.node())) {
            let _ = waiting.parcel.into_node();
            return None;
        }
        if !self.node.is_linked() {
            crate::base::abort::fatal(format_args!("an ask left its stack while its message was in nobody's mail"));
        }
        // SAFETY: invariant 1: it is in one of the lists of this mail.
        let (parcel, room) = unsafe { unlink(mail, self.node(), self.chain) };
        let _ = parcel.into_node();
        room
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
        // None: the asker is below the run on this worker, or has not come to wait yet; it looks when it does.
        let (ticket, home) = (self.ticket.take(), self.home);
        // ORDERING(argued): Release pairs with the Acquire in `is_at`, see there.
        self.place.store(DONE, Ordering::Release);
        // SAFETY: an asker that has waited takes the lock before it leaves, unless the wait that is ended here tells it, or it
        // does not run now. Who else could end the wait of a neighbour, its worker's wheel and loop, does not run now either.
        unsafe { ticket?.notify(neighbour.then_some(home as u16)) }
    }

    /// # Safety
    ///
    /// As [`conclude`](Self::conclude).
    #[inline(always)]
    unsafe fn put(&self, answer: Result<M::Reply, SendError<M>>, neighbour: bool) -> Option<Wake> {
        // SAFETY: as the caller promises; who takes what is written sees `answered`.
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

/// # Safety
///
/// It is an `Ask<M>`, under the lock; the rest is an `A` and its context, which nobody else uses meanwhile.
unsafe fn run_ask<A: Handler<M>, M: Message>(
    parcel: Parcel,
    mail: Locked<'_, Mail>,
    room: Option<Arc<Room>>,
    me: *mut (),
    ctx: *mut (),
) -> Result<(), Box<Exit>> {
    let node = parcel.into_node();
    // SAFETY: as the caller promises.
    let (ask, me, ctx) =
        unsafe { (node.cast::<Ask<'_, M>>().as_ref(), &mut *me.cast::<A>(), &mut *ctx.cast::<Context<A>>()) };
    let frame = ctx.inner.frame();
    ask.place.store(ptr::from_ref(frame).cast_mut(), Ordering::Relaxed);
    frame.set(ReplyTo::Asked(Asked(node)), ask.deadline_ns, ask.chain);
    if ask.chain != 0
        && let Some(asker) = ask.asker
    {
        asker.edge.harden();
    }
    let neighbour = ask.home == u32::from(ctx.core().header.state.home());
    // SAFETY: as the caller promises, under the lock.
    let msg = unsafe { (*ask.msg.get()).take() };
    unlock(mail, room);
    let Some(msg) = msg else { unreachable!("an ask was queued without its message") };
    let result = handle(me, ctx, || msg, |reply| reply);
    answer::<M>(ctx.core(), ctx.inner.frame(), result, neighbour)
}

/// Gives the asker of the message that was handled in this frame its answer, or drops it if nobody waits. Passes a reason to
/// end on. `neighbour`: the asker lives on this worker, so it does not run now, and what it does to the ask needs no lock.
#[inline(always)]
fn answer<M: Message>(
    core: &Core,
    frame: &Frame,
    result: Result<M::Reply, Box<Exit>>,
    neighbour: bool,
) -> Result<(), Box<Exit>> {
    let mail = if neighbour { None } else { Some(core.mail.lock()) };
    let node = match frame.reply_to.replace(ReplyTo::Nobody) {
        ReplyTo::Asked(Asked(node)) => node,
        reply_to => {
            drop(mail);
            return settle::<M>(core, reply_to, result.map(Box::new));
        }
    };
    let (answer, end) = match result {
        Ok(reply) => (Ok(reply), Ok(())),
        Err(exit) => (Err(SendError::Died((*exit).clone())), Err(exit)),
    };
    // SAFETY: it is handled in this frame (it would have said so if it had left); the lock is held, or it is a neighbour's.
    let wake = unsafe { node.cast::<Ask<'_, M>>().as_ref().put(answer, neighbour) };
    drop(mail);
    if let Some(wake) = wake {
        wake.schedule();
    }
    end
}

/// # Safety
///
/// It is an `Ask<M>`, under the lock.
unsafe fn refuse_ask<M: Message>(parcel: Parcel, _: &Core, why: Refusal) -> Option<Wake> {
    // SAFETY: as the caller promises.
    unsafe {
        let ask = parcel.into_node().cast::<Ask<'_, M>>().as_ref();
        let msg = (*ask.msg.get()).take()?;
        ask.put(Err(why.into_error(msg)), false)
    }
}

/// # Safety
///
/// It is an `Ask<M>` that is handled, under the lock.
unsafe fn put_off_ask<M: Message>(node: NonNull<Node>) -> (Arc<dyn Owed>, Option<Wake>) {
    let promise = Promise::<M::Reply>::put_off();
    // SAFETY: as the caller promises.
    let wake = unsafe {
        let ask = node.cast::<Ask<'_, M>>().as_ref();
        (*ask.later.get()).write(Arc::clone(&promise));
        ask.conclude(Answered::Later, false)
    };
    (promise, wake)
}

/// An ask whose handler runs, in the frame that this is in.
pub(super) struct Asked(NonNull<Node>);

/// If an ask waits for what the running handler returns, it waits for a promise from now on.
pub(super) fn put_off(core: &Core, frame: &Frame) {
    let mail = core.mail.lock();
    let node = match frame.reply_to.replace(ReplyTo::Nobody) {
        ReplyTo::Asked(Asked(node)) => node,
        reply_to => return frame.reply_to.set(reply_to),
    };
    // SAFETY: it is handled in this frame, and the lock is held.
    let put_off = unsafe { node.as_ref().ops().put_off.map(|put_off| put_off(node)) };
    let Some((promise, wake)) = put_off else { unreachable!("only asks wait in a frame") };
    frame.reply_to.set(ReplyTo::Owed(promise));
    drop(mail);
    if let Some(wake) = wake {
        wake.schedule();
    }
}
