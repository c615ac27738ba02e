//! `JoinHandle`: waiting for a thread's result.
//!
//! # Invariants
//!
//! 1. A handle is one reference and the `HANDLE` bit of its task, whose result is an `Output<T>`.
//! 2. The result is the handle's once the task is complete and until `join`, drop or `poll` has taken it; a handle whose
//!    `poll` has taken it lives on, with `HANDLE` clear.

use std::any::Any;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

use crate::base::debug::debug;
use crate::park::current::WorkerContext;
#[cfg(any(debug_assertions, green_deadlocks))]
use crate::park::deadlock::{self, WaitTarget};
use crate::park::no_park::may_run_joined;
use crate::park::os;
use crate::park::{Wait, checkpoint, wait_unless};
use crate::rt::handle::Thread;
use crate::sched::{Worker, remote};
use crate::sys::fork;
use crate::task::Task;
use crate::task::block::Output;
use crate::task::header::Reason;

/// Waits for a thread and takes its value: [`std::thread::JoinHandle`]. Dropping it leaves the thread running.
///
/// It is a future, too: `handle.await` gives what [`join`](JoinHandle::join) gives, in async code on any executor. So
/// async code can wait for everything that a green thread can wait for. One waker waits at a time, that of the last
/// `poll`; dropping the handle while it is pending leaves the thread running. A `poll` after the result has been given,
/// or by the thread itself, panics.
///
/// ```
/// async fn lines(path: &'static str) -> usize {
///     // Blocking code in a green thread, awaited.
///     green::spawn(move || std::fs::read_to_string(path).unwrap().lines().count()).await.unwrap()
/// }
/// assert!(futures::executor::block_on(lines("Cargo.toml")) > 10);
/// ```
pub struct JoinHandle<T> {
    thread: Thread,
    _result: PhantomData<T>,
}

// SAFETY: through a handle another OS thread gets the `T` and nothing else of the thread's.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: a shared handle does not reach the `T`.
unsafe impl<T> Sync for JoinHandle<T> {}
impl<T> UnwindSafe for JoinHandle<T> {}
impl<T> RefUnwindSafe for JoinHandle<T> {}
// Nothing of the handle is pinned: the waker of a poll lies in the thread's own memory.
impl<T> Unpin for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// # Safety
    ///
    /// Invariant 1: the task was made with a handle, for results of type `T`, and this is the only handle.
    #[inline]
    pub(crate) unsafe fn new(task: Task) -> Self {
        Self { thread: Thread(task), _result: PhantomData }
    }

    /// Returns a handle to the thread, for its name, its number and [`unpark`](crate::thread::Thread::unpark).
    ///
    /// ```
    /// let thread = green::spawn(|| green::thread::park());
    /// thread.thread().unpark();
    /// thread.join().unwrap();
    /// ```
    #[must_use]
    pub fn thread(&self) -> &Thread {
        &self.thread
    }

    /// Returns whether the thread has ended; then [`join`](Self::join) does not wait.
    ///
    /// ```
    /// let thread = green::spawn(|| green::thread::park());
    /// assert!(!thread.is_finished());
    /// thread.thread().unpark();
    /// while !thread.is_finished() {
    ///     green::yield_now();
    /// }
    /// thread.join().unwrap();
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.0.state.is_complete()
    }

    /// Asks the thread to end: it unwinds out of the blocking call that it waits in, or out of its next one.
    ///
    /// Destructors run, no panic message is printed, and `join` gives an `Err` with the payload
    /// [`Cancelled`](crate::Cancelled). Blocking calls are `sleep`, `park`, `join`, [`blocking`](crate::blocking)
    /// before it starts, and everything else that may wait, but not `yield_now`. A thread that catches the unwinding is
    /// unwound again at its next blocking call; if it returns a value instead, `join` gives that. A thread that has not
    /// started never will. A thread that is unwinding from a panic is left alone. Does not wait.
    ///
    /// Under `panic = "abort"` only threads that have not started are cancelled.
    ///
    /// ```
    /// use std::time::Duration;
    /// let thread = green::spawn(|| green::sleep(Duration::from_secs(3600)));
    /// thread.cancel();
    /// assert!(thread.join().unwrap_err().is::<green::Cancelled>());
    /// ```
    pub fn cancel(&self) {
        remote::cancel(&self.thread.0);
    }

    /// Waits for the thread to end, and returns its value, or the payload of its panic.
    ///
    /// A thread that has not started yet is started on the caller's worker at once, on top of the caller. Everything
    /// that the thread did is visible afterwards, and its [`local!`](crate::local) values are dropped. Works from green
    /// threads and from plain OS threads. A cancellation point: a caller that is cancelled unwinds, and the thread goes
    /// on without a handle.
    ///
    /// ```
    /// let thread = green::spawn(|| (1..=10).product::<u32>());
    /// assert_eq!(thread.join().unwrap(), 3_628_800);
    ///
    /// let broken = green::spawn(|| panic!("no luck"));
    /// let payload = broken.join().unwrap_err();
    /// assert_eq!(*payload.downcast::<&str>().unwrap(), "no luck");
    /// ```
    ///
    /// # Errors
    ///
    /// The payload with which the thread panicked; [`Cancelled`](crate::Cancelled) if it was cancelled.
    ///
    /// # Panics
    ///
    /// If a thread joins itself; if the result has been given by `await` already; in a child of fork, if the thread is
    /// one of the parent's ([`Runtime`](crate::Runtime)).
    #[inline]
    #[track_caller]
    pub fn join(self) -> Result<T, Box<dyn Any + Send + 'static>> {
        checkpoint();
        self.wait(Wait::new(Reason::Join));
        self.into_output()
    }

    /// As `join`, but not ended by a cancel: the thread may borrow from the caller.
    pub(crate) fn join_shielded(self) -> Output<T> {
        self.wait(Wait::new(Reason::Scope).uninterruptible());
        self.into_output()
    }

    #[inline]
    #[track_caller]
    fn wait(&self, mut wait: Wait) {
        let task = &self.thread.0;
        self.check_not_self();
        wait = wait.on(task.as_ptr().as_ptr());
        while !task.state.is_complete() {
            if run_unstarted(task) {
                continue;
            }
            #[cfg(any(debug_assertions, green_deadlocks))]
            let _waits = deadlock::about_to_wait(WaitTarget::End(task.id), &wait);
            let mut slot = MaybeUninit::uninit();
            // SAFETY: this is the handle; `slot` stays until the wait is over: `join_leave` is called if anything but the
            // ticket ends it.
            let enter = |ticket| unsafe { task.join_enter(NonNull::from(slot.write(ticket))) };
            let _ = wait_unless(&mut wait, enter, || task.join_leave());
        }
    }

    #[inline]
    #[track_caller]
    fn check_not_self(&self) {
        let task = &self.thread.0;
        if !task.state.is_complete() && WorkerContext::is_current(task.as_ptr()) {
            panic!("a thread cannot join itself: it would wait for ever");
        }
    }

    #[inline]
    #[track_caller]
    fn check_not_taken(&self) {
        #[cold]
        #[track_caller]
        fn taken() -> ! {
            panic!("the thread's result has been given already, by `await`");
        }
        if !self.thread.0.state.has_handle() {
            taken();
        }
    }

    #[inline]
    #[track_caller]
    fn into_output(self) -> Output<T> {
        self.check_not_taken();
        let this = ManuallyDrop::new(self);
        let mut output = MaybeUninit::<Output<T>>::uninit();
        // SAFETY: the handle is taken apart here, once: its reference into `task`, its result (invariant 2: the task is
        // complete) into `output`, which `take_output` initialises.
        unsafe {
            let task = std::ptr::read(&raw const this.thread.0);
            (task.vtable.take_output)(task.as_ptr(), output.as_mut_ptr().cast());
            output.assume_init()
        }
    }
}

