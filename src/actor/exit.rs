//! Why actors end, and what a send can answer.

#![forbid(unsafe_code)]

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::ops::Deref;

use crate::actor::Returned;
use crate::task::Cancelled;

/// Says why an actor ended.
///
/// What turns into a `Box<dyn Error + Send + Sync>` by `?` turns into [`Exit::Error`], too: any error that may go to another thread,
/// such a box, an `anyhow::Error`, a text. So [`Actor::started`](crate::actor::Actor::started) may simply use `?`, and
/// [`Context::fail`](crate::actor::Context::fail) takes them all. Of an error that has a source, the text has both:
/// `reading the config: no such file`. (For this reason `Exit` is not an [`Error`](std::error::Error) itself.)
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
#[derive(PartialEq, Eq, Debug)]
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
    /// It is a supervisor, and a child of it could not be started, or has died more often than the supervisor bears.
    Escalated {
        /// The child's name.
        child: Box<str>,
        /// Why the child ended for the last time.
        last: Box<Exit>,
    },
}

impl Clone for Exit {
    /// Nearly all are without a text: what is cloned for each that waits for an end costs next to nothing then.
    #[inline]
    fn clone(&self) -> Self {
        match self {
            Exit::Normal => Exit::Normal,
            Exit::Shutdown => Exit::Shutdown,
            Exit::Killed => Exit::Killed,
            Exit::Panic(_) | Exit::Error(_) | Exit::Escalated { .. } => self.clone_told(),
        }
    }
}

impl Exit {
    /// Of one that tells more.
    #[cold]
    #[inline(never)]
    fn clone_told(&self) -> Self {
        match self {
            Exit::Panic(text) => Exit::Panic(text.clone()),
            Exit::Error(text) => Exit::Error(text.clone()),
            Exit::Escalated { child, last } => Exit::Escalated { child: child.clone(), last: last.clone() },
            Exit::Normal | Exit::Shutdown | Exit::Killed => unreachable!("it tells no more"),
        }
    }

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
            Exit::Escalated { child, last } => write!(f, "gave up its child {child:?}, which {last}"),
        }
    }
}

const _: () = assert!(size_of::<Exit>() <= 32);

impl<E: Into<Box<dyn Error + Send + Sync>>> From<E> for Exit {
    fn from(error: E) -> Self {
        let error = error.into();
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(why) = source {
            let why_text = why.to_string();
            // Many an error says what its source says.
            if !text.contains(&why_text) {
                text = format!("{text}: {why_text}");
            }
            source = why.source();
        }
        Exit::Error(text)
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

/// Says why a message was not handled, or why its reply did not come.
///
/// The message comes back wherever its handler has not started, in a [`Returned`].
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
///     Err(SendError::Closed(order)) => assert_eq!(order.into_inner().0, 7), // send it elsewhere
///     other => panic!("{other:?}"),
/// }
/// ```
#[non_exhaustive]
pub enum SendError<M> {
    /// The actor has ended or is stopping; the message was not handled.
    Closed(Returned<M>),
    /// The mailbox is full, and the call or the mailbox does not wait.
    Full(Returned<M>),
    /// The deadline has passed. `Some`: the handler has not started and never will, so trying again is safe.
    Timeout(Option<Returned<M>>),
    /// The caller would have waited in a cycle of actors that wait for each other; where deadlocks are named ([`sync`](crate::sync)), also of actors and threads that wait for
    /// each other and for each other's locks.
    Deadlock {
        /// The message, if its handler has not started.
        msg: Option<Returned<M>>,
        /// The actors of the cycle: the first would wait for the second, and so on, the last for the first, but for threads between them that are no actors.
        cycle: Cycle,
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
    /// # use green::actor::Returned;
    /// assert_eq!(SendError::Full(Returned::new("hello")).into_message(), Some("hello"));
    /// assert_eq!(SendError::<&str>::NoReply.into_message(), None);
    /// ```
    pub fn into_message(self) -> Option<M> {
        match self {
            SendError::Closed(msg) | SendError::Full(msg) => Some(msg.into_inner()),
            SendError::Timeout(msg) | SendError::Deadlock { msg, .. } => msg.map(Returned::into_inner),
            SendError::Died(_) | SendError::NoReply => None,
        }
    }
}

impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let back = |msg: &Option<Returned<M>>| if msg.is_some() { "Some(..)" } else { "None" };
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
            SendError::Deadlock { cycle, .. } => write!(f, "waiting would close a cycle: {cycle}"),
            SendError::Died(exit) => write!(f, "the actor died while it handled the message: it {exit}"),
            SendError::NoReply => f.write_str("the actor dropped the reply that it owed"),
        }
    }
}

