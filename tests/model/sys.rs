//! `sys/`, as far as a thread sleeps: the real parker over the stand-in for the futex.

pub(crate) use crate::model::kernel as futex;
pub(crate) use crate::model::prelude::{clock, fork};

#[path = "../../src/sys/parker.rs"]
pub(crate) mod parker;
