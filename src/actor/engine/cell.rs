//! The heap block of one actor, without the type of its state: its task header and its mailbox; and the counted pointers to it.
//!
//! # Invariants
//!
//! 1. `Core` is the first field of the `repr(C)` [`Cell`], and `Header` the first of `Core`: a pointer to the block is one to
//!    each, and every such pointer was made from one to the whole block.
//! 2. The header's references: one for the actor's life and all strong addresses together; one for each [`Weak`]. In the actor's life the common
//!    one stands for the queue entry, the run, and the resting actor in turn, see `task/PROTOCOL.md`. It is given up by the end of the last
//!    run or by the last address, whichever is later: under the lock of the mailbox, where the one goes ([`Stage::Over`]) and the
//!    other (`addrs` becomes zero, and, but for zero, grows from one).
//! 3. `state` is initialised until the actor's end has dropped it (`Phase::Dead`; `Phase::Ends` where nobody is left to see it), and touched by its runs only.
//! 4. `frame` is null, or points to the frame of the run that is on; the actor's own thread reads it.
//! 5. `header.runtime` is a `Weak<Shared>` made raw; it goes with the block.
//! 6. An edge leads to an actor that is kept alive until it was cleared: by its owner (`EdgeGuard`), or by the promise that the owner
//!    waits for.
//! 7. Actors are the only re-armable tasks: a header with `after_run` is the first field of a `Core`.

#![allow(unsafe_code)]

use std::any::Any;
use std::cell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::{self, Arc};

use super::alone::{is_alone, lock_for};
use super::busy::Launch;
use super::edge::{Edge, Mark, Walkers, Walking};
use super::envelope::{Envelope, Held, Node, Refused};
use super::frame::Frame;
use super::guard::contained;
use super::lost::{lost, lost_at_end};
use super::mailbox_state::{MailboxState, Stage};
use super::owed::Refusal;
use super::waiting;
use super::waiting::WaitingSender;
use super::warden::Warden;
use super::weak::Weak;
use crate::actor::{ActorId, Exit, Mailbox};
use crate::base::atomic::{AtomicU32, MODELLED, Ordering};
use crate::base::spin::{Locked, SpinLock};
use crate::park::current::WorkerContext;
use crate::sched::roster::OwnedList;
use crate::sched::switched::Begins;
use crate::sched::{Shared, remote};
use crate::stack::StackSize;
use crate::task::header::Next;
use crate::task::state::CancelFound;
use crate::task::{Header, Task};

/// In the place of a slot's number: the actor has left it, and its last run is over.
const OVER: u32 = u32::MAX;
/// The same, and [nobody else has it](Core::is_forgotten).
const FORGOTTEN: u32 = OVER - 1;

/// Beyond so many addresses the process ends: as many threads may be about to find that out before the count overflows.
const MOST_ADDRESSES: u32 = u32::MAX / 2;

/// An actor without its type.
#[repr(C)]
pub(crate) struct Core {
    pub(crate) header: Header,
    pub(crate) mailbox: SpinLock<MailboxState>,
    pub(crate) addrs: AtomicU32,
    /// The actor's slot among the [`residents`](super::residents); later `OVER` or `FORGOTTEN`, by its own last run.
    pub(super) slot: AtomicU32,
    pub(crate) edge: Edge<Core>,
    frame: cell::Cell<*const Frame>,
}

// SAFETY: the header is; the mailbox is under its lock; the counts and the edge are atomic; `frame` is the run's own (4).
unsafe impl Send for Core {}
// SAFETY: as above.
unsafe impl Sync for Core {}

// What an idle actor takes beside its state and its slot: whatever the state, no more than 248 bytes of an allocator that rounds as glibc's does.
const _: () = assert!(MODELLED || size_of::<Core>() <= 232);

/// How an actor is made.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) name: Option<Box<str>>,
    pub(crate) size: StackSize,
    pub(crate) mailbox: Mailbox,
    pub(crate) begins: Begins,
    pub(crate) started_at: &'static Location<'static>,
}

