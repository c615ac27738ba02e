//! The glue between actors and the [`engine`](crate::actor::engine): all that is generic over the type of the actor and calls its
//! code. The block with the state, its runs, and, for each kind of envelope, how the handler gets the message.
//!
//! # Invariants
//!
//! Those of [`cell`](crate::actor::engine::cell), and:
//!
//! 1. `Core` is the first field of the `repr(C)` [`Cell`]; a header whose vtable is that of `A` and `K` begins a `Cell<A, K>`.
//! 2. `state` is initialised until the end of an incarnation has dropped it (then the actor is dead, vacant or buried), and touched
//!    by its runs only, and by the warden that fills a vacancy.

#![allow(unsafe_code)]

use std::any::{TypeId, type_name};
use std::cell::UnsafeCell;
use std::io;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::{self, Arc};

use crate::actor::engine::ask::{Ask, answer, asks};
use crate::actor::engine::call::{calls, share_of};
use crate::actor::engine::cell::{Core, InnerExit, Plan, RunState, Strong, WALKERS, after_plain_run, after_run, hold};
use crate::actor::engine::envelope::{Boxed, Envelope, EnvelopeKind, GoesOn, Held, Payload, boxes};
use crate::actor::engine::frame::{Frame, ReplyTo, Terms};
use crate::actor::engine::mailbox_state::{KEPT, MailboxState, Take};
use crate::actor::engine::payload::{Beat, Passed, Route, StreamEnded, Tell};
use crate::actor::engine::promise::{died, settle};
use crate::actor::engine::residents::{end_all, enter, leave, waiting};
use crate::actor::engine::silence::heard;
use crate::actor::engine::warden::Warden;
use crate::actor::engine::weak::Weak;
use crate::actor::{Actor, Context, Deferred, Exit, Message, Receives, Signal};
use crate::base::list::Owner;
use crate::park::interrupt::unlimited;
use crate::park::os;
use crate::sched::entry::PerWorker;
use crate::sched::own::PerThread;
use crate::sched::shared::ActorCalls;
use crate::sched::{Shared, Worker};
use crate::task::header::{Main, Next, Spec, VTable};
use crate::task::pool;
use crate::task::{Header, Task};
use crate::thread_locals::ThreadLocals;

#[repr(C)]
struct Cell<A, K> {
    core: Core,
    state: UnsafeCell<ManuallyDrop<A>>,
    keep: K,
}

/// Says what follows the end of a state: a warden, or nothing (`()`), and then the actor ends.
trait Keep: Send + Sync + 'static {
    const IS_KEPT: bool;

    fn warden(&self) -> Option<&Arc<dyn Warden>>;
}

impl Keep for () {
    const IS_KEPT: bool = false;

    fn warden(&self) -> Option<&Arc<dyn Warden>> {
        None
    }
}

impl Keep for Arc<dyn Warden> {
    const IS_KEPT: bool = true;

    fn warden(&self) -> Option<&Arc<dyn Warden>> {
        Some(self)
    }
}

/// Makes an actor in `shared` and queues its first run.
pub(crate) fn start<A: Actor>(shared: &Arc<Shared>, plan: Plan, state: A) -> io::Result<Strong> {
    start_with(shared, plan, (), state)
}

/// An actor that a warden may give another state.
pub(crate) struct Kept<A> {
    strong: Strong,
    _actor: PhantomData<fn(A) -> A>,
}

/// As [`start`]; the warden says what follows the end of the state.
pub(crate) fn start_kept<A: Actor>(
    shared: &Arc<Shared>,
    plan: Plan,
    warden: Arc<dyn Warden>,
    state: A,
) -> io::Result<Kept<A>> {
    start_with(shared, plan, warden, state).map(|strong| Kept { strong, _actor: PhantomData })
}

impl<A: Actor> Kept<A> {
    pub(crate) fn strong(&self) -> &Strong {
        &self.strong
    }

    /// Gives the actor, if it is vacant, a new state, with which it starts again. Else the state comes back.
    pub(crate) fn revive(&self, state: A) -> Result<(), A> {
        let core = self.strong.core();
        let cell = core.whole().cast::<Cell<A, Arc<dyn Warden>>>();
        let mut mailbox = core.mailbox.lock();
        let Some(duty) = mailbox.revive() else { return Err(state) };
        // SAFETY: `start_kept` has made it for this type; nobody else gets to the state: the old one is dropped, and the next
        // run begins after this.
        unsafe { (*cell.as_ptr()).state.get().write(ManuallyDrop::new(state)) };
        drop(mailbox);
        core.launch(Some(duty));
        Ok(())
    }
}

