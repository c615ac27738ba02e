//! The park word: is this thread waiting, and what ended the wait?
//!
//! One word, `epoch << 3 | state`:
//!
//! | state       | meaning                                           | entered by                                     |
//! | ----------- | ------------------------------------------------- | ---------------------------------------------- |
//! | `RUNNING`   | not waiting                                       | the thread: [`finish`](WaitWord::finish), [`retract`](WaitWord::retract) |
//! | `WAITING`   | waits, or is about to; may be woken               | the thread: [`begin`](WaitWord::begin)         |
//! | `NOTIFIED`  | what it waited for has come                       | a waker: [`end`](WaitWord::end)                |
//! | `TIMED_OUT` | its deadline has passed                           | its worker's wheel: [`end`](WaitWord::end)     |
//! | `CANCELLED` | it is to look at its cancel flag and its time-outs | its worker: [`end`](WaitWord::end)             |
//!
//! Every wait has an epoch of its own. A waker holds the epoch of the wait that it saw, and moves the word with one
//! compare-and-exchange from `WAITING` of that epoch: so exactly one of wake, time-out and cancel wins, and a waker that
//! comes late (for a wait that is over) changes nothing. Only the winner schedules the thread. The thread itself may
//! use plain stores, because no one else changes a word that is not `WAITING`.
//!
//! The word decides which attempt wins, and carries nothing else: what the thread wrote before it waited comes to the waker with the
//! ticket (a lock, a release store), and what the waker wrote comes to the thread by the way on which it is scheduled (its
//! worker's inbox, an OS thread's parker), which nothing that was ended goes past.

use crate::base::atomic::{AtomicU64, Ordering};

const RUNNING: u64 = 0;
const WAITING: u64 = 1;
const NOTIFIED: u64 = 2;
const TIMED_OUT: u64 = 3;
const CANCELLED: u64 = 4;
const STATE: u64 = 7;
const ONE_EPOCH: u64 = 8;

/// Names one wait of one thread.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Epoch(u64);

impl Epoch {
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

/// What a park word said at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct WaitLook(u64);

impl WaitLook {
    /// Does the thread wait, or is about to?
    pub(crate) fn is_waiting(self) -> bool {
        self.0 & STATE == WAITING
    }

    /// The wait that is on, or the last one.
    pub(crate) fn epoch(self) -> Epoch {
        Epoch(self.0 & !STATE)
    }
}

/// What ended a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// What the thread waited for has come.
    Notified,
    /// The deadline has passed.
    TimedOut,
    /// The thread has to look at its cancel flag and its time-outs.
    Cancelled,
}

/// The park word of one thread. See the module's text.
pub(crate) struct WaitWord(AtomicU64);

