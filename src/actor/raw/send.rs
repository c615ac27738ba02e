//! The sending side: how a message gets into a mail, and how its sender waits for room or for the reply. What is sent without
//! waiting for a reply there and then is in [`post`](super::post).

#![allow(unsafe_code)]

use std::any::type_name;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use super::cell::Core;
use super::envelope::{Ask, Evicted, Route, Tell, refused};
use super::mail::{Letter, Mail, Nudge, Pushed, forget_reply};
use super::walk::Waits;
use super::{Asked, Node, Place, Refusal, Waiting};
use crate::actor::{Message, Overflow, SendError, letters};
use crate::base::spin::Locked;
use crate::park::current::may_switch;
use crate::park::{Wait, Woken, checkpoint, interrupt, park};
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
    /// It is not in, and the sender still has it.
    Refused(Refusal),
    /// The mailbox dropped it.
    Dropped,
}

/// Work that is left for when the lock is free and the caller does not park.
#[derive(Default)]
pub(super) struct Rest {
    launch: bool,
    wake: Option<Wake>,
    nudge: Option<Arc<dyn Nudge>>,
    evicted: Option<Evicted>,
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
        if std::mem::take(&mut self.launch) {
            self.orphan = target.try_launch().err();
        }
    }

    #[inline]
    pub(super) fn finish(&mut self, target: &Core) {
        if let Some(evicted) = self.evicted.take() {
            evicted.refuse(target, Refusal::Full);
        }
        if let Some(task) = self.orphan.take() {
            discard(task);
        }
        // Not in `begin`: the last to hold it drops a reply that came too late.
        self.nudge = None;
    }
}

