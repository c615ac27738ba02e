//! An end that surely comes: stop, wait, kill, wait; of one actor, and of all actors of a runtime.

#![forbid(unsafe_code)]

use std::fmt;
use std::time::Duration;

use crate::actor::address::Addressed;
use crate::actor::engine::cell::Core;
use crate::actor::engine::lifecycle::{LAST_WAIT, join};
use crate::actor::engine::residents;
use crate::actor::engine::weak::Weak;
use crate::actor::{Actor, Addr, Exit};
use crate::rt::default::default_runtime;
use crate::rt::runtime::Runtime;
use crate::sched::Shared;
use crate::sys::clock::{after_ns, now_ns};

/// Says what has become of actors that were shut down, and of what was queued: what [`Addr::shutdown`] returns,
/// [`SupervisorAddr::shutdown`](crate::actor::SupervisorAddr::shutdown), [`Runtime::shutdown`] and [`shutdown`](crate::shutdown()).
///
/// ```
/// use green::actor::{Actor, Shutdown};
/// # struct Idle;
/// # impl Actor for Idle {}
/// let end: Shutdown = Idle.start().shutdown(std::time::Duration::from_secs(1));
/// assert!(end.is_clean());
/// assert_eq!(end.to_string(), "1 stopped, 0 killed, 0 left; 0 messages drained, 0 lost");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Shutdown {
    /// Actors that ended in good order.
    pub stopped: usize,
    /// Actors that had to be killed.
    pub killed: usize,
    /// Actors that have not ended: a handler that computes, or waits in a system call, goes on until it returns.
    pub left: usize,
    /// Messages that were queued when their actor was stopped, and were handled.
    pub drained: u64,
    /// Messages that were given back unhandled: an asker knows of it, a told one is a [dead letter](crate::actor::dead_letters).
    pub lost: u64,
}

impl Shutdown {
    /// Returns whether all actors ended in good order, and no message was lost.
    ///
    /// ```
    /// assert!(green::actor::Shutdown::default().is_clean());
    /// ```
    #[must_use]
    pub fn is_clean(&self) -> bool {
        (self.killed, self.left, self.lost) == (0, 0, 0)
    }

    pub(super) fn add(&mut self, other: Shutdown) {
        self.stopped += other.stopped;
        self.killed += other.killed;
        self.left += other.left;
        self.drained += other.drained;
        self.lost += other.lost;
    }

    /// Counts one actor; `exit`: of one that has ended.
    pub(super) fn count(&mut self, actor: &Core, exit: Option<&Exit>) {
        *(match exit {
            None => &mut self.left,
            Some(Exit::Killed) => &mut self.killed,
            Some(_) => &mut self.stopped,
        }) += 1;
        let (drained, lost) = actor.settled();
        self.drained += drained;
        self.lost += lost;
    }
}

impl fmt::Display for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stopped, killed, left, drained, lost } = self;
        write!(f, "{stopped} stopped, {killed} killed, {left} left; {drained} messages drained, {lost} lost")
    }
}

impl<A: Actor> Addr<A> {
    /// Stops the actor and waits for its end; kills it if that has not come within `deadline`, and waits again, for five
    /// seconds at most.
    ///
    /// What is queued is handled, until the deadline. A handler that computes cannot be killed: then the answer says that one is `left`.
    /// A [supervised](crate::actor::Supervisor) actor may be started again by its supervisor; it is ended by
    /// [`SupervisorAddr::terminate`](crate::actor::SupervisorAddr::terminate). A cancellation point.
    ///
    /// ```
    #[doc = include_str!("docs/counter.md")]
    /// let counter = Counter(0).start();
    /// counter.tell(Add(1)).unwrap();
    /// let end = counter.shutdown(Duration::from_secs(1));
    /// assert_eq!((end.stopped, end.lost), (1, 0));
    /// assert_eq!(counter.join(), Exit::Shutdown);
    /// ```
    pub fn shutdown(&self, deadline: Duration) -> Shutdown {
        let core = self.core();
        core.stop(Exit::Shutdown, deadline);
        let exit = join(core, after_ns(deadline)).or_else(|_| {
            core.kill();
            join(core, after_ns(LAST_WAIT))
        });
        let mut end = Shutdown::default();
        end.count(core, exit.ok().as_ref());
        end
    }
}

