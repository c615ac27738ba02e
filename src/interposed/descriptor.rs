//! Waiting for a descriptor that other code owns.
#![forbid(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::driver::readiness::Direction;
use crate::driver::slot::{Enqueued, SourceSlot, acquire};
use crate::interposed::WaitEnd;
use crate::park::current::WorkerContext;
use crate::park::{Wait, WaitResult, park};
use crate::task::header::Reason;

/// A slot for one wait.
struct OneWait(&'static SourceSlot);

impl Drop for OneWait {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// Parks the calling green thread until `fd`, which was just found not to be ready, can be read from, or written to.
///
/// A duplicate of the descriptor is kept as long as the thread waits: a poller knows a descriptor once, and others may wait for this one.
///
/// # Errors
///
/// It cannot be waited for, or a limit on descriptors is reached. The caller has to block, then.
#[doc(hidden)]
pub fn wait_for(fd: BorrowedFd<'_>, write: bool, deadline_ns: u64) -> io::Result<WaitEnd> {
    let own = fd.try_clone_to_owned()?;
    // Dropped before the duplicate is closed.
    let OneWait(slot) = &OneWait(acquire()?);
    let (direction, reason) =
        if write { (Direction::Write, Reason::Writable) } else { (Direction::Read, Reason::Readable) };
    // What changes before it is registered, the registration tells.
    slot.clear(direction, slot.seen());
    let wait = Wait::new(reason).until(deadline_ns);
    loop {
        // After a wait it may be another.
        let Some(here) = WorkerContext::get() else { return Ok(WaitEnd::Ready) };
        let handle = here.poller_or_new()?.handle();
        let mut enqueued = Enqueued::Ready;
        let left = Cell::new(None);
        let ended = park(wait, |ticket| {
            // Steps R4 and R5 of the slot.
            enqueued = slot.enqueue(handle, direction, ticket);
            left.set(Some(ticket));
            enqueued == Enqueued::Waits
        });
        match ended {
            WaitResult::Refused if enqueued == Enqueued::Unregistered => {
                slot.register(handle, own.as_raw_fd(), false)?
            }
            WaitResult::Refused | WaitResult::Notified => return Ok(WaitEnd::Ready),
            WaitResult::TimedOut | WaitResult::Interrupted => {
                left.take().into_iter().for_each(|ticket| slot.withdraw(direction, ticket));
                let timed_out = ended == WaitResult::TimedOut;
                return Ok(if timed_out { WaitEnd::TimedOut } else { WaitEnd::Interrupted });
            }
        }
    }
}
