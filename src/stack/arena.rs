//! Arenas: one for each size class, in chunks of address space that are never given up.
//!
//! # Invariants
//!
//! 1. `claimed <= slots`: each promise, each spare credit of a cache, and each stack that is out (running, or in a
//!    cache) holds one claim on one slot.
//! 2. A slot is in exactly one place: `ready`, `fresh`, or out. `slots` counts those in `ready`, those out, and, where
//!    guards are made late, those in `fresh`. So a holder of a claim without a stack finds a slot here.
//! 3. Slots in `ready` are guarded, and nobody needs what is in their pages. Slots in `fresh` have never been touched.
//! 4. `ready` has room for every slot, so that giving back allocates nothing and cannot fail.
//! 5. An entry of `CHUNKS` is written once, its `base` last, and stays.

use std::collections::VecDeque;
use std::io;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, MutexGuard};

use super::guard::{self, GuardKind};
use super::size::{CLASSES, StackSize};
use super::{Slot, Stack};
use crate::base::atomic::{AtomicUsize, Ordering};
use crate::base::lock::lock;
use crate::sys::fork::PerProcess;
use crate::sys::{limits, mem};

/// The first chunk of a class: a short program should not look as if it used gigabytes.
const FIRST_CHUNK: usize = 16 << 20;
const FIRST_STACKS: usize = 64;
/// The largest chunk.
const MAX_CHUNK: usize = if usize::BITS == 64 { 1 << 36 } else { 1 << 26 };

/// Address space that stacks leave to the rest of the program. Where a process has a limit of that (`RLIMIT_AS`), an error of
/// `spawn` would be of no use if the next small allocation of anybody ended the process.
const SPARE: usize = 8 << 20;

/// One size class.
struct Arena {
    /// Slots that were used before, or guarded already.
    ready: Vec<Slot>,
    /// Slots never used, in address order: neighbours share a page of page tables.
    fresh: VecDeque<Run>,
    /// Slots in all chunks.
    mapped: usize,
    slots: usize,
    claimed: usize,
}

/// Neighbouring slots.
struct Run {
    next: Slot,
    left: usize,
}

/// Slots that are claimed, of all sizes, and the most that ever were.
static CLAIMED: AtomicUsize = AtomicUsize::new(0);
static MOST_CLAIMED: AtomicUsize = AtomicUsize::new(0);

/// A child of fork begins with none: what its parent had is out there for ever, as far as it knows.
static ARENAS: PerProcess<[Mutex<Arena>; CLASSES]> = PerProcess::new(|| [const { Mutex::new(Arena::new()) }; CLASSES]);

fn arena(size: StackSize) -> MutexGuard<'static, Arena> {
    // No code of others runs under the lock and nothing in it panics half-way.
    lock(&ARENAS.get()[size.class()])
}

/// Promises one stack of `size`, as [`Cache::reserve`](super::Cache::reserve) does, to a thread without a cache.
///
/// # Errors
///
/// `OutOfMemory`, naming the limit that was hit.
pub(crate) fn reserve(size: StackSize) -> io::Result<()> {
    claim(size, 1).map(|_| ())
}

/// Takes back a promise that no cache is at hand for.
pub(crate) fn unreserve(size: StackSize) {
    unclaim(size, 1);
}

