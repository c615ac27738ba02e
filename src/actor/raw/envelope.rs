//! The envelopes: what carries a message to its handler, and the answer back.
//!
//! | envelope  | is                | made by                        | the answer goes                            |
//! | --------- | ----------------- | ------------------------------ | ------------------------------------------ |
//! | [`Tell`]  | a box             | `tell`, timers, `notify`       | nowhere                                    |
//! | [`Ask`]   | on the asker's stack | `send`                      | into it, under the lock of the mail (or of its tether) |
//! | [`Call`]  | a box             | `call`, `forward`, `stash`     | to its [`Deferred`] or promise              |
//!
//! The answer to an [`Ask`] is written before its wait is ended, and also if that is over already (a time-out, a cancel):
//! the asker then finds it when it takes the lock to leave.

#![allow(unsafe_code)]

use std::any::{TypeId, type_name};
use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use super::cell::Core;
use super::mail::{Letter, Mail};
use super::{Asked, Frame, Node, NodeVTable, Place, Refusal, Refuse, ReplyTo, Run, Running, Tether, Waiting};
use crate::actor::promise::{Answer, Failure, Promise};
use crate::actor::{Actor, Context, Deferred, Exit, Handler, Message, SendError, letters};
use crate::base::atomic::{AtomicU32, Ordering};
use crate::base::list::{Linked, Links};
use crate::base::spin::{Locked, SpinLock};
use crate::sys::clock::NEVER;
use crate::task::header::Wake;
use crate::task::pool;

/// How messages of one type get to actors of one type, which is forgotten here.
pub(crate) struct Route<M: Message> {
    pub(super) tell: &'static NodeVTable,
    /// A `tell` that does not count.
    pub(super) notify: &'static NodeVTable,
    pub(super) beat: &'static NodeVTable,
    pub(super) ask: &'static NodeVTable,
    pub(super) call: &'static NodeVTable,
    pub(super) passed: &'static NodeVTable,
    pub(super) ask_timeout: Duration,
    _message: std::marker::PhantomData<fn(M)>,
}

/// The route of `M` to `A`.
pub(crate) const fn route<A: Handler<M>, M: Message>() -> Route<M> {
    Route {
        tell: const { &vtable(run_tell::<A, M>, refuse_tell::<M>, false, true) },
        notify: const { &vtable(run_tell::<A, M>, refuse_tell::<M>, false, false) },
        beat: const { &vtable(run_beat::<A, M>, refuse_beat::<M>, false, false) },
        ask: const { &vtable(run_ask::<A, M>, refuse_ask::<M>, true, true) },
        call: const { &vtable(run_call::<A, M>, refuse_call::<M>, false, true) },
        passed: const { &vtable(run_call::<A, M>, refuse_call::<M>, false, false) },
        ask_timeout: A::ASK_TIMEOUT,
        _message: std::marker::PhantomData,
    }
}

const fn vtable(run: Run, refuse: Refuse, asked: bool, counted: bool) -> NodeVTable {
    NodeVTable { run, refuse, asked, counted }
}

#[repr(C)]
pub(super) struct Tell<M> {
    node: Node,
    pub(super) msg: M,
}

/// A `tell` of an interval: the next beat is left out as long as this one is queued.
#[repr(C)]
pub(super) struct Beat<M> {
    node: Node,
    pub(super) msg: M,
    queued: Arc<AtomicU32>,
}

#[repr(C)]
pub(super) struct Ask<M: Message> {
    pub(super) asked: Asked,
    pub(super) msg: UnsafeCell<Option<M>>,
    answered: Cell<Answered>,
    reply: UnsafeCell<MaybeUninit<M::Reply>>,
    error: UnsafeCell<MaybeUninit<SendError<M>>>,
}

/// What an ask has. One field for each, so that neither is moved about as part of a whole.
#[derive(Clone, Copy)]
enum Answered {
    Nothing,
    /// `reply` is initialised.
    Reply,
    /// `error` is.
    Error,
}

