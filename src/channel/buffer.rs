//! Where messages lie between send and receive: a ring of fixed size, or a chain of blocks that grows.
//!
//! # Invariants
//!
//! 1. `push` is called under the lock of the sending side, `pop` under that of the receiving side, and `pop` only for a
//!    message whose position has been read from the sending side's word: so what `push` wrote is visible to it.
//! 2. A ring is never given more messages than it has slots: `push` is called only for a position that is less than
//!    the capacity ahead of the receiving side's, as read from its word: so the slot has been emptied.
//! 3. The block that `pop` leaves is behind the one that `push` writes to, so nobody else touches it.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell;
use std::mem::MaybeUninit;
use std::ptr;

use crate::base::atomic::{AtomicPtr, MODELLED, Ordering, UnsafeCell};

/// Storage between the two sides of a channel.
///
/// # Safety
///
/// Messages come out in the order in which they went in, under the module's invariants.
pub(crate) unsafe trait Buffer<T> {
    /// Where the sending side stands.
    type Write;
    /// Where the receiving side stands.
    type Read;

    fn start(&self) -> (Self::Write, Self::Read);

    /// # Safety
    ///
    /// Invariants 1 and 2; `at` is this buffer's.
    unsafe fn push(&self, at: &mut Self::Write, message: T);

    /// # Safety
    ///
    /// Invariant 1; `at` is this buffer's.
    unsafe fn pop(&self, at: &mut Self::Read) -> T;

    /// Frees what is left when all messages are out.
    ///
    /// # Safety
    ///
    /// Called once, when nothing is pushed or popped any more.
    unsafe fn free(&self, at: &mut Self::Read);
}

type BufferSlot<T> = cell::UnsafeCell<MaybeUninit<T>>;

/// A fixed number of slots.
pub(crate) struct Ring<T>(Box<[BufferSlot<T>]>);

impl<T> Ring<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        // Not slot by slot: that takes for ever where a slot takes no memory.
        let slots = Box::<[BufferSlot<T>]>::new_uninit_slice(capacity);
        // SAFETY: a slot is itself uninitialised.
        Self(unsafe { slots.assume_init() })
    }

    #[inline(always)]
    fn step(&self, at: &mut usize) -> *mut T {
        let slot = *at;
        *at = if slot + 1 == self.0.len() { 0 } else { slot + 1 };
        // SAFETY: `at` starts with 0 and wraps above.
        unsafe { self.0.get_unchecked(slot) }.get().cast()
    }
}

// SAFETY: both sides step through the same slots in the same order.
unsafe impl<T> Buffer<T> for Ring<T> {
    type Write = usize;
    type Read = usize;

    fn start(&self) -> (usize, usize) {
        (0, 0)
    }

    #[inline(always)]
    unsafe fn push(&self, at: &mut usize, message: T) {
        // SAFETY: invariants 1 and 2: the slot is empty, and the caller's.
        unsafe { self.step(at).write(message) };
    }

    #[inline(always)]
    unsafe fn pop(&self, at: &mut usize) -> T {
        // SAFETY: invariant 1: the slot is full, and the caller's.
        unsafe { self.step(at).read() }
    }

    unsafe fn free(&self, _at: &mut usize) {}
}

/// Messages a block.
const SEGMENT: usize = if MODELLED { 2 } else { 31 };

struct Segment<T> {
    next: UnsafeCell<*mut Segment<T>>,
    slots: [BufferSlot<T>; SEGMENT],
}

/// A chain of blocks, which starts empty. One used-up block is kept for the next time.
pub(crate) struct Blocks<T> {
    /// Written with the first message, before its position is published.
    first: UnsafeCell<*mut Segment<T>>,
    spare: AtomicPtr<Segment<T>>,
}

/// A place in a block; `SEGMENT` means its end.
pub(crate) struct Cursor<T> {
    block: *mut Segment<T>,
    slot: usize,
}

// SAFETY: a cursor is touched under its side's lock.
unsafe impl<T: Send> Send for Cursor<T> {}

impl<T> Blocks<T> {
    pub(crate) fn new() -> Self {
        Self { first: UnsafeCell::new(ptr::null_mut()), spare: AtomicPtr::new(ptr::null_mut()) }
    }

