//! The heap block of one actor: its task header, its mail, its state. One allocation.
//!
//! # Invariants
//!
//! 1. `Core` is the first field of the `repr(C)` [`Cell`], and `Header` the first of `Core`: a pointer to the block is one to
//!    each, and every such pointer was made from one to the whole block.
//! 2. The header's references: one for the actor's life (it stands for the queue entry, the run, and the resting actor in
//!    turn, see `task/PROTOCOL.md`); one for all strong addresses together, while `addrs > 0`; one for each [`Weak`], of which
//!    the residents have one.
//! 3. `state` is initialised until the actor's end has dropped it (`Phase::Dead`), and touched by its runs only.
//! 4. `frame` is null, or points to the frame of the run that is on; the actor's own thread reads it.
//! 5. `header.runtime` is a `Weak<Shared>` made raw; it goes with the block.
//! 6. An edge leads to an actor that is kept alive until it was cleared: by its owner (`Waits`), or by the promise that the owner
//!    waits for.
//! 7. Actors are the only re-armable tasks: a header with `after_run` is the first field of a `Core`.

#![allow(unsafe_code)]

use std::cell::{self, UnsafeCell};
use std::fmt;
use std::io;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::sync::{self, Arc};

use super::busy::Launch;
use super::edge::{Edge, Mark, Walkers, Walking};
use super::frame::Frame;
use super::lifecycle::Inherited;
use super::mail::{Mail, Phase};
use super::residents::{NOWHERE, end_all, end_here, enter};
use super::run::{batch, end, say_stopping};
use crate::actor::{Actor, ActorId, Context, Exit, Mailbox};
use crate::base::atomic::{AtomicU32, MODELLED, Ordering};
use crate::base::spin::SpinLock;
use crate::park::current::WorkerContext;
use crate::park::interrupt::unlimited;
use crate::park::os;
use crate::sched::worker::schedule;
use crate::sched::{Shared, Worker, remote};
use crate::stack::StackSize;
use crate::task::header::{Next, Spec, VTable};
use crate::task::pool;
use crate::task::state::CancelFound;
use crate::task::{Header, Task};

/// An actor without its type.
#[repr(C)]
pub(crate) struct Core {
    pub(crate) header: Header,
    pub(crate) mail: SpinLock<Mail>,
    pub(super) addrs: AtomicU32,
    /// In the list of its worker's residents; changed under the lock of that.
    pub(super) place: AtomicU32,
    pub(crate) edge: Edge<Core>,
    frame: cell::Cell<*const Frame>,
}

// SAFETY: the header is; the mail is under its lock; the counts and the edge are atomic; `frame` is the run's own (4).
unsafe impl Send for Core {}
// SAFETY: as above.
unsafe impl Sync for Core {}

// What an idle actor takes beside its state; with a small state, an allocator's block of 256.
const _: () = assert!(MODELLED || size_of::<Core>() <= 240);

#[repr(C)]
struct Cell<A> {
    core: Core,
    state: UnsafeCell<ManuallyDrop<A>>,
}

/// How an actor is made.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) name: Option<Box<str>>,
    pub(crate) size: StackSize,
    pub(crate) mailbox: Mailbox,
}

/// Makes an actor in `shared` and queues its first run.
pub(crate) fn start<A: Actor>(shared: &Arc<Shared>, plan: Plan, state: A) -> io::Result<Strong> {
    let Some(block) = pool::allocate::<Cell<A>>() else {
        let message = format!("no memory for an actor: the allocator refused {} bytes", size_of::<Cell<A>>());
        return Err(io::Error::new(io::ErrorKind::OutOfMemory, message));
    };
    let worker = Worker::current().filter(|worker| Arc::ptr_eq(&worker.shared, shared));
    let id = worker.map_or_else(|| os::fresh_ids(1), Worker::fresh_id);
    // A worker's own list, or any.
    let any = || shared.remotes[id as usize % shared.remotes.len()].index;
    let list = worker.map_or_else(any, |worker| worker.remote.index);
    shared.call_last(end_all);
    let runtime = sync::Weak::into_raw(Arc::downgrade(shared)).cast();
    let spec = Spec { name: plan.name, size: plan.size, id, runtime, schedule, refs: 3, handle: false };
    let core = Core {
        header: Header::new(spec, const { &vtable::<A>() }),
        mail: SpinLock::new(Mail::new(plan.mailbox, list)),
        addrs: AtomicU32::new(1),
        place: AtomicU32::new(NOWHERE),
        edge: Edge::new(),
        frame: cell::Cell::new(ptr::null()),
    };
    // SAFETY: fresh memory for this very type.
    unsafe { block.write(Cell { core, state: UnsafeCell::new(ManuallyDrop::new(state)) }) };
    // For `Core::whole`.
    let _ = block.as_ptr().expose_provenance();
    let strong = Strong::from_raw(block.cast());
    // SAFETY: invariant 2: the residents' reference.
    enter(unsafe { Weak::new(Task::from_raw(block.cast())) }, list);
    // SAFETY: invariant 2: the life's reference; the mail was made busy, and this is its entry.
    let task = unsafe { Task::from_raw(block.cast()) };
    match worker {
        Some(worker) => worker.launch(task),
        None => shared.inject(task),
    }
    Ok(strong)
}

