//! Waiting for nothing but the clock.

use std::time::{Duration, Instant};

use crate::park::current::assert_may_park;
use crate::park::{Wait, Woken, checkpoint, interrupt, park};
use crate::sys::clock::{after_ns, at_ns, now_ns};
use crate::task::header::Reason;

/// Waits for `dur`; not shorter, and longer only by the time until it is the thread's turn again. A cancellation point.
///
/// # Panics
///
/// Inside `no_park`, however short `dur` is.
#[track_caller]
pub fn sleep(dur: Duration) {
    sleep_until_ns(after_ns(dur));
}

/// Waits until `deadline`. A cancellation point, even if that has passed.
///
/// # Panics
///
/// Inside `no_park`, even if `deadline` has passed.
#[track_caller]
pub fn sleep_until(deadline: Instant) {
    sleep_until_ns(at_ns(deadline));
}

#[track_caller]
fn sleep_until_ns(deadline_ns: u64) {
    // Not left to the wait, which a deadline that comes while the caller is on its way there makes superfluous.
    assert_may_park("sleep");
    checkpoint();
    let mut wait = Wait::new(Reason::Sleep).until(deadline_ns);
    while now_ns() < deadline_ns {
        if park(wait, |_| true) == Woken::Interrupted {
            interrupt::raise();
            wait = wait.uninterruptible();
        }
    }
}
