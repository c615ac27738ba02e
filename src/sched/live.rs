//! The threads that live on a worker: they have started, or will start nowhere else, and have not ended. The owner alone changes the list, or a worker that stands in for it; how many they are
//! others may read at any time, and the list under its lock ([`listing`](super::listing)).

use std::mem::offset_of;
use std::ptr::NonNull;

use crate::base::atomic::{AtomicU32, Ordering};
use crate::base::list::List;
use crate::sched::biased::BiasedLock;
use crate::task::Header;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) list: List<Header>,
    /// How many they are. Changed by the owner.
    count: &'static AtomicU32,
    listed: &'static BiasedLock<ListPlace>,
}

/// How far one that lists the threads has come: the thread that it meets next, and how many it meets at most. New ones come behind all others, so that
/// is enough for those that were there when it began; else it might never come to an end.
#[derive(Debug)]
pub(crate) struct ListPlace {
    next: Option<NonNull<Header>>,
    left: usize,
}

// SAFETY: it is an address, used under the lock that guards the list.
unsafe impl Send for ListPlace {}

impl ListPlace {
    pub(crate) const NOWHERE: Self = Self { next: None, left: 0 };

    /// Begins at the first.
    pub(crate) fn begin(&mut self, live: &Live) {
        *self = Self { next: live.list.front(), left: live.count() };
    }

    /// The thread that is met next.
    pub(crate) fn next(&mut self, live: &Live) -> Option<NonNull<Header>> {
        self.left = self.left.checked_sub(1)?;
        let thread = self.next?;
        self.next = live.list.next_of(thread);
        Some(thread)
    }
}

impl Live {
    /// Where a debugger finds the first thread.
    pub(crate) const FIRST: usize = offset_of!(Self, list) + List::<Header>::HEAD;

    pub(crate) fn new(count: &'static AtomicU32, listed: &'static BiasedLock<ListPlace>) -> Self {
        Self { list: List::new(), count, listed }
    }

    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed) as usize
    }

    /// # Safety
    ///
    /// The thread is in no list; it is taken out before it is freed.
    #[inline]
    pub(crate) unsafe fn push(&self, thread: NonNull<Header>) {
        self.listed.own(|_| {
            // SAFETY: as the caller promises.
            unsafe { self.list.push_back(thread) };
            self.count.store(self.count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        });
    }

    /// # Safety
    ///
    /// The thread is in the list.
    #[inline]
    pub(crate) unsafe fn remove(&self, thread: NonNull<Header>) {
        self.listed.own(|place| {
            if let Some(place) = place
                && place.next == Some(thread)
            {
                place.next = self.list.next_of(thread);
            }
            // SAFETY: as the caller promises.
            unsafe { self.list.remove(thread) };
            self.count.store(self.count.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        });
    }

    /// Makes `last` the last one, as [`List::rotate_past`]; not while somebody lists them, who would miss some.
    ///
    /// # Safety
    ///
    /// The thread is in the list.
    pub(crate) unsafe fn rotate_past(&self, last: NonNull<Header>) {
        self.listed.own(|place| {
            if place.is_none() {
                // SAFETY: as the caller promises.
                unsafe { self.list.rotate_past(last) };
            }
        });
    }
}
