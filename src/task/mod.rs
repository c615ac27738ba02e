#![doc = include_str!("README.md")]

pub(crate) mod awaiter;
pub(crate) mod block;
pub(crate) mod cancel;
pub(crate) mod header;
pub(crate) mod local;
pub(crate) mod state;
pub(crate) mod wait;

pub(crate) use cancel::Cancelled;
pub(crate) use header::{Header, Task, Ticket};

#[cfg(test)]
mod tests {
    use super::state::State;

    #[test]
    fn a_task_that_is_not_started_is_at_home_nowhere() {
        let state = State::new(1, false);
        assert!(!state.is_at_home(0));
        assert!(state.claim(0));
        assert!(state.is_at_home(0) && !state.is_at_home(1));
        state.rearm();
        assert!(!state.is_at_home(0));
        assert!(state.claim(3));
        assert!(state.is_at_home(3) && !state.is_at_home(0));
        state.unclaim();
        assert!(!state.is_at_home(0) && !state.is_at_home(3));
    }
}
