//! What can only be waited for by a thread that blocks: made by one of a pool, while the caller parks. Look-ups of names have a pool of their own; and so have threads
//! that wait for the end of others, and for children: as many as there are to wait for, since one of them may wait for what comes after another. `flock` is tried again and again.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::{self, transmute};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use green::__interposed::{blocking, look_up};
use libc::{addrinfo, clockid_t, id_t, idtype_t, pid_t, pthread_barrier_t, pthread_t, rusage, siginfo_t, timespec};

use crate::calls::counters::{BLOCKED, HANDED_OVER};
use crate::calls::hidden::{BARRIER_WAIT, GETADDRINFO, PTHREAD_CLOCKJOIN, PTHREAD_JOIN, PTHREAD_TIMEDJOIN, THRD_JOIN};
use crate::calls::raw::{self, AGAIN, address, error, returned_int};
use crate::calls::waits::{
    Direction, NEVER, TAKEN, WaitEnd, Waits, at_once, may_park, may_park_anywhere, may_wait_here, spend, with_pauses,
};

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
    // SAFETY: the same.
    unsafe { look_up_by(real, node, service, hints, found) }
}

/// Has `real` make it on another OS thread.
unsafe fn look_up_by(
    real: LookUp,
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    found: *mut *mut addrinfo,
) -> c_int {
    HANDED_OVER.add();
    // Copies: a caller that is cancelled leaves the look-up behind.
    // SAFETY: null, or a string.
    let copy = |text: *const c_char| (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_owned());
    let texts = [copy(node), copy(service)];
    // SAFETY: null, or hints, whose pointers nobody follows.
    let hints = Lent(unsafe { hints.as_ref() }.copied());
    let looked_up = look_up(move || {
        let ([node, service], Lent(hints)) = (texts, { hints });
        let text = |text: &Option<CString>| text.as_ref().map_or(ptr::null(), |text| text.as_ptr());
        let mut found = Found(ptr::null_mut());
        // SAFETY: strings and hints that live, as the caller's. `errno` is this OS thread's.
        unsafe {
            let hints = hints.as_ref().map_or(ptr::null(), ptr::from_ref);
            let result = real(text(&node), text(&service), hints, &raw mut found.0);
            (result, *libc::__errno_location(), found)
        }
    });
    let (result, number) = match looked_up {
        Some((result, number, mut addresses)) => {
            if result == 0 {
                // SAFETY: as the caller promises, to whom they go.
                unsafe { *found = mem::replace(&mut addresses.0, ptr::null_mut()) };
            }
            (result, number)
        }
        None => {
            spend();
            (libc::EAI_SYSTEM, libc::ECANCELED)
        }
    };
    // SAFETY: the calling thread's own.
    unsafe { *libc::__errno_location() = number };
    result
}

/// What a look-up has found, until its caller has it.
struct Found(*mut addrinfo);

// SAFETY: memory of nobody else's.
unsafe impl Send for Found {}

impl Drop for Found {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: `getaddrinfo` made them, and nobody has them.
            unsafe { libc::freeaddrinfo(self.0) };
        }
    }
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

/// Makes a call that waits for other threads, and holds nothing of the calling one. If the system refuses the OS thread for it, it is made when one is through that has another such call, or when the next call gets its own.
fn waits(call: impl FnOnce() -> c_int) -> c_int {
    if !may_park_anywhere() {
        return call();
    }
    HANDED_OVER.add();
    let lent = Lent(call);
    blocking(move || {
        let Lent(call) = { lent };
        call()
    })
}

/// Waits for `child` by `call`, which takes the options of `waitpid` and of its kind. `None`: no one child; or something else than its end.
fn wait_for_child(
    child: Option<pid_t>,
    options: c_int,
    has_come: impl Fn(isize) -> bool,
    call: impl Fn(c_int) -> isize + Send + Copy,
) -> c_int {
    if options & libc::WNOHANG != 0 || !may_park() {
        return returned_int(at_once(call(options)));
    }
    // Children of the calling OS thread alone are not those of another.
    if options & libc::__WNOTHREAD != 0 {
        BLOCKED.add();
        return returned_int(call(options));
    }
    // A descriptor tells of the end of one process, and of nothing else: not that a traced one stops, of which the call itself would tell.
    let one = child.and_then(pidfd_of);
    if let Some(fd) = &one
        && let Some(mut waits) = Waits::of(fd.as_raw_fd(), Direction::Read)
    {
        loop {
            let result = call(options | libc::WNOHANG);
            if has_come(result) {
                return returned_int(at_once(result));
            }
            match waits.wait(NEVER) {
                Some(WaitEnd::Interrupted) => return returned_int(at_once(error(libc::ECANCELED))),
                Some(_) => {}
                None => break,
            }
        }
    }
    if !may_wait_here() {
        return returned_int(call(options));
    }
    HANDED_OVER.add();
    returned_int(blocking(move || call(options)))
}

