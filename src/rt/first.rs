//! What the first runtime of a process makes for all.

use crate::flight;
use crate::park::current;
use crate::park::fork::{FirstGate, hold, hold_for_first};
use crate::rt::{at_exit, hook};
use crate::stack::overflow;
use crate::thread_locals::{self, ThreadLocals, Unsupported};

/// A runtime is about to be made. Until the first one is there, no thread forks.
pub(super) fn begin() -> FirstGate {
    let first = hold_for_first();
    // Else the workers would be the first to ask for it, later.
    flight::begin();
    hook::install();
    at_exit::install();
    overflow::install(current::describe);
    first
}

impl ThreadLocals {
    /// Says whether [`PerThread`](Self::PerThread) is to be had, on this machine and with this libc.
    ///
    /// It is on Linux, on x86_64 and aarch64, with glibc 2.34 or later linked dynamically. The first call makes three OS threads, and learns from them
    /// what glibc writes for a thread.
    ///
    /// ```
    /// if green::ThreadLocals::supported().is_ok() {
    ///     let runtime = green::Runtime::builder().thread_locals(green::ThreadLocals::PerThread).build()?;
    ///     let id = || std::thread::current().id();
    ///     let (one, other) = runtime.run(|| (id(), green::spawn(id).join().unwrap()));
    ///     assert_ne!(one, other);
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The reason why not.
    pub fn supported() -> Result<(), Unsupported> {
        thread_locals::known().unwrap_or_else(|| {
            let _held = hold();
            thread_locals::supported()
        })
    }
}
