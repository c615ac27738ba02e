//! A name that an actor has, or a group that it is in, among what ends with it.

#![forbid(unsafe_code)]

use std::any::TypeId;
use std::cmp::Ordering;
use std::sync::Arc;

use crate::actor::ActorId;

/// See the module's text. How names are kept is for the registry.
#[derive(Debug)]
pub(crate) struct HeldName {
    /// The type of the actor; or that of the group.
    pub(crate) of: TypeId,
    pub(crate) text: Arc<str>,
    pub(crate) actor: ActorId,
    pub(crate) free: fn(&HeldName),
}

/// An actor has a text of a type once, and is in a list for each that it has: one that is looked up in.
impl Ord for HeldName {
    fn cmp(&self, other: &Self) -> Ordering {
        (&*self.text, self.of).cmp(&(&*other.text, other.of))
    }
}

impl PartialOrd for HeldName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for HeldName {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for HeldName {}

impl HeldName {
    /// The actor has ended.
    pub(crate) fn free(&self) {
        (self.free)(self);
    }
}