/// # Safety
///
/// As of `wait4`.
pub unsafe fn wait4(child: pid_t, status: *mut c_int, options: c_int, used: *mut rusage) -> pid_t {
    let (status, used) = (address(status), address(used));
    // SAFETY: as the caller promises, who waits.
    let call = move |options: c_int| unsafe {
        raw::call(libc::SYS_wait4, [child as usize, status, options as usize, used, 0, 0])
    };
    wait_for_child((child > 0 && options == 0).then_some(child), options, |result| result != 0, call)
}

/// # Safety
///
/// As of `wait3`.
pub unsafe fn wait3(status: *mut c_int, options: c_int, used: *mut rusage) -> pid_t {
    // SAFETY: as the caller promises.
    unsafe { wait4(-1, status, options, used) }
}

/// # Safety
///
/// As of `waitpid`.
pub unsafe fn waitpid(child: pid_t, status: *mut c_int, options: c_int) -> pid_t {
    // SAFETY: as the caller promises.
    unsafe { wait4(child, status, options, ptr::null_mut()) }
}

/// # Safety
///
/// As of `wait`.
pub unsafe fn wait(status: *mut c_int) -> pid_t {
    // SAFETY: as the caller promises.
    unsafe { wait4(-1, status, 0, ptr::null_mut()) }
}

/// # Safety
///
/// As of `waitid`.
pub unsafe fn waitid(kind: idtype_t, id: id_t, info: *mut siginfo_t, options: c_int) -> c_int {
    // One's own, as callers may give none: it says whether a child was found.
    let found = AtomicI32::new(0);
    let info_at = address(info);
    let call = |options: c_int| {
        // SAFETY: zeros are a value of it.
        let mut own: siginfo_t = unsafe { mem::zeroed() };
        let args = [kind as usize, id as usize, address(&raw mut own), options as usize, 0, 0];
        // SAFETY: as the caller promises, who waits; the kernel writes one `siginfo_t`.
        unsafe {
            let result = raw::call(libc::SYS_waitid, args);
            if result == 0 {
                found.store(own.si_pid(), Ordering::Relaxed);
                let info: *mut siginfo_t = ptr::with_exposed_provenance_mut(info_at);
                if !info.is_null() {
                    info.write(own);
                }
            }
            result
        }
    };
    let one = (kind == libc::P_PID && options & !libc::WNOWAIT == libc::WEXITED).then_some(id as pid_t);
    let has_come = |result: isize| result < 0 || found.load(Ordering::Relaxed) != 0;
    wait_for_child(one, options, has_come, call)
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
    let attempt = || match call(operation | libc::LOCK_NB) {
        AGAIN => TAKEN,
        result => result,
    };
    returned_int(with_pauses(Duration::from_millis(20), NEVER, attempt, || call(operation)))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    /// What a look-up has seen: one more than the length of the name.
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    static HAS_BEGUN: AtomicBool = AtomicBool::new(false);
    static MAY_END: AtomicBool = AtomicBool::new(false);

    /// A name server that is silent at first.
    unsafe extern "C-unwind" fn slow(
        node: *const c_char,
        _: *const c_char,
        hints: *const addrinfo,
        found: *mut *mut addrinfo,
    ) -> c_int {
        HAS_BEGUN.store(true, Ordering::Release);
        while !MAY_END.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
        // SAFETY: as of `getaddrinfo`, which has another name here.
        unsafe {
            let result = libc::getaddrinfo(node, ptr::null(), hints, found);
            SEEN.store(1 + CStr::from_ptr(node).count_bytes(), Ordering::Release);
            result
        }
    }

    #[test]
    fn a_cancel_waited_for_the_answer_of_a_name_server() {
        green::run(|| {
            let looks = green::spawn(|| {
                let name = CString::new("127.0.0.1").unwrap();
                let mut found = ptr::null_mut();
                // SAFETY: a string, no hints, and room for the result.
                let result = unsafe { look_up_by(slow, name.as_ptr(), ptr::null(), ptr::null(), &raw mut found) };
                assert_eq!(result, libc::EAI_SYSTEM);
                assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::ECANCELED));
                // The look-up is still to read it.
                name.into_bytes().fill(b'x');
                green::sleep(Duration::from_millis(1));
                unreachable!("it is cancelled");
            });
            while !HAS_BEGUN.load(Ordering::Acquire) {
                green::sleep(Duration::from_millis(1));
            }
            looks.cancel();
            assert!(looks.join().unwrap_err().is::<green::Cancelled>());
            MAY_END.store(true, Ordering::Release);
            while SEEN.load(Ordering::Acquire) == 0 {
                green::sleep(Duration::from_millis(1));
            }
            assert_eq!(SEEN.load(Ordering::Acquire), 1 + "127.0.0.1".len());
        });
    }
}
