//! The backend on the crate corosensei: for Unix targets that `asm/` has no file for, and the oracle of the
//! differential test.
//!
//! Forced unwinding is not corosensei's here but comes from above, by the word, as with every backend: the coroutine is
//! never dropped while it is suspended.
//!
//! # Invariants
//!
//! 1. `Fiber` points to its [`CoroutineFiber`], which is initialised and stays where it is until [`Fiber::into_stack`].
//! 2. `yielder` is valid from the first resume to the end of the entry: it lies at the root of the coroutine's stack.
//! 3. The fields of `CoroutineFiber` are reached one by one through raw pointers: the hub borrows `coroutine` mutably all the
//!    time that the fiber runs, and the fiber must not touch that.

use std::num::NonZeroUsize;
use std::ptr::{self, NonNull};

use ::corosensei::stack::StackPointer;
use ::corosensei::{Coroutine, CoroutineResult, Yielder};

use super::{Code, Entry, Status};
use crate::stack::Stack;

/// A closure on a stack. See the contract in the parent module.
#[derive(Debug)]
pub(crate) struct Fiber(NonNull<CoroutineFiber>);

struct CoroutineFiber {
    coroutine: Coroutine<usize, (), (), CoroutineStack>,
    /// Where `suspend` finds its way back.
    yielder: *const Yielder<usize, ()>,
    stack: Stack,
}

/// What corosensei needs to know about a stack that it does not own.
struct CoroutineStack {
    base: StackPointer,
    limit: StackPointer,
}

// SAFETY: the bounds are those of a `Stack`, which has a guard below its limit, is larger than corosensei's minimum, and
// is owned by the `CoroutineFiber` that also holds the coroutine. Both addresses are multiples of 64.
unsafe impl ::corosensei::stack::Stack for CoroutineStack {
    fn base(&self) -> StackPointer {
        self.base
    }

    fn limit(&self) -> StackPointer {
        self.limit
    }
}

/// Goes into the coroutine's closure, which must be `'static` but need not be `Send`.
#[derive(Clone, Copy)]
struct Start {
    inner: NonNull<CoroutineFiber>,
    code: Code,
}

impl Fiber {
    /// A fiber that will run `entry(arg)` on `stack`. Nothing runs yet.
    ///
    /// # Safety
    ///
    /// `entry` may be called with `arg` on the OS thread of the first resume, whenever that comes.
    pub(crate) unsafe fn new(stack: Stack, entry: Entry, arg: *mut ()) -> Fiber {
        let address = |end: NonNull<u8>| -> NonZeroUsize { end.addr() };
        let bounds = CoroutineStack { base: address(stack.top()), limit: address(stack.limit()) };
        let inner = NonNull::from(Box::leak(Box::<CoroutineFiber>::new_uninit())).cast::<CoroutineFiber>();
        let start = Start { inner, code: Code { entry, arg } };
        let coroutine = Coroutine::with_stack(bounds, move |yielder, _first_word| {
            // SAFETY: the first resume is under way, so `inner` is live (invariant 1), and nobody else reads or writes
            // `yielder` now (3). `entry` may be called (the caller of `new`).
            unsafe {
                (&raw mut (*start.inner.as_ptr()).yielder).write(yielder);
                start.code.run();
            }
        });
        // SAFETY: `inner` is a fresh allocation for a `CoroutineFiber`.
        unsafe { inner.write(CoroutineFiber { coroutine, yielder: ptr::null(), stack }) };
        Fiber(inner)
    }

    /// Runs the fiber until it suspends or ends. `word` is what its `suspend` returns; the first is not delivered.
    ///
    /// # Safety
    ///
    /// The fiber is not running and not finished, and this is the OS thread of its first resume.
    #[inline]
    pub(crate) unsafe fn resume(&self, word: usize) -> Status {
        // SAFETY: live by invariant 1; the fiber is not running (the caller), so nobody else borrows `coroutine` (3).
        let coroutine = unsafe { &mut (*self.0.as_ptr()).coroutine };
        match coroutine.resume(word) {
            CoroutineResult::Yield(()) => Status::Suspended,
            CoroutineResult::Return(()) => Status::Finished,
        }
    }

    /// Goes back to the hub; returns the word of the next resume.
    ///
    /// # Safety
    ///
    /// The caller runs on this fiber's stack.
    #[inline]
    pub(crate) unsafe fn suspend(&self) -> usize {
        // SAFETY: live by invariant 1; the fiber has started and not ended (the caller), so `yielder` is valid (2).
        unsafe { (*(*self.0.as_ptr()).yielder).suspend(()) }
    }

    /// Nothing to ask for: where the frames are is not known here.
    #[cfg(green_backend = "corosensei")]
    pub(crate) fn prefetch(&self) {}

    /// Nothing: where the frames end is not known here.
    ///
    /// # Safety
    ///
    /// None.
    #[cfg(green_backend = "corosensei")]
    pub(crate) unsafe fn unused(&self) -> Option<crate::stack::unused::Unused> {
        None
    }

    /// The stack, to be used again.
    ///
    /// # Safety
    ///
    /// The fiber is finished or was never resumed.
    pub(crate) unsafe fn into_stack(self) -> Stack {
        // SAFETY: `new` leaked the box (invariant 1), and `self` goes. No frame is left on the stack (the caller), so
        // dropping the coroutine unwinds nothing.
        let inner = unsafe { Box::from_raw(self.0.as_ptr()) };
        inner.stack
    }

    /// The stack that the fiber runs on.
    #[cfg(test)]
    pub(crate) fn stack(&self) -> &Stack {
        // SAFETY: live by invariant 1, and `stack` is written only before there is a `Fiber`.
        unsafe { &(*self.0.as_ptr()).stack }
    }
}
