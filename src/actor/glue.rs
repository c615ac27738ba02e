//! The glue between actors and the [`engine`](crate::actor::engine): all that is generic over the type of the actor and calls its
//! code. Here the block with the state, and its runs; [`handling`](super::handling) has how the handler gets a message.
//!
//! # Invariants
//!
//! Those of [`cell`](crate::actor::engine::cell), and:
//!
//! 1. `Core` is the first field of the `repr(C)` [`Cell`]; a header whose vtable is that of `A` and `K` begins a `Cell<A, K>`.
//! 2. `state` is initialised until the end of an incarnation has dropped it (then the actor is dead, vacant or buried), and touched
//!    by its runs only, and by the warden that fills a vacancy.

#![allow(unsafe_code)]

use std::any::{TypeId, type_name};
use std::cell::UnsafeCell;
use std::io;
use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop, offset_of};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::{self, Arc};

use crate::actor::engine::cell::{Core, InnerExit, Plan, RunState, Strong, WALKERS, after_plain_run, after_run, hold};
use crate::actor::engine::envelope::{Boxed, Envelope, EnvelopeKind, GoesOn, Held};
use crate::actor::engine::frame::{Frame, Terms};
use crate::actor::engine::lifecycle::PlainTake;
use crate::actor::engine::mailbox_state::{KEPT, MailboxState, Take};
use crate::actor::engine::payload::Passed;
use crate::actor::engine::residents::{end_all, leave, waiting};
use crate::actor::engine::warden::Warden;
use crate::actor::{Actor, Context, Deferred, Exit, Message, Signal};
use crate::base::atomic::MODELLED;
use crate::base::spin::Locked;
use crate::fiber::Entry;
use crate::flight::{EventKind, records_all};
use crate::park::interrupt::unlimited;
use crate::park::on_switch::{CallSlot, SwitchCalls};
use crate::park::os;
use crate::sched::own::PerThread;
use crate::sched::recording::{record_all, record_name};
use crate::sched::roster::RosterShare;
use crate::sched::runs::RunsPerWorker;
use crate::sched::shared::ActorCalls;
use crate::sched::switched::{Begins, main_with_calls};
use crate::sched::{Shared, Worker};
use crate::sys::fork;
use crate::task::header::{Main, Next, Spec, VTable};
use crate::task::pool;
use crate::task::unwound::EndsBy;
use crate::task::{Header, Task};

#[repr(C)]
struct Cell<A, K> {
    core: Core,
    state: UnsafeCell<ManuallyDrop<A>>,
    keep: K,
}

// A supervised actor without a state takes an allocator's block of 256.
const _: () = assert!(MODELLED || size_of::<Cell<(), Arc<dyn Warden>>>() <= 248);

/// The block of an actor that has something called at each switch. Its glue is that of the [`Cell`], which comes first.
#[repr(C)]
struct SwitchedCell<A, K> {
    cell: Cell<A, K>,
    calls: CallSlot,
}

impl<A: Actor, K: Keep> SwitchedCell<A, K> {
    const VTABLE: VTable =
        VTable { free: Self::free, calls_at: Some(offset_of!(Self, calls)), ..vtable::<SwitchedActor, A, K>() };

    /// A block of which the calls are there.
    #[cold]
    fn allocate(calls: SwitchCalls) -> Option<NonNull<Cell<A, K>>> {
        let block = pool::allocate::<Self>()?;
        // SAFETY: fresh memory for it.
        unsafe { (&raw mut (*block.as_ptr()).calls).write(CallSlot::new(calls)) };
        Some(block.cast())
    }

    unsafe fn free(header: NonNull<Header>) {
        let block = header.cast::<Self>();
        // SAFETY: as in `free`; the block came from the pool, for this type, and nobody has its calls.
        unsafe {
            wait_for_walkers(header);
            // Not into the worker's stock: `free` is the only one that does that, so that it stands there without a call.
            drop(sync::Weak::from_raw(header.as_ref().runtime.cast::<Shared>()));
            drop_parts::<A, K>(block.cast());
            ptr::drop_in_place(&raw mut (*block.as_ptr()).calls);
            pool::free(block);
        }
    }
}

