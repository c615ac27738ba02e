//! A mailbox that probably nobody else has: its lock without an exchange.
//!
//! # Protocol
//!
//! ```text
//!  the actor's own run, on its worker               one that lists the actors
//!  N1  begins as the owner of the worker's list     L1  locks what each worker owns
//!  N2  no addresses, no other reference, and the    L2  counts a reference
//!      lock is free? lock := taken                  L3  lets go
//!  N3  ends; N2 has failed: locks as others do      L4  locks, if it looks into the mailbox
//! ```
//!
//! **The lock has one holder.** An address is made of a reference only, or of an address. So if N2 finds neither, all that could get at the lock is who
//! lists the actors, and L1 to L3 ([`roster`](crate::sched::roster)) come before N1, and N2 sees the reference, or after N3, and L4 sees the lock taken.
//!
//! # Invariants
//!
//! 1. `addrs` is what keeps an address from being made of none: it grows from zero under the lock of the mailbox, by who has a reference.

#![allow(unsafe_code)]

use crate::base::atomic::{AtomicU32, Ordering};
use crate::base::spin::{Locked, SpinLock};
use crate::sched::roster::OwnedList;
use crate::task::state::State;

/// For the actor's own run, when it has left its slot or nobody looks there: has nobody else got the actor?
#[inline(always)]
pub(super) fn is_alone<T>(addrs: &AtomicU32, state: &State, mailbox: &SpinLock<T>) -> bool {
    // In this order: a reference can be made of an address, an address of a reference under the lock only; and what was done by one that is
    // seen to have gone is seen, too.
    // ORDERING: Acquire pairs with the Release in `Strong::drop_last`, which has the lock then.
    let is_unaddressed = addrs.load(Ordering::Acquire) == 0; // SWAP: alone-order
    let is_sole = state.is_sole(); // SWAP: alone-order
    is_unaddressed && is_sole && mailbox.is_free()
}

/// Locks the mailbox, for the actor's own run; steps N1 to N3 with `alone`, when probably nobody else has it.
#[inline(always)]
pub(super) fn lock_for<'a, T>(
    addrs: &AtomicU32,
    state: &State,
    mailbox: &'a SpinLock<T>,
    alone: Option<OwnedList>,
) -> Locked<'a, T> {
    let mut locked = None;
    if let Some(owned) = alone {
        owned.unlisted(|| {
            // SAFETY: nobody has an address or another reference, and nobody gets one from the slot meanwhile (invariant 1).
            locked = is_alone(addrs, state, mailbox).then(|| unsafe { mailbox.lock_unshared() }); // SWAP: lock-unlisted
        }); // SWAP: lock-unlisted
    }
    locked.unwrap_or_else(|| mailbox.lock())
}
