//! `Thread`: a thread as others see it.

use std::panic::{RefUnwindSafe, UnwindSafe};

use crate::base::debug::debug;
use crate::task::Task;
use crate::task::id::ThreadId;
use crate::task::wait::End;

/// Refers to a thread, green or OS: [`std::thread::Thread`]. [`current`](crate::thread::current) and [`JoinHandle::thread`](crate::thread::JoinHandle::thread) return one.
///
/// It neither keeps the thread running nor ends it, and stays valid when the thread has ended.
///
/// ```
/// let spawner = green::thread::current();
/// green::spawn(move || spawner.unpark());
/// green::thread::park();
/// ```
#[derive(Clone)]
pub struct Thread(pub(crate) Task);

impl UnwindSafe for Thread {}
impl RefUnwindSafe for Thread {}

impl Thread {
    /// Returns the thread's number.
    ///
    /// ```
    /// let thread = green::spawn(|| green::thread::current().id());
    /// let id = thread.thread().id();
    /// assert_eq!(thread.join().unwrap(), id);
    /// ```
    #[must_use]
    pub fn id(&self) -> ThreadId {
        ThreadId::of(&self.0)
    }

    /// Returns the thread's name, if it was given one by [`Builder::name`](crate::thread::Builder::name).
    ///
    /// ```
    /// let thread = green::thread::Builder::new().name("reader".into()).spawn(|| ())?;
    /// assert_eq!(thread.thread().name(), Some("reader"));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.name()
    }

    /// Returns what the thread waits for: `"mutex"`, `"channel receive"`, `"sleep"`, `"join"` and so on. `None` when it waits for
    /// nothing: it runs, is ready to run, has not started, or has ended. Never waits.
    ///
    /// This is a snapshot, for a look at a program that does not go on and for tests: the thread may have gone on by the
    /// time that the caller has the answer. A thread that has an answer is registered where it waits, so that what it waits
    /// for finds it. Of an OS thread it tells only the waits in this crate's calls. The names may change with any version.
    ///
    /// ```
    /// let lock = std::sync::Arc::new(green::sync::Mutex::new(()));
    /// let guard = lock.lock().unwrap();
    /// let waiter = green::spawn({
    ///     let lock = lock.clone();
    ///     move || drop(lock.lock())
    /// });
    /// while waiter.thread().waits_for() != Some("mutex") {
    ///     green::yield_now();
    /// }
    /// drop(guard);
    /// let thread = waiter.thread().clone();
    /// waiter.join().unwrap();
    /// assert_eq!(thread.waits_for(), None);
    /// ```
    #[must_use]
    pub fn waits_for(&self) -> Option<&'static str> {
        self.0.waits_for()
    }

    /// Ends the thread's [`park`](crate::thread::park), or else the next one that it begins. Never waits.
    ///
    /// Several calls count as one. What the caller did before is visible to the thread when its `park` returns.
    ///
    /// ```
    /// let parked = green::spawn(|| green::thread::park());
    /// parked.thread().unpark();
    /// parked.join().unwrap();
    /// ```
    pub fn unpark(&self) {
        if let Some(epoch) = self.0.token.put() {
            self.0.end_wait(epoch, End::Notified);
        }
    }
}

debug! { Thread (this) id: this.id(), name: this.name(); }
