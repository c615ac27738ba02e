//! Who is told when an actor ends.

#![forbid(unsafe_code)]

use crate::actor::raw::cell::Weak;
use crate::actor::{ActorId, Down, Exit, MonitorRef, Signal};

/// One who is told.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) who: Weak,
    pub(crate) how: How,
}

/// By a monitor, or by a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum How {
    Monitor(MonitorRef),
    Link,
}

impl Watcher {
    pub(crate) fn tell(self, actor: ActorId, reason: &Exit) {
        let reason = reason.clone();
        self.who.core().signal(match self.how {
            How::Monitor(monitor) => Signal::Down(Down { monitor, actor, reason }),
            How::Link => Signal::LinkExit { actor, reason },
        });
    }
}
