//! libc's function `syscall`, by which std and other crates wait for words of memory. All other calls pass through.

use std::ffi::{c_int, c_long};
use std::sync::atomic::AtomicU32;

use green::__interposed::{FutexEnd, futex_wait, futex_wake};
use libc::timespec;

use crate::calls::counters::{BLOCKED, FUTEXES};
use crate::calls::poll::deadline_of;
use crate::calls::raw::{self, error, returned};
use crate::calls::sleep::deadline_at;
use crate::calls::waits::{NEVER, may_park_anywhere};

const ALL: u32 = u32::MAX;

/// # Safety
///
/// As of `syscall`.
#[inline]
pub unsafe fn syscall(number: c_long, args: [usize; 6]) -> c_long {
    // SAFETY: as the caller promises.
    let result = unsafe { if number == libc::SYS_futex { futex(args) } else { raw::call(number, args) } };
    returned(result) as c_long
}

/// # Safety
///
/// As of the system call.
unsafe fn futex(args: [usize; 6]) -> isize {
    let [address, operation, value, ..] = args;
    let (value, bits) = (value as u32, args[5] as u32);
    let operation = operation as c_int;
    // SAFETY: as the caller promises.
    let kernel = |args: [usize; 6]| unsafe { raw::call(libc::SYS_futex, args) };
    if operation & libc::FUTEX_PRIVATE_FLAG == 0 || !address.is_multiple_of(align_of::<AtomicU32>()) {
        return kernel(args);
    }
    match operation & libc::FUTEX_CMD_MASK {
        libc::FUTEX_WAKE => wake(address, value, ALL, args),
        libc::FUTEX_WAKE_BITSET => wake(address, value, bits, args),
        // SAFETY: as the caller promises.
        libc::FUTEX_WAIT => unsafe { wait(args, ALL, deadline_of).unwrap_or_else(|| kernel(args)) },
        libc::FUTEX_WAIT_BITSET if bits != 0 => {
            let real = operation & libc::FUTEX_CLOCK_REALTIME != 0;
            let clock = if real { libc::CLOCK_REALTIME } else { libc::CLOCK_MONOTONIC };
            // SAFETY: as the caller promises.
            unsafe { wait(args, bits, |time| deadline_at(clock, time)).unwrap_or_else(|| kernel(args)) }
        }
        command @ (libc::FUTEX_REQUEUE | libc::FUTEX_CMP_REQUEUE) => {
            // The fourth argument is the number of those to move. They are woken: a wait may end for no reason.
            // SAFETY: valid and aligned, as the caller promises.
            let is_same = || unsafe { &*word(address) }.load(std::sync::atomic::Ordering::SeqCst) == bits;
            if command == libc::FUTEX_REQUEUE || is_same() {
                futex_wake(address, value.saturating_add(args[3] as u32), ALL);
            }
            kernel(args)
        }
        command => {
            if matches!(command, libc::FUTEX_LOCK_PI | libc::FUTEX_WAIT_REQUEUE_PI) && may_park_anywhere() {
                BLOCKED.add();
            }
            kernel(args)
        }
    }
}

fn word(address: usize) -> *const AtomicU32 {
    std::ptr::with_exposed_provenance(address)
}

/// Green threads first, the kernel's with what is left.
fn wake(address: usize, most: u32, bits: u32, mut args: [usize; 6]) -> isize {
    // The kernel takes the number for a signed one, and wakes one if it is not above zero.
    let most = if (most as i32) <= 0 { 1 } else { most };
    let woken = if bits == 0 { 0 } else { futex_wake(address, most, bits) };
    if woken == most {
        return woken as isize;
    }
    args[2] = (most - woken) as usize;
    // SAFETY: a wake looks the address up, and touches no memory.
    match unsafe { raw::call(libc::SYS_futex, args) } {
        more @ 0.. => more + woken as isize,
        _ if woken > 0 => woken as isize,
        error => error,
    }
}

/// `None`: the caller may not park, or its time is none.
///
/// # Safety
///
/// The word is valid; the fourth argument is null or points to a time.
unsafe fn wait(args: [usize; 6], bits: u32, deadline: impl FnOnce(&timespec) -> Option<u64>) -> Option<isize> {
    if !may_park_anywhere() {
        return None;
    }
    let time: *const timespec = std::ptr::with_exposed_provenance(args[3]);
    // SAFETY: as the caller promises.
    let deadline_ns = match unsafe { time.as_ref() } {
        None => NEVER,
        Some(time) => deadline(time)?,
    };
    FUTEXES.add();
    // SAFETY: as the caller promises.
    Some(match unsafe { futex_wait(word(args[0]), args[2] as u32, bits, deadline_ns) } {
        FutexEnd::Woken => 0,
        FutexEnd::Changed => error(libc::EAGAIN),
        FutexEnd::TimedOut => error(libc::ETIMEDOUT),
    })
}
