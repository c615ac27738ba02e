//! An OS thread's own sleep: a one-token parker, on a futex where there is one.
//!
//! The word has four values. `EMPTY`: nobody sleeps, no token. `ASLEEP`: the owner sleeps or is about to. `ELSEWHERE`:
//! the same, but it sleeps in something else than the futex, from which the waker has to fetch it.
//! `TOKEN`: an `unpark` came; the next `park` takes it and returns at once.
//!
//! The owner goes EMPTY → ASLEEP, or TOKEN → EMPTY and returns, in one subtraction: were it a swap and a store, a token that
//! comes between the two would be overwritten, and what its waker did not be visible. A waker swaps TOKEN in and makes the
//! system call only if it took ASLEEP out. A token that comes between the owner's subtraction and its system call changes
//! the word, and the kernel compares the word before it sleeps: so no wake-up is lost. (std's `thread_parking/futex.rs` is
//! the source.)
//!
//! `ELSEWHERE` is how a worker sleeps in its poller. The waker that takes it out calls `fetch`, which leaves something
//! there that ends the present sleep, or the next one (a write to an eventfd): so again it does not matter whether it
//! comes before or after the sleep begins. If the owner gets up for another reason meanwhile, its next sleep there is
//! cut short once.

use crate::base::atomic::{AtomicU32, Ordering};
use crate::sys::clock::NEVER;

const EMPTY: u32 = 0;
const ASLEEP: u32 = EMPTY.wrapping_sub(1);
const ELSEWHERE: u32 = ASLEEP - 1;
const TOKEN: u32 = 1;

const _: () = assert!(TOKEN - 1 == EMPTY, "one subtraction makes both transitions of `park`");

/// One token and a place to sleep for it. One thread parks; any thread unparks.
#[derive(Debug)]
pub(crate) struct Parker {
    word: AtomicU32,
    os: os::Sleep,
}

impl Parker {
    pub(crate) const fn new() -> Self {
        Self { word: AtomicU32::new(EMPTY), os: os::Sleep::new() }
    }

    /// Sleeps until there is a token and takes it, or until `deadline_ns`. Says whether it took one.
    pub(crate) fn park(&self, deadline_ns: u64) -> bool {
        // ORDERING: Acquire pairs with the Release in `unpark`: what the waker did before it is visible after.
        if self.word.fetch_sub(1, Ordering::Acquire) == TOKEN {
            return true;
        }
        loop {
            let timed_out = !self.os.wait(&self.word, ASLEEP, deadline_ns);
            // ORDERING: Acquire as above. Relaxed on failure: nothing was handed over.
            if self.word.compare_exchange(TOKEN, EMPTY, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return true;
            }
            if timed_out && deadline_ns != NEVER {
                // ORDERING: Acquire as above; a token that came at the last moment is taken.
                return self.word.swap(EMPTY, Ordering::Acquire) == TOKEN;
            }
        }
    }

    /// Is there a token now? For the owner, which then takes it with [`park`](Self::park).
    pub(crate) fn has_token(&self) -> bool {
        // ORDERING: Relaxed: `park` acquires.
        self.word.load(Ordering::Relaxed) == TOKEN
    }

    /// Unless there is a token, calls `sleep`, which comes back when it wants to or when it is fetched. Takes the token;
    /// says whether there was one.
    pub(crate) fn park_elsewhere(&self, sleep: impl FnOnce()) -> bool {
        // ORDERING: Acquire as in `park`. Release: a waker that takes this out sees where the owner sleeps.
        let token = self.word.swap(ELSEWHERE, Ordering::AcqRel) == TOKEN;
        if !token {
            sleep();
        }
        // ORDERING: Acquire as above.
        self.word.swap(EMPTY, Ordering::Acquire) == TOKEN || token
    }

    /// Leaves a token and wakes the owner if it sleeps. Makes no system call if it does not.
    pub(crate) fn unpark(&self) {
        self.unpark_or(|| {});
    }

    /// As [`unpark`](Self::unpark), for an owner that may sleep elsewhere: `fetch` ends that sleep.
    pub(crate) fn unpark_or(&self, fetch: impl FnOnce()) {
        // ORDERING: Release pairs with the Acquire in `park`; Acquire with the Release in `park_elsewhere`.
        match self.word.swap(TOKEN, Ordering::AcqRel) {
            ASLEEP => self.os.wake(&self.word),
            ELSEWHERE => fetch(),
            _ => {}
        }
    }
}

#[cfg(target_os = "linux")]
mod os {
    //! Linux: the futex system call.

    use crate::base::atomic::AtomicU32;
    use crate::sys::clock::{NEVER, now_ns};

    #[derive(Debug)]
    pub(super) struct Sleep;

    impl Sleep {
        pub(super) const fn new() -> Self {
            Self
        }

        /// Sleeps while `word` is `expected`. False when the deadline has passed; may also wake for no reason.
        pub(super) fn wait(&self, word: &AtomicU32, expected: u32, deadline_ns: u64) -> bool {
            let mut timeout = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            let mut timeout_ptr = std::ptr::null();
            if deadline_ns != NEVER {
                let left = deadline_ns.saturating_sub(now_ns());
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

        pub(super) fn wake(&self, word: &AtomicU32) {
            // SAFETY: FUTEX_WAKE only looks the address up.
            unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1) };
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod os {
    //! Elsewhere: std's lock and condition variable, which are the system's own.

    use std::sync::{Condvar, Mutex, PoisonError};
    use std::time::Duration;

    use crate::base::atomic::{AtomicU32, Ordering};
    use crate::sys::clock::{NEVER, now_ns};

    #[derive(Debug)]
    pub(super) struct Sleep {
        lock: Mutex<()>,
        changed: Condvar,
    }

    impl Sleep {
        pub(super) const fn new() -> Self {
            Self { lock: Mutex::new(()), changed: Condvar::new() }
        }

        /// Sleeps while `word` is `expected`. False when the deadline has passed; may also wake for no reason.
        pub(super) fn wait(&self, word: &AtomicU32, expected: u32, deadline_ns: u64) -> bool {
            let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            // ORDERING: Relaxed: the lock orders this against `wake`; the caller reads the word again with Acquire.
            if word.load(Ordering::Relaxed) != expected {
                return true;
            }
            if deadline_ns == NEVER {
                drop(self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner));
                return true;
            }
            let left = deadline_ns.saturating_sub(now_ns());
            if left == 0 {
                return false;
            }
            let result = self.changed.wait_timeout(guard, Duration::from_nanos(left));
            !result.unwrap_or_else(PoisonError::into_inner).1.timed_out()
        }

        pub(super) fn wake(&self, _word: &AtomicU32) {
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.changed.notify_one();
        }
    }
}
