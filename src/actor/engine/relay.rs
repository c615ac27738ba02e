//! Relays: actors that pass on what they are told, as adapters and subscriptions. A runtime that is shut down has them pass on what they have first,
//! while that is still taken, and ends them last: what actors say while they are stopped gets through them. What they cannot pass on is counted as lost
//! with what was queued.
//!
//! A relay has a *distance*: how many relays a message goes through from there on. Those of the greatest distance come first in both.

#![forbid(unsafe_code)]

use std::any::type_name;

use super::cell::Core;
use super::lost::{lost, lost_at_end};
use crate::actor::{ActorId, Deferred, Message};

impl Core {
    /// The actor is a relay, in front of another one that is at that distance.
    pub(crate) fn relays_to(&self, next: u8) {
        self.mailbox.lock().extras().distance = next.saturating_add(1);
    }

    /// 0: it is no relay.
    pub(crate) fn distance(&self) -> u8 {
        self.mailbox.lock().has_extras().map_or(0, |extras| extras.distance)
    }

    /// The runtime is shut down: from now on what the relay loses is in the answer, also as long as it takes messages.
    pub(crate) fn counts_losses(&self) {
        self.mailbox.lock().extras().counts_losses = true;
    }

    /// Has it nothing to do, or has it ended?
    pub(crate) fn rests(&self) -> bool {
        let mailbox = self.mailbox.lock();
        mailbox.is_dead() || mailbox.rests()
    }

    /// A message that the actor has taken, and that nobody is told of, does not get to `to`.
    #[cold]
    pub(crate) fn loses(&self, to: ActorId, message: &'static str) {
        lost(to, message);
        let is_stopping = self.shared().is_none_or(|shared| shared.is_stopping());
        let mut mailbox = self.mailbox.lock();
        // Before that it is no matter of the actor's end.
        let is_ending = mailbox.is_closed() || mailbox.is_killed();
        if is_ending || mailbox.has_extras().is_some_and(|extras| extras.counts_losses) {
            mailbox.extras().given_back += 1;
        }
        if is_stopping {
            lost_at_end(mailbox.runtime());
        }
    }
}

/// A message that a relay has taken out of its mailbox for good, and is to give on, with the reply that it owes for it. Dropped, it is lost, and the asker, if there is one, learns
/// that there is no reply.
pub(crate) struct InHand<'a, M: Message> {
    by: &'a Core,
    to: ActorId,
    reply: Deferred<M::Reply>,
}

impl<'a, M: Message> InHand<'a, M> {
    pub(crate) fn new(by: &'a Core, to: ActorId, reply: Deferred<M::Reply>) -> Self {
        Self { by, to, reply }
    }

    /// It has come to where it was going. Gives the reply that is owed still.
    pub(crate) fn arrived(mut self) -> Deferred<M::Reply> {
        let reply = std::mem::replace(&mut self.reply, Deferred::nobody());
        std::mem::forget(self);
        reply
    }
}

impl<M: Message> Drop for InHand<'_, M> {
    fn drop(&mut self) {
        if self.reply.is_awaited() {
            self.reply.note_lost(self.to);
        } else {
            self.by.loses(self.to, type_name::<M>());
        }
    }
}
