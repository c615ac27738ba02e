#![doc = include_str!("PROTOCOL.md")]

pub(crate) mod awaiter;
pub(crate) mod block;
pub(crate) mod cancel;
pub(crate) mod header;
pub(crate) mod limit;
pub(crate) mod local;
pub(crate) mod pool;
pub(crate) mod state;
pub(crate) mod wait;
pub(crate) mod waker;

pub(crate) use cancel::Cancelled;
pub(crate) use header::{Header, Task, Ticket};

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