impl<M> Error for SendError<M> {}

/// Says why [`join_timeout`](crate::actor::Addr::join_timeout) did not wait for the actor's end.
///
/// ```
/// use green::actor::{Actor, JoinError};
/// # struct Idle;
/// # impl Actor for Idle {}
/// let idle = Idle.start();
/// assert_eq!(idle.join_timeout(std::time::Duration::ZERO), Err(JoinError::Timeout));
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum JoinError {
    /// The deadline has passed.
    Timeout,
    /// The caller would have waited in a cycle of actors that all join each other. Where their runtime is over they may end on one stack: there one that ends waits for
    /// what it has told to end.
    Deadlock {
        /// The actors of the cycle: the first would wait for the second, and so on, the last for the first.
        cycle: Cycle,
    },
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Timeout => f.write_str("the actor has not ended in time"),
            JoinError::Deadlock { cycle } => write!(f, "waiting would close a cycle: {cycle}"),
        }
    }
}

impl Error for JoinError {}

/// The actors of a cycle in which each would wait for the next, and the last for the first: of [`SendError::Deadlock`](crate::actor::SendError::Deadlock)
/// and [`JoinError::Deadlock`](crate::actor::JoinError::Deadlock). A slice of their numbers; its text has also the names of those that
/// [have one](crate::actor::Builder::name).
///
/// ```
/// use green::actor::{Actor, Builder, Context, Handler, JoinError, Message};
/// # use std::time::Duration;
/// struct Me;
/// impl Actor for Me {}
/// struct JoinYourself;
/// impl Message for JoinYourself { type Reply = JoinError; }
/// impl Handler<JoinYourself> for Me {
///     fn handle(&mut self, _: JoinYourself, ctx: &mut Context<Self>) -> JoinError {
///         ctx.addr().join_timeout(Duration::from_secs(1)).unwrap_err()
///     }
/// }
/// let me = Builder::new().name("me").start(Me).unwrap();
/// let JoinError::Deadlock { cycle } = me.send(JoinYourself).unwrap() else { panic!() };
/// assert_eq!(*cycle, [me.id()]);
/// assert_eq!(cycle.to_string(), format!("{0} \"me\" waits for {0} \"me\"", me.id()));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Cycle(Box<CycleMembers>);

#[derive(Clone, PartialEq, Eq, Default)]
struct CycleMembers {
    ids: Vec<ActorId>,
    names: Vec<Option<Box<str>>>,
}

impl Cycle {
    pub(crate) fn new(members: impl Iterator<Item = (ActorId, Option<Box<str>>)>) -> Self {
        let (ids, names) = members.unzip();
        Self(Box::new(CycleMembers { ids, names }))
    }

    /// The numbers, with the names.
    pub(crate) fn members(&self) -> impl ExactSizeIterator<Item = (u64, Option<&str>)> + Clone {
        self.0.ids.iter().zip(&self.0.names).map(|(id, name)| (id.0, name.as_deref()))
    }
}

impl Deref for Cycle {
    type Target = [ActorId];

    fn deref(&self) -> &[ActorId] {
        &self.0.ids
    }
}

impl fmt::Debug for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = || self.0.names.iter();
        for (at, (id, name)) in self.iter().zip(names()).chain(self.iter().zip(names()).take(1)).enumerate() {
            write!(f, "{}{id}", if at == 0 { "" } else { " waits for " })?;
            name.as_ref().map_or(Ok(()), |name| write!(f, " {name:?}"))?;
        }
        Ok(())
    }
}
