//! What can only be waited for by a thread that blocks: made by one of the blocking pool, while the caller parks.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::transmute;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use libc::{addrinfo, pid_t, pthread_t};

use crate::calls::counters::HANDED_OVER;
use crate::calls::raw::{self, address, returned_int};
use crate::calls::waits::{blocking, may_park, may_park_anywhere};

type LookUp = unsafe extern "C" fn(*const c_char, *const c_char, *const addrinfo, *mut *mut addrinfo) -> c_int;
type Join = unsafe extern "C" fn(pthread_t, *mut *mut c_void) -> c_int;

/// libc's function of a name, which the program's own one hides.
struct Hidden {
    name: &'static CStr,
    found: AtomicPtr<c_void>,
}

static LOOK_UP: Hidden = Hidden::of(c"getaddrinfo");
static JOIN: Hidden = Hidden::of(c"pthread_join");

impl Hidden {
    const fn of(name: &'static CStr) -> Self {
        Self { name, found: AtomicPtr::new(ptr::null_mut()) }
    }

    fn get(&self) -> *mut c_void {
        let mut found = self.found.load(Ordering::Relaxed);
        if found.is_null() {
            // SAFETY: a string.
            found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
            assert!(!found.is_null(), "libc has {:?}", self.name);
            self.found.store(found, Ordering::Relaxed);
        }
        found
    }
}

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
    let real = unsafe { transmute::<*mut c_void, LookUp>(LOOK_UP.get()) };
    if !may_park() {
        // SAFETY: as the caller promises.
        return unsafe { real(node, service, hints, found) };
    }
    HANDED_OVER.add();
    let lent = Lent((node, service, hints, found));
    let (result, error) = blocking(move || {
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
    // SAFETY: the type of the function of this name.
    let real = unsafe { transmute::<*mut c_void, Join>(JOIN.get()) };
    if !may_park_anywhere() {
        // SAFETY: as the caller promises.
        return unsafe { real(thread, value) };
    }
    HANDED_OVER.add();
    let lent = Lent(value);
    blocking(move || {
        let Lent(value) = { lent };
        // SAFETY: as the caller promises, who waits.
        unsafe { real(thread, value) }
    })
}

/// # Safety
///
/// As of `waitpid`.
pub unsafe fn waitpid(child: pid_t, status: *mut c_int, options: c_int) -> pid_t {
    let args = [child as usize, address(status), options as usize, 0, 0, 0];
    // SAFETY: as the caller promises, who waits.
    let call = move || unsafe { raw::call(libc::SYS_wait4, args) };
    // Children of the calling OS thread alone (`__WNOTHREAD`) are not those of another.
    if options & (libc::WNOHANG | libc::__WNOTHREAD) != 0 || !may_park() {
        return returned_int(call());
    }
    HANDED_OVER.add();
    returned_int(blocking(call))
}

/// # Safety
///
/// None.
pub unsafe fn flock(fd: c_int, operation: c_int) -> c_int {
    // SAFETY: it touches no memory.
    let call =
        move |operation: c_int| unsafe { raw::call(libc::SYS_flock, [fd as usize, operation as usize, 0, 0, 0, 0]) };
    if operation & libc::LOCK_NB != 0 || !may_park() {
        return returned_int(call(operation));
    }
    let at_once = call(operation | libc::LOCK_NB);
    if at_once != raw::AGAIN {
        return returned_int(at_once);
    }
    HANDED_OVER.add();
    returned_int(blocking(move || call(operation)))
}
