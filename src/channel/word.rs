//! One side of a channel: a lock, a position and two flags in one word, and what the lock guards.
//!
//! `word = position << 3 | CLOSED | WAITING | LOCKED`
//!
//! | bit       | set when                                              | cleared when                        |
//! | --------- | ----------------------------------------------------- | ----------------------------------- |
//! | `LOCKED`  | somebody is at work on this side ([`lock`](EndLock::lock)) | its [`Guard`] is dropped          |
//! | `WAITING` | somebody waits in the list that this lock guards      | the list is empty again             |
//! | `CLOSED`  | the other side's handles are all gone                 | never                               |
//!
//! The position counts the messages that have passed here. Only the holder of the lock changes the word, so unlocking
//! is one plain store, which publishes a new position and new flags together with what was written before. The other side
//! may read the position at any time.
//!
//! The lock is held for a few instructions, never over a park or over user code; so it spins, and gives the OS thread
//! away when the holder seems to have lost its core.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};

use crate::base::atomic::{AtomicU64, MODELLED, Ordering, spin_loop, yield_now};

const LOCKED: u64 = 1;
const WAITING: u64 = 2;
const CLOSED: u64 = 4;
pub(super) const POSITION_SHIFT: u32 = 3;
const ONE: u64 = 1 << POSITION_SHIFT;

/// A value of the word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bits(u64);

impl Bits {
    /// How many messages have passed.
    #[inline(always)]
    pub(crate) fn position(self) -> u64 {
        self.0 >> POSITION_SHIFT
    }

    #[inline(always)]
    pub(crate) fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    #[inline(always)]
    pub(crate) fn is_waiting(self) -> bool {
        self.0 & WAITING != 0
    }

    /// Changes, and only grows, with every message that passes and when the side is closed.
    #[inline]
    pub(crate) fn version(self) -> u64 {
        self.0 >> 2
    }

    /// Neither closed, nor does anybody wait.
    #[inline(always)]
    pub(crate) fn is_plain(self) -> bool {
        self.0 & (WAITING | CLOSED) == 0
    }
}

/// See the module's text. The word comes first: who reads it from outside finds it there.
#[repr(C)]
pub(crate) struct EndLock<S> {
    word: AtomicU64,
    state: UnsafeCell<S>,
}

// SAFETY: the state is reached through the guard only, by one OS thread at a time.
unsafe impl<S: Send> Send for EndLock<S> {}
// SAFETY: as above.
unsafe impl<S: Send> Sync for EndLock<S> {}

impl<S> EndLock<S> {
    pub(crate) fn new(state: S) -> Self {
        Self { word: AtomicU64::new(0), state: UnsafeCell::new(state) }
    }

    /// The word as it is now, for the other side: all that was done before that position was reached is visible.
    #[inline(always)]
    pub(crate) fn peek(&self) -> Bits {
        // ORDERING: Acquire pairs with the Release of the guard's drop.
        Bits(self.word.load(Ordering::Acquire))
    }

    /// A hint of the position, which promises nothing.
    #[inline(always)]
    pub(crate) fn hint(&self) -> Bits {
        Bits(self.word.load(Ordering::Relaxed))
    }

    #[inline(always)]
    pub(crate) fn lock(&self) -> Guard<'_, S> {
        let word = self.word.load(Ordering::Relaxed);
        // ORDERING: Acquire pairs with the Release of the guard's drop.
        if word & LOCKED == 0
            && self.word.compare_exchange(word, word | LOCKED, Ordering::Acquire, Ordering::Relaxed).is_ok()
        {
            return Guard { side: self, bits: word };
        }
        self.lock_contended()
    }

    #[cold]
    #[inline(never)]
    fn lock_contended(&self) -> Guard<'_, S> {
        let mut round = 0;
        loop {
            let word = self.word.load(Ordering::Relaxed);
            // ORDERING: as in `lock`.
            if word & LOCKED == 0
                && self.word.compare_exchange(word, word | LOCKED, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                return Guard { side: self, bits: word };
            }
            if !MODELLED && round < SPIN_ROUNDS {
                (0..1u32 << round).for_each(|_| spin_loop());
                round += 1;
            } else {
                yield_now();
            }
        }
    }
}

/// Rounds of doubling pauses before the OS thread is given away.
const SPIN_ROUNDS: u32 = 7;

/// The lock is held. Dropped, it publishes what was changed.
pub(crate) struct Guard<'a, S> {
    side: &'a EndLock<S>,
    /// The word that unlocking stores.
    bits: u64,
}

impl<S> Guard<'_, S> {
    #[inline(always)]
    pub(crate) fn bits(&self) -> Bits {
        Bits(self.bits)
    }

    /// One more message has passed.
    #[inline(always)]
    pub(crate) fn advance(&mut self) {
        self.bits = self.bits.wrapping_add(ONE);
    }

    #[inline(always)]
    pub(crate) fn set_waiting(&mut self, on: bool) {
        self.bits = if on { self.bits | WAITING } else { self.bits & !WAITING };
    }

    pub(crate) fn close(&mut self) {
        self.bits |= CLOSED;
    }
}

impl<S> Deref for Guard<'_, S> {
    type Target = S;

    #[inline(always)]
    fn deref(&self) -> &S {
        // SAFETY: the lock is held, and the guard is borrowed as the reference is.
        unsafe { &*self.side.state.get() }
    }
}

impl<S> DerefMut for Guard<'_, S> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut S {
        // SAFETY: as above, exclusively.
        unsafe { &mut *self.side.state.get() }
    }
}

impl<S> Drop for Guard<'_, S> {
    #[inline(always)]
    fn drop(&mut self) {
        // ORDERING: Release pairs with the Acquires of `lock` and `peek`.
        self.side.word.store(self.bits, Ordering::Release);
    }
}
