//! `thread::Builder`.

use std::io;
use std::panic::Location;

use crate::park::on_switch::{OnSwitch, SwitchCalls};
use crate::park::possession::may_give_guards;
use crate::rt::default::with_shared;
use crate::rt::join::JoinHandle;
use crate::rt::spawn::{Placement, Settings, spawn_in};
use crate::sched::Worker;
use crate::task::block::TaskOwner;
use crate::thread_locals::ThreadLocals;

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
#[derive(Debug)]
#[must_use = "must eventually spawn the thread"]
pub struct Builder {
    settings: Settings,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
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
        Self { settings: Settings::here() }
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
        self.settings.name = Some(name);
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
        self.settings.custom.get_or_insert_default().stack_size = Some(bytes);
        self
    }

    /// Sets whose thread-locals the thread uses; without this call, as the runtime's threads do.
    ///
    /// ```
    /// use green::ThreadLocals;
    /// if ThreadLocals::supported().is_ok() {
    ///     let id = || std::thread::current().id();
    ///     let builder = || green::thread::Builder::new().thread_locals(ThreadLocals::PerThread);
    ///     assert_ne!(builder().spawn(id)?.join().unwrap(), builder().spawn(id)?.join().unwrap());
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn thread_locals(mut self, thread_locals: ThreadLocals) -> Self {
        self.settings.custom.get_or_insert_default().thread_locals = Some(thread_locals);
        self
    }

    /// Sets what is called on the thread whenever it goes on and suspends: see [`OnSwitch`].
    ///
    /// It is for what a library keeps for each OS thread, and what would be wrong in the other green threads there: the current span, a context, a guard. A thread
    /// without this call pays nothing for it. Such a thread never starts within another's `join`, as others do. [`OnSwitch`] says what becomes of this where
    /// threads have thread-locals of their own.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering};
    /// use std::sync::Arc;
    /// let turns = Arc::new(AtomicU32::new(0));
    /// let count = turns.clone();
    /// let calls = (move || _ = count.fetch_add(1, Ordering::Relaxed), || ());
    /// let thread = green::thread::Builder::new().on_switch(calls).spawn(green::yield_now)?;
    /// thread.join().unwrap();
    /// assert_eq!(turns.load(Ordering::Relaxed), 2);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on_switch(mut self, calls: impl OnSwitch + 'static) -> Self {
        self.settings.custom.get_or_insert_default().on_switch = Some(SwitchCalls(Box::new(calls)));
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
    /// `InvalidInput`: a stack size out of its bounds, a bad `GREEN_…` variable, [`on_switch`](Self::on_switch) with [`thread_locals`](Self::thread_locals) of its own. `OutOfMemory`: no memory, address
    /// space or mappings for another thread; the message names the limit. `Unsupported`: thread-locals of its own are not to be had, and the
    /// message says why. `Other`: this process is a child of fork, and
    /// the runtime its parent's. The closure is dropped.
    ///
    /// # Panics
    ///
    /// If the name has a NUL byte, as std's does.
    #[inline]
    #[track_caller]
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: nothing is borrowed.
        unsafe { self.spawn_owned((), f) }
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
    #[track_caller]
    pub fn spawn_local<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + 'static,
        T: 'static,
    {
        let Some(worker) = Worker::current() else {
            panic!("spawn_local outside a green thread: there is no worker here that could run it");
        };
        may_give_guards();
        let f = move || {
            may_give_guards();
            f()
        };
        // SAFETY: nothing is borrowed, and the thread starts and stays on this worker.
        unsafe { spawn_in(&worker.shared, self.settings_here(), Placement::Here, (), f) }
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
    #[track_caller]
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
    #[inline(always)]
    #[track_caller]
    pub(crate) unsafe fn spawn_owned<F: FnOnce() -> T + Send, T: Send, O: TaskOwner>(
        self,
        owner: O,
        f: F,
    ) -> io::Result<JoinHandle<T>> {
        let settings = self.settings_here();
        // SAFETY: as the caller promises.
        with_shared(|shared| unsafe { spawn_in(shared, settings, Placement::Anywhere, owner, f) })
    }

    /// The settings, of a thread that the caller's caller makes.
    #[inline(always)]
    #[track_caller]
    fn settings_here(self) -> Settings {
        Settings { spawned_at: Location::caller(), ..self.settings }
    }
}
