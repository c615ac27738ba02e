//! A counted pointer to an actor's block, for code that does not look into it. [`cell`](super::cell) says what stands there.
//!
//! # Invariants
//!
//! 1. The task of a [`Weak`] is an actor.

#![allow(unsafe_code)]

use crate::task::Task;

/// A reference that keeps the block, not the actor.
#[derive(Clone, Debug)]
#[repr(transparent)]
pub(crate) struct Weak(Task);

impl Weak {
    /// Takes over a reference to a task that is an actor.
    ///
    /// # Safety
    ///
    /// Invariant 1.
    pub(crate) unsafe fn new(task: Task) -> Self {
        Self(task)
    }

    /// Of a task in the [`roster`](crate::sched::roster), which has actors only, or an actor's entry.
    pub(super) fn resident(task: Task) -> Self {
        Self(task)
    }

    /// Gives the reference to the caller.
    pub(super) fn into_task(self) -> Task {
        self.0
    }

    pub(super) fn task(&self) -> &Task {
        &self.0
    }
}
