//! What a worker does when it is told that threads were cancelled, or that its runtime stops.

#![allow(unsafe_code)]

use crate::sched::worker::Worker;
use crate::task::limit::Interrupts;
use crate::task::wait::End;
use crate::task::{Header, Task};

impl Worker {
    /// Somebody was cancelled, or the runtime stops.
    pub(super) fn obey(&self) {
        for task in self.remote.take_cancels() {
            self.interrupt(&task);
        }
        if self.shared.is_stopping() {
            if !self.stopping.replace(true) {
                self.keeps_stacks.set(self.keeps_stacks.get() + 1);
            }
            self.cancel_all(true);
        }
    }

    /// Ends the wait of a thread of this worker that has been cancelled, or is to look again.
    pub(super) fn interrupt(&self, task: &Task) {
        let Some(epoch) = task.wait.waiting() else { return };
        // An actor that was cancelled while it ran here may rest by now, or run elsewhere. Not in this wait, if it is here.
        if task.state.is_at(self.remote.index)
            && (task.wait_interrupts.get() == Interrupts::All || task.waits_for_actor())
        {
            task.end_wait(epoch, End::Cancelled);
        }
    }

    /// The runtime stops: cancels a thread that lives here. Step H4 of [`last_words`](crate::task::last_words).
    pub(super) fn cancel(&self, thread: &Header) {
        let _ = thread.state.cancel();
        if self.shared.is_late() {
            thread.hurry();
        }
    }

    /// Is the time for last words over?
    pub(crate) fn is_late(&self) -> bool {
        self.stopping.get() && self.shared.is_late()
    }

    /// The runtime stops: cancels every thread that has started here. Not `told`: interrupts it only where a wait can be ended by that, since one that is to look again, and does, would be told so without end.
    pub(crate) fn cancel_all(&self, told: bool) {
        let mut next = self.live.list.front();
        while let Some(thread) = next {
            // SAFETY: it is in the list of live threads, so it holds a reference; `task` gets one of its own.
            let task = unsafe { Task::counted(thread) };
            self.cancel(&task);
            if told || task.wait_interrupts.get() == Interrupts::All {
                self.interrupt(&task);
            }
            next = self.live.list.next_of(thread);
        }
    }
}
