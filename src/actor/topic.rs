//! Topics: publish and subscribe, with a stated answer to "what if a subscriber is too slow?".
//!
//! Each subscription is a small actor, a relay, which waits for room in the subscriber's mailbox, and nobody else does. Its queue is its
//! mailbox, which blocks or rejects; or, where the oldest is dropped, a [`Newest`]: there the relay has to know how many are missing before
//! which message. The relay is told of the ring's first message, and tells itself after each until it finds the ring empty, which it notes
//! under the ring's lock; so no message is left there. A relay that is stopped is told nothing any more, and empties the ring at once. When it
//! ends it shuts the ring: what is there is lost, and nothing gets in any more.

#![forbid(unsafe_code)]

use std::any::type_name;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use crate::actor::adapters::pass_on;
use crate::actor::address::Addressed;
use crate::actor::engine::guard::contained;
use crate::actor::engine::lost::lost;
use crate::actor::engine::tell::notice;
use crate::actor::handling;
use crate::actor::member_list::MemberList;
use crate::actor::{
    Actor, ActorId, Addr, Builder, Context, Deferred, Exit, Handler, Mailbox, Message, Overflow, Recipient, SendError,
    Signal, WeakRecipient,
};
use crate::base::lock::{Lock, lock};

/// Says what happens when a subscriber of a [`Topic`] is so slow that its queue there is full.
///
/// ```
/// use green::actor::{Lag, Lagged, Recipient};
/// let told = Recipient::from_fn(|lagged: Lagged| eprintln!("{lagged:?}"));
/// let (all_or_wait, newest, all_or_nothing) = (Lag::Block, Lag::DropOldest(told.clone()), Lag::Unsubscribe(told));
/// # let _ = (all_or_wait, newest, all_or_nothing);
/// ```
#[derive(Clone, Debug)]
pub enum Lag {
    /// The publisher waits for room: nothing is lost, and the slowest subscriber sets the pace. Also not while a supervisor starts the subscriber again.
    Block,
    /// What has waited longest is dropped. This recipient, as a rule the subscriber, is told how much was lost, before what comes next.
    DropOldest(Recipient<Lagged>),
    /// The subscription ends: what is queued still comes, and then this recipient is told.
    Unsubscribe(Recipient<Lagged>),
}

/// Tells a subscriber of a [`Topic`] that it was too slow: a message for the recipient in its [`Lag`].
///
/// ```
/// use green::actor::{Actor, Context, Handler, Lagged};
/// struct Chart;
/// impl Actor for Chart {}
/// impl Handler<Lagged> for Chart {
///     fn handle(&mut self, lagged: Lagged, ctx: &mut Context<Self>) {
///         match lagged {
///             Lagged::Lost(messages) => eprintln!("{messages} prices are missing"),
///             Lagged::Unsubscribed => ctx.stop(),
///         }
///     }
/// }
/// Chart.start().tell(Lagged::Lost(3)).unwrap();
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lagged {
    /// So many messages were dropped here, right before the next one.
    Lost(u64),
    /// There will be no more: the subscription has ended.
    Unsubscribed,
}

impl Message for Lagged {
    type Reply = ();
}

/// Publishes messages to subscribers, each with a queue of its own and a stated [`Lag`].
///
#[doc = include_str!("docs/topic.md")]
pub struct Topic<M: Message>(Arc<Subscribers<M>>);

type Subscribers<M> = Mutex<SubscriberList<M>>;

struct SubscriberList<M: Message> {
    members: MemberList<Arc<Subscriber<M>>>,
    /// The same for who looks at all without the lock; made when somebody does, and out of date with the next change.
    seen: Option<Arc<[Arc<Subscriber<M>>]>>,
}

struct Subscriber<M: Message> {
    /// The subscriber itself.
    actor: ActorId,
    relay: Addr<Relay<M>>,
    queue: RelayQueue<M>,
}

enum RelayQueue<M> {
    Blocks,
    Rejects,
    DropsOldest(Arc<Lock<Newest<M>>>),
}

