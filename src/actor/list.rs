//! The list of all actors of a runtime.

#![forbid(unsafe_code)]

use std::fmt;

use crate::actor::engine::cell::Core;
use crate::actor::engine::mailbox_state::Stage;
use crate::actor::engine::residents;
use crate::actor::{ActorId, ChildState};
use crate::rt::default::with_shared;
use crate::rt::runtime::Runtime;
use crate::sched::Shared;

/// Shows an actor: what [`actors`] and [`Runtime::actors`] return. As text it is one line.
///
/// ```
/// use green::actor::{Actor, ActorInfo, Builder, ChildState, actors};
/// struct Db;
/// impl Actor for Db {}
/// let db = Builder::new().name("db").start(Db)?;
/// let info: ActorInfo = actors().into_iter().find(|actor| actor.id == db.id()).unwrap();
/// assert_eq!((info.name.as_deref(), info.queued), (Some("db"), 0));
/// assert!(info.type_name.ends_with("Db"));
/// println!("{info}");
/// // actor 7 "db" (bank::Db): runs; 0 queued
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ActorInfo {
    /// Its number.
    pub id: ActorId,
    /// The name that it was started with, if any.
    pub name: Option<Box<str>>,
    /// The type of its value, by [`type_name`](std::any::type_name).
    pub type_name: &'static str,
    /// What it is about. `Waits`: it is a supervisor's child, and will be started again.
    pub state: ChildState,
    /// How many messages wait in its mailbox.
    pub queued: usize,
    /// What its handler waits for, by the words of [`Thread::waits_for`](crate::thread::Thread::waits_for), if it does.
    pub waits_for: Option<&'static str>,
    /// The actor that it waits for: for a reply, for room, or for its end.
    pub waits_for_actor: Option<ActorId>,
}

impl ActorInfo {
    /// `None`: it has ended.
    pub(super) fn of(actor: &Core) -> Option<Self> {
        let (queued, state) = {
            let mailbox = actor.mailbox.lock();
            if mailbox.is_dead() {
                return None;
            }
            let state = match mailbox.stage() {
                Stage::Fresh => Some(ChildState::Starts),
                Stage::Started => Some(ChildState::Runs),
                Stage::Leaves | Stage::Vacant | Stage::Buried | Stage::Over => None,
            };
            (mailbox.queued(), state)
        };
        let waits = actor.waits_for();
        Some(Self {
            id: actor.id(),
            name: actor.header.name().map(Into::into),
            type_name: actor.header.vtable.type_name.map_or("", |name| name()),
            state: state.unwrap_or_else(|| ChildState::Waits(actor.why_closed())),
            queued,
            waits_for: waits.map(|(what, _)| what),
            waits_for_actor: waits.and_then(|(_, actor)| actor),
        })
    }
}

impl fmt::Display for ActorInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, name, type_name, state, queued, waits_for, waits_for_actor } = self;
        write!(f, "{id}")?;
        name.as_ref().map_or(Ok(()), |name| write!(f, " {name:?}"))?;
        write!(f, " ({type_name}): {state}; {queued} queued")?;
        waits_for.map_or(Ok(()), |what| write!(f, ", waits for {what}"))?;
        waits_for_actor.map_or(Ok(()), |actor| write!(f, " of {actor}"))
    }
}

/// Returns all actors of the caller's runtime, or of the default one, that have not ended, in the order of their numbers.
///
/// It is a picture of a moment, taken without waiting for any of them. Its cost grows with their number, and with
/// that of all that there were at one time; a few at a time are counted, while others that start or end wait. Also supervisors are in it, and the actors that are parts of something else: workers
/// of pools, adapters.
///
/// It needs membarrier(2) of Linux, or else interrupts the workers. A program that forbids that call when it has actors, and itself handles SIGURG, may
/// get none, and a line on standard error.
///
/// ```
/// use green::actor::{Actor, actors};
/// struct Idle;
/// impl Actor for Idle {}
/// let idle = Idle.start();
/// assert!(actors().iter().any(|actor| actor.id == idle.id()));
/// ```
#[must_use]
pub fn actors() -> Vec<ActorInfo> {
    with_shared(|shared| Ok(all(shared))).unwrap_or_default()
}

impl Runtime {
    /// Returns all actors of this runtime that have not ended: [`actors`].
    ///
    /// ```
    /// use green::actor::{Actor, Builder};
    /// struct Idle;
    /// impl Actor for Idle {}
    /// let runtime = green::Runtime::new()?;
    /// let idle = Builder::new().runtime(&runtime).start(Idle)?;
    /// assert_eq!(runtime.actors()[0].id, idle.id());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn actors(&self) -> Vec<ActorInfo> {
        all(&self.shared)
    }
}

fn all(shared: &Shared) -> Vec<ActorInfo> {
    let residents = residents::all_or_none(shared);
    let mut all: Vec<_> = residents.iter().filter_map(|actor| ActorInfo::of(actor.core())).collect();
    all.sort_by_key(|actor| actor.id);
    all
}
