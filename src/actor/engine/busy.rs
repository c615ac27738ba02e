//! Which thread queues an actor: one bit, under the lock of its mailbox. The protocol is in
//! [`mailbox_state`](super::mailbox_state); `tests/loom_actor.rs` checks it on this file.

#![forbid(unsafe_code)]

/// Is the actor queued or does it run (or will the thread that made it busy queue it)?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Busy(bool);

/// The right, and the duty, to queue the actor: of the thread that has made it busy.
#[derive(PartialEq, Eq, Debug)]
#[must_use = "an actor that is busy and not queued does nothing any more"]
pub(crate) struct Launch(());

impl Busy {
    /// Of a new actor: the thread that makes it queues it.
    pub(crate) fn new() -> Self {
        Self(true)
    }

    /// Step S3. `None`: another has the duty.
    #[inline]
    pub(crate) fn mark_busy(&mut self) -> Option<Launch> {
        (!std::mem::replace(&mut self.0, true)).then_some(Launch(()))
    }

    /// The duty again, of an actor that is busy because it is vacant: nobody else has it.
    pub(crate) fn relaunch(&mut self) -> Option<Launch> {
        self.0.then_some(Launch(()))
    }

    #[inline]
    pub(crate) fn is_set(self) -> bool {
        self.0
    }

    /// Steps R3 and R4: `more` says whether there is something to do. If so, the actor stays busy, and its run queues it.
    #[inline]
    pub(crate) fn rest(&mut self, more: bool) -> bool {
        self.0 = more; // KEY: rest
        more
    }
}
