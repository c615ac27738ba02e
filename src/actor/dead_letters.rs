//! Dead letters: messages that nobody will handle and that nobody could be given back.

#![forbid(unsafe_code)]

use std::sync::{Mutex, PoisonError};

use crate::actor::engine::lost;
use crate::actor::{ActorId, Message, Recipient, WeakRecipient};

static SUBSCRIBERS: Mutex<Vec<WeakRecipient<DeadLetter>>> = Mutex::new(Vec::new());

/// A message that was dropped: it was told to an actor that ended before it got to it, or its mailbox threw it away.
///
/// Messages that come back to their sender in an error are none.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Whom it was for.
    pub actor: ActorId,
    /// The name of the message's type.
    pub message: &'static str,
}

impl Message for DeadLetter {
    type Reply = ();
}

/// The dead letters of this process.
#[derive(Clone, Copy, Debug)]
pub struct DeadLetters {
    _private: (),
}

/// The dead letters of this process: how many there were, and who is told of them.
#[must_use]
pub fn dead_letters() -> DeadLetters {
    DeadLetters { _private: () }
}

impl DeadLetters {
    /// How many there have been.
    #[must_use]
    pub fn count(&self) -> u64 {
        lost::count()
    }

    /// From now on `to` is told of each, as long as it lives (this holds it weakly) and has room for it.
    pub fn subscribe(&self, to: &Recipient<DeadLetter>) {
        let mut subscribers = SUBSCRIBERS.lock().unwrap_or_else(PoisonError::into_inner);
        // Held until the lock is free: the last address of an actor may end it.
        let alive: Vec<_> = subscribers.iter().filter_map(WeakRecipient::upgrade).collect();
        *subscribers = alive.iter().chain([to]).map(Recipient::downgrade).collect();
        drop(subscribers);
        lost::report_to(report);
    }
}

/// Tells the subscribers.
fn report(actor: ActorId, message: &'static str) {
    if message == std::any::type_name::<DeadLetter>() {
        return; // A dead letter about a dead letter would go on for ever.
    }
    let subscribers = SUBSCRIBERS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for subscriber in subscribers.iter().filter_map(WeakRecipient::upgrade) {
        let _ = subscriber.try_tell(DeadLetter { actor, message });
    }
}
