//! What a worker decides by experience, and what the idle protocol does not need to know.

pub(crate) mod balance;
pub(crate) mod cpu_yield;
pub(crate) mod run_rate;
