//! The stand-in for parking in the models of what threads wait for: each is an OS thread with the real header, park word and
//! parker, and parks as `park_os` and `os::sleep` do. A deadline other than "never" has always passed.

use std::cell::Cell;
use std::ptr::{self, NonNull};

use crate::stack::StackSize;
use crate::sys::clock::{self, NEVER};
use crate::sys::parker::Parker;
use crate::task::header::{Header, Spec, Task, Ticket, VTable, Wake};
use crate::task::{self, wait::End};

#[path = "waits.rs"]
mod waits;

pub(crate) use waits::*;

/// As `os::OsThread`.
#[repr(C)]
struct OsThread {
    header: Header,
    parker: Parker,
}

static VTABLE: VTable = task::vtable(free);

unsafe fn free(header: NonNull<Header>) {
    // SAFETY: it came from a box in `task`; the last reference is gone.
    drop(unsafe { Box::from_raw(header.cast::<OsThread>().as_ptr()) });
}

unsafe fn unpark(header: NonNull<Header>) {
    // SAFETY: the thread waits for the token that is put below, so its header is alive here.
    let keep = unsafe {
        header.as_ref().state.add_ref();
        Task::from_raw(header)
    };
    // SAFETY: the header is the first part of an `OsThread`.
    unsafe { keep.as_ptr().cast::<OsThread>().as_ref() }.parker.unpark();
}

/// A thread with so many references, of which the caller gets one; `handle`: one of them is a handle.
pub(crate) fn task(refs: u32, handle: bool) -> Task {
    let spec = Spec {
        name: None,
        size: StackSize,
        id: 0,
        runtime: ptr::null(),
        schedule: unpark,
        refs,
        handle,
        spawned_at: std::panic::Location::caller(),
    };
    let thread = Box::new(OsThread { header: Header::new(spec, &VTABLE), parker: Parker::new() });
    // SAFETY: one of the references is given to the caller.
    unsafe { Task::from_raw(NonNull::from(Box::leak(thread)).cast()) }
}

loom::thread_local! {
    static ME: Task = task(1, false);
    static CANCELLED: Cell<bool> = Cell::new(false);
}

/// Each wait of the calling thread that a cancel may end is ended by one, unless a waker comes first.
pub(crate) fn cancel_me() {
    CANCELLED.with(|cancelled| cancelled.set(true));
}

/// Runs `f`, in which such a wait is unwound. `None`: it was.
pub(crate) fn unwind_me<R>(f: impl FnOnce() -> R) -> Option<R> {
    cancel_me();
    let result = catch_unwound(f);
    CANCELLED.with(|cancelled| cancelled.set(false));
    result
}

pub(crate) fn park(wait: Wait, commit: impl FnOnce(Ticket) -> bool) -> WaitResult {
    let me = ME.with(Task::clone);
    // SAFETY: the header is the first part of an `OsThread`, which lives as long as `me`.
    let parker = &unsafe { me.as_ptr().cast::<OsThread>().as_ref() }.parker;
    let cancelled = wait.cancellable && CANCELLED.with(Cell::get);
    let mut deadline_ns = if cancelled { 1 } else { wait.deadline_ns };
    let epoch = me.wait.begin();
    if !commit(Ticket::new(me.as_ptr(), epoch)) && me.wait.retract(epoch) {
        return WaitResult::Refused;
    }
    while !parker.park(deadline_ns) {
        if me.wait.end(epoch, End::TimedOut) {
            break;
        }
        deadline_ns = NEVER;
    }
    match me.wait.finish() {
        End::Notified => WaitResult::Notified,
        _ if cancelled => WaitResult::Interrupted,
        _ => {
            clock::time_out();
            WaitResult::TimedOut
        }
    }
}

pub(crate) unsafe fn notify(ticket: Ticket) -> Option<Wake> {
    // SAFETY: as the caller promises.
    unsafe { ticket.notify(None) }
}

pub(crate) mod unwind {
    pub(crate) fn unwinding() -> bool {
        std::thread::panicking()
    }

    /// No closure of a model is left by unwinding.
    pub(crate) struct PanicMark;

    impl PanicMark {
        pub(crate) fn now() -> Self {
            Self
        }

        pub(crate) fn is_left_by_interrupt(&self) -> bool {
            true
        }
    }
}
