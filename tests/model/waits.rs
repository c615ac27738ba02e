//! What every stand-in for parking has: `wait_in` and the lists of waiters, the very files, and a wait as they see it.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::sys::clock::NEVER;
use crate::task::header::{Reason, Wake};

#[path = "../../src/park/wait_in.rs"]
mod wait_in;
#[path = "../../src/park/waiters.rs"]
pub(crate) mod waiters;

pub(crate) use wait_in::{wait_for_token, wait_in, wait_unless};

/// Nobody looks at a model's channels from outside.
pub(crate) mod waits_on {
    pub(crate) const EMPTY: usize = 2;

    pub(crate) fn debt_note<T>(_: *const T) -> usize {
        0
    }

    pub(crate) struct NotedMany;

    impl NotedMany {
        pub(crate) fn of<T, W>(_: &[T], _: impl Fn(&T) -> &W) -> Self {
            Self
        }
    }

    pub(crate) const RECEIVING_SIDE: usize = 0;
    pub(crate) const POSITION_SHIFT: u32 = 3;
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wait {
    pub(crate) deadline_ns: u64,
    pub(crate) cancellable: bool,
}

impl Wait {
    pub(crate) fn new(_: Reason) -> Self {
        Self { deadline_ns: NEVER, cancellable: true }
    }

    pub(crate) fn on<T>(self, _: *const T) -> Self {
        self
    }

    pub(crate) fn on_empty<T>(self, _: *const T) -> Self {
        self
    }

    pub(crate) fn on_owed<T>(self, _: *const T) -> Self {
        self
    }

    pub(crate) fn on_many(self, _: &waits_on::NotedMany) -> Self {
        self
    }

    pub(crate) fn until(self, deadline_ns: u64) -> Self {
        Self { deadline_ns, ..self }
    }

    pub(crate) fn uninterruptible(self) -> Self {
        Self { cancellable: false, ..self }
    }

    pub(crate) fn is_interruptible(self) -> bool {
        self.cancellable
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub(crate) enum WaitResult {
    Notified,
    TimedOut,
    Interrupted,
    Refused,
}

pub(crate) fn schedule(wake: Wake) {
    wake.schedule();
}

pub(crate) fn checkpoint() {}

pub(crate) fn quick_checkpoint() {}

pub(crate) fn quick_checkpoint_as() -> u64 {
    0
}

pub(crate) fn spend() {}

loom::thread_local! {
    static UNWINDS: Cell<bool> = Cell::new(false);
}

struct Cancelled;

/// Runs `f`, in which an interrupted wait is unwound. `None`: one was.
pub(crate) fn catch_unwound<R>(f: impl FnOnce() -> R) -> Option<R> {
    UNWINDS.with(|unwinds| unwinds.set(true));
    let result = interrupt::catch(f);
    UNWINDS.with(|unwinds| unwinds.set(false));
    result.map_err(|payload| assert!(payload.is::<Cancelled>(), "a panic")).ok()
}

pub(crate) mod interrupt {
    use super::*;

    /// Mostly as where the thread cannot be unwound: the wait is entered again.
    pub(crate) fn raise(wait: Wait) -> Wait {
        if UNWINDS.with(Cell::get) {
            resume_unwind(Box::new(Cancelled));
        }
        wait.uninterruptible()
    }

    pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> std::thread::Result<R> {
        catch_unwind(AssertUnwindSafe(f))
    }

    pub(crate) fn resume(payload: Box<dyn Any + Send>) -> ! {
        resume_unwind(payload)
    }
}
