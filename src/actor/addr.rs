//! Addresses: how the rest of the program reaches an actor.

#![forbid(unsafe_code)]

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::time::Duration;

use crate::actor::engine::call::Call;
use crate::actor::engine::cell::{Core, Strong};
use crate::actor::engine::envelope::Boxed;
use crate::actor::engine::origin::Origin;
use crate::actor::engine::payload::Tell;
use crate::actor::engine::send_call::{self, ask_by_call};
use crate::actor::engine::weak::Weak;
use crate::actor::engine::{lifecycle, send_ask, tell};
use crate::actor::glue::route;
use crate::actor::{Actor, ActorId, Exit, Handler, JoinError, Message, Pending, Recipient, SendError};
use crate::sys::clock::{NEVER, after_ns};

/// The address of an actor. Cheap to clone, and may be used from anywhere: green threads, OS threads, handlers, destructors.
///
/// The actor lives as long as it has an address, and until what was sent is handled. Equal addresses are of one actor.
///
/// What holds for all sends: messages of one sender to one actor are handled in the order in which they were sent. A send
/// that waits is a cancellation point and inherits the deadline of the handler that it is called from.
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

    /// Sends a message and waits for the reply: [`Actor::ASK_TIMEOUT`] at most, and not beyond the deadline of the handler
    /// that this is called from.
    ///
    /// # Errors
    ///
    /// `Closed`: the actor has ended or is stopping. `Full`: the mailbox does not wait for room. `Timeout`: with the message if
    /// its handler has not started (and then it never will); otherwise the handler goes on, and its late reply is dropped.
    /// `Deadlock`: this actor would wait for one that, directly or not, waits for this one. `Died`: the handler panicked, or was
    /// killed. `NoReply`: the [`Deferred`](crate::actor::Deferred) was dropped.
    #[doc(alias = "ask")]
    #[doc(alias = "request")]
    #[inline]
    pub fn send<M: Message>(&self, msg: M) -> Result<M::Reply, SendError<M>>
    where
        A: Handler<M>,
    {
        let route = const { &route::<A, M>() };
        if const { send_ask::is_large::<M>() } {
            return ask_by_call(self.core(), Call::new(route.call, self.core(), msg, Origin::here(route.ask_timeout)));
        }
        send_ask::ask(self.core(), route, msg, None)
    }

    /// As [`send`](Self::send), for at most `timeout`.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_timeout<M: Message>(&self, msg: M, timeout: Duration) -> Result<M::Reply, SendError<M>>
    where
        A: Handler<M>,
    {
        let route = const { &route::<A, M>() };
        if const { send_ask::is_large::<M>() } {
            return ask_by_call(self.core(), Call::new(route.call, self.core(), msg, Origin::within(timeout)));
        }
        send_ask::ask(self.core(), route, msg, Some(timeout))
    }

    /// Sends a message whose reply is waited for later. Waits only for room in a full mailbox: as every send, until the
    /// deadline. That blocks the thread that calls, so on an async executor [`call_async`](Self::call_async) is the one to use.
    ///
    /// # Errors
    ///
    /// `Closed`, `Full`, `Timeout` and `Deadlock` as [`send`](Self::send), always with the message.
    pub fn call<M: Message>(&self, msg: M) -> Result<Pending<M>, SendError<M>>
    where
        A: Handler<M>,
    {
        let route = const { &route::<A, M>() };
        let call = Call::new(route.call, self.core(), msg, Origin::here(route.ask_timeout));
        send_call::send(self.core(), call, true)
    }

    /// As [`call`](Self::call), but does not wait: a full mailbox is `Full`.
    ///
    /// # Errors
    ///
    /// `Closed` or `Full`, with the message.
    pub fn try_call<M: Message>(&self, msg: M) -> Result<Pending<M>, SendError<M>>
    where
        A: Handler<M>,
    {
        let route = const { &route::<A, M>() };
        let call = Call::new(route.call, self.core(), msg, Origin::here(route.ask_timeout));
        send_call::send(self.core(), call, false)
    }

    /// [`call`](Self::call) for async code, on any executor: the future waits for room in a full mailbox, and the thread that
    /// polls it does not. It does nothing before it is polled; from then on its message has its place among those that wait
    /// for room, as if a thread waited there. Dropped before it is ready, it takes its message back, unless that has got its
    /// room meanwhile and its handler has started. When it is ready, the message is in the mailbox; the reply is awaited by the
    /// [`Pending`].
    ///
    /// It has no deadline: neither this future nor the `Pending` ends before there is room, or a reply, or the actor ends. A
    /// future is not seen to wait (see [`SendError::Deadlock`]).
    ///
    /// ```
    /// # use green::actor::{Actor, Context, Handler, Message};
    /// # struct Square(u32);
    /// # impl Message for Square { type Reply = u32; }
    /// # struct Worker;
    /// # impl Actor for Worker {}
    /// # impl Handler<Square> for Worker {
    /// #     fn handle(&mut self, m: Square, _: &mut Context<Self>) -> u32 { m.0 * m.0 }
    /// # }
    /// let worker = Worker.start();
    /// let nine = futures::executor::block_on(async { worker.call_async(Square(3)).await?.await });
    /// assert_eq!(nine.unwrap(), 9);
    /// ```
    ///
    /// # Errors
    ///
    /// `Closed`, `Full` (of a mailbox that rejects or drops): always with the message.
    pub fn call_async<M: Message>(
        &self,
        msg: M,
    ) -> impl Future<Output = Result<Pending<M>, SendError<M>>> + Send + use<A, M>
    where
        A: Handler<M>,
    {
        send_call::call_async(self.strong.clone(), const { &route::<A, M>() }, msg)
    }

    /// Sends a message and asks for no reply; what its handler returns is dropped. Waits only for room in a full mailbox: in an
    /// actor for [`Actor::ASK_TIMEOUT`] at most, and not beyond the deadline of its handler, elsewhere for as long as it takes.
    ///
    /// # Errors
    ///
    /// `Closed`, `Full` (of a mailbox that rejects), `Timeout` (in an actor), `Deadlock`: always with the message.
    #[doc(alias = "do_send")]
    #[doc(alias = "cast")]
    #[inline]
    pub fn tell<M: Message>(&self, msg: M) -> Result<(), SendError<M>>
    where
        A: Handler<M>,
    {
        tell::tell(self.core(), Boxed::new(const { route::<A, M>().tell }, Tell(msg)), Some(A::ASK_TIMEOUT))
    }

    /// As [`tell`](Self::tell), but does not wait: a full mailbox is `Full`.
    ///
    /// # Errors
    ///
    /// `Closed` or `Full`, with the message.
    #[inline]
    pub fn try_tell<M: Message>(&self, msg: M) -> Result<(), SendError<M>>
    where
        A: Handler<M>,
    {
        tell::tell(self.core(), Boxed::new(const { route::<A, M>().tell }, Tell(msg)), None)
    }

    /// [`tell`](Self::tell) for async code: waits for room as [`call_async`](Self::call_async). Dropped before it is ready, it takes
    /// its message back, unless that has got its room meanwhile.
    ///
    /// # Errors
    ///
    /// `Closed`, `Full` (of a mailbox that rejects): always with the message.
    pub fn tell_async<M: Message>(&self, msg: M) -> impl Future<Output = Result<(), SendError<M>>> + Send + use<A, M>
    where
        A: Handler<M>,
    {
        tell::tell_async(self.strong.clone(), const { &route::<A, M>() }, msg)
    }

    /// The address as one that takes messages of one type, whatever the actor is.
    #[must_use]
    pub fn recipient<M: Message>(&self) -> Recipient<M>
    where
        A: Handler<M>,
    {
        Recipient::new(self.strong.clone(), const { &route::<A, M>() })
    }

    /// An address that does not keep the actor alive.
    #[must_use]
    pub fn downgrade(&self) -> WeakAddr<A> {
        WeakAddr { weak: self.core().weak(), _actor: PhantomData }
    }

    /// Closes the mailbox now; what is queued is still handled, for five seconds at most; then the actor ends. What is left by
    /// then goes back to its senders. Does not wait; [`join`](Self::join) does.
    pub fn stop(&self) {
        lifecycle::stop(self.core(), Exit::Shutdown, lifecycle::DRAIN);
    }

    /// As [`stop`](Self::stop), with `drain` in place of the five seconds.
    pub fn stop_within(&self, drain: Duration) {
        lifecycle::stop(self.core(), Exit::Shutdown, drain);
    }

    /// Ends the actor as soon as possible: what is queued goes back, and a handler that waits is unwound where it waits. One
    /// that computes goes on until it waits or returns. Does not wait.
    pub fn kill(&self) {
        self.core().kill();
    }

    /// Waits until the actor has ended, its state is dropped and all who watch it are told. Says why it ended. A cancellation
    /// point. Does not stop it: an actor that is waited for by the holder of its last address lives on.
    ///
    /// As it has no error, it knows no deadline, not that of the handler either: that is
    /// [`join_timeout`](Self::join_timeout)'s. If an actor closes a cycle by it in which another waits for a reply or for room,
    /// that other one is told ([`SendError::Deadlock`]).
    ///
    /// # Panics
    ///
    /// If an actor closes a cycle of actors that join each other by it, itself alone included: nobody else could be told.
    #[track_caller]
    pub fn join(&self) -> Exit {
        match lifecycle::join(self.core(), NEVER) {
            Ok(exit) => exit,
            Err(error) => panic!("cannot join {}: {error}", self.id()),
        }
    }

    /// As [`join`](Self::join), for at most `d`, and not beyond the deadline of the handler that this is called from.
    ///
    /// # Errors
    ///
    /// `Timeout`: it has not ended by then. `Deadlock`: the caller is an actor and would close a cycle in which everybody joins.
    ///
    /// ```
    /// use green::actor::{Actor, Exit, JoinError};
    /// use std::time::Duration;
    /// struct Idle;
    /// impl Actor for Idle {}
    /// let idle = Idle.start();
    /// assert_eq!(idle.join_timeout(Duration::from_millis(1)), Err(JoinError::Timeout));
    /// idle.stop();
    /// assert_eq!(idle.join_timeout(Duration::from_secs(5)), Ok(Exit::Shutdown));
    /// ```
    pub fn join_timeout(&self, d: Duration) -> Result<Exit, JoinError> {
        lifecycle::join(self.core(), after_ns(d).min(Origin::limit_ns()))
    }

    /// Has the actor ended?
    #[must_use]
    pub fn is_ended(&self) -> bool {
        lifecycle::is_ended(self.core())
    }

    /// The actor's number.
    #[must_use]
    pub fn id(&self) -> ActorId {
        self.core().id()
    }

    /// The actor's name, if it was given one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.core().name()
    }

    /// How many messages wait in the mailbox: for diagnosis, as it may have changed already.
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

/// An address that does not keep the actor alive.
pub struct WeakAddr<A> {
    weak: Weak,
    _actor: PhantomData<fn(A) -> A>,
}

impl<A: Actor> WeakAddr<A> {
    /// The address, unless all are gone. An actor that was stopped or has died may still have one.
    #[must_use]
    pub fn upgrade(&self) -> Option<Addr<A>> {
        self.weak.upgrade().map(Addr::new)
    }

    /// The actor's number.
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
