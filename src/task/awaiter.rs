//! The waker of async code that waits for a thread's end: one place for it, and the rule of what may touch it when.
//!
//! A `JoinHandle` may be moved between two polls, so the waker cannot lie in the handle or on a stack, as a joiner's ticket
//! does. It lies here, in the thread's own memory, and one bit of the life word ([`State`]) says whose it is:
//!
//! ```text
//!  the handle (one, so its calls do not overlap)          the thread, when it ends
//!  H1  COMPLETE?  then the result is there, done          T1  state |= COMPLETE, looks at AWAITED       [RMW]
//!  H2  AWAITED?   the same waker: pending                 T2  AWAITED was set: takes the waker, wakes it
//!      another: state &= !AWAITED            [RMW]        T2' was not: does not touch it
//!               COMPLETE: done; else drops the old one
//!  H3  stores the waker
//!  H4  state |= AWAITED                      [RMW]
//!               COMPLETE: drops it again, done
//! ```
//!
//! The waker is the handle's while `AWAITED` is clear. It is the thread's from the moment at which `COMPLETE` is set on top
//! of `AWAITED`; the two operations on one word make that a single moment, so nobody takes the waker twice or leaves it
//! behind. In between, while `AWAITED` is set alone, it lies there, and the handle only compares it.
//!
//! **No end is missed.** Pending is answered with `AWAITED` set and the last poll's waker in place. `COMPLETE` comes after,
//! sees the bit, and that waker is called.
//!
//! **H2 compares while the thread may be taking.** Then `COMPLETE` has come since H1. The waker that is compared against was
//! alive at H1, as the one that the poll brings was, so if they are equal they are the same, and it is being called: pending
//! is a right answer.
//!
//! A handle that is dropped does as H2 with another waker (`detach`, one operation for both bits). A `join` after a poll
//! leaves the waker where it is: it is called for nothing when the thread ends, just before the joiner's ticket is.
//!
//! User code (`clone`, `wake` and `drop` of a foreign waker) runs between the steps, never inside one: it may panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::task::{RawWakerVTable, Waker};

use crate::base::atomic::{AtomicPtr, Ordering};
use crate::task::state::State;

/// See the module's text. Two atomic words because of the comparison; everything else is ordered by the life word.
#[derive(Debug)]
pub(crate) struct Awaiter {
    data: AtomicPtr<()>,
    table: AtomicPtr<RawWakerVTable>,
}

impl Awaiter {
    pub(crate) fn new() -> Self {
        Self { data: AtomicPtr::new(ptr::null_mut()), table: AtomicPtr::new(ptr::null_mut()) }
    }

    /// The handle is polled, and the thread was not complete a moment ago: sees to it that `waker` is called when it is.
    /// False: it is complete, and `waker` will not be called.
    ///
    /// For the handle only, which `state` and `self` belong to.
    #[must_use]
    pub(crate) fn register(&self, state: &State, waker: &Waker) -> bool {
        if state.is_awaited() {
            if self.holds(waker) {
                return true;
            }
            if !state.await_retract() {
                return false;
            }
            // SAFETY: `AWAITED` was set, and this has cleared it before `COMPLETE`: the waker is the handle's.
            drop(unsafe { self.take() }); // KEY: await-another
        }
        self.put(waker.clone());
        if state.await_begin() {
            return true;
        }
        // SAFETY: the thread completed while `AWAITED` was clear, so it does not touch the waker that was just stored.
        drop(unsafe { self.take() }); // KEY: await-too-late
        false
    }

    /// Calls the waker. A panic of a foreign `wake` has nowhere to go: the panic hook has reported it. Never inlined: the thread-locals of the caller, who may have
    /// got new ones just now, are used in here.
    ///
    /// # Safety
    ///
    /// The caller is the thread, has completed, and found `AWAITED` set then; called once.
    #[inline(never)]
    pub(crate) unsafe fn wake(&self) {
        // SAFETY: as the caller promises, the waker is the thread's.
        let waker = unsafe { self.take() };
        let _ = catch_unwind(AssertUnwindSafe(|| waker.wake())).map_err(std::mem::forget);
    }

    fn put(&self, waker: Waker) {
        // ORDERING: Relaxed: `await_begin` publishes both words.
        self.data.store(waker.data().cast_mut(), Ordering::Relaxed);
        self.table.store(ptr::from_ref(waker.vtable()).cast_mut(), Ordering::Relaxed);
        std::mem::forget(waker);
    }

    /// As [`Waker::will_wake`].
    fn holds(&self, waker: &Waker) -> bool {
        self.data.load(Ordering::Relaxed).cast_const() == waker.data()
            && ptr::eq(self.table.load(Ordering::Relaxed), waker.vtable())
    }

    /// Takes the waker out.
    ///
    /// # Safety
    ///
    /// There is one, and it is the caller's; what is left must not be taken again.
    pub(crate) unsafe fn take(&self) -> Waker {
        // ORDERING: Relaxed: the handle stored both words itself; the thread acquired them by `State::complete`.
        let (data, table) = (self.data.load(Ordering::Relaxed), self.table.load(Ordering::Relaxed));
        // SAFETY: `put` took them from one waker, whose table is `'static`, and forgot that one.
        unsafe { Waker::new(data, &*table) }
    }
}
