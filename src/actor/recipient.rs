//! Addresses that know the messages and not the actor.

#![forbid(unsafe_code)]

use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use crate::actor::engine::call::Call;
use crate::actor::engine::cell::{Core, Strong};
use crate::actor::engine::envelope::Boxed;
use crate::actor::engine::frame::Terms;
use crate::actor::engine::origin::Origin;
use crate::actor::engine::owed::Failure;
use crate::actor::engine::payload::{Route, Tell};
use crate::actor::engine::send_call::{self, ask_by_call};
use crate::actor::engine::weak::Weak;
use crate::actor::engine::{send_ask, tell};
use crate::actor::{ActorId, Deferred, Message, Pending, SendError};

/// The address of an actor that takes messages of type `M`, whatever it is: [`Addr::recipient`].
pub struct Recipient<M: Message> {
    strong: Strong,
    route: &'static Route<M>,
}

impl<M: Message> Recipient<M> {
    pub(crate) fn new(strong: Strong, route: &'static Route<M>) -> Self {
        Self { strong, route }
    }

    /// As [`Addr::send`].
    ///
    /// # Errors
    ///
    /// As [`Addr::send`].
    pub fn send(&self, msg: M) -> Result<M::Reply, SendError<M>> {
        let target = self.strong.core();
        if const { send_ask::is_large::<M>() } {
            return ask_by_call(target, Call::new(self.route.call, target, msg, Origin::here(self.route.ask_timeout)));
        }
        send_ask::ask(target, self.route, msg, None)
    }

    /// As [`Addr::send_timeout`].
    ///
    /// # Errors
    ///
    /// As [`Addr::send`].
    pub fn send_timeout(&self, msg: M, timeout: Duration) -> Result<M::Reply, SendError<M>> {
        let target = self.strong.core();
        if const { send_ask::is_large::<M>() } {
            return ask_by_call(target, Call::new(self.route.call, target, msg, Origin::within(timeout)));
        }
        send_ask::ask(target, self.route, msg, Some(timeout))
    }

    /// As [`Addr::call`].
    ///
    /// # Errors
    ///
    /// As [`Addr::call`].
    pub fn call(&self, msg: M) -> Result<Pending<M>, SendError<M>> {
        let target = self.strong.core();
        let call = Call::new(self.route.call, target, msg, Origin::here(self.route.ask_timeout));
        send_call::send(target, call, true)
    }

    /// As [`Addr::try_call`].
    ///
    /// # Errors
    ///
    /// As [`Addr::try_call`].
    pub fn try_call(&self, msg: M) -> Result<Pending<M>, SendError<M>> {
        let target = self.strong.core();
        let call = Call::new(self.route.call, target, msg, Origin::here(self.route.ask_timeout));
        send_call::send(target, call, false)
    }

    /// As [`Addr::call_async`].
    ///
    /// # Errors
    ///
    /// As [`Addr::call_async`].
    pub fn call_async(&self, msg: M) -> impl Future<Output = Result<Pending<M>, SendError<M>>> + Send + use<M> {
        send_call::call_async(self.strong.clone(), self.route, msg)
    }

    /// As [`Addr::tell_async`].
    ///
    /// # Errors
    ///
    /// As [`Addr::tell_async`].
    pub fn tell_async(&self, msg: M) -> impl Future<Output = Result<(), SendError<M>>> + Send + use<M> {
        tell::tell_async(self.strong.clone(), self.route, msg)
    }

    /// As [`Addr::tell`].
    ///
    /// # Errors
    ///
    /// As [`Addr::tell`].
    pub fn tell(&self, msg: M) -> Result<(), SendError<M>> {
        tell::tell(self.strong.core(), Boxed::new(self.route.tell, Tell(msg)), Some(self.route.ask_timeout))
    }

    /// As [`Addr::try_tell`].
    ///
    /// # Errors
    ///
    /// As [`Addr::try_tell`].
    pub fn try_tell(&self, msg: M) -> Result<(), SendError<M>> {
        tell::tell(self.strong.core(), Boxed::new(self.route.tell, Tell(msg)), None)
    }

    pub(crate) fn parts(&self) -> (&Core, &'static Route<M>) {
        (self.strong.core(), self.route)
    }

    /// Passes a message on with the reply that somebody waits for.
    pub(crate) fn forward(&self, msg: M, reply: Deferred<M::Reply>, terms: Terms) -> Result<(), SendError<M>> {
        let core = self.strong.core();
        let reply = reply.is_awaited().then_some(reply);
        tell::forward(core, self.route, msg, reply, terms).map_err(|(error, reply)| {
            if let Some(reply) = reply {
                reply.fail(Failure::Died(core.why_closed()));
            }
            error
        })
    }

    /// A recipient that does not keep the actor alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakRecipient<M> {
        WeakRecipient { weak: self.strong.core().weak(), route: self.route }
    }

    /// The actor's number.
    #[must_use]
    pub fn id(&self) -> ActorId {
        self.strong.core().id()
    }
}

impl<M: Message> Clone for Recipient<M> {
    fn clone(&self) -> Self {
        Self { strong: self.strong.clone(), route: self.route }
    }
}

impl<M: Message> PartialEq for Recipient<M> {
    fn eq(&self, other: &Self) -> bool {
        self.strong.as_ptr() == other.strong.as_ptr()
    }
}

impl<M: Message> Eq for Recipient<M> {}

impl<M: Message> Hash for Recipient<M> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.strong.as_ptr().hash(state);
    }
}

impl<M: Message> fmt::Debug for Recipient<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recipient").field(&self.strong).finish()
    }
}

/// A [`Recipient`] that does not keep the actor alive.
pub struct WeakRecipient<M: Message> {
    weak: Weak,
    route: &'static Route<M>,
}

impl<M: Message> WeakRecipient<M> {
    /// The recipient, unless all addresses are gone.
    #[must_use]
    pub fn upgrade(&self) -> Option<Recipient<M>> {
        Some(Recipient { strong: self.weak.upgrade()?, route: self.route })
    }

    /// The actor's number.
    #[must_use]
    pub fn id(&self) -> ActorId {
        self.weak.core().id()
    }
}

impl<M: Message> Clone for WeakRecipient<M> {
    fn clone(&self) -> Self {
        Self { weak: self.weak.clone(), route: self.route }
    }
}

impl<M: Message> fmt::Debug for WeakRecipient<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WeakRecipient").field(self.weak.core()).finish()
    }
}
