//! Who waits for whom: one edge for each actor, because an actor waits for one other at most.
//!
//! # Protocol
//!
//! ```text
//!  an actor A that is going to wait for B       a walker that stands at A
//!  E1  A.to := B; fence                         V1  A.readers + 1; fence
//!  E2  walks from B; back at A: a cycle         V2  B = A.to
//!  E3  waits                                    V3  counts a reference to B
//!  E4  A.to := null; fence                      V4  A.readers - 1
//!  E5  until A.readers = 0
//!  E6  lets go of B
//! ```
//!
//! **What a walker reads is alive.** A holds B from E1 to E6. Of the fences in V1 and E4 one is the first. If it is E4's, V2
//! sees null (or what A waits for later, of which the same holds). If it is V1's, E5 sees the reader, and A does not get to
//! E6 before V4, when the walker has a reference of its own.
//!
//! **Of several that close a cycle at once, at least one sees it.** Each does E1 before its E2. Take the one whose fence of E1
//! is the last: the edges of all the others were set before theirs, so its walk sees them (no one has taken its edge back: who
//! does has seen a cycle itself, which is what is claimed). So it walks round.
//!
//! **Nobody is told of a cycle that is none.** The edges of one walk were read at different moments, so a first round only
//! suspects. Each `to` carries how often it was set: a second round that finds the same edges, set as often, proves that all
//! of them stood at the moment between the two.
//!
//! **A `reenter` is no cycle.** An actor that lets a chain in while it waits is not blocked for an ask of that chain, which may
//! have set its edge and not be queued yet. So each edge says to which chain its wait belongs, and a round that comes back by
//! such an edge does not count.

use std::ptr;

use crate::base::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence, spin_loop};

/// One actor's edge. See the module's text.
pub(crate) struct Edge<T> {
    to: AtomicPtr<T>,
    readers: AtomicU32,
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
        Self {
            to: AtomicPtr::new(ptr::null_mut()),
            readers: AtomicU32::new(0),
            times: AtomicU32::new(0),
            chain: AtomicU64::new(0),
        }
    }

    /// Step E1. The owner keeps `to` alive until `clear` has returned.
    #[inline]
    pub(crate) fn set(&self, to: *const T, chain: u64) {
        self.chain.store(chain, Ordering::Relaxed);
        self.times.store(self.times.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        // ORDERING: Release publishes `times` and `chain` to `follow`; the fence is E1's in the proof above.
        self.to.store(to.cast_mut(), Ordering::Release);
        fence(Ordering::SeqCst); // KEY: edge-set
    }

    /// Steps E4 and E5. By the owner, or, while that waits, by whoever gives it what it waits for, before it is woken: an edge
    /// must not stand for longer than the wait.
    #[inline]
    pub(crate) fn clear(&self) {
        // ORDERING: Relaxed: the owner sees its own edge; if another has cleared it, the owner was woken after that.
        if self.to.load(Ordering::Relaxed).is_null() {
            return;
        }
        // ORDERING: the fence is E4's in the proof above; Acquire pairs with V4: the walker's V3 comes before E6.
        self.to.store(ptr::null_mut(), Ordering::Relaxed);
        fence(Ordering::SeqCst); // KEY: edge-clear
        while self.readers.load(Ordering::Acquire) != 0 {
            spin_loop();
        }
    }

    /// Does anything stand here? For whoever only wants to know whether to walk on.
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        // ORDERING: Relaxed: a walker's V2 that goes no further, after the caller's own E1.
        !self.to.load(Ordering::Relaxed).is_null()
    }

    /// Steps V1 to V4: where the edge leads, how often it was set, and what `keep` makes of it while it is certain to be
    /// alive.
    pub(crate) fn follow<R>(&self, keep: impl FnOnce(*mut T) -> R) -> Option<(R, Mark)> {
        // ORDERING: the fence is V1's in the proof above; Acquire pairs with `set`.
        self.readers.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst); // KEY: edge-follow
        let to = self.to.load(Ordering::Acquire);
        let found = (!to.is_null()).then(|| {
            let mark = Mark { times: self.times.load(Ordering::Relaxed), chain: self.chain.load(Ordering::Relaxed) };
            (keep(to), mark)
        });
        // ORDERING: Release: V3 comes before what the owner does after E5.
        self.readers.fetch_sub(1, Ordering::Release);
        found
    }
}
