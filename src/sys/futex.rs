//! How an OS thread sleeps on a word until another one wakes it: the futex, or what the system has instead.

#[cfg(target_os = "linux")]
pub(crate) use linux::Futex;
#[cfg(not(target_os = "linux"))]
pub(crate) use other::Futex;

#[cfg(target_os = "linux")]
mod linux {
    //! Linux: the futex system call.

    use crate::base::atomic::AtomicU32;
    use crate::sys::clock::{NEVER, real_ns};

    #[derive(Debug)]
    pub(crate) struct Futex;

    impl Futex {
        pub(crate) const fn new() -> Self {
            Self
        }

        /// Sleeps while `word` is `expected`. False when the deadline has passed; may also wake for no reason.
        pub(crate) fn wait(&self, word: &AtomicU32, expected: u32, deadline_ns: u64) -> bool {
            let mut timeout = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            let mut timeout_ptr = std::ptr::null();
            if deadline_ns != NEVER {
                let left = deadline_ns.saturating_sub(real_ns());
                if left == 0 {
                    return false;
                }
                timeout.tv_sec = (left / 1_000_000_000) as libc::time_t;
                timeout.tv_nsec = (left % 1_000_000_000) as _;
                timeout_ptr = &raw const timeout;
            }
            // SAFETY: FUTEX_WAIT reads `word`, which is valid, and the time-out, which is null or valid.
            let result = unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    word.as_ptr(),
                    libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                    expected,
                    timeout_ptr,
                )
            };
            result == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ETIMEDOUT)
        }

        pub(crate) fn wake(&self, word: &AtomicU32) {
            // SAFETY: FUTEX_WAKE only looks the address up.
            unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1) };
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    //! Elsewhere: std's lock and condition variable, which are the system's own.

    use std::sync::{Condvar, Mutex, PoisonError};
    use std::time::Duration;

    use crate::base::atomic::{AtomicU32, Ordering};
    use crate::sys::clock::{NEVER, real_ns};

    #[derive(Debug)]
    pub(crate) struct Futex {
        lock: Mutex<()>,
        changed: Condvar,
    }

    impl Futex {
        pub(crate) const fn new() -> Self {
            Self { lock: Mutex::new(()), changed: Condvar::new() }
        }

        /// Sleeps while `word` is `expected`. False when the deadline has passed; may also wake for no reason.
        pub(crate) fn wait(&self, word: &AtomicU32, expected: u32, deadline_ns: u64) -> bool {
            let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            // ORDERING: Relaxed: the lock orders this against `wake`; the caller reads the word again with Acquire.
            if word.load(Ordering::Relaxed) != expected {
                return true;
            }
            if deadline_ns == NEVER {
                drop(self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner));
                return true;
            }
            let left = deadline_ns.saturating_sub(real_ns());
            if left == 0 {
                return false;
            }
            let result = self.changed.wait_timeout(guard, Duration::from_nanos(left));
            !result.unwrap_or_else(PoisonError::into_inner).1.timed_out()
        }

        pub(crate) fn wake(&self, _word: &AtomicU32) {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.changed.notify_one();
        }
    }
}
