//! The `timeout` calls that a thread is in, and the walls between them.
//!
//! Each is a [`Limit`] on the stack, and the thread's [`Limits`] points to the innermost. They are usually left in the
//! order of a stack, but need not be: a coroutine of another library may be suspended inside a `timeout`, another one enter
//! the next, and the first one be finished first, or in another green thread, or never. So a limit never puts back what it
//! found: it takes itself out from wherever it stands, and what is inside it is reckoned anew.
//!
//! # Invariants
//!
//! 1. A limit is in the chain `owner`, between `outer` and `inner`, from [`Limits::enter`] until it is taken out: by
//!    [`LimitGuard`], before the limit is gone; or, if its thread ends first, by [`Limits::dissolve`]. In no chain, `owner` is null.
//! 2. A chain and its limits are touched by one OS thread only: the thread's own, or its worker. (What could be carried to
//!    another one while it is suspended inside a `timeout` would carry a stack with references that are not `Send`.)
//! 3. `earliest_ns` is the earliest deadline from this limit outwards to the first wall.

use std::cell::Cell;
use std::ptr;

use crate::sys::clock::NEVER;

/// What may end a thread's waits besides what they wait for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Interrupts {
    /// Nothing: the end of the wait is what makes borrowed data safe to leave, or the thread unwinds.
    None,
    /// Its `timeout` calls, but no cancel.
    TimeoutsOnly,
    /// The same, until its runtime has [ended for long](super::last_words): then `All`.
    LastWords,
    All,
}

/// What a limit does to the waits inside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LimitKind {
    /// They end at this moment at the latest.
    Until(u64),
    /// Limits outside do not count.
    Wall,
    /// The same, and no cancel ends them.
    Shield,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Limit {
    kind: LimitKind,
    /// The function in whose frame it is; 0 if nobody asks.
    function: usize,
    owner: Cell<*const Limits>,
    outer: Cell<*const Limit>,
    inner: Cell<*const Limit>,
    earliest_ns: Cell<u64>,
}

impl Limit {
    pub(crate) fn new(kind: LimitKind, function: usize) -> Self {
        Self {
            kind,
            function,
            owner: Cell::new(ptr::null()),
            outer: Cell::new(ptr::null()),
            inner: Cell::new(ptr::null()),
            earliest_ns: Cell::new(NEVER),
        }
    }

    fn reckon(&self) {
        // SAFETY: invariant 1: what is linked is there.
        let outer_ns = unsafe { self.outer.get().as_ref() }.map_or(NEVER, |outer| outer.earliest_ns.get());
        self.earliest_ns.set(match self.kind {
            LimitKind::Until(deadline_ns) => deadline_ns.min(outer_ns),
            LimitKind::Wall | LimitKind::Shield => NEVER,
        });
    }
}

/// Takes its limit out of the chain when it is dropped.
#[derive(Debug)]
pub(crate) struct LimitGuard<'a>(&'a Limit);

impl Drop for LimitGuard<'_> {
    fn drop(&mut self) {
        let limit = self.0;
        let (outer, inner) = (limit.outer.get(), limit.inner.get());
        // SAFETY: invariant 1: an owner is there, and so is what is linked.
        let Some(owner) = (unsafe { limit.owner.get().as_ref() }) else { return };
        // SAFETY: as above.
        let inside = unsafe { inner.as_ref() };
        inside.map_or(&owner.innermost, |inner| &inner.outer).set(outer);
        // SAFETY: as above.
        if let Some(outer) = unsafe { outer.as_ref() } {
            outer.inner.set(inner);
        }
        limit.owner.set(ptr::null());
        let mut next = inside;
        while let Some(limit) = next {
            limit.reckon();
            // SAFETY: as above.
            next = unsafe { limit.inner.get().as_ref() };
        }
    }
}

/// A thread's limits.
#[derive(Debug)]
pub(crate) struct Limits {
    innermost: Cell<*const Limit>,
}

impl Limits {
    pub(crate) const fn new() -> Self {
        Self { innermost: Cell::new(ptr::null()) }
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.innermost.get().is_null()
    }

    /// From the innermost limit outwards.
    fn iter(&self) -> impl Iterator<Item = &Limit> {
        // SAFETY: invariant 1.
        let at = |limit: *const Limit| unsafe { limit.as_ref() };
        std::iter::successors(at(self.innermost.get()), move |limit| at(limit.outer.get()))
    }

    /// The earliest moment at which the thread has to leave a blocking call.
    #[inline(always)]
    pub(crate) fn earliest_ns(&self) -> u64 {
        // SAFETY: invariant 1.
        unsafe { self.innermost.get().as_ref() }.map_or(NEVER, |limit| limit.earliest_ns.get())
    }

