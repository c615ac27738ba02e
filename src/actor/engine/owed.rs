//! An answer that is owed: the side that waits for it, without its type; and why there may be none.

#![forbid(unsafe_code)]

use std::any::Any;
use std::sync::Arc;

use super::edge::How;
use super::weak::Weak;
use crate::actor::{ActorId, Cycle, Exit, Returned, SendError};

/// Why a message is given back unhandled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    Closed,
    Full,
    /// The mailbox is full, and drops what is new.
    Dropped,
}

/// Why there is no reply.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    Died(Exit),
    NoReply,
}

/// Why a message is in no mailbox, or has no answer. The message is not in it: the sender, which reads this, has the message, if no
/// other side does.
pub(crate) enum Unanswered {
    Refused(Refusal),
    TimedOut,
    Deadlock(Cycle),
    Failed(Failure),
}

impl Unanswered {
    /// Of a cycle of more than asks, by the numbers and names of the actors in it.
    pub(crate) fn deadlock(cycle: Vec<(u64, Option<Box<str>>)>) -> Self {
        Unanswered::Deadlock(Cycle::new(cycle.into_iter().map(|(id, name)| (ActorId(id), name))))
    }

    /// Of a message that was not handled. The whole `Result` is made where the caller wants it: an error alone would be one more copy of
    /// the message on the stack.
    #[cold]
    #[inline(never)]
    pub(crate) fn with_message<T, M>(self, msg: impl FnOnce() -> M) -> Result<T, SendError<M>> {
        match self {
            Unanswered::Refused(Refusal::Closed) => made(msg, |msg| SendError::Closed(Returned::new(msg))),
            Unanswered::Refused(Refusal::Full | Refusal::Dropped) => {
                made(msg, |msg| SendError::Full(Returned::new(msg)))
            }
            Unanswered::TimedOut => made(msg, |msg| SendError::Timeout(Some(Returned::new(msg)))),
            Unanswered::Deadlock(cycle) => {
                made(msg, |msg| SendError::Deadlock { msg: Some(Returned::new(msg)), cycle })
            }
            Unanswered::Failed(_) => unreachable!("no handler could fail to answer what none has"),
        }
    }

    /// Of a message whose handler has started. Each error is made where the caller wants it (it has room for a message).
    #[cold]
    pub(crate) fn without_message<T, M>(self) -> Result<T, SendError<M>> {
        match self {
            Unanswered::TimedOut => Err(SendError::Timeout(None)),
            Unanswered::Deadlock(cycle) => Err(SendError::Deadlock { msg: None, cycle }),
            Unanswered::Failed(Failure::Died(exit)) => Err(SendError::Died(exit)),
            Unanswered::Failed(Failure::NoReply) => Err(SendError::NoReply),
            Unanswered::Refused(_) => unreachable!("a message that is handled was not refused"),
        }
    }
}

/// Apart, so that there is one place for a large message, and not one for each error.
#[inline(never)]
fn made<T, M>(msg: impl FnOnce() -> M, error: impl FnOnce(M) -> SendError<M>) -> Result<T, SendError<M>> {
    Err(error(msg()))
}

/// Where a reply of type `R` goes, whatever the message was.
pub(crate) trait Answer<R>: Owed {
    fn answer(&self, answer: Result<Box<R>, Failure>);
}

/// The same, without its type.
pub(crate) trait Owed: Send + Sync {
    /// Makes a [`Deferred`] of it in `to`. `Err`: that is one of another type.
    fn give(self: Arc<Self>, to: &mut dyn Any) -> Result<(), Arc<dyn Owed>>;

    fn fail(&self, failure: Failure);

    /// The message is not handled, nor given back, by that actor: if nobody takes the answer, which is about to fail, it is a dead letter.
    fn note_lost(&self, by: ActorId);

    /// Has the thread that waits for the answer look again for what else it waits for.
    fn nudge(&self);

    /// From now on that actor owes the answer, as far as is known: so the actor that waits for the answer waits for that one.
    /// Says how often the debt has changed hands.
    fn owed_by(&self, actor: Option<Weak>, how: How) -> u32;

    /// The message was not let in where it was sent: unless it has changed hands since, it waits behind others, or is handled.
    fn is_queued(&self, hands: u32);

    /// The message is handled now, or was let in and queues: nobody will let it in any more.
    fn harden(&self);
}
