//! `no_park`: what waits inside it panics, and says so; nothing that borrows is left behind by that panic.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod help;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use help::{bounded, everywhere, on_workers, runtime};

/// The message of the panic that `f` ends with.
#[track_caller]
fn panic_of<T>(f: impl FnOnce() -> T) -> String {
    let Err(payload) = catch_unwind(AssertUnwindSafe(f)) else { panic!("it did not panic") };
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => payload.downcast_ref::<&str>().expect("a message").to_string(),
    }
}

#[test]
fn a_blocking_call_inside_no_park_is_a_panic_that_says_so() {
    everywhere(|| {
        type Call = (&'static str, fn());
        let calls: [Call; 6] = [
            ("park", green::thread::park),
            ("yield_now", green::yield_now),
            ("sleep", || green::sleep(Duration::from_millis(1))),
            ("join", || drop(green::spawn(green::thread::park).join())),
            ("scope", || green::scope(|s| drop(s.spawn(|| ())))),
            ("run", || green::run(|| ())),
        ];
        for (name, call) in calls {
            let message = panic_of(|| green::no_park(call));
            assert!(message.contains("no_park"), "{name}: {message}");
        }
        // It is over with the panic.
        green::sleep(Duration::from_millis(1));
    });
}

#[test]
fn blocking_inside_no_park_panics_on_a_worker() {
    on_workers(|| {
        let message = panic_of(|| green::no_park(|| green::blocking(|| ())));
        assert!(message.contains("no_park"), "{message}");
        assert_eq!(green::blocking(|| 7), 7, "the place that was given back can be had again");
    });
}

#[test]
fn run_inside_no_park_leaves_no_thread_behind_that_borrows() {
    bounded(|| {
        let runtime = runtime(2);
        let ran = AtomicUsize::new(0);
        for _ in 0..50 {
            let message = panic_of(|| {
                green::no_park(|| {
                    runtime.run(|| {
                        green::sleep(Duration::from_millis(1));
                        ran.fetch_add(1, Ordering::Relaxed);
                    });
                });
            });
            assert!(message.contains("no_park"), "{message}");
        }
        // Whatever was spawned and left behind touches `ran` by now.
        runtime.run(|| green::sleep(Duration::from_millis(20)));
        assert_eq!(ran.load(Ordering::Relaxed), 0, "a thread outlived the call that lent it its borrow");
    });
}

#[test]
fn scope_inside_no_park_leaves_no_thread_behind_that_borrows() {
    everywhere(|| {
        let ran = AtomicUsize::new(0);
        let message = panic_of(|| {
            green::no_park(|| {
                green::scope(|s| {
                    s.spawn(|| {
                        green::sleep(Duration::from_millis(1));
                        ran.fetch_add(1, Ordering::Relaxed);
                    });
                });
            });
        });
        assert!(message.contains("no_park"), "{message}");
        green::sleep(Duration::from_millis(20));
        assert_eq!(ran.load(Ordering::Relaxed), 0, "a thread outlived the scope that it borrows from");
    });
}

#[test]
fn no_park_nests_and_lets_a_panic_and_a_value_through() {
    everywhere(|| {
        assert_eq!(green::no_park(|| green::no_park(|| 3) + 1), 4);
        assert_eq!(panic_of(|| green::no_park(|| panic!("out"))), "out");
        // A scope outside may be used inside.
        let sum = AtomicUsize::new(0);
        green::scope(|s| {
            green::no_park(|| {
                s.spawn(|| sum.fetch_add(5, Ordering::Relaxed));
            });
        });
        assert_eq!(sum.into_inner(), 5);
    });
}
