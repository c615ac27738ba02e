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
//!  A1  all workers, those that are spare, too, are stalled   B1  runs what it has, and takes unstarted threads from everywhere
//!      and at two looks in a row there are unstarted threads B2  nothing is left: do threads live here? Sleeps until one is woken, or A3
//!  A2  takes a slot that is free: FREE -> TAKEN  [CAS]       B3  none does: closes `arriving`, ends; TAKEN -> FREE
//!  A3  no slot: wakes a spare worker that sleeps
//! ```
//!
//! *Who starts it:* the monitor alone, at A2. *Who ends it:* itself, at B3, when no thread lives there: so no thread loses its home. *A runtime that ends:* a
//! slot is taken only while workers run, under the lock of their count, and counts among them; so the end waits for it, and
//! it sees that the runtime stops, as others do: `stop` writes that and then looks for remotes, the monitor makes the remote at A2 and then looks whether the runtime
//! stops, each with a full fence in between; so one sees the other.
//!
//! *Where threads move it is looked after:* while a spare worker is up, one of the others is the lookout. Who goes to sleep looks for spare workers that are up (S3' of
//! `PROTOCOL.md`), a spare worker that gets up looks for a lookout when it begins a turn and has other threads, each after a fence;
//! it is counted as awake before that fence.
//!
//! *No thread waits for ever for a spare worker that has just ended:* the monitor looks again, and starts one anew.

use std::sync::OnceLock;

use crate::base::atomic::{AtomicU32, Ordering, fence};
use crate::sched::remote::{self, Remote};

const FREE: u32 = 0;
const TAKEN: u32 = 1;

/// Room for one spare worker.
pub(crate) struct SpareSlot {
    /// Once there was one.
    remote: OnceLock<&'static Remote>,
    state: AtomicU32,
}

impl SpareSlot {
    pub(crate) fn new() -> Self {
        Self { remote: OnceLock::new(), state: AtomicU32::new(FREE) }
    }

    /// Of the worker, if there ever was one.
    pub(crate) fn remote(&self) -> Option<&'static Remote> {
        self.remote.get().copied()
    }

    /// Has it a worker, or is to have one at once?
    pub(crate) fn is_taken(&self) -> bool {
        self.state.load(Ordering::Relaxed) == TAKEN
    }

    /// Is its worker up? For the lookout of a runtime whose threads move.
    pub(crate) fn is_up(&self) -> bool {
        let awake = |remote: &Remote| remote.doorbell.counted.idle().nobody_asleep();
        self.is_taken() && self.remote().is_some_and(awake)
    }

    /// Step A2. True: the caller starts a worker for it, or frees it.
    #[must_use]
    pub(crate) fn take(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `free`: the worker before has left the remote.
        if self.state.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return false;
        }
        let remote = self.remote().or_else(remote::acquire_spare);
        match remote {
            Some(remote) => self.remote.get_or_init(|| remote).arriving.reopen(),
            None => self.state.store(FREE, Ordering::Relaxed),
        }
        // ORDERING: SeqCst pairs with the fence in `StopWord::stop`: who stops finds the remote, or the caller sees that the runtime stops.
        fence(Ordering::SeqCst); // KEY: spare-fence
        remote.is_some()
    }

    /// Step B3: the worker has ended.
    pub(crate) fn free(&self) {
        if let Some(remote) = self.remote() {
            let _ = remote.arriving.close(); // KEY: spare-closes
        }
        // ORDERING: Release pairs with the Acquire in `take`.
        self.state.store(FREE, Ordering::Release);
    }
}
