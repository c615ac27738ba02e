//! Time: [`sleep`], [`timeout`](crate::timeout), and [`interval`] for what is to happen again and again.
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
mod sleep;

pub use std::time::{Duration, Instant};

pub use interval::{Interval, MissedTickBehavior, interval, interval_at};
pub(crate) use sleep::Pauses;
pub use sleep::{sleep, sleep_until};

/// The error of a [`timeout`] that has ended its closure; the same type as [`green::Elapsed`](crate::Elapsed).
///
/// ```
/// use std::time::Duration;
/// let late: Result<(), green::time::Elapsed> =
///     green::time::timeout(Duration::from_millis(1), || green::sleep(Duration::from_secs(60)));
/// assert_eq!(std::io::Error::from(late.unwrap_err()).kind(), std::io::ErrorKind::TimedOut);
/// ```
pub type Elapsed = crate::park::interrupt::Elapsed;

/// Runs `f`, but not beyond `d`; the same function as [`green::timeout`](crate::timeout), which says more.
///
/// # Errors
///
/// [`Elapsed`] when `f` was ended by the deadline.
///
/// # Panics
///
/// With whatever `f` panics with.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(green::time::timeout(Duration::from_secs(60), || 7), Ok(7));
/// ```
pub fn timeout<T>(d: Duration, f: impl FnOnce() -> T) -> Result<T, Elapsed> {
    crate::park::interrupt::timeout(d, f)
}
