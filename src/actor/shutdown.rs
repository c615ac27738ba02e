//! An end that surely comes: stop, wait, kill, wait; of one actor, and of all actors of a runtime.

#![forbid(unsafe_code)]

use std::cmp::Reverse;
use std::fmt;
use std::io;
use std::time::Duration;

use crate::actor::engine::cell::Core;
use crate::actor::engine::ends_on_top::ends_below;
use crate::actor::engine::lifecycle::{DRAIN, LAST_WAIT, LifeEnd, join};
use crate::actor::engine::residents;
use crate::actor::engine::weak::Weak;
use crate::actor::{Exit, JoinError};
use crate::base::report::report;
use crate::rt::default::default_runtime;
use crate::rt::runtime::Runtime;
use crate::sched::Shared;
use crate::sys::clock::{NEVER, after_ns, now_ns};
use crate::sys::fork;
use crate::time::sleep;

/// So often it is looked at whether a circle of joins still stands.
const LOOKS: Duration = Duration::from_millis(10);

/// So often it is looked at whether a relay has passed on what it had.
const SETTLES: Duration = Duration::from_millis(1);

/// So often all relays are looked at.
const ROUNDS: usize = 8;

/// After the deadline relays have so long for what they have heard since.
const RELAYS_LAST_WAIT: Duration = Duration::from_secs(1);

/// Says what has become of actors that were shut down, and of what was queued: what [`Addr::shutdown`](crate::actor::Addr::shutdown) returns,
/// [`SupervisorAddr::shutdown`](crate::actor::SupervisorAddr::shutdown), [`Runtime::shutdown`] and [`shutdown`](crate::shutdown()).
///
/// ```
/// use green::actor::{Actor, Shutdown};
/// # struct Idle;
/// # impl Actor for Idle {}
/// let end: Shutdown = Idle.start().shutdown(std::time::Duration::from_secs(1));
/// assert!(end.is_clean());
/// assert_eq!(end.to_string(), "1 stopped, 0 failed, 0 killed, 0 left; 0 messages drained, 0 lost");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Shutdown {
    /// Actors that ended in good order.
    pub stopped: usize,
    /// Actors that ended by a panic or an error, as while they handled what was queued.
    pub failed: usize,
    /// Actors that had to be killed.
    pub killed: usize,
    /// Actors that have not ended: a handler that computes, or waits in a system call, goes on until it returns. And all, if they cannot be
    /// [listed](crate::actor::actors), which a line on standard error says.
    pub left: usize,
    /// Messages that were queued when their actor was stopped, and were handled.
    pub drained: u64,
    /// Messages that were given back unhandled: an asker knows of it, a told one is a [dead letter](crate::actor::dead_letters).
    pub lost: u64,
}

impl Shutdown {
    /// Returns whether no actor has failed, was killed or is left, and no message was lost.
    ///
    /// ```
    /// assert!(green::actor::Shutdown::default().is_clean());
    /// ```
    #[must_use]
    pub fn is_clean(&self) -> bool {
        (self.failed, self.killed, self.left, self.lost) == (0, 0, 0, 0)
    }

    pub(super) fn add(&mut self, other: Shutdown) {
        self.stopped += other.stopped;
        self.failed += other.failed;
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
            Some(exit) if exit.is_normal() => &mut self.stopped,
            Some(_) => &mut self.failed,
        }) += 1;
        let (drained, lost) = actor.settled();
        self.drained += drained;
        self.lost += lost;
    }
}

impl fmt::Display for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stopped, failed, killed, left, drained, lost } = self;
        write!(
            f,
            "{stopped} stopped, {failed} failed, {killed} killed, {left} left; {drained} messages drained, {lost} lost"
        )
    }
}

/// [`Addr::shutdown`](crate::actor::Addr::shutdown) of that actor.
pub(super) fn end_one(core: &Core, deadline: Duration) -> Shutdown {
    // Before the stop: a supervised actor may soon have another life.
    let life = LifeEnd::of(core);
    core.stop_life(&life, Exit::Shutdown, deadline);
    let exit = match by_then(core, after_ns(deadline), |by_ns| life.join(core, by_ns)) {
        Err(JoinError::Deadlock { .. }) => Err(JoinError::Timeout), // It is the caller, or goes on after it only.
        Err(_) => {
            core.kill_life(&life);
            by_then(core, after_ns(LAST_WAIT), |by_ns| life.join(core, by_ns))
        }
        ended => ended,
    };
    let mut end = Shutdown::default();
    end.count(core, exit.ok().as_ref());
    let parts = core.mailbox.lock().has_extras().map(|extras| extras.parts);
    let ([stopped, failed, killed, left], [drained, lost]) = parts.unwrap_or_default();
    end.add(Shutdown { stopped, failed, killed, left, drained, lost });
    end
}

