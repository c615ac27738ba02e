#![doc = include_str!("PROTOCOL.md")]

pub(crate) mod current;
#[cfg(any(debug_assertions, green_deadlocks))]
pub(crate) mod deadlock;
pub(crate) mod doubt;
pub(crate) mod fork;
pub(crate) mod interrupt;
pub(crate) mod latch;
pub(crate) mod no_park;
pub(crate) mod on_switch;
pub(crate) mod os;
pub(crate) mod os_threads;
pub(crate) mod owed_answer;
pub(crate) mod possession;
pub(crate) mod queue;
pub(crate) mod unwind;
mod wait;
mod wait_in;
pub(crate) mod waiters;
pub(crate) mod waits_on;

use std::mem::ManuallyDrop;
use std::ptr::NonNull;

#[cfg(green_thread_locals)]
use crate::fiber::{Fiber, own};
use crate::park::current::WorkerContext;
use crate::park::no_park::{assert_may_park, may_park, may_switch};
use crate::park::wait::WaitTerms;
use crate::park::waits_on::DatedWait;
use crate::sys::clock::{NEVER, has_passed, now_ns};
use crate::sys::in_panic;
use crate::task::cancel::CAN_UNWIND;
use crate::task::header::{Reason, Wake};
use crate::task::limit::Interrupts;
use crate::task::wait::End;
use crate::task::{Header, Task, Ticket};
use crate::thread_locals::is_own;

pub(crate) use wait::{ASK_AGAIN_NS, NotRaised, Wait};
pub(crate) use wait_in::{wait_for_token, wait_in, wait_unless};

/// Who makes a call, as it found out in the beginning: what a lock says of its holder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LockTaker {
    /// Only compared. An old one, if the thread has moved since.
    pub(crate) worker: *const WorkerContext,
    /// The number of the green thread; 0: it is none.
    #[cfg_attr(
        any(debug_assertions, green_deadlocks),
        allow(dead_code, reason = "there OS threads have numbers, too")
    )]
    pub(crate) id: u64,
}

impl LockTaker {
    const UNKNOWN: Self = Self { worker: std::ptr::null(), id: 0 };

    /// Who makes this call.
    #[inline(always)]
    pub(crate) fn now() -> Self {
        let Some(here) = WorkerContext::get() else { return Self::UNKNOWN };
        Self { worker: here, id: here.current().map_or(0, |thread| thread.id) }
    }
}

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum WaitResult {
    /// Somebody ended it through its ticket.
    Notified,
    /// Its own deadline has passed.
    TimedOut,
    /// By a cancel or an enclosing `timeout`: see [`wait_in`], which undoes what `commit` has done, and raises it.
    Interrupted,
    /// `commit` said that there is nothing to wait for.
    Refused,
}

/// Waits until the ticket that `commit` gets is ended, the deadline passes, or the wait is interrupted.
///
/// `commit` publishes the ticket (puts it into a queue, under the queue's lock) and says whether to wait at all. It must
/// not park. Nobody resumes the thread before it has suspended: see the module's text. A wait that may be interrupted goes by
/// [`wait_in`].
#[inline(always)]
#[track_caller]
pub(crate) fn park(wait: Wait, commit: impl FnOnce(Ticket) -> bool) -> WaitResult {
    if !may_switch() {
        barred();
    }
    match WorkerContext::get() {
        Some(here) => match here.current_ptr() {
            Some(thread) => park_green(here, thread, wait, commit),
            None => crate::base::abort::fatal(format_args!("a worker's own loop tried to park")),
        },
        None => park_os(wait, commit),
    }
}

/// A wait in `no_park`, or in a panic hook. There a plain OS thread may wait.
#[cold]
#[inline(never)]
#[track_caller]
fn barred() {
    assert_may_park("a blocking call");
    if WorkerContext::get().is_some() {
        no_park::parked_in_hook();
    }
}

#[inline(always)]
fn park_green(
    here: &WorkerContext,
    this: NonNull<Header>,
    wait: Wait,
    commit: impl FnOnce(Ticket) -> bool,
) -> WaitResult {
    // SAFETY: the thread that runs here has a reference to its header.
    let thread = unsafe { this.as_ref() };
    // Nearly every wait; the rest would only burden it.
    if wait.deadline_ns == NEVER && thread.is_plain() && !std::thread::panicking() {
        let interrupts = if CAN_UNWIND { wait.interrupts } else { Interrupts::None };
        let how = WaitTerms { interrupts, deadline_ns: NEVER };
        return wait_green::<true>(here, this, wait, how, commit);
    }
    park_with_care(here, this, wait, commit)
}

