//! Where a debugger finds the threads. A release build says nothing of its types, so this table does: `src/sched/debug.py`, which is in each
//! program's `.debug_gdb_scripts`, reads the memory of a live process, or of a core file, by it.

use std::mem::offset_of;

use crate::base::atomic::AtomicPtr;
use crate::fiber::CONTEXTS;
use crate::park::current::WorkerContext;
use crate::park::waits_on::LockImage;
use crate::sched::remote::{MAX_WORKERS, Remote, TABLE};
use crate::sched::worker::Worker;
use crate::task::header::NAMES;
use crate::task::offsets::{HeaderOffsets, OFFSETS};

/// The script reads it word by word, in this order.
#[repr(C)]
struct DebugTable {
    /// Rises when a word changes its meaning.
    version: usize,
    remotes: &'static [AtomicPtr<Remote>; MAX_WORKERS],
    max_remotes: usize,
    /// In a remote.
    worker: usize,
    /// In a worker.
    current: usize,
    first_live: usize,
    number: usize,
    header: HeaderOffsets,
    /// In what `header.fiber` points to.
    contexts: [usize; 2],
    reasons: &'static [Option<&'static str>],
    /// In a lock.
    holder: usize,
}

/// By this name the script asks for it. It carries the crate's version, as two of them may be in one program.
macro_rules! symbol {
    () => {
        concat!(
            "green_debug_",
            env!("CARGO_PKG_VERSION_MAJOR"),
            "_",
            env!("CARGO_PKG_VERSION_MINOR"),
            "_",
            env!("CARGO_PKG_VERSION_PATCH"),
        )
    };
}

// SAFETY: nothing else has a name that begins so; two crates of one version would not link for their routines' names, either.
#[unsafe(export_name = symbol!())]
static DEBUG_TABLE: DebugTable = DebugTable {
    version: 2,
    remotes: &TABLE,
    max_remotes: MAX_WORKERS,
    worker: offset_of!(Remote, here),
    current: WorkerContext::CURRENT,
    first_live: Worker::FIRST_LIVE,
    number: Worker::NUMBER,
    header: OFFSETS,
    contexts: CONTEXTS,
    reasons: NAMES,
    holder: offset_of!(LockImage, holder),
};

/// Keeps the table from being dropped by the linker, since nothing in the program reads it.
pub(crate) fn keep() {
    std::hint::black_box(&DEBUG_TABLE);
}
