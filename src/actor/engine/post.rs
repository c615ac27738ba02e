//! The sending side of what travels in a box: calls, forwarded messages, those of timers and of the actor to itself.

#![forbid(unsafe_code)]

use std::any::type_name;
use std::sync::Arc;
use std::time::Duration;

use super::cell::{Core, Strong};
use super::edge::How;
use super::envelope::{Beat, Passed, Route, StreamEnded, Tell, end_of_stream};
use super::lost::lost;
use super::owed::{Refusal, Unanswered};
use super::parcel::{Letter, Parcel};
use super::posted::Posted;
use super::room::{Entering, NoRoom, wait_for_room};
use super::send::{NotIn, Sent, inherited, put_letter};
use super::walk::Waits;
use crate::actor::{Actor, ActorId, Deferred, Message, Overflow, Pending, SendError};
use crate::base::atomic::{AtomicU32, Ordering};
use crate::park::checkpoint;
use crate::sys::clock::{NEVER, after_ns, coarse_after_ns};

/// Where a send comes from: the actor that sends, if it is one, and what the message inherits.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    actor: Option<&'static Core>,
    pub(super) deadline_ns: u64,
    pub(super) chain: u64,
}

impl Origin {
    /// Of a call or ask from here that has so much time.
    pub(crate) fn here(timeout: Duration) -> Self {
        let (actor, limit_ns, chain) = inherited();
        Self { actor, deadline_ns: coarse_after_ns(timeout).min(limit_ns), chain }
    }

    /// The same, with a time-out of the caller's own.
    pub(crate) fn within(timeout: Duration) -> Self {
        let (actor, limit_ns, chain) = inherited();
        Self { actor, deadline_ns: after_ns(timeout).min(limit_ns), chain }
    }

    /// Of a message that waits for no reply.
    pub(super) fn of_tell(timeout: Duration) -> Self {
        let (actor, limit_ns, _) = inherited();
        // An actor has something to answer for, and waits no longer than for a reply; others as long as it takes.
        let own_ns = if actor.is_some() { coarse_after_ns(timeout) } else { NEVER };
        Self { actor, deadline_ns: own_ns.min(limit_ns), chain: 0 }
    }
}

/// Sends what [`Posted::new`] has made. `wait`: for room, if the mailbox is full and blocks.
pub(crate) fn call<M: Message>(
    target: &Core,
    (posted, parcel): (Arc<Posted<M>>, Parcel),
    origin: Origin,
    wait: bool,
) -> Result<Pending<M>, SendError<M>> {
    if wait {
        checkpoint();
    }
    match enter(target, parcel, origin, wait) {
        Ok(sent) => {
            posted.is_in(&sent);
            Ok(Pending(posted))
        }
        Err((why, _)) => posted.error(why.into()),
    }
}

/// Why a box is in no mail.
pub(super) enum Unsent {
    Refused(Refusal),
    /// The mailbox drops it.
    Dropped,
    TimedOut,
    Deadlock(Vec<ActorId>),
}

impl From<Unsent> for Unanswered {
    fn from(why: Unsent) -> Self {
        match why {
            Unsent::Refused(why) => Unanswered::Refused(why),
            Unsent::Dropped => Unanswered::Refused(Refusal::Full),
            Unsent::TimedOut => Unanswered::TimedOut,
            Unsent::Deadlock(cycle) => Unanswered::Deadlock(cycle),
        }
    }
}

