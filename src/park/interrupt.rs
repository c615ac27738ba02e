//! What unwinds a thread out of a blocking call: a cancel, or a `timeout` around it.
//!
//! A `timeout` call puts a [`Limit`] on its own stack, into the chain of its thread ([`limit`](crate::task::limit)). A wait that
//! may be interrupted ends at the earliest of them at the latest. What is raised is the outermost limit that has passed: the
//! calls inside it are over as well. A thread whose closure is over is not cancelled any more; a `timeout` in its destructors
//! works.
//!
//! Nothing is raised while the thread unwinds already, or in a panic hook. Whether it unwinds, [`doubt`](super::doubt) says.
//! A wait does not keep the answer: where there is a doubt it may be interrupted, and asks when it is; if the answer is not
//! *no*, it asks again a little later ([`Wait::goes_on`]). So a cancel or a time-out that comes while a neighbour unwinds
//! is raised at once, unless the stack leaves open which thread unwinds; then it is when the neighbour has come through.

use std::any::Any;
use std::cell::Cell;
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use crate::park::current::{WorkerContext, with_header};
use crate::park::no_park::in_some_hook;
use crate::park::unwind::{self, unwinds};
use crate::park::wait::{NotRaised, Wait};
use crate::sys::clock::{after_ns, now_ns};
use crate::sys::frames;
use crate::sys::unwinder::Unwinds;
use crate::task::cancel::{CAN_UNWIND, TimedOut};
use crate::task::limit::{Interrupts, Limit, LimitKind};
use crate::task::{Cancelled, Header};
use crate::thread_locals::is_own;

/// Says that a [`timeout`] ended before its closure did.
///
/// ```
/// use std::time::Duration;
/// let error = green::timeout(Duration::from_millis(1), || green::thread::park()).unwrap_err();
/// assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::TimedOut);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Elapsed {
    _private: (),
}

impl std::fmt::Display for Elapsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the time-out has elapsed")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> Self {
        std::io::Error::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}

/// Raises what is pending: a cancel, or the outermost limit that has passed. Returns if there is nothing, or if the thread
/// must not be unwound now, and says why.
#[cold]
#[inline(never)]
pub(crate) fn raise_pending(thread: &Header) -> NotRaised {
    if !CAN_UNWIND {
        return NotRaised::Unwinds;
    }
    let cancelled = thread.state.is_cancelled() && thread.interrupts() == Interrupts::All;
    let now_ns = if cancelled || thread.limits.is_empty() { 0 } else { now_ns() };
    let passed = |is_ours: fn(usize, usize) -> bool| thread.limits.passed(now_ns, is_ours);
    if !(cancelled || passed(|_, _| true).is_some()) {
        return NotRaised::Nothing;
    }
    if in_some_hook() || unwinds() != Unwinds::No {
        let panicking = std::thread::panicking();
        let in_doubt = WorkerContext::get().is_some_and(|here| !is_own() && here.doubt.is_in_doubt(panicking));
        return if in_doubt { NotRaised::NotYet } else { NotRaised::Unwinds };
    }
    if cancelled {
        resume(Cancelled::payload());
    }
    if let Some(limit) = passed(frames::is_in_caller) {
        resume(Box::new(TimedOut(limit)));
    }
    NotRaised::NotYet // The calling code is not inside the limit.
}

/// Unwinds the calling thread with `payload`; no panic hook runs. All of this crate's unwinding begins here.
#[cold]
#[inline(never)]
pub(crate) fn resume(payload: Box<dyn Any + Send>) -> ! {
    unwind::begins(!payload.is::<Cancelled>() && !payload.is::<TimedOut>());
    resume_unwind(payload)
}

/// As [`catch_unwind`], for a caller that may resume what it has caught; knows that the thread unwinds no more afterwards than
/// it did before. Never inlined: in a destructor the caller's frame has to show that nothing unwinds out of this, see
/// [`unwinder`].
#[inline(never)]
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> std::thread::Result<R> {
    let unwound = unwind::with_unwound(Cell::get);
    let result = catch_unwind(AssertUnwindSafe(f));
    if result.is_err() {
        unwind::with_unwound(|last| last.set(unwound));
    }
    result
}

/// As [`raise_pending`], for the calling thread: after `wait` has ended with `Interrupted`, when the registration is undone. If it
/// returns, the wait goes on in the way that it says.
#[cold]
#[inline(never)]
pub(crate) fn raise(wait: Wait) -> Wait {
    wait.goes_on(with_header(raise_pending))
}

/// Runs `f`, in which no wait of the calling thread is ended by a cancel or an enclosing [`timeout`]; those take effect
/// afterwards. A `timeout` inside `f` works.
pub(crate) fn shielded<R>(f: impl FnOnce() -> R) -> R {
    inside(&Limit::new(LimitKind::Shield, 0), f)
}

/// Runs `f`, in which no wait of the calling thread is ended by an enclosing [`timeout`]; that takes effect afterwards. A
/// cancel, and a `timeout` inside `f`, work.
pub(crate) fn unlimited<R>(f: impl FnOnce() -> R) -> R {
    inside(&Limit::new(LimitKind::Wall, 0), f)
}

#[inline]
fn inside<R>(limit: &Limit, f: impl FnOnce() -> R) -> R {
    // SAFETY: the calling thread's chain, a limit that its callers have just made, and left before this returns.
    let _leave = with_header(|thread| unsafe { thread.limits.enter(limit) });
    f()
}

/// Runs `f`, but not beyond `d`: a blocking call that would last longer ends at the deadline by unwinding out of `f`.
///
/// It takes effect at blocking calls only, those of [`JoinHandle::cancel`](crate::thread::JoinHandle::cancel); code
/// that computes is not stopped. Destructors run, nothing is printed, a lock that is let go by it is not poisoned. If
/// `f` swallows it with `catch_unwind`, it comes again at the next blocking call. Time-outs nest: the earliest holds.
/// Works the same on a plain OS thread, and in destructors of a thread that ends. In a destructor that runs because the
/// thread unwinds, it does nothing: unwinding out of that would end the process. Under `panic = "abort"` nothing can be
/// unwound: `f` runs to its end.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(green::timeout(Duration::from_secs(60), || 7), Ok(7));
/// assert!(green::timeout(Duration::from_millis(1), || green::sleep(Duration::from_secs(60))).is_err());
/// ```
///
/// # Errors
///
/// [`Elapsed`] when `f` was ended by the deadline.
///
/// # Panics
///
/// With whatever `f` panics with.
pub fn timeout<T>(d: Duration, f: impl FnOnce() -> T) -> Result<T, Elapsed> {
    // A function that the compiler does not see cannot be inlined or specialised: the limit is in the frame of this one.
    let until = black_box(until::<T, _> as fn(usize, u64, _) -> _);
    until(until as usize, after_ns(d), f)
}

/// As [`timeout`]; `this` is the function's own address.
fn until<T, F: FnOnce() -> T>(this: usize, deadline_ns: u64, f: F) -> Result<T, Elapsed> {
    let limit = Limit::new(LimitKind::Until(deadline_ns), this);
    let result = inside(&limit, || catch(f));
    match result {
        Ok(value) => Ok(value),
        Err(payload) => match payload.downcast_ref::<TimedOut>() {
            Some(TimedOut(address)) if *address == (&raw const limit).addr() => Err(Elapsed { _private: () }),
            _ => resume(payload),
        },
    }
}