#[repr(C)]
pub(super) struct Call<M: Message> {
    node: Node,
    pub(super) port: Port<M>,
    deadline_ns: u64,
    chain: u64,
}

/// Who gets the answer of a [`Call`], and where the message is.
pub(super) enum Port<M: Message> {
    /// The promise has the message, so that whoever waits for it can take it back.
    Promise(Arc<Promise<M>>),
    /// Passed on by another handler, or put aside by this one. `None`: nobody.
    Passed(M, Option<Deferred<M::Reply>>),
}

impl<M: Message> Tell<M> {
    pub(super) fn boxed(vtable: &'static NodeVTable, msg: M) -> Letter<Self> {
        // SAFETY: as `Letter` asks for.
        unsafe { Letter::new(Self { node: Node::new(vtable), msg }) }
    }

    /// # Safety
    ///
    /// The node came from [`boxed`](Self::boxed) for this `M`, and is the caller's.
    pub(super) unsafe fn open(node: NonNull<Node>) -> M {
        // SAFETY: as the caller promises.
        unsafe { pool::take(node.cast::<Self>()) }.msg
    }
}

impl<M: Message> Beat<M> {
    pub(super) fn boxed(vtable: &'static NodeVTable, msg: M, queued: Arc<AtomicU32>) -> Letter<Self> {
        // SAFETY: as `Letter` asks for.
        unsafe { Letter::new(Self { node: Node::new(vtable), msg, queued }) }
    }

    /// # Safety
    ///
    /// The node came from [`boxed`](Self::boxed) for this `M`, and is the caller's.
    pub(super) unsafe fn open(node: NonNull<Node>) -> M {
        // SAFETY: as the caller promises.
        unsafe { pool::take(node.cast::<Self>()) }.over()
    }

    /// Another beat may be queued.
    pub(super) fn over(self) -> M {
        // ORDERING: Release pairs with the Acquire in `interval`.
        self.queued.store(0, Ordering::Release);
        self.msg
    }
}

impl<M: Message> Call<M> {
    pub(super) fn boxed(vtable: &'static NodeVTable, port: Port<M>, deadline_ns: u64, chain: u64) -> Letter<Self> {
        // SAFETY: as `Letter` asks for.
        unsafe { Letter::new(Self { node: Node::new(vtable), port, deadline_ns, chain }) }
    }

    /// # Safety
    ///
    /// The node came from [`boxed`](Self::boxed) for this `M`, and is the caller's.
    pub(super) unsafe fn open(node: NonNull<Node>) -> Self {
        // SAFETY: as the caller promises.
        unsafe { pool::take(node.cast::<Self>()) }
    }
}

// SAFETY: the pointer is used under the lock only, where invariant 3 makes it valid.
unsafe impl Send for Tether {}
// SAFETY: as above.
unsafe impl Sync for Tether {}