fn start_with<A: Actor, K: Keep>(shared: &Arc<Shared>, plan: Plan, keep: K, state: A) -> io::Result<Strong> {
    let Some(block) = pool::allocate::<Cell<A, K>>() else {
        let message = format!("no memory for an actor: the allocator refused {} bytes", size_of::<Cell<A, K>>());
        return Err(io::Error::new(io::ErrorKind::OutOfMemory, message));
    };
    let worker = Worker::current().filter(|worker| Arc::ptr_eq(&worker.shared, shared));
    let id = worker.map_or_else(|| os::fresh_ids(1), Worker::fresh_id);
    // A worker's own list, or any.
    let any = || shared.remotes[id as usize % shared.remotes.len()].index;
    let list = worker.filter(|worker| !worker.is_spare).map_or_else(any, |worker| worker.remote.index);
    let kept = if K::IS_KEPT { KEPT } else { 0 };
    shared.has_actors(const { ActorCalls { end: end_all, waiting } });
    let runtime = sync::Weak::into_raw(Arc::downgrade(shared)).cast();
    let spec = Spec {
        name: plan.name,
        size: plan.size,
        id,
        runtime,
        schedule: shared.schedule,
        refs: 3,
        handle: false,
        spawned_at: plan.started_at,
    };
    let vtable = match plan.thread_locals {
        ThreadLocals::PerWorker => const { &vtable::<PerWorker, A, K>() },
        ThreadLocals::PerThread => const { &vtable::<PerThread, A, K>() },
    };
    let core = Core::new(Header::new(spec, vtable), MailboxState::new(plan.mailbox, list | kept));
    // SAFETY: fresh memory for this very type.
    unsafe { block.write(Cell { core, state: UnsafeCell::new(ManuallyDrop::new(state)), keep }) };
    // For `Core::whole`.
    let _ = block.as_ptr().expose_provenance();
    let strong = Strong::from_raw(block.cast());
    // SAFETY: invariant 2: the residents' reference.
    enter(unsafe { Weak::new(Task::from_raw(block.cast())) }, list);
    // SAFETY: invariant 2: the life's reference; the mailbox was made busy, and this is its entry.
    let task = unsafe { Task::from_raw(block.cast()) };
    match worker {
        Some(worker) => worker.launch(task),
        None => shared.inject(task),
    }
    Ok(strong)
}

const fn vtable<M: Main, A: Actor, K: Keep>() -> VTable {
    VTable {
        main: M::MAIN,
        border: M::BORDER,
        run: run::<A, K>,
        take_output: |_, _| unreachable!("an actor has no result"),
        drop_output: |_| unreachable!("an actor has no result"),
        done: |_| unreachable!("an actor is in no scope"),
        free: free::<A, K>,
        after_run: Some(if K::IS_KEPT { after_kept_run::<A, K> } else { after_plain_run }),
        type_name: Some(type_name::<A>),
    }
}

unsafe fn after_kept_run<A: Actor, K: Keep>(header: NonNull<Header>) -> Next {
    // SAFETY: as the caller promises; invariant 1; the block is there as long as the lock of the mailbox is held, and `warden` is
    // called under that.
    unsafe { after_run::<true>(header, || header.cast::<Cell<A, K>>().as_ref().keep.warden().map(Arc::clone)) }
}

unsafe fn free<A, K>(header: NonNull<Header>) {
    let block = header.cast::<Cell<A, K>>();
    WALKERS.wait();
    // SAFETY: the last reference is gone and nobody walks, so the actor has ended and `state` is dropped; invariant 5; the
    // block came from the pool, for this type.
    unsafe {
        drop(sync::Weak::from_raw(header.as_ref().runtime.cast::<Shared>()));
        ptr::drop_in_place(&raw mut (*block.as_ptr()).core);
        ptr::drop_in_place(&raw mut (*block.as_ptr()).keep);
        pool::free(block);
    }
}

/// A message to be passed on. It is written where it is going to be, as it may be large.
#[inline(always)]
pub(crate) fn passed<M: Message>(
    kind: &'static EnvelopeKind<Passed<M>>,
    msg: M,
    owed: Deferred<M::Reply>,
    terms: Terms,
) -> Boxed<Passed<M>> {
    // SAFETY: all four fields are written.
    unsafe {
        Boxed::filled(kind, |place| {
            (&raw mut (*place).msg).write(msg);
            (&raw mut (*place).owed).write(owed);
            (&raw mut (*place).terms).write(terms);
            (&raw mut (*place).seat).write(None);
        })
    }
}

/// Messages of one run; then others have their turn.
const BATCH: u32 = 64;

