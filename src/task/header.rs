//! The header of a task, the counted pointer to it and the handle by which it is woken.
//!
//! # Invariants
//!
//! 1. A `Header` is the first field of a `repr(C)` heap block; every pointer to it was made from a pointer to the whole block, so `vtable` may reach the rest.
//! 2. The block lives until the last reference counted in `state` is dropped; the holder that makes it zero frees it, once.
//! 3. The fields under "home worker only" are touched by the worker that claimed the task, and by the task itself, which runs on that worker: so by one OS thread. (Of a plain OS
//!    thread's header: by that thread. A thread that is ready may get another home, with all that it has: `sched/MOVING.md`.) `fiber` is empty before the task starts and after it
//!    ends; of one with thread-locals of its own, also while it runs (`fiber::own`).
//! 4. `link` belongs to the one queue that the task is in; a task is in at most one, because only the winner of its park word (or its claim, or the thread itself when it yields)
//!    puts it there. In none, while it waits, it has what that is for (`park::waits_on`), which the thread has put there before anybody could end the wait.
//! 5. `joiner` is null, or points to a ticket on the stack of the thread that joins, which leaves the frame when it is null again or the task cannot complete with `JOINING` set any more.

use std::cell::{Cell, UnsafeCell};
use std::panic::Location;
use std::ptr::{self, NonNull};

use crate::base::atomic::{AtomicPtr, AtomicU8, Backoff, Ordering};
use crate::base::list::{Linked, Links};
use crate::base::shown::ShownCount;
use crate::fiber::{Border, Entry, Fiber};
use crate::stack::StackSize;
use crate::task::awaiter::Awaiter;
use crate::task::limit::{Interrupts, Limits};
use crate::task::local::Locals;
use crate::task::state::State;
use crate::task::unwound::{EndsBy, Unwound};
use crate::task::wait::{End, Epoch, ParkToken, WaitLook, WaitWord};

/// What the typed block below a header can do. One for each closure type.
#[derive(Debug)]
pub(crate) struct VTable {
    /// The first function on the stack of the thread.
    pub(crate) main: Entry,
    /// Of a thread with thread-locals of its own: see [`Main::BORDER`].
    #[cfg_attr(not(green_thread_locals), allow(dead_code, reason = "there is no such thread"))]
    pub(crate) border: Option<&'static Border>,
    /// Runs the closure (`true`), or drops it because the thread was cancelled before it started (`false`), and stores the result. Does not unwind.
    pub(crate) run: unsafe fn(NonNull<Header>, bool),
    /// Moves the result to where the second pointer points.
    pub(crate) take_output: unsafe fn(NonNull<Header>, *mut ()),
    /// Drops the result. May unwind.
    pub(crate) drop_output: unsafe fn(NonNull<Header>),
    /// Tells the thread's scope that it touches nothing any more.
    pub(crate) done: unsafe fn(NonNull<Header>),
    /// Frees the block. The closure and the result are gone already.
    pub(crate) free: unsafe fn(NonNull<Header>),
    /// `None`: the task runs once. Otherwise it is re-armable, and this says what becomes of it when a run is over; see `task/PROTOCOL.md`.
    pub(crate) after_run: Option<unsafe fn(NonNull<Header>) -> Next>,
    /// Of an actor: the name of its type.
    pub(crate) type_name: Option<fn() -> &'static str>,
    /// Of a task that has something called at each switch: how many bytes into the block that is ([`park::on_switch`](crate::park::on_switch)).
    pub(crate) calls_at: Option<usize>,
}

/// What a thread begins with. It decides whose thread-locals the thread has.
pub(crate) trait Main {
    /// The first function on its stack.
    const MAIN: Entry;

    /// What a thread with thread-locals of its own calls when it suspends and goes on.
    const BORDER: Option<&'static Border> = None;

    /// The closure of a thread that has started has unwound.
    fn unwound(thread: &Header, how: EndsBy);

