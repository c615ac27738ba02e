//! What the workers of `loom_moving.rs` have: parts, which loom watches, and what stands for the rest.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ptr::NonNull;

use crate::model::Watched;
use crate::task::{Header, Task};

/// A list of threads that is one of the parts of a worker.
pub(crate) struct Part {
    threads: RefCell<VecDeque<NonNull<Header>>>,
    watched: Watched,
}

impl Part {
    pub(crate) fn new() -> Self {
        Self { threads: RefCell::default(), watched: Watched::new(0) }
    }

    fn with<R>(&self, f: impl FnOnce(&mut VecDeque<NonNull<Header>>) -> R) -> R {
        self.watched.add(1);
        f(&mut self.threads.borrow_mut())
    }

    pub(crate) fn count(&self, is: impl Fn(&Header) -> bool, looks: usize) -> u32 {
        self.with(|threads| threads.iter().take(looks).filter(|thread| is(unsafe { thread.as_ref() })).count() as u32)
    }

    pub(crate) fn len(&self) -> usize {
        self.with(|threads| threads.len())
    }

    pub(crate) unsafe fn push(&self, thread: NonNull<Header>) {
        self.with(|threads| threads.push_back(thread));
    }

    pub(crate) fn pop(&self) -> Option<NonNull<Header>> {
        self.with(VecDeque::pop_front)
    }
}

pub(crate) struct Live(pub(crate) Part);

impl Live {
    /// Others may read it.
    pub(crate) fn count(&self) -> usize {
        self.0.threads.borrow().len()
    }

    pub(crate) unsafe fn push(&self, thread: NonNull<Header>) {
        unsafe { self.0.push(thread) };
    }

    pub(crate) unsafe fn remove(&self, thread: NonNull<Header>) {
        self.0.with(|threads| {
            let at = threads.iter().position(|other| *other == thread).expect("it lives on that worker");
            threads.remove(at);
        });
    }
}

pub(crate) struct Queues {
    pub(crate) ready: Part,
    pub(crate) unstarted: Unstarted,
    pub(crate) next_start: Cell<Option<NonNull<Header>>>,
}

pub(crate) struct Unstarted;

impl Unstarted {
    pub(crate) fn push(&self, _: Task) {
        unreachable!("nothing is unstarted")
    }
}

impl Queues {
    pub(crate) fn has_next_start(&self) -> bool {
        self.next_start.get().is_some()
    }

    pub(crate) fn set_next_start(&self, thread: NonNull<Header>) {
        assert!(self.next_start.replace(Some(thread)).is_none());
    }
}

pub(crate) struct Clock;

impl Clock {
    pub(crate) fn is_overdue(&self) -> bool {
        false
    }
}

#[derive(Debug, Default)]
pub(crate) struct Wheel;

impl Wheel {
    pub(crate) fn make_room(&mut self, _: usize) {}
}

pub(crate) struct Events;

impl Events {
    pub(crate) fn add(&self, _: ()) {}
}

pub(crate) struct Poller;

impl Poller {
    pub(crate) fn wait(&self, _: u64) -> bool {
        false
    }

    pub(crate) fn deliver(&self, _: u64, _: impl FnMut(())) {}
}

pub(crate) struct Idle;

impl Idle {
    pub(crate) fn is_anybody_idle(&self) -> bool {
        true
    }

    pub(crate) fn lacks_searcher(&self) -> bool {
        false
    }

    pub(crate) fn publish_one(&self) -> bool {
        false
    }
}
