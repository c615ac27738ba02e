//! Adapters: recipients of a closure, of a channel, of another recipient. Each is a small actor, and has what every actor has.

#![forbid(unsafe_code)]

use std::marker::PhantomData;

use crate::actor::address::Addressed;
use crate::actor::engine::cell::Core;
use crate::actor::engine::guard::contained;
use crate::actor::engine::relay::InHand;
use crate::actor::engine::tell;
use crate::actor::glue::passed;
use crate::actor::{Actor, Context, Deferred, Exit, Handler, Message, Receives, Recipient, SendError, Signal};
use crate::channel::Sender;

/// Answers each message by a closure.
struct Callback<M, F> {
    f: F,
    _message: PhantomData<fn(M)>,
}

impl<M: Message, F: Send + 'static> Actor for Callback<M, F> {}

impl<M: Message, F: FnMut(M) -> M::Reply + Send + 'static> Handler<M> for Callback<M, F> {
    fn handle(&mut self, msg: M, _: &mut Context<Self>) -> M::Reply {
        (self.f)(msg)
    }
}

/// Puts each message into a channel.
struct Sink<M>(Sender<M>);

impl<M: Message> Actor for Sink<M> {}

impl<M: Message<Reply = ()>> Handler<M> for Sink<M> {
    fn handle(&mut self, msg: M, ctx: &mut Context<Self>) {
        let reply = ctx.defer::<M>();
        let in_hand = InHand::<M>::new(ctx.core(), ctx.id(), reply);
        if self.0.send(msg).is_ok() {
            return in_hand.arrived().reply(());
        }
        drop(in_hand);
        ctx.stop();
    }
}

/// Makes another message of each, for another actor, with which it ends.
struct Mapping<M: Message, N, F> {
    to: Recipient<M>,
    f: F,
    _message: PhantomData<fn(N)>,
}

impl<M: Message, N: Message, F: Send + 'static> Actor for Mapping<M, N, F> {
    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
        let _ = ctx.monitor(&self.to);
        Ok(())
    }

    fn signal(&mut self, signal: Signal, ctx: &mut Context<Self>) {
        match signal {
            // Of one life of a supervised target: its address and its queue go on.
            Signal::Down(_) if !self.to.is_ended() => _ = ctx.monitor(&self.to),
            Signal::Down(down) => ctx.fail(down.reason),
            other => ctx.default_signal(other),
        }
    }
}

impl<M, N, F> Handler<N> for Mapping<M, N, F>
where
    M: Message,
    N: Message<Reply = M::Reply>,
    F: FnMut(N) -> M + Send + 'static,
{
    fn handle(&mut self, _: N, _: &mut Context<Self>) -> M::Reply {
        unreachable!("the target replies")
    }

    fn __handle<T>(
        &mut self,
        msg: impl FnOnce() -> N,
        ctx: &mut Context<Self>,
        _: impl FnOnce(M::Reply) -> T,
    ) -> Option<T> {
        let reply = ctx.defer::<M>();
        self.pass_on(msg(), reply, ctx);
        None
    }
}

impl<M, N, F> Mapping<M, N, F>
where
    M: Message,
    N: Message<Reply = M::Reply>,
    F: FnMut(N) -> M + Send + 'static,
{
    fn pass_on(&mut self, msg: N, reply: Deferred<M::Reply>, ctx: &mut Context<Self>) {
        let msg = (self.f)(msg);
        if reply.is_awaited() {
            // The asker learns why not.
            let (to, route) = self.to.parts();
            return tell::forward_for_good(to, passed(route.passed, msg, reply, ctx.inner.frame().terms()));
        }
        // If that has ended, a signal says so.
        pass_on(&self.to, msg, reply, ctx.core());
    }
}

/// Tells `to` what the relay has in hand. Waits as long as it takes: for room, in which those that send to the relay meanwhile wait, too; and for the
/// next life of one that a supervisor starts again, where one that drains takes nothing. False: `to` has ended.
pub(super) fn pass_on<M: Message>(to: &Recipient<M>, msg: M, reply: Deferred<M::Reply>, relay: &Core) -> bool {
    let mut msg = msg;
    let in_hand = InHand::<M>::new(relay, to.id(), reply);
    loop {
        let error = match to.tell(msg) {
            Ok(()) => {
                drop(in_hand.arrived());
                return true;
            }
            Err(SendError::Timeout(Some(back))) => {
                msg = back.into_inner();
                continue;
            }
            Err(error) => RefusedMessage(Some(error)),
        };
        let is_closed = matches!(error.0, Some(SendError::Closed(_)));
        match error.take_if(is_closed && to.core().has_another_life()) {
            Some(back) => msg = back,
            None => return !(is_closed && to.is_ended()),
        }
    }
}

