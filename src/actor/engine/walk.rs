//! Before an actor waits: its edge, and the walk that looks for a cycle. The protocol is in [`edge`](super::edge).
//!
//! All that one actor waits for in another is an edge: an answer ([`send`](super::send), [`promise`](super::promise)),
//! room ([`enqueue`](super::enqueue)), an end ([`lifecycle`](super::lifecycle)).

#![forbid(unsafe_code)]

use std::ptr;

use super::cell::{Core, EdgeWalk};
use super::edge::{How, Mark};
use crate::actor::Cycle;

/// Steps E0 and E1. The caller keeps `target` alive until the edge is cleared.
#[inline(always)]
pub(super) fn set_edge(asker: &Core, target: &Core, how: How) {
    target.edge.reach(); // KEY: reach
    asker.edge.set(target, how);
}

/// The caller, an actor, waits for another; its edge goes when this does.
pub(crate) struct EdgeGuard<'a>(Option<&'a Core>);

impl<'a> EdgeGuard<'a> {
    /// Steps E0 and E1 alone: the caller owes [`check`](Self::check), unless `target` rests when it gets its message.
    #[inline(always)]
    pub(super) fn set(asker: Option<&'a Core>, target: &Core, how: How) -> EdgeGuard<'a> {
        if let Some(asker) = asker {
            set_edge(asker, target, how);
        }
        EdgeGuard(asker)
    }

    /// Would the caller, whose edge is set, wait for one that waits? Then it has to walk.
    #[inline(always)]
    pub(super) fn is_suspicious(&self, target: &Core) -> bool {
        self.0.is_some_and(|asker| is_suspicious(asker, target))
    }

    /// `Err`: the wait would close a cycle.
    #[inline(always)]
    pub(super) fn check(&self, target: &Core) -> Result<(), Cycle> {
        self.0.and_then(|asker| closes_cycle(asker, target)).map_or(Ok(()), Err)
    }

    /// `Err`: that would close a cycle.
    pub(super) fn begin(asker: Option<&'a Core>, target: &Core, how: How) -> Result<EdgeGuard<'a>, Cycle> {
        let waits = EdgeGuard::set(asker, target, how);
        waits.check(target).map(|()| waits)
    }

    /// The one that waits.
    pub(super) fn actor(&self) -> Option<&'a Core> {
        self.0
    }

    /// The message is in, and was not let in: it waits behind others.
    pub(super) fn harden(&self) {
        if let Some(asker) = self.0 {
            asker.edge.harden();
        }
    }

    /// Has somebody closed a cycle by a join since? Then the caller owes [`look_again`](Self::look_again).
    pub(super) fn is_told(&self) -> bool {
        self.0.is_some_and(|asker| asker.edge.is_told())
    }

    /// `Err`: the caller, which waits, is in a cycle.
    pub(super) fn look_again(&self) -> Result<(), Cycle> {
        self.0.map_or(Ok(()), look_again)
    }

    /// For one that joins `target`: looks for a cycle, and has another of its members told. `Ok(true)`: there is one still, as far
    /// as is known. `Err`: in it everybody joins.
    pub(super) fn check_join(&self, target: &Core) -> Result<bool, Cycle> {
        let Some(joiner) = self.0.filter(|joiner| is_suspicious(joiner, target)) else { return Ok(false) };
        let found = find_cycle(joiner, |members| match members.get(1) {
            Some((_, mark)) if members.iter().any(|(_, mark)| !mark.how.is_join()) => Ok(*mark),
            _ => Err(cycle_of(members)),
        });
        match found {
            None => Ok(false),
            Some(Err(cycle)) => Err(cycle),
            Some(Ok(mark)) => {
                target.edge.tell(mark);
                target.interrupt();
                Ok(true)
            }
        }
    }
}

impl Drop for EdgeGuard<'_> {
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

/// `asker`, whose edge leads to `target`, waits or is going to. `Some`: that closes a cycle.
#[inline(always)]
pub(crate) fn closes_cycle(asker: &Core, target: &Core) -> Option<Cycle> {
    if is_suspicious(asker, target) { find_cycle(asker, cycle_of) } else { None }
}

/// `asker` waits and was told to look. `Err`: it is in a cycle.
#[cold]
pub(crate) fn look_again(asker: &Core) -> Result<(), Cycle> {
    asker.edge.untell();
    find_cycle(asker, cycle_of).map_or(Ok(()), Err)
}

fn cycle_of(members: &[(&Core, Mark)]) -> Cycle {
    Cycle::new(members.iter().map(|(actor, _)| actor.member()))
}

/// Walks from `start` along the edges. `Some`: back to it, all edges standing at one moment.
#[cold]
fn find_cycle<R>(start: &Core, found: impl FnOnce(&[(&Core, Mark)]) -> R) -> Option<R> {
    let walk = EdgeWalk::begin();
    let mut first: Vec<(&Core, Mark)> = Vec::new();
    let (mut at, mut milestone) = (start, start);
    loop {
        let (next, mark) = walk.follow(at)?;
        if first.last().is_some_and(|(_, before)| before.how.is_let_in_by(mark.how)) {
            return None;
        }
        first.push((at, mark));
        if ptr::eq(next, start) {
            break;
        }
        // A cycle that the start leads into and is no member of (Brent's algorithm).
        if ptr::eq(next, milestone) {
            return None;
        }
        if first.len().is_power_of_two() {
            milestone = next;
        }
        at = next;
    }
    if first.last().is_some_and(|(_, last)| last.how.is_let_in_by(first[0].1.how)) {
        return None;
    }
    for (index, (actor, mark)) in first.iter().enumerate() {
        let expected = first.get(index + 1).map_or(start, |(next, _)| *next);
        let (to, again) = walk.follow(actor)?;
        if !ptr::eq(to, expected) || !again.is(*mark) {
            return None;
        }
    }
    Some(found(&first))
}
