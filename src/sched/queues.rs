//! What one worker may run: its queues, and how far the present round is through them. Touched by the owner only; other workers
//! steal from `unstarted`.

use std::cell::Cell;
use std::ptr::{self, NonNull};

use crate::sched::deque::{Deque, Pointer};
use crate::sched::ready::ReadyQueue;
use crate::task::{Header, Task};

/// Turns in a row that the slot of the thread woken last may have before the queue has its turn.
const WOKEN_STREAK: u32 = 16;
/// What one round starts at most: 16 unstarted threads (each may be one more part of a tree under way, with a stack for each
/// level down), or 256 runs of actors, twice what one thread may tell in a turn; or else the queue would grow, and an actor
/// that many tell something would have its turn ever later.
const STARTS_PER_ROUND: u32 = 256;
pub(super) const THREAD_COSTS: u32 = 16;

impl Pointer for Task {
    type Target = Header;

    #[inline]
    fn into_raw(self) -> NonNull<Header> {
        self.into_raw()
    }

    #[inline]
    unsafe fn from_raw(raw: NonNull<Header>) -> Self {
        // SAFETY: as the caller promises, it is the reference that `into_raw` gave out.
        unsafe { Self::from_raw(raw) }
    }
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Queues {
    pub(super) ready: ReadyQueue,
    /// A thread that was stolen: it starts next.
    next_start: Cell<*mut Header>,
    /// Unstarted threads, stealable. Youngest at the owner's end; started from the other one.
    pub(super) unstarted: Deque<Task>,
    /// The youngest of them, if nothing has happened since; only compared.
    youngest: Cell<*mut Header>,
    streak: Cell<u32>,
    ready_left: Cell<usize>,
    pub(super) starts_left: Cell<u32>,
}

/// Is that the entry of a thread that a joiner has started? A re-armable task is started from its entry only.
#[inline]
pub(crate) fn is_stale(entry: &Task) -> bool {
    entry.state.is_started() && entry.vtable.after_run.is_none()
}

impl Queues {
    pub(crate) fn new(unstarted: Deque<Task>) -> Self {
        Self {
            ready: ReadyQueue::new(),
            next_start: Cell::new(ptr::null_mut()),
            unstarted,
            youngest: Cell::new(ptr::null_mut()),
            streak: Cell::new(0),
            ready_left: Cell::new(0),
            starts_left: Cell::new(0),
        }
    }

    /// Notes that `task`, which is about to be put into `unstarted`, may be joined at once.
    #[inline]
    pub(crate) fn note_youngest(&self, task: &Task) {
        self.youngest.set(task.as_ptr().as_ptr());
    }

    /// Takes the entry of `task` out, if it was spawned last: it is most likely the first to come out again, and then leaves no
    /// stale entry behind.
    #[inline]
    pub(crate) fn take_youngest(&self, task: &Task) -> Option<Task> {
        if self.youngest.get() != task.as_ptr().as_ptr() {
            return None;
        }
        self.youngest.set(ptr::null_mut());
        let entry = self.unstarted.pop()?;
        if entry.as_ptr() == task.as_ptr() {
            return Some(entry);
        }
        self.put_back(entry);
        None
    }

    #[cold]
    #[inline(never)]
    fn put_back(&self, entry: Task) {
        self.unstarted.push(entry);
    }

    /// Takes entries of threads that a joiner has started out of the youngest end of the deque.
    #[inline]
    pub(crate) fn drop_stale(&self, count: u32) {
        if count > 0 {
            self.drop_some_stale(count);
        }
    }

    #[inline(never)]
    fn drop_some_stale(&self, count: u32) {
        for _ in 0..count {
            match self.unstarted.pop() {
                Some(task) if is_stale(&task) => {}
                Some(task) => return self.put_back(task),
                None => return,
            }
        }
    }

    /// How many entries there are for unstarted threads; some may be stale. For anybody.
    pub(crate) fn unstarted_len(&self) -> usize {
        self.unstarted.len()
    }

    /// `thread`, which was claimed, starts next.
    pub(crate) fn set_next_start(&self, thread: NonNull<Header>) {
        debug_assert!(self.next_start.get().is_null());
        self.next_start.set(thread.as_ptr());
    }

    /// Does a thread stand ready that was chosen to be the next?
    #[inline]
    pub(super) fn has_next_start(&self) -> bool {
        !self.next_start.get().is_null()
    }

    #[inline]
    pub(crate) fn take_next_start(&self) -> Option<NonNull<Header>> {
        let thread = NonNull::new(self.next_start.get())?;
        self.next_start.set(ptr::null_mut());
        Some(thread)
    }

    /// May the thread woken last go before the others once more?
    #[inline]
    pub(crate) fn continues_streak(&self) -> bool {
        let continues = self.streak.get() < WOKEN_STREAK;
        if continues {
            self.streak.set(self.streak.get() + 1);
        }
        continues
    }

    #[inline]
    pub(crate) fn end_streak(&self) {
        self.streak.set(0);
    }

    /// A round begins. False: nothing is ready.
    #[inline]
    pub(crate) fn begin_round(&self) -> bool {
        self.ready_left.set(self.ready.len());
        self.starts_left.set(STARTS_PER_ROUND);
        self.ready_left.get() > 0
    }

    /// The oldest thread that was ready when the round began.
    #[inline]
    pub(crate) fn next_ready(&self) -> Option<NonNull<Header>> {
        let left = self.ready_left.get();
        if left == 0 {
            return None;
        }
        self.ready_left.set(left - 1);
        self.ready.pop()
    }

    /// Is an unstarted thread next, as far as the others go?
    #[inline]
    pub(super) fn is_done_with_ready(&self) -> bool {
        self.ready_left.get() == 0 && !self.has_next_start()
    }

    /// Is there a thread that is ready or stolen?
    pub(crate) fn has_ready(&self) -> bool {
        self.ready.len() > 0 || self.has_next_start()
    }

    /// Is there a thread that is ready, stolen or unstarted?
    pub(crate) fn has_some(&self) -> bool {
        self.has_ready() || !self.unstarted.is_empty()
    }
}