const fn vtable<A: Actor>() -> VTable {
    VTable {
        run: run::<A>,
        take_output: |_, _| unreachable!("an actor has no result"),
        drop_output: |_| unreachable!("an actor has no result"),
        done: |_| unreachable!("an actor is in no scope"),
        free: free::<A>,
        after_run: Some(after_run),
    }
}

unsafe fn free<A>(header: NonNull<Header>) {
    let block = header.cast::<Cell<A>>();
    WALKERS.wait();
    // SAFETY: the last reference is gone and nobody walks, so the actor has ended and `state` is dropped; invariant 5; the
    // block came from the pool, for this type.
    unsafe {
        drop(sync::Weak::from_raw(header.as_ref().runtime.cast::<Shared>()));
        ptr::drop_in_place(&raw mut (*block.as_ptr()).core);
        pool::free(block);
    }
}

/// One run: a batch of messages, and the end if there is a reason for it.
unsafe fn run<A: Actor>(header: NonNull<Header>, start: bool) {
    // SAFETY: invariant 1: it is this actor type's vtable that calls.
    let cell = unsafe { header.cast::<Cell<A>>().as_ref() };
    let core = &cell.core;
    let frame = Frame::new();
    core.frame.set(&raw const frame);
    // SAFETY: the frame outlives the context, and `core` is alive during a run (invariant 2).
    let mut ctx = Context::new(unsafe { Inner::new(core, &frame) });
    // SAFETY: invariant 3.
    let state = unsafe { &mut *cell.state.get() };
    let exit = if start { batch(core, &mut **state, &mut ctx) } else { Some(core.not_started()) };
    if let Some(exit) = exit {
        say_stopping(core, &mut **state, &mut ctx, &exit);
        // SAFETY: invariant 3: once, here; nobody touches it afterwards.
        let _ = core.guarded(|| unsafe { ManuallyDrop::drop(state) });
        end(core, exit);
    }
    core.frame.set(ptr::null());
}

/// Handles one message that a `reenter` of `me` lets in. False: there is none.
///
/// # Panics
///
/// If its handler does, so that the outer one ends, too.
pub(crate) fn run_admitted<A: Actor>(me: &mut A, ctx: &mut Context<A>) -> bool {
    let core: *const Core = ctx.inner.core();
    // SAFETY: the core outlives the run that this is part of.
    let core = unsafe { &*core };
    let mut mail = core.mail.lock();
    let Some(parcel) = mail.take_admitted() else { return false };
    let frame = Frame::new();
    let outer = core.frame.replace(&raw const frame);
    let outer_inner = ctx.inner.nest(&frame);
    // A time-out around the `reenter` is not this handler's.
    let result = unlimited(|| parcel.run(mail, None, me, ctx));
    core.frame.set(outer);
    ctx.inner.unnest(outer_inner);
    if let Err(exit) = result {
        std::panic::resume_unwind(Box::new(Inherited(*exit)));
    }
    true
}

/// The end of the protocol in `mail`: steps R1 to R5.
unsafe fn after_run(header: NonNull<Header>) -> Next {
    // SAFETY: invariants 1 and 7.
    let core = unsafe { header.cast::<Core>().as_ref() };
    // SAFETY: the caller is the home worker's loop, and has taken the fiber out.
    unsafe { core.header.reset() };
    let mut mail = core.mail.lock();
    if mail.phase == Phase::Dead {
        // SAFETY: the run is over, and this is the only call.
        let _ = unsafe { Header::complete(header, false) };
        return Next::Over;
    }
    let more = mail.rest(core.is_addressed());
    if more || core.header.state.is_cancelled() {
        core.header.state.rearm();
    }
    if more { Next::Again } else { Next::Rests }
}

impl Core {
    /// The actor whose handler runs here, if the caller is one.
    #[inline]
    pub(crate) fn current<'a>() -> Option<&'a Core> {
        let header = WorkerContext::get()?.current_ptr()?;
        // SAFETY: the running thread's header is alive; invariant 7. The caller is that thread.
        unsafe {
            header.as_ref().vtable.after_run?;
            Some(header.cast::<Core>().as_ref())
        }
    }

