//! Slots: one for each descriptor that a thread has waited for, with its readiness and its waiters.
//!
//! An event names its slot by a token: index and generation. Slots are never freed, only used again, so the token of an
//! event that comes late leads to a slot all the same, and the generation tells that it is not meant.
//!
//! # The protocol
//!
//! ```text
//!  a thread that wants to read                         the worker that polls
//!  R1  seen := word                                    P1  gets an event (index, generation, flags)
//!  R2  flag set? system call; got enough: done         P2  word: flags set, tick + 1, if the generation is right
//!  R3  word: flag cleared, if the tick is seen's       P3  takes the lock; takes its waiters out; lets it go
//!  R4  parks; under the lock: flag set? then R1        P4  ends their waits, schedules them
//!  R5  leaves its ticket, waits; then R1
//! ```
//!
//! **No wake-up is lost.** Either P3 comes after R5, and finds the ticket; or R4 comes after P3, and so after P2, and
//! sees the flag. R3 cannot undo P2: see [`readiness`](crate::driver::readiness). **A spurious event** makes a thread go
//! from R1 to R5 once more.
//!
//! Several threads may wait in one direction; an event wakes them all, and those that get nothing wait again.
//!
//! # Which poller
//!
//! A descriptor is registered by the thread that first has to wait, with the poller of its worker. Threads of other
//! workers wait in the same slot and are woken across. When the same happens [`PATIENCE`] times in a row without a wait of
//! the home worker, the next of them moves the registration to its own worker: a connection that was made on one worker
//! and is served on another becomes local. It moves at once with a thread that has moved: one that has waited here as a thread of the home worker, and
//! waits as one of another. A registration tells at once what is ready already, so moving loses nothing.
//! A worker that ends gives its registrations up ([`abandon`]); a thread that waits elsewhere is woken, and registers anew.

use std::io;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::Arc;
use std::task::Waker;

use mio::unix::SourceFd;
use mio::{Interest, Token};

use crate::base::atomic::{AtomicPtr, AtomicUsize, Ordering};
use crate::base::lock::Lock;
use crate::driver::handle::PollerHandle;
use crate::driver::readiness::{Direction, Generation, Readiness, Ready, Seen};
use crate::sys::fork::PerProcess;
use crate::task::Ticket;
use crate::task::header::Wake;
use crate::task::wait::End;
use crate::task::waker;

/// Waits in a row of threads of other workers after which a registration moves.
const PATIENCE: u8 = 4;
/// Slots that are made at a time, and how often.
const CHUNK: usize = 256;
const CHUNKS: usize = if usize::BITS == 64 { 1 << 16 } else { 1 << 12 };
const INDEX_BITS: u32 = if usize::BITS == 64 { 32 } else { 20 };
/// The token that belongs to no slot: a worker's own waker.
pub(crate) const WAKER: Token = Token(usize::MAX);

/// Each is null, or of a box that is never freed. Pointers only, and null ones: so the table is in no file, and in memory where it is used.
static TABLE: [AtomicPtr<[SourceSlot; CHUNK]>; CHUNKS] = [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS];
static FREE: PerProcess<Lock<Free>> = PerProcess::new(|| Lock::new(Free::after_parents()));
/// Chunks that this process and its parents have made, or begun to make.
static BEGUN: AtomicUsize = AtomicUsize::new(0);

/// The chunks of this process, which stand side by side, and the slots in them that nobody has. The chunks before them are its parents': a thread that is not here may have
/// the lock of any slot there.
struct Free {
    first: usize,
    /// The end of them.
    made: usize,
    free: Vec<u32>,
}

impl Free {
    fn after_parents() -> Self {
        // ORDERING: Relaxed: the thread that has forked finds what all threads of the parent had stored by then.
        let first = BEGUN.load(Ordering::Relaxed);
        Self { first, made: first, free: Vec::new() }
    }

