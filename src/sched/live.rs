//! The threads that live on a worker: they have started, or will start nowhere else, and have not ended. The owner alone changes the list; how many they are
//! others may read at any time, and the list under its lock ([`listing`](super::listing)).

use std::cell::Cell;
use std::mem::offset_of;
use std::ptr::NonNull;

use crate::base::atomic::{AtomicU32, Ordering};
use crate::base::list::List;
use crate::sched::biased::BiasedLock;
use crate::sched::remote::Remote;
use crate::task::Header;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) list: List<Header>,
    count: Cell<usize>,
    /// The count, for others.
    shown: &'static AtomicU32,
    listed: &'static BiasedLock<Place>,
}

/// How far one that lists the threads has come: the thread that it meets next.
#[derive(Debug)]
pub(crate) struct Place(Option<NonNull<Header>>);

// SAFETY: it is an address, used under the lock that guards the list.
unsafe impl Send for Place {}

impl Place {
    pub(crate) const NOWHERE: Self = Self(None);

    /// Begins at the first.
    pub(crate) fn begin(&mut self, live: &Live) {
        self.0 = live.list.front();
    }

    /// The thread that is met next.
    pub(crate) fn next(&mut self, live: &Live) -> Option<NonNull<Header>> {
        let thread = self.0?;
        self.0 = live.list.next_of(thread);
        Some(thread)
    }
}

impl Live {
    /// Where a debugger finds the first thread.
    pub(crate) const FIRST: usize = offset_of!(Self, list) + List::<Header>::HEAD;

    pub(crate) fn new(remote: &'static Remote) -> Self {
        Self { list: List::new(), count: Cell::new(0), shown: &remote.live, listed: &remote.listed }
    }

    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.count.get()
    }

    #[inline]
    fn set_count(&self, count: usize) {
        self.count.set(count);
        self.shown.store(count as u32, Ordering::Relaxed);
    }

    /// # Safety
    ///
    /// The thread is in no list, and will end here; it is taken out before it is freed.
    #[inline]
    pub(crate) unsafe fn push(&self, thread: NonNull<Header>) {
        // SAFETY: as the caller promises.
        self.listed.own(|_| unsafe { self.list.push_back(thread) });
        self.set_count(self.count.get() + 1);
    }

    /// # Safety
    ///
    /// The thread is in the list.
    #[inline]
    pub(crate) unsafe fn remove(&self, thread: NonNull<Header>) {
        self.listed.own(|place| {
            if let Some(place) = place
                && place.0 == Some(thread)
            {
                place.0 = self.list.next_of(thread);
            }
            // SAFETY: as the caller promises.
            unsafe { self.list.remove(thread) };
        });
        self.set_count(self.count.get() - 1);
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
