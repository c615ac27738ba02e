#![doc = include_str!("PROTOCOL.md")]
//!
//! # Invariants
//!
//! 1. Nodes are in the frame of `wait_in_line`, linked and unlinked under the lock of the bucket of their address, as invariant 1 of
//!    [`waiters`](crate::park::waiters) asks.
//! 2. A node's `word` is null, or valid as long as the node's thread waits.

use std::ptr;

use crate::base::atomic::{AtomicU32, AtomicU64, MODELLED, Ordering, fence};
use crate::base::spin::SpinLock;
use crate::park::waiters::{WaitNode, WaitPayload, Waiters, WakeList};
use crate::park::{Wait, WaitResult, park};
use crate::sys::fork::PerProcess;
use crate::task::header::Reason;

/// Buckets that are made at a time, and how often: powers of two. So many that threads which wait for different words seldom share one.
const CHUNK: usize = if MODELLED { 1 } else { 64 };
const CHUNKS: usize = if MODELLED { 1 } else { 256 };

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
    /// To be looked at by who wakes the thread; may be null.
    word: *const AtomicU32,
}

impl WaitPayload for AwaitedWord {}

// SAFETY: the pointer is used as invariant 2 says.
unsafe impl Send for AwaitedWord {}

#[repr(align(64))]
struct Bucket {
    /// 0: nobody waits, or is about to. Written under the lock; 0 by a waker that has found nobody.
    occupied: AtomicU32,
    waiters: SpinLock<Waiters<AwaitedWord>>,
    /// How many have waited for words. Written under the lock: so it costs no exchange.
    waits: AtomicU64,
}

type BucketChunk = [Bucket; CHUNK];

fn new_chunk() -> BucketChunk {
    std::array::from_fn(|_| Bucket {
        occupied: AtomicU32::new(0),
        waiters: SpinLock::new(Waiters::new()),
        waits: AtomicU64::new(0),
    })
}

static TABLE: [PerProcess<BucketChunk>; CHUNKS] = [const { PerProcess::new(new_chunk) }; CHUNKS];

/// The chunk of an address, and the bucket in it.
#[inline]
fn place(address: usize) -> (&'static PerProcess<BucketChunk>, usize) {
    // Fibonacci hashing: the upper bits of the product are well mixed.
    let mixed = ((address as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize;
    (&TABLE[mixed / CHUNK % CHUNKS], mixed % CHUNK)
}

/// Parks the calling green thread as long as `word` is `expected`, until a [`futex_wake`] of its address and one of `bits`. Not a cancellation point.
///
/// # Safety
///
/// `word` is valid for reads, and aligned, until this returns.
#[doc(hidden)]
#[inline]
pub unsafe fn futex_wait(word: *const AtomicU32, expected: u32, bits: u32, deadline_ns: u64) -> FutexEnd {
    // ORDERING: Relaxed: a fence comes before it, the thread's own or that of one that had the lock before; or the lock of a waker (step W3).
    // SAFETY: valid, as the caller promises.
    let is_over = || unsafe { &*word }.load(Ordering::Relaxed) != expected;
    wait_in_line(AwaitedWord { address: word.addr(), bits, word }, deadline_ns, is_over)
}

/// As [`futex_wait`], for what is at an address and is no word: `is_over` looks whether there is anything to wait for, in a few
/// instructions, and neither waits nor unwinds.
#[doc(hidden)]
pub fn address_wait(address: usize, deadline_ns: u64, is_over: impl FnOnce() -> bool) -> FutexEnd {
    wait_in_line(AwaitedWord { address, bits: u32::MAX, word: ptr::null() }, deadline_ns, is_over)
}

/// How often threads of this process have waited in [`futex_wait`].
#[doc(hidden)]
pub fn futex_waits() -> u64 {
    let buckets = TABLE.iter().filter_map(PerProcess::made).flatten();
    buckets.map(|bucket| bucket.waits.load(Ordering::Relaxed)).sum()
}

#[inline(always)]
fn wait_in_line(awaited: AwaitedWord, deadline_ns: u64, is_over: impl FnOnce() -> bool) -> FutexEnd {
    let (chunk, at) = place(awaited.address);
    let bucket = &chunk.get()[at];
    let node = WaitNode::with(awaited);
    let wait = Wait::new(Reason::Futex).until(deadline_ns).uninterruptible();
    let ended = park(wait, |ticket| {
        let waiters = bucket.waiters.lock();
        if bucket.occupied.load(Ordering::Relaxed) == 0 {
            bucket.occupied.store(1, Ordering::Relaxed); // KEY: futex-occupied
            // ORDERING: SeqCst: the proof in the module's text; its partner is the fence in `futex_wake`.
            fence(Ordering::SeqCst);
        }
        if is_over() {
            return false; // KEY: futex-look
        }
        if !node.payload.word.is_null() {
            bucket.waits.store(bucket.waits.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        // SAFETY: invariant 1; a wait that has begun.
        unsafe { waiters.push_back(&node, ticket) }; // KEY: futex-link
        true
    });
    match ended {
        WaitResult::Notified => FutexEnd::Woken,
        WaitResult::Refused => FutexEnd::Changed,
        WaitResult::TimedOut | WaitResult::Interrupted => {
            let waiters = bucket.waiters.lock();
            // SAFETY: it was linked in this list.
            unsafe { waiters.remove(&node) }; // KEY: futex-unlink
            drop(waiters);
            if ended == WaitResult::TimedOut { FutexEnd::TimedOut } else { FutexEnd::Woken }
        }
    }
}

/// What [`futex_wake`] has done.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FutexWoken {
    /// How many threads it has woken.
    pub count: u32,
    /// The word of the last one was zero.
    pub is_free: bool,
}

/// Wakes up to `most` green threads that wait at `address` for one of `bits`. From any thread, but not from a signal handler.
#[doc(hidden)]
pub fn futex_wake(address: usize, most: u32, bits: u32) -> FutexWoken {
    let mut woken = FutexWoken { count: 0, is_free: false };
    let (chunk, at) = place(address);
    let occupied = || {
        let bucket = chunk.made().map(|chunk| &chunk[at]);
        bucket.filter(|bucket| bucket.occupied.load(Ordering::Relaxed) != 0)
    };
    let fenced = || {
        // ORDERING: SeqCst: the proof in the module's text; its partner is the fence in `wait_in_line`.
        fence(Ordering::SeqCst);
        occupied()
    };
    let Some(bucket) = occupied().or_else(fenced) else { return woken };
    // One alone, as nearly always, goes into no list.
    let (mut first, mut wakes) = (None, WakeList::new());
    let waiters = bucket.waiters.lock();
    if waiters.is_empty() {
        bucket.occupied.store(0, Ordering::Relaxed);
        return woken;
    }
    let is_meant = |node: &WaitNode<AwaitedWord>| node.payload.address == address && node.payload.bits & bits != 0;
    waiters.claim_while(is_meant, |claimed| {
        woken.count += 1; // KEY: futex-used-once
        // SAFETY: null, or valid (invariant 2): its thread waits until it is scheduled.
        let word = unsafe { claimed.payload().word.as_ref() };
        woken.is_free = word.is_some_and(|word| word.load(Ordering::Relaxed) == 0);
        match first {
            None => first = Some(claimed),
            Some(_) => wakes.push(claimed),
        }
        woken.count < most
    });
    drop(waiters);
    if let Some(first) = first {
        first.schedule();
    }
    drop(wakes);
    woken
}
