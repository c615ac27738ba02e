//! A full fence on the OS thread of one worker, from outside, where membarrier(2) is refused though it was there when the worker began: a program may forbid
//! it to itself at any time. It is slower, and asks for more:
//!
//! * A worker that waits in a system call has left its processor since, which is a fence; the system says so.
//! * Any other is interrupted by a signal ([`ask`](crate::sys::ask)). Both ends of that are a pair of Release and Acquire: what the caller did before is seen by what
//!   the worker does after it, and what the worker did before by what the caller does after it.
//! * One that has not begun, or has ended, does nothing under its lock that a lister of actors could see; it begins by taking `watched`.
//!
//! # Invariants
//!
//! 1. The handler does nothing: it may run on any thread at any time.

use std::io;

use crate::base::atomic::{Ordering, fence, yield_now};
use crate::sched::remote::Remote;
use crate::sys::ask::ask;
use crate::sys::clock::real_ns;
use crate::sys::system_thread::OsActivity;

/// One question may take so long: meanwhile the worker may have begun to wait in a call.
const QUESTION_NS: u64 = 10_000_000;
/// And all together: the worker may have to wait for a processor.
const PATIENCE_NS: u64 = 3_000_000_000;

/// # Errors
///
/// `Unsupported`: the worker computes all the time, and cannot be interrupted, as where the program has a handler of its own for the signal.
pub(super) fn fence_owner(remote: &Remote) -> io::Result<()> {
    let until_ns = real_ns().saturating_add(PATIENCE_NS);
    // The fibers of the others have OS threads of their own.
    while cfg!(green_backend = "asm") {
        if has_passed(remote) {
            return Ok(());
        }
        if real_ns() >= until_ns {
            break;
        }
        yield_now();
    }
    Err(io::Error::new(io::ErrorKind::Unsupported, "membarrier(2) is refused, and a worker could not be interrupted"))
}

fn has_passed(remote: &Remote) -> bool {
    let watched = remote.watched.lock();
    let Some(watched) = watched.as_ref() else { return true };
    // ORDERING: SeqCst pairs with the fences in the system's scheduler: a worker that it lets go on after this look sees what the caller has done before.
    fence(Ordering::SeqCst);
    match watched.os.activity() {
        OsActivity::InCall(_) => true,
        // SAFETY: invariant 1.
        OsActivity::Runs => unsafe { ask(&watched.os, QUESTION_NS, |_, _| (), std::ptr::null_mut()) },
        OsActivity::Unknown => false,
    }
}
