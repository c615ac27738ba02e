//! Where a send comes from.

#![forbid(unsafe_code)]

use std::time::Duration;

use super::cell::Core;
use super::frame::{Frame, Terms};
use crate::park::owed_answer::ChosenTime;
use crate::sys::clock::{NEVER, after_ns, coarse_after_ns};

/// What asks have where nobody has said anything else. Who has chosen less for an actor expects that it may not answer in time.
const USUAL: Duration = Duration::from_secs(5);

/// The actor that sends, if it is one, and the terms of what it sends.
#[derive(Clone, Copy)]
pub(crate) struct SendOrigin {
    pub(super) actor: Option<&'static Core>,
    pub(crate) terms: Terms,
}

impl SendOrigin {
    /// What a send from here inherits of the message that is being handled.
    #[inline]
    fn inherited() -> Self {
        let actor = Core::current();
        let terms = actor.and_then(Core::frame).map_or(Terms::NONE, Frame::terms);
        Self { actor, terms }
    }

    #[inline]
    fn due_by(mut self, own_ns: u64, is_chosen: bool) -> Self {
        if own_ns < self.terms.deadline_ns {
            self.terms.chosen = ChosenTime::new(is_chosen);
        }
        self.terms.deadline_ns = own_ns.min(self.terms.deadline_ns);
        self
    }

    /// Of a call or ask from here that has so much time.
    #[inline]
    pub(crate) fn here(timeout: Duration) -> Self {
        Self::inherited().due_by(coarse_after_ns(timeout), timeout < USUAL)
    }

    /// The same, with a time-out of the caller's own.
    #[inline]
    pub(crate) fn within(timeout: Duration) -> Self {
        Self::inherited().due_by(after_ns(timeout), true)
    }

    /// Of a message that waits for no reply.
    pub(super) fn of_tell(timeout: Duration) -> Self {
        let origin = Self::inherited();
        // An actor has something to answer for, and waits no longer than for a reply; others as long as it takes.
        let own_ns = if origin.actor.is_some() { coarse_after_ns(timeout) } else { NEVER };
        origin.due_by(own_ns, timeout < USUAL).outside()
    }

    /// The same, with a time-out of the caller's own.
    pub(super) fn of_tell_within(timeout: Duration) -> Self {
        Self::within(timeout).outside()
    }

    /// Of no chain.
    fn outside(mut self) -> Self {
        self.terms.chain = 0;
        self
    }

    /// The deadline that a wait from here inherits; [`NEVER`]: none.
    pub(crate) fn limit_ns() -> u64 {
        Self::inherited().terms.deadline_ns
    }
}
