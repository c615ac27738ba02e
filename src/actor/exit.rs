//! Why actors end, and what a send can answer.

#![forbid(unsafe_code)]

use std::any::Any;
use std::fmt;

use crate::task::Cancelled;

/// Says why an actor ended.
///
/// Any error turns into [`Exit::Error`] by `?`, so [`Actor::started`](crate::actor::Actor::started) may simply use it.
/// (For that reason `Exit` is not an [`Error`](std::error::Error) itself.)
///
/// ```
/// use green::actor::{Actor, Context, Exit};
///
/// struct Config { text: &'static str }
/// impl Actor for Config {
///     fn started(&mut self, _: &mut Context<Self>) -> Result<(), Exit> {
///         let port: u16 = self.text.parse()?;
///         assert_ne!(port, 0);
///         Ok(())
///     }
/// }
/// let exit = Config { text: "http" }.start().join();
/// assert!(matches!(&exit, Exit::Error(why) if why.contains("invalid digit")));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Exit {
    /// By itself: it stopped itself, or its last address is gone and its mailbox is empty.
    Normal,
    /// It was stopped from outside, or its runtime has ended.
    Shutdown,
    /// It was killed.
    Killed,
    /// A handler or hook panicked, with this message.
    Panic(String),
    /// It failed: [`Context::fail`](crate::actor::Context::fail), or `started` gave this error.
    Error(String),
}

impl Exit {
    /// The cause that the payload of an unwinding stands for. `None`: the thread was cancelled.
    pub(crate) fn of_payload(payload: &(dyn Any + Send)) -> Option<Exit> {
        if payload.is::<Cancelled>() {
            return None;
        }
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Some(Exit::Panic(text.unwrap_or_else(|| "a panic without a text".to_owned())))
    }

    /// Returns whether the actor ended as it was meant to: by itself, or because it was stopped.
    ///
    /// ```
    /// use green::actor::Exit;
    /// assert!(Exit::Shutdown.is_normal());
    /// assert!(!Exit::Killed.is_normal());
    /// ```
    #[must_use]
    pub fn is_normal(&self) -> bool {
        matches!(self, Exit::Normal | Exit::Shutdown)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Normal => f.write_str("ended by itself"),
            Exit::Shutdown => f.write_str("was stopped"),
            Exit::Killed => f.write_str("was killed"),
            Exit::Panic(text) => write!(f, "panicked: {text}"),
            Exit::Error(text) => write!(f, "failed: {text}"),
        }
    }
}

impl<E: std::error::Error> From<E> for Exit {
    fn from(error: E) -> Self {
        Exit::Error(error.to_string())
    }
}

/// Identifies an actor in this process: a number that is never used twice.
///
/// ```
/// use green::actor::Actor;
/// struct Idle;
/// impl Actor for Idle {}
/// let idle = Idle.start();
/// assert!(idle.id().to_string().starts_with("actor "));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ActorId(pub(crate) u64);

impl fmt::Display for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "actor {}", self.0)
    }
}

/// Identifies one [`monitor`](crate::actor::Context::monitor) call, for
/// [`demonitor`](crate::actor::Context::demonitor).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MonitorRef(pub(crate) u64);

/// Tells that a monitored actor has ended: see [`Context::monitor`](crate::actor::Context::monitor).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Down {
    /// What [`monitor`](crate::actor::Context::monitor) returned.
    pub monitor: MonitorRef,
    /// The actor that ended.
    pub actor: ActorId,
    /// Why it ended.
    pub reason: Exit,
}

/// Tells an actor what has happened around it, ahead of its messages: the argument of
/// [`Actor::signal`](crate::actor::Actor::signal).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Signal {
    /// A monitored actor has ended.
    Down(Down),
    /// A linked actor has ended.
    LinkExit {
        /// The actor that ended.
        actor: ActorId,
        /// Why.
        reason: Exit,
    },
    /// A helper thread ([`Context::spawn`](crate::actor::Context::spawn)), or a stream that is attached
    /// ([`Context::attach`](crate::actor::Context::attach)), has panicked.
    HelperPanicked {
        /// An [`Exit::Panic`] with the panic's message.
        reason: Exit,
    },
    /// A stream that was attached has given its last message. It comes after all of them, in their order, and not ahead of
    /// messages as the others do.
    StreamEnded {
        /// The name of the type of its messages.
        message: &'static str,
    },
}

