//! Which actor waits for which: one edge for each actor, because an actor waits for one other at most.
//!
//! # Protocol
//!
//! ```text
//!  an actor A that is going to wait for B          a walker (cold)
//!  E0  B.reached := true
//!  E1  A.to := B                                   V1  walkers + 1; fence
//!  E2  unless B rests: fence; does B wait?         V2  follows the edges, from its own: B = A.to, C = B.to …
//!      then walks from B; back at A: a cycle       V3  walkers - 1
//!  E3  waits
//!  E4  A.to := null                                a thread that gives up the last reference to an actor
//!  E5  lets go of B                                F1  if reached: fence; until walkers = 0
//!                                                  F2  frees it
//! ```
//!
//! **What a walker reads is alive.** The walker's own actor is. If A is and V2 reads B from it: A held B up to its E4, and
//! that comes before F1 for B. Of the fences in V1 and F1 one is the first. If it is F1's, V2 sees A's E4, and so not this edge
//! (perhaps a later one of A, of which the same holds). If it is V1's, F1 sees the walker, and does not get to F2 before V3.
//! Where no edge has led, no walker has come: of an actor that was never `reached` F1 is left out. Each A that has reached B holds a reference
//! to it from before E0 to E5, so the thread that gives up the last one sees E0.
//!
//! **Of several that close a cycle at once, at least one sees it.** An actor that asks one that rests has no fence of its
//! own, but the asked actor sets its edge after it has got the message, so later. Along a cycle that cannot go on all the way
//! round: some have a fence, and each other edge comes before the next fence along the cycle. Take the actor whose fence is the
//! last: all edges of the cycle come before that fence, so its walk sees them. (None has been taken back: an actor that takes
//! its edge back has seen a cycle itself, which is what is claimed.) So it walks round.
//!
//! **Nobody is told of a cycle that is none.** The edges of one walk were read at different moments, so a first round only
//! suspects. Each edge carries how often it was set, and one that changes while it is read is none. A second round that finds
//! the same edges, set as often, proves that all of them stood at the moment between the two.
//!
//! **An edge may be moved by others.** The edge of an actor that waits for a promise is set, moved and cleared under the
//! promise's lock, by the actor itself or by the thread that passes the debt on. Each that sets the edge takes step E2 for it,
//! and the promise keeps B alive up to E4. So the above holds of the edge, whichever of the two set it.
//!
//! **What is let in closes no cycle.** An actor that lets a chain in while it waits (`reenter`) is not blocked for a message of
//! that chain that is on its way to it or among those that it has let in. So the edge of an actor that waits for such a message
//! says so ([`How::message`]), until the message is queued behind others (also after it was let in, when the handler that let it
//! in has ended without it), or handled: from then on ([`Edge::harden`]) it is an edge as every other. It leads into a cycle unless the next edge, that of the actor that lets in, says that this actor lets in
//! that very chain ([`How::letting_in`]). The owner hardens its edge; or, while the owner waits, the edge hardens under the lock
//! by which the message is taken, or queued after all, and before the actor that does so sets an edge of its own, whose step E2
//! then sees the hard one. It is the same edge afterwards.
//!
//! **A joiner is not told, if another actor can be.** A join has no error, and the joiner that closes a cycle may be the parent
//! whose child waits for it already. So a joiner (J) that walks round tells the actor that it joins (C), which it keeps alive: J
//! marks C's edge ([`Edge::tell`]) and has C's wait interrupted. C walks itself, then, and leaves its wait with the error; if C
//! joins, too, it passes that on to the actor that it joins. Only a cycle of joins alone is J's own error. If C has set its edge
//! and does not wait yet, the interruption may come too early: so J looks again after a while, as long as the cycle stands.

#![forbid(unsafe_code)]

use std::ptr;

use crate::base::atomic::{AtomicBool, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, Ordering, fence, spin_loop};

/// One actor's edge. See the module's text.
pub(crate) struct Edge<T> {
    to: AtomicPtr<T>,
    times: AtomicU32,
    /// Of the wait whose owner is to look for a cycle again: [`short`]; 0: of none.
    told: AtomicU16,
    /// An edge leads here, or has.
    reached: AtomicBool,
    how: AtomicU64,
}

/// What an edge's wait is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct How(u64);

impl How {
    /// For the answer to a message that nobody lets in, or for room.
    pub(crate) const PLAIN: How = How(0);
    /// For the target's end.
    pub(crate) const JOIN: How = How(1 << 61);
    /// The message is on its way, or among those that were let in.
    const ON_ITS_WAY: u64 = 1 << 63;
    /// Messages of the chain are let in meanwhile.
    const LETS_IN: u64 = 1 << 62;
    const CHAIN: u64 = (1 << 61) - 1;

    /// For the answer to a message of that chain, which may be let in. 0: of none.
    #[inline(always)]
    pub(crate) fn message(chain: u64) -> Self {
        if chain == 0 { How::PLAIN } else { How(chain | How::ON_ITS_WAY) }
    }

    /// The chain of a message that may be let in; 0: of none.
    pub(crate) fn chain_on_its_way(self) -> u64 {
        if self.0 & How::ON_ITS_WAY == 0 { 0 } else { self.0 & How::CHAIN }
    }

    /// Lets messages of `chain` in meanwhile; 0: of none. It is the chain of the message itself, if that has one.
    pub(crate) fn letting_in(self, chain: u64) -> Self {
        if chain == 0 { self } else { How(self.0 & !How::CHAIN | chain | How::LETS_IN) }
    }

    fn hardened(self) -> Self {
        How(self.0 & !How::ON_ITS_WAY)
    }

