//! Before an actor waits: its edge, and the walk that looks for a cycle. The protocol is in [`edge`](super::edge).

use std::ptr;

use super::cell::Core;
use super::edge::Mark;
use super::refs::Weak;
use super::send::inherited;
use crate::actor::ActorId;

/// The caller, an actor, waits for another; its edge goes when this does.
pub(crate) struct Waits<'a>(Option<&'a Core>);

/// The calling actor, if it is one, is going to wait for what `target` does for a message that it has got, and lets messages
/// of `lets_in` in meanwhile (0: none).
pub(crate) fn waiting_for(target: &Core, lets_in: u64) -> Result<Waits<'_>, Vec<ActorId>> {
    let (actor, _, chain) = inherited();
    Waits::begin(actor, target, chain, lets_in)
}

impl Waits<'_> {
    /// `Err`: that would close a cycle.
    #[inline(always)]
    pub(super) fn begin<'a>(
        asker: Option<&'a Core>,
        target: &Core,
        chain: u64,
        lets_in: u64,
    ) -> Result<Waits<'a>, Vec<ActorId>> {
        let Some(asker) = asker else { return Ok(Waits(None)) };
        asker.edge.set(target, chain);
        let waits = Waits(Some(asker));
        let suspicious = target.edge.is_set() || ptr::eq(asker, target);
        if suspicious
            && !target.mail.lock().admits(chain)
            && let Some(cycle) = find_cycle(asker, lets_in)
        {
            return Err(cycle);
        }
        Ok(waits)
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

/// Longer chains are not followed: the deadline is the guard then.
const LONGEST_CHAIN: usize = 4096;

/// Walks from `start` along the edges. `Some`: back to it, all edges standing at one moment.
#[cold]
fn find_cycle(start: &Core, lets_in: u64) -> Option<Vec<ActorId>> {
    let mut first: Vec<(Weak, Mark)> = Vec::new();
    let mut at = start.weak();
    loop {
        let (next, mark) = at.core().edge.follow(|to| {
            // SAFETY: `follow` keeps the owner of the edge, and so what it leads to, during this call.
            unsafe { (*to).weak() }
        })?;
        let back = ptr::eq(next.core(), start);
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
        let expected = first.get(index + 1).map_or(start, |(next, _)| next.core());
        let (to, again) = actor.core().edge.follow(|to| to.cast_const())?;
        if !ptr::eq(to, expected) || again != *mark {
            return None;
        }
    }
    Some(first.iter().map(|(actor, _)| actor.core().id()).collect())
}
