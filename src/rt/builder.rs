//! `thread::Builder`, and the one function by which every green thread is made.

use std::ffi::CString;
use std::io;
use std::sync::Arc;

use crate::park::os;
use crate::rt::join::JoinHandle;
use crate::rt::runtime::with_shared;
use crate::sched::worker::schedule;
use crate::sched::{Shared, Worker};
use crate::stack::{self, StackSize};
use crate::sys::fork;
use crate::task::Task;
use crate::task::block::{self, TaskOwner};
use crate::task::header::Spec;

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
    name: Option<String>,
    stack_size: Option<usize>,
}

impl Builder {
    /// A builder with the runtime's stack size and no name.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the thread: for [`Thread::name`](crate::thread::Thread::name) and the report of a stack overflow.
    pub fn name(mut self, name: String) -> Self {
        self.name = Some(name);
        self
    }

    /// The thread's stack in bytes of address space, guard page included; rounded up to a power of two, 16 KiB to 1 GiB.
    ///
    /// A signal that comes while the thread runs has its handler called on this stack, unless the handler was installed with
    /// `SA_ONSTACK` (this crate's own are): each worker has a signal stack for that. What the kernel alone writes for a handler
    /// is 1 to 11 KiB, by the processor. A stack that has no room for it counts as overflowed: the process aborts, and the
    /// report says so. So with small stacks, install handlers with `SA_ONSTACK`, or block their signals on the workers.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
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
        with_shared(|shared| unsafe { spawn_in(shared, self, Kind::Spawned, (), f) })
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
        unsafe { spawn_in(&worker.shared, self, Kind::Local, (), f) }
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
    pub(crate) unsafe fn spawn_owned<F: FnOnce() -> T + Send, T: Send, O: TaskOwner>(
        self,
        owner: O,
        f: F,
    ) -> io::Result<JoinHandle<T>> {
        // SAFETY: as the caller promises.
        with_shared(|shared| unsafe { spawn_in(shared, self, Kind::Spawned, owner, f) })
    }
}

/// Where a thread may start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// On any worker of the runtime.
    Spawned,
    /// On the calling worker, which is of that runtime.
    Local,
}

/// The name of a thread, if it is one that std would take. Panics as std does.
#[cold]
fn checked_name(name: String) -> Box<str> {
    let name = CString::new(name).expect("thread name may not contain interior null bytes");
    name.into_string().expect("it came from a string").into_boxed_str()
}

/// Makes a green thread of `f` in the runtime `shared`.
///
/// The thread has two references: the handle, and the queue that it goes into, later the turn that runs it.
///
/// # Safety
///
/// What `f` borrows outlives the thread, and what its result borrows outlives the handle. With `Kind::Spawned`, `f` may
/// move to another OS thread (is `Send`).
#[inline]
pub(crate) unsafe fn spawn_in<F: FnOnce() -> T, T, O: TaskOwner>(
    shared: &Arc<Shared>,
    builder: Builder,
    kind: Kind,
    owner: O,
    f: F,
) -> io::Result<JoinHandle<T>> {
    let name = builder.name.map(checked_name);
    let size = match builder.stack_size {
        None => shared.stack_size,
        Some(bytes) => StackSize::new(bytes)?,
    };
    let worker = Worker::current().filter(|worker| Arc::ptr_eq(&worker.shared, shared));
    let id = match worker {
        Some(worker) => {
            worker.stacks().reserve(size)?;
            worker.fresh_id()
        }
        None if shared.is_the_parents() => return Err(fork::error()),
        None => {
            stack::reserve(size)?;
            os::fresh_ids(1)
        }
    };
    let spec = Spec { name, size, id, runtime: shared.identity(), schedule, refs: 2, handle: true };
    let header = block::new(spec, owner, f).inspect_err(|_| match worker {
        Some(worker) => worker.stacks().unreserve(size),
        None => stack::unreserve(size),
    })?;
    // SAFETY: one of the two references is the handle's, the other the queue's.
    let (handle, task) = unsafe { (JoinHandle::new(Task::from_raw(header)), Task::from_raw(header)) };
    match (worker, kind) {
        (Some(worker), Kind::Spawned) => worker.spawn(task),
        (Some(worker), Kind::Local) => {
            task.state.claim_unshared(worker.remote.index);
            worker.make_ready(task.into_raw());
        }
        (None, _) => shared.inject(task),
    }
    Ok(handle)
}
