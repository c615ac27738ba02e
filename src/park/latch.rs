//! Who touches what a worker keeps: the worker itself, at nearly no cost, or for a moment another one.
//!
//! A worker whose thread computes for long cannot run the others that are ready, fire its timers, or look for events. So others may do
//! that in its place. What they touch for it (the *parts*: queue, wheel, poller, list of live threads) is the owner's while it is *inside*, and it is inside
//! but for the turns of threads that others may take over. While it is outside, one other worker may have the parts.
//!
//! ```text
//!  the owner                                    another worker
//!  O1  word := INSIDE       (plain store)       A1  taken: 0 -> 1                      [CAS]
//!  O2  light fence                              A2  heavy fence
//!  O3  taken? waits until it is not             A3  word: INSIDE? taken := 0, gives up
//!  O4  touches the parts                        A4  touches the parts
//!  O5  word := outside                          A5  taken := 0
//! ```
//!
//! **Never both.** If A3 does not see O1, then A2 comes before O2 in the order of these fences ([`membarrier`]), and O3 sees A1. The owner
//! waits for the other worker, never the other way round, and that does in A4 only what takes a few microseconds and no lock that is held over O1.
//!
//! The word also counts turns: a word that stays the same for a millisecond says that the owner has been in one turn for as long.
//!
//! `tests/loom_latch.rs` checks it on this file. The light fence is what folly calls asymmetric; a lock that favours one thread is an old idea: K. Kawachiya,
//! A. Koseki and T. Onodera, "Lock Reservation", OOPSLA 2002.

use crate::base::atomic::{AtomicU32, Ordering, spin_loop, yield_now};
use crate::sys::membarrier;

const INSIDE: u32 = 1;
#[cfg_attr(not(green_thread_locals), allow(dead_code, reason = "no thread has thread-locals of its own here"))]
const TURN: u32 = 2;
/// Looks between two calls of `yield_now`.
const SPINS: u32 = 64;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Latch {
    /// `turn << 1 | INSIDE`; written by the owner.
    word: AtomicU32,
    taken: AtomicU32,
    /// How many threads stand ready for others to take over, two at most; written by whoever has the parts.
    ready: AtomicU32,
}

/// The right of another worker to touch the parts. Dropped, they are the owner's again.
#[derive(Debug)]
#[must_use]
pub(crate) struct Taken<'a>(&'a Latch);

/// Names one turn of a worker: as long as that is in it, the answer is the same.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Turn(u32);

impl Latch {
    /// The owner is inside.
    pub(crate) fn new() -> Self {
        Self { word: AtomicU32::new(INSIDE), taken: AtomicU32::new(0), ready: AtomicU32::new(0) }
    }

    /// The owner comes in. True: it was outside, and leaves again.
    #[inline]
    pub(crate) fn enter(&self) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        if word & INSIDE != 0 {
            return false;
        }
        self.word.store(word | INSIDE, Ordering::Relaxed);
        membarrier::light(); // KEY: latch-light-fence
        let mut taken = false;
        // ORDERING: Acquire pairs with the Release in `Taken`'s drop: what the other worker has done is visible.
        taken |= self.taken.load(Ordering::Acquire) != 0; // KEY: latch-waits
        if taken {
            self.wait();
        }
        true
    }

    #[cold]
    #[inline(never)]
    fn wait(&self) {
        let mut looks = 0;
        // ORDERING: as in `enter`.
        while self.taken.load(Ordering::Acquire) != 0 {
            looks += 1;
            if looks % SPINS == 0 { yield_now() } else { spin_loop() }
        }
    }

    /// The owner leaves, in the turn that it came in.
    #[inline]
    pub(crate) fn leave(&self) {
        // ORDERING: Release pairs with the Acquire in `take`: what the owner has done is visible.
        self.word.store(self.word.load(Ordering::Relaxed) & !INSIDE, Ordering::Release);
    }

    /// The owner leaves for a new turn.
    #[inline]
    #[cfg_attr(not(green_thread_locals), allow(dead_code, reason = "no thread has thread-locals of its own here"))]
    pub(crate) fn leave_for_turn(&self) {
        let turn = (self.word.load(Ordering::Relaxed) & !INSIDE).wrapping_add(TURN);
        // ORDERING: as in `leave`.
        self.word.store(turn, Ordering::Release);
    }

    /// Another worker takes the parts, unless the owner is inside, or a third worker has them.
    pub(crate) fn take(&self) -> Option<Taken<'_>> {
        // ORDERING: Relaxed: the heavy fence comes after it, so what a third worker has done is visible, too.
        let free = || self.taken.compare_exchange(0, 1, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if self.turn().is_none() || !free() {
            return None;
        }
        let taken = Taken(self);
        let mut inside = false;
        // Where there is no such fence nobody stands in for another.
        inside |= membarrier::heavy().is_err(); // KEY: latch-heavy-fence
        // ORDERING: Acquire pairs with the Releases of the owner.
        inside |= self.word.load(Ordering::Acquire) & INSIDE != 0; // KEY: latch-gives-up
        (!inside).then_some(taken)
    }

    /// The turn that the owner is in; `None`: it is inside.
    pub(crate) fn turn(&self) -> Option<Turn> {
        let word = self.word.load(Ordering::Relaxed);
        (word & INSIDE == 0).then_some(Turn(word))
    }

    /// Of whoever has the parts: so many threads are there for others to take over.
    #[inline]
    pub(crate) fn show_ready(&self, count: u32) {
        // ORDERING: Relaxed: a hint. What it misses is found by the lookout.
        self.ready.store(count, Ordering::Relaxed);
    }

    /// How many threads may be taken over, two at most.
    pub(crate) fn ready(&self) -> u32 {
        if self.turn().is_some() { self.ready.load(Ordering::Relaxed) } else { 0 }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        // ORDERING: Release pairs with the Acquires in `enter` and `wait`, and the fence in `take`.
        self.0.taken.store(0, Ordering::Release);
    }
}
