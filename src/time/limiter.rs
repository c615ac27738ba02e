//! How often something may happen: a token bucket, as one number.
//!
//! The number is the moment at which the bucket is full again, if nothing more is taken (the *theoretical arrival time* of the generic cell rate
//! algorithm, ITU-T I.371). To take a permit moves it by the time in which one permit comes. The permit is there at that new moment less the
//! time that fills the bucket; so whoever takes one knows at once how long to wait, in the order of the takes.

use std::time::Duration;

use crate::base::atomic::{AtomicU64, Ordering};
use crate::park::checkpoint;
use crate::sys::clock::now_ns;
use crate::time::sleep::sleep_until_ns;

/// A bucket fills in this time at most: the moments of its permits fit into a number with room to spare.
const MAX_FILL_NS: u64 = u64::MAX / 2;

/// Limits how often something happens: so many times a second, and a few more at once after a pause. A token bucket.
///
/// For green threads and OS threads alike, and under [virtual time](crate::RuntimeBuilder::virtual_time). Those that wait are served in the order in
/// which they came. It is full at first. How many do something *at the same time* is a [`Semaphore`](crate::sync::Semaphore)'s to limit. The
/// name is that of Go's `x/time/rate`.
///
/// ```
/// use green::time::Limiter;
/// use std::time::{Duration, Instant};
///
/// let mails = Limiter::new(1000.0, 10);
/// let start = Instant::now();
/// for _ in 0..15 {
///     mails.acquire(); // ten at once, then one each millisecond
/// }
/// assert!(start.elapsed() >= Duration::from_millis(4));
/// ```
#[derive(Debug)]
pub struct Limiter {
    /// In which time one permit comes.
    every_ns: u64,
    /// In which time the bucket is filled.
    fill_ns: u64,
    /// When it is full again. Relaxed throughout: a moment, with which nothing is handed over.
    full_at_ns: AtomicU64,
}

/// A permit that is waited for. Dropped, it is given back, unless others were taken since: those stand as they are.
struct TakenPermit<'a> {
    limiter: &'a Limiter,
    before_ns: u64,
    after_ns: u64,
}

impl TakenPermit<'_> {
    /// Until it is there, and then it is the caller's.
    fn wait(self) {
        sleep_until_ns(self.after_ns.saturating_sub(self.limiter.fill_ns));
        std::mem::forget(self);
    }
}

impl Drop for TakenPermit<'_> {
    fn drop(&mut self) {
        let Self { limiter, before_ns, after_ns } = self;
        // ORDERING: see the field.
        let _ = limiter.full_at_ns.compare_exchange(*after_ns, *before_ns, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Limiter {
    /// Makes a limiter of `rate` permits a second, of which at most `burst` gather while none is taken.
    ///
    /// A permit comes each so many whole nanoseconds: up to 10⁷ a second the rate is kept within 0.5 %, at 10⁸ within 5 %, and towards 10⁹ it may be
    /// half as much again as was asked for.
    ///
    /// ```
    /// let hourly = green::time::Limiter::new(1.0 / 3600.0, 1);
    /// assert!(hourly.try_acquire());
    /// assert!(!hourly.try_acquire());
    /// ```
    ///
    /// # Panics
    ///
    /// If `rate` is not within 0, exclusive, to 10⁹, or `burst` is zero, or `burst` permits take more than 292 years (2⁶³ ns) to come.
    #[must_use]
    #[track_caller]
    pub fn new(rate: f64, burst: u32) -> Self {
        assert!(rate > 0.0 && rate <= 1e9, "a rate of {rate} a second is not within 0 to 1,000,000,000");
        assert_ne!(burst, 0, "a limiter with a burst of zero would let nothing through");
        let every_ns = (1e9 / rate).round() as u64;
        let fill_ns = every_ns.checked_mul(u64::from(burst)).filter(|fill_ns| *fill_ns <= MAX_FILL_NS);
        let Some(fill_ns) = fill_ns else {
            let years = f64::from(burst) / rate / (365.25 * 86_400.0);
            panic!("a burst of {burst} at {rate} a second would take {years:.0} years to come, and not 292 at most");
        };
        Self { every_ns, fill_ns, full_at_ns: AtomicU64::new(0) }
    }

    /// Takes a permit, and waits until it is there. A cancellation point: a caller that is cancelled or timed out gives the
    /// permit back, if it was the last that was taken.
    ///
    /// ```
    /// let limiter = green::time::Limiter::new(100.0, 1);
    /// limiter.acquire();
    /// let soon = std::time::Duration::from_micros(1);
    /// assert!(green::timeout(soon, || limiter.acquire()).is_err());
    /// ```
    #[doc(alias = "wait")]
    pub fn acquire(&self) {
        self.take(|_, _| true).expect("a permit comes, however late").wait();
    }

    /// Takes a permit if one comes within `d`, and waits until it is there. When it would come later, that is known at once: the
    /// answer is `false`, without a wait, and nothing is taken. A cancellation point; a caller that is cancelled is as for
    /// [`acquire`](Self::acquire).
    ///
    /// ```
    /// use std::time::Duration;
    /// let limiter = green::time::Limiter::new(1000.0, 1);
    /// limiter.acquire();
    /// assert!(!limiter.acquire_timeout(Duration::ZERO));
    /// assert!(limiter.acquire_timeout(Duration::from_secs(1))); // after one millisecond
    /// ```
    #[must_use = "without a permit, what it is for is not to be done"]
    pub fn acquire_timeout(&self, d: Duration) -> bool {
        let d_ns = u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        // By the clock that `take` has read: one that is there now is due now.
        let permit = self.take(|due_ns, now_ns| due_ns.saturating_sub(now_ns) <= d_ns);
        let is_to_come = permit.is_some();
        match permit {
            Some(permit) => permit.wait(),
            None => checkpoint(),
        }
        is_to_come
    }

    /// Takes a permit if there is one. Never waits.
    ///
    /// ```
    /// let limiter = green::time::Limiter::new(0.001, 2);
    /// assert_eq!([0; 3].map(|_| limiter.try_acquire()), [true, true, false]);
    /// ```
    #[doc(alias = "allow")]
    pub fn try_acquire(&self) -> bool {
        self.take(|due_ns, now_ns| due_ns <= now_ns).map(std::mem::forget).is_some()
    }

    /// Takes a permit, if the moment at which it is due suits.
    fn take(&self, suits: impl Fn(u64, u64) -> bool) -> Option<TakenPermit<'_>> {
        let now_ns = now_ns();
        let mut before_ns = self.full_at_ns.load(Ordering::Relaxed);
        loop {
            let after_ns = before_ns.max(now_ns).saturating_add(self.every_ns);
            if !suits(after_ns.saturating_sub(self.fill_ns), now_ns) {
                return None;
            }
            // ORDERING: see the field.
            match self.full_at_ns.compare_exchange_weak(before_ns, after_ns, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(TakenPermit { limiter: self, before_ns, after_ns }),
                Err(other) => before_ns = other,
            }
        }
    }
}