/// Says why a message was not handled, or why its reply did not come.
///
/// The message comes back wherever its handler has not started.
///
/// ```
/// use green::actor::{Actor, Context, Handler, Message, SendError};
///
/// struct Shop;
/// impl Actor for Shop {}
/// struct Order(u32);
/// impl Message for Order { type Reply = (); }
/// impl Handler<Order> for Shop {
///     fn handle(&mut self, _: Order, _: &mut Context<Self>) {}
/// }
///
/// let shop = Shop.start();
/// shop.stop();
/// match shop.send(Order(7)) {
///     Err(SendError::Closed(order)) => assert_eq!(order.0, 7), // send it elsewhere
///     other => panic!("{other:?}"),
/// }
/// ```
#[non_exhaustive]
pub enum SendError<M> {
    /// The actor has ended or is stopping; the message was not handled.
    Closed(M),
    /// The mailbox is full, and the call or the mailbox does not wait.
    Full(M),
    /// The deadline has passed. `Some`: the handler has not started and never will, so trying again is safe.
    Timeout(Option<M>),
    /// The caller would have waited in a cycle of actors that wait for each other.
    Deadlock {
        /// The message, if its handler has not started.
        msg: Option<M>,
        /// The actors of the cycle: the first would wait for the second, and so on, the last for the first.
        cycle: Vec<ActorId>,
    },
    /// The handler had started, and the actor died: the cause.
    Died(Exit),
    /// The handler put its reply off, and the [`Deferred`](crate::actor::Deferred) was dropped unanswered.
    NoReply,
}

impl<M> SendError<M> {
    /// Returns the message, if it came back.
    ///
    /// ```
    /// use green::actor::SendError;
    /// assert_eq!(SendError::Full("hello").into_message(), Some("hello"));
    /// assert_eq!(SendError::<&str>::NoReply.into_message(), None);
    /// ```
    pub fn into_message(self) -> Option<M> {
        match self {
            SendError::Closed(msg) | SendError::Full(msg) => Some(msg),
            SendError::Timeout(msg) | SendError::Deadlock { msg, .. } => msg,
            SendError::Died(_) | SendError::NoReply => None,
        }
    }
}

impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let back = |msg: &Option<M>| if msg.is_some() { "Some(..)" } else { "None" };
        match self {
            SendError::Closed(_) => f.write_str("Closed(..)"),
            SendError::Full(_) => f.write_str("Full(..)"),
            SendError::Timeout(msg) => write!(f, "Timeout({})", back(msg)),
            SendError::Deadlock { msg, cycle } => write!(f, "Deadlock {{ msg: {}, cycle: {cycle:?} }}", back(msg)),
            SendError::Died(exit) => write!(f, "Died({exit:?})"),
            SendError::NoReply => f.write_str("NoReply"),
        }
    }
}

impl<M> fmt::Display for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SendError::Closed(_) => f.write_str("the actor has ended or is stopping"),
            SendError::Full(_) => f.write_str("the actor's mailbox is full"),
            SendError::Timeout(Some(_)) => f.write_str("no reply in time: the message was not handled"),
            SendError::Timeout(None) => f.write_str("no reply in time: the handler has started"),
            SendError::Deadlock { cycle, .. } => write_cycle(f, cycle),
            SendError::Died(exit) => write!(f, "the actor died while it handled the message: it {exit}"),
            SendError::NoReply => f.write_str("the actor dropped the reply that it owed"),
        }
    }
}

impl<M> std::error::Error for SendError<M> {}

/// Says why [`join_timeout`](crate::actor::Addr::join_timeout) did not wait for the actor's end.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum JoinError {
    /// The deadline has passed.
    Timeout,
    /// The caller would have waited in a cycle of actors that all join each other.
    Deadlock {
        /// The actors of the cycle: the first would wait for the second, and so on, the last for the first.
        cycle: Vec<ActorId>,
    },
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Timeout => f.write_str("the actor has not ended in time"),
            JoinError::Deadlock { cycle } => write_cycle(f, cycle),
        }
    }
}

impl std::error::Error for JoinError {}

fn write_cycle(f: &mut fmt::Formatter<'_>, cycle: &[ActorId]) -> fmt::Result {
    f.write_str("waiting would close a cycle:")?;
    cycle.iter().try_for_each(|id| write!(f, " {id} waits for"))?;
    cycle.first().map_or(Ok(()), |id| write!(f, " {id}"))
}

