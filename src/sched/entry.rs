//! The first function on every green thread's stack.

use std::ptr::NonNull;

use crate::base::atomic::Ordering;
use crate::fiber::Entry;
use crate::park::current::WorkerContext;
use crate::sched::remote;
use crate::task::header::Main;
use crate::task::{Header, destroy_locals};

/// Threads that use their workers' thread-locals.
pub(crate) struct PerWorker;

impl Main for PerWorker {
    const MAIN: Entry = thread_main;
}

/// Runs a thread's code, and says that it is over.
///
/// # Safety
///
/// `thread` is the header of a thread that was claimed by this worker and has just got its stack; it stays alive until it has ended.
pub(crate) unsafe fn thread_main(thread: *mut ()) {
    let thread = thread.cast::<Header>();
    // SAFETY: `start` passes the header, and it is alive until the thread has ended.
    let header = unsafe { NonNull::new_unchecked(thread) };
    // SAFETY: as above.
    let this = unsafe { header.as_ref() };
    if cfg!(green_backend = "threads") {
        // This fiber has an OS thread of its own, whose thread-local knows no worker yet.
        // ORDERING: Acquire pairs with the store in `Worker::run`.
        let here = remote::get(this.state.home()).here.load(Ordering::Acquire);
        // SAFETY: the worker lives until all its threads have ended.
        unsafe { WorkerContext::enter(here) };
    }
    // SAFETY: as the caller promises.
    unsafe { live(header, || {}) };
}

/// The whole life of a thread. `at_end` destroys the thread-locals that are its own.
///
/// # Safety
///
/// As [`thread_main`].
#[inline(always)]
pub(super) unsafe fn live(header: NonNull<Header>, at_end: impl Fn()) {
    // SAFETY: the caller says that it is alive.
    let this = unsafe { header.as_ref() };
    let start = !this.state.is_cancelled();
    if !start {
        this.refuse_cancels();
    }
    // SAFETY: the thread was claimed once, and this is it.
    unsafe { (this.vtable.run)(header, start) };
    this.refuse_cancels();
    this.limits.dissolve();
    // SAFETY: this is the thread itself (invariant 2 of `task::local`).
    unsafe { destroy_locals(this) };
    at_end();
    if this.vtable.after_run.is_some() {
        return; // `Worker::end` goes on.
    }
    // SAFETY: as above; the result is stored. If nobody will ask for it, it is dropped here, on the thread's own stack.
    unsafe {
        if Header::complete(header, true) {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (this.vtable.drop_output)(header)));
        }
        // The result's destructor, and a waker that was called, may have made new values.
        destroy_locals(this);
        at_end();
        this.limits.dissolve();
        (this.vtable.done)(header);
    }
}
