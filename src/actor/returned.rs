//! [`Returned`]: a message that came back.
//!
//! # Invariants
//!
//! 1. A shared reference to a [`Returned`] gives no access to the message in it.

#![allow(unsafe_code)]

use std::fmt;

/// Holds a message that came back: what is in a [`SendError`](crate::actor::SendError).
///
/// It can be shared between threads whatever the message is, since only its owner gets at the message: so a `SendError` goes
/// wherever an error goes, by `?` into a `Box<dyn Error + Send + Sync>` or an `anyhow::Error`.
///
/// ```
/// use green::actor::{Returned, SendError};
///
/// let error = SendError::Full(Returned::new(std::cell::Cell::new(5))); // `Cell` is not `Sync`
/// let error: Box<dyn std::error::Error + Send + Sync> = error.into();
/// assert_eq!(error.to_string(), "the actor's mailbox is full");
/// ```
#[derive(PartialEq, Eq)]
#[repr(transparent)]
pub struct Returned<M>(M);

// SAFETY: invariant 1: what a `&Returned<M>` on another thread can do with the message is nothing; one that is sent there takes the
// message along, for which `M` is `Send`.
unsafe impl<M: Send> Sync for Returned<M> {}

impl<M> Returned<M> {
    /// Makes one, for stand-ins of actors in tests.
    ///
    /// ```
    /// use green::actor::{Returned, SendError};
    /// assert_eq!(SendError::Full(Returned::new("hello")).into_message(), Some("hello"));
    /// ```
    #[inline(always)]
    pub fn new(msg: M) -> Self {
        Self(msg)
    }

    /// Returns the message.
    ///
    /// ```
    /// use green::actor::Returned;
    /// assert_eq!(Returned::new("again").into_inner(), "again");
    /// ```
    pub fn into_inner(self) -> M {
        self.0
    }
}

impl<M> fmt::Debug for Returned<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Returned(..)")
    }
}
