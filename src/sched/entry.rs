//! The first function on every green thread's stack.

use std::cell::Cell;
use std::ptr::NonNull;

use crate::base::atomic::Ordering;
use crate::fiber::Entry;
use crate::park::current::WorkerContext;
use crate::sched::remote;
use crate::task::header::Main;
use crate::task::unwound::EndsBy;
use crate::task::{Header, destroy_locals};

/// Threads that use their workers' thread-locals.
pub(crate) struct PerWorker;

impl Main for PerWorker {
    const MAIN: Entry = thread_main;

    fn unwound(thread: &Header, how: EndsBy) {
        count_end(thread, how);
    }
}

/// For the metrics, on the thread itself.
#[cold]
pub(super) fn count_end(thread: &Header, how: EndsBy) {
    remote::get(thread.state.home()).counters.ended(how);
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
    unsafe {
        enter_worker(header.as_ref());
        live::<false>(header, || {}, || {});
    }
}

/// Where a fiber has an OS thread of its own: the thread-local there knows no worker yet.
///
/// # Safety
///
/// `this` is the calling thread, which has just begun.
#[inline(always)]
pub(super) unsafe fn enter_worker(this: &Header) {
    if cfg!(green_backend = "threads") {
        // ORDERING: Acquire pairs with the store in `Worker::run`.
        let here = remote::get(this.state.home()).here.load(Ordering::Acquire);
        // SAFETY: the worker lives until all its threads have ended.
        unsafe { WorkerContext::enter(here) };
    }
}

/// Runs `f`; `APART`: as a function of its own, whose caller knows no address of what it uses.
#[inline(always)]
fn call<const APART: bool, R>(f: impl FnOnce() -> R) -> R {
    #[inline(never)]
    fn apart<R>(f: impl FnOnce() -> R) -> R {
        f()
    }
    if APART { apart(f) } else { f() }
}

/// The closure, or a run's batch; no cancel comes from here on.
///
/// # Safety
///
/// As [`thread_main`].
#[inline(always)]
pub(super) unsafe fn run_code(header: NonNull<Header>) {
    // SAFETY: the caller says that it is alive.
    let this = unsafe { header.as_ref() };
    let start = !this.state.is_cancelled();
    if !start {
        count_end(this, EndsBy::Cancel);
        this.refuse_cancels();
    }
    // SAFETY: the thread was claimed once, and this is it.
    unsafe { (this.vtable.run)(header, start) };
    this.refuse_cancels();
    this.limits.dissolve();
}

/// The whole life of a thread. `OWN`: it has thread-locals of its own, which `at_end` destroys, and `renew` gives their first values, at other addresses, it may
/// be: so this uses them in functions that are not inlined.
///
/// # Safety
///
/// As [`thread_main`].
#[inline(always)]
pub(super) unsafe fn live<const OWN: bool>(header: NonNull<Header>, at_end: impl Fn(), renew: impl Fn()) {
    // SAFETY: the caller says that it is alive; it was claimed once, and this is it.
    let this = unsafe {
        run_code(header);
        header.as_ref()
    };
    // SAFETY: this is the thread itself (invariant 2 of `task::local`). True: there were some.
    let destroy_locals = || call::<OWN, _>(|| unsafe { destroy_locals(this) });
    destroy_locals();
    // A result that nobody will ask for finds the thread-locals whole.
    let dropped = OWN && this.vtable.after_run.is_none() && !this.state.has_handle();
    if dropped {
        // SAFETY: as below, and not done again there.
        unsafe { call::<OWN, _>(|| drop_output(header)) };
    }
    // Destructors of either kind of values may make some of the other.
    let end_values = || {
        call::<OWN, _>(&at_end);
        while OWN && destroy_locals() {
            call::<OWN, _>(&at_end);
        }
    };
    end_values();
    if this.vtable.after_run.is_some() {
        return; // `Worker::end` or `Worker::hand_on` goes on.
    }
    // A waker that is called, and a result that is dropped after all, find thread-locals in a second life.
    let renewed = Cell::new(false);
    let renew = || {
        if OWN && !renewed.replace(true) {
            renew();
        }
    };
    // SAFETY: as above; the result is stored. If nobody will ask for it, it is dropped here, on the thread's own stack.
    unsafe {
        if Header::complete(header, !OWN, renew) && !dropped {
            renew();
            call::<OWN, _>(|| drop_output(header));
        }
        // The result's destructor, and a waker that was called, may have made new values.
        destroy_locals();
        end_values();
        this.limits.dissolve();
        (this.vtable.done)(header);
    }
}

/// # Safety
///
/// The result is stored, and the caller's; it is dropped once.
#[inline]
unsafe fn drop_output(header: NonNull<Header>) {
    // SAFETY: as the caller promises.
    let drop_output = || unsafe { (header.as_ref().vtable.drop_output)(header) };
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(drop_output));
}
