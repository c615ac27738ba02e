//! Which thread runs here, and on which worker? The one file that answers. It knows nothing of waits.
//!
//! Every worker has a [`WorkerContext`]: what runs on it now, its timer wheel, what is left of the running thread's budget. A
//! thread-local of the worker's OS thread points to it; on any other OS thread that pointer is null, and the thread has
//! a header of its own ([`os`](super::os)).
//!
//! A green thread that has started never changes its thread-locals, so the address of that thread-local may be kept over a
//! switch. Its *contents* may not: the switch is an `asm!` block that may write any memory, so the compiler reads the
//! cells again after it. A green thread with thread-locals of its own has a copy of that pointer in them, set when it starts, and when it
//! goes on. It may go on elsewhere: so nothing keeps a `&WorkerContext` over a suspension.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::mem::{ManuallyDrop, offset_of};
use std::ptr::{self, NonNull};

use crate::base::atomic::{AtomicPtr, AtomicU64, Ordering};
use crate::base::shown::ShownPtr;
use crate::driver::poller::Poller;
use crate::driver::wheel::{Wheel, WheelTimer};
use crate::fiber::Hub;
use crate::park::doubt::Doubt;
use crate::park::latch::Latch;
use crate::sys::clock;
#[cfg(green_thread_locals)]
use crate::sys::signals::NotedSignals;
use crate::task::{Header, Task};

/// Blocking calls that a thread may make in one turn before it has to let its neighbours run.
pub(crate) const BUDGET: i32 = 128;

/// The home of a worker that others may stand in for: no thread's. So none of its threads is woken by the short ways, on which only the worker itself
/// may end its threads' waits; nor is one where every wake is recorded, as nothing is on those.
const SHARED: u16 = u16::MAX;

/// One worker, as the threads that run on it see it. Only its own OS thread touches it, but for `current`, which others read, and for what the
/// [`latch`](super::latch) lets others touch.
#[repr(C)]
pub(crate) struct WorkerContext {
    /// First: by it threads find the worker that they go on on.
    pub(crate) hub: Hub,
    /// The thread that runs; null: the worker's own loop.
    current: AtomicPtr<Header>,
    /// The thread that was woken last, by one that runs here or by the loop: it is next.
    pub(crate) woken: ShownPtr<Header>,
    /// The number of the worker's remote, or [`SHARED`].
    home: u16,
    /// The running thread suspends because it yields, not because it waits.
    yields: Cell<bool>,
    /// May threads be suspended here in the middle of unwinding?
    pub(crate) doubt: Doubt,
    budget: Cell<i32>,
    /// Whether others may touch `woken`, `wheel`, `poller`.
    latch: &'static Latch,
    /// Timers of the threads that wait here. Never borrowed for longer than one call.
    pub(crate) wheel: RefCell<Wheel<NonNull<Header>>>,
    /// What the threads here go by in the place of real time.
    pub(crate) virtual_time: Option<&'static AtomicU64>,
    /// Made when a thread that runs here first waits for a descriptor.
    poller: OnceCell<Poller>,
    #[cfg(green_thread_locals)]
    pub(crate) blocked_signals: NotedSignals,
}

const _: () = assert!(offset_of!(WorkerContext, hub) == 0);

thread_local! {
    static HERE: Cell<*const WorkerContext> = const { Cell::new(ptr::null()) };
}

impl WorkerContext {
    /// Where a debugger finds the thread that runs.
    pub(crate) const CURRENT: usize = offset_of!(Self, current);

    /// `shared`: others may stand in for it, or every wake is recorded.
    pub(crate) fn new(
        home: u16,
        shared: bool,
        latch: &'static Latch,
        now_ns: u64,
        virtual_time: Option<&'static AtomicU64>,
    ) -> Self {
        Self {
            current: AtomicPtr::new(ptr::null_mut()),
            home: if shared { SHARED } else { home },
            latch,
            hub: Hub::default(),
            woken: ShownPtr::null(),
            yields: Cell::new(false),
            doubt: Doubt::new(),
            budget: Cell::new(0),
            wheel: RefCell::new(Wheel::new(now_ns)),
            virtual_time,
            poller: OnceCell::new(),
            #[cfg(green_thread_locals)]
            blocked_signals: NotedSignals::default(),
        }
    }

