//! The monotonic clock in nanoseconds, counted from the first call in this process.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A moment that never comes: the deadline of a wait without one.
pub(crate) const NEVER: u64 = u64::MAX;

fn base() -> Instant {
    static BASE: OnceLock<Instant> = OnceLock::new();
    *BASE.get_or_init(Instant::now)
}

/// Nanoseconds since the first call in this process.
#[inline]
pub(crate) fn now_ns() -> u64 {
    base().elapsed().as_nanos() as u64
}

/// The moment `d` from now, or [`NEVER`] when it is too far away to count (584 years).
pub(crate) fn after_ns(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).map_or(NEVER, |d| now_ns().saturating_add(d))
}

/// About `d` from now: not less, and up to [`COARSE_NS`] more. Several times cheaper than [`after_ns`], for a time-out that
/// hardly ever matters.
#[inline]
pub(crate) fn coarse_after_ns(d: Duration) -> u64 {
    let d = u64::try_from(d.as_nanos()).unwrap_or(NEVER);
    coarse_ns().saturating_add(COARSE_NS).saturating_add(d)
}

/// The system's coarse clock ticks at least a hundred times a second.
const COARSE_NS: u64 = 10_000_000;

/// Nanoseconds as [`now_ns`], but up to [`COARSE_NS`] behind.
#[cfg(all(target_os = "linux", not(miri)))]
#[inline]
fn coarse_ns() -> u64 {
    fn read(clock: libc::clockid_t) -> u64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the pointer is to a `timespec` of our own.
        unsafe { libc::clock_gettime(clock, &raw mut time) };
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }
    // `Instant` is CLOCK_MONOTONIC here; where its zero is we have to ask it.
    static ZERO: OnceLock<u64> = OnceLock::new();
    let zero = *ZERO.get_or_init(|| read(libc::CLOCK_MONOTONIC) - now_ns());
    read(libc::CLOCK_MONOTONIC_COARSE).saturating_sub(zero)
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn coarse_ns() -> u64 {
    now_ns()
}

/// `deadline` on this clock; a moment that has passed already is one that is due now.
pub(crate) fn at_ns(deadline: Instant) -> u64 {
    let base = base();
    u64::try_from(deadline.saturating_duration_since(base).as_nanos()).unwrap_or(NEVER)
}

/// Has `deadline_ns` passed? Looks at the clock only if it is not [`NEVER`].
#[inline]
pub(crate) fn has_passed(deadline_ns: u64) -> bool {
    deadline_ns != NEVER && deadline_ns <= now_ns()
}

/// A moment of this clock as std counts it.
pub(crate) fn instant_at(ns: u64) -> Instant {
    base() + Duration::from_nanos(ns)
}

/// Asks the system to end this OS thread's timed sleeps on time; Linux adds 50 µs by default.
pub(crate) fn precise_sleep() {
    #[cfg(target_os = "linux")]
    // SAFETY: PR_SET_TIMERSLACK takes a number and touches nothing but the calling thread's slack.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong)
    };
}
