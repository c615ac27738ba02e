//! `Once`, `OnceLock`, `LazyLock`.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use green::sync::{Arc, LazyLock, Once, OnceLock};

use crate::help::{bounded, until, until_parked};
use crate::world::everywhere;

const LONG: Duration = Duration::from_secs(60);

fn message(payload: Box<dyn std::any::Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => (*payload.downcast_ref::<&str>().unwrap()).to_owned(),
    }
}

#[test]
fn one_closure_of_many_is_run_and_everybody_waits_for_it() {
    everywhere(|world| {
        let (once, times, done) =
            (Arc::new(Once::new()), Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        assert!(!once.is_completed());
        let threads: Vec<_> = (0..6)
            .map(|number| {
                let (once, times, done) = (once.clone(), times.clone(), done.clone());
                world.spawn(move || {
                    if number == 0 {
                        once.wait();
                    }
                    once.call_once(|| {
                        times.fetch_add(1, Ordering::Relaxed);
                        // The others come while this one is parked.
                        green::sleep(Duration::from_micros(300));
                        done.store(true, Ordering::Relaxed);
                    });
                    assert!(once.is_completed() && done.load(Ordering::Relaxed));
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        once.wait();
        once.wait_force();
        assert_eq!(times.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_panic_poisons_a_once_until_it_is_forced() {
    everywhere(|world| {
        let once = Arc::new(Once::new());
        let other = once.clone();
        let panicked = world.spawn(move || other.call_once(|| resume_unwind(Box::new(()))));
        assert!(panicked.join().is_err());
        for call in [|once: &Once| once.call_once(|| ()), |once: &Once| once.wait()] {
            let poisoned = catch_unwind(AssertUnwindSafe(|| call(&once)));
            assert_eq!(message(poisoned.unwrap_err()), "Once instance has previously been poisoned");
        }
        let other = once.clone();
        let patient = world.spawn(move || other.wait_force());
        let mut told = false;
        once.call_once_force(|state| told = state.is_poisoned());
        assert!(told && once.is_completed());
        patient.join().unwrap();
        once.call_once(|| unreachable!());
    });
}

#[test]
fn a_cancelled_closure_leaves_the_next_one_to_run() {
    for workers in [1, 2] {
        bounded(move || {
            let runtime = crate::help::builder().workers(workers).build().unwrap();
            let (once, runs) = (Arc::new(Once::new()), Arc::new(AtomicBool::new(false)));
            let first = runtime.spawn({
                let (once, runs) = (once.clone(), runs.clone());
                move || {
                    once.call_once(|| {
                        runs.store(true, Ordering::Relaxed);
                        green::sleep(LONG);
                    });
                }
            });
            until(|| runs.load(Ordering::Relaxed));
            let cancelled_waiter = runtime.spawn({
                let once = once.clone();
                move || once.wait()
            });
            let second = runtime.spawn({
                let once = once.clone();
                move || once.call_once(|| ())
            });
            until_parked(cancelled_waiter.thread(), "once");
            until_parked(second.thread(), "once");
            cancelled_waiter.cancel();
            assert!(cancelled_waiter.join().unwrap_err().is::<green::Cancelled>());
            first.cancel();
            assert!(first.join().unwrap_err().is::<green::Cancelled>());
            second.join().unwrap();
            assert!(once.is_completed());
        });
    }
}

#[test]
#[cfg(any(debug_assertions, green_deadlocks))]
fn a_closure_that_waits_for_itself_is_told_so() {
    everywhere(|_| {
        let once = Once::new();
        let nested = catch_unwind(AssertUnwindSafe(|| once.call_once(|| once.call_once(|| ()))));
        assert!(message(nested.unwrap_err()).contains("it runs this initialiser, since tests/sync/once.rs"));
        let cell = OnceLock::new();
        let nested = catch_unwind(AssertUnwindSafe(|| *cell.get_or_init(|| *cell.get_or_init(|| 1))));
        assert!(message(nested.unwrap_err()).contains("it runs this initialiser"));
        assert_eq!(cell.get(), None);
    });
}

#[test]
fn a_cell_takes_the_first_value_only() {
    everywhere(|world| {
        let cell = Arc::new(OnceLock::new());
        assert_eq!(cell.get(), None);
        let waiter = world.spawn({
            let cell = cell.clone();
            move || *cell.wait()
        });
        let setters: Vec<_> = (0..4)
            .map(|number| {
                let cell = cell.clone();
                world.spawn(move || cell.set(number).is_ok())
            })
            .collect();
        let won = setters.into_iter().filter(|_| true).map(|setter| setter.join().unwrap()).filter(|won| *won).count();
        assert_eq!(won, 1);
        let value = *cell.get().unwrap();
        assert_eq!(waiter.join().unwrap(), value);
        assert_eq!(cell.set(9), Err(9));
        assert_eq!(*cell.get_or_init(|| unreachable!()), value);
    });
}

#[test]
fn a_closure_that_panics_leaves_the_cell_empty() {
    let cell = OnceLock::new();
    assert!(catch_unwind(AssertUnwindSafe(|| *cell.get_or_init(|| resume_unwind(Box::new(()))))).is_err());
    assert_eq!(cell.get(), None);
    assert_eq!(*cell.get_or_init(|| 3), 3);
}

#[test]
fn a_cell_is_taken_apart_and_put_together() {
    let mut cell = OnceLock::from(String::from("a"));
    assert_eq!(cell.clone(), cell);
    cell.get_mut().unwrap().push('b');
    assert_eq!(cell.take().as_deref(), Some("ab"));
    assert_eq!(cell.take(), None);
    assert!(cell.set(String::from("c")).is_ok());
    assert_ne!(cell, OnceLock::default());
    assert_eq!(cell.into_inner().as_deref(), Some("c"));
}

/// Counts its drops.
struct Counted(Arc<AtomicU32>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn values_and_closures_are_dropped_once() {
    let drops = Arc::new(AtomicU32::new(0));
    let cell = OnceLock::new();
    assert!(cell.set(Counted(drops.clone())).is_ok());
    assert!(cell.set(Counted(drops.clone())).is_err());
    assert_eq!(drops.load(Ordering::Relaxed), 1);
    drop(cell);
    assert_eq!(drops.load(Ordering::Relaxed), 2);
    let counted = Counted(drops.clone());
    drop(LazyLock::new(move || drop(counted)));
    assert_eq!(drops.load(Ordering::Relaxed), 3);
    let counted = Counted(drops.clone());
    let lazy = LazyLock::new(move || counted);
    LazyLock::force(&lazy);
    assert_eq!(drops.load(Ordering::Relaxed), 3);
    drop(lazy);
    assert_eq!(drops.load(Ordering::Relaxed), 4);
}

#[test]
fn a_lazy_value_is_made_once_at_its_first_use() {
    static TIMES: AtomicU32 = AtomicU32::new(0);
    static LAZY: LazyLock<u32> = LazyLock::new(|| {
        green::sleep(Duration::from_micros(200));
        TIMES.fetch_add(1, Ordering::Relaxed)
    });
    assert_eq!(LazyLock::get(&LAZY), None);
    everywhere(|world| {
        let threads: Vec<_> = (0..4).map(|_| world.spawn(|| *LAZY)).collect();
        assert!(threads.into_iter().all(|thread| thread.join().unwrap() == 0));
    });
    assert_eq!((LazyLock::get(&LAZY), TIMES.load(Ordering::Relaxed)), (Some(&0), 1));
}

#[test]
fn a_lazy_value_is_reached_through_an_exclusive_reference() {
    let mut lazy = LazyLock::new(|| 1);
    assert_eq!(LazyLock::get_mut(&mut lazy), None);
    *LazyLock::force_mut(&mut lazy) += 1;
    *lazy += 1;
    assert_eq!(LazyLock::get_mut(&mut lazy), Some(&mut 3));
    assert_eq!(*LazyLock::<u8>::default(), 0);
}

#[test]
fn a_lazy_value_whose_closure_panicked_is_poisoned() {
    everywhere(|_| {
        let mut lazy: LazyLock<u32> = LazyLock::new(|| resume_unwind(Box::new(())));
        assert!(catch_unwind(AssertUnwindSafe(|| *lazy)).is_err());
        let again = catch_unwind(AssertUnwindSafe(|| *lazy));
        assert_eq!(message(again.unwrap_err()), "LazyLock instance has previously been poisoned");
        let again = catch_unwind(AssertUnwindSafe(|| *LazyLock::force_mut(&mut lazy)));
        assert_eq!(message(again.unwrap_err()), "LazyLock instance has previously been poisoned");
        assert_eq!(LazyLock::get(&lazy), None);
    });
}

#[test]
fn a_cancel_waits_until_a_lazy_value_is_made_and_a_time_out_inside_does_not() {
    for workers in [1, 2] {
        bounded(move || {
            static RUNS: AtomicBool = AtomicBool::new(false);
            static GO: AtomicBool = AtomicBool::new(false);
            RUNS.store(false, Ordering::Relaxed);
            GO.store(false, Ordering::Relaxed);
            let runtime = crate::help::builder().workers(workers).build().unwrap();
            let lazy: Arc<LazyLock<bool>> = Arc::new(LazyLock::new(|| {
                RUNS.store(true, Ordering::Relaxed);
                until(|| GO.load(Ordering::Relaxed));
                green::timeout(Duration::from_millis(1), || green::sleep(LONG)).is_err()
            }));
            let thread = runtime.spawn({
                let lazy = lazy.clone();
                move || {
                    assert!(**lazy);
                    green::sleep(LONG);
                }
            });
            until(|| RUNS.load(Ordering::Relaxed));
            thread.cancel();
            GO.store(true, Ordering::Relaxed);
            assert!(thread.join().unwrap_err().is::<green::Cancelled>());
            assert_eq!(LazyLock::get(&lazy), Some(&true));
            // Long enough for the closure to begin in time on a busy machine, too.
            let outside = green::timeout(Duration::from_millis(100), || {
                *LazyLock::new(|| {
                    green::sleep(Duration::from_millis(150));
                    5
                })
            });
            assert_eq!(outside, Ok(5));
        });
    }
}