/// What such an actor's runs begin with.
struct SwitchedActor;

impl Main for SwitchedActor {
    const MAIN: Entry = switched_main;

    fn unwound(actor: &Header, how: EndsBy) {
        RunsPerWorker::unwound(actor, how);
    }
}

/// # Safety
///
/// As [`VTable::main`], of an actor.
unsafe fn switched_main(actor: *mut ()) {
    // SAFETY: the header begins a `Core`.
    let is_over = |header: NonNull<Header>| unsafe { header.cast::<Core>().as_ref() }.runs_last();
    // SAFETY: as the caller promises.
    unsafe { main_with_calls(actor, is_over) };
}

/// Says what follows the end of a state: a warden, or nothing (`()`), and then the actor ends.
trait Keep: Send + Sync + 'static {
    const IS_KEPT: bool;

    fn warden(&self) -> Option<&Arc<dyn Warden>>;
}

impl Keep for () {
    const IS_KEPT: bool = false;

    fn warden(&self) -> Option<&Arc<dyn Warden>> {
        None
    }
}

impl Keep for Arc<dyn Warden> {
    const IS_KEPT: bool = true;

    fn warden(&self) -> Option<&Arc<dyn Warden>> {
        Some(self)
    }
}

/// Makes an actor in `shared` and queues its first run.
pub(crate) fn start<A: Actor>(shared: &Arc<Shared>, plan: Plan, state: A) -> io::Result<Strong> {
    start_with(shared, plan, (), state)
}

/// An actor that a warden may give another state.
pub(crate) struct Kept<A> {
    strong: Strong,
    _actor: PhantomData<fn(A) -> A>,
}

/// As [`start`]; the warden says what follows the end of the state.
pub(crate) fn start_kept<A: Actor>(
    shared: &Arc<Shared>,
    plan: Plan,
    warden: Arc<dyn Warden>,
    state: A,
) -> io::Result<Kept<A>> {
    start_with(shared, plan, warden, state).map(|strong| Kept { strong, _actor: PhantomData })
}

impl<A: Actor> Kept<A> {
    pub(crate) fn strong(&self) -> &Strong {
        &self.strong
    }

    /// Gives the actor, if it is vacant, a new state, with which it starts again. Else the state comes back.
    pub(crate) fn revive(&self, state: A) -> Result<(), A> {
        let core = self.strong.core();
        let cell = core.whole().cast::<Cell<A, Arc<dyn Warden>>>();
        let mut mailbox = core.mailbox.lock();
        let Some(duty) = mailbox.revive() else { return Err(state) };
        // SAFETY: `start_kept` has made it for this type; nobody else gets to the state: the old one is dropped, and the next
        // run begins after this.
        unsafe { (*cell.as_ptr()).state.get().write(ManuallyDrop::new(state)) };
        drop(mailbox);
        core.launch(Some(duty));
        Ok(())
    }
}