/// One run: a batch of messages, and the end if there is a reason for it.
unsafe fn run<A: Actor, K: Keep>(header: NonNull<Header>, start: bool) {
    // SAFETY: invariant 1: it is this actor type's vtable that calls.
    let cell = unsafe { header.cast::<Cell<A, K>>().as_ref() };
    let core = &cell.core;
    let frame = Frame::new();
    core.set_frame(&raw const frame);
    // SAFETY: the frame outlives the context, and `core` is alive during a run.
    let mut ctx = Context::new(unsafe { RunState::new(core, &frame) });
    // SAFETY: this is the run.
    let exit = if start { unsafe { batch(cell, &mut ctx) } } else { Some(core.not_started()) };
    if let Some(exit) = exit {
        end(cell, &mut ctx, exit, start);
    }
    core.set_frame(ptr::null());
}

/// The end of an incarnation, and of the actor, unless a warden is to say whether there is another.
#[inline(always)]
fn end<A: Actor, K: Keep>(cell: &Cell<A, K>, ctx: &mut Context<A>, exit: Exit, start: bool) {
    let core = &cell.core;
    let warden = cell.keep.warden();
    if K::IS_KEPT && core.is_buried() {
        // The state is gone, and the exit known.
        let exit = core.why_closed();
        core.begin_end(&exit);
        leave(core);
        return core.end(exit);
    }
    let leaves = start && warden.is_some_and(|warden| warden.keeps());
    let was_started = if leaves { core.begin_leave() } else { core.begin_end(&exit) };
    // SAFETY: invariant 2: this is the run, and it is not buried.
    let state = unsafe { &mut *cell.state.get() };
    if was_started {
        let _ = hook(ctx, |ctx| state.stopping(&exit, ctx));
    }
    // SAFETY: invariant 2: once for each state; nobody touches it afterwards.
    let _ = core.guarded(|| unsafe { ManuallyDrop::drop(state) });
    if leaves {
        return core.leave(exit);
    }
    leave(core);
    let Some(warden) = warden else { return core.end(exit) };
    core.end(exit.clone());
    warden.ended(&exit);
}

/// Handles what is in the mailbox, up to a batch. `Some`: the actor has to end.
///
/// # Safety
///
/// This is the actor's run.
#[inline]
unsafe fn batch<A: Actor, K: Keep>(cell: &Cell<A, K>, ctx: &mut Context<A>) -> Option<Exit> {
    let core = &cell.core;
    // SAFETY: as the caller promises; for one call at a time; if the actor is buried, what is taken first is the end.
    let me = || unsafe { &mut **cell.state.get() };
    for _ in 0..BATCH {
        let mut mailbox = core.mailbox.lock();
        mailbox.runs = true;
        let mut hands_back = false;
        let result = match mailbox.pop_plain() {
            Some(envelope) => {
                // An asker goes on as soon as this run is over: what comes meanwhile is found at its end.
                hands_back = mailbox.is_empty() && envelope.is_ask();
                run_envelope(me(), ctx, envelope, || hold(mailbox, None))
            }
            None => {
                let (take, sender) = mailbox.take(core.is_addressed());
                let held = hold(mailbox, sender);
                match take {
                    Take::Nothing => return None,
                    Take::End(exit) => return Some(exit),
                    Take::Message(envelope) => run_envelope(me(), ctx, envelope, || held),
                    Take::Signal(signal) => {
                        held.release();
                        say_signal(me(), ctx, signal)
                    }
                    Take::Start => {
                        held.release();
                        say_started(me(), ctx, &cell.keep)
                    }
                }
            }
        };
        if let Some(exit) = result.err().or_else(|| ctx.inner.end.take()) {
            return Some(*exit);
        }
        if hands_back {
            break;
        }
    }
    None
}

#[inline(always)]
fn run_envelope<'a, A: Actor>(
    me: &mut A,
    ctx: &mut Context<A>,
    envelope: Envelope,
    held: impl FnOnce() -> Held<'a>,
) -> GoesOn {
    // SAFETY: they are an `A` and its context, and borrowed.
    unsafe { envelope.run(held, TypeId::of::<A>(), ptr::from_mut(me).cast(), ptr::from_mut(ctx).cast()) }
}

#[cold]
fn say_started<A: Actor>(me: &mut A, ctx: &mut Context<A>, keep: &impl Keep) -> GoesOn {
    hook(ctx, |ctx| me.started(ctx))?.map_err(Box::new)?;
    ctx.core().mailbox.lock().has_started();
    if let Some(warden) = keep.warden() {
        warden.started();
    }
    if let Some(timeout) = A::RECEIVE_TIMEOUT {
        ctx.expect_messages(timeout);
    }
    Ok(())
}

