//! `blocking`: the pool of OS threads, its bounds, and what its closures may do.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod help;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant};

use green::{Cancelled, Runtime};
use help::{Flag, bounded, everywhere, in_a_child, on_workers, runtime, scaled, spin_until, until_parked};

#[test]
fn a_closure_runs_on_another_os_thread_and_may_borrow() {
    on_workers(|| {
        let text = String::from("borrowed");
        let mut place = 0;
        let here = help::os_thread();
        let there = green::blocking(|| {
            place = text.len();
            help::os_thread()
        });
        assert_eq!(place, 8);
        assert_ne!(here, there);
    });
}

#[test]
fn on_a_plain_os_thread_the_closure_runs_where_it_is() {
    let here = help::os_thread();
    assert_eq!(green::blocking(help::os_thread), here);
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
        let runtime = help::builder().workers(2).blocking_threads(threads).blocking_queue(2).build().unwrap();
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

/// Says when it is dropped, and where.
struct Dropped(mpsc::Sender<u64>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.send(help::os_thread());
    }
}

/// Runs `f` as a green thread of a runtime whose one pool thread is taken until `f` has returned.
fn with_the_pool_taken(workers: usize, queue: usize, f: impl FnOnce() + Send + 'static) {
    bounded(move || {
        let builder = help::builder().workers(workers).blocking_threads(1).blocking_queue(queue);
        builder.build().unwrap().run(|| {
            let (release, blocked) = mpsc::channel::<()>();
            let started = Flag::new();
            green::scope(|s| {
                let started = &started;
                s.spawn(move || {
                    green::blocking(move || {
                        started.set();
                        let _ = blocked.recv();
                    });
                });
                started.wait();
                let result = catch_unwind(AssertUnwindSafe(f));
                drop(release);
                result.unwrap_or_else(|panic| resume_unwind(panic));
            });
            assert_eq!(green::blocking(|| 1), 1, "the pool goes on");
        });
    });
}

#[test]
fn a_caller_whose_closure_waits_can_be_cancelled_and_one_whose_closure_runs_cannot() {
    bounded(|| {
        let runtime = help::builder().workers(1).blocking_threads(1).blocking_queue(1).build().unwrap();
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
            started.wait();
            let queued = green::spawn(|| green::blocking(|| "ran"));
            let beyond = green::spawn(|| green::blocking(|| "ran"));
            for thread in [&runs, &queued, &beyond] {
                until_parked(thread.thread(), "blocking");
            }
            for thread in [&runs, &queued, &beyond] {
                thread.cancel();
            }
            assert!(beyond.join().unwrap_err().is::<Cancelled>());
            assert!(queued.join().unwrap_err().is::<Cancelled>());
            assert!(!runs.is_finished());
            release.send(()).unwrap();
            // What it returns is its result: there is no blocking call after it.
            assert_eq!(runs.join().unwrap(), "ran");
            assert_eq!(green::blocking(|| 1), 1, "the places of the cancelled callers are free again");
        });
    });
}

#[test]
fn a_time_out_takes_a_closure_that_waits_out_of_the_queue_and_the_caller_drops_it() {
    for (workers, queue) in [(1, 1), (2, 8), (1, 8)] {
        with_the_pool_taken(workers, queue, || {
            let (sender, receiver) = mpsc::channel();
            // More than have a place in the queue, one after the other: each gives its place back.
            for _ in 0..20 {
                let (here, mark) = (help::os_thread(), Dropped(sender.clone()));
                let start = Instant::now();
                let result = green::timeout(Duration::from_millis(2), || {
                    green::blocking(move || {
                        let _mark = mark;
                        panic!("it must not run");
                    })
                });
                assert!(result.is_err() && start.elapsed() < Duration::from_secs(5));
                assert_eq!(receiver.try_recv().unwrap(), here);
            }
        });
    }
}

#[test]
fn a_closure_that_owns_what_it_uses_is_left_by_a_time_out_though_it_runs_and_its_value_is_dropped_there() {
    everywhere(|| {
        let mut d = Duration::from_millis(10);
        // Until a thread comes to the closure before the time is over.
        let (release, receiver) = loop {
            d *= 2;
            let (sender, receiver) = mpsc::channel();
            let (release, blocked) = mpsc::channel::<()>();
            let (mark, started) = (Dropped(sender), Arc::new(Flag::new()));
            let (start, flag) = (Instant::now(), started.clone());
            let result = green::timeout(d, || {
                green::unblock(move || {
                    flag.set();
                    let _ = blocked.recv();
                    (mark, help::os_thread())
                })
            });
            assert!(result.is_err() && start.elapsed() < d + Duration::from_secs(10));
            if started.is_set() {
                break (release, receiver);
            }
        };
        assert!(receiver.try_recv().is_err(), "it runs, and has all it owns");
        drop(release);
        let there = green::blocking(move || receiver.recv().unwrap());
        assert_ne!(there, help::os_thread());
        assert_eq!(green::unblock(|| 1), 1);
        let payload = catch_unwind(|| green::unblock(|| resume_unwind(Box::new(17)))).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&17));
    });
}

