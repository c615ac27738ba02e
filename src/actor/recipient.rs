//! Addresses that know the messages and not the actor.

#![forbid(unsafe_code)]

use crate::actor::address::{Addressed, impl_life};
use crate::actor::engine::cell::{Core, Strong};
use crate::actor::engine::envelope::Boxed;
use crate::actor::engine::payload::{Route, Tell};
use crate::actor::engine::weak::Weak;
use crate::actor::engine::{send, tell};
use crate::actor::{ActorId, Message, Pending, SendError};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::time::Duration;

/// What a derive would give, whatever the type parameter can do.
macro_rules! impl_clone_and_debug {
    ($Address:ident<$T:ident $(: $Bound:ident)?>, $pointer:ident, $rest:ident) => {
        impl<$T $(: $Bound)?> Clone for $Address<$T> {
            #[inline]
            fn clone(&self) -> Self {
                Self { $pointer: self.$pointer.clone(), $rest: self.$rest }
            }
        }

        impl<$T $(: $Bound)?> fmt::Debug for $Address<$T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($Address)).field(self.$pointer.core()).finish()
            }
        }
    };
}
pub(crate) use impl_clone_and_debug;

/// The same of an address that keeps its actor alive.
macro_rules! impl_eq_and_hash {
    ($Address:ident<$T:ident $(: $Bound:ident)?>) => {
        impl<$T $(: $Bound)?> PartialEq for $Address<$T> {
            fn eq(&self, other: &Self) -> bool {
                self.strong.as_ptr() == other.strong.as_ptr()
            }
        }

        impl<$T $(: $Bound)?> Eq for $Address<$T> {}

        impl<$T $(: $Bound)?> Hash for $Address<$T> {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.strong.as_ptr().hash(state);
            }
        }
    };
}
pub(crate) use impl_eq_and_hash;

/// Sends messages of type `M` to an actor of any type: what [`Addr::recipient`](crate::actor::Addr::recipient) returns.
///
/// It keeps the actor alive, and has the sending methods of [`Addr`](crate::actor::Addr). Use it where only the message matters: for
/// subscribers, or for a callee that tests replace.
///
#[doc = include_str!("docs/recipient.md")]
pub struct Recipient<M: Message> {
    strong: Strong,
    route: &'static Route<M>,
}

impl<M: Message> Recipient<M> {
    pub(crate) fn new(strong: Strong, route: &'static Route<M>) -> Self {
        Self { strong, route }
    }

    /// Sends a message, waits until it has been handled, and returns the reply: [`Addr::send`](crate::actor::Addr::send), where deadline, order
    /// and cancellation are described.
    ///
    /// ```
    #[doc = include_str!("docs/counter.md")]
    /// let sum: Recipient<Get> = Counter(4).start().recipient();
    /// assert_eq!(sum.send(Get).unwrap(), 4);
    /// ```
    ///
    /// # Errors
    ///
    /// `Closed`, `Full`, `Timeout`, `Deadlock`, `Died` or `NoReply`: see [`Addr::send`](crate::actor::Addr::send).
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    pub fn send(&self, msg: M) -> Result<M::Reply, SendError<M>> {
        send::ask(self.strong.core(), self.route, msg, None)
    }

