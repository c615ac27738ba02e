//! `RwLock`.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use green::sync::{Arc, Barrier, RwLock, RwLockWriteGuard, TryLockError};

use crate::help::{bounded, scaled, until};
use crate::world::everywhere;

fn would_block<T>(result: Result<T, TryLockError<T>>) -> bool {
    matches!(result, Err(TryLockError::WouldBlock))
}

#[test]
fn a_writer_is_alone_and_readers_are_together() {
    everywhere(|world| {
        let lock = Arc::new(RwLock::new(0u32));
        let (readers, writers) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let each = scaled(800);
        let threads: Vec<_> = (0..6)
            .map(|number| {
                let (lock, readers, writers) = (lock.clone(), readers.clone(), writers.clone());
                world.spawn(move || {
                    for round in 0..each {
                        if (round + number) % 4 == 0 {
                            let mut guard = lock.write().unwrap();
                            assert_eq!(writers.fetch_add(1, Ordering::Relaxed), 0);
                            assert_eq!(readers.load(Ordering::Relaxed), 0);
                            *guard += 1;
                            if round % 16 == 0 {
                                green::yield_now();
                            }
                            writers.fetch_sub(1, Ordering::Relaxed);
                        } else {
                            let guard = lock.read().unwrap();
                            readers.fetch_add(1, Ordering::Relaxed);
                            let before = *guard;
                            if round % 16 == 0 {
                                green::yield_now();
                            }
                            assert_eq!((*guard, writers.load(Ordering::Relaxed)), (before, 0));
                            readers.fetch_sub(1, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let written: u32 = (0..6).map(|n| (0..each).filter(|round| (round + n) % 4 == 0).count() as u32).sum();
        assert_eq!(*lock.read().unwrap(), written);
    });
}

#[test]
fn many_readers_hold_the_lock_at_one_moment() {
    everywhere(|world| {
        let (lock, barrier) = (Arc::new(RwLock::new(7)), Arc::new(Barrier::new(4)));
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let (lock, barrier) = (lock.clone(), barrier.clone());
                world.spawn(move || {
                    let guard = lock.read().unwrap();
                    // Nobody leaves before all are in.
                    barrier.wait();
                    *guard
                })
            })
            .collect();
        assert!(readers.into_iter().all(|reader| reader.join().unwrap() == 7));
    });
}

#[test]
fn a_writer_that_waits_keeps_later_readers_out_and_gets_its_turn() {
    everywhere(|world| {
        let lock = Arc::new(RwLock::new(0));
        let first = lock.read().unwrap();
        let other = lock.clone();
        let writer = world.spawn(move || *other.write().unwrap() += 1);
        until(|| would_block(lock.try_read()));
        let other = lock.clone();
        let reader = world.spawn(move || *other.read().unwrap());
        drop(first);
        assert_eq!(reader.join().unwrap(), 1);
        writer.join().unwrap();
    });
}

#[test]
fn a_writer_that_gives_up_lets_the_readers_behind_it_in() {
    everywhere(|world| {
        let lock = Arc::new(RwLock::new(0));
        let first = lock.read().unwrap();
        let other = lock.clone();
        let writer = world.spawn(move || would_block(other.write_timeout(Duration::from_millis(3))));
        until(|| would_block(lock.try_read()) || writer.is_finished());
        let other = lock.clone();
        // The first reader stays: only the writer's leaving can let this one in.
        let reader = world.spawn(move || *other.read().unwrap());
        assert_eq!(reader.join().unwrap(), 0);
        assert!(writer.join().unwrap());
        drop(first);
        drop(lock.try_write().unwrap());
    });
}

#[test]
fn a_writer_that_is_cancelled_lets_the_readers_behind_it_in() {
    for workers in [1, 2] {
        bounded(move || {
            let runtime = crate::help::builder().workers(workers).build().unwrap();
            for _ in 0..scaled(100) {
                let lock = Arc::new(RwLock::new(0));
                let first = lock.read().unwrap();
                let other = lock.clone();
                let writer = runtime.spawn(move || drop(other.write().unwrap()));
                until(|| would_block(lock.try_read()));
                let other = lock.clone();
                let reader = runtime.spawn(move || *other.read().unwrap());
                writer.cancel();
                assert_eq!(reader.join().unwrap(), 0);
                assert!(writer.join().unwrap_err().is::<green::Cancelled>());
                drop(first);
                assert!(!lock.is_poisoned());
                drop(lock.try_write().unwrap());
            }
        });
    }
}

#[test]
fn nobody_who_leaves_swallows_a_turn() {
    everywhere(|world| {
        for round in 0..scaled(40_u32) {
            let lock = Arc::new(RwLock::new(()));
            let guard = lock.write().unwrap();
            let waiters: Vec<_> = (0..6)
                .map(|number| {
                    let lock = lock.clone();
                    let d = Duration::from_micros(u64::from(round) * 7);
                    world.spawn(move || match number {
                        0 => drop(lock.write_timeout(d)),
                        1 => drop(lock.read().unwrap()),
                        2 => drop(lock.read_timeout(d)),
                        3 => drop(lock.write_timeout(d)),
                        4 => drop(lock.write().unwrap()),
                        _ => drop(lock.read().unwrap()),
                    })
                })
                .collect();
            green::sleep(Duration::from_micros(u64::from(round) * 7));
            drop(guard);
            for waiter in waiters {
                waiter.join().unwrap();
            }
            drop(lock.try_write().unwrap());
        }
    });
}

#[test]
fn nobody_starves_beside_greedy_readers_and_writers() {
    everywhere(|world| {
        let (lock, stop) = (Arc::new(RwLock::new(())), Arc::new(AtomicBool::new(false)));
        let spin = || (0..300).for_each(|_| std::hint::spin_loop());
        let greedy: Vec<_> = (0..3)
            .map(|number| {
                let (lock, stop) = (lock.clone(), stop.clone());
                world.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        if number == 0 {
                            let _guard = lock.write().unwrap();
                            spin();
                        } else {
                            let _guard = lock.read().unwrap();
                            spin();
                        }
                    }
                })
            })
            .collect();
        let modest: Vec<_> = (0..2)
            .map(|number| {
                let lock = lock.clone();
                world.spawn(move || {
                    for _ in 0..scaled(60) {
                        if number == 0 { drop(lock.read().unwrap()) } else { drop(lock.write().unwrap()) }
                    }
                })
            })
            .collect();
        for thread in modest {
            thread.join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        for thread in greedy {
            thread.join().unwrap();
        }
    });
}

#[test]
fn trying_never_waits_and_time_outs_are_kept() {
    everywhere(|world| {
        let lock = Arc::new(RwLock::new(1));
        let reading = lock.read().unwrap();
        let other = lock.clone();
        let from_elsewhere = world.spawn(move || {
            assert_eq!(*other.try_read().unwrap(), 1);
            assert!(would_block(other.try_write()));
            let start = Instant::now();
            assert!(would_block(other.write_timeout(Duration::from_millis(3))));
            assert!(start.elapsed() >= Duration::from_millis(3));
            assert_eq!(*other.read_timeout(Duration::ZERO).unwrap(), 1);
        });
        from_elsewhere.join().unwrap();
        drop(reading);
        let writing = lock.write_timeout(Duration::ZERO).unwrap();
        let other = lock.clone();
        let from_elsewhere = world.spawn(move || {
            assert!(would_block(other.try_read()) && would_block(other.try_write()));
            assert!(would_block(other.read_timeout(Duration::from_millis(2))));
        });
        from_elsewhere.join().unwrap();
        drop(writing);
    });
}

#[test]
fn a_downgrade_lets_readers_in_and_no_writer_between() {
    everywhere(|world| {
        let lock = Arc::new(RwLock::new(0));
        let mut writing = lock.write().unwrap();
        let other = lock.clone();
        let reader = world.spawn(move || *other.read().unwrap());
        let other = lock.clone();
        for _ in 0..10 {
            green::yield_now();
        }
        *writing = 1;
        let reading = RwLockWriteGuard::downgrade(writing);
        // It is let in though this thread still reads.
        assert_eq!(reader.join().unwrap(), 1);
        let writer = world.spawn(move || *other.write().unwrap() += 1);
        assert_eq!(*reading, 1);
        drop(reading);
        writer.join().unwrap();
        assert_eq!(*lock.read().unwrap(), 2);
    });
}

#[test]
fn a_writer_s_panic_poisons_and_a_reader_s_does_not() {
    everywhere(|world| {
        let lock = Arc::new(RwLock::new(1));
        let other = lock.clone();
        let reader = world.spawn(move || {
            let _guard = other.read().unwrap();
            resume_unwind(Box::new(()));
        });
        assert!(reader.join().is_err());
        assert!(!lock.is_poisoned());
        let other = lock.clone();
        let writer = world.spawn(move || {
            let _guard = other.write().unwrap();
            resume_unwind(Box::new(()));
        });
        assert!(writer.join().is_err());
        assert!(lock.is_poisoned());
        assert_eq!(*lock.read().unwrap_err().into_inner(), 1);
        assert_eq!(*lock.write().unwrap_err().into_inner(), 1);
        assert!(matches!(lock.try_read(), Err(TryLockError::Poisoned(_))));
        assert!(matches!(lock.try_write(), Err(TryLockError::Poisoned(_))));
        lock.clear_poison();
        assert!(lock.read().is_ok());
    });
}

#[test]
fn a_time_out_under_the_write_lock_does_not_poison() {
    everywhere(|world| {
        let lock = Arc::new(RwLock::new(()));
        let other = lock.clone();
        let thread = world.spawn(move || {
            green::timeout(Duration::from_millis(1), || {
                let _guard = other.write().unwrap();
                green::sleep(Duration::from_secs(60));
            })
        });
        assert!(thread.join().unwrap().is_err());
        assert!(!lock.is_poisoned());
    });
}

#[test]
#[cfg(any(debug_assertions, green_deadlocks))]
fn a_writer_that_waits_for_itself_is_told_so() {
    let lock = RwLock::new(());
    let _guard = lock.write().unwrap();
    for again in [|lock: &RwLock<()>| drop(lock.write()), |lock: &RwLock<()>| drop(lock.read())] {
        let second = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| again(&lock)));
        let message = *second.unwrap_err().downcast::<String>().unwrap();
        assert!(message.contains("has this lock for writing, since tests/sync/rwlock.rs"), "{message}");
    }
}

#[test]
fn the_value_is_reached_without_the_lock_where_it_is_owned() {
    let mut lock = RwLock::from(1);
    *lock.get_mut().unwrap() += 1;
    assert_eq!(lock.into_inner().unwrap(), 2);
    let unsized_lock: Box<RwLock<[u8]>> = Box::new(RwLock::new([1, 2]));
    unsized_lock.write().unwrap()[1] = 3;
    assert_eq!(&*unsized_lock.read().unwrap(), &[1, 3]);
}
