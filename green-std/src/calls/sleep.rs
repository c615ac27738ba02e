//! Sleeps, and turns that are given away. Of a thread that has been cancelled sleeps end early, as if the time were over.

use std::cell::Cell;
use std::ffi::{c_int, c_uint};
use std::time::Duration;

use libc::{clockid_t, timespec, useconds_t};

use crate::calls::counters::SLEEPS;
use crate::calls::poll::deadline_of;
use crate::calls::pthread::allocators_have_no_mutex;
use crate::calls::raw::{self, address, returned_int};
use crate::calls::waits::{may_park, may_park_anywhere, may_wait_here, sleep_until, spend};

fn park_until(deadline_ns: u64) {
    SLEEPS.add();
    // One that does not wait, of nothing or after a cancel, is a turn all the same.
    let _ = sleep_until(deadline_ns);
    spend();
}

fn may_sleep() -> bool {
    may_park() && may_wait_here()
}

/// # Safety
///
/// As of `nanosleep`.
pub unsafe fn nanosleep(time: *const timespec, left: *mut timespec) -> c_int {
    // SAFETY: as the caller promises.
    match unsafe { time.as_ref() }.filter(|_| may_sleep()).and_then(deadline_of) {
        Some(deadline_ns) => {
            park_until(deadline_ns);
            0
        }
        // SAFETY: as the caller promises.
        None => returned_int(unsafe { raw::call(libc::SYS_nanosleep, [address(time), address(left), 0, 0, 0, 0]) }),
    }
}

/// How long it is until a moment of a clock; `None`: the clock, or the moment, is none.
fn until(clock: clockid_t, moment: &timespec) -> Option<timespec> {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: libc's own function, which writes one `timespec`.
    if !(0..1_000_000_000).contains(&moment.tv_nsec) || unsafe { libc::clock_gettime(clock, &raw mut now) } != 0 {
        return None;
    }
    let (mut seconds, mut nanos) = (moment.tv_sec.saturating_sub(now.tv_sec), moment.tv_nsec - now.tv_nsec);
    if nanos < 0 {
        (seconds, nanos) = (seconds.saturating_sub(1), nanos + 1_000_000_000);
    }
    Some(if seconds < 0 { timespec { tv_sec: 0, tv_nsec: 0 } } else { timespec { tv_sec: seconds, tv_nsec: nanos } })
}

/// The deadline of a wait until a moment of a clock.
pub(crate) fn deadline_at(clock: clockid_t, moment: &timespec) -> Option<u64> {
    deadline_of(&until(clock, moment)?)
}

/// # Safety
///
/// As of `clock_nanosleep`.
pub unsafe fn clock_nanosleep(clock: clockid_t, flags: c_int, time: *const timespec, left: *mut timespec) -> c_int {
    let known = matches!(clock, libc::CLOCK_REALTIME | libc::CLOCK_MONOTONIC | libc::CLOCK_BOOTTIME | libc::CLOCK_TAI);
    // SAFETY: as the caller promises.
    let time_given = unsafe { time.as_ref() }.filter(|_| known && may_sleep());
    let deadline_ns = match flags {
        0 => time_given.and_then(deadline_of),
        libc::TIMER_ABSTIME => time_given.and_then(|moment| deadline_at(clock, moment)),
        _ => None,
    };
    if let Some(deadline_ns) = deadline_ns {
        park_until(deadline_ns);
        return 0;
    }
    let args = [clock as usize, flags as usize, address(time), address(left), 0, 0];
    // SAFETY: as the caller promises. The function returns the error's number.
    -unsafe { raw::call(libc::SYS_clock_nanosleep, args) } as c_int
}

/// # Safety
///
/// As of libc's function.
pub unsafe fn thrd_sleep(time: *const timespec, left: *mut timespec) -> c_int {
    // SAFETY: as the caller promises.
    match unsafe { clock_nanosleep(libc::CLOCK_REALTIME, 0, time, left) } {
        0 => 0,
        libc::EINTR => -1,
        _ => -2,
    }
}

/// # Safety
///
/// None.
pub unsafe fn usleep(micros: useconds_t) -> c_int {
    let d = Duration::from_micros(micros.into());
    let time = timespec { tv_sec: d.as_secs() as libc::time_t, tv_nsec: d.subsec_nanos().into() };
    // SAFETY: a time of this function's.
    unsafe { nanosleep(&raw const time, std::ptr::null_mut()) }
}

/// # Safety
///
/// None.
pub unsafe fn sleep(seconds: c_uint) -> c_uint {
    let time = timespec { tv_sec: seconds.into(), tv_nsec: 0 };
    let mut left = time;
    // SAFETY: times of this function's.
    if unsafe { nanosleep(&raw const time, &raw mut left) } == 0 {
        return 0;
    }
    (left.tv_sec + libc::time_t::from(left.tv_nsec >= 500_000_000)) as c_uint
}

/// One that waits for an OS thread must give that a turn, too: each so many times.
const TURNS: u32 = 8;

/// # Safety
///
/// None.
pub unsafe fn sched_yield() -> c_int {
    thread_local! {
        static GIVEN: Cell<u32> = const { Cell::new(0) };
    }
    // An allocator may wait so for a lock.
    if allocators_have_no_mutex() && may_park_anywhere() {
        green::yield_now();
        let given = GIVEN.get().wrapping_add(1);
        GIVEN.set(given);
        if !given.is_multiple_of(TURNS) {
            return 0;
        }
    }
    // SAFETY: it touches no memory.
    returned_int(unsafe { raw::call(libc::SYS_sched_yield, [0; 6]) })
}

/// # Safety
///
/// None.
pub unsafe fn thrd_yield() {
    // SAFETY: there is nothing to promise.
    unsafe { sched_yield() };
}
