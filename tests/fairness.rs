//! Nobody is forgotten: chatty pairs, chains of spawns, threads that compute, and the order of starts.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod help;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use help::{Flag, bounded, in_a_child, on_workers, runtime, scaled, spin_until};

#[test]
fn a_thread_spawned_from_outside_starts_although_every_thread_inside_spawns_another() {
    bounded(|| {
        for workers in [1, 2] {
            let runtime = runtime(workers);
            let stop = Arc::new(Flag::new());
            fn chain(stop: Arc<Flag>) {
                if !stop.is_set() {
                    green::spawn(move || chain(stop));
                }
            }
            for _ in 0..workers {
                let stop = stop.clone();
                runtime.spawn(move || chain(stop));
            }
            let done = runtime.spawn(|| 5);
            assert_eq!(done.join().unwrap(), 5);
            stop.set();
        }
    });
}

/// Three workers: one computes and has spawned one thread, another computes, the third has nothing to do. Which of the
/// idle two is the lookout is not known here, so each is the one that is made to compute once.
#[test]
fn a_lookout_that_gets_work_of_its_own_does_not_leave_a_single_unstarted_thread_to_nobody() {
    bounded(|| {
        for round in 0..20 {
            let runtime = runtime(3);
            let workers = occupy_every_worker(&runtime);
            let [computes, woken, _idle] = &workers[..] else { unreachable!() };
            let woken = if round % 2 == 0 { woken } else { &workers[2] };
            // All three sleep; then the first wakes up, and the other two go on sleeping, one as the lookout.
            std::thread::sleep(Duration::from_millis(3));
            let child = Arc::new(Flag::new());
            let (ran, has_run, next) = (child.clone(), child.clone(), woken.thread.thread().clone());
            computes.tell(move || {
                // The lookout has had the time to find its office.
                let until = Instant::now() + Duration::from_millis(5);
                while Instant::now() < until {}
                drop(green::spawn(move || ran.set()));
                next.unpark();
                spin_until("the child, to the one that spawned it,", || has_run.is_set());
            });
            let has_run = child.clone();
            *woken.job.lock().unwrap() =
                Some(Box::new(move || spin_until("the child, to the other one,", || has_run.is_set())));
            computes.thread.thread().unpark();
            spin_until("the child", || child.is_set());
        }
    });
}

type Job = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

struct Occupant {
    thread: green::thread::JoinHandle<()>,
    job: Job,
}

impl Occupant {
    fn tell(&self, job: impl FnOnce() + Send + 'static) {
        *self.job.lock().unwrap() = Some(Box::new(job));
    }
}

/// One thread on each worker, parked; it does each job that it finds when it is unparked.
fn occupy_every_worker(runtime: &green::Runtime) -> Vec<Occupant> {
    let count = runtime.workers();
    let here = Arc::new(AtomicUsize::new(0));
    let occupants: Vec<_> = (0..count)
        .map(|_| {
            let (here, job) = (here.clone(), Job::default());
            let jobs = job.clone();
            let thread = runtime.spawn(move || {
                here.fetch_add(1, Ordering::SeqCst);
                // It does not leave its worker to another before each has one.
                spin_until("an occupant for each worker", || here.load(Ordering::SeqCst) == count);
                loop {
                    green::thread::park();
                    let job = jobs.lock().unwrap().take();
                    if let Some(job) = job {
                        job();
                    }
                }
            });
            Occupant { thread, job }
        })
        .collect();
    spin_until("the occupants", || here.load(Ordering::SeqCst) == count);
    occupants
}

