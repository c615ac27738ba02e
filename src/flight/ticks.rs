//! The clock of events: the processor's own counter, where there is one that all processors share. A look takes one instruction, not a call.
//!
//! An x86_64 whose counter changes its pace (those before 2008) gives times that are only roughly right; order on one worker is right all the same.
//!
//! # Invariants
//!
//! 1. Every x86_64 has the instruction.

use crate::sys::clock::real_ns;
use crate::sys::fork::ForkSafeOnce;

/// The counter.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: invariant 1; it reads a counter, and nothing else.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// The counter.
#[cfg(all(target_arch = "aarch64", green_backend = "asm"))]
#[inline(always)]
pub(crate) fn now() -> u64 {
    crate::arch::counter()
}

/// The system's clock.
#[cfg(not(any(all(target_arch = "x86_64", not(miri)), all(target_arch = "aarch64", green_backend = "asm"))))]
#[inline]
pub(crate) fn now() -> u64 {
    real_ns()
}

/// One moment by both clocks: ticks, nanoseconds.
fn both() -> (u64, u64) {
    // The closest of a few.
    let look = |_| {
        let before = now();
        let ns = real_ns();
        (now().wrapping_sub(before), (before, ns))
    };
    (0..4).map(look).min_by_key(|(apart, _)| *apart).expect("four looks").1
}

fn first() -> (u64, u64) {
    static FIRST: ForkSafeOnce<(u64, u64)> = ForkSafeOnce::new();
    *FIRST.get_or_init(both)
}

/// Has the clocks compared from now on: the longer before the first trace, the better.
pub(crate) fn begin() {
    first();
}

/// How ticks are counted in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TickScale {
    first: (u64, u64),
    ns_per_tick: f64,
}

impl TickScale {
    pub(crate) fn now() -> Self {
        let ((ticks, ns), (ticks_now, ns_now)) = (first(), both());
        let elapsed = ticks_now.saturating_sub(ticks);
        let ns_per_tick = if elapsed == 0 { 1.0 } else { (ns_now - ns) as f64 / elapsed as f64 };
        Self { first: (ticks, ns), ns_per_tick }
    }

    /// By the clock of [`real_ns`].
    pub(crate) fn ns_at(&self, ticks: u64) -> u64 {
        let (first, first_ns) = self.first;
        first_ns + (ticks.saturating_sub(first) as f64 * self.ns_per_tick) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_counted_in_nanoseconds() {
        begin();
        let until = real_ns() + 20_000_000;
        while real_ns() < until {}
        let (before, ticks, after) = (real_ns(), now(), real_ns());
        let at = TickScale::now().ns_at(ticks);
        // Under load the looks may lie far apart; a wrong scale would be off by factors of the 20 ms.
        assert!(at + 5_000_000 > before && at < after + 5_000_000, "{before} {at} {after}");
    }
}