/// In a child of fork, nobody runs a thread that had not ended before.
#[inline(never)]
#[track_caller]
fn check_not_the_parents(task: &Task) {
    assert!(!os::is_the_parents(task.id) || task.state.is_complete(), "a thread cannot be joined: {}", fork::MESSAGE);
}

/// Where the caller is a green thread that could wait for `task` now, and that has not started: runs it, until it waits or
/// ends.
#[inline(always)]
#[track_caller]
fn run_unstarted(task: &Task) -> bool {
    let Some(worker) = Worker::current() else {
        check_not_the_parents(task);
        return false;
    };
    match worker.here().current() {
        Some(joiner) if may_run_joined() => worker.run_joined(task, joiner),
        _ => false,
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, Box<dyn Any + Send + 'static>>;

    #[track_caller]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.check_not_taken();
        self.check_not_self();
        let task = &self.thread.0;
        check_not_the_parents(task);
        if !task.state.is_complete() && task.extra_or_new().awaiter.register(&task.state, context.waker()) {
            return Poll::Pending;
        }
        let mut output = MaybeUninit::<Output<T>>::uninit();
        // SAFETY: invariant 2: the task is complete and its result the handle's; it is taken here, into `output`, and
        // never again, because `HANDLE` is cleared.
        unsafe {
            (task.vtable.take_output)(task.as_ptr(), output.as_mut_ptr().cast());
            task.state.result_taken();
            Poll::Ready(output.assume_init())
        }
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        let task = &self.thread.0;
        let detached = task.state.detach();
        if detached.result {
            // SAFETY: invariant 2: the task is complete and its result the handle's.
            unsafe { (task.vtable.drop_output)(task.as_ptr()) };
        } else if detached.awaiter
            && let Some(extra) = task.extra()
        {
            // SAFETY: `detach` has taken the waker back before the thread was complete: it is the handle's.
            drop(unsafe { extra.awaiter.take() });
        }
    }
}

debug! { JoinHandle<T> (this) thread: this.thread; }
