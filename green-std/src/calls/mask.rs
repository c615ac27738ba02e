//! Signals that the program blocks. Nothing waits here: what is blocked by the program's will has to be known, since in a signal's handler, where another signal is, nothing parks.

use std::ffi::{c_int, c_void};
use std::mem::transmute;

use green::__interposed::note_blocked_signals;
use libc::sigset_t;

use crate::calls::hidden::{Hidden, PTHREAD_SIGMASK, SIGPROCMASK};

/// libc's own function, whose name `change` is.
///
/// # Safety
///
/// As of that function.
unsafe fn change_by(change: &Hidden, how: c_int, set: *const sigset_t, old: *mut sigset_t) -> c_int {
    type Change = unsafe extern "C" fn(c_int, *const sigset_t, *mut sigset_t) -> c_int;
    // SAFETY: the type of the functions of these names; as the caller promises.
    let call = || unsafe { transmute::<*mut c_void, Change>(change.get())(how, set, old) };
    if set.is_null() { call() } else { note_blocked_signals(call) }
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
