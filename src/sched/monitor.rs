//! Notices workers that do not come round: an OS thread of the process that looks at all workers now and then, from outside.
//!
//! A *stall*: a worker has been in one turn for a limit, while something waits for it. Each is reported once. The worker shows its turns by a count that it keeps
//! anyway (`sched/clock.rs`): as long as that is the same, and the worker has not slept, it is in one turn. So a turn costs nothing more.
//!
//! # What waits for a worker
//!
//! Others see: what is in its inbox, unstarted threads in its queue or from outside (at two looks in a row, as another worker may be about to take them),
//! events of its descriptors. The rest only the worker itself knows: threads that are ready, timers that are due. So it is asked, by a signal that interrupts it
//! ([`sample`](super::sample)): at the limit, if other threads live there, and again each time the turn has become twice as long.
//!
//! # How often
//!
//! Three times in the limit, while any worker is busy. A monitor that comes late itself, because the process was stopped or gets no processor, begins anew: what it
//! would say of the workers' turns holds for itself. With nothing to watch it sleeps ([`watched`](super::watched)).

use std::sync::Arc;

use crate::sched::remote::Remote;
use crate::sched::sample::{Sample, sample_of, turn};
use crate::sched::watched::{StartSpare, WatchedRuntime, Watchman, WorkerSeen};
use crate::sys::clock::real_ns;
use crate::sys::signals;
use crate::sys::system_thread::{CpuUsage, FUTEX, OsActivity, ask_for_short_slices};

/// Looks in the time of the limit.
const LOOKS: u64 = 3;
/// The bounds of the time between two looks.
const STEP_MIN_NS: u64 = 1_000_000;
const STEP_MAX_NS: u64 = 1_000_000_000;
/// So long a worker may take to answer.
const PATIENCE_NS: u64 = 10_000_000;
/// After so many looks at which nothing has happened the monitor sleeps until something does.
const QUIET: u32 = 16;
/// Enough for a hook that looks up the names of functions.
const STACK: usize = 1 << 20;

/// A stall, as it was noticed.
#[derive(Debug)]
pub(crate) struct StallRecord {
    /// The worker's number in its runtime.
    pub(crate) worker: usize,
    /// Since the turn was first seen.
    pub(crate) for_ns: u64,
    pub(crate) does: StalledBy,
    /// `None`: the worker did not answer.
    pub(crate) sample: Option<Sample>,
}

/// What keeps the worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StalledBy {
    Computing,
    Call(i64),
    Lock,
    NoProcessor,
    Unknown,
}

/// Sees to it that there is a monitor, which calls `report` with each stall.
pub(crate) fn start(report: fn(StallRecord)) {
    let watchman = Watchman::get();
    let mut started = watchman.started.lock();
    if !*started {
        let thread = std::thread::Builder::new().name("green-monitor".to_owned()).stack_size(STACK);
        // Without one nothing is reported; the next runtime tries again.
        *started = signals::while_blocked(|| thread.spawn(move || watch(watchman, report))).is_ok();
    }
}

/// A worker that may stall.
struct Suspect {
    runtime: usize,
    number: usize,
    remote: &'static Remote,
    seen: WorkerSeen,
}

/// One look at all workers.
#[derive(Default)]
struct Round {
    suspects: Vec<Suspect>,
    /// Runtimes that need a spare worker.
    start_spares: Vec<StartSpare>,
    /// Some worker runs, or has run since the last look.
    stirred: bool,
    /// The least of the limits; 0: there is no runtime.
    limit_ns: u64,
}

fn watch(watchman: &'static Watchman, report: fn(StallRecord)) {
    ask_for_short_slices();
    let (mut quiet, mut due_ns, mut step_ns) = (0, real_ns(), STEP_MIN_NS);
    loop {
        let now_ns = real_ns();
        let is_late = now_ns > due_ns + LOOKS * step_ns;
        let round = look(&mut watchman.runtimes(), now_ns, is_late);
        for suspect in round.suspects {
            if let Some(stall) = examine(watchman, &suspect) {
                report(stall);
            }
        }
        round.start_spares.iter().for_each(|start| start());
        quiet = if round.stirred { 0 } else { quiet + 1 };
        step_ns = (round.limit_ns / LOOKS).clamp(STEP_MIN_NS, STEP_MAX_NS);
        if quiet >= QUIET || round.limit_ns == 0 {
            watchman.sleep_soundly(|| is_any_busy(&watchman.runtimes()));
            quiet = 0;
            due_ns = real_ns();
        } else {
            due_ns = real_ns() + step_ns;
            watchman.sleep_until(due_ns);
        }
    }
}

fn is_any_busy(runtimes: &[WatchedRuntime]) -> bool {
    runtimes.iter().flat_map(|runtime| &runtime.remotes).any(|remote| remote.busy.busy_since().is_some())
}

fn look(runtimes: &mut [WatchedRuntime], now_ns: u64, is_late: bool) -> Round {
    let mut round = Round { limit_ns: u64::MAX, ..Round::default() };
    for runtime in &mut *runtimes {
        round.limit_ns = round.limit_ns.min(runtime.limit_ns);
        for number in 0..runtime.remotes.len() {
            let seen = look_at(runtime, number, now_ns, is_late);
            round.stirred |= seen.turn.is_some() || seen.turn != runtime.seen[number].turn;
            if is_suspect(runtime, number, &seen, now_ns) {
                let (runtime, remote) = (runtime.key(), runtime.remotes[number]);
                round.suspects.push(Suspect { runtime, number, remote, seen: seen.clone() });
            }
            runtime.seen[number] = seen;
        }
        round.start_spares.extend(needs_spare(runtime, now_ns));
    }
    if runtimes.is_empty() {
        round.limit_ns = 0;
    }
    round
}

