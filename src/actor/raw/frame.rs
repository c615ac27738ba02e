//! The message that is being handled, and who waits for what its handler returns.

#![forbid(unsafe_code)]

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::cell::Core;
use super::edge::How;
use super::parcel::{Asked, put_off};
use crate::actor::promise::{Failure, Owed};
use crate::actor::{Actor, Context, Deferred, Exit, Handler, Message};
use crate::park::unwind;
use crate::sys::clock::NEVER;

/// What `Context` and nested sends need to know of the message that is being handled. On the stack of the run; touched by the
/// actor's own thread, and `reply_to` under the lock of its mail while that is `Asked`.
pub(crate) struct Frame {
    /// The handler should have answered by then.
    pub(crate) deadline_ns: Cell<u64>,
    /// The call chain that the message belongs to; 0: none that anybody has asked to be let in.
    pub(crate) chain: Cell<u64>,
    /// Who waits for what the handler returns.
    pub(super) reply_to: Cell<ReplyTo>,
    orphans: Cell<Option<Box<Orphans>>>,
}

/// Replies that were put off and that a handler has dropped while it unwinds: why is known when it has. Those of one that
/// catches its own panic are answered at the end of the run.
#[derive(Default)]
struct Orphans(Vec<Arc<dyn Owed>>);

impl Orphans {
    fn fail(mut self, failure: &Failure) {
        self.0.drain(..).for_each(|owed| owed.fail(failure.clone()));
    }
}

impl Drop for Orphans {
    fn drop(&mut self) {
        self.0.drain(..).for_each(|owed| owed.fail(Failure::NoReply));
    }
}

/// A reply that was put off is dropped unanswered: says why, as far as that is known.
#[cold]
pub(crate) fn abandon(owed: Arc<dyn Owed>) {
    let Some(core) = Core::current() else { return owed.fail(Failure::NoReply) };
    if let Some(exit) = core.ending() {
        return owed.fail(Failure::Died(exit));
    }
    match core.frame() {
        Some(frame) if unwind::unwinding() => {
            let mut orphans = frame.orphans.take().unwrap_or_default();
            orphans.0.push(owed);
            frame.orphans.set(Some(orphans));
        }
        _ => owed.fail(Failure::NoReply),
    }
}

pub(super) enum ReplyTo {
    Nobody,
    /// An ask that waits on its stack.
    Asked(Asked),
    /// A promise.
    Owed(Arc<dyn Owed>),
}

impl Frame {
    pub(super) fn new() -> Self {
        Self {
            deadline_ns: Cell::new(NEVER),
            chain: Cell::new(0),
            reply_to: Cell::new(ReplyTo::Nobody),
            orphans: Cell::new(None),
        }
    }

    /// What is handled next. Between messages, nobody waits for a reply.
    #[inline]
    pub(super) fn set(&self, reply_to: ReplyTo, deadline_ns: u64, chain: u64) {
        let before = self.reply_to.replace(reply_to);
        debug_assert!(matches!(before, ReplyTo::Nobody));
        // Nothing is lost, and nothing has to be looked at.
        std::mem::forget(before);
        self.deadline_ns.set(deadline_ns);
        self.chain.set(chain);
    }

    /// Nobody waits for what is handled next.
    #[inline]
    pub(super) fn clear(&self) {
        self.set(ReplyTo::Nobody, NEVER, 0);
    }
}

/// Calls the handler. `msg` gives the message when its place, the handler's argument, is there, and `reply`
/// takes the reply to where it stays: large ones are moved once. A panic of it is one of the handler.
#[inline]
pub(super) fn handle<A: Handler<M>, M: Message, T>(
    me: &mut A,
    ctx: &mut Context<A>,
    msg: impl FnOnce() -> M,
    reply: impl FnOnce(M::Reply) -> T,
) -> Result<T, Box<Exit>> {
    let result = catch_unwind(AssertUnwindSafe(|| reply(me.handle(msg(), ctx))));
    result.map_err(|payload| died(ctx, payload))
}

#[cold]
fn died<A: Actor>(ctx: &Context<A>, payload: Box<dyn Any + Send>) -> Box<Exit> {
    let exit = ctx.core().exit_of(payload);
    if let Some(orphans) = ctx.inner.frame().orphans.take() {
        let died = Failure::Died((*exit).clone());
        let _ = ctx.core().guarded(|| orphans.fail(&died));
    }
    exit
}

/// Has a message handled whose reply goes to `reply_to`: a promise, or nobody.
pub(super) fn handle_owing<A: Handler<M>, M: Message>(
    me: &mut A,
    ctx: &mut Context<A>,
    msg: impl FnOnce() -> M,
    reply_to: ReplyTo,
    deadline_ns: u64,
    chain: u64,
) -> Result<(), Box<Exit>> {
    if let ReplyTo::Owed(owed) = &reply_to
        && chain != 0
    {
        owed.harden();
    }
    ctx.inner.frame().set(reply_to, deadline_ns, chain);
    let result = handle(me, ctx, msg, Box::new);
    let reply_to = ctx.inner.frame().reply_to.replace(ReplyTo::Nobody);
    settle::<M>(ctx.core(), reply_to, result)
}

/// Gives what the handler has returned to the promise that waits for it, or drops it. Passes a reason to end on.
pub(super) fn settle<M: Message>(
    core: &Core,
    reply_to: ReplyTo,
    result: Result<Box<M::Reply>, Box<Exit>>,
) -> Result<(), Box<Exit>> {
    let owed = match reply_to {
        ReplyTo::Owed(owed) => deferred(owed).ok(),
        ReplyTo::Nobody | ReplyTo::Asked(_) => None,
    };
    match (owed, result) {
        (Some(owed), Ok(reply)) => core.guarded(|| owed.reply_boxed(reply)),
        (None, Ok(reply)) => core.guarded(|| drop(reply)),
        (owed, Err(exit)) => {
            let died = Failure::Died((*exit).clone());
            let _ = core.guarded(|| owed.map(|owed| owed.fail(died)));
            Err(exit)
        }
    }
}

/// `Err`: it is a promise of another type.
fn deferred<R: Send + 'static>(owed: Arc<dyn Owed>) -> Result<Deferred<R>, Arc<dyn Owed>> {
    let mut deferred = Deferred::<R>::nobody();
    owed.give(&mut deferred)?;
    Ok(deferred)
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