    /// The next chunk: one that a parent had neither made nor begun, as it says so before it begins. `None`: there is room for no more.
    fn grow(&mut self) -> Option<()> {
        let chunk = self.made;
        let place = TABLE.get(chunk)?;
        // ORDERING(argued): AcqRel: a fork finds it stored if it finds `place` touched. The models have no fork.
        BEGUN.swap(chunk + 1, Ordering::AcqRel);
        let slots: Box<[SourceSlot]> =
            (chunk * CHUNK..(chunk + 1) * CHUNK).map(|index| SourceSlot::new(index as u32)).collect();
        // ORDERING(argued): Release pairs with the Acquire in `slots`: who sees the chunk sees it whole. The caller has the lock of `FREE`, and no other process comes to this index.
        place.store(Box::into_raw(slots).cast(), Ordering::Release);
        self.made += 1;
        self.free.extend((chunk * CHUNK..(chunk + 1) * CHUNK).rev().map(|index| index as u32));
        Some(())
    }
}

/// The slots of this process.
fn own() -> impl Iterator<Item = &'static SourceSlot> {
    let (first, made) = {
        let free = FREE.get().lock();
        (free.first, free.made)
    };
    (first..made).filter_map(slots).flatten()
}

/// The slots of a chunk, if it is made.
fn slots(chunk: usize) -> Option<&'static [SourceSlot; CHUNK]> {
    // ORDERING(argued): Acquire pairs with the Release in `grow`.
    let found = TABLE.get(chunk)?.load(Ordering::Acquire);
    // SAFETY: null, or of a box that is never freed, with so many slots.
    unsafe { found.as_ref() }
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct SourceSlot {
    readiness: Readiness,
    index: u32,
    inner: Lock<Waiting>,
}

#[derive(Default)]
struct Waiting {
    home: Option<(Arc<PollerHandle>, RawFd)>,
    /// What home tells of, by direction.
    told: [bool; 2],
    /// Waits in a row of threads of other workers than home's.
    strangers: u8,
    /// Of home's worker, the thread that has waited last, by direction: the address of its header, for comparing only. 0: none, at this home.
    at_home: [usize; 2],
    /// The first that waits in each direction, and the others.
    first: [Option<Ticket>; 2],
    more: Vec<(Direction, Ticket)>,
    /// Async code that waits, by direction.
    wakers: [Option<Waker>; 2],
}

/// What became of a thread that wants to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum Enqueued {
    /// Its ticket stands in the slot.
    Waits,
    /// It is ready meanwhile: try again.
    Ready,
    /// Register the descriptor here first.
    Unregistered,
}

/// The waiters that have been taken out of a slot. Schedule them after the lock is gone.
///
/// A waker of a thread in `block_on` is green's own. All others are user code, which may wait, panic, or drop the last handle
/// of something: they are for a thread's stack.
#[derive(Default, Debug)]
#[must_use]
pub(crate) struct EventWakes {
    first: [Option<Wake>; 2],
    more: Vec<Wake>,
    wakers: [Option<Waker>; 2],
}

impl EventWakes {
    /// Schedules the threads, and those in `block_on`; gives the wakers of other async code to `foreign`.
    pub(crate) fn schedule(self, mut foreign: impl FnMut(Waker)) {
        self.first.into_iter().flatten().chain(self.more).for_each(Wake::schedule);
        for waker in self.wakers.into_iter().flatten() {
            if waker::is_own(&waker) { waker.wake() } else { foreign(waker) }
        }
    }
}

/// Wakes foreign async code, on the stack of a thread. A panic of its `wake` has nowhere to go: the panic hook has reported it.
pub(crate) fn call(waker: Waker) {
    let _ = catch_unwind(AssertUnwindSafe(|| waker.wake())).map_err(std::mem::forget);
}

/// A slot for a descriptor of which nothing is known.
///
/// # Errors
///
/// There are as many sources as can be told apart.
pub(crate) fn acquire() -> io::Result<&'static SourceSlot> {
    let mut free = FREE.get().lock();
    if free.free.is_empty() && free.grow().is_none() {
        return Err(io::Error::other(format!("more than {} sources of events in one process", CHUNK * CHUNKS)));
    }
    let index = free.free.pop().expect("a chunk was just added");
    drop(free);
    Ok(get(index as usize).expect("it was made"))
}

fn get(index: usize) -> Option<&'static SourceSlot> {
    slots(index / CHUNK)?.get(index % CHUNK)
}

fn token(index: u32, generation: Generation) -> Token {
    Token(index as usize | generation.0 << INDEX_BITS)
}