    /// Will the message, whose target waits so, be let in by it?
    pub(crate) fn is_let_in_by(self, target: How) -> bool {
        let both = self.0 & How::ON_ITS_WAY != 0 && target.0 & How::LETS_IN != 0;
        both && self.0 & How::CHAIN == target.0 & How::CHAIN
    }

    pub(crate) fn is_join(self) -> bool {
        self == How::JOIN
    }
}

/// The end of a count, never 0. Two that are taken for the same cost their owner a look for a cycle that is none.
fn short(times: u32) -> u16 {
    times as u16 | 1 << 15
}

/// An edge, as a walker finds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    /// How often it was set.
    times: u32,
    pub(crate) how: How,
}

impl Mark {
    /// Is it the same edge, whether or not it has hardened?
    pub(crate) fn is(self, other: Mark) -> bool {
        self.times == other.times
    }
}

impl<T> Edge<T> {
    pub(crate) fn new() -> Self {
        let (to, how) = (AtomicPtr::new(ptr::null_mut()), AtomicU64::new(0));
        Self { to, times: AtomicU32::new(0), told: AtomicU16::new(0), reached: AtomicBool::new(false), how }
    }

    /// Step E0, on the edge of the actor that will be waited for.
    #[inline]
    pub(crate) fn reach(&self) {
        // ORDERING: Relaxed: see the module's text.
        self.reached.store(true, Ordering::Relaxed);
    }

    /// Has an edge ever led to the actor? For the thread that frees it.
    #[inline]
    pub(crate) fn is_reached(&self) -> bool {
        // ORDERING: Relaxed: as in `reach`.
        self.reached.load(Ordering::Relaxed)
    }

    /// Step E1, after E0 at `to`. The owner keeps `to` alive until `clear` has returned.
    #[inline]
    pub(crate) fn set(&self, to: *const T, how: How) {
        // ORDERING: each Release pairs with the Acquire of the same field in `follow`: a walker that sees the new count sees that
        // the old edge is gone; one that sees the new edge or what it is for sees the new count.
        self.times.store(self.times.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
        self.how.store(how.0, Ordering::Release);
        self.to.store(to.cast_mut(), Ordering::Release);
    }

    /// Step E4. By the owner, or, while the owner waits, by the thread that gives it what it waits for, before it is woken: an
    /// edge must not stand for longer than the wait.
    #[inline]
    pub(crate) fn clear(&self) {
        // ORDERING: Relaxed: what comes after it is ordered by what gives the owner, or the last reference, away.
        self.to.store(ptr::null_mut(), Ordering::Relaxed);
    }

    /// The message is queued behind others, or handled. The module's text says which side calls this.
    #[cold]
    pub(crate) fn harden(&self) {
        // ORDERING: Relaxed twice: the actor that has taken the message sets its own edge later, and that publishes this.
        let how = How(self.how.load(Ordering::Relaxed)).hardened();
        self.how.store(how.0, Ordering::Relaxed); // KEY: harden
    }

    /// Has the owner look for a cycle again, if it is still in the wait that `mark` was read of.
    pub(crate) fn tell(&self, mark: Mark) {
        // ORDERING: Relaxed: the interruption of the wait, which follows, publishes it.
        self.told.store(short(mark.times), Ordering::Relaxed); // KEY: tell
    }

    /// For the owner: has somebody told it to look again?
    pub(crate) fn is_told(&self) -> bool {
        // ORDERING: Relaxed: as in `tell`; the count is the owner's own.
        self.is_set() && self.told.load(Ordering::Relaxed) == short(self.times.load(Ordering::Relaxed))
    }

    /// The owner has looked.
    pub(crate) fn untell(&self) {
        // ORDERING: Relaxed: as in `tell`; one that is lost comes again.
        self.told.store(0, Ordering::Relaxed);
    }

    /// Between E1 of the caller and its look whether anything stands here.
    #[inline]
    pub(crate) fn is_set_after_fence(&self) -> bool {
        // ORDERING: the fence is E2's in the proof above.
        fence(Ordering::SeqCst); // KEY: edge-fence
        self.is_set()
    }

    /// Does anything stand here? For a caller that only wants to know whether to walk on.
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        // ORDERING: Relaxed: a walker's V2 that goes no further.
        !self.to.load(Ordering::Relaxed).is_null()
    }

    /// Step V2: where the edge leads, and how often it was set. The target is alive as long as the walker is counted.
    pub(crate) fn follow(&self) -> Option<(*const T, Mark)> {
        // ORDERING: as in `set`.
        let times = self.times.load(Ordering::Acquire);
        let to = self.to.load(Ordering::Acquire);
        let how = How(self.how.load(Ordering::Acquire));
        let unchanged = self.times.load(Ordering::Relaxed) == times;
        (unchanged && !to.is_null()).then_some((to.cast_const(), Mark { times, how }))
    }
}

/// How many walk now.
pub(crate) struct Walkers(pub(crate) AtomicU32);

/// Step V3, when it is dropped.
pub(crate) struct Walking<'a>(&'a Walkers);

impl Walkers {
    /// Step V1.
    pub(crate) fn enter(&self) -> Walking<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        // ORDERING: V1's in the proof above; the partner is the fence in `wait`.
        fence(Ordering::SeqCst); // KEY: walk-fence
        Walking(self)
    }

    /// Step F1.
    #[inline]
    pub(crate) fn wait(&self) {
        // ORDERING: F1's in the proof above. Acquire pairs with V3: what a walker reads comes before F2.
        fence(Ordering::SeqCst); // KEY: free-fence
        while self.0.load(Ordering::Acquire) != 0 {
            spin_loop();
        }
    }
}

impl Drop for Walking<'_> {
    fn drop(&mut self) {
        // ORDERING: Release pairs with the Acquire in `wait`.
        self.0.0.fetch_sub(1, Ordering::Release);
    }
}
