//! What the contract promises, held against every backend that this target can build.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::thread;

use super::{Entry, Status};
use crate::stack::{Cache, Stack, StackSize};

#[cfg(not(miri))]
mod crashes;
#[cfg(not(miri))]
mod differential;
#[cfg(green_backend = "asm")]
mod machine;
mod turns;

/// The contract as a trait, so that one test runs over all backends.
pub(super) trait Backend: Sized + 'static {
    unsafe fn new(stack: Stack, entry: Entry, arg: *mut ()) -> Self;
    unsafe fn resume(&self, word: usize) -> Status;
    unsafe fn suspend(&self) -> usize;
    unsafe fn into_stack(self) -> Stack;
    fn stack(&self) -> &Stack;
}

macro_rules! backend {
    ($fiber:ty) => {
        impl Backend for $fiber {
            unsafe fn new(stack: Stack, entry: Entry, arg: *mut ()) -> Self {
                // SAFETY: the trait's contract is the fiber's.
                unsafe { <$fiber>::new(stack, entry, arg) }
            }
            #[inline(always)]
            unsafe fn resume(&self, word: usize) -> Status {
                // SAFETY: the trait's contract is the fiber's.
                unsafe { <$fiber>::resume(self, word) }
            }
            #[inline(always)]
            unsafe fn suspend(&self) -> usize {
                // SAFETY: the trait's contract is the fiber's.
                unsafe { <$fiber>::suspend(self) }
            }
            unsafe fn into_stack(self) -> Stack {
                // SAFETY: the trait's contract is the fiber's.
                unsafe { <$fiber>::into_stack(self) }
            }
            fn stack(&self) -> &Stack {
                <$fiber>::stack(self)
            }
        }
    };
}

#[cfg(green_backend = "asm")]
backend!(super::asm::Fiber);
#[cfg(not(miri))]
backend!(super::corosensei::Fiber);
backend!(super::threads::Fiber);

/// `fn name<B: Backend>() {…}` becomes one test for each backend.
macro_rules! on_every_backend {
    ($($(#[$meta:meta])* fn $name:ident<$b:ident: Backend>() $body:block)*) => {
        $($(#[$meta])* fn $name<$b: Backend>() $body)*
        #[cfg(green_backend = "asm")]
        mod asm { $(#[test] fn $name() { super::$name::<crate::fiber::asm::Fiber>(); })* }
        #[cfg(not(miri))]
        mod corosensei { $(#[test] fn $name() { super::$name::<crate::fiber::corosensei::Fiber>(); })* }
        mod threads { $(#[test] fn $name() { super::$name::<crate::fiber::threads::Fiber>(); })* }
    };
}
use on_every_backend;

/// The word that makes [`Me::suspend`] unwind.
const UNWIND: usize = usize::MAX;
/// What it unwinds with.
struct Unwound;

/// The stacks of one test.
type Stacks = Rc<RefCell<Cache>>;

fn stacks() -> Stacks {
    Rc::new(RefCell::new(Cache::new()))
}

fn take_stack(stacks: &Stacks) -> Stack {
    let mut cache = stacks.borrow_mut();
    cache.reserve(StackSize::DEFAULT).expect("address space for a stack");
    cache.acquire(StackSize::DEFAULT)
}

/// A closure in a fiber, with its panic caught.
struct Coro<B: Backend> {
    shared: *mut Shared<B>,
    stacks: Stacks,
}

type Body<B> = Box<dyn FnOnce(&Me<B>)>;

struct Shared<B> {
    fiber: Option<B>,
    body: Option<Body<B>>,
    outcome: Option<thread::Result<()>>,
}

/// The inside of a fiber.
struct Me<B>(*mut Shared<B>);

impl<B: Backend> Me<B> {
    #[inline(always)]
    fn fiber(&self) -> &B {
        // SAFETY: `Coro` keeps `shared` while the fiber can run, and does not write `fiber` meanwhile.
        unsafe { (*self.0).fiber.as_ref().unwrap() }
    }

    /// Gives way; unwinds when it is told so.
    #[inline(always)]
    fn suspend(&self) -> usize {
        // SAFETY: a `Me` is only reachable by the fiber's own body.
        let word = unsafe { self.fiber().suspend() };
        if word == UNWIND {
            panic::resume_unwind(Box::new(Unwound));
        }
        word
    }
}

impl<B: Backend> Coro<B> {
    fn new(stacks: &Stacks, body: impl FnOnce(&Me<B>) + 'static) -> Self {
        unsafe fn entry<B: Backend>(arg: *mut ()) {
            let shared = arg.cast::<Shared<B>>();
            // SAFETY: `new` passed a live `Shared`, and the hub does not touch these fields until the end.
            unsafe {
                let body = (*shared).body.take().unwrap();
                let outcome = panic::catch_unwind(AssertUnwindSafe(|| body(&Me(shared))));
                (*shared).outcome = Some(outcome);
            }
        }

        let shared = Box::into_raw(Box::new(Shared { fiber: None, body: Some(Box::new(body)), outcome: None }));
        // SAFETY: `entry` gets what it casts to. Over threads, body and hub take turns by the baton.
        unsafe { (*shared).fiber = Some(B::new(take_stack(stacks), entry::<B>, shared.cast())) };
        Self { shared, stacks: stacks.clone() }
    }

    #[inline(always)]
    fn resume(&mut self, word: usize) -> Status {
        assert!(!self.finished(), "resumed after its end");
        // SAFETY: it is not finished; tests resume from one thread, and not from inside the fiber itself.
        unsafe { Me(self.shared).fiber().resume(word) }
    }

    fn finished(&self) -> bool {
        // SAFETY: the fiber is suspended while its hub runs, so nobody else touches `outcome`.
        unsafe { (*self.shared).outcome.is_some() }
    }

    /// How the body ended; the stack goes back.
    fn end(self) -> thread::Result<()> {
        assert!(self.finished(), "ended before its end");
        // SAFETY: the fiber is finished, so the box is the hub's alone, and the stack can be taken.
        unsafe {
            let mut shared = Box::from_raw(self.shared);
            self.stacks.borrow_mut().release(shared.fiber.take().unwrap().into_stack());
            shared.outcome.take().unwrap()
        }
    }
}

/// Says in `log` when it is dropped.
struct Noisy<T: Clone>(T, Rc<RefCell<Vec<T>>>);

impl<T: Clone> Drop for Noisy<T> {
    fn drop(&mut self) {
        self.1.borrow_mut().push(self.0.clone());
    }
}
