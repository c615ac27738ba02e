//! The sending side: how a message gets into a mail, and how an asker waits for its reply. What is sent without waiting for a
//! reply there and then is in [`post`](super::post).

#![forbid(unsafe_code)]

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use super::Refusal;
use super::busy::Launch;
use super::cell::Core;
use super::edge::How;
use super::envelope::{Route, Tell};
use super::mail::{Mail, Nudge};
use super::parcel::{Ask, Done, Left, Letter, Parcel};
use super::post::{Origin, enter, give_back};
use super::room::{Sender, Waiting};
use super::walk::Waits;
use crate::actor::{Message, Overflow, SendError};
use crate::park::no_park::{assert_may_park, may_switch};
use crate::park::{Wait, WaitResult, checkpoint, interrupt};
use crate::sched::Worker;
use crate::sys::clock::{NEVER, after_ns, coarse_after_ns};
use crate::task::header::{Reason, Wake};

/// The deadline and the chain that a send from here inherits.
#[inline]
pub(crate) fn inherited() -> (Option<&'static Core>, u64, u64) {
    let actor = Core::current();
    match actor.and_then(Core::frame) {
        Some(frame) => (actor, frame.deadline_ns.get(), frame.chain.get()),
        None => (actor, NEVER, 0),
    }
}

/// What the first step of a send came to.
pub(super) enum Sent {
    /// The message is in.
    In,
    /// A `reenter` has let it in.
    Admitted,
    /// It waits for room in the mailbox.
    Waits,
}

/// Why a message is not in; it is the sender's.
pub(super) enum NotIn {
    Refused(Refusal),
    /// The mailbox drops it.
    Dropped,
}

/// Work that is left for when the lock is free.
#[derive(Default)]
pub(super) struct Rest {
    launch: Option<Launch>,
    wake: Option<Wake>,
    nudge: Option<Arc<dyn Nudge>>,
    evicted: Option<Parcel>,
}

impl Rest {
    /// May run user code: so not where a wait has begun.
    #[inline]
    pub(super) fn finish(self, target: &Core) {
        if let Some(wake) = self.wake {
            wake.schedule();
        }
        if let Some(nudge) = self.nudge {
            nudge.nudge();
        }
        target.launch(self.launch);
        if let Some(evicted) = self.evicted {
            evicted.refuse_box(target, Refusal::Full);
        }
    }
}

/// Puts a message into the mail, or finds out why not. `sender` makes the sender's entry among those that wait for room;
/// without it nobody waits.
#[inline]
pub(super) fn put<P: Into<Parcel> + AsRef<Parcel>>(
    mail: &mut Mail,
    target: &Core,
    parcel: P,
    chain: u64,
    sender: Option<&dyn Fn() -> Option<Sender>>,
    rest: &mut Rest,
) -> Result<Sent, (NotIn, P)> {
    let parcel = if chain == 0 {
        parcel
    } else {
        match mail.admit(parcel, chain) {
            Ok(nudge) => {
                rest.nudge = nudge;
                return Ok(Sent::Admitted);
            }
            Err(parcel) => parcel,
        }
    };
    let parcel = match mail.push(parcel) {
        Ok(launch) => {
            rest.launch = launch;
            return Ok(Sent::In);
        }
        Err((Refusal::Full, parcel)) => parcel,
        Err((why, parcel)) => return Err((NotIn::Refused(why), parcel)),
    };
    match (mail.overflow, sender) {
        (Overflow::Block, Some(sender)) => {
            mail.wait_for_room(Waiting { parcel: parcel.into(), sender: sender() });
            Ok(Sent::Waits)
        }
        (Overflow::Block, None) | (Overflow::Reject, _) => Err((NotIn::Refused(Refusal::Full), parcel)),
        (Overflow::DropNewest, _) => Err((NotIn::Dropped, parcel)),
        (Overflow::DropOldest, _) => {
            match mail.evict().map(|oldest| oldest.refuse_ask(target, Refusal::Full)) {
                Some(Ok(wake)) => rest.wake = wake,
                Some(Err(evicted)) => rest.evicted = Some(evicted),
                None => {}
            }
            let launch = mail.push(parcel).map_err(|(why, parcel)| (NotIn::Refused(why), parcel))?;
            rest.launch = launch;
            Ok(Sent::In)
        }
    }
}

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

