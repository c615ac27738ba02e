//! The pen of one worker.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::sync::Arc;

use crate::base::atomic::{AtomicBool, Ordering};
use crate::flight::event::{EventKind, NAME_BYTES, pack, pack_name};
use crate::flight::registry::{Journal, RingOwner, register};
use crate::flight::ticks;

/// Parts of a name that are written: the rest is cut off.
const NAME_PARTS: usize = 4;

/// Some runtime of the process records everything, or did.
static ALL: AtomicBool = AtomicBool::new(false);

/// Is it worth asking whether the caller's worker records what is only recorded on demand?
#[inline(always)]
pub(crate) fn records_all() -> bool {
    // ORDERING: Relaxed: the workers that record everything begin after it was set.
    ALL.load(Ordering::Relaxed)
}

/// What a runtime records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Recording {
    /// So many events for each worker; 0: nothing.
    pub(crate) events: usize,
    /// Every event, not only those that are rare.
    pub(crate) all: bool,
}

/// What a worker writes events with. Touched by the worker only, and by the threads on it.
#[derive(Debug)]
pub(crate) struct Scribe {
    journal: Option<Arc<Journal>>,
    all: bool,
    /// The thread of which the ring says that it runs; 0: none.
    said: Cell<u64>,
}

impl Scribe {
    /// Of the worker with this number; `runtime` tells the runtimes of the process apart.
    pub(crate) fn new(runtime: usize, worker: usize, Recording { events, all }: Recording) -> Self {
        if events == 0 {
            return Self { journal: None, all: false, said: Cell::new(0) };
        }
        if all {
            // ORDERING: Relaxed: as in `records_all`.
            ALL.store(true, Ordering::Relaxed);
        }
        ticks::begin();
        let journal = Arc::new(Journal::new(RingOwner { runtime, worker: Some(worker), all }, events));
        register(&journal);
        Self { journal: Some(journal), all, said: Cell::new(0) }
    }

    /// Does it write every event?
    #[inline(always)]
    pub(crate) fn writes_all(&self) -> bool {
        self.all
    }

    #[inline(always)]
    pub(crate) fn write(&self, kind: EventKind, number: u64) {
        self.write_with(kind, 0, number);
    }

    #[inline(always)]
    pub(crate) fn write_with(&self, kind: EventKind, detail: u8, number: u64) {
        if let Some(journal) = &self.journal {
            journal.events.push(ticks::now(), pack(kind, detail, number));
        }
    }

    /// Apart from the caller's code, where that seldom comes by.
    #[cold]
    #[inline(never)]
    pub(crate) fn write_apart(&self, kind: EventKind, number: u64) {
        self.write(kind, number);
    }

    /// Thread `id` has a name: apart from the events, so that the names of threads that live long are there as long as there are few.
    #[cold]
    #[inline(never)]
    pub(crate) fn write_name(&self, id: u64, name: &str) {
        if let Some(journal) = &self.journal {
            journal.names.push(ticks::now(), pack(EventKind::IsNamed, 0, id));
            for part in name.as_bytes().chunks(NAME_BYTES).take(NAME_PARTS) {
                let (ticks, word) = pack_name(part);
                journal.names.push(ticks, word);
            }
        }
    }

    /// Thread `id` goes on, or starts.
    #[inline]
    pub(crate) fn write_runs(&self, kind: EventKind, id: u64) {
        self.said.set(id);
        self.write(kind, id);
    }

    /// What the thread that runs here does (`id`; 0: the loop): the ring says which that is.
    pub(crate) fn write_by(&self, id: u64, kind: EventKind, number: u64) {
        if self.said.get() != id {
            self.write_runs(EventKind::Runs, id);
        }
        self.write(kind, number);
    }

    /// Thread `id` waits, or ends, and the loop goes on.
    #[inline]
    pub(crate) fn write_leaves(&self, kind: EventKind, detail: u8, id: u64) {
        self.said.set(0);
        self.write_with(kind, detail, id);
    }
}
