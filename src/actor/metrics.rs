//! How many actors of a runtime do what, and which have the longest queues.

#![forbid(unsafe_code)]

use crate::actor::ActorInfo;
use crate::actor::engine::cell::Core;
use crate::actor::engine::mailbox_state::Stage;
use crate::actor::engine::residents;
use crate::rt::default::with_shared;
use crate::rt::runtime::Runtime;
use crate::sched::Shared;

/// So many of the longest queues are told.
const LONGEST: usize = 10;

/// Counts the actors of a runtime by what they do: what [`metrics()`] and [`Runtime::actor_metrics`] return.
///
/// ```
/// use green::actor::{Actor, ActorMetrics, Builder};
/// struct Idle;
/// impl Actor for Idle {}
/// let runtime = green::Runtime::new()?;
/// let _idle = Builder::new().runtime(&runtime).start(Idle)?;
/// let metrics: ActorMetrics = runtime.actor_metrics();
/// let all = metrics.starting + metrics.resting + metrics.working + metrics.waiting + metrics.restarting;
/// assert_eq!((all, metrics.queued), (1, 0));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct ActorMetrics {
    /// Actors that have not been through their `started` yet.
    pub starting: usize,
    /// Actors that have nothing to do.
    pub resting: usize,
    /// Actors that handle messages, or are queued to do so.
    pub working: usize,
    /// Actors whose handler waits: for a reply, a lock, an event.
    pub waiting: usize,
    /// Children of supervisors that have died, and will be started again.
    pub restarting: usize,
    /// Messages in all mailboxes.
    pub queued: usize,
    /// The actors with the longest queues, the longest first: ten at most, each with a message at least.
    pub longest: Vec<ActorInfo>,
}

/// Counts the actors of the caller's runtime, or of the default one.
///
/// Nothing is counted before it is asked for: each actor is looked at, under the lock of its mailbox, so its cost grows with their number. Numbers that are
/// read while the runtime works need not fit each other to the last unit.
///
/// ```
/// use green::actor::{self, Actor};
/// struct Idle;
/// impl Actor for Idle {}
/// let _idle = Idle.start();
/// assert!(actor::metrics().longest.iter().all(|actor| actor.queued > 0));
/// ```
#[must_use]
pub fn metrics() -> ActorMetrics {
    with_shared(|shared| Ok(count(shared))).unwrap_or_default()
}

impl Runtime {
    /// Counts the actors of this runtime by what they do: [`actor::metrics`](crate::actor::metrics()).
    ///
    /// ```
    /// let runtime = green::Runtime::new()?;
    /// assert_eq!(runtime.actor_metrics().working, 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn actor_metrics(&self) -> ActorMetrics {
        count(&self.shared)
    }
}

fn count(shared: &Shared) -> ActorMetrics {
    let mut metrics = ActorMetrics::default();
    let residents = residents::all_or_none(shared);
    // The longest queues so far, the longest first.
    let mut longest: Vec<(usize, &Core)> = Vec::with_capacity(LONGEST + 1);
    for actor in &residents {
        let actor = actor.core();
        let Some(queued) = metrics.add(actor) else { continue };
        let place = longest.partition_point(|(longer, _)| *longer >= queued);
        if queued > 0 && place < LONGEST {
            longest.insert(place, (queued, actor));
            longest.truncate(LONGEST);
        }
    }
    metrics.longest = longest.into_iter().filter_map(|(_, actor)| ActorInfo::of(actor)).collect();
    metrics.longest.retain(|actor| actor.queued > 0);
    metrics.longest.sort_by_key(|actor| usize::MAX - actor.queued);
    metrics
}

impl ActorMetrics {
    /// Counts one; says how many messages it has. `None`: it has ended.
    fn add(&mut self, actor: &Core) -> Option<usize> {
        let mailbox = actor.mailbox.lock();
        if mailbox.is_dead() {
            return None;
        }
        let (queued, stage, rests) = (mailbox.queued(), mailbox.stage(), mailbox.rests());
        drop(mailbox);
        let count = match stage {
            Stage::Fresh => &mut self.starting,
            Stage::Leaves | Stage::Vacant | Stage::Buried | Stage::Over => &mut self.restarting,
            Stage::Started if rests => &mut self.resting,
            Stage::Started if actor.header.waits_for().is_some() => &mut self.waiting,
            Stage::Started => &mut self.working,
        };
        *count += 1;
        self.queued += queued;
        Some(queued)
    }
}
