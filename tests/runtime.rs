//! Runtimes: the default one and others, their settings, their end.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod help;

use std::cell::Cell;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use green::{Cancelled, Runtime};
use help::{Flag, bounded, in_a_child, runtime, scaled, spin_until};

/// Adds one when it is dropped.
struct Counts(Arc<AtomicUsize>);

impl Drop for Counts {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn spawn_needs_no_set_up_and_run_returns_the_value_of_the_main_thread() {
    bounded(|| {
        assert_eq!(green::spawn(|| 6 * 7).join().unwrap(), 42);
        let list = [1, 2, 3];
        assert_eq!(green::run(|| list.iter().sum::<i32>()), 6);
        assert_eq!(green::run(|| green::run(|| list.len())), 3, "run nests");
    });
}

#[test]
fn run_hands_a_panic_on_and_does_not_wait_for_detached_threads() {
    bounded(|| {
        let runtime = runtime(2);
        let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.run(|| std::panic::resume_unwind(Box::new(5_u8)));
        }));
        assert_eq!(payload.unwrap_err().downcast_ref(), Some(&5_u8));
        let detached = runtime.run(|| green::spawn(green::thread::park));
        assert!(!detached.is_finished());
        detached.thread().unpark();
        detached.join().unwrap();
    });
}

#[test]
fn a_thread_stays_in_its_runtime_and_so_does_what_it_spawns() {
    bounded(|| {
        let first = help::builder().workers(2).thread_name("first").build().unwrap();
        let second = help::builder().workers(1).thread_name("second").build().unwrap();
        assert_eq!((first.workers(), second.workers()), (2, 1));
        let (a, b) = first.run(|| {
            let a = green::spawn(|| green::spawn(help::os_thread_name).join().unwrap()).join().unwrap();
            // Across runtimes: spawn, join, wake.
            let other = second.spawn(|| {
                green::thread::park();
                help::os_thread_name()
            });
            green::yield_now();
            other.thread().unpark();
            (a, other.join().unwrap())
        });
        assert!(a.starts_with("first-"), "{a}");
        assert_eq!(b, "second-0");
        assert_eq!(first.run(|| green::thread::available_parallelism().unwrap().get()), 2);
    });
}

#[test]
fn a_runtime_inside_a_thread_of_another_one_runs_and_is_dropped() {
    bounded(|| {
        for workers in [1, 2] {
            let count = Arc::new(AtomicUsize::new(0));
            let inner = count.clone();
            runtime(workers).run(move || {
                // The worker goes on meanwhile.
                let other = green::spawn_local(|| {
                    for _ in 0..10 {
                        green::yield_now();
                    }
                });
                let runtime = help::runtime(2);
                for _ in 0..5 {
                    let counts = Counts(inner.clone());
                    runtime.spawn(move || {
                        green::thread::park();
                        drop(counts);
                    });
                }
                assert_eq!(runtime.run(|| 1), 1);
                drop(runtime);
                other.join().unwrap();
            });
            assert_eq!(count.load(Ordering::SeqCst), 5);
        }
    });
}

#[test]
fn dropping_a_runtime_unwinds_what_is_parked_ready_or_not_started() {
    bounded(|| {
        for workers in [1, 2, 4] {
            let (runtime, count) = (runtime(workers), Arc::new(AtomicUsize::new(0)));
            let parked = Arc::new(AtomicUsize::new(0));
            for n in 0..scaled(300) {
                let (counts, parked) = (Counts(count.clone()), parked.clone());
                runtime.spawn(move || {
                    let _counts = counts;
                    parked.fetch_add(1, Ordering::SeqCst);
                    match n % 4 {
                        0 => green::thread::park(),
                        1 => green::sleep(Duration::from_secs(600)),
                        2 => drop(green::spawn(green::thread::park).join()),
                        _ => loop {
                            green::yield_now();
                            green::sleep(Duration::ZERO);
                        },
                    }
                });
            }
            // Some have run, others have not started.
            spin_until("a thread", || parked.load(Ordering::SeqCst) > 10);
            drop(runtime);
            assert_eq!(count.load(Ordering::SeqCst), scaled(300));
        }
    });
}