    #[cold]
    #[inline(never)]
    fn fresh(&self) -> *mut Segment<T> {
        // ORDERING: Acquire pairs with the Release in `recycle`: the thread that emptied the block is done with it.
        let spare = self.spare.swap(ptr::null_mut(), Ordering::Acquire);
        if spare.is_null() {
            let layout = Layout::new::<Segment<T>>();
            // SAFETY: a block is not of size zero: it has a link.
            let block = unsafe { alloc(layout) }.cast::<Segment<T>>();
            if block.is_null() {
                handle_alloc_error(layout);
            }
            // SAFETY: fresh memory; the slots need no initialisation.
            unsafe { (&raw mut (*block).next).write(UnsafeCell::new(ptr::null_mut())) };
            block
        } else {
            spare
        }
    }

    #[cold]
    #[inline(never)]
    fn recycle(&self, block: *mut Segment<T>) {
        // SAFETY: the block is behind both cursors, so it is the caller's (invariant 3).
        unsafe { (*block).next.with_mut(|next| *next = ptr::null_mut()) };
        // ORDERING: Release pairs with the Acquire in `fresh`. What comes out was put there under the same side's lock.
        let before = self.spare.swap(block, Ordering::Release);
        if !before.is_null() {
            // SAFETY: it came from `fresh`, and nobody else has it.
            unsafe { dealloc(before.cast(), Layout::new::<Segment<T>>()) };
        }
    }
}

// SAFETY: both sides go through the same chain slot by slot.
unsafe impl<T> Buffer<T> for Blocks<T> {
    type Write = Cursor<T>;
    type Read = Cursor<T>;

    fn start(&self) -> (Cursor<T>, Cursor<T>) {
        (Cursor { block: ptr::null_mut(), slot: SEGMENT }, Cursor { block: ptr::null_mut(), slot: SEGMENT })
    }

    #[inline(always)]
    unsafe fn push(&self, at: &mut Cursor<T>, message: T) {
        if at.slot == SEGMENT {
            let block = self.fresh();
            // SAFETY: the block is the one written to, so it is alive (invariant 3).
            let link = if at.block.is_null() { &self.first } else { unsafe { &(*at.block).next } };
            // SAFETY: the other side reads the link only when the message behind it has been published (invariant 1).
            link.with_mut(|link| unsafe { *link = block });
            *at = Cursor { block, slot: 0 };
        }
        // SAFETY: the block is alive, the slot within and not published yet.
        unsafe { (*at.block).slots.get_unchecked(at.slot).get().cast::<T>().write(message) };
        at.slot += 1;
    }

    #[inline(always)]
    unsafe fn pop(&self, at: &mut Cursor<T>) -> T {
        if at.slot == SEGMENT {
            let old = at.block;
            // SAFETY: the block is the one read from, so it is alive.
            let link = if old.is_null() { &self.first } else { unsafe { &(*old).next } };
            // SAFETY: there is a message, and it lies behind this link, which was written before it (invariant 1).
            *at = Cursor { block: link.with(|link| unsafe { *link }), slot: 0 };
            if !old.is_null() {
                self.recycle(old);
            }
        }
        // SAFETY: invariant 1: the slot is full, and the caller's.
        let message = unsafe { (*at.block).slots.get_unchecked(at.slot).get().cast::<T>().read() };
        at.slot += 1;
        message
    }

    unsafe fn free(&self, at: &mut Cursor<T>) {
        let mut block = at.block;
        if block.is_null() {
            // SAFETY: nobody else is left.
            block = self.first.with(|first| unsafe { *first });
        }
        // ORDERING: Relaxed: nobody else is left.
        for mut block in [block, self.spare.swap(ptr::null_mut(), Ordering::Relaxed)] {
            while !block.is_null() {
                // SAFETY: the block came from `fresh`; its link is read before it is freed.
                unsafe {
                    let next = (*block).next.with(|next| *next);
                    dealloc(block.cast(), Layout::new::<Segment<T>>());
                    block = next;
                }
            }
        }
    }
}