/// Puts a box into the mail. `Err`: it is not in, and still the caller's.
pub(super) fn put_letter<P: Into<Parcel> + AsRef<Parcel>>(
    target: &Core,
    parcel: P,
    chain: u64,
) -> Result<Sent, (NotIn, P)> {
    let mut rest = Rest::default();
    let sent = put(&mut target.mail.lock(), target, parcel, chain, None, &mut rest);
    rest.finish(target);
    sent
}

#[cold]
#[inline(never)]
fn tell_again<M: Message>(target: &Core, parcel: Parcel, wait: Option<Duration>) -> Result<(), SendError<M>> {
    match enter(target, parcel, Origin::of_tell(wait.unwrap_or_default()), wait.is_some()) {
        Ok(_) => Ok(()),
        Err((why, parcel)) => give_back(target, why, parcel),
    }
}

/// An ask lies on its asker's stack with its message and its reply, up to so many bytes of both; larger ones go as calls.
const ON_STACK: usize = 1024;

/// Are asks with an `M` too large for a stack?
pub(crate) const fn is_large<M: Message>() -> bool {
    size_of::<M>() + size_of::<M::Reply>() > ON_STACK
}

/// Sends and waits for the reply.
#[inline]
pub(crate) fn ask<M: Message>(
    target: &Core,
    route: &Route<M>,
    msg: M,
    timeout: Option<Duration>,
) -> Result<M::Reply, SendError<M>> {
    checkpoint();
    let (asker, limit_ns, chain) = inherited();
    let own_ns = match timeout {
        None => coarse_after_ns(route.ask_timeout),
        Some(timeout) => after_ns(timeout),
    };
    let ask = pin!(Ask::new(route.ask, target, msg, asker, own_ns.min(limit_ns), chain));
    let ask = ask.as_ref();
    let waits = Waits::set(asker, target, How::message(chain));
    let worker = Worker::current().filter(|worker| worker.shared.identity() == target.header.runtime && may_switch());
    let step = match (worker, chain) {
        (Some(worker), 0) => match ask_on_top(worker, target, ask) {
            Step::NotSent => short_wait(target, ask, &waits),
            step => step,
        },
        // Messages of a chain may be let in by one that waits.
        _ => Step::NotSent,
    };
    match step {
        Step::Answered(done) => {
            drop(waits);
            ask.take_answer(done)
        }
        step => wait_on(target, ask, waits, step),
    }
}

/// How far an ask has come.
enum Step {
    Answered(Done),
    /// It is in no mail.
    NotSent,
    /// It is in the mail, or is being handled, and its asker has not waited yet.
    Sent,
    /// It is there, and a first wait has ended so.
    Waited(WaitResult),
}

/// The way of nearly every ask: the actor rests, and handles the message at once, on top of the asker.
#[inline(always)]
fn ask_on_top<M: Message>(worker: &Worker, target: &Core, ask: Pin<&Ask<'_, M>>) -> Step {
    if worker.here().current_ptr().is_none() {
        return Step::NotSent;
    }
    let posted = ask.post(None, |parcel| {
        let mut mail = target.mail.lock();
        if !mail.rests() {
            return Err(((), parcel));
        }
        mail.push(parcel).map_err(|(_, parcel)| ((), parcel))
    });
    // An actor that rests is roused.
    let Ok(Some(launch)) = posted else { return Step::NotSent };
    match target.launch_on_top(launch, worker, || ask.done_awake()) {
        Some(done) => Step::Answered(done),
        None => Step::Sent,
    }
}

