//! A worker's queue of unstarted threads: its owner works at both ends, others steal the oldest. A Chase–Lev deque, with the
//! orderings of Lê, Pop, Cohen and Zappa Nardelli, "Correct and efficient work-stealing for weak memory models" (PPoPP 2013).
//!
//! ```text
//!              front                       back
//!   … taken │ oldest │        …        │ youngest │ free …
//!   steal, take_oldest ◄──                    ◄── pop, push ──►
//! ```
//!
//! The steps and their proof are in `sched/PROTOCOL.md`, *The deque*. What differs from the paper: the owner may take the oldest entry, too; it
//! need not ask itself, as a thief would, whether the queue has one. A ring that has become too small stays until the deque
//! is gone: so a thief may read it whenever it likes, and nobody has to find out when it no longer does. All the old ones together are
//! smaller than the present one.
//!
//! # Invariants
//!
//! 1. Only the owner, who has the [`Deque`], writes `back`, `ring` and slots. A `Deque` is not `Sync`.
//! 2. The entries are those from `front` on, below `back`. Entry `n` stands in slot `n` modulo the length of the ring, which is a power of two.
//! 3. `front` only rises, by an exchange, and who made it rise from `n` has entry `n`. The owner that pops has what it has taken `back` down
//!    to, by an exchange if this is the last one. So each entry comes out once.
//! 4. A slot is written only if its former entry is out; then nobody who reads it can win that entry's exchange any more.
//! 5. `ring` points to a whole ring, and so does `older` of each, or it is null. They are freed with the last that can reach `Common`.

use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use crossbeam_utils::CachePadded;

use crate::base::atomic::{AtomicPtr, AtomicUsize, MODELLED, Ordering, fence, spin_loop};

/// Slots of the first ring.
const FIRST_LEN: usize = if MODELLED { 2 } else { 64 };

/// What can be queued: something that is as good as a pointer.
pub(crate) trait Pointer: Send {
    /// What it points to.
    type Target;

    /// The entry as a pointer.
    fn into_raw(self) -> NonNull<Self::Target>;

    /// The pointer as the entry that it was.
    ///
    /// # Safety
    ///
    /// `raw` came from `into_raw`, and is used so once.
    unsafe fn from_raw(raw: NonNull<Self::Target>) -> Self;
}

struct SlotRing<T> {
    slots: Box<[AtomicPtr<T>]>,
    /// The one that it replaced.
    older: *mut SlotRing<T>,
}

impl<T> SlotRing<T> {
    fn new(len: usize, older: *mut Self) -> Self {
        debug_assert!(len.is_power_of_two());
        Self { slots: (0..len).map(|_| AtomicPtr::new(ptr::null_mut())).collect(), older }
    }
}

/// The slots of a ring, which has come to its place: a box that is moved after that would no longer let others in.
///
/// # Safety
///
/// The ring is there.
unsafe fn slots_of<T>(ring: *const SlotRing<T>) -> NonNull<[AtomicPtr<T>]> {
    // SAFETY: as the caller promises.
    NonNull::from(unsafe { &*(*ring).slots })
}

/// The slot of entry `n`.
#[inline(always)]
fn slot<T>(slots: &[AtomicPtr<T>], n: usize) -> &AtomicPtr<T> {
    // SAFETY: invariant 2: the length is a power of two.
    unsafe { slots.get_unchecked(n & (slots.len() - 1)) }
}

/// What the owner and the thieves share.
struct Common<E: Pointer> {
    front: CachePadded<AtomicUsize>,
    back: CachePadded<AtomicUsize>,
    ring: AtomicPtr<SlotRing<E::Target>>,
}

impl<E: Pointer> Drop for Common<E> {
    fn drop(&mut self) {
        let mut ring = self.ring.load(Ordering::Relaxed);
        while !ring.is_null() {
            // SAFETY: invariant 5, and nobody else is left.
            ring = unsafe { Box::from_raw(ring) }.older;
        }
    }
}

