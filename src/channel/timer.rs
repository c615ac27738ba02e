//! Channels that time fills: one message at a given moment, or one every so often. Nobody sends.
//!
//! There is no list of waiters: a receiver waits for the moment itself, and looks then whether the message is still
//! there. Each message is taken by one compare-and-exchange, so exactly one receiver has it.

use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, TryRecvError};

use crate::base::atomic::{AtomicU64, Ordering};
use crate::park::{Wait, checkpoint, wait_in};
use crate::sys::clock::{NEVER, at_ns, has_passed, now_ns};
use crate::task::header::Reason;

/// A channel of moments: `T` is [`Instant`]. (A receiver of any `T` may name one, and none but that has one.)
pub(crate) struct TimerChannel<T> {
    /// Nanoseconds from `start` to the next message. [`NEVER`]: there is none any more.
    next: AtomicU64,
    /// Nanoseconds between two messages; `None`: there is one only.
    period_ns: Option<u64>,
    start: Instant,
    start_ns: u64,
    message: fn(Instant) -> T,
}

impl TimerChannel<Instant> {
    /// Delivers `when` at that moment.
    pub(crate) fn at(when: Instant) -> Self {
        Self { next: AtomicU64::new(0), period_ns: None, start: when, start_ns: at_ns(when), message: |moment| moment }
    }

    /// Delivers each moment `period` after the one before, beginning with `first`.
    pub(crate) fn tick(first: Instant, period: Duration) -> Self {
        let period_ns = u64::try_from(period.as_nanos()).unwrap_or(NEVER);
        Self { period_ns: Some(period_ns), ..Self::at(first) }
    }
}

impl<T> TimerChannel<T> {
    /// The moment of the next message, on the clock.
    pub(crate) fn deadline_ns(&self) -> u64 {
        // ORDERING: Relaxed: nothing is handed over but the number itself.
        self.next.load(Ordering::Relaxed).saturating_add(self.start_ns)
    }

    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        self.take(false).ok_or(TryRecvError::Empty)
    }

    /// Takes the next message if it is due. `awaited`: the caller has slept until it was; then the one after it is due a
    /// period later, however late the caller comes. Else the period counts from now.
    fn take(&self, awaited: bool) -> Option<T> {
        loop {
            // ORDERING: Relaxed, here and below: nothing is handed over but the number itself.
            let next = self.next.load(Ordering::Relaxed);
            let now_ns = now_ns();
            let deadline_ns = next.saturating_add(self.start_ns);
            if next == NEVER || now_ns < deadline_ns {
                return None;
            }
            let after = match self.period_ns {
                None => NEVER,
                Some(period) if awaited => next.saturating_add(period),
                Some(period) => (now_ns - self.start_ns).saturating_add(period),
            };
            if self.next.compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return Some((self.message)(self.start + Duration::from_nanos(next)));
            }
        }
    }

    pub(crate) fn recv(&self, deadline_ns: u64) -> Result<T, RecvTimeoutError> {
        checkpoint();
        let mut wait = Wait::new(Reason::Receive);
        let mut awaited = false;
        loop {
            if let Some(message) = self.take(awaited) {
                return Ok(message);
            }
            if has_passed(deadline_ns) {
                return Err(RecvTimeoutError::Timeout);
            }
            wait = wait.until(deadline_ns.min(self.deadline_ns()));
            let _ = wait_in(&mut wait, |_| true, || {});
            awaited = true;
        }
    }

    /// Is there a message to be had?
    pub(crate) fn is_due(&self) -> bool {
        has_passed(self.deadline_ns())
    }
}

/// Receives from a channel that never delivers.
#[cold]
pub(crate) fn wait_in_vain<T>(deadline_ns: u64) -> Result<T, RecvTimeoutError> {
    checkpoint();
    let mut wait = Wait::new(Reason::Receive).until(deadline_ns);
    while !has_passed(deadline_ns) {
        let _ = wait_in(&mut wait, |_| true, || {});
    }
    Err(RecvTimeoutError::Timeout)
}
