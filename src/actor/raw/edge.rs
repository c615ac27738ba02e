//! Who waits for whom: one edge for each actor, because an actor waits for one other at most.
//!
//! # Protocol
//!
//! ```text
//!  an actor A that is going to wait for B          a walker (cold)
//!  E1  A.to := B                                   V1  walkers + 1; fence
//!  E2  unless B rests: fence; does B wait?         V2  follows the edges, from its own: B = A.to, C = B.to …
//!      then walks from B; back at A: a cycle       V3  walkers - 1
//!  E3  waits
//!  E4  A.to := null                                whoever gives up the last reference to an actor
//!  E5  lets go of B                                F1  fence; until walkers = 0
//!                                                  F2  frees it
//! ```
//!
//! **What a walker reads is alive.** The walker's own actor is. If A is and V2 reads B from it: A held B up to its E4, and
//! that comes before F1 for B. Of the fences in V1 and F1 one is the first. If it is F1's, V2 sees A's E4, and so not this edge
//! (perhaps a later one of A, of which the same holds). If it is V1's, F1 sees the walker, and does not get to F2 before V3.
//!
//! **Of several that close a cycle at once, at least one sees it.** An actor that asks one that rests has no fence of its
//! own, but whoever it asks sets its edge after it has got the message, so later. Along a cycle that cannot go on all the way
//! round: some have a fence, and each other edge comes before the next fence along the cycle. Take the one whose fence is the
//! last: all edges of the cycle come before it, so its walk sees them (no one has taken its edge back: who does has seen a
//! cycle itself, which is what is claimed). So it walks round.
//!
//! **Nobody is told of a cycle that is none.** The edges of one walk were read at different moments, so a first round only
//! suspects. Each edge carries how often it was set, and one that changes while it is read is none. A second round that finds
//! the same edges, set as often, proves that all of them stood at the moment between the two.
//!
//! **An edge may be moved by others.** Who waits for a promise has its edge set, moved and cleared under the promise's lock, by
//! itself or by whoever passes the debt on; each who sets it takes step E2 for it, and the promise keeps B alive up to E4. So
//! the above holds of the edge, whoever set it.
//!
//! **A `reenter` is no cycle.** An actor that lets a chain in while it waits is not blocked for an ask of that chain, which may
//! have set its edge and not be queued yet. So each edge says to which chain its wait belongs, and a round that comes back by
//! such an edge does not count.

#![forbid(unsafe_code)]

use std::ptr;

use crate::base::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence, spin_loop};

/// One actor's edge. See the module's text.
pub(crate) struct Edge<T> {
    to: AtomicPtr<T>,
    times: AtomicU32,
    /// The call chain that the wait belongs to.
    chain: AtomicU64,
}

/// An edge, as a walker finds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mark {
    /// How often it was set.
    times: u32,
    pub(crate) chain: u64,
}

impl<T> Edge<T> {
    pub(crate) fn new() -> Self {
        Self { to: AtomicPtr::new(ptr::null_mut()), times: AtomicU32::new(0), chain: AtomicU64::new(0) }
    }

    /// Step E1. The owner keeps `to` alive until `clear` has returned.
    #[inline]
    pub(crate) fn set(&self, to: *const T, chain: u64) {
        // ORDERING: each Release pairs with the Acquire of the same field in `follow`: who sees the new count sees that the old
        // edge is gone, who sees the new edge or chain sees the new count.
        self.times.store(self.times.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
        self.chain.store(chain, Ordering::Release);
        self.to.store(to.cast_mut(), Ordering::Release);
    }

    /// Step E4. By the owner, or, while that waits, by whoever gives it what it waits for, before it is woken: an edge must not
    /// stand for longer than the wait.
    #[inline]
    pub(crate) fn clear(&self) {
        // ORDERING: Relaxed: what comes after it is ordered by what gives the owner, or the last reference, away.
        self.to.store(ptr::null_mut(), Ordering::Relaxed);
    }

    /// Between E1 of the caller and its look whether anything stands here.
    #[inline]
    pub(crate) fn is_set_after_fence(&self) -> bool {
        // ORDERING: the fence is E2's in the proof above.
        fence(Ordering::SeqCst); // KEY: edge-fence
        self.is_set()
    }

    /// Does anything stand here? For whoever only wants to know whether to walk on.
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
        let chain = self.chain.load(Ordering::Acquire);
        let unchanged = self.times.load(Ordering::Relaxed) == times;
        (unchanged && !to.is_null()).then_some((to.cast_const(), Mark { times, chain }))
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
