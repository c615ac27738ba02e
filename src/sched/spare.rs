//! Spare workers: when all workers of a runtime are stalled, and there are threads that have not started, one more worker starts them.
//!
//! Without it, ten threads that spin until another one has done something keep a runtime of two workers for ever, if that one has not started. (std's threads
//! do not wait for each other so: each has an OS thread.)
//!
//! A spare worker is an ordinary worker, on an OS thread of its own, but that
//!
//! * it is counted as asleep in a word of its own, and never searches: so the runtime's idle protocol (`PROTOCOL.md`) does not know of it;
//! * what its threads spawn goes to the runtime's injector, as what OS threads spawn does: that wakes who sleeps;
//! * nobody sends it a thread to start, and it gives none away.
//!
//! # Protocol
//!
//! ```text
//!  the monitor                                              the spare worker
//!  A1  all workers, those that are spare, too, are stalled,  B1  runs what it has, and takes unstarted threads from everywhere
//!      and at two looks in a row there are unstarted threads B2  nothing is left: do threads live here? Sleeps until one is woken, or A3
//!  A2  takes a slot that is free: FREE -> TAKEN  [CAS]       B3  none does: closes `arriving`, ends; TAKEN -> FREE
//!  A3  no slot: wakes a spare worker that sleeps
//! ```
//!
//! *Who starts it:* the monitor alone, at A2. *Who ends it:* itself, at B3, when no thread lives there: so no thread loses its home. *A runtime that ends:* a
//! slot is taken only while workers run, under the lock of their count, and counts among them; so the end waits for it, and
//! it sees that the runtime stops, as others do.
//!
//! *No thread waits for ever for a spare worker that has just ended:* the monitor looks again, and starts one anew.

use crate::base::atomic::{AtomicU32, Ordering};
use crate::sched::remote::Remote;

const FREE: u32 = 0;
const TAKEN: u32 = 1;

/// Room for one spare worker.
pub(crate) struct SpareSlot {
    pub(crate) remote: &'static Remote,
    state: AtomicU32,
}

impl SpareSlot {
    pub(crate) fn new(remote: &'static Remote) -> Self {
        Self { remote, state: AtomicU32::new(FREE) }
    }

    /// Step A2. True: the caller starts a worker for it, or frees it.
    #[must_use]
    pub(crate) fn take(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `free`: the worker before has left the remote.
        let taken = self.state.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok();
        if taken {
            self.remote.arriving.reopen();
        }
        taken
    }

    /// Step B3: the worker has ended.
    pub(crate) fn free(&self) {
        let _ = self.remote.arriving.close();
        // ORDERING: Release pairs with the Acquire in `take`.
        self.state.store(FREE, Ordering::Release);
    }
}
