//! Messages that are lost: their count, and the report of each.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

use crate::actor::ActorId;
use crate::sched::remote::MAX_WORKERS;
use crate::sys::fork::ForkSafeOnce;

static COUNT: AtomicU64 = AtomicU64::new(0);

/// For each runtime, by the number of its first remote: how many messages of its actors were lost since it began to end.
static AT_END: [AtomicU64; MAX_WORKERS] = [const { AtomicU64::new(0) }; MAX_WORKERS];

type Report = fn(ActorId, &'static str);

/// What is told of each lost message, once somebody has asked for that.
static REPORT: ForkSafeOnce<Report> = ForkSafeOnce::new();

/// How many messages were lost.
pub(crate) fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// From now on `report` is called for each.
pub(crate) fn report_to(report: Report) {
    REPORT.get_or_init(|| report);
}

/// A message of type `message` to `actor` is dropped.
pub(crate) fn lost(actor: ActorId, message: &'static str) {
    COUNT.fetch_add(1, Ordering::Relaxed);
    if let Some(report) = REPORT.get() {
        report(actor, message);
    }
}

/// One was, of an actor of that runtime, which ends.
pub(super) fn lost_at_end(runtime: u16) {
    AT_END[usize::from(runtime)].fetch_add(1, Ordering::Relaxed);
}

/// How many were so. The next runtime with that number begins anew.
pub(super) fn take_lost_at_end(runtime: u16) -> u64 {
    AT_END[usize::from(runtime)].swap(0, Ordering::Relaxed)
}
