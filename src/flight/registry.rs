//! All rings of the process.
#![forbid(unsafe_code)]

use std::sync::{Arc, Weak};

use crate::base::lock::Lock;
use crate::flight::event::{EventKind, FlightEntry, pack};
use crate::flight::ring::EventRing;
use crate::flight::ticks;
use crate::sys::fork::PerProcess;

/// Whose ring it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RingOwner {
    /// Tells the runtimes of the process apart.
    pub(crate) runtime: usize,
    /// The worker's number; `None`: of OS threads that are no workers.
    pub(crate) worker: Option<usize>,
    /// It has every event.
    pub(crate) all: bool,
}

/// What one writer has written: events, and the names of threads.
#[derive(Debug)]
pub(super) struct Journal {
    owner: RingOwner,
    pub(super) events: EventRing,
    pub(super) names: EventRing,
}

/// A name takes from two to five. (An interpreter is too slow to make large rings.)
const NAME_EVENTS: usize = if cfg!(miri) { 64 } else { 512 };

impl Journal {
    pub(super) fn new(owner: RingOwner, events: usize) -> Self {
        Self { owner, events: EventRing::new(events), names: EventRing::new(NAME_EVENTS) }
    }
}

/// What was read of one writer.
#[derive(Debug)]
pub(crate) struct JournalCopy {
    pub(crate) owner: RingOwner,
    /// How many events were overwritten.
    pub(crate) lost: u64,
    pub(crate) events: Vec<FlightEntry>,
    /// The names of threads, by their numbers.
    pub(crate) names: Vec<(u64, String)>,
}

static JOURNALS: PerProcess<Lock<Vec<Weak<Journal>>>> = PerProcess::new(|| Lock::new(of_parent()));

/// A child of fork has its parent's, as they were. None, if another thread of that had the lock.
fn of_parent() -> Vec<Weak<Journal>> {
    JOURNALS.of_parent().and_then(Lock::try_lock).map(|journals| journals.clone()).unwrap_or_default()
}

pub(super) fn register(journal: &Arc<Journal>) {
    let mut journals = JOURNALS.get().lock();
    journals.retain(|journal| journal.strong_count() > 0);
    journals.push(Arc::downgrade(journal));
}

/// What is there of each worker that has not ended. Whoever reads holds no lock that a worker needs to go on.
pub(crate) fn journals() -> Vec<JournalCopy> {
    let journals: Vec<_> = JOURNALS.get().lock().iter().filter_map(Weak::upgrade).collect();
    journals.iter().map(|journal| copy(journal)).collect()
}

fn copy(journal: &Journal) -> JournalCopy {
    let entries =
        |events: Vec<(u64, u64)>| events.into_iter().filter_map(|(ticks, word)| FlightEntry::new(ticks, word));
    let (lost, events) = journal.events.read();
    let mut names: Vec<(u64, Vec<u8>)> = Vec::new();
    for entry in entries(journal.names.read().1) {
        match (entry.kind, names.last_mut()) {
            (EventKind::IsNamed, _) => names.push((entry.number, Vec::new())),
            (_, Some((_, name))) => name.extend(entry.name_part()),
            (_, None) => {}
        }
    }
    let names = names.into_iter().map(|(id, name)| (id, String::from_utf8_lossy(&name).into_owned())).collect();
    JournalCopy { owner: journal.owner, lost, events: entries(events).collect(), names }
}

/// Events that OS threads have written that are no workers.
const OUTSIDE_EVENTS: usize = 256;

/// Writes an event of an OS thread that is no worker: seldom, as it takes a lock.
pub(crate) fn record_outside(kind: EventKind, number: u64) {
    static WRITER: PerProcess<Lock<Option<Arc<Journal>>>> = PerProcess::new(|| Lock::new(None));
    let mut writer = WRITER.get().lock();
    let journal = writer.get_or_insert_with(|| {
        ticks::begin();
        let owner = RingOwner { runtime: 0, worker: None, all: false };
        let journal = Arc::new(Journal::new(owner, OUTSIDE_EVENTS));
        register(&journal);
        journal
    });
    journal.events.push(ticks::now(), pack(kind, 0, number));
}
