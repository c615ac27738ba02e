//! What can only be waited for by a thread that blocks: made by one of a pool, while the caller parks. Look-ups of names have a pool of their own; and so have threads
//! that wait for the end of others, and for children: as many as there are to wait for, since one of them may wait for what comes after another. `flock` is tried again and again.

use std::ffi::{c_char, c_int, c_void};
use std::mem::transmute;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use green::__interposed::{BlockingKind, blocking};
use libc::{addrinfo, clockid_t, pid_t, pthread_barrier_t, pthread_t, timespec};

use crate::calls::counters::HANDED_OVER;
use crate::calls::hidden::{BARRIER_WAIT, GETADDRINFO, PTHREAD_CLOCKJOIN, PTHREAD_JOIN, PTHREAD_TIMEDJOIN, THRD_JOIN};
use crate::calls::raw::{self, address, error, returned_int};
use crate::calls::waits::{Direction, NEVER, WaitEnd, Waits, at_once, may_park, may_park_anywhere, with_pauses};

type LookUp = unsafe extern "C-unwind" fn(*const c_char, *const c_char, *const addrinfo, *mut *mut addrinfo) -> c_int;

/// Pointers of a caller who waits.
#[derive(Clone, Copy)]
struct Lent<T>(T);

// SAFETY: the caller does nothing until the call is over.
unsafe impl<T> Send for Lent<T> {}

/// # Safety
///
/// As of `getaddrinfo`.
pub unsafe fn getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    found: *mut *mut addrinfo,
) -> c_int {
    // SAFETY: the type of the function of this name.
    let real = unsafe { transmute::<*mut c_void, LookUp>(GETADDRINFO.get()) };
    if !may_park() {
        // SAFETY: as the caller promises.
        return unsafe { real(node, service, hints, found) };
    }
    HANDED_OVER.add();
    let lent = Lent((node, service, hints, found));
    let (result, error) = blocking(BlockingKind::Names, move || {
        let Lent((node, service, hints, found)) = { lent };
        // SAFETY: as the caller promises, who waits. `errno` is this OS thread's.
        unsafe {
            let result = real(node, service, hints, found);
            (result, *libc::__errno_location())
        }
    });
    // SAFETY: the calling thread's own.
    unsafe { *libc::__errno_location() = error };
    result
}

/// # Safety
///
/// As of `pthread_join`.
pub unsafe fn pthread_join(thread: pthread_t, value: *mut *mut c_void) -> c_int {
    type Join = unsafe extern "C-unwind" fn(pthread_t, *mut *mut c_void) -> c_int;
    // SAFETY: the type of the function of this name; as the caller promises.
    waits(move || unsafe { transmute::<*mut c_void, Join>(PTHREAD_JOIN.get())(thread, value) })
}

/// # Safety
///
/// As of libc's function.
pub unsafe fn pthread_timedjoin_np(thread: pthread_t, value: *mut *mut c_void, moment: *const timespec) -> c_int {
    type Join = unsafe extern "C-unwind" fn(pthread_t, *mut *mut c_void, *const timespec) -> c_int;
    // SAFETY: the type of the function of this name; as the caller promises.
    waits(move || unsafe { transmute::<*mut c_void, Join>(PTHREAD_TIMEDJOIN.get())(thread, value, moment) })
}

/// # Safety
///
/// As of libc's function.
pub unsafe fn pthread_clockjoin_np(
    thread: pthread_t,
    value: *mut *mut c_void,
    clock: clockid_t,
    moment: *const timespec,
) -> c_int {
    type Join = unsafe extern "C-unwind" fn(pthread_t, *mut *mut c_void, clockid_t, *const timespec) -> c_int;
    // SAFETY: the type of the function of this name; as the caller promises.
    waits(move || unsafe { transmute::<*mut c_void, Join>(PTHREAD_CLOCKJOIN.get())(thread, value, clock, moment) })
}

/// # Safety
///
/// As of libc's function.
pub unsafe fn thrd_join(thread: pthread_t, value: *mut c_int) -> c_int {
    type Join = unsafe extern "C-unwind" fn(pthread_t, *mut c_int) -> c_int;
    // SAFETY: the type of the function of this name; as the caller promises.
    waits(move || unsafe { transmute::<*mut c_void, Join>(THRD_JOIN.get())(thread, value) })
}

/// # Safety
///
/// As of libc's function.
pub unsafe fn pthread_barrier_wait(barrier: *mut pthread_barrier_t) -> c_int {
    type Wait = unsafe extern "C-unwind" fn(*mut pthread_barrier_t) -> c_int;
    // SAFETY: the type of the function of this name; as the caller promises.
    waits(move || unsafe { transmute::<*mut c_void, Wait>(BARRIER_WAIT.get())(barrier) })
}

/// Makes a call that waits for other threads, and holds nothing of the calling one.
fn waits(call: impl FnOnce() -> c_int) -> c_int {
    if !may_park_anywhere() {
        return call();
    }
    HANDED_OVER.add();
    let lent = Lent(call);
    blocking(BlockingKind::Waits, move || {
        let Lent(call) = { lent };
        call()
    })
}

/// # Safety
///
/// As of `waitpid`.
pub unsafe fn waitpid(child: pid_t, status: *mut c_int, options: c_int) -> pid_t {
    let status = address(status);
    // SAFETY: as the caller promises, who waits.
    let call = move |options: c_int| unsafe {
        raw::call(libc::SYS_wait4, [child as usize, status, options as usize, 0, 0, 0])
    };
    // Children of the calling OS thread alone (`__WNOTHREAD`) are not those of another.
    if options & (libc::WNOHANG | libc::__WNOTHREAD) != 0 || !may_park() {
        return returned_int(at_once(call(options)));
    }
    // A descriptor tells of the end of one process, and of nothing else.
    let one = (child > 0 && options == 0).then(|| pidfd_of(child)).flatten();
    if let Some(fd) = &one
        && let Some(mut waits) = Waits::of(fd.as_raw_fd(), Direction::Read)
    {
        loop {
            let result = call(libc::WNOHANG);
            if result != 0 {
                return returned_int(at_once(result));
            }
            match waits.wait(NEVER) {
                Some(WaitEnd::Interrupted) => return returned_int(at_once(error(libc::ECANCELED))),
                Some(_) => {}
                None => break,
            }
        }
    }
    HANDED_OVER.add();
    returned_int(blocking(BlockingKind::Waits, move || call(options)))
}

fn pidfd_of(child: pid_t) -> Option<OwnedFd> {
    // SAFETY: no memory is passed.
    let fd = unsafe { raw::call(libc::SYS_pidfd_open, [child as usize, 0, 0, 0, 0, 0]) };
    // SAFETY: it is new, and nobody else's.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd as c_int) })
}

/// # Safety
///
/// None.
pub unsafe fn flock(fd: c_int, operation: c_int) -> c_int {
    // SAFETY: it touches no memory.
    let call = |operation: c_int| unsafe { raw::call(libc::SYS_flock, [fd as usize, operation as usize, 0, 0, 0, 0]) };
    if operation & libc::LOCK_NB != 0 || !may_park() {
        return returned_int(at_once(call(operation)));
    }
    returned_int(with_pauses(Duration::from_millis(20), NEVER, || call(operation | libc::LOCK_NB)))
}
