//! libc's function `syscall`, by which std and other crates wait for words of memory. All other calls pass through.

use std::ffi::{c_int, c_long};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use green::__interposed::{FutexEnd, FutexWoken, futex_wait, futex_wake};
use libc::timespec;

use crate::calls::counters::BLOCKED;
use crate::calls::mask::rt_sigprocmask;
use crate::calls::poll::deadline_of;
use crate::calls::raw::{self, error, returned};
use crate::calls::sleep::deadline_at;
use crate::calls::waits::{NEVER, after, hand_on, has_passed, may_park_anywhere};

const ALL: u32 = u32::MAX;

/// For so long a thread waits at a time for a word that processes may share: nobody tells what another one does.
const PAUSE: Duration = Duration::from_millis(16);

/// # Safety
///
/// As of `syscall`.
#[inline(always)]
pub unsafe fn syscall(number: c_long, args: [usize; 6]) -> c_long {
    if number == libc::SYS_futex
        && args[0].is_multiple_of(align_of::<AtomicU32>())
        // SAFETY: as the caller promises.
        && let Some(result) = unsafe { usual(args) }
    {
        return result;
    }
    // SAFETY: as the caller promises.
    unsafe { other(number, args) }
}

/// What std's locks do: a wait without an end, by a green thread; and a wake-up of one, if a green thread waits. In the function that is called, as each return
/// from one that has switched goes elsewhere than the processor foresees. `None`: it is something else.
///
/// # Safety
///
/// As of the system call; the word is aligned.
#[inline(always)]
unsafe fn usual(args: [usize; 6]) -> Option<c_long> {
    const WAIT: c_int = libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG;
    const WAKE: c_int = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
    match args[1] as c_int {
        WAIT if args[3] == 0 && args[5] as u32 == ALL && may_park_anywhere() => {
            // SAFETY: as the caller promises.
            match unsafe { futex_wait(word(args[0]), args[2] as u32, ALL, NEVER) } {
                FutexEnd::Woken => Some(0),
                FutexEnd::Changed | FutexEnd::TimedOut => Some(returned(error(libc::EAGAIN)) as c_long),
            }
        }
        WAKE if args[2] as u32 == 1 => {
            let woken = futex_wake(args[0], 1, ALL);
            if woken.is_free {
                hand_on(woken.count);
            }
            if woken.count > 0 {
                return Some(1);
            }
            // SAFETY: a wake-up looks the address up, and touches no memory.
            Some(returned(unsafe { raw::call(libc::SYS_futex, args) }) as c_long)
        }
        _ => None,
    }
}

