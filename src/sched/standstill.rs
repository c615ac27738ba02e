//! Notices that nothing can go on: all threads of the process wait, and nothing is left that could wake one of them. In debug builds, and others that are told to
//! (as `park::deadlock`).
//!
//! # What it looks at
//!
//! The [`monitor`](super::monitor) looks, when no worker has been busy for a while and it would sleep until one is. All of this has to be seen:
//!
//! * each worker of each runtime sleeps, also as the system sees it, with nothing in its inbox and no timer in its wheel;
//! * each green thread waits, for something that only another thread of the process does ([`BY_THREADS`]): so not for a descriptor, a signal, a blocking call, a
//!   future, a word of memory; and none is queued, ready or runs;
//! * each OS thread of the process ([`os_threads`]) is such a worker, or one of the crate's that wakes nobody by itself, or waits in a call of this crate's as a green thread
//!   does, without a deadline. Any other may have a handle, a channel's end, a waker: then nothing is said. So nothing is said either of a program whose main
//!   thread waits by std's means, or that uses a library with OS threads of its own;
//! * no timer of an actor is pending; no async code waits for a descriptor, as an executor on a thread that waits here by a channel may own it; no signal has a handler of the program's.
//!
//! # Protocol
//!
//! ```text
//!  the monitor                                    a thread T of the process, green or OS
//!  Q1  looks at all of it, and notes of each      T1  begins a wait: its word := WAITING, epoch e; an OS thread enters the table
//!      worker the number of its sleep, of each    T2  …
//!      thread that of its wait                    T3  another thread ends the wait: the word := NOTIFIED
//!  Q2  sleeps, for a second at least
//!  Q3  looks again: the same sleeps, the same
//!      waits, of the same threads?  Says so
//! ```
//!
//! **What is said is true.** Each wait was found on in Q1 and in Q3 by a word that never has the same epoch again, each worker's sleep by a mark that stands between two looks at
//! the number of the sleep. So at the end of Q1 all those threads were in these waits, and all workers in these sleeps, at one moment. Were another thread there at that moment, Q1 would
//! have met it, for OS threads are counted last: one that was made later was made by a thread that ran later, and none of these did; a green thread that Q1 has
//! missed, as it was on its way from one queue to the next, was in the hands of a worker or an OS thread that ran, and none did: the lookout, which is marked as asleep while it looks round,
//! runs as the system sees it. So at that moment
//! no thread of the process ran or was about to, and nothing of it could make one. What comes from outside is excluded by its kind: events come to those who wait for descriptors, time
//! to those in a wheel, signals to handlers.
//!
//! **What is left out**: another process that shares memory and reaches into this one; a debugger.
//!
//! It is said once in a process. Between two looks the monitor sleeps twice as long each time, up to half a minute: an OS thread that may wake somebody may end.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::sync::Arc;

use crate::driver::slot;
use crate::park::os_threads::{WaitingOsThread, all_wait};
use crate::sched::Shared;
use crate::sched::listing::{Doing, ThreadRecord, list};
use crate::sched::remote::Remote;
use crate::sys::clock::{NEVER, real_ns};
use crate::sys::system_thread::OsActivity;
use crate::sys::{ask, membarrier, signals};
use crate::task::header::{NAMES, Reason};
use crate::task::id::ThreadId;
use crate::task::wait::WaitLook;

/// From a look to the next one.
const PAUSE_NS: u64 = 1_000_000_000;
const LONGEST_PAUSE_NS: u64 = 32_000_000_000;

/// These waits end when another thread does something, and else never.
const BY_THREADS: &[Reason] = &[
    Reason::Park,
    Reason::Join,
    Reason::Scope,
    Reason::Send,
    Reason::Receive,
    Reason::Select,
    Reason::Mutex,
    Reason::RwLock,
    Reason::Condvar,
    Reason::Semaphore,
    Reason::Once,
    Reason::Barrier,
    Reason::WaitGroup,
    Reason::Ask,
    Reason::Capacity,
    Reason::End,
    Reason::Worker,
];

