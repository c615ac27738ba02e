//! Addresses: how the rest of the program reaches an actor.

#![forbid(unsafe_code)]

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::time::Duration;

use crate::actor::promise::Failure;
use crate::actor::raw::cell::{Core, Strong, Weak};
use crate::actor::raw::envelope::{Route, Tell, route};
use crate::actor::raw::parcel::Letter;
use crate::actor::raw::post::Origin;
use crate::actor::raw::posted::Posted;
use crate::actor::raw::send::inherited;
use crate::actor::raw::{lifecycle, post, send};
use crate::actor::{Actor, ActorId, Deferred, Exit, Handler, JoinError, Message, Pending, SendError};
use crate::sys::clock::{NEVER, after_ns};

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

    pub(crate) fn core(&self) -> &Core {
        self.strong.core()
    }

    /// Sends a message, waits until it has been handled, and returns the reply.
    ///
    #[doc = include_str!("docs/addr_send.md")]
    #[doc(alias = "ask")]
    #[doc(alias = "request")]
    #[inline]
    pub fn send<M: Message>(&self, msg: M) -> Result<M::Reply, SendError<M>>
    where
        A: Handler<M>,
    {
        let route = const { &route::<A, M>() };
        if const { send::is_large::<M>() } {
            let origin = Origin::here(route.ask_timeout);
            return post::ask_by_call(self.core(), Posted::new(route.call, self.core(), msg, origin), origin);
        }
        send::ask(self.core(), route, msg, None)
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
        A: Handler<M>,
    {
        let route = const { &route::<A, M>() };
        if const { send::is_large::<M>() } {
            let origin = Origin::within(timeout);
            return post::ask_by_call(self.core(), Posted::new(route.call, self.core(), msg, origin), origin);
        }
        send::ask(self.core(), route, msg, Some(timeout))
    }

    /// Sends a message and returns at once with a [`Pending`], by which the reply can be waited for later.
    ///
    #[doc = include_str!("docs/addr_call.md")]
    pub fn call<M: Message>(&self, msg: M) -> Result<Pending<M>, SendError<M>>
    where
        A: Handler<M>,
    {
        let route = const { &route::<A, M>() };
        let origin = Origin::here(route.ask_timeout);
        post::call(self.core(), Posted::new(route.call, self.core(), msg, origin), origin, true)
    }

    /// Sends a message if there is room for it, and returns a [`Pending`] for the reply. Never waits.
    ///
    #[doc = include_str!("docs/addr_try_call.md")]
    pub fn try_call<M: Message>(&self, msg: M) -> Result<Pending<M>, SendError<M>>
    where
        A: Handler<M>,
    {
        let route = const { &route::<A, M>() };
        let origin = Origin::here(route.ask_timeout);
        post::call(self.core(), Posted::new(route.call, self.core(), msg, origin), origin, false)
    }

    /// Sends a message from async code, on any executor: a [`call`](Self::call) that waits for room as a future.
    ///
    #[doc = include_str!("docs/addr_call_async.md")]
    pub fn call_async<M: Message>(
        &self,
        msg: M,
    ) -> impl Future<Output = Result<Pending<M>, SendError<M>>> + Send + use<A, M>
    where
        A: Handler<M>,
    {
        post::call_async(self.strong.clone(), const { &route::<A, M>() }, msg)
    }

    /// Sends a message and returns without waiting for its handler; what the handler returns is dropped.
    ///
    #[doc = include_str!("docs/addr_tell.md")]
    #[doc(alias = "do_send")]
    #[doc(alias = "cast")]
    #[inline]
    pub fn tell<M: Message>(&self, msg: M) -> Result<(), SendError<M>>
    where
        A: Handler<M>,
    {
        send::tell(self.core(), Letter::new(const { route::<A, M>().tell }, Tell(msg)), Some(A::ASK_TIMEOUT))
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
        A: Handler<M>,
    {
        send::tell(self.core(), Letter::new(const { route::<A, M>().tell }, Tell(msg)), None)
    }

    /// Sends a message from async code, on any executor: a [`tell`](Self::tell) that waits for room as a future.
    ///
    #[doc = include_str!("docs/addr_tell_async.md")]
    pub fn tell_async<M: Message>(&self, msg: M) -> impl Future<Output = Result<(), SendError<M>>> + Send + use<A, M>
    where
        A: Handler<M>,
    {
        post::tell_async(self.strong.clone(), const { &route::<A, M>() }, msg)
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
        A: Handler<M>,
    {
        Recipient { strong: self.strong.clone(), route: const { &route::<A, M>() } }
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
        WeakAddr { weak: self.core().weak(), _actor: PhantomData }
    }

    /// Stops the actor in good order: closes the mailbox now, has what is queued handled, then ends the actor.
    ///
    #[doc = include_str!("docs/addr_stop.md")]
    pub fn stop(&self) {
        lifecycle::stop(self.core(), Exit::Shutdown, lifecycle::DRAIN);
    }

    /// Stops the actor as [`stop`](Self::stop) does, but gives it `drain`, not five seconds, for what is queued.
    ///
    /// With a `drain` of zero nothing that is queued is handled; the handler that runs returns.
    ///
    /// ```
    #[doc = include_str!("docs/counter.md")]
    /// let counter = Counter(0).start();
    /// counter.stop_within(Duration::from_millis(10));
    /// assert_eq!(counter.join(), Exit::Shutdown);
    /// ```
    pub fn stop_within(&self, drain: Duration) {
        lifecycle::stop(self.core(), Exit::Shutdown, drain);
    }

    /// Ends the actor as soon as possible: what is queued goes back, and a handler that waits is unwound where it
    /// waits.
    ///
    /// A handler that computes goes on until it waits or returns: nothing pre-empts it. [`Actor::stopping`] is called.
    /// Does not wait.
    ///
    #[doc = include_str!("docs/addr_kill.md")]
    pub fn kill(&self) {
        self.core().kill();
    }

    /// Waits until the actor has ended, and returns why.
    ///
    #[doc = include_str!("docs/addr_join.md")]
    #[track_caller]
    pub fn join(&self) -> Exit {
        match lifecycle::join(self.core(), NEVER) {
            Ok(exit) => exit,
            Err(error) => panic!("cannot join {}: {error}", self.id()),
        }
    }

    /// Waits until the actor has ended, for at most `d`, and not beyond the deadline of the handler that calls this.
    ///
    #[doc = include_str!("docs/addr_join_timeout.md")]
    pub fn join_timeout(&self, d: Duration) -> Result<Exit, JoinError> {
        let (_, limit_ns, _) = inherited();
        lifecycle::join(self.core(), after_ns(d).min(limit_ns))
    }

    /// Returns whether the actor has ended; then [`join`](Self::join) does not wait.
    ///
    /// ```
    #[doc = include_str!("docs/counter.md")]
    /// let counter = Counter(0).start();
    /// assert!(!counter.is_ended());
    /// counter.kill();
    /// counter.join();
    /// assert!(counter.is_ended());
    /// ```
    #[must_use]
    pub fn is_ended(&self) -> bool {
        lifecycle::is_ended(self.core())
    }

    /// Returns the actor's number, which no other actor of this process has or will have.
    ///
    /// ```
    #[doc = include_str!("docs/counter.md")]
    /// assert_ne!(Counter(0).start().id(), Counter(0).start().id());
    /// ```
    #[must_use]
    pub fn id(&self) -> ActorId {
        self.core().id()
    }

    /// Returns the name that [`Builder::name`](crate::actor::Builder::name) gave to the actor.
    ///
    /// ```
    #[doc = include_str!("docs/counter.md")]
    /// assert_eq!(Counter(0).start().name(), None);
    /// assert_eq!(Builder::new().name("sums").start(Counter(0)).unwrap().name(), Some("sums"));
    /// ```
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.core().name()
    }

    /// Returns how many messages wait in the mailbox.
    ///
    /// For diagnosis: the number may have changed already. The message that is being handled does not count.
    ///
    /// ```
    #[doc = include_str!("docs/counter.md")]
    /// let counter = Counter(0).start();
    /// counter.send(Add(1)).unwrap();
    /// assert_eq!(counter.queued(), 0);
    /// ```
    #[must_use]
    pub fn queued(&self) -> usize {
        lifecycle::queued(self.core())
    }
}

impl<A> Clone for Addr<A> {
    #[inline]
    fn clone(&self) -> Self {
        Self { strong: self.strong.clone(), _actor: PhantomData }
    }
}

impl<A> PartialEq for Addr<A> {
    fn eq(&self, other: &Self) -> bool {
        self.strong.as_ptr() == other.strong.as_ptr()
    }
}

impl<A> Eq for Addr<A> {}

impl<A> Hash for Addr<A> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.strong.as_ptr().hash(state);
    }
}

