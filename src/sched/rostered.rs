//! A worker's part in the [`roster`](super::roster) of its runtime.

use crate::sched::roster::{OwnedList, RosterShare};
use crate::sched::shared::Shared;
use crate::sched::worker::Worker;
use crate::sys::fork::PerProcess;
use crate::sys::membarrier;
use crate::task::Task;

/// Does this system have what the owners of locks need?
fn has_owners() -> bool {
    static HAS: PerProcess<bool> = PerProcess::new(|| membarrier::heavy().is_ok());
    *HAS.get()
}

impl Worker {
    #[inline]
    pub(crate) fn roster(&self) -> RosterShare<'_> {
        RosterShare { stock: &self.slots, owned: self.owned_list() }
    }

    /// `None`: the worker is an outsider.
    #[inline]
    fn owned_list(&self) -> Option<OwnedList> {
        // A spare worker is not among those whose locks are taken; where threads move, another may stand in for the owner.
        let is_owner = || has_owners() && !self.is_spare && !self.shared.moves;
        *self.owned.get_or_init(|| is_owner().then_some(OwnedList::new(&self.remote.listed)))
    }
}

impl OwnedList {
    /// Of the worker that this code runs on, if it is one of that runtime, and no outsider.
    #[inline]
    pub(crate) fn here(runtime: *const ()) -> Option<Self> {
        Worker::current().filter(|worker| worker.shared.identity() == runtime)?.owned_list()
    }
}

impl Shared {
    /// The tasks of its roster, with a reference to each.
    pub(crate) fn rostered(&self) -> Vec<Task> {
        self.roster.all(self.remotes.iter().filter(|_| has_owners()).map(|remote| &remote.listed))
    }
}
