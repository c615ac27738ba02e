//! What others see of a worker that is in a turn, without its help: which thread keeps it, and whether something waits for it.
//!
//! # What waits for a worker
//!
//! A thread that is ready, or on its way there through the inbox; an event that a thread waits for; a timer that is due for certain (the wheel tells in which of
//! its slots the first one is: at its end that is due); a thread that has not started, which no other worker takes either.
//!
//! In a runtime whose threads move, others look after a worker whose thread computes ([`moving`](super::moving)): a thread that may move is taken over when it is ready or its timer is
//! due, and so does not wait for this worker. It does if that is *left alone*, as each of the others is in a turn that takes as long, or if a thread with the worker's thread-locals keeps it,
//! of which nobody may take anything. A thread that stays where it is waits for it in any case.
//!
//! Of the queue of unstarted threads only its length is known. A joiner that starts a thread leaves a stale entry there. So as many entries as the thread that runs has
//! left do not count, and none does while the runtime's counters say that no thread is unstarted.
//!
//! # Invariants
//!
//! 1. Who has `watched` of a remote has that lock: the worker has not ended.
//! 2. A thread is in the worker's list from before it is the current one until after. So one that is the current one under a visit of that list is alive as long
//!    as the visit lasts, and so are all in the list. (One that a stack was handed to is the current one a moment before it is in the list; so it cannot end under the visit.)

use std::panic::Location;
use std::ptr;

use crate::park::current::WorkerContext;
use crate::sched::remote::{Remote, WatchedWorker};
use crate::sched::shared::Shared;
use crate::sched::watched::WorkersSeen;
use crate::sched::worker::Worker;
use crate::sys::clock::{NEVER, real_ns};
use crate::task::Header;
use crate::task::id::ThreadId;

/// So many threads of a worker are looked at for one that waits for an event, or stays; if there are more, some other one does.
const LOOKS: usize = 1024;
/// What threads say that wait for one.
const FOR_EVENTS: &[&str] = &["readable", "writable", "future"];

/// What is seen of a worker in a turn.
#[derive(Debug)]
pub(crate) struct Glance {
    /// The thread that keeps it. `None`: there is no membarrier(2).
    pub(crate) thread: Option<ThreadIdentity>,
    /// A thread, timer or event of its own waits for it.
    pub(crate) waits_inside: bool,
    /// A thread that has come from elsewhere, or has not started, waits.
    pub(crate) waits_outside: bool,
}

/// Which thread it is.
#[derive(Clone, Debug)]
pub(crate) struct ThreadIdentity {
    pub(crate) id: ThreadId,
    pub(crate) name: Option<Box<str>>,
    pub(crate) spawned_at: &'static Location<'static>,
}

/// `is_alone`: no other worker of the runtime comes round, either.
pub(super) fn glance(watched: &WatchedWorker, remote: &Remote, is_alone: bool) -> Glance {
    let worker = watched.here.cast::<Worker>();
    // SAFETY: invariant 1; of the worker atomics are touched, and what never changes.
    let (shared, number, unstarted): (&Shared, usize, usize) =
        unsafe { (&(*worker).shared, (*worker).number, (*worker).queues.unstarted_len()) };
    let has_events = remote.has_events();
    let (mut stale, mut wants_events) = (0, false);
    let is_left = is_alone || !shared.moves;
    let mut keeps = false;
    let thread = {
        remote.listed.open().ok().and_then(|visitor| {
            let _visit = visitor.visit();
            // SAFETY: invariant 2.
            wants_events = has_events && unsafe { waits_for_events(worker) };
            // SAFETY: invariants 1 and 2.
            let current = unsafe { WorkerContext::current_of(watched.here).as_ref() }?;
            stale = current.claimed.get() as usize;
            // SAFETY: as above.
            keeps = !is_left && unsafe { keeps_some(watched, current) };
            Some(ThreadIdentity {
                id: ThreadId::of(current),
                name: current.name().map(Into::into),
                spawned_at: current.spawned_at,
            })
        })
    };
    Glance {
        thread,
        waits_inside: (is_left || keeps) && has_ready_or_due(watched) || wants_events,
        waits_outside: shared.is_sent_to(number) || unstarted > stale && shared.may_have_unstarted(),
    }
}

impl WatchedWorker {
    /// Is no timer pending in its wheel? What it changes at this moment may give another answer.
    pub(super) fn has_no_timer(&self) -> bool {
        self.timer_ns() == NEVER
    }

