//! The ring: the last so many events of one writer, for readers that come while it writes. Steps W1 to W3 and R1 to R4 of the protocol.
//!
//! # Invariants
//!
//! 1. `slots` has `mask + 1` slots, a power of two.

use crate::base::atomic::{AtomicU64, Ordering, fence};

/// The most events of a ring: 256 MiB.
pub(crate) const MOST_EVENTS: usize = 1 << 24;

/// One event: two words.
#[derive(Debug)]
struct EventSlot {
    ticks: AtomicU64,
    word: AtomicU64,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct EventRing {
    slots: Box<[EventSlot]>,
    mask: usize,
    /// How many events were ever written.
    head: AtomicU64,
}

impl EventRing {
    /// For `events` events, rounded up to a power of two; from 1 to [`MOST_EVENTS`].
    pub(crate) fn new(events: usize) -> Self {
        let len = events.clamp(1, MOST_EVENTS).next_power_of_two();
        let slots = (0..len).map(|_| EventSlot { ticks: AtomicU64::new(0), word: AtomicU64::new(0) }).collect();
        Self { slots, mask: len - 1, head: AtomicU64::new(0) }
    }

    /// Writes one event over the oldest. By one writer at a time.
    #[inline(always)]
    pub(crate) fn push(&self, ticks: u64, word: u64) {
        let head = self.head.load(Ordering::Relaxed);
        // SAFETY: invariant 1: the index is at most `mask`.
        let slot = unsafe { self.slots.get_unchecked(head as usize & self.mask) };
        // ORDERING: Release pairs with the fence in `read`: a reader that finds this event finds the head of the event before, or a later one.
        slot.ticks.store(ticks, Ordering::Release);
        slot.word.store(word, Ordering::Release); // ORDERING: as above.
        // ORDERING: Release pairs with the Acquire in `read`: the event is there.
        self.head.store(head + 1, Ordering::Release);
    }

    /// The events that are whole, oldest first, and how many there were before them: as ticks and word.
    pub(crate) fn read(&self) -> (u64, Vec<(u64, u64)>) {
        let len = self.slots.len() as u64;
        // ORDERING: Acquire pairs with the Release in `push`.
        let end = self.head.load(Ordering::Acquire);
        let begin = end.saturating_sub(len);
        let copy = |at: u64| {
            let slot = &self.slots[at as usize & self.mask];
            (slot.ticks.load(Ordering::Relaxed), slot.word.load(Ordering::Relaxed))
        };
        let mut events: Vec<_> = (begin..end).map(copy).collect();
        // ORDERING: Acquire pairs with the Releases of the slots: see there.
        fence(Ordering::Acquire); // KEY: ring-fence
        let head = self.head.load(Ordering::Relaxed);
        // The event with the number `head` may be half written: over that which is a whole ring older.
        let mut whole = begin;
        whole = whole.max((head + 1).saturating_sub(len)); // KEY: ring-overwritten
        events.drain(..(whole.min(end) - begin) as usize);
        (whole.min(end), events)
    }
}
