//! The functions that [`interpose!`](crate::interpose) defines, by the names of libc's. All have libc's contracts.

pub(crate) mod c11;
pub(crate) mod checked;
pub(crate) mod copy;
pub(crate) mod counters;
pub(crate) mod file;
pub(crate) mod futex;
pub(crate) mod handed_over;
pub(crate) mod hidden;
pub(crate) mod mask;
pub(crate) mod messages;
pub(crate) mod once;
pub(crate) mod open;
pub(crate) mod poll;
pub(crate) mod pthread;
mod raw;
pub(crate) mod semaphore;
pub(crate) mod sleep;
pub(crate) mod socket;
pub(crate) mod waits;
