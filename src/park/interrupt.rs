//! What unwinds a thread out of a blocking call: a cancel, or a `timeout` around it.
//!
//! A `timeout` call puts a [`Limit`] on its own stack and the thread's header points to the innermost one; a limit never
//! lies after those around it. A wait that may be interrupted ends at the limit at the latest. What is raised is the
//! outermost limit that has passed: the calls inside it are over as well.
//!
//! Nothing is raised while the thread unwinds already. std counts panics by OS thread, so a neighbour that is parked in
//! a destructor during its own unwinding makes this worker's threads look as if they unwound: then a cancel waits until
//! the next blocking call. It is never raised wrongly.
//!
//! # Invariants
//!
//! 1. The chain of limits that starts at `Header::limit` lies on the stack of that header's thread: each is unlinked by
//!    the frame that owns it before that frame is left. Only the thread itself follows the chain.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use crate::park::current::with_header;
use crate::park::{hook, unwind};
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
    if !CAN_UNWIND || thread.shielded.get() || std::thread::panicking() {
        return;
    }
    if thread.state.is_cancelled() && !thread.masked.get() {
        hook::install();
        unwind::begins(false);
        Cancelled::raise();
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
        hook::install();
        unwind::begins(false);
        resume_unwind(Box::new(TimedOut(limit)));
    }
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
    struct Restore(bool, *const Limit);
    impl Drop for Restore {
        fn drop(&mut self) {
            with_header(|thread| {
                thread.masked.set(self.0);
                thread.limit.set(self.1);
            });
        }
    }
    let _restore = with_header(|thread| Restore(thread.masked.replace(true), thread.limit.replace(std::ptr::null())));
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
    let unwound = unwind::unwound();
    with_header(|thread| thread.limit.set(&raw const limit));
    let result = catch_unwind(AssertUnwindSafe(f));
    with_header(|thread| thread.limit.set(outer));
    match result {
        Ok(value) => Ok(value),
        Err(payload) => match payload.downcast_ref::<TimedOut>() {
            Some(TimedOut(address)) if *address == (&raw const limit).addr() => {
                unwind::set_unwound(unwound);
                Err(Elapsed { _private: () })
            }
            _ => resume_unwind(payload),
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
