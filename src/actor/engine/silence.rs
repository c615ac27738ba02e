//! Receive time-outs: an actor is told that no message has come for a while. Only those that have one note when a message came.

#![forbid(unsafe_code)]

use super::cell::Core;
use crate::actor::Signal;
use crate::sys::clock::now_ns;

/// A message was handled.
#[cold]
pub(crate) fn heard(core: &Core) {
    core.mailbox.lock().extras().heard_ns = now_ns();
}

/// Tells the actor if it was silent for so long: it rests, and so nothing is queued. When to look again; `None`: it has ended.
pub(crate) fn look(core: &Core, timeout_ns: u64) -> Option<u64> {
    let now = now_ns();
    let launch = {
        let mut mailbox = core.mailbox.lock();
        if mailbox.is_closed() {
            return None;
        }
        let since = if mailbox.rests() { mailbox.extras().heard_ns } else { now };
        let due = since.saturating_add(timeout_ns);
        if due > now {
            return Some(due);
        }
        mailbox.push_signal(Signal::ReceiveTimeout)?
    };
    core.launch(launch);
    Some(now.saturating_add(timeout_ns))
}
