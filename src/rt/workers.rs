//! The OS threads of a runtime's workers.
#![forbid(unsafe_code)]

use std::io;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle as OsJoinHandle;
use std::time::Duration;

use crate::base::atomic::Ordering;
use crate::base::lock::Lock;
use crate::park::Wait;
use crate::park::queue::WaitQueue;
use crate::sched::deque::Deque;
use crate::sched::entry::thread_main;
use crate::sched::runs::runs_main;
use crate::sched::{Shared, Worker};
use crate::stack::overflow;
use crate::sys::ask;
use crate::sys::clock::after_ns;
use crate::sys::signals::SignalMask;
use crate::sys::unwinder;
use crate::task::Task;
use crate::task::header::Reason;

/// See the module's text.
pub(super) struct WorkerThreads {
    /// Workers whose OS threads have not ended.
    running: WaitQueue<usize>,
    handles: Lock<Vec<OsJoinHandle<()>>>,
    /// The beginning of their names.
    name: String,
    last_words: Duration,
    /// Of the OS thread that has made the runtime, if there may be spare ones: the monitor, which starts them, has every signal blocked.
    mask: Option<SignalMask>,
}

impl WorkerThreads {
    pub(super) fn new(name: String, has_spares: bool, last_words: Duration) -> Arc<Self> {
        let mask = has_spares.then(SignalMask::current);
        Arc::new(Self { running: WaitQueue::new(0), handles: Lock::new(Vec::new()), name, last_words, mask })
    }

    /// Starts the worker with this number.
    ///
    /// # Errors
    ///
    /// The system refuses the OS thread.
    pub(super) fn start(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        number: usize,
        unstarted: Deque<Task>,
    ) -> io::Result<()> {
        self.running.with(|running| *running += 1);
        self.start_counted(shared, number, unstarted)
    }

    /// The same, of one that is counted.
    fn start_counted(self: &Arc<Self>, shared: &Arc<Shared>, number: usize, unstarted: Deque<Task>) -> io::Result<()> {
        let (shared, this) = (Arc::clone(shared), Arc::clone(self));
        let thread = std::thread::Builder::new().name(format!("{}-{number}", self.name));
        let started = thread.spawn(move || {
            let slot = number.checked_sub(shared.remotes.len());
            if let (Some(_), Some(mask)) = (slot, &this.mask) {
                mask.set();
            }
            ask::admit();
            overflow::prepare_thread();
            let runtime = Arc::clone(&shared);
            unwinder::set_roots([thread_main, runs_main]);
            Worker::new(shared, number, unstarted).run();
            if let Some(slot) = slot {
                runtime.spares[slot].free();
            }
            drop(runtime);
            this.ended();
        });
        match started {
            Ok(thread) => {
                let mut handles = self.handles.lock();
                handles.retain(|handle| !handle.is_finished());
                handles.push(thread);
                Ok(())
            }
            Err(error) => {
                self.ended();
                Err(error)
            }
        }
    }

    fn ended(&self) {
        self.running.notify_all(|running| {
            *running -= 1;
            true
        });
    }

    /// Starts a spare worker, if there is room for one: step A2 of [`spare`](crate::sched::spare).
    pub(super) fn start_spare(self: &Arc<Self>, shared: &Weak<Shared>) {
        let Some(shared) = shared.upgrade() else { return };
        let Some(slot) = shared.spares.iter().position(|slot| slot.take()) else { return };
        let goes_on = self.running.with(|running| {
            let goes_on = *running > 0 && !shared.is_stopping();
            *running += usize::from(goes_on);
            goes_on
        });
        let number = shared.remotes.len() + slot;
        if goes_on && self.start_counted(&shared, number, Deque::new()).is_ok() {
            shared.spares_started.fetch_add(1, Ordering::Relaxed);
        } else {
            // The monitor tries again.
            shared.spares[slot].free();
        }
    }

    /// Waits until all workers of a runtime that stops have run everything.
    pub(super) fn wait(&self) {
        let _ = self.wait_in(Wait::new(Reason::Join).uninterruptible());
    }

    /// The same, and calls `hurry` if they have not after the time of last words: steps H2 and H3 of [`last_words`](crate::task::last_words).
    pub(super) fn wait_or<R>(&self, hurry: impl FnOnce() -> R) {
        let wait = Wait::new(Reason::Join).uninterruptible();
        if self.wait_in(wait.until(after_ns(self.last_words))).is_none() {
            hurry();
            self.wait();
        }
    }

    fn wait_in(&self, wait: Wait) -> Option<()> {
        self.running.wait_until(wait, |running| (*running == 0).then_some(()))
    }

    /// Starts an OS thread for the end of the runtime. If there is none to be had, nobody does that.
    pub(super) fn start_ending(&self, ends: impl FnOnce() + Send + 'static) {
        let _ = std::thread::Builder::new().name(format!("{}-end", self.name)).spawn(ends);
    }

    /// Their OS threads.
    pub(super) fn take(&self) -> Vec<OsJoinHandle<()>> {
        std::mem::take(&mut self.handles.lock())
    }
}
