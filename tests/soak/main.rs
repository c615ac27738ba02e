//! Everything at once, for as long as one likes: nothing is lost, nothing grows.
//!
//! Each *load* is one closed piece of work that knows its right result. Drivers, which are OS threads, run loads in a random
//! order in a runtime that lives as long as the test; one load makes further runtimes. After each lap the test looks at the
//! process: resident memory, descriptors, OS threads. What the second half of the run has at its highest must not be
//! more than the first half's highest, and a little. A load that does not end is named.
//!
//! `GREEN_SOAK_SECS` says how long (a few seconds if it says nothing), `GREEN_SOAK_SEED` repeats a run's choices,
//! `GREEN_SOAK_LOADS=echo,actors` runs those loads alone:
//! `GREEN_SOAK_SECS=3600 cargo test --release --test soak -- --nocapture`.
#![cfg(all(target_os = "linux", not(miri)))]
#![allow(missing_docs)]

#[path = "../help/mod.rs"]
mod help;
mod loads;

use std::env;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use help::Random;
use loads::{LOADS, Load};

/// OS threads that run loads side by side.
const DRIVERS: usize = 3;
/// A load that takes longer has hung; each takes milliseconds on an idle machine.
const HUNG: Duration = Duration::from_secs(120);
/// Loads of one driver between two looks at the process.
const LAP: u64 = 40;

fn number(variable: &str, otherwise: u64) -> u64 {
    env::var(variable).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}: no number")))
}

/// What the process has.
#[derive(Clone, Copy, Debug, Default)]
struct Footprint {
    resident_kib: u64,
    descriptors: u64,
    os_threads: u64,
}

impl Footprint {
    fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").expect("/proc");
        let line = |key: &str| {
            let line = status.lines().find(|line| line.starts_with(key)).expect("a line of /proc/self/status");
            line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number")
        };
        let descriptors = fs::read_dir("/proc/self/fd").expect("/proc").count() as u64;
        Self { resident_kib: line("VmRSS:"), descriptors, os_threads: line("Threads:") }
    }

    fn max(self, other: Self) -> Self {
        Self {
            resident_kib: self.resident_kib.max(other.resident_kib),
            descriptors: self.descriptors.max(other.descriptors),
            os_threads: self.os_threads.max(other.os_threads),
        }
    }

    /// No more than what was there before, and what chance adds: how many loads overlap at the worst moment.
    fn assert_not_grown_from(self, before: Self) {
        assert!(self.resident_kib <= before.resident_kib + before.resident_kib / 8 + 16 * 1024, "{before:?} {self:?}");
        assert!(self.descriptors <= before.descriptors + 200, "descriptors leak: {before:?} {self:?}");
        assert!(self.os_threads <= before.os_threads + 50, "OS threads leak: {before:?} {self:?}");
    }
}

/// What the drivers and the watching thread share.
#[derive(Default)]
struct Progress {
    over: AtomicBool,
    rounds: [AtomicU64; LOADS.len()],
    /// What each driver is at, and since when.
    now: Mutex<[Option<(&'static str, Instant)>; DRIVERS]>,
}

/// The places in [`LOADS`] of those that run.
fn chosen() -> Vec<usize> {
    let Ok(names) = env::var("GREEN_SOAK_LOADS") else { return (0..LOADS.len()).collect() };
    let find = |name| LOADS.iter().position(|load| load.name == name).unwrap_or_else(|| panic!("no load named {name}"));
    names.split(',').map(find).collect()
}

fn drive(driver: usize, seed: u64, runtime: &green::Runtime, progress: &Progress) {
    let mut random = Random::new(seed.wrapping_add(driver as u64 + 1));
    let chosen = chosen();
    while !progress.over.load(Ordering::Relaxed) {
        let at = chosen[random.below(chosen.len() as u64) as usize];
        let Load { name, run, outside } = LOADS[at];
        progress.now.lock().unwrap()[driver] = Some((name, Instant::now()));
        let of_load = Random::new(random.next());
        if outside {
            run(of_load)
        } else {
            runtime.run(move || run(of_load))
        }
        progress.now.lock().unwrap()[driver] = None;
        progress.rounds[at].fetch_add(1, Ordering::Relaxed);
    }
}

/// Stops the drivers, also when this thread panics.
struct Over<'a>(&'a Progress);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

fn done(progress: &Progress) -> u64 {
    progress.rounds.iter().map(|count| count.load(Ordering::Relaxed)).sum()
}

/// Looks at the process until the time is over; ends it if a load hangs, because a hung thread cannot be stopped.
fn watch(secs: u64, progress: &Progress) -> [Footprint; 2] {
    let _over = Over(progress);
    let start = Instant::now();
    let length = Duration::from_secs(secs);
    let (mut halves, mut next_lap, mut next_line) = ([Footprint::default(); 2], LAP, length / 20);
    while start.elapsed() < length {
        std::thread::sleep(Duration::from_millis(20));
        for (name, since) in progress.now.lock().unwrap().iter().flatten() {
            if since.elapsed() > HUNG {
                eprintln!("soak: the load {name} has hung");
                std::process::abort();
            }
        }
        if done(progress) < next_lap {
            continue;
        }
        next_lap = done(progress) + LAP;
        let half = usize::from(start.elapsed() * 2 > length);
        // What warms up (stacks, pools, the allocator's arenas) is no growth.
        if start.elapsed() * 8 > length {
            halves[half] = halves[half].max(Footprint::now());
        }
        if start.elapsed() > next_line {
            next_line += length / 20;
            println!("{:6} s {:9} loads {:?}", start.elapsed().as_secs(), done(progress), Footprint::now());
        }
    }
    halves
}

#[test]
fn everything_at_once_loses_nothing_and_grows_nowhere() {
    let secs = number("GREEN_SOAK_SECS", if help::EMULATED { 2 } else { 4 });
    let seed = number("GREEN_SOAK_SEED", std::process::id().into());
    println!("GREEN_SOAK_SECS={secs} GREEN_SOAK_SEED={seed}");
    loads::quiet_hook();
    let runtime = green::Runtime::builder().workers(2).build().expect("a runtime");
    let progress = Arc::new(Progress::default());
    let halves = std::thread::scope(|scope| {
        for driver in 0..DRIVERS {
            let (progress, runtime) = (&progress, &runtime);
            scope.spawn(move || {
                let _over = Over(progress);
                drive(driver, seed, runtime, progress);
            });
        }
        watch(secs, &progress)
    });
    drop(runtime);
    for (load, rounds) in LOADS.iter().zip(&progress.rounds) {
        println!("{:12} {:9} rounds", load.name, rounds.load(Ordering::Relaxed));
    }
    println!("highest in the first half {:?}, in the second {:?}", halves[0], halves[1]);
    // A run of a few seconds has hardly warmed up.
    if secs >= 60 {
        halves[1].assert_not_grown_from(halves[0]);
    }
    assert!(
        chosen().iter().all(|at| secs < 10 || progress.rounds[*at].load(Ordering::Relaxed) > 0),
        "a load never ran"
    );
}
