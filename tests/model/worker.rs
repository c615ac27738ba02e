//! The stand-in for the scheduler in the models of the actors: a runtime with one worker, whose loop a thread of the model runs.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use loom::sync::{Condvar, Mutex};

use crate::park::current::WorkerContext;
use crate::stack::StackSize;
use crate::task::header::{Next, Schedule};
use crate::task::{Header, Task};

pub(crate) mod remote {
    use crate::task::Task;
    use crate::task::state::CancelFound;

    pub(crate) const MAX_WORKERS: usize = 1;

    pub(crate) fn interrupt(_: &Task, _: CancelFound) {}

    loom::lazy_static! {
        static ref ROSTER: super::Roster = super::Roster::default();
    }

    pub(crate) fn roster_of(_: u16) -> &'static super::Roster {
        &ROSTER
    }

    pub(crate) struct Remote {
        pub(crate) index: u16,
    }
}

pub(crate) mod worker {
    use std::ptr::NonNull;

    use crate::task::Header;

    pub(crate) unsafe fn schedule(_: NonNull<Header>) {
        unreachable!("no handler of these models waits")
    }
}

pub(crate) mod recording {
    use crate::flight::EventKind;
    use crate::task::Header;

    pub(crate) fn record_all(_: EventKind, _: u64) {}

    pub(crate) fn record_name(_: &Header) {}
}

pub(crate) mod runs {
    use crate::fiber::Entry;
    use crate::task::header::Main;
    use crate::task::unwound::EndsBy;

    pub(crate) struct RunsPerWorker;

    impl Main for RunsPerWorker {
        const MAIN: Entry = |_| unreachable!("the model's turns have their own stacks");

        fn unwound(_: &crate::task::Header, _: EndsBy) {}
    }
}

#[path = "../../src/sched/no_own.rs"]
pub(crate) mod own;

pub(crate) mod switched {
    use std::ptr::NonNull;

    use crate::park::on_switch::SwitchCalls;
    use crate::task::Header;

    #[derive(Debug)]
    pub(crate) enum Begins {
        PerWorker,
        PerThread,
        Switched(SwitchCalls),
    }

    pub(crate) unsafe fn main_with_calls(_: *mut (), _: impl FnOnce(NonNull<Header>) -> bool) {
        unreachable!("no actor has calls")
    }
}

pub(crate) mod shared {
    use super::Shared;

    pub(crate) const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(5);

    #[derive(Clone, Copy)]
    pub(crate) struct ActorCalls {
        pub(crate) end: fn(&Shared) -> u64,
        pub(crate) waiting: fn(&Shared) -> (usize, usize),
    }

    /// As the real one.
    pub(crate) fn discard(task: crate::task::Task) {
        let next = super::turn(&task, false);
        assert_ne!(next, crate::task::header::Next::Again);
        if next == crate::task::header::Next::Rests {
            let _ = task.into_raw();
        }
    }
}

/// A run, as a worker's turn is one.
fn turn(task: &Task, start: bool) -> Next {
    let before = WorkerContext::get().and_then(|here| here.current_ptr());
    WorkerContext::set(Some(task.as_ptr()));
    // SAFETY: the caller has the task's entry.
    unsafe { (task.vtable.run)(task.as_ptr(), start) };
    WorkerContext::set(before);
    // SAFETY: as above; the run is over.
    unsafe { (task.vtable.after_run.expect("an actor"))(task.as_ptr()) }
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    over: bool,
}

pub(crate) mod roster {
    /// The worker's own thread has it.
    #[derive(Clone, Copy)]
    pub(crate) struct OwnedList;

    /// No worker of these models has one.
    #[derive(Clone, Copy)]
    pub(crate) struct RosterShare;

    loom::thread_local! {
        /// Is this the worker's thread?
        pub(super) static IS_WORKER: std::cell::Cell<bool> = std::cell::Cell::new(false);
    }

    impl OwnedList {
        pub(crate) fn here(_: *const ()) -> Option<Self> {
            IS_WORKER.with(std::cell::Cell::get).then_some(Self)
        }

        /// Nobody lists the actors of these models while one runs.
        pub(crate) fn unlisted<R>(self, f: impl FnOnce() -> R) -> R {
            f()
        }
    }

    impl RosterShare {
        pub(crate) fn roster(self) -> &'static super::Roster {
            unreachable!()
        }
    }
}

/// As the real one, under one lock.
#[derive(Default)]
pub(crate) struct Roster(Mutex<Vec<Option<NonNull<Header>>>>);

impl Roster {
    pub(crate) fn reserve(&self, _: Option<roster::RosterShare>) -> u32 {
        let mut slots = self.0.lock().unwrap();
        slots.push(None);
        slots.len() as u32 - 1
    }

