//! Virtual time: a worker that has nothing to run goes on to its next timer instead of sleeping until then. "Virtual time" in
//! `sched/PROTOCOL.md`.

#![forbid(unsafe_code)]

use crate::base::atomic::{AtomicU64, Ordering};
use crate::sched::worker::Worker;
use crate::sys::clock::{NEVER, real_ns};

/// How often is looked whether the blocking calls that are under way are over.
const LOOK_NS: u64 = 1_000_000;

impl Worker {
    /// Step S4 under virtual time. True: there is something to run.
    pub(super) fn sleep_virtually(&self, time: &AtomicU64, timer_ns: u64) -> bool {
        // V1, before V2.
        let quiet = self.shared.pool.is_quiet();
        // V2.
        let until_ns = match timer_ns {
            _ if !quiet => real_ns() + LOOK_NS,
            NEVER => NEVER,
            _ => 0,
        };
        if self.sleep_until(until_ns) {
            return true;
        }
        let passes = quiet && timer_ns != NEVER;
        if passes {
            // V3. ORDERING: Relaxed: of this OS thread only.
            time.store(timer_ns, Ordering::Relaxed);
        }
        passes
    }
}
