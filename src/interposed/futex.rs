#![doc = include_str!("PROTOCOL.md")]
//!
//! # Invariants
//!
//! 1. Nodes are in the frame of [`futex_wait`], linked and unlinked under the lock of the bucket of their address, as invariant 1 of
//!    [`waiters`](crate::park::waiters) asks.
//! 2. A table is never freed.

use std::ptr;

use crate::base::atomic::{AtomicPtr, AtomicU32, Ordering, fence};
use crate::base::spin::SpinLock;
use crate::park::waiters::{WaitNode, WaitPayload, Waiters, WakeList};
use crate::park::{Wait, WaitResult, park};
use crate::sys::fork;
use crate::task::header::Reason;

/// Buckets: a power of two.
const BUCKETS: usize = 256;

/// How [`futex_wait`] has ended.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum FutexEnd {
    /// The thread was woken.
    Woken,
    /// The word was another: it did not wait.
    Changed,
    /// The deadline has passed.
    TimedOut,
}

/// What a thread waits for.
struct AwaitedWord {
    address: usize,
    bits: u32,
}

impl WaitPayload for AwaitedWord {}

#[repr(align(64))]
struct Bucket {
    count: AtomicU32,
    waiters: SpinLock<Waiters<AwaitedWord>>,
}

struct FutexTable {
    /// The process that it belongs to, among those that have forked one another.
    generation: u32,
    buckets: Vec<Bucket>,
}

static TABLE: AtomicPtr<FutexTable> = AtomicPtr::new(ptr::null_mut());

/// The table of this process, if there is one.
#[inline]
fn table() -> Option<&'static FutexTable> {
    // ORDERING: Acquire pairs with the Release in `table_or_new`.
    let table = TABLE.load(Ordering::Acquire);
    // SAFETY: null, or from `Box::into_raw`; invariant 2.
    unsafe { table.as_ref() }.filter(|table| table.generation == fork::generation())
}

fn table_or_new() -> &'static FutexTable {
    loop {
        let before = TABLE.load(Ordering::Relaxed);
        if let Some(table) = table() {
            return table;
        }
        let bucket = |_| Bucket { count: AtomicU32::new(0), waiters: SpinLock::new(Waiters::new()) };
        let new = FutexTable { generation: fork::generation(), buckets: (0..BUCKETS).map(bucket).collect() };
        let new = Box::into_raw(Box::new(new));
        // ORDERING: Release publishes the table's content.
        if TABLE.compare_exchange(before, new, Ordering::Release, Ordering::Relaxed).is_err() {
            // SAFETY: it was made above, and nobody else has seen it.
            drop(unsafe { Box::from_raw(new) });
        }
    }
}

impl FutexTable {
    #[inline]
    fn bucket(&self, address: usize) -> &Bucket {
        // Fibonacci hashing: the upper bits of the product are well mixed.
        let mixed = (address as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        &self.buckets[mixed as usize % BUCKETS]
    }
}

/// Counts a thread in its bucket as long as it is there.
struct CountedIn<'a>(&'a Bucket);

impl<'a> CountedIn<'a> {
    /// Steps W1 and W2.
    fn enter(bucket: &'a Bucket) -> Self {
        bucket.count.fetch_add(1, Ordering::Relaxed);
        // ORDERING: SeqCst: the proof in the module's text; its partner is the fence in `futex_wake`.
        fence(Ordering::SeqCst);
        Self(bucket)
    }
}

impl Drop for CountedIn<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Parks the calling green thread as long as `word` is `expected`, until a [`futex_wake`] of its address and one of `bits`. Not a cancellation point.
///
/// # Safety
///
/// `word` is valid for reads, and aligned.
#[doc(hidden)]
pub unsafe fn futex_wait(word: *const AtomicU32, expected: u32, bits: u32, deadline_ns: u64) -> FutexEnd {
    let address = word.addr();
    let bucket = table_or_new().bucket(address);
    let _counted = CountedIn::enter(bucket);
    let node = WaitNode::with(AwaitedWord { address, bits });
    let wait = Wait::new(Reason::Futex).until(deadline_ns).uninterruptible();
    let ended = park(wait, |ticket| {
        let waiters = bucket.waiters.lock();
        // ORDERING: Relaxed: the fence comes before it, or the lock of a waker (step W4).
        // SAFETY: valid, as the caller promises.
        let is_same = unsafe { &*word }.load(Ordering::Relaxed) == expected;
        if is_same {
            // SAFETY: invariant 1; a wait that has begun.
            unsafe { waiters.push_back(&node, ticket) };
        }
        is_same
    });
    match ended {
        WaitResult::Notified => FutexEnd::Woken,
        WaitResult::Refused => FutexEnd::Changed,
        WaitResult::TimedOut | WaitResult::Interrupted => {
            // SAFETY: it was linked in this list.
            unsafe { bucket.waiters.lock().remove(&node) };
            if ended == WaitResult::TimedOut { FutexEnd::TimedOut } else { FutexEnd::Woken }
        }
    }
}

/// Wakes up to `most` green threads that wait at `address` for one of `bits`; says how many. From any thread.
#[doc(hidden)]
pub fn futex_wake(address: usize, most: u32, bits: u32) -> u32 {
    // ORDERING: SeqCst: the proof in the module's text; its partner is the fence in `CountedIn::enter`.
    fence(Ordering::SeqCst);
    let Some(table) = table() else { return 0 };
    let bucket = table.bucket(address);
    if bucket.count.load(Ordering::Relaxed) == 0 {
        return 0;
    }
    let mut woken = 0;
    let mut wakes = WakeList::new();
    let waiters = bucket.waiters.lock();
    let is_meant = |node: &WaitNode<AwaitedWord>| node.payload.address == address && node.payload.bits & bits != 0;
    waiters.claim_while(is_meant, |claimed| {
        woken += 1;
        wakes.push(claimed);
        woken < most
    });
    drop(waiters);
    woken
}
