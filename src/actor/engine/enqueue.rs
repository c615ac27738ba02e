//! How a message gets into a mailbox, and how its sender waits for room there. The protocol of that is in [`waiting`](super::waiting).

#![forbid(unsafe_code)]

use std::future::poll_fn;
use std::sync::Arc;

use super::busy::Launch;
use super::cell::Core;
use super::edge::How;
use super::envelope::Envelope;
use super::frame::Terms;
use super::mailbox_state::MailboxState;
use super::origin::SendOrigin;
use super::owed::{Owed, Refusal, Unanswered};
use super::waiting::{CapacityWaiter, Verdict, WaitingEnvelope, WaitingSender};
use super::walk::EdgeGuard;
use crate::actor::Overflow;
use crate::park::Wait;
use crate::park::no_park::assert_may_park;
use crate::park::owed_answer::{NAMED, refusal, refused};
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

/// Work that is left for when the lock is free.
#[derive(Default)]
pub(super) struct AfterUnlock {
    launch: Option<Launch>,
    wake: Option<Wake>,
    nudge: Option<Arc<dyn Owed>>,
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
            Core::queue(target.entry(duty));
        }
        if let Some(evicted) = self.evicted {
            target.refuse_box(evicted, Refusal::Full);
        }
    }
}

/// Puts a message into the mailbox, or finds out why not. `waits`: the edge of a sender that is an actor. `sender` makes the sender's
/// entry among those that wait for room; without it nobody waits.
#[inline]
pub(super) fn enqueue<P: Into<Envelope> + AsRef<Envelope>>(
    target: &Core,
    envelope: P,
    chain: u64,
    waits: Option<&EdgeGuard<'_>>,
    sender: Option<&dyn Fn() -> Option<WaitingSender<Envelope>>>,
) -> Result<Sent, (Refusal, P)> {
    let mut after = AfterUnlock::default();
    let sent = {
        let mut mailbox = target.mailbox.lock();
        let sent = put_in(&mut mailbox, envelope, chain, sender, &mut after);
        if let (Ok(Sent::In | Sent::Waits), Some(waits)) = (&sent, waits) {
            waits.harden();
        }
        sent
    };
    after.finish(target);
    if sent.is_ok() {
        target.assert_runs_here();
    }
    sent
}

fn put_in<P: Into<Envelope> + AsRef<Envelope>>(
    mailbox: &mut MailboxState,
    envelope: P,
    chain: u64,
    sender: Option<&dyn Fn() -> Option<WaitingSender<Envelope>>>,
    after: &mut AfterUnlock,
) -> Result<Sent, (Refusal, P)> {
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
        refused => return refused.map(|_| Sent::In),
    };
    match (mailbox.overflow, sender) {
        (Overflow::Block, Some(sender)) => {
            mailbox.wait_for_capacity(WaitingEnvelope { envelope: envelope.into(), sender: sender() });
            Ok(Sent::Waits)
        }
        (Overflow::Block, None) | (Overflow::Reject, _) => Err((Refusal::Full, envelope)),
        (Overflow::DropNewest, _) => Err((Refusal::Dropped, envelope)),
        (Overflow::DropOldest, _) => {
            match mailbox.evict().map(|oldest| oldest.refuse_ask(Refusal::Full)) {
                Some(Ok(wake)) => after.wake = wake,
                Some(Err(evicted)) => after.evicted = Some(evicted),
                None => {}
            }
            after.launch = mailbox.push(envelope)?;
            Ok(Sent::In)
        }
    }
}

/// What a sender does where there is no room, if the mailbox blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoRoom {
    Fails,
    Waits,
    /// Waits, and will wait for the answer then. So it goes on if the actor does, and only then: an edge in the report of a deadlock. It lets messages of that chain in (0: none) when there
    /// was room.
    Asks {
        lets_in: u64,
    },
}

impl NoRoom {
    /// Is the wait for room an edge in the report of a deadlock? Not until a time that somebody has chosen.
    fn is_reported(self, terms: Terms) -> bool {
        NAMED && matches!(self, NoRoom::Asks { .. }) && !terms.chosen.is_chosen()
    }

    /// What it waits for in the end, in the report.
    fn wanted(self) -> &'static str {
        if let NoRoom::Asks { .. } = self { refusal::REPLY } else { refusal::ROOM }
    }
}

/// Puts an envelope into the mailbox, or waits for room.
#[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
pub(super) fn enqueue_or_wait(
    target: &Core,
    envelope: Envelope,
    origin: SendOrigin,
    no_room: NoRoom,
) -> Result<Sent, (Unanswered, Envelope)> {
    let envelope = match enqueue(target, envelope, origin.terms.chain, None, None) {
        Ok(sent) => return Ok(sent),
        Err((Refusal::Full, envelope))
            if no_room != NoRoom::Fails && target.mailbox.lock().overflow == Overflow::Block =>
        {
            envelope
        }
        Err((why, envelope)) => return Err((Unanswered::Refused(why), envelope)),
    };
    match EdgeGuard::begin(origin.actor, target, How::message(origin.terms.chain)) {
        Ok(waits) => wait_for_capacity(target, envelope, origin.terms, waits, no_room),
        Err(cycle) => {
            refused(cycle.members(), no_room.wanted(), origin.terms.chosen);
            Err((Unanswered::Deadlock(cycle), envelope))
        }
    }
}

