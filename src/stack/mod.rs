//! Floor 3: stacks, promised before they are needed, handed out hot, and guarded.
//!
//! * `size`: the size classes;
//! * `arena`: address space in chunks, shared by all workers: promises, and stacks that are in nobody's cache;
//! * `guard`: what makes an overflow fault instead of running into the neighbour;
//! * `cache`: a worker's own stacks and promises, without atomics;
//! * `unused`: pages below the stack pointers of threads that wait for long;
//! * `overflow`: says which green thread it was before the process aborts.
//!
//! A stack costs address space when it is promised, memory when it is touched. A thread that was spawned and has not
//! started holds a promise only, so a hundred thousand of those cost no memory here; and as a promise is for certain,
//! a thread that could be spawned can be started.
//!
//! # Invariants
//!
//! 1. The bytes from `limit()` to `top()` of a [`Stack`] are mapped, readable and writable, and belong to its owner
//!    alone. Stacks are never unmapped.
//! 2. What lies below `limit()`, down to the slot's first byte, is a guard: an access faults.
//! 3. `top()` and `limit()` depend on nothing but the slot's address and size.
//!
//! `GREEN_GUARD=mprotect`, read once, makes the guards the older and dearer kind, for tests of what is used where the
//! kernel has no `MADV_GUARD_INSTALL`.

mod size;

#[cfg(not(miri))]
mod arena;
#[cfg(not(miri))]
mod cache;
#[cfg(not(miri))]
mod guard;
#[cfg(not(miri))]
pub(crate) mod overflow;
#[cfg(not(miri))]
pub(crate) mod unused;

#[cfg(miri)]
mod miri;

#[cfg(all(test, not(miri)))]
mod tests;

use std::ptr::NonNull;

#[cfg(not(miri))]
pub(crate) use self::arena::{counts, reserve, top_above, unreserve};
#[cfg(not(miri))]
pub(crate) use self::cache::Cache;
#[cfg(not(miri))]
pub(crate) use self::guard::name as guard_kind;
#[cfg(miri)]
pub(crate) use self::miri::{Cache, counts, guard, guard_kind, overflow, reserve, top_above, unreserve, unused};
pub(crate) use self::size::StackSize;
#[cfg(not(miri))]
use crate::sys::sanitizer::Bounds;

/// The lowest byte of a slot: a guard, and a stack above it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Slot(NonNull<u8>);

impl Slot {
    /// No slot: fills arrays.
    const NONE: Slot = Slot(NonNull::dangling());
}

// SAFETY: a slot is an address; the owner of the `Stack` is the one that may access the memory.
unsafe impl Send for Slot {}

/// One stack, owned: a guard at the low end, a coloured top. Dropping it leaks it; it goes back through a [`Cache`].
#[derive(Debug)]
pub(crate) struct Stack {
    slot: Slot,
    size: StackSize,
}

impl Stack {
    /// One past the highest usable byte; a multiple of 64.
    ///
    /// The tops are *coloured*, or the hottest frames of all threads would fall into the same few sets of a cache.
    /// Neighbours differ by a cache line, 32 times: that is for the first level, and takes at most 2 KiB of the top page,
    /// so that one page is still enough for a thread that calls little. Every 32 the page differs, too, for the second
    /// level: that costs address space, at most an eighth of the stack, and no memory.
    #[cfg(any(test, not(miri)))]
    #[inline]
    pub(crate) fn top(&self) -> NonNull<u8> {
        const LINES: usize = 31 << 6;
        const PAGES: usize = 15 << 12;
        let number = self.slot.0.addr().get() >> self.size.shift();
        let colour = (number << 6) & LINES | (number << 7) & (self.size.bytes() / 8 - 1) & PAGES;
        // SAFETY: a slot is one allocation of `bytes()` bytes, and every colour is less than that.
        unsafe { self.slot.0.add(self.size.bytes() - colour) }
    }

    /// Where it is.
    #[cfg(not(miri))]
    #[inline(always)]
    pub(crate) fn bounds(&self) -> Bounds {
        if cfg!(green_sanitized) { Bounds::new(self.limit(), self.top()) } else { Bounds::UNKNOWN }
    }

    /// Is it an address in there, guard and all?
    #[cfg(green_thread_locals)]
    #[inline]
    pub(crate) fn holds(&self, address: usize) -> bool {
        address.wrapping_sub(self.slot.0.addr().get()) < self.size.bytes()
    }

    /// The lowest usable byte, just above the guard.
    #[cfg(not(miri))]
    pub(crate) fn limit(&self) -> NonNull<u8> {
        // SAFETY: a slot is one allocation, and the guard is at its low end.
        unsafe { self.slot.0.add(guard::len(self.size)) }
    }

    #[cfg(any(test, green_backend = "threads"))]
    pub(crate) fn size(&self) -> StackSize {
        self.size
    }
}
