//! The backend on our own assembly.
//!
//! ```text
//!      top of the stack (coloured, 64-aligned)
//!      +-----------------------------+
//!      | stack, code                 |
//!      +-----------------------------+
//!      | contexts of hub and fiber   |  one cache line: all that a switch touches
//!      +-----------------------------+ <- Fiber
//!      | the fiber's frames          |
//!      |            v                |
//! ```
//!
//! # Invariants
//!
//! 1. `Fiber` points to its [`FiberBlock`], which is initialised and stays where it is until [`Fiber::into_stack`].
//! 2. While the fiber runs, `hub` is a suspended context and `fiber` is stale; while it does not run, the reverse (and
//!    before it first runs, nothing has been written to `hub`). A fresh context counts as suspended. After the end, `fiber` leads to a trap.
//! 3. While the fiber runs, `hub_stack` says where the hub's stack is, to a sanitizer that asks; else it is stale.
//! 4. The contexts are reached by raw pointers only, because the switch writes them behind the compiler's back.

use std::mem::{MaybeUninit, offset_of};
use std::ptr::{self, NonNull};

use super::known_stack::KnownStack;
use super::{Code, Entry, SavedContext, Status};
use crate::arch::{self, MachineContext};
use crate::base::atomic::{AtomicU64, Ordering};
use crate::stack::unused::Unused;
use crate::stack::{self, Stack};
use crate::sys::sanitizer::{Bounds, KnownFiber, Left};

/// A closure on a stack. See the contract in the parent module.
#[derive(Debug)]
pub(crate) struct Fiber(NonNull<FiberBlock>);

/// The control block, at the top of the fiber's own stack.
#[repr(C, align(64))]
struct FiberBlock {
    hub: MaybeUninit<MachineContext>,
    fiber: MachineContext,
    stack: Stack,
    code: Code,
    hub_stack: Bounds,
    /// Of whoever looks after the fiber while it is suspended; 0: none.
    note: AtomicU64,
    known: KnownFiber,
    known_stack: KnownStack,
}

/// Where a debugger finds the contexts: of the side that is suspended while the fiber runs, and of the fiber while it does not.
pub(crate) const CONTEXTS: [usize; 2] = [offset_of!(FiberBlock, hub), offset_of!(FiberBlock, fiber)];

// A switch touches one line.
const _: () = assert!(offset_of!(FiberBlock, stack) == 64 && align_of::<FiberBlock>() == 64);

/// So many fibers that have resumed one another are looked for.
const DEEPEST: usize = 1024;

/// The word that `suspend` hands to the hub.
const SUSPENDED: usize = 0;
/// The word that the end of the entry hands to the hub.
const FINISHED: usize = 1;

impl Fiber {
    /// A fiber that will run `entry(arg)` on `stack`. Nothing runs yet.
    ///
    /// # Safety
    ///
    /// `entry` may be called with `arg` on the OS thread of the first resume, whenever that comes.
    #[inline(always)]
    pub(crate) unsafe fn new(stack: Stack, entry: Entry, arg: *mut ()) -> Fiber {
        // SAFETY: `stack` is owned, so the memory below its top is writable and unused; its top is a multiple of 64, the
        // block's alignment, and so is the block's size; a stack is far bigger than a block and an entry frame.
        // `main` may be called with the block, because invariant 1 holds from here on.
        unsafe {
            let block = stack.top().cast::<FiberBlock>().sub(1);
            let fiber = MachineContext::fresh(block.cast(), main, block.as_ptr().cast());
            let code = Code { entry, arg };
            let known_stack = KnownStack::new(&stack);
            block.write(FiberBlock {
                hub: MaybeUninit::uninit(),
                fiber,
                stack,
                code,
                hub_stack: Bounds::UNKNOWN,
                note: AtomicU64::new(0),
                known: KnownFiber::new(),
                known_stack,
            });
            Fiber(block)
        }
    }

