//! One way to wait: park, and if the wait ends otherwise than through its ticket, take everything back before anything is
//! raised. Nobody else does the three in a row. The models run this file.
#![forbid(unsafe_code)]

use crate::park::{Wait, WaitResult, interrupt, park};
use crate::task::Ticket;
use crate::task::wait::ParkToken;

/// [`park`]s with `enter` as the commit. After a time-out or an interruption `leave` undoes what `enter` has done; what
/// interrupted the wait is raised then.
///
/// `Interrupted`: nothing could be raised. The caller looks again at what it waits for, and waits again; `wait` says by then
/// how.
#[inline(always)]
#[track_caller]
pub(crate) fn wait_in(wait: &mut Wait, enter: impl FnOnce(Ticket) -> bool, leave: impl FnOnce()) -> WaitResult {
    let left = || {
        leave();
        true
    };
    wait_unless(wait, enter, left)
}

/// As [`wait_in`], where something may come at the very moment of an interruption: `leave` says whether the caller has left
/// without it. If not, it has what it waited for: nothing is raised, and the result is `Notified`.
#[inline(always)]
#[track_caller]
pub(crate) fn wait_unless(
    wait: &mut Wait,
    enter: impl FnOnce(Ticket) -> bool,
    leave: impl FnOnce() -> bool,
) -> WaitResult {
    match park(*wait, enter) {
        ended @ (WaitResult::TimedOut | WaitResult::Interrupted) => {
            if !leave() {
                return WaitResult::Notified;
            }
            if ended == WaitResult::Interrupted {
                *wait = interrupt::raise(*wait);
            }
            ended
        }
        ended => ended,
    }
}

/// Takes the token, and waits for it: until the deadline of `wait` at the latest.
pub(crate) fn wait_for_token(token: &ParkToken, mut wait: Wait) {
    while !token.take() {
        let ended = wait_unless(&mut wait, |ticket| token.wait(ticket.epoch()), || !token.take());
        if ended == WaitResult::Notified {
            // The thread that has ended the wait has left it, unless `leave` has found it already.
            let _ = token.take();
        }
        if ended != WaitResult::Interrupted {
            return;
        }
    }
}
