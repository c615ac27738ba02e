//! Under Miri: stacks that nobody runs on, since there each fiber is an OS thread with a stack of its own.

use std::io;

use super::{Slot, Stack, StackSize};

/// Stands in for the worker's cache.
#[derive(Debug, Default)]
pub(crate) struct Cache {}

impl Cache {
    pub(crate) fn new() -> Cache {
        Cache {}
    }

    pub(crate) fn reserve(&mut self, _size: StackSize) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn unreserve(&mut self, _size: StackSize) {}

    /// A block of the heap, so that `top` and `limit` are what they say.
    pub(crate) fn acquire(&mut self, size: StackSize) -> Stack {
        // SAFETY: the layout is not empty.
        let block = unsafe { std::alloc::alloc(layout(size)) };
        let block = std::ptr::NonNull::new(block).unwrap_or_else(|| std::alloc::handle_alloc_error(layout(size)));
        Stack { slot: Slot(block), size }
    }

    pub(crate) fn acquire_unpromised(&mut self, size: StackSize) -> io::Result<Stack> {
        Ok(self.acquire(size))
    }

    pub(crate) fn release(&mut self, stack: Stack) {
        // SAFETY: every stack comes from `acquire`, with this layout, and is not used after it.
        unsafe { std::alloc::dealloc(stack.slot.0.as_ptr(), layout(stack.size)) };
    }

    pub(crate) fn trim(&mut self) {}
}

/// Nobody counts.
pub(crate) fn counts() -> (usize, usize) {
    (0, 0)
}

/// Nobody runs on these stacks.
pub(crate) fn top_above(_address: usize) -> Option<usize> {
    None
}

/// There are no guards.
pub(crate) fn guard_kind() -> &'static str {
    ""
}

fn layout(size: StackSize) -> std::alloc::Layout {
    std::alloc::Layout::from_size_align(size.bytes(), 4096).expect("a stack size is a power of two, up to 1 GiB")
}

/// As [`Cache::reserve`].
pub(crate) fn reserve(_size: StackSize) -> io::Result<()> {
    Ok(())
}

/// As [`Cache::unreserve`].
pub(crate) fn unreserve(_size: StackSize) {}

/// No guards.
pub(crate) mod guard {
    use crate::stack::StackSize;

    pub(crate) fn len(_size: StackSize) -> usize {
        0
    }
}

/// No overflows.
pub(crate) mod overflow {
    pub(crate) fn install(_describe: fn(&mut dyn FnMut(u64, Option<&str>))) {}

    pub(crate) fn prepare_thread() {}
}

/// Nobody runs on these stacks.
pub(crate) mod unused {
    /// No part of a stack.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Unused;

    impl Unused {
        pub(crate) const NONE: Unused = Unused;
    }

    /// # Safety
    ///
    /// None.
    pub(crate) unsafe fn give_back(_unused: &mut [Unused]) -> usize {
        0
    }
}