/// The newest messages. Dropped without its lock is what is dropped.
struct Newest<M> {
    messages: VecDeque<M>,
    len: usize,
    /// How many were dropped since the last one was taken out: they would have come before what is there.
    dropped: u64,
    /// The relay looks, or will.
    is_known: bool,
    /// The relay has ended.
    is_shut: bool,
}

/// What has become of a message for a ring.
enum Pushed<M> {
    /// It is there. This was dropped; the relay is to be told.
    In {
        dropped: Option<M>,
        is_first: bool,
    },
    Refused(M),
}

impl<M> Newest<M> {
    fn push(&mut self, msg: M) -> Pushed<M> {
        if self.is_shut {
            return Pushed::Refused(msg);
        }
        let oldest = if self.messages.len() == self.len { self.messages.pop_front() } else { None };
        self.dropped += u64::from(oldest.is_some());
        self.messages.push_back(msg);
        Pushed::In { dropped: oldest, is_first: !std::mem::replace(&mut self.is_known, true) }
    }

    /// The next message, and how many are missing before it.
    fn pop(&mut self) -> Option<(u64, M)> {
        let next = self.messages.pop_front();
        self.is_known = next.is_some();
        next.map(|msg| (std::mem::take(&mut self.dropped), msg))
    }
}

/// Takes the actor's subscription out, if it is that one. What is dropped with it is dropped without the lock.
fn take_out<M: Message>(
    subscribers: &Subscribers<M>,
    actor: ActorId,
    is: impl Fn(&Subscriber<M>) -> bool,
) -> Option<Arc<Subscriber<M>>> {
    let mut list = lock(subscribers);
    list.members.get(actor).filter(|subscriber| is(subscriber))?;
    let (found, seen) = (list.members.take_out(actor), list.seen.take());
    drop(list);
    drop(seen);
    found
}

/// All that there are now, in the order in which they have subscribed.
fn all<M: Message>(subscribers: &Subscribers<M>) -> Arc<[Arc<Subscriber<M>>]> {
    let mut list = lock(subscribers);
    let SubscriberList { members, seen } = &mut *list;
    Arc::clone(seen.get_or_insert_with(|| members.iter().cloned().collect()))
}