/// Puts a box into the mail; waits for room, if `wait` says so and the mailbox blocks.
pub(super) fn enter(target: &Core, parcel: Parcel, origin: Origin, wait: bool) -> Result<Sent, (Unsent, Parcel)> {
    let parcel = match put_letter(target, parcel, origin.chain) {
        Ok(sent) => return Ok(sent),
        Err((NotIn::Refused(Refusal::Full), parcel)) if wait && target.mail.lock().overflow == Overflow::Block => {
            parcel
        }
        Err((NotIn::Refused(why), parcel)) => return Err((Unsent::Refused(why), parcel)),
        Err((NotIn::Dropped, parcel)) => return Err((Unsent::Dropped, parcel)),
    };
    let waits = match Waits::begin(origin.actor, target, How::message(origin.chain)) {
        Ok(waits) => waits,
        Err(cycle) => return Err((Unsent::Deadlock(cycle), parcel)),
    };
    wait_for_room(target, parcel, origin.chain, origin.deadline_ns, &waits).map_err(|(why, parcel)| match why {
        NoRoom::Refused(why) => (Unsent::Refused(why), parcel),
        NoRoom::TimedOut => (Unsent::TimedOut, parcel),
        NoRoom::Deadlock(cycle) => (Unsent::Deadlock(cycle), parcel),
    })
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

/// As [`call`], for a future: waits for room without the thread. No deadline but that of the handler that this is called from.
pub(crate) async fn call_async<M: Message>(
    target: Strong,
    route: &'static Route<M>,
    msg: M,
) -> Result<Pending<M>, SendError<M>> {
    let origin = Origin::here(Duration::MAX);
    let (posted, parcel) = Posted::new(route.call, target.core(), msg, origin);
    // Whoever drops this future before it is ready takes the message back.
    let asking = Asking::new(posted);
    match Entering::begin(target.core(), parcel, origin.chain).await {
        Ok(sent) => {
            asking.posted().is_in(&sent);
            Ok(Pending(asking.keep()))
        }
        Err((why, _)) => asking.posted().error(Unsent::from(why).into()),
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

impl From<NotIn> for Unsent {
    fn from(why: NotIn) -> Self {
        match why {
            NotIn::Refused(why) => Unsent::Refused(why),
            NotIn::Dropped => Unsent::Dropped,
        }
    }
}

/// Sends what [`Posted::new`] has made, and waits for the reply as an ask does. What is too large for an asker's stack goes
/// this way.
pub(crate) fn ask_by_call<M: Message>(
    target: &Core,
    (posted, parcel): (Arc<Posted<M>>, Parcel),
    origin: Origin,
) -> Result<M::Reply, SendError<M>> {
    let asking = Asking::new(posted);
    let posted = asking.posted();
    let begun = begin(target, posted, parcel, origin);
    posted.unpack(begun.and_then(|()| posted.promise().wait(origin.deadline_ns)))
}

/// The first half of that: the parcel is sent. An error leaves the message where it is.
pub(crate) fn begin<M: Message>(
    target: &Core,
    posted: &Arc<Posted<M>>,
    parcel: Parcel,
    origin: Origin,
) -> Result<(), Unanswered> {
    checkpoint();
    match enter(target, parcel, origin, true) {
        Ok(sent) => {
            posted.is_in(&sent);
            Ok(())
        }
        Err((why, _)) => Err(why.into()),
    }
}

/// One who waits for the reply to a call, and nobody else will. Dropped, it takes the message back.
pub(crate) struct Asking<M: Message>(Option<Arc<Posted<M>>>);

impl<M: Message> Asking<M> {
    pub(crate) fn new(posted: Arc<Posted<M>>) -> Self {
        Self(Some(posted))
    }

    pub(crate) fn posted(&self) -> &Arc<Posted<M>> {
        self.0.as_ref().expect("it was not kept")
    }

    /// The message stays where it is.
    fn keep(mut self) -> Arc<Posted<M>> {
        self.0.take().expect("it is kept once")
    }
}

impl<M: Message> Drop for Asking<M> {
    fn drop(&mut self) {
        if let Some(posted) = &self.0 {
            posted.take_back();
        }
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
    let passed = reply.as_ref().and_then(|reply| reply.owed_by(Some(target), How::message(chain)));
    // The promise may be gone as soon as the message is in.
    let passed = passed.filter(|_| chain != 0).map(|(promise, hands)| (Arc::clone(promise), hands));
    let letter = Letter::new(route.passed, Passed { msg, owed: reply, deadline_ns, chain });
    match put_letter(target, letter, chain) {
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
    let letter = Letter::new(route.passed, Passed { msg, owed: reply, deadline_ns, chain });
    let put_aside = core.mail.lock().stash(letter.into());
    if let Err(parcel) = put_aside {
        parcel.refuse_box(core, Refusal::Closed);
    }
}
