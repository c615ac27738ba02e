//! A descriptor that threads read from and write to: the system call first, and only when that would block, the wait.
//!
//! The protocol is that of [`driver::slot`](crate::driver::slot), whose steps have their names here.
//!
//! A plain OS thread has no poller. It waits with `poll(2)` on the descriptor itself and does not look at the slot: this
//! needs no runtime, the kernel wakes it directly, and it cannot take an event away from anybody. If `poll(2)` and the call
//! contradict each other it waits for a change instead, see [`driver::edge`](crate::driver::edge).
//!
//! # A call that finds nothing again
//!
//! A thread that was woken and finds nothing, in whichever way, spends from its budget and looks at its deadline, its cancel and
//! its limits before it waits again. So a kernel that contradicts itself, or neighbours that always come first, may cost the
//! thread's time, but neither its worker nor its time-outs.
//!
//! # Unix sockets that are written to
//!
//! A thread that waits to write to one, when its writing side is shut down or the reading side of its peer is, gets an error from a
//! blocking call at once. But neither `poll` nor a poller tells of it as long as the buffer is full. So such a wait ends
//! now and then, with pauses that grow, and the call is made again.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
#[cfg(any(feature = "hyper", feature = "futures-io"))]
use std::sync::Arc;
use std::sync::OnceLock;
#[cfg(any(feature = "hyper", feature = "futures-io"))]
use std::task::{Context, Poll};

use crate::driver::edge::EdgePoll;
use crate::driver::readiness::{Direction, Seen};
use crate::driver::slot::{Enqueued, SourceSlot, acquire};
use crate::park::current::{WorkerContext, with_header};
use crate::park::no_park::assert_may_park;
use crate::park::{ASK_AGAIN_NS, NotRaised, Wait, WaitResult, checkpoint, interrupt, wait_in};
use crate::sys::clock::{NEVER, now_ns};
use crate::sys::net::would_block;
use crate::sys::poll;
use crate::task::header::Reason;

/// See the module's text.
const FIRST_PAUSE_NS: u64 = 1_000_000;
const LAST_PAUSE_NS: u64 = 100_000_000;

/// What is behind a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SourceKind {
    /// A TCP stream: a short read or write has drained or filled it, and out-of-band data can come.
    Tcp,
    /// A Unix socket: nothing tells a writer that waits that its side has ended.
    Unix,
    /// Anything else: only `WouldBlock` says so.
    Other,
}

/// How long a call may wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Patience {
    /// Not at all.
    None,
    /// So many nanoseconds.
    For(u64),
    Forever,
}

/// What a call knows of its waits so far.
#[derive(Default)]
struct SourceWaits {
    /// There was one, and the call was made again after it.
    any: bool,
    /// The kernel says that the reading side has ended. If the call finds nothing after that, it is over.
    ended: bool,
    /// The wait was over without an event: the call is made again for all that.
    untold: bool,
    /// How often that was so.
    pauses: u32,
    /// How a plain OS thread waits from the second time on.
    edge: Option<EdgePoll>,
}

/// One descriptor's place among those that are waited for. Dropped before the descriptor is closed.
#[derive(Debug)]
pub(crate) struct Source {
    /// Made when somebody has to wait for the first time.
    slot: OnceLock<&'static SourceSlot>,
    kind: SourceKind,
}

impl Source {
    pub(crate) const fn new(kind: SourceKind) -> Self {
        Self { slot: OnceLock::new(), kind }
    }

    pub(crate) fn kind(&self) -> SourceKind {
        self.kind
    }

