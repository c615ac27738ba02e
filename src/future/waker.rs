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
use crate::task::{Header, Task, Ticket};

/// Who calls what, and what is counted: the module's text.
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
        // SAFETY: the waker's reference keeps the header alive.
        if let Some(wake) = unsafe { Ticket::new(task.as_ptr(), epoch).end(End::Notified) } {
            wake.schedule();
        }
    }
}

unsafe fn drop(header: *const ()) {
    // SAFETY: as the table's caller promises; the waker's reference is given up.
    ManuallyDrop::into_inner(unsafe { task(header) });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;
    use crate::park::current::{current_task, with_task};

    fn refs(task: &Task) -> u64 {
        task.state.refs()
    }

    #[test]
    fn each_of_the_four_entries_counts_what_the_table_says() {
        std::thread::spawn(|| {
            let task = current_task();
            let before = refs(&task);
            with_task(|this| {
                with_waker(this, |lent| {
                    assert_eq!(refs(&task), before, "the lent one is not counted");
                    let (one, two) = (lent.clone(), lent.clone());
                    assert_eq!(refs(&task), before + 2);
                    one.wake_by_ref();
                    lent.wake_by_ref();
                    assert_eq!(refs(&task), before + 2);
                    one.wake();
                    assert_eq!(refs(&task), before + 1);
                    std::mem::drop(two);
                });
            });
            assert_eq!(refs(&task), before);
            task
        })
        .join()
        .map(|task| assert_eq!(refs(&task), 1, "the OS thread has ended and given its own up"))
        .unwrap();
    }

    /// The last reference is a waker's, and is given up on another OS thread, by each entry that gives one up.
    #[test]
    fn the_last_waker_frees_the_header() {
        struct Keeps(Waker);
        impl Wake for Keeps {
            fn wake(self: Arc<Self>) {
                self.0.wake_by_ref();
            }
        }
        for by_value in [false, true] {
            let waker = std::thread::spawn(|| with_task(|this| with_waker(this, Waker::clone))).join().unwrap();
            let header = NonNull::new(waker.data().cast_mut().cast::<Header>()).unwrap();
            // SAFETY: `waker` keeps it.
            assert_eq!(unsafe { header.as_ref() }.state.refs(), 1);
            // Leaked memory is for Miri and valgrind to find; here a double free would end the process.
            let kept: Waker = Arc::new(Keeps(waker)).into();
            kept.wake_by_ref();
            if by_value { kept.wake() } else { std::mem::drop(kept) }
        }
    }

    #[test]
    fn a_thousand_clones_on_four_os_threads_are_all_given_back() {
        let task = std::thread::spawn(|| {
            let task = current_task();
            let waker = with_task(|this| with_waker(this, Waker::clone));
            let each = if cfg!(miri) { 20 } else { 250 };
            std::thread::scope(|scope| {
                for odd in [false, true, false, true] {
                    let waker = &waker;
                    scope.spawn(move || {
                        for clone in (0..each).map(|_| waker.clone()).collect::<Vec<_>>() {
                            if odd { clone.wake() } else { std::mem::drop(clone) }
                        }
                    });
                }
            });
            assert_eq!(refs(&task), 3, "the thread's, the task's, the waker's");
            task
        });
        assert_eq!(refs(&task.join().unwrap()), 1);
    }
}
