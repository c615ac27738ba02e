//! The backend on OS threads, for Miri, which cannot run assembly: one thread a fiber, and a baton, so that either the
//! hub or the fiber runs and never both.
//!
//! The stack is only carried along. What the crate's other code must know: a fiber's thread-locals are its own, not its
//! hub's.
//!
//! # Invariants
//!
//! 1. `Fiber` points to its [`ThreadFiber`], which is initialised and stays where it is until [`Fiber::into_stack`].
//! 2. The side that holds the baton runs; the other side waits for the baton in `take`, or does not exist.
//! 3. The fiber's thread has been joined when a resume returns `Finished`.

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::{Code, Entry, Status};
use crate::base::abort::fatal;
use crate::stack::Stack;

/// A closure on a stack. See the contract in the parent module.
#[derive(Debug)]
pub(crate) struct Fiber(NonNull<ThreadFiber>);

struct ThreadFiber {
    baton: Mutex<Baton>,
    passed: Condvar,
    /// Touched by the hub only. None before the first resume and after the end.
    thread: Cell<Option<JoinHandle<()>>>,
    code: Code,
    stack: Stack,
}

/// The side that may run, and the word that it was given.
#[derive(Clone, Copy)]
enum Baton {
    Hub(Status),
    Fiber(usize),
}

impl ThreadFiber {
    fn pass(&self, baton: Baton) {
        *self.baton.lock().unwrap_or_else(PoisonError::into_inner) = baton;
        // At most one side waits at any time.
        self.passed.notify_one();
    }

    /// Waits until `mine` finds what it looks for in the baton.
    fn take<T>(&self, mine: impl Fn(Baton) -> Option<T>) -> T {
        let mut baton = self.baton.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(told) = mine(*baton) {
                return told;
            }
            baton = self.passed.wait(baton).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn take_as_fiber(&self) -> usize {
        self.take(|baton| if let Baton::Fiber(word) = baton { Some(word) } else { None })
    }

    fn take_as_hub(&self) -> Status {
        self.take(|baton| if let Baton::Hub(status) = baton { Some(status) } else { None })
    }
}

/// A pointer to the `ThreadFiber` on its way to the fiber's thread.
struct Carried(NonNull<ThreadFiber>);

// SAFETY: the two threads take turns by the baton (invariant 2), whose lock orders what one did before what the other
// does, and the fiber's thread does not touch `thread`.
unsafe impl Send for Carried {}

impl Carried {
    /// The body of the fiber's thread.
    ///
    /// # Safety
    ///
    /// The entry may be called.
    unsafe fn run(self) {
        // SAFETY: live by invariant 1: before the fiber is taken apart, the thread has been joined (3).
        let inner = unsafe { self.0.as_ref() };
        let _first_word = inner.take_as_fiber();
        // SAFETY: the caller says so.
        unsafe { inner.code.run() };
        inner.pass(Baton::Hub(Status::Finished));
    }
}

impl Fiber {
    /// A fiber that will run `entry(arg)` on `stack`. Nothing runs yet.
    ///
    /// # Safety
    ///
    /// `entry` may be called with `arg`, on a thread of its own while the hub waits, whenever the first resume comes.
    pub(crate) unsafe fn new(stack: Stack, entry: Entry, arg: *mut ()) -> Fiber {
        Fiber(NonNull::from(Box::leak(Box::new(ThreadFiber {
            baton: Mutex::new(Baton::Hub(Status::Suspended)),
            passed: Condvar::new(),
            thread: Cell::new(None),
            code: Code { entry, arg },
            stack,
        }))))
    }

    /// Runs the fiber until it suspends or ends. `word` is what its `suspend` returns; the first is not delivered.
    ///
    /// # Safety
    ///
    /// The fiber is not running and not finished, and this is the OS thread of its first resume.
    pub(crate) unsafe fn resume(&self, word: usize) -> Status {
        // SAFETY: live by invariant 1.
        let inner = unsafe { self.0.as_ref() };
        let thread = inner.thread.take().unwrap_or_else(|| self.start());
        inner.pass(Baton::Fiber(word));
        let status = inner.take_as_hub();
        match status {
            Status::Suspended => inner.thread.set(Some(thread)),
            // Its thread-locals are gone when this returns, and it no longer touches `inner`.
            Status::Finished => thread.join().expect("an entry that panics ends the process"),
        }
        status
    }

    fn start(&self) -> JoinHandle<()> {
        let carried = Carried(self.0);
        // SAFETY: `new`'s caller said that the entry may be called.
        let body = move || unsafe { carried.run() };
        thread::Builder::new()
            .stack_size(self.stack().size().bytes())
            .spawn(body)
            .unwrap_or_else(|error| fatal(format_args!("no OS thread for a fiber: {error}")))
    }

    /// Goes back to the hub; returns the word of the next resume.
    ///
    /// # Safety
    ///
    /// The caller runs on this fiber's stack.
    pub(crate) unsafe fn suspend(&self) -> usize {
        // SAFETY: live by invariant 1.
        let inner = unsafe { self.0.as_ref() };
        inner.pass(Baton::Hub(Status::Suspended));
        inner.take_as_fiber()
    }

    /// Nothing to ask for: where the frames are is not known here.
    #[cfg(green_backend = "threads")]
    pub(crate) fn prefetch(&self) {}

    /// Nothing: where the frames end is not known here.
    ///
    /// # Safety
    ///
    /// None.
    #[cfg(green_backend = "threads")]
    pub(crate) unsafe fn unused(&self) -> Option<crate::stack::unused::Unused> {
        None
    }

    /// The stack, to be used again.
    ///
    /// # Safety
    ///
    /// The fiber is finished or was never resumed.
    pub(crate) unsafe fn into_stack(self) -> Stack {
        // SAFETY: `new` leaked the box (invariant 1), `self` goes, and there is no thread (3; the caller).
        let inner = unsafe { Box::from_raw(self.0.as_ptr()) };
        inner.stack
    }

    /// The stack that the fiber carries along.
    pub(crate) fn stack(&self) -> &Stack {
        // SAFETY: live by invariant 1.
        unsafe { &self.0.as_ref().stack }
    }
}
