//! libc's own functions, where this crate's need them.
//!
//! All are looked up before `main`: a look-up takes the loader's lock, which a thread may hold that waits for just this call (in a constructor of a library), and discards what
//! `dlerror` tells. Who calls earlier has them looked up one by one.

use std::ffi::{CStr, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::calls::raw::{self, address};

/// libc's function of a name, which the program's own one hides.
pub(crate) struct Hidden {
    name: &'static CStr,
    /// The version that programs are linked with, where there is another of the name: before 2.36 glibc finds the oldest (its bug 14932).
    version: Option<&'static CStr>,
    found: AtomicPtr<c_void>,
}

impl Hidden {
    const fn of(name: &'static CStr) -> Self {
        Self { name, version: None, found: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Condition variables had another layout once.
    const fn of_conditions(name: &'static CStr) -> Self {
        let version = if cfg!(target_arch = "x86_64") { Some(c"GLIBC_2.3.2") } else { None };
        Self { version, ..Self::of(name) }
    }

    pub(crate) fn get(&self) -> *mut c_void {
        let mut found = self.found.load(Ordering::Relaxed);
        if found.is_null() {
            found = self.find();
            assert!(!found.is_null(), "libc has {:?}", self.name);
        }
        found
    }

    /// Null: this libc does not have it.
    #[cold]
    fn find(&self) -> *mut c_void {
        let name = self.name.as_ptr();
        let mut found = ptr::null_mut();
        if let Some(version) = self.version {
            // SAFETY: strings.
            found = unsafe { libc::dlvsym(libc::RTLD_NEXT, name, version.as_ptr()) };
        }
        if found.is_null() {
            // SAFETY: a string.
            found = unsafe { libc::dlsym(libc::RTLD_NEXT, name) };
        }
        self.found.store(found, Ordering::Relaxed);
        found
    }
}

/// Those that are needed.
macro_rules! hidden {
    ($($at:ident = $of:ident($name:literal);)*) => {
        $(pub(crate) static $at: Hidden = Hidden::$of($name);)*

        /// Before `main`.
        pub fn find_hidden() {
            for hidden in [$(&$at),*] {
                hidden.find();
            }
        }
    };
}

hidden! {
    PTHREAD_SIGMASK = of(c"pthread_sigmask");
    SIGPROCMASK = of(c"sigprocmask");
    SIGSUSPEND = of(c"sigsuspend");
    GETADDRINFO = of(c"getaddrinfo");
    PTHREAD_JOIN = of(c"pthread_join");
    PTHREAD_TIMEDJOIN = of(c"pthread_timedjoin_np");
    PTHREAD_CLOCKJOIN = of(c"pthread_clockjoin_np");
    PTHREAD_ONCE = of(c"pthread_once");
    BARRIER_WAIT = of(c"pthread_barrier_wait");
    THRD_JOIN = of(c"thrd_join");
    SEM_WAIT = of(c"sem_wait");
    SEM_TIMEDWAIT = of(c"sem_timedwait");
    SEM_CLOCKWAIT = of(c"sem_clockwait");
    SEM_POST = of(c"sem_post");
    MUTEX_LOCK = of(c"pthread_mutex_lock");
    MUTEX_CLOCKLOCK = of(c"pthread_mutex_clocklock");
    MUTEX_UNLOCK = of(c"pthread_mutex_unlock");
    RWLOCK_RDLOCK = of(c"pthread_rwlock_rdlock");
    RWLOCK_CLOCKRDLOCK = of(c"pthread_rwlock_clockrdlock");
    RWLOCK_WRLOCK = of(c"pthread_rwlock_wrlock");
    RWLOCK_CLOCKWRLOCK = of(c"pthread_rwlock_clockwrlock");
    RWLOCK_UNLOCK = of(c"pthread_rwlock_unlock");
    COND_WAIT = of_conditions(c"pthread_cond_wait");
    COND_TIMEDWAIT = of_conditions(c"pthread_cond_timedwait");
    COND_CLOCKWAIT = of(c"pthread_cond_clockwait");
    COND_SIGNAL = of_conditions(c"pthread_cond_signal");
    COND_BROADCAST = of_conditions(c"pthread_cond_broadcast");
}

/// Are the functions of the program, or library, in which `inside` is those that others find? Says so if they are not.
pub fn is_found(inside: *const c_void) -> bool {
    // SAFETY: a string.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"recv".as_ptr()) };
    let (found, own) = (base_of(found), base_of(inside));
    if found == own || own.is_null() {
        return true;
    }
    const WARNING: &[u8] =
        b"green-std: interpose! stands in a library that a program has loaded, where nobody finds what it defines: it belongs into the program\n";
    // SAFETY: the kernel reads so many bytes. Not by `write`: who loads the library has the loader's lock, and must not park.
    unsafe { raw::call(libc::SYS_write, [2, address(WARNING.as_ptr()), WARNING.len(), 0, 0, 0]) };
    false
}

/// Where that is loaded in which `at` is; null: nowhere.
fn base_of(at: *const c_void) -> *const c_void {
    // SAFETY: zeros are a value of it, and it is written.
    unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        libc::dladdr(at, &raw mut info);
        info.dli_fbase
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program's own, of the version that the linker has chosen.
    #[test]
    fn of_two_versions_of_a_function_the_older_one_was_found() {
        let linked: [(&Hidden, *const c_void); 4] = [
            (&COND_WAIT, libc::pthread_cond_wait as *const c_void),
            (&COND_TIMEDWAIT, libc::pthread_cond_timedwait as *const c_void),
            (&COND_SIGNAL, libc::pthread_cond_signal as *const c_void),
            (&COND_BROADCAST, libc::pthread_cond_broadcast as *const c_void),
        ];
        for (hidden, linked) in linked {
            assert_eq!(hidden.get().cast_const(), linked, "{:?}", hidden.name);
            #[cfg(target_arch = "x86_64")]
            // SAFETY: strings.
            let of_version =
                |version: &CStr| unsafe { libc::dlvsym(libc::RTLD_NEXT, hidden.name.as_ptr(), version.as_ptr()) };
            #[cfg(target_arch = "x86_64")]
            assert!(of_version(c"GLIBC_2.3.2") == hidden.get() && of_version(c"GLIBC_2.2.5") != hidden.get());
        }
    }

    #[test]
    fn all_are_looked_up_at_once() {
        find_hidden();
        assert!(!COND_CLOCKWAIT.found.load(Ordering::Relaxed).is_null());
    }
}