    pub(crate) unsafe fn enter(&self, number: u32, task: NonNull<Header>) {
        self.0.lock().unwrap()[number as usize] = Some(task);
    }

    pub(crate) fn leave(&self, number: u32, _: Option<roster::RosterShare>) {
        self.0.lock().unwrap()[number as usize] = None;
    }

    pub(crate) fn take_all(&self) -> Vec<Task> {
        // SAFETY: an actor leaves before it is freed.
        self.0.lock().unwrap().iter_mut().filter_map(|slot| Some(unsafe { Task::counted(slot.take()?) })).collect()
    }
}

// SAFETY: the pointers are used under the lock.
unsafe impl Send for Roster {}
// SAFETY: as above.
unsafe impl Sync for Roster {}

/// A runtime with one worker.
pub(crate) struct Shared {
    pub(crate) remotes: Vec<&'static remote::Remote>,
    pub(crate) stack_size: StackSize,
    pub(crate) schedule: Schedule,
    actors: Cell<Option<shared::ActorCalls>>,
    pub(crate) roster: &'static Roster,
    pub(crate) last_words: Duration,
    queue: Mutex<Queue>,
    changed: Condvar,
}

// SAFETY: loom's threads take turns, and `actors` is set before there is another.
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            remotes: vec![&remote::Remote { index: 0 }],
            stack_size: StackSize,
            schedule: worker::schedule,
            actors: Cell::new(None),
            roster: remote::roster_of(0),
            last_words: shared::LAST_WORDS,
            queue: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    pub(crate) fn has_actors(&self, calls: shared::ActorCalls) {
        self.actors.set(Some(calls));
    }

    /// Nothing is said here of what is lost at the end.
    pub(crate) fn is_stopping(&self) -> bool {
        false
    }

    pub(crate) fn is_the_parents(&self) -> bool {
        false
    }

    pub(crate) fn is_over(&self) -> bool {
        self.queue.lock().unwrap().over
    }

    pub(crate) fn rostered(&self) -> std::io::Result<Vec<Task>> {
        unreachable!("nobody lists the actors of these models")
    }

    pub(crate) fn identity(&self) -> *const () {
        std::ptr::from_ref(self).cast()
    }

    pub(crate) fn inject(&self, task: Task) {
        let mut queue = self.queue.lock().unwrap();
        if queue.over {
            drop(queue);
            return shared::discard(task);
        }
        queue.tasks.push_back(task);
        self.changed.notify_one();
    }

    /// The worker's loop, until the runtime is over: then it does what comes last.
    pub(crate) fn work(&self) {
        roster::IS_WORKER.with(|is_worker| is_worker.set(true));
        while let Some(task) = self.next() {
            task.state.claim_rested(0);
            match turn(&task, !task.state.is_cancelled()) {
                Next::Over => drop(task),
                Next::Rests => _ = task.into_raw(),
                Next::Again => self.inject(task),
            }
        }
        if let Some(actors) = self.actors.get() {
            (actors.end)(self);
        }
    }

    /// As the real one.
    pub(crate) fn take_injected(&self) -> Option<Task> {
        self.queue.lock().unwrap().tasks.pop_front()
    }

    fn next(&self) -> Option<Task> {
        let mut queue = self.queue.lock().unwrap();
        loop {
            if queue.over {
                return None;
            }
            match queue.tasks.pop_front() {
                Some(task) => return Some(task),
                None => queue = self.changed.wait(queue).unwrap(),
            }
        }
    }

    pub(crate) fn end(&self) {
        self.queue.lock().unwrap().over = true;
        self.changed.notify_one();
    }
}

/// No sender of these models is a thread of a worker.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) remote: remote::Remote,
    pub(crate) is_spare: bool,
    pub(crate) stock: Stock,
}

pub(crate) struct Stock;

impl Stock {
    pub(crate) fn take(&self) -> std::sync::Weak<Shared> {
        unreachable!()
    }
    pub(crate) fn put(&self, _: std::sync::Weak<Shared>) {
        unreachable!()
    }
}

impl Worker {
    pub(crate) fn current() -> Option<&'static Worker> {
        None
    }
    pub(crate) fn is_late(&self) -> bool {
        unreachable!()
    }
    pub(crate) fn fresh_id(&self) -> u64 {
        unreachable!()
    }
    pub(crate) fn roster(&self) -> roster::RosterShare {
        unreachable!()
    }
    pub(crate) fn launch(&self, _: Task) {
        unreachable!()
    }
    pub(crate) fn run_asked<R>(&self, _: Task, _: impl FnOnce() -> Option<R>) -> Option<R> {
        unreachable!()
    }
    pub(crate) fn here(&self) -> &WorkerContext {
        unreachable!()
    }
}
