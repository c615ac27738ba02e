//! Reports workers that do not come round while something waits for them: which thread keeps them, for how long, where, and what it does.
//!
//! Green threads take turns: a thread that computes for long without a blocking call, or blocks its OS thread in a call that is not this crate's,
//! keeps its worker from every other thread there. A *stall* is one turn that takes so long as
//! [`stall_limit`](crate::RuntimeBuilder::stall_limit) or, for the default runtime, the variable `GREEN_STALL_LIMIT` says (20 ms by default; 0: none is
//! reported) while a thread that is ready, has been woken or has not started, a timer or an event that a thread waits for waits for that worker. Each is reported once: on standard error, at most once in ten seconds, or to a hook of the program's. (On standard error
//! not those in which the worker got no processor: these tell of the machine.)
//!
//! ```text
//! green: worker 1 of runtime 0 stalled for 26 ms: thread 5 "parse" (spawned at src/main.rs:12:9) computes
//! green: worker 1 of runtime 0 stands in shop::tokenize < shop::parse < shop::main::{{closure}}
//! ```
//!
//! What helps: [`blocking`](crate::blocking()) for calls that block, [`yield_now`](crate::yield_now) in loops that compute. [`Stall::cause`] tells which of them.
//!
//! ```
//! use std::sync::mpsc;
//! use std::time::Duration;
//!
//! let (sender, stalls) = mpsc::channel();
//! green::stall::set_hook(move |stall| _ = sender.send(stall.to_string()));
//! let runtime = green::Runtime::builder().workers(1).stall_limit(Duration::from_millis(20)).build()?;
//! let blocks = runtime.spawn(|| std::thread::sleep(Duration::from_millis(500)));
//! let waits = runtime.spawn(|| ());
//! # let _ = (blocks.join(), waits.join());
//! for stall in stalls.try_iter() {
//!     assert!(stall.starts_with("worker 0 of runtime 0 stalled for "));
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Spare workers
//!
//! When all workers of a runtime have been stalled for ten limits, and there are threads that have not started, a spare worker starts them
//! ([`spare_workers`](crate::RuntimeBuilder::spare_workers)). Threads that have started go on where they are. A spare worker is watched as the others are; its number comes
//! after theirs. The destructors of its OS thread's thread-locals have run when the runtime's drop returns, as with any.
//!
//! # When nothing can go on
//!
//! In debug builds, and in release builds that are made with `GREEN_DEADLOCKS=1` in the environment, the monitor also looks, when no worker has had anything to do for a
//! second, and then less and less often, whether all threads wait for one another: each green thread, and each OS thread of the program, in a call of this crate's that only another
//! thread's doing ends, and there is no timer, no descriptor, signal or future that somebody waits for, no blocking call, no timer of an actor, no handler of the program's for a signal.
//! Then it says so on standard error, once, with a [`dump`](crate::dump), also where there is a hook. The program goes on to wait: it is ended by a person.
//!
//! ```text
//! green: deadlock: all threads wait for one another, 2 green and 1 other, and nothing else can wake one
//! OS thread 1026 "main", waits: scope
//! green threads: 2
//! …
//! ```
//!
//! Nothing is said when there is a doubt: one OS thread that runs, sleeps or waits by other means than this crate's is enough (a logger's, tokio's; `main` in std's `join`). Linux only; not in a program none of
//! whose runtimes has a limit for stalls. Cycles of locks, joins, scopes and asks among threads others of which go on are found at once: [`sync`](crate::sync).
//!
//! # What it costs
//!
//! One OS thread, `green-monitor`, that looks at all workers three times in the limit, some microseconds each time, while any of them is busy; more and more
//! seldom, down to once a second, while all that are busy stay in the turns in which they are; with nothing to do it sleeps until a worker has something. A turn costs
//! nothing more. From the first stall on, another one, `green-stalls`, which reports them.
//!
//! A worker whose stall is reported is interrupted once by a signal, SIGURG, so that one sees where it stands; not if it waits in a system call, which a signal might end
//! with EINTR (one that enters a call right then may see that: [which calls](crate::dump#calls-that-a-signal-interrupts)). If the program has a handler for SIGURG, that stays, and stalls of threads that compute have no frames. If it has none when a worker
//! begins, that unblocks the signal, in case the program has blocked all of them before; a thread that blocks it again has no frames. So a program that takes SIGURG
//! by signalfd(2) or sigwait(3) loses it: it goes to a worker, where nothing comes of it. Such a program keeps it by a handler of its own that it has before its first runtime, whatever that does. See [`dump`](crate::dump).
//!
//! # What it does not say
//!
//! A turn counts from when the monitor first sees it, so up to a third of the limit less. Time in which the process is stopped, or the monitor itself
//! gets no processor, does not count. A stall that begins right after another turn of many limits may be seen later by an eighth of that. What a thread calls on top of itself (it joins an unstarted thread, asks a resting actor) is a turn of its
//! own. In a child of fork the parent's runtimes are not watched; one that the child makes is.
//!
//! What the thread does is read in `/proc`, which only Linux has; elsewhere the cause is [`Unknown`](StallCause::Unknown). Frames need what a [`dump`](crate::dump)
//! needs; those of a thread in a system call may end early.
#![forbid(unsafe_code)]

mod line;
mod report;
mod reporter;
mod standstill;

pub use self::report::{Stall, StallCause};
pub use crate::sched::runtime_name::RuntimeName;

use crate::base::latest::Latest;
use crate::base::lock::Lock;
use crate::recorder;
use crate::sched::monitor::{self, Reports, StallRecord, StalledBy};
use crate::stall::line::StallLine;
use crate::sys::fork::PerProcess;

type StallHook = Box<dyn Fn(&Stall) + Send + Sync>;

static HOOK: Latest<StallHook> = Latest::none();
static LINE: PerProcess<Lock<StallLine>> = PerProcess::new(|| Lock::new(StallLine::new()));

/// From now on `hook` is called with each stall of any runtime of the process, in place of the lines on standard error.
///
/// It is called by an OS thread of its own, `green-stalls`, with every signal blocked: what it does there, or waits for, delays the reports of further stalls, of which 64 are kept and
/// more are left out ([`metrics`](crate::metrics()) count them), and nothing else. A panic in it is caught. A hook that another one replaces is not dropped: it may be running.
///
/// ```
/// green::stall::set_hook(|stall| eprintln!("{stall}"));
/// ```
pub fn set_hook(hook: impl Fn(&Stall) + Send + Sync + 'static) {
    HOOK.set(Box::new(hook));
}

/// Stalls are reported from now on.
pub(crate) fn watch() {
    monitor::start(Reports { stall: report, standstill: standstill::report });
}

/// By the monitor.
fn report(record: StallRecord) {
    // A trace tells nothing of a machine that has too much to do.
    if record.does != StalledBy::NoProcessor {
        recorder::stalled();
    }
    reporter::report_apart(record, tell);
}

fn tell(record: StallRecord) {
    let stall = Stall::new(record);
    match HOOK.get() {
        Some(hook) => hook(&stall),
        None if stall.cause() == StallCause::NoProcessor => {}
        None => LINE.get().lock().write(&stall),
    }
}