#[test]
fn threads_that_are_spawned_and_joined_by_destructors_during_the_shutdown_do_not_keep_it_waiting() {
    bounded(|| {
        for workers in [1, 2, 4] {
            let (runtime, parked) = (runtime(workers), Arc::new(AtomicUsize::new(0)));
            let ended = Arc::new(AtomicUsize::new(0));
            struct SpawnsLate(Arc<AtomicUsize>);
            impl Drop for SpawnsLate {
                fn drop(&mut self) {
                    let detached = green::spawn(green::thread::park);
                    let local = green::spawn_local(green::thread::park);
                    let joined = green::spawn(|| green::spawn(green::thread::park).join().map_err(drop));
                    drop(detached);
                    green::yield_now();
                    assert!(local.join().is_err());
                    // Where another worker has started it before that one stops, its child may end first: then it returns.
                    assert!(joined.join().map_or(true, |child| child.is_err()));
                    self.0.fetch_add(1, Ordering::SeqCst);
                }
            }
            for _ in 0..20 {
                let (spawns, parked) = (SpawnsLate(ended.clone()), parked.clone());
                runtime.spawn(move || {
                    let _spawns = spawns;
                    parked.fetch_add(1, Ordering::SeqCst);
                    green::thread::park();
                });
            }
            spin_until("the threads", || parked.load(Ordering::SeqCst) == 20);
            drop(runtime);
            assert_eq!(ended.load(Ordering::SeqCst), 20);
        }
    });
}

