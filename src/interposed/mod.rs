//! What the crate `green-std` needs to park a green thread inside a function of libc: no public interface, and not covered by the
//! crate's version.
//!
//! `green-std` defines functions of libc that block, such as `recv`, in the final program. Each asks [`caller`] first. A green thread that may park waits
//! here, for a descriptor ([`DescriptorWait`]), for a moment ([`sleep_until`]) or for a word of memory ([`futex`]); everybody else makes the system call.
//!
//! **Nothing unwinds out of these waits.** Their callers are declared as `extern "C"`, which compilers take for a promise. So a cancel, or an enclosing
//! `timeout`, ends such a wait with [`WaitEnd::Interrupted`], and is raised at the thread's next call of this crate that blocks.
//!
//! **A handler of a signal** that has no stack of its own looks like the green thread that it has interrupted, which may be inside of an allocator. It may not switch: neither may a
//! neighbour run into that allocator, nor the handler return on another OS thread. What tells them apart is the signal, which is blocked as long as its handler runs. So each worker knows which
//! signals are blocked because the program wants it so ([`note_blocked_signals`]), and where a thread is about to wait, or has used its turn up, the kernel is
//! asked for those that are ([`is_in_handler`]). The note is never too great while a handler may come: who lets a signal in takes it out of the note
//! first, as that comes before the call is over ([`note_blocked_signals`], [`let_signals_in`]). It may be too small, where signals were blocked by a way that is not seen: then
//! the thread is taken for a handler, and blocks, until its worker's loop asks the kernel anew. A handler is not known for one if its own signal may interrupt it: with
//! `SA_NODEFER`, or once it has unblocked that.

mod claim;
mod descriptor;
mod futex;

pub use claim::{ClaimedFile, PendingWrite, claim, has_pending_write};
pub use descriptor::DescriptorWait;
pub use futex::{FutexEnd, FutexWoken, address_wait, futex_wait, futex_waits, futex_wake};

use std::time::Duration;

use crate::base::lock;
use crate::park::current::WorkerContext;
use crate::park::no_park::may_switch;
use crate::park::{self, Wait, WaitResult};
use crate::rt::blocking;
use crate::sys::clock::{self, now_ns};
use crate::sys::in_panic;
use crate::task::header::Reason;
use crate::thread_locals::is_own;

/// The deadline of a wait without one.
pub const NEVER: u64 = clock::NEVER;

/// Who calls: may it park?
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caller {
    /// No: it is a plain OS thread, or code of this crate, or a signal handler on a stack of its own, or inside of `no_park` or a panic hook.
    Plain,
    /// A green thread with the thread-locals of its worker: not while it holds what belongs to an OS thread.
    SharesThreadLocals,
    /// A green thread with thread-locals of its own.
    HasThreadLocals,
}

/// How a wait has ended.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum WaitEnd {
    /// What it waited for has come, or may have: look again.
    Ready,
    /// The deadline has passed.
    TimedOut,
    /// The thread has been cancelled, or a `timeout` around it is over.
    Interrupted,
}

/// Says who calls.
#[doc(hidden)]
#[inline]
pub fn caller() -> Caller {
    match WorkerContext::get() {
        Some(here) => on_worker(here),
        None => Caller::Plain,
    }
}

fn on_worker(here: &WorkerContext) -> Caller {
    let Some(thread) = here.current() else { return Caller::Plain };
    let (is_own, has_own) = (is_own(), thread.vtable.border.is_some());
    // On its way to its thread-locals, or away from them; or in the middle of a wait; or in a lock of this crate.
    let in_the_crate = is_own != has_own || thread.wait.is_on() || lock::is_waited_for();
    if in_the_crate || !may_switch() || !park::is_on_its_stack(thread, is_own) {
        return Caller::Plain;
    }
    // After the others: it looks through the stack, which a signal handler must not.
    match std::thread::panicking() && in_panic::is_reported() {
        true => Caller::Plain,
        false if has_own => Caller::HasThreadLocals,
        false => Caller::SharesThreadLocals,
    }
}

/// Does a green thread's stack have a signal's handler on it? It makes a system call. See the module's text.
#[doc(hidden)]
pub fn is_in_handler() -> bool {
    WorkerContext::get().is_some_and(|here| here.blocked_signals.are_exceeded())
}

/// Runs `f`, by which the program blocks signals of the calling OS thread, or lets them come again: of those that are blocked, no others than `stay` stay so. What a handler
/// changes holds as long as it runs.
#[doc(hidden)]
pub fn note_blocked_signals<R>(stay: u64, f: impl FnOnce() -> R) -> R {
    let by_will = !is_in_handler();
    if by_will && let Some(here) = WorkerContext::get() {
        here.blocked_signals.narrow(stay);
    }
    let result = f();
    if by_will && let Some(here) = WorkerContext::get() {
        here.blocked_signals.look();
    }
    result
}

