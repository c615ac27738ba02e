//! One turn of a thread: it gets a stack if it has none, runs until it waits, yields or ends, and gives the stack back.

use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

use crate::base::abort::fatal;
use crate::fiber::{Fiber, Status};
use crate::park::may_let_others_run;
use crate::sched::worker::Worker;
use crate::sys::{fork, membarrier};
use crate::task::header::Next;
use crate::task::{Header, Task};

/// How control came back from a thread.
#[derive(Clone, Copy, Debug)]
pub(super) enum TurnEnd {
    /// It waits; the end of its wait queues it.
    Waits,
    /// It wants to go on.
    Yields,
    /// It has ended, its stack is free.
    Over,
}

impl Worker {
    /// Runs `thread` until it waits, yields or ends.
    #[inline(always)]
    pub(super) fn turn(&self, thread: NonNull<Header>) -> TurnEnd {
        // SAFETY: invariant 3: the entry that named it had a counted reference, which is this turn's now.
        let header = unsafe { thread.as_ref() };
        // SAFETY: invariant 3 of the header: this is its home worker, and it does not run.
        if unsafe { &*header.fiber.get() }.is_none() && !self.start(thread) {
            return TurnEnd::Over;
        }
        self.here().refill_budget();
        let (end, thread) = self.resume(thread, None);
        match end {
            TurnEnd::Waits => {}
            TurnEnd::Yields => self.make_ready(thread),
            TurnEnd::Over => {
                self.end(thread, false);
                // SAFETY: the turn's reference, as above.
                self.after_end(unsafe { Task::from_raw(thread) });
            }
        }
        end
    }

    /// `joiner`, which runs here, waits for `task`: if that has not started, it runs at once, on top of the joiner, until
    /// it waits, yields or ends. This is what makes fork-join depth-first. False: nothing was done.
    #[inline]
    pub(crate) fn run_joined(&self, task: &Task, joiner: &Header) -> bool {
        if task.state.is_started_or_movable() {
            return self.run_joined_inside(task, joiner);
        }
        self.run_unstarted(task, joiner)
    }

    /// The same, of a thread that may move, where the parts are not the worker's own.
    #[cold]
    #[inline(never)]
    fn run_joined_inside(&self, task: &Task, joiner: &Header) -> bool {
        !task.state.is_started() && self.here().inside(|| self.run_unstarted(task, joiner))
    }

    #[inline(always)]
    fn run_unstarted(&self, task: &Task, joiner: &Header) -> bool {
        if task.runtime != joiner.runtime || !self.may_resume_on_top() {
            return false;
        }
        let entry = self.queues.take_youngest(task);
        if !task.state.claim_joined(self.remote.index, entry.is_some()) {
            return false;
        }
        match entry {
            Some(entry) => _ = entry.into_raw(),
            None => joiner.claimed.set(joiner.claimed.get() + 1),
        }
        self.turn_on_top(task);
        true
    }

    /// A turn of `task` within the turn of its joiner, which has claimed it: its first, until it waits, yields or ends.
    ///
    /// For the joiner it is as if it had waited that long, but nobody has to wake it: when control comes back here the
    /// thread has ended, or else the joiner goes on to wait for it like for any other. The loop resumes it then: the hub
    /// of a fiber is the side that resumed it last. Turns within turns share the budget of the outermost: so the loop gets its
    /// turn in a tree of any size.
    #[inline]
    pub(super) fn turn_on_top(&self, task: &Task) {
        let thread = task.as_ptr();
        // It is not re-armable, so it has the promise of a stack.
        let started = self.start(thread);
        debug_assert!(started);
        match self.resume_on_top(thread) {
            // From now on it runs in turns of its own, with a reference of its own.
            TurnEnd::Waits => task.state.add_ref(),
            TurnEnd::Yields => {
                task.state.add_ref();
                self.make_ready(thread);
            }
            TurnEnd::Over => {
                let claimed = task.claimed.get();
                self.end(thread, true);
                self.remote.counters.ended.add(1);
                self.queues.drop_stale(claimed);
            }
        }
    }

