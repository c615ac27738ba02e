//! One turn of a thread: it gets a stack if it has none, runs until it waits, yields or ends, and gives the stack back.

use std::ptr::NonNull;

use crate::base::atomic::Ordering;
use crate::fiber::{Fiber, Status};
use crate::park::current::Here;
use crate::sched::mailbox;
use crate::sched::worker::Worker;
use crate::task::header::Next;
use crate::task::{Header, Task, local};

impl Worker {
    /// Runs `thread` until it waits, yields or ends.
    #[inline]
    pub(super) fn turn(&self, thread: NonNull<Header>) {
        // SAFETY: invariant 3: the entry that named it had a counted reference, which is this turn's now.
        let header = unsafe { thread.as_ref() };
        // SAFETY: invariant 3 of the header: this is its home worker, and it does not run.
        let starts = unsafe { &*header.fiber.get() }.is_none();
        if starts && !self.start(thread) {
            return;
        }
        self.turns.set(self.turns.get().wrapping_add(1));
        self.here().set_current(thread);
        // SAFETY: as above; `start` has put the fiber there, and it is suspended or fresh.
        let status = unsafe { (*header.fiber.get()).as_ref().unwrap_unchecked().resume(0) };
        let yields = self.here().take_current();
        match status {
            Status::Suspended if yields => self.make_ready(thread),
            Status::Suspended => {}
            Status::Finished => {
                self.leaves.set(self.leaves.get() + u32::from(starts));
                self.end(thread);
            }
        }
    }

    /// Gives a thread that was claimed here the hottest stack. False: there is none; it is queued again, not started.
    #[inline]
    fn start(&self, thread: NonNull<Header>) -> bool {
        // SAFETY: as in `turn`.
        let header = unsafe { thread.as_ref() };
        if self.stopping.get() {
            let _ = header.state.cancel();
        }
        // A re-armable task rests without a promise, else a million of them would take up a million stacks' addresses.
        if header.vtable.after_run.is_some() && self.stacks().reserve(header.size).is_err() {
            // SAFETY: it was claimed here, never ran, and its entry's reference is the caller's.
            unsafe { self.put_off(thread) };
            return false;
        }
        let stack = self.stacks().acquire(header.size);
        // SAFETY: `thread_main` gets the header; it stays alive until the thread has ended, by this turn's reference.
        let fiber = unsafe { Fiber::new(stack, thread_main, thread.as_ptr().cast()) };
        // SAFETY: invariant 3 of the header.
        unsafe { *header.fiber.get() = Some(fiber) };
        // SAFETY: a thread starts once; it is taken out in `end`.
        unsafe { self.live.push_back(thread) };
        self.set_live_count(self.live_count.get() + 1);
        // So that it can wait for a time without an allocation.
        self.here().wheel.borrow_mut().make_room(self.live_count.get());
        true
    }

    /// The thread has left its stack for good.
    fn end(&self, thread: NonNull<Header>) {
        // SAFETY: as in `turn`; dropped here, the running thread's reference is given up.
        let task = unsafe { Task::from_raw(thread) };
        let claimed = task.claimed.get();
        // SAFETY: invariant 3 of the header; the fiber has finished, so its stack is free.
        unsafe {
            if let Some(fiber) = (*task.fiber.get()).take() {
                self.stacks().release(fiber.into_stack());
            }
            self.live.remove(thread);
        }
        self.set_live_count(self.live_count.get() - 1);
        if let Some(after_run) = task.vtable.after_run {
            // SAFETY: the thread is out of its stack and out of every list, on its home worker.
            match unsafe { after_run(thread) } {
                Next::Over => drop(task),
                Next::Rests => _ = task.into_raw(),
                Next::Again => self.spawn(task),
            }
        }
        self.drop_stale(claimed);
    }

    /// There is no stack for a re-armable task that was claimed here: it waits until others have given theirs back.
    ///
    /// # Safety
    ///
    /// It has not run since, and the caller gives the reference of its entry.
    #[cold]
    #[inline(never)]
    unsafe fn put_off(&self, thread: NonNull<Header>) {
        // SAFETY: as the caller promises.
        let task = unsafe {
            thread.as_ref().state.unclaim();
            Task::from_raw(thread)
        };
        std::thread::yield_now();
        self.spawn(task);
    }

    /// Takes entries of threads that a joiner has started out of the youngest end of the deque.
    #[inline]
    fn drop_stale(&self, count: u32) {
        for _ in 0..count {
            match self.unstarted.pop() {
                Some(task) if task.state.is_started() => {}
                Some(task) => {
                    self.unstarted.push(task);
                    break;
                }
                None => break,
            }
        }
    }

    pub(crate) fn live_count(&self) -> usize {
        self.live_count.get()
    }

    #[inline]
    fn set_live_count(&self, count: usize) {
        self.live_count.set(count);
        self.mailbox.live.store(count as u32, Ordering::Relaxed);
    }
}

/// The first function on every green thread's stack.
unsafe fn thread_main(thread: *mut ()) {
    let thread = thread.cast::<Header>();
    // SAFETY: `start` passes the header, and it is alive until the thread has ended.
    let header = unsafe { NonNull::new_unchecked(thread) };
    // SAFETY: as above.
    let this = unsafe { header.as_ref() };
    if cfg!(green_backend = "threads") {
        // This fiber has an OS thread of its own, whose thread-local knows no worker yet.
        // ORDERING: Acquire pairs with the store in `Worker::run`.
        let here = mailbox::get(this.state.home()).here.load(Ordering::Acquire);
        // SAFETY: the worker lives until all its threads have ended.
        unsafe { Here::enter(here) };
    }
    let start = !this.state.is_cancelled();
    this.shielded.set(!start);
    // SAFETY: the thread was claimed once, and this is it.
    unsafe { (this.vtable.run)(header, start) };
    this.shielded.set(true);
    // SAFETY: this is the thread itself (invariant 2 of `task::local`).
    unsafe { local::destroy(this) };
    if this.vtable.after_run.is_some() {
        return; // `Worker::end` goes on.
    }
    // SAFETY: as above; the result is stored. If nobody will ask for it, it is dropped here, on the thread's own stack.
    unsafe {
        if Header::complete(header, true) {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (this.vtable.drop_output)(header)));
        }
        (this.vtable.done)(header);
    }
}
