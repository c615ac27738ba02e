//! Signals that the program blocks. What is blocked by its will has to be known, since in a signal's handler, where another signal is, nothing parks.

use std::ffi::{c_int, c_void};
use std::mem::transmute;

use green::__interposed::{let_signals_in, note_blocked_signals};
use libc::sigset_t;

use crate::calls::counters::BLOCKED;
use crate::calls::hidden::{Hidden, PTHREAD_SIGMASK, SIGPROCMASK, SIGSUSPEND};
use crate::calls::raw;
use crate::calls::waits::may_park;

/// Bytes of a signal mask, as the kernel counts them.
pub(crate) const MASK_LEN: usize = 8;

/// A set as the kernel has it.
///
/// # Safety
///
/// `set` has its first word.
unsafe fn word_of(set: *const sigset_t) -> u64 {
    // SAFETY: as the caller promises.
    unsafe { set.cast::<u64>().read_unaligned() }
}

/// Makes `call`, which changes what is blocked.
///
/// # Safety
///
/// `set` is null, or has its first word.
unsafe fn noted<R>(how: c_int, set: *const sigset_t, call: impl FnOnce() -> R) -> R {
    if set.is_null() {
        return call();
    }
    // SAFETY: as the caller promises.
    let set = unsafe { word_of(set) };
    let stay = match how {
        libc::SIG_UNBLOCK => !set,
        libc::SIG_SETMASK => set,
        _ => u64::MAX,
    };
    note_blocked_signals(stay, call)
}

/// Makes `call`, which waits with this mask if there is one.
///
/// # Safety
///
/// `mask` is null, or has its first word.
pub(crate) unsafe fn with_mask<R>(mask: *const sigset_t, call: impl FnOnce() -> R) -> R {
    if mask.is_null() {
        return call();
    }
    // SAFETY: as the caller promises.
    let_signals_in(unsafe { word_of(mask) }, call)
}

/// libc's own function, whose name `change` is.
///
/// # Safety
///
/// As of that function.
unsafe fn change_by(change: &Hidden, how: c_int, set: *const sigset_t, old: *mut sigset_t) -> c_int {
    type Change = unsafe extern "C" fn(c_int, *const sigset_t, *mut sigset_t) -> c_int;
    // SAFETY: the type of the functions of these names; as the caller promises.
    unsafe { noted(how, set, || transmute::<*mut c_void, Change>(change.get())(how, set, old)) }
}

/// # Safety
///
/// As of libc's function.
pub unsafe fn pthread_sigmask(how: c_int, set: *const sigset_t, old: *mut sigset_t) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { change_by(&PTHREAD_SIGMASK, how, set, old) }
}

/// # Safety
///
/// As of libc's function.
pub unsafe fn sigprocmask(how: c_int, set: *const sigset_t, old: *mut sigset_t) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { change_by(&SIGPROCMASK, how, set, old) }
}

/// The system call, made by its number.
///
/// # Safety
///
/// As of the system call.
pub(crate) unsafe fn rt_sigprocmask(args: [usize; 6]) -> isize {
    let set = if args[3] == MASK_LEN { args[1] } else { 0 };
    // SAFETY: as the caller promises.
    unsafe {
        noted(args[0] as c_int, std::ptr::with_exposed_provenance(set), || raw::call(libc::SYS_rt_sigprocmask, args))
    }
}

/// Blocks whoever calls.
///
/// # Safety
///
/// As of libc's function.
pub unsafe fn sigsuspend(mask: *const sigset_t) -> c_int {
    type Suspend = unsafe extern "C-unwind" fn(*const sigset_t) -> c_int;
    if may_park() {
        BLOCKED.add();
    }
    // SAFETY: the type of the function of this name; as the caller promises.
    unsafe { with_mask(mask, || transmute::<*mut c_void, Suspend>(SIGSUSPEND.get())(mask)) }
}
