//! The first function on the stack of a run of a re-armable task, which may be followed by others' runs on that stack.

use std::ptr::NonNull;

use crate::fiber::Entry;
use crate::sched::Worker;
use crate::sched::entry::{count_end, enter_worker, run_code};
use crate::task::header::Main;
use crate::task::unwound::EndsBy;
use crate::task::{Header, destroy_locals};

/// Runs of re-armable tasks that use their workers' thread-locals.
pub(crate) struct RunsPerWorker;

impl Main for RunsPerWorker {
    const MAIN: Entry = runs_main;

    fn unwound(task: &Header, how: EndsBy) {
        count_end(task, how);
    }
}

/// One run, and those that its stack is [handed on](Worker::hand_on) to.
///
/// # Safety
///
/// As [`thread_main`](super::entry::thread_main).
pub(crate) unsafe fn runs_main(task: *mut ()) {
    // SAFETY: as the caller promises, and as `hand_on` does.
    unsafe {
        let mut task = NonNull::new_unchecked(task.cast::<Header>());
        enter_worker(task.as_ref());
        loop {
            run_code(task);
            destroy_locals(task.as_ref());
            // None: a child of fork, which the way back tells.
            let Some(worker) = Worker::current().filter(|worker| worker.keeps_stacks.get() == 0) else { return };
            let Some(next) = worker.hand_on(task) else { return };
            task = next;
        }
    }
}
