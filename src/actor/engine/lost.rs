//! Messages that are lost: their count, and the report of each.

#![forbid(unsafe_code)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::actor::ActorId;

static COUNT: AtomicU64 = AtomicU64::new(0);

type Report = fn(ActorId, &'static str);

/// What is told of each lost message, once somebody has asked for that.
static REPORT: OnceLock<Report> = OnceLock::new();

/// How many messages were lost.
pub(crate) fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

/// From now on `report` is called for each.
pub(crate) fn report_to(report: Report) {
    let _ = REPORT.set(report);
}

/// A message of type `message` to `actor` is dropped.
pub(crate) fn lost(actor: ActorId, message: &'static str) {
    COUNT.fetch_add(1, Ordering::Relaxed);
    if let Some(report) = REPORT.get() {
        report(actor, message);
    }
}
