//! Which of the green threads of one OS thread unwinds?
//!
//! std counts panics by OS thread, and green threads share that count. So of what `std::thread::panicking` says
//!
//! * *no* is exact: none of them unwinds, neither the running one nor one that is suspended;
//! * *yes* is exact as long as none of the suspended ones may be meant. One bit for each worker remembers that: a thread has
//!   suspended while std said yes. It is taken back when std says no.
//! * *yes* with that bit is a **doubt**, and the thread's own stack says: see [`look`](crate::sys::unwinder::look). Nobody
//!   keeps a record of the threads that unwind, so it does not matter by what they were made to, what the program's panic
//!   hook does, or which thread has caught what.
//!
//! What the stack leaves open ([`Unwinds::Barred`], [`Unwinds::Unknown`]) is asked again after a while, and is over at the
//! latest when std says no.
#![forbid(unsafe_code)]

use std::cell::Cell;

use crate::sys::unwinder::Unwinds;

/// The bit.
#[derive(Debug)]
pub(crate) struct Doubt(Cell<bool>);

impl Doubt {
    pub(crate) const fn new() -> Self {
        Self(Cell::new(false))
    }

    /// The running thread suspends, or lets another run on top of itself, while std says yes.
    pub(crate) fn suspends_panicking(&self) {
        self.0.set(true);
    }

    /// Is what std says, `panicking`, in doubt?
    pub(crate) fn is_in_doubt(&self, panicking: bool) -> bool {
        // There each fiber has an OS thread, and a count, of its own.
        !cfg!(green_backend = "threads") && panicking && self.0.get()
    }

    /// Does the running thread unwind?
    pub(crate) fn ask(&self, panicking: bool, look: impl FnOnce() -> Unwinds) -> Unwinds {
        if !panicking {
            self.0.set(false);
            return Unwinds::No;
        }
        if !self.is_in_doubt(panicking) {
            return Unwinds::Yes;
        }
        look()
    }
}
