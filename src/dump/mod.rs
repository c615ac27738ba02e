//! Shows every green thread of the process while it runs: which there are, what each waits for, and where.
//!
//! What one asks first of a program that hangs or grows: where are they all, and what is stuck? [`text`] answers for a person, in groups of equal
//! stacks; [`json`] for a program, a line a thread; [`for_each`] as data; [`on_signal`] without a change in the program's course, from outside.
//!
//! ```standalone_crate
//! let waits = green::spawn(green::thread::park);
//! while waits.thread().waits_for().is_none() {
//!     green::yield_now();
//! }
//! let mut text = Vec::new();
//! green::dump::text(&mut text)?;
//! assert!(String::from_utf8(text).unwrap().contains("waits: park"));
//! waits.thread().unpark();
//! # waits.join().unwrap();
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # What it costs, and what it stops
//!
//! Nothing stops. The workers go on, and need not help: a dump is whole, too, when each of them is stuck. While one is made, a worker that starts or
//! ends a thread may wait some 100 µs for it; a thread that starts or ends meanwhile is whole in it, or absent. Threads that have not
//! started are queued anew, where any worker takes them. A dump takes some microseconds a thread, and memory for each *group*, not for each thread, but for three words of each that has not started, and for some ten thousand groups at most, however varied the stacks are; of
//! a stack it reads what is in use, 64 KiB at most. When no dump is made, that one may be costs a thread some ten instructions, once.
//!
//! # What it does not show
//!
//! Who has an `RwLock` for reading: their number is all that a lock knows, so that a reader takes it by one instruction. Where [deadlocks are named](crate::sync) (debug builds, and release builds with
//! `GREEN_DEADLOCKS=1`), it is one of them as well ([`HeldBy::Readers`]).
//!
//! A thread that moves from worker to worker while the dump is made (one with thread-locals of its own, an actor between two turns) may be missed, and one that a worker has just taken out of a queue to start it.
//!
//! Plain OS threads, closures of [`blocking`](crate::blocking), actors without a message. The stack of a thread that runs is that of a moment before: each worker that
//! is in a turn is interrupted by a signal (SIGURG), whose handler notes it; one that waits in a system call is not interrupted, its stack is read as it lies there, and may end
//! early. There is none if the thread has come to its next turn since, if the worker gets no processor, or, of one that computes, if the program has a handler of its own for
//! that signal: that stays as it is. (A program that has none and blocks all signals has this one unblocked in its workers, as each begins; one that takes it by signalfd(2) or sigwait(3) loses it: [`stall`](crate::stall#what-it-costs).) All workers together have 50 ms to answer, each
//! its share.
//! Backtraces need Linux, x86_64 or aarch64, and the feature `backtrace`, which is on by default; function names need symbols, so a
//! program that is stripped shows the program's or library's name and how far behind its beginning (`addr2line -e NAME OFFSET` finds the function in a file that is not
//! stripped), and lines need debug information (`debug = "line-tables-only"`).
//!
//! # Calls that a signal interrupts
//!
//! A dump that looks at a worker, and the report of a stall, send its OS thread SIGURG only if that does not wait in a system call at that moment. Between the look and the signal it may enter one, which then ends
//! early, as after any signal with a handler. The handler is installed with `SA_RESTART`: so read(2), write(2), accept(2), connect(2), waitpid(2), flock(2), futex(2) and the like go on by themselves. These do not,
//! and return `EINTR` (or, of the sleeps, what is left), by signal(7): poll(2), select(2), epoll_wait(2), nanosleep(2), clock_nanosleep(2), usleep(3), pause(2), sigsuspend(2), sigtimedwait(2), sigwaitinfo(2), semop(2), msgrcv(2),
//! msgsnd(2), io_getevents(2), and socket calls on a socket with a time-out (`SO_RCVTIMEO`, `SO_SNDTIMEO`). std's calls repeat what it is right to repeat: `thread::sleep`, `read_exact`, `write_all`; a single `read` of a
//! `std::net::TcpStream` with `set_read_timeout` gives `ErrorKind::Interrupted`. This crate's own calls are not concerned. A program whose other code takes `EINTR` for a failure has a handler of its own for SIGURG before its
//! first runtime, whatever that does: then no signal is sent, and threads that compute have no frames.
//!
//! # Where it may be called
//!
//! On any thread, green or OS, also while a runtime shuts down, and several at a time: one whose reader is slow keeps no other waiting. In a child of fork there are
//! none of the parent's threads to show, and a signal that the parent has asked for does nothing: neither is a dump written, nor does the signal end the child. One
//! that was forked while a dump of the parent's was at the list of libraries for more than half a second shows no stacks. Not in a signal
//! handler: for that there is [`on_signal`].
#![forbid(unsafe_code)]

mod json;
mod signal;
pub(crate) mod stacks;
mod text;

use std::fmt;
use std::io;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

pub use self::json::json;
pub(crate) use self::signal::from_env;
pub use self::signal::on_signal;
pub use self::text::text;

use crate::dump::stacks::Stacks;
pub use crate::park::waits_on::{HeldBy, WaitsOn};
use crate::sched::Shared;
use crate::sched::listing::{Doing, ThreadRecord, list};
pub use crate::sched::runtime_name::RuntimeName;
use crate::sys::clock::real_ns;
use crate::task::id::ThreadId;