/// The way of most others on a worker of the actor's runtime: there is room, the target does not wait itself, and the answer
/// comes. From elsewhere, what queues the actor may be the last that holds its runtime, and end that: not in a wait.
#[inline(always)]
fn short_wait<M: Message>(target: &Core, ask: Pin<&Ask<'_, M>>, waits: &Waits<'_>) -> Step {
    let woken = ask.wait(Wait::new(Reason::Ask).until(ask.deadline_ns()), |ticket| {
        let posted = ask.post(Some(ticket), |parcel| {
            let mut mail = target.mail.lock();
            if !mail.rests() && waits.is_suspicious(target) {
                return Err(((), parcel));
            }
            mail.push(parcel).map_err(|(_, parcel)| ((), parcel))
        });
        posted.map(|launch| target.launch(launch)).is_ok()
    });
    match woken {
        Ok(done) => Step::Answered(done),
        Err(WaitResult::Refused) => Step::NotSent,
        Err(woken) => Step::Waited(woken),
    }
}

/// All other ways.
#[cold]
#[inline(never)]
fn wait_on<M: Message>(
    target: &Core,
    ask: Pin<&Ask<'_, M>>,
    waits: Waits<'_>,
    step: Step,
) -> Result<M::Reply, SendError<M>> {
    let mut woken = match step {
        Step::NotSent => {
            if let Err(cycle) = waits.check(target) {
                return Err(SendError::Deadlock { msg: ask.take_message(), cycle });
            }
            assert_may_park("an ask");
            post_first(target, ask, &waits)?;
            None
        }
        Step::Sent | Step::Answered(_) => None,
        Step::Waited(woken) => Some(Err(woken)),
    };
    let mut wait = Wait::new(Reason::Ask).until(ask.deadline_ns());
    loop {
        match woken.take().unwrap_or_else(|| ask.wait(wait, |ticket| ask.renew(ticket))) {
            Ok(done) => return ask.take_answer(done),
            Err(WaitResult::Interrupted) => {
                // If this unwinds, the ask leaves when it is dropped.
                let goes_on = interrupt::raise(wait);
                if !waits.is_told() {
                    wait = goes_on;
                } else if let Err(cycle) = waits.look_again() {
                    return give_up(ask, |msg| SendError::Deadlock { msg, cycle });
                }
            }
            Err(_) => return give_up(ask, SendError::Timeout),
        }
    }
}

/// The answer, if it has come by now; else the error, with the message if its handler has not started.
#[cold]
fn give_up<M: Message>(
    ask: Pin<&Ask<'_, M>>,
    error: impl FnOnce(Option<M>) -> SendError<M>,
) -> Result<M::Reply, SendError<M>> {
    match ask.leave() {
        Left::Answered(done) => ask.take_answer(done),
        Left::Unhandled => Err(error(ask.take_message())),
        Left::Handled => Err(error(None)),
    }
}

/// Puts the ask into the mail before its asker waits. `Err`: it is not in.
fn post_first<M: Message>(target: &Core, ask: Pin<&Ask<'_, M>>, waits: &Waits<'_>) -> Result<(), SendError<M>> {
    let mut rest = Rest::default();
    let posted = ask.post(None, |parcel| {
        let mut mail = target.mail.lock();
        let sent = put(&mut mail, target, parcel, ask.chain(), Some(&|| None), &mut rest);
        if let Ok(Sent::In | Sent::Waits) = sent {
            waits.harden();
        }
        sent
    });
    rest.finish(target);
    posted.map(drop).map_err(|not_in| not_sent(not_in, ask))
}

fn not_sent<M: Message>(not_in: NotIn, ask: Pin<&Ask<'_, M>>) -> SendError<M> {
    match (not_in, ask.take_message()) {
        (NotIn::Refused(why), Some(msg)) => why.into_error(msg),
        (NotIn::Dropped, Some(msg)) => SendError::Full(msg),
        (_, None) => unreachable!("an ask that is in no mail has its message"),
    }
}