    /// When one is due for certain.
    fn timer_ns(&self) -> u64 {
        // SAFETY: invariant 1: the caller has this by the lock; the wheel's hands are atomics.
        unsafe { (*(*self.here).wheel.as_ptr()).hands.surely_due_ns() }
    }
}

/// Is a thread ready there, or its timer due?
fn has_ready_or_due(watched: &WatchedWorker) -> bool {
    has_ready(watched) || watched.timer_ns() <= real_ns()
}

/// Is a thread ready there?
fn has_ready(watched: &WatchedWorker) -> bool {
    let worker = watched.here.cast::<Worker>();
    // SAFETY: invariant 1; atomics.
    let (ready, woken): (usize, *mut Header) = unsafe { ((*worker).queues.ready.len(), (*watched.here).woken.get()) };
    ready > 0 || !woken.is_null()
}

/// May others that look after the worker not take all that is ready there: as nobody may take anything from the thread that runs, or as one is ready that stays?
///
/// # Safety
///
/// A visit to the worker's list lasts; `current` runs there, or has a moment ago.
unsafe fn keeps_some(watched: &WatchedWorker, current: &Header) -> bool {
    // SAFETY: as the caller promises.
    let has_one_that_stays = || unsafe { has_one_that_stays(watched.here.cast::<Worker>(), current) };
    current.vtable.border.is_none() || has_ready(watched) && has_one_that_stays()
}

/// Is there a thread that does not move, and does not wait, besides the one that runs? (It may have another on top of itself, then what is ready is another one: that
/// is taken over in a moment.)
///
/// # Safety
///
/// A visit to the worker's list lasts.
unsafe fn has_one_that_stays(worker: *const Worker, current: &Header) -> bool {
    // SAFETY: as the caller promises: nobody changes the list.
    let list = unsafe { &(*worker).live.list };
    let mut next = list.front();
    for _ in 0..LOOKS {
        let Some(thread) = next else { return false };
        // SAFETY: it is in the list: invariant 2.
        let thread_ref = unsafe { thread.as_ref() };
        if !ptr::eq(thread_ref, current) && !thread_ref.state.is_movable() && !thread_ref.look().0.is_waiting() {
            return true;
        }
        next = list.next_of(thread);
    }
    true
}

/// # Safety
///
/// A visit to the worker's list lasts.
unsafe fn waits_for_events(worker: *const Worker) -> bool {
    // SAFETY: as the caller promises: nobody changes the list.
    let list = unsafe { &(*worker).live.list };
    let mut next = list.front();
    for _ in 0..LOOKS {
        let Some(thread) = next else { return false };
        // SAFETY: it is in the list: invariant 2.
        let thread_ref = unsafe { thread.as_ref() };
        let (wait, reason) = thread_ref.look();
        if wait.is_waiting() && FOR_EVENTS.contains(&reason) {
            return true;
        }
        next = list.next_of(thread);
    }
    true
}

impl Shared {
    /// What a worker has been sent and has not taken in, or any worker may take from outside.
    fn is_sent_to(&self, number: usize) -> bool {
        let remote = self.remote(number);
        !remote.doorbell.is_silent()
            || remote.latch.ready() > 0
            || !self.injector.is_empty() && self.may_have_unstarted()
    }

    /// Are all entries in the queues stale, for certain? Then no.
    fn may_have_unstarted(&self) -> bool {
        let started: u64 = self.every_remote().map(|remote| remote.counters.started.get()).sum();
        self.has_had_actors() || self.spawned() > started
    }
}

impl WorkersSeen for Shared {
    fn remote(&self, number: usize) -> Option<&'static Remote> {
        let spare = || self.spares.get(number - self.remotes.len())?.remote();
        self.remotes.get(number).copied().or_else(spare)
    }

    fn has_unstarted(&self) -> bool {
        let queued = !self.injector.is_empty() || self.stealers.iter().any(|stealer| !stealer.is_empty());
        queued && self.may_have_unstarted()
    }

    fn seems_awaited(&self, number: usize, watched: &WatchedWorker, is_alone: bool) -> bool {
        let queued = || self.stealers.get(number).is_some_and(|stealer| !stealer.is_empty());
        let keeps = || {
            let visitor = self.remote(number).listed.open().ok()?;
            let _visit = visitor.visit();
            // SAFETY: invariants 1 and 2.
            Some(unsafe { keeps_some(watched, WorkerContext::current_of(watched.here).as_ref()?) })
        };
        self.is_sent_to(number)
            || queued() && self.may_have_unstarted()
            || has_ready_or_due(watched) && (is_alone || !self.moves || keeps().unwrap_or(false))
    }
}
