//! The life of a thread, in one word.
//!
//! | bits   | name       | set when                                        | cleared by                                  |
//! | ------ | ---------- | ----------------------------------------------- | ------------------------------------------- |
//! | 0      | `STARTED`  | a worker claims the thread; stays while a re-armable task rests or is queued | `rearm`, `unclaim`, of such a task; else never |
//! | 1      | `COMPLETE` | its result is stored (once, after `STARTED`)    | never                                       |
//! | 2      | `JOINING`  | a joiner waits for `COMPLETE`                   | the joiner, when it gives up; `forget_waiters` |
//! | 3      | `HANDLE`   | from the start                                  | the `JoinHandle`'s drop, a `poll` that gives the result |
//! | 4      | `CANCEL`   | somebody cancels the thread                     | `rearm`, of a re-armable task; else never   |
//! | 5      | `AWAITED`  | a waker waits for `COMPLETE` ([`awaiter`](super::awaiter)) | the handle, when it takes that back; `forget_waiters` |
//! | 6      | `MOVABLE`  | the thread is made, one with thread-locals of its own that any worker may take over | the thread, when it shares with its worker what is not `Send` |
//! | 8..24  | home       | with `STARTED`: the remote of the claiming worker; before the start of the one that it is given to; later of the one that has taken it over | `rearm`, of a re-armable task; else never |
//! | 32..64 | references | counted: handle, queue entry, running thread, `Thread`s | –                                   |
//!
//! The result is touched before `COMPLETE` by the thread itself; after it the handle while `HANDLE` is set, otherwise
//! the one of the two that came second (the thread, if it completes after the handle was dropped).
//! `JOINING` and `AWAITED` are set only while `HANDLE` is; what was set after `COMPLETE` means nothing.
//!
//! A sole holder needs no exchange: a holder that has all the references that there are, and finds so with an Acquire, is alone
//! with the word, because a new reference is made from a held one. So a thread that is spawned and joined by the same
//! thread, the most frequent life of all, costs no locked instruction here. While a thread runs on top of its joiner
//! (`sched::turn`), the joiner's reference counts for both.
//!
//! A thread that is taken over gets its new home by an exchange on this word. So a cancel that has found the old home comes before, and the thread, which was
//! ready then, sees `CANCEL` where it goes on.
//!
//! What `STARTED`, home and `CANCEL` say is in the word itself, so the operations on them are Relaxed: a claimer has the thread,
//! with what its spawner wrote, from the queue or by the handle, a re-armable one from the thread that saw it come to rest (under
//! the actor's lock); a cancel reaches the home worker by a letter.

use crate::base::atomic::{AtomicU64, Ordering};

const STARTED: u64 = 1;
const COMPLETE: u64 = 1 << 1;
const JOINING: u64 = 1 << 2;
const HANDLE: u64 = 1 << 3;
const CANCEL: u64 = 1 << 4;
const AWAITED: u64 = 1 << 5;
const MOVABLE: u64 = 1 << 6;
const HOME_SHIFT: u32 = 8;
const HOME: u64 = 0xffff << HOME_SHIFT;
const REF_SHIFT: u32 = 32;
const REF: u64 = 1 << REF_SHIFT;

/// What a cancel found.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum CancelFound {
    /// Cancelled before, or complete: nothing to do.
    Nothing,
    /// Not started: the worker that claims it will see the flag.
    Unstarted,
    /// Its home worker has to look at it.
    Started { home: u16 },
}

/// What a thread that completes has to do.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Completed {
    /// A joiner waits: wake it.
    pub(crate) joiner: bool,
    /// Async code waits: wake it.
    pub(crate) awaiter: bool,
    /// There is no handle: drop the result.
    pub(crate) detached: bool,
}

/// What a handle that goes away has to do.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Detached {
    /// The result is stored, and nobody has taken it: drop it.
    pub(crate) result: bool,
    /// There is a waker that will not be called: drop it.
    pub(crate) awaiter: bool,
}

