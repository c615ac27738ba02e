//! `Mutex`.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use green::sync::{Arc, Mutex, PoisonError, TryLockError};

use crate::help::{bounded, scaled, until};
use crate::world::everywhere;

const LONG: Duration = Duration::from_secs(60);

#[test]
fn only_one_thread_has_the_lock_at_a_time() {
    everywhere(|world| {
        let mutex = Arc::new(Mutex::new(0u32));
        let inside = Arc::new(AtomicU32::new(0));
        let each = scaled(2000);
        let threads: Vec<_> = (0..6)
            .map(|thread| {
                let (mutex, inside) = (mutex.clone(), inside.clone());
                world.spawn(move || {
                    for round in 0..each {
                        let mut guard = mutex.lock().unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                        *guard += 1;
                        if (round + thread) % 64 == 0 {
                            // Others come while the lock is held by a thread that does not run.
                            green::yield_now();
                        }
                        inside.fetch_sub(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(*mutex.lock().unwrap(), 6 * each);
    });
}

#[test]
fn a_lock_held_by_a_parked_thread_stops_nobody_else() {
    bounded(|| {
        let runtime = crate::help::builder().workers(1).build().unwrap();
        runtime.run(|| {
            let mutex = Arc::new(Mutex::new(()));
            let guard = mutex.lock().unwrap();
            let waiter = green::spawn({
                let mutex = mutex.clone();
                move || drop(mutex.lock().unwrap())
            });
            // With the lock held here and wanted there, the one worker runs a third thread to its end.
            green::yield_now();
            assert_eq!(green::spawn(|| 7).join().unwrap(), 7);
            assert!(!waiter.is_finished());
            drop(guard);
            waiter.join().unwrap();
        });
    });
}

#[test]
fn try_lock_never_waits() {
    everywhere(|world| {
        let mutex = Arc::new(Mutex::new(1));
        let guard = mutex.try_lock().unwrap();
        let other = mutex.clone();
        world.spawn(move || assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)))).join().unwrap();
        assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
        drop(guard);
        assert_eq!(*mutex.try_lock().unwrap(), 1);
    });
}

#[test]
fn a_lock_with_a_time_out_gives_up_in_time_and_takes_a_free_lock() {
    everywhere(|world| {
        let mutex = Arc::new(Mutex::new(0));
        let guard = mutex.lock().unwrap();
        let other = mutex.clone();
        let waiter = world.spawn(move || {
            let start = Instant::now();
            assert!(matches!(other.lock_timeout(Duration::from_millis(5)), Err(TryLockError::WouldBlock)));
            assert!(start.elapsed() >= Duration::from_millis(5));
        });
        waiter.join().unwrap();
        drop(guard);
        *mutex.lock_timeout(Duration::ZERO).unwrap() += 1;
        assert_eq!(*mutex.lock().unwrap(), 1);
    });
}

#[test]
fn a_waiter_that_times_out_does_not_swallow_the_wake_up_of_the_next() {
    everywhere(|world| {
        for round in 0..scaled(60_u32) {
            let mutex = Arc::new(Mutex::new(()));
            let guard = mutex.lock().unwrap();
            let waiters: Vec<_> = (0..4)
                .map(|number| {
                    let mutex = mutex.clone();
                    world.spawn(move || match number % 2 {
                        0 => drop(mutex.lock_timeout(Duration::from_micros(u64::from(round) * 7))),
                        _ => drop(mutex.lock().unwrap()),
                    })
                })
                .collect();
            green::sleep(Duration::from_micros(u64::from(round) * 7));
            drop(guard);
            for waiter in waiters {
                waiter.join().unwrap();
            }
        }
    });
}

#[test]
fn a_waiter_that_is_cancelled_does_not_swallow_the_wake_up_of_the_next() {
    for workers in [1, 2] {
        bounded(move || {
            let runtime = crate::help::builder().workers(workers).build().unwrap();
            for round in 0..scaled(200_u32) {
                let mutex = Arc::new(Mutex::new(()));
                let guard = mutex.lock().unwrap();
                let spawn = || {
                    let mutex = mutex.clone();
                    runtime.spawn(move || drop(mutex.lock().unwrap()))
                };
                let (first, second, third) = (spawn(), spawn(), spawn());
                if round % 3 != 0 {
                    std::thread::yield_now();
                }
                if round % 2 == 0 {
                    first.cancel();
                    drop(guard);
                } else {
                    drop(guard);
                    first.cancel();
                }
                third.cancel();
                second.join().unwrap();
                let _ = (first.join(), third.join());
                assert!(!mutex.is_poisoned());
                drop(mutex.try_lock().unwrap());
            }
        });
    }
}

#[test]
fn nobody_starves_while_another_takes_the_lock_again_and_again() {
    everywhere(|world| {
        let mutex = Arc::new(Mutex::new(()));
        let stop = Arc::new(AtomicBool::new(false));
        let greedy: Vec<_> = (0..2)
            .map(|_| {
                let (mutex, stop) = (mutex.clone(), stop.clone());
                world.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let _guard = mutex.lock().unwrap();
                        // A critical section longer than anybody spins.
                        (0..500).for_each(|_| std::hint::spin_loop());
                    }
                })
            })
            .collect();
        let modest: Vec<_> = (0..2)
            .map(|_| {
                let mutex = mutex.clone();
                world.spawn(move || (0..scaled(100)).for_each(|_| drop(mutex.lock().unwrap())))
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
fn a_waiter_that_was_woken_and_lost_is_handed_the_lock() {
    bounded(|| {
        let runtime = crate::help::builder().workers(1).build().unwrap();
        runtime.run(|| {
            let mutex = Arc::new(Mutex::new(Vec::new()));
            let guard = mutex.lock().unwrap();
            let waiter = green::spawn({
                let mutex = mutex.clone();
                move || mutex.lock().unwrap().push("waiter")
            });
            green::yield_now();
            // This wakes the waiter, which cannot run on the one worker before this thread lets it.
            drop(guard);
            let mut barger = mutex.try_lock().unwrap();
            green::yield_now();
            barger.push("barger");
            // The waiter has lost once: now the lock is not to be had past it.
            drop(barger);
            assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
            waiter.join().unwrap();
            assert_eq!(*mutex.lock().unwrap(), ["barger", "waiter"]);
        });
    });
}

#[test]
fn a_panic_under_the_lock_poisons_it_and_the_poison_can_be_cleared() {
    everywhere(|world| {
        let mutex = Arc::new(Mutex::new(1));
        let other = mutex.clone();
        let panicked = world.spawn(move || {
            let _guard = other.lock().unwrap();
            resume_unwind(Box::new("no message"));
        });
        assert_eq!(panicked.join().unwrap_err().downcast_ref(), Some(&"no message"));
        assert!(mutex.is_poisoned());
        assert_eq!(*mutex.lock().unwrap_err().into_inner(), 1);
        assert!(matches!(mutex.try_lock(), Err(TryLockError::Poisoned(_))));
        assert!(matches!(mutex.lock_timeout(LONG), Err(TryLockError::Poisoned(_))));
        mutex.clear_poison();
        assert!(!mutex.is_poisoned());
        assert_eq!(*mutex.lock().unwrap(), 1);
    });
}

#[test]
fn a_cancel_does_not_poison_and_a_panic_after_a_swallowed_cancel_does() {
    for workers in [1, 2] {
        bounded(move || {
            let runtime = crate::help::builder().workers(workers).build().unwrap();
            let mutex = Arc::new(Mutex::new(()));
            let parked = Arc::new(AtomicBool::new(false));
            for swallow in [false, true] {
                let (mutex, inner, parked) = (mutex.clone(), mutex.clone(), parked.clone());
                parked.store(false, Ordering::Relaxed);
                let thread = runtime.spawn({
                    let parked = parked.clone();
                    move || {
                        let _guard = inner.lock().unwrap();
                        parked.store(true, Ordering::Relaxed);
                        let park = catch_unwind(green::thread::park);
                        match park {
                            Err(_) if swallow => panic!("expected: a panic after a cancel"),
                            Err(cancelled) => resume_unwind(cancelled),
                            Ok(()) => unreachable!(),
                        }
                    }
                });
                until(|| parked.load(Ordering::Relaxed));
                thread.cancel();
                let payload = thread.join().unwrap_err();
                assert_eq!(payload.is::<green::Cancelled>(), !swallow);
                assert_eq!(mutex.is_poisoned(), swallow);
            }
        });
    }
}

#[test]
fn a_time_out_does_not_poison_and_a_panic_after_it_does() {
    everywhere(|world| {
        let mutex = Arc::new(Mutex::new(()));
        let other = mutex.clone();
        world
            .spawn(move || {
                let ended = green::timeout(Duration::from_millis(1), || {
                    let _guard = other.lock().unwrap();
                    green::sleep(LONG);
                });
                assert!(ended.is_err());
                assert!(!other.is_poisoned());
                let panicked = catch_unwind(AssertUnwindSafe(|| {
                    let _guard = other.lock().unwrap();
                    assert!(green::timeout(Duration::from_millis(1), || green::sleep(LONG)).is_err());
                    resume_unwind(Box::new(()));
                }));
                assert!(panicked.is_err());
            })
            .join()
            .unwrap();
        assert!(mutex.is_poisoned());
    });
}

/// A destructor that parks.
struct ParksInDrop(Arc<AtomicBool>, Arc<AtomicBool>);

impl Drop for ParksInDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        until(|| self.1.load(Ordering::Relaxed));
    }
}

#[test]
fn a_neighbour_parked_in_its_unwinding_poisons_nobodys_lock() {
    bounded(|| {
        let runtime = crate::help::builder().workers(1).build().unwrap();
        runtime.run(|| {
            let (parked, go) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
            let before = Mutex::new(());
            let guard = before.lock().unwrap();
            let neighbour = green::spawn({
                let (parked, go) = (parked.clone(), go.clone());
                move || {
                    let _parks = ParksInDrop(parked, go);
                    panic!("expected: a panic whose destructors park");
                }
            });
            until(|| parked.load(Ordering::Relaxed));
            let counted = !crate::help::own_thread_locals();
            assert_eq!(std::thread::panicking(), counted, "std counts the neighbour's panic where both have one count");
            drop(guard);
            assert!(!before.is_poisoned(), "locked before, let go now");
            drop(before.lock().unwrap());
            assert!(!before.is_poisoned(), "locked and let go now");
            let own = green::spawn(|| {
                let mutex = Mutex::new(());
                let panicked = catch_unwind(AssertUnwindSafe(|| {
                    let _guard = mutex.lock().unwrap();
                    panic!("expected: a panic beside another");
                }));
                assert!(panicked.is_err());
                mutex.is_poisoned()
            });
            assert!(own.join().unwrap(), "a real panic is not missed");
            go.store(true, Ordering::Relaxed);
            assert!(neighbour.join().is_err());
            assert!(!std::thread::panicking());
        });
    });
}

#[test]
fn a_lock_taken_in_a_destructor_during_unwinding_is_not_poisoned() {
    everywhere(|world| {
        struct Locks(Arc<Mutex<u32>>);
        impl Drop for Locks {
            fn drop(&mut self) {
                *self.0.lock().unwrap() += 1;
            }
        }
        let mutex = Arc::new(Mutex::new(0));
        let locks = Locks(mutex.clone());
        let thread = world.spawn(move || {
            let _locks = locks;
            resume_unwind(Box::new(()));
        });
        assert!(thread.join().is_err());
        assert_eq!(*mutex.lock().unwrap(), 1);
    });
}

#[test]
#[cfg(any(debug_assertions, green_deadlocks))]
fn a_thread_that_waits_for_itself_is_told_so_with_both_places() {
    everywhere(|world| {
        let thread = world.spawn(|| {
            let mutex = Mutex::new(());
            let _guard = mutex.lock().unwrap();
            let second = catch_unwind(AssertUnwindSafe(|| drop(mutex.lock())));
            let message = *second.unwrap_err().downcast::<String>().unwrap();
            assert!(message.contains("it has this mutex locked"), "{message}");
            assert!(message.contains("tests/sync/mutex.rs"), "{message}");
            // One that gives up is not stuck.
            assert!(matches!(mutex.lock_timeout(Duration::from_millis(1)), Err(TryLockError::WouldBlock)));
        });
        thread.join().unwrap();
    });
}

#[test]
fn the_value_is_reached_without_the_lock_where_the_mutex_is_owned() {
    let mut mutex = Mutex::from(String::from("a"));
    mutex.get_mut().unwrap().push('b');
    assert_eq!(mutex.into_inner().unwrap(), "ab");
    let mut poisoned = Mutex::new(3);
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let _guard = poisoned.lock().unwrap();
        resume_unwind(Box::new(()));
    }));
    assert_eq!(*poisoned.get_mut().unwrap_err().into_inner(), 3);
    assert_eq!(poisoned.into_inner().map_err(PoisonError::into_inner), Err(3));
}

#[test]
fn an_unsized_value_and_a_static_are_fine() {
    static COUNTER: Mutex<u32> = Mutex::new(0);
    *COUNTER.lock().unwrap() += 1;
    assert_eq!(*COUNTER.lock().unwrap(), 1);
    let boxed: Box<Mutex<[i32]>> = Box::new(Mutex::new([1, 2, 3]));
    boxed.lock().unwrap()[0] = 4;
    assert_eq!(&*boxed.lock().unwrap(), &[4, 2, 3]);
}