// SAFETY: the links are a field of the node, and only lists change them.
unsafe impl Linked for Waiting {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

impl Waiting {
    /// The sender does not wait for the actor any more, although it does not know yet.
    pub(super) fn let_go(&self) {
        // SAFETY: the sender waits, so it is alive, and its edge is not in use there.
        if let Some(sender) = unsafe { self.sender.as_ref() } {
            sender.edge.clear();
        }
    }
}

impl Asked {
    /// The asker does not wait for the actor any more, although it does not know yet: before its wait is ended, or a walk could
    /// find an edge that stands for nothing.
    #[inline]
    fn let_go(&self) {
        // SAFETY: the asker waits, or is about to look under the lock: so it is alive, and its edge is not in use there.
        if let Some(asker) = unsafe { self.asker.as_ref() } {
            asker.edge.clear();
        }
    }
}

#[inline]
fn unlock(mail: Locked<'_, Mail>, wake: Option<Wake>) {
    drop(mail);
    if let Some(wake) = wake {
        wake.schedule();
    }
}

/// Calls the handler.
///
/// # Safety
///
/// `running` is of the actor type `A`, and not used by anybody else during the call.
#[inline]
unsafe fn handle<A: Handler<M>, M: Message>(running: Running, msg: M) -> Result<M::Reply, Box<Exit>> {
    // SAFETY: as the caller promises.
    let (me, ctx) = unsafe { (&mut *running.me.cast::<A>(), &mut *running.ctx.cast::<Context<A>>()) };
    let core: *const Core = ctx.inner.core();
    let result = catch_unwind(AssertUnwindSafe(|| me.handle(msg, ctx)));
    // SAFETY: the core outlives the run.
    result.map_err(|payload| unsafe { &*core }.exit_of(payload))
}

/// The context of a run.
///
/// # Safety
///
/// `running` is of the actor type `A`; the result is used only while nobody has the context mutably.
#[inline]
unsafe fn inner<'a, A: Actor>(running: Running) -> (&'a Core, &'a Frame) {
    // SAFETY: as the caller promises; core and frame outlive the run.
    unsafe {
        let inner = &(*running.ctx.cast::<Context<A>>()).inner;
        (inner.core(), running.frame.as_ref())
    }
}

/// Drops what a user made. A panic of its destructor is the actor's.
fn drop_caught<T>(core: &Core, value: T) -> Result<(), Box<Exit>> {
    core.guarded(|| drop(value))
}

unsafe fn run_tell<A: Handler<M>, M: Message>(
    node: NonNull<Node>,
    mail: Locked<'_, Mail>,
    wake: Option<Wake>,
    running: Running,
) -> Result<(), Box<Exit>> {
    unlock(mail, wake);
    // SAFETY: it is this kind's vtable that calls, with a node that was taken out, and a run of type `A`.
    unsafe {
        let (core, frame) = inner::<A>(running);
        frame.set(ReplyTo::Nobody, NEVER, 0);
        let reply = handle::<A, M>(running, Tell::<M>::open(node))?;
        if std::mem::needs_drop::<M::Reply>() { drop_caught(core, reply) } else { Ok(()) }
    }
}

unsafe fn run_beat<A: Handler<M>, M: Message>(
    node: NonNull<Node>,
    mail: Locked<'_, Mail>,
    wake: Option<Wake>,
    running: Running,
) -> Result<(), Box<Exit>> {
    unlock(mail, wake);
    // SAFETY: as in `run_tell`.
    unsafe {
        let (core, frame) = inner::<A>(running);
        frame.set(ReplyTo::Nobody, NEVER, 0);
        let reply = handle::<A, M>(running, Beat::<M>::open(node))?;
        drop_caught(core, reply)
    }
}

unsafe fn refuse_beat<M: Message>(node: NonNull<Node>, core: &Core, _: Refusal) -> Option<Wake> {
    // SAFETY: it is this kind's vtable that calls, with a node that was taken out.
    let msg = unsafe { Beat::<M>::open(node) };
    let _ = drop_caught(core, msg);
    None
}

unsafe fn refuse_tell<M: Message>(node: NonNull<Node>, core: &Core, _: Refusal) -> Option<Wake> {
    // SAFETY: it is this kind's vtable that calls, with a node that was taken out.
    let msg = unsafe { Tell::<M>::open(node) };
    letters::lost(core.id(), type_name::<M>());
    let _ = drop_caught(core, msg);
    None
}