    /// What stands for the runtime in the thread's header: the same only for threads of which one may run on top of another.
    #[inline(always)]
    fn mark(runtime: *const ()) -> *const () {
        runtime
    }
}

/// What becomes of a re-armable task after a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Next {
    /// It is over for good; the caller gives up the reference of the run.
    Over,
    /// It rests. The reference of the run is the task's own now: somebody else may start it already, so the caller touches it no more.
    Rests,
    /// There is more to do: the caller queues it, with the reference of the run.
    Again,
}

/// How a waiting thread is handed to the worker that runs it: the one upward call of the crate.
pub(crate) type Schedule = unsafe fn(NonNull<Header>);

/// The rarely used part of a header.
#[derive(Debug)]
pub(crate) struct Extra {
    /// Set when the thread is made, never changed.
    pub(crate) name: Option<Box<str>>,
    /// Home worker only.
    pub(crate) locals: UnsafeCell<Locals>,
    /// Home worker only: the thread is inside `block_on`.
    pub(crate) polling: Cell<bool>,
    /// Home worker only: the actors whose runtimes are over and that end on the thread's stack.
    pub(crate) ends: super::end_row::EndRow,
    /// What the thread's wakers leave for its `block_on`: apart from `Header::token`, which belongs to `thread::park`.
    pub(crate) woken: ParkToken,
    /// The waker of async code that waits for the thread's end.
    pub(crate) awaiter: Awaiter,
    /// Not 0: the thread's guards may be a neighbour's by now. The thread itself stores it; others look under a lock that it had since (`park::deadlock`).
    #[cfg(any(debug_assertions, green_deadlocks))]
    pub(crate) gives_guards: ShownCount,
}

impl Extra {
    fn new(name: Option<Box<str>>) -> *mut Self {
        Box::into_raw(Box::new(Self {
            name,
            locals: UnsafeCell::default(),
            polling: Cell::new(false),
            ends: Default::default(),
            woken: ParkToken::new(),
            awaiter: Awaiter::new(),
            #[cfg(any(debug_assertions, green_deadlocks))]
            gives_guards: ShownCount::new(0),
        }))
    }
}

/// See the module's text.
#[repr(C)]
pub(crate) struct Header {
    pub(crate) state: State,
    pub(crate) wait: WaitWord,
    pub(super) link: AtomicPtr<Header>,
    schedule: Schedule,
    pub(crate) vtable: &'static VTable,
    // Home worker only (invariant 3), down to `seen`.
    pub(crate) fiber: UnsafeCell<Option<Fiber>>,
    /// The `timeout` calls that the thread is in.
    pub(crate) limits: Limits,
    pub(crate) live: Links<Header>,
    /// Unstarted children that this thread has started by joining them: their queue entries are stale.
    pub(crate) claimed: ShownCount,
    /// What may end the wait that is on.
    pub(crate) wait_interrupts: Cell<Interrupts>,
    /// What may end any wait of the thread, outside all limits.
    pub(super) interrupts: Cell<Interrupts>,
    pub(crate) size: StackSize,
    /// What the thread waits for, or has waited for if it has not gone on since: a [`Reason`], written by the thread itself; anybody may read it.
    pub(crate) reason: AtomicU8,
    /// The last unwinding of the thread that was noted.
    pub(crate) unwound: Cell<Unwound>,
    /// Of a thread that may be taken over: its timer in the worker's wheel, by number; 0: none.
    pub(crate) timer: Cell<u32>,
    /// The wait that the thread was in when the worker last looked for stacks that are hardly used, see `sched::tidy`.
    pub(crate) seen: Cell<u32>,
    // Anybody, from here on.
    pub(crate) token: ParkToken,
    joiner: AtomicPtr<Ticket>,
    pub(crate) extra: AtomicPtr<Extra>,
    pub(crate) id: u64,
    /// Identifies the runtime of an unstarted task, and whose thread-locals it has; only compared.
    pub(crate) runtime: *const (),
    /// The call that made the thread.
    pub(crate) spawned_at: &'static Location<'static>,
}

