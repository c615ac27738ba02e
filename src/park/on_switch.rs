//! What a thread has called whenever it leaves its OS thread to others, and when it goes on there.
//!
//! A thread that asked for it pays for it, the others nothing: while such a thread runs, the slot for its fiber in the header is empty, as that of a thread
//! with thread-locals of its own is. So [`switch`](super::switch) finds none, and goes the rare way, to [`switch`] here.
//!
//! # Invariants
//!
//! 1. `calls` and `fiber` are touched by the thread itself only, and `calls` by one call at a time: a call cannot park, so no second one begins in it.
//!    (Those of an actor between its runs, and when its runtime is over: by whoever is to run it.)
//! 2. With the assembly backend the header's slot is empty while the thread runs, from [`begin`] to [`end`], and then `fiber` has the fiber.

use std::cell::UnsafeCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use crate::base::abort::fatal;
use crate::base::atomic::{AtomicUsize, Ordering};
#[cfg(green_backend = "asm")]
use crate::fiber::Fiber;
use crate::park::current::WorkerContext;
use crate::park::interrupt::shielded;
use crate::park::no_park::{OnTop, no_park, set_on_top};
use crate::task::Header;
use crate::task::block::TaskOwner;

/// What a green thread has called when it goes on and when it suspends, so that what a library keeps for each OS thread can be kept for that green thread.
///
/// Both are called on the thread itself. What they need of each other is in `self`; a pair of closures will do, too. They come in turn: `resume` first, before
/// the thread's closure begins, and `suspend` last, when that is over, and its [`local!`](crate::local) values are gone; in between `suspend` and `resume` at each
/// wait or yield in which another thread may run. (A wait that turns out to be over already is none.) A thread that is cancelled before it starts has both called, too; one that has not started
/// when its runtime ends has neither.
///
/// A thread, or an actor, with thread-locals of its own has neither called: what a library keeps there is its own anyway. So where the runtime, or the variable
/// `GREEN_THREAD_LOCALS`, gives its threads some, what one of them has asked for is left out, as is what a runtime has for its threads in one that has asked for
/// thread-locals of its own. To ask for both in one builder is an error.
///
/// Neither may block: that panics, as in [`no_park`](crate::no_park). A panic in either ends the process, because nobody could tell whose state the OS thread has.
///
/// ```
/// use std::cell::Cell;
/// thread_local!(static USER: Cell<u32> = const { Cell::new(0) });
///
/// /// Keeps `USER` for a thread.
/// struct Mine(u32);
/// impl green::thread::OnSwitch for Mine {
///     fn resume(&mut self) { self.0 = USER.replace(self.0) }
///     fn suspend(&mut self) { self.0 = USER.replace(self.0) }
/// }
/// let thread = |user| {
///     green::thread::Builder::new().on_switch(Mine(user)).spawn(move || {
///         green::yield_now();
///         assert_eq!(USER.get(), user);
///     })
/// };
/// for thread in [thread(1)?, thread(2)?] {
///     thread.join().unwrap();
/// }
/// assert_eq!(USER.get(), 0);
/// # Ok::<(), std::io::Error>(())
/// ```
pub trait OnSwitch: Send {
    /// The thread is about to run.
    ///
    /// ```
    /// use green::thread::OnSwitch;
    /// let (mut on, mut calls) = (0, 0);
    /// (|| on += 1, || calls += 1).resume();
    /// assert_eq!((on, calls), (1, 0));
    /// ```
    fn resume(&mut self);

    /// The thread is about to leave its OS thread to others, or is over.
    ///
    /// ```
    /// use green::thread::OnSwitch;
    /// let (mut calls, mut off) = (0, 0);
    /// (|| calls += 1, || off += 1).suspend();
    /// assert_eq!((calls, off), (0, 1));
    /// ```
    fn suspend(&mut self);
}

impl<R: FnMut() + Send, S: FnMut() + Send> OnSwitch for (R, S) {
    fn resume(&mut self) {
        (self.0)();
    }

    fn suspend(&mut self) {
        (self.1)();
    }
}

/// As a setting.
pub(crate) struct SwitchCalls(pub(crate) Box<dyn OnSwitch>);

