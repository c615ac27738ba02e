//! Random programs over all of the core: spawn, join, park, unpark, sleep, cancel, time-out, scope, yield, panic, blocking,
//! locals; on one, two and four workers and from OS threads. The seed is printed first; `GREEN_STRESS_SEED` sets it, and
//! `GREEN_STRESS_SECS` how long it goes on.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod help;

use std::cell::Cell;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, set_hook, take_hook};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use green::thread::{JoinHandle, Thread};
use green::{Cancelled, Runtime};
use help::{Random, bounded, runtime, scaled};

/// A thread, and its handle if it may be cancelled.
type Target = (Thread, Option<Arc<JoinHandle<u64>>>);

/// What all threads of one round share, and what must be true of it in the end.
#[derive(Default)]
struct World {
    spawned: AtomicUsize,
    /// Closures that are gone: run, cancelled or dropped.
    closures: AtomicUsize,
    /// Frames and values that are there now.
    alive: AtomicI64,
    locals: AtomicI64,
    operations: AtomicU64,
    /// Threads that somebody may unpark or cancel.
    targets: Mutex<Vec<Target>>,
}

/// Counts itself while it is there.
struct Alive<'a>(&'a AtomicI64);

impl<'a> Alive<'a> {
    fn new(count: &'a AtomicI64) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Owned by the closure of each spawned thread.
struct Closure(Arc<World>);

impl Drop for Closure {
    fn drop(&mut self) {
        self.0.closures.fetch_add(1, Ordering::SeqCst);
    }
}

/// A `local!` value, which waits in its destructor.
struct Local(Arc<World>);

impl Drop for Local {
    fn drop(&mut self) {
        green::yield_now();
        self.0.locals.fetch_sub(1, Ordering::SeqCst);
    }
}

green::local! {
    static LOCAL: Cell<Option<Local>> = Cell::new(None);
    static NUMBER: Cell<u64> = Cell::new(0);
}

/// The payload of a panic of this test's own.
struct Thrown(u64);

/// A panic that the hook sees and does not print: std's `resume_unwind` goes past the hook, and then a neighbour that is
/// suspended unwinding hides it, see `park::interrupt`.
fn throw() -> ! {
    panic_any(Thrown(0xdcba))
}

fn quiet_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let default = take_hook();
        set_hook(Box::new(move |info| {
            if !info.payload().is::<Thrown>() {
                default(info);
            }
        }));
    });
}

fn spawn(world: &Arc<World>, random: &mut Random, depth: u32) -> JoinHandle<u64> {
    world.spawned.fetch_add(1, Ordering::SeqCst);
    let closure = Closure(world.clone());
    let mut random = Random::new(random.next());
    green::spawn(move || {
        let closure = closure;
        program(&closure.0, &mut random, depth)
    })
}

/// What a join may give: the value that the thread computed, a panic of this test's, or a cancel.
fn check(result: std::thread::Result<u64>) {
    match result {
        Ok(value) => assert_eq!(value >> 32, 0xabcd),
        Err(payload) if payload.is::<Cancelled>() => {}
        Err(payload) => assert_eq!(payload.downcast_ref::<Thrown>().expect("a known payload").0, 0xdcba),
    }
}

/// One thread's random program. Whatever happens to it, its frames are unwound.
fn program(world: &Arc<World>, random: &mut Random, depth: u32) -> u64 {
    let _alive = Alive::new(&world.alive);
    let number = random.next();
    NUMBER.set(number);
    let mut children: Vec<JoinHandle<u64>> = vec![];
    for _ in 0..random.below(12) {
        world.operations.fetch_add(1, Ordering::Relaxed);
        operation(world, random, depth, &mut children);
        assert_eq!(NUMBER.get(), number, "another thread's local");
    }
    for child in children {
        if random.below(4) != 0 {
            check(child.join());
        }
    }
    if random.below(16) == 0 {
        throw();
    }
    0xabcd << 32
}

