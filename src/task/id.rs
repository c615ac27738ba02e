//! The number of a thread.
#![forbid(unsafe_code)]

use std::num::NonZeroU64;

use crate::task::Header;

/// Identifies a thread, green or OS, in this process: [`std::thread::ThreadId`]. A number is never used twice.
///
/// ```
/// let here = green::thread::current().id();
/// let there = green::spawn(|| green::thread::current().id()).join().unwrap();
/// assert_ne!(here, there);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ThreadId(NonZeroU64);

impl ThreadId {
    pub(crate) fn of(thread: &Header) -> Self {
        Self(NonZeroU64::new(thread.id).expect("the numbers of threads begin with 1"))
    }

    /// The thread with this number; `None`: 0 is no thread's.
    pub(crate) fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// The bare number.
    pub(crate) fn number(self) -> u64 {
        self.0.get()
    }
}
