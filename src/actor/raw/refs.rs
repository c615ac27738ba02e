//! The counted pointers to an actor's cell. Invariant 2 of [`cell`](super::cell) is the rule.

use std::fmt;
use std::ptr::NonNull;

use super::cell::Core;
use super::mail::Phase;
use crate::base::atomic::Ordering;
use crate::task::Task;

/// A strong address, without the actor's type.
pub(crate) struct Strong(NonNull<Core>);

// SAFETY: a counted pointer to a `Core`, which is `Send` and `Sync`.
unsafe impl Send for Strong {}
// SAFETY: as above.
unsafe impl Sync for Strong {}

/// A reference that keeps the block, not the actor.
#[derive(Clone, Debug)]
pub(crate) struct Weak(Task);

impl Strong {
    /// Takes over one count of `addrs`.
    pub(super) fn from_raw(core: NonNull<Core>) -> Self {
        Self(core)
    }

    #[inline]
    pub(crate) fn core(&self) -> &Core {
        // SAFETY: invariant 2: `self` is one of the strong addresses.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn as_ptr(&self) -> *const Core {
        self.0.as_ptr()
    }
}

impl Clone for Strong {
    #[inline]
    fn clone(&self) -> Self {
        // ORDERING: Relaxed: a new address is made from one that is held.
        if self.core().addrs.fetch_add(1, Ordering::Relaxed) > usize::MAX / 2 {
            crate::base::abort::fatal(format_args!("more than 2^63 addresses of one actor"));
        }
        Self(self.0)
    }
}

impl Drop for Strong {
    #[inline]
    fn drop(&mut self) {
        // ORDERING: Release pairs with the Acquire in `is_addressed`, and in `drop_last`.
        if self.core().addrs.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.drop_last();
        }
    }
}

impl Strong {
    /// The last address goes: an actor that rests has nothing queued, and ends.
    #[cold]
    fn drop_last(&self) {
        // SAFETY: invariant 2: the addresses' common reference, given up at the end of this.
        let task = unsafe { Task::from_raw(self.0.cast()) };
        let core = self.core();
        let launch = {
            let mut mail = core.mail.lock();
            mail.phase != Phase::Dead && !core.is_addressed() && mail.rouse()
        };
        if launch {
            core.launch();
        }
        drop(task);
    }
}

impl Weak {
    /// Takes over a reference to a task that is an actor.
    ///
    /// # Safety
    ///
    /// It is one.
    pub(super) unsafe fn new(task: Task) -> Self {
        Self(task)
    }

    pub(super) fn task(&self) -> &Task {
        &self.0
    }

    pub(crate) fn core(&self) -> &Core {
        // SAFETY: a `Weak` is made of a `Core`'s own reference (invariants 1 and 2).
        unsafe { self.0.as_ptr().cast::<Core>().as_ref() }
    }

    /// `None`: all strong addresses are gone.
    pub(crate) fn upgrade(&self) -> Option<Strong> {
        let core = self.core();
        let more = |count| (count != 0).then_some(count + 1);
        // ORDERING: Relaxed: while the count is not zero, its reference keeps the block; nothing else is handed over.
        core.addrs.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Strong(self.0.as_ptr().cast()))
    }
}

impl fmt::Debug for Strong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.core().fmt(f)
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::sync::{Arc, Barrier};

    use crate::actor::{Actor, Builder, Context, Handler, Message};
    use crate::park::current::Here;
    use crate::rt::runtime::Runtime;

    struct Counts(Arc<AtomicU64>);
    impl Actor for Counts {}
    struct One;
    impl Message for One {
        type Reply = ();
    }
    impl Handler<One> for Counts {
        fn handle(&mut self, _: One, _: &mut Context<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An actor that is told of a connection may be sent to another worker while others count references to it.
    #[test]
    fn no_reference_is_lost_when_an_actor_is_told_of_an_accepted_connection() {
        let runtime = Runtime::builder().workers(2).build().unwrap();
        let handled = Arc::new(AtomicU64::new(0));
        let actor = Builder::new().runtime(&runtime).start(Counts(Arc::clone(&handled))).unwrap();
        let (stop, begin) = (AtomicBool::new(false), Barrier::new(2));
        let rounds = if cfg!(target_arch = "x86_64") { 20_000 } else { 1000 };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                begin.wait();
                while !stop.load(Ordering::Relaxed) {
                    drop(actor.downgrade());
                }
            });
            begin.wait();
            runtime.run(|| {
                // So that the other worker has fewer threads.
                let idle: Vec<_> = (0..4).map(|_| crate::rt::thread::spawn_local(crate::rt::thread::park)).collect();
                crate::rt::thread::yield_now();
                for round in 1..=rounds {
                    Here::get().unwrap().set_accepted();
                    actor.tell(One).unwrap();
                    while handled.load(Ordering::Relaxed) < round {
                        crate::rt::thread::yield_now();
                    }
                }
                idle.iter().for_each(|thread| thread.cancel());
            });
            stop.store(true, Ordering::Relaxed);
        });
        drop(runtime);
        assert_eq!(actor.core().header.state.refs(), 2, "the actor's life, and its addresses");
    }
}
