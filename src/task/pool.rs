//! Small blocks of memory that are allocated on one thread and freed on another, thousands a burst: tasks, actors, messages.
//!
//! A general allocator keeps a handful of blocks of each size at hand for a thread (glibc: seven) and takes its slow path
//! beyond: measured, more than half of what a message costs, and even its fast path a fifth of spawn and join. Here each OS
//! thread has a shelf for each of a few sizes, and the shelves exchange whole batches through a common store, so that a
//! thread that only sends gets back what another frees. Larger or oddly aligned blocks go to the allocator, as does what
//! the store has no room for, and everything under Miri and the sanitizers, which then see what touches a block too late.
//!
//! # Invariants
//!
//! 1. A block on a shelf or in the store was allocated with the layout of its size class, and nobody else has it.
//! 2. The first word of such a block links to the next one of its batch.

use std::alloc::Layout;
use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::base::lock::lock;
use crate::sys::fork::PerProcess;
use crate::sys::mem;

/// The sizes of blocks; their alignment is 16. (glibc rounds a size up to 8 more than a multiple of 16.)
const SIZES: [usize; 6] = [64, 128, 168, 200, 232, 248];
const ALIGN: usize = 16;
/// Blocks in a batch; a shelf holds two at most.
const BATCH: u32 = 128;
/// So much memory is got at a time while the number of blocks rises. (At 128 KiB glibc would give it back at once.)
const GROWTH: usize = 96 << 10;
/// Bytes of blocks of one size that the common store holds at most: a hundred thousand tasks.
const STORE: usize = 16 << 20;

/// A block in a stack of blocks, linked by their first words.
struct Link {
    next: *mut Link,
}

/// Without holes: every thread with thread-locals of its own has these in its block.
struct BlockShelf {
    /// Blocks are taken from here, and put here.
    open: Cell<*mut Link>,
    /// A full batch, or nothing.
    spare: Cell<*mut Link>,
    /// How many are in `open`.
    len: Cell<u32>,
    /// Blocks that came from the allocator.
    fresh: Cell<u32>,
}

impl BlockShelf {
    const fn new() -> Self {
        Self {
            open: Cell::new(ptr::null_mut()),
            spare: Cell::new(ptr::null_mut()),
            len: Cell::new(0),
            fresh: Cell::new(0),
        }
    }

    /// What is open, which is then empty.
    fn take_open(&self) -> *mut Link {
        self.len.set(0);
        self.open.replace(ptr::null_mut())
    }
}

struct Shelves([BlockShelf; SIZES.len()]);

struct Store(Vec<*mut Link>);

// SAFETY: the batches are the store's own (invariant 1).
unsafe impl Send for Store {}

static STORES: PerProcess<[Mutex<Store>; SIZES.len()]> =
    PerProcess::new(|| [const { Mutex::new(Store(Vec::new())) }; SIZES.len()]);
/// Batches in each store: spares an empty one the lock.
static STORED: [AtomicUsize; SIZES.len()] = [const { AtomicUsize::new(0) }; SIZES.len()];

thread_local! {
    static SHELVES: Shelves = const {
        Shelves([const { BlockShelf::new() }; SIZES.len()])
    };
}

const fn class_of(layout: Layout) -> Option<usize> {
    if layout.align() > ALIGN || cfg!(any(miri, green_sanitized)) {
        return None;
    }
    let mut class = 0;
    while class < SIZES.len() {
        if layout.size() <= SIZES[class] {
            return Some(class);
        }
        class += 1;
    }
    None
}

fn class_layout(class: usize) -> Layout {
    Layout::from_size_align(SIZES[class], ALIGN).expect("a small size and a power of two")
}

/// Memory for a `T`. None: the allocator has no more.
#[inline]
pub(crate) fn allocate<T>() -> Option<NonNull<T>> {
    let layout = const { Layout::new::<T>() };
    match const { class_of(Layout::new::<T>()) } {
        Some(class) => allocate_class(class).map(NonNull::cast),
        None if layout.size() == 0 => Some(NonNull::dangling()),
        // SAFETY: the layout is not of size zero.
        None => NonNull::new(unsafe { std::alloc::alloc(layout) }.cast()),
    }
}