#[cold]
fn say_signal<A: Actor>(me: &mut A, ctx: &mut Context<A>, signal: Signal) -> GoesOn {
    hook(
        ctx,
        |ctx| if A::TRAPS_EXITS || !signal.is_trapped() { me.signal(signal, ctx) } else { ctx.default_signal(signal) },
    )
}

/// Calls a hook. A panic is the reason to end.
fn hook<A: Actor, R>(ctx: &mut Context<A>, hook: impl FnOnce(&mut Context<A>) -> R) -> Result<R, Box<Exit>> {
    ctx.inner.frame().clear();
    catch_unwind(AssertUnwindSafe(|| hook(ctx))).map_err(|payload| ctx.core().exit_of(payload))
}

/// Handles one message that a `reenter` of `me` lets in. False: there is none.
///
/// # Panics
///
/// If its handler does, so that the outer one ends, too.
pub(crate) fn run_admitted<A: Actor>(me: &mut A, ctx: &mut Context<A>) -> bool {
    let core: *const Core = ctx.inner.core();
    // SAFETY: the core outlives the run that this is part of.
    let core = unsafe { &*core };
    let mut mailbox = core.mailbox.lock();
    let Some(envelope) = mailbox.take_admitted() else { return false };
    let held = hold(mailbox, None);
    let frame = Frame::new();
    let outer = core.set_frame(&raw const frame);
    let outer_inner = ctx.inner.set_frame(NonNull::from(&frame));
    // A time-out around the `reenter` is not this handler's.
    let result = unlimited(|| run_envelope(me, ctx, envelope, || held));
    core.set_frame(outer);
    ctx.inner.set_frame(outer_inner);
    if let Err(exit) = result {
        std::panic::resume_unwind(Box::new(InnerExit(*exit)));
    }
    true
}

/// What a box holds for actors of type `A`.
trait Handled<A: Actor>: Payload {
    /// Has the message handled, and answers. `Err`: the actor has to end. Does not unwind. The box is opened where its message
    /// is needed: a large one is moved once.
    fn run(boxed: Boxed<Self>, me: &mut A, ctx: &mut Context<A>) -> GoesOn;
}

impl<A: Receives<M>, M: Message> Handled<A> for Tell<M> {
    #[inline]
    fn run(boxed: Boxed<Self>, me: &mut A, ctx: &mut Context<A>) -> GoesOn {
        ctx.inner.frame().clear();
        let result = handle(me, ctx, || boxed.open().0, drop).map(drop);
        note::<A>(ctx);
        result
    }
}

impl<A: Receives<M>, M: Message> Handled<A> for Beat<M> {
    fn run(mut boxed: Boxed<Self>, me: &mut A, ctx: &mut Context<A>) -> GoesOn {
        if boxed.content().timer.is_cancelled() {
            return ctx.core().guarded(|| drop(boxed.open().over()));
        }
        ctx.inner.frame().clear();
        handle(me, ctx, || boxed.open().over(), drop).map(drop)
    }
}

impl<A: Actor> Handled<A> for StreamEnded {
    fn run(boxed: Boxed<Self>, me: &mut A, ctx: &mut Context<A>) -> GoesOn {
        let Self { message, error } = boxed.open();
        let signal = Signal::StreamEnded { message, error };
        say_signal(me, ctx, signal)
    }
}

impl<A: Receives<M>, M: Message> Handled<A> for Passed<M> {
    fn run(mut boxed: Boxed<Self>, me: &mut A, ctx: &mut Context<A>) -> GoesOn {
        let Self { owed, terms, seat, .. } = boxed.content();
        let reply_to = owed.take().map_or(ReplyTo::Nobody, ReplyTo::Owed);
        let (terms, seat) = (*terms, seat.take());
        let result = handle_owing(me, ctx, || boxed.open().msg, reply_to, terms);
        if let Some(seat) = seat.filter(|_| result.is_err() || ctx.inner.end.is_some()) {
            seat.goes_down();
        }
        result
    }
}

/// The route of `M` to `A`.
pub(crate) const fn route<A: Receives<M>, M: Message>() -> Route<M> {
    Route {
        tell: const { &box_of::<A, _>(true) },
        notify: const { &box_of::<A, _>(false) },
        beat: const { &box_of::<A, _>(false) },
        ask: const { &asks(run_ask::<A, M>, TypeId::of::<A>) },
        call: const { &calls(run_call::<A, M>, TypeId::of::<A>) },
        passed: const { &box_of::<A, _>(false) },
        ask_timeout: A::ASK_TIMEOUT,
        _message: PhantomData,
    }
}

