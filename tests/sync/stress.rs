//! Random operations on a few shared objects, by green threads that are cancelled at random and by OS threads, for a bounded
//! time. The seed is printed first; `GREEN_SEED` sets it.

use std::env;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use green::sync::{Arc, Condvar, Mutex, RwLock, Semaphore, TryLockError};

use crate::help::{Random, bounded};

const TIME: Duration = Duration::from_millis(1200);
const PERMITS: u32 = 3;

fn short(random: &mut Random) -> Duration {
    Duration::from_micros(random.below(120))
}

struct Shared {
    mutex: Mutex<u64>,
    lock: RwLock<(u64, u64)>,
    condvar: Condvar,
    semaphore: Semaphore,
    inside: AtomicU64,
    done: AtomicU64,
    stop: AtomicBool,
}

impl Shared {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            mutex: Mutex::new(0),
            lock: RwLock::new((0, 0)),
            condvar: Condvar::new(),
            semaphore: Semaphore::new(PERMITS as usize),
            inside: AtomicU64::new(0),
            done: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        })
    }

    fn write(mut both: impl std::ops::DerefMut<Target = (u64, u64)>) {
        both.0 += 1;
        if both.0.is_multiple_of(5) {
            green::yield_now();
        }
        both.1 += 1;
    }

    fn read(both: impl std::ops::Deref<Target = (u64, u64)>) {
        let first = both.0;
        green::yield_now();
        assert_eq!((both.0, both.1), (first, first), "a writer was there, or had been left half way");
    }

    /// In the semaphore; a cancel may end it anywhere.
    fn visit(&self, permits: u32) {
        struct Leave<'a>(&'a AtomicU64, u64);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(self.1, Ordering::Relaxed);
            }
        }
        let now = self.inside.fetch_add(u64::from(permits), Ordering::Relaxed) + u64::from(permits);
        let _leave = Leave(&self.inside, u64::from(permits));
        assert!(now <= u64::from(PERMITS), "{now} permits are out");
        green::sleep(Duration::from_micros(u64::from(permits)));
    }

    fn step(&self, random: &mut Random) {
        match random.below(11) {
            0 | 1 => {
                *self.mutex.lock().unwrap() += 1;
                self.condvar.notify_one();
            }
            2 => match self.mutex.lock_timeout(short(random)) {
                Ok(mut value) => *value += 1,
                Err(error) => assert!(matches!(error, TryLockError::WouldBlock)),
            },
            3 => {
                let guard = self.mutex.lock().unwrap();
                let _held = self.condvar.wait_timeout(guard, short(random)).unwrap();
            }
            4 => {
                // The lock is held by a thread that does not run.
                let _held = self.mutex.lock().unwrap();
                green::sleep(short(random));
            }
            5 => Self::write(self.lock.write().unwrap()),
            6 => drop(self.lock.write_timeout(short(random)).map(Self::write)),
            7 => Self::read(self.lock.read().unwrap()),
            8 => drop(self.lock.read_timeout(short(random)).map(Self::read)),
            9 => {
                let permits = 1 + random.below(u64::from(PERMITS)) as u32;
                let _permits = self.semaphore.acquire_many(permits);
                self.visit(permits);
            }
            _ => {
                if let Some(_permit) = self.semaphore.acquire_timeout(short(random)) {
                    self.visit(1);
                }
            }
        }
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    fn run(&self, mut random: Random) {
        while !self.stop.load(Ordering::Relaxed) {
            self.step(&mut random);
        }
    }
}

fn stress(workers: usize, seed: u64) {
    let shared = Shared::new();
    let runtime = crate::help::builder().workers(workers).build().unwrap();
    let mut random = Random::new(seed);
    let green = |number: u64| {
        let shared = shared.clone();
        runtime.spawn(move || shared.run(Random::new(number)))
    };
    let os: Vec<_> = (0..2)
        .map(|_| {
            let (shared, seed) = (shared.clone(), random.below(u64::MAX));
            std::thread::spawn(move || shared.run(Random::new(seed)))
        })
        .collect();
    let mut threads: Vec<_> = (0..8).map(|_| green(random.below(u64::MAX))).collect();
    let start = Instant::now();
    let mut cancelled = 0;
    while start.elapsed() < TIME {
        // Whoever is cancelled is replaced.
        let victim = random.below(threads.len() as u64) as usize;
        let thread = std::mem::replace(&mut threads[victim], green(random.below(u64::MAX)));
        thread.cancel();
        assert!(thread.join().unwrap_err().is::<green::Cancelled>());
        cancelled += 1;
        std::thread::sleep(short(&mut random));
    }
    shared.stop.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    for thread in os {
        thread.join().unwrap();
    }
    eprintln!("{workers} workers: {} steps, {cancelled} cancelled", shared.done.load(Ordering::Relaxed));
    // Nobody has left anything behind.
    assert!(shared.mutex.try_lock().is_ok() && shared.lock.try_write().is_ok());
    assert_eq!(shared.semaphore.available_permits(), PERMITS as usize);
    assert!(cancelled > 0);
}

#[test]
fn random_operations_time_outs_and_cancels_leave_everything_whole() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = env::var("GREEN_SEED").map_or(now, |seed| seed.parse().expect("GREEN_SEED is a number"));
    eprintln!("GREEN_SEED={seed}");
    for workers in [1, 2] {
        bounded(move || stress(workers, seed));
    }
}
