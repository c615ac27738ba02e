//! Errands: the wakers of foreign async code that the poller's events wake. They are user code, which may wait, panic, or drop
//! the last handle of something; so the loop does not call them (invariant 4 of [`worker`](super::worker)), but a green
//! thread of the worker's own does, at once a thread for all that there are.
//!
//! # The protocol
//!
//! All of it is on one OS thread, on its [`Events`](super::events::Events), of which `fresh` says that a thread for the errands is queued and has not begun.
//!
//! ```text
//!  the loop                                     a thread for errands
//!  E1  adds the wakers of a look                F1  fresh := false
//!  E2  not fresh: queues a thread, fresh        F2  takes the oldest waker; none: ends
//!                                               F3  some are left, and not fresh: queues a thread, fresh
//!                                               F4  calls it; then F2
//! ```
//!
//! **No waker waits behind one that waits.** While there are some, a thread is queued that has not begun (E2, F3), or one is
//! on its way from F1 or F4 back to F2 without having waited. F3 costs a thread for nothing in most cases: one a look.
//!
//! **None is forgotten.** The work is in the drop of what the thread captures, so it is also done when the runtime stops, and
//! the thread is cancelled before it starts. A cancel or a stop does not interrupt a waker.
//!
//! **No memory for a thread.** At F3 the wakers wait until this one is through. At E2 the loop calls them itself; there one
//! that would wait panics.

use std::io;
use std::panic::Location;

use crate::driver::slot::call;
use crate::park::interrupt;
use crate::park::no_park::no_park;
use crate::sched::entry::PerWorker;
use crate::sched::worker::Worker;
use crate::task::Task;
use crate::task::block;
use crate::task::header::Spec;

/// What a thread for errands captures.
struct Work;

impl Drop for Work {
    fn drop(&mut self) {
        // Not queued, for lack of memory: then it is dropped where it was made.
        if let Some(worker) = Worker::current().filter(|worker| worker.events.fresh.replace(false)) {
            interrupt::shielded(|| worker.do_errands());
        }
    }
}

impl Worker {
    /// Step E2.
    pub(crate) fn queue_errands(&self) {
        if self.events.has_wakers() && !self.events.fresh.get() && self.queue_errand_thread().is_err() {
            while let Some(waker) = self.events.take_waker() {
                no_park(|| call(waker));
            }
        }
    }

    /// Steps F2 to F4.
    fn do_errands(&self) {
        while let Some(waker) = self.events.take_waker() {
            if self.events.has_wakers() && !self.events.fresh.get() {
                let _ = self.queue_errand_thread();
            }
            call(waker);
        }
    }

    #[cold]
    fn queue_errand_thread(&self) -> io::Result<()> {
        let size = self.shared.stack_size;
        self.stacks().reserve(size)?;
        let spec = Spec {
            name: None,
            size,
            id: self.fresh_id(),
            runtime: self.shared.identity(),
            schedule: self.shared.schedule,
            refs: 1,
            handle: false,
            spawned_at: Location::caller(),
        };
        let work = Work;
        let header = block::new::<PerWorker, _, _, _>(spec, (), move || drop(work))
            .inspect_err(|_| self.stacks().unreserve(size))?;
        self.events.fresh.set(true);
        self.shared.count_spawn(Some(self.remote));
        // SAFETY: the one reference is the queue's.
        let task = unsafe { Task::from_raw(header) };
        self.spawn_here(task);
        Ok(())
    }
}