/// Each reason has a name of its own, which [`Thread::waits_for`](crate::Thread::waits_for) tells.
macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident: $name:literal,)*) => {
        /// What a thread waits for.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Reason {
            Running,
            $($(#[$doc])* $reason,)*
        }

        /// What each is called; `None`: the thread does not wait.
        pub(crate) const NAMES: &[Option<&str>] = &[None, $(Some($name)),*];
    };
}

reasons! {
    Park: "park",
    Sleep: "sleep",
    Join: "join",
    Scope: "scope",
    Blocking: "blocking",
    Future: "future",
    Send: "channel send",
    Receive: "channel receive",
    Select: "select",
    Mutex: "mutex",
    RwLock: "rwlock",
    Condvar: "condvar",
    Semaphore: "semaphore",
    Once: "once",
    Barrier: "barrier",
    WaitGroup: "wait group",
    Readable: "readable",
    Writable: "writable",
    /// For a word of memory, in other people's code.
    #[cfg_attr(not(green_thread_locals), allow(dead_code, reason = "only threads with thread-locals of their own do"))]
    Futex: "futex",
    CtrlC: "ctrl-c",
    Signal: "signal",
    /// For the reply of an actor.
    Ask: "reply",
    /// For room in an actor's mailbox.
    Capacity: "mailbox",
    /// For the end of an actor.
    End: "actor's end",
    /// For a free worker of a pool of actors.
    Worker: "worker",
}

/// What a new header is made of.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) name: Option<Box<str>>,
    pub(crate) size: StackSize,
    pub(crate) id: u64,
    pub(crate) runtime: *const (),
    pub(crate) schedule: Schedule,
    pub(crate) refs: u32,
    pub(crate) handle: bool,
    pub(crate) spawned_at: &'static Location<'static>,
}

impl Header {
    /// Inlined, so that a header is made in its block instead of being moved there.
    #[inline(always)]
    pub(crate) fn new(spec: Spec, vtable: &'static VTable) -> Self {
        let extra = match spec.name {
            None => ptr::null_mut(),
            name => Extra::new(name),
        };
        Self {
            state: State::new(spec.refs, spec.handle),
            wait: WaitWord::new(),
            link: AtomicPtr::new(ptr::null_mut()),
            schedule: spec.schedule,
            vtable,
            fiber: UnsafeCell::new(None),
            limits: Limits::new(),
            live: Links::new(),
            claimed: ShownCount::new(0),
            wait_interrupts: Cell::new(Interrupts::None),
            interrupts: Cell::new(Interrupts::All),
            unwound: Cell::new(Unwound::NEVER),
            size: spec.size,
            timer: Cell::new(0),
            seen: Cell::new(0),
            reason: AtomicU8::new(Reason::Running as u8),
            token: ParkToken::new(),
            joiner: AtomicPtr::new(ptr::null_mut()),
            extra: AtomicPtr::new(extra),
            id: spec.id,
            runtime: spec.runtime,
            spawned_at: spec.spawned_at,
        }
    }

