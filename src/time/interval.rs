//! Ticks: moments a fixed time apart, and what happens to those that were missed.

use std::time::{Duration, Instant};

use crate::time::sleep::{now, sleep_until};

/// How late a tick may be taken and still count as taken on time.
const SLACK: Duration = Duration::from_millis(5);

/// What becomes of the ticks that were missed when one is taken late. tokio's, names and default included.
///
/// With a period of 50 and a tick taken at 130 that was due at 50:
///
/// | behaviour | due next      |
/// | --------- | ------------- |
/// | `Burst`   | 100, 150, 200 |
/// | `Delay`   | 180, 230, 280 |
/// | `Skip`    | 150, 200, 250 |
///
/// ```
/// use green::time::{MissedTickBehavior, interval};
/// use std::time::{Duration, Instant};
///
/// let mut every = interval(Duration::from_millis(10));
/// every.set_missed_tick_behavior(MissedTickBehavior::Skip);
/// let first = every.tick();
/// green::sleep(Duration::from_millis(25)); // the second tick is missed
/// every.tick();
/// let third = every.tick();
/// assert!(third - first >= Duration::from_millis(30));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MissedTickBehavior {
    /// Catches up: the ticks that were missed come at once, one after the other, then the schedule goes on. As many ticks
    /// as periods, in the long run.
    #[default]
    Burst,
    /// Starts anew: the next tick is a period after the one that was taken late. No two ticks close together. A tick is late
    /// here when it is taken more than 5 ms, or more than a period, after it was due.
    Delay,
    /// Drops the ticks that were missed, and keeps to the schedule. What Go's `time.Ticker` does.
    Skip,
}

impl MissedTickBehavior {
    /// When the tick after the one that was due at `due` and is taken at `now` is due.
    fn next(self, due: Instant, now: Instant, period: Duration) -> Instant {
        let late = now.saturating_duration_since(due);
        let next = match self {
            Self::Burst => due.checked_add(period),
            Self::Delay if late > SLACK.min(period) => now.checked_add(period),
            Self::Delay => due.checked_add(period),
            Self::Skip => {
                let into_period = (late.as_nanos() % period.as_nanos()) as u64;
                now.checked_add(period).and_then(|next| next.checked_sub(Duration::from_nanos(into_period)))
            }
        };
        next.unwrap_or_else(|| far_away(now))
    }
}

/// A moment that does not come: the clock cannot count to the right one.
fn far_away(now: Instant) -> Instant {
    now + Duration::from_secs(30 * 365 * 86_400)
}

/// Ticks at a fixed distance in time, made by [`interval`] and [`interval_at`].
///
/// Needs no thread and no timer between two calls of [`tick`](Interval::tick). What becomes of ticks for which it was
/// called too late [can be chosen](Interval::set_missed_tick_behavior).
///
/// ```
/// use std::time::Duration;
/// let mut every = green::time::interval(Duration::from_millis(2));
/// let (first, second) = (every.tick(), every.tick());
/// assert_eq!(second - first, Duration::from_millis(2));
/// ```
#[derive(Clone, Debug)]
pub struct Interval {
    due: Instant,
    period: Duration,
    missed: MissedTickBehavior,
}

/// Makes an interval that ticks every `period`, the first time at once.
///
/// # Panics
///
/// If `period` is zero.
///
/// ```
/// use std::time::{Duration, Instant};
/// let start = Instant::now();
/// let mut every = green::time::interval(Duration::from_millis(2));
/// for _ in 0..4 {
///     every.tick();
/// }
/// assert!(start.elapsed() >= Duration::from_millis(6));
/// ```
#[must_use]
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(now(), period)
}

/// Makes an interval that ticks every `period`, the first time at `start`; at once if that has passed.
///
/// # Panics
///
/// If `period` is zero.
///
/// ```
/// use std::time::{Duration, Instant};
/// let start = Instant::now() + Duration::from_millis(5);
/// let mut every = green::time::interval_at(start, Duration::from_millis(2));
/// assert_eq!(every.tick(), start);
/// ```
#[must_use]
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(!period.is_zero(), "the period of an interval must not be zero");
    Interval { due: start, period, missed: MissedTickBehavior::default() }
}

impl Interval {
    /// Waits for the next tick, and returns the moment at which it was due. At once if that has passed.
    ///
    /// A cancellation point. A call that is ended by a cancel or a [`timeout`](crate::timeout) takes no tick.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// let mut every = green::time::interval(Duration::from_millis(2));
    /// let due = every.tick();
    /// assert!(due <= Instant::now());
    /// ```
    pub fn tick(&mut self) -> Instant {
        let due = self.due;
        sleep_until(due);
        self.due = self.missed.next(due, now(), self.period);
        due
    }