/// # Safety
///
/// As of `syscall`.
#[inline(never)]
unsafe fn other(number: c_long, args: [usize; 6]) -> c_long {
    // SAFETY: as the caller promises.
    let result = unsafe {
        match number {
            libc::SYS_futex => futex(args),
            libc::SYS_rt_sigprocmask => rt_sigprocmask(args),
            _ => raw::call(number, args),
        }
    };
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
    if !address.is_multiple_of(align_of::<AtomicU32>()) {
        return kernel(args);
    }
    // libstdc++ has words of its own process, too, that are not marked as such.
    let may_be_shared = operation & libc::FUTEX_PRIVATE_FLAG == 0;
    let wait = |bits: u32, deadline: fn(&timespec) -> Option<u64>| {
        // SAFETY: as the caller promises.
        unsafe { wait(args, bits, may_be_shared, deadline) }.unwrap_or_else(|| kernel(args))
    };
    match operation & libc::FUTEX_CMD_MASK {
        libc::FUTEX_WAKE => wake(address, value, ALL, args),
        libc::FUTEX_WAKE_BITSET => wake(address, value, bits, args),
        libc::FUTEX_WAIT => wait(ALL, deadline_of),
        libc::FUTEX_WAIT_BITSET if bits != 0 => {
            let real = operation & libc::FUTEX_CLOCK_REALTIME != 0;
            let deadline: fn(&timespec) -> Option<u64> = match real {
                true => |time| deadline_at(libc::CLOCK_REALTIME, time),
                false => |time| deadline_at(libc::CLOCK_MONOTONIC, time),
            };
            wait(bits, deadline)
        }
        libc::FUTEX_REQUEUE | libc::FUTEX_CMP_REQUEUE => {
            // The kernel compares the word, if that is asked for. Then: the fourth argument is the number of those to move. They are woken: a wait may end for no reason.
            let moved = kernel(args);
            if moved < 0 {
                return moved;
            }
            moved + futex_wake(address, value.saturating_add(args[3] as u32), ALL).count as isize
        }
        // The kernel changes the other word, and does not say what it was; so that is done here.
        libc::FUTEX_WAKE_OP => {
            let (other, what) = (args[4], args[5] as u32);
            if !other.is_multiple_of(align_of::<AtomicU32>()) {
                return error(libc::EINVAL);
            }
            // SAFETY: valid as the caller promises, and aligned.
            let Some(is_met) = operate(unsafe { &*word(other) }, what) else { return error(libc::ENOSYS) };
            let wake_at =
                |at: usize, most: usize| wake(at, most as u32, ALL, [at, wake_operation(operation), most, 0, 0, 0]);
            match wake_at(address, args[2]) {
                woken @ 0.. if is_met => woken + wake_at(other, args[3]).max(0),
                woken => woken,
            }
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

/// The operation of a plain wake-up, with the flags of another.
fn wake_operation(operation: c_int) -> usize {
    (operation & !libc::FUTEX_CMD_MASK | libc::FUTEX_WAKE) as usize
}

/// What `FUTEX_WAKE_OP` does with the other word: changes it, and says whether it was what it is compared with. `None`: no such operation.
fn operate(word: &AtomicU32, what: u32) -> Option<bool> {
    let (operation, compare) = (what >> 28 & 7, what >> 24 & 15);
    // Numbers of twelve bits with a sign.
    let [by, with] = [what >> 12, what].map(|bits| ((bits << 20) as i32 >> 20) as u32);
    let by = if what >> 31 != 0 { 1 << (by & 31) } else { by };
    let change: fn(u32, u32) -> u32 = match operation as c_int {
        libc::FUTEX_OP_SET => |_, by| by,
        libc::FUTEX_OP_ADD => u32::wrapping_add,
        libc::FUTEX_OP_OR => |old, by| old | by,
        libc::FUTEX_OP_ANDN => |old, by| old & !by,
        libc::FUTEX_OP_XOR => |old, by| old ^ by,
        _ => return None,
    };
    let is_met: fn(&i32, &i32) -> bool = match compare as c_int {
        libc::FUTEX_OP_CMP_EQ => i32::eq,
        libc::FUTEX_OP_CMP_NE => i32::ne,
        libc::FUTEX_OP_CMP_LT => i32::lt,
        libc::FUTEX_OP_CMP_LE => i32::le,
        libc::FUTEX_OP_CMP_GT => i32::gt,
        libc::FUTEX_OP_CMP_GE => i32::ge,
        _ => return None,
    };
    let old = word.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |old| Some(change(old, by)));
    let old = old.unwrap_or_else(|old| old);
    Some(is_met(&(old as i32), &(with as i32)))
}

/// Green threads first, the kernel's with what is left.
fn wake(address: usize, most: u32, bits: u32, mut args: [usize; 6]) -> isize {
    // The kernel takes the number for a signed one, and wakes one if it is not above zero.
    let most = if (most as i32) <= 0 { 1 } else { most };
    let none = FutexWoken { count: 0, is_free: false };
    let woken = if bits == 0 { none } else { futex_wake(address, most, bits) };
    if woken.count == most {
        // One, whose word is zero: nearly always the end of a lock.
        if most == 1 && woken.is_free {
            hand_on(1);
        }
        return most as isize;
    }
    args[2] = (most - woken.count) as usize;
    // SAFETY: a wake looks the address up, and touches no memory.
    match unsafe { raw::call(libc::SYS_futex, args) } {
        more @ 0.. => more + woken.count as isize,
        _ if woken.count > 0 => woken.count as isize,
        error => error,
    }
}

/// `None`: the caller may not park, or its time is none. What may be shared is waited for a while at a time, and then the wait ends for no reason, as any may.
///
/// # Safety
///
/// The word is valid; the fourth argument is null or points to a time.
unsafe fn wait(
    args: [usize; 6],
    bits: u32,
    may_be_shared: bool,
    deadline: impl FnOnce(&timespec) -> Option<u64>,
) -> Option<isize> {
    if !may_park_anywhere() {
        return None;
    }
    let time: *const timespec = std::ptr::with_exposed_provenance(args[3]);
    // SAFETY: as the caller promises.
    let deadline_ns = match unsafe { time.as_ref() } {
        None => NEVER,
        Some(time) => deadline(time)?,
    };
    let until = if may_be_shared { deadline_ns.min(after(PAUSE)) } else { deadline_ns };
    // SAFETY: as the caller promises.
    Some(match unsafe { futex_wait(word(args[0]), args[2] as u32, bits, until) } {
        FutexEnd::Woken => 0,
        FutexEnd::Changed => error(libc::EAGAIN),
        FutexEnd::TimedOut if until < deadline_ns && !has_passed(deadline_ns) => 0,
        FutexEnd::TimedOut => error(libc::ETIMEDOUT),
    })
}