    /// Is there nothing that bears on how the waits of the thread may be ended? For the thread itself.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        !self.state.is_cancelled() && self.interrupts.get() == Interrupts::All && self.limits.is_empty()
    }

    /// What may end the waits of the thread where it stands, if it does not unwind. For the thread itself.
    pub(crate) fn interrupts(&self) -> Interrupts {
        if self.limits.is_shielded() { Interrupts::TimeoutsOnly } else { self.interrupts.get() }
    }

    /// The thread's closure is over: what still runs (destructors) is not cancelled.
    #[inline(always)]
    pub(crate) fn refuse_cancels(&self) {
        self.interrupts.set(Interrupts::TimeoutsOnly);
    }

    /// For the thread itself, when it has begun a wait and published its ticket, and when it runs again.
    #[inline(always)]
    pub(crate) fn set_reason(&self, reason: Reason) {
        // ORDERING: Relaxed: it is told, and nothing follows from it.
        self.reason.store(reason as u8, Ordering::Relaxed);
    }

    /// What the thread waits for, as anybody sees it; `None` when nothing: it runs, is ready, has not started or has ended.
    pub(crate) fn waits_for(&self) -> Option<&'static str> {
        // The reason of a wait that has been ended stays until the thread runs again. ORDERING: Relaxed: as in `set_reason`.
        self.wait.waiting()?;
        NAMES[self.reason.load(Ordering::Relaxed) as usize]
    }

    /// For one that lists threads: if two looks agree that the thread waits, it was in that wait all the time between them.
    pub(crate) fn look(&self) -> (WaitLook, &'static str) {
        let name = NAMES[self.reason.load(Ordering::Relaxed) as usize];
        (self.wait.look(), name.unwrap_or_default())
    }

    /// Does the thread wait for an actor? Then it looks again whenever it is interrupted, also where a cancel may not end the wait. For its own worker.
    pub(crate) fn waits_for_actor(&self) -> bool {
        let reason = self.reason.load(Ordering::Relaxed);
        [Reason::Ask, Reason::Capacity, Reason::End].iter().any(|of_actors| *of_actors as u8 == reason)
    }

    /// The link of the queue that the task is in (invariant 4).
    #[inline]
    pub(crate) fn link(&self) -> &AtomicPtr<Header> {
        &self.link
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.extra().and_then(|extra| extra.name.as_deref())
    }

    #[inline]
    pub(crate) fn extra(&self) -> Option<&Extra> {
        // ORDERING: Acquire pairs with the Release in `extra_or_new`.
        let extra = self.extra.load(Ordering::Acquire);
        // SAFETY: null or a box that is freed with the header.
        unsafe { extra.as_ref() }
    }

    /// The same, made if it is not there: by the thread itself, or by the holder of its handle.
    pub(crate) fn extra_or_new(&self) -> &Extra {
        if let Some(extra) = self.extra() {
            return extra;
        }
        let new = Extra::new(None);
        // ORDERING: Release publishes the new box to `extra`.
        if self.extra.compare_exchange(ptr::null_mut(), new, Ordering::Release, Ordering::Relaxed).is_err() {
            // SAFETY: it came from `Box::into_raw`, and was not published.
            drop(unsafe { Box::from_raw(new) });
        }
        self.extra().expect("it was just stored")
    }

    /// Makes a re-armable task whose run is over as fit for another one as a new one is, but for `state`.
    ///
    /// # Safety
    ///
    /// Called by the home worker, when the fiber has been taken out and the task is in no list; nobody has been told yet that it may be started again.
    #[inline]
    pub(crate) unsafe fn reset(&self) {
        self.limits.dissolve();
        self.claimed.set(0);
        self.wait_interrupts.set(Interrupts::None);
        self.interrupts.set(Interrupts::All);
        self.unwound.set(Unwound::NEVER);
        let _ = self.token.take();
        if let Some(extra) = self.extra() {
            // SAFETY: invariant 3: this is the home worker, and the thread is over.
            unsafe { &mut *extra.locals.get() }.reset();
        }
    }

    /// Hands a thread whose wait the caller has ended to its worker (or wakes the OS thread).
    ///
    /// # Safety
    ///
    /// The caller won [`WaitWord::end`] of this thread's wait and has not scheduled it yet.
    #[inline]
    pub(crate) unsafe fn schedule(this: NonNull<Header>) {
        // SAFETY: the thread cannot run, so it cannot end, before this call hands it on: the header is alive.
        let schedule = unsafe { this.as_ref() }.schedule;
        // SAFETY: as the caller promises.
        unsafe { schedule(this) }
    }

    /// Leaves the joiner's ticket. True: the thread is not complete, the joiner may wait; false: it is, but the result becomes visible only with [`State::is_complete`].
    ///
    /// # Safety
    ///
    /// The caller holds the `JoinHandle`, and keeps `ticket` in place until it has called
    /// [`join_leave`](Self::join_leave) or been woken through it.
    #[must_use]
    pub(crate) unsafe fn join_enter(&self, ticket: NonNull<Ticket>) -> bool {
        // ORDERING: Relaxed: `join_begin` publishes it.
        self.joiner.store(ticket.as_ptr(), Ordering::Relaxed);
        self.state.join_begin()
    }

    /// The joiner was woken by something else and takes its ticket back. False: the thread is complete, its result visible.
    #[must_use]
    pub(crate) fn join_leave(&self) -> bool {
        if self.state.join_retract() {
            return true;
        }
        // The thread completed meanwhile, and may be reading the ticket: it says when it is done.
        let backoff = Backoff::new();
        // ORDERING: Acquire pairs with the Release in `complete`.
        while !self.joiner.load(Ordering::Acquire).is_null() {
            backoff.snooze();
        }
        false
    }

    /// The thread has stored its result: publishes that, and wakes its joiner, or, after a call of `before_waker`, async code. True: nobody holds
    /// the handle, the caller has to drop the result.
    ///
    /// # Safety
    ///
    /// Called once, by the thread itself, which holds a reference. `at_home`: it runs on its home worker, and nobody stands in for that.
    #[inline(always)]
    #[must_use]
    pub(crate) unsafe fn complete(this: NonNull<Header>, at_home: bool, before_waker: impl FnOnce()) -> bool {
        // SAFETY: the caller holds a reference.
        let header = unsafe { this.as_ref() };
        let done = header.state.complete();
        if done.joiner {
            // ORDERING: Relaxed: `State::complete` acquired what `join_enter` wrote.
            let ticket = header.joiner.load(Ordering::Relaxed);
            // SAFETY: invariant 5: `JOINING` was set, so the joiner has not left; its ticket is for the joined thread
            // alone, and everything else that can end its wait (the wheel, a cancel) runs on its worker.
            let wake = unsafe { (*ticket).notify(at_home.then(|| header.state.home())) };
            // ORDERING: Release pairs with the Acquire in `join_leave`: the last touch of the ticket.
            header.joiner.store(ptr::null_mut(), Ordering::Release);
            if let Some(wake) = wake {
                wake.schedule();
            }
        }
        if done.awaiter {
            before_waker();
            // SAFETY: this is the thread, it has completed and found the bit set; this happens once.
            header.extra().into_iter().for_each(|extra| unsafe { extra.awaiter.wake() });
        }
        done.detached
    }
}