impl<A> fmt::Debug for Addr<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Addr").field(&self.strong).finish()
    }
}

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
    #[must_use]
    pub fn id(&self) -> ActorId {
        self.weak.core().id()
    }

    pub(crate) fn is_ended(&self) -> bool {
        lifecycle::is_ended(self.weak.core())
    }
}

impl<A> Clone for WeakAddr<A> {
    fn clone(&self) -> Self {
        Self { weak: self.weak.clone(), _actor: PhantomData }
    }
}

impl<A> fmt::Debug for WeakAddr<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WeakAddr").field(self.weak.core()).finish()
    }
}

/// Sends messages of type `M` to an actor of any type: what [`Addr::recipient`] returns.
///
/// It keeps the actor alive, and has the sending methods of [`Addr`]. Use it where only the message matters: for
/// subscribers, or for a callee that tests replace.
///
#[doc = include_str!("docs/recipient.md")]
pub struct Recipient<M: Message> {
    strong: Strong,
    route: &'static Route<M>,
}

impl<M: Message> Recipient<M> {
    /// Sends a message, waits until it has been handled, and returns the reply: [`Addr::send`], where deadline, order
    /// and cancellation are described.
    ///
    #[doc = include_str!("docs/recipient_send.md")]
    pub fn send(&self, msg: M) -> Result<M::Reply, SendError<M>> {
        if const { send::is_large::<M>() } {
            let origin = Origin::here(self.route.ask_timeout);
            return post::ask_by_call(
                self.strong.core(),
                Posted::new(self.route.call, self.strong.core(), msg, origin),
                origin,
            );
        }
        send::ask(self.strong.core(), self.route, msg, None)
    }