/// The poller of some worker has got an event.
pub(crate) fn event(token: Token, ready: Ready) -> Option<EventWakes> {
    let slot = get(token.0 & ((1 << INDEX_BITS) - 1))?;
    slot.readiness.event(Generation(token.0 >> INDEX_BITS), ready).then(|| slot.inner.lock().take(ready))
}

/// The worker of `home` ends: takes its registrations back, and wakes the threads that wait there. Called when its OS thread runs no
/// loop any more, so foreign wakers may do what they like.
pub(crate) fn abandon(home: &Arc<PollerHandle>) {
    home.close();
    for slot in own() {
        let mut inner = slot.inner.lock();
        if inner.home.as_ref().is_some_and(|(at, _)| Arc::ptr_eq(at, home)) {
            inner.leave_home();
            let _ = slot.readiness.renew();
            let wakes = inner.take_all();
            drop(inner);
            wakes.schedule(call);
        }
    }
}

/// Does async code wait, which any thread may wait for?
pub(crate) fn has_wakers() -> bool {
    own().any(|slot| slot.inner.lock().wakers.iter().any(Option::is_some))
}

impl SourceSlot {
    fn new(index: u32) -> Self {
        Self { readiness: Readiness::new(), index, inner: Lock::new(Waiting::default()) }
    }

    /// Step R1.
    #[inline]
    pub(crate) fn seen(&self) -> Seen {
        self.readiness.load()
    }

    /// Step R3.
    #[inline]
    pub(crate) fn clear(&self, direction: Direction, seen: Seen) {
        self.readiness.clear(direction, seen);
    }

    /// Steps R4 and R5, for a thread of the worker of `here`.
    pub(crate) fn enqueue(&self, here: &Arc<PollerHandle>, direction: Direction, ticket: Ticket) -> Enqueued {
        let mut inner = self.inner.lock();
        if !inner.lives_at(here, direction, address(ticket)) {
            return Enqueued::Unregistered;
        }
        let ready = self.readiness.load().may_try(direction);
        if ready {
            return Enqueued::Ready;
        }
        inner.put(direction, ticket);
        Enqueued::Waits
    }

    /// The same, of a thread that has been in [`arm`](Self::arm) before `seen`, and has used the descriptor since.
    #[cfg_attr(not(green_thread_locals), allow(dead_code, reason = "other people's calls are not ours here"))]
    pub(crate) fn enqueue_again(
        &self,
        here: &Arc<PollerHandle>,
        direction: Direction,
        seen: Seen,
        ticket: Ticket,
    ) -> Enqueued {
        let mut inner = self.inner.lock();
        let is_told = inner.told[direction as usize] && self.readiness.is_registration_of(seen);
        if !inner.lives_at(here, direction, address(ticket)) || !is_told {
            return Enqueued::Unregistered;
        }
        if self.readiness.load().may_try(direction) {
            return Enqueued::Ready;
        }
        inner.put(direction, ticket);
        Enqueued::Waits
    }

    /// Step R5 where nobody knows whether the registration is that of `fd`: the number may have been closed, and used again, without
    /// this crate's knowledge. The kernel knows, as it finds a registration by the open file and the number: it is asked to
    /// look anew, tells at once of what is there, and if the registration is not `fd`'s there is a new one.
    ///
    /// # Errors
    ///
    /// Those of [`register`](Self::register); `AlreadyExists`: the descriptor is in another slot. The ticket is not here, then.
    #[cfg_attr(not(green_thread_locals), allow(dead_code, reason = "other people's calls are not ours here"))]
    pub(crate) fn arm(
        &self,
        here: &Arc<PollerHandle>,
        fd: RawFd,
        direction: Direction,
        ticket: Ticket,
    ) -> io::Result<()> {
        let mut inner = self.inner.lock();
        inner.put(direction, ticket);
        let stays = inner.lives_at(here, direction, address(ticket));
        let Err(error) = self.look_anew(&mut inner, here, fd, stays) else {
            if inner.home.as_ref().is_some_and(|(home, _)| Arc::ptr_eq(home, here)) {
                inner.at_home[direction as usize] = address(ticket); // Of a new registration, too.
            }
            return Ok(());
        };
        inner.take_back(direction, ticket);
        // As in `register`.
        let wakes = inner.take_all();
        drop(inner);
        wakes.schedule(call);
        Err(error)
    }