// SAFETY: nothing reaches what is in it by a shared reference.
unsafe impl Sync for SwitchCalls {}
// A panic of what is in it ends the process.
impl UnwindSafe for SwitchCalls {}
impl RefUnwindSafe for SwitchCalls {}

impl fmt::Debug for SwitchCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SwitchCalls")
    }
}

/// What is added to what stands for the runtime in the header of such a thread.
const MARK: usize = 2;

/// What stands for the runtime in the header of such a thread, unless it is an actor: no other has the same, so that no two of them run on top of one another.
pub(crate) fn mark() -> *const () {
    // A 64-bit number of them is not reached.
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // ORDERING: Relaxed: nothing but that it is another one each time.
    ptr::without_provenance(NEXT.fetch_add(2 * MARK, Ordering::Relaxed) | MARK)
}

/// Has the thread such calls?
pub(crate) fn is_marked(thread: &Header) -> bool {
    thread.vtable.calls_at.is_some()
}

/// Makes one for each thread of a runtime.
#[derive(Clone)]
pub(crate) struct MakeSwitchCalls(Arc<dyn Fn() -> Box<dyn OnSwitch> + Send + Sync>);

impl MakeSwitchCalls {
    pub(crate) fn new<C: OnSwitch + 'static>(make: impl Fn() -> C + Send + Sync + 'static) -> Self {
        Self(Arc::new(move || Box::new(make())))
    }

    pub(crate) fn make(&self) -> SwitchCalls {
        SwitchCalls((self.0)())
    }
}

// It has no state of its own to be left half-done.
impl UnwindSafe for MakeSwitchCalls {}
impl RefUnwindSafe for MakeSwitchCalls {}

impl fmt::Debug for MakeSwitchCalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MakeSwitchCalls")
    }
}

/// The owner of a thread that has them, around the thread's real owner.
#[repr(C)]
pub(crate) struct WithCalls<O> {
    slot: CallSlot,
    owner: O,
}

/// What a thread has called, and its fiber while it runs.
pub(crate) struct CallSlot {
    calls: UnsafeCell<Option<SwitchCalls>>,
    #[cfg(green_backend = "asm")]
    fiber: UnsafeCell<Option<Fiber>>,
}

impl<O> WithCalls<O> {
    pub(crate) fn new(calls: SwitchCalls, owner: O) -> Self {
        Self { slot: CallSlot::new(calls), owner }
    }
}

impl<O: TaskOwner> TaskOwner for WithCalls<O> {
    const HAS_CALLS: bool = true;

    fn unhandled_panic(&self) {
        self.owner.unhandled_panic();
    }

    fn done(&self) {
        self.owner.done();
    }
}

impl CallSlot {
    pub(crate) fn new(calls: SwitchCalls) -> Self {
        Self {
            calls: UnsafeCell::new(Some(calls)),
            #[cfg(green_backend = "asm")]
            fiber: UnsafeCell::new(None),
        }
    }

    /// `None`: the thread has none.
    ///
    /// # Safety
    ///
    /// `thread` is a pointer to its whole block, and alive for `'a`.
    unsafe fn of<'a>(thread: NonNull<Header>) -> Option<&'a CallSlot> {
        // SAFETY: as the caller promises; the vtable says that the block has a slot there.
        unsafe { thread.as_ref().vtable.calls_at.map(|at| thread.byte_add(at).cast().as_ref()) }
    }

    /// # Safety
    ///
    /// Called by the thread itself.
    unsafe fn call(&self, call: impl FnOnce(&mut dyn OnSwitch)) {
        // SAFETY: invariant 1.
        let calls = unsafe { &mut *self.calls.get() };
        let Some(SwitchCalls(calls)) = calls else { return };
        let called = catch_unwind(AssertUnwindSafe(|| no_park(|| shielded(|| call(&mut **calls)))));
        if called.is_err() {
            fatal(format_args!("what on_switch has called panicked"));
        }
    }

