//! A hierarchical timer wheel: deadlines of parked threads, one wheel a worker, touched by that worker alone.
//!
//! Nearly every timer is a time-out that is removed before it fires, so insert and remove are O(1) and allocate
//! nothing: a [`Timer`] lives on the stack of the thread that waits and the wheel only links it.
//!
//! # Shape
//!
//! Time is cut into *ticks* of 1024 ns. A tick number has 54 bits, nine digits in base 64, and each digit has a level
//! of 64 slots. With the *cursor* (the tick that the wheel has been turned to) and a timer's tick side by side, the
//! highest digit in which they differ picks the level, and the timer's digit there picks the slot:
//!
//! ```text
//!             level 8 … level 2   level 1   level 0
//!   cursor          0         3        17        40
//!   tick A          0         3        17        52     differs in digit 0:  level 0, slot 52, that tick exactly
//!   tick B          0         3        20         5     differs in digit 1:  level 1, slot 20, 64 ticks share it
//! ```
//!
//! When the cursor reaches the first tick of B's slot, digit 1 is equal too and B *cascades* to level 0. A timer moves
//! at most once a level. One bitmap a level says which slots hold anything, so no turn walks over empty slots, however
//! far the time jumps.
//!
//! # Invariants
//!
//! 1. Between calls, each pending timer is linked in the slot that its tick and the cursor name as above, and its
//!    `index` says which that is; a tick that the cursor has reached already counts as the cursor's own.
//! 2. So on level 0 no occupied slot is below the cursor's digit, on the other levels none is at or below it, and
//!    everything on a level is due before anything on the next. The first occupied slot is a bit scan.
//! 3. A slot's bit is set exactly while the slot is not empty; `len` counts the pending timers.
//! 4. A pending timer is valid and does not move (the contract of [`Wheel::insert`]).
//! 5. The cursor never goes back.
//!
//! # Promises
//!
//! A deadline is rounded up to a whole tick and the time given is rounded down, so no timer fires early, and a turn
//! leaves nothing behind that was due a tick before it. Timers fire in the order of their ticks, those of one tick in
//! the order of their insertion: a slot is emptied from the front, and it cascades whole, before anything newer can be
//! put where its timers go.
//!
//! # Source
//!
//! G. Varghese and T. Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987, scheme 7. Choosing the level by the
//! highest differing bit, which needs no wrap-around and no clock hand a level, is how Kafka's and tokio's wheels do it.

use std::cell::Cell;
use std::fmt;
use std::ptr::NonNull;

use crate::base::list::{Linked, Links, List};
use crate::sys::clock::NEVER;

/// A tick is `1 << TICK_BITS` nanoseconds.
const TICK_BITS: u32 = 10;
/// A level has `1 << DIGIT_BITS` slots.
const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
const LEVELS: usize = 9;
/// The last tick that a `u64` of nanoseconds can reach.
const LAST_TICK: u64 = u64::MAX >> TICK_BITS;
/// Where timers wait that never fire: a slot of its own above the levels.
const NEVER_INDEX: usize = LEVELS * SLOTS;

const _: () = assert!(TICK_BITS + DIGIT_BITS * LEVELS as u32 == u64::BITS, "the levels cover every tick");

/// One deadline of one parked thread. It stays where it is while it is pending.
#[derive(Debug)]
pub(crate) struct Timer {
    links: Links<Timer>,
    deadline_ns: Cell<u64>,
    /// `level * SLOTS + slot` while pending.
    index: Cell<usize>,
    payload: *const (),
}

// SAFETY: the links are a field of the timer, private to this file, which changes them only through a `List`.
unsafe impl Linked for Timer {
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

impl Timer {
    /// A timer that is not pending. `payload` is for whoever [`Wheel::turn`] hands the timer to.
    pub(crate) const fn new(payload: *const ()) -> Timer {
        Timer { links: Links::new(), deadline_ns: Cell::new(NEVER), index: Cell::new(NEVER_INDEX), payload }
    }

    pub(crate) fn payload(&self) -> *const () {
        self.payload
    }

    /// Is it in a wheel, neither fired nor removed?
    #[inline]
    pub(crate) fn is_pending(&self) -> bool {
        self.links.is_linked()
    }

    /// The first tick whose start is not before the deadline. `NEVER` lies past the last one.
    #[inline]
    fn tick(&self) -> u64 {
        self.deadline_ns.get().div_ceil(1 << TICK_BITS)
    }
}

/// The timers of one worker.
pub(crate) struct Wheel {
    /// The tick that the wheel has been turned to.
    cursor: Cell<u64>,
    len: Cell<usize>,
    /// One bit a slot, one word a level; the last word is that of `NEVER_INDEX` and never searched.
    occupied: [Cell<u64>; LEVELS + 1],
    slots: Box<[List<Timer>; NEVER_INDEX + 1]>,
}

/// The occupied slot that comes first.
struct First {
    level: usize,
    index: usize,
    /// The first tick that belongs to the slot.
    start: u64,
}

impl Wheel {
    /// An empty wheel, turned to `now_ns`.
    pub(crate) fn new(now_ns: u64) -> Wheel {
        Wheel {
            cursor: Cell::new(now_ns >> TICK_BITS),
            len: Cell::new(0),
            occupied: [const { Cell::new(0) }; LEVELS + 1],
            slots: Box::new([const { List::new() }; NEVER_INDEX + 1]),
        }
    }