    #[cfg_attr(not(green_thread_locals), allow(dead_code, reason = "other people's calls are not ours here"))]
    fn look_anew(&self, inner: &mut Waiting, here: &Arc<PollerHandle>, fd: RawFd, stays: bool) -> io::Result<()> {
        let told = [Direction::Read, Direction::Write].map(|direction| inner.has(direction));
        let interest = interest(if told == [true, true] { None } else { Some(direction_of(told)) }, false);
        inner.told = told;
        if stays && let Some((home, _)) = &inner.home {
            let token = token(self.index, self.readiness.generation());
            match home.registry.reregister(&mut SourceFd(&fd), token, interest) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => inner.home = None,
                done => return done,
            }
        }
        inner.leave_home();
        let token = token(self.index, self.readiness.renew());
        here.registry.register(&mut SourceFd(&fd), token, interest)?;
        inner.home = Some((Arc::clone(here), fd));
        Ok(())
    }

    /// A thread that something else has woken takes its ticket back.
    pub(crate) fn withdraw(&self, direction: Direction, ticket: Ticket) {
        self.inner.lock().take_back(direction, ticket);
    }

    /// As [`enqueue`](Self::enqueue), for async code: its waker stays until the next event. The waker's own code, `clone` and
    /// `drop`, runs outside the lock: it may wait.
    #[cfg(any(test, feature = "hyper", feature = "futures-io"))]
    pub(crate) fn enqueue_waker(&self, here: &Arc<PollerHandle>, direction: Direction, waker: &Waker) -> Enqueued {
        loop {
            let mut clone = (!self.has_waker(direction, waker)).then(|| waker.clone());
            let mut inner = self.inner.lock();
            if !inner.lives_at(here, direction, 0) {
                return Enqueued::Unregistered;
            }
            if self.readiness.load().may_try(direction) {
                return Enqueued::Ready;
            }
            let place = &mut inner.wakers[direction as usize];
            if place.as_ref().is_some_and(|old| old.will_wake(waker)) {
                return Enqueued::Waits;
            }
            if clone.is_some() {
                std::mem::swap(place, &mut clone);
                return Enqueued::Waits;
            }
            // It has been taken out since the first look.
        }
    }

    #[cfg(any(test, feature = "hyper", feature = "futures-io"))]
    fn has_waker(&self, direction: Direction, waker: &Waker) -> bool {
        self.inner.lock().wakers[direction as usize].as_ref().is_some_and(|old| old.will_wake(waker))
    }

    /// Registers the descriptor with the poller of `here`, which is the caller's worker; takes it away from another one.
    ///
    /// `urgent`: out-of-band data can come, and are to be told of.
    ///
    /// # Errors
    ///
    /// Those of `epoll_ctl` (or `kevent`): the descriptor is none, or one that cannot be waited for; a limit.
    pub(crate) fn register(&self, here: &Arc<PollerHandle>, fd: RawFd, urgent: bool) -> io::Result<()> {
        let mut inner = self.inner.lock();
        inner.leave_home();
        let token = token(self.index, self.readiness.renew());
        let registered = here.registry.register(&mut SourceFd(&fd), token, interest(None, urgent));
        if registered.is_ok() {
            inner.home = Some((Arc::clone(here), fd));
            inner.told = [true; 2];
            return Ok(());
        }
        // The threads here wait for a registration that is gone: they shall see the error for themselves.
        let wakes = inner.take_all();
        drop(inner);
        wakes.schedule(call);
        registered
    }

    /// Gives the slot back, before the descriptor is closed. Nobody waits in it.
    pub(crate) fn release(&self) {
        let mut inner = self.inner.lock();
        inner.leave_home();
        debug_assert!(inner.first == [None, None] && inner.more.is_empty(), "a source was dropped while threads wait");
        inner.strangers = 0;
        let wakers = std::mem::take(&mut inner.wakers);
        self.readiness.reset();
        drop(inner);
        FREE.get().lock().free.push(self.index);
        drop(wakers);
    }
}

