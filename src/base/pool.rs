//! Small blocks of memory that are allocated on one thread and freed on another, thousands a burst: messages.
//!
//! A general allocator keeps a handful of blocks of each size at hand for a thread (glibc: seven) and takes its slow path
//! beyond: measured, more than half of what a message costs. Here each OS thread has a shelf for each of two sizes, and the
//! shelves exchange whole batches through a common store, so that a thread that only sends gets back what another frees.
//! Larger or oddly aligned blocks go to the allocator, as does what the store has no room for.
//!
//! # Invariants
//!
//! 1. A block on a shelf or in the store was allocated with the layout of its size class, and nobody else has it.
//! 2. The first word of such a block links to the next one of its batch.

use std::alloc::{Layout, handle_alloc_error};
use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};

/// The sizes of blocks; their alignment is 16.
const SIZES: [usize; 2] = [64, 128];
const ALIGN: usize = 16;
/// Blocks in a batch; a shelf holds two at most.
const BATCH: u32 = 128;
/// Batches of one size that the common store holds.
const STORE: usize = 64;

/// A stack of blocks, linked by their first words.
#[derive(Clone, Copy)]
struct Chain {
    first: *mut Chain,
    len: u32,
}

const EMPTY: Chain = Chain { first: ptr::null_mut(), len: 0 };

struct Shelf {
    /// Blocks are taken from here, and put here.
    open: Cell<Chain>,
    /// A full batch, or nothing.
    spare: Cell<*mut Chain>,
}

struct Shelves([Shelf; SIZES.len()]);

struct Store(Vec<*mut Chain>);

// SAFETY: the batches are the store's own (invariant 1).
unsafe impl Send for Store {}

static STORES: [Mutex<Store>; SIZES.len()] = [const { Mutex::new(Store(Vec::new())) }; SIZES.len()];

thread_local! {
    static SHELVES: Shelves = const {
        Shelves([const { Shelf { open: Cell::new(EMPTY), spare: Cell::new(ptr::null_mut()) } }; SIZES.len()])
    };
}

const fn class_of(layout: Layout) -> Option<usize> {
    match layout.size() {
        _ if layout.align() > ALIGN => None,
        size if size <= SIZES[0] => Some(0),
        size if size <= SIZES[1] => Some(1),
        _ => None,
    }
}

fn class_layout(class: usize) -> Layout {
    Layout::from_size_align(SIZES[class], ALIGN).expect("a small size and a power of two")
}

/// Moves `value` into a block of its own.
#[inline]
pub(crate) fn put<T>(value: T) -> NonNull<T> {
    let block = match const { class_of(Layout::new::<T>()) } {
        Some(class) => allocate(class).cast::<T>(),
        None => NonNull::from(Box::leak(Box::<T>::new_uninit())).cast(),
    };
    // SAFETY: the block is fresh, and large and aligned enough for a `T`.
    unsafe { block.write(value) };
    block
}

/// Moves the value out, and frees the block.
///
/// # Safety
///
/// The block came from [`put`] for this `T`, and is the caller's.
#[inline]
pub(crate) unsafe fn take<T>(block: NonNull<T>) -> T {
    // SAFETY: as the caller promises.
    unsafe {
        let value = block.read();
        match const { class_of(Layout::new::<T>()) } {
            Some(class) => free(class, block.cast()),
            None => drop(Box::from_raw(block.cast::<std::mem::MaybeUninit<T>>().as_ptr())),
        }
        value
    }
}

#[inline]
fn allocate(class: usize) -> NonNull<u8> {
    let taken = SHELVES.try_with(|shelves| {
        let shelf = &shelves.0[class];
        let open = shelf.open.get();
        let block = NonNull::new(open.first)?;
        // SAFETY: invariant 2.
        shelf.open.set(Chain { first: unsafe { block.as_ref() }.first, len: open.len - 1 });
        Some(block.cast())
    });
    match taken {
        Ok(Some(block)) => block,
        _ => allocate_slow(class),
    }
}

#[cold]
#[inline(never)]
fn allocate_slow(class: usize) -> NonNull<u8> {
    let batch = SHELVES.try_with(|shelves| {
        let shelf = &shelves.0[class];
        let mut batch = shelf.spare.replace(ptr::null_mut());
        if batch.is_null() {
            batch = STORES[class].lock().unwrap_or_else(PoisonError::into_inner).0.pop().unwrap_or(ptr::null_mut());
        }
        let block = NonNull::new(batch)?;
        // SAFETY: invariant 2; a batch has `BATCH` blocks.
        shelf.open.set(Chain { first: unsafe { block.as_ref() }.first, len: BATCH - 1 });
        Some(block.cast())
    });
    if let Ok(Some(block)) = batch {
        return block;
    }
    let layout = class_layout(class);
    // SAFETY: the layout is not of size zero.
    NonNull::new(unsafe { std::alloc::alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

/// # Safety
///
/// The block is of this class and the caller's.
#[inline]
unsafe fn free(class: usize, block: NonNull<u8>) {
    let put = SHELVES.try_with(|shelves| {
        let shelf = &shelves.0[class];
        let open = shelf.open.get();
        if open.len == BATCH {
            return false;
        }
        let block = block.cast::<Chain>();
        // SAFETY: the block is free, and larger than a `Chain`.
        unsafe { block.write(Chain { first: open.first, len: 0 }) };
        shelf.open.set(Chain { first: block.as_ptr(), len: open.len + 1 });
        true
    });
    if put != Ok(true) {
        // SAFETY: as the caller promises.
        unsafe { free_slow(class, block) };
    }
}

/// # Safety
///
/// As [`free`].
#[cold]
#[inline(never)]
unsafe fn free_slow(class: usize, block: NonNull<u8>) {
    let full = SHELVES.try_with(|shelves| {
        let shelf = &shelves.0[class];
        let batch = shelf.open.replace(EMPTY).first;
        shelf.spare.replace(batch)
    });
    match full {
        Ok(batch) => {
            if !batch.is_null() {
                // SAFETY: the shelf gave its spare batch away.
                unsafe { store(class, batch) };
            }
            // SAFETY: as the caller promises; the shelf has room now.
            unsafe { free(class, block) };
        }
        // SAFETY: invariant 1.
        Err(_) => unsafe { std::alloc::dealloc(block.as_ptr(), class_layout(class)) },
    }
}

/// # Safety
///
/// `batch` is a chain of this class, and the caller's.
unsafe fn store(class: usize, batch: *mut Chain) {
    {
        let mut store = STORES[class].lock().unwrap_or_else(PoisonError::into_inner);
        if store.0.len() < STORE {
            store.0.push(batch);
            return;
        }
    }
    // SAFETY: as the caller promises.
    unsafe { free_chain(class, batch) };
}

/// # Safety
///
/// As [`store`].
unsafe fn free_chain(class: usize, mut chain: *mut Chain) {
    while let Some(block) = NonNull::new(chain) {
        // SAFETY: invariants 1 and 2.
        unsafe {
            chain = block.as_ref().first;
            std::alloc::dealloc(block.as_ptr().cast(), class_layout(class));
        }
    }
}

impl Drop for Shelves {
    fn drop(&mut self) {
        for (class, shelf) in self.0.iter().enumerate() {
            // SAFETY: both chains are the shelf's (invariant 1); the spare one is a full batch.
            unsafe {
                free_chain(class, shelf.open.replace(EMPTY).first);
                free_chain(class, shelf.spare.replace(ptr::null_mut()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