/// What is said.
#[derive(Debug)]
pub(crate) struct StandstillRecord {
    pub(crate) green_threads: usize,
    pub(crate) os_threads: Vec<WaitingOsThread>,
}

/// What was seen at one look.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Stillness {
    sleeps: WorkerSleeps,
    green_threads: usize,
    /// Made of the numbers of all green threads, and of their waits.
    waits: u64,
    os_threads: Vec<WaitingOsThread>,
}

/// What the monitor remembers from one look to the next.
#[derive(Debug)]
pub(super) struct Standstill {
    seen: Option<Stillness>,
    pause_ns: u64,
    is_said: bool,
}

impl Standstill {
    pub(super) const fn new() -> Self {
        Self { seen: None, pause_ns: PAUSE_NS, is_said: !cfg!(any(debug_assertions, green_deadlocks)) }
    }

    /// Something goes on.
    pub(super) fn forget(&mut self) {
        (self.seen, self.pause_ns) = (None, PAUSE_NS);
    }

    /// Steps Q1 and Q3. Until when the monitor sleeps then.
    pub(super) fn look(&mut self, say: impl FnOnce(StandstillRecord)) -> u64 {
        self.look_at(|| Stillness::of(&ThisProcess(Shared::all())), real_ns(), say)
    }

    pub(super) fn look_at(
        &mut self,
        look: impl FnOnce() -> Option<Stillness>,
        now_ns: u64,
        say: impl FnOnce(StandstillRecord),
    ) -> u64 {
        if self.is_said {
            return NEVER;
        }
        let now = look();
        if let Some(now) = &now
            && self.seen.as_ref() == Some(now)
        {
            self.is_said = true;
            say(StandstillRecord { green_threads: now.green_threads, os_threads: now.os_threads.clone() });
            return NEVER;
        }
        self.seen = now;
        let pause_ns = self.pause_ns;
        self.pause_ns = (pause_ns * 2).min(LONGEST_PAUSE_NS);
        now_ns + pause_ns
    }
}

/// A process, as it can be seen from outside of its threads. (A trait for the tests.)
pub(super) trait ProcessView {
    /// May something wake a thread that is no thread of the process?
    fn is_reached_from_outside(&self) -> bool;

    /// The OS threads of all workers, and the numbers of the sleeps that these are in. `None`: one of them may be up, or has a timer.
    fn sleeps(&self) -> Option<WorkerSleeps>;

    /// As [`all_wait`].
    fn os_threads(&self, is_worker: &dyn Fn(i32) -> bool) -> Option<Vec<WaitingOsThread>>;

    /// Calls `each` with what each green thread does. `None`: `each` has given that.
    fn green_threads(&self, each: &mut dyn FnMut(GreenWait) -> Option<()>) -> Option<()>;
}

/// Each worker's OS thread, by its number, and the number of its sleep.
pub(super) type WorkerSleeps = Vec<(i32, u64)>;

/// What a green thread does, and the wait that it is in.
#[derive(Clone, Copy, Debug)]
pub(super) struct GreenWait {
    pub(super) id: ThreadId,
    pub(super) doing: Doing,
    pub(super) wait: WaitLook,
}

struct ThisProcess(Vec<Arc<Shared>>);

impl ProcessView for ThisProcess {
    fn is_reached_from_outside(&self) -> bool {
        ask::has_foreign_handler() || signals::has_foreign_handlers() || slot::has_wakers()
    }

    fn sleeps(&self) -> Option<WorkerSleeps> {
        Some(self.0.iter().map(|runtime| runtime.sleeps()).collect::<Option<Vec<_>>>()?.concat())
    }

    fn os_threads(&self, is_worker: &dyn Fn(i32) -> bool) -> Option<Vec<WaitingOsThread>> {
        all_wait(is_worker)
    }

    fn green_threads(&self, each: &mut dyn FnMut(GreenWait) -> Option<()>) -> Option<()> {
        for runtime in &self.0 {
            let each = |ThreadRecord { id, doing, wait, .. }| {
                each(GreenWait { id, doing, wait }).ok_or(io::ErrorKind::WouldBlock.into())
            };
            list(runtime, each).ok()?;
        }
        membarrier::heavy().ok()
    }
}

