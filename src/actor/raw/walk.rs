//! Before an actor waits: its edge, and the walk that looks for a cycle. The protocol is in [`edge`](super::edge).

use std::ptr;

use super::cell::{Core, Weak};
use crate::actor::ActorId;

/// The caller, an actor, waits for another; its edge goes when this does.
pub(crate) struct Waits<'a>(Option<&'a Core>);

/// The calling actor, if it is one, is going to wait for what `target` does for a message that it has got.
pub(crate) fn waiting_for(target: &Core, chain: u64) -> Result<Waits<'_>, Vec<ActorId>> {
    Waits::begin(Core::current(), target, chain)
}

impl Waits<'_> {
    /// `Err`: that would close a cycle.
    #[inline(always)]
    pub(super) fn begin<'a>(asker: Option<&'a Core>, target: &Core, chain: u64) -> Result<Waits<'a>, Vec<ActorId>> {
        let Some(asker) = asker else { return Ok(Waits(None)) };
        asker.edge.set(target);
        let waits = Waits(Some(asker));
        let suspicious = target.edge.is_set() || ptr::eq(asker, target);
        if suspicious
            && !target.mail.lock().admits(chain)
            && let Some(cycle) = find_cycle(asker)
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
fn find_cycle(start: &Core) -> Option<Vec<ActorId>> {
    let mut first: Vec<(Weak, u32)> = Vec::new();
    let mut at = start.weak();
    loop {
        let (next, times) = at.core().edge.follow(|to| {
            // SAFETY: `follow` keeps the owner of the edge, and so what it leads to, during this call.
            unsafe { (*to).weak() }
        })?;
        let back = ptr::eq(next.core(), start);
        first.push((at, times));
        if back {
            break;
        }
        if first.len() == LONGEST_CHAIN {
            return None;
        }
        at = next;
    }
    for (index, (actor, times)) in first.iter().enumerate() {
        let expected = first.get(index + 1).map_or(start, |(next, _)| next.core());
        let (to, again) = actor.core().edge.follow(|to| to.cast_const())?;
        if !ptr::eq(to, expected) || again != *times {
            return None;
        }
    }
    Some(first.iter().map(|(actor, _)| actor.core().id()).collect())
}