    /// The frame of the handler that runs now. For the actor's own thread, during a run.
    #[inline]
    pub(crate) fn frame(&self) -> Option<&Frame> {
        // SAFETY: invariant 4.
        unsafe { self.frame.get().as_ref() }
    }

    /// The pointer to the whole block (invariant 1): what a reference to its first part is not.
    #[inline]
    fn whole(&self) -> NonNull<Core> {
        let whole = ptr::with_exposed_provenance_mut(ptr::from_ref(self).addr());
        NonNull::new(whole).expect("the address of a reference")
    }

    pub(crate) fn id(&self) -> ActorId {
        ActorId(self.header.id)
    }

    /// The size of the stack that its handlers run on.
    pub(crate) fn stack_bytes(&self) -> usize {
        self.header.size.bytes()
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.header.name()
    }

    /// Has anybody an address?
    #[inline]
    pub(crate) fn is_addressed(&self) -> bool {
        // ORDERING: Relaxed: asked under the lock of the mail, through which the last holder's messages came before its count went.
        self.addrs.load(Ordering::Relaxed) != 0
    }

    /// Queues the actor, if that is the caller's to do. If its runtime has ended, or does so by this, user code runs here.
    #[inline]
    pub(crate) fn launch(&self, duty: Option<Launch>) {
        if let Some(duty) = duty {
            self.queue(duty);
        }
    }

    // Apart: a message for an actor that is busy, the most frequent one, is not burdened with its registers.
    #[inline(never)]
    fn queue(&self, _: Launch) {
        // SAFETY: invariant 2: whoever has made the mail busy has the life's reference.
        let task = unsafe { Task::from_raw(self.whole().cast()) };
        match Worker::current() {
            Some(worker) if worker.shared.identity() == self.header.runtime => {
                self.header.state.leave_home();
                worker.launch(task);
            }
            _ => self.inject(task),
        }
    }

    /// The same, for the thread that runs on this very `worker` and waits for what the actor does: it does so at once, on top of
    /// that one. `answered` says whether it has.
    #[inline]
    pub(super) fn launch_on_top<R>(
        &self,
        _: Launch,
        worker: &Worker,
        answered: impl FnOnce() -> Option<R>,
    ) -> Option<R> {
        // SAFETY: as in `queue`.
        let task = unsafe { Task::from_raw(self.whole().cast()) };
        worker.run_asked(task, answered)
    }

    #[cold]
    fn inject(&self, task: Task) {
        match self.shared() {
            Some(shared) if !shared.is_over() => {
                self.header.state.leave_home();
                shared.inject(task);
            }
            _ => end_here(self, task),
        }
    }

    fn runtime(&self) -> ManuallyDrop<sync::Weak<Shared>> {
        // SAFETY: invariant 5; it is not given up here, and by the callers neither.
        ManuallyDrop::new(unsafe { sync::Weak::from_raw(self.header.runtime.cast::<Shared>()) })
    }

    /// The runtime. Not to be dropped under the lock of the mail: the last to hold it ends what it has left.
    pub(super) fn shared(&self) -> Option<Arc<Shared>> {
        self.runtime().upgrade()
    }

    /// The actor waits for another, by its edge: has it look whether that still may be.
    #[cold]
    pub(super) fn interrupt(&self) {
        remote::interrupt(self.weak().task(), CancelFound::Started { home: self.header.state.home() });
    }

    /// A strong address, for the actor itself during a run, when there may be no other.
    pub(crate) fn strong(&self) -> Strong {
        // ORDERING: Relaxed: the life's reference keeps the block during a run.
        if self.addrs.fetch_add(1, Ordering::Relaxed) == 0 {
            self.header.state.add_ref();
        }
        Strong::from_raw(self.whole())
    }

    pub(crate) fn weak(&self) -> Weak {
        self.header.state.add_ref();
        // SAFETY: the reference was just counted.
        unsafe { Weak::new(Task::from_raw(self.whole().cast())) }
    }
}

/// What a `Context` is made of.
pub(crate) struct Inner {
    core: NonNull<Core>,
    frame: NonNull<Frame>,
    /// Why the actor has to end after the handler that runs.
    pub(crate) end: Option<Box<Exit>>,
}

impl Inner {
    /// # Safety
    ///
    /// Both outlive the result. The caller is the actor's run.
    unsafe fn new(core: &Core, frame: &Frame) -> Self {
        Self { core: NonNull::from(core), frame: NonNull::from(frame), end: None }
    }

