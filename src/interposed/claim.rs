//! Files that a green thread makes a call on which might wait for what another thread has just taken: a connection of a listener, a byte of a pipe.
//!
//! The caller looks whether there is anything, and makes the call. As long as it has *claimed* the file, no other green thread of the process comes between.
//! But an OS thread may, or another process that has the file, and then the call waits, and its worker with it. So nobody waits for a claim: who finds the file claimed goes
//! on as if there were nothing, and looks again after a while. Claims are of files, not of parts of a table: who waits in one listener keeps nobody from another.
//!
//! Some files are no thing of their own: all eventfds, timerfds, inotifies and signalfds of a system have one inode, and each opening of a device may be another thing. Of these the
//! descriptor is claimed: so of duplicates of one each may be claimed, and a call on one of them may wait for what was taken by another.
//!
//! **A write that may not fit** is made by an OS thread, without the claim, as it may wait for long: at any moment, so between another's look and its write, too. So it is *pending* from
//! before its claim is given back until it has been made, and who has the claim asks for that, *then* looks: if none is pending none begins before the claim is given back, and what
//! those that are over have taken is seen by the look. If one is pending, who asks writes by an OS thread as well.
#![forbid(unsafe_code)]

use std::ffi::c_int;

use crate::base::atomic::{AtomicU32, Ordering};
use crate::base::lock::Lock;
use crate::sys::fork::{PerProcess, generation};

/// So many claims there can be at a time: a worker has one at most. Who comes when all are given finds the file claimed.
const MOST: usize = 64;

/// What there is of a file that identifies it: its device, the number of its inode, and the descriptor, or -1 if that does not matter.
type FileKey = (u64, u64, c_int);

/// Files share these counts: two of one count are handed over more often than they need.
const COUNTS: usize = 64;

struct Claims {
    claimed: Lock<[Option<FileKey>; MOST]>,
    /// Of writes that are pending.
    pending: [AtomicU32; COUNTS],
}

impl Claims {
    fn new() -> Self {
        Self { claimed: Lock::new([None; MOST]), pending: [const { AtomicU32::new(0) }; COUNTS] }
    }

    fn pending(&self, (_, inode, fd): FileKey) -> &AtomicU32 {
        &self.pending[inode.wrapping_add_signed(fd.into()) as usize % COUNTS]
    }
}

/// A child of fork has none: who has them is not there.
static CLAIMS: PerProcess<Claims> = PerProcess::new(Claims::new);

/// The right to a file. Dropped, it is given back.
#[doc(hidden)]
#[derive(Debug)]
pub struct ClaimedFile {
    file: FileKey,
    /// The [`generation`] of the process that has claimed it.
    made_in: u32,
}

/// `None`: another green thread has claimed the file, or somebody is just about to claim one. Never waits; may be called in a signal's handler.
#[doc(hidden)]
#[must_use]
pub fn claim(file: FileKey) -> Option<ClaimedFile> {
    let mut claims = CLAIMS.get().claimed.try_lock()?;
    if claims.contains(&Some(file)) {
        return None;
    }
    *claims.iter_mut().find(|place| place.is_none())? = Some(file);
    Some(ClaimedFile { file, made_in: generation() })
}

impl Drop for ClaimedFile {
    fn drop(&mut self) {
        // A child of fork does not have its parent's.
        if self.made_in != generation() {
            return;
        }
        if let Some(place) = CLAIMS.get().claimed.lock().iter_mut().find(|place| **place == Some(self.file)) {
            *place = None;
        }
    }
}

/// A write that an OS thread makes, until it is dropped.
#[doc(hidden)]
#[derive(Debug)]
pub struct PendingWrite {
    file: FileKey,
    /// As of a claim.
    made_in: u32,
}

impl PendingWrite {
    /// To be made while the file is claimed.
    #[doc(hidden)]
    #[must_use]
    pub fn new(file: FileKey) -> Self {
        // The claim's lock tells of it.
        CLAIMS.get().pending(file).fetch_add(1, Ordering::Relaxed);
        Self { file, made_in: generation() }
    }
}

impl Drop for PendingWrite {
    fn drop(&mut self) {
        if self.made_in == generation() {
            // ORDERING(argued): Release pairs with the Acquire in `has_pending_write`: who sees it over sees in the file what it has written.
            CLAIMS.get().pending(self.file).fetch_sub(1, Ordering::Release);
        }
    }
}

/// May an OS thread write to the file at any moment? For who has claimed it, before he looks whether there is room.
#[doc(hidden)]
#[must_use]
pub fn has_pending_write(file: FileKey) -> bool {
    // ORDERING(argued): Acquire pairs with the Release in the drop of `PendingWrite`.
    CLAIMS.get().pending(file).load(Ordering::Acquire) > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_claimed_once_and_others_are_not_kept_back() {
        // Other tests of this process claim nothing.
        let own = claim((7, 1, -1)).unwrap();
        assert!(std::thread::spawn(|| claim((7, 1, -1)).is_none()).join().unwrap());
        // The same number, modulo anything; and the same number elsewhere, or of one descriptor.
        let others = [claim((7, 1 + 64, -1)), claim((8, 1, -1)), claim((7, 1, 1))];
        assert!(others.iter().all(Option::is_some));
        drop(own);
        assert!(claim((7, 1, -1)).is_some());
    }

    #[cfg(all(target_os = "linux", not(any(miri, green_emulated))))]
    #[test]
    fn a_child_of_fork_waited_for_ever_for_what_its_parent_had_claimed() {
        use crate::sys::fork::tests::{exited, forked, in_a_new_process};
        in_a_new_process(|| {
            let own = claim((7, 2, -1)).unwrap();
            let again = move || {
                let in_child = claim((7, 2, -1));
                drop(own);
                i32::from(in_child.is_some() && claim((7, 2, -1)).is_none())
            };
            assert_eq!(forked(again), exited(1));
        });
    }
}
