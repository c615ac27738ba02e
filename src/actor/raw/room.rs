//! Waiting for room in a full mailbox.
//!
//! # Protocol
//!
//! Under the lock of the mail, who finds no room puts its parcel behind those that wait; whoever takes a message out puts the
//! parcel that has waited longest in its place, takes the edge of its sender away, and then, without the lock, opens the
//! sender's [`Room`]. An ask needs none: its asker waits for the answer.
//!
//! A sender whose wait ends otherwise (its deadline, a cancel, a cycle that a joiner has closed) takes the lock and looks for its parcel. If it is there, the
//! sender takes it back. If not, somebody has taken it out and owes the verdict, for which the sender waits.

#![forbid(unsafe_code)]

use std::sync::Arc;

use super::Refusal;
use super::cell::{Core, Weak};
use super::parcel::{Letter, Parcel};
use super::send::{NotIn, Rest, Sent, put};
use super::walk::Waits;
use crate::actor::ActorId;
use crate::park::Wait;
use crate::park::current::assert_may_park;
use crate::park::queue::WaitQueue;
use crate::task::header::Reason;

/// What became of a parcel that waited for room.
enum Verdict {
    In,
    /// The mailbox has closed: the parcel is the sender's again.
    Closed(Parcel),
}

/// Where a sender waits for the verdict.
pub(crate) struct Room(WaitQueue<Option<Verdict>>);

impl Room {
    fn settle(&self, verdict: Verdict) {
        self.0.notify(|state| {
            *state = Some(verdict);
            usize::MAX
        });
    }

    /// The parcel is in. Without the lock of the mail.
    pub(super) fn open(&self) {
        self.settle(Verdict::In);
    }

    /// The mailbox has closed. Without the lock of the mail.
    pub(super) fn close(&self, parcel: Parcel) {
        self.settle(Verdict::Closed(parcel));
    }

    /// `None`: the deadline has passed, or the sender is to look for a cycle again.
    fn wait(&self, wait: Wait, is_told: impl Fn() -> bool) -> Option<Verdict> {
        let verdict = |state: &mut Option<Verdict>| state.take().map(Some).or_else(|| is_told().then_some(None));
        self.0.wait_until(wait, verdict).flatten()
    }
}

/// A parcel that waits for room.
pub(super) struct Waiting {
    pub(super) parcel: Parcel,
    /// `None`: it is an ask.
    pub(super) sender: Option<Sender>,
}

/// Whose box it is.
pub(super) struct Sender {
    room: Arc<Room>,
    /// The actor that sends, if it is one: its edge goes when it has its room.
    actor: Option<Weak>,
}

impl Sender {
    /// It does not wait for the actor any more; the caller tells it when the lock is free.
    pub(super) fn let_go(&self) -> Arc<Room> {
        if let Some(actor) = &self.actor {
            actor.core().edge.clear();
        }
        Arc::clone(&self.room)
    }
}

/// Why a box did not get in.
pub(super) enum NoRoom {
    Refused(Refusal),
    TimedOut,
    Deadlock(Vec<ActorId>),
}

/// A sender that waits. Dropped by unwinding, it drops its box, unless that got in.
struct Visit<'a> {
    target: &'a Core,
    room: Arc<Room>,
    over: bool,
}

impl Visit<'_> {
    /// Ends the wait. `None`: the box is in.
    fn leave(&mut self) -> Option<Parcel> {
        self.over = true;
        let is_ours = |sender: Option<&Sender>| sender.is_some_and(|sender| Arc::ptr_eq(&sender.room, &self.room));
        let waiting = self.target.mail.lock().leave_room(|waiting| is_ours(waiting.sender.as_ref()));
        match waiting {
            Some(waiting) => Some(waiting.parcel),
            // Not for room any more: nothing interrupts this.
            None => match self.room.wait(Wait::new(Reason::Send).uninterruptible(), || false) {
                Some(Verdict::Closed(parcel)) => Some(parcel),
                Some(Verdict::In) | None => None,
            },
        }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        if !self.over {
            drop(self.leave());
        }
    }
}

/// Waits until the box is in the mail.
#[cold]
pub(super) fn wait_for_room<E: Send + 'static>(
    target: &Core,
    letter: Letter<E>,
    chain: u64,
    deadline_ns: u64,
    waits: &Waits<'_>,
) -> Result<(), (NoRoom, Letter<E>)> {
    // Before anything is queued: a sender cannot leave without its parcel or the verdict.
    assert_may_park("a send to a full mailbox");
    let room = Arc::new(Room(WaitQueue::new(None)));
    let sender = || Some(Sender { room: Arc::clone(&room), actor: Core::current().map(Core::weak) });
    let mut rest = Rest::default();
    let sent = put(&mut target.mail.lock(), target, letter, chain, Some(&sender), &mut rest);
    rest.finish(target);
    match sent {
        Ok(Sent::In | Sent::Admitted) => return Ok(()),
        Ok(Sent::Waits) => {}
        Err((NotIn::Refused(why), letter)) => return Err((NoRoom::Refused(why), letter)),
        Err((NotIn::Dropped, letter)) => return Err((NoRoom::Refused(Refusal::Full), letter)),
    }
    let mut visit = Visit { target, room, over: false };
    let why = loop {
        let verdict = visit.room.wait(Wait::new(Reason::Room).until(deadline_ns), || waits.is_told());
        visit.over = verdict.is_some();
        match verdict {
            Some(Verdict::In) => return Ok(()),
            Some(Verdict::Closed(parcel)) => return Err((NoRoom::Refused(Refusal::Closed), Letter::of(parcel))),
            None if waits.is_told() => match waits.look_again() {
                Ok(()) => {}
                Err(cycle) => break NoRoom::Deadlock(cycle),
            },
            None => break NoRoom::TimedOut,
        }
    };
    visit.leave().map_or(Ok(()), |parcel| Err((why, Letter::of(parcel))))
}