    /// The worker's poller, if it has one.
    #[inline(always)]
    pub(crate) fn poller(&self) -> Option<&Poller> {
        self.poller.get()
    }

    /// The worker's poller.
    ///
    /// # Errors
    ///
    /// The system refuses the descriptors that a new one needs.
    pub(crate) fn poller_or_new(&self) -> io::Result<&Poller> {
        if let Some(poller) = self.poller.get() {
            return Ok(poller);
        }
        let poller = Poller::new()?;
        Ok(self.inside(|| self.poller.get_or_init(|| poller)))
    }

    /// Runs `f`, which touches what others may touch otherwise, and does not unwind.
    #[inline]
    pub(crate) fn inside<R>(&self, f: impl FnOnce() -> R) -> R {
        let entered = self.latch.enter();
        let result = f();
        if entered {
            self.latch.leave();
        }
        result
    }

    /// Sets the timer of a thread that waits here, and may be taken over.
    #[cold]
    pub(super) fn set_timer(&self, deadline_ns: u64, thread: NonNull<Header>) {
        self.inside(|| {
            let timer = self.wheel.borrow_mut().insert(deadline_ns, thread);
            // SAFETY: the thread runs, and has a reference to its header.
            unsafe { thread.as_ref() }.timer.set(timer.into_number());
        });
    }

    /// Takes such a timer back, unless a worker that has taken the thread over has done so. For whoever has the worker's parts.
    #[cold]
    pub(crate) fn take_timer(&self, thread: &Header) {
        if let Some(timer) = WheelTimer::from_number(thread.timer.replace(0)) {
            self.wheel.borrow_mut().remove(timer);
        }
    }

    /// Makes `here` the worker of this OS thread; null: of none.
    ///
    /// # Safety
    ///
    /// `here` stays valid until it is replaced.
    pub(crate) unsafe fn enter(here: *const WorkerContext) {
        HERE.set(here);
        // SAFETY: null, or valid as the caller promises.
        clock::go_by(unsafe { here.as_ref() }.and_then(|here| here.virtual_time));
    }

    /// The same as [`get`](Self::get), as the pointer that was given to [`enter`](Self::enter): it may reach further.
    #[inline(always)]
    pub(crate) fn entered() -> Option<NonNull<WorkerContext>> {
        NonNull::new(HERE.get().cast_mut())
    }

    /// The worker that this code runs on.
    #[inline(always)]
    pub(crate) fn get<'a>() -> Option<&'a WorkerContext> {
        let here = HERE.get();
        // SAFETY: null, or valid by the contract of `enter`; what runs on a worker ends before the worker does, so
        // the reference does not outlive it in practice, and no caller keeps it longer than its own call.
        unsafe { here.as_ref() }
    }

    /// `thread` is about to be resumed; `None`: the worker's loop goes on.
    #[inline(always)]
    pub(crate) fn set_current(&self, thread: Option<NonNull<Header>>) {
        // ORDERING: Relaxed: other OS threads that look have a `membarrier` of their own.
        self.current.store(thread.map_or(ptr::null_mut(), NonNull::as_ptr), Ordering::Relaxed);
    }

    /// A turn begins.
    #[inline(always)]
    pub(crate) fn refill_budget(&self) {
        self.budget.set(BUDGET);
    }

    /// The thread that was resumed last is suspended. True: it yielded and wants to run again.
    #[inline(always)]
    pub(crate) fn take_yields(&self) -> bool {
        self.yields.replace(false)
    }

