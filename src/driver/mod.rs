//! Floor 5: what wakes threads when time has passed.
//!
//! The driver is passive. It has no thread and no clock: a worker asks it when it wants to be turned next, turns it
//! with the time of its choice, and gets back whom to wake. So a test runs it on a clock of its own.
//!
//! [`wheel`] holds the timers.

pub(crate) mod wheel;

#[cfg(test)]
mod tests;
