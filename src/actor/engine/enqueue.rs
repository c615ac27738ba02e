//! How a message gets into a mail.

#![forbid(unsafe_code)]

use std::sync::Arc;

use super::busy::Launch;
use super::cell::Core;
use super::mail::{Mail, Nudge};
use super::owed::Refusal;
use super::parcel::{Parcel, Sender, Waiting};
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
            target.refuse_box(evicted, Refusal::Full);
        }
    }
}

/// Puts a message into the mail, or finds out why not. `sender` makes the sender's entry among those that wait for room;
/// without it nobody waits.
#[inline]
pub(super) fn put<P: Into<Parcel> + AsRef<Parcel>>(
    mail: &mut Mail,
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
            match mail.evict().map(|oldest| oldest.refuse_ask(Refusal::Full)) {
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

/// Puts a box into the mail. `Err`: it is not in, and still the caller's.
pub(super) fn put_letter<P: Into<Parcel> + AsRef<Parcel>>(
    target: &Core,
    parcel: P,
    chain: u64,
) -> Result<Sent, (NotIn, P)> {
    let mut rest = Rest::default();
    let sent = put(&mut target.mail.lock(), parcel, chain, None, &mut rest);
    rest.finish(target);
    sent
}
