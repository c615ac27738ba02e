//! Random programs whose destructors wait: under panics, caught and handed on, cancels, time-outs, and panic hooks that are set
//! meanwhile; on one worker and two. Each destructor knows whether unwinding runs it, and asks. The seed is printed first;
//! `GREEN_STRESS_SEED` sets it, and `GREEN_STRESS_SECS` how long it goes on.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod help;

use std::any::Any;
use std::cell::RefCell;
use std::env;
use std::panic::{self, AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use green::sync::Mutex;
use help::{Random, bounded, in_a_child, runtime, scaled};

/// A panic of a check would be one of many.
#[track_caller]
fn check(holds: bool, what: &str) {
    if !holds {
        eprintln!("{}: {what}", std::panic::Location::caller());
        std::process::abort();
    }
}

struct World {
    shared: Mutex<u64>,
}

/// One green thread's program.
struct Program {
    world: Arc<World>,
    random: RefCell<Random>,
    depth: u64,
    /// It runs in a destructor that unwinding runs.
    unwinds: bool,
}

/// Runs a part of the program when it is dropped.
struct AtDrop {
    part: Program,
    in_good_order: bool,
}

impl Drop for AtDrop {
    fn drop(&mut self) {
        self.part.unwinds |= !self.in_good_order;
        self.part.run();
    }
}

impl Program {
    fn below(&self, n: u64) -> u64 {
        self.random.borrow_mut().below(n)
    }

    fn part(&self) -> Self {
        let random = RefCell::new(self.random.borrow_mut().fork());
        Self { world: Arc::clone(&self.world), random, depth: self.depth.saturating_sub(1), unwinds: self.unwinds }
    }

    fn pause(&self) {
        match self.below(4) {
            0 => green::yield_now(),
            1 => green::sleep(Duration::ZERO),
            _ => green::sleep(Duration::from_micros(self.below(300))),
        }
    }

    fn run(&self) {
        for _ in 0..=self.below(3) {
            check(green::thread::panicking() == self.unwinds, "does the thread unwind?");
            self.step();
        }
    }

    fn step(&self) {
        if self.depth == 0 {
            return self.pause();
        }
        match self.below(10) {
            0 => self.pause(),
            1 => drop(self.caught(|part| part.run())),
            2 => self.pause_and_panic(),
            3 => drop(green::timeout(Duration::from_micros(self.below(300)), || {
                // Not out of a destructor.
                drop(self.caught(|part| part.run()));
                green::sleep(Duration::from_micros(100));
            })),
            4 | 5 => self.drops(),
            6 => self.locks(),
            7 => self.takes_the_lock(),
            8 => self.has_a_child(),
            _ => set_a_hook(),
        }
    }

    /// Ends its caller by a panic, unless that would end the process.
    fn pause_and_panic(&self) {
        self.pause();
        if !self.unwinds {
            if self.below(2) == 0 {
                panic!("of the test");
            }
            resume_unwind(Box::new("of the test"));
        }
    }

    fn caught(&self, f: impl FnOnce(&Self)) -> Result<(), Box<dyn Any + Send>> {
        let part = self.part();
        catch_unwind(AssertUnwindSafe(|| f(&part)))
    }

    fn drops(&self) {
        let mut at_drop = AtDrop { part: self.part(), in_good_order: false };
        let part = self.part();
        if self.below(2) == 0 {
            let _ = catch_unwind(AssertUnwindSafe(move || {
                let mut at_drop = at_drop;
                part.run();
                at_drop.in_good_order = true;
            }));
        } else {
            part.run_inside(self.unwinds);
            at_drop.in_good_order = true;
        }
    }

    /// Runs; what would end its caller by unwinding does not if the caller may not be.
    fn run_inside(&self, guarded: bool) {
        if guarded {
            drop(self.caught(|part| part.run()));
        } else {
            self.run();
        }
    }

    fn locks(&self) {
        let mutex = Mutex::new(());
        let how = self.below(3);
        let result = catch_unwind(AssertUnwindSafe(|| {
            let guard = mutex.lock();
            match how {
                0 => {
                    drop(self.caught(|part| part.run()));
                    drop(guard);
                }
                1 => resume_unwind(Box::new(1)),
                _ => drop(green::timeout(Duration::ZERO, move || {
                    let _guard = guard;
                    green::sleep(Duration::from_micros(100));
                })),
            }
        }));
        // A cancel or a time-out may have come first.
        let by_panic = result.is_err_and(|payload| payload.is::<i32>()) && !self.unwinds;
        check(mutex.is_poisoned() || !by_panic, "not poisoned by a panic");
        check(!mutex.is_poisoned() || how == 1, "poisoned, though no panic has left it");
    }

    fn takes_the_lock(&self) {
        let mut guard = self.world.shared.lock().unwrap_or_else(|poisoned| {
            check(false, "the shared lock is poisoned");
            poisoned.into_inner()
        });
        *guard += 1;
        self.pause();
    }

    fn has_a_child(&self) {
        let mut part = self.part();
        part.unwinds = false;
        let child =
            if self.below(2) == 0 { green::spawn_local(move || part.run()) } else { green::spawn(move || part.run()) };
        let cancels = self.below(2) == 0;
        if cancels {
            let _ = self.caught(|part| part.pause());
            child.cancel();
        }
        if let Err(payload) = child.join()
            && !self.unwinds
            && !payload.is::<green::Cancelled>()
        {
            resume_unwind(payload);
        }
    }
}

/// As a library does that comes late. std refuses while it thinks that this thread unwinds.
fn set_a_hook() {
    if !std::thread::panicking() {
        panic::set_hook(Box::new(|_| ()));
    }
}

fn round(workers: usize, mut random: Random) {
    let runtime = runtime(workers);
    let world = Arc::new(World { shared: Mutex::new(0) });
    runtime.run(|| {
        let threads: Vec<_> = (0..8)
            .map(|at| {
                let random = RefCell::new(random.fork());
                let program = Program { world: Arc::clone(&world), random, depth: 4, unwinds: false };
                if at % 2 == 0 {
                    green::spawn_local(move || program.run())
                } else {
                    green::spawn(move || program.run())
                }
            })
            .collect();
        for thread in &threads {
            green::sleep(Duration::from_micros(random.below(200)));
            if random.below(2) == 0 {
                thread.cancel();
            }
        }
        if random.below(4) != 0 {
            threads.into_iter().for_each(|thread| drop(thread.join()));
        }
    });
}

#[test]
fn destructors_that_wait_neither_hang_nor_abort_and_know_who_unwinds() {
    let variable = |name: &str| env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let seed = variable("GREEN_STRESS_SEED").unwrap_or_else(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.expect("after 1970").as_nanos() as u64
    });
    let for_at_least = Duration::from_secs(variable("GREEN_STRESS_SECS").unwrap_or(1));
    let seed_text = seed.to_string();
    let ended = in_a_child(&[("GREEN_STRESS_SEED", &seed_text)], || {
        eprintln!("seed {seed}");
        panic::set_hook(Box::new(|_| ()));
        let start = Instant::now();
        let mut random = Random::new(seed);
        for number in 0.. {
            if number >= scaled(32) && start.elapsed() >= for_at_least {
                break;
            }
            let random = random.fork();
            bounded(move || round(1 + number % 2, random));
        }
    });
    ended.assert_success();
}
