//! Addresses: how the rest of the program reaches an actor.

#![forbid(unsafe_code)]

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::time::Duration;

use crate::actor::address::{Addressed, impl_life};
use crate::actor::engine::cell::{Core, Strong};
use crate::actor::engine::envelope::Boxed;
use crate::actor::engine::payload::Tell;
use crate::actor::engine::weak::Weak;
use crate::actor::engine::{send, tell};
use crate::actor::handling::route;
use crate::actor::recipient::{impl_clone_and_debug, impl_eq_and_hash};
use crate::actor::{Actor, ActorId, Message, Pending, Receives, Recipient, SendError};

/// Sends messages to an actor: the actor's address.
///
#[doc = include_str!("docs/addr.md")]
pub struct Addr<A> {
    strong: Strong,
    /// Neither the address of a subtype nor that of a supertype: an actor's messages have the routes of its very own type.
    _actor: PhantomData<fn(A) -> A>,
}

impl<A: Actor> Addr<A> {
    pub(crate) fn new(strong: Strong) -> Self {
        Self { strong, _actor: PhantomData }
    }

    /// Sends a message, waits until it has been handled, and returns the reply.
    ///
    #[doc = include_str!("docs/addr_send.md")]
    #[doc(alias = "ask")]
    #[doc(alias = "request")]
    #[inline]
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    pub fn send<M: Message>(&self, msg: M) -> Result<M::Reply, SendError<M>>
    where
        A: Receives<M>,
    {
        send::ask(self.core(), const { &route::<A, M>() }, msg, None)
    }

    /// Sends a message and waits for the reply, for at most `timeout`.
    ///
    /// The time-out takes the place of [`Actor::ASK_TIMEOUT`], and may be longer; a deadline that the caller inherits
    /// from its own handler still holds. Everything else is as for [`send`](Self::send).
    ///
    #[doc = include_str!("docs/addr_send_timeout.md")]
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send); `Timeout` when `timeout` has passed.
    pub fn send_timeout<M: Message>(&self, msg: M, timeout: Duration) -> Result<M::Reply, SendError<M>>
    where
        A: Receives<M>,
    {
        send::ask(self.core(), const { &route::<A, M>() }, msg, Some(timeout))
    }

    /// Sends a message and returns at once with a [`Pending`], by which the reply can be waited for later.
    ///
    #[doc = include_str!("docs/addr_call.md")]
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    pub fn call<M: Message>(&self, msg: M) -> Result<Pending<M>, SendError<M>>
    where
        A: Receives<M>,
    {
        send::call(self.core(), const { &route::<A, M>() }, msg, true)
    }

    /// Sends a message if there is room for it, and returns a [`Pending`] for the reply. Never waits.
    ///
    #[doc = include_str!("docs/addr_try_call.md")]
    pub fn try_call<M: Message>(&self, msg: M) -> Result<Pending<M>, SendError<M>>
    where
        A: Receives<M>,
    {
        send::call(self.core(), const { &route::<A, M>() }, msg, false)
    }

    /// Sends a message from async code, on any executor: a [`call`](Self::call) that waits for room as a future.
    ///
    #[doc = include_str!("docs/addr_call_async.md")]
    pub fn call_async<M: Message>(
        &self,
        msg: M,
    ) -> impl Future<Output = Result<Pending<M>, SendError<M>>> + Send + use<A, M>
    where
        A: Receives<M>,
    {
        send::call_async(self.strong.clone(), const { &route::<A, M>() }, msg)
    }

    /// Sends a message and returns without waiting for its handler; what the handler returns is dropped.
    ///
    #[doc = include_str!("docs/addr_tell.md")]
    #[doc(alias = "do_send")]
    #[doc(alias = "cast")]
    #[inline]
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    pub fn tell<M: Message>(&self, msg: M) -> Result<(), SendError<M>>
    where
        A: Receives<M>,
    {
        tell::tell(self.core(), Boxed::new(const { route::<A, M>().tell }, Tell(msg)), Some(A::ASK_TIMEOUT))
    }

    /// Sends a message and waits for room for at most `timeout`, whether the sender is an actor or not; asks for no reply.
    ///
    /// A deadline that the caller inherits from its own handler still holds. Everything else is as for `tell`.
    ///
    /// ```
    #[doc = include_str!("docs/counter.md")]
    /// let counter = Builder::new().mailbox(Mailbox::bounded(1)).start(Counter(0)).unwrap();
    /// counter.tell_timeout(Add(5), Duration::from_secs(1)).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`tell`](Self::tell); `Timeout` with the message when `timeout` has passed.
    pub fn tell_timeout<M: Message>(&self, msg: M, timeout: Duration) -> Result<(), SendError<M>>
    where
        A: Receives<M>,
    {
        tell::tell_within(self.core(), Boxed::new(const { route::<A, M>().tell }, Tell(msg)), timeout)
    }

    /// Sends a message if there is room for it; asks for no reply. Never waits.
    ///
    #[doc = include_str!("docs/addr_try_tell.md")]
    ///
    /// # Errors
    ///
    /// `Closed(M)`: the actor has ended or is stopping. `Full(M)`: there is no room.
    #[inline]
    pub fn try_tell<M: Message>(&self, msg: M) -> Result<(), SendError<M>>
    where
        A: Receives<M>,
    {
        tell::tell(self.core(), Boxed::new(const { route::<A, M>().tell }, Tell(msg)), None)
    }

    /// Sends a message from async code, on any executor: a [`tell`](Self::tell) that waits for room as a future.
    ///
    #[doc = include_str!("docs/addr_tell_async.md")]
    pub fn tell_async<M: Message>(&self, msg: M) -> impl Future<Output = Result<(), SendError<M>>> + Send + use<A, M>
    where
        A: Receives<M>,
    {
        tell::tell_async(self.strong.clone(), Boxed::new(const { route::<A, M>().tell }, Tell(msg)))
    }

    /// Returns an address for messages of one type, which does not name the actor's type.
    ///
    /// It keeps the actor alive, as this one does.
    ///
    /// ```
    #[doc = include_str!("docs/counter.md")]
    /// let counter = Counter(3).start();
    /// let readable: Vec<Recipient<Get>> = vec![counter.recipient()];
    /// assert_eq!(readable[0].send(Get).unwrap(), 3);
    /// ```
    #[must_use]
    pub fn recipient<M: Message>(&self) -> Recipient<M>
    where
        A: Receives<M>,
    {
        Recipient::new(self.strong.clone(), const { &route::<A, M>() })
    }

    /// Returns an address that does not keep the actor alive.
    ///
    /// ```
    #[doc = include_str!("docs/counter.md")]
    /// let counter = Counter(0).start();
    /// let weak = counter.downgrade();
    /// assert_eq!(weak.upgrade(), Some(counter));
    /// ```
    #[must_use]
    pub fn downgrade(&self) -> WeakAddr<A> {
        WeakAddr::new(self.core().weak())
    }
}