/// The end of the protocol in [`mailbox_state`](super::mailbox_state): steps R1 to R5. `warden` gives that of a kept actor, which is
/// asked for when its state has ended only.
///
/// # Safety
///
/// As of [`VTable::after_run`](crate::task::header::VTable), of a header that begins a `Core`.
#[inline(always)]
pub(crate) unsafe fn after_run<const KEPT: bool>(
    header: NonNull<Header>,
    warden: impl FnOnce() -> Option<Arc<dyn Warden>>,
) -> Next {
    // SAFETY: invariants 1 and 7.
    let core = unsafe { header.cast::<Core>().as_ref() };
    // SAFETY: the caller is the home worker's loop, and has taken the fiber out.
    unsafe { core.header.reset() };
    // ORDERING: Relaxed: if it is one of these, the run that is over has written it, which has handed over to the caller.
    let slot = core.slot.load(Ordering::Relaxed);
    if slot >= FORGOTTEN {
        // Who was forgotten still is: nobody was there to make an address of. SAFETY: the last run is over, and has the common reference.
        if slot == OVER && !core.is_forgotten() && unsafe { leave_to_addresses(header.cast()) } {
            return Next::Rests;
        }
        // SAFETY: the run is over, and this is the only call.
        let _ = unsafe { Header::complete(header, false, || {}) };
        return Next::Over;
    }
    let mut mailbox = core.mailbox.lock();
    let more = mailbox.rest(core.is_addressed());
    if core.header.state.is_cancelled() {
        core.header.state.rearm();
    }
    if KEPT && more && mailbox.stage() == Stage::Leaves {
        return core.vacate(mailbox, warden);
    }
    if more { Next::Again } else { Next::Rests }
}

/// The last run is over. True: there are addresses, and the common reference is theirs; the caller touches the actor no more. No reference is passed to this:
/// the block may be gone before it returns.
///
/// # Safety
///
/// The caller has the common reference.
#[cold]
unsafe fn leave_to_addresses(core: NonNull<Core>) -> bool {
    // SAFETY: as the caller promises; not used when the lock is free again.
    let core = unsafe { core.as_ref() };
    let mut mailbox = core.mailbox.lock(); // SWAP: over-locked
    let is_left = core.is_addressed(); // SWAP: over-locked
    mailbox.is_over();
    drop(mailbox);
    is_left
}

/// That of an actor without a warden.
///
/// # Safety
///
/// As of [`after_run`].
pub(crate) unsafe fn after_plain_run(header: NonNull<Header>) -> Next {
    // SAFETY: as the caller promises.
    unsafe { after_run::<false>(header, || None) }
}

impl Core {
    /// Of a new actor, with one address.
    ///
    /// # Safety
    ///
    /// `place` is free memory for it.
    #[inline(always)]
    pub(crate) unsafe fn write(place: *mut Self, header: Header, mailbox: MailboxState, slot: u32) {
        // SAFETY: as the caller promises.
        unsafe {
            (&raw mut (*place).header).write(header);
            (&raw mut (*place).mailbox).write(SpinLock::new(mailbox));
            (&raw mut (*place).addrs).write(AtomicU32::new(1));
            (&raw mut (*place).slot).write(AtomicU32::new(slot));
            (&raw mut (*place).edge).write(Edge::new());
            (&raw mut (*place).frame).write(cell::Cell::new(ptr::null()));
        }
    }

    /// For the actor's own run, when it has left its slot: is there nobody else that has it, and nothing that others have left?
    pub(super) fn is_forgotten(&self) -> bool {
        // SAFETY: there are neither addresses nor other references, and nobody gets one from the slot (`sched/roster.rs`). What a walker reads is
        // not the mailbox (invariant 6).
        is_alone(&self.addrs, &self.header.state, &self.mailbox) && unsafe { self.mailbox.unshared() }.is_plain()
    }

    /// Of a run of an actor without an address: what it needs to [`lock_for`](Self::lock_for) without an exchange.
    #[inline]
    pub(crate) fn alone_here(&self) -> Option<OwnedList> {
        OwnedList::here(self.header.runtime)
    }

