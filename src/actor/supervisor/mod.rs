//! Supervisors: actors that start other actors, and start them again when they die.
//!
//! * `backoff.rs`: the delay before a restart, and how many restarts are too many.
//! * `watch.rs`: what a supervisor knows of a child's life, as the child's warden (`engine/warden.rs`).
//! * `table.rs`: the children, as everybody sees them; `post.rs`: one child, as its supervisor has it.
//! * `team.rs`: the actor; `child.rs`, `builder.rs`: how children and supervisors are described.
//! * `address.rs`: how others reach a supervisor; `tree.rs`: what they see of it.

mod address;
mod backoff;
mod builder;
mod child;
mod error;
mod post;
mod table;
mod team;
mod tree;
mod watch;

pub use address::SupervisorAddr;
pub use backoff::Backoff;
pub use builder::Supervisor;
pub use child::{Child, Made};
pub use error::{ChildError, StartError};
pub use post::Restart;
pub(in crate::actor) use table::{Table, TableSlot};
pub use team::{AutoShutdown, Team};
pub use tree::{ChildState, Tree};