    /// Another frame for a nested handler. Gives the outer one back.
    fn nest(&mut self, frame: &Frame) -> NonNull<Frame> {
        std::mem::replace(&mut self.frame, NonNull::from(frame))
    }

    /// The nested handler is over.
    fn unnest(&mut self, outer: NonNull<Frame>) {
        self.frame = outer;
    }

    #[inline]
    pub(crate) fn core(&self) -> &Core {
        // SAFETY: as the caller of `new` promised.
        unsafe { self.core.as_ref() }
    }

    #[inline]
    pub(crate) fn frame(&self) -> &Frame {
        // SAFETY: as the caller of `new` promised, or of `nested`.
        unsafe { self.frame.as_ref() }
    }
}

/// A strong address, without the actor's type.
pub(crate) struct Strong(NonNull<Core>);

// SAFETY: a counted pointer to a `Core`, which is `Send` and `Sync`.
unsafe impl Send for Strong {}
// SAFETY: as above.
unsafe impl Sync for Strong {}

/// A reference that keeps the block, not the actor.
#[derive(Clone, Debug)]
pub(crate) struct Weak(Task);

impl Strong {
    /// Takes over one count of `addrs`.
    fn from_raw(core: NonNull<Core>) -> Self {
        Self(core)
    }

    #[inline]
    pub(crate) fn core(&self) -> &Core {
        // SAFETY: invariant 2: `self` is one of the strong addresses.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn as_ptr(&self) -> *const Core {
        self.0.as_ptr()
    }
}

impl Clone for Strong {
    #[inline]
    fn clone(&self) -> Self {
        // ORDERING: Relaxed: a new address is made from one that is held.
        if self.core().addrs.fetch_add(1, Ordering::Relaxed) > u32::MAX / 2 {
            crate::base::abort::fatal(format_args!("more than 2^31 addresses of one actor"));
        }
        Self(self.0)
    }
}

impl Drop for Strong {
    #[inline]
    fn drop(&mut self) {
        // ORDERING(argued): Release pairs with the Acquire here: what all holders did with the block comes before the last gives
        // up their common reference. Loom does not see memory that is freed.
        if self.core().addrs.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.drop_last();
        }
    }
}

impl Strong {
    /// The last address goes: an actor that rests has nothing queued, and ends.
    #[cold]
    fn drop_last(&self) {
        // SAFETY: invariant 2: the addresses' common reference, given up at the end of this.
        let task = unsafe { Task::from_raw(self.0.cast()) };
        let core = self.core();
        let launch = {
            let mut mail = core.mail.lock();
            if mail.phase != Phase::Dead && !core.is_addressed() { mail.rouse() } else { None }
        };
        core.launch(launch);
        drop(task);
    }
}

impl Weak {
    /// Takes over a reference to a task that is an actor.
    ///
    /// # Safety
    ///
    /// It is one.
    pub(super) unsafe fn new(task: Task) -> Self {
        Self(task)
    }

    pub(super) fn task(&self) -> &Task {
        &self.0
    }

    pub(crate) fn core(&self) -> &Core {
        // SAFETY: a `Weak` is made of a `Core`'s own reference (invariants 1 and 2).
        unsafe { self.0.as_ptr().cast::<Core>().as_ref() }
    }

    /// `None`: all strong addresses are gone.
    pub(crate) fn upgrade(&self) -> Option<Strong> {
        let core = self.core();
        let more = |count| (count != 0).then_some(count + 1);
        // ORDERING: Relaxed: while the count is not zero, its reference keeps the block; nothing else is handed over.
        core.addrs.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Strong(self.0.as_ptr().cast()))
    }
}

impl fmt::Debug for Strong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.core().fmt(f)
    }
}

/// Who walks now: nobody frees an actor meanwhile.
static WALKERS: Walkers = Walkers(AtomicU32::new(0));

/// A walk along the edges; what it reads is alive as long as it lasts (`edge`, V1 to V3).
pub(super) struct Walk {
    _counted: Walking<'static>,
}

impl Walk {
    pub(super) fn begin() -> Self {
        Self { _counted: WALKERS.enter() }
    }

    /// Step V2.
    pub(super) fn follow<'a>(&'a self, at: &'a Core) -> Option<(&'a Core, Mark)> {
        let (to, mark) = at.edge.follow()?;
        // SAFETY: `at` is alive, and this walker is counted; invariant 6.
        Some((unsafe { &*to }, mark))
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id())?;
        self.name().map_or(Ok(()), |name| write!(f, " {name:?}"))
    }
}