    /// Sends a message and waits for the reply, for at most `timeout`: [`Addr::send_timeout`].
    ///
    #[doc = include_str!("docs/recipient_send_timeout.md")]
    pub fn send_timeout(&self, msg: M, timeout: Duration) -> Result<M::Reply, SendError<M>> {
        if const { send::is_large::<M>() } {
            let origin = Origin::within(timeout);
            return post::ask_by_call(
                self.strong.core(),
                Posted::new(self.route.call, self.strong.core(), msg, origin),
                origin,
            );
        }
        send::ask(self.strong.core(), self.route, msg, Some(timeout))
    }

    /// Sends a message and returns a [`Pending`] for the reply: [`Addr::call`]. Waits only for room.
    ///
    #[doc = include_str!("docs/recipient_call.md")]
    pub fn call(&self, msg: M) -> Result<Pending<M>, SendError<M>> {
        let origin = Origin::here(self.route.ask_timeout);
        post::call(self.strong.core(), Posted::new(self.route.call, self.strong.core(), msg, origin), origin, true)
    }

    /// Sends a message if there is room for it, and returns a [`Pending`] for the reply. Never waits.
    ///
    #[doc = include_str!("docs/recipient_try_call.md")]
    pub fn try_call(&self, msg: M) -> Result<Pending<M>, SendError<M>> {
        let origin = Origin::here(self.route.ask_timeout);
        post::call(self.strong.core(), Posted::new(self.route.call, self.strong.core(), msg, origin), origin, false)
    }

