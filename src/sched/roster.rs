//! The re-armable tasks of a runtime, which are its actors, that have not ended: so that they can be listed, and ended with it.
//!
//! A task has a slot from its making to its last run: one pointer. Slots lie in chunks, each twice as large as the one before, which stay.
//! Numbers of free slots are in a common list; a worker keeps some at hand ([`SlotStock`]) as long as it is there. So a task enters by one store,
//! wherever it is made, and leaves by another, wherever it ends.
//!
//! A roster is never freed: it goes with a [remote](super::remote), and serves one runtime after another. A task that outlives its runtime has its slot
//! there until it ends, and leaves it by the same steps, without the runtime, which may be about to end just then.
//!
//! # Protocol
//!
//! ```text
//!  a task that leaves, in its last run            one that lists them
//!  D1  locks: on a worker, as the owner, the      L1  locks what outsiders lock, and what each worker owns
//!      lock of the worker's list of threads;      L2  reads some slots; counts a reference to each task
//!      elsewhere what outsiders lock              L3  lets go; goes on with the next slots
//!  D2  slot := null; lets go
//! ```
//!
//! **What is listed is alive.** If L2 finds a task, its D2 comes after L3, and until then it has the reference of its run. A task has the same slot all
//! the time, so one that stays is met once.
//!
//! **After D2 nobody gets a reference from here.** Who has found the task earlier has counted a reference before L3, and L3 comes before
//! D2. So a task that finds itself [the sole holder](crate::task::state::State::is_sole) after D2 is alone.
//!
//! When the workers of a runtime are gone, one takes all out: by L1 to L3, where all are outsiders. The slots are empty then, and the tasks' own until they leave. So
//! the next runtime meets none of them. Without workers there is nobody who could put one more in.
//!
//! The lock that a worker owns costs it no exchange ([`biased`](super::biased)). Where the system has no membarrier(2), or threads
//! move, so that another may stand in for the worker, all are outsiders. Where it has one and refuses it later, L1 takes
//! [longer](super::owners_fence).
//!
//! # Invariants
//!
//! 1. A slot that is not null points to a task that is alive: the caller of `enter` promises that it leaves before it is freed.

use std::cell::RefCell;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;

use crate::base::atomic::{AtomicPtr, MODELLED, Ordering};
use crate::base::lock::{Lock, LockGuard};
use crate::sched::biased::{BiasedLock, Visitor};
use crate::sched::live::ListPlaces;
use crate::task::{Header, Task};

/// Slots in the first chunk.
pub(super) const FIRST: u32 = if MODELLED { 1 } else { 1 << 10 };
/// All together have 2^31 slots: more than there is memory for actors.
pub(super) const CHUNKS: usize = 21;
/// A worker takes so many slots from the common list, or gives so many back, at a time.
const BATCH: usize = if MODELLED { 1 } else { 256 };
/// One that lists the tasks looks at so many slots at a time, and lets others leave in between.
const PIECE: usize = if MODELLED { 1 } else { 256 };

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Roster {
    chunks: [OnceLock<Box<[AtomicPtr<Header>]>>; CHUNKS],
    free: Lock<FreeSlots>,
    outsiders: Lock<()>,
}

#[derive(Debug)]
struct FreeSlots {
    numbers: Vec<u32>,
    /// So many slots have been given out for the first time.
    made: u32,
}

/// Free slots that a worker keeps at hand, until it ends.
#[derive(Debug)]
pub(crate) struct SlotStock {
    roster: &'static Roster,
    numbers: RefCell<Vec<u32>>,
}

impl Drop for SlotStock {
    fn drop(&mut self) {
        self.roster.free.lock().numbers.append(self.numbers.get_mut());
    }
}

impl SlotStock {
    pub(super) fn new(roster: &'static Roster) -> Self {
        Self { roster, numbers: RefCell::default() }
    }