impl Stillness {
    /// `None`: something may go on.
    pub(super) fn of(process: &impl ProcessView) -> Option<Self> {
        if process.is_reached_from_outside() {
            return None;
        }
        let sleeps = process.sleeps()?;
        let is_worker = |number| sleeps.iter().any(|(worker, _)| *worker == number);
        // What costs much comes when all else holds.
        process.os_threads(&is_worker)?;
        let (mut green_threads, mut waits) = (0, 0_u64);
        process.green_threads(&mut |thread| {
            green_threads += 1;
            waits = waits.wrapping_add(wait_number(thread)?);
            Some(())
        })?;
        let mut os_threads = process.os_threads(&is_worker)?;
        let by_threads = |thread: &WaitingOsThread| is_by_threads(thread.reason);
        let is_still = process.sleeps()? == sleeps && os_threads.iter().all(by_threads);
        // A program that waits for nothing has ended, or was asked to do nothing.
        (is_still && green_threads + os_threads.len() > 0).then(|| {
            os_threads.sort_by_key(|thread| thread.id);
            Self { sleeps, green_threads, waits, os_threads }
        })
    }
}

fn is_by_threads(reason: &str) -> bool {
    BY_THREADS.iter().any(|known| NAMES[*known as usize] == Some(reason))
}

/// A number for the wait that the thread is in. `None`: it is in none, or its end may come from elsewhere.
fn wait_number(thread: GreenWait) -> Option<u64> {
    let Doing::Waits(reason) = thread.doing else { return None };
    let mut hasher = DefaultHasher::new();
    (thread.id, thread.wait.epoch()).hash(&mut hasher);
    is_by_threads(reason).then(|| hasher.finish())
}

/// What is seen of one worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct WorkerSight {
    /// Its OS thread.
    pub(super) number: i32,
    pub(super) activity: OsActivity,
    /// The doorbell says that the worker sleeps, and nothing has been left in its inbox.
    pub(super) is_marked: bool,
    pub(super) has_no_timer: bool,
}

impl WorkerSight {
    /// Does it sleep until another thread wakes it? One that the system keeps from running is about to run; of one that is nowhere known, nothing is known.
    fn sleeps(&self) -> bool {
        self.is_marked && self.has_no_timer && matches!(self.activity, OsActivity::InCall(_))
    }
}

/// As [`ProcessView::sleeps`]: of workers of which `sight` says where one stands, `None` if it has not begun or has ended, and `sleep` the number of its sleep.
pub(super) fn all_sleep<W>(
    workers: &[W],
    sight: impl Fn(&W) -> Option<WorkerSight>,
    sleep: impl Fn(&W) -> u64,
    fence: impl Fn() -> Option<()>,
) -> Option<WorkerSleeps> {
    let numbers = || workers.iter().map(&sleep).collect::<Vec<_>>();
    let before = numbers();
    fence()?;
    let mut threads = Vec::with_capacity(workers.len());
    for worker in workers {
        // One that has not begun, or has ended: its OS thread is gone, or passes for any other.
        let Some(sight) = sight(worker) else { continue };
        if !sight.sleeps() {
            return None;
        }
        threads.push((sight.number, sleep(worker)));
    }
    fence()?;
    (numbers() == before).then_some(threads)
}

impl Shared {
    fn sleeps(&self) -> Option<WorkerSleeps> {
        let sight = |remote: &&'static Remote| {
            let watched = remote.watched.lock();
            let watched = watched.as_ref()?;
            Some(WorkerSight {
                number: watched.os.number(),
                activity: watched.os.activity(),
                is_marked: remote.doorbell.is_marked(),
                has_no_timer: watched.has_no_timer(),
            })
        };
        let workers: Vec<_> = self.every_remote().collect();
        all_sleep(&workers, sight, |remote| remote.counters.sleeps.get(), || membarrier::heavy().ok())
    }
}
