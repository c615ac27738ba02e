//! Reports workers that do not come round while something waits for them: which thread keeps them, for how long, where, and what it does. Off by default.
//!
//! Green threads take turns: a thread that computes for long without a blocking call, or blocks its OS thread in a call that is not this crate's,
//! keeps its worker from every other thread there. A *stall* is one turn that takes so long as
//! [`stall_limit`](crate::RuntimeBuilder::stall_limit) or the variable `GREEN_STALL_LIMIT` says (20 ms are a good choice) while a thread that is ready, has been woken or has not started, a timer or an
//! event waits for that worker. Each is reported once: on standard error, at most once in ten seconds, or to a hook of the program's. (On standard error
//! not those in which the worker got no processor: these tell of the machine.)
//!
//! ```text
//! green: worker 1 stalled for 26 ms: thread 5 "parse" (spawned at src/main.rs:12:9) computes
//! green: worker 1 stands in shop::tokenize < shop::parse < shop::main::{{closure}}
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
//!     assert!(stall.starts_with("worker 0 stalled for "));
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Spare workers
//!
//! When all workers of a runtime are stalled, and there are threads that have not started, a spare worker starts them
//! ([`spare_workers`](crate::RuntimeBuilder::spare_workers)). Threads that have started go on where they are. A spare worker is watched as the others are; its number comes
//! after theirs. The destructors of its OS thread's thread-locals have run when the runtime's drop returns, as with any.
//!
//! # What it costs
//!
//! One OS thread, `green-monitor`, that looks at all workers three times in the limit, some microseconds each time, while any of them is busy; with
//! nothing to do it sleeps until a worker has something. A turn costs nothing more. A worker that has reached the limit, and may be waited for, is
//! interrupted by a signal, SIGURG, at the limit and each time the turn has become twice as long: see [`dump`](crate::dump).
//!
//! # What it does not say
//!
//! A turn counts from when the monitor first sees it, so up to a third of the limit less. A process that is stopped, or whose monitor itself
//! gets no processor for longer than the limit, begins anew. What a thread calls on top of itself (it joins an unstarted thread, asks a resting actor) is a turn of its
//! own. In a child of fork the parent's runtimes are not watched; one that the child makes is.
//!
//! What the thread does is read in `/proc`, which only Linux has; elsewhere the cause is [`Unknown`](StallCause::Unknown), and the worker is not asked: so only what
//! others see counts, and the thread is not known. Frames need what a [`dump`](crate::dump) needs.
#![forbid(unsafe_code)]

mod line;
mod report;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub use self::report::{Stall, StallCause};

use crate::base::lock::Lock;
use crate::sched::monitor::{self, StallRecord};
use crate::stall::line::StallLine;

type StallHook = Arc<dyn Fn(&Stall) + Send + Sync>;

static HOOK: Lock<Option<StallHook>> = Lock::new(None);

/// From now on `hook` is called with each stall of any runtime of the process, in place of the lines on standard error.
///
/// It is called by the monitor, an OS thread with every signal blocked: what it does there delays the report of further stalls. A panic in it is
/// caught.
///
/// ```
/// green::stall::set_hook(|stall| eprintln!("{stall}"));
/// ```
pub fn set_hook(hook: impl Fn(&Stall) + Send + Sync + 'static) {
    let hook: StallHook = Arc::new(hook);
    let before = HOOK.lock().replace(hook);
    drop(before);
}

/// Stalls are reported from now on.
pub(crate) fn watch() {
    monitor::start(report);
}

fn report(record: StallRecord) {
    static LINE: Lock<StallLine> = Lock::new(StallLine::new());
    let stall = Stall::new(record);
    let hook = HOOK.lock().clone();
    match hook {
        Some(hook) => _ = catch_unwind(AssertUnwindSafe(|| hook(&stall))),
        None if stall.cause() == StallCause::NoProcessor => {}
        None => LINE.lock().write(&stall),
    }
}
