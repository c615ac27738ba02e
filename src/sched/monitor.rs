//! Notices workers that do not come round: an OS thread of the process that looks at all workers now and then, from outside.
//!
//! A *stall*: a worker has been in one turn for a limit, while something waits for it. Each is reported once. The worker shows its turns by a count that it keeps
//! anyway (`sched/clock.rs`): as long as that is the same, and the worker has not slept, it is in one turn. So a turn costs nothing more.
//!
//! # How often
//!
//! Three times in the limit, while any worker is busy. Where nothing has changed for long, all busy workers being in the same turns, the time between two looks grows
//! with that, up to a second; a worker that gets busy ends it. With nothing to watch the monitor sleeps ([`watched`](super::watched)), where deadlocks are
//! named after a look whether anything can go on ([`standstill`](super::standstill)).
//!
//! At each look a worker that has been in one turn for the limit is looked at closely ([`glance`](super::glance)) if something has seemed to wait for it at two looks in
//! a row (another worker may be about to take what was there at one); and in any case at the limit, and each time the turn has become twice as long, if other threads live there.
//!
//! A monitor that comes late itself by more than the time between two looks, because the process was stopped, its quota of processor time used up, or the machine is
//! overloaded, does not count that time: in it the workers could not go on either.

use crate::base::report::survive;
use crate::flight::{EventKind, record_outside, stall_number};
use crate::park::os_threads;
use crate::sched::glance::{ThreadIdentity, glance};
use crate::sched::remote::{Remote, WatchedWorker};
use crate::sched::runtime_name::RuntimeName;
use crate::sched::sample::{runs, sample_of, turn};
use crate::sched::standstill::{Standstill, StandstillRecord};
use crate::sched::watched::{StartSpare, WatchedRuntime, Watchman, WorkerSeen};
use crate::sys::clock::{NEVER, real_ns};
use crate::sys::signals;
use crate::sys::stack_walk::StackCopy;
use crate::sys::system_thread::{CpuUsage, FUTEX, OsActivity, OsCall, ask_for_short_slices};

/// Looks in the time of the limit.
const LOOKS: u64 = 3;
/// The bounds of the time between two looks.
const STEP_MIN_NS: u64 = 1_000_000;
const STEP_MAX_NS: u64 = 1_000_000_000;
/// Of the time in which nothing has changed, the step is this part at least.
const CALM: u64 = 8;
/// A worker that is stalled for so many limits may get a spare one beside it.
const SPARE_AFTER: u64 = 10;
/// So long a worker may take to answer.
const PATIENCE_NS: u64 = 10_000_000;
/// After so many looks at which nothing has happened the monitor sleeps until something does.
const QUIET: u32 = 16;
/// Enough for a dump, which looks up the names of functions.
const STACK: usize = 1 << 20;

/// A stall, as it was noticed.
#[derive(Debug)]
pub(crate) struct StallRecord {
    pub(crate) runtime: RuntimeName,
    /// The worker's number in its runtime.
    pub(crate) worker: usize,
    /// Since the turn was first seen.
    pub(crate) for_ns: u64,
    pub(crate) does: StalledBy,
    /// The thread that keeps it, if that is known.
    pub(crate) thread: Option<ThreadIdentity>,
    /// Where that stands, if that is known.
    pub(crate) stack: Option<StackCopy>,
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

/// What the monitor calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reports {
    pub(crate) stall: fn(StallRecord),
    /// Nothing can go on.
    pub(crate) standstill: fn(StandstillRecord),
}

/// Sees to it that there is a monitor, which calls `reports`.
pub(crate) fn start(reports: Reports) {
    let watchman = Watchman::get();
    let mut started = watchman.started.lock();
    if !*started {
        let thread = std::thread::Builder::new().name("green-monitor".to_owned()).stack_size(STACK);
        // Without one nothing is reported; the next runtime tries again.
        *started = signals::while_blocked(|| thread.spawn(move || watch(watchman, reports))).is_ok();
    }
}

/// A worker that may stall.
struct Suspect {
    runtime: usize,
    name: RuntimeName,
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
    /// Some worker is busy.
    busy: bool,
    /// Some worker is in another turn than at the last look, or sleeps, or does not any more.
    changed: bool,
    /// The least of the limits; 0: there is no runtime.
    limit_ns: u64,
}