fn operation(world: &Arc<World>, random: &mut Random, depth: u32, children: &mut Vec<JoinHandle<u64>>) {
    match random.below(17) {
        0..=2 if depth > 0 => children.push(spawn(world, random, depth - 1)),
        3 => green::yield_now(),
        4 => green::sleep(Duration::from_micros(random.below(300))),
        5 => green::thread::park_timeout(Duration::from_micros(random.below(300))),
        6 => parked(world, random),
        7 => targets(world, random),
        8 if depth > 0 => cancel(spawn(world, random, depth - 1), random),
        9 => timed(world, random, depth),
        10 if depth > 0 => scoped(world, random, depth),
        11 => assert_eq!(green::blocking(|| random.below(7)) / 7, 0),
        12 => {
            if LOCAL.take().is_none() {
                world.locals.fetch_add(1, Ordering::SeqCst);
                LOCAL.set(Some(Local(world.clone())));
            }
        }
        13 => unwinding(world, random, depth),
        14 => {
            if let Some(child) = children.pop() {
                if random.below(2) == 0 { check(child.join()) } else { drop(child) }
            }
        }
        15 if depth > 0 => {
            let number = NUMBER.get();
            let result = catch_unwind(AssertUnwindSafe(|| program(world, random, depth - 1)));
            NUMBER.set(number);
            // A cancel that is swallowed here comes again.
            if let Err(payload) = result {
                assert!(payload.is::<Cancelled>() || payload.is::<Thrown>() || is_time_out(&*payload));
            }
        }
        _ => drop(std::hint::black_box(random.next())),
    }
}

/// The payload of a time-out is private: it is none of the known ones.
fn is_time_out(payload: &(dyn std::any::Any + Send)) -> bool {
    !payload.is::<String>() && !payload.is::<&str>()
}

/// Parks where others may find it; a time-out sees to it that it does not hang if nobody comes.
fn parked(world: &Arc<World>, random: &mut Random) {
    world.targets.lock().unwrap().push((green::thread::current(), None));
    green::thread::park_timeout(Duration::from_micros(500 + random.below(500)));
}

/// Wakes or cancels somebody.
fn targets(world: &Arc<World>, random: &mut Random) {
    let target = {
        let mut targets = world.targets.lock().unwrap();
        let len = targets.len() as u64;
        if len > 64 {
            targets.drain(..32);
        }
        if targets.is_empty() { None } else { Some(targets[random.below(targets.len() as u64) as usize].clone()) }
    };
    match target {
        Some((_, Some(handle))) if random.below(2) == 0 => handle.cancel(),
        Some((thread, _)) => thread.unpark(),
        None => {}
    }
}

fn cancel(thread: JoinHandle<u64>, random: &mut Random) {
    match random.below(3) {
        0 => {}
        1 => green::yield_now(),
        _ => green::sleep(Duration::from_micros(random.below(200))),
    }
    thread.cancel();
    if random.below(2) == 0 {
        thread.cancel();
    }
    check(thread.join());
}

fn timed(world: &Arc<World>, random: &mut Random, depth: u32) {
    let start = Instant::now();
    let limit = Duration::from_micros(random.below(400));
    let number = NUMBER.get();
    let result = green::timeout(limit, || {
        let _alive = Alive::new(&world.alive);
        match random.below(4) {
            0 => green::thread::park_timeout(Duration::from_millis(50)),
            1 => check(spawn(world, random, depth.saturating_sub(2)).join()),
            2 => timed(world, random, depth.saturating_sub(1)),
            _ => green::sleep(Duration::from_micros(random.below(600))),
        }
    });
    NUMBER.set(number);
    if result.is_err() {
        assert!(start.elapsed() >= limit, "a time-out came early");
    }
}

fn scoped(world: &Arc<World>, random: &mut Random, depth: u32) {
    let borrowed = AtomicUsize::new(0);
    let count = 1 + random.below(4) as usize;
    let done = green::scope(|s| {
        for _ in 0..count {
            let (choice, mut random, borrowed) = (random.below(5), Random::new(random.next()), &borrowed);
            world.spawned.fetch_add(1, Ordering::SeqCst);
            let closure = Closure(world.clone());
            let thread = s.spawn(move || {
                let closure = closure;
                let result = catch_unwind(AssertUnwindSafe(|| program(&closure.0, &mut random, depth - 1)));
                borrowed.fetch_add(1, Ordering::SeqCst);
                assert!(!result.is_err_and(|payload| payload.is::<String>()));
            });
            match choice {
                0 => thread.cancel(),
                1 => drop(thread.join()),
                2 => std::mem::forget(thread),
                _ => {}
            }
        }
        borrowed.load(Ordering::SeqCst)
    });
    assert!(done <= borrowed.load(Ordering::SeqCst) && borrowed.into_inner() <= count);
}

/// A destructor that waits while the thread unwinds, with a child that it cancels and joins.
fn unwinding(world: &Arc<World>, random: &mut Random, depth: u32) {
    struct Waits<'a>(&'a Arc<World>, Random, u32);
    impl Drop for Waits<'_> {
        fn drop(&mut self) {
            let Waits(world, random, depth) = self;
            let child = spawn(world, random, depth.saturating_sub(2));
            green::sleep(Duration::from_micros(random.below(100)));
            child.cancel();
            check(child.join());
        }
    }
    let result = catch_unwind(AssertUnwindSafe(|| {
        let _waits = Waits(world, Random::new(random.next()), depth);
        throw();
    }));
    assert!(result.unwrap_err().is::<Thrown>());
}