/// All workers are stalled, those that are spare, too, and there are unstarted threads. A spare worker that sleeps, as threads live on it, is woken.
fn needs_spare(runtime: &mut WatchedRuntime, now_ns: u64) -> Option<StartSpare> {
    let start = runtime.start_spare.as_ref()?;
    let is_stalled = |seen: &WorkerSeen| seen.turn.is_some() && now_ns - seen.since_ns >= runtime.limit_ns;
    let spares = runtime.spares();
    if !runtime.seen[..spares.start].iter().all(is_stalled) || !runtime.has_unstarted() {
        runtime.unstarted = 0;
        return None;
    }
    runtime.unstarted += 1;
    if runtime.unstarted < 2 {
        return None;
    }
    for (seen, remote) in runtime.seen[spares.clone()].iter().zip(&runtime.remotes[spares]) {
        let runs = remote.watched.lock().is_some();
        if runs && seen.turn.is_none() {
            remote.notify_control();
        }
        if runs && !is_stalled(seen) {
            return None;
        }
    }
    Some(Arc::clone(start))
}

/// What is seen of a worker now.
fn look_at(runtime: &WatchedRuntime, number: usize, now_ns: u64, is_late: bool) -> WorkerSeen {
    let (remote, before) = (runtime.remotes[number], &runtime.seen[number]);
    let Some(busy_since) = remote.busy.busy_since() else { return WorkerSeen::default() };
    let watched = remote.watched.lock();
    let Some(watched) = watched.as_ref() else { return WorkerSeen::default() };
    let turn = Some((turn(watched), busy_since));
    let is_new = turn != before.turn;
    if is_new || is_late {
        let (since_ns, ask_ns, reported) = (now_ns, now_ns + runtime.limit_ns, before.reported && !is_new);
        return WorkerSeen { turn, since_ns, ask_ns, reported, ..WorkerSeen::default() };
    }
    let usage = if before.reported { None } else { before.usage.or_else(|| watched.os.usage()) };
    let waits = if !before.reported && runtime.waits_for(number) { before.waits + 1 } else { 0 };
    WorkerSeen { usage, waits, ..before.clone() }
}

fn is_suspect(runtime: &WatchedRuntime, number: usize, seen: &WorkerSeen, now_ns: u64) -> bool {
    let has_others = || runtime.remotes[number].load().is_some_and(|load| load >= 2);
    seen.turn.is_some()
        && !seen.reported
        && now_ns - seen.since_ns >= runtime.limit_ns
        && (seen.waits >= 2 || now_ns >= seen.ask_ns && has_others())
}

/// Asks a worker what it does. `None`: it has come round, or nothing waits for it.
fn examine(watchman: &Watchman, suspect: &Suspect) -> Option<StallRecord> {
    let seen = &suspect.seen;
    let (does, sample, now_ns) = {
        let watched = suspect.remote.watched.lock();
        let watched = watched.as_ref()?;
        // Before the signal, which interrupts the call.
        let (activity, usage) = (watched.os.activity(), watched.os.usage());
        let sample = sample_of(watched, PATIENCE_NS);
        let now_ns = real_ns();
        if turn(watched) != seen.turn?.0 || sample.as_ref().is_some_and(|sample| sample.turn != turn(watched)) {
            return None;
        }
        (stalled_by(activity, seen.usage, usage), sample, now_ns)
    };
    let waits = |sample: &Sample| sample.has_ready || sample.timer_ns <= now_ns;
    let is_stall = seen.waits >= 2 || sample.as_ref().is_some_and(waits);
    let for_ns = now_ns - seen.since_ns;
    if let Some(runtime) = watchman.runtimes().iter_mut().find(|runtime| runtime.key() == suspect.runtime)
        && let Some(now) = runtime.seen.get_mut(suspect.number)
        && now.turn == seen.turn
    {
        now.reported = is_stall;
        now.ask_ns = now_ns + for_ns;
    }
    if !is_stall {
        return None;
    }
    suspect.remote.counters.stalls.add(1);
    Some(StallRecord { worker: suspect.number, for_ns, does, sample })
}

/// From what the OS thread does, and what it has got of processors since the turn was first seen.
fn stalled_by(activity: OsActivity, first: Option<CpuUsage>, now: Option<CpuUsage>) -> StalledBy {
    let is_kept_waiting = |(first, now): (CpuUsage, CpuUsage)| {
        now.waited_ns.saturating_sub(first.waited_ns) > now.ran_ns.saturating_sub(first.ran_ns)
    };
    match activity {
        OsActivity::InCall(FUTEX) => StalledBy::Lock,
        OsActivity::InCall(number) => StalledBy::Call(number),
        OsActivity::Runs if first.zip(now).is_some_and(is_kept_waiting) => StalledBy::NoProcessor,
        OsActivity::Runs => StalledBy::Computing,
        OsActivity::Unknown => StalledBy::Unknown,
    }
}