/// When the monitor looks.
#[derive(Debug)]
struct Pace {
    due_ns: u64,
    step_ns: u64,
    /// When something has last changed.
    changed_ns: u64,
    /// Looks in a row at which no worker was busy, and nothing had changed.
    quiet: u32,
}

impl Pace {
    fn new(now_ns: u64) -> Self {
        Self { due_ns: now_ns, step_ns: STEP_MIN_NS, changed_ns: now_ns, quiet: 0 }
    }

    /// By how much the monitor is later than it wanted to be; 0: by no more than what is usual.
    fn late_ns(&self, now_ns: u64) -> u64 {
        let late_ns = now_ns.saturating_sub(self.due_ns);
        if late_ns > self.step_ns { late_ns } else { 0 }
    }

    /// The monitor has slept its time, and nobody has got busy: it need not look so often again.
    fn is_quiet_still(&mut self) {
        self.quiet = QUIET;
    }

    /// After a look: until when to sleep, and whether who gets busy ends that.
    fn next(&mut self, round: &Round, now_ns: u64) -> (u64, bool) {
        if round.changed {
            self.changed_ns = now_ns;
        }
        self.quiet = if round.busy || round.changed { 0 } else { self.quiet + 1 };
        let least_ns = (round.limit_ns / LOOKS).clamp(STEP_MIN_NS, STEP_MAX_NS);
        self.step_ns = least_ns.max(((now_ns - self.changed_ns) / CALM).min(STEP_MAX_NS));
        self.due_ns = now_ns + self.step_ns;
        if self.quiet >= QUIET || round.limit_ns == 0 {
            self.quiet = 0;
            self.due_ns = NEVER;
        }
        (self.due_ns, self.due_ns == NEVER || self.step_ns > least_ns)
    }
}

/// Not a part of another function: `benches/instructions.rs` tells by this one what the monitor does from what workers do.
#[inline(never)]
fn watch(watchman: &'static Watchman, reports: Reports) {
    let _serves = os_threads::serves();
    ask_for_short_slices();
    let mut standstill = Standstill::new();
    let mut pace = Pace::new(real_ns());
    loop {
        let now_ns = real_ns();
        let round = look(&mut watchman.runtimes(), now_ns, pace.late_ns(now_ns));
        // First, as a report may take its time.
        round.start_spares.iter().for_each(|start| start());
        for stall in round.suspects.iter().filter_map(|suspect| examine(watchman, suspect)) {
            // What goes wrong in the report of one stall is not to be the end of all reports.
            survive(|| (reports.stall)(stall));
        }
        let (mut until_ns, lightly) = pace.next(&round, real_ns());
        if until_ns == NEVER {
            survive(|| until_ns = standstill.look(reports.standstill));
        }
        if lightly {
            let was_woken = watchman.sleep_lightly(until_ns, || has_news(&watchman.runtimes()));
            if was_woken {
                standstill.forget();
            } else {
                pace.is_quiet_still();
            }
        } else {
            watchman.sleep_until(until_ns);
        }
    }
}

/// Is a worker busy that was not at the last look?
fn has_news(runtimes: &[WatchedRuntime]) -> bool {
    runtimes.iter().any(|runtime| {
        runtime.remotes().any(|(number, remote)| {
            let seen = runtime.seen.get(number).and_then(|seen| seen.turn);
            let since = remote.busy.busy_since();
            since.is_some() && since != seen.map(|(_, since)| since)
        })
    })
}

