//! What everybody may know of a supervisor's children: under a lock of its own, so that nobody waits for the supervisor.

#![forbid(unsafe_code)]

use std::any::TypeId;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::actor::engine::cell::Strong;
use crate::actor::engine::warden::Brood;
use crate::actor::supervisor::error::{ChildError, StartError};
use crate::actor::supervisor::watch::Watch;
use crate::actor::{Exit, Shutdown};
use crate::base::lock::Lock;
use crate::park::queue::WaitQueue;
use crate::sys::clock::{NEVER, now_ns};

/// One child, as others see it.
#[derive(Clone)]
pub(super) struct ChildEntry {
    pub(super) name: Arc<str>,
    pub(super) actor: TypeId,
    pub(super) type_name: &'static str,
    /// `None`: it has not been started.
    pub(super) strong: Option<Strong>,
    pub(super) watch: Arc<Watch>,
    /// Of a supervisor: its children.
    pub(super) nested: Option<Arc<Table>>,
    /// It will be started again.
    pub(super) is_pending: bool,
    pub(super) restarts: u32,
}

impl ChildEntry {
    /// Its address, if it is of that type.
    pub(super) fn address(self, actor: TypeId) -> Result<Strong, ChildError> {
        let Self { name, strong, type_name, actor: found, .. } = self;
        if found != actor {
            return Err(ChildError::WrongType { name: (&*name).into(), actor: type_name });
        }
        strong.filter(|strong| !strong.core().is_ending()).ok_or_else(|| ChildError::Ended((&*name).into()))
    }
}

struct Children {
    /// By the order of their starts.
    entries: BTreeMap<u64, ChildEntry>,
    names: HashMap<Arc<str>, u64>,
    /// The number of the supervisor's present life, or of the next one, if that is made already.
    life: u64,
    /// In this life children get no longer than this to end.
    by_ns: u64,
    /// When the present life began.
    born_ns: u64,
}

pub(in crate::actor) struct Table {
    children: Lock<Children>,
    /// How the start has ended, once it has.
    pub(super) outcome: WaitQueue<Option<Result<(), StartError>>>,
    tallies: Lock<Tallies>,
}

/// What has become of the children of a supervisor's present life, and of those of the last one: who has waited for the end of that life asks when the
/// next may have begun.
#[derive(Default)]
struct Tallies {
    life: u64,
    present: Shutdown,
    last: Shutdown,
}

impl Table {
    pub(in crate::actor) fn new() -> Arc<Self> {
        let (entries, names) = (BTreeMap::new(), HashMap::new());
        let children = Children { entries, names, life: 0, by_ns: NEVER, born_ns: now_ns() };
        let (outcome, tallies) = (WaitQueue::new(None), Lock::new(Tallies::default()));
        Arc::new(Self { children: Lock::new(children), outcome, tallies })
    }

    /// How the start has ended; the first word counts.
    pub(super) fn say(&self, outcome: Result<(), StartError>) {
        self.outcome.notify_all(|told| {
            let is_first = told.is_none();
            told.get_or_insert(outcome);
            is_first
        });
    }

    /// Another life of the supervisor begins. What was meant for the last one does not reach it.
    pub(in crate::actor) fn reset(&self) {
        let life = {
            let mut children = self.children.lock();
            (children.life, children.by_ns, children.born_ns) = (children.life + 1, NEVER, now_ns());
            children.life
        };
        let mut tallies = self.tallies.lock();
        *tallies = Tallies { life, present: Shutdown::default(), last: tallies.present };
        drop(tallies);
        self.outcome.with(|outcome| *outcome = None);
    }

    /// Something has become of a child.
    pub(super) fn count(&self, tally: Shutdown) {
        self.tallies.lock().present.add(tally);
    }

    /// What has become of the children, in the present life.
    pub(super) fn tally(&self) -> Shutdown {
        self.tallies.lock().present
    }

    /// The same of the life of that number, if it is the present one or the last.
    pub(super) fn tally_of(&self, life: u64) -> Shutdown {
        let tallies = self.tallies.lock();
        match tallies.life.wrapping_sub(life) {
            0 => tallies.present,
            1 => tallies.last,
            _ => Shutdown::default(),
        }
    }

    pub(super) fn life(&self) -> u64 {
        self.children.lock().life
    }

    pub(super) fn born_ns(&self) -> u64 {
        self.children.lock().born_ns
    }

    pub(super) fn by_ns(&self) -> u64 {
        self.children.lock().by_ns
    }

