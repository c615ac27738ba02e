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

/// Spawns a green thread with a name or a stack size of its own, and returns an error where [`spawn`](crate::spawn)
/// panics: [`std::thread::Builder`].
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
    /// Makes a builder with the runtime's stack size and no name.
    ///
    /// ```
    /// let thread = green::thread::Builder::new().spawn(|| 1)?;
    /// assert_eq!(thread.join().unwrap(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the thread, for [`Thread::name`](crate::thread::Thread::name) and for the report of a stack overflow.
    ///
    /// The OS thread that runs it keeps its own name. A name has no NUL bytes: see [`spawn`](Self::spawn).
    ///
    /// ```
    /// let thread = green::thread::Builder::new().name("index".into()).spawn(|| ())?;
    /// assert_eq!(thread.thread().name(), Some("index"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn name(mut self, name: String) -> Self {
        self.name = Some(name);
        self
    }

    /// Sets the size of the thread's stack, in bytes of address space, guard page included; rounded up to a power of
    /// two, 16 KiB to 1 GiB.
    ///
    /// Memory is taken page by page, as the stack is used.
    ///
    /// A signal that comes while the thread runs has its handler called on this stack, unless the handler was installed
    /// with `SA_ONSTACK` (this crate's own are): each worker has a signal stack for that. What the kernel alone writes
    /// for a handler is 1 to 11 KiB, by the processor. A stack that has no room for it counts as overflowed: the
    /// process aborts, and the report says so. So with small stacks, install handlers with `SA_ONSTACK`, or block their
    /// signals on the workers.
    ///
    /// ```
    /// fn depth(n: u64) -> u64 {
    ///     let here = std::hint::black_box([n; 64]);
    ///     if n == 0 { 0 } else { 1 + depth(n - 1) + here[0] - n }
    /// }
    /// let deep = green::thread::Builder::new().stack_size(64 << 20).spawn(|| depth(10_000))?;
    /// assert_eq!(deep.join().unwrap(), 10_000);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = Some(bytes);
        self
    }

    /// Spawns the thread, and returns a handle to it. Does not wait.
    ///
    /// Where the thread starts and how long it lives is said at [`spawn`](crate::spawn).
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// let refused = green::thread::Builder::new().stack_size(1 << 40).spawn(|| ());
    /// assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput);
    /// ```
    ///
    /// # Errors
    ///
    /// `InvalidInput`: a stack size out of its bounds, a bad `GREEN_…` variable. `OutOfMemory`: no memory, address
    /// space or mappings for another thread; the message names the limit. `Other`: this process is a child of fork, and
    /// the runtime its parent's. The closure is dropped.
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

    /// Spawns the thread on the calling worker, where it stays, so that `f` need not be `Send`:
    /// [`spawn_local`](crate::spawn_local).
    ///
    /// ```
    /// green::run(|| {
    ///     let shared = std::rc::Rc::new(7);
    ///     let thread = green::thread::Builder::new().name("near".into()).spawn_local(move || *shared)?;
    ///     assert_eq!(thread.join().unwrap(), 7);
    ///     Ok::<(), std::io::Error>(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Self::spawn).
    ///
    /// # Panics
    ///
    /// Outside a green thread; if the name has a NUL byte.
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

    /// Spawns a thread that may borrow, without a scope that would wait for it:
    /// [`std::thread::Builder::spawn_unchecked`]. Prefer [`spawn_scoped`](Self::spawn_scoped).
    ///
    /// ```
    /// let text = String::from("borrowed");
    /// // SAFETY: the thread is joined before `text` is dropped.
    /// let thread = unsafe { green::thread::Builder::new().spawn_unchecked(|| text.len())? };
    /// assert_eq!(thread.join().unwrap(), 8);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Self::spawn).
    ///
    /// # Panics
    ///
    /// If the name has a NUL byte.
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
        // Directly after an `accept` it serves the connection.
        (Some(worker), Kind::Spawned) if worker.here().take_accepted() => worker.spawn_balanced(task),
        (Some(worker), Kind::Spawned) => worker.spawn(task),
        (Some(worker), Kind::Local) => {
            task.state.claim_unshared(worker.remote.index);
            worker.make_ready(task.into_raw());
        }
        (None, _) => shared.inject(task),
    }
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::park::current::WorkerContext;
    use crate::rt::runtime::Runtime;
    use crate::rt::thread::{park_timeout, spawn, spawn_local};

    #[test]
    fn only_what_an_accepting_thread_spawns_before_it_waits_serves_the_connection() {
        let here = || WorkerContext::get().expect("on a worker");
        Runtime::builder().workers(1).build().unwrap().run(move || {
            let accepts = || here().set_accepted();
            accepts();
            assert!(here().take_accepted() && !here().take_accepted(), "one thread for one connection");

            accepts();
            let other = spawn_local(move || here().take_accepted());
            assert!(!other.join().unwrap(), "another thread has accepted it");

            accepts();
            park_timeout(Duration::from_millis(1));
            assert!(!here().take_accepted(), "it has waited since");

            accepts();
            spawn(|| ()).join().unwrap();
            assert!(!here().take_accepted(), "this is what `spawn` asks");
        });
    }
}
