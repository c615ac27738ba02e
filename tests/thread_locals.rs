//! Green threads with thread-locals of their own: what keeps state by thread is right across a park.
#![cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]

use std::cell::{Cell, RefCell};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use green::{Runtime, ThreadLocals};

/// A runtime whose threads have thread-locals of their own. One worker: its threads are neighbours. `None`: none is to be had here.
fn runtime() -> Option<Runtime> {
    match Runtime::builder().workers(1).thread_locals(ThreadLocals::PerThread).build() {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{error}");
            eprintln!("not tried: {error}");
            None
        }
    }
}

/// Runs `f` in many green threads of one worker at once.
fn many(n: usize, f: impl Fn(usize) + Sync) {
    let Some(runtime) = runtime() else { return };
    runtime.run(|| {
        green::scope(|scope| {
            let f = &f;
            for number in 0..n {
                scope.spawn(move || f(number));
            }
        });
    });
}

#[test]
fn a_machine_like_this_has_them() {
    if cfg!(not(any(green_sanitizer = "thread", green_sanitizer = "memory"))) {
        ThreadLocals::supported().unwrap();
    }
}

#[test]
fn a_thread_local_is_the_threads_own() {
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(7) };
    }
    many(50, |number| {
        assert_eq!(NUMBER.get(), 7);
        NUMBER.set(number);
        for _ in 0..10 {
            green::yield_now();
            assert_eq!(NUMBER.get(), number);
        }
    });
}

#[test]
fn errno_is_the_threads_own() {
    many(20, |number| {
        let wanted = number as i32 + 1;
        // SAFETY: errno of the calling thread.
        unsafe { *libc::__errno_location() = wanted };
        green::yield_now();
        assert_eq!(io::Error::last_os_error().raw_os_error(), Some(wanted));
    });
}

#[test]
fn std_knows_each_thread() {
    let ids = Mutex::new(Vec::new());
    many(20, |_| {
        let id = std::thread::current().id();
        ids.lock().unwrap().push(id);
        green::yield_now();
        assert_eq!(std::thread::current().id(), id);
    });
    let mut ids = ids.into_inner().unwrap();
    let count = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[test]
fn panics_are_counted_by_thread() {
    struct Waits(bool);
    impl Drop for Waits {
        fn drop(&mut self) {
            assert_eq!(std::thread::panicking(), self.0);
            green::yield_now();
            assert_eq!(std::thread::panicking(), self.0);
        }
    }
    let Some(runtime) = runtime() else { return };
    runtime.run(|| {
        let threads: Vec<_> = (0..20)
            .map(|number| {
                green::spawn(move || {
                    let _waits = Waits(number % 2 == 0);
                    green::yield_now();
                    if number % 2 == 0 {
                        std::panic::resume_unwind(Box::new(number));
                    }
                })
            })
            .collect();
        for (number, thread) in threads.into_iter().enumerate() {
            assert_eq!(thread.join().is_err(), number % 2 == 0);
        }
    });
}

#[test]
fn a_neighbours_panic_poisons_no_lock() {
    let Some(runtime) = runtime() else { return };
    runtime.run(|| {
        struct Waits;
        impl Drop for Waits {
            fn drop(&mut self) {
                green::sleep(Duration::from_millis(5));
            }
        }
        let (std_lock, own_lock) = (Arc::new(Mutex::new(0)), Arc::new(green::sync::Mutex::new(0)));
        let panics = green::spawn(|| {
            let _waits = Waits;
            std::panic::resume_unwind(Box::new(()));
        });
        green::yield_now();
        drop(std_lock.lock().unwrap());
        drop(own_lock.lock().unwrap());
        assert!(!std_lock.is_poisoned() && !own_lock.is_poisoned());
        assert!(panics.join().is_err());
        let (std_again, own_again) = (Arc::clone(&std_lock), Arc::clone(&own_lock));
        let poisons = green::spawn(move || {
            let _both = (std_again.lock().unwrap(), own_again.lock().unwrap());
            green::yield_now();
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(poisons.join().is_err());
        assert!(std_lock.is_poisoned() && own_lock.is_poisoned());
    });
}

#[test]
fn destructors_run_before_join_returns_and_may_park() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Counts;
    impl Drop for Counts {
        fn drop(&mut self) {
            green::yield_now();
            green::sleep(Duration::from_micros(100));
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
    thread_local! {
        static COUNTS: RefCell<Vec<Counts>> = const { RefCell::new(Vec::new()) };
    }
    let Some(runtime) = runtime() else { return };
    runtime.run(|| {
        for round in 0..50 {
            assert_eq!(DROPPED.load(Ordering::Relaxed), round * 3);
            let thread = green::spawn(|| {
                COUNTS.with_borrow_mut(|counts| counts.extend([Counts, Counts, Counts]));
            });
            thread.join().unwrap();
        }
        assert_eq!(DROPPED.load(Ordering::Relaxed), 150);
    });
}

#[test]
fn a_lazy_initialiser_may_park() {
    thread_local! {
        static LAZY: usize = {
            green::yield_now();
            green::sleep(Duration::from_micros(50));
            42
        };
    }
    many(50, |_| assert_eq!(LAZY.with(|lazy| *lazy), 42));
}

#[test]
fn a_guard_that_sets_a_thread_local_may_be_held_across_a_park() {
    thread_local! {
        static SPAN: Cell<usize> = const { Cell::new(0) };
    }
    struct Leave(usize);
    impl Drop for Leave {
        fn drop(&mut self) {
            SPAN.set(self.0);
        }
    }
    many(50, |number| {
        let _leave = Leave(SPAN.replace(number + 1));
        for _ in 0..5 {
            green::yield_now();
            assert_eq!(SPAN.get(), number + 1);
        }
    });
}
