//! The sending side: how a message gets into a mail, and how an asker waits for its reply. What is sent without waiting for a
//! reply there and then is in [`post`](super::post).

#![forbid(unsafe_code)]

use std::any::type_name;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use super::Refusal;
use super::busy::Launch;
use super::cell::Core;
use super::envelope::{Route, Tell};
use super::mail::{Mail, Nudge};
use super::parcel::{Ask, Done, Left, Letter, Parcel};
use super::room::{NoRoom, Sender, Waiting, wait_for_room};
use super::walk::Waits;
use crate::actor::{Message, Overflow, SendError, letters};
use crate::park::current::may_switch;
use crate::park::{Wait, Woken, checkpoint, interrupt};
use crate::sched::Worker;
use crate::sched::shared::discard;
use crate::sys::clock::{NEVER, after_ns, coarse_after_ns};
use crate::task::Task;
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
    /// It waits for room in the mailbox.
    Waits,
}

/// Why a message is not in; it is the sender's.
pub(super) enum NotIn {
    Refused(Refusal),
    /// The mailbox drops it.
    Dropped,
}

/// Work that is left for when the lock is free and the caller does not park.
#[derive(Default)]
pub(super) struct Rest {
    launch: Option<Launch>,
    wake: Option<Wake>,
    nudge: Option<Arc<dyn Nudge>>,
    evicted: Option<Parcel>,
    /// The runtime has ended: the actor is to be ended here.
    orphan: Option<Task>,
}

impl Rest {
    /// Launches and wakes; what runs user code is left for [`finish`](Self::finish).
    #[inline]
    pub(super) fn begin(&mut self, target: &Core) {
        if let Some(wake) = self.wake.take() {
            wake.schedule();
        }
        if let Some(nudge) = &self.nudge {
            nudge.nudge();
        }
        if let Some(launch) = self.launch.take() {
            self.orphan = target.try_launch(launch).err();
        }
    }

