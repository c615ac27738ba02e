//! How an actor that has been made busy gets to run: in a queue of its runtime, on top of the asker, or, when its runtime is over, here
//! and now, for its end.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::time::Duration;

use super::busy::Launch;
use super::cell::Core;
use super::ends_on_top::{EndsOnTop, ends_another, serves_all};
use super::weak::Weak;
use crate::base::lock::Lock;
use crate::park::current::with_header;
use crate::park::interrupt::{shielded, timeout};
use crate::park::os;
use crate::sched::shared::LAST_WORDS;
use crate::sched::{Shared, Worker};
use crate::sys::clock::{after_ns, now_ns};
use crate::sys::fork::{self, PerProcess};
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
        shared => end_here(actor, shared.as_deref()),
    }
}

/// What is left of runtimes that are over: see "Ends without workers" in `PROTOCOL.md`.
static LEFT: PerProcess<Lock<VecDeque<LeftTask>>> = PerProcess::new(|| Lock::new(VecDeque::new()));

struct LeftTask {
    task: Task,
    /// The thread that has left it; `QUEUED`: it was queued.
    by: u64,
}

/// No thread's id.
const QUEUED: u64 = 0;

fn own_id() -> u64 {
    with_header(|thread| thread.id)
}

/// How long the actors of a runtime that is over may wait as they end; `None`: of one that is no more.
pub(super) fn last_words(shared: Option<&Shared>) -> Duration {
    shared.map_or(LAST_WORDS, |shared| shared.last_words)
}

/// Something was told to an actor whose runtime is over: step T1. The teller, who waits for nothing, waits no longer for what ends here than others do.
fn end_here(actor: Weak, shared: Option<&Shared>) {
    if ends_another() {
        return leave(actor.into_task(), own_id());
    }
    let until_ns = after_ns(last_words(shared));
    in_time(until_ns, || end_on_top(actor.into_task()));
    end_own_by(until_ns);
}

/// Steps T2 and T3. In a row too deep for that it is left.
pub(super) fn end_on_top(task: Task) {
    let Some(row) = EndsOnTop::begin() else { return leave(task, own_id()) };
    row.end(task);
    if !ends_another() {
        end_own();
    }
}

/// Whoever waits for an answer of it is told now, as it may be the one that ends here. (Not by a thread that serves all: nobody waits on its stack, and what is refused is dropped.)
fn leave(task: Task, by: u64) {
    let task = if task.vtable.after_run.is_some() && !serves_all() {
        let actor = Weak::resident(task);
        actor.core().refuse_all();
        actor.into_task()
    } else {
        task
    };
    LEFT.get().lock().push_back(LeftTask { task, by });
}

/// The oldest of what is left.
fn take(is_it: impl Fn(&LeftTask) -> bool) -> Option<Task> {
    let mut left = LEFT.made()?.lock();
    let at = left.iter().position(is_it)?;
    left.remove(at).map(|left| left.task)
}

/// That very actor, if it is left.
pub(super) fn take_left(actor: &Core) -> Option<Task> {
    take(|left| left.task.as_ptr() == actor.whole().cast())
}

/// Leaves all that was queued for a runtime that is over: nobody else takes it. The messages that are refused with that are dropped here: so
/// what they tell others is as if an actor ended, and a wait of theirs is unwound when all have had their time.
pub(super) fn leave_queued_by(shared: &Shared, until_ns: u64) {
    // Where the row is too deep for this, actors end on this stack in any case.
    let _row = EndsOnTop::begin();
    let leave_one = || shared.take_injected().map(|task| leave(task, QUEUED)).is_some();
    while in_time(until_ns, leave_one).unwrap_or(true) {}
}

/// Ends one of them. False: there is none, or the row is too deep.
fn end_one(is_it: impl Fn(&LeftTask) -> bool) -> bool {
    let Some(row) = EndsOnTop::begin() else { return false };
    take(is_it).map(|task| row.end(task)).is_some()
}

/// Step T3.
fn end_own() {
    let me = own_id();
    while end_one(|left| left.by == me) {}
}

/// The same, if no actor ends on this stack, and where a wait is unwound when all have had their time: one that was unwound is not left any more.
pub(super) fn end_own_by(until_ns: u64) {
    while !ends_another() && in_time(until_ns, end_own).is_none() {}
}

/// Ends all that is left of a runtime, and what this thread has left by that, likewise.
pub(super) fn end_all_by(runtime: *const (), until_ns: u64) {
    while in_time(until_ns, || end_one(|left| left.task.runtime == runtime)).unwrap_or(true) {}
    end_own_by(until_ns);
}

/// Ends one that was queued for a runtime. False: there is none.
pub(super) fn end_queued(runtime: *const ()) -> bool {
    end_one(|left| left.by == QUEUED && left.task.runtime == runtime)
}

/// Runs `ends`, in which a wait is unwound when all have had their time. `None`: one was.
pub(super) fn in_time<R>(until_ns: u64, ends: impl FnOnce() -> R) -> Option<R> {
    let left = Duration::from_nanos(until_ns.saturating_sub(now_ns()));
    shielded(|| timeout(left, ends)).ok()
}