    /// Runs the fiber until it suspends or ends. `word` is what its `suspend` returns; the first is not delivered.
    ///
    /// # Safety
    ///
    /// The fiber is not running and not finished, and this is the OS thread of its first resume.
    #[inline(always)]
    pub(crate) unsafe fn resume(&self, word: usize) -> Status {
        let block = self.0.as_ptr();
        // SAFETY: the block is live (invariant 1), its `fiber` is suspended (2; the caller says that it is neither
        // running nor finished) and on its own thread (the caller); the stack is the fiber's alone.
        let word = unsafe {
            let left = Left::to((*block).stack.bounds());
            (*block).known.is_resumed();
            let word = arch::switch((&raw mut (*block).hub).cast(), &raw const (*block).fiber, word);
            let _from = left.back();
            if word == FINISHED {
                (*block).known.has_ended();
            }
            word
        };
        if word == SUSPENDED { Status::Suspended } else { Status::Finished }
    }

    /// Goes back to the hub; returns the word of the next resume.
    ///
    /// # Safety
    ///
    /// The caller runs on this fiber's stack.
    #[inline(always)]
    pub(crate) unsafe fn suspend(&self) -> usize {
        let block = self.0.as_ptr();
        // SAFETY: the block is live (invariant 1); the fiber runs (the caller), so `hub` is suspended (2), by the same
        // thread; the hub's stack is untouched since.
        unsafe {
            let left = Left::to((*block).hub_stack);
            (*block).known.suspends();
            let word = arch::switch(&raw mut (*block).fiber, (&raw const (*block).hub).cast(), SUSPENDED);
            (*block).hub_stack = left.back();
            word
        }
    }

    /// Asks for the lines that the next resume touches first: the contexts, and the youngest frames of a fiber that has
    /// not called far.
    #[inline(always)]
    pub(crate) fn prefetch(&self) {
        let block = self.0.as_ptr().cast::<u8>();
        for lines_below in 0..4 {
            arch::prefetch(block.wrapping_sub(lines_below * 64));
        }
    }

    /// The part of the stack that the fiber, which is suspended, does not use, if that is known and worth a look.
    ///
    /// # Safety
    ///
    /// The fiber is suspended, or was never resumed.
    pub(crate) unsafe fn unused(&self) -> Option<Unused> {
        // SAFETY: the block is live (invariant 1), and `fiber` is a suspended context (2; the caller): its frames end at its
        // stack pointer, below which a function that switches keeps nothing.
        unsafe { (*self.0.as_ptr()).stack.unused((*self.0.as_ptr()).fiber.sp()) }
    }

    /// Leaves a note for [`peek`](Self::peek).
    pub(crate) fn leave_note(&self, note: u64) {
        // SAFETY: the block is live (invariant 1). ORDERING: Relaxed: the note is all that there is to see.
        unsafe { (*self.0.as_ptr()).note.store(note, Ordering::Relaxed) };
    }

    /// Where the fiber of `slot` is suspended, for a reader on any OS thread, while its owner may do what it likes with it.
    ///
    /// The result is worth something only if it turns out afterwards that the fiber was suspended all the time.
    ///
    /// # Safety
    ///
    /// `slot` may be read. (A stack, and the block on it, stays mapped for ever.)
    pub(crate) unsafe fn peek(slot: *const Option<Fiber>) -> Option<SavedContext> {
        // SAFETY: as the caller promises; null is `None`, and a slot that is not empty has the address of a block, which is mapped.
        unsafe {
            let block = NonNull::new(ptr::with_exposed_provenance_mut::<FiberBlock>(arch::peek(slot.cast())))?.as_ptr();
            let registers = peek_registers((&raw const (*block).fiber).cast());
            let note = arch::peek((*block).note.as_ptr().cast()) as u64;
            Some(SavedContext { registers, top: block.addr(), note })
        }
    }

