//! How a message gets into a mailbox, and how its sender waits for room there. The protocol of that is in [`waiting`](super::waiting).

#![forbid(unsafe_code)]

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use super::busy::Launch;
use super::cell::Core;
use super::edge::How;
use super::envelope::Envelope;
use super::frame::Terms;
use super::mailbox_state::{MailboxState, Nudge};
use super::origin::SendOrigin;
use super::owed::{Refusal, Unanswered};
use super::waiting::{CapacityWaiter, Verdict, WaitingEnvelope, WaitingSender};
use super::walk::Waits;
use crate::actor::{ActorId, Overflow};
use crate::park::Wait;
use crate::park::no_park::assert_may_park;
use crate::task::header::{Reason, Wake};

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
pub(super) struct AfterUnlock {
    launch: Option<Launch>,
    wake: Option<Wake>,
    nudge: Option<Arc<dyn Nudge>>,
    evicted: Option<Envelope>,
}

impl AfterUnlock {
    /// May run user code: so not where a wait has begun.
    #[inline]
    pub(super) fn finish(self, target: &Core) {
        if let Some(wake) = self.wake {
            wake.schedule();
        }
        if let Some(nudge) = self.nudge {
            nudge.nudge();
        }
        if let Some(duty) = self.launch {
            target.queue(duty);
        }
        if let Some(evicted) = self.evicted {
            target.refuse_box(evicted, Refusal::Full);
        }
    }
}

/// Puts a message into the mailbox, or finds out why not. `sender` makes the sender's entry among those that wait for room;
/// without it nobody waits.
#[inline]
pub(super) fn enqueue<P: Into<Envelope> + AsRef<Envelope>>(
    mailbox: &mut MailboxState,
    envelope: P,
    chain: u64,
    sender: Option<&dyn Fn() -> Option<WaitingSender<Envelope>>>,
    after: &mut AfterUnlock,
) -> Result<Sent, (NotIn, P)> {
    let envelope = if chain == 0 {
        envelope
    } else {
        match mailbox.admit(envelope, chain) {
            Ok(nudge) => {
                after.nudge = nudge;
                return Ok(Sent::Admitted);
            }
            Err(envelope) => envelope,
        }
    };
    let envelope = match mailbox.push(envelope) {
        Ok(launch) => {
            after.launch = launch;
            return Ok(Sent::In);
        }
        Err((Refusal::Full, envelope)) => envelope,
        Err((why, envelope)) => return Err((NotIn::Refused(why), envelope)),
    };
    match (mailbox.overflow, sender) {
        (Overflow::Block, Some(sender)) => {
            mailbox.wait_for_capacity(WaitingEnvelope { envelope: envelope.into(), sender: sender() });
            Ok(Sent::Waits)
        }
        (Overflow::Block, None) | (Overflow::Reject, _) => Err((NotIn::Refused(Refusal::Full), envelope)),
        (Overflow::DropNewest, _) => Err((NotIn::Dropped, envelope)),
        (Overflow::DropOldest, _) => {
            match mailbox.evict().map(|oldest| oldest.refuse_ask(Refusal::Full)) {
                Some(Ok(wake)) => after.wake = wake,
                Some(Err(evicted)) => after.evicted = Some(evicted),
                None => {}
            }
            let launch = mailbox.push(envelope).map_err(|(why, envelope)| (NotIn::Refused(why), envelope))?;
            after.launch = launch;
            Ok(Sent::In)
        }
    }
}

/// Puts a box into the mailbox. `Err`: it is not in, and still the caller's.
pub(super) fn try_enqueue<P: Into<Envelope> + AsRef<Envelope>>(
    target: &Core,
    envelope: P,
    chain: u64,
) -> Result<Sent, (NotIn, P)> {
    let mut after = AfterUnlock::default();
    let sent = enqueue(&mut target.mailbox.lock(), envelope, chain, None, &mut after);
    after.finish(target);
    if sent.is_ok() {
        target.assert_runs_here();
    }
    sent
}

/// Why a box is in no mailbox.
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

/// Puts a box into the mailbox; waits for room, if `wait` says so and the mailbox blocks.
pub(super) fn enqueue_or_wait(
    target: &Core,
    envelope: Envelope,
    origin: SendOrigin,
    wait: bool,
) -> Result<Sent, (Unsent, Envelope)> {
    let envelope = match try_enqueue(target, envelope, origin.terms.chain) {
        Ok(sent) => return Ok(sent),
        Err((NotIn::Refused(Refusal::Full), envelope)) if wait && target.mailbox.lock().overflow == Overflow::Block => {
            envelope
        }
        Err((why, envelope)) => return Err((why.into(), envelope)),
    };
    let waits = match Waits::begin(origin.actor, target, How::message(origin.terms.chain)) {
        Ok(waits) => waits,
        Err(cycle) => return Err((Unsent::Deadlock(cycle), envelope)),
    };
    wait_for_capacity(target, envelope, origin.terms, &waits)
}

/// A sender that waits. Dropped by unwinding, it drops its box, unless that got in.
struct Visit<'a> {
    target: &'a Core,
    room: Arc<CapacityWaiter<Envelope>>,
    over: bool,
}