/// The life word of one thread. See the module's text.
#[derive(Debug)]
pub(crate) struct State(AtomicU64);

impl State {
    /// Not started, with `refs` references; `handle` says whether one of them is a `JoinHandle`.
    pub(crate) fn new(refs: u32, handle: bool) -> Self {
        Self(AtomicU64::new(u64::from(refs) << REF_SHIFT | if handle { HANDLE } else { 0 }))
    }

    #[inline]
    fn load(&self, order: Ordering) -> u64 {
        self.0.load(order)
    }

    #[inline]
    pub(crate) fn is_started(&self) -> bool {
        self.load(Ordering::Relaxed) & STARTED != 0
    }

    #[inline]
    pub(crate) fn is_started_or_movable(&self) -> bool {
        self.load(Ordering::Relaxed) & (STARTED | MOVABLE) != 0
    }

    #[inline]
    pub(crate) fn is_complete(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `complete`: the result is visible.
        self.load(Ordering::Acquire) & COMPLETE != 0
    }

    #[inline]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.load(Ordering::Relaxed) & CANCEL != 0
    }

    /// In a child of fork those that wait for the thread that has forked are not there, and their stacks may be in use again.
    pub(crate) fn forget_waiters(&self) {
        // ORDERING: Relaxed: there is no other thread.
        self.0.fetch_and(!(JOINING | AWAITED), Ordering::Relaxed);
    }

    /// The remote of the thread's worker. Only of a thread that has started.
    #[inline]
    pub(crate) fn home(&self) -> u16 {
        ((self.load(Ordering::Relaxed) & HOME) >> HOME_SHIFT) as u16
    }

    /// Has the worker with this remote claimed the thread, for good? If the caller is that worker, and the thread runs or waits there, the answer
    /// stays right while its loop runs.
    #[inline]
    pub(crate) fn lives_at(&self, home: u16) -> bool {
        // One load: a re-armable task that is not started has a home of 0, and may be claimed by another worker meanwhile.
        self.load(Ordering::Relaxed) & (STARTED | MOVABLE | HOME) == STARTED | u64::from(home) << HOME_SHIFT
    }

    /// Does the thread live at this remote, if only for now? For the worker's own loop.
    pub(crate) fn is_at(&self, home: u16) -> bool {
        self.load(Ordering::Relaxed) & (STARTED | HOME) == STARTED | u64::from(home) << HOME_SHIFT
    }

    /// The thread, which nobody else can see yet, may be taken over by other workers.
    pub(crate) fn set_movable(&self) {
        self.0.store(self.load(Ordering::Relaxed) | MOVABLE, Ordering::Relaxed);
    }

    pub(crate) fn is_movable(&self) -> bool {
        self.load(Ordering::Relaxed) & MOVABLE != 0
    }

    /// The thread stays where it is from now on. For the thread itself.
    pub(crate) fn pin(&self) {
        if self.is_movable() {
            // ORDERING: Relaxed: the thread runs; who takes it over later on sees what it did before it suspended.
            self.0.fetch_and(!MOVABLE, Ordering::Relaxed);
        }
    }

    /// A worker takes over a thread that is ready.
    pub(crate) fn move_to(&self, home: u16) {
        let place = u64::from(home) << HOME_SHIFT;
        // ORDERING: Relaxed: see the module's text.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| Some(word & !HOME | place));
    }

    /// A worker wants to start the thread. True for exactly one caller, whose queue entry's reference becomes the running
    /// thread's.
    #[inline]
    #[must_use]
    pub(crate) fn claim(&self, home: u16) -> bool {
        let add = STARTED | u64::from(home) << HOME_SHIFT;
        let mut word = self.load(Ordering::Relaxed);
        loop {
            if word & STARTED != 0 {
                return false;
            }
            // ORDERING: Relaxed: see the module's text.
            match self.0.compare_exchange_weak(word, word | add, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// The same for a joiner, which starts the thread on its own reference. `entry`: it has the queue entry's too, which is
    /// given up with the claim.
    #[inline]
    #[must_use]
    pub(crate) fn claim_joined(&self, home: u16, entry: bool) -> bool {
        let mut add = STARTED;
        add |= u64::from(home) << HOME_SHIFT; // KEY: joined-home
        let given_up = if entry { REF } else { 0 };
        // ORDERING: Acquire: see the module's text.
        let mut word = self.load(Ordering::Acquire);
        if entry && word >> REF_SHIFT == 2 {
            debug_assert!(word & STARTED == 0);
            self.0.store((word | add) - given_up, Ordering::Relaxed); // A sole holder, of both.
            return true;
        }
        loop {
            if word & STARTED != 0 {
                return false;
            }
            // ORDERING: as in `claim`.
            match self.0.compare_exchange_weak(word, (word | add) - given_up, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// Claims a thread that nobody else can see yet.
    #[inline]
    pub(crate) fn claim_unshared(&self, home: u16) {
        let word = self.load(Ordering::Relaxed);
        self.0.store(word | STARTED | u64::from(home) << HOME_SHIFT, Ordering::Relaxed);
    }

    /// A claimed task could not be started.
    pub(crate) fn unclaim(&self) {
        // ORDERING: as in `rearm`.
        self.0.fetch_and(!(STARTED | HOME), Ordering::Relaxed);
    }

    /// As [`claim`](Self::claim), of a re-armable task that is the caller's alone: it starts on the worker `home`, which costs
    /// nothing if its last run was there.
    #[inline]
    pub(crate) fn claim_rested(&self, home: u16) {
        if self.lives_at(home) {
            return;
        }
        self.set_home(home);
    }

    /// A task that the caller has claimed, and that has not started, starts on the worker `home`.
    pub(crate) fn set_home(&self, home: u16) {
        let place = STARTED | u64::from(home) << HOME_SHIFT;
        let moved = |mut word: u64| {
            word &= !HOME; // KEY: given-home
            Some(word | place)
        };
        // ORDERING: as in `claim`. An exchange, as somebody may cancel the thread meanwhile.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, moved);
    }

    /// A run of a re-armable task that was cancelled is over: it counts as not started, and not cancelled.
    pub(crate) fn rearm(&self) {
        // ORDERING: Relaxed: what gives the task to the next worker shows it the header as this one leaves it.
        self.0.fetch_and(!(STARTED | CANCEL | HOME), Ordering::Relaxed);
    }

    pub(crate) fn cancel(&self) -> CancelFound {
        // ORDERING: Relaxed: it is one word with `claim`'s: either the claimer sees CANCEL, or this sees STARTED and the home.
        let old = self.0.fetch_or(CANCEL, Ordering::Relaxed);
        match () {
            () if old & (COMPLETE | CANCEL) != 0 => CancelFound::Nothing,
            () if old & STARTED == 0 => CancelFound::Unstarted,
            () => CancelFound::Started { home: ((old & HOME) >> HOME_SHIFT) as u16 },
        }
    }

    /// The thread has stored its result.
    #[inline]
    pub(crate) fn complete(&self) -> Completed {
        // ORDERING: Release pairs with the Acquires of `is_complete`, `join_begin`, `await_begin` and `detach`; Acquire
        // pairs with the first two of their Releases: the joiner's ticket, the waker are visible.
        let mut old = self.load(Ordering::Acquire);
        if old >> REF_SHIFT == 1 {
            self.0.store(old | COMPLETE, Ordering::Relaxed); // A sole holder: see the module's text.
        } else {
            old = self.0.fetch_or(COMPLETE, Ordering::AcqRel);
        }
        debug_assert!(old & COMPLETE == 0);
        Completed { joiner: old & JOINING != 0, awaiter: old & AWAITED != 0, detached: old & HANDLE == 0 }
    }

    /// A joiner has left its ticket and wants to wait. False: the thread is complete.
    #[inline]
    #[must_use]
    pub(crate) fn join_begin(&self) -> bool {
        // ORDERING: Release publishes the ticket to `complete`. The joiner that does not wait asks `is_complete` again.
        self.0.fetch_or(JOINING, Ordering::Release) & COMPLETE == 0
    }

    /// The joiner gives up. False: the thread is complete, and may be about to use the ticket.
    #[must_use]
    pub(crate) fn join_retract(&self) -> bool {
        // ORDERING: Relaxed: if this comes first, the thread does not look at the ticket; if not, `join_leave` acquires.
        self.0.fetch_and(!JOINING, Ordering::Relaxed) & COMPLETE == 0
    }

    /// Has the handle left a waker, and not taken it back? For the handle.
    pub(crate) fn is_awaited(&self) -> bool {
        // ORDERING: Relaxed: only the handle changes the bit.
        self.load(Ordering::Relaxed) & AWAITED != 0
    }

    /// The handle has left a waker. False: the thread was complete before, and will not call it.
    #[must_use]
    pub(crate) fn await_begin(&self) -> bool {
        // ORDERING: Release publishes the waker to `complete`; Acquire makes the result visible.
        self.0.fetch_or(AWAITED, Ordering::AcqRel) & COMPLETE == 0
    }

    /// The handle takes its waker back. False: the thread is complete, and has the waker.
    #[must_use]
    pub(crate) fn await_retract(&self) -> bool {
        // ORDERING: Acquire pairs with `complete`: the result is visible.
        self.0.fetch_and(!AWAITED, Ordering::Acquire) & COMPLETE == 0
    }

    /// Is the result still the handle's to take? For the handle.
    #[inline]
    pub(crate) fn has_handle(&self) -> bool {
        self.load(Ordering::Relaxed) & HANDLE != 0
    }

    /// The handle has taken the result, and lives on.
    pub(crate) fn result_taken(&self) {
        // ORDERING: Relaxed: the thread is complete and does not look any more; the handle itself does.
        self.0.fetch_and(!HANDLE, Ordering::Relaxed);
    }

    /// The handle goes away without a join.
    pub(crate) fn detach(&self) -> Detached {
        // ORDERING: Acquire pairs with `complete`: the result is visible if COMPLETE is. If not, the thread will touch nothing that
        // the handle has.
        let old = self.0.fetch_and(!(HANDLE | AWAITED), Ordering::Acquire);
        let complete = old & COMPLETE != 0;
        Detached { result: complete && old & HANDLE != 0, awaiter: !complete && old & AWAITED != 0 }
    }

    /// How many references there are.
    #[cfg(test)]
    pub(crate) fn refs(&self) -> u64 {
        self.load(Ordering::Relaxed) >> REF_SHIFT
    }

    #[inline]
    pub(crate) fn add_ref(&self) {
        // ORDERING: Relaxed: a new reference is made from one that is held.
        let old = self.0.fetch_add(REF, Ordering::Relaxed);
        if old >> REF_SHIFT >= u64::from(u32::MAX / 2) {
            crate::base::abort::fatal(format_args!("more than 2^31 handles of one thread"));
        }
    }

    /// Is the caller's reference the only one? Then it stays so, and what others have done with the task comes before this.
    #[inline]
    pub(crate) fn is_sole(&self) -> bool {
        // ORDERING(argued): Acquire pairs with the Release in `drop_ref`: who lists the actors reads the block without its lock, and the caller may free that
        // without another exchange. In the models whoever reads has the lock.
        self.load(Ordering::Acquire) >> REF_SHIFT == 1
    }

    /// Gives a reference up. True: it was the last.
    #[inline]
    #[must_use]
    pub(crate) fn drop_ref(&self) -> bool {
        // ORDERING: Acquire pairs with the Release of the others' `drop_ref`. A sole holder needs no exchange: nobody
        // is left that could add a reference.
        if self.load(Ordering::Acquire) >> REF_SHIFT == 1 {
            return true;
        }
        // ORDERING: Release: what was done through this reference comes before the free; Acquire as above.
        self.0.fetch_sub(REF, Ordering::AcqRel) >> REF_SHIFT == 1
    }
}