#[inline(never)]
fn park_with_care(
    here: &WorkerContext,
    this: NonNull<Header>,
    wait: Wait,
    commit: impl FnOnce(Ticket) -> bool,
) -> WaitResult {
    // SAFETY: as above.
    match terms_with_care(here, unsafe { this.as_ref() }, wait) {
        Some((wait, how)) => wait_green::<false>(here, this, wait, how, commit),
        None => WaitResult::Interrupted,
    }
}

/// What may end that wait; `None`: something has already. Apart: there are as many of the caller as there are kinds of waits.
#[inline(never)]
fn terms_with_care(here: &WorkerContext, thread: &Header, wait: Wait) -> Option<(Wait, WaitTerms)> {
    let panicking = std::thread::panicking();
    let unwinds = panicking && (is_own() || !here.doubt.is_in_doubt(panicking));
    if panicking && in_panic::is_reported() {
        no_park::parked_in_hook();
    }
    let state = wait::ThreadState {
        interrupts: if unwinds { Interrupts::None } else { thread.interrupts() },
        cancelled: thread.state.is_cancelled(),
        limit_ns: thread.limits.earliest_ns(),
    };
    let wait = if CAN_UNWIND { wait } else { wait.uninterruptible() };
    wait.how(state, now_ns).map(|how| (wait, how))
}

/// `CALM`: the calling thread does not panic. (`commit` begins no panic: so it does not when it suspends.)
#[inline(always)]
fn wait_green<const CALM: bool>(
    here: &WorkerContext,
    this: NonNull<Header>,
    wait: Wait,
    how: WaitTerms,
    commit: impl FnOnce(Ticket) -> bool,
) -> WaitResult {
    // SAFETY: as above.
    let thread = unsafe { this.as_ref() };
    let dated = DatedWait { on: wait.on, deadline_ns: how.deadline_ns };
    thread.set_waits_on(if how.deadline_ns == NEVER { wait.on } else { dated.mark() });
    let epoch = thread.wait.begin();
    if !commit(Ticket::new(this, epoch)) && thread.wait.retract(epoch) {
        return WaitResult::Refused;
    }
    thread.wait_interrupts.set(how.interrupts);
    thread.set_reason(wait.reason);
    if CALM {
        debug_assert!(!std::thread::panicking() && how.deadline_ns == NEVER);
        switch(thread);
    } else if how.deadline_ns == NEVER {
        suspend(here, thread);
    } else if thread.vtable.border.is_some() {
        suspend_until(here, this, how.deadline_ns);
    } else {
        let timer = here.wheel.borrow_mut().insert(how.deadline_ns, this);
        suspend(here, thread);
        here.wheel.borrow_mut().remove(timer);
    }
    ended(thread, wait)
}

/// Waits with a timer, where the thread may go on elsewhere.
#[cold]
#[inline(never)]
fn suspend_until(here: &WorkerContext, this: NonNull<Header>, deadline_ns: u64) {
    here.set_timer(deadline_ns, this);
    // SAFETY: as above.
    let thread = unsafe { this.as_ref() };
    suspend(here, thread);
    if let Some(here) = WorkerContext::get() {
        here.inside(|| here.take_timer(thread));
    }
}

/// The thread goes on: what has ended its wait?
#[inline(always)]
fn ended(thread: &Header, wait: Wait) -> WaitResult {
    thread.set_reason(Reason::Running);
    match thread.wait.finish() {
        End::Notified => WaitResult::Notified,
        // The wheel ended it: for the wait's own deadline, or for an enclosing `timeout`?
        End::TimedOut if has_passed(wait.deadline_ns) => WaitResult::TimedOut,
        End::TimedOut | End::Cancelled => WaitResult::Interrupted,
    }
}

