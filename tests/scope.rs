//! `scope`: threads that borrow from the stack of their parent.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod help;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use green::Cancelled;
use green::thread::{Builder, Scope, ScopedJoinHandle};
use help::{everywhere, on_workers, until_parked};

#[test]
fn threads_of_a_scope_borrow_and_are_over_when_it_returns() {
    everywhere(|| {
        let mut list = vec![0_usize; 50];
        let total = AtomicUsize::new(0);
        let sum = green::scope(|s| {
            for (n, place) in list.iter_mut().enumerate() {
                let total = &total;
                s.spawn(move || {
                    if n % 2 == 0 {
                        green::sleep(Duration::from_micros(200));
                    }
                    *place = n;
                    total.fetch_add(n, Ordering::Relaxed);
                });
            }
            s.spawn(|| 7).join().unwrap()
        });
        assert_eq!(sum, 7);
        assert_eq!(list, (0..50).collect::<Vec<_>>());
        assert_eq!(total.into_inner(), 49 * 50 / 2);
    });
}

#[test]
fn scopes_nest_and_a_thread_of_one_spawns_more_into_it() {
    fn tree<'scope>(s: &'scope Scope<'scope, '_>, count: &'scope AtomicUsize, depth: u32) {
        count.fetch_add(1, Ordering::Relaxed);
        if depth > 0 {
            for _ in 0..2 {
                s.spawn(move || tree(s, count, depth - 1));
            }
            green::scope(|inner| {
                inner.spawn(|| count.fetch_add(1000, Ordering::Relaxed));
            });
        }
    }
    everywhere(|| {
        let count = AtomicUsize::new(0);
        green::scope(|s| tree(s, &count, 5));
        assert_eq!(count.into_inner(), 63 + 31 * 1000);
    });
}

#[test]
fn a_panic_of_the_closure_waits_for_the_threads_first() {
    everywhere(|| {
        let done = AtomicUsize::new(0);
        let payload = catch_unwind(AssertUnwindSafe(|| {
            green::scope(|s| {
                for _ in 0..5 {
                    s.spawn(|| {
                        green::sleep(Duration::from_millis(1));
                        done.fetch_add(1, Ordering::Relaxed);
                    });
                }
                std::panic::panic_any(3_u16);
            });
        }));
        assert_eq!(payload.unwrap_err().downcast_ref(), Some(&3_u16));
        assert_eq!(done.into_inner(), 5);
    });
}

#[test]
fn a_panic_that_nobody_joined_is_the_scopes_and_one_that_was_joined_is_not() {
    everywhere(|| {
        let unjoined = catch_unwind(|| green::scope(|s| drop(s.spawn(|| panic!("of the thread")))));
        assert_eq!(unjoined.unwrap_err().downcast_ref(), Some(&"a scoped thread panicked"));
        let joined = green::scope(|s| s.spawn(|| -> () { panic!("of the thread") }).join().is_err());
        assert!(joined);
    });
}

#[test]
fn a_forgotten_handle_does_not_let_the_thread_outlive_the_scope() {
    everywhere(|| {
        for _ in 0..20 {
            let mut text = String::from("borrowed");
            green::scope(|s| {
                std::mem::forget(s.spawn(|| {
                    green::yield_now();
                    text.push('!');
                    &text[..]
                }));
            });
            assert_eq!(text, "borrowed!");
        }
    });
}

#[test]
fn a_result_that_borrows_is_dropped_before_the_scope_ends() {
    struct Writes<'a>(&'a AtomicUsize);
    impl Drop for Writes<'_> {
        fn drop(&mut self) {
            green::yield_now();
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    everywhere(|| {
        let count = AtomicUsize::new(0);
        green::scope(|s| {
            let count = &count;
            drop(s.spawn(move || Writes(count)));
            let late = s.spawn(move || Writes(count));
            while !late.is_finished() {
                green::sleep(Duration::from_micros(50));
            }
            drop(late);
            // A handle that travels in another thread's result.
            let handle: ScopedJoinHandle<'_, Writes<'_>> = s.spawn(move || Writes(count));
            drop(s.spawn(move || handle));
        });
        assert_eq!(count.into_inner(), 3);
    });
}

#[test]
fn a_cancelled_scope_waits_for_its_threads_and_then_the_cancel_goes_on() {
    on_workers(|| {
        let done = AtomicUsize::new(0);
        green::scope(|outer| {
            let thread = outer.spawn(|| {
                green::scope(|s| {
                    for _ in 0..3 {
                        s.spawn(|| {
                            green::sleep(Duration::from_millis(3));
                            done.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                    green::thread::park();
                });
            });
            until_parked(thread.thread(), "park");
            thread.cancel();
            let cancelled = thread.join().unwrap_err().is::<Cancelled>();
            assert!(cancelled);
            assert_eq!(done.load(Ordering::Relaxed), 3, "it did not wait");
        });
    });
}

#[test]
fn a_cancelled_thread_of_a_scope_is_not_a_panic_of_it() {
    everywhere(|| {
        let value = green::scope(|s| {
            let parked = s.spawn(green::thread::park);
            until_parked(parked.thread(), "park");
            parked.cancel();
            s.spawn(green::thread::park).cancel();
            5
        });
        assert_eq!(value, 5);
    });
}

#[test]
fn a_builder_spawns_into_a_scope_and_an_error_leaves_the_scope_whole() {
    everywhere(|| {
        let number = 4;
        let named = green::scope(|s| {
            assert!(Builder::new().stack_size(1).spawn_scoped(s, || number).is_err());
            let thread = Builder::new()
                .name("scoped".into())
                .spawn_scoped(s, || (green::thread::current().name() == Some("scoped"), number));
            thread.unwrap().join().unwrap()
        });
        assert_eq!(named, (true, 4));
    });
}

/// A closure that is refused is dropped, and what it owns may panic then.
#[test]
fn a_closure_that_panics_when_it_is_refused_leaves_no_thread_to_wait_for() {
    struct Grumbles;
    impl Drop for Grumbles {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    everywhere(|| {
        let refused = catch_unwind(AssertUnwindSafe(|| {
            green::scope(|s| {
                let grumbles = Grumbles;
                let _ = Builder::new().stack_size(1).spawn_scoped(s, move || std::mem::forget(grumbles));
            });
        }));
        assert!(refused.is_err());
    });
}
