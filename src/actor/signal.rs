//! What the system tells an actor, ahead of its messages.

#![forbid(unsafe_code)]

use std::sync::Arc;

use crate::actor::engine::ties::Tie;
use crate::actor::{ActorId, Exit};

/// Identifies one [`monitor`](crate::actor::Context::monitor) call, for
/// [`demonitor`](crate::actor::Context::demonitor).
///
/// ```
/// use green::actor::{Actor, ActorId, Addr, Context, MonitorRef};
///
/// struct Worker;
/// impl Actor for Worker {}
/// struct Watcher { watched: Option<MonitorRef> }
/// impl Watcher {
///     fn watch(&mut self, other: &Addr<Worker>, ctx: &mut Context<Self>) {
///         self.watched = Some(ctx.monitor(other));
///     }
///     fn forget(&mut self, ctx: &mut Context<Self>) {
///         self.watched.take().map(|monitor| ctx.demonitor(monitor));
///     }
/// }
/// impl Actor for Watcher {}
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct MonitorRef(pub(crate) u64);

/// Tells that a monitored actor has ended: see [`Context::monitor`](crate::actor::Context::monitor).
///
/// ```
/// use green::actor::{Actor, Context, Down, Signal};
///
/// struct Watcher;
/// impl Actor for Watcher {
///     fn signal(&mut self, signal: Signal, ctx: &mut Context<Self>) {
///         match signal {
///             Signal::Down(Down { actor, name: Some(name), reason, .. }) => eprintln!("{name} ({actor}) {reason}"),
///             other => ctx.default_signal(other),
///         }
///     }
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Down {
    /// What [`monitor`](crate::actor::Context::monitor) returned.
    pub monitor: MonitorRef,
    /// The actor that ended.
    pub actor: ActorId,
    /// The name that [`Builder::name`](crate::actor::Builder::name) gave to it.
    pub name: Option<Arc<str>>,
    /// Why it ended.
    pub reason: Exit,
}

/// Tells an actor what has happened around it, ahead of its messages: the argument of
/// [`Actor::signal`](crate::actor::Actor::signal).
///
/// ```
/// use green::actor::{Actor, Context, Signal};
///
/// struct Team { lost: u32, streams: u32 }
/// impl Actor for Team {
///     fn signal(&mut self, signal: Signal, ctx: &mut Context<Self>) {
///         match signal {
///             Signal::Down(down) if down.reason.is_normal() => {}
///             Signal::Down(_) => self.lost += 1,
///             Signal::StreamEnded { .. } => self.streams -= 1,
///             other => ctx.default_signal(other), // links and helpers
///         }
///     }
/// }
/// # Team { lost: 0, streams: 0 }.start();
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Signal {
    /// A monitored actor has ended.
    Down(Down),
    /// A linked actor has ended. For actors that [trap exits](crate::actor::Actor::TRAPS_EXITS).
    LinkExit {
        /// The actor that ended.
        actor: ActorId,
        /// Its name, if it has one.
        name: Option<Arc<str>>,
        /// Why.
        reason: Exit,
    },
    /// A helper thread ([`Context::spawn`](crate::actor::Context::spawn)), a stream that is attached
    /// ([`Context::attach`](crate::actor::Context::attach)), or what makes the messages of an interval
    /// ([`Context::interval`](crate::actor::Context::interval)) has panicked. For actors that
    /// [trap exits](crate::actor::Actor::TRAPS_EXITS).
    HelperPanicked {
        /// An [`Exit::Panic`] with the panic's message.
        reason: Exit,
    },
    /// A stream that was attached has given its last message, or has failed. It comes after all its messages, in their order, and
    /// not ahead of messages as the others do.
    StreamEnded {
        /// The name of the type of its messages.
        message: &'static str,
        /// Why it has failed ([`Context::attach_results`](crate::actor::Context::attach_results)), or could not go on: its actor has
        /// refused a message.
        error: Option<Exit>,
    },
    /// No message has come for [`Actor::RECEIVE_TIMEOUT`](crate::actor::Actor::RECEIVE_TIMEOUT).
    ReceiveTimeout,
}

impl Signal {
    /// Is it for actors that trap exits only?
    pub(crate) fn is_trapped(&self) -> bool {
        matches!(self, Signal::LinkExit { .. } | Signal::HelperPanicked { .. })
    }

    /// The half of a tie that the signal is about.
    pub(crate) fn tie(&self) -> Option<Tie> {
        match self {
            Signal::Down(down) => Some(Tie::Watches(down.monitor.0)),
            Signal::LinkExit { actor, .. } => Some(Tie::Linked(actor.0)),
            Signal::HelperPanicked { .. } | Signal::StreamEnded { .. } | Signal::ReceiveTimeout => None,
        }
    }
}