    /// The green thread that runs here; `None` in the worker's loop.
    #[inline(always)]
    pub(crate) fn current<'a>(&self) -> Option<&'a Header> {
        // SAFETY: a thread that runs holds a reference to its header; the result is used by that thread only.
        unsafe { self.current.load(Ordering::Relaxed).as_ref() }
    }

    /// The same, as a pointer to the whole task.
    #[inline(always)]
    pub(crate) fn current_ptr(&self) -> Option<NonNull<Header>> {
        NonNull::new(self.current.load(Ordering::Relaxed))
    }

    /// Which thread runs on a worker, for any OS thread.
    ///
    /// # Safety
    ///
    /// `here` is a worker that has not ended.
    pub(crate) unsafe fn current_of(here: *const WorkerContext) -> *const Header {
        // SAFETY: as the caller promises; of the rest nothing is touched.
        unsafe { (*here).current.load(Ordering::Relaxed) }
    }

    /// The number of the worker's remote, by which the threads that live here name it, and which only the worker itself wakes; else no thread's.
    #[inline(always)]
    pub(crate) fn home(&self) -> u16 {
        self.home
    }

    /// Makes a thread that lives here, and whose wait is over, the next one. False: it lives elsewhere, or there is one.
    #[inline(always)]
    pub(crate) fn run_next(&self, thread: NonNull<Header>) -> bool {
        // SAFETY: its wait is over and it has not been handed on, so it cannot have ended.
        let fits = unsafe { thread.as_ref() }.state.lives_at(self.home) && self.woken.get().is_null();
        if fits {
            self.woken.set(thread.as_ptr());
        }
        fits
    }

    /// Is `thread` the green thread that runs here?
    #[inline]
    pub(crate) fn is_current(thread: NonNull<Header>) -> bool {
        WorkerContext::get().is_some_and(|here| here.current.load(Ordering::Relaxed) == thread.as_ptr())
    }

    /// Spends one blocking call. False: the budget is used up.
    #[inline(always)]
    pub(crate) fn spend(&self) -> bool {
        // Stored in any case: so it is one instruction, which says how it ended.
        let left = self.budget.get() - 1;
        self.budget.set(left);
        if left < 0 { self.overspent() } else { true }
    }

    #[cold]
    fn overspent(&self) -> bool {
        self.budget.set(0);
        false
    }

    #[inline(always)]
    pub(crate) fn set_yields(&self) {
        self.yields.set(true);
    }
}

/// Calls `f` with the calling thread's header: a green thread's, or an OS thread's.
#[inline(always)]
pub(crate) fn with_header<R>(f: impl FnOnce(&Header) -> R) -> R {
    with_task(|task| f(task))
}

/// Calls `f` with the calling thread's task, for as long as the call lasts: a clone of it is counted, this one is not.
#[inline(always)]
pub(crate) fn with_task<R>(f: impl FnOnce(&Task) -> R) -> R {
    let thread = WorkerContext::get().and_then(WorkerContext::current_ptr).unwrap_or_else(super::os::header);
    // SAFETY: the header of the calling thread, which does not end while it is in this call; the `Task` is never dropped,
    // so it gives no reference away.
    f(&ManuallyDrop::new(unsafe { Task::from_raw(thread) }))
}

/// A counted reference to the calling thread.
pub(crate) fn current_task() -> Task {
    with_task(Task::clone)
}

/// Calls `report` with the green thread that runs here: its number, its name and, of an actor, the type. For the report of a panic.
pub(crate) fn describe_with_type(report: impl FnOnce(u64, Option<&str>, Option<&str>)) {
    if let Some(header) = WorkerContext::get().and_then(WorkerContext::current) {
        report(header.id, header.name(), header.vtable.type_name.map(|type_name| type_name()));
    }
}

/// The id of the green thread that runs here, and its name: for the overflow report. Reads nothing but cells.
pub(crate) fn describe(report: &mut dyn FnMut(u64, Option<&str>)) {
    if let Some(header) = WorkerContext::get().and_then(WorkerContext::current) {
        report(header.id, header.name());
    }
}
