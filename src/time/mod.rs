//! Time: [`sleep`], [`timeout`](crate::timeout), and [`interval`] for what is to happen again and again.
//!
//! The names are tokio's, the calls block: the green thread is parked, an OS thread sleeps. Nothing here keeps a thread or
//! a task of its own; a deadline is a timer in the wheel of the waiting thread's worker.
#![forbid(unsafe_code)]

mod interval;
mod sleep;

pub use std::time::{Duration, Instant};

pub use crate::park::interrupt::{Elapsed, timeout};

pub use interval::{Interval, MissedTickBehavior, interval, interval_at};
pub(crate) use sleep::Pauses;
pub use sleep::{sleep, sleep_until};
