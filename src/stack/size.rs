//! Stack sizes: powers of two, so that there are few classes, and a stack is reused for any request of its class.

use std::io;
use std::ops::RangeInclusive;

use crate::sys::mem::page_size;

/// The exponents of the smallest and the largest size.
///
/// 16 KiB hold a thread that calls little; a panic (5.4 KiB with its message) still fits. 1 GiB is 128 times what a
/// main thread gets, and still leaves room for a hundred thousand in 47 bits of address space.
const MIN: u8 = 14;
const MAX: u8 = 30;

/// How many sizes there are.
pub(super) const CLASSES: usize = (MAX - MIN + 1) as usize;

/// As many places has what is looked up by class: a power of two, so that no look-up is checked, and one more than the classes at least.
pub(super) const PLACES: usize = (CLASSES + 1).next_power_of_two();

/// The least number of pages in a stack, where pages are so large that it matters: one is the guard.
const MIN_PAGES: usize = 4;

/// A validated stack size: bytes of address space a stack takes, its guard included. A power of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StackSize(u8);

impl StackSize {
    /// What [`new`](Self::new) takes, in bytes.
    pub(crate) const BOUNDS: RangeInclusive<usize> = 1 << MIN..=1 << MAX;

    /// 256 KiB: costs address space only, and holds what std's own 2 MiB hold in nearly every program.
    pub(crate) const DEFAULT: StackSize = StackSize(18);

    /// Of no stack: what asks for one of this size is refused, on the path of refusals.
    pub(crate) const NONE: StackSize = StackSize(MAX + 1);

    /// What a spawn asks for first: `NONE`, if it is to go on where refused ones do.
    pub(crate) fn for_spawn(self, refused: bool) -> StackSize {
        if refused { Self::NONE } else { self }
    }

    /// `bytes` rounded up to a power of two, and to four pages where a page is larger than 4 KiB.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `bytes` is below 16 KiB or above 1 GiB.
    pub(crate) fn new(bytes: usize) -> io::Result<StackSize> {
        if !Self::BOUNDS.contains(&bytes) {
            let (min, max) = Self::BOUNDS.into_inner();
            let message = format!("a stack size of {bytes} bytes is out of bounds: the least is {min}, the most {max}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let bytes = bytes.max(MIN_PAGES * page_size()).next_power_of_two();
        Ok(StackSize(bytes.trailing_zeros() as u8))
    }

    #[inline]
    pub(crate) fn bytes(self) -> usize {
        1 << self.0
    }

    /// Which class of stacks this is: less than [`CLASSES`], but of [`NONE`](Self::NONE). Less than [`PLACES`] for sure, which the compiler sees.
    #[inline]
    pub(super) fn class(self) -> usize {
        usize::from(self.0.wrapping_sub(MIN)) % PLACES
    }

    /// The size of class number `class`.
    pub(super) fn from_class(class: usize) -> StackSize {
        debug_assert!(class < CLASSES);
        StackSize(MIN + class as u8)
    }

    /// log2 of the size.
    #[inline]
    pub(super) fn shift(self) -> u32 {
        u32::from(self.0)
    }

    /// The size whose [`shift`](Self::shift) is `shift`.
    pub(super) fn from_shift(shift: u32) -> StackSize {
        debug_assert!((u32::from(MIN)..=u32::from(MAX)).contains(&shift));
        StackSize(shift as u8)
    }

    /// `budget` bytes in stacks of this size, but at least `least` and at most `most` stacks.
    pub(super) fn how_many(self, budget: usize, least: usize, most: usize) -> usize {
        (budget >> self.0).clamp(least, most)
    }
}
