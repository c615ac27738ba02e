//! What decides, when the state of an actor has ended, whether the actor goes on with another one: the side of the supervisor that the
//! engine knows. The states of that are in [`mailbox_state`](super::mailbox_state), "Vacancy".
//!
//! A kept actor whose incarnation ends drops its state, timers and helpers, tells the actors tied to it, and keeps its queue. When its
//! run is over, the warden is told ([`Warden::ended`]), and the actor waits for a new state (`glue.rs`, `Kept::revive`) or for its
//! end ([`Core::bury`]), whichever comes first. The end of its runtime buries it, too.

#![forbid(unsafe_code)]

use crate::actor::Exit;

/// The actors that end with another one, which waits for that in its `stopping`, where no kill reaches it.
pub(crate) trait Brood: Send + Sync {
    /// Kills them all. Waits for none.
    fn kill_all(&self);
}

/// See the module's text. Neither waits, nor runs code of the users.
pub(crate) trait Warden: Send + Sync {
    /// May the actor outlive its state? Asked when that ends.
    fn keeps(&self) -> bool;

    /// `started` has succeeded.
    fn started(&self);

    /// The incarnation has ended, and the actor is vacant, or has ended with it. False: nobody will fill the vacancy. Called in the
    /// worker's loop.
    fn ended(&self, exit: &Exit) -> bool;
}
