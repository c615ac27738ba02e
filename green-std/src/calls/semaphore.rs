//! Semaphores of libc. A green thread that finds none left waits beside the kernel's waiters, by the semaphore's address: who posts wakes both kinds.
//!
//! No post is lost, by the proof of green's table of futexes: "the word was changed" is the post, "word changed?" is `sem_trywait`.
//! A post wakes a green thread and lets an OS thread have it, too, if there is one: whoever comes first takes it, the other waits again.

use std::ffi::c_int;
use std::mem::transmute;

use green::__interposed::{FutexEnd, address_wait, futex_wake};
use libc::{clockid_t, sem_t, timespec};

use crate::calls::counters::{BLOCKED, FUTEXES};
use crate::calls::hidden::{SEM_CLOCKWAIT, SEM_POST, SEM_TIMEDWAIT, SEM_WAIT};
use crate::calls::raw::{address, error, returned_int};
use crate::calls::sleep::deadline_at;
use crate::calls::waits::{NEVER, hand_on_unless_in_handler, may_park_anywhere};

type Call = unsafe extern "C-unwind" fn(*mut sem_t) -> c_int;
type UntilCall = unsafe extern "C-unwind" fn(*mut sem_t, *const timespec) -> c_int;
type ByClockCall = unsafe extern "C-unwind" fn(*mut sem_t, clockid_t, *const timespec) -> c_int;

/// May the caller park for it? A post by another process would not be seen.
fn parks(sem: *mut sem_t) -> bool {
    if !may_park_anywhere() {
        return false;
    }
    // glibc: a number of eight bytes, then four that say whether processes share it. They do share it between versions of glibc, so that stays.
    // SAFETY: the callers' semaphore, which has 32 bytes; `sem_init` has written these, and nobody changes them.
    let shared = unsafe { sem.cast::<u32>().add(2).read() } != 0;
    if shared {
        BLOCKED.add();
    }
    !shared
}

/// Waits as a green thread. `deadline_ns`: `None` is no moment at all, of which the function says so only if it has to wait.
///
/// # Safety
///
/// `sem` is a semaphore.
unsafe fn wait(sem: *mut sem_t, deadline_ns: Option<u64>) -> c_int {
    // SAFETY: as the caller promises; the calling thread's own `errno`, which stays as it was.
    let is_taken = || unsafe {
        let errno = libc::__errno_location();
        let before = *errno;
        let is_taken = libc::sem_trywait(sem) == 0;
        *errno = before;
        is_taken
    };
    if is_taken() {
        return 0;
    }
    let Some(deadline_ns) = deadline_ns else { return returned_int(error(libc::EINVAL)) };
    FUTEXES.add();
    loop {
        let mut taken = false;
        let look = || {
            taken = is_taken();
            taken
        };
        match address_wait(address(sem), deadline_ns, look) {
            _ if taken || is_taken() => return 0,
            FutexEnd::TimedOut => return returned_int(error(libc::ETIMEDOUT)),
            FutexEnd::Woken | FutexEnd::Changed => {}
        }
    }
}

/// # Safety
///
/// As of libc's function.
pub unsafe fn sem_wait(sem: *mut sem_t) -> c_int {
    match parks(sem) {
        // SAFETY: as the caller promises.
        true => unsafe { wait(sem, Some(NEVER)) },
        // SAFETY: the type of the function of this name; as the caller promises.
        false => unsafe { transmute::<*mut std::ffi::c_void, Call>(SEM_WAIT.get())(sem) },
    }
}

/// # Safety
///
/// As of libc's function.
pub unsafe fn sem_timedwait(sem: *mut sem_t, moment: *const timespec) -> c_int {
    match parks(sem) {
        // SAFETY: as the caller promises.
        true => unsafe { wait(sem, deadline_at(libc::CLOCK_REALTIME, &*moment)) },
        // SAFETY: the type of the function of this name; as the caller promises.
        false => unsafe { transmute::<*mut std::ffi::c_void, UntilCall>(SEM_TIMEDWAIT.get())(sem, moment) },
    }
}

/// # Safety
///
/// As of libc's function.
pub unsafe fn sem_clockwait(sem: *mut sem_t, clock: clockid_t, moment: *const timespec) -> c_int {
    match matches!(clock, libc::CLOCK_REALTIME | libc::CLOCK_MONOTONIC) && parks(sem) {
        // SAFETY: as the caller promises.
        true => unsafe { wait(sem, deadline_at(clock, &*moment)) },
        // SAFETY: the type of the function of this name; as the caller promises.
        false => unsafe { transmute::<*mut std::ffi::c_void, ByClockCall>(SEM_CLOCKWAIT.get())(sem, clock, moment) },
    }
}

/// # Safety
///
/// As of libc's function.
pub unsafe fn sem_post(sem: *mut sem_t) -> c_int {
    let at = address(sem);
    // SAFETY: the type of the function of this name; as the caller promises.
    let result = unsafe { transmute::<*mut std::ffi::c_void, Call>(SEM_POST.get())(sem) };
    if result == 0 {
        // By the address alone: the semaphore may be gone.
        hand_on_unless_in_handler(futex_wake(at, 1, u32::MAX).count);
    }
    result
}
