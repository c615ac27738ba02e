//! A worker's own stacks and promises: what it spawns, starts and ends costs no atomic operation here.
//!
//! # Invariants
//!
//! 1. Only the owner touches a cache.
//! 2. Each stack in a shelf and each of its credits holds one claim in the arena. A promise is a credit that was
//!    handed out. To acquire a stack from the shelf spends a promise and frees the stack's own claim, so the shelf's
//!    credits go up by one; a stack that comes back brings its claim along.
//! 3. A shelf's `free` is used from its end, the hottest. Its first `clean` stacks have not been used since they came
//!    from the arena, so they have no pages to give back; the others may have. What is in the arena has none.

use std::io;

use super::size::{CLASSES, PLACES, StackSize};
use super::{Slot, Stack, arena};

/// One worker's hot stacks.
#[derive(Debug)]
pub(crate) struct Cache {
    /// The one of [`StackSize::NONE`] is always empty, and so are those behind it.
    shelves: [Shelf; PLACES],
    /// Some shelf has got free stacks since the last look, and may have many.
    has_many: bool,
}

/// The part of a cache for one size.
#[derive(Debug, Default)]
struct Shelf {
    free: Vec<Slot>,
    clean: usize,
    credits: usize,
    /// More credits than these go back to the arena.
    most_credits: usize,
}

/// With no more free stacks than these there is nothing to trim.
const FEW: usize = 2;
/// Claims are taken from the arena, and fresh stacks guarded, so many at a time.
const BATCH: usize = 64;

/// So many claims are fetched at once: 16 MiB of address space, a batch at most.
fn batch(size: StackSize) -> usize {
    size.how_many(16 << 20, 1, BATCH)
}

/// So many stacks stay, with their pages, while the worker is idle, and as many again before a system call is worth it: a
/// worker whose threads wake one by one, and end, is idle between any two of them.
fn keep_hot(size: StackSize) -> usize {
    size.how_many(16 << 20, 1, 64)
}

/// So many stacks a shelf holds: a thousand connections that come and go fit in.
fn capacity(size: StackSize) -> usize {
    size.how_many(256 << 20, 4, 1024)
}

impl Cache {
    pub(crate) fn new() -> Cache {
        let most = |class| if class < CLASSES { 2 * batch(StackSize::from_class(class)) } else { 0 };
        let shelf = |class| Shelf { most_credits: most(class), ..Shelf::default() };
        Cache { shelves: std::array::from_fn(shelf), has_many: false }
    }

    /// Promises one stack of `size`: after `Ok`, one `acquire` in any cache cannot fail.
    ///
    /// # Errors
    ///
    /// `OutOfMemory`, naming the limit that was hit.
    #[inline]
    pub(crate) fn reserve(&mut self, size: StackSize) -> io::Result<()> {
        let shelf = &mut self.shelves[size.class()];
        if shelf.credits == 0 {
            shelf.fetch_credits(size)?;
        }
        shelf.credits -= 1;
        Ok(())
    }

    /// Takes a promise back, of this cache or of another.
    #[inline]
    pub(crate) fn unreserve(&mut self, size: StackSize) {
        self.shelves[size.class()].add_credit(size);
    }

    /// The hottest free stack; spends one promise.
    #[inline]
    pub(crate) fn acquire(&mut self, size: StackSize) -> Stack {
        let shelf = &mut self.shelves[size.class()];
        let slot = match shelf.take_hottest() {
            Some(slot) => {
                shelf.add_credit(size);
                slot
            }
            None => {
                self.has_many = true;
                shelf.fetch_stacks(size)
            }
        };
        taken(slot, size)
    }

    /// As [`reserve`](Self::reserve) and [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// As `reserve`.
    #[inline]
    pub(crate) fn acquire_unpromised(&mut self, size: StackSize) -> io::Result<Stack> {
        // The credit that a promise takes is the one that the stack's own claim brings.
        if let Some(slot) = self.shelves[size.class()].take_hottest() {
            return Ok(taken(slot, size));
        }
        self.reserve(size)?;
        Ok(self.acquire(size))
    }

