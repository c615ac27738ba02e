//! Who reads, and whose turn is before whose, of a readers-writer lock, where [`deadlock`](crate::park::deadlock)s are named. Elsewhere all of this is empty, and does nothing.
//!
//! A thread is in the list of the lock from when it has it for reading until just before it lets it go. It takes out what its guard has: so guards may be dropped in any order, and
//! by whom they may have been given to. The first in the list stands in the lock's own words, for a dump ([`waits_on`](crate::park::waits_on)). What follows from that is in "Deadlocks" of `src/park/PROTOCOL.md`.
#![forbid(unsafe_code)]

#[cfg(not(any(debug_assertions, green_deadlocks)))]
use std::marker::PhantomData;
#[cfg(any(debug_assertions, green_deadlocks))]
use std::panic::Location;

use crate::base::lock::Lock;
use crate::park::Wait;
#[cfg(any(debug_assertions, green_deadlocks))]
use crate::park::current::with_header;
#[cfg(any(debug_assertions, green_deadlocks))]
use crate::park::deadlock::{SharedWait, WaitTarget, about_to_wait};
use crate::sync::holder::LockHolder;
use crate::sync::queue::{Contender, LockQueue};

/// Are they known?
pub(super) const READERS_ARE_KNOWN: bool = cfg!(any(debug_assertions, green_deadlocks));

/// One reading of a thread, in its guard and in the lock's list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reading {
    #[cfg(any(debug_assertions, green_deadlocks))]
    thread: u64,
    #[cfg(any(debug_assertions, green_deadlocks))]
    place: &'static Location<'static>,
}

/// The list. As the lock's queue it may be in use when another thread forks: the lock is not to be used in the child then.
#[derive(Debug)]
pub(super) struct Readers {
    #[cfg(any(debug_assertions, green_deadlocks))]
    all: Lock<Vec<Reading>>,
}

impl Readers {
    #[inline(always)]
    pub(super) const fn new() -> Self {
        Self {
            #[cfg(any(debug_assertions, green_deadlocks))]
            all: Lock::new(Vec::new()),
        }
    }

    /// The calling thread has the lock for reading now.
    #[inline(always)]
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    pub(super) fn enter(&self, lock: &LockHolder) -> Reading {
        let reading = Reading {
            #[cfg(any(debug_assertions, green_deadlocks))]
            thread: with_header(|thread| thread.id),
            #[cfg(any(debug_assertions, green_deadlocks))]
            place: Location::caller(),
        };
        #[cfg(any(debug_assertions, green_deadlocks))]
        {
            let mut all = self.all.lock();
            all.push(reading);
            lock.possession().note_reader(all[0].thread);
        }
        let _ = lock;
        reading
    }

    /// It is about to let it go.
    #[inline(always)]
    pub(super) fn leave(&self, reading: Reading, lock: &LockHolder) {
        #[cfg(any(debug_assertions, green_deadlocks))]
        {
            let mut all = self.all.lock();
            if let Some(at) = all.iter().rposition(|other| *other == reading) {
                all.swap_remove(at);
            }
            lock.possession().note_reader(all.first().map_or(0, |other| other.thread));
        }
        let _ = (reading, lock);
    }
}

/// A wait for the lock, in the frame of its thread.
#[derive(Debug)]
pub(super) struct SharedClaim<'a> {
    #[cfg(any(debug_assertions, green_deadlocks))]
    lock: (&'a LockHolder, &'a Readers, &'a Lock<LockQueue>),
    #[cfg(any(debug_assertions, green_deadlocks))]
    contender: &'a Contender,
    #[cfg(any(debug_assertions, green_deadlocks))]
    writes: bool,
    #[cfg(not(any(debug_assertions, green_deadlocks)))]
    _lock: PhantomData<&'a ()>,
}

impl<'a> SharedClaim<'a> {
    #[inline(always)]
    pub(super) fn new(
        lock: (&'a LockHolder, &'a Readers, &'a Lock<LockQueue>),
        contender: &'a Contender,
        writes: bool,
    ) -> Self {
        #[cfg(any(debug_assertions, green_deadlocks))]
        return Self { lock, contender, writes };
        #[cfg(not(any(debug_assertions, green_deadlocks)))]
        {
            let _ = (lock, contender, writes);
            Self { _lock: PhantomData }
        }
    }

    /// The calling thread is about to wait, until the result is dropped, which it is before this.
    ///
    /// # Panics
    ///
    /// In debug builds, if that would close a cycle of waits.
    #[inline(always)]
    #[cfg_attr(any(debug_assertions, green_deadlocks), track_caller)]
    #[must_use]
    pub(super) fn about_to_wait(&self, wait: &Wait) -> impl Sized + use<> {
        #[cfg(any(debug_assertions, green_deadlocks))]
        return about_to_wait(WaitTarget::Shared(self), wait);
        #[cfg(not(any(debug_assertions, green_deadlocks)))]
        let _ = wait;
    }
}

#[cfg(any(debug_assertions, green_deadlocks))]
impl SharedClaim<'_> {
    /// The turn in the line, 0: none yet; `None`: it has the lock.
    fn turn(&self) -> Option<u64> {
        let _line = self.lock.2.lock();
        (!self.contender.given.get()).then(|| self.contender.turn.get())
    }
}

#[cfg(any(debug_assertions, green_deadlocks))]
impl SharedWait for SharedClaim<'_> {
    fn lock(&self) -> usize {
        std::ptr::from_ref(self.lock.1).addr()
    }

    fn holders(&self) -> Vec<u64> {
        let (writer, readers, _) = self.lock;
        let mut all = match writer.possession().holder() {
            0 => Vec::new(),
            writer => vec![writer],
        };
        if self.writes {
            all.extend(readers.all.lock().iter().map(|reading| reading.thread));
        }
        all
    }

    fn since(&self, holder: u64) -> Option<String> {
        let (writer, readers, _) = self.lock;
        if writer.possession().holder() == holder {
            return Some(format!("has since {}", writer.possession().place()));
        }
        let all = readers.all.lock();
        let reading = all.iter().find(|reading| self.writes && reading.thread == holder)?;
        Some(format!("reads since {}", reading.place))
    }

    fn reads(&self) -> bool {
        !self.writes
    }

    fn writers_turn(&self) -> Option<u64> {
        if self.writes { self.turn().filter(|turn| *turn != 0) } else { None }
    }

    fn readers_turn(&self) -> Option<u64> {
        let turn = self.turn().filter(|_| !self.writes)?;
        // Whatever stands in line keeps it out.
        Some(if turn == 0 { u64::MAX } else { turn })
    }
}
