//! `blocking`: the pool of OS threads, its bounds, and what its closures may do.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod help;

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant};

use green::{Cancelled, Runtime};
use help::{Flag, bounded, everywhere, in_a_child, on_workers, runtime, spin_until};

#[test]
fn a_closure_runs_on_another_os_thread_and_may_borrow() {
    on_workers(|| {
        let text = String::from("borrowed");
        let mut place = 0;
        let here = std::thread::current().id();
        let there = green::blocking(|| {
            place = text.len();
            std::thread::current().id()
        });
        assert_eq!(place, 8);
        assert_ne!(here, there);
    });
}

#[test]
fn on_a_plain_os_thread_the_closure_runs_where_it_is() {
    let here = std::thread::current().id();
    assert_eq!(green::blocking(|| std::thread::current().id()), here);
}

#[test]
fn a_panic_of_the_closure_is_handed_back() {
    everywhere(|| {
        let payload = catch_unwind(|| green::blocking(|| std::panic::resume_unwind(Box::new(17)))).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&17));
        assert_eq!(green::blocking(|| 1), 1, "the pool goes on");
    });
}

#[test]
fn a_closure_that_blocks_does_not_stop_the_worker() {
    bounded(|| {
        runtime(1).run(|| {
            let (sender, receiver) = mpsc::channel();
            green::spawn(move || sender.send(5).unwrap());
            assert_eq!(green::blocking(move || receiver.recv().unwrap()), 5);
        });
    });
}

#[test]
fn as_many_closures_run_at_one_time_as_there_are_threads_and_no_more() {
    bounded(|| {
        let threads = 3;
        let runtime = Runtime::builder().workers(2).blocking_threads(threads).blocking_queue(2).build().unwrap();
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        // All three have to be there together.
        let together = Barrier::new(threads);
        runtime.run(|| {
            green::scope(|s| {
                for _ in 0..threads * 7 {
                    s.spawn(|| {
                        green::blocking(|| {
                            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            together.wait();
                            now.fetch_sub(1, Ordering::SeqCst);
                        });
                    });
                }
            });
        });
        assert_eq!(most.into_inner(), threads);
    });
}

#[test]
fn a_caller_beyond_the_queue_can_be_cancelled_and_one_with_a_place_cannot() {
    bounded(|| {
        let runtime = Runtime::builder().workers(1).blocking_threads(1).blocking_queue(1).build().unwrap();
        runtime.run(|| {
            let (release, blocked) = mpsc::channel::<()>();
            let started = Arc::new(Flag::new());
            let flag = started.clone();
            let runs = green::spawn(move || {
                green::blocking(move || {
                    flag.set();
                    blocked.recv().unwrap();
                    "ran"
                })
            });
            while !started.is_set() {
                green::sleep(Duration::from_millis(1));
            }
            let queued = green::spawn(|| green::blocking(|| "ran"));
            let beyond = green::spawn(|| green::blocking(|| "ran"));
            green::sleep(Duration::from_millis(1));
            for thread in [&runs, &queued, &beyond] {
                thread.cancel();
            }
            assert!(beyond.join().unwrap_err().is::<Cancelled>());
            assert!(!runs.is_finished() && !queued.is_finished());
            release.send(()).unwrap();
            // What they return is their result: there is no blocking call after it.
            assert_eq!(runs.join().unwrap(), "ran");
            assert_eq!(queued.join().unwrap(), "ran");
            assert_eq!(green::blocking(|| 1), 1, "the place of the cancelled caller is free again");
        });
    });
}

#[test]
fn many_callers_get_through_a_small_pool() {
    bounded(|| {
        for (threads, queue) in [(1, 1), (2, 1), (1, 8), (4, 4)] {
            let builder = Runtime::builder().workers(4).blocking_threads(threads).blocking_queue(queue);
            let (runtime, sum) = (builder.build().unwrap(), AtomicUsize::new(0));
            runtime.run(|| {
                green::scope(|s| {
                    for n in 0..200 {
                        let sum = &sum;
                        s.spawn(move || green::blocking(|| sum.fetch_add(n, Ordering::Relaxed)));
                    }
                });
            });
            assert_eq!(sum.into_inner(), 199 * 200 / 2);
        }
    });
}

#[test]
fn a_spawn_in_the_closure_stays_in_the_callers_runtime() {
    bounded(|| {
        let builder = Runtime::builder().workers(1).thread_name("mine");
        let name = builder.build().unwrap().run(|| {
            green::blocking(|| {
                let spawned = green::spawn(|| std::thread::current().name().map(str::to_owned));
                (spawned.join().unwrap(), green::run(|| std::thread::current().name().map(str::to_owned)))
            })
        });
        assert_eq!(name, (Some("mine-0".to_owned()), Some("mine-0".to_owned())));
    });
}

#[test]
fn a_runtime_that_is_dropped_in_a_blocking_closure_of_its_own_does_not_wait_for_itself() {
    bounded(|| {
        let runtime = runtime(2);
        let handle = runtime.spawn(|| {
            green::thread::park();
            // Not dropped before the handover below.
            unreachable!("nobody unparks it");
        });
        let (sender, receiver) = mpsc::channel::<Runtime>();
        let drops = runtime.spawn(move || {
            let runtime = receiver.recv().unwrap();
            green::blocking(move || drop(runtime));
            "went on"
        });
        sender.send(runtime).unwrap();
        assert_eq!(drops.join().unwrap(), "went on");
        assert!(handle.join().unwrap_err().is::<Cancelled>());
    });
}

#[test]
fn a_runtime_that_is_dropped_waits_for_the_closures_that_run() {
    bounded(|| {
        let runtime = runtime(2);
        let (started, done) = (Arc::new(Flag::new()), Arc::new(Flag::new()));
        let (flag, end) = (started.clone(), done.clone());
        runtime.spawn(move || {
            green::blocking(|| {
                flag.set();
                std::thread::sleep(Duration::from_millis(20));
                end.set();
            });
        });
        spin_until("the closure", || started.is_set());
        drop(runtime);
        assert!(done.is_set());
    });
}

#[test]
fn when_no_os_thread_can_be_had_the_closure_runs_where_it_is_and_nobody_waits_for_ever() {
    let ended = in_a_child(&[], || {
        let runtime = Runtime::builder().workers(4).blocking_threads(2).build().unwrap();
        // The stacks that are used below are there.
        runtime
            .run(|| green::scope(|s| (0..1000).for_each(|_| drop(s.spawn(|| green::sleep(Duration::from_millis(5)))))));
        // No thread's stack fits into what is left of the address space.
        help::leave_address_space(1 << 20);
        let start = Instant::now();
        let mut rounds = 0;
        while start.elapsed() < Duration::from_millis(500) {
            let sum = AtomicUsize::new(0);
            runtime.run(|| {
                green::scope(|s| {
                    for _ in 0..16 {
                        s.spawn(|| green::blocking(|| sum.fetch_add(1, Ordering::Relaxed)));
                    }
                });
            });
            assert_eq!(sum.into_inner(), 16);
            rounds += 1;
        }
        eprintln!("{rounds} rounds");
        // Not for the runtime's end: that is another matter.
        std::process::exit(0);
    });
    ended.assert_success();
}