    /// The children of that life get no longer than until then.
    pub(super) fn end_by(&self, life: u64, by_ns: u64) {
        let mut children = self.children.lock();
        if children.life == life {
            children.by_ns = children.by_ns.min(by_ns);
        }
    }

    /// Kills every actor of the tree below the supervisor, in that life of it: what is below a child goes with it.
    pub(super) fn kill_all(&self, life: u64) {
        self.end_by(life, now_ns());
        let (present, entries) = {
            let children = self.children.lock();
            (children.life, children.entries.values().cloned().collect::<Vec<_>>())
        };
        if present == life {
            entries.iter().filter_map(|entry| entry.strong.as_ref()).for_each(|strong| strong.core().kill());
        }
    }

    /// False: the name is taken.
    pub(super) fn add(&self, key: u64, entry: ChildEntry) -> bool {
        let mut children = self.children.lock();
        if children.names.contains_key(&entry.name) {
            return false;
        }
        children.names.insert(Arc::clone(&entry.name), key);
        children.entries.insert(key, entry);
        true
    }

    pub(super) fn remove(&self, key: u64) {
        let mut children = self.children.lock();
        let entry = children.entries.remove(&key);
        if let Some(entry) = &entry {
            children.names.remove(&entry.name);
        }
        drop(children);
        // The last address may go with it.
        drop(entry);
    }

    /// The child of that key has this address now, and these children.
    pub(super) fn moved_in(&self, key: u64, strong: Strong, nested: Option<Arc<Table>>) {
        let mut before = (Some(strong), nested);
        self.change(key, |entry| {
            std::mem::swap(&mut entry.strong, &mut before.0);
            std::mem::swap(&mut entry.nested, &mut before.1);
        });
        // Without the lock: it may be the last address of an actor.
        drop(before);
    }

    pub(super) fn change(&self, key: u64, change: impl FnOnce(&mut ChildEntry)) {
        let mut children = self.children.lock();
        if let Some(entry) = children.entries.get_mut(&key) {
            change(entry);
        }
    }

    pub(super) fn key(&self, name: &str) -> Option<u64> {
        self.children.lock().names.get(name).copied()
    }

    pub(super) fn entry(&self, name: &str) -> Result<ChildEntry, ChildError> {
        let children = self.children.lock();
        let entry = children.names.get(name).and_then(|key| children.entries.get(key));
        entry.cloned().ok_or_else(|| ChildError::Unknown(name.into()))
    }

    /// The address of a child of that type.
    pub(super) fn address(&self, name: &str, actor: TypeId) -> Result<Strong, ChildError> {
        self.entry(name)?.address(actor)
    }

    /// All, in the order of their starts.
    pub(super) fn entries(&self) -> Vec<ChildEntry> {
        self.children.lock().entries.values().cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.children.lock().entries.len()
    }

    /// Of a supervisor that has not ended, what it has not counted, too: those that have been killed, and those that are left, with those below them.
    pub(super) fn tally_so_far(&self) -> Shutdown {
        let mut tally = self.tally();
        for entry in self.entries() {
            match (entry.watch.life.with(|life| life.exit()), &entry.strong) {
                (None, _) => tally.left += 1,
                (Some(exit @ (Exit::Killed | Exit::Shutdown)), Some(strong)) => tally.count(strong.core(), Some(&exit)),
                // It had ended before.
                _ => continue,
            }
            entry.nested.iter().for_each(|nested| tally.add(nested.tally_so_far()));
        }
        tally
    }
}

/// The children of one life of a supervisor.
pub(super) struct BroodOf {
    pub(super) table: Arc<Table>,
    pub(super) life: u64,
}

impl Brood for BroodOf {
    fn kill_all(&self) {
        self.table.kill_all(self.life);
    }
}

/// The table of a child that has children: another one when it is another actor, as the one before may not have ended.
#[derive(Clone)]
pub(in crate::actor) struct TableSlot(Arc<Lock<Arc<Table>>>);

impl TableSlot {
    pub(in crate::actor) fn new() -> Self {
        Self(Arc::new(Lock::new(Table::new())))
    }

    pub(in crate::actor) fn get(&self) -> Arc<Table> {
        Arc::clone(&self.0.lock())
    }

    /// Puts another table there.
    pub(in crate::actor) fn renew(&self) -> Arc<Table> {
        let fresh = Table::new();
        let before = std::mem::replace(&mut *self.0.lock(), Arc::clone(&fresh));
        // Without the lock: the last address of an actor may go with it.
        drop(before);
        fresh
    }
}
