//! What can be seen of a supervisor and its children: as data and as text.

#![forbid(unsafe_code)]

use std::fmt;
use std::time::Duration;

use crate::actor::engine::cell::Core;
use crate::actor::supervisor::table::{ChildEntry, Table};
use crate::actor::supervisor::watch::{Life, LifeStage};
use crate::actor::{ActorId, Exit};
use crate::sys::clock::now_ns;

/// Says what an actor of a [`Tree`] is about.
///
/// ```
/// use green::actor::{ChildState, Supervisor};
/// let sup = Supervisor::dynamic().start()?;
/// assert_eq!(sup.tree().state, ChildState::Runs);
/// # Ok::<(), green::actor::StartError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ChildState {
    /// It is in `started`, or its factory is.
    Starts,
    /// It handles messages, or rests.
    Runs,
    /// It has died of this, and will be started again.
    Waits(Exit),
    /// It has ended so, and is not started again by itself.
    Ended(Exit),
}

impl fmt::Display for ChildState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChildState::Starts => f.write_str("starts"),
            ChildState::Runs => f.write_str("runs"),
            ChildState::Waits(exit) => write!(f, "waits for its restart: it {exit}"),
            ChildState::Ended(exit) => exit.fmt(f),
        }
    }
}

/// Shows a supervisor, or one of its children: what [`SupervisorAddr::tree`](crate::actor::SupervisorAddr::tree) returns.
///
/// It is a picture of a moment, taken without waiting for anybody; the actors go on meanwhile. As text it is one line for each actor, a
/// child indented below its supervisor.
///
#[doc = include_str!("docs/tree.md")]
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Tree {
    /// The child's name, or that of the supervisor, if it has one.
    pub name: Option<Box<str>>,
    /// The actor, if it has ever started.
    pub id: Option<ActorId>,
    /// What it is about.
    pub state: ChildState,
    /// How many messages wait in its mailbox.
    pub queued: usize,
    /// How often it was to be started again because it had died: not because a sibling had.
    pub restarts: u32,
    /// How long ago its last start began, if it runs; that of a supervisor began before those of its children.
    pub uptime: Option<Duration>,
    /// What its handler waits for, by the words of [`Thread::waits_for`](crate::thread::Thread::waits_for), if it does.
    pub waits_for: Option<&'static str>,
    /// The actor that it waits for: for a reply, for room, or for its end.
    pub waits_for_actor: Option<ActorId>,
    /// Of a supervisor: its children, in the order of their starts.
    pub children: Vec<Tree>,
}

impl Tree {
    /// Finds a child by its name, at any depth, the first of them first.
    ///
    /// ```
    /// # use green::actor::{Actor, Child, Supervisor};
    /// # struct Idle;
    /// # impl Actor for Idle {}
    /// let inner = || Supervisor::one_for_one().child(Child::new("idle", || Idle));
    /// let sup = Supervisor::one_for_one().child(Child::supervisor("inner", inner)).start()?;
    /// assert_eq!(sup.tree().find("idle").unwrap().restarts, 0);
    /// # Ok::<(), green::actor::StartError>(())
    /// ```
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Tree> {
        let is_it = |child: &&Tree| child.name.as_deref() == Some(name);
        self.children.iter().find(is_it).or_else(|| self.children.iter().find_map(|child| child.find(name)))
    }

    fn of(actor: Option<&Core>, table: Option<&Table>) -> Self {
        let waits = actor.and_then(Core::waits_for);
        let children = table.map(|table| table.entries().iter().map(Tree::of_child).collect());
        Self {
            name: actor.and_then(|actor| actor.header.name()).map(Into::into),
            id: actor.map(Core::id),
            state: ChildState::Runs,
            queued: actor.map_or(0, |actor| actor.mailbox.lock().queued()),
            restarts: 0,
            uptime: None,
            waits_for: waits.map(|(what, _)| what),
            waits_for_actor: waits.and_then(|(_, actor)| actor),
            children: children.unwrap_or_default(),
        }
    }

    fn of_child(entry: &ChildEntry) -> Self {
        let mut tree = Self::of(entry.strong.as_ref().map(|strong| strong.core()), entry.nested.as_deref());
        let (state, born_ns) = entry.watch.life.with(|life: &mut Life| {
            let state = match &life.status {
                LifeStage::Starts => ChildState::Starts,
                LifeStage::Runs => ChildState::Runs,
                LifeStage::Down(exit) if entry.is_pending => ChildState::Waits(exit.clone()),
                LifeStage::Down(exit) => ChildState::Ended(exit.clone()),
            };
            (state, life.born_ns)
        });
        tree.name = Some((&*entry.name).into());
        tree.uptime = matches!(state, ChildState::Runs).then(|| up_since(born_ns));
        tree.state = state;
        tree.restarts = entry.restarts;
        tree
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let Self { name, id, state, queued, restarts, uptime, waits_for, waits_for_actor, children } = self;
        write!(f, "{:1$}{2}", "", 2 * depth, name.as_deref().unwrap_or("(no name)"))?;
        id.map_or(Ok(()), |id| write!(f, " ({id})"))?;
        write!(f, ": {state}; {queued} queued, {restarts} restarts")?;
        uptime.map_or(Ok(()), |uptime| write!(f, ", up {uptime:.0?}"))?;
        waits_for.map_or(Ok(()), |what| write!(f, ", waits for {what}"))?;
        waits_for_actor.map_or(Ok(()), |actor| write!(f, " of {actor}"))?;
        writeln!(f)?;
        children.iter().try_for_each(|child| child.write(f, depth + 1))
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

fn up_since(born_ns: u64) -> Duration {
    Duration::from_nanos(now_ns().saturating_sub(born_ns))
}

pub(super) fn tree(actor: &Core, table: &Table) -> Tree {
    let mut tree = Tree::of(Some(actor), Some(table));
    if actor.is_ended() {
        tree.state = ChildState::Ended(actor.why_closed());
    } else {
        tree.uptime = Some(up_since(table.born_ns()));
    }
    tree
}