// SAFETY: what other OS threads may touch are atomics, and data that never change; the rest is invariants 3 and 4.
unsafe impl Send for Header {}
// SAFETY: as above.
unsafe impl Sync for Header {}

impl Drop for Header {
    fn drop(&mut self) {
        // ORDERING: Relaxed: the last reference has been given up, so nobody else is left.
        let extra = self.extra.load(Ordering::Relaxed);
        if !extra.is_null() {
            // SAFETY: it came from `Box::into_raw` in `new` or `extra_or_new`, and nobody refers to the header now.
            drop(unsafe { Box::from_raw(extra) });
        }
    }
}

// SAFETY: `live` is the field's own `Links`, touched only by the home worker's list.
unsafe impl Linked for Header {
    fn links(&self) -> &Links<Self> {
        &self.live
    }
}

/// A counted reference to a task.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Task(NonNull<Header>);

// SAFETY: a task is a counted reference to a header, which is `Send` and `Sync`; the count is atomic.
unsafe impl Send for Task {}
// SAFETY: as above.
unsafe impl Sync for Task {}

impl Task {
    /// Takes over one counted reference.
    ///
    /// # Safety
    ///
    /// The reference is the caller's to give.
    #[inline]
    pub(crate) unsafe fn from_raw(header: NonNull<Header>) -> Self {
        Self(header)
    }