impl<M: Message<Reply = ()> + Clone> Topic<M> {
    /// Makes a topic without subscribers. Its clones are the same topic.
    ///
    /// ```
    /// # use green::actor::{Topic, messages};
    /// # messages! { #[derive(Clone)] struct Price(u32); }
    /// let prices = Topic::<Price>::new();
    /// assert_eq!(prices.publish(Price(7)), 0);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(SubscriberList { members: MemberList::new(), seen: None })))
    }

    /// Has `to` told of all that is published from now on, in order. Does not wait. False: it is subscribed already.
    ///
    /// Up to `queue` messages wait for it here, besides those in its mailbox; `lag` says what happens to one more. The subscription ends
    /// with the subscriber, and goes on over a [restart](crate::actor::Supervisor). It does not keep `to` alive. The
    /// recipient in `lag` it does, unless that is `to` itself: so that may be made where it is passed, but an [adapter](Recipient::map) of the subscriber there
    /// would keep the subscriber alive.
    ///
    /// ```
    /// # use green::actor::{Lag, Recipient, Topic, messages};
    /// # messages! { #[derive(Clone)] struct Price(u32); }
    /// let prices = Topic::<Price>::new();
    /// let (sender, received) = green::channel::unbounded();
    /// let to = Recipient::from(sender);
    /// assert!(prices.subscribe(&to, 16, Lag::Block));
    /// prices.publish(Price(7));
    /// assert_eq!(received.recv().unwrap().0, 7);
    /// ```
    ///
    /// # Panics
    ///
    /// If `queue` is zero, or more than 2^32 - 1. If there is no memory for the relay, or the default runtime cannot start.
    #[expect(clippy::needless_pass_by_value, reason = "a setting, mostly made where it is passed")]
    pub fn subscribe(&self, to: &Recipient<M>, queue: usize, lag: Lag) -> bool {
        let mailbox = Mailbox::bounded(queue);
        let (told, mailbox, queue) = match &lag {
            Lag::Block => (None, mailbox, RelayQueue::Blocks),
            Lag::Unsubscribe(told) => (Some(told), mailbox.overflow(Overflow::Reject), RelayQueue::Rejects),
            Lag::DropOldest(told) => {
                let ring =
                    Newest { messages: VecDeque::new(), len: queue, dropped: 0, is_known: false, is_shut: false };
                (Some(told), mailbox, RelayQueue::DropsOldest(Arc::new(Lock::new(ring))))
            }
        };
        let (to_relay, topic) = (to.downgrade(), Arc::downgrade(&self.0));
        let ring = if let RelayQueue::DropsOldest(ring) = &queue { Some(Arc::clone(ring)) } else { None };
        let distance = told.map_or(0, |told| told.core().distance()).max(to.core().distance());
        let told = told.map(|told| LagListener::new(told, to.id()));
        let relay = Relay { to: to_relay, told, topic, ring, is_over: false };
        let relay = Builder::new().mailbox(mailbox).start(relay);
        let relay = relay.unwrap_or_else(|error| panic!("failed to start a subscription: {error}"));
        relay.core().relays_to(distance);
        let subscriber = Arc::new(Subscriber { actor: to.id(), relay, queue });
        // One whose relay has ended with its runtime is over.
        take_out(&self.0, to.id(), |other| other.relay.is_ended());
        let (added, seen) = {
            let mut list = lock(&self.0);
            let added = list.members.add(to.id(), subscriber);
            (added, list.seen.take())
        };
        // Without the lock: the last address of a relay may go with it.
        drop(seen);
        let is_new = added.is_ok();
        drop(added);
        if is_new && to.is_ended() {
            self.unsubscribe(to);
        }
        is_new
    }

    /// Ends the subscription of `to`. What was published before still comes. False: it was not subscribed.
    ///
    /// ```
    /// # use green::actor::{Lag, Recipient, Topic, messages};
    /// # messages! { #[derive(Clone)] struct Price(u32); }
    /// let prices = Topic::<Price>::new();
    /// let to = Recipient::from_fn(|price: Price| println!("{}", price.0));
    /// prices.subscribe(&to, 16, Lag::Block);
    /// assert!(prices.unsubscribe(&to));
    /// assert_eq!(prices.publish(Price(7)), 0);
    /// ```
    pub fn unsubscribe(&self, to: &Recipient<M>) -> bool {
        take_out(&self.0, to.id(), |_| true).is_some()
    }

    /// Publishes a message, and returns for how many subscribers it is queued now.
    ///
    /// Waits for room for the subscribers that [block](Lag::Block), one after the other; in a handler until the handler's
    /// deadline at most, and not in a circle ([`SendError::Deadlock`]): then that subscriber misses the message, which is a dead letter. A cancellation
    /// point, if it waits.
    ///
    /// ```
    /// # use green::actor::{Lag, Recipient, Topic, messages};
    /// # messages! { #[derive(Clone)] struct Price(u32); }
    /// let prices = Topic::<Price>::new();
    /// let to = Recipient::from_fn(|price: Price| println!("{}", price.0));
    /// prices.subscribe(&to, 16, Lag::Block);
    /// assert_eq!(prices.publish(Price(7)), 1);
    /// ```
    #[expect(clippy::needless_pass_by_value, reason = "a message is sent by value")]
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    pub fn publish(&self, msg: M) -> usize {
        let subscribers = all(&self.0);
        let mut queued = 0;
        // No closure: the place of the call would end there.
        for subscriber in subscribers.iter() {
            queued += usize::from(self.publish_to(subscriber, msg.clone()));
        }
        queued
    }

    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    fn publish_to(&self, subscriber: &Subscriber<M>, msg: M) -> bool {
        let Subscriber { actor, relay, queue } = subscriber;
        let told = match queue {
            RelayQueue::Blocks => relay.tell(Published(msg)),
            RelayQueue::Rejects => relay.try_tell(Published(msg)),
            RelayQueue::DropsOldest(ring) => {
                let pushed = ring.lock().push(msg);
                let (dropped, is_first) = match pushed {
                    Pushed::In { dropped, is_first } => (dropped, is_first),
                    Pushed::Refused(msg) => {
                        self.strike_out(subscriber);
                        contained(|| drop(msg));
                        return false;
                    }
                };
                if dropped.is_some() {
                    lost(*actor, type_name::<M>());
                    // Another publisher's, perhaps.
                    contained(|| drop(dropped));
                }
                if is_first {
                    // Refused, by a relay that ends: that looks into the ring itself.
                    notice(relay.core(), const { &handling::notice::<Relay<M>, Look>() }, Look);
                }
                return true;
            }
        };
        let Err(error) = told else { return true };
        match error {
            SendError::Closed(_) => _ = self.strike_out(subscriber),
            // It rejects. One publisher ends it.
            SendError::Full(_) => {
                lost(*actor, type_name::<M>());
                if self.strike_out(subscriber) {
                    notice(relay.core(), const { &handling::notice::<Relay<M>, EndOfTopic>() }, EndOfTopic);
                }
            }
            _ => lost(*actor, type_name::<M>()),
        }
        // A message's destructor may panic, which is no matter of the other subscribers.
        contained(|| drop(error));
        false
    }

    /// Takes that subscription out, not one that the actor has made since. False: it was none any more.
    fn strike_out(&self, subscriber: &Subscriber<M>) -> bool {
        take_out(&self.0, subscriber.actor, |other| other.relay.id() == subscriber.relay.id()).is_some()
    }

    /// Returns how many subscribers there are.
    ///
    /// ```
    /// # use green::actor::{Topic, messages};
    /// # messages! { #[derive(Clone)] struct Price(u32); }
    /// assert_eq!(Topic::<Price>::new().subscribers(), 0);
    /// ```
    #[must_use]
    pub fn subscribers(&self) -> usize {
        all(&self.0).iter().filter(|subscriber| !subscriber.relay.is_ended()).count()
    }
}

