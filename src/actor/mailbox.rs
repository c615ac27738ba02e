//! The settings of a mailbox: how many messages may wait, and what happens beyond.

#![forbid(unsafe_code)]

/// What becomes of a message that finds the mailbox full.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Overflow {
    /// The sender waits for room.
    #[default]
    Block,
    /// The sender gets it back: [`SendError::Full`].
    Reject,
    /// The message that has waited longest makes room. A `tell` that is dropped so is a dead letter, an ask gets
    /// [`SendError::Full`].
    DropOldest,
    /// The new one is dropped: a dead letter, if it was a `tell`; an ask gets [`SendError::Full`].
    DropNewest,
}

/// How many messages may wait for an actor, and what happens beyond.
///
/// A bound of zero does not compile: a mailbox that holds nothing would make every `tell` an ask.
///
/// ```compile_fail
/// const RENDEZVOUS: green::actor::Mailbox = green::actor::Mailbox::bounded(0);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mailbox {
    pub(crate) capacity: u32,
    pub(crate) overflow: Overflow,
}

impl Mailbox {
    /// Exactly `n` messages may wait. What the system itself sends does not count.
    ///
    /// # Panics
    ///
    /// If `n` is zero; in a `const` that is an error of the compiler. If it is 2³² or more.
    #[must_use]
    pub const fn bounded(n: usize) -> Self {
        assert!(n > 0, "a mailbox has to hold one message at least");
        assert!(n < u32::MAX as usize, "a mailbox holds less than 2^32 messages");
        Self { capacity: n as u32, overflow: Overflow::Block }
    }

    /// As many messages may wait as there is memory for.
    #[must_use]
    pub const fn unbounded() -> Self {
        Self { capacity: u32::MAX, overflow: Overflow::Block }
    }

    /// What happens to a message that finds the mailbox full. [`Overflow::Block`] if this is not called.
    #[must_use]
    pub const fn overflow(self, overflow: Overflow) -> Self {
        Self { overflow, ..self }
    }
}