    /// Gives a stack back; the promise that it was acquired with is free again.
    #[inline]
    pub(crate) fn release(&mut self, stack: Stack) {
        stack.bounds().forbid();
        let Stack { slot, size } = stack;
        let shelf = &mut self.shelves[size.class()];
        if shelf.free.len() == shelf.free.capacity() && !shelf.make_room(size) {
            arena::discard(size, &[slot]);
            arena::give(size, &[slot]);
            return;
        }
        shelf.free.push(slot);
        self.has_many |= shelf.free.len() > FEW;
    }

    /// Gives all but the hottest stacks to the other workers, and their pages to the system, if they have become many.
    /// Called when the worker is idle.
    #[inline]
    pub(crate) fn trim(&mut self) {
        if self.has_many {
            self.trim_shelves();
        }
    }

    #[cold]
    fn trim_shelves(&mut self) {
        self.has_many = false;
        for (class, shelf) in self.shelves[..CLASSES].iter_mut().enumerate().filter(|(_, shelf)| shelf.free.len() > FEW)
        {
            let size = StackSize::from_class(class);
            let keep = keep_hot(size);
            if shelf.free.len() > 2 * keep {
                shelf.spill(size, shelf.free.len() - keep);
            }
        }
    }
}

#[inline]
fn taken(slot: Slot, size: StackSize) -> Stack {
    let stack = Stack { slot, size };
    stack.bounds().allow();
    stack
}

impl Drop for Cache {
    fn drop(&mut self) {
        for (class, shelf) in self.shelves[..CLASSES].iter_mut().enumerate() {
            let size = StackSize::from_class(class);
            shelf.spill(size, shelf.free.len());
            arena::unclaim(size, std::mem::take(&mut shelf.credits));
        }
    }
}

impl Shelf {
    #[inline]
    fn take_hottest(&mut self) -> Option<Slot> {
        let slot = self.free.pop()?;
        self.clean = self.clean.min(self.free.len());
        Some(slot)
    }

    #[inline]
    fn add_credit(&mut self, size: StackSize) {
        self.credits += 1;
        if self.credits > self.most_credits {
            self.return_credits(size);
        }
    }

    #[cold]
    #[inline(never)]
    fn return_credits(&mut self, size: StackSize) {
        self.credits -= batch(size);
        arena::unclaim(size, batch(size));
    }

    /// Gets at least one credit, if need be for the stacks that lie here unused.
    #[cold]
    #[inline(never)]
    fn fetch_credits(&mut self, size: StackSize) -> io::Result<()> {
        self.credits = match arena::claim(size, batch(size)) {
            Ok(granted) => granted,
            Err(error) if self.free.is_empty() => return Err(error),
            Err(_) => {
                self.spill(size, self.free.len());
                arena::claim(size, batch(size))?
            }
        };
        Ok(())
    }

    /// A stack from the arena, and, as far as the spare credits go, some more for the shelf.
    #[cold]
    #[inline(never)]
    fn fetch_stacks(&mut self, size: StackSize) -> Slot {
        let _ = self.make_room(size);
        let more = self.credits.min(self.free.capacity()).min(batch(size) - 1);
        let mut slots = [Slot::NONE; BATCH];
        let slots = &mut slots[..=more];
        arena::take(size, slots);
        self.credits -= more;
        self.free.extend(slots[1..].iter().rev());
        self.clean = more;
        slots[0]
    }

    /// Makes room for one more stack; the coldest half goes to the arena if there are too many.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, size: StackSize) -> bool {
        if self.free.capacity() == 0 {
            return self.free.try_reserve_exact(capacity(size)).is_ok();
        }
        if self.free.len() == self.free.capacity() {
            self.spill(size, self.free.len() / 2);
        }
        true
    }

    /// Gives the `count` coldest stacks and their claims to the arena, without their pages.
    fn spill(&mut self, size: StackSize, count: usize) {
        if count == 0 {
            return;
        }
        let clean = self.clean.min(count);
        arena::discard(size, &self.free[clean..count]);
        arena::give(size, &self.free[..count]);
        self.free.drain(..count);
        self.clean -= clean;
    }
}
