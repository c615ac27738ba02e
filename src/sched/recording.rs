//! What a worker writes into its ring, and where it costs more than a call: [`flight`](crate::flight) says what and why.

use std::ptr::NonNull;

use crate::base::atomic::Ordering;
use crate::flight::{EventKind, Scribe};
use crate::sched::turn::TurnEnd;
use crate::sched::worker::Worker;
use crate::task::Header;

fn reason_of(thread: &Header) -> u8 {
    thread.reason.load(Ordering::Relaxed)
}

impl Worker {
    /// Runs what there is to run, as the loop does, and records when each thread goes on and why it waits. A loop for each kind of runtime: what a yield costs here
    /// is what it costs there, and three instructions.
    #[inline(never)]
    pub(super) fn run_recorded(&self) {
        if self.shared.moves {
            return self.run_looking_recorded();
        }
        while let Some(thread) = self.next() {
            self.record_goes_on(thread);
            if let TurnEnd::Waits = self.turn(thread) {
                self.record_waits(thread);
            }
        }
    }

    #[inline(never)]
    fn run_looking_recorded(&self) {
        while let Some(thread) = self.next_or_look() {
            self.record_goes_on(thread);
            // SAFETY: invariant 3 of the worker: its reference is the turn's, which has not begun.
            let id = unsafe { thread.as_ref() }.id;
            if let TurnEnd::Waits = self.turn(thread) {
                // It may go on elsewhere by now, and end.
                self.scribe.write_leaves(EventKind::Parks, 0, id);
            }
        }
    }

    /// One that has yielded does not say so again: a yield is none of the events.
    #[inline(always)]
    fn record_goes_on(&self, thread: NonNull<Header>) {
        // SAFETY: invariant 3 of the worker: its reference is the turn's, which has not begun.
        let header = unsafe { thread.as_ref() };
        // SAFETY: nobody but the thread writes it, which waits for this turn. So no atomic load is needed, which takes one instruction more.
        if unsafe { header.reason.as_ptr().read() } != 0 {
            self.scribe.write_runs(EventKind::Runs, header.id);
        }
    }

    /// In a runtime whose threads stay.
    #[inline(always)]
    fn record_waits(&self, thread: NonNull<Header>) {
        // SAFETY: it waits, and stays here: so it is alive.
        let header = unsafe { thread.as_ref() };
        self.scribe.write_leaves(EventKind::Parks, reason_of(header), header.id);
    }

    /// The pen of the worker that this code runs on: of this one, or of one that stands in for it.
    pub(super) fn scribe_here(&self) -> &Scribe {
        Worker::current().map_or(&self.scribe, |worker| &worker.scribe)
    }

    /// Something rare has happened to `thread`.
    ///
    /// # Safety
    ///
    /// The thread has not ended.
    #[cold]
    pub(super) unsafe fn record_of(&self, kind: EventKind, thread: NonNull<Header>) {
        // SAFETY: as the caller promises.
        self.scribe_here().write(kind, unsafe { thread.as_ref() }.id);
    }

    /// What the thread that runs here does, or the loop.
    pub(super) fn record_by_current(&self, kind: EventKind, number: u64) {
        let by = self.here().current().map_or(0, |thread| thread.id);
        self.scribe.write_by(by, kind, number);
    }

    /// `top`, which ran on top of another thread, has come to the `end` of its turn: that one, the current one again, goes on.
    #[cold]
    #[inline(never)]
    pub(super) fn record_back_on(&self, top: NonNull<Header>, end: TurnEnd) {
        if let TurnEnd::Waits = end
            && !self.shared.moves
        {
            // SAFETY: it waits, and stays here: so it is alive.
            let top = unsafe { top.as_ref() };
            self.scribe.write_leaves(EventKind::Parks, reason_of(top), top.id);
        }
        self.record_current();
    }

    fn record_current(&self) {
        self.scribe.write_runs(EventKind::Runs, self.here().current().map_or(0, |thread| thread.id));
    }

    /// How many threads there are, now and then.
    #[cold]
    #[inline(never)]
    pub(super) fn record_load(&self) {
        self.scribe.write(EventKind::Lives, self.live.count() as u64);
        self.scribe.write(EventKind::Ready, self.queues.ready.len() as u64);
    }

    /// A thread, or a run of an actor, has got its stack.
    #[inline(always)]
    pub(super) fn record_start(&self, thread: &Header) {
        if self.is_worth_recording(thread) {
            self.write_start(thread);
        }
    }

    /// A thread, or a run of an actor, is over. `on_top`: the thread below it goes on.
    #[inline(always)]
    pub(super) fn record_end(&self, thread: &Header, on_top: bool) {
        if self.is_worth_recording(thread) {
            self.write_end(thread, on_top);
        }
    }

    /// Of threads without a name this is all that it costs: of them there may be many.
    #[inline(always)]
    fn is_worth_recording(&self, thread: &Header) -> bool {
        self.scribe.writes_all() || !thread.extra.load(Ordering::Relaxed).is_null()
    }

    #[cold]
    #[inline(never)]
    fn write_start(&self, thread: &Header) {
        let (is_actor, name) = (thread.vtable.after_run.is_some(), thread.name());
        match name {
            // An actor says it once: `record_name`.
            _ if is_actor && self.scribe.writes_all() => self.scribe.write_runs(EventKind::Runs, thread.id),
            Some(name) if !is_actor => {
                self.scribe.write_runs(EventKind::Starts, thread.id);
                self.scribe.write_name(thread.id, name);
            }
            None if self.scribe.writes_all() => self.scribe.write_runs(EventKind::Starts, thread.id),
            _ => {}
        }
    }

    #[cold]
    #[inline(never)]
    fn write_end(&self, thread: &Header, on_top: bool) {
        if on_top && self.scribe.writes_all() {
            self.record_current();
        }
        let (is_actor, is_named) = (thread.vtable.after_run.is_some(), thread.name().is_some());
        if is_actor && self.scribe.writes_all() {
            self.scribe.write_leaves(EventKind::Rests, 0, thread.id);
        } else if !is_actor && (is_named || self.scribe.writes_all()) {
            self.scribe.write_leaves(EventKind::Ends, 0, thread.id);
        }
    }
}

/// What the calling thread does, if its worker records every event.
#[cold]
#[inline(never)]
pub(crate) fn record_all(kind: EventKind, number: u64) {
    if let Some(worker) = Worker::current().filter(|worker| worker.scribe.writes_all()) {
        worker.record_by_current(kind, number);
    }
}

/// The actor that runs here has begun its life.
#[inline]
pub(crate) fn record_name(actor: &Header) {
    if actor.extra().is_some() {
        write_name(actor);
    }
}

#[cold]
#[inline(never)]
fn write_name(actor: &Header) {
    if let (Some(worker), Some(name)) = (Worker::current(), actor.name()) {
        worker.scribe.write_name(actor.id, name);
    }
}