fn start_with<A: Actor, K: Keep>(shared: &Arc<Shared>, plan: Plan, keep: K, state: A) -> io::Result<Strong> {
    let worker = Worker::current().filter(|worker| Arc::ptr_eq(&worker.shared, shared));
    // Before all else: another thread may have had the lock of the roster when the process forked.
    if worker.is_none() && shared.is_the_parents() {
        return Err(fork::error());
    }
    let (block, vtable) = match plan.begins {
        Begins::PerWorker => (pool::allocate::<Cell<A, K>>(), const { &vtable::<RunsPerWorker, A, K>() }),
        Begins::PerThread => (pool::allocate::<Cell<A, K>>(), const { &vtable::<PerThread, A, K>() }),
        Begins::Switched(calls) => (SwitchedCell::<A, K>::allocate(calls), const { &SwitchedCell::<A, K>::VTABLE }),
    };
    let Some(block) = block else {
        let message = format!("no memory for an actor: the allocator refused {} bytes", size_of::<Cell<A, K>>());
        return Err(io::Error::new(io::ErrorKind::OutOfMemory, message));
    };
    let id = worker.map_or_else(|| os::fresh_ids(1), Worker::fresh_id);
    let kept = if K::IS_KEPT { KEPT } else { 0 };
    shared.has_actors(const { ActorCalls { end: end_all, waiting } });
    let weak = worker.map_or_else(|| Arc::downgrade(shared), |worker| worker.stock.take());
    let runtime = sync::Weak::into_raw(weak).cast();
    let spec = Spec {
        name: plan.name,
        size: plan.size,
        id,
        runtime,
        schedule: shared.schedule,
        refs: 1,
        handle: false,
        spawned_at: plan.started_at,
    };
    let share = worker.map(Worker::roster);
    let roster = share.map_or(shared.roster, RosterShare::roster);
    let slot = roster.reserve(share);
    // SAFETY: fresh memory for this very type, and all of it is written; part by part: what is written as one is copied once more.
    unsafe {
        let place = block.as_ptr();
        let runtime = shared.remotes[0].index | kept;
        // The mailbox is made here: before a call it would be made on the stack, in parts, and copied as a whole before those are in the cache.
        Core::write(&raw mut (*place).core, Header::new(spec, vtable), MailboxState::new(plan.mailbox, runtime), slot);
        (&raw mut (*place).state).write(UnsafeCell::new(ManuallyDrop::new(state)));
        (&raw mut (*place).keep).write(keep);
        if let Some(worker) = worker {
            (*place).core.header.state.claim_unshared(worker.remote.index);
        }
    }
    // For `Core::whole`.
    let _ = block.as_ptr().expose_provenance();
    let strong = Strong::from_raw(block.cast());
    // SAFETY: an actor is re-armable, and leaves in its last run.
    unsafe { roster.enter(slot, block.cast()) };
    // SAFETY: invariant 2: the life's reference; the mailbox was made busy, and this is its entry.
    let task = unsafe { Task::from_raw(block.cast()) };
    match worker {
        Some(worker) => worker.launch(task),
        None => shared.inject(task),
    }
    Ok(strong)
}

const fn vtable<M: Main, A: Actor, K: Keep>() -> VTable {
    VTable {
        main: M::MAIN,
        border: M::BORDER,
        run: run::<A, K>,
        take_output: |_, _| unreachable!("an actor has no result"),
        drop_output: |_| unreachable!("an actor has no result"),
        done: |_| unreachable!("an actor is in no scope"),
        free: free::<A, K>,
        after_run: Some(if K::IS_KEPT { after_kept_run::<A, K> } else { after_plain_run }),
        type_name: Some(type_name::<A>),
        calls_at: None,
    }
}

unsafe fn after_kept_run<A: Actor, K: Keep>(header: NonNull<Header>) -> Next {
    // SAFETY: as the caller promises; invariant 1; the block is there as long as the lock of the mailbox is held, and `warden` is
    // called under that.
    unsafe { after_run::<true>(header, || header.cast::<Cell<A, K>>().as_ref().keep.warden().map(Arc::clone)) }
}

unsafe fn free<A, K>(header: NonNull<Header>) {
    let block = header.cast::<Cell<A, K>>();
    // SAFETY: as the caller promises, of both; the block came from the pool, for this type.
    unsafe {
        wait_for_walkers(header);
        let shared = sync::Weak::from_raw(header.as_ref().runtime.cast::<Shared>());
        match Worker::current().filter(|worker| worker.shared.identity() == shared.as_ptr().cast()) {
            Some(worker) => worker.stock.put(shared),
            None => drop(shared),
        }
        drop_parts::<A, K>(block);
        pool::free(block);
    }
}