    #[inline]
    fn take(&self) -> Option<u32> {
        self.numbers.borrow_mut().pop()
    }

    /// False: it is full.
    #[inline]
    fn put(&self, number: u32) -> bool {
        let mut numbers = self.numbers.borrow_mut();
        let has_room = numbers.len() < 2 * BATCH;
        if has_room {
            numbers.push(number);
        }
        has_room
    }
}

/// The lock that a worker owns, of those that one who lists the actors of the runtime has to take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnedList(&'static BiasedLock<ListPlaces>);

impl OwnedList {
    /// Of a worker that is among those whose locks [`Roster::all`] takes. For its own thread.
    pub(super) fn new(list: &'static BiasedLock<ListPlaces>) -> Self {
        Self(list)
    }

    /// Calls `f` between two looks of those that list the actors of the runtime. For the worker's own thread; `f` runs no code of users.
    #[inline(always)]
    pub(crate) fn unlisted<R>(self, f: impl FnOnce() -> R) -> R {
        self.0.own(|_| f())
    }
}

/// What a worker's owner, its OS thread, has there for the roster of its runtime.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RosterShare<'a> {
    pub(super) stock: &'a SlotStock,
    /// `None`: it is an outsider.
    pub(super) owned: Option<OwnedList>,
}

impl RosterShare<'_> {
    #[inline]
    pub(crate) fn roster(self) -> &'static Roster {
        self.stock.roster
    }
}

const _: () = assert!(MODELLED || align_of::<AtomicPtr<Header>>() == align_of::<usize>());

/// A chunk of empty slots. Its memory is the system's zeroed pages: a page takes none before one of its slots is used.
fn empty(len: u32) -> Box<[AtomicPtr<Header>]> {
    if MODELLED {
        return (0..len).map(|_| AtomicPtr::new(ptr::null_mut())).collect();
    }
    // Of numbers, as for pointers std writes each zero (they might have a provenance).
    let slots = Box::into_raw(vec![0_usize; len as usize].into_boxed_slice());
    // SAFETY: an atomic pointer has the size and, as is asserted, the alignment of a number; a zero is a null pointer.
    unsafe { Box::from_raw(slots as *mut [AtomicPtr<Header>]) }
}

impl Roster {
    pub(crate) fn new() -> Self {
        Self {
            chunks: [const { OnceLock::new() }; CHUNKS],
            free: Lock::new(FreeSlots { numbers: Vec::new(), made: 0 }),
            outsiders: Lock::new(()),
        }
    }

    #[inline]
    pub(super) fn place(number: u32) -> (usize, usize) {
        let place = number + FIRST;
        let chunk = place.ilog2() - FIRST.ilog2();
        (chunk as usize, (place - (FIRST << chunk)) as usize)
    }

    #[inline]
    fn slot(&self, number: u32) -> &AtomicPtr<Header> {
        let (chunk, index) = Self::place(number);
        &self.chunks[chunk].get().expect("a slot has a number when it is made")[index]
    }

    /// A free slot, for a task that a worker of this runtime makes, or (`None`) anybody. The caller enters with it, and leaves it once.
    #[inline]
    pub(crate) fn reserve(&self, worker: Option<RosterShare<'_>>) -> u32 {
        let stock = worker.map(|worker| worker.stock);
        stock.and_then(SlotStock::take).unwrap_or_else(|| self.reserve_common(stock))
    }

    #[cold]
    #[inline(never)]
    fn reserve_common(&self, stock: Option<&SlotStock>) -> u32 {
        let mut free = self.free.lock();
        let mut next = || {
            free.numbers.pop().unwrap_or_else(|| {
                let number = free.made;
                let (chunk, _) = Self::place(number);
                self.chunks[chunk].get_or_init(|| empty(FIRST << chunk));
                free.made += 1;
                number
            })
        };
        if let Some(stock) = stock {
            stock.numbers.borrow_mut().extend((1..BATCH).map(|_| next()));
        }
        next()
    }

