//! A worker's part in the [`roster`](super::roster) of its runtime.

use std::io;

use crate::sched::owners_fence::fence_owner;
use crate::sched::roster::{OwnedList, RosterShare};
use crate::sched::shared::Shared;
use crate::sched::worker::Worker;
use crate::sys::fork::PerProcess;
use crate::sys::{fork, membarrier};
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
    ///
    /// # Errors
    ///
    /// `Unsupported`: the system refuses membarrier(2), which it has not done before, and one of the workers [cannot be
    /// interrupted](crate::sched::owners_fence). In a child of fork, if the runtime is the parent's.
    pub(crate) fn rostered(&self) -> io::Result<Vec<Task>> {
        if self.is_the_parents() {
            return Err(fork::error());
        }
        let owners = self.remotes.iter().filter(|_| has_owners() && !self.moves);
        let open = owners.map(|owner| owner.listed.open_by(|| membarrier::heavy().or_else(|_| fence_owner(owner))));
        Ok(self.roster.all(&open.collect::<io::Result<Vec<_>>>()?))
    }

    /// How many they are, of a runtime that cannot list them.
    pub(crate) fn rostered_count(&self) -> usize {
        self.roster.count()
    }
}