    /// Locks the mailbox, for the actor's own run; with `alone`, when probably nobody else has it.
    #[inline(always)]
    pub(crate) fn lock_for(&self, alone: Option<OwnedList>) -> Locked<'_, MailboxState> {
        lock_for(&self.addrs, &self.header.state, &self.mailbox, alone)
    }

    /// Was its last run that which is on?
    pub(crate) fn runs_last(&self) -> bool {
        // ORDERING: Relaxed: for the run itself, which would have written it.
        self.slot.load(Ordering::Relaxed) >= FORGOTTEN
    }

    /// The actor is dead, and this is the end of its last run. `forgotten`: by [`is_forgotten`](Self::is_forgotten).
    pub(super) fn is_over(&self, forgotten: bool) {
        // ORDERING: Relaxed: for the end of this run; nobody else touches it.
        self.slot.store(if forgotten { FORGOTTEN } else { OVER }, Ordering::Relaxed);
    }

    /// The run that begins has this frame; null: none. Gives the one before. `frame` stays until another is set (invariant 4).
    #[inline]
    pub(crate) fn set_frame(&self, frame: *const Frame) -> *const Frame {
        self.frame.replace(frame)
    }

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
    pub(crate) fn whole(&self) -> NonNull<Core> {
        let whole = ptr::with_exposed_provenance_mut(ptr::from_ref(self).addr());
        NonNull::new(whole).expect("the address of a reference")
    }

    pub(crate) fn id(&self) -> ActorId {
        ActorId(self.header.id)
    }

    /// As a member of a cycle: its number, and its name if it has one.
    pub(crate) fn member(&self) -> (ActorId, Option<Box<str>>) {
        (self.id(), self.header.name().map(Box::from))
    }

    /// Has anybody an address?
    #[inline]
    pub(crate) fn is_addressed(&self) -> bool {
        // ORDERING: Relaxed: asked under the lock of the mailbox, through which the last holder's messages came before its count went.
        self.addrs.load(Ordering::Relaxed) != 0
    }

    /// One more address, by one that is held, or under the lock of the mailbox.
    #[inline]
    fn count_address(&self) {
        // ORDERING: Relaxed: there is an address already, or the lock keeps the last from going.
        if self.addrs.fetch_add(1, Ordering::Relaxed) > MOST_ADDRESSES {
            crate::base::abort::fatal(format_args!("more than 2^31 addresses of one actor"));
        }
    }

    /// The runtime. Not to be dropped under the lock of the mailbox: the last to hold it ends what it has left.
    pub(super) fn shared(&self) -> Option<Arc<Shared>> {
        // SAFETY: invariant 5; it is not given up here.
        let runtime = ManuallyDrop::new(unsafe { sync::Weak::from_raw(self.header.runtime.cast::<Shared>()) });
        runtime.upgrade()
    }

    /// The actor waits for another, by its edge: has it look whether that still may be.
    #[cold]
    pub(super) fn interrupt(&self) {
        remote::interrupt(self.weak().task(), CancelFound::Started { home: self.header.state.home() });
    }

    /// A strong address, for the actor itself during a run, when there may be no other.
    pub(crate) fn strong(&self) -> Strong {
        let _locked = self.mailbox.lock();
        // The common reference is the run's.
        self.count_address();
        Strong::from_raw(self.whole())
    }

    /// Calls a hook or handler; a panic, or the unwinding by which a kill ends it, is the reason to end.
    #[inline]
    pub(crate) fn guarded<R>(&self, f: impl FnOnce() -> R) -> Result<R, Box<Exit>> {
        catch_unwind(AssertUnwindSafe(f)).map_err(|payload| self.exit_of(payload))
    }

    #[cold]
    pub(crate) fn exit_of(&self, payload: Box<dyn Any + Send>) -> Box<Exit> {
        let exit = match payload.downcast_ref::<InnerExit>() {
            Some(InnerExit(exit)) => exit.clone(),
            None => Exit::of_payload(&*payload).unwrap_or_else(|| self.not_started()),
        };
        // A payload whose destructor panics would end the process.
        contained(|| drop(payload));
        Box::new(exit)
    }

    /// Cancelled: by a kill, or because the runtime ends.
    pub(crate) fn not_started(&self) -> Exit {
        if self.mailbox.lock().is_killed() { Exit::Killed } else { Exit::Shutdown }
    }

    /// Why a message was refused: the actor's end, or that it was told to end.
    pub(crate) fn why_closed(&self) -> Exit {
        let mut mailbox = self.mailbox.lock();
        mailbox.ending().or_else(|| mailbox.has_extras()?.end.clone()).unwrap_or(Exit::Shutdown)
    }

    /// Why it ends, if it has a reason to.
    pub(crate) fn ending(&self) -> Option<Exit> {
        self.mailbox.lock().ending()
    }

    /// Refuses a box. Without the lock of the mailbox.
    pub(super) fn refuse_box(&self, envelope: Envelope, why: Refusal) {
        let (exit, lose) = (&|| self.why_closed(), &|message, is_note| self.lose(message, is_note));
        let refused = Refused { why, by: self.id(), is_counted: envelope.as_ref().is_counted(), exit, lose };
        envelope.refuse_box(&refused);
    }

    /// A message that nobody is told of is dropped; a note is one to itself. Without the lock of the mailbox.
    fn lose(&self, message: &'static str, is_note: bool) {
        lost(self.id(), message);
        if !is_note && self.shared().is_none_or(|shared| shared.is_stopping()) {
            lost_at_end(self.mailbox.lock().runtime());
        }
    }

    /// The task for the actor's entry in a queue.
    #[inline]
    pub(super) fn entry(&self, _: Launch) -> Task {
        // SAFETY: invariant 2: the thread that has made the mailbox busy has the life's reference.
        unsafe { Task::from_raw(self.whole().cast()) }
    }

    pub(crate) fn weak(&self) -> Weak {
        self.header.state.add_ref();
        // SAFETY: the reference was just counted.
        unsafe { Weak::new(Task::from_raw(self.whole().cast())) }
    }
}

