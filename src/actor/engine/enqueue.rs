//! How a message gets into a mailbox.

#![forbid(unsafe_code)]

use std::sync::Arc;

use super::busy::Launch;
use super::cell::Core;
use super::envelope::Envelope;
use super::mailbox_state::{MailboxState, Nudge};
use super::owed::Refusal;
use super::waiting::{WaitingEnvelope, WaitingSender};
use crate::actor::Overflow;
use crate::task::header::Wake;

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
