//! Guards: pages at the low end of a slot whose access faults.
//!
//! Two kinds. *Advice* (`MADV_GUARD_INSTALL`, Linux 6.13) costs a page-table entry and no mapping, so a guard is made
//! when its slot is first used and a million of them are no matter. *Protection* (`mprotect`) splits a mapping in
//! three, and the kernel bounds their number, so such guards are made when their slots are promised: what can fail,
//! fails there. They keep within a budget, and leave the rest of the program a quarter of the mappings.
//!
//! If the kernel refuses an advice that the probe saw working (the pages are locked in memory), that slot's guard is
//! made by protection. Only if both fail is the promise broken, and the process ends with a message: to go on without
//! a guard would let an overflow write into another thread's stack.

use std::io;
use std::ptr::NonNull;

use super::{Slot, StackSize};
use crate::base::abort::fatal;
use crate::base::atomic::{AtomicUsize, Ordering};
use crate::sys::fork::PerProcess;
use crate::sys::{limits, mem};

/// How guards are made in this process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum GuardKind {
    Advice,
    Protection,
}

/// The kind that works here, found out at the first call.
///
/// # Errors
///
/// `InvalidInput` if `GREEN_GUARD` has a value that it does not take.
pub(super) fn kind() -> io::Result<GuardKind> {
    // Each process finds out anew: in a child of fork nobody would end what another thread of its parent's had begun.
    static KIND: PerProcess<Result<GuardKind, String>> = PerProcess::new(|| match std::env::var_os("GREEN_GUARD") {
        Some(value) if value == "mprotect" => Ok(GuardKind::Protection),
        Some(value) => Err(format!("GREEN_GUARD is {value:?}: the only value that it takes is \"mprotect\"")),
        None if mem::guard_advice_works() => Ok(GuardKind::Advice),
        None => Ok(GuardKind::Protection),
    });
    KIND.get().clone().map_err(|message| io::Error::new(io::ErrorKind::InvalidInput, message))
}

/// How guards are made, in a word. `""`: it cannot be said.
pub(crate) fn name() -> &'static str {
    match kind() {
        Ok(GuardKind::Advice) => "advice",
        Ok(GuardKind::Protection) => "protection",
        Err(_) => "",
    }
}

/// Bytes of guard at the low end of a slot of `size`. Safe in a signal handler.
///
/// A page where the compiler probes each page of a large frame in turn. Elsewhere a frame can step over a page, so the
/// guard is larger there.
#[inline]
pub(super) fn len(size: StackSize) -> usize {
    const PROBED: bool = cfg!(any(
        target_arch = "x86_64",
        target_arch = "x86",
        target_arch = "aarch64",
        target_arch = "powerpc64",
        target_arch = "s390x"
    ));
    let page = mem::page_size();
    if PROBED { page } else { (64 * 1024).min(size.bytes() / 4).max(page) }
}

/// Guards fresh slots at their first use. Of kind *Advice* only.
pub(super) fn install_late(size: StackSize, slots: &[Slot]) {
    let guards = |slot: &Slot| mem::Pages { base: slot.0, len: len(size) };
    for batch in slots.chunks(mem::MAX_RANGES) {
        let mut ranges = [mem::Pages { base: NonNull::dangling(), len: 0 }; mem::MAX_RANGES];
        let ranges = &mut ranges[..batch.len()];
        for (range, slot) in ranges.iter_mut().zip(batch) {
            *range = guards(slot);
        }
        // SAFETY: the slots are fresh from the arena's own reservation and nobody has used them.
        let mut done = unsafe { mem::install_guards(ranges) };
        while done < ranges.len() {
            // SAFETY: as above.
            if let Err(error) = unsafe { mem::protect(ranges[done]) } {
                fatal(format_args!("no guard for a stack: {}", limits::mapping_refused(0, &error)));
            }
            // SAFETY: as above; `done` has just been guarded.
            done += 1 + unsafe { mem::install_guards(&ranges[done + 1..]) };
        }
    }
}

/// Guards one slot by protection, within the budget.
///
/// # Errors
///
/// `OutOfMemory`, naming `vm.max_map_count`, if the budget or the system's own limit is used up.
pub(super) fn install_early(size: StackSize, slot: Slot) -> io::Result<()> {
    let budget = budget();
    // ORDERING: Relaxed: a count and nothing else.
    if GUARDED.fetch_add(1, Ordering::Relaxed) >= budget.stacks {
        GUARDED.fetch_sub(1, Ordering::Relaxed);
        return Err(budget.exhausted());
    }
    // SAFETY: the slot is fresh from the arena's own reservation and nobody has used it.
    unsafe { mem::protect(mem::Pages { base: slot.0, len: len(size) }) }.map_err(|error| {
        GUARDED.fetch_sub(1, Ordering::Relaxed);
        limits::mapping_refused(0, &error)
    })
}

/// Slots guarded by protection.
static GUARDED: AtomicUsize = AtomicUsize::new(0);

struct Budget {
    max_map_count: usize,
    stacks: usize,
}

impl Budget {
    fn exhausted(&self) -> io::Error {
        let Budget { max_map_count, stacks } = self;
        let message = format!(
            "no memory for another stack: guards are made by mprotect here, two mappings each, \
             and vm.max_map_count is {max_map_count}, of which {stacks} stacks may take their share"
        );
        io::Error::new(io::ErrorKind::OutOfMemory, message)
    }
}

/// What the system's mappings allow: three quarters, less those in use when the first guard is made.
fn budget() -> &'static Budget {
    static BUDGET: PerProcess<Budget> = PerProcess::new(|| match limits::max_map_count() {
        None => Budget { max_map_count: usize::MAX, stacks: usize::MAX },
        Some(max_map_count) => {
            let ours = (max_map_count - max_map_count / 4).saturating_sub(limits::mappings_in_use().unwrap_or(0));
            Budget { max_map_count, stacks: ours / 2 }
        }
    });
    BUDGET.get()
}