/// Puts a counted node into the mail, or finds out why not. `waiting`: may wait for room there.
///
/// # Safety
///
/// The node is in no list, and lives until it is taken out; `waiting` likewise, and is for this node.
#[inline]
pub(super) unsafe fn put(
    mail: &mut Locked<'_, Mail>,
    target: &Core,
    node: NonNull<Node>,
    chain: u64,
    waiting: Option<&Waiting>,
    rest: &mut Rest,
) -> Sent {
    // SAFETY: as the caller promises.
    let admitted = if chain == 0 { None } else { unsafe { mail.admit(node, chain) } };
    if let Some(nudge) = admitted {
        rest.nudge = nudge;
        return Sent::In;
    }
    // SAFETY: as the caller promises.
    match unsafe { mail.push(node, true) } {
        Pushed::Queued => return Sent::In,
        Pushed::Launch => {
            rest.launch = true;
            return Sent::In;
        }
        Pushed::Closed => return Sent::Refused(Refusal::Closed),
        Pushed::Full => {}
    }
    match mail.overflow {
        Overflow::Block => match waiting {
            Some(waiting) => {
                // SAFETY: as the caller promises.
                unsafe { mail.wait_for_room(NonNull::from(waiting)) };
                Sent::Waits
            }
            None => Sent::Refused(Refusal::Full),
        },
        Overflow::Reject => Sent::Refused(Refusal::Full),
        Overflow::DropNewest => Sent::Dropped,
        Overflow::DropOldest => {
            // Nobody waits for room here, so popping lets nobody in.
            match mail.evict(target) {
                Some(Ok(wake)) => rest.wake = wake,
                Some(Err(evicted)) => rest.evicted = Some(evicted),
                None => {}
            }
            // SAFETY: as the caller promises.
            rest.launch = unsafe { mail.push(node, true) } == Pushed::Launch;
            Sent::In
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
    let letter = Tell::boxed(route.tell, msg);
    let posted = target.mail.lock().post(letter, true);
    match posted {
        Ok(false) => Ok(()),
        Ok(true) => {
            target.launch();
            Ok(())
        }
        Err(letter) => tell_again(target, letter, wait),
    }
}

/// Puts a box into the mail. `Err`: it is not in, and still the caller's.
pub(super) fn put_letter<E>(target: &Core, letter: Letter<E>, chain: u64) -> Result<(), (Sent, Letter<E>)> {
    let mut rest = Rest::default();
    let sent = {
        let mut mail = target.mail.lock();
        // SAFETY: the box is in no list; it does not wait.
        unsafe { put(&mut mail, target, letter.node(), chain, None, &mut rest) }
    };
    rest.begin(target);
    rest.finish(target);
    if let Sent::In = sent { Ok(()) } else { Err((sent, letter)) }
}

#[cold]
#[inline(never)]
fn tell_again<M: Message>(target: &Core, letter: Letter<Tell<M>>, wait: bool) -> Result<(), SendError<M>> {
    match put_letter(target, letter, 0) {
        Ok(()) => Ok(()),
        Err((sent, letter)) => tell_refused(target, letter, sent, wait),
    }
}

#[cold]
fn tell_refused<M: Message>(
    target: &Core,
    letter: Letter<Tell<M>>,
    sent: Sent,
    wait: bool,
) -> Result<(), SendError<M>> {
    match sent {
        Sent::Dropped => {
            letters::lost(target.id(), type_name::<M>());
            drop(letter.open());
            Ok(())
        }
        Sent::Refused(Refusal::Full) if wait && target.mail.lock().overflow == Overflow::Block => {
            let (actor, deadline_ns, chain) = inherited();
            let waits = match Waits::begin(actor, target, chain, 0) {
                Ok(waits) => waits,
                Err(cycle) => return Err(SendError::Deadlock { msg: Some(letter.open().msg), cycle }),
            };
            let room = wait_for_room(target, letter, chain, deadline_ns);
            drop(waits);
            room.map_err(|(why, letter)| match why {
                NoRoom::Refused(why) => refused(why, letter.open().msg),
                NoRoom::TimedOut => SendError::Timeout(Some(letter.open().msg)),
            })
        }
        Sent::Refused(why) => Err(refused(why, letter.open().msg)),
        Sent::In | Sent::Waits => unreachable!("it was refused"),
    }
}

/// Why a box did not get in; it is the sender's.
pub(super) enum NoRoom {
    Refused(Refusal),
    TimedOut,
}

/// Waits until the box is in the mail. It is dropped, if the wait is left by unwinding while it is not.
#[cold]
pub(super) fn wait_for_room<E>(
    target: &Core,
    letter: Letter<E>,
    chain: u64,
    deadline_ns: u64,
) -> Result<(), (NoRoom, Letter<E>)> {
    let node = letter.node();
    let mut letter = Some(letter);
    let waited = wait_for_node(target, node, chain, deadline_ns, || drop(letter.take().map(Letter::open)));
    match (waited, letter) {
        (Err(why), Some(letter)) => Err((why, letter)),
        _ => Ok(()),
    }
}

/// The same; `dispose` drops the box.
fn wait_for_node(
    target: &Core,
    node: NonNull<Node>,
    chain: u64,
    deadline_ns: u64,
    dispose: impl FnOnce(),
) -> Result<(), NoRoom> {
    let waiting = Waiting::new(node, Core::current());
    let mut wait = Wait::new(Reason::Room).until(deadline_ns);
    let mut dispose = Some(dispose);
    let mut rest = Rest::default();
    let mut entered = false;
    loop {
        let mut sent = Sent::Waits;
        let woken = park(wait, |ticket| {
            let mut mail = target.mail.lock();
            if !std::mem::replace(&mut entered, true) {
                waiting.ticket.set(Some(ticket));
                // SAFETY: the box is in no list; `waiting` leaves this frame after it was taken out, under the lock.
                sent = unsafe { put(&mut mail, target, node, chain, Some(&waiting), &mut rest) };
                drop(mail);
                rest.begin(target);
                return matches!(sent, Sent::Waits);
            }
            let waits = waiting.links.is_linked();
            waiting.ticket.set(waits.then_some(ticket));
            waits
        });
        rest.finish(target);
        let closed = || if waiting.refused.get() { Err(NoRoom::Refused(Refusal::Closed)) } else { Ok(()) };
        // SAFETY: it was put into this mail only.
        let leave = || unsafe { target.mail.lock().leave_room(&waiting) };
        match woken {
            Woken::Refused => {
                return match sent {
                    Sent::Refused(why) => Err(NoRoom::Refused(why)),
                    _ => closed(),
                };
            }
            Woken::Notified => return closed(),
            Woken::TimedOut => return if leave() { Err(NoRoom::TimedOut) } else { closed() },
            Woken::Interrupted => {
                let is_ours = || !entered || leave() || waiting.refused.get();
                raise_or(|| {
                    if is_ours()
                        && let Some(dispose) = dispose.take()
                    {
                        dispose();
                    }
                });
                wait = wait.uninterruptible();
            }
        }
    }
}

/// Raises what is pending, after `undo`; returns, without it, if there is nothing to raise.
fn raise_or(undo: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(interrupt::raise)) {
        undo();
        std::panic::resume_unwind(payload);
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
    let ask = Ask::new(Asked::new(route.ask, own_ns.min(limit_ns), chain, asker), msg);
    let waits = Waits::set(asker, target, chain);
    let step = match chain {
        0 => match ask_on_top(target, &ask) {
            Step::NotSent => short_wait(target, &ask, &waits),
            step => step,
        },
        // Messages of a chain may be let in by one that waits.
        _ => Step::NotSent,
    };
    if let Step::Answered = step {
        drop(waits);
        // SAFETY: it was answered by whoever ended the wait, whose last touch that was, or on top of this thread.
        return unsafe { ask.take_answer() };
    }
    wait_on(target, &ask, waits, step)
}

/// How far an ask has come.
enum Step {
    Answered,
    /// It is in no mail.
    NotSent,
    /// It is in the mail, or is being handled, and its asker has not waited yet.
    Sent,
    /// It is there, and a first wait has ended so.
    Waited(Woken),
    /// It is there, with nobody to run the actor but the asker.
    Orphaned(Task),
}

/// How an ask ended for an asker that gave up.
enum Left {
    Answered,
    /// The handler has not started, and will not.
    Unhandled,
    Handled,
}

impl<M: Message> Ask<M> {
    fn node(&self) -> NonNull<Node> {
        NonNull::from(self).cast()
    }

    fn take_message(&self) -> Option<M> {
        // SAFETY: the ask is in no list, and no handler has it.
        unsafe { (*self.msg.get()).take() }
    }

    /// The asker gives up: nobody touches the ask afterwards.
    #[cold]
    fn leave(&self, target: &Core, waiting: &Waiting) -> Left {
        let mut mail = target.mail.lock();
        let (left, wake) = match self.asked.place.get() {
            Place::Done => (Left::Answered, None),
            // SAFETY: it is in this mail: among those that wait for room, or in a queue.
            Place::Queued if unsafe { mail.leave_room(waiting) } => (Left::Unhandled, None),
            // SAFETY: as above.
            Place::Queued => (Left::Unhandled, unsafe { mail.withdraw(self.node(), self.asked.chain) }),
            Place::Handled(frame) => {
                forget_reply(frame);
                (Left::Handled, None)
            }
            Place::Detached => {
                let tether = self.asked.tether.take();
                let waited = tether.is_some_and(|tether| tether.0.lock().take().is_some());
                (if waited { Left::Handled } else { Left::Answered }, None)
            }
        };
        self.asked.place.set(Place::Done);
        drop(mail);
        if let Some(wake) = wake {
            wake.schedule();
        }
        left
    }

    /// A second wait of the same ask. False: the answer has come meanwhile.
    #[cold]
    fn renew(&self, target: &Core, ticket: crate::task::Ticket) -> bool {
        let _mail = target.mail.lock();
        match self.asked.place.get() {
            Place::Done => false,
            Place::Detached => {
                let tether = self.asked.tether.take();
                let waits = tether.as_ref().is_some_and(|tether| {
                    let tether = tether.0.lock();
                    self.asked.ticket.set(Some(ticket));
                    tether.is_some()
                });
                self.asked.tether.set(tether);
                waits
            }
            Place::Queued | Place::Handled(_) => {
                self.asked.ticket.set(Some(ticket));
                true
            }
        }
    }
}

/// The way of nearly every ask: the actor rests, and handles the message at once, on top of the asker.
#[inline(always)]
fn ask_on_top<M: Message>(target: &Core, ask: &Ask<M>) -> Step {
    let worker = Worker::current().filter(|worker| worker.shared.identity() == target.header.runtime && may_switch());
    let Some((worker, asker)) = worker.and_then(|worker| Some((worker, worker.here().current()?))) else {
        return Step::NotSent;
    };
    {
        let mut mail = target.mail.lock();
        if !mail.rests() {
            return Step::NotSent;
        }
        ask.asked.place.set(Place::Queued);
        // SAFETY: the ask is in no list; it does not leave its frame before it is answered, or has left by `leave`.
        if unsafe { mail.push(ask.node(), true) } != Pushed::Launch {
            ask.asked.place.set(Place::Done);
            return Step::NotSent;
        }
    }
    let answered = || matches!(ask.asked.place.get(), Place::Done);
    if target.launch_on_top(worker, asker, answered) { Step::Answered } else { Step::Sent }
}

/// The way of most others: there is room, the target does not wait itself, and the answer comes.
#[inline(always)]
fn short_wait<M: Message>(target: &Core, ask: &Ask<M>, waits: &Waits<'_>) -> Step {
    let mut orphan = None;
    let woken = park(Wait::new(Reason::Ask).until(ask.asked.deadline_ns), |ticket| {
        ask.asked.ticket.set(Some(ticket));
        ask.asked.place.set(Place::Queued);
        let pushed = {
            let mut mail = target.mail.lock();
            if !mail.rests() && waits.is_suspicious(target) {
                ask.asked.place.set(Place::Done);
                return false;
            }
            // SAFETY: as in `ask_on_top`.
            let pushed = unsafe { mail.push(ask.node(), true) };
            if matches!(pushed, Pushed::Full | Pushed::Closed) {
                ask.asked.place.set(Place::Done);
            }
            pushed
        };
        match pushed {
            Pushed::Queued => true,
            Pushed::Launch => {
                orphan = target.try_launch().err();
                orphan.is_none()
            }
            Pushed::Full | Pushed::Closed => false,
        }
    });
    match (woken, orphan) {
        (Woken::Notified, _) => Step::Answered,
        (_, Some(task)) => Step::Orphaned(task),
        (Woken::Refused, None) => Step::NotSent,
        (woken, None) => Step::Waited(woken),
    }
}

/// All other ways.
#[cold]
#[inline(never)]
fn wait_on<M: Message>(target: &Core, ask: &Ask<M>, waits: Waits<'_>, step: Step) -> Result<M::Reply, SendError<M>> {
    let (mut first, mut woken, orphan) = match step {
        Step::NotSent => (true, None, None),
        Step::Sent | Step::Answered => (false, None, None),
        Step::Waited(woken) => (false, Some(woken), None),
        // It is answered when the actor is discarded.
        Step::Orphaned(task) => (false, Some(Woken::Refused), Some(task)),
    };
    if first && let Err(cycle) = waits.check(target, ask.asked.chain, 0) {
        return Err(SendError::Deadlock { msg: ask.take_message(), cycle });
    }
    let waiting = Waiting::new(ask.node(), None);
    let mut wait = Wait::new(Reason::Ask).until(ask.asked.deadline_ns);
    let mut rest = Rest { orphan, ..Rest::default() };
    loop {
        let mut sent = Sent::In;
        let woken = woken.take().unwrap_or_else(|| {
            park(wait, |ticket| {
                if !std::mem::take(&mut first) {
                    return ask.renew(target, ticket);
                }
                ask.asked.ticket.set(Some(ticket));
                ask.asked.place.set(Place::Queued);
                let mut mail = target.mail.lock();
                // SAFETY: as in `wait_for_answer`.
                sent = unsafe { put(&mut mail, target, ask.node(), ask.asked.chain, Some(&waiting), &mut rest) };
                let waits = matches!(sent, Sent::In | Sent::Waits);
                if !waits {
                    ask.asked.place.set(Place::Done);
                }
                drop(mail);
                rest.begin(target);
                waits && rest.orphan.is_none()
            })
        });
        rest.finish(target);
        // SAFETY: called where the ask is `Done`: nobody else touches it any more.
        let answer = || unsafe { ask.take_answer() };
        match woken {
            Woken::Notified => return answer(),
            Woken::Refused => match (sent, ask.take_message()) {
                (Sent::Refused(why), Some(msg)) => return Err(refused(why, msg)),
                (Sent::Dropped, Some(msg)) => return Err(SendError::Full(msg)),
                _ => return answer(),
            },
            Woken::TimedOut => {
                return match ask.leave(target, &waiting) {
                    Left::Answered => answer(),
                    Left::Unhandled => Err(SendError::Timeout(ask.take_message())),
                    Left::Handled => Err(SendError::Timeout(None)),
                };
            }
            Woken::Interrupted => {
                raise_or(|| _ = ask.leave(target, &waiting));
                wait = wait.uninterruptible();
            }
        }
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