impl<M: Message> Ask<M> {
    #[inline(always)]
    pub(super) fn new(asked: Asked, msg: M) -> Self {
        Self {
            asked,
            msg: UnsafeCell::new(Some(msg)),
            answered: Cell::new(Answered::Nothing),
            reply: UnsafeCell::new(MaybeUninit::uninit()),
            error: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// The answer, which is there.
    ///
    /// # Safety
    ///
    /// Nobody else touches the ask any more.
    #[inline(always)]
    pub(super) unsafe fn take_answer(&self) -> Result<M::Reply, SendError<M>> {
        match self.answered.replace(Answered::Nothing) {
            // SAFETY: as the caller promises; `answered` says which is initialised, and is taken along.
            Answered::Reply => Ok(unsafe { (*self.reply.get()).assume_init_read() }),
            // SAFETY: as above.
            Answered::Error => Err(unsafe { (*self.error.get()).assume_init_read() }),
            Answered::Nothing => unreachable!("an ask that was answered has its answer"),
        }
    }

    /// Leaves the answer, and ends the asker's wait. `neighbour`: the asker lives on the caller's worker.
    ///
    /// # Safety
    ///
    /// The ask is alive, and the lock that guards it is held, or it is a neighbour's (invariant 3 of `raw`); it has no answer
    /// yet.
    #[inline(always)]
    unsafe fn put(&self, answer: Result<M::Reply, SendError<M>>, neighbour: bool) -> Option<Wake> {
        // SAFETY: under the lock that the asker takes before it looks, unless the wait that is ended here tells it, or it does
        // not run now. Who else could end the wait of a neighbour, its worker's wheel and loop, does not run now either.
        unsafe {
            match answer {
                Ok(reply) => {
                    (*self.reply.get()).write(reply);
                    self.answered.set(Answered::Reply);
                }
                Err(error) => {
                    (*self.error.get()).write(error);
                    self.answered.set(Answered::Error);
                }
            }
            self.asked.let_go();
            // None: the asker is below the run on this worker, or has not come to wait yet; it looks when it does.
            self.asked.ticket.take()?.notify(neighbour.then_some(self.asked.home as u16))
        }
    }
}

impl<M: Message> Drop for Ask<M> {
    #[inline]
    fn drop(&mut self) {
        if !matches!(self.answered.get(), Answered::Nothing) {
            // SAFETY: the asker leaves the frame, so nobody else touches the ask.
            drop(unsafe { self.take_answer() });
        }
    }
}

unsafe fn run_ask<A: Handler<M>, M: Message>(
    node: NonNull<Node>,
    mail: Locked<'_, Mail>,
    wake: Option<Wake>,
    running: Running,
) -> Result<(), Box<Exit>> {
    // SAFETY: it is this kind's vtable that calls, with a node that was taken out under the lock; a run of type `A`.
    let (core, frame, msg, neighbour) = unsafe {
        let ask = node.cast::<Ask<M>>().as_ref();
        let (core, frame) = inner::<A>(running);
        ask.asked.place.set(Place::Handled(running.frame));
        frame.set(ReplyTo::Asked(node.cast(), reply_ops::<M>()), ask.asked.deadline_ns, ask.asked.chain);
        let neighbour = ask.asked.home == u32::from(core.header.state.home());
        (core, frame, (*ask.msg.get()).take(), neighbour)
    };
    unlock(mail, wake);
    let Some(msg) = msg else { unreachable!("an ask was queued without its message") };
    // SAFETY: as above.
    match unsafe { handle::<A, M>(running, msg) } {
        Ok(reply) => answer::<M>(core, frame, Ok(reply), neighbour),
        Err(exit) => {
            let _ = answer::<M>(core, frame, Err(SendError::Died((*exit).clone())), neighbour);
            Err(exit)
        }
    }
}

/// Gives the asker of the message that was handled in this frame its answer, or drops it if nobody waits. `neighbour`: the
/// asker lives on this worker, so it does not run now, and what it does to the ask needs no lock (invariant 3 of `raw`).
#[inline(always)]
fn answer<M: Message>(
    core: &Core,
    frame: &Frame,
    answer: Result<M::Reply, SendError<M>>,
    neighbour: bool,
) -> Result<(), Box<Exit>> {
    let mail = if neighbour { None } else { Some(core.mail.lock()) };
    let ReplyTo::Asked(asked, _) = frame.reply_to.replace(ReplyTo::Nobody) else {
        drop(mail);
        return drop_caught(core, answer);
    };
    // SAFETY: it is `Handled` in this frame (it would have said so if it had left); the lock is held, or it is a neighbour's.
    let wake = unsafe {
        let ask = asked.cast::<Ask<M>>().as_ref();
        ask.asked.place.set(Place::Done);
        ask.put(answer, neighbour)
    };
    drop(mail);
    if let Some(wake) = wake {
        wake.schedule();
    }
    Ok(())
}

unsafe fn refuse_ask<M: Message>(node: NonNull<Node>, _: &Core, why: Refusal) -> Option<Wake> {
    // SAFETY: it is this kind's vtable that calls, under the lock, with a node that was taken out.
    unsafe {
        let ask = node.cast::<Ask<M>>().as_ref();
        ask.asked.place.set(Place::Done);
        let msg = (*ask.msg.get()).take()?;
        ask.put(Err(refused(why, msg)), false)
    }
}

pub(super) fn refused<M>(why: Refusal, msg: M) -> SendError<M> {
    match why {
        Refusal::Closed => SendError::Closed(msg),
        Refusal::Full => SendError::Full(msg),
    }
}

unsafe fn run_call<A: Handler<M>, M: Message>(
    node: NonNull<Node>,
    mail: Locked<'_, Mail>,
    wake: Option<Wake>,
    running: Running,
) -> Result<(), Box<Exit>> {
    unlock(mail, wake);
    // SAFETY: it is this kind's vtable that calls, with a node that was taken out.
    let Call { port, deadline_ns, chain, .. } = unsafe { Call::<M>::open(node) };
    let (msg, reply) = match port {
        Port::Passed(msg, reply) => (msg, reply),
        Port::Promise(promise) => match promise.take_message() {
            Some(msg) => (msg, Some(Deferred::new(promise))),
            None => return Ok(()), // It was taken back.
        },
    };
    let mut reply = reply;
    // SAFETY: as above; `reply` outlives the handler, and is reached through the frame only meanwhile.
    let (core, result) = unsafe {
        let (core, frame) = inner::<A>(running);
        let reply_to = match &reply {
            Some(_) => ReplyTo::Port((&raw mut reply).cast(), reply_ops::<M>()),
            None => ReplyTo::Nobody,
        };
        frame.set(reply_to, deadline_ns, chain);
        let result = handle::<A, M>(running, msg);
        frame.reply_to.set(ReplyTo::Nobody);
        (core, result)
    };
    match result {
        Ok(value) => match reply {
            Some(reply) => core.guarded(|| reply.reply(value)),
            None => drop_caught(core, value),
        },
        Err(exit) => {
            if let Some(reply) = reply {
                let _ = core.guarded(|| reply.fail(Failure::Died((*exit).clone())));
            }
            Err(exit)
        }
    }
}

unsafe fn refuse_call<M: Message>(node: NonNull<Node>, core: &Core, why: Refusal) -> Option<Wake> {
    // SAFETY: it is this kind's vtable that calls, with a node that was taken out.
    let _ = match unsafe { Call::<M>::open(node) }.port {
        Port::Promise(promise) => core.guarded(|| promise.refuse(why)),
        Port::Passed(msg, reply) => core.guarded(|| {
            match reply {
                Some(reply) => reply.fail(Failure::Died(core.why_closed())),
                None => letters::lost(core.id(), type_name::<M>()),
            }
            drop(msg);
        }),
    };
    None
}

/// A box that was taken out of its list and will not be handled: it is refused when the lock is free.
#[must_use]
pub(super) struct Evicted(NonNull<Node>);

impl Evicted {
    /// Refuses an ask at once: then it is no box.
    ///
    /// # Safety
    ///
    /// The node was taken out of its list under the lock, which is still held, and is the caller's.
    pub(super) unsafe fn new(node: NonNull<Node>, core: &Core, why: Refusal) -> Result<Option<Wake>, Self> {
        // SAFETY: as the caller promises.
        unsafe {
            let vtable = node.as_ref().vtable;
            if vtable.asked { Ok((vtable.refuse)(node, core, why)) } else { Err(Self(node)) }
        }
    }

    /// Outside the lock.
    pub(super) fn refuse(self, core: &Core, why: Refusal) {
        // SAFETY: the box was taken out of its list, so it is ours (invariant 2 of `raw`).
        let wake = unsafe { (self.0.as_ref().vtable.refuse)(self.0, core, why) };
        debug_assert!(wake.is_none());
    }
}

/// What can be done about the reply of the running handler.
pub(super) struct ReplyOps {
    reply_type: fn() -> TypeId,
    /// Makes a `Deferred<R>` of it, where the pointer points (an `Option<Deferred<R>>`).
    detach: unsafe fn(&Core, &Frame, *mut ()),
}

const fn reply_ops<M: Message>() -> &'static ReplyOps {
    const { &ReplyOps { reply_type: TypeId::of::<M::Reply>, detach: detach::<M> } }
}

/// Makes a `Deferred` of the running handler's reply. `None`: the handler's reply is of another type. Whatever the handler
/// returns is dropped from now on.
pub(crate) fn defer<R: Send + 'static>(core: &Core, frame: &Frame) -> Option<Deferred<R>> {
    let ops = {
        let _mail = core.mail.lock();
        match frame.reply_to.get() {
            ReplyTo::Nobody => return Some(Deferred::nobody()),
            ReplyTo::Asked(_, ops) | ReplyTo::Port(_, ops) => ops,
        }
    };
    if (ops.reply_type)() != TypeId::of::<R>() {
        return None;
    }
    let mut deferred = Some(Deferred::<R>::nobody());
    // SAFETY: the operations are those of a message whose reply is an `R`.
    unsafe { (ops.detach)(core, frame, (&raw mut deferred).cast()) };
    deferred
}