/// # Safety
///
/// The last reference is gone, and the block still there.
#[inline(always)]
unsafe fn wait_for_walkers(header: NonNull<Header>) {
    // SAFETY: invariant 1.
    if unsafe { header.cast::<Core>().as_ref() }.edge.is_reached() {
        WALKERS.wait();
    }
}

/// # Safety
///
/// The last reference is gone and nobody walks past here, so the actor has ended and `state` is dropped; invariant 5.
#[inline(always)]
unsafe fn drop_parts<A, K>(block: NonNull<Cell<A, K>>) {
    // SAFETY: as the caller promises.
    unsafe {
        ptr::drop_in_place(&raw mut (*block.as_ptr()).core);
        ptr::drop_in_place(&raw mut (*block.as_ptr()).keep);
    }
}

/// A message to be passed on. It is written where it is going to be, as it may be large.
#[inline(always)]
pub(crate) fn passed<M: Message>(
    kind: &'static EnvelopeKind<Passed<M>>,
    msg: M,
    owed: Deferred<M::Reply>,
    terms: Terms,
) -> Boxed<Passed<M>> {
    // SAFETY: all four fields are written.
    unsafe {
        Boxed::filled(kind, |place| {
            (&raw mut (*place).msg).write(msg);
            (&raw mut (*place).owed).write(owed);
            (&raw mut (*place).terms).write(terms);
            (&raw mut (*place).seat).write(None);
        })
    }
}

/// Messages of one run; then others have their turn.
const BATCH: u32 = 64;

/// One run: a batch of messages, and the end if there is a reason for it.
unsafe fn run<A: Actor, K: Keep>(header: NonNull<Header>, start: bool) {
    // SAFETY: invariant 1 of `cell`; as the caller promises.
    unsafe {
        if header.cast::<Core>().as_ref().is_addressed() {
            run_in::<A, K, false>(header, start);
        } else {
            run_alone::<A, K>(header, start);
        }
    }
}

/// The same, of an actor without an address: probably nobody else has it.
#[inline(never)]
unsafe fn run_alone<A: Actor, K: Keep>(header: NonNull<Header>, start: bool) {
    // SAFETY: as the caller promises.
    unsafe { run_in::<A, K, true>(header, start) };
}

#[inline(always)]
unsafe fn run_in<A: Actor, K: Keep, const ALONE: bool>(header: NonNull<Header>, start: bool) {
    // SAFETY: invariant 1: it is this actor type's vtable that calls.
    let cell = unsafe { header.cast::<Cell<A, K>>().as_ref() };
    let core = &cell.core;
    let frame = Frame::new();
    core.set_frame(&raw const frame);
    // SAFETY: the frame outlives the context, and `core` is alive during a run.
    let mut ctx = Context::new(unsafe { RunState::new(core, &frame) });
    // SAFETY: this is the run.
    let end = if start { unsafe { batch::<A, K, ALONE>(cell, &mut ctx) } } else { RunEnd::Because(core.not_started()) };
    match end {
        RunEnd::No => {}
        RunEnd::Because(exit) => end_because(cell, &mut ctx, exit, start),
        RunEnd::Over => {
            drop_state(cell, &mut ctx, true, &Exit::Normal);
            leave(core);
            core.end_over();
        }
    }
    core.set_frame(ptr::null());
}

/// Does the actor end?
enum RunEnd {
    No,
    Because(Exit),
    /// See [`PlainTake::Over`].
    Over,
}

/// The end of an incarnation, and of the actor, unless a warden is to say whether there is another.
#[inline(always)]
fn end_because<A: Actor, K: Keep>(cell: &Cell<A, K>, ctx: &mut Context<A>, exit: Exit, start: bool) {
    let core = &cell.core;
    let warden = cell.keep.warden();
    if K::IS_KEPT && core.is_buried() {
        // The state is gone, and the exit known.
        let exit = core.why_closed();
        core.begin_end(&exit);
        leave(core);
        return core.end(exit);
    }
    let leaves = start && warden.is_some_and(|warden| warden.keeps());
    let was_started = if leaves { core.begin_leave() } else { core.begin_end(&exit) };
    drop_state(cell, ctx, was_started, &exit);
    if leaves {
        return core.leave(exit);
    }
    leave(core);
    let Some(warden) = warden else { return core.end(exit) };
    core.end(exit.clone());
    warden.ended(&exit);
}

