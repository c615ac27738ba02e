//! A hierarchical timer wheel: deadlines of parked threads, one wheel a worker, touched by that worker alone.
//!
//! Nearly every timer is a time-out that is removed before it fires, so insert and remove are O(1), and allocate nothing
//! once [`make_room`](Wheel::make_room) has seen to it.
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
//! All timers of a wheel are nodes of one array, 24 bytes each, and name each other by their place in it. A cascade may
//! touch tens of thousands at once; on the stacks of the threads that wait each would be a page of its own, and a miss in
//! every cache. A slot is a ring of nodes through a *head*; the heads are the first nodes of the array:
//!
//! ```text
//!   nodes   ║ head of slot 0 │ … │ head of slot 575 ║ timer or free │ timer or free │ …
//! ```
//!
//! # Invariants
//!
//! 1. Between calls, each pending timer is in the ring of the slot that its tick and the cursor name as above; a tick that
//!    the cursor has reached already counts as the cursor's own.
//! 2. So on level 0 no occupied slot is below the cursor's digit, on the other levels none is at or below it, and
//!    everything on a level is due before anything on the next. The first occupied slot is a bit scan.
//! 3. A slot's bit is set exactly while its ring is more than the head.
//! 4. A node has a payload exactly while it is pending. Without one it is a head, or has fired and is not given back yet, or
//!    is in the list of free ones.
//! 5. The cursor never goes back.
//!
//! # Promises
//!
//! A deadline is rounded up to a whole tick and the time given is rounded down, so no timer fires early, and a turn
//! leaves nothing behind that was due a tick before it. Timers fire in the order of their ticks, those of one tick in
//! the order of their insertion: a ring is emptied from the front, and it cascades whole, before anything newer can be
//! put where its timers go.
//!
//! # Source
//!
//! G. Varghese and T. Lauck, "Hashed and Hierarchical Timing Wheels", SOSP 1987, scheme 7. Choosing the level by the
//! highest differing bit, which needs no wrap-around and no clock hand a level, is how Kafka's and tokio's wheels do it.
#![forbid(unsafe_code)]

use std::mem;

use crate::base::shown::ShownWord;
use crate::sys::clock::NEVER;

/// A tick is `1 << TICK_BITS` nanoseconds.
const TICK_BITS: u32 = 10;
/// A level has `1 << DIGIT_BITS` slots.
const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
const LEVELS: usize = 9;
/// The heads of all slots; `level * SLOTS + digit` is that of a slot.
const HEADS: usize = LEVELS * SLOTS;
/// The end of the list of free nodes: a head, which is never free.
const NONE: u32 = 0;

const _: () = assert!(size_of::<WheelNode<std::ptr::NonNull<()>>>() <= 24);
const _: () = assert!(TICK_BITS + DIGIT_BITS * LEVELS as u32 == u64::BITS, "the levels cover every tick");

/// A timer in a wheel, pending or fired, until it is given back to [`Wheel::remove`].
#[derive(Debug)]
#[must_use = "it takes up room until it is removed"]
pub(crate) struct WheelTimer(u32);

impl WheelTimer {
    /// The timer as a number, which is not 0.
    pub(crate) fn into_number(self) -> u32 {
        self.0
    }

    /// From [`into_number`](Self::into_number); `None`: from 0.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        (number != 0).then_some(Self(number))
    }
}

#[derive(Clone, Copy, Debug)]
struct WheelNode<T> {
    /// When it fires.
    tick: u64,
    payload: Option<T>,
    next: u32,
    prev: u32,
}

/// Where a wheel stands, and which of its slots hold anything: others may look at it.
#[derive(Debug)]
pub(crate) struct WheelHands {
    /// The tick that the wheel has been turned to.
    cursor: ShownWord,
    /// One bit a slot, one word a level.
    occupied: [ShownWord; LEVELS],
}

