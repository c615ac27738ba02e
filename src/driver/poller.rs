//! One worker's poller: mio's, made at the first wait of one of the worker's threads for a descriptor.
//!
//! Only the worker polls, and only its own threads register (which makes the poller before the worker can sleep in it).
//! What others may touch is in its [`PollerHandle`].
//!
//! mio waits in whole milliseconds on Linux. A shorter wait is one of `ppoll` on epoll's own descriptor.

#![forbid(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Poll, Waker};

use crate::base::abort::fatal;
use crate::driver::handle::PollerHandle;
use crate::driver::readiness::Ready;
use crate::driver::slot::{self, EventWakes, WAKER};
use crate::sys::clock::{NEVER, precisely, real_ns};
use crate::sys::poll;

/// Events that one look brings in at most.
const EVENTS: usize = 1024;
/// How long a worker that has threads to run may leave the poller alone.
const INTERVAL_NS: u64 = 50_000;
/// What Linux adds to a sleep of some milliseconds by default.
const SLACK: Duration = Duration::from_micros(50);

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Poller {
    handle: Arc<PollerHandle>,
    fd: RawFd,
    polling: RefCell<(Poll, Events)>,
    /// When the worker has to look again, whatever else it has to do.
    due_ns: Cell<u64>,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let waker = Waker::new(&registry, WAKER)?;
        let handle = Arc::new(PollerHandle::new(registry, waker));
        let fd = poll.as_raw_fd();
        Ok(Self { handle, fd, polling: RefCell::new((poll, Events::with_capacity(EVENTS))), due_ns: Cell::new(0) })
    }

    pub(crate) fn handle(&self) -> &Arc<PollerHandle> {
        &self.handle
    }

    /// Has it been so long since the last look that a worker with other things to do takes another?
    #[inline]
    pub(crate) fn is_due(&self, now_ns: u64) -> bool {
        now_ns >= self.due_ns.get()
    }

    /// Looks for events; sleeps until there are any, the waker is used, or `deadline_ns` has passed (0: not at all). It
    /// may also come back early. True: there are some to [`deliver`](Self::deliver).
    pub(crate) fn wait(&self, deadline_ns: u64) -> bool {
        let timeout = match deadline_ns {
            0 => Some(Duration::ZERO),
            NEVER => None,
            deadline_ns => Some(self.coarse(deadline_ns)),
        };
        let (poll, events) = &mut *self.polling.borrow_mut();
        match poll.poll(events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => events.clear(),
            Err(error) => fatal(format_args!("a worker's poller failed: {error}")),
        }
        events.iter().any(|event| event.token() != WAKER)
    }

    /// The time-out for mio. Where mio counts in milliseconds, what is less than one is waited for here.
    fn coarse(&self, deadline_ns: u64) -> Duration {
        let left = Duration::from_nanos(deadline_ns.saturating_sub(real_ns()));
        if cfg!(not(target_os = "linux")) {
            return left;
        }
        // Short by what the system may add to it.
        let whole = Duration::from_millis(left.saturating_sub(SLACK).as_millis() as u64);
        if whole.is_zero() {
            precisely(|| poll::sleep_on(self.fd, left));
        }
        whole
    }

    /// Hands out the threads that the events of the last [`wait`](Self::wait) wake; how many events there were. They are delivered once.
    pub(crate) fn deliver(&self, now_ns: u64, each: impl Fn(EventWakes)) -> u64 {
        let (_, events) = &mut *self.polling.borrow_mut();
        let mut count = 0;
        for event in events.iter().filter(|event| event.token() != WAKER) {
            count += 1;
            // An error is a message for the waiters, and no end.
            let error = event.is_error();
            let ready = Ready {
                read: event.is_readable() || error,
                write: event.is_writable() || event.is_write_closed() || error,
                end: event.is_read_closed(),
                urgent: event.is_priority(),
            };
            if let Some(wakes) = slot::event(event.token(), ready) {
                each(wakes);
            }
        }
        events.clear();
        // A full look leaves events behind.
        self.due_ns.set(if count == EVENTS { 0 } else { now_ns + INTERVAL_NS });
        count as u64
    }

    /// The worker has looked at `now_ns`, and there was nothing.
    #[inline]
    pub(crate) fn looked(&self, now_ns: u64) {
        self.due_ns.set(now_ns + INTERVAL_NS);
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        slot::abandon(&self.handle);
    }
}