#[test]
fn with_two_workers_on_one_cpu_an_idle_worker_helps_one_that_computes() {
    let ended = in_a_child(&[], || {
        // SAFETY: zeros are an empty set, and the call reads one.
        unsafe {
            let mut cpus: libc::cpu_set_t = std::mem::zeroed();
            let current = usize::try_from(libc::sched_getcpu()).unwrap();
            libc::CPU_SET(current, &mut cpus);
            assert_eq!(libc::sched_setaffinity(0, size_of_val(&cpus), &raw const cpus), 0);
        }
        for _ in 0..20 {
            runtime(2).run(|| {
                let ran = Arc::new(AtomicUsize::new(0));
                let children = [(); 3].map(|()| {
                    let ran = ran.clone();
                    green::spawn(move || ran.fetch_add(1, Ordering::SeqCst))
                });
                spin_until("the children", || ran.load(Ordering::SeqCst) == children.len());
            });
        }
    });
    ended.assert_success();
}

#[test]
fn a_budget_that_is_used_up_inside_no_park_is_still_used_up_afterwards() {
    on_workers(|| {
        let ran = Arc::new(Flag::new());
        let flag = ran.clone();
        drop(green::spawn_local(move || flag.set()));
        // Calls that need not wait; in the middle of them is the one with which the budget ends.
        let me = green::thread::current();
        for _ in 0..100 {
            me.unpark();
            green::thread::park();
        }
        green::no_park(|| (0..100).for_each(|_| green::sleep(Duration::ZERO)));
        for _ in 0..100 {
            me.unpark();
            green::thread::park();
        }
        assert!(ran.is_set(), "300 blocking calls and no turn for the neighbour");
    });
}

