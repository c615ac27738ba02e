//! What a worker has from its poller and has not handed on: events, and wakers of foreign async code ([`errand`](super::errand)).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::Waker;

use crate::driver::slot::EventWakes;

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// The remote knows the poller.
    pub(crate) sleeps_in_poller: Cell<bool>,
    /// The poller has brought events from a sleep that are not delivered yet.
    pub(crate) are_waiting: Cell<bool>,
    wakers: RefCell<VecDeque<Waker>>,
    /// A thread for errands is queued and has not begun.
    pub(crate) fresh: Cell<bool>,
}

impl Events {
    /// Schedules the threads that an event wakes, and keeps the foreign wakers: step E1 of the errands.
    pub(crate) fn add(&self, wakes: EventWakes) {
        wakes.schedule(|waker| self.wakers.borrow_mut().push_back(waker));
    }

    pub(crate) fn take_waker(&self) -> Option<Waker> {
        self.wakers.borrow_mut().pop_front()
    }

    pub(crate) fn has_wakers(&self) -> bool {
        !self.wakers.borrow().is_empty()
    }
}
