//! What unwinds a thread out of a blocking call: a cancel, or a `timeout` around it.
//!
//! A `timeout` call puts a [`Limit`] on its own stack and the thread's header points to the innermost one; a limit never
//! lies after those around it. A wait that may be interrupted ends at the limit at the latest. What is raised is the
//! outermost limit that has passed: the calls inside it are over as well.
//!
//! Nothing is raised while the thread unwinds already.
//!
//! # Does a thread unwind?
//!
//! std counts panics by OS thread. While a green thread is suspended in a destructor that runs because of a panic, all its
//! neighbours look to `std::thread::panicking` as if they unwound, too. [`unwinds`] tells them apart:
//!
//! * std says no: no.
//! * Nobody is suspended unwinding on this worker ([`Here`] counts those): it is the running thread. Exact.
//! * Else the thread's own flag says. It is right at the beginning of each turn, because a thread that suspends knows
//!   its state by these same rules, and a thread that starts does not unwind. In the turn the panic hook sets it, and
//!   [`resume`], by which this crate begins to unwind. Where user code has caught the panic, the flag stays up: then
//!   a cancel waits until the neighbours are through.
//!
//! What escapes: a `resume_unwind` of user code while a neighbour is suspended unwinding, or a panic when the program has
//! replaced the panic hook since the runtime was started. A cancel that finds a blocking call in one of its destructors
//! then unwinds out of that, which ends the process.
//!
//! # Invariants
//!
//! 1. The chain of limits that starts at `Header::limit` lies on the stack of that header's thread: each is unlinked by
//!    the frame that owns it before that frame is left. Only the thread itself follows the chain.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use crate::park::current::{Here, with_header};
use crate::park::unwind;
use crate::sys::clock::{NEVER, after_ns, now_ns};
use crate::task::cancel::CAN_UNWIND;
use crate::task::header::Limit;
use crate::task::{Cancelled, Header};

/// [`timeout`] ended before its closure did.
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

/// The private payload: which limit it is for, by address.
struct TimedOut(usize);

/// The earliest moment at which `thread` has to leave a blocking call.
#[inline(always)]
pub(crate) fn limit_ns(thread: &Header) -> u64 {
    let limit = thread.limit.get();
    // SAFETY: invariant 1, and the caller is the thread itself.
    if limit.is_null() { NEVER } else { unsafe { (*limit).deadline_ns } }
}

/// Raises what is pending: a cancel, or the outermost limit that has passed. Returns if there is nothing, or if the
/// thread unwinds already.
#[cold]
#[inline(never)]
pub(crate) fn take(thread: &Header) {
    if !CAN_UNWIND || thread.shielded.get() || unwinding() {
        return;
    }
    if thread.state.is_cancelled() && !thread.masked.get() {
        resume(Cancelled::payload());
    }
    let mut limit = thread.limit.get();
    if limit.is_null() {
        return;
    }
    let now = now_ns();
    let mut passed = None;
    while !limit.is_null() {
        // SAFETY: invariant 1, and the caller is the thread itself.
        let (deadline_ns, outer) = unsafe { ((*limit).deadline_ns, (*limit).outer) };
        if deadline_ns <= now {
            passed = Some(limit.addr());
        }
        limit = outer;
    }
    if let Some(limit) = passed {
        resume(Box::new(TimedOut(limit)));
    }
}

/// Does the green thread `thread`, which runs on `here`, unwind? See the module's text.
#[inline(always)]
pub(crate) fn unwinds(here: &Here, thread: &Header) -> bool {
    #[cold]
    fn who(here: &Here, thread: &Header) -> bool {
        // There each fiber has an OS thread, and a count, of its own.
        cfg!(green_backend = "threads") || !here.neighbours_unwind() || thread.unwinding.get()
    }
    std::thread::panicking() && who(here, thread)
}

