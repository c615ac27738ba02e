//! The machine of `loom_moving.rs`: threads of the system with a register for the thread pointer, blocks of thread-locals, and fibers that run as the
//! thread that resumes them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use loom::sync::{Condvar, Mutex};

use crate::two_workers::WorkerContext;

pub(crate) type Entry = unsafe fn(*mut ());

pub(crate) struct Border {
    pub(crate) leaves: fn(into_loop: bool) -> bool,
    pub(crate) arrives: unsafe fn(word: usize),
}

impl std::fmt::Debug for Border {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Border")
    }
}

/// As the real one.
#[derive(Default)]
pub(crate) struct Hub(pub(crate) Cell<usize>);

/// What code finds by a thread pointer.
#[derive(Default)]
pub(crate) struct ThreadLocals {
    pub(crate) here: Cell<Option<*const WorkerContext>>,
    is_block: Cell<bool>,
    /// The thread of the system that is on them.
    user: Cell<Option<usize>>,
    record: block::Record,
}

/// A thread of the system: which one, and its register.
#[derive(Clone, Copy)]
pub(crate) struct System {
    number: usize,
    pointer: usize,
}

loom::thread_local! {
    static SYSTEM: Cell<System> = Cell::new(System { number: 0, pointer: 0 });
}

fn locals(pointer: usize) -> &'static ThreadLocals {
    assert_ne!(pointer, 0, "no thread pointer is set");
    // SAFETY: thread-locals of the model are leaked.
    unsafe { &*std::ptr::with_exposed_provenance::<ThreadLocals>(pointer) }
}

/// Those that the running code has.
pub(crate) fn here() -> &'static ThreadLocals {
    locals(thread_pointer())
}

fn new_thread_locals(is_block: bool) -> usize {
    let locals: &'static ThreadLocals = Box::leak(Box::default());
    locals.is_block.set(is_block);
    std::ptr::from_ref(locals).expose_provenance()
}

/// The calling thread of loom is that thread of the system.
pub(crate) fn be_system(number: usize) {
    let pointer = new_thread_locals(false);
    locals(pointer).user.set(Some(number));
    SYSTEM.with(|system| system.set(System { number, pointer }));
}

pub(crate) fn thread_pointer() -> usize {
    SYSTEM.with(|system| system.get().pointer)
}

pub(crate) unsafe fn set_thread_pointer(pointer: usize) {
    SYSTEM.with(|system| {
        let System { number, pointer: before } = system.get();
        assert_eq!(locals(before).user.replace(None), Some(number));
        assert_eq!(
            locals(pointer).user.replace(Some(number)),
            None,
            "two threads of the system are on the same thread-locals"
        );
        system.set(System { number, pointer });
    });
}

pub(crate) mod block {
    use super::*;

    #[derive(Default)]
    pub(crate) struct Record {
        pub(crate) kept: Cell<*mut ()>,
        pub(crate) hub: Cell<usize>,
        worker: Cell<usize>,
        of_loop: Cell<bool>,
    }

    /// As the real one.
    impl Record {
        pub(crate) fn is_of_loop(&self) -> bool {
            self.of_loop.get()
        }

        pub(crate) fn set_worker(&self, pointer: usize) {
            self.worker.set(pointer);
        }

        pub(crate) fn set_of_loop(&self) {
            self.of_loop.set(true);
            self.hub.set(self.worker.get());
        }
    }

    pub(crate) struct Block(usize);

    impl Block {
        pub(crate) fn new() -> Self {
            Self(new_thread_locals(true))
        }

        pub(crate) fn assert_unused(&self) {
            assert_eq!(locals(self.0).user.get(), None, "a block is given back that somebody is on");
        }

        pub(crate) fn set_stack(&self, _: usize, _: usize) {}

        /// As the real one, of a thread that is started by its worker's loop.
        pub(crate) fn enter(&self) {
            let hub = thread_pointer();
            assert!(!locals(hub).is_block.get());
            self.record().hub.set(hub);
            self.record().worker.set(hub);
        }

        pub(crate) fn record(&self) -> &'static Record {
            &locals(self.0).record
        }

        pub(crate) fn thread_pointer(&self) -> usize {
            self.0
        }
    }

    pub(crate) unsafe fn record<'a>() -> &'a Record {
        assert!(here().is_block.get(), "the record of what is no block");
        &here().record
    }

    pub(crate) fn begin() {}

    pub(crate) fn destroy() {}

    pub(crate) unsafe fn renew() {}
}

enum Baton {
    Suspended,
    Resumed(usize, System),
    Runs,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Status {
    Suspended,
    Finished,
}

pub(crate) struct FiberCore {
    baton: Mutex<Baton>,
    fiber_turn: Condvar,
    /// Of each resume, how it has ended, with the register as the fiber has left it.
    back: Mutex<Option<(Status, System)>>,
    hub_turn: Condvar,
}

/// As the real one, it is an address, and has no `Drop`.
pub(crate) struct Fiber(*const FiberCore);

impl std::fmt::Debug for Fiber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fiber")
    }
}

impl FiberCore {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            baton: Mutex::new(Baton::Suspended),
            fiber_turn: Condvar::new(),
            back: Mutex::new(None),
            hub_turn: Condvar::new(),
        })
    }

    pub(crate) fn fiber(&self) -> Fiber {
        Fiber(self)
    }

    /// The life of the thread of loom that is the fiber.
    pub(crate) fn live(&self, entry: Entry, arg: *mut ()) {
        let _ = self.wait_as_fiber();
        unsafe { entry(arg) };
        self.back_to_hub(Status::Finished);
    }

    fn wait_as_fiber(&self) -> usize {
        let mut baton = self.baton.lock().unwrap();
        loop {
            if let Baton::Resumed(word, system) = *baton {
                *baton = Baton::Runs;
                SYSTEM.with(|mine| mine.set(system));
                return word;
            }
            baton = self.fiber_turn.wait(baton).unwrap();
        }
    }

    fn back_to_hub(&self, status: Status) {
        let system = SYSTEM.with(Cell::get);
        assert!(self.back.lock().unwrap().replace((status, system)).is_none());
        self.hub_turn.notify_one();
    }
}

impl Fiber {
    fn core(&self) -> &FiberCore {
        // SAFETY: the model keeps it until all its threads have been joined.
        unsafe { &*self.0 }
    }

    pub(crate) fn into_raw(self) -> *mut () {
        self.0.cast_mut().cast()
    }

    pub(crate) unsafe fn from_raw(raw: *mut ()) -> Self {
        assert!(!raw.is_null());
        Self(raw.cast())
    }

    pub(crate) fn stack_range(&self) -> (usize, usize) {
        (0, 0)
    }

    /// By the code that it stands for.
    pub(crate) unsafe fn suspend(&self) -> usize {
        let core = self.core();
        *core.baton.lock().unwrap() = Baton::Suspended;
        core.back_to_hub(Status::Suspended);
        core.wait_as_fiber()
    }

    pub(crate) unsafe fn resume(&self, word: usize) -> Status {
        let core = self.core();
        {
            let mut baton = core.baton.lock().unwrap();
            assert!(matches!(*baton, Baton::Suspended), "a fiber is resumed that has not suspended");
            *baton = Baton::Resumed(word, SYSTEM.with(Cell::get));
        }
        core.fiber_turn.notify_one();
        let mut back = core.back.lock().unwrap();
        loop {
            if let Some((status, system)) = back.take() {
                SYSTEM.with(|mine| mine.set(system));
                return status;
            }
            back = core.hub_turn.wait(back).unwrap();
        }
    }
}