    /// Makes `timer` pending. A deadline that has passed fires at the next turn, `NEVER` at none.
    ///
    /// # Safety
    ///
    /// `timer` is valid and not pending, and stays valid and where it is until it has fired or was removed.
    #[inline]
    pub(crate) unsafe fn insert(&self, timer: NonNull<Timer>, deadline_ns: u64) {
        // SAFETY: the caller vouches for `timer`.
        unsafe { timer.as_ref() }.deadline_ns.set(deadline_ns);
        self.len.set(self.len.get() + 1);
        // SAFETY: the caller's promise is the one that `link` wants.
        unsafe { self.link(timer) };
    }

    /// Takes `timer` back before it has fired; does nothing when it is not pending.
    ///
    /// # Safety
    ///
    /// `timer` is valid, and pending in this wheel or in none.
    #[inline]
    pub(crate) unsafe fn remove(&self, timer: NonNull<Timer>) {
        // SAFETY: the caller vouches for `timer`.
        let node = unsafe { timer.as_ref() };
        if !node.is_pending() {
            return;
        }
        let index = node.index.get();
        // SAFETY: it is pending here, so it is linked in the slot of its index by invariant 1.
        unsafe { self.slots[index].remove(timer) };
        self.unmark_if_empty(index);
        self.len.set(self.len.get() - 1);
    }

    /// Is nothing pending, not even a timer that never fires?
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len.get() == 0
    }

    /// How many timers are pending.
    pub(crate) fn len(&self) -> usize {
        self.len.get()
    }

    /// When to turn the wheel next: no pending timer fires before, and a turn at that moment fires one or cascades
    /// the first ones a level down, so sleeping and turning reaches any deadline in at most a step a level. `NEVER`
    /// when nothing will fire.
    #[inline]
    pub(crate) fn next_ns(&self) -> u64 {
        self.first().map_or(NEVER, |first| first.start << TICK_BITS)
    }

    /// Turns the wheel to `now_ns` and hands every timer that is due to `fire`, unlinked. A time before that of an
    /// earlier turn counts as that one.
    ///
    /// `fire` may insert and remove timers, and may unwind: those not yet handed over stay pending. It must not turn.
    #[inline]
    pub(crate) fn turn(&self, now_ns: u64, mut fire: impl FnMut(NonNull<Timer>)) {
        let now = (now_ns >> TICK_BITS).max(self.cursor.get());
        while let Some(first) = self.first()
            && first.start <= now
        {
            self.cursor.set(first.start);
            if first.level > 0 {
                self.cascade(first.index);
            } else if let Some(timer) = self.slots[first.index].pop_front() {
                self.unmark_if_empty(first.index);
                self.len.set(self.len.get() - 1);
                fire(timer);
            }
        }
        self.cursor.set(now);
    }

    /// Moves the timers of a slot, whose first tick the cursor has just reached, to lower levels.
    fn cascade(&self, index: usize) {
        let slot = &self.slots[index];
        while let Some(timer) = slot.pop_front() {
            // SAFETY: it was pending, so it is valid and stays by invariant 4; it is in no list now. It does not come
            // back to this slot: it shares this level's digit with the cursor, so it goes to a lower level.
            unsafe { self.link(timer) };
        }
        self.unmark_if_empty(index);
    }

    /// Links `timer` where its deadline and the cursor say.
    ///
    /// # Safety
    ///
    /// As [`insert`](Self::insert).
    #[inline]
    unsafe fn link(&self, timer: NonNull<Timer>) {
        // SAFETY: the caller vouches for `timer`.
        let node = unsafe { timer.as_ref() };
        let index = self.index_of(node.tick());
        node.index.set(index);
        // SAFETY: valid, in no list and staying, says the caller.
        unsafe { self.slots[index].push_back(timer) };
        let word = &self.occupied[index / SLOTS];
        word.set(word.get() | 1 << (index % SLOTS));
    }

    /// The slot for a tick (invariant 1).
    #[inline]
    fn index_of(&self, tick: u64) -> usize {
        if tick > LAST_TICK {
            return NEVER_INDEX;
        }
        let cursor = self.cursor.get();
        let tick = tick.max(cursor);
        // The lowest bit is set so that equal ticks count as differing in digit 0.
        let level = ((tick ^ cursor) | 1).ilog2() / DIGIT_BITS;
        let digit = (tick >> (level * DIGIT_BITS)) as usize % SLOTS;
        level as usize * SLOTS + digit
    }

    /// The occupied slot that is due first (invariant 2).
    #[inline]
    fn first(&self) -> Option<First> {
        if self.is_empty() {
            return None;
        }
        let level = self.occupied[..LEVELS].iter().position(|word| word.get() != 0)?;
        let digit = self.occupied[level].get().trailing_zeros();
        let shift = level as u32 * DIGIT_BITS;
        // The digits above the slot's own are the cursor's, those below are 0.
        let above = self.cursor.get() >> shift >> DIGIT_BITS << DIGIT_BITS;
        Some(First { level, index: level * SLOTS + digit as usize, start: (above | u64::from(digit)) << shift })
    }

    #[inline]
    fn unmark_if_empty(&self, index: usize) {
        if self.slots[index].is_empty() {
            let word = &self.occupied[index / SLOTS];
            word.set(word.get() & !(1 << (index % SLOTS)));
        }
    }
}

impl fmt::Debug for Wheel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel").field("len", &self.len()).field("next_ns", &self.next_ns()).finish_non_exhaustive()
    }
}
