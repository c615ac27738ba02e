//! How a thread whose wait is over gets to its worker: the `schedule` of every green thread, chosen for its runtime.

use std::ptr::NonNull;

use crate::flight::EventKind;
use crate::sched::worker::Worker;
use crate::sched::{moving, remote};
use crate::task::Header;
use crate::task::header::Schedule;

/// Of a runtime whose threads may move (`moves`), and that records every wake (`all`).
pub(crate) fn schedule_of(moves: bool, all: bool) -> Schedule {
    match (moves, all) {
        (false, false) => schedule,
        (true, false) => moving::schedule,
        (false, true) => schedule_recorded::<false>,
        (true, true) => schedule_recorded::<true>,
    }
}

/// Hands a thread whose wait is over to its worker.
///
/// # Safety
///
/// As [`Header::schedule`].
unsafe fn schedule(thread: NonNull<Header>) {
    // SAFETY: the thread waits, so it is alive until it is handed over.
    let home = unsafe { thread.as_ref() }.state.home();
    match Worker::current() {
        Some(worker) if worker.remote.index == home => worker.woken_here(thread),
        // SAFETY: as the caller promises.
        _ => unsafe { remote::get(home).send(thread) },
    }
}

/// The same, and the waker's worker records it. An OS thread that is no worker has no ring: there the worker of the thread says that it came.
///
/// # Safety
///
/// As [`Header::schedule`].
unsafe fn schedule_recorded<const MOVES: bool>(thread: NonNull<Header>) {
    if let Some(worker) = Worker::current() {
        // SAFETY: as above.
        worker.record_by_current(EventKind::Wakes, unsafe { thread.as_ref() }.id);
    }
    // SAFETY: as the caller promises.
    unsafe { if MOVES { moving::schedule(thread) } else { schedule(thread) } }
}
