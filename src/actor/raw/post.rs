//! The sending side of what travels in a box: calls, forwarded messages, those of timers and of the actor to itself.

#![forbid(unsafe_code)]

use std::any::type_name;
use std::sync::Arc;

use super::Refusal;
use super::cell::Core;
use super::edge::How;
use super::envelope::{Beat, Call, Port, Route, StreamEnded, Tell, end_of_stream};
use super::parcel::Letter;
use super::room::{NoRoom, wait_for_room};
use super::send::{NotIn, Sent, inherited, put_letter};
use super::walk::Waits;
use crate::actor::promise::Promise;
use crate::actor::{Actor, Deferred, Message, Overflow, SendError};
use crate::base::atomic::{AtomicU32, Ordering};
use crate::park::checkpoint;
use crate::sys::clock::coarse_after_ns;

/// Sends, and gives the promise of a reply.
pub(crate) fn call<M: Message>(target: &Core, route: &Route<M>, msg: M) -> Result<Arc<Promise<M>>, SendError<M>> {
    checkpoint();
    let (actor, limit_ns, chain) = inherited();
    let deadline_ns = coarse_after_ns(route.ask_timeout).min(limit_ns);
    call_in_chain(target, route, msg, actor, deadline_ns, chain)
}

/// As [`call`], for the chain and deadline that are given. Waits for room in a full mailbox.
pub(crate) fn call_in_chain<M: Message>(
    target: &Core,
    route: &Route<M>,
    msg: M,
    actor: Option<&Core>,
    deadline_ns: u64,
    chain: u64,
) -> Result<Arc<Promise<M>>, SendError<M>> {
    let promise = Promise::new(target.weak(), msg, deadline_ns, How::message(chain));
    let call = Call { port: Port::Promise(Arc::clone(&promise)), deadline_ns, chain };
    let (why, letter) = match put_letter(target, Letter::new(route.call, call), chain) {
        Ok(sent) => {
            if chain != 0 && !matches!(sent, Sent::Admitted) {
                promise.is_queued();
            }
            return Ok(promise);
        }
        Err(not_in) => not_in,
    };
    drop(letter);
    let Some(msg) = promise.take_message() else { unreachable!("nobody else has the promise") };
    match why {
        NotIn::Refused(Refusal::Full) if target.mail.lock().overflow == Overflow::Block => {
            call_waiting(target, route, msg, actor, deadline_ns, chain)
        }
        NotIn::Refused(why) => Err(why.into_error(msg)),
        NotIn::Dropped => Err(SendError::Full(msg)),
    }
}

/// A call that finds no room waits for it as a `tell` does, in a box that is a `tell` to the sender only.
#[cold]
fn call_waiting<M: Message>(
    target: &Core,
    route: &Route<M>,
    msg: M,
    actor: Option<&Core>,
    deadline_ns: u64,
    chain: u64,
) -> Result<Arc<Promise<M>>, SendError<M>> {
    let waits = match Waits::begin(actor, target, How::PLAIN) {
        Ok(waits) => waits,
        Err(cycle) => return Err(SendError::Deadlock { msg: Some(msg), cycle }),
    };
    let promise = Promise::new(target.weak(), msg, deadline_ns, How::PLAIN);
    let call = Call { port: Port::Promise(Arc::clone(&promise)), deadline_ns, chain };
    let room = wait_for_room(target, Letter::new(route.call, call), chain, deadline_ns, &waits);
    drop(waits);
    let Err((why, letter)) = room else { return Ok(promise) };
    drop(letter);
    match (why, promise.take_message()) {
        (NoRoom::Refused(why), Some(msg)) => Err(why.into_error(msg)),
        (NoRoom::TimedOut, msg) => Err(SendError::Timeout(msg)),
        (NoRoom::Deadlock(cycle), msg) => Err(SendError::Deadlock { msg, cycle }),
        (NoRoom::Refused(_), None) => unreachable!("nobody else has the promise"),
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
    deadline_ns: u64,
    chain: u64,
) -> Result<(), NotPassed<M>> {
    if let Some(reply) = &reply {
        reply.owed_by(Some(target), How::message(chain));
    }
    let call = Call { port: Port::Passed(msg, reply), deadline_ns, chain };
    put_letter(target, Letter::new(route.passed, call), chain).map(drop).map_err(|(_, letter)| {
        match letter.open().port {
            Port::Passed(msg, reply) => (SendError::Closed(msg), reply),
            Port::Promise(_) => unreachable!("it was passed"),
        }
    })
}

/// Sends a message that does not count: from the actor to itself (`timer: false`), or from a timer (`true`: ahead of the
/// messages).
pub(crate) fn notify<M: Message>(target: &Core, route: &Route<M>, msg: M, timer: bool) -> Result<(), SendError<M>> {
    let letter = Letter::new(route.notify, Tell(msg));
    let pushed = {
        let mut mail = target.mail.lock();
        if timer { mail.push_due(letter) } else { mail.push(letter).map_err(|(_, letter)| letter) }
    };
    pushed.map(|launch| target.launch(launch)).map_err(|letter| SendError::Closed(letter.open().0))
}

/// Sends one beat of an interval. False: the actor takes no more.
pub(crate) fn beat<M: Message>(target: &Core, route: &Route<M>, msg: M, queued: &Arc<AtomicU32>) -> bool {
    queued.store(1, Ordering::Relaxed);
    let letter = Letter::new(route.beat, Beat { msg, queued: Arc::clone(queued) });
    let pushed = target.mail.lock().push_due(letter);
    pushed.map(|launch| target.launch(launch)).map_err(|letter| drop(letter.open().over())).is_ok()
}

/// Says that a stream of `M`s has ended, behind all of them. It does not count.
pub(crate) fn stream_ended<A: Actor, M: Message>(target: &Core) {
    let letter = Letter::new(const { &end_of_stream::<A>() }, StreamEnded { message: type_name::<M>() });
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
    deadline_ns: u64,
    chain: u64,
) {
    if let Some(reply) = &reply {
        reply.owed_by(Some(core), How::PLAIN);
    }
    let letter = Letter::new(route.passed, Call { port: Port::Passed(msg, reply), deadline_ns, chain });
    let put_aside = core.mail.lock().stash(letter.into());
    if let Err(parcel) = put_aside {
        parcel.refuse_box(core, Refusal::Closed);
    }
}
