//! What boxes carry, and what becomes of it.
//!
//! | envelope  | is made by                            | its answer goes                 |
//! | --------- | ------------------------------------- | ------------------------------- |
//! | [`Tell`]  | `tell`, timers, `notify`              | nowhere                         |
//! | [`Beat`]  | an interval                           | nowhere                         |
//! | [`Passed`] | `forward`, `stash`                   | to the promise of who asked     |
//! | [`StreamEnded`] | the end of an attached stream   | nowhere                         |
//!
//! Calls are in [`posted`](super::posted).

#![forbid(unsafe_code)]

use std::any::type_name;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::cell::Core;
use super::frame::{ReplyTo, handle, handle_owing};
use super::lost::lost;
use super::owed::{Failure, Refusal};
use super::parcel::{Ask, Envelope, Kind, Letter, asks, boxes};
use super::posted::{Posted, calls};
use crate::actor::{Actor, Context, Deferred, Exit, Handler, Message, Signal};
use crate::base::atomic::{AtomicU32, Ordering};

/// How messages of one type get to actors of one type, which is forgotten here.
pub(crate) struct Route<M: Message> {
    pub(crate) tell: &'static Kind<Tell<M>>,
    /// A `tell` that does not count.
    pub(super) notify: &'static Kind<Tell<M>>,
    pub(super) beat: &'static Kind<Beat<M>>,
    pub(super) ask: &'static Kind<Ask<'static, M>>,
    pub(crate) call: &'static Kind<Posted<M>>,
    pub(super) passed: &'static Kind<Passed<M>>,
    pub(crate) ask_timeout: Duration,
    _message: PhantomData<fn(M) -> M>,
}

/// How an actor is told of the end of a stream.
pub(super) const fn end_of_stream<A: Actor>() -> Kind<StreamEnded> {
    boxes::<A, _>(false)
}

/// The route of `M` to `A`.
pub(crate) const fn route<A: Handler<M>, M: Message>() -> Route<M> {
    Route {
        tell: const { &boxes::<A, _>(true) },
        notify: const { &boxes::<A, _>(false) },
        beat: const { &boxes::<A, _>(false) },
        ask: const { &asks::<A, M>() },
        call: const { &calls::<A, M>() },
        passed: const { &boxes::<A, _>(false) },
        ask_timeout: A::ASK_TIMEOUT,
        _message: PhantomData,
    }
}

/// Drops what a user made. A panic of its destructor is the actor's.
fn drop_guarded<T>(core: &Core, value: T) -> Result<(), Box<Exit>> {
    if std::mem::needs_drop::<T>() { core.guarded(|| drop(value)) } else { Ok(()) }
}

/// Has a message handled that nobody waits for.
#[inline]
fn run_told<A: Handler<M>, M: Message>(
    me: &mut A,
    ctx: &mut Context<A>,
    msg: impl FnOnce() -> M,
) -> Result<(), Box<Exit>> {
    ctx.inner.frame().clear();
    handle(me, ctx, msg, drop)
}

pub(crate) struct Tell<M>(pub(crate) M);

impl<A: Handler<M>, M: Message> Envelope<A> for Tell<M> {
    #[inline]
    fn run(letter: Letter<Self>, me: &mut A, ctx: &mut Context<A>) -> Result<(), Box<Exit>> {
        run_told(me, ctx, || letter.open().0)
    }

    fn refuse(self, core: &Core, _: Refusal) {
        lost(core.id(), type_name::<M>());
        let _ = drop_guarded(core, self);
    }
}

/// A `tell` of an interval: the next beat is left out as long as this one is queued. Not a dead letter.
pub(super) struct Beat<M> {
    pub(super) msg: M,
    pub(super) queued: Arc<AtomicU32>,
}

impl<M> Beat<M> {
    /// Another beat may be queued.
    pub(super) fn over(self) -> M {
        // ORDERING: Release pairs with the Acquire in `interval`.
        self.queued.store(0, Ordering::Release);
        self.msg
    }
}

impl<A: Handler<M>, M: Message> Envelope<A> for Beat<M> {
    fn run(letter: Letter<Self>, me: &mut A, ctx: &mut Context<A>) -> Result<(), Box<Exit>> {
        run_told(me, ctx, || letter.open().over())
    }

    fn refuse(self, core: &Core, _: Refusal) {
        let _ = drop_guarded(core, self.over());
    }
}

/// That an attached stream has given its last message.
pub(super) struct StreamEnded {
    pub(super) message: &'static str,
}

impl<A: Actor> Envelope<A> for StreamEnded {
    fn run(letter: Letter<Self>, me: &mut A, ctx: &mut Context<A>) -> Result<(), Box<Exit>> {
        ctx.inner.frame().clear();
        let signal = Signal::StreamEnded { message: letter.open().message };
        let result = catch_unwind(AssertUnwindSafe(|| me.signal(signal, ctx)));
        result.map_err(|payload| ctx.core().exit_of(payload))
    }

    fn refuse(self, _: &Core, _: Refusal) {}
}

/// What another handler has passed on, or this one put aside.
pub(super) struct Passed<M: Message> {
    pub(super) msg: M,
    /// `None`: nobody waits for the reply.
    pub(super) owed: Option<Deferred<M::Reply>>,
    pub(super) deadline_ns: u64,
    pub(super) chain: u64,
}

impl<A: Handler<M>, M: Message> Envelope<A> for Passed<M> {
    fn run(letter: Letter<Self>, me: &mut A, ctx: &mut Context<A>) -> Result<(), Box<Exit>> {
        let Self { msg, owed, deadline_ns, chain } = letter.open();
        let reply_to = owed.and_then(Deferred::into_owed).map_or(ReplyTo::Nobody, ReplyTo::Owed);
        handle_owing(me, ctx, || msg, reply_to, deadline_ns, chain)
    }

    fn refuse(self, core: &Core, _: Refusal) {
        let _ = core.guarded(|| {
            match self.owed {
                Some(owed) => owed.fail(Failure::Died(core.why_closed())),
                None => lost(core.id(), type_name::<M>()),
            }
            drop(self.msg);
        });
    }
}