    /// `task` is in that slot from now on.
    ///
    /// # Safety
    ///
    /// The task is re-armable, and alive until it leaves the slot, which is the caller's by `reserve`.
    #[inline]
    pub(crate) unsafe fn enter(&self, number: u32, task: NonNull<Header>) {
        // ORDERING: Release pairs with the Acquire in `all`: the task as it was made.
        self.slot(number).store(task.as_ptr(), Ordering::Release);
    }

    /// The task in that slot ends: steps D1 and D2, of its last run. `worker`: it runs on that one, of this runtime.
    #[inline]
    pub(crate) fn leave(&self, number: u32, worker: Option<RosterShare<'_>>) {
        let slot = self.slot(number);
        // ORDERING: Relaxed: under one of the locks that `all` takes.
        let empty = || slot.store(ptr::null_mut(), Ordering::Relaxed);
        match worker.and_then(|worker| worker.owned) {
            Some(owned) => {
                owned.0.own(|_| {
                    empty(); // SWAP: owner-leaves
                }); // SWAP: owner-leaves
            }
            None => {
                let _locked = self.outsiders.lock(); // KEY: outsider-leaves
                empty();
            }
        }
        let stock = worker.map(|worker| worker.stock);
        if !stock.is_some_and(|stock| stock.put(number)) {
            self.give_back(number, stock);
        }
    }

    #[cold]
    #[inline(never)]
    fn give_back(&self, number: u32, stock: Option<&SlotStock>) {
        let mut free = self.free.lock();
        free.numbers.push(number);
        free.numbers.extend((0..BATCH).map_while(|_| stock?.take()));
    }

    /// Steps L1 to L3, for a few slots at a time: the tasks of the roster, with a reference to each. A task that is there all the time is among them once.
    /// `open`: the locks of all workers that own one.
    pub(crate) fn all(&self, open: &[Visitor<'_, ListPlaces>]) -> Vec<Task> {
        let mut visits: Vec<LockGuard<'_, ListPlaces>> = Vec::with_capacity(open.len());
        let mut all = Vec::new();
        let made = self.free.lock().made;
        for first in (0..made).step_by(PIECE) {
            all.reserve(PIECE);
            let _outsiders = self.outsiders.lock(); // KEY: list-outsiders
            visits.extend(open.iter().map(Visitor::visit)); // KEY: list-owned
            for number in first..made.min(first + PIECE as u32) {
                // ORDERING: Acquire pairs with the Release in `enter`.
                if let Some(task) = NonNull::new(self.slot(number).load(Ordering::Acquire)) {
                    // SAFETY: invariant 1: it is alive, as long as it cannot leave.
                    all.push(unsafe { Task::counted(task) });
                }
            }
            visits.clear();
        }
        all
    }

    /// How many tasks are in it, without a look at them: no lock keeps them.
    pub(super) fn count(&self) -> usize {
        let made = self.free.lock().made;
        (0..made).filter(|&number| !self.slot(number).load(Ordering::Relaxed).is_null()).count()
    }

    /// Takes all tasks out, with a reference to each: of a runtime whose workers are gone, and which may be unknown to its tasks already. One that
    /// leaves later finds its slot empty.
    pub(crate) fn take_all(&self) -> Vec<Task> {
        let made = self.free.lock().made;
        let _outsiders = self.outsiders.lock(); // KEY: take-outsiders
        let take = |slot: &AtomicPtr<Header>| {
            // ORDERING: Acquire as in `all`. No exchange: all that change slots now have the lock.
            let task = NonNull::new(slot.load(Ordering::Acquire))?;
            slot.store(ptr::null_mut(), Ordering::Relaxed);
            // SAFETY: invariant 1: it is alive, as long as it cannot leave.
            Some(unsafe { Task::counted(task) })
        };
        (0..made).filter_map(|number| take(self.slot(number))).collect()
    }
}