/// A message on its way to a subscriber.
struct Published<M>(M);

impl<M: Message> Message for Published<M> {
    type Reply = ();
}

/// There is something in the ring.
struct Look;

impl Message for Look {
    type Reply = ();
}

/// The subscription has ended.
struct EndOfTopic;

impl Message for EndOfTopic {
    type Reply = ();
}

/// Who is told of the lag.
enum LagListener {
    /// The subscription keeps it no more than as a subscriber.
    Subscriber(WeakRecipient<Lagged>),
    /// Made for the subscription, perhaps, so that nobody else has it.
    Other(Recipient<Lagged>),
}

impl LagListener {
    fn new(told: &Recipient<Lagged>, subscriber: ActorId) -> Self {
        if told.id() == subscriber { Self::Subscriber(told.downgrade()) } else { Self::Other(told.clone()) }
    }

    fn recipient(&self) -> Option<Recipient<Lagged>> {
        match self {
            Self::Subscriber(told) => told.upgrade(),
            Self::Other(told) => Some(told.clone()),
        }
    }
}

/// One subscription.
struct Relay<M: Message> {
    to: WeakRecipient<M>,
    told: Option<LagListener>,
    topic: Weak<Subscribers<M>>,
    /// Where the oldest is dropped.
    ring: Option<Arc<Lock<Newest<M>>>>,
    /// The subscriber was told that there will be no more.
    is_over: bool,
}

impl<M: Message> Relay<M> {
    /// Watches the subscriber's present life.
    fn watch(&self, ctx: &mut Context<Self>) {
        match self.to.upgrade().filter(|to| !to.is_ended()) {
            Some(to) => _ = ctx.monitor(&to),
            None => self.leave(ctx),
        }
    }

