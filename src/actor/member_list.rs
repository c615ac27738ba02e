//! Members in the order in which they came, each an actor's: found by the actor, however many there are.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap};

use crate::actor::ActorId;

/// See the module's text.
pub(super) struct MemberList<T> {
    numbers: HashMap<ActorId, u64>,
    /// By their numbers, which are given in order.
    members: BTreeMap<u64, T>,
    last: u64,
}

impl<T> MemberList<T> {
    pub(super) fn new() -> Self {
        Self { numbers: HashMap::new(), members: BTreeMap::new(), last: 0 }
    }

    /// The last in the order. `Err`: the actor has a member already.
    pub(super) fn add(&mut self, actor: ActorId, member: T) -> Result<(), T> {
        if self.numbers.contains_key(&actor) {
            return Err(member);
        }
        self.last += 1;
        self.numbers.insert(actor, self.last);
        self.members.insert(self.last, member);
        Ok(())
    }

    pub(super) fn get(&self, actor: ActorId) -> Option<&T> {
        self.members.get(self.numbers.get(&actor)?)
    }

    pub(super) fn take_out(&mut self, actor: ActorId) -> Option<T> {
        self.members.remove(&self.numbers.remove(&actor)?)
    }

    /// In order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.members.values()
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}
