//! How many actors whose runtimes are over end on the stack of a thread, each in the one before: see "Ends without workers" in `PROTOCOL.md`.

#![forbid(unsafe_code)]

use crate::park::current::with_header;

/// One that is ended with its runtime may stop another in its `stopping`, or join it, which ends there, and so on, so often.
const DEEPEST: u32 = 32;

/// One more actor ends on the calling thread's stack, in the one before. (A count by OS thread would be other threads', too: each may park in the midst.)
pub(crate) struct EndsOnTop;

impl EndsOnTop {
    /// `None`: the row is too deep.
    pub(super) fn begin() -> Option<Self> {
        with_header(|thread| {
            let ends = &thread.extra_or_new().ends;
            (ends.get() < DEEPEST).then(|| ends.set(ends.get() + 1)).map(|()| Self)
        })
    }
}

impl Drop for EndsOnTop {
    fn drop(&mut self) {
        with_header(|thread| {
            let ends = &thread.extra_or_new().ends;
            ends.set(ends.get() - 1);
        });
    }
}

/// Does an actor end on the calling thread's stack?
pub(super) fn ends_another() -> bool {
    with_header(|thread| thread.extra().is_some_and(|extra| extra.ends.get() != 0))
}

/// From now on, until the result is dropped, the calling thread ends no actor that it tells something: it leaves it, as if one ended on its stack. For a thread that
/// serves all: whoever ends the runtime, or wants the actor, ends it.
pub(crate) fn leave_all() -> Option<EndsOnTop> {
    EndsOnTop::begin()
}