/// `late_ns` do not count.
fn look(runtimes: &mut [WatchedRuntime], now_ns: u64, late_ns: u64) -> Round {
    let mut round = Round { limit_ns: u64::MAX, ..Round::default() };
    for runtime in &mut *runtimes {
        round.limit_ns = round.limit_ns.min(runtime.limit_ns);
        let count = runtime.remotes().count();
        runtime.seen.resize_with(count, WorkerSeen::default);
        for number in 0..count {
            let Some(remote) = runtime.crew().remote(number) else { break };
            let seen = look_at(runtime, remote, number, now_ns, late_ns);
            round.busy |= seen.turn.is_some();
            round.changed |= seen.turn != runtime.seen[number].turn;
            if is_suspect(runtime, remote, &seen, now_ns) {
                let (key, name) = (runtime.key(), runtime.name.clone());
                round.suspects.push(Suspect { runtime: key, name, number, remote, seen: seen.clone() });
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

/// All workers are stalled for long, those that are spare, too, and there are unstarted threads. A spare worker that sleeps, as threads live on it, is woken.
fn needs_spare(runtime: &mut WatchedRuntime, now_ns: u64) -> Option<StartSpare> {
    let start = runtime.start_spare.clone()?;
    let stalled_ns = runtime.limit_ns.saturating_mul(SPARE_AFTER);
    let is_stalled = |seen: &WorkerSeen| seen.turn.is_some() && now_ns - seen.since_ns >= stalled_ns;
    let spares = runtime.spares();
    if !runtime.seen[..spares.start].iter().all(is_stalled) || !runtime.crew().has_unstarted() {
        runtime.unstarted = 0;
        return None;
    }
    runtime.unstarted += 1;
    if runtime.unstarted < 2 {
        return None;
    }
    for number in spares {
        let (seen, Some(remote)) = (&runtime.seen[number], runtime.crew().remote(number)) else { break };
        let runs = remote.watched.lock().is_some();
        if runs && seen.turn.is_none() {
            remote.notify_control();
        }
        if runs && !is_stalled(seen) {
            return None;
        }
    }
    Some(start)
}

/// The turn that a worker is in. `None`: it sleeps.
fn turn_now(remote: &Remote, watched: &WatchedWorker) -> Option<(u32, u64)> {
    Some((turn(watched), remote.busy.busy_since()?))
}

/// What is seen of a worker now.
fn look_at(runtime: &WatchedRuntime, remote: &Remote, number: usize, now_ns: u64, late_ns: u64) -> WorkerSeen {
    let before = &runtime.seen[number];
    if remote.busy.busy_since().is_none() {
        return WorkerSeen::default();
    }
    let watched = remote.watched.lock();
    let Some(watched) = watched.as_ref() else { return WorkerSeen::default() };
    // In this order: what runs is written before the number of its turn.
    let (turn, runs) = (turn_now(remote, watched), runs(watched));
    if turn.is_none() || turn != before.turn {
        let (since_ns, runs_since_ns, look_ns) = (now_ns, now_ns, now_ns + runtime.limit_ns);
        return WorkerSeen { turn, since_ns, runs, runs_since_ns, look_ns, ..WorkerSeen::default() };
    }
    let runs_since_ns = if runs == before.runs { before.runs_since_ns } else { now_ns };
    let (since_ns, look_ns) = (before.since_ns + late_ns, before.look_ns + late_ns);
    let is_alone = now_ns.saturating_sub(since_ns) >= runtime.limit_ns && is_alone(runtime, number, now_ns, late_ns);
    let usage = if before.reported { None } else { before.usage.or_else(|| watched.os.usage()) };
    let waits = !before.reported && runtime.crew().seems_awaited(number, watched, is_alone);
    let waits = if waits { before.waits + 1 } else { 0 };
    WorkerSeen { since_ns, runs, runs_since_ns, look_ns, usage, waits, is_alone, ..before.clone() }
}

/// Is each other worker of the runtime stuck, or away? One that sleeps is none of these: it, or the lookout among those that do, looks round. But a spare one sleeps until it is woken.
fn is_alone(runtime: &WatchedRuntime, number: usize, now_ns: u64, late_ns: u64) -> bool {
    let spares = runtime.spares();
    // Of those that come after this one the last look is known, from which `late_ns` are missing.
    let since_ns = |other: usize| runtime.seen[other].since_ns + if other > number { late_ns } else { 0 };
    let comes_round = |(other, remote): (usize, &Remote)| match &runtime.seen[other] {
        seen if seen.turn.is_some() => now_ns.saturating_sub(since_ns(other)) < runtime.limit_ns,
        _ => !spares.contains(&other) && remote.load().is_some(),
    };
    !runtime.remotes().take(runtime.seen.len()).filter(|(other, _)| *other != number).any(comes_round)
}

fn is_suspect(runtime: &WatchedRuntime, remote: &Remote, seen: &WorkerSeen, now_ns: u64) -> bool {
    let has_others = || remote.load().is_some_and(|load| load >= 2);
    seen.turn.is_some()
        && !seen.reported
        && now_ns - seen.since_ns >= runtime.limit_ns
        && (seen.waits == 2 || now_ns >= seen.look_ns && (seen.waits > 2 || has_others()))
}

/// Looks closely at a worker. `None`: it has come round, or nothing waits for it.
fn examine(watchman: &Watchman, suspect: &Suspect) -> Option<StallRecord> {
    let seen = &suspect.seen;
    let watched = suspect.remote.watched.lock();
    let watched = watched.as_ref()?;
    let is_in_it = || turn_now(suspect.remote, watched) == seen.turn;
    let glance = glance(watched, suspect.remote, seen.is_alone);
    let is_stall = glance.waits_inside || glance.waits_outside && seen.waits >= 2;
    let (activity, usage) = (watched.os.activity(), watched.os.usage());
    if !is_in_it() {
        return None;
    }
    // Only who will be reported is disturbed.
    let sample = is_stall.then(|| sample_of(watched, activity, PATIENCE_NS)).flatten();
    let is_stall = is_stall && is_in_it();
    let now_ns = real_ns();
    let for_ns = now_ns - seen.since_ns;
    if let Some(runtime) = watchman.runtimes().iter_mut().find(|runtime| runtime.key() == suspect.runtime)
        && let Some(now) = runtime.seen.get_mut(suspect.number)
        && now.turn == seen.turn
    {
        now.reported = is_stall;
        now.look_ns = now_ns + for_ns;
    }
    if !is_stall {
        return None;
    }
    suspect.remote.counters.stalls.add(1);
    record_outside(EventKind::Stalls, stall_number(suspect.number, for_ns));
    let stack =
        sample.filter(|sample| Some(sample.turn) == seen.turn.map(|(turn, _)| turn)).and_then(|sample| sample.stack);
    let does = stalled_by(activity, seen.usage, usage);
    let (runtime, worker) = (suspect.name.clone(), suspect.number);
    Some(StallRecord { runtime, worker, for_ns, does, thread: glance.thread, stack })
}

/// From what the OS thread does, and what it has got of processors since the turn was first seen.
fn stalled_by(activity: OsActivity, first: Option<CpuUsage>, now: Option<CpuUsage>) -> StalledBy {
    let is_kept_waiting = |(first, now): (CpuUsage, CpuUsage)| {
        now.waited_ns.saturating_sub(first.waited_ns) > now.ran_ns.saturating_sub(first.ran_ns)
    };
    match activity {
        OsActivity::InCall(OsCall { number: FUTEX, .. }) => StalledBy::Lock,
        OsActivity::InCall(OsCall { number, .. }) => StalledBy::Call(number),
        OsActivity::Runs if first.zip(now).is_some_and(is_kept_waiting) => StalledBy::NoProcessor,
        OsActivity::Runs => StalledBy::Computing,
        OsActivity::Unknown => StalledBy::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::{Remote, WatchedRuntime, WatchedWorker, WorkerSeen, is_alone};
    use crate::sched::remote::acquire;
    use crate::sched::watched::WorkersSeen;

    const MS: u64 = 1_000_000;

    struct Crew(Box<[&'static Remote]>);

    impl WorkersSeen for Crew {
        fn remote(&self, number: usize) -> Option<&'static Remote> {
            self.0.get(number).copied()
        }

        fn has_unstarted(&self) -> bool {
            false
        }

        fn seems_awaited(&self, _: usize, _: &WatchedWorker, _: bool) -> bool {
            false
        }
    }

    /// The process was stopped for 200 ms, between a look at 20 ms and the next one.
    #[test]
    fn a_sibling_that_was_a_moment_in_its_turn_when_the_process_was_stopped_counted_as_stuck() {
        let crew: &'static Crew = Box::leak(Box::new(Crew(acquire(2).unwrap().remotes)));
        let (limit_ns, late_ns, now_ns) = (20 * MS, 200 * MS, 227 * MS);
        let mut runtime = WatchedRuntime::of_a_test(crew, 2, limit_ns);
        // One has been in its turn from the start, the other one for a millisecond.
        let seen = |since_ns| WorkerSeen { turn: Some((1, 1)), since_ns, ..WorkerSeen::default() };
        runtime.seen = vec![seen(0), seen(19 * MS)];
        assert!(!is_alone(&runtime, 0, now_ns, late_ns));
        // This one is looked at first, and has the time that was late already.
        runtime.seen = vec![seen(19 * MS + late_ns), seen(0)];
        assert!(!is_alone(&runtime, 1, now_ns, late_ns));
        runtime.seen = vec![seen(late_ns), seen(0)];
        assert!(is_alone(&runtime, 0, now_ns, late_ns) && is_alone(&runtime, 1, now_ns, late_ns));
    }
}
