//! The functions that [`interpose!`](crate::interpose) defines, by the names of libc's. All have libc's contracts.

pub(crate) mod counters;
pub(crate) mod file;
pub(crate) mod futex;
pub(crate) mod handed_over;
pub(crate) mod poll;
mod raw;
pub(crate) mod sleep;
pub(crate) mod socket;
pub(crate) mod waits;