/// The last words of a state. Once for each: nobody touches it afterwards. It is not buried. No cancel gets in here, but as
/// [`last_words`](crate::task::last_words) has it; nor after it.
#[inline(always)]
fn drop_state<A: Actor, K: Keep>(cell: &Cell<A, K>, ctx: &mut Context<A>, was_started: bool, exit: &Exit) {
    // SAFETY: invariant 2: this is the run, as only that has a context.
    let state = unsafe { &mut *cell.state.get() };
    let header = &cell.core.header;
    cell.core.begin_last_words();
    if was_started {
        let _ = hook(ctx, |ctx| state.stopping(exit, ctx));
    }
    // SAFETY: invariant 2.
    let _ = cell.core.guarded(|| unsafe { ManuallyDrop::drop(state) });
    header.refuse_cancels();
}

/// Handles what is in the mailbox, up to a batch.
///
/// # Safety
///
/// This is the actor's run.
#[inline]
unsafe fn batch<A: Actor, K: Keep, const ALONE: bool>(cell: &Cell<A, K>, ctx: &mut Context<A>) -> RunEnd {
    let core = &cell.core;
    // SAFETY: as the caller promises; for one call at a time; if the actor is buried, what is taken first is the end.
    let me = || unsafe { &mut **cell.state.get() };
    let alone = if ALONE { core.alone_here() } else { None };
    let (mut has_started, mut were_there) = (false, 0);
    for handled in 0..BATCH {
        let mut mailbox = if ALONE { core.lock_for(alone) } else { core.mailbox.lock() };
        mailbox.runs = true;
        if handled == 0 {
            // Behind the first.
            were_there = mailbox.len().wrapping_sub(1);
        }
        let next = mailbox.pop_plain().map_or_else(
            || {
                // Until it is noted there is something to look at.
                if mem::take(&mut has_started) {
                    mailbox.has_started();
                }
                mailbox.take_plain(core.is_addressed())
            },
            PlainTake::Message,
        );
        let mut is_last = false;
        let result = match next {
            PlainTake::Message(envelope) => {
                // What comes meanwhile is found at the end of the run. An asker goes on as soon as that is over; and where nothing has come
                // since the first was taken, a look for more would be one lock too many.
                let has_none_come = || handled as usize == were_there && core.is_addressed();
                is_last = mailbox.is_empty() && (envelope.is_ask() || has_none_come());
                run_envelope(me(), ctx, envelope, || hold(mailbox, None))
            }
            PlainTake::Nothing => return RunEnd::No,
            PlainTake::Over => return RunEnd::Over,
            PlainTake::Start => {
                drop(mailbox);
                say_started(me(), ctx, &cell.keep).inspect(|()| has_started = true)
            }
            PlainTake::Look => match look(cell, ctx, mailbox) {
                Looked::Ends(end) => return end,
                Looked::Handled(result) => result,
                Looked::Start => say_started(me(), ctx, &cell.keep).inspect(|()| has_started = true),
            },
        };
        if let Some(exit) = result.err().or_else(|| ctx.inner.end.take()) {
            if has_started {
                core.mailbox.lock().has_started();
            }
            return RunEnd::Because(*exit);
        }
        if is_last {
            break;
        }
    }
    RunEnd::No
}

/// What became of a close [look](PlainTake::Look).
enum Looked {
    Ends(RunEnd),
    Handled(GoesOn),
    /// `started` is to be called.
    Start,
}