/// Claims up to `want` slots, at least one, and says how many.
pub(super) fn claim(size: StackSize, want: usize) -> io::Result<usize> {
    if size == StackSize::NONE {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let mut arena = arena(size);
    if arena.claimed == arena.slots {
        arena.grow(size, want)?;
    }
    let granted = want.min(arena.slots - arena.claimed);
    arena.claimed += granted;
    drop(arena);
    let claimed = CLAIMED.fetch_add(granted, Ordering::Relaxed) + granted;
    MOST_CLAIMED.fetch_max(claimed, Ordering::Relaxed);
    Ok(granted)
}

/// Gives `count` claims back.
pub(super) fn unclaim(size: StackSize, count: usize) {
    let mut arena = arena(size);
    // What a parent of this process has claimed is not in it.
    arena.claimed = arena.claimed.saturating_sub(count);
    CLAIMED.fetch_sub(count, Ordering::Relaxed);
}

/// Fills `out` with slots, which a claim is held for each; the first is to be used first.
pub(super) fn take(size: StackSize, out: &mut [Slot]) {
    let mut late = out.len();
    {
        let mut arena = arena(size);
        for (index, place) in out.iter_mut().enumerate() {
            *place = match arena.ready.pop() {
                Some(slot) => slot,
                None => {
                    late = late.min(index);
                    arena.next_fresh(size).expect("a stack was acquired without a promise")
                }
            };
        }
    }
    guard::install_late(size, &out[late..]);
}

/// Takes slots back, and their claims. Nobody needs what is in them; their pages have been discarded.
pub(super) fn give(size: StackSize, slots: &[Slot]) {
    let mut arena = arena(size);
    debug_assert!(arena.ready.capacity() - arena.ready.len() >= slots.len());
    arena.ready.extend_from_slice(slots);
    arena.claimed -= slots.len();
    CLAIMED.fetch_sub(slots.len(), Ordering::Relaxed);
}

/// How many stacks of all sizes are promised or out, and the most that ever were.
pub(crate) fn counts() -> (usize, usize) {
    let claimed = CLAIMED.load(Ordering::Relaxed);
    (claimed, MOST_CLAIMED.load(Ordering::Relaxed).max(claimed))
}

/// Gives the pages of unused stacks back to the system, their guards excepted.
pub(super) fn discard(size: StackSize, slots: &[Slot]) {
    let guard = guard::len(size);
    for batch in slots.chunks(mem::MAX_RANGES) {
        let mut ranges = [mem::Pages { base: NonNull::dangling(), len: 0 }; mem::MAX_RANGES];
        for (range, slot) in ranges.iter_mut().zip(batch) {
            // SAFETY: a slot is one allocation, and the guard is at its low end.
            *range = mem::Pages { base: unsafe { slot.0.add(guard) }, len: size.bytes() - guard };
        }
        // SAFETY: the ranges are whole pages of our own chunks, and nobody needs an unused stack's content.
        unsafe { mem::discard(&ranges[..batch.len()]) };
    }
}

impl Arena {
    const fn new() -> Arena {
        Arena { ready: Vec::new(), fresh: VecDeque::new(), mapped: 0, slots: 0, claimed: 0 }
    }

    /// Makes at least one more slot that can be claimed; `want` are asked for.
    fn grow(&mut self, size: StackSize, want: usize) -> io::Result<()> {
        let kind = guard::kind()?;
        if self.fresh.is_empty() || kind == GuardKind::Advice {
            self.map_chunk(size, kind)?;
        }
        if kind == GuardKind::Protection {
            self.guard_early(size, want)?;
        }
        Ok(())
    }

    /// Moves up to `want` fresh slots to `ready`, guarded. Fails if it cannot move one.
    fn guard_early(&mut self, size: StackSize, want: usize) -> io::Result<()> {
        let before = self.ready.len();
        for _ in 0..want {
            let Some(run) = self.fresh.front() else { break };
            match guard::install_early(size, run.next) {
                Ok(()) => {}
                Err(error) if self.ready.len() == before => return Err(error),
                Err(_) => break,
            }
            let slot = self.next_fresh(size).expect("the run was seen above");
            self.ready.push(slot);
            self.slots += 1;
        }
        // `ready` is used from its end.
        self.ready[before..].reverse();
        Ok(())
    }

    /// Reserves another chunk: as much again as there is, or what the system allows.
    fn map_chunk(&mut self, size: StackSize, kind: GuardKind) -> io::Result<()> {
        let first = size.how_many(FIRST_CHUNK, 1, FIRST_STACKS);
        let next = self.mapped.clamp(first, first.max(size.how_many(MAX_CHUNK, 1, usize::MAX)));
        let (base, count) = reserve_slots(size, next)
            .or_else(|_| reserve_slots(size, first))
            .or_else(|_| reserve_slots(size, 1))
            .map_err(|cause| limits::mapping_refused(size.bytes() + SPARE, &cause))?;
        let chunk = mem::Pages { base, len: count * size.bytes() };
        if let Err(error) = self.make_room(count).and_then(|()| register(chunk, size)) {
            // SAFETY: the chunk is new and nobody knows of it.
            unsafe { mem::unmap(chunk) };
            return Err(error);
        }
        self.fresh.push_back(Run { next: Slot(base), left: count });
        self.mapped += count;
        if kind == GuardKind::Advice {
            self.slots += count;
        }
        Ok(())
    }

    /// Makes room for `count` more slots in `ready` and for one more run, so that nothing allocates later.
    fn make_room(&mut self, count: usize) -> io::Result<()> {
        self.ready
            .try_reserve(self.mapped + count - self.ready.len())
            .and_then(|()| self.fresh.try_reserve(1))
            .map_err(|_| io::Error::new(io::ErrorKind::OutOfMemory, "no memory for the list of free stacks"))
    }

    fn next_fresh(&mut self, size: StackSize) -> Option<Slot> {
        let run = self.fresh.front_mut()?;
        let slot = run.next;
        run.left -= 1;
        if run.left == 0 {
            self.fresh.pop_front();
        } else {
            // SAFETY: there is one more slot in this chunk.
            run.next = Slot(unsafe { slot.0.add(size.bytes()) });
        }
        Some(slot)
    }
}

/// Reserves `count` slots, if [`SPARE`] is left beyond them.
fn reserve_slots(size: StackSize, count: usize) -> io::Result<(NonNull<u8>, usize)> {
    let len = count * size.bytes();
    let base = mem::reserve(len + SPARE)?;
    // SAFETY: the end of a mapping that is new and that nobody knows of.
    unsafe { mem::unmap(mem::Pages { base: base.add(len), len: SPARE }) };
    Ok((base, count))
}

/// A chunk, as a signal handler finds it.
struct Chunk {
    /// Zero until the entry is complete.
    base: AtomicUsize,
    len: AtomicUsize,
    shift: AtomicUsize,
}

/// More than fit into 47 bits of address space when nothing is refused.
const MAX_CHUNKS: usize = 4096;
static CHUNKS: [Chunk; MAX_CHUNKS] =
    [const { Chunk { base: AtomicUsize::new(0), len: AtomicUsize::new(0), shift: AtomicUsize::new(0) } }; MAX_CHUNKS];
static CHUNK_COUNT: AtomicUsize = AtomicUsize::new(0);

fn register(pages: mem::Pages, size: StackSize) -> io::Result<()> {
    let bump = |count| (count < MAX_CHUNKS).then_some(count + 1);
    // ORDERING: Relaxed: the number only hands out entries; an entry's `base` publishes it.
    let Ok(index) = CHUNK_COUNT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, bump) else {
        return Err(io::Error::new(io::ErrorKind::OutOfMemory, "too many chunks of stacks"));
    };
    CHUNKS[index].len.store(pages.len, Ordering::Relaxed);
    CHUNKS[index].shift.store(size.shift() as usize, Ordering::Relaxed);
    // ORDERING: Release pairs with the Acquire in `guard_below`: a thread that sees the base sees length and shift.
    CHUNKS[index].base.store(pages.base.addr().get(), Ordering::Release);
    Ok(())
}