/// The owner's side. See the module's text.
pub(crate) struct Deque<E: Pointer> {
    common: Arc<Common<E>>,
    /// Those of the present ring.
    slots: Cell<NonNull<[AtomicPtr<E::Target>]>>,
    /// `front` when the owner last had to know it for a push: what is free counts from there.
    seen_front: Cell<usize>,
}

// SAFETY: the pointer is into `common`, which is kept, and means the same on every thread; entries are `Send`.
unsafe impl<E: Pointer> Send for Deque<E> {}

impl<E: Pointer> Deque<E> {
    pub(crate) fn new() -> Self {
        let ring = Box::into_raw(Box::new(SlotRing::new(FIRST_LEN, ptr::null_mut())));
        let common = Common {
            front: CachePadded::new(AtomicUsize::new(0)),
            back: CachePadded::new(AtomicUsize::new(0)),
            ring: AtomicPtr::new(ring),
        };
        // SAFETY: it was just made.
        let slots = unsafe { slots_of(ring) };
        Self { common: Arc::new(common), slots: Cell::new(slots), seen_front: Cell::new(0) }
    }

    /// One more thief.
    pub(crate) fn stealer(&self) -> Stealer<E> {
        Stealer { common: Arc::clone(&self.common) }
    }

    #[inline(always)]
    fn slots(&self) -> &[AtomicPtr<E::Target>] {
        // SAFETY: invariant 5; `common` is kept.
        unsafe { self.slots.get().as_ref() }
    }

    /// Entry `n`, which the caller has won.
    ///
    /// # Safety
    ///
    /// Invariant 3: nobody else has it, and this is called once.
    #[inline(always)]
    unsafe fn entry(&self, n: usize) -> E {
        let raw = slot(self.slots(), n).load(Ordering::Relaxed);
        // SAFETY: the owner has put an entry there, so it is no null pointer; the rest as the caller promises.
        unsafe { E::from_raw(NonNull::new_unchecked(raw)) }
    }

    /// Puts `entry` in at the young end.
    #[inline]
    pub(crate) fn push(&self, entry: E) {
        let back = self.common.back.load(Ordering::Relaxed);
        if back.wrapping_sub(self.seen_front.get()) >= self.slots().len() {
            self.make_room(back);
        }
        // Invariant 4: as far as the owner has seen, the slot is free.
        slot(self.slots(), back).store(entry.into_raw().as_ptr(), Ordering::Relaxed);
        // ORDERING: Release pairs with the Acquire of `back` in `steal`: the slot, a ring made for it, and what the entry points to are visible.
        self.common.back.store(back.wrapping_add(1), Ordering::Release);
    }

    /// There may be no slot left.
    #[cold]
    #[inline(never)]
    fn make_room(&self, back: usize) {
        // ORDERING(argued): Acquire pairs with the Release of `front` in `steal`: that thief has read the slot before, so not what the
        // owner will write there. No model shows what happens without it, as loom has no load that sees a later store.
        let front = self.common.front.load(Ordering::Acquire);
        self.seen_front.set(front);
        let slots = self.slots();
        if back.wrapping_sub(front) < slots.len() {
            return;
        }
        let larger = SlotRing::new(slots.len() * 2, self.common.ring.load(Ordering::Relaxed));
        let mut n = front;
        while n != back {
            slot(&larger.slots, n).store(slot(slots, n).load(Ordering::Relaxed), Ordering::Relaxed);
            n = n.wrapping_add(1);
        }
        let larger = Box::into_raw(Box::new(larger));
        // SAFETY: it was just made.
        self.slots.set(unsafe { slots_of(larger) });
        // ORDERING: Release pairs with the Acquire of `ring` in `steal`: the ring is whole.
        self.common.ring.store(larger, Ordering::Release);
    }