/// Runs `f`, a system call that waits with no other signals blocked than those of `mask`, and then has those blocked again that were.
#[doc(hidden)]
pub fn let_signals_in<R>(mask: u64, f: impl FnOnce() -> R) -> R {
    let noted = WorkerContext::get().map(|here| here.blocked_signals.narrow(mask));
    let result = f();
    if let Some(noted) = noted
        && let Some(here) = WorkerContext::get()
    {
        here.blocked_signals.set(noted);
    }
    result
}

/// The moment `d` from now, for the waits here.
#[doc(hidden)]
pub fn after(d: Duration) -> u64 {
    clock::after_ns(d)
}

/// Has the moment passed?
#[doc(hidden)]
pub fn has_passed(deadline_ns: u64) -> bool {
    clock::has_passed(deadline_ns)
}

/// Parks the calling green thread until `deadline_ns`: never [`WaitEnd::Ready`].
#[doc(hidden)]
pub fn sleep_until(deadline_ns: u64) -> WaitEnd {
    let wait = Wait::new(Reason::Sleep).until(deadline_ns);
    while now_ns() < deadline_ns {
        if park::park(wait, |_| true) == WaitResult::Interrupted {
            return WaitEnd::Interrupted;
        }
    }
    WaitEnd::TimedOut
}

/// The thread has made a call that did not wait: when it has made many in a row, its neighbours have their turn.
#[doc(hidden)]
pub fn spend() {
    if let Some(here) = WorkerContext::get()
        && here.current().is_some()
        && !here.spend()
        && !is_in_handler()
    {
        park::give_way();
    }
}

/// The thread that the caller has just woken has its turn, if it is next on this worker: it waited for a lock that is free now, and finds it so before the caller takes the
/// lock again. See "the end of a lock" in `PROTOCOL.md`. For who has been told by [`caller`] that it may park.
#[doc(hidden)]
#[inline]
pub fn hand_over() {
    park::yield_to_woken();
}

/// The same, in a function that a signal's handler may call: not there. Where there is somebody to have the turn, it makes a system call.
#[doc(hidden)]
pub fn hand_over_unless_in_handler() {
    if WorkerContext::get().is_some_and(|here| !here.woken.get().is_null()) && !is_in_handler() {
        park::yield_to_woken();
    }
}

/// Runs `f` on an OS thread that may block. No cancel or `timeout` takes effect in this call.
#[doc(hidden)]
pub fn blocking<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    park::interrupt::shielded(|| blocking::wait_for_others(f))
}

/// Looks up a name: runs `f`, which does not unwind, on an OS thread that may block. `None`: a cancel or an enclosing `timeout` has ended the wait, and what `f` still
/// finds is dropped there.
#[doc(hidden)]
pub fn look_up<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    // What was raised is pending as it was before.
    park::interrupt::catch(|| blocking::look_up(f)).ok()
}

#[cfg(all(test, green_thread_locals))]
mod tests {
    use super::*;
    use crate::base::lock::waiting;
    use crate::rt::runtime::Runtime;
    use crate::thread_locals::ThreadLocals;
    use crate::thread_locals::block::with_kernels_number;

    #[test]
    fn a_wait_inside_of_the_crate_let_neighbours_run() {
        let runtime = Runtime::builder().workers(1).thread_locals(ThreadLocals::PerThread).build();
        let Ok(runtime) = runtime else { return };
        runtime.run(|| {
            assert_eq!(caller(), Caller::HasThreadLocals);
            assert_eq!(
                waiting(|| (caller(), waiting(caller), caller())),
                (Caller::Plain, Caller::Plain, Caller::Plain)
            );
            assert_eq!(caller(), Caller::HasThreadLocals);
        });
    }

    #[test]
    fn a_thread_parked_while_all_signals_of_its_worker_were_blocked() {
        let runtime = Runtime::builder().workers(1).thread_locals(ThreadLocals::PerThread).build();
        let Ok(runtime) = runtime else { return };
        runtime.run(|| {
            assert_eq!(crate::sys::signals::while_blocked(caller), Caller::Plain);
            assert_eq!(caller(), Caller::HasThreadLocals);
        });
    }

    #[test]
    fn a_handler_that_came_while_glibc_was_asked_was_on_no_block() {
        use std::sync::atomic::{AtomicU32, Ordering};
        static SAW: AtomicU32 = AtomicU32::new(0);
        extern "C" fn look(_: std::ffi::c_int) {
            SAW.store(if is_own() { 1 } else { 2 }, Ordering::Relaxed);
        }
        let runtime = Runtime::builder().workers(1).thread_locals(ThreadLocals::PerThread).build();
        let Ok(runtime) = runtime else { return };
        runtime.run(|| {
            // SAFETY: a handler that makes a store; no other test of this process uses the signal.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = look as extern "C" fn(_) as usize;
                action.sa_flags = libc::SA_ONSTACK;
                libc::sigaction(libc::SIGWINCH, &raw const action, std::ptr::null_mut());
                let itself = libc::syscall(libc::SYS_gettid);
                let raise = || libc::syscall(libc::SYS_tgkill, libc::getpid(), itself, libc::SIGWINCH);
                assert_eq!(with_kernels_number(raise), 0);
            }
            assert_eq!(SAW.load(Ordering::Relaxed), 1, "0: it did not come");
        });
    }
}
