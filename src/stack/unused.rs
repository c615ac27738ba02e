//! What lies below the stack pointer of a suspended thread: pages that one deep call has touched stay, though nobody needs
//! what is in them.
//!
//! The stack's owner may give them back. The owner asks the system first which are there, for many neighbouring stacks in one call:
//! threads that were started one after the other have such. A stack that was never deep costs no more than its part of
//! that, and no thread notices anything, but that the next deep call finds fresh pages.

use std::num::NonZeroUsize;

use crate::sys::mem::{self, Pages};

/// Fewer pages than these are not worth a system call.
const LEAST: usize = 4;
/// Pages that are looked at in one call: 16 MiB, and of one stack at most.
const WINDOW: usize = 4096;

/// The unused part of a suspended thread's stack, in whole pages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unused(Pages);

impl Unused {
    /// Fills arrays.
    pub(crate) const NONE: Unused = Unused(Pages { base: std::ptr::NonNull::dangling(), len: 0 });

    fn end(self) -> usize {
        self.0.base.addr().get() + self.0.len
    }
}

#[cfg(green_backend = "asm")]
impl super::Stack {
    /// What is unused while the stack pointer is at `sp`, if it is worth a look. Nothing if that is on another stack: the
    /// thread has called on to one of another library's (a coroutine's, one that grows), and where it left this one is not
    /// known.
    pub(crate) fn unused(&self, sp: usize) -> Option<Unused> {
        // So much stays below the stack pointer: what a thread that goes on calls first should find its pages.
        const SLACK: usize = 16 << 10;
        let base = self.limit();
        if sp > self.top().addr().get() {
            return None;
        }
        let end = sp.checked_sub(SLACK)? & !(mem::page_size() - 1);
        let len = end.checked_sub(base.addr().get())?;
        (len >= LEAST * mem::page_size()).then_some(Unused(Pages { base, len }))
    }
}

/// Gives the pages back that are in memory, of [`mem::MAX_RANGES`] stacks at most. How many stacks had such?
///
/// # Safety
///
/// The stacks' owner does not run meanwhile, and was suspended with the stack pointers that they were asked about with.
pub(crate) unsafe fn give_back(unused: &mut [Unused]) -> usize {
    unused.sort_unstable_by_key(|part| part.0.base);
    let mut deep = [Unused::NONE.0; mem::MAX_RANGES];
    let mut count = 0;
    let mut add = |pages| {
        deep[count] = pages;
        count += 1;
    };
    let mut rest = &*unused;
    while let Some(first) = rest.first() {
        let reach = first.0.base.addr().get() + WINDOW * mem::page_size();
        let neighbours = rest.iter().take_while(|part| part.end() <= reach).count().max(1);
        let (group, others) = rest.split_at(neighbours);
        if !look(group, &mut add) {
            // Something in between is not mapped.
            group.iter().for_each(|part| _ = look(&[*part], &mut add));
        }
        rest = others;
    }
    // SAFETY: the ranges are the unused parts of stacks, or lie in them, and nobody needs their content (the caller).
    unsafe { mem::discard(&deep[..count]) };
    count
}

/// Hands those on of which pages are in memory. The parts are in the order of their addresses; of one that is longer than a
/// window the end is looked at, which a deep call touches first. False: the system does not say.
fn look(group: &[Unused], deep: &mut impl FnMut(Pages)) -> bool {
    let (Some(first), Some(last)) = (group.first(), group.last()) else { return true };
    let page = mem::page_size();
    let window = NonZeroUsize::new(last.end().saturating_sub(WINDOW * page)).unwrap_or(NonZeroUsize::MIN);
    let base = first.0.base.map_addr(|address| address.max(window));
    let begin = base.addr().get();
    let mut states = [0; WINDOW];
    if !mem::residency(Pages { base, len: last.end() - begin }, &mut states) {
        return false;
    }
    for part in group {
        let from = part.0.base.addr().get().saturating_sub(begin) / page;
        let pages = &states[from..(part.end() - begin) / page];
        if pages.iter().filter(|state| **state & 1 == 1).count() >= LEAST {
            deep(part.0);
        }
    }
    true
}