/// Does the calling thread unwind? What `std::thread::panicking` is on a plain OS thread.
pub(crate) fn unwinding() -> bool {
    match Here::get().and_then(|here| here.current().map(|thread| (here, thread))) {
        Some((here, thread)) => unwinds(here, thread),
        None => std::thread::panicking(),
    }
}

/// Unwinds the calling thread with `payload`; no panic hook runs. All of this crate's unwinding begins here.
#[cold]
#[inline(never)]
pub(crate) fn resume(payload: Box<dyn Any + Send>) -> ! {
    unwind::begins(!payload.is::<Cancelled>() && !payload.is::<TimedOut>());
    resume_unwind(payload)
}

/// As [`catch_unwind`]; knows that the thread unwinds no more afterwards than it did before.
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> std::thread::Result<R> {
    let (before, unwound) = (unwinding(), unwind::unwound());
    let result = catch_unwind(AssertUnwindSafe(f));
    if result.is_err() {
        with_header(|thread| thread.unwinding.set(before));
        unwind::set_unwound(unwound);
    }
    result
}

/// As [`take`], for the calling thread: after a wait that ended with `Interrupted`, when the registration is undone.
#[cold]
#[inline(never)]
pub(crate) fn raise() {
    with_header(take);
}

/// Runs `f`, in which no wait of the calling thread is ended by a cancel or an enclosing [`timeout`]; those take effect
/// afterwards. A `timeout` inside `f` works.
pub(crate) fn shielded<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            with_header(|thread| thread.masked.set(self.0));
        }
    }
    let _restore = with_header(|thread| Restore(thread.masked.replace(true)));
    unlimited(f)
}

/// Runs `f`, in which no wait of the calling thread is ended by an enclosing [`timeout`]; that takes effect afterwards. A
/// cancel, and a `timeout` inside `f`, work.
pub(crate) fn unlimited<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(*const Limit);
    impl Drop for Restore {
        fn drop(&mut self) {
            with_header(|thread| thread.limit.set(self.0));
        }
    }
    let _restore = with_header(|thread| Restore(thread.limit.replace(std::ptr::null())));
    f()
}

/// Runs `f`, but not beyond `d`: a blocking call that would last longer ends at the deadline by unwinding out of `f`.
///
/// It takes effect at blocking calls only, those of [`JoinHandle::cancel`](crate::thread::JoinHandle::cancel); code that
/// computes is not stopped. Destructors run, nothing is printed, a lock that is let go by it is not poisoned. If `f`
/// swallows it with `catch_unwind`, it comes again at the next blocking call. Time-outs nest: the earliest holds. Works
/// the same on a plain OS thread. Under `panic = "abort"` nothing can be unwound: `f` runs to its end.
///
/// # Errors
///
/// [`Elapsed`] when `f` was ended by the deadline.
///
/// # Panics
///
/// With whatever `f` panics with.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(green::timeout(Duration::from_secs(60), || 7), Ok(7));
/// assert!(green::timeout(Duration::from_millis(1), || green::sleep(Duration::from_secs(60))).is_err());
/// ```
pub fn timeout<T>(d: Duration, f: impl FnOnce() -> T) -> Result<T, Elapsed> {
    let outer = with_header(|thread| thread.limit.get());
    let deadline_ns = after_ns(d).min(with_header(limit_ns));
    let limit = Limit { deadline_ns, outer };
    with_header(|thread| thread.limit.set(&raw const limit));
    let result = catch(f);
    with_header(|thread| thread.limit.set(outer));
    match result {
        Ok(value) => Ok(value),
        Err(payload) => match payload.downcast_ref::<TimedOut>() {
            Some(TimedOut(address)) if *address == (&raw const limit).addr() => Err(Elapsed { _private: () }),
            _ => resume(payload),
        },
    }
}

/// A panic hook blocks. Switching there would let another thread panic inside this one's hook, which std answers with
/// an abort; so say it in a clear way.
#[cold]
#[inline(never)]
pub(crate) fn parked_in_hook() -> ! {
    crate::base::abort::fatal(format_args!("a panic hook made a blocking call that has to wait; it must not"))
}