    /// Sends a message and waits for the reply, for at most `timeout`: [`Addr::send_timeout`](crate::actor::Addr::send_timeout).
    ///
    /// ```
    #[doc = include_str!("docs/counter.md")]
    /// let sum: Recipient<Get> = Counter(4).start().recipient();
    /// assert_eq!(sum.send_timeout(Get, Duration::from_secs(1)).unwrap(), 4);
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send); `Timeout` when `timeout` has passed.
    pub fn send_timeout(&self, msg: M, timeout: Duration) -> Result<M::Reply, SendError<M>> {
        send::ask(self.strong.core(), self.route, msg, Some(timeout))
    }

    /// Sends a message and returns a [`Pending`] for the reply: [`Addr::call`](crate::actor::Addr::call). Waits only for room.
    ///
    /// ```
    #[doc = include_str!("docs/counter.md")]
    /// let sum: Recipient<Get> = Counter(4).start().recipient();
    /// assert_eq!(sum.call(Get).unwrap().wait().unwrap(), 4);
    /// ```
    ///
    /// # Errors
    ///
    /// `Closed`, `Full`, `Timeout` or `Deadlock`, always with the message.
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    pub fn call(&self, msg: M) -> Result<Pending<M>, SendError<M>> {
        send::call(self.strong.core(), self.route, msg, true)
    }

    /// Sends a message if there is room for it, and returns a [`Pending`] for the reply. Never waits.
    ///
    /// ```
    #[doc = include_str!("docs/counter.md")]
    /// let sum: Recipient<Get> = Counter(4).start().recipient();
    /// assert_eq!(sum.try_call(Get).unwrap().wait().unwrap(), 4);
    /// ```
    ///
    /// # Errors
    ///
    /// `Closed(M)`: the actor has ended or is stopping. `Full(M)`: there is no room.
    pub fn try_call(&self, msg: M) -> Result<Pending<M>, SendError<M>> {
        send::call(self.strong.core(), self.route, msg, false)
    }

    /// Sends a message from async code, on any executor: [`Addr::call_async`](crate::actor::Addr::call_async).
    ///
    /// ```
    #[doc = include_str!("docs/counter.md")]
    /// let sum: Recipient<Get> = Counter(4).start().recipient();
    /// let reply = futures::executor::block_on(async { sum.call_async(Get).await?.await });
    /// assert_eq!(reply.unwrap(), 4);
    /// ```
    ///
    /// # Errors
    ///
    /// `Closed(M)`: the actor has ended or is stopping. `Full(M)`: the mailbox is full, and rejects or drops.
    pub fn call_async(&self, msg: M) -> impl Future<Output = Result<Pending<M>, SendError<M>>> + Send + use<M> {
        send::call_async(self.strong.clone(), self.route, msg)
    }

    /// Sends a message from async code and asks for no reply: [`Addr::tell_async`](crate::actor::Addr::tell_async).
    ///
    #[doc = include_str!("docs/recipient_tell_async.md")]
    pub fn tell_async(&self, msg: M) -> impl Future<Output = Result<(), SendError<M>>> + Send + use<M> {
        tell::tell_async(self.strong.clone(), Boxed::new(self.route.tell, Tell(msg)))
    }

    /// Sends a message and returns without waiting for its handler: [`Addr::tell`](crate::actor::Addr::tell). Waits only for room.
    ///
    #[doc = include_str!("docs/recipient_tell.md")]
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    pub fn tell(&self, msg: M) -> Result<(), SendError<M>> {
        tell::tell(self.strong.core(), Boxed::new(self.route.tell, Tell(msg)), Some(self.route.ask_timeout))
    }

    /// Sends a message and waits for room for at most `timeout`, whether the sender is an actor or not; asks for no reply.
    ///
    /// A deadline that the caller inherits from its own handler still holds. Everything else is as for `tell`.
    ///
    /// ```
    #[doc = include_str!("docs/counter.md")]
    /// let counter = Builder::new().mailbox(Mailbox::bounded(1)).start(Counter(0)).unwrap();
    /// let counter = counter.recipient::<Add>();
    /// counter.tell_timeout(Add(5), Duration::from_secs(1)).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`tell`](Self::tell); `Timeout` with the message when `timeout` has passed.
    pub fn tell_timeout(&self, msg: M, timeout: Duration) -> Result<(), SendError<M>> {
        tell::tell_within(self.strong.core(), Boxed::new(self.route.tell, Tell(msg)), timeout)
    }

    /// Sends a message if there is room for it; asks for no reply. Never waits.
    ///
    /// ```
    #[doc = include_str!("docs/counter.md")]
    /// let add: Recipient<Add> = Counter(0).start().recipient();
    /// add.try_tell(Add(5)).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// `Closed(M)`: the actor has ended or is stopping. `Full(M)`: there is no room.
    pub fn try_tell(&self, msg: M) -> Result<(), SendError<M>> {
        tell::tell(self.strong.core(), Boxed::new(self.route.tell, Tell(msg)), None)
    }

    pub(crate) fn parts(&self) -> (&Core, &'static Route<M>) {
        (self.strong.core(), self.route)
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
}

impl<M: Message> Addressed for Recipient<M> {
    fn core(&self) -> &Core {
        self.strong.core()
    }
}

impl_life!(Recipient<M: Message>);
impl_clone_and_debug!(Recipient<M: Message>, strong, route);
impl_eq_and_hash!(Recipient<M: Message>);

/// Refers to a recipient without keeping its actor alive: what [`Recipient::downgrade`] returns.
///
/// A list of subscribers holds these, so that being subscribed keeps no actor alive.
///
/// ```
#[doc = include_str!("docs/counter.md")]
/// let counter = Counter(4).start();
/// let weak: WeakRecipient<Get> = counter.recipient().downgrade();
/// assert_eq!(weak.upgrade().unwrap().send(Get).unwrap(), 4);
/// drop(counter);
/// assert!(weak.upgrade().is_none());
/// ```
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
    ///
    /// ```
    #[doc = include_str!("docs/counter.md")]
    /// let counter = Counter(0).start();
    /// assert_eq!(counter.recipient::<Get>().downgrade().id(), counter.id());
    /// ```
    #[must_use]
    pub fn id(&self) -> ActorId {
        self.weak.core().id()
    }
}

impl_clone_and_debug!(WeakRecipient<M: Message>, weak, route);
