//! fork(2) without exec: what becomes of the crate in the child.
//!
//! Only the thread that has called fork runs in the child. If that is a worker, running a green thread, the others of that worker
//! are there with their stacks, too, and the poller is the parent's own, by shared descriptors: none of this may ever run
//! again. So the handler that the system calls in the child makes a plain OS thread of the green one: it takes the worker away from
//! the OS thread. From then on sleeps, locks, channels, files and sockets work as they do on any plain OS thread, and nothing
//! on the hot paths has to ask. What needs the parent's workers asks, each on a cold path, and panics:
//!
//! * spawning, `run`: what an OS thread spawns goes to a runtime that says in which process it was made; what the thread that
//!   was green spawns would go to the parent's, so it is an orphan, for which no default runtime is started instead;
//! * joining: ids grow, so a thread with an id from before the fork is the parent's;
//! * what is sent to an actor, or waits for one: by its id, as well;
//! * the end of the green thread that has forked: there is no loop to go back to. Its mark is `yields` in [`WorkerContext`], which
//!   is never set when a fiber finishes otherwise.
//!
//! What all threads of a process share under a lock of the crate's (spare stacks, blocks, remotes, slots of descriptors, rings of events, signals that came, names, groups) each process has for
//! itself ([`PerProcess`](fork::PerProcess)): in the child nobody would unlock what another thread had locked. Not provided for is a fork while another thread makes the very first
//! runtime, which asks std for its panic hook; nor one while another thread is inside a lock, channel or socket that the child uses.
//! What is made once for all ([`ForkSafeOnce`](fork::ForkSafeOnce)) a fork may find half made; the child makes it again.

use std::cell::Cell;
use std::ptr;

use crate::base::atomic::{AtomicBool, Ordering};
use crate::park::current::WorkerContext;
use crate::park::os;
use crate::sys::fork;
use crate::thread_locals;

thread_local! {
    static ORPHAN: Cell<bool> = const { Cell::new(false) };
    /// The worker, while a thread with thread-locals of its own forks on those of the worker.
    static ASIDE: Cell<*const WorkerContext> = const { Cell::new(ptr::null()) };
}

/// Was the calling OS thread green when it forked, so that its runtime is the parent's?
pub(crate) fn is_orphan() -> bool {
    ORPHAN.get()
}

/// Has the handler called in children from now on.
pub(crate) fn install() {
    static INSTALLED: AtomicBool = AtomicBool::new(false);
    // No lock, as a fork might leave it locked. Two threads may both have the handlers called: the second call of each finds its work done.
    if !INSTALLED.load(Ordering::Relaxed) {
        fork::at_each_fork(before, parent, child);
        INSTALLED.store(true, Ordering::Relaxed);
    }
}

/// Other people's handlers run before and after this one. Where the thread goes on as its worker it is no green thread: it could not suspend there.
unsafe extern "C" fn before() {
    if thread_locals::before_fork() {
        step_aside();
    }
}

/// The worker's thread-locals, which are those of a plain OS thread until [`step_back`].
#[inline(never)]
fn step_aside() {
    ASIDE.set(WorkerContext::entered().map_or(ptr::null(), |here| here.as_ptr().cast_const()));
    // SAFETY: no worker.
    unsafe { WorkerContext::enter(ptr::null()) };
}

#[inline(never)]
fn step_back() {
    if thread_locals::has_forked_as_worker() {
        // SAFETY: it was entered before, and the worker has been waiting for this thread since.
        unsafe { WorkerContext::enter(ASIDE.replace(ptr::null())) };
        thread_locals::after_fork();
    }
}

unsafe extern "C" fn parent() {
    step_back();
}

/// Makes stores only: other threads may have been in the middle of anything.
unsafe extern "C" fn child() {
    step_back();
    fork::begin_child();
    os::note_fork();
    if let Some(here) = WorkerContext::get() {
        here.set_yields();
        if let Some(thread) = here.current() {
            thread.state.forget_waiters();
        }
        ORPHAN.set(true);
        // SAFETY: no worker.
        unsafe { WorkerContext::enter(ptr::null()) };
    }
}
