//! The queue of ready threads of one worker: FIFO, intrusive, touched by its owner only, or by who has the owner's parts.

use std::cell::Cell;
use std::ptr::{self, NonNull};

use crate::base::atomic::Ordering;
use crate::base::shown::ShownWord;
use crate::fiber;
use crate::task::Header;

/// First in, first out; a thread in it is in no other queue (invariant 4 of the header).
#[derive(Debug)]
pub(crate) struct ReadyQueue {
    head: Cell<*mut Header>,
    tail: Cell<*mut Header>,
    /// Others look at it.
    len: ShownWord,
}

impl ReadyQueue {
    pub(crate) fn new() -> Self {
        Self { head: Cell::new(ptr::null_mut()), tail: Cell::new(ptr::null_mut()), len: ShownWord::new(0) }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len.get() as usize
    }

    /// The thread that was queued last.
    pub(crate) fn last(&self) -> *const Header {
        self.tail.get()
    }

    /// How many of the oldest `looks` threads are such, for whoever may touch the queue.
    pub(crate) fn count(&self, is: impl Fn(&Header) -> bool, looks: usize) -> u32 {
        let mut next = NonNull::new(self.head.get());
        let mut count = 0;
        for _ in 0..looks {
            let Some(thread) = next else { break };
            // SAFETY: it is in this queue, hence alive.
            let thread = unsafe { thread.as_ref() };
            count += u32::from(is(thread));
            next = NonNull::new(thread.link().load(Ordering::Relaxed));
        }
        count
    }

    /// # Safety
    ///
    /// The thread is alive until it is popped, and in no other queue.
    #[inline]
    pub(crate) unsafe fn push(&self, thread: NonNull<Header>) {
        // SAFETY: as the caller promises.
        unsafe { thread.as_ref() }.link().store(ptr::null_mut(), Ordering::Relaxed);
        match NonNull::new(self.tail.get()) {
            None => self.head.set(thread.as_ptr()),
            // SAFETY: the tail is in this queue, hence alive.
            Some(tail) => unsafe { tail.as_ref() }.link().store(thread.as_ptr(), Ordering::Relaxed),
        }
        self.tail.set(thread.as_ptr());
        self.len.set(self.len.get() + 1);
    }

    #[inline]
    pub(crate) fn pop(&self) -> Option<NonNull<Header>> {
        let first = NonNull::new(self.head.get())?;
        // SAFETY: it is in this queue, hence alive.
        let next = unsafe { first.as_ref() }.link().load(Ordering::Relaxed);
        self.head.set(next);
        match NonNull::new(next) {
            None => self.tail.set(ptr::null_mut()),
            // SAFETY: it is in this queue, hence alive, and this is its home worker.
            Some(next) => unsafe { prefetch_turn(next.as_ref()) },
        }
        self.len.set(self.len.get() - 1);
        Some(first)
    }
}

/// Asks the memory for what the next turns need, while this one runs: the fiber of the thread that is next, whose header was
/// asked for one turn ago, and the header of the one after it.
///
/// # Safety
///
/// On the home worker of `next`, which is in the queue.
#[inline(always)]
unsafe fn prefetch_turn(next: &Header) {
    // SAFETY: invariant 3 of the header: it does not run, and this is its home worker.
    if let Some(fiber) = unsafe { &*next.fiber.get() } {
        fiber.prefetch();
    }
    // Not of null: the look-up of an address that is not mapped is what takes long.
    if let Some(after) = NonNull::new(next.link().load(Ordering::Relaxed)) {
        fiber::prefetch(after.as_ptr());
    }
}
