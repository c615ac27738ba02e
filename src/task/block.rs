//! The heap block of a spawned thread: header, then the closure, and later in its place the result. One allocation.
//!
//! # Invariants
//!
//! 1. `cell` holds the closure until `run` or `drop_closure` takes it, then (after `run`) the result until
//!    `take_output` or `drop_output` takes it. The callers keep to that order: `run` once by the thread that claimed the
//!    task; the result after `COMPLETE`, by the side that the state word names.
//! 2. `free` comes last and drops nothing but the header.

use std::any::Any;
use std::cell::UnsafeCell;
use std::io;
use std::mem::{ManuallyDrop, offset_of};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use super::pool;
use crate::task::cancel::{Cancelled, TimedOut};
use crate::task::header::{Header, Main, Spec, VTable};
use crate::task::unwound::EndsBy;

/// What a thread ends with.
pub(crate) type Output<T> = Result<T, Box<dyn Any + Send + 'static>>;

/// What is told how a thread ends: nothing (`()`), or the scope that it belongs to.
pub(crate) trait TaskOwner {
    /// It begins with what the thread has called at each switch.
    const HAS_CALLS: bool = false;

    /// A panic of the thread was not joined.
    fn unhandled_panic(&self) {}
    /// The thread touches nothing any more that its closure borrowed.
    fn done(&self) {}
}

impl TaskOwner for () {}

#[repr(C)]
struct TaskBlock<F, T, O> {
    header: Header,
    owner: O,
    cell: UnsafeCell<Contents<F, T>>,
}

union Contents<F, T> {
    closure: ManuallyDrop<F>,
    output: ManuallyDrop<Output<T>>,
}

/// Makes a task of `closure`. Out of memory: an error, and the closure is dropped.
#[inline(always)]
pub(crate) fn new<M: Main, F: FnOnce() -> T, T, O: TaskOwner>(
    spec: Spec,
    owner: O,
    closure: F,
) -> io::Result<NonNull<Header>> {
    let Some(block) = pool::allocate::<TaskBlock<F, T, O>>() else {
        return Err(no_memory(size_of::<TaskBlock<F, T, O>>()));
    };
    let header = Header::new(spec, const { &vtable::<M, F, T, O>() });
    let contents = Contents { closure: ManuallyDrop::new(closure) };
    // SAFETY: fresh memory of this very layout.
    unsafe { block.write(TaskBlock { header, owner, cell: UnsafeCell::new(contents) }) };
    Ok(block.cast())
}

/// The same, for a thread of the rarer kinds: shorter than it is quick.
pub(crate) fn new_apart<M: Main, F: FnOnce() -> T, T, O: TaskOwner>(
    spec: Spec,
    owner: O,
    closure: F,
) -> io::Result<NonNull<Header>> {
    let Some(block) = pool::allocate::<TaskBlock<F, T, O>>() else {
        return Err(no_memory(size_of::<TaskBlock<F, T, O>>()));
    };
    let place = block.as_ptr();
    // SAFETY: fresh memory of this very layout; all three fields are written.
    unsafe {
        write_header(&raw mut (*place).header, spec, const { &vtable::<M, F, T, O>() });
        (&raw mut (*place).owner).write(owner);
        (&raw mut (*place).cell).write(UnsafeCell::new(Contents { closure: ManuallyDrop::new(closure) }));
    }
    Ok(block.cast())
}

/// # Safety
///
/// `place` is room for a header.
#[inline(never)]
unsafe fn write_header(place: *mut Header, spec: Spec, vtable: &'static VTable) {
    // SAFETY: as the caller promises.
    unsafe { place.write(Header::new(spec, vtable)) };
}

#[cold]
#[inline(never)]
fn no_memory(bytes: usize) -> io::Error {
    let message = format!("no memory for a green thread: the allocator refused {bytes} bytes");
    io::Error::new(io::ErrorKind::OutOfMemory, message)
}

const fn vtable<M: Main, F: FnOnce() -> T, T, O: TaskOwner>() -> VTable {
    VTable {
        main: M::MAIN,
        border: M::BORDER,
        run: run::<M, F, T, O>,
        take_output: take_output::<F, T, O>,
        drop_output: drop_output::<F, T, O>,
        done: done::<F, T, O>,
        free: free::<F, T, O>,
        after_run: None,
        type_name: None,
        calls_at: if O::HAS_CALLS { Some(offset_of!(TaskBlock<F, T, O>, owner)) } else { None },
    }
}

fn cell<F, T, O>(header: NonNull<Header>) -> *mut Contents<F, T> {
    // SAFETY: invariant 1 of `header`: the pointer reaches the whole block, and it is this closure's vtable that calls.
    unsafe { (*header.cast::<TaskBlock<F, T, O>>().as_ptr()).cell.get() }
}

unsafe fn run<M: Main, F: FnOnce() -> T, T, O>(header: NonNull<Header>, start: bool) {
    let cell = cell::<F, T, O>(header);
    // SAFETY: invariant 1: the closure is there and only the thread itself touches it now.
    let closure = unsafe { ManuallyDrop::take(&mut (*cell).closure) };
    let output = catch_unwind(AssertUnwindSafe(move || if start { Some(closure()) } else { None }));
    let output = output.and_then(|value| value.ok_or_else(Cancelled::payload)).map_err(|payload| {
        // The time for what waits as it is dropped was over: the thread has not started all the same.
        if !start && payload.is::<TimedOut>() { Cancelled::payload() } else { payload }
    });
    if start && let Err(payload) = &output {
        // SAFETY: the caller holds a reference.
        M::unwound(unsafe { header.as_ref() }, if payload.is::<Cancelled>() { EndsBy::Cancel } else { EndsBy::Panic });
    }
    // SAFETY: invariant 1: the closure has been moved out.
    unsafe { (*cell).output = ManuallyDrop::new(output) };
}

unsafe fn take_output<F, T, O>(header: NonNull<Header>, to: *mut ()) {
    // SAFETY: invariant 1: the result is there and the caller's; `to` is room for an `Output<T>`.
    unsafe { to.cast::<Output<T>>().write(ManuallyDrop::take(&mut (*cell::<F, T, O>(header)).output)) };
}

unsafe fn drop_output<F, T, O: TaskOwner>(header: NonNull<Header>) {
    // SAFETY: invariant 1: the result is there and the caller's.
    let output = unsafe { ManuallyDrop::take(&mut (*cell::<F, T, O>(header)).output) };
    if output.as_ref().is_err_and(|payload| !payload.is::<Cancelled>()) {
        // SAFETY: the caller holds a reference, and nothing changes `owner`.
        unsafe { (*header.cast::<TaskBlock<F, T, O>>().as_ptr()).owner.unhandled_panic() };
    }
    drop(output);
}

unsafe fn done<F, T, O: TaskOwner>(header: NonNull<Header>) {
    // SAFETY: the caller holds a reference, and nothing changes `owner`.
    unsafe { (*header.cast::<TaskBlock<F, T, O>>().as_ptr()).owner.done() };
}

unsafe fn free<F, T, O>(header: NonNull<Header>) {
    let block = header.cast::<TaskBlock<F, T, O>>();
    // SAFETY: invariant 2; the block came from the pool, for this type, in `new`.
    unsafe {
        std::ptr::drop_in_place(&raw mut (*block.as_ptr()).header);
        std::ptr::drop_in_place(&raw mut (*block.as_ptr()).owner);
        pool::free(block);
    }
}
