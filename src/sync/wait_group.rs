//! `WaitGroup`.
#![forbid(unsafe_code)]

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::Duration;

use crate::park::queue::WaitQueue;
use crate::park::{Wait, checkpoint};
use crate::sys::clock::after_ns;
use crate::task::header::Reason;

/// Waits until a number of threads, which need not be known at the start, are done: `crossbeam_utils::sync::WaitGroup`.
///
/// Each thread has a clone and drops it when it is done. [`wait`](WaitGroup::wait) is a cancellation point.
///
/// ```
/// use green::sync::WaitGroup;
///
/// green::run(|| {
///     let group = WaitGroup::new();
///     for _ in 0..4 {
///         let group = group.clone();
///         green::spawn(move || {
///             // … some work, and then:
///             drop(group);
///         });
///     }
///     group.wait();
/// });
/// ```
pub struct WaitGroup {
    count: Arc<WaitQueue<usize>>,
}

impl UnwindSafe for WaitGroup {}
impl RefUnwindSafe for WaitGroup {}

impl WaitGroup {
    /// Makes a group with one member, this handle.
    ///
    /// ```
    /// green::sync::WaitGroup::new().wait(); // no other members: returns at once
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self { count: Arc::new(WaitQueue::new(1)) }
    }

    /// Leaves the group, and waits until all other members have left it, by a drop or by waiting, too.
    ///
    /// A cancellation point; a thread that is cancelled here has left the group.
    ///
    /// ```
    /// use green::sync::WaitGroup;
    /// let group = WaitGroup::new();
    /// let member = group.clone();
    /// let thread = green::spawn(move || drop(member));
    /// group.wait();
    /// thread.join().unwrap();
    /// ```
    pub fn wait(self) {
        checkpoint();
        let count = self.leave();
        let wait = Wait::new(Reason::WaitGroup).on(Arc::as_ptr(&count));
        count.wait_until(wait, |count| (*count == 0).then_some(()));
    }

    /// Leaves the group, waits for at most `d` until all other members have left it, and returns whether they have.
    ///
    /// The caller has left in any case. A cancellation point.
    ///
    /// ```
    /// use std::time::Duration;
    /// let group = green::sync::WaitGroup::new();
    /// let member = group.clone();
    /// assert!(!group.wait_timeout(Duration::from_millis(1)));
    /// assert!(member.wait_timeout(Duration::from_secs(5)));
    /// ```
    #[must_use]
    pub fn wait_timeout(self, d: Duration) -> bool {
        checkpoint();
        let count = self.leave();
        let wait = Wait::new(Reason::WaitGroup).on(Arc::as_ptr(&count)).until(after_ns(d));
        count.wait_until(wait, |count| (*count == 0).then_some(())).is_some()
    }

    fn leave(self) -> Arc<WaitQueue<usize>> {
        self.count.clone()
    }
}

impl Clone for WaitGroup {
    fn clone(&self) -> Self {
        self.count.with(|count| *count += 1);
        Self { count: self.count.clone() }
    }
}

impl Drop for WaitGroup {
    fn drop(&mut self) {
        self.count.notify_all(|count| {
            *count -= 1;
            *count == 0
        });
    }
}

impl Default for WaitGroup {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for WaitGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitGroup").field("count", &self.count.with(|count| *count)).finish()
    }
}
