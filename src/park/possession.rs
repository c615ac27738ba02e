//! Who has a lock: the number of the thread, and, where [`deadlock`](super::deadlock)s are named, since when.
#![forbid(unsafe_code)]

use std::mem::offset_of;
#[cfg(any(debug_assertions, green_deadlocks))]
use std::panic::Location;

use crate::base::atomic::{AtomicU64, Ordering};
#[cfg(any(debug_assertions, green_deadlocks))]
use crate::base::lock::Lock;
#[cfg(any(debug_assertions, green_deadlocks))]
use crate::park::current::with_header;
#[cfg(any(debug_assertions, green_deadlocks))]
use crate::task::Header;

/// Who has a lock, for its waiters.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Possession {
    /// The holder's id; 0: none, or, where deadlocks are not named, an OS thread, and then it is old when nobody holds the lock.
    thread: AtomicU64,
    /// One of the readers, of a lock that has some; 0: none is known.
    #[cfg(any(debug_assertions, green_deadlocks))]
    reader: AtomicU64,
    #[cfg(any(debug_assertions, green_deadlocks))]
    place: Lock<Option<&'static Location<'static>>>,
}

impl Possession {
    /// Where the id is.
    pub(crate) const THREAD: usize = offset_of!(Self, thread);

    pub(crate) const fn new() -> Self {
        Self {
            thread: AtomicU64::new(0),
            #[cfg(any(debug_assertions, green_deadlocks))]
            reader: AtomicU64::new(0),
            #[cfg(any(debug_assertions, green_deadlocks))]
            place: Lock::new(None),
        }
    }

    /// The calling thread has it now; `id` is its number, or 0 if it is an OS thread.
    #[inline(always)]
    #[track_caller]
    pub(crate) fn begin(&self, id: u64) {
        #[cfg(any(debug_assertions, green_deadlocks))]
        {
            *self.place.lock() = Some(Location::caller());
        }
        // OS threads have numbers, too.
        #[cfg(any(debug_assertions, green_deadlocks))]
        let id = if id == 0 { with_header(|thread| thread.id) } else { id };
        self.thread.store(id, Ordering::Relaxed);
    }

    /// The calling thread is about to let it go.
    #[inline(always)]
    pub(crate) fn end(&self) {
        if cfg!(any(debug_assertions, green_deadlocks)) {
            self.thread.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(any(debug_assertions, green_deadlocks))]
impl Possession {
    /// Where a reader's id is.
    pub(crate) const READER: usize = offset_of!(Self, reader);

    /// Of those that read, this is one; 0: nobody does. By one at a time.
    pub(crate) fn note_reader(&self, id: u64) {
        self.reader.store(id, Ordering::Relaxed);
    }

    /// The holder's id; 0: there is none.
    pub(crate) fn holder(&self) -> u64 {
        self.thread.load(Ordering::Relaxed)
    }

    /// Is the calling thread the holder?
    pub(crate) fn is_own(&self) -> bool {
        self.holder() == with_header(|thread| thread.id)
    }

    /// Is it, and has it certainly not given its guard to another?
    pub(crate) fn is_own_guard(&self) -> bool {
        with_header(|thread| self.holder() == thread.id && !may_have_given_guards(thread))
    }

    /// Since when, in words.
    pub(crate) fn place(&self) -> String {
        self.place.lock().map_or_else(|| "an unknown place".to_owned(), ToString::to_string)
    }
}

/// The calling thread, and others of its worker, may give one another what is not `Send`, guards among it: of what it takes nobody knows any more whether it has that.
#[inline(always)]
pub(crate) fn may_give_guards() {
    #[cfg(any(debug_assertions, green_deadlocks))]
    with_header(|thread| thread.extra_or_new().gives_guards.set(1));
}

/// Has this thread said so?
#[cfg(any(debug_assertions, green_deadlocks))]
pub(super) fn may_have_given_guards(thread: &Header) -> bool {
    thread.extra().is_some_and(|extra| extra.gives_guards.get() != 0)
}

/// Who owes an answer, for the one that waits for it.
#[cfg(any(debug_assertions, green_deadlocks))]
#[derive(Debug)]
pub(crate) struct Debt {
    by: Possession,
    /// The chain of the message, until that is queued behind others, or handled: who lets that chain in while it waits, will handle it. 0: none.
    on_its_way: AtomicU64,
}

#[cfg(any(debug_assertions, green_deadlocks))]
impl Debt {
    pub(super) const fn new() -> Self {
        Self { by: Possession::new(), on_its_way: AtomicU64::new(0) }
    }

    pub(super) fn begin(&self, actor: u64, chain: u64) {
        // ORDERING: Relaxed: the asker's edge, which comes later, is entered under the table's lock.
        self.on_its_way.store(chain, Ordering::Relaxed);
        self.by.begin(actor);
    }

    /// Nobody lets the message in any more.
    pub(super) fn harden(&self) {
        // ORDERING: Relaxed: by the asker or the actor before it enters an edge of its own, under the table's lock.
        self.on_its_way.store(0, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.by.end();
    }

    /// The number of the actor; 0: nobody is known to owe it.
    pub(super) fn debtor(&self) -> u64 {
        self.by.holder()
    }

    /// Does an actor that lets this chain in, handle the message while it waits?
    pub(super) fn is_let_in(&self, chain: u64) -> bool {
        // ORDERING: Relaxed: as in `harden`; the caller has the table's lock.
        chain != 0 && self.on_its_way.load(Ordering::Relaxed) == chain
    }
}
