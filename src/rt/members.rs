//! The threads of one scope: how many run, whether one has panicked, and which thread waits for the last.
//!
//! One word, `waiting | panicked | count`. A thread is counted before it is spawned. The scope's own thread leaves its ticket,
//! then sets `WAITING`; the thread that takes the count to zero and finds that bit ends the wait. The two are operations on one
//! word: if the last thread comes first, the other finds the count at zero and does not wait; if not, the bit is found.
//!
//! # Invariants
//!
//! 1. The scope's thread keeps the word in place until the count is zero. The thread that has taken the count to zero touches
//!    the word no more, unless it has found `WAITING`: then until it has scheduled the scope's thread.
//! 2. `waiter` is written by the scope's thread while `WAITING` is clear, and read by the thread that has found the bit set with
//!    a count of one.

use crate::base::abort::fatal;
use crate::base::atomic::{AtomicUsize, Ordering, UnsafeCell};
use crate::park::{Wait, park};
use crate::sys::fork;
use crate::task::Ticket;
use crate::task::header::Reason;
use crate::task::wait::End;

const WAITING: usize = 1 << (usize::BITS - 1);
const PANICKED: usize = 1 << (usize::BITS - 2);
const COUNT: usize = PANICKED - 1;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Members {
    word: AtomicUsize,
    waiter: UnsafeCell<Option<Ticket>>,
    /// [`fork::generation`] of the process that made it.
    made_in: u32,
}

// SAFETY: `word` is atomic, and `waiter` is handed over by it (invariant 2).
unsafe impl Sync for Members {}

impl Members {
    pub(crate) fn new() -> Self {
        Self { word: AtomicUsize::new(0), waiter: UnsafeCell::new(None), made_in: fork::generation() }
    }

    /// How many run.
    pub(crate) fn count(&self) -> usize {
        self.word.load(Ordering::Relaxed) & COUNT
    }

    /// Counts one more. The caller is the scope's thread, or one that is counted itself.
    pub(crate) fn add(&self) {
        // ORDERING: Relaxed: as the caller is counted, or will wait itself, nobody can take the end for reached.
        let before = self.word.fetch_add(1, Ordering::Relaxed);
        assert!(before & COUNT < COUNT, "too many threads in one scope");
    }

    /// Notes that a thread has panicked and nobody has seen it. The caller is counted.
    pub(crate) fn note_panic(&self) {
        // ORDERING: Relaxed: the thread that takes the count to zero publishes it.
        self.word.fetch_or(PANICKED, Ordering::Relaxed);
    }

    /// Has a thread noted a panic? After [`wait`](Self::wait).
    pub(crate) fn has_panicked(&self) -> bool {
        // ORDERING: Relaxed: `wait` has acquired what the threads did.
        self.word.load(Ordering::Relaxed) & PANICKED != 0
    }

    /// A thread is done with whatever belongs to the scope.
    ///
    /// # Safety
    ///
    /// The caller is counted, and this is its last touch.
    pub(crate) unsafe fn done(this: *const Self) {
        // SAFETY: invariant 1.
        // ORDERING: Release: what the thread did comes before the scope's end; Acquire: the waiter is visible.
        let before = unsafe { (*this).word.fetch_sub(1, Ordering::AcqRel) };
        if before & COUNT == 1 && before & WAITING != 0 {
            // SAFETY: invariants 1 and 2: the scope's thread waits until it is woken here, so its header is alive, too.
            let wake = unsafe { (*this).waiter.with(|waiter| *waiter).and_then(|ticket| ticket.end(End::Notified)) };
            if let Some(wake) = wake {
                wake.schedule();
            }
        }
    }

    /// Waits until the count is zero; a cancel does not end that. For the scope's thread.
    pub(crate) fn wait(&self) {
        // ORDERING: Acquire pairs with the Release in `done`.
        while self.word.load(Ordering::Acquire) & COUNT != 0 {
            if self.made_in != fork::generation() {
                threads_of_a_parent();
            }
            let _ = park(Wait::new(Reason::Scope).uninterruptible(), |ticket| {
                // SAFETY: invariant 2: the bit is clear, so nobody reads it.
                self.waiter.with_mut(|waiter| unsafe { *waiter = Some(ticket) });
                // ORDERING: Release publishes the waiter to `done`. If there is nothing to wait for, the load above acquires.
                let mut waits = true;
                waits &= self.word.fetch_or(WAITING, Ordering::Release) & COUNT != 0; // KEY: scope-waits
                if !waits {
                    self.word.fetch_and(!WAITING, Ordering::Relaxed);
                }
                waits
            });
        }
    }
}

/// It must not unwind: there may be threads in the scope that this process has spawned.
#[cold]
#[inline(never)]
fn threads_of_a_parent() -> ! {
    fatal(format_args!("a scope cannot wait for its threads: {}", fork::MESSAGE))
}
