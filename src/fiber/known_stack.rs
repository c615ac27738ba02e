//! What Valgrind is told of a stack, in a build for it (`GREEN_VALGRIND=1`): where it is. Untold, it guesses by how far the stack pointer moves whether a switch is a call with a huge frame.

use crate::stack::Stack;

/// A stack, as Valgrind knows it. In other builds: nothing.
#[derive(Debug)]
pub(super) struct KnownStack {
    #[cfg(green_valgrind)]
    number: usize,
}

#[cfg(green_valgrind)]
impl KnownStack {
    pub(super) fn new(stack: &Stack) -> Self {
        const REGISTER: usize = 0x1501;
        let (lowest, top) = (stack.limit().addr().get(), stack.top().addr().get());
        Self { number: crate::arch::ask_valgrind([REGISTER, lowest, top - 1, 0, 0, 0]) }
    }

    /// Nobody is on it.
    pub(super) fn is_over(&self) {
        const DEREGISTER: usize = 0x1502;
        _ = crate::arch::ask_valgrind([DEREGISTER, self.number, 0, 0, 0, 0]);
    }
}

#[cfg(not(green_valgrind))]
impl KnownStack {
    #[inline(always)]
    pub(super) fn new(_: &Stack) -> Self {
        Self {}
    }

    #[inline(always)]
    pub(super) fn is_over(&self) {}
}