/// The timers of one worker. The code that inserts a timer says what the wheel hands over when it is due.
pub(crate) struct Wheel<T> {
    pub(crate) hands: WheelHands,
    nodes: Vec<WheelNode<T>>,
    /// The first of the free nodes, linked by `next`.
    free: u32,
    /// Pending timers.
    len: usize,
    /// How often a node was looked up.
    #[cfg(test)]
    pub(super) looks: usize,
}

/// The occupied slot that comes first.
struct First {
    level: usize,
    head: u32,
    /// The first tick that belongs to the slot.
    start: u64,
}

impl<T: Copy> Wheel<T> {
    /// An empty wheel, turned to `now_ns`.
    pub(crate) fn new(now_ns: u64) -> Self {
        let head = |at| WheelNode { tick: 0, payload: None, next: at, prev: at };
        Self {
            hands: WheelHands {
                cursor: ShownWord::new(now_ns >> TICK_BITS),
                occupied: [const { ShownWord::new(0) }; LEVELS],
            },
            nodes: (0..HEADS as u32).map(head).collect(),
            free: NONE,
            len: 0,
            #[cfg(test)]
            looks: 0,
        }
    }

    /// Up to `timers` at a time are inserted without an allocation from now on.
    #[inline]
    pub(crate) fn make_room(&mut self, timers: usize) {
        if self.nodes.capacity() < HEADS + timers {
            self.grow(HEADS + timers);
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, nodes: usize) {
        self.nodes.reserve(nodes - self.nodes.len());
    }

    /// The timers for which there is room.
    pub(crate) fn room(&self) -> usize {
        self.nodes.capacity() - HEADS
    }

    /// Makes a timer pending. A deadline that has passed fires at the next turn.
    #[inline]
    pub(crate) fn insert(&mut self, deadline_ns: u64, payload: T) -> WheelTimer {
        // The first tick whose start is not before the deadline; in the last one, after 584 years, there is none.
        let tick = deadline_ns.saturating_add((1 << TICK_BITS) - 1) >> TICK_BITS;
        if self.free == NONE {
            self.add_node();
        }
        let at = self.free;
        let node = self.node(at);
        let next_free = node.next;
        (node.tick, node.payload) = (tick, Some(payload));
        self.free = next_free;
        self.len += 1;
        self.link(at, tick);
        WheelTimer(at)
    }

    /// Adds a free node to the array.
    #[cold]
    #[inline(never)]
    fn add_node(&mut self) {
        let at = u32::try_from(self.nodes.len()).expect("no four thousand million timers");
        self.nodes.push(WheelNode { tick: 0, payload: None, next: self.free, prev: NONE });
        self.free = at;
    }

    /// Takes a timer back: it does not fire any more, if it has not. True: it has not.
    #[inline]
    pub(crate) fn remove(&mut self, timer: WheelTimer) -> bool {
        let WheelTimer(at) = timer;
        let next_free = mem::replace(&mut self.free, at);
        let node = self.node(at);
        let WheelNode { next, prev, payload, .. } = *node;
        (node.payload, node.next) = (None, next_free);
        if payload.is_some() {
            self.len -= 1;
            self.join(prev, next);
        }
        payload.is_some()
    }

    /// Is nothing pending?
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many timers are pending.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// When to turn the wheel next: no pending timer fires before, and a turn at that moment fires one or cascades
    /// the first ones a level down, so sleeping and turning reaches any deadline in at most a step a level. `NEVER`
    /// when nothing is pending.
    #[inline]
    pub(crate) fn next_ns(&self) -> u64 {
        self.first().map_or(NEVER, |first| first.start << TICK_BITS)
    }

    /// Turns the wheel to `now_ns`, or as far as to the next timer that fires on the way: the caller gets what that was
    /// inserted with, and asks again. A time before that of an earlier turn counts as that one.
    #[inline]
    pub(crate) fn turn(&mut self, now_ns: u64) -> Option<T> {
        let now = now_ns >> TICK_BITS;
        while let Some(first) = self.first()
            && first.start <= now.max(self.hands.cursor.get())
        {
            self.hands.cursor.set(first.start);
            if first.level > 0 {
                self.cascade(first.head);
                continue;
            }
            let due = self.node(first.head).next;
            let node = self.node(due);
            let WheelNode { next, prev, .. } = *node;
            let payload = node.payload.take();
            self.len -= 1;
            self.join(prev, next);
            return payload;
        }
        self.hands.cursor.set(now.max(self.hands.cursor.get()));
        None
    }

    /// Moves the timers of a slot, whose first tick the cursor has just reached, to lower levels: they share its digit
    /// on this one with the cursor.
    fn cascade(&mut self, head: u32) {
        let mut at = self.node(head).next;
        self.join(head, head);
        while at != head {
            let WheelNode { next, tick, .. } = *self.node(at);
            self.link(at, tick);
            at = next;
        }
    }

    /// Puts the node of a timer at the end of the ring that its tick and the cursor say.
    #[inline]
    fn link(&mut self, at: u32, tick: u64) {
        let head = self.head_of(tick);
        let slots = &self.hands.occupied[head as usize / SLOTS];
        slots.set(slots.get() | 1 << (head as usize % SLOTS));
        let last = mem::replace(&mut self.node(head).prev, at);
        self.node(last).next = at;
        let node = self.node(at);
        (node.next, node.prev) = (head, last);
    }

    /// Makes `prev` and `next` neighbours: what was between them is in the ring no more.
    #[inline]
    fn join(&mut self, prev: u32, next: u32) {
        self.node(prev).next = next;
        self.node(next).prev = prev;
        if prev == next {
            // Only a head is its own neighbour.
            let head = next as usize;
            let slots = &self.hands.occupied[head / SLOTS];
            slots.set(slots.get() & !(1 << (head % SLOTS)));
        }
    }

    #[inline]
    fn node(&mut self, at: u32) -> &mut WheelNode<T> {
        #[cfg(test)]
        {
            self.looks += 1;
        }
        &mut self.nodes[at as usize]
    }

    /// The slot for a tick (invariant 1).
    #[inline]
    fn head_of(&self, tick: u64) -> u32 {
        let tick = tick.max(self.hands.cursor.get());
        // The lowest bit is set so that equal ticks count as differing in digit 0.
        let level = ((tick ^ self.hands.cursor.get()) | 1).ilog2() / DIGIT_BITS;
        let digit = (tick >> (level * DIGIT_BITS)) as u32 % SLOTS as u32;
        level * SLOTS as u32 + digit
    }

    /// The occupied slot that is due first (invariant 2).
    #[inline]
    fn first(&self) -> Option<First> {
        if self.is_empty() { None } else { self.hands.first() }
    }
}

impl WheelHands {
    #[inline]
    fn first(&self) -> Option<First> {
        let level = self.occupied.iter().position(|word| word.get() != 0)?;
        let digit = self.occupied[level].get().trailing_zeros();
        let shift = level as u32 * DIGIT_BITS;
        // The digits above the slot's own are the cursor's, those below are 0.
        let above = self.cursor.get() >> shift >> DIGIT_BITS << DIGIT_BITS;
        Some(First { level, head: (level * SLOTS) as u32 + digit, start: (above | u64::from(digit)) << shift })
    }

    /// When the first timer is due for certain, for anybody: the end of the slot that comes first. [`NEVER`]: none is pending. What others change at this
    /// moment may give another time, once.
    pub(crate) fn surely_due_ns(&self) -> u64 {
        self.first().map_or(NEVER, |First { level, start, .. }| {
            let last = start.saturating_add((1 << (level as u32 * DIGIT_BITS)) - 1);
            if last > NEVER >> TICK_BITS { NEVER } else { last << TICK_BITS }
        })
    }
}