    /// Where the fibers stand that are beneath the one of `slot`, which runs: the one that has resumed it, that which has resumed that, and so on. For a reader
    /// as [`peek`](Self::peek)'s; the result is worth something only if it turns out afterwards that the fiber ran all the time.
    ///
    /// # Safety
    ///
    /// As there.
    pub(crate) unsafe fn peek_beneath(slot: *const Option<Fiber>) -> impl Iterator<Item = SavedContext> {
        // SAFETY: as the caller promises.
        let first = unsafe { arch::peek(slot.cast()) };
        let hub_of = |block: usize| {
            let block = NonNull::new(ptr::with_exposed_provenance_mut::<FiberBlock>(block))?.as_ptr();
            // SAFETY: the address of a block, as in `peek`, or of the place of one on a stack, which is mapped.
            let registers = unsafe { peek_registers((&raw const (*block).hub).cast()) };
            let top = stack::top_above(registers[0])?.checked_sub(size_of::<FiberBlock>())?;
            Some(SavedContext { registers, top, note: 0 })
        };
        std::iter::successors(hub_of(first), move |context| hub_of(context.top)).take(DEEPEST)
    }

    /// The stack, to be used again.
    ///
    /// # Safety
    ///
    /// The fiber is finished or was never resumed.
    #[inline(always)]
    pub(crate) unsafe fn into_stack(self) -> Stack {
        // SAFETY: the block is live (invariant 1) and `self` goes, so its stack is moved out once. No frame is left on
        // it (the caller).
        unsafe {
            let block = self.0.as_ptr();
            (*block).known.is_over();
            (*block).known_stack.is_over();
            ptr::read(&raw const (*block).stack)
        }
    }

    /// The fiber as a pointer, for [`own`](super::own).
    #[cfg(green_thread_locals)]
    pub(super) fn into_raw(self) -> *mut () {
        self.0.as_ptr().cast()
    }

    /// # Safety
    ///
    /// The pointer came from [`into_raw`](Self::into_raw), and the fiber is used by one of its owners at a time.
    #[cfg(green_thread_locals)]
    pub(super) unsafe fn from_raw(fiber: *mut ()) -> Fiber {
        // SAFETY: as the caller promises.
        Fiber(unsafe { NonNull::new_unchecked(fiber.cast()) })
    }

    /// Where the stack is that the fiber runs on: its lowest usable address, and the bytes from there.
    #[cfg(green_thread_locals)]
    pub(crate) fn stack_range(&self) -> (usize, usize) {
        // SAFETY: the block is live (invariant 1), and `stack` is written only before there is a `Fiber`.
        let stack = unsafe { &(*self.0.as_ptr()).stack };
        let base = stack.limit().addr().get();
        (base, stack.top().addr().get() - base)
    }

    /// Is it an address in the stack that the fiber runs on?
    #[cfg(green_thread_locals)]
    #[inline]
    pub(crate) fn holds(&self, address: usize) -> bool {
        // SAFETY: as in `stack_range`.
        unsafe { &(*self.0.as_ptr()).stack }.holds(address)
    }

    /// The stack that the fiber runs on.
    #[cfg(test)]
    pub(crate) fn stack(&self) -> &Stack {
        // SAFETY: the block is live (invariant 1), and `stack` is written only before there is a `Fiber`.
        unsafe { &(*self.0.as_ptr()).stack }
    }
}

/// # Safety
///
/// They are mapped.
unsafe fn peek_registers(context: *const usize) -> [usize; 4] {
    // SAFETY: as the caller promises: a context has four words.
    std::array::from_fn(|at| unsafe { arch::peek(context.add(at)) })
}

/// First on the fiber's stack.
unsafe extern "C" fn main(block: *mut ()) -> usize {
    let block = block.cast::<FiberBlock>();
    // SAFETY: `new` passed the block, initialised (invariant 1); `code` is never written again, and `hub_stack` by the fiber
    // alone. The caller of `new` said that the entry may be called.
    unsafe {
        (*block).hub_stack = Left::never();
        (*block).code.run();
        Left::for_good((*block).hub_stack);
    }
    FINISHED
}