/// What a thread did when it was met.
///
/// ```
/// assert_eq!(green::dump::ThreadStatus::Waiting("mutex").to_string(), "waits: mutex");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum ThreadStatus {
    /// It has not started: it has no stack yet. (One with thread-locals of its own that starts on its worker and nowhere else may be shown as ready.)
    Unstarted,
    /// It waits for its turn. (Or lets another run on top of itself: a thread that it joins, an actor that it asks.)
    Ready,
    /// It runs, on the worker of its runtime with this number.
    Running(usize),
    /// It waits for this, as [`Thread::waits_for`](crate::thread::Thread::waits_for) calls it.
    Waiting(&'static str),
}

impl fmt::Display for ThreadStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unstarted => f.write_str("unstarted"),
            Self::Ready => f.write_str("ready"),
            Self::Running(worker) => write!(f, "runs on worker {worker}"),
            Self::Waiting(reason) => write!(f, "waits: {reason}"),
        }
    }
}

/// One green thread, as it was when it was met.
///
/// ```standalone_crate
/// green::run(|| {
///     green::dump::for_each(|thread| {
///         let name = thread.name().unwrap_or("nameless");
///         println!("{:?} {name}, of {}: {}", thread.id(), thread.spawned_at(), thread.status());
///         Ok(())
///     })
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ThreadInfo {
    id: ThreadId,
    name: Option<Box<str>>,
    runtime: RuntimeName,
    status: ThreadStatus,
    spawned_at: &'static Location<'static>,
    waits_on: Option<WaitsOn>,
    waited: Option<Duration>,
    time_left: Option<Duration>,
    frames: Arc<[usize]>,
}

impl ThreadInfo {
    fn new(record: ThreadRecord, runtime: &RuntimeName, stacks: &mut Stacks) -> Self {
        let status = match record.doing {
            Doing::Unstarted => ThreadStatus::Unstarted,
            Doing::Ready => ThreadStatus::Ready,
            Doing::Runs(worker) => ThreadStatus::Running(worker),
            Doing::Waits(reason) => ThreadStatus::Waiting(reason),
        };
        let frames = stacks.frames(record.stack.as_ref());
        let left_ns = |deadline_ns: u64| deadline_ns.saturating_sub(real_ns());
        Self {
            id: record.id,
            name: record.name,
            runtime: runtime.clone(),
            status,
            spawned_at: record.spawned_at,
            waits_on: record.waits_on,
            waited: record.waited_ns.map(Duration::from_nanos),
            time_left: record.deadline_ns.map(left_ns).map(Duration::from_nanos),
            frames,
        }
    }

    /// Returns the thread's number.
    #[must_use]
    pub fn id(&self) -> ThreadId {
        self.id
    }

    /// Returns the thread's name, if it has one; of an actor that of its builder or supervisor.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns the runtime that it is of.
    ///
    /// ```standalone_crate
    /// green::dump::for_each(|thread| {
    ///     println!("{:?} of {}: {}", thread.id(), thread.runtime(), thread.status());
    ///     Ok(())
    /// })?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn runtime(&self) -> &RuntimeName {
        &self.runtime
    }

    /// Returns what it did.
    #[must_use]
    pub fn status(&self) -> ThreadStatus {
        self.status
    }

    /// Returns the call that spawned the thread, or started the actor.
    #[must_use]
    pub fn spawned_at(&self) -> &'static Location<'static> {
        self.spawned_at
    }

    /// Returns for what it waits, and whose that is; `None`, if it does not wait, or for nothing of that kind: for a sleep, in `park`.
    #[must_use]
    pub fn waits_on(&self) -> Option<&WaitsOn> {
        self.waits_on.as_ref()
    }

    /// Returns how long it has waited, at least. The time is taken when its worker comes round to look at all its threads, which it does once a second
    /// (of a million threads it takes 40 s). On a worker that is stuck in one turn it is what the monitor of [stalls](crate::stall) has seen: for how long that worker has been stuck, as nothing
    /// that lives there can have begun to wait since. So it is `None` for a wait that has just begun, and, where no stall is reported (a limit of 0), on a worker that is stuck. It costs a thread
    /// nothing.
    #[must_use]
    pub fn waited(&self) -> Option<Duration> {
        self.waited
    }

    /// Returns how long it waits at most: until the end of its call's time, or of an enclosing [`timeout`](crate::timeout). `None`, if there is
    /// no end, or if it goes by virtual time.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.time_left
    }

    /// Returns where it waits, is ready, or runs: addresses within the calls on its stack, innermost first, at most 128. Threads with equal stacks share
    /// them. None, if it is not known: of one that is ready, if its worker has gone on to another thread while it was looked at.
    #[must_use]
    pub fn frames(&self) -> &[usize] {
        &self.frames
    }
}

/// Calls `f` with every green thread of the process, as they are met. `f` may wait, and may spawn.
///
/// ```standalone_crate
/// use green::dump::ThreadStatus;
/// green::run(|| {
///     let mut running = Vec::new();
///     green::dump::for_each(|thread| {
///         if let ThreadStatus::Running(_) = thread.status() {
///             running.push(thread.id());
///         }
///         Ok(())
///     })?;
///     assert!(running.contains(&green::thread::current().id()));
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// Those of `f`, which end it. `Unsupported`: the system has no membarrier(2), which Linux has since
/// 4.14.
///
/// Where there are no two descriptors left, and the system refuses process_vm_readv(2) as well (as elsewhere than on Linux), it is no error: then of no thread it is known what it
/// [waits on](ThreadInfo::waits_on) and [until when](ThreadInfo::time_left).
pub fn for_each(mut f: impl FnMut(&ThreadInfo) -> io::Result<()>) -> io::Result<()> {
    let mut stacks = Stacks::new();
    for runtime in Shared::all() {
        list(&runtime, |record| f(&ThreadInfo::new(record, &runtime.name, &mut stacks)))?;
    }
    Ok(())
}
