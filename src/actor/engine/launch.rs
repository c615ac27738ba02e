//! How an actor that has been made busy gets to run: in a queue of its runtime, on top of the asker, or, when its runtime is over, here
//! and now, for its end.

#![forbid(unsafe_code)]

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::time::Duration;

use super::busy::Launch;
use super::cell::Core;
use super::weak::Weak;
use crate::park::current::with_header;
use crate::park::interrupt::{shielded, timeout};
use crate::park::os;
use crate::sched::shared::discard;
use crate::sched::{Shared, Worker};
use crate::sys::clock::now_ns;
use crate::sys::fork;
use crate::task::Task;

impl Core {
    /// Something was queued for the actor: queues the actor, if that is the caller's to do. If its runtime has ended, or does so
    /// by this, user code runs here.
    ///
    /// # Panics
    ///
    /// In a child of fork, if the actor is the parent's.
    #[inline]
    pub(crate) fn launch(&self, duty: Option<Launch>) {
        match duty {
            Some(duty) => Self::queue(self.entry(duty)),
            None => self.assert_runs_here(),
        }
    }

    /// Not in a child of fork, if the actor is the parent's: then it does nothing there, busy as it may look.
    #[inline]
    pub(crate) fn assert_runs_here(&self) {
        if fork::generation() != 0 {
            self.assert_own();
        }
    }

    #[cold]
    #[inline(never)]
    fn assert_own(&self) {
        assert!(!self.is_the_parents(), "an actor does not run here: {}", fork::MESSAGE);
    }

    pub(super) fn is_the_parents(&self) -> bool {
        os::is_the_parents(self.header.id)
    }

    /// Queues an actor, by its entry. No reference to the actor, which the caller need not keep: it may run, end and be freed before this returns.
    // Apart: a message for an actor that is busy, the most frequent one, is not burdened with its registers.
    #[inline(never)]
    pub(super) fn queue(entry: Task) {
        match Worker::current() {
            Some(worker) if worker.shared.identity() == entry.runtime => {
                worker.launch(entry);
            }
            _ => inject(entry),
        }
    }

    /// The same, for the thread that runs on this very `worker` and waits for what the actor does: it does so at once, on top of
    /// that one. `answered` says whether it has.
    #[inline]
    pub(super) fn launch_on_top<R>(
        &self,
        duty: Launch,
        worker: &Worker,
        answered: impl FnOnce() -> Option<R>,
    ) -> Option<R> {
        worker.run_asked(self.entry(duty), answered)
    }
}

#[cold]
fn inject(entry: Task) {
    let actor = Weak::resident(entry);
    match actor.core().shared() {
        Some(shared) if !shared.is_over() => {
            shared.inject(actor.into_task());
        }
        _ => end_here(actor),
    }
}

/// The actors that rest when their runtime ends have so long for their `stopping`, all together; before that, those that are queued then.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(5);

/// One that is ended with its runtime may send to another in its `stopping`, which ends there, and so on, so often.
const DEEPEST: u32 = 32;

thread_local! {
    /// Those that end when the others have. It is empty at last, and needs no destructor, after which nothing could be sent.
    static LEFT: ManuallyDrop<RefCell<Vec<Task>>> = const { ManuallyDrop::new(RefCell::new(Vec::new())) };
}

/// One more actor ends on the calling thread's stack, in the one before. (A count by OS thread would be other threads', too: each may park in the midst.)
struct EndsOnTop;

impl EndsOnTop {
    /// `None`: the row is too deep.
    fn begin() -> Option<Self> {
        with_header(|thread| {
            let ends = &thread.extra_or_new().ends;
            (ends.get() < DEEPEST).then(|| ends.set(ends.get() + 1)).map(|()| Self)
        })
    }
}

impl Drop for EndsOnTop {
    fn drop(&mut self) {
        with_header(|thread| {
            let ends = &thread.extra_or_new().ends;
            ends.set(ends.get() - 1);
        });
    }
}

/// Ends an actor whose runtime is over, on the caller's stack; `actor` is its entry. In a row too deep for that, its mailbox closes
/// now, and it ends when the first of the row has.
fn end_here(actor: Weak) {
    if let Some(row) = EndsOnTop::begin() {
        return end_on_top(row, actor.into_task());
    }
    actor.core().refuse_all();
    LEFT.with(|left| left.borrow_mut().push(actor.into_task()));
}

fn end_on_top(row: EndsOnTop, task: Task) {
    discard(task);
    if with_header(|thread| thread.extra_or_new().ends.get()) == 1 {
        end_left();
    }
    drop(row);
}

/// Ends the oldest of what was queued for a runtime that is over: nobody else will. False: there is nothing, or the row is too deep.
pub(super) fn end_queued(shared: &Shared) -> bool {
    let Some(row) = EndsOnTop::begin() else { return false };
    shared.take_injected().map(|task| end_on_top(row, task)).is_some()
}

pub(super) fn end_left() {
    while let Some(task) = LEFT.with(|left| left.borrow_mut().pop()) {
        discard(task);
    }
    drop(LEFT.with(|left| left.take()));
}

/// Runs `ends`, in which a wait is unwound when all have had their time. `None`: one was.
pub(super) fn in_time<R>(until_ns: u64, ends: impl FnOnce() -> R) -> Option<R> {
    let left = Duration::from_nanos(until_ns.saturating_sub(now_ns()));
    shielded(|| timeout(left, ends)).ok()
}
