//! [`Deferred`]: the right to answer a message later.

#![forbid(unsafe_code)]

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::actor::ActorId;
use crate::actor::engine::cell::Core;
use crate::actor::engine::edge::How;
use crate::actor::engine::owed::{Answer, Failure, Owed};
use crate::actor::engine::weak::Weak;
use crate::park::unwind;

/// Makes a [`Deferred`] of a promise in `to`. `Err`: that is one of another type.
pub(crate) fn give<R: Send + 'static, P: Answer<R> + 'static>(
    from: Arc<P>,
    to: &mut dyn Any,
) -> Result<(), Arc<dyn Owed>> {
    match to.downcast_mut::<Deferred<R>>() {
        Some(to) => {
            *to = Deferred(Some(from));
            Ok(())
        }
        None => Err(from),
    }
}

/// Gives the reply to a message later: what [`Context::defer`](crate::actor::Context::defer) returns.
///
/// A `Deferred` may go to any thread. Dropped without an answer, it fails the ask: the sender gets
/// [`SendError::NoReply`](crate::actor::SendError::NoReply), or [`SendError::Died`](crate::actor::SendError::Died) with
/// the cause if it is dropped because an actor ends (with its state, by the panic or kill that unwinds the handler, or
/// with a message that was queued there). A reply that comes when no sender waits any more is dropped.
///
/// ```
/// use green::actor::{Actor, Context, Handler, Message, SendError};
///
/// struct Forgetful;
/// impl Actor for Forgetful {}
/// struct Ask;
/// impl Message for Ask { type Reply = u32; }
/// impl Handler<Ask> for Forgetful {
///     fn handle(&mut self, _: Ask, ctx: &mut Context<Self>) -> u32 {
///         drop(ctx.defer::<Ask>());
///         0 // dropped
///     }
/// }
/// assert!(matches!(Forgetful.start().send(Ask), Err(SendError::NoReply)));
/// ```
pub struct Deferred<R>(Option<Arc<dyn Answer<R>>>);

impl<R: Send + 'static> Deferred<R> {
    /// For a message that nobody waits for.
    pub(crate) fn nobody() -> Self {
        Self(None)
    }

    /// Is there somebody who gets the answer? Not when the other share, of a [`Pending`](crate::actor::Pending) or an asker, was dropped.
    pub(crate) fn is_awaited(&self) -> bool {
        self.0.as_ref().is_some_and(|to| Arc::strong_count(to) > 1)
    }

    /// See [`Owed::note_lost`].
    pub(crate) fn note_lost(&self, by: ActorId) {
        if let Some(to) = &self.0 {
            to.note_lost(by);
        }
    }

    /// See [`Owed::owed_by`]. Gives the place that was told, too.
    pub(crate) fn owed_by(&self, actor: Option<Weak>, how: How) -> Option<(&Arc<dyn Answer<R>>, u32)> {
        self.0.as_ref().map(|to| (to, to.owed_by(actor, how)))
    }

    /// See [`Owed::harden`].
    pub(crate) fn harden(&self) {
        if let Some(to) = &self.0 {
            to.harden();
        }
    }

    pub(crate) fn take(&mut self) -> Option<Arc<dyn Owed>> {
        self.0.take().map(|to| to as _)
    }

    /// Answers. Does not wait.
    ///
    #[doc = include_str!("docs/deferred_reply.md")]
    pub fn reply(self, reply: R) {
        if self.0.is_some() {
            self.answer(Ok(Box::new(reply)));
        }
    }

    pub(crate) fn answer(mut self, answer: Result<Box<R>, Failure>) {
        if let Some(to) = self.0.take() {
            to.answer(answer);
        }
    }
}

impl<R> Drop for Deferred<R> {
    fn drop(&mut self) {
        if let Some(to) = self.0.take() {
            abandon(to);
        }
    }
}

impl<R> fmt::Debug for Deferred<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deferred").field("awaited", &self.0.is_some()).finish_non_exhaustive()
    }
}

/// A reply that was put off is dropped unanswered: says why, as far as that is known.
#[cold]
fn abandon(owed: Arc<dyn Owed>) {
    let Some(core) = Core::current() else { return owed.fail(Failure::NoReply) };
    if let Some(exit) = core.ending() {
        return owed.fail(Failure::Died(exit));
    }
    match core.frame() {
        Some(frame) if unwind::unwinding() => frame.keep_orphan(owed),
        _ => owed.fail(Failure::NoReply),
    }
}
