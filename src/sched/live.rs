//! The threads that have started on a worker and have not ended. Touched by the owner only; how many they are, others may read.

use std::cell::Cell;
use std::mem::offset_of;
use std::ptr::NonNull;

use crate::base::atomic::{AtomicU32, Ordering};
use crate::base::list::List;
use crate::task::Header;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) list: List<Header>,
    count: Cell<usize>,
    /// The count, for others.
    shown: &'static AtomicU32,
}

impl Live {
    /// Where a debugger finds the first thread.
    pub(crate) const FIRST: usize = offset_of!(Self, list) + List::<Header>::HEAD;

    pub(crate) fn new(shown: &'static AtomicU32) -> Self {
        Self { list: List::new(), count: Cell::new(0), shown }
    }

    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.count.get()
    }

    /// As [`count`](Self::count), also for a thread that runs here while others may have the list.
    pub(crate) fn shown(&self) -> usize {
        self.shown.load(Ordering::Relaxed) as usize
    }

    #[inline]
    fn set_count(&self, count: usize) {
        self.count.set(count);
        self.shown.store(count as u32, Ordering::Relaxed);
    }

    /// # Safety
    ///
    /// The thread has just started here, or come from another worker's list; it is taken out before it is freed.
    #[inline]
    pub(crate) unsafe fn push(&self, thread: NonNull<Header>) {
        // SAFETY: as the caller promises; so it is in no list.
        unsafe { self.list.push_back(thread) };
        self.set_count(self.count.get() + 1);
    }

    /// # Safety
    ///
    /// The thread is in the list.
    #[inline]
    pub(crate) unsafe fn remove(&self, thread: NonNull<Header>) {
        // SAFETY: as the caller promises.
        unsafe { self.list.remove(thread) };
        self.set_count(self.count.get() - 1);
    }
}
