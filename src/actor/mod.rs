#![doc = include_str!("README.md")]

// Floor 11.
mod adapters;
mod addr;
mod address;
mod builder;
mod context;
mod dead_letters;
mod deferred;
mod engine;
mod exit;
mod glue;
mod group;
mod handling;
mod list;
mod machine;
#[macro_use]
mod macros;
mod mailbox;
mod member_list;
mod message;
mod metrics;
mod name;
mod pending;
mod pool;
mod recipient;
mod reenter;
mod returned;
pub(crate) mod shutdown;
mod signal;
mod supervisor;
pub mod testkit;
#[cfg(all(test, not(miri)))]
mod tests;
mod timer;
mod timers;
mod topic;
mod traits;
mod wait_any;

pub use addr::{Addr, WeakAddr};
pub use address::Address;
pub use builder::Builder;
pub use context::Context;
pub use dead_letters::{DeadLetter, DeadLetters, dead_letters};
pub use deferred::Deferred;
pub use exit::{ActorId, Cycle, Exit, JoinError, SendError};
pub use group::Group;
pub use list::{ActorInfo, actors};
pub use machine::{Machine, On, StateMachine, Step};
pub use mailbox::{Mailbox, Overflow};
pub use message::Message;
pub use messages;
pub use metrics::{ActorMetrics, metrics};
pub use name::{Name, NameTaken};
pub use pending::Pending;
pub use pool::{ByKey, Keyed, OneQueue, Pool};
pub use recipient::{Recipient, WeakRecipient};
pub use reenter::Reenter;
pub use returned::Returned;
pub use shutdown::Shutdown;
pub use signal::{Down, MonitorRef, Signal};
pub use supervisor::{
    AutoShutdown, Backoff, Child, ChildError, ChildState, Made, Restart, StartError, Supervisor, SupervisorAddr, Team,
    Tree,
};
pub use timer::Timer;
pub use timers::Timers;
pub use topic::{Lag, Lagged, Topic};
pub use traits::{Actor, Handler, Receives};
pub use wait_any::{AnyPending, wait_any};

#[doc = include_str!("ASYNC.md")]
pub mod async_code {
    #[allow(unused_imports, reason = "for the links of the page")]
    use super::*;
}

#[doc = include_str!("MIGRATING.md")]
pub mod migrating {
    #[allow(unused_imports, reason = "for the links of the page")]
    use super::*;
}