impl WaitWord {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(RUNNING))
    }

    /// The owner starts a wait. It must be published (under a lock, by a release store) before anybody can end it.
    #[inline]
    pub(crate) fn begin(&self) -> Epoch {
        // ORDERING: Relaxed: only the owner changes a word that is not WAITING. Release pairs with the Acquire in `waiting`: who sees the wait
        // sees where the thread lives. (Whatever publishes the epoch publishes this store, too.)
        let mut epoch = self.0.load(Ordering::Relaxed) & !STATE;
        epoch += ONE_EPOCH; // KEY: epoch
        self.0.store(epoch | WAITING, Ordering::Release);
        Epoch(epoch)
    }

    /// Ends the wait `epoch` if it is still on. True: the caller won, and has to schedule the thread.
    #[inline]
    #[must_use]
    pub(crate) fn end(&self, epoch: Epoch, how: End) -> bool {
        let to = match how {
            End::Notified => NOTIFIED,
            End::TimedOut => TIMED_OUT,
            End::Cancelled => CANCELLED,
        };
        // ORDERING: Relaxed: see the module's text.
        self.0.compare_exchange(epoch.0 | WAITING, epoch.0 | to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// As [`end`](Self::end), where nobody else can end the wait meanwhile: a store does.
    #[inline]
    #[must_use]
    pub(crate) fn notify_alone(&self, epoch: Epoch) -> bool {
        // ORDERING: Relaxed twice: the caller runs on the waiting thread's own worker.
        let waits = self.0.load(Ordering::Relaxed) == epoch.0 | WAITING;
        if waits {
            self.0.store(epoch.0 | NOTIFIED, Ordering::Relaxed);
        }
        waits
    }

    /// The owner gives a wait up before it sleeps. False: somebody ended it first and will schedule the thread, which
    /// therefore has to suspend.
    #[inline]
    #[must_use]
    pub(crate) fn retract(&self, epoch: Epoch) -> bool {
        // ORDERING: Relaxed: on success nothing was handed over; on failure `finish` follows.
        self.0.compare_exchange(epoch.0 | WAITING, epoch.0 | RUNNING, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The epoch of the wait that is on now. For the thread's own worker, where the answer cannot change under it.
    #[inline]
    pub(crate) fn waiting(&self) -> Option<Epoch> {
        // ORDERING: Acquire pairs with the Release in `begin`: the thread may have begun its wait on another worker. `end` decides.
        let word = self.0.load(Ordering::Acquire);
        (word & STATE == WAITING).then_some(Epoch(word & !STATE))
    }

    /// What the word says, for anybody.
    pub(crate) fn look(&self) -> WaitLook {
        WaitLook(self.0.load(Ordering::Relaxed))
    }

    /// Has the thread ever waited?
    pub(crate) fn has_begun(&self) -> bool {
        self.0.load(Ordering::Relaxed) != RUNNING
    }

    /// Is the owner in a wait, which may have been ended already? For the owner.
    #[cfg_attr(not(green_thread_locals), allow(dead_code, reason = "for what only such threads do"))]
    pub(crate) fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed) & STATE != RUNNING
    }

    /// The owner runs again: how did the wait end?
    #[inline]
    pub(crate) fn finish(&self) -> End {
        // ORDERING: Relaxed: the schedule that brought the thread here comes after the `end`, so this sees it.
        let word = self.0.load(Ordering::Relaxed);
        self.0.store(word & !STATE, Ordering::Relaxed);
        match word & STATE {
            NOTIFIED => End::Notified,
            TIMED_OUT => End::TimedOut,
            CANCELLED => End::Cancelled,
            state => unreachable!("a thread ran with its park word in state {state}"),
        }
    }
}

/// The token of `thread::park`, in one word: `EMPTY`, `TOKEN`, or the epoch of the wait that is parked on it.
///
/// `unpark` swaps `TOKEN` in; if it takes an epoch out, it ends that wait. `park` takes a token, or else puts its epoch
/// in place of `EMPTY`. A token that comes between the two makes that exchange fail: so no `unpark` is lost.
#[derive(Debug)]
pub(crate) struct ParkToken(AtomicU64);

const EMPTY: u64 = 0;
const TOKEN: u64 = 1;

impl ParkToken {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(EMPTY))
    }

    /// The owner takes the token if there is one. Also clears what an ended wait left behind.
    #[inline]
    #[must_use]
    pub(crate) fn take(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `put`. The plain look first spares the exchange.
        self.0.load(Ordering::Relaxed) != EMPTY && self.0.swap(EMPTY, Ordering::Acquire) == TOKEN
    }

    /// The owner is about to wait. False: a token has come, and is taken.
    #[must_use]
    pub(crate) fn wait(&self, epoch: Epoch) -> bool {
        // ORDERING: Release publishes the wait to `put`. Relaxed on failure: the exchange below acquires.
        let mut parked = true;
        parked &= self.0.compare_exchange(EMPTY, epoch.bits(), Ordering::Release, Ordering::Relaxed).is_ok(); // KEY: token
        if !parked {
            // ORDERING: Acquire, and an exchange: a second `put` that came meanwhile is taken with the first, so what was
            // done before it has to be visible, too. A plain store would pass over it.
            self.0.swap(EMPTY, Ordering::Acquire);
        }
        parked
    }

    /// Leaves the token; the wait to end, if one is parked on it.
    #[must_use]
    pub(crate) fn put(&self) -> Option<Epoch> {
        // ORDERING: Release pairs with the Acquires above; Acquire pairs with the Release in `wait`.
        match self.0.swap(TOKEN, Ordering::AcqRel) {
            EMPTY | TOKEN => None,
            epoch => Some(Epoch::from_bits(epoch)),
        }
    }
}