    /// One more reference.
    ///
    /// # Safety
    ///
    /// The header is alive.
    pub(crate) unsafe fn counted(header: NonNull<Header>) -> Self {
        // SAFETY: as the caller promises.
        unsafe { header.as_ref() }.state.add_ref();
        Self(header)
    }

    /// Ends the wait, if nobody else has, and schedules the thread.
    #[inline]
    pub(crate) fn end_wait(&self, epoch: Epoch, how: End) {
        // SAFETY: `self` keeps the header alive.
        if let Some(wake) = unsafe { Ticket::new(self.0, epoch).end(how) } {
            wake.schedule();
        }
    }

    /// Gives the counted reference to the caller.
    #[inline]
    pub(crate) fn into_raw(self) -> NonNull<Header> {
        let header = self.0;
        std::mem::forget(self);
        header
    }

    #[inline]
    pub(crate) fn as_ptr(&self) -> NonNull<Header> {
        self.0
    }
}

impl std::ops::Deref for Task {
    type Target = Header;

    #[inline]
    fn deref(&self) -> &Header {
        // SAFETY: invariant 2: the reference that `self` stands for keeps the block alive.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for Task {
    fn clone(&self) -> Self {
        self.state.add_ref();
        Self(self.0)
    }
}

impl Drop for Task {
    #[inline]
    fn drop(&mut self) {
        if self.state.drop_ref() {
            // SAFETY: invariant 2: this was the last reference.
            unsafe { (self.vtable.free)(self.0) }
        }
    }
}

/// Names one wait of one thread: what a waker holds. It does not keep the thread alive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ticket {
    pub(crate) thread: NonNull<Header>,
    epoch: Epoch,
}

// SAFETY: a ticket is an address and a number; `end` says what it needs.
unsafe impl Send for Ticket {}
// SAFETY: as above.
unsafe impl Sync for Ticket {}

impl Ticket {
    pub(crate) fn new(thread: NonNull<Header>, epoch: Epoch) -> Self {
        Self { thread, epoch }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Ends the wait, if nobody else has. The winner owes the thread a [`Wake::schedule`], which it should pay when it
    /// has let go of its locks.
    ///
    /// # Safety
    ///
    /// The thread's header is alive: the caller holds a reference, or the lock that the thread needs before it can leave
    /// its wait.
    #[inline]
    pub(crate) unsafe fn end(&self, how: End) -> Option<Wake> {
        // SAFETY: as the caller promises.
        unsafe { self.thread.as_ref() }.wait.end(self.epoch, how).then_some(Wake(self.thread))
    }

    /// As [`end`](Self::end) with `Notified`. `worker` is the caller's: if it is the waiting thread's too, a store does in
    /// place of the exchange.
    ///
    /// # Safety
    ///
    /// As `end`; and with `worker`, nobody but the caller has this ticket, and the caller runs on that worker.
    #[inline]
    pub(crate) unsafe fn notify(&self, worker: Option<u16>) -> Option<Wake> {
        // SAFETY: as the caller promises.
        let thread = unsafe { self.thread.as_ref() };
        let won = match worker {
            Some(home) if thread.state.lives_at(home) => thread.wait.notify_alone(self.epoch),
            _ => thread.wait.end(self.epoch, End::Notified),
        };
        won.then_some(Wake(self.thread))
    }
}

/// A wait was won: the thread has to be scheduled.
#[derive(Debug)]
#[must_use = "the thread sleeps for ever unless it is scheduled"]
pub(crate) struct Wake(NonNull<Header>);

impl Wake {
    #[inline(always)]
    pub(crate) fn thread(&self) -> NonNull<Header> {
        self.0
    }

    #[inline]
    pub(crate) fn schedule(self) {
        // SAFETY: `Wake` is made only by a won `end`, and consumed here.
        unsafe { Header::schedule(self.0) }
    }
}