/// The payload that ends a handler because one that ran inside it has ended.
pub(crate) struct InnerExit(pub(crate) Exit);

impl<P> waiting::WaitingSender<P> {
    /// Its envelope has left the line. Under the lock of the mailbox: an edge must not stand for longer than its wait. The sender is told
    /// when the lock is free.
    pub(super) fn let_go(self) -> Arc<waiting::CapacityWaiter<P>> {
        if let Some(actor) = &self.actor {
            actor.core().edge.clear();
        }
        self.waiter.owed().end();
        self.waiter
    }
}

/// An envelope was taken out of this mailbox, and `sender` has got the place. What is left of the lock.
#[inline]
pub(crate) fn hold(mailbox: Locked<'_, MailboxState>, sender: Option<WaitingSender<Envelope>>) -> Held<'_> {
    let waiter = sender.map(WaitingSender::let_go);
    Held { lock: mailbox.done(), waiter }
}

/// Takes an envelope out of one of the lists of its mailbox that senders put envelopes in. Another sender may have room now.
///
/// # Safety
///
/// The node is linked, in a list of this mailbox; `chain` is the one that it was sent with.
#[cold]
pub(super) unsafe fn unlink(
    mailbox: &mut MailboxState,
    node: NonNull<Node>,
    chain: u64,
) -> (Envelope, Option<WaitingSender<Envelope>>) {
    let is_admitted = chain != 0 && mailbox.admitted().is_some_and(|admitted| admitted.contains(node));
    if let Some(admitted) = mailbox.admitted().filter(|_| is_admitted) {
        // SAFETY: it was just found there.
        return (unsafe { admitted.remove(node) }, None);
    }
    // SAFETY: as the caller promises: there is no other list.
    let envelope = unsafe { mailbox.queue.remove(node) };
    (envelope, mailbox.taken_out())
}

/// What a handler has of its run.
pub(crate) struct RunState {
    core: NonNull<Core>,
    frame: NonNull<Frame>,
    /// Why the actor has to end after the handler that runs.
    pub(crate) end: Option<Box<Exit>>,
}

impl RunState {
    /// # Safety
    ///
    /// Both outlive the result. The caller is the actor's run.
    pub(crate) unsafe fn new(core: &Core, frame: &Frame) -> Self {
        Self { core: NonNull::from(core), frame: NonNull::from(frame), end: None }
    }

    /// Another frame, for a nested handler, or the outer one again. Gives the one before.
    pub(crate) fn set_frame(&mut self, frame: NonNull<Frame>) -> NonNull<Frame> {
        std::mem::replace(&mut self.frame, frame)
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

impl Strong {
    /// Takes over one count of `addrs`.
    pub(crate) fn from_raw(core: NonNull<Core>) -> Self {
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
        self.core().count_address();
        Self(self.0)
    }
}

impl Drop for Strong {
    #[inline]
    fn drop(&mut self) {
        let addrs = &self.core().addrs;
        let mut count = addrs.load(Ordering::Relaxed);
        loop {
            if count == 1 {
                match self.drop_last() {
                    Ok(()) => return,
                    Err(now) => count = now,
                }
            }
            // ORDERING(argued): Release pairs with the Acquire in `drop_last`: what all holders did with the block comes before the last is
            // gone. Loom does not see memory that is freed.
            match addrs.compare_exchange_weak(count, count - 1, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => count = now,
            }
        }
    }
}

impl Strong {
    /// The last address goes: an actor that rests has nothing queued, and ends. `Err`: it is not the last; how many there are.
    #[inline(never)]
    fn drop_last(&self) -> Result<(), u32> {
        let core = self.core();
        let mut mailbox = core.mailbox.lock();
        // ORDERING(argued): Acquire pairs with the Release in `drop`: see there.
        let count = core.addrs.load(Ordering::Acquire);
        if count != 1 {
            return Err(count);
        }
        // Nobody else has one to make another of, and without one that takes the lock.
        // ORDERING: Release pairs with the Acquire in `is_alone`, which then finds the lock taken, or sees that it has been let go.
        core.addrs.store(0, Ordering::Release); // SWAP: last-address
        let is_over = mailbox.is_left();
        let launch = if mailbox.is_dead() || core.is_the_parents() { None } else { mailbox.mark_busy() };
        drop(mailbox); // SWAP: last-address
        // Now the block may be gone, unless one of these says that its reference is the caller's.
        if let Some(duty) = launch {
            Core::queue(core.entry(duty));
        }
        if is_over {
            // SAFETY: invariant 2: the last run is over, so the reference is this address's.
            drop(unsafe { Task::from_raw(self.0.cast()) });
        }
        Ok(())
    }
}

impl Weak {
    pub(crate) fn core(&self) -> &Core {
        // SAFETY: a `Weak` is made of a `Core`'s own reference (invariants 1 and 2).
        unsafe { self.task().as_ptr().cast::<Core>().as_ref() }
    }

    /// `None`: all strong addresses are gone.
    pub(crate) fn upgrade(&self) -> Option<Strong> {
        let core = self.core();
        let _locked = core.mailbox.lock();
        // ORDERING: Relaxed: it becomes zero under the lock, and nothing else is handed over.
        if core.addrs.load(Ordering::Relaxed) == 0 {
            return None;
        }
        core.count_address();
        Some(Strong(self.task().as_ptr().cast()))
    }
}

/// The threads that walk now: no actor is freed meanwhile.
pub(crate) static WALKERS: Walkers = Walkers(AtomicU32::new(0));

/// A walk along the edges; what it reads is alive as long as it lasts (`edge`, V1 to V3).
pub(super) struct EdgeWalk {
    _counted: Walking<'static>,
}

impl EdgeWalk {
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

impl Core {
    /// What the actor waits for, if it does, and for which: for a report.
    pub(crate) fn waits_for(&self) -> Option<(&'static str, Option<ActorId>)> {
        let what = self.header.waits_for()?;
        let walk = EdgeWalk::begin();
        Some((what, walk.follow(self).map(|(other, _)| other.id())))
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id())?;
        self.header.name().map_or(Ok(()), |name| write!(f, " {name:?}"))
    }
}
