//! The sending side of what travels in a box: calls, forwarded messages, those of timers and of the actor to itself.

use std::sync::Arc;

use super::Refusal;
use super::cell::Core;
use super::envelope::{Beat, Call, Port, Route, Tell, refused};
use super::mail::Pushed;
use super::send::{NoRoom, Rest, Sent, inherited, put, wait_for_room};
use super::walk::Waits;
use crate::actor::promise::Promise;
use crate::actor::{Deferred, Message, Overflow, SendError};
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
    let promise = Promise::new(target.weak(), msg, deadline_ns);
    let node = Call::boxed(route.call, Port::Promise(Arc::clone(&promise)), deadline_ns, chain);
    let mut rest = Rest::default();
    let sent = {
        let mut mail = target.mail.lock();
        // SAFETY: a fresh box; it does not wait.
        unsafe { put(&mut mail, target, node, chain, None, &mut rest) }
    };
    rest.begin(target);
    rest.finish(target);
    if let Sent::In = sent {
        return Ok(promise);
    }
    // SAFETY: the box is in no list.
    drop(unsafe { Call::<M>::open(node) });
    let Some(msg) = promise.take_message() else { unreachable!("nobody else has the promise") };
    match sent {
        Sent::Refused(Refusal::Full) if target.mail.lock().overflow == Overflow::Block => {
            call_waiting(target, route, msg, actor, deadline_ns, chain)
        }
        Sent::Refused(why) => Err(refused(why, msg)),
        _ => Err(SendError::Full(msg)),
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
    let waits = match Waits::begin(actor, target, chain, 0) {
        Ok(waits) => waits,
        Err(cycle) => return Err(SendError::Deadlock { msg: Some(msg), cycle }),
    };
    let promise = Promise::new(target.weak(), msg, deadline_ns);
    let node = Call::boxed(route.call, Port::Promise(Arc::clone(&promise)), deadline_ns, chain);
    // SAFETY: here and below, the box is in no list.
    let dispose = || drop(unsafe { Call::<M>::open(node) });
    let room = wait_for_room(target, node, chain, deadline_ns, dispose);
    drop(waits);
    let Err(why) = room else { return Ok(promise) };
    dispose();
    match (why, promise.take_message()) {
        (NoRoom::Refused(why), Some(msg)) => Err(refused(why, msg)),
        (NoRoom::TimedOut, msg) => Err(SendError::Timeout(msg)),
        (NoRoom::Refused(_), None) => unreachable!("nobody else has the promise"),
    }
}

/// A message that could not be passed on, and the reply that is still owed.
type NotPassed<M> = (SendError<M>, Option<Deferred<<M as Message>::Reply>>);

/// Sends a message with the reply that somebody else waits for. It does not count; waits for nothing.
pub(crate) fn pass<M: Message>(
    target: &Core,
    route: &Route<M>,
    msg: M,
    reply: Option<Deferred<M::Reply>>,
    deadline_ns: u64,
    chain: u64,
) -> Result<(), NotPassed<M>> {
    let node = Call::boxed(route.passed, Port::Passed(msg, reply), deadline_ns, chain);
    // SAFETY: a fresh box.
    let pushed = unsafe { target.mail.lock().push(node, false) };
    match pushed {
        Pushed::Launch => target.launch(),
        Pushed::Queued => {}
        Pushed::Full | Pushed::Closed => {
            // SAFETY: the box is in no list.
            return match unsafe { Call::<M>::open(node) }.port {
                Port::Passed(msg, reply) => Err((SendError::Closed(msg), reply)),
                Port::Promise(_) => unreachable!("it was passed"),
            };
        }
    }
    Ok(())
}

/// Sends a message that does not count: from the actor to itself (`system: false`), or from a timer (`true`: ahead of all
/// messages).
pub(crate) fn notify<M: Message>(target: &Core, route: &Route<M>, msg: M, system: bool) -> Result<(), SendError<M>> {
    let node = Tell::boxed(route.notify, msg);
    let pushed = {
        let mut mail = target.mail.lock();
        // SAFETY: a fresh box.
        unsafe { if system { mail.push_system(node) } else { mail.push(node, false) } }
    };
    match pushed {
        Pushed::Launch => target.launch(),
        Pushed::Queued => {}
        // SAFETY: the box is in no list.
        Pushed::Full | Pushed::Closed => return Err(SendError::Closed(unsafe { Tell::<M>::open(node) })),
    }
    Ok(())
}

/// Sends one beat of an interval. False: the actor takes no more.
pub(crate) fn beat<M: Message>(target: &Core, route: &Route<M>, msg: M, queued: &Arc<AtomicU32>) -> bool {
    queued.store(1, Ordering::Relaxed);
    let node = Beat::boxed(route.beat, msg, Arc::clone(queued));
    // SAFETY: a fresh box.
    let pushed = unsafe { target.mail.lock().push_system(node) };
    match pushed {
        Pushed::Launch => target.launch(),
        Pushed::Queued => {}
        Pushed::Full | Pushed::Closed => {
            // SAFETY: the box is in no list.
            drop(unsafe { Beat::<M>::open(node) });
            return false;
        }
    }
    true
}

/// Puts a message aside in the running actor's own mail.
pub(crate) fn stash<M: Message>(
    core: &Core,
    route: &Route<M>,
    msg: M,
    reply: Option<Deferred<M::Reply>>,
    deadline_ns: u64,
    chain: u64,
) {
    let node = Call::boxed(route.passed, Port::Passed(msg, reply), deadline_ns, chain);
    // SAFETY: a fresh box.
    unsafe { core.mail.lock().stash(node) };
}
