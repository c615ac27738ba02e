//! How long the last words of an actor may wait when its runtime ends.
//!
//! *Motive.* An actor that ends drops what is queued, runs its `stopping`, and the destructor of its state, with cancels refused: what it has to say is to be said, also when the
//! runtime is dropped, and that waits for it. If it waits for ever, the drop would, too. So it has a time, as it has where it ends
//! when the workers are gone (`Shared::last_words`); then it is unwound where it waits, and at each further wait.
//!
//! # Protocol
//!
//! ```text
//!  who drops the runtime (rt::runtime_end)          a worker                                  the actor's thread, on its worker
//!  H1  stops: STOPS, notices to all workers         H4  obeys: cancels all of its threads;    H6  before its last words: LATE? then
//!  H2  waits until the workers have ended, for          LATE? those at their last words           cancels are let in from the first,
//!      the time of last words                           let cancels in from now on, and       H7  else from H4 on (`LastWords`)
//!  H3  they have not: LATE, notices to all              their waits end (`hurry`)             H8  after them, cancels are refused
//!      workers; and waits again                     H5  so again before each sleep
//! ```
//!
//! *None is missed.* H4, H6 and H7 of one thread are on one OS thread, that of its worker. If H4 comes before H6, then H6 sees LATE, as that worker does (it is in
//! one word, written before the notice). Else H4 finds `LastWords`, and the cancel. A thread that another worker takes over is cancelled there in the
//! same way, if that one stops (`Worker::cancel`); if not, its own H4 comes.
//!
//! *What is unwound* is the hook, which catches that, as it does a panic; and the destructor, likewise. What follows (H8) is the actor's end, which is not
//! interrupted: joiners and supervisors are told. What computes is not ended, nor what waits in a destructor while it unwinds, nor what waits when a timer or an attached
//! helper of the actor is dropped.
//!
//! *Where nobody waits in real time:* a runtime that one of its own threads has dropped is waited for by an OS thread of its own, and so it is where the dropping thread goes by
//! virtual time, which passes while the workers compute (`rt::runtime_end`).
#![forbid(unsafe_code)]

use crate::task::Header;
use crate::task::limit::Interrupts;

impl Header {
    /// Steps H6 and H7, for the thread itself.
    pub(crate) fn begin_last_words(&self, late: bool) {
        self.interrupts.set(if late { Interrupts::All } else { Interrupts::LastWords });
    }

    /// Step H4, for its own worker: a wait that is on may be ended by a cancel, too.
    pub(crate) fn hurry(&self) {
        for interrupts in [&self.interrupts, &self.wait_interrupts] {
            if interrupts.get() == Interrupts::LastWords {
                interrupts.set(Interrupts::All);
            }
        }
    }
}