unsafe fn detach<M: Message>(core: &Core, frame: &Frame, to: *mut ()) {
    let to = to.cast::<Option<Deferred<M::Reply>>>();
    let tether = Arc::new(Tether(SpinLock::new(None)));
    let _mail = core.mail.lock();
    match frame.reply_to.replace(ReplyTo::Nobody) {
        ReplyTo::Nobody => {} // The asker has just left.
        // SAFETY: `to` and the port are of this type, as the caller made sure; the port is not used by others meanwhile.
        ReplyTo::Port(port, _) => unsafe { *to = (*port.cast::<Option<Deferred<M::Reply>>>()).take() },
        // SAFETY: the ask is `Handled` in this frame, and the lock is held; its actor waits, so its edge is not in use there.
        ReplyTo::Asked(asked, _) => unsafe {
            *tether.0.lock() = Some(asked);
            let ask = asked.as_ref();
            ask.tether.set(Some(Arc::clone(&tether)));
            ask.place.set(Place::Detached);
            ask.let_go();
            *to = Some(Deferred::new(Tethered::<M> { tether, _message: std::marker::PhantomData }));
        },
    }
}

/// The put-off reply to an [`Ask`].
struct Tethered<M> {
    tether: Arc<Tether>,
    _message: std::marker::PhantomData<fn(M)>,
}

impl<M: Message> Answer<M::Reply> for Tethered<M> {
    fn answer(self: Box<Self>, answer: Result<M::Reply, Failure>) {
        let mut tether = self.tether.0.lock();
        let Some(asked) = tether.take() else {
            drop(tether);
            return; // The asker has left; a late reply is dropped here.
        };
        // SAFETY: the ask is alive while its tether leads to it, and the lock is held; it is an `Ask<M>` by `detach`.
        let wake = unsafe { asked.cast::<Ask<M>>().as_ref().put(answer.map_err(Failure::into_error), false) };
        drop(tether);
        if let Some(wake) = wake {
            wake.schedule();
        }
    }
}
