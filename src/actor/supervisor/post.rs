//! One child, as its supervisor has it.

#![forbid(unsafe_code)]

use std::any::TypeId;
use std::sync::Arc;
use std::time::Duration;

use crate::actor::Exit;
use crate::actor::engine::cell::Strong;
use crate::actor::engine::crew::Place;
use crate::actor::supervisor::backoff::Backoff;
use crate::actor::supervisor::table::Table;
use crate::actor::supervisor::watch::Watch;

/// Says whether a child that has ended is started again.
///
/// ```
/// use green::actor::{Actor, Child, Restart};
/// struct Import;
/// impl Actor for Import {}
/// let once = Child::new("import", || Import).restart(Restart::Transient);
/// # let _ = once;
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Restart {
    /// Always, also after a normal end.
    #[default]
    Permanent,
    /// After an abnormal end only: one of which [`Exit::is_normal`] is false.
    Transient,
    /// Never, not even when a sibling's death has ended it. It is forgotten when it has ended.
    Temporary,
}

impl Restart {
    pub(super) fn is_due(self, exit: &Exit) -> bool {
        match self {
            Restart::Permanent => true,
            Restart::Transient => !exit.is_normal(),
            Restart::Temporary => false,
        }
    }
}

/// The part of a child that knows its type.
pub(super) trait Body: Send {
    fn actor(&self) -> (TypeId, &'static str);

    /// Of a supervisor: its children.
    fn nested(&self) -> Option<Arc<Table>>;

    /// The next start makes another actor, which has other children.
    fn renew(&mut self);

    /// Calls the factory, and gives its state to the actor, or to a new one if that has ended. Does not wait for `started`. Does not
    /// unwind, unless it is cancelled. `None`: the factory has made nothing.
    fn start(&mut self, watch: &Arc<Watch>) -> Result<Option<Strong>, Exit>;
}

/// A child that is in no supervisor yet.
pub(super) struct ChildSpec {
    pub(super) name: Arc<str>,
    pub(super) restart: Restart,
    pub(super) shutdown: Duration,
    pub(super) backoff: Option<Backoff>,
    pub(super) is_significant: bool,
    /// Of a worker of a pool.
    pub(super) place: Option<Place>,
    pub(super) body: Box<dyn Body>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PostState {
    Runs,
    /// It will be started again, when its delay is over.
    Pending,
    /// It will not, unless it is asked for.
    Over,
}

pub(super) struct Post {
    pub(super) spec: ChildSpec,
    pub(super) watch: Arc<Watch>,
    pub(super) strong: Option<Strong>,
    pub(super) state: PostState,
    /// Deaths in a row.
    pub(super) deaths: u32,
    /// Its delay is over when that comes back.
    pub(super) delay: u64,
}
