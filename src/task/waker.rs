//! The waker of a thread that is in `block_on`, by hand: a pointer to the thread's header, and a table of four functions.
//!
//! # Invariants
//!
//! 1. The pointer of a `Waker` with this table is that of a header, made from a pointer to its whole task.
//! 2. A `Waker` that is dropped, or woken by value, stands for one counted reference to that header. [`with_waker`] lends
//!    one that does not, is never dropped, and is over before the reference that it leans on is.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::task::{RawWaker, RawWakerVTable, Waker};

use crate::task::wait::End;
use crate::task::{Header, Task};

/// What is called when, and what is counted: the module's text.
static TABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop);

/// Calls `f` with a waker of `thread` that counts nothing; its clones do.
#[inline]
pub(crate) fn with_waker<R>(thread: &Task, f: impl FnOnce(&Waker) -> R) -> R {
    // SAFETY: the table keeps the contract of `RawWakerVTable`: all four may be called from any thread, because a header
    // is `Sync` and its count atomic; `clone` makes one reference, `wake` and `drop` give one up, `wake_by_ref` none.
    // Invariant 2: this waker is not dropped, and `thread` outlives the call.
    let waker = ManuallyDrop::new(unsafe { Waker::new(thread.as_ptr().as_ptr().cast_const().cast(), &TABLE) });
    f(&waker)
}

/// Is it one of these? Then its `wake` and its drop run no code of the user's.
pub(crate) fn is_own(waker: &Waker) -> bool {
    std::ptr::eq(waker.vtable(), &raw const TABLE)
}

/// The task that a waker points to, without taking its reference over.
///
/// # Safety
///
/// `header` is the pointer of a waker with [`TABLE`].
unsafe fn task(header: *const ()) -> ManuallyDrop<Task> {
    // SAFETY: invariant 1: not null, and a header; invariant 2: alive while the waker is.
    ManuallyDrop::new(unsafe { Task::from_raw(NonNull::new_unchecked(header.cast_mut().cast::<Header>())) })
}

unsafe fn clone(header: *const ()) -> RawWaker {
    // SAFETY: as the table's caller promises. The new reference is the new waker's.
    let task = unsafe { task(header) };
    task.state.add_ref();
    RawWaker::new(header, &TABLE)
}

unsafe fn wake(header: *const ()) {
    // SAFETY: as the table's caller promises; the waker's reference, if it is the last, goes after the wake.
    unsafe {
        wake_by_ref(header);
        drop(header);
    }
}

unsafe fn wake_by_ref(header: *const ()) {
    // SAFETY: as the table's caller promises.
    let task = unsafe { task(header) };
    if let Some(epoch) = task.extra().and_then(|extra| extra.woken.put()) {
        task.end_wait(epoch, End::Notified);
    }
}

unsafe fn drop(header: *const ()) {
    // SAFETY: as the table's caller promises; the waker's reference is given up.
    ManuallyDrop::into_inner(unsafe { task(header) });
}
