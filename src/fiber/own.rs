//! A fiber with thread-locals of its own: steps U1 and U2 of [`thread_locals`](crate::thread_locals).
//!
//! The fiber of a thread stands in a *slot*, in the thread's header, where the hub finds it to resume it. While a thread with thread-locals of
//! its own runs, the slot is empty and the fiber stands in the record of the thread's block.
//!
//! # Invariants
//!
//! 1. The slot is empty while its fiber runs on the block, and full at all other times: whenever the hub runs.
//! 2. Between two writes of the thread pointer nothing here uses a thread-local.

use std::cell::UnsafeCell;
use std::hint::black_box;

use crate::arch::{set_thread_pointer, thread_pointer};
use crate::fiber::{Border, Fiber, Hub};
use crate::sys::sanitizer;
use crate::thread_locals::block::{Block, record};

/// Where a thread's fiber stands.
type FiberSlot = UnsafeCell<Option<Fiber>>;

/// Runs `body(arg)` on `block`, and comes back when it has returned, on the thread pointer of the hub that resumed the fiber last.
///
/// # Safety
///
/// `slot` is full, and the caller runs on the stack of the fiber in it, on the hub's thread pointer. The caller uses no thread-local afterwards, but in
/// functions that are not inlined. Nobody is on the block. `body` may be called with `arg`, and does not unwind.
#[inline(never)]
pub(crate) unsafe fn run(slot: &FiberSlot, block: &Block, body: unsafe fn(*mut ()), arg: *mut ()) {
    // SAFETY: invariant 1: the caller says that the slot is full and its fiber runs; nobody else looks until it suspends or ends, when
    // it is full again. Invariant 2.
    unsafe {
        let fiber = (*slot.get()).take().unwrap_unchecked();
        let (base, len) = fiber.stack_range();
        block.set_stack(base, len);
        block.enter();
        let record = block.record();
        record.kept.set(fiber.into_raw());
        set_thread_pointer(block.thread_pointer()); // KEY: block-begin
        black_box(body)(arg);
        *slot.get() = Some(Fiber::from_raw(record.kept.get())); // KEY: block-last-slot
        set_thread_pointer(record.hub.get()); // KEY: block-end
    }
}

/// The fiber that runs on the calling thread's block.
///
/// # Safety
///
/// The caller is on a block, and runs a fiber there. It uses what it gets as long as it runs.
pub(crate) unsafe fn running() -> Fiber {
    // SAFETY: invariant 1: the record of the block has it.
    unsafe { Fiber::from_raw(record().kept.get()) }
}

/// Suspends the fiber of `slot`, which is empty because that fiber runs on a block.
///
/// # Safety
///
/// As it says, and the caller runs on that fiber. After its first suspension a fiber is resumed by a worker's loop alone, with the address of the worker's
/// [`Hub`]. `border` tells the truth, and keeps others from the slot from `leaves` to `arrives`.
#[cold]
#[inline(never)]
pub(crate) unsafe fn suspend(slot: &FiberSlot, border: &Border) {
    // SAFETY: invariant 1: the fiber runs on the block, whose record has it; when this goes on, the hub has taken it from the slot, which it
    // has left full. The hub's thread pointer is that of the code that resumed the fiber, and goes on now; or it stays on this one, which no other
    // thread uses, until that which it resumes next sets its own. Invariant 2.
    unsafe {
        let record = black_box(record());
        let pointer = thread_pointer();
        // AddressSanitizer has a thread-local that says which fake stack is in use: the hub must find its own.
        let stays = (border.leaves)(record.is_of_loop() && !sanitizer::IS_THERE);
        let kept = record.kept.get();
        let fiber = Fiber::from_raw(kept);
        *slot.get() = Some(Fiber::from_raw(kept)); // KEY: block-slot
        if !stays {
            set_thread_pointer(record.hub.get()); // KEY: block-hub
        }
        let word = fiber.suspend();
        let worker = (*std::ptr::with_exposed_provenance::<Hub>(word)).0.get();
        if worker != 0 {
            record.set_worker(worker); // KEY: block-worker
        }
        if thread_pointer() != pointer {
            set_thread_pointer(pointer); // KEY: block-goes-on
        }
        record.set_of_loop(); // KEY: block-of-loop
        *slot.get() = None; // KEY: block-slot-empty
        if worker != 0 {
            (border.arrives)(word); // KEY: block-arrives
        }
    }
}
