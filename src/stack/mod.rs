//! Floor 2: stacks. (interface stub)

use std::io;
use std::ptr::NonNull;

/// A validated stack size: bytes of address space a stack takes, its guard included. A power of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StackSize(u8);

impl StackSize {
    pub(crate) const DEFAULT: StackSize = StackSize(18);
    pub(crate) fn new(bytes: usize) -> io::Result<StackSize> {
        Ok(StackSize(bytes.next_power_of_two().trailing_zeros() as u8))
    }
    pub(crate) fn bytes(self) -> usize {
        1 << self.0
    }
}

/// One stack, owned: a guard at the low end, a coloured top. Dropping it leaks it; it goes back through a `Cache`.
#[derive(Debug)]
pub(crate) struct Stack {
    base: NonNull<u8>,
    size: StackSize,
}
// SAFETY: stub
unsafe impl Send for Stack {}

impl Stack {
    /// One past the highest usable byte; a multiple of 64; coloured.
    #[inline]
    pub(crate) fn top(&self) -> NonNull<u8> {
        // SAFETY: stub
        unsafe { self.base.add(self.size.bytes()) }
    }
    /// The lowest usable byte (just above the guard).
    pub(crate) fn limit(&self) -> NonNull<u8> {
        self.base
    }
    pub(crate) fn size(&self) -> StackSize {
        self.size
    }
}

/// One worker's hot stacks.
#[derive(Debug, Default)]
pub(crate) struct Cache {}

impl Cache {
    pub(crate) fn new() -> Cache {
        Cache {}
    }
    /// Promises one stack of `size`: after `Ok`, one `acquire` cannot fail.
    pub(crate) fn reserve(&mut self, _size: StackSize) -> io::Result<()> {
        Ok(())
    }
    /// Takes a promise back (from `reserve` here or in another cache, or from [`reserve`]).
    pub(crate) fn unreserve(&mut self, _size: StackSize) {}
    /// The hottest free stack; spends one promise.
    pub(crate) fn acquire(&mut self, size: StackSize) -> Stack {
        let v = vec![0u8; size.bytes() + 64].leak();
        let a = v.as_mut_ptr().align_offset(64);
        Stack { base: NonNull::new(v[a..].as_mut_ptr()).unwrap(), size }
    }
    /// Gives a stack back; the promise that it was acquired with is free again.
    pub(crate) fn release(&mut self, _stack: Stack) {}
    /// Gives the pages of stacks beyond the watermark back to the system. Called when the worker is idle.
    pub(crate) fn trim(&mut self) {}
}

/// As `Cache::reserve`, from a thread without a cache.
pub(crate) fn reserve(_size: StackSize) -> io::Result<()> {
    Ok(())
}
