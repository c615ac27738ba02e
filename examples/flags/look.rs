//! What looks wrong in a trace.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;

use crate::file::{Slice, TraceFile};

/// From when on something is worth a word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) turn_ns: u64,
    pub(crate) wake_ns: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { turn_ns: 10_000_000, wake_ns: 10_000_000 }
    }
}

/// One kind of trouble, with how often it was seen and the worst cases.
#[derive(Debug)]
pub(crate) struct RedFlag {
    kind: &'static str,
    count: usize,
    worst: Vec<String>,
}

impl fmt::Display for RedFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.count)?;
        self.worst.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

/// So many cases of a kind are shown.
const SHOWN: usize = 5;

fn flag(kind: &'static str, mut cases: Vec<(u64, String)>) -> Option<RedFlag> {
    cases.sort_by_key(|(weight, _)| Reverse(*weight));
    let count = cases.len();
    let worst = cases.into_iter().take(SHOWN).map(|(_, line)| line).collect();
    (count > 0).then_some(RedFlag { kind, count, worst })
}

/// All flags.
pub(crate) fn look(trace: &TraceFile, limits: &Limits) -> Vec<RedFlag> {
    let flags = [
        flag("stalls", stalls(trace)),
        flag("long turns", long_turns(trace, limits.turn_ns)),
        flag("late wake-ups", late_wakes(trace, limits.wake_ns)),
        flag("convoys at one lock", convoys(trace)),
        flag("workers sleep while threads wait for another", imbalance(trace)),
        flag("growing numbers of threads", growth(trace)),
    ];
    flags.into_iter().flatten().collect()
}

/// What is not looked for in a trace that has only what is rare of some workers, of these. `None`: all that there is.
pub(crate) fn blind_to(trace: &TraceFile) -> Option<String> {
    let workers = trace.tracks.values().filter(|track| track.is_worker).count();
    (trace.rare > 0).then(|| {
        format!(
            "not looked for on {} of {workers} workers, which recorded rare events only: long turns, late wake-ups, convoys (GREEN_RECORDER=all records them)",
            trace.rare
        )
    })
}

fn ms(ns: u64) -> String {
    format!("{:.1} ms", ns as f64 / 1e6)
}

fn at(trace: &TraceFile, at_ns: u64) -> String {
    format!("at {}", ms(at_ns - trace.span_ns().0))
}

fn stalls(trace: &TraceFile) -> Vec<(u64, String)> {
    let stalls = trace.marks.iter().filter(|mark| mark.name.ends_with(" stalls"));
    stalls.map(|mark| (mark.value, format!("{} for {}", mark.name, ms(mark.value * 1000)))).collect()
}

/// Turns, by thread: what ran on workers.
fn turns(trace: &TraceFile) -> impl Iterator<Item = &Slice> {
    trace.slices.iter().filter(|slice| trace.is_worker(slice.track) && slice.thread.is_some())
}

fn long_turns(trace: &TraceFile, limit_ns: u64) -> Vec<(u64, String)> {
    let long = turns(trace).filter(|slice| slice.end_ns - slice.begin_ns >= limit_ns);
    let line = |slice: &Slice| {
        let (for_ns, track) = (slice.end_ns - slice.begin_ns, trace.track_name(slice.track));
        (for_ns, format!("{} ran for {} on {track}, {}", slice.name, ms(for_ns), at(trace, slice.begin_ns)))
    };
    long.map(line).collect()
}

fn late_wakes(trace: &TraceFile, limit_ns: u64) -> Vec<(u64, String)> {
    let begins: HashMap<u64, &Slice> = turns(trace).filter_map(|slice| Some((slice.arrow?, slice))).collect();
    let wakes = trace.marks.iter().filter(|mark| mark.name == "wakes");
    let late = wakes.filter_map(|mark| {
        let slice = begins.get(&mark.arrow?)?;
        let for_ns = slice.begin_ns.saturating_sub(mark.at_ns);
        let line = || {
            let track = trace.track_name(slice.track);
            format!("{} ran {} after it was woken, on {track}, {}", slice.name, ms(for_ns), at(trace, mark.at_ns))
        };
        (for_ns >= limit_ns).then(|| (for_ns, line()))
    });
    late.collect()
}

/// A convoy has at least so many links, each with so many threads that wait besides.
const LINKS: u64 = 16;
const WAITING: usize = 3;

