//! One descriptor, waited for by its changes and not by its state: for a plain OS thread, when the state contradicts what a
//! system call says.
//!
//! `poll(2)` looks at the state. While an error queue has something in it, say, it returns at once, for ever, although the
//! send buffer is full. A poller of the thread's own, registered edge-triggered, tells of the state once, and from then on
//! of changes. The protocol is that of [`source`](super::source) with one thread: a call that says `EAGAIN` is followed by
//! a wait; whatever changes after the call has looked makes an event, which that wait finds.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Poll, Token};

use crate::driver::readiness::Direction;
use crate::driver::slot::interest;
use crate::sys::poll;

/// See the module's text. Lives as long as one call.
#[derive(Debug)]
pub(crate) struct EdgePoll {
    poll: Poll,
    events: Events,
}

impl EdgePoll {
    /// # Errors
    ///
    /// There are no more descriptors; `fd` cannot be waited for.
    pub(crate) fn new(fd: BorrowedFd<'_>, direction: Direction) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), Token(0), interest(Some(direction), false))?;
        Ok(Self { poll, events: Events::with_capacity(1) })
    }

    /// Waits until something has happened to the descriptor since the last call. False: the deadline came first.
    ///
    /// # Errors
    ///
    /// None that is known.
    pub(crate) fn wait(&mut self, deadline_ns: u64) -> io::Result<bool> {
        let happened = poll::wait_for(self.poll.as_raw_fd(), false, deadline_ns)?;
        if happened {
            self.poll.poll(&mut self.events, Some(Duration::ZERO))?;
        }
        Ok(happened)
    }
}
