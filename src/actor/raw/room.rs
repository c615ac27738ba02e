//! Waiting for room in a full mailbox.
//!
//! # Protocol
//!
//! Under the lock of the mail, who finds no room puts its parcel behind those that wait; whoever takes a message out puts the
//! parcel that has waited longest in its place, takes the edge of its sender away, and then, without the lock, opens the
//! sender's [`Room`]. An ask needs none: its asker waits for the answer.
//!
//! A sender whose wait ends otherwise (its deadline, a cancel, a cycle that a joiner has closed) takes the lock and looks for
//! its parcel. If it is there, the sender takes it back. If not, somebody has taken it out and owes the verdict, for which the
//! sender waits.

#![forbid(unsafe_code)]

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::Refusal;
use super::cell::{Core, Weak};
use super::parcel::Parcel;
use super::send::{NotIn, Rest, Sent, put};
use super::walk::Waits;
use crate::actor::ActorId;
use crate::actor::promise::wake_guarded;
use crate::park::Wait;
use crate::park::no_park::assert_may_park;
use crate::park::queue::WaitQueue;
use crate::task::header::Reason;

/// What became of a parcel that waited for room.
enum Verdict {
    In,
    /// The mailbox has closed: the parcel is the sender's again.
    Closed(Parcel),
}

/// Where a sender waits for the verdict: its thread, or its future.
pub(crate) struct Room(WaitQueue<Door>);

#[derive(Default)]
struct Door {
    verdict: Option<Verdict>,
    waker: Option<Waker>,
}

impl Room {
    fn new() -> Arc<Self> {
        Arc::new(Self(WaitQueue::new(Door::default())))
    }

    fn settle(&self, verdict: Verdict) {
        let mut waker = None;
        self.0.notify_all(|door| {
            door.verdict = Some(verdict); // KEY: room-verdict
            waker = door.waker.take();
            true
        });
        waker.into_iter().for_each(wake_guarded);
    }

    /// The parcel is in. Without the lock of the mail.
    pub(super) fn open(&self) {
        self.settle(Verdict::In);
    }

    /// The mailbox has closed. Without the lock of the mail.
    pub(super) fn close(&self, parcel: Parcel) {
        self.settle(Verdict::Closed(parcel));
    }

    /// Takes the entry of this room out of those that wait.
    fn leave(self: &Arc<Self>, target: &Core) -> Option<Waiting> {
        let is_ours = |sender: &Sender| Arc::ptr_eq(&sender.room, self);
        target.mail.lock().leave_room(|waiting| waiting.sender.as_ref().is_some_and(is_ours))
    }

    /// `None`: the deadline has passed, or the sender is to look for a cycle again.
    fn wait(&self, wait: Wait, is_told: impl Fn() -> bool) -> Option<Verdict> {
        let verdict = |door: &mut Door| door.verdict.take().map(Some).or_else(|| is_told().then_some(None));
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
        match self.room.leave(self.target) {
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
        let asked = put(&mut mail, target, parcel, chain, Some(&sender), &mut rest);
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
pub(super) fn wait_for_room(
    target: &Core,
    parcel: Parcel,
    chain: u64,
    deadline_ns: u64,
    waits: &Waits<'_>,
) -> Result<Sent, (NoRoom, Parcel)> {
    // Before anything is queued: a sender cannot leave without its parcel or the verdict.
    assert_may_park("a send to a full mailbox");
    let room = Room::new();
    match ask_for_room(target, parcel, chain, &room, Some(waits)) {
        Ok(sent @ (Sent::In | Sent::Admitted)) => return Ok(sent),
        Ok(Sent::Waits) => {}
        Err((NotIn::Refused(why), parcel)) => return Err((NoRoom::Refused(why), parcel)),
        Err((NotIn::Dropped, parcel)) => return Err((NoRoom::Refused(Refusal::Full), parcel)),
    }
    let mut visit = Visit { target, room, over: false };
    let why = loop {
        let verdict = visit.room.wait(Wait::new(Reason::Room).until(deadline_ns), || waits.is_told());
        visit.over = verdict.is_some();
        match verdict {
            Some(Verdict::In) => return Ok(Sent::In),
            Some(Verdict::Closed(parcel)) => return Err((NoRoom::Refused(Refusal::Closed), parcel)),
            None if waits.is_told() => match waits.look_again() {
                Ok(()) => {}
                Err(cycle) => break NoRoom::Deadlock(cycle),
            },
            None => break NoRoom::TimedOut,
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

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Entry::Fresh(parcel, chain) = std::mem::replace(&mut self.state, Entry::Waits) {
            let asked = ask_for_room(self.target, parcel, chain, &self.room, None);
            if !matches!(asked, Ok(Sent::Waits)) {
                self.state = Entry::Over;
                return Poll::Ready(asked);
            }
        }
        let mut waker = Some(cx.waker().clone());
        let verdict = self.room.0.with(|door| {
            std::mem::swap(&mut door.waker, &mut waker); // The old one is dropped outside.
            door.verdict.take()
        });
        let Some(verdict) = verdict else { return Poll::Pending };
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
            drop(self.room.leave(self.target));
        }
    }
}