/// Does what comes next, of an actor to which others have done more than to send messages. For [`batch`].
#[cold]
#[inline(never)]
fn look<A: Actor, K: Keep>(cell: &Cell<A, K>, ctx: &mut Context<A>, mut mailbox: Locked<'_, MailboxState>) -> Looked {
    let (take, sender) = mailbox.take(cell.core.is_addressed());
    let held = hold(mailbox, sender);
    // SAFETY: invariant 2: this is the run.
    let me = || unsafe { &mut **cell.state.get() };
    match take {
        Take::Nothing => Looked::Ends(RunEnd::No),
        Take::End(exit) => Looked::Ends(RunEnd::Because(exit)),
        Take::Message(envelope) => Looked::Handled(run_envelope(me(), ctx, envelope, || held)),
        Take::Signal(signal) => {
            held.release();
            Looked::Handled(say_signal(me(), ctx, signal))
        }
        Take::Start => {
            held.release();
            Looked::Start
        }
    }
}

#[inline(always)]
fn run_envelope<'a, A: Actor>(
    me: &mut A,
    ctx: &mut Context<A>,
    envelope: Envelope,
    held: impl FnOnce() -> Held<'a>,
) -> GoesOn {
    if records_all() {
        let id = ctx.core().header.id;
        record_all(EventKind::MessageBegins, id);
        let result = run_unrecorded(me, ctx, envelope, held);
        record_all(EventKind::MessageEnds, id);
        return result;
    }
    run_unrecorded(me, ctx, envelope, held)
}

#[inline(always)]
fn run_unrecorded<'a, A: Actor>(
    me: &mut A,
    ctx: &mut Context<A>,
    envelope: Envelope,
    held: impl FnOnce() -> Held<'a>,
) -> GoesOn {
    // SAFETY: they are an `A` and its context, and borrowed.
    unsafe { envelope.run(held, TypeId::of::<A>(), ptr::from_mut(me).cast(), ptr::from_mut(ctx).cast()) }
}

#[cold]
fn say_started<A: Actor>(me: &mut A, ctx: &mut Context<A>, keep: &impl Keep) -> GoesOn {
    record_name(&ctx.core().header);
    hook(ctx, |ctx| me.started(ctx))?.map_err(Box::new)?;
    if let Some(warden) = keep.warden() {
        // Who asks the one that it tells finds it noted.
        ctx.core().mailbox.lock().has_started();
        warden.started();
    }
    const {
        let is_zero = matches!(A::RECEIVE_TIMEOUT, Some(timeout) if timeout.is_zero());
        assert!(!is_zero, "`RECEIVE_TIMEOUT` must not be zero");
    }
    if let Some(timeout) = A::RECEIVE_TIMEOUT {
        ctx.expect_messages(timeout);
    }
    Ok(())
}

#[cold]
pub(super) fn say_signal<A: Actor>(me: &mut A, ctx: &mut Context<A>, signal: Signal) -> GoesOn {
    hook(
        ctx,
        |ctx| if A::TRAPS_EXITS || !signal.is_trapped() { me.signal(signal, ctx) } else { ctx.default_signal(signal) },
    )
}

/// Calls a hook. A panic is the reason to end.
fn hook<A: Actor, R>(ctx: &mut Context<A>, hook: impl FnOnce(&mut Context<A>) -> R) -> Result<R, Box<Exit>> {
    ctx.inner.frame().clear();
    catch_unwind(AssertUnwindSafe(|| hook(ctx))).map_err(|payload| ctx.core().exit_of(payload))
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
    let mut mailbox = core.mailbox.lock();
    let Some(envelope) = mailbox.take_admitted() else { return false };
    let held = hold(mailbox, None);
    let frame = Frame::new();
    let outer = core.set_frame(&raw const frame);
    let outer_inner = ctx.inner.set_frame(NonNull::from(&frame));
    // A time-out around the `reenter` is not this handler's.
    let result = unlimited(|| run_envelope(me, ctx, envelope, || held));
    core.set_frame(outer);
    ctx.inner.set_frame(outer_inner);
    if let Err(exit) = result {
        std::panic::resume_unwind(Box::new(InnerExit(*exit)));
    }
    true
}
