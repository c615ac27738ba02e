//! How a worker goes to sleep, how others notify it, and how it takes what they have left: the steps of `sched/PROTOCOL.md`, once.
//!
//! A doorbell is a worker's [`Inbox`], the [`Parker`] that the worker sleeps in, and the word ([`Counted`]) in which it is counted
//! while it sleeps. The thread that takes the mark `ASLEEP` out of the inbox *rings*: counts the worker awake and unparks it. The models
//! (`tests/loom_idle.rs`, `tests/loom_balance.rs`, `tests/loom_remote.rs`) call the functions of this file; they have no copy of them.

use std::ptr::NonNull;

use crate::sched::counted::Counted;
use crate::sched::idle::{Duty, Idle};
use crate::sched::inbox::{Batch, Inbox, Queued, WasAsleep};
use crate::sys::parker::Parker;

/// What [`go_to_sleep`](Doorbell::go_to_sleep) asks of the worker.
pub(crate) trait Sleeper {
    /// Step S3: is there work that a worker without any should help with?
    fn has_work_to_share(&self) -> bool;

    /// Is there an unstarted thread anywhere, even a single one?
    fn has_unstarted(&self) -> bool;

    /// Step S4: sleeps; `lookout`: for a bounded time. True: the worker was unparked, or has something to run.
    fn sleep(&self, lookout: bool) -> bool;

    /// The lookout's look, between two sleeps: takes an unstarted thread, even a single one. True: it has one.
    fn look_round(&self) -> bool;

    /// Steps P4 to P6', as long as there is an unstarted thread.
    fn notify_thief(&self);

    /// Is a worker up that is not counted in `idle`, and that the lookout has to look after?
    fn is_spare_up(&self) -> bool {
        false
    }
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Doorbell<T> {
    inbox: Inbox<T>,
    /// Where the owner sleeps, if not in its poller.
    pub(crate) parker: Parker,
    pub(crate) counted: Counted,
}

impl<T: Queued> Doorbell<T> {
    /// Of a worker that is counted in `idle`.
    pub(crate) fn new(idle: &'static Idle) -> Self {
        Self { inbox: Inbox::new(), parker: Parker::new(), counted: Counted::new(idle) }
    }

    /// Leaves `item`. `fetch` ends the sleep of a worker that sleeps elsewhere than in its parker.
    ///
    /// # Safety
    ///
    /// `item` is valid until the owner has taken it, and is in no other queue.
    #[inline]
    pub(crate) unsafe fn send(&self, item: NonNull<T>, fetch: impl FnOnce()) {
        // SAFETY: as the caller promises.
        let was_asleep = unsafe { self.inbox.push(item) };
        self.ring(was_asleep, fetch);
    }

    /// Has the owner look at its cancels and its runtime's shutdown.
    pub(crate) fn notify_control(&self, fetch: impl FnOnce()) {
        self.ring(self.inbox.notify_control(), fetch);
    }

    /// Step P5: makes a searcher of the owner if it sleeps. False: it does not.
    pub(crate) fn notify_search(&self, fetch: impl FnOnce()) -> bool {
        let was_asleep = self.inbox.notify_search();
        self.ring(was_asleep, fetch);
        was_asleep.0
    }

    /// Steps L2 to L4 ([`counted`](super::counted)).
    #[inline]
    fn ring(&self, was_asleep: WasAsleep, fetch: impl FnOnce()) {
        if self.counted.count_awake(was_asleep) {
            self.parker.unpark_or(fetch); // KEY: ring-unparks
        }
    }

    /// Is there nothing for the owner?
    #[inline]
    pub(crate) fn is_silent(&self) -> bool {
        self.inbox.is_empty()
    }

    /// Is the owner marked as asleep, so that nobody has left anything for it?
    pub(crate) fn is_marked(&self) -> bool {
        self.inbox.is_marked()
    }

    /// The owner takes what there is. `counted`: it is counted as asleep in `idle`, and has no mark in the inbox that says so.
    pub(crate) fn answer(&self, idle: &Idle, mut counted: bool) -> Batch<T> {
        let batch = self.inbox.take();
        counted |= batch.asleep; // KEY: gets-up-by-itself
        if counted {
            idle.count_awake();
        }
        batch
    }

    /// The owner, a spare worker, has got up; `runtimes` counts those that are not spare. Who took its mark out may not have counted it yet: it would begin a turn
    /// while it passes for one that sleeps.
    pub(crate) fn spare_is_up(&self, runtimes: &Idle) {
        self.counted.wait_for_the_late(); // KEY: spare-counted
        runtimes.spare_is_up();
    }

    /// Steps S1 to S5, for the owner, which is one of `workers` and is counted in `idle`; `searching`: as a searcher, too.
    pub(crate) fn go_to_sleep(&self, idle: &Idle, workers: u32, searching: bool, sleeper: &impl Sleeper) -> Batch<T> {
        let mut marked = true;
        let all = workers + u32::from(sleeper.is_spare_up());
        // S1: counted as asleep. S2: marked as asleep, unless there is something in the inbox.
        let duty = idle.announce(searching, all); // SWAP: announce
        marked &= self.inbox.doze(); // SWAP: announce
        let mut lookout = duty == Duty::Lookout;
        if marked {
            lookout = sleep_marked(idle, workers, lookout, sleeper);
        }
        // S5.
        let batch = self.answer(idle, !marked);
        if lookout && idle.resign() && sleeper.has_unstarted() {
            sleeper.notify_thief();
        }
        batch
    }
}

/// Steps S3 and S4, until the worker has to get up. Is it the lookout still?
fn sleep_marked(idle: &Idle, workers: u32, mut lookout: bool, sleeper: &impl Sleeper) -> bool {
    loop {
        // S3: the last look.
        idle.before_last_look(); // SWAP: look
        let mut up = sleeper.has_work_to_share(); // SWAP: look
        // S3'.
        up = up || !lookout && sleeper.is_spare_up() && !idle.has_lookout(); // KEY: spare-lookout
        // S4.
        up = up || sleeper.sleep(lookout);
        if up {
            return lookout;
        }
        if lookout && !sleeper.is_spare_up() && idle.resign_if_all_asleep(workers) {
            lookout = false;
            // Somebody may be up and not yet counted so, and have relied on the lookout.
            up = sleeper.has_unstarted();
        } else if lookout {
            up = sleeper.look_round(); // KEY: lookout-looks
        }
        if up {
            return lookout;
        }
    }
}