    /// Makes a system call that does not block, until it has a result other than `WouldBlock`, or `patience` is over, which is
    /// `WouldBlock` too. `is_short` says of a result that it shows the buffer to be drained, or full. `at_end`: what a blocking
    /// call gives where the reading side has ended and this one says `WouldBlock` for ever.
    ///
    /// A cancel or an enclosing `timeout` takes effect before a call or while the thread waits, never after a call that
    /// has done something.
    #[inline]
    pub(crate) fn call<R>(
        &self,
        fd: BorrowedFd<'_>,
        direction: Direction,
        patience: Patience,
        mut call: impl FnMut() -> io::Result<R>,
        is_short: impl Fn(&R) -> bool,
        at_end: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        checkpoint();
        let mut deadline_ns = None;
        let mut waits = SourceWaits::default();
        loop {
            // Step R1.
            let slot = self.slot.get().filter(|_| WorkerContext::get().is_some());
            let seen = slot.map(|slot| (slot, slot.seen()));
            let untold = waits.ended || waits.untold;
            if patience == Patience::None || untold || seen.is_none_or(|(_, seen)| seen.may_try(direction)) {
                // Steps R2 and R3.
                match call() {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        if waits.ended {
                            return at_end();
                        }
                        let only_seen = seen.map(|(_, seen)| seen);
                        waits.ended = has_ended(fd, direction, only_seen, waits.any);
                        if let Some((slot, seen)) = seen.filter(|_| !waits.ended) {
                            slot.clear(direction, seen);
                        }
                        if patience == Patience::None {
                            return Err(error);
                        }
                        if waits.ended {
                            continue;
                        }
                    }
                    Ok(result) => {
                        if let Some((slot, seen)) = seen
                            && is_short(&result)
                            && (direction == Direction::Write || seen.short_means_drained())
                        {
                            slot.clear(direction, seen);
                        }
                        return Ok(result);
                    }
                    error => return error,
                }
            }
            let deadline_ns = *deadline_ns.get_or_insert_with(|| match patience {
                Patience::For(ns) => now_ns().saturating_add(ns),
                _ => NEVER,
            });
            if !self.wait(fd, direction, deadline_ns, &mut waits)? {
                return Err(would_block());
            }
        }
    }

    /// Waits until something has happened to the descriptor that concerns `direction`, or may have. False: the deadline came
    /// first.
    fn wait(
        &self,
        fd: BorrowedFd<'_>,
        direction: Direction,
        deadline_ns: u64,
        waits: &mut SourceWaits,
    ) -> io::Result<bool> {
        let again = std::mem::replace(&mut waits.any, true);
        if again {
            checkpoint();
            if deadline_ns <= now_ns() {
                return Ok(false);
            }
        }
        let until_ns = deadline_ns.min(self.pause_ends_ns(direction, waits));
        let happened = match WorkerContext::get() {
            Some(_) => self.wait_on_worker(fd, direction, until_ns)?,
            None if !again => wait_on_os_thread(fd, direction, until_ns)?,
            None => {
                let edge = match &mut waits.edge {
                    Some(edge) => edge,
                    none => none.insert(EdgePoll::new(fd, direction)?),
                };
                until_limit(until_ns, |until_ns| edge.wait(until_ns))?
            }
        };
        waits.untold = !happened && until_ns < deadline_ns;
        Ok(happened || waits.untold)
    }

    /// When a thread that waits makes its call again though there is no event.
    fn pause_ends_ns(&self, direction: Direction, waits: &mut SourceWaits) -> u64 {
        if self.kind != SourceKind::Unix || direction == Direction::Read {
            return NEVER;
        }
        let pause_ns = (FIRST_PAUSE_NS << waits.pauses).min(LAST_PAUSE_NS);
        waits.pauses = (waits.pauses + 1).min(16);
        now_ns().saturating_add(pause_ns)
    }

    fn wait_on_worker(&self, fd: BorrowedFd<'_>, direction: Direction, deadline_ns: u64) -> io::Result<bool> {
        let slot = self.slot_or_new(direction)?;
        let reason = match direction {
            Direction::Read => Reason::Readable,
            Direction::Write => Reason::Writable,
        };
        let mut wait = Wait::new(reason).until(deadline_ns).on_descriptor(fd.as_raw_fd());
        loop {
            // After a wait it may be another.
            let Some(here) = WorkerContext::get() else { return Ok(true) };
            let handle = here.poller_or_new()?.handle();
            let mut enqueued = Enqueued::Ready;
            let left = Cell::new(None);
            let enter = |ticket| {
                // Steps R4 and R5.
                enqueued = slot.enqueue(handle, direction, ticket);
                left.set(Some(ticket));
                enqueued == Enqueued::Waits
            };
            match wait_in(&mut wait, enter, || {
                left.take().into_iter().for_each(|ticket| slot.withdraw(direction, ticket))
            }) {
                WaitResult::Refused if enqueued == Enqueued::Unregistered => {
                    slot.register(handle, fd.as_raw_fd(), self.kind == SourceKind::Tcp)?;
                }
                WaitResult::Refused | WaitResult::Notified => return Ok(true),
                WaitResult::TimedOut => return Ok(false),
                WaitResult::Interrupted => {}
            }
        }
    }

    /// As [`call`](Self::call) for async code: instead of waiting it leaves the waker, until the next event.
    #[cfg(any(feature = "hyper", feature = "futures-io"))]
    pub(crate) fn poll<R>(
        &self,
        cx: &Context<'_>,
        fd: BorrowedFd<'_>,
        direction: Direction,
        mut call: impl FnMut() -> io::Result<R>,
        at_end: impl FnOnce() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        let mut ended = false;
        // The second time round there was an event meanwhile. From then on others have their turn in between.
        for _ in 0..2 {
            let seen = self.slot.get().map(|slot| (slot, slot.seen()));
            if seen.is_none_or(|(_, seen)| seen.may_try(direction)) {
                match call() {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        if ended {
                            return Poll::Ready(at_end());
                        }
                        ended = has_ended(fd, direction, seen.map(|(_, seen)| seen), false);
                        if ended {
                            continue;
                        }
                        if let Some((slot, seen)) = seen {
                            slot.clear(direction, seen);
                        }
                    }
                    result => return Poll::Ready(result),
                }
            }
            let Some(here) = WorkerContext::get() else {
                let message = "async calls on a green socket that have to wait need a green thread";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::Unsupported, message)));
            };
            // Foreign code is called below, which may wait.
            let handle = &Arc::clone(here.poller_or_new()?.handle());
            let slot = self.slot_or_new(direction)?;
            let mut enqueued = slot.enqueue_waker(handle, direction, cx.waker());
            if enqueued == Enqueued::Unregistered {
                slot.register(handle, fd.as_raw_fd(), self.kind == SourceKind::Tcp)?;
                enqueued = slot.enqueue_waker(handle, direction, cx.waker());
            }
            if enqueued == Enqueued::Waits {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The slot; a new one knows that a call in `direction` has just found nothing. (If that changes before the descriptor
    /// is registered, the registration tells.)
    fn slot_or_new(&self, direction: Direction) -> io::Result<&'static SourceSlot> {
        if let Some(slot) = self.slot.get() {
            return Ok(slot);
        }
        let slot = acquire()?;
        slot.clear(direction, slot.seen());
        if self.slot.set(slot).is_err() {
            slot.release();
        }
        Ok(self.slot.get().expect("it was just set"))
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.get() {
            slot.release();
        }
    }
}