/// What `join` gives until then. Where all wait for the next one's end, in a circle, one of the others may have a time-out: so that is looked at again.
/// `Deadlock`: the actor is the caller, or ends below it on its stack.
fn by_then(core: &Core, by_ns: u64, join: impl Fn(u64) -> Result<Exit, JoinError>) -> Result<Exit, JoinError> {
    // Without a deadline it is not looked for ever.
    let until_ns = if by_ns == NEVER { after_ns(DRAIN) } else { by_ns };
    loop {
        match join(by_ns) {
            Err(JoinError::Deadlock { cycle }) if cycle.len() > 1 && !ends_below(core.id()) => {
                if now_ns() >= until_ns {
                    return Err(JoinError::Timeout);
                }
                sleep(LOOKS);
            }
            ended => return ended,
        }
    }
}

impl Runtime {
    /// Ends the runtime in good order: stops its actors and waits for them, kills those that have not ended within
    /// `deadline`, and then does what its drop does: cancels its threads, and waits for them.
    ///
    /// A supervisor stops its own children, in its order. Adapters ([`Recipient::map`](crate::actor::Recipient::map) and the like) and subscriptions
    /// of topics pass on what they have first, in half of the time at most, and five seconds; they end last, so what actors say while they are
    /// stopped gets through them, where it goes to one that still takes it. Actors that are started meanwhile are stopped, too. The answer counts actors
    /// and their messages, not threads. Called by one of the runtime's own actors, it does not wait for that one; but a supervised
    /// actor is ended by its supervisor, in the midst of this call. A cancellation point.
    ///
    /// ```
    #[doc = include_str!("docs/counter.md")]
    /// let runtime = green::Runtime::new().unwrap();
    /// let counter = Builder::new().runtime(&runtime).start(Counter(0)).unwrap();
    /// counter.tell(Add(1)).unwrap();
    /// let end = runtime.shutdown(Duration::from_secs(5));
    /// assert_eq!((end.stopped, end.lost), (1, 0));
    /// ```
    ///
    /// # Panics
    ///
    /// In a child of fork, if the runtime is the parent's.
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
fn others(shared: &Shared) -> io::Result<Vec<Weak>> {
    let me = Core::current().map(Core::id);
    let mut others = residents::all(shared)?;
    others.retain(|actor| Some(actor.core().id()) != me);
    Ok(others)
}

/// Those that were waited for in vain, which may have ended since and be in no list any more, and all [`others`].
fn with_others(late: &mut Vec<Weak>, shared: &Shared) -> io::Result<Vec<Weak>> {
    let mut others = others(shared)?;
    let mut actors = std::mem::take(late);
    actors.append(&mut others);
    actors.sort_by_key(|actor| actor.core().id());
    actors.dedup_by_key(|actor| actor.core().id());
    Ok(actors)
}

/// The relays, those first whose messages go through others; and the other actors.
fn relays_and_others(actors: Vec<Weak>) -> (Vec<Weak>, Vec<Weak>) {
    let (mut relays, others): (Vec<_>, _) = actors.into_iter().partition(|actor| actor.core().distance() > 0);
    relays.sort_by_key(|relay| Reverse(relay.core().distance()));
    (relays, others)
}

/// Waits until each relay has been seen at rest: what it had is where it goes, and that still takes it. For half of the time at most, or for [`DRAIN`].
/// What one passes on may come to another by a closure, so they are looked at again.
fn settle(relays: &[Weak], by_ns: u64) {
    relays.iter().for_each(|relay| relay.core().counts_losses());
    let until_ns = after_ns(DRAIN.min(left_until(by_ns) / 2));
    for _ in 0..ROUNDS {
        let mut have_rested = true;
        for relay in relays {
            while !relay.core().rests() && now_ns() < until_ns {
                have_rested = false;
                // As a join it is told of, who waits for room there and is waited for here.
                match join(relay.core(), until_ns.min(after_ns(SETTLES))) {
                    Err(JoinError::Timeout) => {}
                    _ => break,
                }
            }
        }
        if have_rested {
            break;
        }
    }
}

/// Ends relays, those of one distance together. Those that have not ended by then are `late`.
fn end_relays(relays: Vec<Weak>, by_ns: u64, end: &mut Shutdown, late: &mut Vec<Weak>) {
    let mut relays = relays;
    while let Some(distance) = relays.first().map(|relay| relay.core().distance()) {
        let count = relays.iter().take_while(|relay| relay.core().distance() == distance).count();
        let nearer = relays.split_off(count);
        relays.iter().for_each(|relay| relay.core().stop(Exit::Shutdown, left_until(by_ns)));
        relays.drain(..).for_each(|relay| await_end(relay, by_ns, end, late));
        relays = nearer;
    }
}

fn await_end(actor: Weak, by_ns: u64, end: &mut Shutdown, late: &mut Vec<Weak>) {
    match join(actor.core(), by_ns) {
        Ok(exit) => end.count(actor.core(), Some(&exit)),
        Err(_) => late.push(actor),
    }
}

fn left_until(by_ns: u64) -> Duration {
    Duration::from_nanos(by_ns.saturating_sub(now_ns()))
}

/// Those that cannot be listed have not ended.
fn end_actors(shared: &Shared, deadline: Duration) -> Shutdown {
    assert!(!shared.is_the_parents(), "a runtime cannot be shut down: {}", fork::MESSAGE);
    let mut end = Shutdown::default();
    if let Err(error) = end_listed(shared, deadline, &mut end) {
        report(format_args!("the actors of a runtime cannot be listed, and so not ended in good order: {error}"));
        end.left += shared.rostered_count();
    }
    end
}

fn end_listed(shared: &Shared, deadline: Duration, end: &mut Shutdown) -> io::Result<()> {
    let by_ns = after_ns(deadline);
    // Those that are started meanwhile are found by another look.
    let mut late = Vec::new();
    while now_ns() < by_ns {
        let actors = with_others(&mut late, shared)?;
        let before = *end;
        let (relays, others) = relays_and_others(actors);
        settle(&relays, by_ns);
        // Their supervisors stop the others.
        let roots = others.iter().filter(|actor| !actor.core().mailbox.lock().is_kept());
        roots.for_each(|actor| actor.core().stop(Exit::Shutdown, left_until(by_ns)));
        // When the deadline has passed, this still says which have ended.
        others.into_iter().for_each(|actor| await_end(actor, by_ns, end, &mut late));
        if now_ns() >= by_ns {
            // They are to hear what the others say when these are killed.
            late.extend(relays);
            break;
        }
        end_relays(relays, by_ns, end, &mut late);
        if *end == before {
            // All that are left wait for the caller, or the time is over, or there are none.
            break;
        }
    }
    kill_listed(shared, late, end)
}

/// Kills those that there are, and those that they start with their last words, until there are none, or the time for that is over.
fn kill_listed(shared: &Shared, late: Vec<Weak>, end: &mut Shutdown) -> io::Result<()> {
    let mut late = late;
    let last_ns = after_ns(LAST_WAIT);
    // The relays hear what is lost by that before their own end.
    let (relays, others) = relays_and_others(with_others(&mut late, shared)?);
    relays.iter().for_each(|relay| relay.core().counts_losses());
    kill_all(others, last_ns, end, &mut late);
    end_relays(relays, after_ns(RELAYS_LAST_WAIT), end, &mut late);
    let last_ns = last_ns.max(after_ns(RELAYS_LAST_WAIT));
    loop {
        let actors = with_others(&mut late, shared)?;
        let before = *end;
        kill_all(actors, last_ns, end, &mut late);
        if *end == before || now_ns() >= last_ns {
            break;
        }
    }
    late.iter().for_each(|actor| end.count(actor.core(), None));
    Ok(())
}

fn kill_all(actors: Vec<Weak>, last_ns: u64, end: &mut Shutdown, late: &mut Vec<Weak>) {
    actors.iter().for_each(|actor| actor.core().kill());
    for actor in actors {
        match by_then(actor.core(), last_ns, |by_ns| join(actor.core(), by_ns)) {
            Ok(exit) => end.count(actor.core(), Some(&exit)),
            Err(_) => late.push(actor),
        }
    }
}