    /// A turn of `task` within the turn of the running thread, which waits for what it does: its first of a run. It is re-armable, has
    /// rested, and is the caller's to queue. `answered` is asked when control comes back, while the task cannot be on another
    /// worker. `None`: it says so, or the task is queued because it found no stack.
    #[inline]
    pub(crate) fn run_asked<R>(&self, task: Task, answered: impl FnOnce() -> Option<R>) -> Option<R> {
        if !self.may_resume_on_top() {
            self.launch(task);
            return None;
        }
        task.state.claim_rested(self.remote.index);
        let thread = task.into_raw();
        if !self.start(thread) {
            return None;
        }
        match self.resume_on_top(thread) {
            TurnEnd::Waits => answered(),
            TurnEnd::Yields => {
                self.make_ready(thread);
                answered()
            }
            TurnEnd::Over => {
                let answered = answered();
                self.end(thread, true);
                // SAFETY: the turn's reference, which was the entry's.
                self.after_end(unsafe { Task::from_raw(thread) });
                answered
            }
        }
    }

    /// May the running thread let another run on top of itself?
    #[inline(always)]
    pub(super) fn may_resume_on_top(&self) -> bool {
        !std::thread::panicking() || may_let_others_run(self.here())
    }

    /// As [`resume`](Self::resume), by the thread that runs. That the other is over, [`end`](Self::end) records.
    #[inline(always)]
    fn resume_on_top(&self, thread: NonNull<Header>) -> TurnEnd {
        // The pointer to the whole block, which a reference to the header is not.
        self.keeps_stacks.set(self.keeps_stacks.get() + 1);
        let (end, _) = self.resume(thread, self.here().current_ptr());
        self.keeps_stacks.set(self.keeps_stacks.get() - 1);
        if !matches!(end, TurnEnd::Over) && self.scribe.writes_all() {
            self.record_back_on(thread, end);
        }
        end
    }

    /// Switches to `thread`, and comes back when it has suspended or ended, or the last of those has that its stack was [handed on](Self::hand_on) to: that is in the
    /// result. Then `before` is the running thread again.
    #[inline(always)]
    fn resume(&self, thread: NonNull<Header>, before: Option<NonNull<Header>>) -> (TurnEnd, NonNull<Header>) {
        self.begin_turn(thread);
        // A copy: the slot may be another's when this comes back. SAFETY: `start` has put the fiber there.
        let fiber = unsafe { ManuallyDrop::new(ptr::read(thread.as_ref().fiber.get()).unwrap_unchecked()) };
        // SAFETY: this is its home worker, and it is suspended or fresh.
        let status = unsafe { fiber.resume(ptr::from_ref(self).addr()) };
        // SAFETY: who comes back here is the one that runs.
        let thread = unsafe { self.here().current_ptr().unwrap_unchecked() };
        self.here().set_current(before);
        let end = match (status, self.here().take_yields()) {
            (Status::Finished, false) => TurnEnd::Over,
            (Status::Finished, true) => returned_in_a_child(),
            (Status::Suspended, true) => TurnEnd::Yields,
            (Status::Suspended, false) => TurnEnd::Waits,
        };
        (end, thread)
    }

    /// From here on `thread` runs.
    #[inline(always)]
    fn begin_turn(&self, thread: NonNull<Header>) {
        // In this order: for `listing`, whose heavy fence brings the first with the second.
        self.here().set_current(Some(thread));
        membarrier::light();
        self.clock.count_turn();
    }

    /// A run of the re-armable task `over` is over, by its return, and control is still on its stack. If the loop would start another run next that needs no
    /// other stack, that one gets this stack, and starts by the return from here: so runs that follow one another take two switches and a new fiber less.
    /// `None`: back to the loop, nothing was done.
    ///
    /// # Safety
    ///
    /// The caller is that run, at the bottom of its stack, and on this worker, which does not [keep its stacks](Worker::keeps_stacks). It touches the task no more if another goes on.
    #[inline(never)]
    pub(super) unsafe fn hand_on(&self, over: NonNull<Header>) -> Option<NonNull<Header>> {
        if !self.here().woken.get().is_null() || !self.queues.is_done_with_ready() {
            return None;
        }
        let next = self.next_run()?;
        // SAFETY: the one runs, the other was claimed here.
        let (old, new) = unsafe { (over.as_ref(), next.as_ref()) };
        if !ptr::fn_addr_eq(new.vtable.main, old.vtable.main) || new.size != old.size {
            self.queues.set_next_start(next);
            return None;
        }
        self.queues.end_streak();
        self.remote.run_rate.starts();
        self.record_end(old, false);
        // What follows is the loop's to do: so it is as if that did it. With this, for who visits the list: a thread that is the current one then is in it, or was.
        // SAFETY: it is in the list, as it runs.
        unsafe { self.live.remove_with(over, || self.here().set_current(None)) };
        // SAFETY: invariant 3 of the header. Nobody but this worker's loop has the fiber, and it has a copy.
        let fiber = unsafe { (*old.fiber.get()).take() };
        // What was noted there was of a wait of the old one.
        fiber.iter().for_each(|fiber| fiber.leave_note(0));
        // SAFETY: the reference of the turn, as in `turn`; the run has left the stack but for its caller.
        self.after_end(unsafe { Task::from_raw(over) });
        // First: for one that lists the threads it is the one that runs before it is in the list.
        self.begin_turn(next);
        self.here().refill_budget();
        // SAFETY: invariant 3 of the header: it was claimed here, has no fiber, and is in no list.
        unsafe {
            *new.fiber.get() = fiber;
            self.live.push(next);
        }
        self.record_start(new);
        Some(next)
    }

