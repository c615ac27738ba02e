//! Where threads start that live long: not all on one worker. (A started thread stays where it is.)
//!
//! A machine that has other things to do may keep a worker from its CPU for as long as a whole test lasts; that worker then gets few
//! threads, and rightly so. So each of these is tried some times over, while no other is, and has to come right most times.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod help;

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use green::channel::{Receiver, Sender, unbounded};
use green::thread::JoinHandle;
use help::{bounded, nearly_always, os_thread, runtime, spin_until, until, until_parked};

/// So many of ten tries have to come right.
const RIGHT: usize = 9;

/// Two tests at once would keep each other's workers from their CPUs.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Threads that wait for a first job, which never comes, and the OS thread of the worker on which each is.
#[derive(Clone)]
struct Pool {
    workers: usize,
    homes: Arc<Mutex<Vec<u64>>>,
    jobs: Receiver<()>,
    /// Dropped, it ends them.
    open: Arc<Mutex<Option<Sender<()>>>>,
}

impl Pool {
    fn new(workers: usize) -> Self {
        let (open, jobs) = unbounded();
        Self { workers, homes: Arc::default(), jobs, open: Arc::new(Mutex::new(Some(open))) }
    }

    /// The closure of each of its threads: of one kind.
    fn thread(&self) -> impl FnOnce() + Send + 'static + use<> {
        let (homes, jobs) = (self.homes.clone(), self.jobs.clone());
        move || {
            homes.lock().unwrap().push(os_thread());
            assert!(jobs.recv().is_err());
        }
    }

    fn has(&self, threads: usize) -> bool {
        self.homes.lock().unwrap().len() == threads
    }

    fn end(&self, threads: Vec<JoinHandle<()>>) {
        self.open.lock().unwrap().take();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    /// On how many workers they are, and how many on the one that has most.
    fn spread(&self) -> (usize, usize) {
        let mut counts = HashMap::new();
        self.homes.lock().unwrap().iter().for_each(|home| *counts.entry(*home).or_insert(0) += 1);
        (counts.len(), counts.into_values().max().unwrap_or(0))
    }

    /// Within 60:40 on two workers; on more, each has some and none more than twice its share. Where a worker has no processor of its own, one may have come too late.
    fn is_spread(&self) -> bool {
        let threads = self.homes.lock().unwrap().len();
        let (workers, most) = self.spread();
        let bound = if self.workers == 2 { threads * 6 / 10 } else { threads * 2 / self.workers };
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        workers + usize::from(self.workers > processors.max(2)) >= self.workers && most <= bound
    }
}

/// `fill` starts so many threads of the pool in a runtime of its own, and ends them when all are there.
#[track_caller]
fn spreads(threads: usize, fill: impl Fn(&Pool, usize) + Send + Sync + Clone + 'static) {
    let _alone = alone();
    for workers in [2, 4] {
        nearly_always(RIGHT, &format!("{threads} threads on {workers} workers, (workers, most on one)"), || {
            let (pool, fill) = (Pool::new(workers), fill.clone());
            let filled = pool.clone();
            bounded(move || fill(&filled, threads));
            assert!(pool.has(threads));
            (pool.spread(), pool.is_spread())
        });
    }
}

#[test]
fn a_pool_that_is_spawned_in_a_loop_before_its_first_job_is_on_all_workers() {
    for threads in [8, 20] {
        spreads(threads, |pool, threads| {
            let pool = pool.clone();
            runtime(pool.workers).run(move || {
                let spawned = (0..threads).map(|_| green::spawn(pool.thread())).collect();
                until(|| pool.has(threads));
                pool.end(spawned);
            });
        });
    }
}

#[test]
fn a_pool_whose_threads_are_spawned_2_ms_apart_is_on_all_workers() {
    for threads in [8, 20] {
        spreads(threads, |pool, threads| {
            let pool = pool.clone();
            runtime(pool.workers).run(move || {
                let spawn = |_| {
                    green::sleep(Duration::from_millis(2));
                    green::spawn(pool.thread())
                };
                let spawned = (0..threads).map(spawn).collect();
                until(|| pool.has(threads));
                pool.end(spawned);
            });
        });
    }
}

#[test]
fn a_pool_that_is_joined_at_once_is_on_all_workers() {
    spreads(8, |pool, threads| {
        let (pool, ending) = (pool.clone(), pool.clone());
        let runtime = runtime(pool.workers);
        let joins = runtime.spawn(move || {
            let spawned: Vec<_> = (0..threads).map(|_| green::spawn(pool.thread())).collect();
            spawned.into_iter().for_each(|thread| thread.join().unwrap());
        });
        spin_until("the pool", || ending.has(threads));
        ending.end(Vec::new());
        joins.join().unwrap();
    });
}

