#![doc = include_str!("PROTOCOL.md")]

pub(crate) mod awaiter;
pub(crate) mod block;
pub(crate) mod cancel;
pub(crate) mod end_row;
pub(crate) mod header;
pub(crate) mod id;
pub(crate) mod last_words;
pub(crate) mod limit;
pub(crate) mod local;
pub(crate) mod noted;
pub(crate) mod offsets;
pub(crate) mod pool;
pub(crate) mod state;
pub(crate) mod unwound;
pub(crate) mod wait;
pub(crate) mod waker;

pub(crate) use cancel::Cancelled;
pub(crate) use header::{Header, Task, Ticket};

/// Drops the values of [`local`] that a thread has, which is over. True: there were some.
///
/// # Safety
///
/// Called by the thread itself.
#[inline]
pub(crate) unsafe fn destroy_locals(thread: &Header) -> bool {
    // SAFETY: as the caller promises; the borrow that asks whether there are any is over at once.
    thread.extra().is_some_and(|extra| unsafe { (&*extra.locals.get()).has_any() && local::destroy(&extra.locals) })
}

#[cfg(test)]
mod tests {
    use super::state::State;

    #[test]
    fn a_task_that_is_not_started_lives_nowhere() {
        let state = State::new(1, false);
        assert!(!state.lives_at(0));
        assert!(state.claim(0));
        assert!(state.lives_at(0) && !state.lives_at(1));
        state.rearm();
        assert!(!state.lives_at(0));
        assert!(state.claim(3));
        assert!(state.lives_at(3) && !state.lives_at(0));
        state.unclaim();
        assert!(!state.lives_at(0) && !state.lives_at(3));
    }
}
