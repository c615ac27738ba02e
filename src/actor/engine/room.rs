//! A send that waits for room in a full mailbox. The protocol is in [`waiting`](super::waiting).

#![forbid(unsafe_code)]

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use super::cell::Core;
use super::edge::How;
use super::enqueue::{NotIn, Rest, Sent, put, put_letter};
use super::frame::Terms;
use super::origin::Origin;
use super::owed::{Refusal, Unanswered};
use super::parcel::{Parcel, Room, Sender, Waiting};
use super::waiting::Verdict;
use super::walk::Waits;
use crate::actor::{ActorId, Overflow};
use crate::park::Wait;
use crate::park::current::assert_may_park;
use crate::task::header::Reason;

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

impl From<NotIn> for Unsent {
    fn from(why: NotIn) -> Self {
        match why {
            NotIn::Refused(why) => Unsent::Refused(why),
            NotIn::Dropped => Unsent::Dropped,
        }
    }
}

/// Puts a box into the mail; waits for room, if `wait` says so and the mailbox blocks.
pub(super) fn enter(target: &Core, parcel: Parcel, origin: Origin, wait: bool) -> Result<Sent, (Unsent, Parcel)> {
    let parcel = match put_letter(target, parcel, origin.terms.chain) {
        Ok(sent) => return Ok(sent),
        Err((NotIn::Refused(Refusal::Full), parcel)) if wait && target.mail.lock().overflow == Overflow::Block => {
            parcel
        }
        Err((why, parcel)) => return Err((why.into(), parcel)),
    };
    let waits = match Waits::begin(origin.actor, target, How::message(origin.terms.chain)) {
        Ok(waits) => waits,
        Err(cycle) => return Err((Unsent::Deadlock(cycle), parcel)),
    };
    wait_for_room(target, parcel, origin.terms, &waits)
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
        match leave(&self.room, self.target) {
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

/// Takes the entry of this room out of those that wait.
fn leave(room: &Arc<Room>, target: &Core) -> Option<Waiting> {
    let is_ours = |sender: &Sender| Arc::ptr_eq(&sender.room, room);
    target.mail.lock().leave_room(|waiting| waiting.sender.as_ref().is_some_and(is_ours))
}

/// Puts the box into the mail, or behind those that wait for room there. `waits`: the edge of a sender that is an actor.
fn ask_for_room(
    target: &Core,
    parcel: Parcel,
    chain: u64,
    room: &Arc<Room>,
    waits: Option<&Waits<'_>>,
) -> Result<Sent, (NotIn, Parcel)> {
    let sender = || Some(Sender { room: Arc::clone(room), actor: waits.and_then(Waits::actor).map(Core::weak) });
    let mut rest = Rest::default();
    let asked = {
        let mut mail = target.mail.lock();
        let asked = put(&mut mail, parcel, chain, Some(&sender), &mut rest);
        if let (Ok(Sent::In | Sent::Waits), Some(waits)) = (&asked, waits) {
            waits.harden();
        }
        asked
    };
    rest.finish(target);
    asked
}

/// Waits until the box is in the mail.
#[cold]
fn wait_for_room(target: &Core, parcel: Parcel, terms: Terms, waits: &Waits<'_>) -> Result<Sent, (Unsent, Parcel)> {
    // Before anything is queued: a sender cannot leave without its parcel or the verdict.
    assert_may_park("a send to a full mailbox");
    let room = Room::new();
    match ask_for_room(target, parcel, terms.chain, &room, Some(waits)) {
        Ok(sent @ (Sent::In | Sent::Admitted)) => return Ok(sent),
        Ok(Sent::Waits) => {}
        Err((why, parcel)) => return Err((why.into(), parcel)),
    }
    let mut visit = Visit { target, room, over: false };
    let why = loop {
        let verdict = visit.room.wait(Wait::new(Reason::Room).until(terms.deadline_ns), || waits.is_told());
        visit.over = verdict.is_some();
        match verdict {
            Some(Verdict::In) => return Ok(Sent::In),
            Some(Verdict::Closed(parcel)) => return Err((Unsent::Refused(Refusal::Closed), parcel)),
            None if waits.is_told() => match waits.look_again() {
                Ok(()) => {}
                Err(cycle) => break Unsent::Deadlock(cycle),
            },
            None => break Unsent::TimedOut,
        }
    };
    visit.leave().map_or(Ok(Sent::In), |parcel| Err((why, parcel)))
}

/// A box that goes into the mail when there is room, for a future. Its sender is no part of the wait-for graph: a future can
/// wait for much at once. Dropped before it is ready, it drops its box, unless that got in.
pub(super) struct Entering<'a> {
    target: &'a Core,
    room: Arc<Room>,
    state: Entry,
}

enum Entry {
    /// Not asked for room yet, with the chain.
    Fresh(Parcel, u64),
    Waits,
    Over,
}

impl<'a> Entering<'a> {
    /// Asks for room when it is first polled.
    pub(super) fn begin(target: &'a Core, parcel: Parcel, chain: u64) -> Self {
        Self { target, room: Room::new(), state: Entry::Fresh(parcel, chain) }
    }
}

impl Future for Entering<'_> {
    type Output = Result<Sent, (NotIn, Parcel)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        if let Entry::Fresh(parcel, chain) = std::mem::replace(&mut self.state, Entry::Waits) {
            let asked = ask_for_room(self.target, parcel, chain, &self.room, None);
            if !matches!(asked, Ok(Sent::Waits)) {
                self.state = Entry::Over;
                return Poll::Ready(asked);
            }
        }
        let Some(verdict) = self.room.poll(cx.waker()) else { return Poll::Pending };
        self.state = Entry::Over;
        Poll::Ready(match verdict {
            Verdict::In => Ok(Sent::In),
            Verdict::Closed(parcel) => Err((NotIn::Refused(Refusal::Closed), parcel)),
        })
    }
}

impl Drop for Entering<'_> {
    fn drop(&mut self) {
        if let Entry::Waits = self.state {
            // If it is not there, it is in, or the verdict brings it back, and is dropped with the room.
            drop(leave(&self.room, self.target));
        }
    }
}