    /// The outermost limit that has passed and `is_ours`, by its address: the calls inside it are over as well. What
    /// `is_ours` gets is that address and the function.
    pub(crate) fn passed(&self, now_ns: u64, is_ours: impl Fn(usize, usize) -> bool) -> Option<usize> {
        let counts = |limit: &&Limit| matches!(limit.kind, LimitKind::Until(_));
        let passed = |limit: &&Limit| matches!(limit.kind, LimitKind::Until(deadline_ns) if deadline_ns <= now_ns);
        let is_ours = |limit: &&Limit| is_ours(ptr::from_ref(*limit).addr(), limit.function);
        let limits = self.iter().take_while(counts).filter(passed).filter(is_ours);
        limits.last().map(|limit| ptr::from_ref(limit).addr())
    }

    /// Has a cancel to wait?
    pub(crate) fn is_shielded(&self) -> bool {
        self.iter().any(|limit| limit.kind == LimitKind::Shield)
    }

    /// Puts `limit` in, as the innermost.
    ///
    /// # Safety
    ///
    /// `self` is the calling thread's own, the limit is new, and what is returned is dropped (not leaked) before the limit is.
    pub(crate) unsafe fn enter<'a>(&self, limit: &'a Limit) -> LimitGuard<'a> {
        let outer = self.innermost.replace(limit);
        limit.owner.set(self);
        limit.outer.set(outer);
        // SAFETY: invariant 1.
        if let Some(outer) = unsafe { outer.as_ref() } {
            outer.inner.set(limit);
        }
        limit.reckon();
        LimitGuard(limit)
    }

    /// The thread's closure is over. Limits that are still there are in frames that nobody on its stack will leave.
    #[inline]
    pub(crate) fn dissolve(&self) {
        if !self.is_empty() {
            self.dissolve_all();
        }
    }

    #[cold]
    #[inline(never)]
    fn dissolve_all(&self) {
        self.iter().for_each(|limit| limit.owner.set(ptr::null()));
        self.innermost.set(ptr::null());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Enters `kinds` in their order and leaves them in each order; `check` after each step, with those that are left.
    fn in_each_order(kinds: &[LimitKind], check: impl Fn(&Limits, &[LimitKind])) {
        fn go(left: &mut Vec<(LimitKind, LimitGuard<'_>)>, orders: &mut Vec<usize>, check: &dyn Fn(&[LimitKind])) {
            check(&left.iter().map(|(kind, _)| *kind).collect::<Vec<_>>());
            if let Some(at) = orders.pop() {
                drop(left.remove(at % left.len()));
                go(left, orders, check);
            }
        }
        let count = (1..=kinds.len()).product::<usize>();
        for mut order in 0..count {
            let chain = Limits::new();
            let limits: Vec<Limit> = kinds.iter().map(|kind| Limit::new(*kind, 0)).collect();
            // SAFETY: all on this thread; what is entered is left before the limits go.
            let enter = |limit| unsafe { chain.enter(limit) };
            let mut left: Vec<_> = limits.iter().map(|limit| (limit.kind, enter(limit))).collect();
            let mut orders = Vec::new();
            for of in 1..=kinds.len() {
                orders.push(order % of);
                order /= of;
            }
            go(&mut left, &mut orders, &|left| check(&chain, left));
            assert!(chain.is_empty());
        }
    }

    #[test]
    fn limits_may_be_left_in_any_order() {
        let kinds = [
            LimitKind::Until(40),
            LimitKind::Shield,
            LimitKind::Until(20),
            LimitKind::Wall,
            LimitKind::Until(50),
            LimitKind::Until(30),
        ];
        // Under Miri 24 orders instead of 720.
        let kinds = if cfg!(miri) { &kinds[..4] } else { &kinds[..] };
        in_each_order(kinds, |chain, left| {
            let within = left.iter().rev().map_while(|kind| match kind {
                LimitKind::Until(ns) => Some(*ns),
                LimitKind::Wall | LimitKind::Shield => None,
            });
            assert_eq!(chain.earliest_ns(), within.clone().min().unwrap_or(NEVER));
            assert_eq!(chain.is_shielded(), left.contains(&LimitKind::Shield));
            for now_ns in [0, 30, 45, 50] {
                assert_eq!(chain.passed(now_ns, |_, _| true).is_some(), within.clone().any(|ns| ns <= now_ns));
            }
        });
    }

    #[test]
    fn a_limit_may_be_left_after_its_thread_has_ended() {
        let (outer, inner) = (Limit::new(LimitKind::Until(1), 0), Limit::new(LimitKind::Until(2), 0));
        let chain = Box::new(Limits::new());
        // SAFETY: all on this thread; what is entered is left before the limits go.
        let (first, second) = unsafe { (chain.enter(&outer), chain.enter(&inner)) };
        chain.dissolve();
        drop(chain);
        drop(first);
        drop(second);
    }
}
