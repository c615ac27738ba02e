//! A send that waits for room in a full mailbox. The protocol is in [`waiting`](super::waiting).

#![forbid(unsafe_code)]

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use super::cell::Core;
use super::edge::How;
use super::enqueue::{AfterUnlock, NotIn, Sent, enqueue, try_enqueue};
use super::envelope::Envelope;
use super::frame::Terms;
use super::origin::SendOrigin;
use super::owed::{Refusal, Unanswered};
use super::waiting::{CapacityWaiter, Verdict, WaitingEnvelope, WaitingSender};
use super::walk::Waits;
use crate::actor::{ActorId, Overflow};
use crate::park::Wait;
use crate::park::no_park::assert_may_park;
use crate::task::header::Reason;

/// Why an envelope is in no mailbox.
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

/// Puts an envelope into the mailbox; waits for room, if `wait` says so and the mailbox blocks.
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

/// A sender that waits. Dropped by unwinding, it drops its envelope, unless that got in.
struct BlockedSend<'a> {
    target: &'a Core,
    waiter: Arc<CapacityWaiter<Envelope>>,
    over: bool,
}

impl BlockedSend<'_> {
    /// Ends the wait. `None`: the envelope is in.
    fn leave(&mut self) -> Option<Envelope> {
        self.over = true;
        match leave(&self.waiter, self.target) {
            Some(waiting) => Some(waiting.envelope),
            // Not for room any more: nothing interrupts this.
            None => match self.waiter.wait(Wait::new(Reason::Send).uninterruptible(), || false) {
                Some(Verdict::Closed(envelope)) => Some(envelope),
                Some(Verdict::In) | None => None,
            },
        }
    }
}

impl Drop for BlockedSend<'_> {
    fn drop(&mut self) {
        if !self.over {
            drop(self.leave());
        }
    }
}

/// Takes the envelope of this waiter out of those that wait.
fn leave(waiter: &Arc<CapacityWaiter<Envelope>>, target: &Core) -> Option<WaitingEnvelope<Envelope>> {
    let is_ours = |sender: &WaitingSender<Envelope>| Arc::ptr_eq(&sender.waiter, waiter);
    target.mailbox.lock().withdraw(|waiting| waiting.sender.as_ref().is_some_and(is_ours))
}

/// Puts the envelope into the mailbox, or behind those that wait for room there. `waits`: the edge of a sender that is an actor.
fn request_capacity(
    target: &Core,
    envelope: Envelope,
    chain: u64,
    waiter: &Arc<CapacityWaiter<Envelope>>,
    waits: Option<&Waits<'_>>,
) -> Result<Sent, (NotIn, Envelope)> {
    let sender =
        || Some(WaitingSender { waiter: Arc::clone(waiter), actor: waits.and_then(Waits::actor).map(Core::weak) });
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

/// Waits until the envelope is in the mailbox.
#[cold]
fn wait_for_capacity(
    target: &Core,
    envelope: Envelope,
    terms: Terms,
    waits: &Waits<'_>,
) -> Result<Sent, (Unsent, Envelope)> {
    // Before anything is queued: a sender cannot leave without its envelope or the verdict.
    assert_may_park("a send to a full mailbox");
    let waiter = CapacityWaiter::new();
    match request_capacity(target, envelope, terms.chain, &waiter, Some(waits)) {
        Ok(sent @ (Sent::In | Sent::Admitted)) => return Ok(sent),
        Ok(Sent::Waits) => {}
        Err((why, envelope)) => return Err((why.into(), envelope)),
    }
    let mut blocked = BlockedSend { target, waiter, over: false };
    let why = loop {
        let verdict = blocked.waiter.wait(Wait::new(Reason::Capacity).until(terms.deadline_ns), || waits.is_told());
        blocked.over = verdict.is_some();
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
    blocked.leave().map_or(Ok(Sent::In), |envelope| Err((why, envelope)))
}

/// An envelope that goes into the mailbox when there is room, for a future. Its sender is no part of the wait-for graph: a future can
/// wait for much at once. Dropped before it is ready, it drops its envelope, unless that got in.
pub(super) struct Entering<'a> {
    target: &'a Core,
    waiter: Arc<CapacityWaiter<Envelope>>,
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
        Self { target, waiter: CapacityWaiter::new(), state: EnteringState::Fresh(envelope, chain) }
    }
}

impl Future for Entering<'_> {
    type Output = Result<Sent, (NotIn, Envelope)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        if let EnteringState::Fresh(envelope, chain) = std::mem::replace(&mut self.state, EnteringState::Waits) {
            let asked = request_capacity(self.target, envelope, chain, &self.waiter, None);
            if !matches!(asked, Ok(Sent::Waits)) {
                self.state = EnteringState::Over;
                return Poll::Ready(asked);
            }
        }
        let Some(verdict) = self.waiter.poll(cx.waker()) else { return Poll::Pending };
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
            // If it is not there, it is in, or the verdict brings it back, and is dropped with the waiter.
            drop(leave(&self.waiter, self.target));
        }
    }
}
