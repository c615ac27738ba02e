//! Which unwinding of a thread was the last, for what poisons a lock.
#![forbid(unsafe_code)]

/// The beginning of an unwinding: its number, and whether a panic began it, or a cancel or time-out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Unwound(u64);

impl Unwound {
    /// The thread has not unwound. Numbers begin with 1.
    pub(crate) const NEVER: Self = Self(0);

    pub(crate) fn new(number: u64, by_panic: bool) -> Self {
        Self(number << 1 | u64::from(by_panic))
    }

    pub(crate) fn number(self) -> u64 {
        self.0 >> 1
    }

    pub(crate) fn is_by_panic(self) -> bool {
        self.0 & 1 != 0
    }
}

/// What a closure that unwinds ends by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EndsBy {
    Panic,
    Cancel,
}
