//! `Barrier`, `Semaphore`, `WaitGroup`.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use green::sync::{Arc, Barrier, Mutex, Semaphore, WaitGroup};

use crate::help::{bounded, scaled, until, until_parked};
use crate::world::everywhere;

#[test]
fn a_barrier_lets_groups_through_and_names_one_leader_of_each() {
    everywhere(|world| {
        let (barrier, arrived) = (Arc::new(Barrier::new(4)), Arc::new(AtomicU32::new(0)));
        let turns = scaled(60);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (barrier, arrived) = (barrier.clone(), arrived.clone());
                world.spawn(move || {
                    let mut led = 0;
                    for turn in 1..=turns {
                        arrived.fetch_add(1, Ordering::Relaxed);
                        led += u32::from(barrier.wait().is_leader());
                        assert!(arrived.load(Ordering::Relaxed) >= 4 * turn, "somebody went through too early");
                    }
                    led
                })
            })
            .collect();
        assert_eq!(threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u32>(), turns);
    });
    assert!(Barrier::new(0).wait().is_leader());
    assert!(Barrier::new(1).wait().is_leader());
}

#[test]
fn a_thread_that_is_cancelled_at_a_barrier_is_not_counted() {
    for workers in [1, 2] {
        bounded(move || {
            let runtime = crate::help::builder().workers(workers).build().unwrap();
            let barrier = Arc::new(Barrier::new(2));
            let wait = || {
                let barrier = barrier.clone();
                runtime.spawn(move || barrier.wait().is_leader())
            };
            let cancelled = wait();
            until_parked(cancelled.thread(), "barrier");
            cancelled.cancel();
            assert!(cancelled.join().unwrap_err().is::<green::Cancelled>());
            let first = wait();
            until_parked(first.thread(), "barrier");
            let second = wait();
            assert!(first.join().unwrap() != second.join().unwrap());
        });
    }
}

#[test]
fn a_semaphore_lets_so_many_in_and_no_more() {
    everywhere(|world| {
        let (semaphore, inside) = (Arc::new(Semaphore::new(3)), Arc::new(AtomicU32::new(0)));
        let threads: Vec<_> = (0..7)
            .map(|number| {
                let (semaphore, inside) = (semaphore.clone(), inside.clone());
                world.spawn(move || {
                    for round in 0..scaled(300_u32) {
                        let permits = semaphore.acquire_many(1 + (round + number) % 3);
                        let now = inside.fetch_add(permits.permits(), Ordering::Relaxed) + permits.permits();
                        assert!(now <= 3, "{now}");
                        if round % 8 == 0 {
                            green::yield_now();
                        }
                        inside.fetch_sub(permits.permits(), Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(semaphore.available_permits(), 3);
    });
}

#[test]
fn permits_are_given_in_the_order_in_which_threads_came() {
    bounded(|| {
        let runtime = crate::help::builder().workers(1).build().unwrap();
        runtime.run(|| {
            let (semaphore, order) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
            let threads: Vec<_> = [3, 1, 2]
                .into_iter()
                .map(|n| {
                    let (semaphore, order) = (semaphore.clone(), order.clone());
                    let thread = green::spawn(move || {
                        let _permits = semaphore.acquire_many(n);
                        order.lock().unwrap().push(n);
                    });
                    green::yield_now();
                    thread
                })
                .collect();
            semaphore.add_permits(2);
            green::yield_now();
            // The first wants three: the second, which wants one, does not go past it, nor does this thread.
            assert!(order.lock().unwrap().is_empty());
            assert!(semaphore.try_acquire().is_none());
            semaphore.add_permits(1);
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(*order.lock().unwrap(), [3, 1, 2]);
            assert_eq!(semaphore.available_permits(), 3);
        });
    });
}

#[test]
fn a_thread_that_leaves_takes_no_permit_with_it_and_makes_room_for_the_next() {
    everywhere(|world| {
        for round in 0..scaled(30_u32) {
            let semaphore = Arc::new(Semaphore::new(1));
            let d = Duration::from_micros(u64::from(round) * 9);
            let threads: Vec<_> = [2, 1, 2, 1]
                .into_iter()
                .enumerate()
                .map(|(number, n)| {
                    let semaphore = semaphore.clone();
                    world.spawn(move || match number {
                        0 | 2 => drop(semaphore.acquire_many_timeout(n, d)),
                        _ => drop(semaphore.acquire_many(n)),
                    })
                })
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(semaphore.available_permits(), 1);
        }
    });
    for workers in [1, 2] {
        bounded(move || {
            let runtime = crate::help::builder().workers(workers).build().unwrap();
            for round in 0..scaled(100_u32) {
                let semaphore = Arc::new(Semaphore::new(0));
                let acquire = || {
                    let semaphore = semaphore.clone();
                    runtime.spawn(move || semaphore.acquire().forget())
                };
                let (first, second) = (acquire(), acquire());
                if round % 2 == 0 {
                    first.cancel();
                    semaphore.add_permits(1);
                } else {
                    semaphore.add_permits(1);
                    first.cancel();
                }
                if first.join().is_ok() {
                    semaphore.add_permits(1);
                }
                second.join().unwrap();
                assert_eq!(semaphore.available_permits(), 0);
            }
        });
    }
}

#[test]
fn a_semaphore_keeps_its_time_outs_and_its_bounds() {
    everywhere(|_| {
        let semaphore = Semaphore::new(1);
        let permit = semaphore.try_acquire().unwrap();
        let start = Instant::now();
        assert!(semaphore.acquire_timeout(Duration::from_millis(3)).is_none());
        assert!(start.elapsed() >= Duration::from_millis(3));
        drop(permit);
        assert!(semaphore.acquire_timeout(Duration::ZERO).is_some());
        semaphore.acquire().forget();
        assert_eq!(semaphore.available_permits(), 0);
        let full = Semaphore::new(Semaphore::MAX_PERMITS);
        let added = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| full.add_permits(1)));
        assert!(added.is_err());
        assert_eq!(full.available_permits(), Semaphore::MAX_PERMITS);
    });
}

#[test]
fn a_wait_group_waits_for_all_its_members() {
    everywhere(|world| {
        for members in [0, 1, 5] {
            let (group, done) = (WaitGroup::new(), Arc::new(AtomicU32::new(0)));
            for _ in 0..members {
                let (group, done) = (group.clone(), done.clone());
                world.spawn(move || {
                    green::yield_now();
                    done.fetch_add(1, Ordering::Relaxed);
                    drop(group);
                });
            }
            group.wait();
            assert_eq!(done.load(Ordering::Relaxed), members);
        }
        let (group, member) = (WaitGroup::new(), WaitGroup::default());
        assert!(group.wait_timeout(Duration::ZERO));
        let other = member.clone();
        assert!(!member.wait_timeout(Duration::from_millis(1)));
        assert_eq!(format!("{other:?}"), "WaitGroup { count: 1 }");
    });
}

#[test]
fn a_cancelled_wait_for_a_group_leaves_it_whole() {
    bounded(|| {
        let runtime = crate::help::builder().workers(1).build().unwrap();
        let group = WaitGroup::new();
        let (one, two) = (group.clone(), group.clone());
        let cancelled = runtime.spawn(move || one.wait());
        let waiter = runtime.spawn(move || two.wait());
        until(|| format!("{group:?}").contains('1'));
        cancelled.cancel();
        assert!(cancelled.join().is_err());
        assert!(!waiter.is_finished());
        drop(group);
        waiter.join().unwrap();
    });
}