    #[inline]
    pub(super) fn finish(&mut self, target: &Core) {
        if let Some(evicted) = self.evicted.take() {
            evicted.refuse_box(target, Refusal::Full);
        }
        if let Some(task) = self.orphan.take() {
            discard(task);
        }
        // Not in `begin`: the last to hold it drops a reply that came too late.
        self.nudge = None;
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
                return Ok(Sent::In);
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

/// Sends without waiting for a reply. `wait`: for room, if the mailbox is full and blocks.
#[inline]
pub(crate) fn tell<M: Message>(target: &Core, route: &Route<M>, msg: M, wait: bool) -> Result<(), SendError<M>> {
    if wait {
        checkpoint();
    }
    // Not in the next line: the box would be allocated under the lock.
    let letter = Letter::new(route.tell, Tell(msg));
    let pushed = target.mail.lock().push(letter);
    match pushed {
        Ok(launch) => {
            target.launch(launch);
            Ok(())
        }
        Err((_, letter)) => tell_again(target, letter, wait),
    }
}

/// Puts a box into the mail. `Err`: it is not in, and still the caller's.
pub(super) fn put_letter<E>(target: &Core, letter: Letter<E>, chain: u64) -> Result<(), (NotIn, Letter<E>)> {
    let mut rest = Rest::default();
    let sent = put(&mut target.mail.lock(), target, letter, chain, None, &mut rest);
    rest.begin(target);
    rest.finish(target);
    sent.map(drop)
}

#[cold]
#[inline(never)]
fn tell_again<M: Message>(target: &Core, letter: Letter<Tell<M>>, wait: bool) -> Result<(), SendError<M>> {
    match put_letter(target, letter, 0) {
        Ok(()) => Ok(()),
        Err((NotIn::Dropped, letter)) => {
            letters::lost(target.id(), type_name::<M>());
            drop(letter);
            Ok(())
        }
        Err((NotIn::Refused(Refusal::Full), letter)) if wait && target.mail.lock().overflow == Overflow::Block => {
            let (actor, deadline_ns, chain) = inherited();
            let waits = match Waits::begin(actor, target, chain, 0) {
                Ok(waits) => waits,
                Err(cycle) => return Err(SendError::Deadlock { msg: Some(letter.open().0), cycle }),
            };
            let room = wait_for_room(target, letter, chain, deadline_ns);
            drop(waits);
            room.map_err(|(why, letter)| match why {
                NoRoom::Refused(why) => why.into_error(letter.open().0),
                NoRoom::TimedOut => SendError::Timeout(Some(letter.open().0)),
            })
        }
        Err((NotIn::Refused(why), letter)) => Err(why.into_error(letter.open().0)),
    }
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
    let waits = Waits::set(asker, target, chain);
    let step = match chain {
        0 => match ask_on_top(target, ask) {
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
    Waited(Woken),
    /// It is there, with nobody to run the actor but the asker.
    Orphaned(Task),
}

/// The way of nearly every ask: the actor rests, and handles the message at once, on top of the asker.
#[inline(always)]
fn ask_on_top<M: Message>(target: &Core, ask: Pin<&Ask<'_, M>>) -> Step {
    let worker = Worker::current().filter(|worker| worker.shared.identity() == target.header.runtime && may_switch());
    let Some((worker, asker)) = worker.and_then(|worker| Some((worker, worker.here().current()?))) else {
        return Step::NotSent;
    };
    let posted = ask.post(None, |parcel| {
        let mut mail = target.mail.lock();
        if !mail.rests() {
            return Err(((), parcel));
        }
        mail.push(parcel).map_err(|(_, parcel)| ((), parcel))
    });
    // An actor that rests is roused.
    let Ok(Some(launch)) = posted else { return Step::NotSent };
    match target.launch_on_top(launch, worker, asker, || ask.done_awake()) {
        Some(done) => Step::Answered(done),
        None => Step::Sent,
    }
}

/// The way of most others: there is room, the target does not wait itself, and the answer comes.
#[inline(always)]
fn short_wait<M: Message>(target: &Core, ask: Pin<&Ask<'_, M>>, waits: &Waits<'_>) -> Step {
    let mut orphan = None;
    let woken = ask.wait(Wait::new(Reason::Ask).until(ask.deadline_ns()), |ticket| {
        let posted = ask.post(Some(ticket), |parcel| {
            let mut mail = target.mail.lock();
            if !mail.rests() && waits.is_suspicious(target) {
                return Err(((), parcel));
            }
            mail.push(parcel).map_err(|(_, parcel)| ((), parcel))
        });
        let Ok(launch) = posted else { return false };
        orphan = launch.and_then(|launch| target.try_launch(launch).err());
        orphan.is_none()
    });
    match (woken, orphan) {
        (Ok(done), _) => Step::Answered(done),
        (_, Some(task)) => Step::Orphaned(task),
        (Err(Woken::Refused), None) => Step::NotSent,
        (Err(woken), None) => Step::Waited(woken),
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
    let (mut first, mut woken, orphan) = match step {
        Step::NotSent => (true, None, None),
        Step::Sent | Step::Answered(_) => (false, None, None),
        Step::Waited(woken) => (false, Some(Err(woken)), None),
        // It is answered when the actor is discarded.
        Step::Orphaned(task) => (false, Some(Err(Woken::Refused)), Some(task)),
    };
    if first && let Err(cycle) = waits.check(target, ask.chain(), 0) {
        return Err(SendError::Deadlock { msg: ask.take_message(), cycle });
    }
    let mut wait = Wait::new(Reason::Ask).until(ask.deadline_ns());
    let mut rest = Rest { orphan, ..Rest::default() };
    loop {
        let mut not_in = None;
        let woken = woken.take().unwrap_or_else(|| {
            ask.wait(wait, |ticket| {
                if !std::mem::take(&mut first) {
                    return ask.renew(ticket);
                }
                let posted = ask.post(Some(ticket), |parcel| {
                    put(&mut target.mail.lock(), target, parcel, ask.chain(), Some(&|| None), &mut rest)
                });
                not_in = posted.err();
                rest.begin(target);
                not_in.is_none() && rest.orphan.is_none()
            })
        });
        rest.finish(target);
        match woken {
            Ok(done) => return ask.take_answer(done),
            Err(Woken::Refused | Woken::Notified) => {
                return match (not_in, ask.done()) {
                    (_, Some(done)) => ask.take_answer(done),
                    (not_in, None) => Err(not_sent(not_in, ask)),
                };
            }
            Err(Woken::TimedOut) => {
                return match ask.leave() {
                    Left::Answered(done) => ask.take_answer(done),
                    Left::Unhandled => Err(SendError::Timeout(ask.take_message())),
                    Left::Handled => Err(SendError::Timeout(None)),
                };
            }
            Err(Woken::Interrupted) => {
                // If this unwinds, the ask leaves when it is dropped.
                interrupt::raise();
                wait = wait.uninterruptible();
            }
        }
    }
}

fn not_sent<M: Message>(not_in: Option<NotIn>, ask: Pin<&Ask<'_, M>>) -> SendError<M> {
    match (not_in, ask.take_message()) {
        (Some(NotIn::Refused(why)), Some(msg)) => why.into_error(msg),
        (Some(NotIn::Dropped), Some(msg)) => SendError::Full(msg),
        _ => unreachable!("an ask that is in no mail has its message"),
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::actor::Actor;

    /// `begin` runs in the commit of a park, where a destructor of the user's must not.
    #[test]
    fn what_is_nudged_is_held_until_the_park_is_over() {
        struct Idle;
        impl Actor for Idle {}
        struct Probe(Arc<AtomicBool>);
        impl Nudge for Probe {
            fn nudge(&self) {}
        }
        impl Drop for Probe {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let (actor, dropped) = (Idle.start(), Arc::new(AtomicBool::new(false)));
        let mut rest = Rest { nudge: Some(Arc::new(Probe(Arc::clone(&dropped)))), ..Rest::default() };
        rest.begin(actor.core());
        assert!(!dropped.load(Ordering::Relaxed));
        rest.finish(actor.core());
        assert!(dropped.load(Ordering::Relaxed));
    }
}
