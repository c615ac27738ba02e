//! `thread::Builder`.

use std::io;

use crate::rt::join::JoinHandle;
use crate::rt::runtime::with_shared;
use crate::rt::spawn::{Kind, Settings, spawn_in};
use crate::sched::Worker;
use crate::task::block::Owner;

/// Makes a green thread with a name or a stack size of its own: [`std::thread::Builder`].
///
/// ```
/// let thread = green::thread::Builder::new().name("reader".into()).stack_size(1 << 20).spawn(|| {
///     assert_eq!(green::thread::current().name(), Some("reader"));
/// })?;
/// thread.join().unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
#[must_use = "must eventually spawn the thread"]
pub struct Builder {
    settings: Settings,
}

impl Builder {
    /// A builder with the runtime's stack size and no name.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the thread: for [`Thread::name`](crate::thread::Thread::name) and the report of a stack overflow.
    pub fn name(mut self, name: String) -> Self {
        self.settings.name = Some(name);
        self
    }

    /// The thread's stack in bytes of address space, guard page included; rounded up to a power of two, 16 KiB to 1 GiB.
    ///
    /// A signal that comes while the thread runs has its handler called on this stack, unless the handler was installed with
    /// `SA_ONSTACK` (this crate's own are): each worker has a signal stack for that. What the kernel alone writes for a handler
    /// is 1 to 11 KiB, by the processor. A stack that has no room for it counts as overflowed: the process aborts, and the
    /// report says so. So with small stacks, install handlers with `SA_ONSTACK`, or block their signals on the workers.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.settings.stack_size = Some(bytes);
        self
    }

    /// Spawns the thread, as [`spawn`](crate::spawn).
    ///
    /// # Errors
    ///
    /// `InvalidInput`: a stack size out of its bounds, a bad `GREEN_…` variable. `OutOfMemory`: no memory, address space or
    /// mappings for another thread; the message names the limit. `Other`: this process is a child of fork, and the runtime its
    /// parent's. The closure is dropped.
    ///
    /// # Panics
    ///
    /// If the name has a NUL byte, as std's does.
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: nothing is borrowed.
        with_shared(|shared| unsafe { spawn_in(shared, self.settings, Kind::Spawned, (), f) })
    }

    /// Spawns the thread on the calling worker, as [`spawn_local`](crate::spawn_local).
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    ///
    /// # Panics
    ///
    /// Outside a green thread; as [`spawn`](Self::spawn).
    pub fn spawn_local<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        let Some(worker) = Worker::current() else {
            panic!("spawn_local outside a green thread: there is no worker here that could run it");
        };
        // SAFETY: nothing is borrowed, and the thread starts and stays on this worker.
        unsafe { spawn_in(&worker.shared, self.settings, Kind::Local, (), f) }
    }

    /// Spawns a thread that may borrow: [`std::thread::Builder::spawn_unchecked`]. Prefer
    /// [`spawn_scoped`](Self::spawn_scoped).
    ///
    /// # Errors
    ///
    /// As [`spawn`](Self::spawn).
    ///
    /// # Panics
    ///
    /// As [`spawn`](Self::spawn).
    ///
    /// # Safety
    ///
    /// The thread has ended, or has been joined, before anything that `f` borrows is gone, and before anything that its
    /// result borrows is gone the result has been taken or dropped.
    pub unsafe fn spawn_unchecked<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        // SAFETY: as the caller promises.
        unsafe { self.spawn_owned((), f) }
    }

    /// Spawns a thread that may borrow, and that tells `owner` how it ends.
    ///
    /// # Safety
    ///
    /// As [`spawn_in`].
    pub(crate) unsafe fn spawn_owned<F: FnOnce() -> T + Send, T: Send, O: Owner>(
        self,
        owner: O,
        f: F,
    ) -> io::Result<JoinHandle<T>> {
        // SAFETY: as the caller promises.
        with_shared(|shared| unsafe { spawn_in(shared, self.settings, Kind::Spawned, owner, f) })
    }
}
