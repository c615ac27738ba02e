//! Which OS threads of the process wait and cannot wake anybody meanwhile, so that one that looks from outside ([`standstill`](crate::sched::standstill)) can tell
//! whether there are others. In debug builds, and others that are told to, as [`deadlock`](super::deadlock): the rest keep no table.
//!
//! In the table is an OS thread that waits here without a deadline, from before its wait is begun to be slept until after; and one of the crate's own that only does what
//! others ask for and wakes nobody by itself, as long as it runs. Of any other OS thread nothing is known: it passes for one that may wake somebody.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use crate::base::atomic::{AtomicU32, Ordering};
use crate::base::lock::Lock;
use crate::sys::fork::PerProcess;
use crate::sys::system_thread::{self, SystemThread};
use crate::task::Task;
use crate::task::wait::WaitLook;

/// Is there a table?
const KEPT: bool = cfg!(any(debug_assertions, green_deadlocks));

#[derive(Debug)]
enum OsThreadRole {
    /// It wakes nobody by itself.
    Serves,
    /// It waits, in that wait.
    Waits(Task, WaitLook),
}

/// By the numbers of the OS threads.
static TABLE: PerProcess<Lock<HashMap<i32, OsThreadRole>>> = PerProcess::new(|| Lock::new(HashMap::new()));

/// Wakes that will come by themselves, and that no thread waits for in a wait with a deadline.
static LATER: PerProcess<AtomicU32> = PerProcess::new(|| AtomicU32::new(0));

/// The calling OS thread is in the table, as long as this is there.
#[derive(Debug)]
#[must_use]
pub(crate) struct InTable {
    number: Option<i32>,
    /// What it is in the table for otherwise: one that serves may wait.
    before: Option<OsThreadRole>,
}

impl InTable {
    fn enter(role: impl FnOnce() -> OsThreadRole) -> Self {
        if !KEPT {
            return Self { number: None, before: None };
        }
        let (number, role) = (SystemThread::current().number(), role());
        let before = TABLE.get().lock().insert(number, role);
        Self { number: Some(number), before }
    }
}

impl Drop for InTable {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let mut table = TABLE.get().lock();
            let role = match self.before.take() {
                Some(before) => table.insert(number, before),
                None => table.remove(&number),
            };
            drop(table);
            // A waiting thread's reference may be the last one: it is given up outside of the lock.
            drop(role);
        }
    }
}

/// The calling OS thread is one of the crate's, and wakes nobody but who waits for a signal, or by a [`LaterWake`].
pub(crate) fn serves() -> InTable {
    InTable::enter(|| OsThreadRole::Serves)
}

/// The calling OS thread, whose header `thread` is, sleeps until another thread ends its wait, which has begun.
#[inline]
pub(super) fn waits(thread: impl FnOnce() -> Task) -> InTable {
    InTable::enter(|| {
        let thread = thread();
        let wait = thread.look().0;
        OsThreadRole::Waits(thread, wait)
    })
}

/// Somebody will be woken, by one that [`serves`], though no thread waits for that until a deadline: as long as this is there.
#[derive(Debug)]
pub(crate) struct LaterWake(#[cfg(any(debug_assertions, green_deadlocks))] &'static AtomicU32);

impl LaterWake {
    pub(crate) fn new() -> Self {
        Self(
            #[cfg(any(debug_assertions, green_deadlocks))]
            {
                let count = LATER.get();
                count.fetch_add(1, Ordering::Relaxed);
                count
            },
        )
    }
}

impl Drop for LaterWake {
    fn drop(&mut self) {
        #[cfg(any(debug_assertions, green_deadlocks))]
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An OS thread that waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct WaitingOsThread {
    pub(crate) id: u64,
    pub(crate) name: Option<Box<str>>,
    pub(crate) reason: &'static str,
    pub(crate) wait: WaitLook,
}

/// The OS threads of the process, but for those that serve and those whose numbers `is_known` knows. `None`: one of them does not wait, or may be woken by itself, or
/// that is not known.
pub(crate) fn all_wait(is_known: impl Fn(i32) -> bool) -> Option<Vec<WaitingOsThread>> {
    if LATER.get().load(Ordering::Relaxed) != 0 {
        return None;
    }
    let waiting = {
        let table = TABLE.get().lock();
        let waiting = table.values().filter_map(|role| match role {
            OsThreadRole::Serves => None,
            OsThreadRole::Waits(thread, wait) => {
                let (now, reason) = thread.look();
                let (id, name) = (thread.id, thread.name().map(Into::into));
                Some((now == *wait && wait.is_waiting()).then_some(WaitingOsThread { id, name, reason, wait: *wait }))
            }
        });
        waiting.collect::<Option<Vec<_>>>()?
    };
    // Last: one that another has started before that began to wait is there.
    let threads = system_thread::numbers()?;
    let table = TABLE.get().lock();
    threads.iter().all(|number| is_known(*number) || table.contains_key(number)).then_some(waiting)
}
