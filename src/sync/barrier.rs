//! `Barrier`.
#![forbid(unsafe_code)]

use std::panic::{RefUnwindSafe, UnwindSafe};

use crate::base::debug::debug;
use crate::park::queue::WaitQueue;
use crate::park::{Wait, checkpoint};
use crate::task::header::Reason;

/// Lets a number of threads, green and OS alike, wait for each other: [`std::sync::Barrier`].
///
/// [`wait`](Barrier::wait) is a cancellation point; a thread that is cancelled there is not counted any more.
///
/// ```
/// use green::sync::Barrier;
///
/// green::run(|| {
///     let barrier = Barrier::new(3);
///     let leaders = green::scope(|s| {
///         let threads: Vec<_> = (0..3).map(|_| s.spawn(|| barrier.wait().is_leader())).collect();
///         threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|leader| *leader).count()
///     });
///     assert_eq!(leaders, 1);
/// });
/// ```
pub struct Barrier {
    threads: usize,
    state: WaitQueue<BarrierState>,
}

struct BarrierState {
    /// Threads that wait for this generation to be complete.
    count: usize,
    generation: u64,
}

impl UnwindSafe for Barrier {}
impl RefUnwindSafe for Barrier {}

/// Tells whether a thread is the leader of its group: what [`Barrier::wait`] returns. It is
/// [`std::sync::BarrierWaitResult`], which only std can make.
///
/// ```
/// let alone: green::sync::BarrierWaitResult = green::sync::Barrier::new(1).wait();
/// assert!(alone.is_leader());
/// ```
#[derive(Debug)]
pub struct BarrierWaitResult {
    is_leader: bool,
}

/// A thread among those that wait; given up if the wait is unwound.
struct BarrierPlace<'a> {
    barrier: &'a Barrier,
    generation: u64,
}

impl Drop for BarrierPlace<'_> {
    fn drop(&mut self) {
        self.barrier.state.with(|state| state.count -= usize::from(state.generation == self.generation));
    }
}

impl Barrier {
    /// Makes a barrier that lets threads through in groups of `n`; 0 means 1.
    ///
    /// ```
    /// let barrier = green::sync::Barrier::new(1);
    /// assert!(barrier.wait().is_leader()); // a group of its own
    /// ```
    #[must_use]
    #[inline]
    pub const fn new(n: usize) -> Self {
        Self { threads: n, state: WaitQueue::new(BarrierState { count: 0, generation: 0 }) }
    }

    /// Waits until `n` threads have called this. The last of them is the leader; the barrier is then ready for the next
    /// group.
    ///
    /// A cancellation point: a thread that is cancelled while it waits leaves the group, which then needs another.
    ///
    /// ```
    /// use green::sync::Barrier;
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// let (barrier, arrived) = (Barrier::new(4), AtomicU32::new(0));
    /// green::scope(|s| {
    ///     for _ in 0..4 {
    ///         s.spawn(|| {
    ///             arrived.fetch_add(1, Ordering::Relaxed);
    ///             barrier.wait();
    ///             assert_eq!(arrived.load(Ordering::Relaxed), 4);
    ///         });
    ///     }
    /// });
    /// ```
    pub fn wait(&self) -> BarrierWaitResult {
        checkpoint();
        let mut led = None;
        self.state.notify_all(|state| {
            state.count += 1;
            if state.count < self.threads {
                led = Some(state.generation);
                return false;
            }
            state.generation += 1;
            state.count = 0;
            true
        });
        let Some(generation) = led else { return BarrierWaitResult { is_leader: true } };
        let place = BarrierPlace { barrier: self, generation };
        self.state
            .wait_until(Wait::new(Reason::Barrier).on(self), |state| (state.generation != generation).then_some(()));
        drop(place);
        BarrierWaitResult { is_leader: false }
    }
}

debug! { Barrier; }

impl BarrierWaitResult {
    /// Returns true for exactly one thread of each group.
    ///
    /// ```
    /// use green::sync::Barrier;
    /// let barrier = Barrier::new(2);
    /// let leads = || barrier.wait().is_leader();
    /// let (one, other) = green::scope(|s| {
    ///     let (one, other) = (s.spawn(leads), s.spawn(leads));
    ///     (one.join().unwrap(), other.join().unwrap())
    /// });
    /// assert!(one != other);
    /// ```
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.is_leader
    }
}