/// Chooses what becomes of a message that finds the mailbox full: see [`Mailbox::overflow`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Overflow {
    /// The sender waits for room, first come, first served.
    #[default]
    Block,
    /// The sender gets the message back: [`SendError::Full`].
    Reject,
    /// The message that has waited longest is dropped to make room. If it was told, it is a [dead
    /// letter](crate::actor::dead_letters); the sender of an ask gets [`SendError::Full`].
    DropOldest,
    /// The new message is dropped. If it was told, it is a dead letter, and its sender is not told; the sender of an
    /// ask gets [`SendError::Full`].
    DropNewest,
}

/// Sets how many messages may wait for an actor, and what happens to one more.
///
/// It is the value of [`Actor::MAILBOX`](crate::actor::Actor::MAILBOX), or given to
/// [`Builder::mailbox`](crate::actor::Builder::mailbox). What the system itself sends does not count against it: stop,
/// kill, signals and timers; nor do `notify`, forwarded and unstashed messages.
///
/// ```
/// use green::actor::{Actor, Mailbox, Overflow};
///
/// struct Telemetry;
/// impl Actor for Telemetry {
///     // The newest values matter.
///     const MAILBOX: Mailbox = Mailbox::bounded(100).overflow(Overflow::DropOldest);
/// }
/// # let _ = Telemetry::MAILBOX;
/// ```
///
/// A bound of zero does not compile: a mailbox that holds nothing would make every `tell` an ask.
///
/// ```compile_fail
/// const RENDEZVOUS: green::actor::Mailbox = green::actor::Mailbox::bounded(0);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mailbox {
    pub(crate) capacity: u32,
    pub(crate) overflow: Overflow,
}

impl Mailbox {
    /// Makes a mailbox for exactly `n` waiting messages. The message that is being handled does not count.
    ///
    /// A sender that finds it full waits, unless [`overflow`](Self::overflow) says otherwise.
    ///
    /// ```
    /// use green::actor::{Actor, Builder, Context, Exit, Handler, Mailbox, Message};
    ///
    /// # struct Park;
    /// # impl Actor for Park {
    /// #     fn started(&mut self, _: &mut Context<Self>) -> Result<(), Exit> { green::thread::park(); Ok(()) }
    /// # }
    /// # struct Ping;
    /// # impl Message for Ping { type Reply = (); }
    /// # impl Handler<Ping> for Park { fn handle(&mut self, _: Ping, _: &mut Context<Self>) {} }
    /// let busy = Builder::new().mailbox(Mailbox::bounded(2)).start(Park).unwrap(); // handles nothing
    /// assert!(busy.try_tell(Ping).is_ok());
    /// assert!(busy.try_tell(Ping).is_ok());
    /// assert!(busy.try_tell(Ping).is_err());
    /// # busy.kill();
    /// ```
    ///
    /// # Panics
    ///
    /// If `n` is zero or 2³² - 1 and more; in a `const` that is an error of the compiler.
    #[must_use]
    pub const fn bounded(n: usize) -> Self {
        assert!(n > 0, "a mailbox has to hold one message at least");
        assert!(n < u32::MAX as usize, "a mailbox holds less than 2^32 messages");
        Self { capacity: n as u32, overflow: Overflow::Block }
    }

    /// Makes a mailbox for as many waiting messages as there is memory for. A send never waits for room.
    ///
    /// ```
    /// use green::actor::{Actor, Mailbox};
    /// struct Log;
    /// impl Actor for Log {
    ///     const MAILBOX: Mailbox = Mailbox::unbounded();
    /// }
    /// # let _ = Log::MAILBOX;
    /// ```
    #[must_use]
    pub const fn unbounded() -> Self {
        Self { capacity: u32::MAX, overflow: Overflow::Block }
    }

    /// Chooses what happens to a message that finds the mailbox full; without this call, [`Overflow::Block`].
    ///
    /// ```
    /// use green::actor::{Mailbox, Overflow};
    /// const NEWEST: Mailbox = Mailbox::bounded(1).overflow(Overflow::DropOldest);
    /// # let _ = NEWEST;
    /// ```
    #[must_use]
    pub const fn overflow(self, overflow: Overflow) -> Self {
        Self { overflow, ..self }
    }
}
