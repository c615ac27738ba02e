//! A name that an actor has, or a group that it is in, among what ends with it.

#![forbid(unsafe_code)]

use std::any::TypeId;
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

impl HeldName {
    /// The actor has ended.
    pub(crate) fn free(&self) {
        (self.free)(self);
    }
}
