//! For each kind of envelope: how the handler of an actor gets the message, and what becomes of the reply. Who calls it is in
//! [`glue`](super::glue).

#![allow(unsafe_code)]

use std::any::TypeId;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::actor::engine::ask::{Ask, answer, asks};
use crate::actor::engine::call::{calls, share_of};
use crate::actor::engine::envelope::{Boxed, Envelope, EnvelopeKind, GoesOn, Held, Payload, boxes};
use crate::actor::engine::frame::{ReplyTo, Terms};
use crate::actor::engine::payload::{Beat, Notice, Passed, Route, StreamEnded, Tell};
use crate::actor::engine::promise::{died, settle};
use crate::actor::engine::silence::heard;
use crate::actor::glue::say_signal;
use crate::actor::{Actor, Context, Exit, Message, Receives, Signal};
use crate::base::list::Owner;

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

impl<A: Receives<M>, M: Message> Handled<A> for Notice<M> {
    fn run(boxed: Boxed<Self>, me: &mut A, ctx: &mut Context<A>) -> GoesOn {
        ctx.inner.frame().clear();
        handle(me, ctx, || boxed.open().0, drop).map(drop)
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
        ask: const { &asks(run_ask::<A, M>, TypeId::of::<A>()) },
        call: const { &calls(run_call::<A, M>, TypeId::of::<A>()) },
        passed: const { &box_of::<A, _>(false) },
        ask_timeout: A::ASK_TIMEOUT,
        _message: PhantomData,
    }
}

/// How an actor of this crate notes something for itself.
pub(crate) const fn notice<A: Receives<M>, M: Message>() -> EnvelopeKind<Notice<M>> {
    box_of::<A, _>(false)
}

/// How an actor is told of the end of a stream.
pub(crate) const fn end_of_stream<A: Actor>() -> EnvelopeKind<StreamEnded> {
    box_of::<A, _>(false)
}

const fn box_of<A: Actor, E: Handled<A>>(is_counted: bool) -> EnvelopeKind<E> {
    boxes(run_box::<A, E>, TypeId::of::<A>(), is_counted)
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
