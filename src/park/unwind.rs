//! Does a thread unwind, and is it by a panic, or by a cancel? What poisoning has to know.
//!
//! [`unwinds`] answers the first, by what std and [`doubt`](super::doubt) say. But a cancel unwinds too. So it is noted when an unwinding begins, and
//! what begins it: a panic by the panic hook, a cancel or time-out by the code that raises it. Both take the next number of
//! the process ([`EVENTS`]) and leave it with the thread that unwinds (`Header::unwound`). A lock's guard keeps the number
//! of the moment when it was made ([`PanicMark`]). When the guard is dropped:
//!
//! | the thread unwinds | noted since the guard was made | and then                                                |
//! | ------------------ | ------------------------------ | ------------------------------------------------------- |
//! | no                 | –                              | not poisoned                                            |
//! | yes                | last: a panic                  | poisoned                                                |
//! | yes                | last: a cancel, a time-out     | not poisoned                                            |
//! | yes                | nothing                        | `resume_unwind` of the user's: poisoned, as by std      |
//! | yes, since before the guard was made | any          | not poisoned, as by std                                 |
//!
//! What is not noted is where user code catches an unwinding (a `timeout` or a scope puts back what it found). So under one
//! guard, after a cancel that was swallowed there, a `resume_unwind` of the user's does not poison; nor does a panic where
//! there is no hook (no runtime has been started, or the program keeps the hook that it has taken out). Where a stack says
//! nothing ([`Unwinds::Unknown`]), what std says is believed, as on an OS thread.
//!
//! What the stack does not show ([`unwinder`](crate::sys::unwinder), "not seen"): a destructor that unwinding runs, with a
//! `catch_unwind` inlined into it. If, while a neighbour is parked in its own unwinding, a lock is taken inside that call
//! and let go by a second panic, it is poisoned; std's would not be. To take the doubt the other way would leave locks
//! unpoisoned after plain panics: the tables of the two are the same.

use std::cell::Cell;

use crate::base::atomic::{AtomicU64, Ordering};
use crate::park::current::WorkerContext;
use crate::sys::unwinder::{self, Unwinds};
use crate::task::unwound::Unwound;
use crate::thread_locals::is_own;

/// Unwindings that have begun, as far as they are noted, times four: as a mark has them. Of all threads: a guard may be dropped by another thread than that which made it (`spawn_local`), and a thread-local of a
/// green thread's own may begin a second life.
static EVENTS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// As `Header::unwound`, of a plain OS thread, which may have no header.
    static OS_UNWOUND: Cell<Unwound> = const { Cell::new(Unwound::NEVER) };
}

/// Does the calling thread unwind?
pub(crate) fn unwinds() -> Unwinds {
    let panicking = std::thread::panicking();
    match WorkerContext::get() {
        // With thread-locals of its own, the thread has a count of its own.
        Some(here) if here.current_ptr().is_some() && !is_own() => here.doubt.ask(panicking, unwinder::look),
        _ if panicking => Unwinds::Yes,
        _ => Unwinds::No,
    }
}

/// Does the calling thread unwind? What `std::thread::panicking` is on a plain OS thread.
pub(crate) fn unwinding() -> bool {
    std::thread::panicking() && matches!(unwinds(), Unwinds::Yes | Unwinds::Unknown)
}

/// The thread unwound when the guard was made.
const UNWOUND: u64 = 1;
/// That is certain.
const CERTAIN: u64 = 2;
const SHIFT: u32 = 2;

/// The moment when a guard was made, in numbers of [`EVENTS`], and two bits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PanicMark(u64);

impl PanicMark {
    /// Now.
    #[inline(always)]
    pub(crate) fn now() -> Self {
        // ORDERING: Relaxed, as in `begins`: a thread finds its own numbers in the order in which it took them.
        let number = EVENTS.load(Ordering::Relaxed);
        if std::thread::panicking() { Self(number | Self::while_panicking()) } else { Self(number) }
    }

    #[cold]
    #[inline(never)]
    fn while_panicking() -> u64 {
        match unwinds() {
            Unwinds::No | Unwinds::Barred => 0,
            Unwinds::Unknown => UNWOUND,
            Unwinds::Yes => UNWOUND | CERTAIN,
        }
    }

    /// Does the thread unwind by a panic that has begun since? For the thread that made the entry.
    #[inline(always)]
    pub(crate) fn is_left_by_panic(self) -> bool {
        std::thread::panicking() && self.is_left_by_own_panic()
    }

    #[cold]
    #[inline(never)]
    fn is_left_by_own_panic(self) -> bool {
        if self.0 & CERTAIN != 0 || matches!(unwinds(), Unwinds::No | Unwinds::Barred) {
            return false;
        }
        self.last().map_or(self.0 & UNWOUND == 0, Unwound::is_by_panic)
    }

    /// Has the thread, which unwinds, begun to by a cancel or a time-out since? For the thread that made the entry.
    pub(crate) fn is_left_by_interrupt(self) -> bool {
        self.last().is_some_and(|last| !last.is_by_panic())
    }

    /// The last unwinding of the thread that has begun since.
    fn last(self) -> Option<Unwound> {
        Some(with_unwound(Cell::get)).filter(|last| last.number() > self.0 >> SHIFT)
    }
}

/// Calls `f` with the last unwinding of the calling thread that was noted.
pub(super) fn with_unwound<R>(f: impl FnOnce(&Cell<Unwound>) -> R) -> R {
    match WorkerContext::get().and_then(WorkerContext::current) {
        Some(thread) => f(&thread.unwound),
        None => OS_UNWOUND.with(f),
    }
}

/// The calling thread begins to unwind.
pub(crate) fn begins(by_panic: bool) {
    let number = EVENTS.fetch_add(1 << SHIFT, Ordering::Relaxed) + (1 << SHIFT);
    with_unwound(|last| last.set(Unwound::new(number >> SHIFT, by_panic)));
}
