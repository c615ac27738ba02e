//! The stand-in for the scheduler in the models of the actors: a runtime with one worker, whose loop a thread of the model runs.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use loom::sync::{Condvar, Mutex};

use crate::park::current::WorkerContext;
use crate::stack::StackSize;
use crate::task::Task;
use crate::task::header::{Next, Schedule};

pub(crate) mod remote {
    use crate::task::Task;
    use crate::task::state::CancelFound;

    pub(crate) const MAX_WORKERS: usize = 1;

    pub(crate) fn interrupt(_: &Task, _: CancelFound) {}

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

pub(crate) mod entry {
    use crate::fiber::Entry;
    use crate::task::header::Main;
    use crate::task::unwound::EndsBy;

    pub(crate) struct PerWorker;

    impl Main for PerWorker {
        const MAIN: Entry = |_| unreachable!("the model's turns have their own stacks");

        fn unwound(_: &crate::task::Header, _: EndsBy) {}
    }
}

#[path = "../../src/sched/no_own.rs"]
pub(crate) mod own;

pub(crate) mod shared {
    /// As the real one.
    pub(crate) fn discard(task: crate::task::Task) {
        assert_eq!(super::turn(&task, false), crate::task::header::Next::Over);
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

/// A runtime with one worker.
pub(crate) struct Shared {
    pub(crate) remotes: Vec<remote::Remote>,
    pub(crate) stack_size: StackSize,
    pub(crate) schedule: Schedule,
    last: Cell<Option<fn(&Shared)>>,
    queue: Mutex<Queue>,
    changed: Condvar,
}

// SAFETY: loom's threads take turns, and `last` is set before there is another.
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            remotes: vec![remote::Remote { index: 0 }],
            stack_size: StackSize,
            schedule: worker::schedule,
            last: Cell::new(None),
            queue: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    pub(crate) fn call_last(&self, f: fn(&Shared)) {
        self.last.set(Some(f));
    }

    pub(crate) fn is_over(&self) -> bool {
        self.queue.lock().unwrap().over
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
        while let Some(task) = self.next() {
            let _ = task.state.claim(0);
            match turn(&task, !task.state.is_cancelled()) {
                Next::Over => drop(task),
                Next::Rests => _ = task.into_raw(),
                Next::Again => self.inject(task),
            }
        }
        self.discard_injected();
        if let Some(last) = self.last.get() {
            last(self);
        }
    }

    /// As the real one.
    pub(crate) fn discard_injected(&self) {
        let left = std::mem::take(&mut self.queue.lock().unwrap().tasks);
        left.into_iter().for_each(shared::discard);
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
}

impl Worker {
    pub(crate) fn current() -> Option<&'static Worker> {
        None
    }
    pub(crate) fn fresh_id(&self) -> u64 {
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