/// The one direction of which it is true.
#[cfg_attr(not(green_thread_locals), allow(dead_code, reason = "other people's calls are not ours here"))]
fn direction_of(told: [bool; 2]) -> Direction {
    if told[Direction::Read as usize] { Direction::Read } else { Direction::Write }
}

/// In one direction, or both.
pub(super) fn interest(direction: Option<Direction>, urgent: bool) -> Interest {
    let interest = match direction {
        Some(Direction::Read) => Interest::READABLE,
        Some(Direction::Write) => Interest::WRITABLE,
        None => Interest::READABLE | Interest::WRITABLE,
    };
    #[cfg(target_os = "linux")]
    if urgent {
        return interest | Interest::PRIORITY;
    }
    let _ = urgent;
    interest
}

impl Waiting {
    fn put(&mut self, direction: Direction, ticket: Ticket) {
        let first = &mut self.first[direction as usize];
        match first {
            None => *first = Some(ticket),
            Some(_) => self.more.push((direction, ticket)),
        }
    }

    fn take_back(&mut self, direction: Direction, ticket: Ticket) {
        let first = &mut self.first[direction as usize];
        if *first == Some(ticket) {
            *first = None;
        } else {
            self.more.retain(|(_, other)| *other != ticket);
        }
    }

    /// Does a thread wait in this direction?
    #[cfg_attr(not(green_thread_locals), allow(dead_code, reason = "other people's calls are not ours here"))]
    fn has(&self, direction: Direction) -> bool {
        self.first[direction as usize].is_some() || self.more.iter().any(|(other, _)| *other == direction)
    }

    /// May `thread` (0: async code), which runs on the worker of `here`, wait for events of the present registration?
    fn lives_at(&mut self, here: &Arc<PollerHandle>, direction: Direction, thread: usize) -> bool {
        let at_home = &mut self.at_home[direction as usize];
        match &self.home {
            None => false,
            Some((home, _)) if Arc::ptr_eq(home, here) => {
                self.strangers = 0;
                *at_home = thread;
                true
            }
            Some((home, _)) => {
                self.strangers = self.strangers.saturating_add(1);
                let has_moved = thread != 0 && *at_home == thread;
                self.strangers <= PATIENCE && !has_moved && !home.is_closed()
            }
        }
    }

    fn leave_home(&mut self) {
        self.strangers = 0;
        self.at_home = [0; 2];
        if let Some((home, fd)) = self.home.take()
            && !home.is_closed()
        {
            // It fails when the descriptor was closed behind our back, and then the kernel has forgotten it already.
            let _ = home.registry.deregister(&mut SourceFd(&fd));
        }
    }

    /// Takes out the waiters that `ready` concerns, and ends their waits.
    fn take(&mut self, ready: Ready) -> EventWakes {
        let mut wakes = EventWakes::default();
        for direction in [Direction::Read, Direction::Write].into_iter().filter(|at| ready.concerns(*at)) {
            wakes.first[direction as usize] = self.first[direction as usize].take().and_then(end);
            wakes.wakers[direction as usize] = self.wakers[direction as usize].take();
        }
        if !self.more.is_empty() {
            let all = std::mem::take(&mut self.more);
            let (concerned, others) = all.into_iter().partition(|(direction, _)| ready.concerns(*direction));
            self.more = others;
            let concerned: Vec<(Direction, Ticket)> = concerned;
            wakes.more = concerned.into_iter().filter_map(|(_, ticket)| end(ticket)).collect();
        }
        wakes
    }

    fn take_all(&mut self) -> EventWakes {
        self.take(Ready { read: true, write: true, ..Ready::default() })
    }
}

/// Tells threads apart, while they live.
fn address(ticket: Ticket) -> usize {
    ticket.thread.addr().get()
}

/// Ends the wait of a ticket that was in a slot whose lock the caller holds.
fn end(ticket: Ticket) -> Option<Wake> {
    // SAFETY: a thread that left its ticket in a slot takes the slot's lock before it leaves its wait, unless it was
    // woken through that ticket; the lock is held, and the ticket was in the slot: so the thread's header is alive.
    unsafe { ticket.end(End::Notified) }
}