/// Frees the memory.
///
/// # Safety
///
/// The block came from [`allocate`] for this `T`, and is the caller's.
#[inline]
pub(crate) unsafe fn free<T>(block: NonNull<T>) {
    let layout = const { Layout::new::<T>() };
    // SAFETY: as the caller promises.
    unsafe {
        match const { class_of(Layout::new::<T>()) } {
            Some(class) => free_class(class, block.cast()),
            None if layout.size() == 0 => {}
            None => std::alloc::dealloc(block.as_ptr().cast(), layout),
        }
    }
}

#[inline]
fn allocate_class(class: usize) -> Option<NonNull<u8>> {
    let taken = SHELVES.try_with(|shelves| {
        let shelf = &shelves.0[class];
        let block = NonNull::new(shelf.open.get())?;
        // SAFETY: invariant 2.
        shelf.open.set(unsafe { block.as_ref() }.next);
        shelf.len.set(shelf.len.get() - 1);
        Some(block.cast())
    });
    match taken {
        Ok(Some(block)) => Some(block),
        _ => allocate_slow(class),
    }
}

#[cold]
#[inline(never)]
fn allocate_slow(class: usize) -> Option<NonNull<u8>> {
    let batch = SHELVES.try_with(|shelves| {
        let shelf = &shelves.0[class];
        let mut batch = shelf.spare.replace(ptr::null_mut());
        if batch.is_null() {
            batch = fetch(class);
        }
        if batch.is_null() {
            let fresh = shelf.fresh.get().wrapping_add(1);
            shelf.fresh.set(fresh);
            if (fresh as usize).is_multiple_of(GROWTH / SIZES[class]) {
                grow();
            }
        }
        let block = NonNull::new(batch)?;
        // SAFETY: invariant 2; a batch has `BATCH` blocks.
        shelf.open.set(unsafe { block.as_ref() }.next);
        shelf.len.set(BATCH - 1);
        Some(block.cast())
    });
    if let Ok(Some(block)) = batch {
        return Some(block);
    }
    // SAFETY: the layout is not of size zero.
    NonNull::new(unsafe { std::alloc::alloc(class_layout(class)) })
}

/// Makes the allocator get memory for many blocks at once. glibc's heap of a thread that is not the first grows by a page
/// at a time, with a system call and a fault for each: half of what starting an actor costs while their number rises.
#[cold]
fn grow() {
    let mut ahead: Vec<u8> = Vec::new();
    if ahead.try_reserve_exact(GROWTH).is_ok() {
        mem::populate(ahead.spare_capacity_mut());
    }
}

/// A batch from the store; null: it has none.
fn fetch(class: usize) -> *mut Link {
    // ORDERING: Relaxed: a hint.
    if STORED[class].load(Ordering::Relaxed) == 0 {
        return ptr::null_mut();
    }
    let mut store = lock(&STORES.get()[class]);
    let batch = store.0.pop();
    STORED[class].store(store.0.len(), Ordering::Relaxed);
    batch.unwrap_or(ptr::null_mut())
}

/// # Safety
///
/// The block is of this class and the caller's.
#[inline]
unsafe fn free_class(class: usize, block: NonNull<u8>) {
    let put = SHELVES.try_with(|shelves| {
        let shelf = &shelves.0[class];
        let len = shelf.len.get();
        if len == BATCH {
            return false;
        }
        let block = block.cast::<Link>();
        // SAFETY: the block is free, and larger than a `Link`.
        unsafe { block.write(Link { next: shelf.open.get() }) };
        shelf.open.set(block.as_ptr());
        shelf.len.set(len + 1);
        true
    });
    if put != Ok(true) {
        // SAFETY: as the caller promises.
        unsafe { free_slow(class, block) };
    }
}

