//! The holder of a lock: its worker, so that no thread spins for one that cannot run meanwhile; the thread, so that a dump can name it
//! ([`waits_on`](crate::park::waits_on)); where deadlocks are named also the place, so that a thread that waits for itself, or closes a cycle of waits, is told
//! so.
#![forbid(unsafe_code)]

use std::mem::offset_of;
use std::ptr;

use crate::base::atomic::{AtomicPtr, Ordering};
use crate::park::current::WorkerContext;
#[cfg(any(debug_assertions, green_deadlocks))]
use crate::park::deadlock::{WaitTarget, about_to_wait};
use crate::park::possession::Possession;
use crate::park::{LockTaker, Wait};

/// The worker is a hint, written by the holder with plain stores. A thread that finds *itself* here is right to: it clears
/// its own entry before it lets the lock go, and sees its own stores in order.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct LockHolder {
    possession: Possession,
    /// The holder's worker; null: an OS thread, or not known. Old when nobody holds the lock.
    worker: AtomicPtr<WorkerContext>,
}

impl LockHolder {
    /// Where the holder's id is.
    pub(super) const THREAD: usize = offset_of!(Self, possession) + Possession::THREAD;

    pub(crate) const fn new() -> Self {
        Self { possession: Possession::new(), worker: AtomicPtr::new(ptr::null_mut()) }
    }

    /// The calling thread has the lock now.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn set(&self) {
        self.set_to(LockTaker::now());
    }

    /// The same, by one that has found out already who it is.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn set_to(&self, caller: LockTaker) {
        self.worker.store(caller.worker.cast_mut(), Ordering::Relaxed);
        self.possession.begin(caller.id);
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
        self.possession.end();
    }

    /// Is the holder a green thread of the caller's worker?
    #[inline]
    pub(crate) fn is_on_this_worker(&self) -> bool {
        WorkerContext::get().is_some_and(|here| ptr::eq(here, self.worker.load(Ordering::Relaxed)))
    }

    /// Panics if the calling thread itself has the lock's guard, which `holds` says in words. In debug builds.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn refuse_own(&self, holds: &str) {
        #[cfg(any(debug_assertions, green_deadlocks))]
        if self.possession.is_own_guard() {
            self.deadlock(holds);
        }
        #[cfg(not(any(debug_assertions, green_deadlocks)))]
        let _ = holds;
    }

    /// Panics if the calling thread itself runs the initialiser. In debug builds.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn refuse_nested(&self) {
        #[cfg(any(debug_assertions, green_deadlocks))]
        if self.possession.is_own() {
            self.deadlock("runs this initialiser");
        }
    }

    /// The calling thread is about to wait for the holder of `what`, until the result is dropped. In debug builds.
    ///
    /// # Panics
    ///
    /// If that would close a cycle of waits.
    #[inline(always)]
    #[track_caller]
    #[must_use]
    pub(crate) fn about_to_wait(&self, what: &'static str, wait: &Wait) -> impl Sized + use<> {
        #[cfg(any(debug_assertions, green_deadlocks))]
        return about_to_wait(WaitTarget::Release(&self.possession, what), wait);
        #[cfg(not(any(debug_assertions, green_deadlocks)))]
        let _ = (what, wait);
    }
}

#[cfg(any(debug_assertions, green_deadlocks))]
impl LockHolder {
    /// Who has the lock alone.
    pub(super) fn possession(&self) -> &Possession {
        &self.possession
    }

    #[cold]
    #[track_caller]
    fn deadlock(&self, holds: &str) -> ! {
        panic!("deadlock: this thread would wait for itself: it {holds}, since {}", self.possession.place())
    }
}
