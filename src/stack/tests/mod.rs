//! What stacks promise, shown on the real thing.
//!
//! * `reuse`: sizes, colours, caches;
//! * `promises`: what is promised can be had, and what is refused names its limit;
//! * `guards`: both kinds, and what an overflow prints;
//! * `cost`: memory for each stack, and what trimming gives back.
//!
//! Whatever changes or ends the process runs in a child: this test binary again, with one test to run.

mod reuse;

use super::{Cache, Stack, StackSize};

/// Promises and acquires one stack.
fn stack(cache: &mut Cache, size: StackSize) -> Stack {
    cache.reserve(size).expect("there is address space");
    cache.acquire(size)
}
