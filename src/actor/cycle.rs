//! A cycle of actors that would wait for each other.

#![forbid(unsafe_code)]

use std::fmt;
use std::ops::Deref;

use crate::actor::ActorId;
use crate::actor::engine::cell::Core;

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
pub struct Cycle(Box<Members>);

#[derive(Clone, PartialEq, Eq, Default)]
struct Members {
    ids: Vec<ActorId>,
    names: Vec<Option<Box<str>>>,
}

impl Cycle {
    pub(crate) fn of<'a>(members: impl Iterator<Item = &'a Core>) -> Self {
        Self::new(members.map(|actor| (actor.id(), actor.name().map(Box::from))))
    }

    pub(crate) fn new(members: impl Iterator<Item = (ActorId, Option<Box<str>>)>) -> Self {
        let (ids, names) = members.unzip();
        Self(Box::new(Members { ids, names }))
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
