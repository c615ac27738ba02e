#![doc = include_str!("README.md")]

pub(crate) mod awaiter;
pub(crate) mod block;
pub(crate) mod cancel;
pub(crate) mod header;
pub(crate) mod local;
pub(crate) mod state;
pub(crate) mod wait;

pub(crate) use cancel::Cancelled;
pub(crate) use header::{Header, Task, Ticket};