/// May the reading side have ended, so that a call which found nothing always will? Then the kernel is asked.
fn has_ended(fd: BorrowedFd<'_>, direction: Direction, seen: Option<Seen>, waited: bool) -> bool {
    direction == Direction::Read && (waited || seen.is_some_and(Seen::has_ended)) && poll::has_ended(fd)
}

/// Waits until `poll(2)` says that `fd` is ready in `direction`. False: the deadline came first.
pub(crate) fn wait_on_os_thread(fd: BorrowedFd<'_>, direction: Direction, deadline_ns: u64) -> io::Result<bool> {
    until_limit(deadline_ns, |deadline_ns| poll::wait_for(fd, direction == Direction::Write, deadline_ns))
}

/// On a plain OS thread: `wait`s until it says that it is ready, until `deadline_ns`, or until an enclosing `timeout` is over.
fn until_limit(deadline_ns: u64, mut wait: impl FnMut(u64) -> io::Result<bool>) -> io::Result<bool> {
    assert_may_park("a blocking call");
    let limited = !std::thread::panicking();
    let earliest_ns = || with_header(|thread| thread.limits.earliest_ns());
    let mut limit_ns = if limited { earliest_ns() } else { NEVER };
    loop {
        let ready = wait(deadline_ns.min(limit_ns))?;
        if ready || deadline_ns <= now_ns() {
            return Ok(ready);
        }
        limit_ns = match with_header(interrupt::raise_pending) {
            NotRaised::Nothing => earliest_ns(),
            NotRaised::NotYet => now_ns() + ASK_AGAIN_NS,
            NotRaised::Unwinds => NEVER,
        };
    }
}
