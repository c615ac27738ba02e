//! `Condvar`.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::{LockResult, OnceLock, PoisonError, WaitTimeoutResult};
use std::time::{Duration, Instant};

use crate::park::checkpoint;
use crate::park::no_park::assert_may_park;
use crate::sync::mutex::MutexGuard;
use crate::sync::raw_condvar::RawCondvar;
use crate::sys::clock::{NEVER, after_ns};

/// A place to wait, with a [`Mutex`](super::Mutex) let go, until another thread notifies: [`std::sync::Condvar`].
///
/// Green threads and OS threads may wait in one. They are woken in the order in which they came. There are no spurious
/// wake-ups, but do not rely on it: another thread may change the state before a woken one has the mutex again.
///
/// Every wait is a cancellation point. A thread that is cancelled while it waits is unwound without the mutex, which it
/// gave away by its guard, and takes no notification with it; one that has been notified takes the mutex first, returns,
/// and is unwound at its next blocking call.
///
/// ```
/// use green::sync::{Condvar, Mutex};
///
/// green::run(|| {
///     let (ready, changed) = (Mutex::new(false), Condvar::new());
///     green::scope(|s| {
///         s.spawn(|| {
///             *ready.lock().unwrap() = true;
///             changed.notify_one();
///         });
///         let guard = changed.wait_while(ready.lock().unwrap(), |ready| !*ready).unwrap();
///         assert!(*guard);
///     });
/// });
/// ```
pub struct Condvar {
    raw: RawCondvar,
}

impl Condvar {
    /// A condition variable that nobody waits for.
    #[must_use]
    #[inline]
    pub const fn new() -> Self {
        Self { raw: RawCondvar::new() }
    }

    /// Lets the mutex go, waits for a notification, and takes the mutex again.
    ///
    /// # Errors
    ///
    /// If the mutex is poisoned by then; the error holds the guard.
    #[track_caller]
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        match self.wait_until(guard, NEVER) {
            Ok((guard, _)) => Ok(guard),
            Err(error) => Err(PoisonError::new(error.into_inner().0)),
        }
    }

    /// Waits as long as `condition` holds of the value; looks before the first wait.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_while<'a, T, F>(&self, mut guard: MutexGuard<'a, T>, mut condition: F) -> LockResult<MutexGuard<'a, T>>
    where
        F: FnMut(&mut T) -> bool,
    {
        while condition(&mut *guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`wait`](Self::wait), for at most `dur`.
    ///
    /// The time to take the mutex again comes on top. Exactly one of notification and time-out has ended the wait, and
    /// the result says which.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        dur: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        self.wait_until(guard, after_ns(dur))
    }

    /// As [`wait_while`](Self::wait_while), for at most `dur`. The result says that the condition still held then.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_timeout_while<'a, T, F>(
        &self,
        mut guard: MutexGuard<'a, T>,
        dur: Duration,
        mut condition: F,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)>
    where
        F: FnMut(&mut T) -> bool,
    {
        let start = Instant::now();
        loop {
            if !condition(&mut *guard) {
                return Ok((guard, result(false)));
            }
            let Some(left) = dur.checked_sub(start.elapsed()) else { return Ok((guard, result(true))) };
            guard = self.wait_timeout(guard, left)?.0;
        }
    }

    /// Wakes the thread that has waited longest, if one waits. Never waits.
    #[inline]
    pub fn notify_one(&self) {
        self.raw.notify_one();
    }

    /// Wakes all threads that wait now. Never waits.
    #[inline]
    pub fn notify_all(&self) {
        self.raw.notify_all();
    }

    #[track_caller]
    fn wait_until<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline_ns: u64,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        checkpoint();
        assert_may_park("Condvar::wait");
        let suspended = guard.suspend();
        let notified = self.raw.wait(suspended.raw(), deadline_ns);
        suspended.raw().lock_again();
        match suspended.resume() {
            Ok(guard) => Ok((guard, result(!notified))),
            Err(error) => Err(PoisonError::new((error.into_inner(), result(!notified)))),
        }
    }
}

/// std's own result type, which only std makes: so have it make both values, once.
fn result(timed_out: bool) -> WaitTimeoutResult {
    static RESULTS: OnceLock<[WaitTimeoutResult; 2]> = OnceLock::new();
    let results = RESULTS.get_or_init(|| {
        let (mutex, condvar) = (std::sync::Mutex::new(()), std::sync::Condvar::new());
        [false, true].map(|timed_out| {
            let guard = mutex.lock().unwrap_or_else(PoisonError::into_inner);
            let result = condvar.wait_timeout_while(guard, Duration::ZERO, |()| timed_out);
            result.unwrap_or_else(PoisonError::into_inner).1
        })
    });
    results[usize::from(timed_out)]
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}