/// A sender in the line of those that wait for room. Dropped, it leaves: its envelope goes with the last share of the waiter, unless it got in.
struct InLine<'a> {
    target: &'a Core,
    waiter: Arc<CapacityWaiter<Envelope>>,
    waits: bool,
}

impl<'a> InLine<'a> {
    fn new(target: &'a Core) -> Self {
        Self { target, waiter: CapacityWaiter::new(), waits: false }
    }

    /// Puts the envelope into the mailbox, or behind those that wait for room there.
    fn enter(
        &mut self,
        envelope: Envelope,
        chain: u64,
        waits: Option<&EdgeGuard<'_>>,
    ) -> Result<Sent, (Refusal, Envelope)> {
        let actor = || waits.and_then(EdgeGuard::actor).map(Core::weak);
        let sender = || Some(WaitingSender { waiter: Arc::clone(&self.waiter), actor: actor() });
        let sent = enqueue(self.target, envelope, chain, waits, Some(&sender))?;
        self.waits = matches!(sent, Sent::Waits);
        Ok(sent)
    }

    /// The verdict has come.
    fn over(&mut self, verdict: Verdict<Envelope>) -> Result<Sent, (Refusal, Envelope)> {
        self.waits = false;
        verdict.map(|()| Sent::In).map_err(|envelope| (Refusal::Closed, envelope))
    }

    /// Takes the envelope back. `None`: it is not there, and the verdict has come or will.
    fn leave(&mut self) -> Option<Envelope> {
        self.waits = false;
        let is_ours = |sender: &WaitingSender<Envelope>| Arc::ptr_eq(&sender.waiter, &self.waiter);
        let mut mailbox = self.target.mailbox.lock();
        Some(mailbox.withdraw(|waiting| waiting.sender.as_ref().is_some_and(is_ours))?.envelope)
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        if self.waits {
            drop(self.leave());
        }
    }
}

/// Waits until the envelope is in the mailbox.
#[cold]
#[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
fn wait_for_capacity(
    target: &Core,
    envelope: Envelope,
    terms: Terms,
    waits: EdgeGuard<'_>,
    no_room: NoRoom,
) -> Result<Sent, (Unanswered, Envelope)> {
    // Before anything is queued: a sender cannot leave without its envelope or the verdict.
    assert_may_park("a send to a full mailbox");
    let not_taken = |(why, envelope)| (Unanswered::Refused(why), envelope);
    let mut line = InLine::new(target);
    line.waiter.owed().begin(target.id().0, 0);
    let sent = line.enter(envelope, terms.chain, Some(&waits)).map_err(not_taken)?;
    if !line.waits {
        return Ok(sent);
    }
    let awaited = match no_room {
        NoRoom::Asks { lets_in } if no_room.is_reported(terms) => Some(line.waiter.owed().awaited(lets_in)),
        _ => None,
    };
    let wait = Wait::new(Reason::Capacity).on(&raw const target.header).until(terms.deadline_ns);
    let (why, is_reported) = loop {
        if let Some(Err(cycle)) = awaited {
            break (Unanswered::deadlock(cycle), true);
        }
        if let Some(verdict) = line.waiter.wait(wait, || waits.is_told()) {
            drop(awaited);
            return line.over(verdict).map_err(not_taken);
        }
        if !waits.is_told() {
            drop(awaited);
            break (Unanswered::TimedOut, false);
        }
        if let Err(cycle) = waits.look_again() {
            drop(awaited);
            break (Unanswered::Deadlock(cycle), false);
        }
    };
    let taken_back = line.leave().or_else(|| {
        // Not for room any more: nothing interrupts this.
        line.waiter.wait(Wait::new(Reason::Send).uninterruptible(), || false)?.err()
    });
    let Some(envelope) = taken_back else { return Ok(Sent::In) };
    // Nobody is waited for any more. Not before: the report takes time, in which there may be room.
    drop(waits);
    if let (Unanswered::Deadlock(cycle), false) = (&why, is_reported) {
        refused(cycle.members(), no_room.wanted(), terms.chosen);
    }
    Err((why, envelope))
}

/// As [`enqueue_or_wait`], for a future. Its sender is no part of the wait-for graph: a future can wait for much at once. Dropped before
/// it is ready, it drops its envelope, unless that got in.
pub(super) async fn enqueue_async(target: &Core, envelope: Envelope, chain: u64) -> Result<Sent, (Refusal, Envelope)> {
    let mut line = InLine::new(target);
    let sent = line.enter(envelope, chain, None)?;
    if !line.waits {
        return Ok(sent);
    }
    let verdict = poll_fn(|cx| line.waiter.poll(cx.waker())).await;
    line.over(verdict)
}