    /// Takes the youngest.
    pub(crate) fn pop(&self) -> Option<E> {
        let common = &*self.common;
        let end = common.back.load(Ordering::Relaxed);
        if common.front.load(Ordering::Relaxed) == end {
            return None;
        }
        let last = end.wrapping_sub(1);
        // ORDERING: Release as in `push`: a thief that reads this sees the slots below.
        common.back.store(last, Ordering::Release);
        // ORDERING: SeqCst pairs with the fence in `steal`: either that thief sees the new `back`, or what it saw of `front` is seen here.
        fence(Ordering::SeqCst); // KEY: pop-before-look
        let front = common.front.load(Ordering::Relaxed);
        if (last.wrapping_sub(front) as isize) > 0 {
            // SAFETY: invariant 3: this is not the last one, so no thief wins it (sched/PROTOCOL.md).
            return Some(unsafe { self.entry(last) });
        }
        let mut won = front == last;
        let exchange = || common.front.compare_exchange(front, end, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        won = won && exchange(); // KEY: last-is-raced-for
        // ORDERING: Relaxed: the queue is empty, so a thief that sees this sees an entry that is out, and loses the exchange.
        common.back.store(end, Ordering::Relaxed);
        // SAFETY: invariant 3: the exchange was won.
        won.then(|| unsafe { self.entry(last) })
    }

    /// Takes the oldest.
    #[inline]
    pub(crate) fn take_oldest(&self) -> Option<E> {
        let common = &*self.common;
        let back = common.back.load(Ordering::Relaxed);
        let mut front = common.front.load(Ordering::Relaxed);
        while front != back {
            let next = front.wrapping_add(1);
            // ORDERING: Relaxed: what is there, the owner has put there.
            match common.front.compare_exchange(front, next, Ordering::Relaxed, Ordering::Relaxed) {
                // SAFETY: invariant 3: the exchange was won; only the owner writes slots.
                Ok(_) => return Some(unsafe { self.entry(front) }),
                Err(now) => front = now,
            }
        }
        None
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.common.back.load(Ordering::Relaxed).wrapping_sub(self.common.front.load(Ordering::Relaxed))
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<E: Pointer> Drop for Deque<E> {
    fn drop(&mut self) {
        while self.take_oldest().is_some() {}
    }
}

impl<E: Pointer> std::fmt::Debug for Deque<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deque").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A thief's side.
pub(crate) struct Stealer<E: Pointer> {
    common: Arc<Common<E>>,
}

impl<E: Pointer> Stealer<E> {
    /// Takes the oldest. `None`: there was none.
    pub(crate) fn steal(&self) -> Option<E> {
        let common = &*self.common;
        loop {
            let front = common.front.load(Ordering::Relaxed);
            // ORDERING: SeqCst pairs with the fence in `pop`.
            fence(Ordering::SeqCst); // KEY: steal-before-look
            // ORDERING: Acquire pairs with the Releases in `push` and `pop`.
            let back = common.back.load(Ordering::Acquire);
            if (back.wrapping_sub(front) as isize) <= 0 {
                return None;
            }
            // ORDERING: Acquire pairs with the Release in `make_room`.
            let ring = common.ring.load(Ordering::Acquire);
            // SAFETY: invariant 5.
            let raw = slot(unsafe { slots_of(ring).as_ref() }, front).load(Ordering::Relaxed);
            let next = front.wrapping_add(1);
            // ORDERING(argued): Release pairs with the Acquire in `make_room`, see there.
            if common.front.compare_exchange(front, next, Ordering::Release, Ordering::Relaxed).is_ok() {
                // SAFETY: invariants 3 and 4: the exchange was won, so what was read is the entry, which is no null pointer.
                return Some(unsafe { E::from_raw(NonNull::new_unchecked(raw)) });
            }
            // Another has it.
            spin_loop();
        }
    }

    /// How many there were a moment ago.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        let back = self.common.back.load(Ordering::Relaxed);
        let len = back.wrapping_sub(self.common.front.load(Ordering::Relaxed));
        // An owner that pops may have taken `back` below `front` for a moment.
        if (len as isize) < 0 { 0 } else { len }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<E: Pointer> Clone for Stealer<E> {
    fn clone(&self) -> Self {
        Self { common: Arc::clone(&self.common) }
    }
}
