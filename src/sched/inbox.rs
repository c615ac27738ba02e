//! A worker's inbox: what others leave for it, and whether it sleeps, in one word.
//!
//! `word = pointer to the newest task | flags`. The tasks are linked through their own `link`, newest first; the owner
//! takes them all at once and turns them round.
//!
//! | flag     | set when                                                                     | cleared when              |
//! | -------- | ---------------------------------------------------------------------------- | ------------------------- |
//! | `ASLEEP` | the owner is going to sleep ([`doze`](Inbox::doze)); only in an empty word   | the first thing is left for it, or the owner gets up |
//! | `SEARCH` | a publisher wants the sleeping owner to look for work to steal; counted as a searcher already | the owner takes |
//! | `CONTROL`   | the owner is to look at its cancels and at the runtime's shutdown            | the owner takes           |
//!
//! The thread that clears `ASLEEP` owes the owner an `unpark`: that is what the `#[must_use]` results say. Because the flag and
//! the tasks share one word there is no moment between "nothing there" and "asleep" in which a task could be missed.

use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use crate::base::atomic::{AtomicPtr, Ordering};

const ASLEEP: usize = 1;
const SEARCH: usize = 2;
const CONTROL: usize = 4;
const FLAGS: usize = 7;

/// What can be left in an inbox: aligned to 8 bytes at least, with a link of its own.
pub(crate) trait Queued {
    /// The link that the queue which holds the item uses.
    fn link(&self) -> &AtomicPtr<Self>
    where
        Self: Sized;
}

/// The owner is asleep and has to be unparked by the caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) struct WasAsleep(pub(crate) bool);

/// What the owner took out.
#[derive(Debug)]
pub(crate) struct Batch<T> {
    first: *mut T,
    /// The owner was woken to search, and is counted as a searcher.
    pub(crate) search: bool,
    /// The owner is to look at its cancels and at the shutdown.
    pub(crate) control: bool,
    /// The owner was (still) marked asleep: nobody has cleared the mark, or owes an unpark.
    pub(crate) asleep: bool,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    word: AtomicPtr<T>,
    _queued: PhantomData<*mut T>,
}

// SAFETY: the word is atomic; the items change hands whole, by the Release and Acquire named at each operation.
unsafe impl<T: Send> Send for Inbox<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Inbox<T> {}

fn flags<T>(word: *mut T) -> usize {
    word.addr() & FLAGS
}

fn with_flags<T>(word: *mut T, flags: usize) -> *mut T {
    word.map_addr(|address| address | flags)
}

fn items<T>(word: *mut T) -> *mut T {
    word.map_addr(|address| address & !FLAGS)
}

impl<T: Queued> Inbox<T> {
    pub(crate) fn new() -> Self {
        Self { word: AtomicPtr::new(ptr::null_mut()), _queued: PhantomData }
    }

    /// Leaves `item`.
    ///
    /// # Safety
    ///
    /// `item` is valid until the owner has taken it, and is in no other queue.
    #[inline]
    pub(crate) unsafe fn push(&self, item: NonNull<T>) -> WasAsleep {
        debug_assert!(flags(item.as_ptr()) == 0);
        // SAFETY: as the caller promises.
        let link = unsafe { item.as_ref() }.link();
        let mut old = self.word.load(Ordering::Relaxed);
        loop {
            // ORDERING: Relaxed: the exchange below publishes it.
            link.store(items(old), Ordering::Relaxed);
            let mut kept = flags(old);
            kept &= !ASLEEP; // KEY: wakes-once
            let new = with_flags(item.as_ptr(), kept);
            // ORDERING: Release pairs with the Acquire in `take`: the item, and what the waker did before, are visible.
            match self.word.compare_exchange_weak(old, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return WasAsleep(flags(old) & ASLEEP != 0),
                Err(now) => old = now,
            }
        }
    }

    /// Asks the owner to look at its cancels and the shutdown.
    pub(crate) fn notify_control(&self) -> WasAsleep {
        let mut old = self.word.load(Ordering::Relaxed);
        loop {
            let new = with_flags(items(old), (flags(old) & !ASLEEP) | CONTROL);
            // ORDERING: Release pairs with the Acquire in `take`: what there is to see is visible. Acquire pairs with `doze`: a thread that
            // takes a mark out sees in whose count it stands (`counted`).
            match self.word.compare_exchange_weak(old, new, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return WasAsleep(flags(old) & ASLEEP != 0),
                Err(now) => old = now,
            }
        }
    }

    /// Makes a searcher of the owner if it sleeps.
    pub(crate) fn notify_search(&self) -> WasAsleep {
        let asleep = with_flags(ptr::null_mut(), ASLEEP);
        let search = with_flags(ptr::null_mut(), SEARCH);
        // ORDERING: Release pairs with the Acquire in `take`: the woken searcher sees what was published. Relaxed on failure: an
        // owner that is not yet marked here marks itself later, so the fence before its last look comes after the
        // publisher's (sched/PROTOCOL.md).
        let woken = self.word.compare_exchange(asleep, search, Ordering::Release, Ordering::Relaxed);
        WasAsleep(woken.is_ok())
    }

    /// The owner is going to sleep. False: there is something in the box.
    #[must_use]
    pub(crate) fn doze(&self) -> bool {
        let asleep = with_flags(ptr::null_mut(), ASLEEP);
        // ORDERING: Release pairs with the Acquire in `notify_control`. For the last look for work, the fence of `Idle::before_last_look` comes
        // after it, see `notify_search`.
        self.word.compare_exchange(ptr::null_mut(), asleep, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Is there anything for the owner?
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        // ORDERING: Relaxed: `take` follows, or the owner looks again later.
        self.word.load(Ordering::Relaxed).is_null()
    }

    /// Is the owner marked as asleep? For one that looks from outside.
    pub(crate) fn is_marked(&self) -> bool {
        flags(self.word.load(Ordering::Relaxed)) & ASLEEP != 0
    }

    /// The owner takes everything.
    pub(crate) fn take(&self) -> Batch<T> {
        // ORDERING: Acquire pairs with the Releases of `push`, `notify_control` and `notify_search`.
        let word = self.word.swap(ptr::null_mut(), Ordering::Acquire);
        let flags = flags(word);
        Batch {
            first: items(word),
            search: flags & SEARCH != 0,
            control: flags & CONTROL != 0,
            asleep: flags & ASLEEP != 0,
        }
    }
}

impl<T: Queued> Batch<T> {
    /// Hands out the items, oldest first.
    pub(crate) fn deliver(self, mut each: impl FnMut(NonNull<T>)) {
        let mut newest = self.first;
        let mut oldest: *mut T = ptr::null_mut();
        while let Some(item) = NonNull::new(newest) {
            // SAFETY: a item stays valid until it is taken, and it is taken here; nobody else touches its link.
            let link = unsafe { item.as_ref() }.link();
            newest = link.load(Ordering::Relaxed);
            link.store(oldest, Ordering::Relaxed);
            oldest = item.as_ptr();
        }
        while let Some(item) = NonNull::new(oldest) {
            // SAFETY: as above; the link is read before the item is handed on.
            oldest = unsafe { item.as_ref() }.link().load(Ordering::Relaxed);
            each(item);
        }
    }
}
