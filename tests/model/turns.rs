//! The stand-in for parking in the models of the locks: the park word is the real one, a thread sleeps on loom's own lock, and
//! a model can end its wait in its worker's place.

use crate::task::Ticket;
use crate::task::header::{Reason, Wake};
use crate::task::wait::{End, WaitWord};
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};

/// A thread with its park word, and the place where its worker would resume it.
pub(crate) struct Parked {
    pub(crate) word: WaitWord,
    pub(crate) turn: Mutex<Turn>,
    pub(crate) changed: Condvar,
    cancelled: AtomicUsize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Runs,
    Suspended(Wait),
    Resumed,
}

impl Parked {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            word: WaitWord::new(),
            turn: Mutex::new(Turn::Runs),
            changed: Condvar::new(),
            cancelled: AtomicUsize::new(0),
        })
    }

    /// What the wheel or the worker's loop does: ends the wait of a thread that is suspended.
    pub(crate) fn end(this: &Arc<Self>, how: End) {
        if how == End::Cancelled {
            this.cancelled.store(1, Ordering::Relaxed);
        }
        let may = match *this.turn.lock().unwrap() {
            Turn::Suspended(wait) if how == End::TimedOut => wait.timed,
            Turn::Suspended(wait) => wait.cancellable,
            Turn::Runs | Turn::Resumed => false,
        };
        if may
            // SAFETY: the model keeps the waiter alive until all its threads have been joined.
            && let Some(epoch) = this.word.waiting()
            && let Some(wake) = unsafe { Ticket(&raw const **this, epoch).end(how) }
        {
            wake.schedule();
        }
    }
}

loom::thread_local! {
    static ME: std::cell::RefCell<Option<Arc<Parked>>> = std::cell::RefCell::new(None);
}

/// Each thread of the model has an OS thread of its own.
pub(crate) unsafe fn notify(ticket: Ticket) -> Option<Wake> {
    // SAFETY: as the caller promises.
    unsafe { ticket.end(End::Notified) }
}

pub(crate) fn schedule(wake: Wake) {
    wake.schedule();
}

/// Makes `parked` the calling thread's.
pub(crate) fn be(parked: &Arc<Parked>) {
    ME.with(|me| *me.borrow_mut() = Some(parked.clone()));
}

#[path = "../../src/park/wait_in.rs"]
mod wait_in;
#[path = "../../src/park/waiters.rs"]
pub(crate) mod waiters;

pub(crate) use wait_in::{wait_for_token, wait_in, wait_unless};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wait {
    timed: bool,
    cancellable: bool,
}

impl Wait {
    pub(crate) fn new(_: Reason) -> Self {
        Self { timed: false, cancellable: true }
    }

    pub(crate) fn until(self, deadline_ns: u64) -> Self {
        Self { timed: deadline_ns != u64::MAX, ..self }
    }

    pub(crate) fn uninterruptible(self) -> Self {
        Self { cancellable: false, ..self }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WaitResult {
    Notified,
    TimedOut,
    Interrupted,
    Refused,
}

pub(crate) fn park(wait: Wait, commit: impl FnOnce(Ticket) -> bool) -> WaitResult {
    let me = ME.with(|me| me.borrow().clone().unwrap());
    if wait.cancellable && me.cancelled.load(Ordering::Relaxed) != 0 {
        return WaitResult::Interrupted;
    }
    let epoch = me.word.begin();
    if !commit(Ticket(&raw const *me, epoch)) && me.word.retract(epoch) {
        return WaitResult::Refused;
    }
    let mut turn = me.turn.lock().unwrap();
    while *turn != Turn::Resumed {
        *turn = Turn::Suspended(wait);
        turn = me.changed.wait(turn).unwrap();
    }
    *turn = Turn::Runs;
    drop(turn);
    match me.word.finish() {
        End::Notified => WaitResult::Notified,
        End::TimedOut => WaitResult::TimedOut,
        End::Cancelled => WaitResult::Interrupted,
    }
}

pub(crate) fn checkpoint() {}

pub(crate) fn quick_checkpoint() {}

pub(crate) mod interrupt {
    /// As where the thread cannot be unwound: the wait is entered again.
    pub(crate) fn raise(wait: super::Wait) -> super::Wait {
        wait.uninterruptible()
    }
}
