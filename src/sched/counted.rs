//! In whose count the sleeper of a remote stands: in that of the runtime which has the remote.
//!
//! A remote serves one runtime after another ([`remote`](super::remote)), and a thread that wakes or cancels another may still be at
//! work on it when the thread, and its runtime, are gone. What is left in an inbox cannot come too late: the thread that is
//! sent waits until it is taken out, and it keeps its runtime alive; a cancel that comes too late names a thread that has ended, and
//! is dropped by its reader. What must not happen is that a sleeper of the next runtime is taken out of the last one's
//! count, or the other way round.
//!
//! ```text
//!  somebody late                                     the remote changes hands
//!  L1  inbox: ASLEEP -> what it leaves   [RMW]       R1  the old workers have ended; waits until none is counted as asleep
//!  L2  reads which count                             R2  empties the inbox; gives the remote back       (the pool's lock)
//!  L3  asleep - 1 there                  [RMW]       N1  takes it; stores which count                    (the pool's lock)
//!  L4  unparks                                       N2  the new worker: asleep + 1 there, then empty -> ASLEEP      [RMW]
//! ```
//!
//! If L1 takes the mark of the old worker out, that is counted, and R1 waits for L3: L2 comes before N1, and reads the old one.
//! If it takes the mark of the new worker out, it reads from N2, so L2 comes after N1, and reads the new one. If it takes no mark
//! out, it touches no count. L4 may come as late as it likes: a token in the parker is one look round.
//!
//! `tests/loom_remote.rs` checks it on this file.

use std::ptr;

use crate::base::atomic::{AtomicPtr, Ordering, spin_loop};
use crate::sched::idle::Idle;
use crate::sched::inbox::WasAsleep;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Counted(AtomicPtr<Idle>);

impl Counted {
    pub(crate) fn new(idle: &'static Idle) -> Self {
        Self(AtomicPtr::new(ptr::from_ref(idle).cast_mut()))
    }

    #[inline]
    pub(crate) fn idle(&self) -> &'static Idle {
        // ORDERING: Relaxed: see L2 in the module's text; the mark was taken out with Acquire, or the caller keeps the runtime.
        let idle = self.0.load(Ordering::Relaxed);
        // SAFETY: it came from a reference for ever.
        unsafe { &*idle }
    }

    /// Steps L2 and L3. True: the caller unparks the owner.
    #[inline]
    #[must_use]
    pub(crate) fn count_awake(&self, was_asleep: WasAsleep) -> bool {
        if was_asleep.0 {
            self.idle().count_awake();
        }
        was_asleep.0
    }

    /// Step R1. The thread that notified a worker last may not have counted it yet: a few instructions.
    pub(crate) fn wait_for_the_late(&self) {
        let mut all_counted = true;
        all_counted &= self.idle().nobody_asleep(); // KEY: all-counted
        while !all_counted {
            spin_loop();
            all_counted = self.idle().nobody_asleep();
        }
    }

    /// Step N1.
    pub(crate) fn hand_over(&self, idle: &'static Idle) {
        // ORDERING: Relaxed: the pool's lock, the start of the worker's OS thread and then N2 hand it on.
        self.0.store(ptr::from_ref(idle).cast_mut(), Ordering::Relaxed);
    }
}