    /// The last call, and the end of what was called.
    ///
    /// # Safety
    ///
    /// As of [`call`](Self::call).
    unsafe fn call_last(&self, is_over: bool) {
        // SAFETY: as the caller promises; invariant 1.
        unsafe {
            self.call(|calls| calls.suspend());
            if !is_over {
                return;
            }
            let dropped = catch_unwind(AssertUnwindSafe(|| no_park(|| shielded(|| drop((*self.calls.get()).take())))));
            if dropped.is_err() {
                fatal(format_args!("the destructor of what on_switch has called panicked"));
            }
        }
    }
}

/// The thread has just got its stack.
///
/// # Safety
///
/// It is the calling one, and the pointer is one to its whole block.
pub(crate) unsafe fn begin(this: NonNull<Header>) {
    // SAFETY: as the caller promises; invariant 2: nobody looks for the fiber of a thread that runs.
    unsafe {
        let Some(slot) = CallSlot::of(this) else { return };
        #[cfg(green_backend = "asm")]
        {
            *slot.fiber.get() = (*this.as_ref().fiber.get()).take();
        }
        set_on_top(OnTop::of_apart(this.as_ref()));
        slot.call(|calls| calls.resume());
    }
}

/// The fiber of the calling thread, which has them.
///
/// # Safety
///
/// It is the calling one, between [`begin`] and [`end`].
#[cfg(green_thread_locals)]
pub(super) unsafe fn running<'a>(this: NonNull<Header>) -> Option<&'a Fiber> {
    // SAFETY: as the caller promises; invariant 1.
    unsafe { CallSlot::of(this).and_then(|slot| (*slot.fiber.get()).as_ref()) }
}

/// The thread is about to leave its stack; `is_over`: it gets no other.
///
/// # Safety
///
/// As [`begin`], which was called.
pub(crate) unsafe fn end(this: NonNull<Header>, is_over: bool) {
    // SAFETY: as there.
    unsafe {
        let Some(slot) = CallSlot::of(this) else { return };
        slot.call_last(is_over);
        set_on_top(OnTop::Any);
        #[cfg(green_backend = "asm")]
        {
            *this.as_ref().fiber.get() = (*slot.fiber.get()).take();
        }
    }
}

/// Calls `f`, which is the last that is heard of a re-armable task, on the stack of a caller that is not that task.
///
/// On an OS thread `f` runs between the task's last calls. (If it waits the OS thread does, and nothing is called.) On a green thread it comes after them: if it waited between them,
/// others would run there with what is the task's.
///
/// # Safety
///
/// Nobody else has the task, it is on no stack, and the pointer is one to its whole block.
pub(crate) unsafe fn around_last(task: NonNull<Header>, f: impl FnOnce()) {
    // SAFETY: as the caller promises.
    let Some(slot) = (unsafe { CallSlot::of(task) }) else { return f() };
    if WorkerContext::get().and_then(WorkerContext::current_ptr).is_some() {
        // SAFETY: as the caller promises: invariant 1.
        unsafe {
            slot.call(|calls| calls.resume());
            slot.call_last(true);
        }
        return f();
    }
    let before = set_on_top(OnTop::None);
    // SAFETY: as the caller promises: invariant 1.
    unsafe {
        slot.call(|calls| calls.resume());
        f();
        slot.call_last(true);
    }
    set_on_top(before);
}

/// Leaves for the worker's loop; comes back when the loop resumes the thread.
///
/// # Safety
///
/// As [`begin`], which was called, and [`end`] was not.
#[inline(never)]
pub(super) unsafe fn switch(this: NonNull<Header>) {
    // SAFETY: as there. While the thread is suspended its fiber is where the worker looks for it, and when this goes on, the worker is done with that.
    unsafe {
        let Some(slot) = CallSlot::of(this) else { return };
        slot.call(|calls| calls.suspend());
        set_on_top(OnTop::Any);
        let place = this.as_ref().fiber.get();
        #[cfg(green_backend = "asm")]
        {
            *place = (*slot.fiber.get()).take();
        }
        if let Some(fiber) = &*place {
            fiber.suspend();
        }
        #[cfg(green_backend = "asm")]
        {
            *slot.fiber.get() = (*place).take();
        }
        set_on_top(OnTop::of_apart(this.as_ref()));
        slot.call(|calls| calls.resume());
    }
}
