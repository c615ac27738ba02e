//! Time: [`sleep`], [`timeout`], [`interval`] for what is to happen again and again, [`Limiter`] for what is not to
//! happen too often.
//!
//! ```
//! use green::time::{Duration, Instant, interval};
//!
//! green::run(|| {
//!     let start = Instant::now();
//!     let mut every = interval(Duration::from_millis(2));
//!     for _ in 0..3 {
//!         every.tick();
//!     }
//!     assert!(start.elapsed() >= Duration::from_millis(4)); // the first comes at once
//! });
//! ```
//!
//! The names are tokio's, the calls block: the green thread is parked, an OS thread sleeps. A deadline is a timer in the wheel of
//! the waiting thread's worker; nothing here keeps a thread of its own. All that wait are cancellation points. A point in time
//! as a case of a `select!` is [`channel::after`](crate::channel::after) or [`channel::tick`](crate::channel::tick).

#![forbid(unsafe_code)]

mod interval;
mod limiter;
mod sleep;

pub use std::time::{Duration, Instant};

pub use crate::park::interrupt::{Elapsed, timeout};

pub use interval::{Interval, MissedTickBehavior, interval, interval_at};
pub use limiter::Limiter;
pub(crate) use sleep::Pauses;
pub use sleep::{now, sleep, sleep_until};