fn park_os(wait: Wait, commit: impl FnOnce(Ticket) -> bool) -> WaitResult {
    let this = os::header();
    // SAFETY: the header of the calling thread, which does not end while it is in this call.
    let thread = unsafe { this.as_ref() };
    let wait = if CAN_UNWIND { wait } else { wait.uninterruptible() };
    let interrupts = if std::thread::panicking() { Interrupts::None } else { Interrupts::All };
    let state = wait::ThreadState { interrupts, cancelled: false, limit_ns: thread.limits.earliest_ns() };
    let deadline_ns = wait.how(state, now_ns).map_or(wait.deadline_ns, |how| how.deadline_ns);
    let epoch = thread.wait.begin();
    if !commit(Ticket::new(this, epoch)) && thread.wait.retract(epoch) {
        return WaitResult::Refused;
    }
    thread.set_reason(wait.reason);
    // SAFETY: it is this OS thread's own header, and the wait has begun.
    unsafe { os::sleep(this, epoch, deadline_ns) };
    ended(thread, wait)
}

/// Leaves for the worker's loop; comes back when the loop resumes this thread.
#[inline(always)]
fn suspend(here: &WorkerContext, thread: &Header) {
    // Its neighbours have to know if it may be unwinding.
    if std::thread::panicking() {
        suspends_panicking(here);
    }
    switch(thread);
}

#[inline(always)]
fn switch(thread: &Header) {
    // SAFETY: invariant 3 of the header: this is the running thread, so if a fiber is there, it is the one that runs; if none is,
    // the fiber runs on a block, or with calls at its switches.
    unsafe {
        match &*thread.fiber.get() {
            #[cfg(not(green_backend = "asm"))]
            Some(_) if on_switch::is_marked(thread) => switch_with_calls(),
            Some(fiber) => _ = fiber.suspend(),
            None => switch_apart(thread),
        }
    }
}

/// Does the calling code stand on the stack of `thread`, which is the calling one? A signal handler may have a stack of its own.
/// `is_own`: [`is_own`] says so of the caller.
#[cfg(green_thread_locals)]
#[inline]
pub(crate) fn is_on_its_stack(thread: &Header, is_own: bool) -> bool {
    let holds = |fiber: &Fiber| fiber.holds(crate::arch::stack_pointer());
    // SAFETY: as in `switch`.
    unsafe {
        match &*thread.fiber.get() {
            _ if is_own => holds(&own::running()),
            Some(fiber) => holds(fiber),
            None => this_block().and_then(|this| on_switch::running(this)).is_some_and(holds),
        }
    }
}

/// As [`switch`], of a thread whose fiber is not in its place while it runs.
///
/// # Safety
///
/// It is the calling one.
#[inline(always)]
unsafe fn switch_apart(thread: &Header) {
    match thread.vtable.border {
        // SAFETY: the thread's fiber runs, on a block; the rest is in `sched::own`.
        #[cfg(green_thread_locals)]
        Some(border) => unsafe { crate::fiber::own::suspend(&thread.fiber, border) },
        // SAFETY: such a thread has them.
        _ => unsafe { switch_with_calls() },
    }
}

/// # Safety
///
/// The calling thread has something called at each switch.
#[cold]
unsafe fn switch_with_calls() {
    if let Some(this) = this_block() {
        // SAFETY: as the caller promises; it is the one that runs.
        unsafe { on_switch::switch(this) };
    }
}

/// The pointer to the whole block of the thread that runs, which a reference to the header is not.
fn this_block() -> Option<NonNull<Header>> {
    WorkerContext::get().and_then(WorkerContext::current_ptr)
}

/// Lets the other threads of this worker run, once each; the caller is not waiting for anything. Does nothing in a panic
/// hook, where nothing may switch.
#[inline(always)]
pub(crate) fn yield_now() {
    assert_may_park("yield_now");
    match WorkerContext::get() {
        Some(here) => {
            if let Some(thread) = here.current()
                && may_switch()
            {
                yield_green(here, thread);
            }
        }
        None => std::thread::yield_now(),
    }
}

/// As [`yield_now`], if a thread that was woken on this worker is next. The caller has found out that it may switch.
#[cfg_attr(not(green_thread_locals), allow(dead_code, reason = "other people's calls are not ours here"))]
#[inline]
pub(crate) fn yield_to_woken() {
    if let Some(here) = WorkerContext::get()
        && !here.woken.get().is_null()
        && let Some(thread) = here.current()
    {
        yield_green(here, thread);
    }
}

#[inline(always)]
fn yield_green(here: &WorkerContext, thread: &Header) {
    if std::thread::panicking() && !may_let_others_run(here) {
        return;
    }
    here.set_yields();
    switch(thread);
}