#[test]
fn a_thread_that_swallows_cancels_is_asked_again_until_it_ends() {
    bounded(|| {
        let (runtime, swallowed) = (runtime(1), Arc::new(AtomicUsize::new(0)));
        let (count, started) = (swallowed.clone(), Arc::new(Flag::new()));
        let flag = started.clone();
        runtime.spawn(move || {
            flag.set();
            while count.load(Ordering::SeqCst) < 50 {
                let caught = std::panic::catch_unwind(|| green::sleep(Duration::from_secs(600)));
                assert!(caught.unwrap_err().is::<Cancelled>());
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        spin_until("the thread", || started.is_set());
        drop(runtime);
        assert_eq!(swallowed.load(Ordering::SeqCst), 50);
    });
}

#[test]
fn a_runtime_that_is_dropped_by_its_own_thread_ends_when_that_thread_does() {
    bounded(|| {
        for workers in [1, 2] {
            let (runtime, count) = (runtime(workers), Arc::new(AtomicUsize::new(0)));
            let counts = Counts(count.clone());
            runtime.spawn(move || {
                let _counts = counts;
                green::thread::park();
            });
            let (sender, receiver) = mpsc::channel::<Runtime>();
            let drops = runtime.spawn(move || {
                drop(receiver.recv().unwrap());
                // It is cancelled now like the others, at its next blocking call.
                green::thread::park();
            });
            sender.send(runtime).unwrap();
            assert!(drops.join().unwrap_err().is::<Cancelled>());
            spin_until("the other thread's end", || count.load(Ordering::SeqCst) == 1);
        }
    });
}

#[test]
fn a_closure_that_holds_the_last_reference_to_its_own_runtime_may_drop_it() {
    bounded(|| {
        for _ in 0..50 {
            let runtime = Arc::new(runtime(2));
            let inner = runtime.clone();
            let thread = runtime.spawn(move || drop(inner));
            drop(runtime);
            thread.join().unwrap();
        }
    });
}

#[test]
fn when_drop_returns_the_thread_locals_of_the_workers_have_been_dropped() {
    thread_local! {
        static SLOW: Cell<Option<Slow>> = const { Cell::new(None) };
    }
    struct Slow(Arc<Flag>);
    impl Drop for Slow {
        fn drop(&mut self) {
            std::thread::sleep(Duration::from_millis(30));
            self.0.set();
        }
    }
    fn run_and_drop() {
        let (runtime, dropped) = (runtime(1), Arc::new(Flag::new()));
        runtime.run(|| SLOW.set(Some(Slow(dropped.clone()))));
        drop(runtime);
        assert!(dropped.is_set());
    }
    bounded(run_and_drop);
    bounded(|| runtime(1).run(run_and_drop));
}

#[test]
fn a_thread_local_of_a_worker_may_use_the_crate_in_its_destructor() {
    thread_local! {
        static LATE: Cell<Option<Late>> = const { Cell::new(None) };
    }
    struct Late(mpsc::Sender<i32>);
    impl Drop for Late {
        fn drop(&mut self) {
            green::sleep(Duration::from_millis(1));
            self.0.send(green::spawn(|| 9).join().unwrap()).unwrap();
        }
    }
    bounded(|| {
        let (sender, receiver) = mpsc::channel();
        runtime(1).run(|| LATE.set(Some(Late(sender))));
        assert_eq!(receiver.recv(), Ok(9));
    });
}

#[test]
fn handles_outlive_their_runtime() {
    bounded(|| {
        let runtime = runtime(2);
        let returned = runtime.spawn(|| String::from("value"));
        let parked = runtime.spawn(green::thread::park);
        let thread = parked.thread().clone();
        spin_until("the value", || returned.is_finished());
        drop(runtime);
        // Another one takes its place, and nothing of it is touched by what the old handles do.
        let next = help::runtime(2);
        let threads: Vec<_> = (0..10).map(|_| next.spawn(green::thread::park)).collect();
        thread.unpark();
        parked.cancel();
        returned.cancel();
        assert_eq!(returned.join().unwrap(), "value");
        assert!(parked.join().unwrap_err().is::<Cancelled>());
        assert!(!threads.iter().any(|thread| thread.is_finished()));
    });
}

#[test]
fn runtimes_that_come_and_go_do_not_mix_up_late_wakes_and_cancels() {
    bounded(|| {
        let stop = Arc::new(Flag::new());
        let latest = Arc::new(Mutex::new(None::<(green::thread::Thread, Arc<green::thread::JoinHandle<()>>)>));
        let pesters: Vec<_> = (0..2)
            .map(|_| {
                let (stop, latest) = (stop.clone(), latest.clone());
                std::thread::spawn(move || {
                    let mut old = vec![];
                    while !stop.is_set() {
                        old.extend(latest.lock().unwrap().take());
                        for (thread, handle) in &old {
                            thread.unpark();
                            handle.cancel();
                        }
                        old.truncate(8);
                        std::thread::yield_now();
                    }
                })
            })
            .collect();
        for round in 0..scaled(200) {
            let runtime = runtime(1 + round % 3);
            for _ in 0..4 {
                let thread = runtime.spawn(|| while std::panic::catch_unwind(green::thread::park).is_ok() {});
                *latest.lock().unwrap() = Some((thread.thread().clone(), Arc::new(thread)));
            }
            assert_eq!(runtime.run(|| green::spawn(|| 1).join().unwrap()), 1);
        }
        stop.set();
        for pester in pesters {
            pester.join().unwrap();
        }
    });
}

#[test]
fn settings_out_of_their_bounds_are_errors_that_name_them() {
    type Set = fn(green::RuntimeBuilder) -> green::RuntimeBuilder;
    let cases: [(&str, Set); 10] = [
        ("workers = 0", |b| b.workers(0)),
        ("workers = 1025", |b| b.workers(1025)),
        ("workers = 18446744073709551615", |b| b.workers(usize::MAX)),
        ("stack size of 0 bytes", |b| b.stack_size(0)),
        ("stack size of 16383 bytes", |b| b.stack_size(16383)),
        ("stack size of 1073741825 bytes", |b| b.stack_size((1 << 30) + 1)),
        ("blocking_threads = 0", |b| b.blocking_threads(0)),
        ("blocking_threads = 32769", |b| b.blocking_threads(32769)),
        ("blocking_queue = 0", |b| b.blocking_queue(0)),
        ("thread_name", |b| b.thread_name("a\0b")),
    ];
    for (what, set) in cases {
        let error = set(help::builder()).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{what}");
        assert!(error.to_string().contains(what), "{what}: {error}");
    }
}

/// (An emulator takes minutes for five thousand OS threads, on a busy machine.)
#[cfg(not(green_emulated))]
#[test]
fn more_workers_than_the_process_may_have_is_an_error_and_a_dropped_runtime_gives_its_own_back() {
    let ended = in_a_child(&[], || {
        let mut runtimes = vec![];
        let error = loop {
            match help::builder().workers(1024).build() {
                Ok(runtime) => runtimes.push(runtime),
                Err(error) => break error,
            }
            assert!(runtimes.len() <= 4);
        };
        let text = error.to_string();
        // Four times 1024 fit, unless the system has fewer threads to give.
        assert!(text.contains("more than 4096 workers") || text.contains("could not be started"), "{text}");
        drop(runtimes);
        assert_eq!(help::builder().workers(1024).build().unwrap().run(|| 5), 5);
    });
    ended.assert_success();
}

#[test]
fn the_environment_sets_the_default_runtimes_workers_and_stack_size() {
    let ended = in_a_child(&[("GREEN_WORKERS", "3"), ("GREEN_STACK_SIZE", "65536")], || {
        assert_eq!(green::thread::available_parallelism().unwrap().get(), 3);
        green::run(|| {
            assert_eq!(green::thread::available_parallelism().unwrap().get(), 3);
            // Deeper than 64 KiB: it must not go unnoticed.
            fn deep(n: usize) -> u8 {
                let frame = [n as u8; 1024];
                if n == 0 { 0 } else { deep(n - 1) ^ std::hint::black_box(frame)[n % 1024] }
            }
            std::hint::black_box(deep(5));
            eprintln!("5 frames were fine");
            std::hint::black_box(deep(500));
        });
    });
    assert_eq!(ended.signal, Some(6), "{}", ended.output);
    assert!(ended.output.contains("5 frames were fine"), "{}", ended.output);
    assert!(ended.output.contains("stack size 65536 bytes"), "{}", ended.output);
}

#[test]
fn a_bad_variable_is_an_error_that_names_it() {
    // A child for each, because the default runtime is made once.
    for (name, value) in BAD_VARIABLES {
        let ended = bad_variable(name, value);
        ended.assert_success();
    }
}

const BAD_VARIABLES: [(&str, &str); 11] = [
    ("GREEN_WORKERS", "0"),
    ("GREEN_WORKERS", "1025"),
    ("GREEN_WORKERS", "-1"),
    ("GREEN_WORKERS", "many"),
    ("GREEN_WORKERS", ""),
    ("GREEN_STACK_SIZE", "0"),
    ("GREEN_STACK_SIZE", "1k"),
    ("GREEN_STACK_SIZE", "4096"),
    ("GREEN_STACK_SIZE", "99999999999"),
    ("GREEN_THREAD_LOCALS", "1"),
    ("GREEN_THREAD_LOCALS", ""),
];

fn bad_variable(name: &'static str, value: &'static str) -> help::Ended {
    in_a_child(&[(name, value)], || {
        let (name, value) = BAD_VARIABLES
            .into_iter()
            .find(|(name, value)| std::env::var(name).as_deref() == Ok(value))
            .expect("one of them is set");
        for _ in 0..2 {
            let error = green::thread::Builder::new().spawn(|| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(name), "{error}");
            assert!(error.to_string().contains(value), "{error}");
        }
        let panics = std::panic::catch_unwind(|| green::spawn(|| ())).unwrap_err();
        assert!(panics.downcast_ref::<String>().unwrap().contains(name));
        // A runtime that was made by hand does not care.
        assert_eq!(help::builder().workers(1).build().unwrap().run(|| 3), 3);
    })
}

// An emulator does not hold the emulated program to the limit.
#[cfg(not(green_emulated))]
#[test]
fn when_no_worker_can_be_started_build_says_which_and_leaves_nothing_behind() {
    let ended = in_a_child(&[], || {
        help::leave_address_space(20 << 20);
        let error = help::builder().workers(64).build().unwrap_err();
        assert!(error.to_string().contains("of 64 could not be started"), "{error}");
        // What fits goes.
        assert_eq!(help::builder().workers(1).stack_size(16 << 10).build().unwrap().workers(), 1);
    });
    ended.assert_success();
}

#[test]
fn runtimes_of_all_sizes_one_after_the_other_do_not_use_up_the_places() {
    bounded(|| {
        // All in all many more than there are places; at no time more than a few.
        for workers in (1..=scaled(96)).chain((1..=scaled(96)).rev()) {
            let runtime = help::builder().workers(workers).build().unwrap_or_else(|error| panic!("{workers}: {error}"));
            assert_eq!(runtime.run(|| green::spawn(|| 1).join().unwrap()), 1);
        }
    });
}

#[test]
fn runtimes_that_come_and_go_in_any_order_do_not_use_up_the_places() {
    bounded(|| {
        let mut alive = std::collections::VecDeque::new();
        for round in 0..scaled(300) {
            alive.push_back(runtime(1 + round * 7 % 31));
            if alive.len() > 3 {
                // The oldest, or one in the middle.
                drop(alive.remove(round % 2));
            }
            let sum: usize = alive.iter().map(|runtime| runtime.run(|| green::spawn(|| 1).join().unwrap())).sum();
            assert_eq!(sum, alive.len());
        }
    });
}

#[test]
fn wakes_and_cancels_that_come_too_late_do_no_harm_to_the_next_runtime() {
    bounded(|| {
        for round in 0..scaled(400) {
            let runtime = runtime(1 + round % 5);
            let threads: Vec<_> = (0..4).map(|_| runtime.spawn(green::thread::park)).collect();
            let handles: Vec<_> = threads.iter().map(|thread| thread.thread().clone()).collect();
            let late = std::thread::spawn(move || {
                for (thread, handle) in threads.iter().zip(&handles) {
                    thread.cancel();
                    handle.unpark();
                    thread.cancel();
                }
            });
            drop(runtime);
            let next = self::runtime(1 + round * 3 % 7);
            let parked = next.spawn(|| {
                green::thread::park_timeout(Duration::from_micros(50));
                green::sleep(Duration::from_micros(50));
                5
            });
            assert_eq!(parked.join().unwrap(), 5, "it was cancelled by a cancel of another thread");
            late.join().unwrap();
        }
    });
}

#[test]
#[should_panic(expected = "a second call of `in_a_child` in one test")]
fn a_second_closure_of_a_test_for_a_child_was_never_run() {
    in_a_child(&[], || ()).assert_success();
    in_a_child(&[], || panic!("it is not run")).assert_success();
}
