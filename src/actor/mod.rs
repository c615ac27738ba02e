#![doc = include_str!("README.md")]

// Floor 11.
mod addr;
mod builder;
mod context;
mod dead_letters;
mod deferred;
mod engine;
mod exit;
mod glue;
mod mailbox;
mod message;
mod name;
mod pending;
mod recipient;
mod reenter;
mod signal;
#[cfg(all(test, not(miri)))]
mod tests;
mod timer;
mod traits;

pub use addr::{Addr, WeakAddr};
pub use builder::Builder;
pub use context::Context;
pub use dead_letters::{DeadLetter, DeadLetters, dead_letters};
pub use deferred::Deferred;
pub use exit::{ActorId, Exit, JoinError, SendError};
pub use mailbox::{Mailbox, Overflow};
pub use message::Message;
pub use name::{Name, NameTaken};
pub use pending::Pending;
pub use recipient::{Recipient, WeakRecipient};
pub use reenter::Reenter;
pub use signal::{Down, MonitorRef, Signal};
pub use timer::Timer;
pub use traits::{Actor, Handler};

#[doc = include_str!("MIGRATING.md")]
pub mod migrating {
    #[allow(unused_imports, reason = "for the links of the page")]
    use super::*;
}
