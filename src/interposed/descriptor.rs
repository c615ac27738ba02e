//! Waiting for a descriptor that other code owns.
//!
//! Other code closes its descriptors when it likes, by ways that nobody sees, and their numbers are used again. So what this crate
//! knows of a number is a guess: it has a slot for each, and a poller in which the number was registered. A call that has to
//! wait asks the kernel to look anew by that registration, which is one system call. The kernel finds it by the open file *and* the number: of a number that
//! stands for another file since, it says that there is none, and the call registers it. What comes from a registration of earlier has another generation, and
//! wakes nobody.
//!
//! A call that has waited, and tried, and has to wait once more, has used the descriptor meanwhile: it stays registered, and the next *change*
//! ends the wait. So a state that stays, an error that nobody fetches, does not make it go round.
//!
//! **A descriptor that does not block** may be one of this crate's own sockets, which have that registration for themselves. Who waits for
//! such a one (by `poll`) keeps a duplicate of it as long as it waits.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use crate::driver::readiness::{Direction, Seen};
use crate::driver::slot::{Enqueued, SourceSlot, acquire};
use crate::interposed::WaitEnd;
use crate::park::current::WorkerContext;
use crate::park::{Wait, WaitResult, park};
use crate::sys::fork::PerProcess;
use crate::task::header::Reason;

/// Numbers in the first chunk; each of the others has as many as all before it.
const FIRST: usize = 64;
const CHUNKS: usize = 26;

type SlotChunk = Box<[OnceLock<&'static SourceSlot>]>;

/// The slots of numbers that have been waited for.
struct NumberedSlots([OnceLock<SlotChunk>; CHUNKS]);

static NUMBERED: PerProcess<NumberedSlots> = PerProcess::new(|| NumberedSlots([const { OnceLock::new() }; CHUNKS]));

/// The chunk of a number, its place in there, and the chunk's length.
fn place(number: usize) -> (usize, usize, usize) {
    let chunk = (number / FIRST + 1).ilog2() as usize;
    let len = FIRST << chunk;
    (chunk, number + FIRST - len, len)
}

/// # Errors
///
/// There are as many sources as can be told apart.
fn slot_of(fd: RawFd) -> io::Result<&'static SourceSlot> {
    let (chunk, at, len) = place(fd as usize);
    let chunk = NUMBERED.get().0[chunk].get_or_init(|| (0..len).map(|_| OnceLock::new()).collect());
    if let Some(slot) = chunk[at].get() {
        return Ok(slot);
    }
    let new = acquire()?;
    let slot = *chunk[at].get_or_init(|| new);
    if !std::ptr::eq(slot, new) {
        new.release();
    }
    Ok(slot)
}

/// A duplicate, and a slot for it alone.
#[derive(Debug)]
struct Duplicate {
    slot: &'static SourceSlot,
    fd: OwnedFd,
}

impl Drop for Duplicate {
    fn drop(&mut self) {
        // Then the descriptor is closed.
        self.slot.release();
    }
}

/// The waits of one call for one descriptor. Between them the call tries what it was made for.
#[doc(hidden)]
#[derive(Debug)]
pub struct DescriptorWait {
    fd: BorrowedFd<'static>,
    direction: Direction,
    duplicate: Option<Duplicate>,
    /// The slot, and what was known when the last wait was over.
    before: Option<(&'static SourceSlot, Seen)>,
}

impl DescriptorWait {
    /// A wait until `fd` can be read from, or written to. If it is one that blocks, or an epoll descriptor, it is `blocking`.
    ///
    /// # Errors
    ///
    /// There is no more descriptor, of which one is needed for one that does not block.
    #[doc(hidden)]
    pub fn new(fd: BorrowedFd<'static>, write: bool, blocking: bool) -> io::Result<Self> {
        let direction = if write { Direction::Write } else { Direction::Read };
        let mut this = Self { fd, direction, duplicate: None, before: None };
        if !blocking {
            this.duplicate()?;
        }
        Ok(this)
    }

    fn duplicate(&mut self) -> io::Result<()> {
        let fd = self.fd.try_clone_to_owned()?;
        self.duplicate = Some(Duplicate { slot: acquire()?, fd });
        self.before = None;
        Ok(())
    }

    /// Parks the calling green thread until something has happened to the descriptor since the last wait; the first time, until it is ready.
    ///
    /// # Errors
    ///
    /// It cannot be waited for, or a limit on descriptors is reached. The caller has to block, then.
    #[doc(hidden)]
    pub fn wait(&mut self, deadline_ns: u64) -> io::Result<WaitEnd> {
        loop {
            let (slot, fd) = match &self.duplicate {
                Some(duplicate) => (duplicate.slot, duplicate.fd.as_raw_fd()),
                None => (slot_of(self.fd.as_raw_fd())?, self.fd.as_raw_fd()),
            };
            match self.wait_in(slot, fd, deadline_ns) {
                // Somebody has registered a descriptor that blocks.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.duplicate.is_none() => {
                    self.duplicate()?;
                }
                ended => return ended,
            }
        }
    }

    fn wait_in(&mut self, slot: &'static SourceSlot, fd: RawFd, deadline_ns: u64) -> io::Result<WaitEnd> {
        let direction = self.direction;
        let before = self.before.take().map(|(_, seen)| seen);
        if let Some(seen) = before {
            slot.clear(direction, seen);
        }
        // After a wait it may be another.
        let Some(here) = WorkerContext::get() else { return Ok(WaitEnd::Ready) };
        let handle = here.poller_or_new()?.handle();
        let mut armed = Ok(());
        let left = Cell::new(None);
        let reason = if direction == Direction::Write { Reason::Writable } else { Reason::Readable };
        let ended = park(Wait::new(reason).until(deadline_ns), |ticket| {
            left.set(Some(ticket));
            match before.map(|seen| slot.enqueue_again(handle, direction, seen, ticket)) {
                Some(Enqueued::Waits) => true,
                Some(Enqueued::Ready) => false,
                Some(Enqueued::Unregistered) | None => {
                    armed = slot.arm(handle, fd, direction, ticket);
                    armed.is_ok()
                }
            }
        });
        // Before the caller tries: what changes from here on is told.
        self.before = Some((slot, slot.seen()));
        match ended {
            WaitResult::Refused => armed.map(|()| WaitEnd::Ready),
            WaitResult::Notified => Ok(WaitEnd::Ready),
            WaitResult::TimedOut | WaitResult::Interrupted => {
                left.take().into_iter().for_each(|ticket| slot.withdraw(direction, ticket));
                let timed_out = ended == WaitResult::TimedOut;
                Ok(if timed_out { WaitEnd::TimedOut } else { WaitEnd::Interrupted })
            }
        }
    }
}
