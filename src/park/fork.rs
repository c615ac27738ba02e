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

use std::cell::Cell;
use std::sync::Once;

use crate::park::current::WorkerContext;
use crate::park::os;
use crate::sys::fork;
use crate::thread_locals;

thread_local! {
    static ORPHAN: Cell<bool> = const { Cell::new(false) };
}

/// Was the calling OS thread green when it forked, so that its runtime is the parent's?
pub(crate) fn is_orphan() -> bool {
    ORPHAN.get()
}

/// Has the handler called in children from now on.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| fork::at_each_fork(before, parent, child));
}

unsafe extern "C" fn before() {
    thread_locals::before_fork();
}

unsafe extern "C" fn parent() {
    thread_locals::after_fork();
}

/// Makes stores only: other threads may have been in the middle of anything.
unsafe extern "C" fn child() {
    thread_locals::after_fork();
    fork::begin_child();
    os::note_fork();
    if let Some(here) = WorkerContext::get() {
        here.set_yields();
        if let Some(thread) = here.current() {
            thread.state.forget_waiters();
        }
        ORPHAN.set(true);
        // SAFETY: no worker.
        unsafe { WorkerContext::enter(std::ptr::null()) };
    }
}