/// How an actor is told of the end of a stream.
pub(crate) const fn end_of_stream<A: Actor>() -> EnvelopeKind<StreamEnded> {
    box_of::<A, _>(false)
}

const fn box_of<A: Actor, E: Handled<A>>(is_counted: bool) -> EnvelopeKind<E> {
    boxes(run_box::<A, E>, TypeId::of::<A>, is_counted)
}

/// # Safety
///
/// It is a box with an `E`; the rest is an `A` and its context, which nobody else uses meanwhile.
unsafe fn run_box<A: Actor, E: Handled<A>>(envelope: Envelope, held: Held<'_>, me: *mut (), ctx: *mut ()) -> GoesOn {
    held.release();
    // SAFETY: as the caller promises.
    unsafe { E::run(envelope.boxed(), &mut *me.cast::<A>(), &mut *ctx.cast::<Context<A>>()) }
}

/// # Safety
///
/// It is the envelope of an `Ask<M>`, under the lock; the rest as of [`run_box`].
unsafe fn run_ask<A: Receives<M>, M: Message>(envelope: Envelope, held: Held<'_>, me: *mut (), ctx: *mut ()) -> GoesOn {
    // SAFETY: as the caller promises.
    let (me, ctx) = unsafe { (&mut *me.cast::<A>(), &mut *ctx.cast::<Context<A>>()) };
    // SAFETY: as the caller promises.
    let (msg, neighbour) = unsafe { Ask::<M>::begin(envelope, ctx.core(), ctx.inner.frame()) };
    held.release();
    let Some(msg) = msg else { unreachable!("an ask was queued without its message") };
    let result = handle(me, ctx, || msg, |reply| reply);
    note::<A>(ctx);
    match result.transpose() {
        Some(result) => answer::<M>(ctx.core(), ctx.inner.frame(), result, neighbour),
        None => Ok(()),
    }
}

/// # Safety
///
/// It is the envelope of a `CallBlock<M>`; the rest as of [`run_box`].
unsafe fn run_call<A: Receives<M>, M: Message>(
    envelope: Envelope,
    held: Held<'_>,
    me: *mut (),
    ctx: *mut (),
) -> GoesOn {
    held.release();
    // SAFETY: as the caller promises.
    let (call, me, ctx) =
        unsafe { (share_of::<M>(envelope.into_node()), &mut *me.cast::<A>(), &mut *ctx.cast::<Context<A>>()) };
    let Some(claim) = call.claim() else { return Ok(()) };
    let terms = call.terms();
    // SAFETY: the frame has a share of the block until the handler begins.
    let msg = || unsafe { claim.take() };
    handle_owing::<A, M>(me, ctx, msg, ReplyTo::Owed(call), terms)
}

/// Calls the handler. `msg` gives the message when its place, the handler's argument, is there, and `reply`
/// takes the reply to where it stays: large ones are moved once. A panic of it is one of the handler. `None`: the handler has the
/// right to reply, and nobody waits for what it returns.
#[inline]
fn handle<A: Receives<M>, M: Message, T>(
    me: &mut A,
    ctx: &mut Context<A>,
    msg: impl FnOnce() -> M,
    reply: impl FnOnce(M::Reply) -> T,
) -> Result<Option<T>, Box<Exit>> {
    let result = catch_unwind(AssertUnwindSafe(|| me.__run(msg, ctx, reply)));
    result.map_err(|payload| died(&ctx.inner, payload))
}

/// Notes that a message was handled, for a receive time-out.
#[inline(always)]
fn note<A: Actor>(ctx: &Context<A>) {
    if A::RECEIVE_TIMEOUT.is_some() {
        heard(ctx.core());
    }
}

/// Has a message handled whose reply goes to `reply_to`: a promise, or nobody.
fn handle_owing<A: Receives<M>, M: Message>(
    me: &mut A,
    ctx: &mut Context<A>,
    msg: impl FnOnce() -> M,
    reply_to: ReplyTo,
    terms: Terms,
) -> GoesOn {
    if let ReplyTo::Owed(owed) = &reply_to
        && terms.chain != 0
    {
        owed.harden();
    }
    ctx.inner.frame().set(reply_to, terms);
    let result = handle(me, ctx, msg, Box::new);
    note::<A>(ctx);
    let Some(result) = result.transpose() else { return Ok(()) };
    let reply_to = ctx.inner.frame().reply_to.replace(ReplyTo::Nobody);
    settle::<M>(ctx.core(), reply_to, result)
}