/// Chains in which each thread that was woken from its wait for a lock wakes the next one that waits for one: that is one lock, at which there are always others.
fn convoys(trace: &TraceFile) -> Vec<(u64, String)> {
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Step {
        Waits,
        Wakes { track: u64, arrow: Option<u64> },
        Runs { track: u64, arrow: Option<u64> },
    }
    let is_lock = |then: &Option<String>| matches!(then.as_deref(), Some("waits: mutex" | "waits: rwlock"));
    let mut steps: Vec<(u64, Step, u64)> = Vec::new();
    for turn in turns(trace) {
        let thread = turn.thread.unwrap_or_default();
        steps.push((turn.begin_ns, Step::Runs { track: turn.track, arrow: turn.arrow }, thread));
        if is_lock(&turn.then) {
            steps.push((turn.end_ns, Step::Waits, thread));
        }
    }
    for mark in trace.marks.iter().filter(|mark| mark.name == "wakes") {
        steps.push((mark.at_ns, Step::Wakes { track: mark.track, arrow: mark.arrow }, mark.value));
    }
    steps.sort_unstable();
    // Threads that wait for a lock; what runs on each worker; how long the chain is that each thread stands at the end of.
    let mut waiting: Vec<u64> = Vec::new();
    let (mut runs, mut chains) = (HashMap::new(), HashMap::<u64, (u64, u64)>::new());
    let mut longest: Vec<(u64, u64)> = Vec::new();
    for (at_ns, step, thread) in steps {
        match step {
            Step::Runs { track, .. } => _ = runs.insert(track, thread),
            Step::Waits => waiting.push(thread),
            Step::Wakes { track, .. } => {
                let Some(place) = waiting.iter().position(|waits| *waits == thread) else { continue };
                waiting.swap_remove(place);
                let before = runs.get(&track).and_then(|waker: &u64| chains.get(waker)).copied();
                let goes_on = waiting.len() >= WAITING;
                let (links, since_ns) = before.filter(|_| goes_on).unwrap_or((0, at_ns));
                chains.insert(thread, (links + 1, since_ns));
                match longest.last_mut() {
                    Some((most, since)) if *since == since_ns => *most = links + 1,
                    _ if links + 1 >= LINKS => longest.push((links + 1, since_ns)),
                    _ => {}
                }
            }
        }
    }
    let line = |(links, since_ns): (u64, u64)| {
        (links, format!("{links} threads in a row had it from each other while others waited, {}", at(trace, since_ns)))
    };
    longest.into_iter().map(line).collect()
}

/// Shorter traces say nothing about who is busy.
const LEAST_NS: u64 = 10_000_000;

fn imbalance(trace: &TraceFile) -> Vec<(u64, String)> {
    let (begin_ns, end_ns) = trace.span_ns();
    let span_ns = end_ns - begin_ns;
    if span_ns < LEAST_NS {
        return Vec::new();
    }
    let mut busy: Vec<(f64, &str, f64)> = Vec::new();
    for (track, info) in trace.tracks.iter().filter(|(_, info)| info.is_worker) {
        let of_track = trace.slices.iter().filter(|slice| slice.track == *track);
        // What is not in its ring any more is not known.
        let first_ns = of_track.clone().map(|slice| slice.begin_ns).min().unwrap_or(end_ns);
        let sleeps: u64 =
            of_track.filter(|slice| slice.name == "sleeps").map(|slice| slice.end_ns - slice.begin_ns).sum();
        let known_ns = end_ns - first_ns;
        if known_ns >= LEAST_NS {
            let of_worker = info.name.strip_prefix("worker ").unwrap_or_default();
            busy.push((1.0 - sleeps as f64 / known_ns as f64, &info.name, ready_on(trace, of_worker)));
        }
    }
    let idle = busy.iter().filter(|(share, ..)| *share < 0.2).count();
    let hot = busy.iter().filter(|(share, _, ready)| *share > 0.8 && *ready >= 2.0 && idle > 0);
    let line = |(share, name, ready): &(f64, &str, f64)| {
        let share = share * 100.0;
        (share as u64, format!("{name} was busy for {share:.0} %, with {ready:.0} threads ready; {idle} workers slept"))
    };
    hot.map(line).collect()
}

/// How many threads were ready on a worker, on average.
fn ready_on(trace: &TraceFile, worker: &str) -> f64 {
    let name = format!("ready on worker {worker}");
    let values: Vec<u64> = trace
        .counters
        .iter()
        .filter(|(track, ..)| trace.track_name(*track) == name)
        .map(|(.., value)| *value)
        .collect();
    if values.is_empty() { 0.0 } else { values.iter().sum::<u64>() as f64 / values.len() as f64 }
}

/// Moments at which threads are counted, and how many more there have to be in the end.
const COUNTS: u64 = 10;
const MORE: u64 = 100;

fn growth(trace: &TraceFile) -> Vec<(u64, String)> {
    let of_threads = |track: u64| trace.track_name(track).starts_with("threads on worker ");
    let counters: Vec<_> = trace.counters.iter().filter(|(track, ..)| of_threads(*track)).collect();
    let (Some((_, begin_ns, _)), Some((_, end_ns, _))) = (counters.first(), counters.last()) else { return Vec::new() };
    let mut last: HashMap<u64, u64> = HashMap::new();
    let mut counts = Vec::new();
    let mut next = counters.iter().peekable();
    for step in 1..=COUNTS {
        let until_ns = begin_ns + (end_ns - begin_ns) * step / COUNTS;
        while let Some((track, _, value)) = next.next_if(|(_, at_ns, _)| *at_ns <= until_ns) {
            last.insert(*track, *value);
        }
        counts.push(last.values().sum::<u64>());
    }
    let (first, end) = (counts[0], counts[counts.len() - 1]);
    let grows = counts.windows(2).filter(|pair| pair[0] <= pair[1]).count() + 1 >= counts.len() - 1;
    if grows && end >= 2 * first && end >= first + MORE {
        return vec![(end - first, format!("from {first} to {end} threads in {}", ms(end_ns - begin_ns)))];
    }
    Vec::new()
}
