//! A call: a closure that blocks an OS thread, run on one of a [`BlockingPool`] while its caller waits for the value.
//!
//! A [`BlockingCall`] is shared by its caller and the pool's thread. Its state, under the lock of a queue in which the caller waits:
//!
//! ```text
//!  Queued(f) ──thread: start──► Runs ──thread: the value, wakes the caller──► Done(value) ──caller: take──► Over
//!      │                         │ caller: leaves, and the pool is told
//!      └──caller: leaves─────────┴──► Over            the thread drops the value
//! ```
//!
//! A caller that is interrupted first takes its job back from the pool. If it has it, it leaves, and drops the closure. If a
//! thread has it, a caller that lent something waits on, whatever happens; one that did not leaves.
//!
//! # Invariants
//!
//! 1. A call whose closure or value may borrow is `Over`, or `Queued` in nobody's hands but the caller's, when its caller goes
//!    on: what the pool's thread still has of it then holds neither closure nor value.

use std::any::type_name;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::blocking::pool::{BlockingPool, Job, Runnable};
use crate::park::no_park::assert_may_park;
use crate::park::queue::WaitQueue;
use crate::park::{Wait, interrupt};
use crate::task::block::Output;
use crate::task::header::Reason;

/// What a closure finds around itself on a thread of the pool: the runtime of its caller.
pub(crate) trait Surroundings: Send + Sync {
    /// Runs `f`, which does not unwind, inside.
    fn run<R>(&self, f: impl FnOnce() -> R) -> R;
}

enum CallState<F, T> {
    Queued(F),
    Runs,
    Done(Output<T>),
    Over,
}

struct BlockingCall<F, T, S> {
    state: WaitQueue<CallState<F, T>>,
    inside: S,
}

/// Runs `f` on a thread of `pool`, inside of `inside`, and waits for its value. `may_leave`: a caller that is interrupted
/// leaves a closure that runs.
///
/// # Safety
///
/// With `may_leave`, neither `f` nor its value borrows anything.
#[track_caller]
pub(crate) unsafe fn call<F: FnOnce() -> T + Send, T: Send>(
    pool: &BlockingPool,
    inside: impl Surroundings,
    f: F,
    may_leave: bool,
) -> T {
    // From here to the value nothing unwinds but `raise`, below.
    assert_may_park("a blocking call");
    let call = Arc::new(BlockingCall { state: WaitQueue::new(CallState::Queued(f)), inside });
    let job: Arc<dyn Runnable + '_> = call.clone();
    // SAFETY: only the lifetime changes; invariant 1: the pool does not touch what may borrow once the caller goes on.
    let job: Job = unsafe { mem::transmute::<Arc<dyn Runnable + '_>, Job>(job) };
    let mut wait = Wait::new(Reason::Blocking).on(const { &(type_name::<F> as fn() -> &'static str) });
    loop {
        let Ok(number) = pool.submit(wait, &job) else { return call.run_here() };
        let mut queued = true;
        while wait.is_interruptible() && queued {
            if let Ok(output) = call.state.try_wait_until(wait, CallState::take) {
                return output.unwrap_or_else(|payload| interrupt::resume(payload));
            }
            queued = !pool.withdraw(number);
            if queued && !may_leave {
                wait = wait.uninterruptible(); // KEY: call-lends
            } else {
                let leaves = Leaves { call: &call, pool };
                wait = interrupt::raise(wait);
                // Nothing was raised, so the caller goes on.
                mem::forget(leaves);
            }
        }
        if queued {
            let output = call.state.wait_until(wait, CallState::take).expect("a wait without a deadline");
            return output.unwrap_or_else(|payload| interrupt::resume(payload));
        }
    }
}

impl<F, T> CallState<F, T> {
    /// The thread takes the closure. `None`: the caller has left.
    fn start(&mut self) -> Option<F> {
        match mem::replace(self, CallState::Over) {
            CallState::Queued(f) => {
                *self = CallState::Runs;
                Some(f)
            }
            _ => None,
        }
    }

    /// The caller takes the value, if it is there.
    fn take(&mut self) -> Option<Output<T>> {
        match mem::replace(self, CallState::Over) {
            CallState::Done(output) => Some(output),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl<F: FnOnce() -> T, T, S> BlockingCall<F, T, S> {
    /// There is no thread: the caller runs the closure, which nobody else has.
    fn run_here(&self) -> T {
        let f = self.state.with(CallState::start).expect("a job that was refused is its caller's");
        f()
    }
}

impl<F: FnOnce() -> T + Send, T: Send, S: Surroundings> Runnable for BlockingCall<F, T, S> {
    fn run(&self) -> bool {
        let Some(f) = self.state.with(CallState::start) else { return false };
        let mut output = Some(self.inside.run(|| catch_unwind(AssertUnwindSafe(f))));
        self.state.notify_one(|state| match state {
            CallState::Runs => {
                *state = CallState::Done(output.take().expect("it is handed over once"));
                true
            }
            _ => false,
        });
        let Some(late) = output else { return false };
        // Nobody wants it, nor to hear of its destructor's panic.
        let dropped = self.inside.run(|| catch_unwind(AssertUnwindSafe(|| drop(late))));
        dropped.unwrap_or_else(mem::forget);
        true
    }
}

/// The caller is unwound: it leaves its call.
struct Leaves<'a, F, T, S> {
    call: &'a BlockingCall<F, T, S>,
    pool: &'a BlockingPool,
}

impl<F, T, S> Drop for Leaves<'_, F, T, S> {
    fn drop(&mut self) {
        let before = self.call.state.with(|state| {
            let before = mem::replace(state, CallState::Over);
            if matches!(before, CallState::Runs) {
                self.pool.leave(); // KEY: call-leaves
            }
            before
        });
        // The closure, or a value that came at the last moment: a user's destructor, outside the lock.
        drop(before);
    }
}