    /// Sends a message from async code, on any executor: [`Addr::call_async`].
    ///
    #[doc = include_str!("docs/recipient_call_async.md")]
    pub fn call_async(&self, msg: M) -> impl Future<Output = Result<Pending<M>, SendError<M>>> + Send + use<M> {
        post::call_async(self.strong.clone(), self.route, msg)
    }

    /// Sends a message from async code and asks for no reply: [`Addr::tell_async`].
    ///
    #[doc = include_str!("docs/recipient_tell_async.md")]
    pub fn tell_async(&self, msg: M) -> impl Future<Output = Result<(), SendError<M>>> + Send + use<M> {
        post::tell_async(self.strong.clone(), self.route, msg)
    }

    /// Sends a message and returns without waiting for its handler: [`Addr::tell`]. Waits only for room.
    ///
    #[doc = include_str!("docs/recipient_tell.md")]
    pub fn tell(&self, msg: M) -> Result<(), SendError<M>> {
        send::tell(self.strong.core(), Letter::new(self.route.tell, Tell(msg)), Some(self.route.ask_timeout))
    }

    /// Sends a message if there is room for it; asks for no reply. Never waits.
    ///
    #[doc = include_str!("docs/recipient_try_tell.md")]
    pub fn try_tell(&self, msg: M) -> Result<(), SendError<M>> {
        send::tell(self.strong.core(), Letter::new(self.route.tell, Tell(msg)), None)
    }

    pub(crate) fn parts(&self) -> (&Core, &'static Route<M>) {
        (self.strong.core(), self.route)
    }

    /// Passes a message on with the reply that somebody waits for.
    pub(crate) fn pass(
        &self,
        msg: M,
        reply: Deferred<M::Reply>,
        deadline_ns: u64,
        chain: u64,
    ) -> Result<(), SendError<M>> {
        let core = self.strong.core();
        let reply = reply.is_awaited().then_some(reply);
        post::pass(core, self.route, msg, reply, deadline_ns, chain).map_err(|(error, reply)| {
            if let Some(reply) = reply {
                reply.fail(Failure::Died(core.why_closed()));
            }
            error
        })
    }

    /// Returns a recipient that does not keep the actor alive.
    ///
    /// ```
    #[doc = include_str!("docs/counter.md")]
    /// let sum: Recipient<Get> = Counter(4).start().recipient();
    /// assert_eq!(sum.downgrade().upgrade(), Some(sum));
    /// ```
    #[must_use]
    pub fn downgrade(&self) -> WeakRecipient<M> {
        WeakRecipient { weak: self.strong.core().weak(), route: self.route }
    }

    /// Returns the actor's number.
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

/// Refers to a recipient without keeping its actor alive: what [`Recipient::downgrade`] returns.
///
#[doc = include_str!("docs/weakrecipient.md")]
pub struct WeakRecipient<M: Message> {
    weak: Weak,
    route: &'static Route<M>,
}

impl<M: Message> WeakRecipient<M> {
    /// Returns the recipient, unless all addresses of the actor are gone.
    ///
    /// ```
    #[doc = include_str!("docs/counter.md")]
    /// let counter = Counter(4).start();
    /// let weak = counter.recipient::<Get>().downgrade();
    /// assert!(weak.upgrade().is_some());
    /// ```
    #[must_use]
    pub fn upgrade(&self) -> Option<Recipient<M>> {
        Some(Recipient { strong: self.weak.upgrade()?, route: self.route })
    }

    /// Returns the actor's number, also when the actor has ended.
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