/// The size of the stack whose guard `address` lies in, or less than `reach` bytes above. Safe in a signal handler: no lock,
/// no allocation.
pub(super) fn guard_below(address: usize, reach: usize) -> Option<StackSize> {
    // ORDERING: Relaxed: code that runs on a stack of a chunk has seen that registered.
    for chunk in &CHUNKS[..CHUNK_COUNT.load(Ordering::Relaxed)] {
        // ORDERING: Acquire pairs with the Release in `register`.
        let base = chunk.base.load(Ordering::Acquire);
        let offset = address.wrapping_sub(base);
        if base != 0 && offset < chunk.len.load(Ordering::Relaxed) {
            let size = StackSize::from_shift(chunk.shift.load(Ordering::Relaxed) as u32);
            return (offset % size.bytes() < guard::len(size) + reach).then_some(size);
        }
    }
    None
}

/// The top of the stack that `address` lies in; `None`: it lies in no stack, or in its guard. Safe in a signal handler, as above.
pub(crate) fn top_above(address: usize) -> Option<usize> {
    // ORDERING: as in `guard_below`.
    CHUNKS[..CHUNK_COUNT.load(Ordering::Relaxed)].iter().find_map(|chunk| {
        // ORDERING: Acquire pairs with the Release in `register`.
        let base = chunk.base.load(Ordering::Acquire);
        let offset = address.wrapping_sub(base);
        if base == 0 || offset >= chunk.len.load(Ordering::Relaxed) {
            return None;
        }
        let size = StackSize::from_shift(chunk.shift.load(Ordering::Relaxed) as u32);
        let slot = NonNull::new(ptr::with_exposed_provenance_mut::<u8>(address - offset % size.bytes()))?;
        let top = Stack { slot: Slot(slot), size }.top().addr().get();
        (offset % size.bytes() >= guard::len(size) && address < top).then_some(top)
    })
}

/// How many slots of `size` are promised or out.
#[cfg(test)]
pub(super) fn claimed(size: StackSize) -> usize {
    arena(size).claimed
}