impl Runtime {
    /// Ends the runtime in good order: stops its actors and waits for them, kills those that have not ended within
    /// `deadline`, and then does what its drop does: cancels its threads, and waits for them.
    ///
    /// A supervisor stops its own children, in its order. Actors that are started meanwhile are stopped, too. The answer counts actors
    /// and their messages, not threads. Called by one of the runtime's own actors, it does not wait for that one. A cancellation
    /// point.
    ///
    /// ```
    #[doc = include_str!("docs/counter.md")]
    /// let runtime = green::Runtime::new().unwrap();
    /// let counter = Builder::new().runtime(&runtime).start(Counter(0)).unwrap();
    /// counter.tell(Add(1)).unwrap();
    /// let end = runtime.shutdown(Duration::from_secs(5));
    /// assert_eq!((end.stopped, end.lost), (1, 0));
    /// ```
    pub fn shutdown(self, deadline: Duration) -> Shutdown {
        end_actors(&self.shared, deadline)
    }
}

/// Ends the actors of the default runtime in good order, as the last thing that a program does: stops them and waits, and
/// kills those that have not ended within `deadline`.
///
/// As [`Runtime::shutdown`], but the threads go on, and what is spawned or started later runs: the default runtime ends with the process.
/// Without this call what is still queued when `main` returns is gone with the process; a line on standard error says how much it was.
///
/// ```standalone_crate
/// use green::actor::{Actor, Context, Handler, Message};
/// use std::time::Duration;
///
/// struct Log;
/// impl Actor for Log {}
/// struct Line(&'static str);
/// impl Message for Line { type Reply = (); }
/// impl Handler<Line> for Log {
///     fn handle(&mut self, Line(text): Line, _: &mut Context<Self>) { println!("{text}") }
/// }
///
/// let log = Log.start();
/// log.tell(Line("the last words")).unwrap();
/// let end = green::shutdown(Duration::from_secs(10));
/// assert!(end.is_clean(), "{end}");
/// ```
///
/// # Panics
///
/// If the default runtime has not started yet, and cannot.
pub fn shutdown(deadline: Duration) -> Shutdown {
    let runtime = default_runtime().unwrap_or_else(|error| panic!("failed to start the default runtime: {error}"));
    end_actors(&runtime.shared, deadline)
}

/// All that have not ended, but the caller.
fn others(shared: &Shared) -> Vec<Weak> {
    let me = Core::current().map(Core::id);
    let mut others = residents::all(shared);
    others.retain(|actor| Some(actor.core().id()) != me);
    others
}

fn end_actors(shared: &Shared, deadline: Duration) -> Shutdown {
    let mut end = Shutdown::default();
    let by_ns = after_ns(deadline);
    // Those that are started meanwhile are found by another look.
    loop {
        let actors = others(shared);
        if actors.is_empty() || now_ns() >= by_ns {
            break;
        }
        let left = Duration::from_nanos(by_ns.saturating_sub(now_ns()));
        // Their supervisors stop the others.
        let roots = actors.iter().filter(|actor| !actor.core().mailbox.lock().is_kept());
        roots.for_each(|actor| actor.core().stop(Exit::Shutdown, left));
        for actor in actors {
            match join(actor.core(), by_ns) {
                Ok(exit) => end.count(actor.core(), Some(&exit)),
                Err(_) => break,
            }
        }
    }
    let actors = others(shared);
    actors.iter().for_each(|actor| actor.core().kill());
    let last_ns = after_ns(LAST_WAIT);
    for actor in actors {
        end.count(actor.core(), join(actor.core(), last_ns).ok().as_ref());
    }
    end
}