#[test]
fn a_closure_that_owns_what_it_uses_is_taken_back_from_the_queue() {
    with_the_pool_taken(1, 4, || {
        let (sender, receiver) = mpsc::channel();
        let (here, mark) = (help::os_thread(), Dropped(sender));
        let thread = green::spawn_local(move || green::unblock(move || drop(mark)));
        until_parked(thread.thread(), "blocking");
        thread.cancel();
        assert!(thread.join().unwrap_err().is::<Cancelled>());
        assert_eq!(receiver.try_recv().unwrap(), here);
    });
}

#[test]
fn a_future_of_a_blocking_closure_that_is_dropped_takes_it_out_of_the_queue() {
    with_the_pool_taken(1, 4, || {
        let (sender, receiver) = mpsc::channel();
        let mark = Dropped(sender);
        let mut future = green::future::blocking(move || drop(mark));
        green::block_on(async { assert!(futures::poll!(&mut future).is_pending()) });
        // The closure waits for the thread that is taken.
        green::sleep(Duration::from_millis(1));
        drop(future);
        while receiver.try_recv().is_err() {
            green::sleep(Duration::from_millis(1));
        }
    });
}

#[test]
fn a_runtime_that_is_dropped_does_not_wait_for_a_closure_that_was_left() {
    bounded(|| {
        let runtime = runtime(2);
        let (release, blocked) = mpsc::channel::<()>();
        let (told, tells) = mpsc::channel();
        let started = Arc::new(Flag::new());
        let flag = started.clone();
        let thread = runtime.spawn(move || {
            green::unblock(move || {
                flag.set();
                let _ = blocked.recv();
                told.send(catch_unwind(|| green::spawn(|| 1).join())).unwrap();
            });
        });
        spin_until("the closure", || started.is_set());
        drop(runtime);
        assert!(thread.join().unwrap_err().is::<Cancelled>());
        drop(release);
        // Its runtime is gone: what it spawns there is an error, not a wait for ever.
        assert!(tells.recv().unwrap().is_err());
    });
}

#[test]
fn stress_time_outs_race_with_a_pool_that_takes_the_closures() {
    bounded(|| {
        for workers in [1, 2, 4] {
            let runtime = help::builder().workers(workers).blocking_threads(2).blocking_queue(3).build().unwrap();
            let (made, dropped) = (Arc::new(()), AtomicUsize::new(0));
            runtime.run(|| {
                green::scope(|s| {
                    for n in 0..scaled(2000) {
                        let (made, dropped) = (made.clone(), &dropped);
                        s.spawn(move || {
                            let d = Duration::from_micros((n % 7 * 50) as u64);
                            let borrowed = [n; 4];
                            let work = move || std::thread::sleep(Duration::from_micros(20));
                            let ended = if n % 2 == 0 {
                                green::timeout(d, || {
                                    green::blocking(|| {
                                        work();
                                        borrowed.iter().sum::<usize>()
                                    })
                                })
                            } else {
                                green::timeout(d, || {
                                    green::unblock(move || {
                                        let _made = made;
                                        work();
                                        n * 4
                                    })
                                })
                            };
                            assert!(ended.is_err() || ended == Ok(n * 4));
                            dropped.fetch_add(usize::from(ended.is_err()), Ordering::Relaxed);
                        });
                    }
                });
            });
            assert_ne!(dropped.into_inner(), 0, "some time-outs came first");
            spin_until("all that was left behind", || Arc::strong_count(&made) == 1);
        }
    });
}

#[test]
fn many_callers_get_through_a_small_pool() {
    bounded(|| {
        for (threads, queue) in [(1, 1), (2, 1), (1, 8), (4, 4)] {
            let builder = help::builder().workers(4).blocking_threads(threads).blocking_queue(queue);
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
        let builder = help::builder().workers(1).thread_name("mine");
        let name = builder.build().unwrap().run(|| {
            green::blocking(|| {
                let spawned = green::spawn(help::os_thread_name);
                (spawned.join().unwrap(), green::run(help::os_thread_name))
            })
        });
        assert_eq!(name, ("mine-0".to_owned(), "mine-0".to_owned()));
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
        let runtime = help::builder().workers(4).blocking_threads(2).build().unwrap();
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
