//! One report of a stall.
#![forbid(unsafe_code)]

use std::fmt;
use std::panic::Location;
use std::time::Duration;

use crate::park::fork::hold_for_lists;
use crate::sched::glance::ThreadIdentity;
use crate::sched::monitor::{StallRecord, StalledBy};
use crate::sched::runtime_name::RuntimeName;
use crate::sys::stack_walk::Walker;
use crate::sys::system_thread::call_name;
use crate::task::id::ThreadId;

/// What keeps a worker from coming round.
///
/// ```
/// use green::stall::StallCause;
/// assert_eq!(StallCause::SystemCall { number: 0, name: Some("read") }.to_string(), "is in the system call read");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum StallCause {
    /// The thread computes.
    Computes,
    /// It waits in a system call.
    SystemCall {
        /// The call's number on this architecture.
        number: i64,
        /// Its name, of those in which threads often wait.
        name: Option<&'static str>,
    },
    /// It waits in futex(2): for a lock, a condition or another thread by std's means, or those of another library.
    Lock,
    /// It could run, and gets no processor: there are more threads that run than processors, or a quota is used up.
    NoProcessor,
    /// The system does not say.
    Unknown,
}

impl fmt::Display for StallCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Computes => f.write_str("computes"),
            Self::SystemCall { name: Some(name), .. } => write!(f, "is in the system call {name}"),
            Self::SystemCall { number, name: None } => write!(f, "is in the system call number {number}"),
            Self::Lock => f.write_str("waits for a lock of std's (futex)"),
            Self::NoProcessor => f.write_str("gets no processor"),
            Self::Unknown => f.write_str("does not come round"),
        }
    }
}

/// One stall, as it was noticed. As text it is a line, without the names of functions.
///
/// ```
/// green::stall::set_hook(|stall| {
///     if stall.duration().as_millis() >= 100 {
///         eprintln!("{stall}");
///     }
/// });
/// ```
#[derive(Clone, Debug)]
pub struct Stall {
    pub(super) runtime: RuntimeName,
    pub(super) worker: usize,
    pub(super) duration: Duration,
    pub(super) cause: StallCause,
    pub(super) thread: Option<ThreadIdentity>,
    pub(super) frames: Vec<usize>,
}

impl Stall {
    pub(super) fn new(record: StallRecord) -> Self {
        let StallRecord { runtime, worker, for_ns, does, thread, stack } = record;
        let cause = match does {
            StalledBy::Computing => StallCause::Computes,
            StalledBy::Call(number) => StallCause::SystemCall { number, name: call_name(number) },
            StalledBy::Lock => StallCause::Lock,
            StalledBy::NoProcessor => StallCause::NoProcessor,
            StalledBy::Unknown => StallCause::Unknown,
        };
        let mut frames = Vec::new();
        if let Some((stack, mut walker)) = stack.zip(hold_for_lists().map(|_held| Walker::new())) {
            walker.walk(&stack, &mut frames, hold_for_lists);
        }
        Self { runtime, worker, duration: Duration::from_nanos(for_ns), cause, thread, frames }
    }

    /// Returns the worker's number in its runtime.
    ///
    /// ```
    /// green::stall::set_hook(|stall| eprintln!("worker {}", stall.worker()));
    /// ```
    #[must_use]
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// Returns the runtime that the worker is of.
    ///
    /// ```
    /// green::stall::set_hook(|stall| eprintln!("worker {} of {}", stall.worker(), stall.runtime()));
    /// ```
    #[must_use]
    pub fn runtime(&self) -> &RuntimeName {
        &self.runtime
    }

    /// Returns how long the turn had lasted when it was reported, since it was first seen.
    ///
    /// ```
    /// green::stall::set_hook(|stall| eprintln!("{:?}", stall.duration()));
    /// ```
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// Returns what the thread does.
    ///
    /// ```
    /// green::stall::set_hook(|stall| eprintln!("it {}", stall.cause()));
    /// ```
    #[must_use]
    pub fn cause(&self) -> StallCause {
        self.cause
    }

    /// Returns the number of the thread that runs there. `None`: it could not be read, as while a dump is made, or without membarrier(2).
    ///
    /// ```
    /// green::stall::set_hook(|stall| eprintln!("{:?}", stall.thread_id()));
    /// ```
    #[must_use]
    pub fn thread_id(&self) -> Option<ThreadId> {
        self.thread.as_ref().map(|thread| thread.id)
    }

    /// Returns its name, if it has one: the first 64 bytes.
    ///
    /// ```
    /// green::stall::set_hook(|stall| eprintln!("{}", stall.thread_name().unwrap_or("nameless")));
    /// ```
    #[must_use]
    pub fn thread_name(&self) -> Option<&str> {
        self.thread.as_ref()?.name.as_deref()
    }

    /// Returns the call that spawned the thread, or started the actor.
    ///
    /// ```
    /// green::stall::set_hook(|stall| eprintln!("{:?}", stall.spawned_at()));
    /// ```
    #[must_use]
    pub fn spawned_at(&self) -> Option<&'static Location<'static>> {
        self.thread.as_ref().map(|thread| thread.spawned_at)
    }

    /// Returns where it stands: addresses within the calls on its stack, innermost first, at most 128. None, if that is not known.
    ///
    /// ```
    /// green::stall::set_hook(|stall| eprintln!("{:x?}", stall.frames()));
    /// ```
    #[must_use]
    pub fn frames(&self) -> &[usize] {
        &self.frames
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} of {} stalled for {} ms: ", self.worker, self.runtime, self.duration.as_millis())?;
        match &self.thread {
            Some(ThreadIdentity { id, name: Some(name), spawned_at }) => {
                write!(f, "thread {} {name:?} (spawned at {spawned_at}) {}", id.number(), self.cause)
            }
            Some(ThreadIdentity { id, name: None, spawned_at }) => {
                write!(f, "thread {} (spawned at {spawned_at}) {}", id.number(), self.cause)
            }
            None => write!(f, "its thread {}", self.cause),
        }
    }
}
