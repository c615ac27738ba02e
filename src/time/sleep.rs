//! Waiting for nothing but the clock.

use std::time::{Duration, Instant};

use crate::park::no_park::assert_may_park;
use crate::park::{Wait, checkpoint, wait_in};
use crate::sys::clock::{self, after_ns, at_ns, now_ns};
use crate::task::header::Reason;

/// Returns the moment that it is now for the caller: [`Instant::now`], or, in a runtime with
/// [virtual time](crate::RuntimeBuilder::virtual_time), the moment there.
///
/// Code that takes its moments from here can be tested under virtual time.
///
/// ```
/// use std::time::Duration;
/// let next = green::time::now() + Duration::from_millis(1);
/// green::time::sleep_until(next);
/// assert!(green::time::now() >= next);
/// ```
#[must_use]
pub fn now() -> Instant {
    clock::now()
}

/// Waits for `dur`: not shorter, and longer only by the time until it is the thread's turn again. A cancellation point.
///
/// A plain OS thread sleeps as with std. A green thread parks: the worker's other threads run meanwhile, and some things must not
/// be held [across a park](crate#what-not-to-do-across-a-park). An idle worker gets up for timers every 50 µs at most: sleepers
/// whose deadlines lie closer wake together. `Duration::MAX` is for ever. With zero it does not wait, nor let others
/// run: that is [`yield_now`](crate::yield_now).
///
/// # Panics
///
/// Inside [`no_park`](crate::no_park), unless `dur` is zero.
///
/// ```
/// use std::time::{Duration, Instant};
/// let start = Instant::now();
/// green::sleep(Duration::from_millis(2));
/// assert!(start.elapsed() >= Duration::from_millis(2));
/// ```
#[track_caller]
pub fn sleep(dur: Duration) {
    if !dur.is_zero() {
        // Not left to the wait: a short one may be over while the caller is on its way to it.
        assert_may_park("sleep");
    }
    sleep_until_ns(after_ns(dur));
}

/// Waits until `deadline`; at once if that has passed. A cancellation point in any case.
///
/// A loop that sleeps until one deadline after another keeps its pace, however long its body takes; so does an
/// [`interval`](crate::time::interval). Otherwise as [`sleep`].
///
/// # Panics
///
/// Inside [`no_park`](crate::no_park), unless `deadline` has passed.
///
/// ```
/// use std::time::{Duration, Instant};
/// let mut next = Instant::now();
/// for _ in 0..3 {
///     next += Duration::from_millis(1);
///     green::time::sleep_until(next);
/// }
/// assert!(Instant::now() >= next);
/// ```
pub fn sleep_until(deadline: Instant) {
    sleep_until_ns(at_ns(deadline));
}

pub(super) fn sleep_until_ns(deadline_ns: u64) {
    checkpoint();
    let mut wait = Wait::new(Reason::Sleep).until(deadline_ns);
    while now_ns() < deadline_ns {
        let _ = wait_in(&mut wait, |_| true, || {});
    }
}

/// Sleeps that grow, between one question and the next, where no event tells that the answer has changed.
#[derive(Debug)]
pub(crate) struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(Duration::from_micros(50))
    }
}

impl Pauses {
    /// How long the next one is: twice as long as the last, up to 50 ms.
    pub(crate) fn length(&mut self) -> Duration {
        let length = self.0;
        self.0 = (length * 2).min(Duration::from_millis(50));
        length
    }

    /// Sleeps for as long. A cancellation point.
    #[track_caller]
    pub(crate) fn next(&mut self) {
        sleep(self.length());
    }
}
