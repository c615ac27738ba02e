//! The stand-in for parking in the models of the locks and the channels: a thread has the real header, and sleeps on loom's own
//! lock. A model ends the waits of a thread in its worker's place, or has their deadlines pass as soon as it waits.

use std::cell::{Cell, RefCell};
use std::ptr::{self, NonNull};
use std::sync::{Arc, OnceLock};

use loom::sync::atomic::AtomicBool;
use loom::sync::atomic::Ordering::Relaxed;
use loom::sync::{Condvar, Mutex};

use crate::model::Gate;
use crate::stack::StackSize;
use crate::sys::clock::{self, NEVER};
use crate::task::header::{Spec, VTable, Wake};
use crate::task::{self, Header, Ticket, wait::End};

#[path = "waits.rs"]
mod waits;

pub(crate) use waits::*;

/// A thread, and the place where its worker would resume it.
#[repr(C)]
pub(crate) struct Parked {
    header: Header,
    pub(crate) turn: Mutex<Turn>,
    changed: Condvar,
    /// The worker on which it lives, whose gate holds one token; none: it is alone on one.
    home: OnceLock<loom::sync::Arc<Gate>>,
    /// A model may end its waits by [`Parked::end`].
    driven: Cell<bool>,
    cancelled: AtomicBool,
}

// SAFETY: loom's threads take turns on one OS thread, and `driven` is set by the thread itself.
unsafe impl Send for Parked {}
// SAFETY: as above.
unsafe impl Sync for Parked {}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Runs,
    Suspended(Wait),
    Resumed,
}

static VTABLE: VTable = task::vtable(|_| unreachable!("nobody counts its references"));

/// The number of the one worker that has several threads.
const HOME: u16 = 0;

unsafe fn resume(header: NonNull<Header>) {
    // The thread leaves its wait when it has seen this, under the lock: so it is there until then.
    // SAFETY: as said; the header is the first part of a `Parked`.
    let thread = unsafe { header.cast::<Parked>().as_ref() };
    let mut turn = thread.turn.lock().unwrap();
    assert!(*turn != Turn::Resumed, "a thread is scheduled once a wait");
    *turn = Turn::Resumed;
    thread.changed.notify_one();
}

impl Parked {
    pub(crate) fn new() -> Arc<Self> {
        let spec = Spec {
            name: None,
            size: StackSize,
            id: 0,
            runtime: ptr::null(),
            schedule: resume,
            refs: 1,
            handle: false,
            spawned_at: std::panic::Location::caller(),
        };
        Arc::new(Self {
            header: Header::new(spec, &VTABLE),
            turn: Mutex::new(Turn::Runs),
            changed: Condvar::new(),
            home: OnceLock::new(),
            driven: Cell::new(false),
            cancelled: AtomicBool::new(false),
        })
    }

    fn ticket(&self, epoch: task::wait::Epoch) -> Ticket {
        Ticket::new(NonNull::from(self).cast(), epoch)
    }

    /// What the wheel or the worker's loop does: ends the wait of a thread that is suspended.
    pub(crate) fn end(&self, how: End) {
        if how == End::Cancelled {
            self.cancelled.store(true, Relaxed);
        }
        let may = match *self.turn.lock().unwrap() {
            Turn::Suspended(wait) if how == End::TimedOut => wait.deadline_ns != NEVER,
            Turn::Suspended(wait) => wait.cancellable,
            Turn::Runs | Turn::Resumed => false,
        };
        if may
            && let Some(epoch) = self.header.wait.waiting()
            // SAFETY: the model keeps the thread's header until all its threads have been joined.
            && let Some(wake) = unsafe { self.ticket(epoch).end(how) }
        {
            wake.schedule();
        }
    }

    /// Others of its worker run.
    fn lets_go(&self) {
        if let Some(worker) = self.home.get() {
            worker.open();
        }
    }

    fn has_its_turn(&self) {
        if let Some(worker) = self.home.get() {
            worker.wait();
        }
    }
}

loom::thread_local! {
    static ME: RefCell<Arc<Parked>> = RefCell::new(Parked::new());
}

fn me() -> Arc<Parked> {
    ME.with(|me| me.borrow().clone())
}

/// Makes `parked` the calling thread's, whose waits the model ends.
pub(crate) fn be(parked: &Arc<Parked>) {
    parked.driven.set(true);
    ME.with(|me| *me.borrow_mut() = parked.clone());
}

/// The calling thread is a green one: of those of one worker, whose gate holds one token, one runs at a time.
pub(crate) fn on_worker<R>(worker: &loom::sync::Arc<Gate>, f: impl FnOnce() -> R) -> R {
    let me = me();
    assert!(me.home.set(worker.clone()).is_ok() && me.header.state.claim(HOME), "it never changes its worker");
    worker.wait();
    let result = f();
    worker.open();
    result
}

/// As the real one: on the waiting thread's own worker a store ends the wait.
pub(crate) unsafe fn notify(ticket: Ticket) -> Option<Wake> {
    // SAFETY: as the caller promises.
    unsafe { ticket.notify(me().home.get().map(|_| HOME)) }
}

pub(crate) fn park(wait: Wait, commit: impl FnOnce(Ticket) -> bool) -> WaitResult {
    let me = me();
    if me.driven.get() && wait.cancellable && me.cancelled.load(Relaxed) {
        return WaitResult::Interrupted;
    }
    let word = &me.header.wait;
    let epoch = word.begin();
    if !commit(me.ticket(epoch)) && word.retract(epoch) {
        return WaitResult::Refused;
    }
    me.lets_go();
    let mut timed_out = false;
    if !me.driven.get() && wait.deadline_ns != NEVER {
        // The wheel of a green thread turns on its worker.
        me.has_its_turn();
        timed_out = word.end(epoch, End::TimedOut);
        me.lets_go();
    }
    if !timed_out {
        let mut turn = me.turn.lock().unwrap();
        while *turn != Turn::Resumed {
            *turn = Turn::Suspended(wait);
            turn = me.changed.wait(turn).unwrap();
        }
        *turn = Turn::Runs;
    }
    me.has_its_turn();
    match word.finish() {
        End::Notified => WaitResult::Notified,
        End::Cancelled => WaitResult::Interrupted,
        End::TimedOut => {
            clock::time_out();
            WaitResult::TimedOut
        }
    }
}
