//! The monotonic clock in nanoseconds, counted from the first call in this process.
//!
//! What runs on a worker with virtual time sees that time in its place ([`now_ns`]). The scheduler's own sleeps and habits go by
//! real time everywhere ([`real_ns`]).

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::base::atomic::{AtomicU64, Ordering};
use crate::sys::fork::ForkSafeOnce;

/// A moment that never comes: the deadline of a wait without one.
pub(crate) const NEVER: u64 = u64::MAX;

/// The system's coarse clock ticks at least a hundred times a second.
const COARSE_NS: u64 = 10_000_000;

/// Where this clock begins, as std counts it and as the system does.
struct ZeroPoint {
    instant: Instant,
    system_ns: u64,
}

/// The system is asked after std, so this clock is never ahead of std's: a thread that has waited for a moment on this one
/// finds it passed on that one, too. It is behind by what lies between the two looks, so the closest of a few pairs counts.
#[inline]
fn zero() -> &'static ZeroPoint {
    static ZERO: ForkSafeOnce<ZeroPoint> = ForkSafeOnce::new();
    ZERO.get_or_init(|| {
        let pairs = (0..8).map(|_| {
            let (before_ns, instant, system_ns) = (system::now_ns(), Instant::now(), system::now_ns());
            (system_ns - before_ns, ZeroPoint { instant, system_ns })
        });
        pairs.min_by_key(|(apart_ns, _)| *apart_ns).expect("eight pairs").1
    })
}

thread_local! {
    /// The virtual time of the worker that this is.
    static VIRTUAL: Cell<Option<&'static AtomicU64>> = const { Cell::new(None) };
}

/// This OS thread goes by `time`, or by real time again. A green thread with thread-locals of its own says so, too.
pub(crate) fn go_by(time: Option<&'static AtomicU64>) {
    VIRTUAL.set(time);
}

/// The virtual time of the worker that this runs on.
#[inline]
pub(crate) fn virtual_ns() -> Option<u64> {
    VIRTUAL.get().map(read)
}

#[cold]
fn read(time: &AtomicU64) -> u64 {
    // ORDERING: Relaxed: only this OS thread writes it.
    time.load(Ordering::Relaxed)
}

/// The time of the worker that this runs on; elsewhere, real time.
#[inline]
pub(crate) fn now_ns() -> u64 {
    match VIRTUAL.get() {
        None => real_ns(),
        Some(time) => read(time),
    }
}

/// The same as std counts it.
pub(crate) fn now() -> Instant {
    virtual_ns().map_or_else(Instant::now, instant_at)
}

/// Nanoseconds since the first call in this process.
#[inline]
pub(crate) fn real_ns() -> u64 {
    let zero_ns = zero().system_ns;
    system::now_ns() - zero_ns
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
    let now_ns = match VIRTUAL.get() {
        None => system::coarse_ns().saturating_sub(zero().system_ns).saturating_add(COARSE_NS),
        Some(time) => read(time),
    };
    now_ns.saturating_add(d)
}

/// The system's clocks, whatever they begin with. std's `Instant` is the same clock on Linux; asked for the difference of two
/// it works with seconds and nanoseconds apart, which takes longer than the look itself.
#[cfg(all(target_os = "linux", not(miri)))]
mod system {
    #[inline]
    fn read(clock: libc::clockid_t) -> u64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the pointer is to a `timespec` of our own.
        unsafe { libc::clock_gettime(clock, &raw mut time) };
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }

    #[inline]
    pub(super) fn now_ns() -> u64 {
        read(libc::CLOCK_MONOTONIC)
    }

    /// Up to `COARSE_NS` behind.
    #[inline]
    pub(super) fn coarse_ns() -> u64 {
        read(libc::CLOCK_MONOTONIC_COARSE)
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
mod system {
    pub(super) use self::now_ns as coarse_ns;

    pub(super) fn now_ns() -> u64 {
        static FIRST: super::ForkSafeOnce<std::time::Instant> = super::ForkSafeOnce::new();
        FIRST.get_or_init(std::time::Instant::now).elapsed().as_nanos() as u64
    }
}

/// `deadline` on this clock; a moment that has passed already is one that is due now.
pub(crate) fn at_ns(deadline: Instant) -> u64 {
    u64::try_from(deadline.saturating_duration_since(zero().instant).as_nanos()).unwrap_or(NEVER)
}

/// Has `deadline_ns` passed? Looks at the clock only if it is not [`NEVER`].
#[inline]
pub(crate) fn has_passed(deadline_ns: u64) -> bool {
    deadline_ns != NEVER && deadline_ns <= now_ns()
}

/// A moment of this clock as std counts it.
pub(crate) fn instant_at(ns: u64) -> Instant {
    zero().instant + Duration::from_nanos(ns)
}

/// Runs `sleep`, a timed sleep of this OS thread that the system shall end on time; Linux adds 50 µs by default.
///
/// The slack belongs to the OS thread, and a thread or child that it starts inherits the slack of that moment. So the least
/// slack is set only while the thread sleeps, and what was there before comes back, be it the program's own.
pub(crate) fn precisely<R>(sleep: impl FnOnce() -> R) -> R {
    let before = slack::get();
    if before > slack::LEAST {
        slack::set(slack::LEAST);
    }
    let result = sleep();
    if before > slack::LEAST {
        slack::set(before);
    }
    result
}

#[cfg(all(target_os = "linux", not(miri)))]
mod slack {
    pub(super) const LEAST: libc::c_long = 1;

    /// Zero or less: the system has none for this thread, or does not say.
    pub(super) fn get() -> libc::c_long {
        // SAFETY: PR_GET_TIMERSLACK has no further arguments. (libc's `prctl` would cut the answer to an `int`.)
        unsafe { libc::syscall(libc::SYS_prctl, libc::PR_GET_TIMERSLACK, 0, 0, 0, 0) }
    }

    pub(super) fn set(ns: libc::c_long) {
        // SAFETY: PR_SET_TIMERSLACK takes a number and touches nothing but the calling thread's slack.
        unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_TIMERSLACK, ns, 0, 0, 0) };
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
mod slack {
    pub(super) const LEAST: i64 = 0;

    pub(super) fn get() -> i64 {
        LEAST
    }

    pub(super) fn set(_ns: i64) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_clock_is_not_ahead_of_std_and_hardly_behind() {
        // Apart by more only if the system has taken the processor away each time.
        let mut least_ns = u64::MAX;
        for _ in 0..1000 {
            let (before, now_ns, after) = (Instant::now(), now_ns(), Instant::now());
            assert!(instant_at(now_ns) <= after, "ahead of std's clock");
            assert!(now_ns <= at_ns(after) && instant_at(at_ns(after)) == after);
            least_ns = least_ns.min(at_ns(before).saturating_sub(now_ns));
        }
        assert!(least_ns < 1_000_000, "{least_ns} ns behind std's clock");
    }

    #[test]
    fn a_coarse_moment_is_not_before_the_exact_one() {
        for d in [0, 1, 1_000_000, 3_600_000_000_000].map(Duration::from_nanos) {
            let exact_ns = after_ns(d);
            let coarse_ns = coarse_after_ns(d);
            assert!(coarse_ns >= exact_ns && coarse_ns <= after_ns(d) + 2 * COARSE_NS);
        }
        assert_eq!((after_ns(Duration::MAX), coarse_after_ns(Duration::MAX)), (NEVER, NEVER));
    }
}