impl Visit<'_> {
    /// Ends the wait. `None`: the box is in.
    fn leave(&mut self) -> Option<Envelope> {
        self.over = true;
        match leave(&self.room, self.target) {
            Some(waiting) => Some(waiting.envelope),
            // Not for room any more: nothing interrupts this.
            None => match self.room.wait(Wait::new(Reason::Send).uninterruptible(), || false) {
                Some(Verdict::Closed(envelope)) => Some(envelope),
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
fn leave(room: &Arc<CapacityWaiter<Envelope>>, target: &Core) -> Option<WaitingEnvelope<Envelope>> {
    let is_ours = |sender: &WaitingSender<Envelope>| Arc::ptr_eq(&sender.room, room);
    target.mailbox.lock().leave_room(|waiting| waiting.sender.as_ref().is_some_and(is_ours))
}

/// Puts the box into the mailbox, or behind those that wait for room there. `waits`: the edge of a sender that is an actor.
fn ask_for_room(
    target: &Core,
    envelope: Envelope,
    chain: u64,
    room: &Arc<CapacityWaiter<Envelope>>,
    waits: Option<&Waits<'_>>,
) -> Result<Sent, (NotIn, Envelope)> {
    let sender = || Some(WaitingSender { room: Arc::clone(room), actor: waits.and_then(Waits::actor).map(Core::weak) });
    let mut after = AfterUnlock::default();
    let asked = {
        let mut mailbox = target.mailbox.lock();
        let asked = enqueue(&mut mailbox, envelope, chain, Some(&sender), &mut after);
        if let (Ok(Sent::In | Sent::Waits), Some(waits)) = (&asked, waits) {
            waits.harden();
        }
        asked
    };
    after.finish(target);
    if asked.is_ok() {
        target.assert_runs_here();
    }
    asked
}

/// Waits until the box is in the mailbox.
#[cold]
fn wait_for_capacity(
    target: &Core,
    envelope: Envelope,
    terms: Terms,
    waits: &Waits<'_>,
) -> Result<Sent, (Unsent, Envelope)> {
    // Before anything is queued: a sender cannot leave without its envelope or the verdict.
    assert_may_park("a send to a full mailbox");
    let room = CapacityWaiter::new();
    match ask_for_room(target, envelope, terms.chain, &room, Some(waits)) {
        Ok(sent @ (Sent::In | Sent::Admitted)) => return Ok(sent),
        Ok(Sent::Waits) => {}
        Err((why, envelope)) => return Err((why.into(), envelope)),
    }
    let mut visit = Visit { target, room, over: false };
    let why = loop {
        let verdict = visit.room.wait(Wait::new(Reason::Room).until(terms.deadline_ns), || waits.is_told());
        visit.over = verdict.is_some();
        match verdict {
            Some(Verdict::In) => return Ok(Sent::In),
            Some(Verdict::Closed(envelope)) => return Err((Unsent::Refused(Refusal::Closed), envelope)),
            None if waits.is_told() => match waits.look_again() {
                Ok(()) => {}
                Err(cycle) => break Unsent::Deadlock(cycle),
            },
            None => break Unsent::TimedOut,
        }
    };
    visit.leave().map_or(Ok(Sent::In), |envelope| Err((why, envelope)))
}

/// A box that goes into the mailbox when there is room, for a future. Its sender is no part of the wait-for graph: a future can
/// wait for much at once. Dropped before it is ready, it drops its box, unless that got in.
pub(super) struct Entering<'a> {
    target: &'a Core,
    room: Arc<CapacityWaiter<Envelope>>,
    state: EnteringState,
}

enum EnteringState {
    /// Not asked for room yet, with the chain.
    Fresh(Envelope, u64),
    Waits,
    Over,
}

impl<'a> Entering<'a> {
    /// Asks for room when it is first polled.
    pub(super) fn begin(target: &'a Core, envelope: Envelope, chain: u64) -> Self {
        Self { target, room: CapacityWaiter::new(), state: EnteringState::Fresh(envelope, chain) }
    }
}

impl Future for Entering<'_> {
    type Output = Result<Sent, (NotIn, Envelope)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        if let EnteringState::Fresh(envelope, chain) = std::mem::replace(&mut self.state, EnteringState::Waits) {
            let asked = ask_for_room(self.target, envelope, chain, &self.room, None);
            if !matches!(asked, Ok(Sent::Waits)) {
                self.state = EnteringState::Over;
                return Poll::Ready(asked);
            }
        }
        let Some(verdict) = self.room.poll(cx.waker()) else { return Poll::Pending };
        self.state = EnteringState::Over;
        Poll::Ready(match verdict {
            Verdict::In => Ok(Sent::In),
            Verdict::Closed(envelope) => Err((NotIn::Refused(Refusal::Closed), envelope)),
        })
    }
}

impl Drop for Entering<'_> {
    fn drop(&mut self) {
        if let EnteringState::Waits = self.state {
            // If it is not there, it is in, or the verdict brings it back, and is dropped with the room.
            drop(leave(&self.room, self.target));
        }
    }
}
