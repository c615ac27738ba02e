//! The sending side of what is sent without waiting for a reply: told, forwarded, of timers and of the actor to itself.

#![forbid(unsafe_code)]

use std::any::type_name;
use std::sync::Arc;
use std::time::Duration;

use super::cell::{Core, Strong};
use super::edge::How;
use super::enqueue::{NoRoom, Sent, enqueue, enqueue_async, enqueue_or_wait};
use super::envelope::{Boxed, Envelope, EnvelopeKind};
use super::fits::assert_fits;
use super::lost::lost;
use super::origin::SendOrigin;
use super::owed::{Failure, Refusal, Unanswered};
use super::payload::{Beat, Notice, Passed, Route, StreamEnded, Tell};
use crate::actor::timer::Timer;
use crate::actor::{Exit, Message, Returned, SendError};
use crate::park::checkpoint;

/// Sends without waiting for a reply. `wait`: for room, if the mailbox is full and blocks; in an actor for so long.
// The box is made by the caller: a large message is moved once more for each call that it is handed on by.
#[inline]
#[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
pub(crate) fn tell<M: Message>(
    target: &Core,
    boxed: Boxed<Tell<M>>,
    wait: Option<Duration>,
) -> Result<(), SendError<M>> {
    assert_fits::<M>(target);
    if wait.is_some() {
        checkpoint();
    }
    let pushed = target.mailbox.lock().push(boxed);
    match pushed {
        Ok(launch) => {
            target.launch(launch);
            Ok(())
        }
        Err((_, boxed)) => tell_again(target, boxed.into(), wait),
    }
}

/// As [`tell`], and waits for room for so long, whatever the sender is.
#[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
pub(crate) fn tell_within<M: Message>(
    target: &Core,
    boxed: Boxed<Tell<M>>,
    timeout: Duration,
) -> Result<(), SendError<M>> {
    assert_fits::<M>(target);
    checkpoint();
    let sent = enqueue_or_wait(target, boxed.into(), SendOrigin::of_tell_within(timeout), NoRoom::Waits);
    sent.map(drop).or_else(|(why, envelope)| give_back(target, why, envelope))
}

#[cold]
#[inline(never)]
#[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
fn tell_again<M: Message>(target: &Core, envelope: Envelope, wait: Option<Duration>) -> Result<(), SendError<M>> {
    let no_room = if wait.is_some() { NoRoom::Waits } else { NoRoom::Fails };
    let sent = enqueue_or_wait(target, envelope, SendOrigin::of_tell(wait.unwrap_or_default()), no_room);
    sent.map(drop).or_else(|(why, envelope)| give_back(target, why, envelope))
}

/// Gives a message back that could not be told.
#[cold]
#[inline(never)]
fn give_back<M: Message>(target: &Core, why: Unanswered, envelope: Envelope) -> Result<(), SendError<M>> {
    if let Unanswered::Refused(Refusal::Dropped) = why {
        lost(target.id(), type_name::<M>());
        return Ok(());
    }
    why.with_message(|| Boxed::<Tell<M>>::of(envelope).open().0)
}

/// As `tell`, for a future.
pub(crate) async fn tell_async<M: Message>(target: Strong, boxed: Boxed<Tell<M>>) -> Result<(), SendError<M>> {
    assert_fits::<M>(target.core());
    let sent = enqueue_async(target.core(), boxed.into(), 0).await;
    sent.map(drop).or_else(|(why, envelope)| give_back(target.core(), Unanswered::Refused(why), envelope))
}

/// Sends a message with the reply that somebody else waits for: from now on for `target`. It does not count; waits for nothing.
pub(crate) fn forward<M: Message>(target: &Core, boxed: Boxed<Passed<M>>) -> Result<(), SendError<M>> {
    pass(target, boxed).or_else(|boxed| not_forwarded(target, boxed))
}

