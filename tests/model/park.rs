//! The stand-in for parking in the models of the channels: the park word is the real one, a thread sleeps on loom's own
//! lock.

use std::sync::atomic::Ordering::Relaxed;

use crate::model::Gate;
use crate::task::Ticket;
use crate::task::header::{Reason, Thread, Wake};
use crate::wait::End;

#[path = "../../src/park/wait_in.rs"]
mod wait_in;
#[path = "../../src/park/waiters.rs"]
pub(crate) mod waiters;

pub(crate) use wait_in::{wait_for_token, wait_in, wait_unless};

#[derive(Clone, Copy)]
pub(crate) struct Wait {
    pub(crate) deadline_ns: u64,
}

impl Wait {
    pub(crate) fn new(_reason: Reason) -> Self {
        Self { deadline_ns: u64::MAX }
    }

    pub(crate) fn until(self, deadline_ns: u64) -> Self {
        Self { deadline_ns }
    }

    pub(crate) fn uninterruptible(self) -> Self {
        self
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WaitResult {
    Notified,
    TimedOut,
    Interrupted,
    Refused,
}

pub(crate) fn checkpoint() {}

/// As the real one: on the waiting thread's own worker a store ends the wait.
pub(crate) unsafe fn notify(ticket: Ticket) -> Option<Wake> {
    // SAFETY: as the caller promises.
    let thread = unsafe { &*ticket.thread };
    let here = ME.with(|me| me.home.get().cloned());
    let neighbours = here.zip(thread.home.get()).is_some_and(|(here, home)| loom::sync::Arc::ptr_eq(&here, home));
    if !neighbours {
        // SAFETY: as above.
        return unsafe { ticket.end(End::Notified) };
    }
    thread.word.notify_alone(ticket.epoch).then_some(Wake(ticket.thread))
}

/// A green thread: of those of one worker, whose gate holds one token, one runs at a time.
pub(crate) fn on_worker<R>(worker: &loom::sync::Arc<Gate>, f: impl FnOnce() -> R) -> R {
    ME.with(|me| me.home.set(worker.clone())).unwrap_or_else(|_| panic!("a green thread never changes its worker"));
    worker.wait();
    let result = f();
    worker.open();
    result
}

pub(crate) fn schedule(wake: Wake) {
    wake.schedule();
}

pub(crate) mod interrupt {
    pub(crate) fn raise(wait: super::Wait) -> super::Wait {
        wait
    }

    pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> std::thread::Result<R> {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(f))
    }

    pub(crate) fn resume(payload: Box<dyn std::any::Any + Send>) -> ! {
        std::panic::resume_unwind(payload)
    }
}

loom::thread_local! {
    static ME: std::sync::Arc<Thread> = std::sync::Arc::new(Thread::new());
}

pub(crate) fn has_timed_out() -> bool {
    ME.with(|me| me.timed_out.load(Relaxed))
}

/// As the real one; a deadline other than "never" passes at once when the thread has begun to wait.
pub(crate) fn park(wait: Wait, commit: impl FnOnce(Ticket) -> bool) -> WaitResult {
    let me = ME.with(std::sync::Arc::clone);
    let epoch = me.word.begin();
    if !commit(Ticket { thread: &*me, epoch }) && me.word.retract(epoch) {
        return WaitResult::Refused;
    }
    let home = me.home.get();
    if let Some(worker) = home {
        worker.open();
    }
    let mut gave_up = false;
    if wait.deadline_ns != u64::MAX {
        // The wheel of a green thread turns on its worker.
        if let Some(worker) = home {
            worker.wait();
        }
        gave_up = me.word.end(epoch, End::TimedOut);
        if let Some(worker) = home {
            worker.open();
        }
    }
    if gave_up {
        me.timed_out.store(true, Relaxed);
    } else {
        let mut scheduled = me.scheduled.lock().unwrap();
        while !std::mem::take(&mut *scheduled) {
            scheduled = me.changed.wait(scheduled).unwrap();
        }
    }
    if let Some(worker) = home {
        worker.wait();
    }
    match me.word.finish() {
        End::Notified => WaitResult::Notified,
        End::TimedOut => WaitResult::TimedOut,
        End::Cancelled => WaitResult::Interrupted,
    }
}
