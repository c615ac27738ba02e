//! Before an actor waits: its edge, and the walk that looks for a cycle. The protocol is in [`edge`](super::edge).

#![forbid(unsafe_code)]

use std::ptr;

use super::cell::{Core, Walk};
use super::edge::Mark;
use crate::actor::ActorId;

/// The caller, an actor, waits for another; its edge goes when this does.
pub(crate) struct Waits<'a>(Option<&'a Core>);

impl<'a> Waits<'a> {
    /// Step E1 alone: the caller owes [`check`](Self::check), unless `target` rests when it gets its message.
    #[inline(always)]
    pub(super) fn set(asker: Option<&'a Core>, target: &Core, chain: u64) -> Waits<'a> {
        if let Some(asker) = asker {
            asker.edge.set(target, chain);
        }
        Waits(asker)
    }

    /// Would the caller, whose edge is set, wait for one that waits? Then it has to walk.
    #[inline(always)]
    pub(super) fn is_suspicious(&self, target: &Core) -> bool {
        self.0.is_some_and(|asker| is_suspicious(asker, target))
    }

    /// `Err`: the wait would close a cycle.
    #[inline(always)]
    pub(super) fn check(&self, target: &Core, chain: u64, lets_in: u64) -> Result<(), Vec<ActorId>> {
        match self.0.and_then(|asker| closes_cycle(asker, target, chain, lets_in)) {
            Some(cycle) => Err(cycle),
            None => Ok(()),
        }
    }

    /// `Err`: that would close a cycle.
    pub(super) fn begin(
        asker: Option<&'a Core>,
        target: &Core,
        chain: u64,
        lets_in: u64,
    ) -> Result<Waits<'a>, Vec<ActorId>> {
        let waits = Waits::set(asker, target, chain);
        waits.check(target, chain, lets_in).map(|()| waits)
    }
}

impl Drop for Waits<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(asker) = self.0 {
            asker.edge.clear();
        }
    }
}

#[inline(always)]
fn is_suspicious(asker: &Core, target: &Core) -> bool {
    target.edge.is_set_after_fence() || ptr::eq(asker, target)
}

/// `asker`, whose edge leads to `target`, waits or is going to, for a message of `chain`, and lets those of `lets_in` in
/// meanwhile (0: none). `Some`: that closes a cycle.
#[inline(always)]
pub(crate) fn closes_cycle(asker: &Core, target: &Core, chain: u64, lets_in: u64) -> Option<Vec<ActorId>> {
    if is_suspicious(asker, target) && !target.mail.lock().admits(chain) { find_cycle(asker, lets_in) } else { None }
}

/// Longer chains are not followed: the deadline is the guard then.
const LONGEST_CHAIN: usize = 4096;

/// Walks from `start` along the edges. `Some`: back to it, all edges standing at one moment.
#[cold]
fn find_cycle(start: &Core, lets_in: u64) -> Option<Vec<ActorId>> {
    let walk = Walk::begin();
    let mut first: Vec<(&Core, Mark)> = Vec::new();
    let mut at = start;
    loop {
        let (next, mark) = walk.follow(at)?;
        let back = ptr::eq(next, start);
        first.push((at, mark));
        if back && lets_in != 0 && mark.chain == lets_in {
            return None;
        }
        if back {
            break;
        }
        if first.len() == LONGEST_CHAIN {
            return None;
        }
        at = next;
    }
    for (index, (actor, mark)) in first.iter().enumerate() {
        let expected = first.get(index + 1).map_or(start, |(next, _)| *next);
        let (to, again) = walk.follow(actor)?;
        if !ptr::eq(to, expected) || again != *mark {
            return None;
        }
    }
    Some(first.iter().map(|(actor, _)| actor.id()).collect())
}
