//! The green-thread-local values of one thread: what `green::local!` stores.
//!
//! A thread has few of them, so they stand in a vector that is searched from its start. As with `thread_local!`, a value
//! whose destructor has begun is gone for good: a later access of its key finds [`LocalSlot::Gone`].
//!
//! # Invariants
//!
//! 1. `LocalSlot::Value` holds a pointer from `Box::into_raw`, and no other slot holds the same one.
//! 2. Only the thread that the values belong to calls anything here.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use crate::base::abort::fatal;

/// What stands under a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LocalSlot {
    /// A value; the pointer is valid until the thread ends.
    Value(NonNull<dyn Any>),
    /// The value has been dropped, because the thread is ending.
    Gone,
}

/// The values of one thread, each under the address of its key.
#[derive(Default, Debug)]
pub(crate) struct Locals {
    slots: Vec<(usize, LocalSlot)>,
}

impl Locals {
    /// What stands under `key`; `None`: nothing yet.
    pub(crate) fn get(&self, key: usize) -> Option<LocalSlot> {
        self.slots.iter().find(|(k, _)| *k == key).map(|(_, slot)| *slot)
    }

    /// Stores `value` under `key`, which has none.
    pub(crate) fn insert(&mut self, key: usize, value: Box<dyn Any>) -> NonNull<dyn Any> {
        debug_assert!(self.get(key).is_none());
        let pointer = NonNull::from(Box::leak(value));
        self.slots.push((key, LocalSlot::Value(pointer)));
        pointer
    }

    /// Was any key used since the run began?
    #[inline]
    pub(super) fn has_any(&self) -> bool {
        !self.slots.is_empty()
    }

    /// The values are gone and a new run begins: every key may have a value again.
    #[inline]
    pub(crate) fn reset(&mut self) {
        debug_assert!(self.slots.iter().all(|(_, slot)| matches!(slot, LocalSlot::Gone)));
        self.slots.clear();
    }

    /// The value to drop next: last in, first out.
    pub(crate) fn pop(&mut self) -> Option<Box<dyn Any>> {
        let (_, slot) = self.slots.iter_mut().rev().find(|(_, slot)| matches!(slot, LocalSlot::Value(_)))?;
        let LocalSlot::Value(pointer) = std::mem::replace(slot, LocalSlot::Gone) else { return None };
        // SAFETY: the pointer came from a box, and by invariant 1 it is this slot's alone; the slot is `Gone` now.
        Some(unsafe { Box::from_raw(pointer.as_ptr()) })
    }
}

/// Drops all values of a thread that is over, destructors that make new values included. As with std, a panic in one of
/// them cannot be handed to anybody and ends the process. True: there was one.
///
/// # Safety
///
/// Called by the thread itself, to which `locals` belong.
#[cold]
pub(super) unsafe fn destroy(locals: &UnsafeCell<Locals>) -> bool {
    let mut any = false;
    // SAFETY: invariant 2; the borrow ends before the destructor runs.
    while let Some(value) = unsafe { &mut *locals.get() }.pop() {
        if catch_unwind(AssertUnwindSafe(|| drop(value))).is_err() {
            fatal(format_args!("the destructor of a green-thread-local value panicked"));
        }
        any = true;
    }
    any
}
