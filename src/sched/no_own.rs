//! In the place of `own` where no thread has thread-locals of its own.
#![forbid(unsafe_code)]

use crate::fiber::Entry;
use crate::task::header::Main;
use crate::task::unwound::EndsBy;

/// Threads with thread-locals of their own: none.
pub(crate) struct PerThread;

impl Main for PerThread {
    const MAIN: Entry = |_| unreachable!("no thread has thread-locals of its own here");

    fn unwound(_: &crate::task::Header, _: EndsBy) {}
}