/// Runs one world to its end and checks what must hold then.
fn round(runtime: &Runtime, seed: u64) -> u64 {
    let world = Arc::new(World::default());
    let mut random = Random::new(seed);
    let mut os_threads = vec![];
    for _ in 0..random.below(3) {
        let (world, mut random) = (world.clone(), Random::new(random.next()));
        os_threads.push(std::thread::spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(|| program(&world, &mut random, 3)));
            assert!(result.is_ok() || result.unwrap_err().is::<Thrown>());
        }));
    }
    let roots: Vec<_> = (0..1 + random.below(6))
        .map(|_| {
            world.spawned.fetch_add(1, Ordering::SeqCst);
            let (closure, mut random) = (Closure(world.clone()), Random::new(random.next()));
            let thread = runtime.spawn(move || {
                let closure = closure;
                program(&closure.0, &mut random, 4)
            });
            let thread = Arc::new(thread);
            world.targets.lock().unwrap().push((thread.thread().clone(), Some(thread.clone())));
            thread
        })
        .collect();
    for thread in os_threads {
        thread.join().unwrap();
    }
    help::spin_until("the roots' end", || roots.iter().all(|root| root.is_finished()));
    world.targets.lock().unwrap().clear();
    for root in roots {
        // A detached thread may have taken it as its target, just before.
        help::spin_until("the end of its use as a target", || Arc::strong_count(&root) == 1);
        check(Arc::into_inner(root).expect("nobody else holds it").join());
    }
    // Detached threads may still run; a scope's never do.
    help::spin_until("the end of detached threads", || {
        world.closures.load(Ordering::SeqCst) == world.spawned.load(Ordering::SeqCst)
            && world.alive.load(Ordering::SeqCst) == 0
            && world.locals.load(Ordering::SeqCst) == 0
    });
    world.operations.load(Ordering::Relaxed)
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name}={value} is not a number")))
}

#[test]
fn random_programs_end_and_leave_nothing_behind() {
    let time = Duration::from_secs(number("GREEN_STRESS_SECS").unwrap_or(3));
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = number("GREEN_STRESS_SEED").unwrap_or(clock.as_nanos() as u64 >> 8);
    println!("GREEN_STRESS_SEED={seed}");
    quiet_hook();
    let start = Instant::now();
    let (mut rounds, mut operations) = (0, 0);
    while start.elapsed() < time {
        for workers in [1, 2, 4] {
            operations += bounded(move || {
                let runtime = runtime(workers);
                let mut operations = 0;
                for n in 0..scaled(16) as u64 {
                    let seed = seed.wrapping_add(rounds * 1000 + n);
                    operations += round(&runtime, seed);
                }
                operations
            });
            rounds += 1;
        }
    }
    println!("{rounds} runtimes, {operations} operations");
    assert!(operations > 0);
}

/// The same, but the runtime is dropped in the middle: everything unwinds.
#[test]
fn random_programs_are_unwound_when_their_runtime_is_dropped() {
    let seed = number("GREEN_STRESS_SEED").unwrap_or(std::process::id().into());
    println!("GREEN_STRESS_SEED={seed}");
    quiet_hook();
    let time = Duration::from_secs(number("GREEN_STRESS_SECS").unwrap_or(3) / 3);
    let (start, mut n) = (Instant::now(), 0);
    while start.elapsed() < time {
        n += 1;
        let world = bounded(move || {
            let mut random = Random::new(seed.wrapping_add(n));
            let (runtime, world) = (runtime(1 << random.below(3)), Arc::new(World::default()));
            for _ in 0..10 {
                world.spawned.fetch_add(1, Ordering::SeqCst);
                let (closure, mut random) = (Closure(world.clone()), Random::new(random.next()));
                drop(runtime.spawn(move || {
                    let closure = closure;
                    loop {
                        let _ = program(&closure.0, &mut random, 4);
                        green::sleep(Duration::ZERO);
                    }
                }));
            }
            std::thread::sleep(Duration::from_micros(random.below(3000)));
            drop(runtime);
            world
        });
        world.targets.lock().unwrap().clear();
        let left = |count: &AtomicI64| count.load(Ordering::SeqCst);
        assert_eq!((left(&world.alive), left(&world.locals)), (0, 0), "frames or values of run {n} are left");
        assert_eq!(world.closures.load(Ordering::SeqCst), world.spawned.load(Ordering::SeqCst), "run {n}");
    }
}
