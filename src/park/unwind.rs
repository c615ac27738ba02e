//! Is it this very thread that unwinds, and is it a panic? What poisoning has to know.
//!
//! `std::thread::panicking` speaks of the OS thread: it is true for all threads of a worker while one of them is parked
//! in a destructor in the middle of its own unwinding; and it is true during a cancel, which travels like a panic. So
//! two things are noted when an unwinding begins: a panic by the panic hook, a cancel or time-out by whoever raises it.
//! Both take the next number of their OS thread ([`EVENTS`]) and leave it with the thread that unwinds
//! ([`Header::unwound`](crate::task::Header)). A lock's guard keeps the number of the moment when it was made
//! ([`Entry`]). When the guard is dropped:
//!
//! | `panicking()` | noted since the guard was made | and then                                                     |
//! | ------------- | ------------------------------ | ------------------------------------------------------------ |
//! | no            | –                              | not poisoned                                                 |
//! | yes           | last: a panic                  | poisoned                                                     |
//! | yes           | last: a cancel, a time-out     | not poisoned                                                 |
//! | yes           | nothing                        | `resume_unwind` of the user's: poisoned, as by std; unless the thread unwound already when the guard was made, or a neighbour is parked in its unwinding |
//!
//! What is not noted is where an unwinding is caught; a `timeout` that ends puts back what it found. So two cases
//! differ from std, both only while a neighbour is parked in the middle of its unwinding: a guard held over a
//! `catch_unwind` that caught a panic poisons, and the user's own `resume_unwind` does not. And where a program takes
//! the crate's panic hook out again, a panic right after a swallowed cancel does not poison.

use std::cell::Cell;

use crate::park::current::Here;
use crate::task::header::Unwound;

thread_local! {
    /// Unwindings that have begun on this OS thread, as far as they are noted.
    static EVENTS: Cell<u64> = const { Cell::new(0) };
    /// As `Header::unwound`, of a plain OS thread, which may have no header.
    static OS_UNWOUND: Cell<Unwound> = const { Cell::new(Unwound::NEVER) };
}

/// The moment when a guard was made, in numbers of [`EVENTS`]; the lowest bit says that the thread was unwinding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry(u64);

impl Entry {
    /// Now.
    #[inline(always)]
    pub(crate) fn now() -> Self {
        if std::thread::panicking() { Self::while_panicking() } else { Self(EVENTS.get() << 1) }
    }

    #[cold]
    #[inline(never)]
    fn while_panicking() -> Self {
        Self(EVENTS.get() << 1 | u64::from(no_neighbour_unwinds()))
    }

    /// Does the thread unwind by a panic that has begun since? For the thread that made the entry.
    #[inline(always)]
    pub(crate) fn is_left_by_panic(self) -> bool {
        std::thread::panicking() && self.is_left_by_own_panic()
    }

    /// Has the thread, which unwinds, begun to by a cancel or a time-out since? For the thread that made the entry.
    pub(crate) fn is_left_by_interrupt(self) -> bool {
        let last = unwound();
        last.number > self.0 >> 1 && !last.by_panic
    }

    #[cold]
    #[inline(never)]
    fn is_left_by_own_panic(self) -> bool {
        if self.0 & 1 == 1 {
            return false;
        }
        let last = unwound();
        if last.number > self.0 >> 1 { last.by_panic } else { no_neighbour_unwinds() }
    }
}

/// No other thread of this worker is parked while it unwinds, as far as is known: `panicking()` speaks of the caller.
fn no_neighbour_unwinds() -> bool {
    Here::get().is_none_or(|here| here.unwinding.get() == 0)
}

/// The last unwinding of the calling thread that was noted.
pub(crate) fn unwound() -> Unwound {
    match Here::get().and_then(Here::current) {
        Some(thread) => thread.unwound.get(),
        None => OS_UNWOUND.get(),
    }
}

/// Puts back what [`unwound`] said before an unwinding that has been caught.
pub(crate) fn set_unwound(unwound: Unwound) {
    match Here::get().and_then(Here::current) {
        Some(thread) => thread.unwound.set(unwound),
        None => OS_UNWOUND.set(unwound),
    }
}

/// The calling thread begins to unwind.
pub(crate) fn begins(by_panic: bool) {
    let number = EVENTS.get() + 1;
    EVENTS.set(number);
    set_unwound(Unwound { number, by_panic });
}
