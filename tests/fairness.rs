//! Nobody is forgotten: chatty pairs, chains of spawns, threads that compute, and the order of starts.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod help;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use help::{Flag, bounded, in_a_child, runtime, spin_until};

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
            let (spawned, ran, next) = (Arc::new(Flag::new()), child.clone(), woken.thread.thread().clone());
            let (was_spawned, has_run) = (spawned.clone(), child.clone());
            computes.tell(move || {
                // The lookout has had the time to find its office.
                let until = Instant::now() + Duration::from_millis(5);
                while Instant::now() < until {}
                drop(green::spawn(move || ran.set()));
                next.unpark();
                was_spawned.set();
                spin_until("the child, to the one that spawned it,", || has_run.is_set());
            });
            let has_run = child.clone();
            *woken.job.lock().unwrap() =
                Some(Box::new(move || spin_until("the child, to the other one,", || has_run.is_set())));
            computes.thread.thread().unpark();
            spin_until("the child", || child.is_set());
            assert!(spawned.is_set());
        }
    });
}

struct Occupant {
    thread: green::thread::JoinHandle<()>,
    job: Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>,
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
            let (here, job) = (here.clone(), Arc::new(Mutex::new(None::<Box<dyn FnOnce() + Send>>)));
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