/// As [`forward`], of a message that nobody takes back: if the mailbox is closed it is lost, and the waiter for the reply learns why.
pub(crate) fn forward_for_good<M: Message>(target: &Core, boxed: Boxed<Passed<M>>) {
    if let Err(mut boxed) = pass(target, boxed) {
        boxed.content().owed.note_lost(target.id());
        let _ = not_forwarded(target, boxed);
    }
}

/// As [`forward`]; if the mailbox is closed, all that was to be passed comes back.
pub(crate) fn pass<M: Message>(target: &Core, mut boxed: Boxed<Passed<M>>) -> Result<(), Boxed<Passed<M>>> {
    assert_fits::<M>(target);
    let Passed { owed, terms, .. } = boxed.content();
    let chain = terms.chain;
    let passed = owed.owed_by(Some(target.weak()), How::message(chain));
    // The promise may be gone as soon as the message is in.
    let passed = passed.filter(|_| chain != 0).map(|(promise, hands)| (Arc::clone(promise), hands));
    match enqueue(target, boxed, chain, None, None) {
        Ok(Sent::Admitted) => Ok(()),
        Ok(_) => {
            passed.inspect(|(promise, hands)| promise.is_queued(*hands));
            Ok(())
        }
        Err((_, boxed)) => Err(boxed),
    }
}

/// Gives a message back that could not be passed on. The waiter for the reply learns why.
#[cold]
#[inline(never)]
fn not_forwarded<M: Message>(target: &Core, mut boxed: Boxed<Passed<M>>) -> Result<(), SendError<M>> {
    if let Some(owed) = boxed.content().owed.take() {
        owed.fail(Failure::Died(target.why_closed()));
    }
    Err(SendError::Closed(Returned::new(boxed.open().msg)))
}

/// Sends a message that does not count, from the actor to itself.
pub(crate) fn notify<M: Message>(target: &Core, route: &Route<M>, msg: M) -> Result<(), SendError<M>> {
    let boxed = Boxed::new(route.notify, Tell(msg));
    let pushed = target.mailbox.lock().push(boxed).map_err(|(_, boxed)| boxed);
    let closed = Unanswered::Refused(Refusal::Closed);
    pushed.map(|launch| target.launch(launch)).or_else(|boxed| give_back(target, closed, boxed.into()))
}

/// As [`notify`], of what nobody misses. False: the actor takes no more.
pub(crate) fn notice<M: Message>(target: &Core, kind: &'static EnvelopeKind<Notice<M>>, msg: M) -> bool {
    let pushed = target.mailbox.lock().push(Boxed::new(kind, Notice(msg)));
    pushed.map(|launch| target.launch(launch)).is_ok()
}

/// Sends what a timer sends: it does not count, and goes ahead of the messages. `Err`: the actor takes no more.
pub(crate) fn beat<M: Message>(target: &Core, route: &Route<M>, msg: M, timer: &Timer) -> Result<(), M> {
    timer.set_queued(true);
    let boxed = Boxed::new(route.beat, Beat { msg, timer: timer.clone() });
    let pushed = target.mailbox.lock().push_due(boxed);
    pushed.map(|launch| target.launch(launch)).map_err(|boxed| boxed.open().over())
}

/// Says that a stream of `M`s has ended, behind all of them. It does not count.
pub(crate) fn stream_ended<M: Message>(target: &Core, kind: &'static EnvelopeKind<StreamEnded>, error: Option<Exit>) {
    let boxed = Boxed::new(kind, StreamEnded { message: type_name::<M>(), error });
    let pushed = target.mailbox.lock().push(boxed);
    let _ = pushed.map(|launch| target.launch(launch));
}

/// Puts a message aside in the running actor's own mailbox: the actor owes the reply still.
pub(crate) fn stash<M: Message>(core: &Core, mut boxed: Boxed<Passed<M>>) {
    boxed.content().owed.owed_by(Some(core.weak()), How::PLAIN);
    let put_aside = core.mailbox.lock().stash(boxed.into());
    if let Err(envelope) = put_aside {
        core.refuse_box(envelope, Refusal::Closed);
    }
}
