//! `Condvar`.
#![forbid(unsafe_code)]

use std::sync::{LockResult, PoisonError, WaitTimeoutResult};
use std::time::Duration;

use crate::base::debug::debug;
use crate::park::checkpoint;
use crate::park::no_park::assert_may_park;
use crate::sync::mutex::MutexGuard;
use crate::sync::raw_condvar::RawCondvar;
use crate::sys::clock::{NEVER, after_ns, has_passed};
use crate::sys::fork::ForkSafeOnce;

/// Lets threads wait, with a [`Mutex`](super::Mutex) let go, until another thread notifies them:
/// [`std::sync::Condvar`].
///
/// Green threads and OS threads may wait in one. They are woken in the order in which they came. There are no spurious
/// wake-ups, but do not rely on it: another thread may change the state before a woken one has the mutex again.
///
/// Every wait is a cancellation point. A thread that is cancelled while it waits is unwound without the mutex, which it
/// gave away by its guard, and takes no notification with it; one that has been notified takes the mutex first, however
/// long another thread has that, returns, and is unwound at its next blocking call. The same holds of a
/// [`timeout`](crate::timeout) around the wait.
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
    /// Makes a condition variable that no thread waits for.
    ///
    /// ```
    /// static CHANGED: green::sync::Condvar = green::sync::Condvar::new();
    /// CHANGED.notify_all();
    /// ```
    #[must_use]
    #[inline]
    pub const fn new() -> Self {
        Self { raw: RawCondvar::new() }
    }

    /// Lets the mutex go, waits for a notification, takes the mutex again, and returns its guard.
    ///
    /// Letting go and beginning to wait are one step: a notification of a thread that takes the mutex after that is not
    /// missed. What was waited for may be gone again by the time the mutex is taken, so check it in a loop, or use
    /// [`wait_while`](Self::wait_while).
    ///
    /// A cancellation point; a thread that is cancelled while it waits unwinds without the mutex.
    ///
    /// ```
    /// use green::sync::{Condvar, Mutex};
    ///
    /// let (queue, filled) = (Mutex::new(Vec::new()), Condvar::new());
    /// let item = green::scope(|s| {
    ///     s.spawn(|| {
    ///         queue.lock().unwrap().push(7);
    ///         filled.notify_one();
    ///     });
    ///     let mut items = queue.lock().unwrap();
    ///     loop {
    ///         match items.pop() {
    ///             Some(item) => break item,
    ///             None => items = filled.wait(items).unwrap(),
    ///         }
    ///     }
    /// });
    /// assert_eq!(item, 7);
    /// ```
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
    /// When it returns, the mutex is held and the condition is false. Everything else is as for [`wait`](Self::wait).
    ///
    /// ```
    /// use green::sync::{Condvar, Mutex};
    ///
    /// let (pending, changed) = (Mutex::new(true), Condvar::new());
    /// green::scope(|s| {
    ///     s.spawn(|| {
    ///         *pending.lock().unwrap() = false;
    ///         changed.notify_one();
    ///     });
    ///     let done = changed.wait_while(pending.lock().unwrap(), |pending| *pending).unwrap();
    ///     assert!(!*done);
    /// });
    /// ```
    ///
    /// # Errors
    ///
    /// If the mutex is poisoned by then; the error holds the guard.
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

    /// Waits for a notification for at most `dur`, and returns the guard and whether the time ended the wait.
    ///
    /// The time to take the mutex again comes on top. Exactly one of notification and time-out ends the wait, and the
    /// result says which: a notification is not lost to a wait that says that it timed out. Everything else is as for
    /// [`wait`](Self::wait).
    ///
    /// ```
    /// use green::sync::{Condvar, Mutex};
    /// use std::time::Duration;
    ///
    /// let (mutex, changed) = (Mutex::new(()), Condvar::new());
    /// let (_guard, result) = changed.wait_timeout(mutex.lock().unwrap(), Duration::from_millis(1)).unwrap();
    /// assert!(result.timed_out());
    /// ```
    ///
    /// # Errors
    ///
    /// If the mutex is poisoned by then; the error holds guard and result.
    #[track_caller]
    pub fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        dur: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        self.wait_until(guard, after_ns(dur))
    }

    /// Waits as long as `condition` holds of the value, for at most `dur` in all.
    ///
    /// If [`timed_out`](super::WaitTimeoutResult::timed_out) says yes, the condition still held at the end.
    ///
    /// ```
    /// use green::sync::{Condvar, Mutex};
    /// use std::time::Duration;
    ///
    /// let (pending, changed) = (Mutex::new(true), Condvar::new());
    /// let guard = pending.lock().unwrap();
    /// let (guard, result) = changed.wait_timeout_while(guard, Duration::from_millis(1), |pending| *pending).unwrap();
    /// assert!(result.timed_out() && *guard);
    /// ```
    ///
    /// # Errors
    ///
    /// If the mutex is poisoned by then; the error holds guard and result.
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
        let deadline_ns = after_ns(dur);
        loop {
            if !condition(&mut *guard) {
                return Ok((guard, result(false)));
            }
            if has_passed(deadline_ns) {
                return Ok((guard, result(true)));
            }
            guard = self.wait_until(guard, deadline_ns)?.0;
        }
    }

    /// Wakes the thread that has waited longest, if one waits. Never waits.
    ///
    /// Without a waiter nothing is remembered, so change what is waited for under the mutex. The mutex need not be held
    /// for this call.
    ///
    /// ```
    /// use green::sync::{Condvar, Mutex};
    ///
    /// let (tickets, changed) = (Mutex::new(0), Condvar::new());
    /// green::scope(|s| {
    ///     s.spawn(|| {
    ///         let mut left = changed.wait_while(tickets.lock().unwrap(), |left| *left == 0).unwrap();
    ///         *left -= 1;
    ///     });
    ///     *tickets.lock().unwrap() += 1;
    ///     changed.notify_one();
    /// });
    /// assert_eq!(*tickets.lock().unwrap(), 0);
    /// ```
    #[inline]
    pub fn notify_one(&self) {
        self.raw.notify_one();
    }

    /// Wakes all threads that wait now. Never waits.
    ///
    /// ```
    /// use green::sync::{Condvar, Mutex};
    ///
    /// let (open, changed) = (Mutex::new(false), Condvar::new());
    /// green::scope(|s| {
    ///     for _ in 0..3 {
    ///         s.spawn(|| drop(changed.wait_while(open.lock().unwrap(), |open| !*open)));
    ///     }
    ///     *open.lock().unwrap() = true;
    ///     changed.notify_all();
    /// });
    /// ```
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
        if notified {
            suspended.raw().lock_again();
        } else {
            suspended.raw().lock();
        }
        match suspended.resume() {
            Ok(guard) => Ok((guard, result(!notified))),
            Err(error) => Err(PoisonError::new((error.into_inner(), result(!notified)))),
        }
    }
}

/// std's own result type, which only std makes: so have it make both values, once.
fn result(timed_out: bool) -> WaitTimeoutResult {
    static RESULTS: ForkSafeOnce<[WaitTimeoutResult; 2]> = ForkSafeOnce::new();
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

debug! { Condvar; }