/// # Safety
///
/// As [`free_class`].
#[cold]
#[inline(never)]
unsafe fn free_slow(class: usize, block: NonNull<u8>) {
    let full = SHELVES.try_with(|shelves| {
        let shelf = &shelves.0[class];
        shelf.spare.replace(shelf.take_open())
    });
    match full {
        Ok(batch) => {
            if !batch.is_null() {
                // SAFETY: the shelf gave its spare batch away.
                unsafe { store(class, batch) };
            }
            // SAFETY: as the caller promises; the shelf has room now.
            unsafe { free_class(class, block) };
        }
        // SAFETY: invariant 1.
        Err(_) => unsafe { std::alloc::dealloc(block.as_ptr(), class_layout(class)) },
    }
}

/// # Safety
///
/// `batch` is a chain of this class, and the caller's.
unsafe fn store(class: usize, batch: *mut Link) {
    {
        let mut store = lock(&STORES.get()[class]);
        if store.0.len() < STORE / (BATCH as usize * SIZES[class]) {
            store.0.push(batch);
            STORED[class].store(store.0.len(), Ordering::Relaxed);
            return;
        }
    }
    // SAFETY: as the caller promises.
    unsafe { free_chain(class, batch) };
}

/// # Safety
///
/// As [`store`].
unsafe fn free_chain(class: usize, mut chain: *mut Link) {
    while let Some(block) = NonNull::new(chain) {
        // SAFETY: invariants 1 and 2.
        unsafe {
            chain = block.as_ref().next;
            std::alloc::dealloc(block.as_ptr().cast(), class_layout(class));
        }
    }
}

impl Drop for Shelves {
    fn drop(&mut self) {
        for (class, shelf) in self.0.iter().enumerate() {
            // SAFETY: both chains are the shelf's (invariant 1); the spare one is a full batch.
            unsafe {
                free_chain(class, shelf.take_open());
                free_chain(class, shelf.spare.replace(ptr::null_mut()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::alloc::handle_alloc_error;

    use super::*;

    /// Moves `value` into a block of its own.
    fn put<T>(value: T) -> NonNull<T> {
        let block = allocate::<T>().unwrap_or_else(|| handle_alloc_error(Layout::new::<T>()));
        // SAFETY: the block is fresh, and large and aligned enough for a `T`.
        unsafe { block.write(value) };
        block
    }

    /// Moves the value out, and frees the block.
    ///
    /// # Safety
    ///
    /// The block came from [`put`] for this `T`, and is the caller's.
    unsafe fn take<T>(block: NonNull<T>) -> T {
        // SAFETY: as the caller promises.
        unsafe {
            let value = block.read();
            free(block);
            value
        }
    }

    #[test]
    fn what_goes_in_comes_out_whatever_its_size() {
        // SAFETY: each block comes from `put` for the type that it is taken as.
        unsafe {
            let small: Vec<_> = (0..1000_u64).map(put).collect();
            let large: Vec<_> = (0..1000_u64).map(|n| put([n; 16])).collect();
            let huge: Vec<_> = (0..100_u64).map(|n| put([n; 100])).collect();
            assert!(small.into_iter().enumerate().all(|(n, block)| take(block) == n as u64));
            assert!(large.into_iter().enumerate().all(|(n, block)| take(block) == [n as u64; 16]));
            assert!(huge.into_iter().enumerate().all(|(n, block)| take(block) == [n as u64; 100]));
        }
    }

    #[test]
    fn blocks_freed_on_another_thread_are_whole() {
        struct Block(NonNull<u64>);
        // SAFETY: the block is the holder's.
        unsafe impl Send for Block {}
        let (sender, receiver) = std::sync::mpsc::sync_channel::<Block>(64);
        let thread = std::thread::spawn(move || {
            // SAFETY: the blocks come from `put::<u64>`.
            receiver.into_iter().map(|block| unsafe { take(block.0) }).sum::<u64>()
        });
        // Many batches either way; the store overflows only natively.
        let blocks = if cfg!(miri) { 300 } else { 20_000 };
        (0..blocks).for_each(|n| sender.send(Block(put(n))).unwrap());
        drop(sender);
        assert_eq!(thread.join().unwrap(), blocks * (blocks - 1) / 2);
    }
}