    /// Moves the next tick to a period from now.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// let mut every = green::time::interval(Duration::from_millis(2));
    /// let now = Instant::now();
    /// every.reset();
    /// assert!(every.tick() >= now + Duration::from_millis(2));
    /// ```
    pub fn reset(&mut self) {
        self.reset_after(self.period);
    }

    /// Moves the next tick to now.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// let mut every = green::time::interval(Duration::from_secs(3600));
    /// every.tick();
    /// every.reset_immediately();
    /// every.tick(); // not an hour later
    /// ```
    pub fn reset_immediately(&mut self) {
        self.due = now();
    }

    /// Moves the next tick to `after` from now; the period stays.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// let mut every = green::time::interval(Duration::from_secs(3600));
    /// let now = Instant::now();
    /// every.reset_after(Duration::from_millis(2));
    /// assert!(every.tick() >= now + Duration::from_millis(2));
    /// ```
    pub fn reset_after(&mut self, after: Duration) {
        let now = now();
        self.due = now.checked_add(after).unwrap_or_else(|| far_away(now));
    }

    /// Moves the next tick to `deadline`; the period stays.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// let mut every = green::time::interval(Duration::from_secs(3600));
    /// let deadline = Instant::now() + Duration::from_millis(2);
    /// every.reset_at(deadline);
    /// assert_eq!(every.tick(), deadline);
    /// ```
    pub fn reset_at(&mut self, deadline: Instant) {
        self.due = deadline;
    }

    /// Returns the time between two ticks.
    ///
    /// ```
    /// use std::time::Duration;
    /// assert_eq!(green::time::interval(Duration::from_millis(2)).period(), Duration::from_millis(2));
    /// ```
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }

    /// Returns what becomes of ticks that were missed.
    ///
    /// ```
    /// use green::time::{MissedTickBehavior, interval};
    /// let every = interval(std::time::Duration::from_millis(2));
    /// assert_eq!(every.missed_tick_behavior(), MissedTickBehavior::Burst);
    /// ```
    #[must_use]
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed
    }

    /// Sets what becomes of ticks that were missed.
    ///
    /// ```
    /// use green::time::{MissedTickBehavior, interval};
    /// let mut every = interval(std::time::Duration::from_millis(2));
    /// every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    /// assert_eq!(every.missed_tick_behavior(), MissedTickBehavior::Delay);
    /// ```
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.missed = behavior;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next ticks after one that was due at 50 ms and is taken `at` ms, each of them taken on time.
    fn next_three(missed: MissedTickBehavior, at: u64) -> [u64; 3] {
        let (start, period) = (Instant::now(), Duration::from_millis(50));
        let ms = |ms| start + Duration::from_millis(ms);
        let mut due = missed.next(ms(50), ms(at), period);
        [(); 3].map(|()| {
            let this = due;
            let now = this.max(ms(at));
            due = missed.next(this, now, period);
            (this - start).as_millis() as u64
        })
    }

    #[test]
    fn the_table_in_the_documentation_holds() {
        assert_eq!(next_three(MissedTickBehavior::Burst, 130), [100, 150, 200]);
        assert_eq!(next_three(MissedTickBehavior::Delay, 130), [180, 230, 280]);
        assert_eq!(next_three(MissedTickBehavior::Skip, 130), [150, 200, 250]);
    }

    #[test]
    fn a_tick_that_is_taken_on_time_moves_nothing() {
        for missed in [MissedTickBehavior::Burst, MissedTickBehavior::Delay, MissedTickBehavior::Skip] {
            for at in [50, 52, 55] {
                assert_eq!(next_three(missed, at), [100, 150, 200], "{missed:?} at {at}");
            }
        }
        assert_eq!(next_three(MissedTickBehavior::Delay, 56)[0], 106);
        assert_eq!(next_three(MissedTickBehavior::Skip, 99)[0], 100);
        assert_eq!(next_three(MissedTickBehavior::Skip, 100)[0], 150, "the one that is due now has been missed");
    }

    #[test]
    fn a_burst_catches_up_with_all_that_was_missed() {
        assert_eq!(next_three(MissedTickBehavior::Burst, 1000), [100, 150, 200]);
        assert_eq!(next_three(MissedTickBehavior::Skip, 1020), [1050, 1100, 1150]);
        assert_eq!(next_three(MissedTickBehavior::Delay, 1020), [1070, 1120, 1170]);
    }

    #[test]
    fn a_period_beyond_the_clock_is_no_overflow() {
        let now = Instant::now();
        for missed in [MissedTickBehavior::Burst, MissedTickBehavior::Delay, MissedTickBehavior::Skip] {
            let next = missed.next(now, now + Duration::from_secs(1), Duration::MAX);
            assert!(next > now + Duration::from_secs(86_400 * 365));
        }
    }
}
