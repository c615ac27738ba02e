//! The sending side of what is sent without waiting for a reply: told, forwarded, of timers and of the actor to itself.

#![forbid(unsafe_code)]

use std::any::type_name;
use std::sync::Arc;
use std::time::Duration;

use super::cell::{Core, Strong};
use super::edge::How;
use super::enqueue::{Sent, put_letter};
use super::envelope::{Beat, Passed, Route, StreamEnded, Tell};
use super::frame::Terms;
use super::lost::lost;
use super::origin::Origin;
use super::owed::Refusal;
use super::parcel::{Kind, Letter, Parcel};
use super::room::{Entering, Unsent, enter};
use crate::actor::{Deferred, Message, SendError};
use crate::base::atomic::{AtomicU32, Ordering};
use crate::park::checkpoint;

/// Sends without waiting for a reply. `wait`: for room, if the mailbox is full and blocks; in an actor for so long.
// The box is made by the caller: a large message is moved once more for each call that it is handed on by.
#[inline]
pub(crate) fn tell<M: Message>(
    target: &Core,
    letter: Letter<Tell<M>>,
    wait: Option<Duration>,
) -> Result<(), SendError<M>> {
    if wait.is_some() {
        checkpoint();
    }
    let pushed = target.mail.lock().push(letter);
    match pushed {
        Ok(launch) => {
            target.launch(launch);
            Ok(())
        }
        Err((_, letter)) => tell_again(target, letter.into(), wait),
    }
}

#[cold]
#[inline(never)]
fn tell_again<M: Message>(target: &Core, parcel: Parcel, wait: Option<Duration>) -> Result<(), SendError<M>> {
    match enter(target, parcel, Origin::of_tell(wait.unwrap_or_default()), wait.is_some()) {
        Ok(_) => Ok(()),
        Err((why, parcel)) => give_back(target, why, parcel),
    }
}

/// The message of a told box in an error. Apart, so that there is one place for a large one, and not one for each error.
#[inline(never)]
fn open_as<M: Message>(parcel: Parcel, error: impl FnOnce(M) -> SendError<M>) -> Result<(), SendError<M>> {
    Err(error(Letter::<Tell<M>>::of(parcel).open().0))
}

/// Gives a message back that could not be told.
#[cold]
#[inline(never)]
pub(super) fn give_back<M: Message>(target: &Core, why: Unsent, parcel: Parcel) -> Result<(), SendError<M>> {
    match why {
        Unsent::Refused(Refusal::Closed) => open_as(parcel, SendError::Closed),
        Unsent::Refused(Refusal::Full) => open_as(parcel, SendError::Full),
        Unsent::TimedOut => open_as(parcel, |msg| SendError::Timeout(Some(msg))),
        Unsent::Deadlock(cycle) => open_as(parcel, |msg| SendError::Deadlock { msg: Some(msg), cycle }),
        Unsent::Dropped => {
            lost(target.id(), type_name::<M>());
            Ok(())
        }
    }
}

/// As `tell`, for a future.
pub(crate) async fn tell_async<M: Message>(
    target: Strong,
    route: &'static Route<M>,
    msg: M,
) -> Result<(), SendError<M>> {
    let letter = Letter::new(route.tell, Tell(msg));
    match Entering::begin(target.core(), letter.into(), 0).await {
        Ok(_) => Ok(()),
        Err((why, parcel)) => give_back(target.core(), why.into(), parcel),
    }
}

/// A message that could not be passed on, and the reply that is still owed.
type NotPassed<M> = (SendError<M>, Option<Deferred<<M as Message>::Reply>>);

/// Sends a message with the reply that somebody else waits for: from now on for `target`. It does not count; waits for nothing.
pub(crate) fn pass<M: Message>(
    target: &Core,
    route: &Route<M>,
    msg: M,
    reply: Option<Deferred<M::Reply>>,
    terms: Terms,
) -> Result<(), NotPassed<M>> {
    let passed = reply.as_ref().and_then(|reply| reply.owed_by(Some(target.weak()), How::message(terms.chain)));
    // The promise may be gone as soon as the message is in.
    let passed = passed.filter(|_| terms.chain != 0).map(|(promise, hands)| (Arc::clone(promise), hands));
    let letter = Letter::new(route.passed, Passed { msg, owed: reply, terms });
    match put_letter(target, letter, terms.chain) {
        Ok(Sent::Admitted) => Ok(()),
        Ok(_) => {
            passed.inspect(|(promise, hands)| promise.is_queued(*hands));
            Ok(())
        }
        Err((_, letter)) => {
            let Passed { msg, owed, .. } = letter.open();
            Err((SendError::Closed(msg), owed))
        }
    }
}

/// Sends a message that does not count: from the actor to itself (`timer: false`), or from a timer (`true`: ahead of the
/// messages).
pub(crate) fn notify<M: Message>(target: &Core, route: &Route<M>, msg: M, timer: bool) -> Result<(), SendError<M>> {
    let letter = Letter::new(route.notify, Tell(msg));
    let pushed = {
        let mut mail = target.mail.lock();
        if timer { mail.push_due(letter) } else { mail.push(letter).map_err(|(_, letter)| letter) }
    };
    match pushed {
        Ok(launch) => {
            target.launch(launch);
            Ok(())
        }
        Err(letter) => give_back(target, Unsent::Refused(Refusal::Closed), letter.into()),
    }
}

/// Sends one beat of an interval. False: the actor takes no more.
pub(crate) fn beat<M: Message>(target: &Core, route: &Route<M>, msg: M, queued: &Arc<AtomicU32>) -> bool {
    queued.store(1, Ordering::Relaxed);
    let letter = Letter::new(route.beat, Beat { msg, queued: Arc::clone(queued) });
    let pushed = target.mail.lock().push_due(letter);
    pushed.map(|launch| target.launch(launch)).map_err(|letter| drop(letter.open().over())).is_ok()
}

/// Says that a stream of `M`s has ended, behind all of them. It does not count.
pub(crate) fn stream_ended<M: Message>(target: &Core, kind: &'static Kind<StreamEnded>) {
    let letter = Letter::new(kind, StreamEnded { message: type_name::<M>() });
    let pushed = target.mail.lock().push(letter);
    match pushed {
        Ok(launch) => target.launch(launch),
        Err((_, letter)) => drop(letter),
    }
}

/// Puts a message aside in the running actor's own mail: the actor owes the reply still.
pub(crate) fn stash<M: Message>(
    core: &Core,
    route: &Route<M>,
    msg: M,
    reply: Option<Deferred<M::Reply>>,
    terms: Terms,
) {
    if let Some(reply) = &reply {
        reply.owed_by(Some(core.weak()), How::PLAIN);
    }
    let letter = Letter::new(route.passed, Passed { msg, owed: reply, terms });
    let put_aside = core.mail.lock().stash(letter.into());
    if let Err(parcel) = put_aside {
        core.refuse_box(parcel, Refusal::Closed);
    }
}
