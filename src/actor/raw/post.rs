//! The sending side of what travels in a box: calls, forwarded messages, those of timers and of the actor to itself.

#![forbid(unsafe_code)]

use std::any::type_name;
use std::sync::Arc;

use super::Refusal;
use super::cell::{Core, Strong};
use super::envelope::{Beat, Passed, Route, StreamEnded, Tell, end_of_stream};
use super::parcel::{Letter, Parcel};
use super::posted::Posted;
use super::room::{Entering, NoRoom, wait_for_room};
use super::send::{NotIn, inherited, put_letter};
use super::walk::Waits;
use crate::actor::promise::Unanswered;
use crate::actor::{Actor, Deferred, Message, Overflow, SendError, letters};
use crate::base::atomic::{AtomicU32, Ordering};
use crate::park::checkpoint;
use crate::sys::clock::coarse_after_ns;

/// Sends, and gives the promise of a reply. `wait`: for room, if the mailbox is full and blocks.
pub(crate) fn call<M: Message>(
    target: &Core,
    route: &Route<M>,
    msg: M,
    wait: bool,
) -> Result<Arc<Posted<M>>, SendError<M>> {
    if wait {
        checkpoint();
    }
    let (actor, limit_ns, chain) = inherited();
    let deadline_ns = coarse_after_ns(route.ask_timeout).min(limit_ns);
    let (posted, parcel) = Posted::new(route.call, target, msg, deadline_ns, chain);
    finish(posted, enter(target, parcel, (actor, deadline_ns, chain), wait))
}

#[inline]
fn finish<M: Message>(posted: Arc<Posted<M>>, entered: Result<(), Unanswered>) -> Result<Arc<Posted<M>>, SendError<M>> {
    match entered {
        Ok(()) => Ok(posted),
        Err(why) => Err(posted.error(why)),
    }
}

/// Puts a call into the mail. `sender`: the actor, its deadline and chain. `Err`: it is in no mail.
fn enter(target: &Core, parcel: Parcel, sender: (Option<&Core>, u64, u64), wait: bool) -> Result<(), Unanswered> {
    let (actor, deadline_ns, chain) = sender;
    let parcel = match put_letter(target, parcel, chain) {
        Ok(()) => return Ok(()),
        Err((NotIn::Refused(Refusal::Full), parcel)) if wait && target.mail.lock().overflow == Overflow::Block => {
            parcel
        }
        Err((NotIn::Refused(why), _)) => return Err(Unanswered::Refused(why)),
        Err((NotIn::Dropped, _)) => return Err(Unanswered::Refused(Refusal::Full)),
    };
    let waits = Waits::begin(actor, target, chain, 0).map_err(Unanswered::Deadlock)?;
    let room = wait_for_room(target, parcel, chain, deadline_ns);
    drop(waits);
    room.map_err(|(why, _)| match why {
        NoRoom::Refused(why) => Unanswered::Refused(why),
        NoRoom::TimedOut => Unanswered::TimedOut,
    })
}

/// As [`call`], for a future: waits for room without the thread. No deadline but that of the handler that this is called from.
pub(crate) async fn call_async<M: Message>(
    target: Strong,
    route: &'static Route<M>,
    msg: M,
) -> Result<Arc<Posted<M>>, SendError<M>> {
    let (_, deadline_ns, chain) = inherited();
    let (posted, parcel) = Posted::new(route.call, target.core(), msg, deadline_ns, chain);
    // Whoever drops this future before it is ready has sent nothing.
    let asking = Asking::new(posted);
    match Entering::begin(target.core(), parcel, chain).await {
        Ok(()) => Ok(asking.keep()),
        Err((NotIn::Refused(why), _)) => Err(asking.posted().error(Unanswered::Refused(why))),
        Err((NotIn::Dropped, _)) => Err(asking.posted().error(Unanswered::Refused(Refusal::Full))),
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
        Ok(()) => Ok(()),
        Err((NotIn::Refused(why), parcel)) => Err(why.into_error(Letter::<Tell<M>>::of(parcel).open().0)),
        Err((NotIn::Dropped, _)) => {
            letters::lost(target.core().id(), type_name::<M>());
            Ok(())
        }
    }
}

/// Sends, and waits for the reply as an ask does. Messages too large for an asker's stack go this way.
pub(super) fn ask_by_call<M: Message>(
    target: &Core,
    route: &Route<M>,
    msg: M,
    sender: (Option<&Core>, u64, u64),
) -> Result<M::Reply, SendError<M>> {
    let (posted, parcel) = Posted::new(route.call, target, msg, sender.1, sender.2);
    let asking = Asking::new(posted);
    let answer = enter(target, parcel, sender, true).and_then(|()| asking.posted().promise().wait(sender.1));
    answer.map_err(|why| asking.posted().error(why))
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
    if let Some(reply) = &reply {
        reply.owed_by(Some(target));
    }
    let letter = Letter::new(route.passed, Passed { msg, owed: reply, deadline_ns, chain });
    put_letter(target, letter, chain).map_err(|(_, letter)| {
        let Passed { msg, owed, .. } = letter.open();
        (SendError::Closed(msg), owed)
    })
}

/// Sends a message that does not count: from the actor to itself (`system: false`), or from a timer (`true`: ahead of all
/// messages).
pub(crate) fn notify<M: Message>(target: &Core, route: &Route<M>, msg: M, system: bool) -> Result<(), SendError<M>> {
    let letter = Letter::new(route.notify, Tell(msg));
    let pushed = {
        let mut mail = target.mail.lock();
        if system { mail.push_system(letter) } else { mail.push(letter).map_err(|(_, letter)| letter) }
    };
    pushed.map(|launch| target.launch(launch)).map_err(|letter| SendError::Closed(letter.open().0))
}

/// Sends one beat of an interval. False: the actor takes no more.
pub(crate) fn beat<M: Message>(target: &Core, route: &Route<M>, msg: M, queued: &Arc<AtomicU32>) -> bool {
    queued.store(1, Ordering::Relaxed);
    let letter = Letter::new(route.beat, Beat { msg, queued: Arc::clone(queued) });
    let pushed = target.mail.lock().push_system(letter);
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
        reply.owed_by(Some(core));
    }
    let letter = Letter::new(route.passed, Passed { msg, owed: reply, deadline_ns, chain });
    let put_aside = core.mail.lock().stash(letter.into());
    if let Err(parcel) = put_aside {
        parcel.refuse_box(core, Refusal::Closed);
    }
}
