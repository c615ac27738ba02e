//! Which actors whose runtimes are over end on the stack of a thread, each in the one before: see "Ends without workers" in `PROTOCOL.md`.

#![forbid(unsafe_code)]

use crate::actor::{ActorId, Cycle};
use crate::park::current::with_header;
use crate::sched::shared::discard;
use crate::task::Task;
use crate::task::end_row::EndOnTop;

/// One that is ended with its runtime may stop another in its `stopping`, or join it, which ends there, and so on, so often.
const DEEPEST: usize = 32;

/// One more actor ends on the calling thread's stack, in the one before. (A row by OS thread would be other threads', too: each may park in the midst.)
pub(crate) struct EndsOnTop;

impl EndsOnTop {
    /// `None`: the row is too deep. For the time being nobody in particular ends here.
    pub(super) fn begin() -> Option<Self> {
        with_header(|thread| {
            let mut row = thread.extra_or_new().ends.borrow_mut();
            (row.len() < DEEPEST).then(|| row.push(EndOnTop { id: NOBODY, name: None })).map(|()| Self)
        })
    }

    /// Ends `task` here.
    pub(super) fn end(self, task: Task) {
        if task.vtable.after_run.is_some() {
            self.set_top(task.id, task.name().map(Box::from));
        }
        discard(task);
    }

    #[expect(clippy::unused_self, reason = "the last of the row is this one's")]
    fn set_top(&self, id: u64, name: Option<Box<str>>) {
        with_header(|thread| {
            if let Some(last) = thread.extra_or_new().ends.borrow_mut().last_mut() {
                *last = EndOnTop { id, name };
            }
        });
    }
}

/// No actor's number.
const NOBODY: u64 = 0;
/// Nor is this: the thread serves all.
const SERVES_ALL: u64 = u64::MAX;

impl Drop for EndsOnTop {
    fn drop(&mut self) {
        with_header(|thread| thread.extra_or_new().ends.borrow_mut().pop());
    }
}

/// Does an actor end on the calling thread's stack?
#[inline]
pub(super) fn ends_another() -> bool {
    with_header(|thread| thread.extra().is_some_and(|extra| !extra.ends.borrow().is_empty()))
}

/// Does the actor with this number end on the calling thread's stack, perhaps further down? Then it goes on after the caller only, which would wait for it in vain: each from there on waits for the next
/// one, which is on top of it.
pub(super) fn cycle_below(actor: ActorId) -> Option<Cycle> {
    if !ends_another() {
        return None;
    }
    with_header(|thread| {
        let row = thread.extra()?.ends.borrow();
        let from = row.iter().position(|end| end.id == actor.0)?;
        let named = row[from..].iter().filter(|end| end.id != NOBODY);
        let mut members: Vec<_> = named.map(|end| (ActorId(end.id), end.name.clone())).collect();
        // The one on top is the caller.
        members.rotate_right(1);
        Some(Cycle::new(members.into_iter()))
    })
}

/// Does that actor end on the calling thread's stack, and is perhaps the caller?
pub(crate) fn ends_below(actor: ActorId) -> bool {
    with_header(|thread| thread.extra().is_some_and(|extra| extra.ends.borrow().iter().any(|end| end.id == actor.0)))
}

/// From now on the calling thread ends no actor that it tells something: it leaves it, as if too many ended on its stack. For a thread that serves all: whoever ends the
/// runtime, or wants the actor, ends it.
pub(crate) fn leave_all() {
    with_header(|thread| {
        let mut row = thread.extra_or_new().ends.borrow_mut();
        row.resize_with(DEEPEST, || EndOnTop { id: SERVES_ALL, name: None });
    });
}

/// Does the calling thread [leave all](leave_all)? Then no destructor of the user's is to be called on it, either.
pub(super) fn serves_all() -> bool {
    with_header(|thread| {
        thread.extra().is_some_and(|extra| extra.ends.borrow().first().is_some_and(|end| end.id == SERVES_ALL))
    })
}
