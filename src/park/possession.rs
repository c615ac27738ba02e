//! Who has a lock: the number of the thread, and, where [`deadlock`](super::deadlock)s are named, since when.
#![forbid(unsafe_code)]

use std::mem::offset_of;
#[cfg(any(debug_assertions, green_deadlocks))]
use std::panic::Location;

use crate::base::atomic::{AtomicU64, Ordering};
#[cfg(any(debug_assertions, green_deadlocks))]
use crate::base::lock::Lock;
#[cfg(any(debug_assertions, green_deadlocks))]
use crate::park::current::with_header;

/// Who has a lock, for its waiters.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Possession {
    /// The holder's id; 0: none, or, where deadlocks are not named, an OS thread, and then it is old when nobody holds the lock.
    thread: AtomicU64,
    #[cfg(any(debug_assertions, green_deadlocks))]
    place: Lock<Option<&'static Location<'static>>>,
}

impl Possession {
    /// Where the id is.
    pub(crate) const THREAD: usize = offset_of!(Self, thread);

    pub(crate) const fn new() -> Self {
        Self {
            thread: AtomicU64::new(0),
            #[cfg(any(debug_assertions, green_deadlocks))]
            place: Lock::new(None),
        }
    }

    /// The calling thread has it now; `id` is its number, or 0 if it is an OS thread.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn begin(&self, id: u64) {
        #[cfg(any(debug_assertions, green_deadlocks))]
        {
            *self.place.lock() = Some(Location::caller());
        }
        // OS threads have numbers, too.
        #[cfg(any(debug_assertions, green_deadlocks))]
        let id = if id == 0 { with_header(|thread| thread.id) } else { id };
        self.thread.store(id, Ordering::Relaxed);
    }

    /// The calling thread is about to let it go.
    #[inline(always)]
    pub(crate) fn end(&self) {
        if cfg!(any(debug_assertions, green_deadlocks)) {
            self.thread.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(any(debug_assertions, green_deadlocks))]
impl Possession {
    /// The holder's id; 0: there is none.
    pub(super) fn holder(&self) -> u64 {
        self.thread.load(Ordering::Relaxed)
    }

    /// Is the calling thread the holder?
    pub(crate) fn is_own(&self) -> bool {
        self.holder() == with_header(|thread| thread.id)
    }

    /// Since when, in words.
    pub(crate) fn place(&self) -> String {
        self.place.lock().map_or_else(|| "an unknown place".to_owned(), ToString::to_string)
    }
}
