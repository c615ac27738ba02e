//! The numbers of threads on blocks: none is one of the kernel's, and no two threads of a process have the same, whichever copies of this crate they are of.
//!
//! A program may have several copies of the crate: two versions, or one in a library that it loads. They know nothing of each other, and yet a recursive
//! pthread mutex, which notes its owner's number, must not take a thread of one for a thread of the other. So each copy has a *range* of numbers to itself. To each
//! range belongs an address; the copy that maps a page there, where the kernel replaces nothing, has the range, for as long as the process lives. An address at
//! which something else is, or which this machine does not have, leaves its range unused. A child of fork has its parent's pages, and its ranges.
//!
//! The range says as well whose a block is: a copy knows the layout of its own only.
//!
//! **All versions of this crate must agree on this file's constants.**
#![forbid(unsafe_code)]

use std::ops::Range;

use crate::base::atomic::{AtomicU32, Ordering};
use crate::sys::mem;

/// Bits of a number within its range.
pub(super) const BITS: u32 = 23;
/// A futex's word holds numbers below 2^30. The kernel's own (up to 2^22: `PID_MAX_LIMIT`) lie in the range that is left out.
const RANGES: Range<u32> = 1..1 << (30 - BITS);
/// Each third of the ranges has its addresses from one of these on: where x86_64 and aarch64 with 48 bits have their user space, also with AddressSanitizer, which
/// takes the parts below for itself; where aarch64 has 42 bits, and where it has 39.
const FROM: [usize; 3] = [0x3000_0000_0000, 0xa0_0000_0000, 0x20_0000_0000];
/// The largest page that there is.
const STEP: usize = 64 << 10;

/// How many numbers were given.
static GIVEN: AtomicU32 = AtomicU32::new(0);

/// Makes a range this copy's own. `None`: all are taken.
pub(super) fn claim() -> Option<u32> {
    RANGES.into_iter().find(|&range| mem::claim(address_of(range)))
}

fn address_of(range: u32) -> usize {
    FROM[range as usize * FROM.len() / RANGES.end as usize] + range as usize * STEP
}

/// A number of `range` that no thread has. `None`: there is none left.
pub(super) fn next(range: u32) -> Option<u32> {
    // ORDERING: Relaxed: the value is all there is.
    let given =
        GIVEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |given| (given < 1 << BITS).then_some(given + 1));
    given.ok().map(|given| range << BITS | given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_claimed_once_and_none_has_a_number_of_the_kernels() {
        let (one, other) = (claim().unwrap(), claim().unwrap());
        assert_ne!(one, other);
        let lowest = RANGES.start << BITS;
        assert!(lowest >= 1 << 22 && RANGES.end << BITS == 1 << 30, "below what a futex's word keeps for itself");
    }

    /// Its shadow is an eighth of the address space, from an offset on; what lies above both is free.
    #[test]
    fn where_addresssanitizer_has_its_shadow_there_are_ranges_left() {
        for (bits, offset) in [(47, 0x7fff_8000), (48, 1_usize << 36), (42, 1 << 36), (39, 1 << 36)] {
            let end = 1_usize << bits;
            let free = (end >> 3) + offset..end - (end >> 5);
            let left = RANGES.filter(|&range| free.contains(&address_of(range))).count();
            assert!(left >= 42, "{bits} bits: {left}");
        }
        let mut addresses: Vec<_> = RANGES.map(address_of).collect();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), RANGES.len(), "no two have the same address");
    }

    #[test]
    fn an_address_that_something_else_uses_is_not_claimed() {
        let there = mem::reserve(mem::page_size()).unwrap();
        assert!(!mem::claim(there.addr().get()));
        // What was there still is.
        assert!(!mem::faults(there));
    }
}
