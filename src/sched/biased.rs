//! A lock that costs its *owner* two stores and a load, and *visitors*, who come seldom, as much as is needed for that.
//!
//! The owner is one OS thread at a time: with threads that move, a worker that stands in for another is the owner of the other's lock as long as it has the
//! latch. Visitors come in calls of [`Visitor::visit`], any number of times between [`BiasedLock::open`] and the drop of
//! what that returns. Several may have it open. As long as one has, the owner goes by an ordinary lock, as visitors do.
//!
//! ```text
//!  the owner                                 a visitor
//!  O1  inside := 1                           V1  visitors + 1                        [RMW]
//!  O2  light fence                           V2  heavy fence
//!  O3  visitors = 0: goes on; inside := 0    V3  waits until inside = 0
//!  O4  visitors > 0: inside := 0, and        V4  each visit under the lock
//!      goes on under the lock                V5  visitors - 1, under the lock        [RMW]
//! ```
//!
//! **They never meet.** If the owner goes on at O3, it did not see V1. Then O1 comes before V3 in the order of the two fences, so V3 sees it, and waits.
//! Whenever the owner comes after that, it sees V1, and both go by the lock, until each visitor has gone. V3 is not asked again: `inside` is 1 for a moment at O4 only.
//!
//! **They see each other's changes.** O3's last store and O4's release; V3 acquires; V5 releases, O3's load acquires (what it reads was written by the last V5, which
//! continues the release sequences of those before); the lock does the rest.

use std::io;

use crate::base::atomic::{AtomicU32, Ordering, yield_now};
use crate::base::lock::{Lock, LockGuard};
use crate::sys::membarrier;

/// See the module's text. `T` is what visitors keep from one visit to the next, and the owner heeds.
#[derive(Debug)]
pub(crate) struct BiasedLock<T> {
    inside: AtomicU32,
    visitors: AtomicU32,
    lock: Lock<T>,
}

impl<T> BiasedLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { inside: AtomicU32::new(0), visitors: AtomicU32::new(0), lock: Lock::new(value) }
    }

    /// The owner's way in. `f` gets what the visitors keep, if there are any.
    #[inline(always)]
    pub(crate) fn own<R>(&self, f: impl FnOnce(Option<&mut T>) -> R) -> R {
        self.inside.store(1, Ordering::Relaxed);
        membarrier::light(); // KEY: light-fence
        // ORDERING: Acquire pairs with the Release in `drop`: a visitor has read what this changes.
        if self.visitors.load(Ordering::Acquire) != 0 {
            return self.own_slowly(f);
        }
        let result = f(None);
        // ORDERING: Release pairs with the Acquire in `open`: the visitor sees what `f` has changed.
        self.inside.store(0, Ordering::Release);
        result
    }

    #[cold]
    #[inline(never)]
    fn own_slowly<R>(&self, f: impl FnOnce(Option<&mut T>) -> R) -> R {
        // ORDERING(argued): Release pairs with the Acquire in `open`: the visitor sees what the owner has changed earlier, without the lock. In the models the
        // light fence is a real one, which does the same; by C++'s rules it is none, and ThreadSanitizer goes by those.
        self.inside.store(0, Ordering::Release);
        f(Some(&mut self.lock.lock()))
    }

    /// From now on the caller may visit, until the result is dropped.
    ///
    /// # Errors
    ///
    /// `Unsupported`: the system has no [`membarrier`].
    pub(crate) fn open(&self) -> io::Result<Visitor<'_, T>> {
        self.open_by(membarrier::heavy)
    }

    /// As [`open`](Self::open), with another heavy fence: for the owner's OS thread it is enough to have passed one since the call.
    ///
    /// # Errors
    ///
    /// Those of the fence.
    pub(crate) fn open_by(&self, fence: impl FnOnce() -> io::Result<()>) -> io::Result<Visitor<'_, T>> {
        // ORDERING: Relaxed: what other visitors have done comes with the lock.
        self.visitors.fetch_add(1, Ordering::Relaxed);
        let visitor = Visitor { lock: self };
        fence()?; // KEY: heavy-fence
        // ORDERING: Acquire pairs with the Release in `own`.
        while self.inside.load(Ordering::Acquire) != 0 {
            yield_now();
        }
        Ok(visitor)
    }
}

/// The right to visit.
#[derive(Debug)]
pub(crate) struct Visitor<'a, T> {
    lock: &'a BiasedLock<T>,
}

impl<T> Visitor<'_, T> {
    /// The owner is not inside while the caller has the result.
    pub(crate) fn visit(&self) -> LockGuard<'_, T> {
        self.lock.lock.lock()
    }
}

impl<T> Drop for Visitor<'_, T> {
    fn drop(&mut self) {
        let _inside = self.lock.lock.lock();
        // ORDERING: Release pairs with the Acquire in `own`.
        self.lock.visitors.fetch_sub(1, Ordering::Release);
    }
}