    /// Gives a thread that was claimed here the hottest stack. False: there is none; it is queued again, not started.
    #[inline]
    fn start(&self, thread: NonNull<Header>) -> bool {
        // SAFETY: as in `turn`.
        let header = unsafe { thread.as_ref() };
        if self.stopping.get() {
            let _ = header.state.cancel();
        }
        let vtable = header.vtable;
        let stack = if vtable.after_run.is_none() {
            self.remote.counters.started.add(1);
            self.stacks().acquire(header.size)
        } else {
            // A re-armable task rests without a promise, else a million of them would take up a million stacks' addresses.
            self.remote.run_rate.starts();
            match self.stacks().acquire_unpromised(header.size) {
                Ok(stack) => stack,
                Err(_) => {
                    // SAFETY: it was claimed here, never ran, and its entry's reference is the caller's.
                    unsafe { self.put_off(thread) };
                    return false;
                }
            }
        };
        // SAFETY: its first function gets the header; it stays alive until the thread has ended, by this turn's reference.
        let fiber = unsafe { Fiber::new(stack, vtable.main, thread.as_ptr().cast()) };
        // SAFETY: invariant 3 of the header.
        unsafe { *header.fiber.get() = Some(fiber) };
        if !header.live.is_linked() {
            // SAFETY: it is in no list; it is taken out in `end`.
            unsafe { self.live.push(thread) };
        }
        self.record_start(header);
        if self.live.count() > self.timer_room.get() {
            self.make_timer_room();
        }
        true
    }

    /// So that each thread that lives here can wait for a time without an allocation.
    #[cold]
    #[inline(never)]
    fn make_timer_room(&self) {
        let mut wheel = self.here().wheel.borrow_mut();
        wheel.make_room(self.live.count());
        self.timer_room.set(wheel.room());
    }

    /// The thread has left its stack for good: takes that back. `on_top`: it ran on top of the one that is the current one again.
    #[inline(always)]
    fn end(&self, thread: NonNull<Header>, on_top: bool) {
        // SAFETY: as in `turn`.
        let header = unsafe { thread.as_ref() };
        self.record_end(header, on_top);
        // SAFETY: invariant 3 of the header; the fiber has finished, so its stack is free.
        unsafe {
            // First: one that lists the threads takes a thread without a stack for one that has not started.
            self.live.remove(thread);
            if let Some(fiber) = (*header.fiber.get()).take() {
                self.stacks().release(fiber.into_stack());
            }
        }
    }

    /// Gives the reference of the last turn up, or back to a re-armable task.
    #[inline(always)]
    fn after_end(&self, task: Task) {
        let claimed = task.claimed.get();
        match task.vtable.after_run {
            None => {
                self.remote.counters.ended.add(1);
                drop(task);
            }
            // SAFETY: the thread is out of its stack and out of every list, on its home worker.
            Some(after_run) => match unsafe { after_run(task.as_ptr()) } {
                Next::Over => drop(task),
                Next::Rests => _ = task.into_raw(),
                Next::Again => self.launch(task),
            },
        }
        self.queues.drop_stale(claimed);
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
        self.launch(task);
    }
}

/// See [`park::fork`](crate::park::fork).
#[cold]
#[inline(never)]
fn returned_in_a_child() -> ! {
    fatal(format_args!("a green thread that has called fork has come to its end in the child: {}", fork::MESSAGE))
}