/// The calling thread suspends, or lets another run on top of itself, while std says yes. Of one with thread-locals of its own std
/// says so to nobody else.
#[cold]
#[inline(never)]
fn suspends_panicking(here: &WorkerContext) {
    if !is_own() {
        here.doubt.suspends_panicking();
    }
}

/// As `leaves`, while std says that this OS thread panics. False: its hook runs, though it does not say so.
#[cold]
#[inline(never)]
pub(crate) fn may_let_others_run(here: &WorkerContext) -> bool {
    if in_panic::is_reported() {
        return false;
    }
    suspends_panicking(here);
    true
}

/// Every blocking call begins with this: it takes a pending cancel or time-out, and yields when the thread has made so
/// many calls in one turn that its neighbours should run.
#[inline(always)]
pub(crate) fn checkpoint() {
    match WorkerContext::get() {
        Some(here) => {
            if let Some(thread) = here.current() {
                green_checkpoint(here, thread);
            }
        }
        None => current::with_header(|thread| {
            if !thread.limits.is_empty() {
                let _ = interrupt::raise_pending(thread);
            }
        }),
    }
}

#[inline(always)]
fn green_checkpoint(here: &WorkerContext, thread: &Header) {
    if thread.state.is_cancelled() || !thread.limits.is_empty() {
        let _ = interrupt::raise_pending(thread);
    }
    if !here.spend() {
        give_way();
    }
}

/// As [`checkpoint`], for a call that is about to return without waiting. A plain OS thread goes through at once: nobody
/// cancels it, nor waits for its turn.
#[inline(always)]
pub(crate) fn quick_checkpoint() {
    if WorkerContext::get().is_some() {
        checkpoint();
    }
}

/// As [`quick_checkpoint`]; says who the caller is, which it has found out by the way.
#[inline(always)]
pub(crate) fn quick_checkpoint_as() -> LockTaker {
    // Each is read once: this is on the way of every lock.
    let Some(here) = WorkerContext::get() else { return LockTaker::UNKNOWN };
    let Some(thread) = here.current() else { return LockTaker::UNKNOWN };
    let caller = LockTaker { worker: here, id: thread.id };
    green_checkpoint(here, thread);
    caller
}

/// An attempt that failed and did not wait spends from the same budget: so a thread that polls lets its neighbours run.
/// Not a cancellation point.
#[cold]
#[inline(never)]
pub(crate) fn spend() {
    if let Some(here) = WorkerContext::get()
        && here.current().is_some()
        && !here.spend()
    {
        give_way();
    }
}

/// Lets the other threads of this worker run, if the caller may switch.
#[cold]
#[inline(never)]
pub(crate) fn give_way() {
    if may_park() {
        yield_now();
    }
}

/// Ends the wait of a ticket that stood in one queue only, and that the caller has taken out: nobody else has it.
///
/// If its thread lives on this worker, that takes no exchange: what else may end the wait, the wheel and a cancel, runs
/// here, too.
///
/// # Safety
///
/// As [`Ticket::end`]; and nobody else has the ticket.
#[inline(always)]
pub(crate) unsafe fn notify(ticket: Ticket) -> Option<Wake> {
    // SAFETY: as the caller promises; `home` is the number of the worker that this runs on.
    unsafe { ticket.notify(WorkerContext::get().map(WorkerContext::home)) }
}

/// Hands a thread whose wait the caller has ended to its worker, as [`Wake::schedule`] does; at once if it is next here.
#[inline(always)]
pub(crate) fn schedule(wake: Wake) {
    if !WorkerContext::get().is_some_and(|here| here.run_next(wake.thread())) {
        wake.schedule();
    }
}

/// A timer of `thread` is due: ends the wait that it stands for.
///
/// # Safety
///
/// [`park`] has inserted the timer in a wheel that the caller turns: its worker's loop does, or who has that worker's parts. The thread has not left its
/// wait since.
pub(crate) unsafe fn fire(thread: NonNull<Header>) {
    // SAFETY: a thread that waits is alive, and cannot leave its wait while others have the worker or its loop runs; the `Task` is never
    // dropped, so it gives no reference away.
    let thread = ManuallyDrop::new(unsafe { Task::from_raw(thread) });
    if let Some(epoch) = thread.wait.waiting() {
        thread.end_wait(epoch, End::TimedOut);
    }
}