    fn leave(&self, ctx: &mut Context<Self>) {
        let is_this = |subscriber: &Subscriber<M>| subscriber.relay.id() == ctx.id();
        let subscriber = self.topic.upgrade().and_then(|topic| take_out(&topic, self.to.id(), is_this));
        drop(subscriber);
        ctx.stop();
    }

    fn deliver(&self, msg: M, ctx: &mut Context<Self>) {
        let is_there = match self.to.upgrade() {
            Some(to) => pass_on(&to, msg, Deferred::nobody(), ctx.core()),
            None => {
                ctx.core().loses(self.to.id(), type_name::<M>());
                contained(|| drop(msg));
                false
            }
        };
        if !is_there {
            self.leave(ctx);
        }
    }

    /// Takes one message out of the ring and passes it on. False: there was none.
    fn look(&self, ctx: &mut Context<Self>) -> bool {
        let Some(ring) = &self.ring else { return false };
        let next = ring.lock().pop();
        let Some((dropped, msg)) = next else { return false };
        if dropped > 0 {
            self.say(Lagged::Lost(dropped), ctx);
        }
        self.deliver(msg, ctx);
        true
    }

    fn say(&self, lagged: Lagged, ctx: &Context<Self>) {
        if let Some(told) = self.told.as_ref().and_then(LagListener::recipient) {
            pass_on(&told, lagged, Deferred::nobody(), ctx.core());
        }
    }

    /// Nothing gets into the ring any more, and what is there is lost.
    fn shut(&mut self, lose: impl Fn(ActorId, &'static str)) {
        let Some(ring) = self.ring.take() else { return };
        let left = {
            let mut ring = ring.lock();
            ring.is_shut = true;
            std::mem::take(&mut ring.messages)
        };
        for msg in left {
            lose(self.to.id(), type_name::<M>());
            // One that panics is no matter of the next.
            contained(|| drop(msg));
        }
    }
}

impl<M: Message> Actor for Relay<M> {
    const ASK_TIMEOUT: Duration = Duration::MAX;

    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
        self.watch(ctx);
        Ok(())
    }

    fn signal(&mut self, signal: Signal, ctx: &mut Context<Self>) {
        match signal {
            // A life of the subscriber is over; it may have another.
            Signal::Down(_) => self.watch(ctx),
            other => ctx.default_signal(other),
        }
    }

    fn stopping(&mut self, _: &Exit, ctx: &mut Context<Self>) {
        self.shut(|to, message| ctx.core().loses(to, message));
    }
}

impl<M: Message> Handler<Published<M>> for Relay<M> {
    fn handle(&mut self, Published(msg): Published<M>, ctx: &mut Context<Self>) {
        if self.is_over {
            // From a publisher that had not seen the end.
            ctx.core().loses(self.to.id(), type_name::<M>());
        } else {
            self.deliver(msg, ctx);
        }
    }
}

impl<M: Message> Handler<Look> for Relay<M> {
    fn handle(&mut self, _: Look, ctx: &mut Context<Self>) {
        if self.look(ctx) && !notice(ctx.core(), const { &handling::notice::<Self, Look>() }, Look) {
            while self.look(ctx) {}
        }
    }
}

impl<M: Message> Drop for Relay<M> {
    /// Where there is no `stopping`: it was not started.
    fn drop(&mut self) {
        self.shut(lost);
    }
}

impl<M: Message> Handler<EndOfTopic> for Relay<M> {
    fn handle(&mut self, _: EndOfTopic, ctx: &mut Context<Self>) {
        self.say(Lagged::Unsubscribed, ctx);
        self.is_over = true;
        ctx.stop();
    }
}

impl<M: Message> Clone for Topic<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Message<Reply = ()> + Clone> Default for Topic<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Message> fmt::Debug for Topic<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic").field("subscribers", &lock(&self.0).members.len()).finish_non_exhaustive()
    }
}
