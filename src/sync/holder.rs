//! The holder of a lock: its worker, so that no thread spins for one that cannot run meanwhile; in debug builds also the
//! thread and the place, so that a thread that waits for itself is told so.
#![forbid(unsafe_code)]

#[cfg(debug_assertions)]
use std::panic::Location;
use std::ptr;

#[cfg(debug_assertions)]
use crate::base::atomic::AtomicU64;
use crate::base::atomic::{AtomicPtr, Ordering};
#[cfg(debug_assertions)]
use crate::base::lock::Lock;
use crate::park::current::WorkerContext;
#[cfg(debug_assertions)]
use crate::park::current::with_header;

/// All of it is a hint, written by the holder with plain stores. A thread that finds *itself* here is right to: it clears
/// its own entry before it lets the lock go, and sees its own stores in order.
#[derive(Debug)]
pub(crate) struct LockHolder {
    /// The holder's worker; null: an OS thread, or not known. Old when nobody holds the lock.
    worker: AtomicPtr<WorkerContext>,
    /// The holder's id; 0: none.
    #[cfg(debug_assertions)]
    thread: AtomicU64,
    #[cfg(debug_assertions)]
    place: Lock<Option<&'static Location<'static>>>,
}

impl LockHolder {
    pub(crate) const fn new() -> Self {
        Self {
            worker: AtomicPtr::new(ptr::null_mut()),
            #[cfg(debug_assertions)]
            thread: AtomicU64::new(0),
            #[cfg(debug_assertions)]
            place: Lock::new(None),
        }
    }

    /// The calling thread has the lock now.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn set(&self) {
        let worker = WorkerContext::get().map_or(ptr::null(), ptr::from_ref);
        self.worker.store(worker.cast_mut(), Ordering::Relaxed);
        #[cfg(debug_assertions)]
        {
            *self.place.lock() = Some(Location::caller());
            self.thread.store(with_header(|thread| thread.id), Ordering::Relaxed);
        }
    }

    /// As [`set`](Self::set), if it has the lock, which is `taken`.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn set_if(&self, taken: bool) -> bool {
        if taken {
            self.set();
        }
        taken
    }

    /// The calling thread is about to let the lock go.
    #[inline(always)]
    pub(crate) fn clear(&self) {
        #[cfg(debug_assertions)]
        self.thread.store(0, Ordering::Relaxed);
    }

    /// Is the holder a green thread of the caller's worker?
    #[inline]
    pub(crate) fn is_on_this_worker(&self) -> bool {
        WorkerContext::get().is_some_and(|here| ptr::eq(here, self.worker.load(Ordering::Relaxed)))
    }

    /// Panics if the calling thread itself is the holder, which `holds` says in words. In debug builds.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn refuse_own(&self, holds: &str) {
        #[cfg(debug_assertions)]
        if self.thread.load(Ordering::Relaxed) == with_header(|thread| thread.id) {
            self.deadlock(holds);
        }
        #[cfg(not(debug_assertions))]
        let _ = holds;
    }
}

#[cfg(debug_assertions)]
impl LockHolder {
    #[cold]
    #[track_caller]
    fn deadlock(&self, holds: &str) -> ! {
        let place = *self.place.lock();
        let place = place.map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        panic!("deadlock: this thread would wait for itself: it {holds}, since {place}")
    }
}