#[test]
fn a_pool_that_an_os_thread_spawns_is_on_all_workers() {
    for threads in [8, 20] {
        spreads(threads, |pool, threads| {
            let runtime = runtime(pool.workers);
            let spawned = (0..threads).map(|_| runtime.spawn(pool.thread())).collect();
            spin_until("the pool", || pool.has(threads));
            pool.end(spawned);
        });
    }
}

#[test]
fn what_the_threads_of_a_pool_compute_is_shared_out() {
    let _alone = alone();
    // So many rounds that what each does is seen to be on its worker.
    nearly_always(RIGHT, "of 500 turns one worker had", || {
        let pool = Pool::new(2);
        let worked = pool.clone();
        let spans = bounded(move || {
            let pool = worked;
            runtime(2).run(move || {
                let work = || {
                    let run = pool.thread();
                    green::spawn(move || {
                        run();
                        (0..50).for_each(|n| {
                            std::hint::black_box((0..20_000_u64).fold(n, |sum: u64, n| sum.rotate_left(3) ^ n));
                            green::yield_now();
                        });
                        os_thread()
                    })
                };
                let spawned: Vec<_> = (0..10).map(|_| work()).collect();
                until(|| pool.has(10));
                pool.end(Vec::new());
                let mut turns = HashMap::new();
                for thread in spawned {
                    *turns.entry(thread.join().unwrap()).or_insert(0) += 50;
                }
                turns.into_values().max().unwrap_or(0)
            })
        });
        (spans, spans <= 300)
    });
}

/// Threads that compute for long, and are few: each has to have a worker, as long as there are workers.
#[test]
fn two_threads_that_compute_and_were_spawned_2_ms_apart_were_on_one_of_two_workers() {
    let _alone = alone();
    for threads in 2..=4 {
        nearly_always(RIGHT, &format!("{threads} threads that compute on two workers, (workers, most on one)"), || {
            let pool = Pool::new(2);
            let computed = pool.clone();
            bounded(move || {
                runtime(2).run(move || {
                    let over = Arc::new(AtomicBool::new(false));
                    let spawn = |_| {
                        green::sleep(Duration::from_millis(2));
                        let (homes, over) = (computed.homes.clone(), over.clone());
                        green::spawn(move || {
                            homes.lock().unwrap().push(os_thread());
                            while !over.load(Relaxed) {
                                std::hint::black_box((0..20_000_u64).fold(0, |sum: u64, n| sum.rotate_left(3) ^ n));
                                green::yield_now();
                            }
                        })
                    };
                    let spawned: Vec<_> = (0..threads).map(spawn).collect();
                    until(|| computed.has(threads));
                    over.store(true, Relaxed);
                    computed.end(spawned);
                });
            });
            let (workers, most) = pool.spread();
            ((workers, most), workers == 2 && most <= threads.div_ceil(2))
        });
    }
}

#[test]
fn a_pair_that_talks_stays_together() {
    let _alone = alone();
    let together = || {
        runtime(2).run(|| {
            // Their kinds are known to wait.
            let mut pair = (None, None);
            for _ in 0..5 {
                let ((ask, asked), (answer, answered)) = (unbounded::<u32>(), unbounded::<u32>());
                let first = green::spawn(move || {
                    asked.iter().for_each(|n| answer.send(n + 1).unwrap());
                    os_thread()
                });
                until_parked(first.thread(), "channel receive");
                let second = green::spawn(move || {
                    (0..100).for_each(|n| {
                        ask.send(n).unwrap();
                        assert_eq!(answered.recv().unwrap(), n + 1);
                    });
                    os_thread()
                });
                pair = (Some(first.join().unwrap()), Some(second.join().unwrap()));
            }
            pair.0 == pair.1
        })
    };
    nearly_always(RIGHT, "a pair together", || {
        let are = bounded(together);
        (are, are)
    });
}

/// What would be given away is kept when the other workers have ended: the runtime ends with all its threads.
#[test]
fn a_runtime_that_is_dropped_while_threads_are_given_away_ends_with_all_of_them() {
    let _alone = alone();
    struct Count(Arc<Mutex<usize>>);
    impl Drop for Count {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
        }
    }
    for round in 0..100 {
        let (begun, ended) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
        let (counted, counts) = (begun.clone(), ended.clone());
        bounded(move || {
            let runtime = runtime(3);
            runtime.spawn(move || {
                loop {
                    *counted.lock().unwrap() += 1;
                    let count = Count(counts.clone());
                    green::spawn(move || {
                        let _count = count;
                        green::thread::park();
                    });
                    green::sleep(Duration::from_micros(round % 7 * 10));
                }
            });
            std::thread::sleep(Duration::from_micros(round * 20));
            drop(runtime);
        });
        assert_eq!(*begun.lock().unwrap(), *ended.lock().unwrap());
    }
}