impl<A: Actor> Addressed for Addr<A> {
    fn core(&self) -> &Core {
        self.strong.core()
    }
}

impl_life!(Addr<A: Actor>);
impl_clone_and_debug!(Addr<A>, strong, _actor);
impl_eq_and_hash!(Addr<A>);

/// Refers to an actor without keeping it alive: what [`Addr::downgrade`] returns.
///
/// Two actors that know each other by `Addr` keep each other alive for ever; one of them should have a `WeakAddr`.
///
/// ```
#[doc = include_str!("docs/counter.md")]
/// let weak = Counter(0).start().downgrade();
/// // The only address is gone, so the actor ends.
/// assert_eq!(weak.upgrade(), None);
/// ```
pub struct WeakAddr<A> {
    weak: Weak,
    _actor: PhantomData<fn(A) -> A>,
}

impl<A: Actor> WeakAddr<A> {
    pub(crate) fn new(weak: Weak) -> Self {
        Self { weak, _actor: PhantomData }
    }

    /// Returns an address, if one is left.
    ///
    /// `Some` does not mean that the actor runs: one that was stopped, or has died, may still have addresses.
    ///
    /// ```
    #[doc = include_str!("docs/counter.md")]
    /// let counter = Counter(1).start();
    /// let weak = counter.downgrade();
    /// assert_eq!(weak.upgrade().unwrap().send(Get).unwrap(), 1);
    /// ```
    #[must_use]
    pub fn upgrade(&self) -> Option<Addr<A>> {
        self.weak.upgrade().map(Addr::new)
    }

    /// Returns the actor's number, also when the actor has ended.
    ///
    /// ```
    #[doc = include_str!("docs/counter.md")]
    /// let counter = Counter(0).start();
    /// assert_eq!(counter.downgrade().id(), counter.id());
    /// ```
    #[must_use]
    pub fn id(&self) -> ActorId {
        self.weak.core().id()
    }
}

impl_clone_and_debug!(WeakAddr<A>, weak, _actor);
