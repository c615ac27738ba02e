//! Floor 6: what wakes threads when time has passed or a descriptor is ready.
//!
//! The driver is passive. It has no thread and no clock: a worker asks it when it wants to be turned next, turns it
//! with the time of its choice, and gets back the threads to wake. So a test runs it on a clock of its own.
//!
//! [`wheel`] holds the timers. [`poller`] asks the system which descriptors are ready ([`handle`]: what others touch of one); [`slot`] knows which threads wait for
//! them, and [`readiness`] what is known about each. [`edge`] is for OS threads.

pub(crate) mod edge;
pub(crate) mod handle;
pub(crate) mod poller;
pub(crate) mod readiness;
pub(crate) mod slot;
pub(crate) mod wheel;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_poller;
#[cfg(test)]
mod tests_readiness;
