//! How long a child that has died waits for its next start, and how often that may be.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Says how long a child that has died waits before it is started again.
///
/// The delay doubles with each death in a row, from the lower bound to the upper one. A child that has run for longer than the upper
/// bound, and for longer than the supervisor's window, begins anew. The default is
/// `Backoff::exponential(50 ms..=10 s).jitter(0.2)`.
///
/// ```
/// use green::actor::Backoff;
/// use std::time::Duration;
///
/// let gentle = Backoff::exponential(Duration::from_millis(100)..=Duration::from_secs(60)).jitter(0.5);
/// let at_once = Backoff::none();
/// # let _ = (gentle, at_once);
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    jitter: f64,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { min: Duration::from_millis(50), max: Duration::from_secs(10), jitter: 0.2 }
    }
}

impl Backoff {
    /// Starts a child again at once.
    ///
    /// ```
    /// use green::actor::{Backoff, Supervisor};
    /// let eager = Supervisor::one_for_one().backoff(Backoff::none());
    /// # let _ = eager;
    /// ```
    #[must_use]
    pub const fn none() -> Self {
        Self { min: Duration::ZERO, max: Duration::ZERO, jitter: 0.0 }
    }

    /// Doubles the delay from the first bound to the second; no jitter.
    ///
    /// ```
    /// use green::actor::Backoff;
    /// use std::time::Duration;
    /// let slow = Backoff::exponential(Duration::from_secs(1)..=Duration::from_secs(300));
    /// # let _ = slow;
    /// ```
    ///
    /// # Panics
    ///
    /// If the second bound is less than the first.
    #[must_use]
    #[track_caller]
    pub fn exponential(bounds: RangeInclusive<Duration>) -> Self {
        let (min, max) = bounds.into_inner();
        assert!(min <= max, "a back-off from {min:?} to {max:?} has its bounds in the wrong order");
        Self { min, max, jitter: 0.0 }
    }

    /// Makes each delay longer or shorter by a random part, up to `part` of it, so that children that died together do not
    /// start together.
    ///
    /// ```
    /// use green::actor::Backoff;
    /// let spread = Backoff::default().jitter(0.5);
    /// # let _ = spread;
    /// ```
    ///
    /// # Panics
    ///
    /// If `part` is not within 0 to 1.
    #[must_use]
    #[track_caller]
    pub fn jitter(self, part: f64) -> Self {
        assert!((0.0..=1.0).contains(&part), "a jitter of {part} is not within 0 to 1");
        Self { jitter: part, ..self }
    }

    pub(super) fn max(&self) -> Duration {
        self.max
    }

    /// The delay after so many deaths in a row before this one; `random` is within 0 to 1.
    pub(super) fn delay(&self, before: u32, random: f64) -> Duration {
        let doubled = self.min.saturating_mul(1_u32.checked_shl(before).unwrap_or(u32::MAX)).min(self.max);
        let factor = 1.0 + self.jitter * (2.0 * random - 1.0);
        Duration::try_from_secs_f64(doubled.as_secs_f64() * factor).map_or(self.max, |delay| delay.min(self.max))
    }
}

/// Restarts that are borne within a window that slides.
#[derive(Clone, Debug)]
pub(super) struct Intensity {
    borne: u32,
    pub(super) window: Duration,
    /// When the last ones were, the oldest first.
    times_ns: VecDeque<u64>,
}

impl Intensity {
    pub(super) fn new(borne: u32, window: Duration) -> Self {
        Self { borne, window, times_ns: VecDeque::new() }
    }

    /// One more, now. False: that is too many.
    pub(super) fn bears(&mut self, now_ns: u64) -> bool {
        if self.borne == u32::MAX {
            // No number is too many, and so none is kept.
            return true;
        }
        let window_ns = u64::try_from(self.window.as_nanos()).unwrap_or(u64::MAX);
        while self.times_ns.front().is_some_and(|first_ns| now_ns - first_ns > window_ns) {
            self.times_ns.pop_front();
        }
        self.times_ns.push_back(now_ns);
        self.times_ns.len() <= self.borne as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_back_off_doubles_up_to_its_bound() {
        let backoff = Backoff::exponential(10 * MS..=70 * MS);
        let delays: Vec<_> = (0..5).map(|before| backoff.delay(before, 0.5).as_millis()).collect();
        assert_eq!(delays, [10, 20, 40, 70, 70]);
        assert_eq!(backoff.delay(4_000_000_000, 0.5), 70 * MS);
        assert_eq!(Backoff::none().delay(3, 1.0), Duration::ZERO);
        assert_eq!(Backoff::exponential(Duration::MAX..=Duration::MAX).jitter(1.0).delay(9, 1.0), Duration::MAX);
    }

    #[test]
    fn a_jitter_stays_within_its_part_and_the_bound() {
        let backoff = Backoff::exponential(10 * MS..=100 * MS).jitter(0.2);
        assert_eq!((backoff.delay(0, 0.0), backoff.delay(0, 1.0)), (8 * MS, 12 * MS));
        assert_eq!(backoff.delay(9, 1.0), 100 * MS);
    }

    #[test]
    fn the_default_has_a_jitter() {
        let delays = [0.0, 0.5, 1.0].map(|random| Backoff::default().delay(0, random));
        assert_eq!(delays, [40 * MS, 50 * MS, 60 * MS]);
    }

    #[test]
    fn bounds_that_make_no_sense_are_refused() {
        for refused in [
            || Backoff::exponential(2 * MS..=MS),
            || Backoff::default().jitter(-0.1),
            || Backoff::default().jitter(1.1),
            || Backoff::default().jitter(f64::NAN),
        ] {
            assert!(std::panic::catch_unwind(refused).is_err());
        }
    }

    #[test]
    fn restarts_are_counted_in_a_window_that_slides() {
        let mut three = Intensity::new(3, Duration::from_nanos(100));
        assert_eq!([0, 50, 100].map(|now| three.bears(now)), [true; 3]);
        // The first one has gone: three are in the window again.
        assert!(three.bears(101));
        assert!(!three.bears(149));
        assert!(!Intensity::new(0, Duration::MAX).bears(0));
    }

    #[test]
    fn restarts_without_a_bound_take_no_memory() {
        let mut any = Intensity::new(u32::MAX, Duration::MAX);
        assert!((0..1000).all(|now| any.bears(now)));
        assert!(any.times_ns.is_empty());
    }
}