#[test]
fn a_pair_that_wakes_each_other_does_not_starve_neighbours_timers_or_threads_from_outside() {
    bounded(|| {
        let runtime = runtime(1);
        let stop = Arc::new(Flag::new());
        let pair: Vec<_> = (0..2)
            .map(|_| {
                let (stop, other) = (stop.clone(), Arc::new(Mutex::new(None::<green::thread::Thread>)));
                let set = other.clone();
                let thread = runtime.spawn(move || {
                    while !stop.is_set() {
                        if let Some(other) = &*other.lock().unwrap() {
                            other.unpark();
                        }
                        green::thread::park_timeout(Duration::from_millis(50));
                    }
                });
                (thread, set)
            })
            .collect();
        *pair[0].1.lock().unwrap() = Some(pair[1].0.thread().clone());
        *pair[1].1.lock().unwrap() = Some(pair[0].0.thread().clone());
        let start = Instant::now();
        runtime.run(|| {
            for _ in 0..100 {
                green::yield_now();
            }
            for _ in 0..20 {
                green::sleep(Duration::from_micros(100));
                green::spawn_local(|| ()).join().unwrap();
            }
        });
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        stop.set();
        for (thread, _) in pair {
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_thread_that_computes_does_not_keep_the_one_that_it_has_spawned_from_being_started() {
    bounded(|| {
        for workers in [2, 4] {
            for children in [1, 2, 5] {
                runtime(workers).run(|| {
                    let ran = Arc::new(AtomicUsize::new(0));
                    for _ in 0..children {
                        let ran = ran.clone();
                        drop(green::spawn(move || ran.fetch_add(1, Ordering::SeqCst)));
                    }
                    spin_until("the children", || ran.load(Ordering::SeqCst) == children);
                });
            }
        }
    });
}

#[test]
fn threads_start_in_the_order_in_which_they_were_spawned() {
    bounded(|| {
        let runtime = runtime(1);
        let order = Arc::new(Mutex::new(vec![]));
        runtime.run(|| {
            let note = |n: usize| {
                let order = order.clone();
                move || order.lock().unwrap().push(n)
            };
            let threads: Vec<_> = (0..scaled(1000)).map(|n| green::spawn(note(n))).collect();
            // The last to be joined is the last of all: the others are not started by their joiner.
            green::sleep(Duration::from_millis(1));
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        assert_eq!(*order.lock().unwrap(), (0..scaled(1000)).collect::<Vec<_>>());
    });
}

#[test]
fn a_big_tree_of_forks_and_joins_runs_on_few_stacks() {
    fn tree(depth: u32, stacks: &Arc<Mutex<std::collections::HashSet<usize>>>) -> usize {
        let local = 0_u8;
        // The stacks are 256 KiB, aligned to their size.
        stacks.lock().unwrap().insert((&raw const local).addr() >> 18);
        if depth == 0 {
            return 1;
        }
        let children: Vec<_> = (0..4)
            .map(|_| {
                let stacks = stacks.clone();
                green::spawn(move || tree(depth - 1, &stacks))
            })
            .collect();
        children.into_iter().map(|child| child.join().unwrap()).sum::<usize>()
    }
    bounded(|| {
        let depth = if help::EMULATED { 5 } else { 7 };
        let stacks = Arc::default();
        let leaves = runtime(1).run(|| tree(depth, &stacks));
        assert_eq!(leaves, 4_usize.pow(depth));
        let stacks = stacks.lock().unwrap().len();
        // The depth of the tree, and those that a round starts in between, so that nobody starves.
        assert!(stacks * if depth == 7 { 100 } else { 10 } <= leaves, "{leaves} leaves took {stacks} stacks");
    });
}

#[test]
fn trees_of_forks_and_joins_that_never_end_do_not_keep_another_thread_from_being_started() {
    bounded(|| {
        for workers in [1, 2] {
            let stop = Arc::new(Flag::new());
            runtime(workers).run(|| {
                let forks = |stop: Arc<Flag>| {
                    move || {
                        while !stop.is_set() {
                            green::spawn(|| ()).join().unwrap();
                        }
                    }
                };
                let trees: Vec<_> = (0..10).map(|_| green::spawn(forks(stop.clone()))).collect();
                let flag = stop.clone();
                drop(green::spawn(move || flag.set()));
                // The main thread waits for something that is not to be run by its joiner.
                stop.wait();
                trees.into_iter().for_each(|tree| tree.join().unwrap());
            });
        }
    });
}

/// Each thread of the tree runs on top of its joiner, and none waits for anything: the loop gets its turn all the same.
#[test]
fn a_tree_of_joins_that_never_waits_lets_the_others_run_meanwhile() {
    fn tree(depth: u32) -> usize {
        if depth == 0 { 1 } else { (0..2).map(|_| green::spawn(move || tree(depth - 1)).join().unwrap()).sum() }
    }
    bounded(|| {
        runtime(1).run(|| {
            let (turns, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(Flag::new()));
            let neighbour = {
                let (turns, done) = (turns.clone(), done.clone());
                green::spawn(move || {
                    while !done.is_set() {
                        turns.fetch_add(1, Ordering::Relaxed);
                        green::sleep(Duration::from_nanos(1));
                    }
                })
            };
            green::yield_now();
            let before = turns.load(Ordering::Relaxed);
            let depth = if help::EMULATED { 11 } else { 13 };
            assert_eq!(tree(depth), 1 << depth);
            let meanwhile = turns.load(Ordering::Relaxed) - before;
            done.set();
            neighbour.join().unwrap();
            // 2^(depth+1) joins at 128 a turn; a timer is looked at every few of them.
            assert!(meanwhile >= 2, "the neighbour had {meanwhile} turns");
        });
    });
}

#[test]
fn a_thread_that_yields_lets_everybody_else_run_once() {
    bounded(|| {
        runtime(1).run(|| {
            let counts = Arc::new([(); 10].map(|()| AtomicUsize::new(0)));
            let stop = Arc::new(Flag::new());
            for n in 0..10 {
                let (counts, stop) = (counts.clone(), stop.clone());
                drop(green::spawn(move || {
                    while !stop.is_set() {
                        counts[n].fetch_add(1, Ordering::Relaxed);
                        green::yield_now();
                    }
                }));
            }
            for _ in 0..200 {
                green::yield_now();
            }
            let counts = counts.each_ref().map(|count| count.load(Ordering::Relaxed));
            stop.set();
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(*least >= 190 && most - least <= 2, "{counts:?}");
        });
    });
}