/// A message that was refused. If the wait for another life is unwound, it is dropped, and its destructor may panic.
struct RefusedMessage<M>(Option<SendError<M>>);

impl<M> RefusedMessage<M> {
    fn take_if(mut self, wanted: bool) -> Option<M> {
        if wanted { self.0.take().and_then(SendError::into_message) } else { None }
    }
}

impl<M> Drop for RefusedMessage<M> {
    fn drop(&mut self) {
        contained(|| drop(self.0.take()));
    }
}

/// Starts an adapter in front of something that is at that distance.
fn relay<A: Receives<M>, M: Message>(adapter: A, next: u8) -> Recipient<M> {
    let relay = adapter.start();
    relay.core().relays_to(next);
    relay.recipient()
}

/// # Adapters
///
/// A recipient need not be an actor of one's own. Each of these starts a small actor, in the caller's runtime or the default one, which
/// ends when its last recipient is gone; it has a mailbox of 256 messages, and can be stopped, joined and monitored. They panic if there is
/// no memory for it.
impl<M: Message> Recipient<M> {
    /// Makes a recipient of a closure, which gives each reply: a stand-in for an actor, in tests, or where a callback is enough.
    ///
    /// The closure is called for one message at a time, and may wait, as a handler may. A panic of it ends the recipient.
    ///
    /// ```
    /// use green::actor::{Recipient, messages};
    ///
    /// messages! { struct Price(&'static str) -> Option<u32>; }
    ///
    /// let shop = Recipient::from_fn(|item: Price| (item.0 == "tea").then_some(3));
    /// assert_eq!(shop.send(Price("tea")).unwrap(), Some(3));
    /// assert_eq!(shop.send(Price("gold")).unwrap(), None);
    /// ```
    pub fn from_fn(f: impl FnMut(M) -> M::Reply + Send + 'static) -> Self {
        relay(Callback { f, _message: PhantomData }, 0)
    }

    /// Makes a recipient of other messages, of which `f` makes those that this one takes.
    ///
    /// So an actor listens to others under types of its own. What is told waits for room where it goes, in order; an ask is
    /// answered there, as one that was [forwarded](Context::forward). What is told while a supervisor starts that one again waits for its next life. The new recipient keeps this one's actor alive, and ends when that
    /// does, for the same reason; it lives on when a supervisor starts that one again. For messages with another reply there is [`from_fn`](Self::from_fn), whose closure may ask.
    ///
    /// ```
    /// use green::actor::{Actor, Recipient, messages};
    ///
    /// messages! { struct Celsius(f64); }
    /// struct Thermometer { listeners: Vec<Recipient<Celsius>> }
    ///
    /// #[derive(Default)]
    /// struct Log(Vec<String>);
    /// impl Actor for Log {}
    /// messages! {
    ///     impl Log {
    ///         fn Line(&mut self, text: String) { self.0.push(text) }
    ///         fn Len(&self) -> usize { self.0.len() }
    ///     }
    /// }
    ///
    /// let log = Log::default().start();
    /// let lines = log.recipient().map(|t: Celsius| Line(format!("{} degrees", t.0)));
    /// let thermometer = Thermometer { listeners: vec![lines] };
    /// thermometer.listeners[0].send(Celsius(21.5)).unwrap();
    /// assert_eq!(log.send(Len).unwrap(), 1);
    /// ```
    #[doc(alias = "contramap")]
    pub fn map<N: Message<Reply = M::Reply>>(&self, f: impl FnMut(N) -> M + Send + 'static) -> Recipient<N> {
        relay(Mapping { to: self.clone(), f, _message: PhantomData }, self.core().distance())
    }
}

/// Makes a recipient of a channel's sending half: what is sent to it can be received there, in order.
///
/// While the channel is full, the recipient waits, and so do its senders when its mailbox is full. An ask is answered when its message
/// is in the channel. The recipient ends when the channel has no receiver left; told messages are dead letters then.
///
/// ```
/// use green::actor::{Recipient, messages};
///
/// messages! {
///     #[derive(Debug, PartialEq)]
///     struct News(&'static str);
/// }
/// let (sender, received) = green::channel::unbounded();
/// let subscriber = Recipient::from(sender);
/// subscriber.tell(News("tea is ready")).unwrap();
/// assert_eq!(received.recv(), Ok(News("tea is ready")));
/// ```
impl<M: Message<Reply = ()>> From<Sender<M>> for Recipient<M> {
    fn from(sender: Sender<M>) -> Self {
        relay(Sink(sender), 0)
    }
}
