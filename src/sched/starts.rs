//! Which unstarted thread, or run of an actor, starts on this worker next.

use std::ptr::NonNull;

use crate::flight::EventKind;
use crate::sched::queues::THREAD_COSTS;
use crate::sched::worker::Worker;
use crate::sys::clock::real_ns;
use crate::task::{Header, Task};

/// One start in so many is a thread from outside, if there is one, even if the worker has unstarted ones of its own.
const OUTSIDE_FIRST: u32 = 8;

impl Worker {
    /// May there be threads to start here?
    #[inline]
    pub(super) fn has_unstarted(&self) -> bool {
        !(self.queues.unstarted.is_empty() && self.shared.injector.is_empty())
    }

    /// The unstarted thread that is next, if the round may start another one. It was claimed here.
    #[inline(always)]
    pub(super) fn next_unstarted(&self) -> Option<NonNull<Header>> {
        let starts_left = &self.queues.starts_left;
        let left = starts_left.get();
        if left == 0 || !self.has_unstarted() {
            return None;
        }
        let outside_first = (left / THREAD_COSTS).is_multiple_of(OUTSIDE_FIRST);
        starts_left.set(left.saturating_sub(THREAD_COSTS));
        let thread = self.oldest_unstarted(outside_first)?;
        // SAFETY: it was claimed here, so it is alive.
        if unsafe { thread.as_ref() }.vtable.after_run.is_some() {
            starts_left.set(left - 1);
        }
        Some(thread)
    }

    /// The same, if that is a run of an actor, and one of this worker's own. `None` for any other: a thread that was next may have been
    /// [chosen](super::queues::Queues::set_next_start).
    #[inline(always)]
    pub(super) fn next_run(&self) -> Option<NonNull<Header>> {
        let starts_left = &self.queues.starts_left;
        let left = starts_left.get();
        if left == 0 || (left / THREAD_COSTS).is_multiple_of(OUTSIDE_FIRST) && !self.shared.injector.is_empty() {
            return None;
        }
        let task = self.queues.unstarted.take_oldest()?;
        if task.vtable.after_run.is_none() {
            self.choose(task);
            return None;
        }
        starts_left.set(left - 1);
        self.claim(task)
    }

    /// `task`, which was the oldest, starts next, unless another worker starts it.
    #[cold]
    #[inline(never)]
    fn choose(&self, task: Task) {
        if let Some(thread) = self.place(task) {
            let starts_left = &self.queues.starts_left;
            starts_left.set(starts_left.get().saturating_sub(THREAD_COSTS));
            self.queues.set_next_start(thread);
        }
    }

    /// Claims the oldest unstarted thread that starts here: of this worker, or of those that OS threads have spawned.
    #[inline(always)]
    fn oldest_unstarted(&self, outside_first: bool) -> Option<NonNull<Header>> {
        if outside_first && let Some(thread) = self.oldest_from_outside() {
            return Some(thread);
        }
        while let Some(task) = self.queues.unstarted.take_oldest() {
            if let Some(thread) = self.place(task) {
                return Some(thread);
            }
        }
        self.oldest_from_outside()
    }

    fn oldest_from_outside(&self) -> Option<NonNull<Header>> {
        while let Some(task) = self.shared.take_injected() {
            if let Some(thread) = self.place(task) {
                return Some(thread);
            }
        }
        None
    }

    /// Claims a thread that is about to start, unless a joiner has (step D1). `None`: this, or it starts on a sibling.
    #[inline(always)]
    fn place(&self, task: Task) -> Option<NonNull<Header>> {
        let rests = task.vtable.after_run.is_some();
        let thread = self.claim(task)?;
        let computes = || self.clock.has_long_turns(real_ns);
        let balance = &self.policy.balance;
        let elsewhere = if rests { None } else { balance.elsewhere(&self.shared.remotes, self.number, computes) };
        let Some(remote) = elsewhere else { return Some(thread) };
        self.remote.counters.given.add(1);
        // SAFETY: it was claimed here and has not started, so it is alive.
        unsafe { self.record_of(EventKind::Given, thread) };
        // SAFETY: as above; it is in no queue. The remote expects it.
        unsafe { remote.send_unstarted(thread) };
        None
    }

    /// Makes an entry of a queue this worker's own thread, unless a joiner has claimed it already.
    #[inline]
    pub(crate) fn claim(&self, task: Task) -> Option<NonNull<Header>> {
        if task.vtable.after_run.is_some() {
            task.state.claim_rested(self.remote.index);
            return Some(task.into_raw());
        }
        task.state.claim(self.remote.index).then(|| task.into_raw())
    }
}
