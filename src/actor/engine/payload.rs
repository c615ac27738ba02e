//! What boxes carry, and what becomes of it if it is not handled.
//!
//! | payload   | is made by                            | its answer goes                 |
//! | --------- | ------------------------------------- | ------------------------------- |
//! | [`Tell`]  | `tell`, `notify`                      | nowhere                         |
//! | [`Notice`] | an actor of this crate, to itself    | nowhere                         |
//! | [`Beat`]  | a timer                               | nowhere                         |
//! | [`Passed`] | `forward`, `stash`, a pool           | to the promise of the asker     |
//! | [`StreamEnded`] | the end of an attached stream   | nowhere                         |
//!
//! Calls are in [`call`](super::call).

#![forbid(unsafe_code)]

use std::any::type_name;
use std::marker::PhantomData;
use std::time::Duration;

use super::ask::Ask;
use super::call::CallBlock;
use super::crew::Seat;
use super::envelope::{EnvelopeKind, Payload, Refused};
use super::frame::Terms;
use super::guard::contained;
use super::owed::Failure;
use crate::actor::timer::Timer;
use crate::actor::{Deferred, Exit, Message};

/// How messages of one type get to actors of one type, which is forgotten here.
pub(crate) struct Route<M: Message> {
    pub(crate) tell: &'static EnvelopeKind<Tell<M>>,
    /// A `tell` that does not count.
    pub(crate) notify: &'static EnvelopeKind<Tell<M>>,
    pub(crate) beat: &'static EnvelopeKind<Beat<M>>,
    pub(crate) ask: &'static EnvelopeKind<Ask<'static, M>>,
    pub(crate) call: &'static EnvelopeKind<CallBlock<M>>,
    pub(crate) passed: &'static EnvelopeKind<Passed<M>>,
    pub(crate) ask_timeout: Duration,
    pub(crate) _message: PhantomData<fn(M) -> M>,
}

pub(crate) struct Tell<M>(pub(crate) M);

impl<M: Message> Payload for Tell<M> {
    fn refuse(self, refused: &Refused<'_>) {
        (refused.lose)(type_name::<M>(), !refused.is_counted);
        contained(|| drop(self));
    }
}

/// What an actor of this crate notes for itself. Not a dead letter: its users do not know of it.
pub(crate) struct Notice<M>(pub(crate) M);

impl<M: Message> Payload for Notice<M> {
    fn refuse(self, _: &Refused<'_>) {}
}

/// A `tell` of a timer: the next beat is left out as long as this one is queued. It is dropped if the timer is cancelled. Not a dead
/// letter.
pub(crate) struct Beat<M> {
    pub(super) msg: M,
    pub(crate) timer: Timer,
}

impl<M> Beat<M> {
    /// Another beat may be queued.
    pub(crate) fn over(self) -> M {
        self.timer.is_taken_up();
        self.msg
    }
}

impl<M: Message> Payload for Beat<M> {
    fn refuse(self, _: &Refused<'_>) {
        contained(|| drop(self.over()));
    }
}

/// That an attached stream has given its last message, or has failed.
pub(crate) struct StreamEnded {
    pub(crate) message: &'static str,
    pub(crate) error: Option<Exit>,
}

impl Payload for StreamEnded {
    fn refuse(self, _: &Refused<'_>) {}
}

/// What another handler has passed on, or this one put aside.
pub(crate) struct Passed<M: Message> {
    pub(crate) msg: M,
    pub(crate) owed: Deferred<M::Reply>,
    pub(crate) terms: Terms,
    /// Of a pool's message.
    pub(crate) seat: Option<Seat>,
}

impl<M: Message> Payload for Passed<M> {
    fn refuse(self, refused: &Refused<'_>) {
        contained(|| {
            if self.owed.is_awaited() {
                self.owed.note_lost(refused.by);
                self.owed.answer(Err(Failure::Died((refused.exit)())));
            } else {
                (refused.lose)(type_name::<M>(), false);
            }
            drop(self.msg);
        });
    }

    fn harden(&self) {
        self.owed.harden();
    }
}
