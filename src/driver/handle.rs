//! What the rest of the process may touch of a worker's poller: registrations are taken back through it, and the worker is woken.

#![forbid(unsafe_code)]

use std::os::fd::AsRawFd;

use mio::{Registry, Waker};

use crate::base::abort::fatal;
use crate::base::atomic::{AtomicU32, Ordering};
use crate::sys::{fork, poll};

/// See the module's text.
#[derive(Debug)]
pub(crate) struct PollerHandle {
    pub(crate) registry: Registry,
    waker: Waker,
    closed: AtomicU32,
    /// [`fork::generation`] of the process that made it.
    made_in: u32,
}

impl PollerHandle {
    pub(crate) fn new(registry: Registry, waker: Waker) -> Self {
        Self { registry, waker, closed: AtomicU32::new(0), made_in: fork::generation() }
    }

    /// Ends the worker's sleep in its poller, or the next one.
    pub(crate) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            fatal(format_args!("a worker could not be woken: {error}"));
        }
    }

    /// Are there events that the worker has not taken yet? Anybody may ask.
    pub(crate) fn has_events(&self) -> bool {
        poll::is_readable(self.registry.as_raw_fd())
    }

    pub(crate) fn close(&self) {
        // ORDERING: Relaxed: `abandon` takes the lock of every slot after this; a thread that registers or waits there has it, too.
        self.closed.store(1, Ordering::Relaxed);
    }

    /// To a child of fork its parent's are closed: it shares them, and must take nothing out.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed) != 0 || self.made_in != fork::generation()
    }
}
