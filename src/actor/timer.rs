//! Timers of actors.

#![forbid(unsafe_code)]

use std::time::Duration;

/// A message that is to come: [`Context::send_after`](crate::actor::Context::send_after). Dropping it changes nothing.
#[derive(Debug)]
pub struct Timer {
    helper: crate::rt::join::JoinHandle<()>,
}

impl Timer {
    /// Takes it back, if it has not fired.
    pub fn cancel(self) {
        self.helper.cancel();
    }
}

/// Calls `fire` after `first`, and then every `period` as long as it says so.
pub(crate) fn start(
    first: Duration,
    period: Option<Duration>,
    mut fire: impl FnMut() -> bool + Send + 'static,
) -> Timer {
    let helper = crate::rt::thread::spawn(move || {
        crate::time::sleep(first);
        while fire() {
            let Some(period) = period else { return };
            crate::time::sleep(period);
        }
    });
    Timer { helper }
}
