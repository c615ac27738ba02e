//! Panic hooks: nothing switches inside one.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod help;

use std::panic;
use std::time::Duration;

use help::{in_a_child, runtime, until_parked};

/// Two threads of one worker; the first panics, and its hook calls `in_hook`.
fn panic_with_a_hook_that(in_hook: fn()) {
    panic::set_hook(Box::new(move |info| {
        eprintln!("hook: {info}");
        in_hook();
    }));
    runtime(1).run(|| {
        let neighbour = green::spawn_local(|| {
            green::thread::park();
            panic!("of the neighbour")
        });
        until_parked(neighbour.thread(), "park");
        // It is ready, so a switch in the hook would run it.
        let panics = green::spawn_local(|| panic!("of the test"));
        neighbour.thread().unpark();
        assert!(panics.join().is_err());
        assert!(neighbour.join().is_err());
    });
}

#[test]
fn a_hook_that_yields_does_not_let_its_neighbours_run() {
    let ended = in_a_child(&[], || {
        panic_with_a_hook_that(|| {
            for _ in 0..1000 {
                green::yield_now();
            }
        });
    });
    ended.assert_success();
    assert!(ended.output.contains("of the neighbour"), "{}", ended.output);
}

#[test]
fn a_hook_that_has_to_wait_ends_the_process_with_a_message() {
    let ended = in_a_child(&[], || panic_with_a_hook_that(|| green::sleep(Duration::from_millis(1))));
    assert_eq!(ended.signal, Some(6), "{}", ended.output);
    assert!(ended.output.contains("a panic hook made a blocking call"), "{}", ended.output);
}

#[test]
fn a_hook_may_use_what_need_not_wait() {
    let ended = in_a_child(&[], || {
        panic_with_a_hook_that(|| {
            green::thread::current().unpark();
            green::thread::park();
            let thread = green::spawn(|| ());
            thread.cancel();
            drop(thread);
            green::sleep(Duration::ZERO);
        });
    });
    ended.assert_success();
}

#[test]
fn the_first_use_of_the_crate_may_be_in_a_destructor_that_runs_because_of_a_panic() {
    let ended = in_a_child(&[], || {
        struct Spawns;
        impl Drop for Spawns {
            fn drop(&mut self) {
                assert_eq!(green::spawn(|| 3).join().unwrap(), 3);
                eprintln!("spawned");
            }
        }
        let result = panic::catch_unwind(|| {
            let _spawns = Spawns;
            panic!("of the test");
        });
        assert!(result.is_err());
    });
    ended.assert_success();
    assert!(ended.output.contains("spawned"), "{}", ended.output);
}

#[test]
fn the_hook_that_was_there_is_called_once_for_a_panic_and_not_for_a_cancel() {
    let ended = in_a_child(&[], || {
        panic::set_hook(Box::new(|info| eprintln!("hook: {info}")));
        green::run(|| {
            let cancelled = green::spawn(green::thread::park);
            until_parked(cancelled.thread(), "park");
            cancelled.cancel();
            assert!(cancelled.join().is_err());
            assert!(green::timeout(Duration::from_millis(1), green::thread::park).is_err());
            assert!(green::spawn(|| panic!("only this")).join().is_err());
        });
    });
    ended.assert_success();
    assert_eq!(ended.output.matches("hook:").count(), 1, "{}", ended.output);
}

/// Runs `f` on one worker, after the program has set a hook, inside `run` or before it; a neighbour is parked in a destructor
/// that its panic runs.
fn with_a_hook_set(late: bool, f: fn()) {
    let quiet = || panic::set_hook(Box::new(|_| ()));
    if !late {
        quiet();
    }
    help::bounded(move || {
        runtime(1).run(move || {
            if late {
                quiet();
            }
            struct Parks;
            impl Drop for Parks {
                fn drop(&mut self) {
                    green::thread::park();
                }
            }
            let neighbour = green::spawn_local(|| {
                let _parks = Parks;
                panic!("of the neighbour");
            });
            green::yield_now();
            f();
            neighbour.thread().unpark();
            assert!(neighbour.join().is_err());
        });
    });
}

fn panic_is_seen() {
    let mutex = green::sync::Mutex::new(());
    struct Sees;
    impl Drop for Sees {
        fn drop(&mut self) {
            assert!(green::thread::panicking());
        }
    }
    green::scope(|s| {
        let panics = s.spawn(|| {
            let _sees = Sees;
            let _guard = mutex.lock();
            panic!("of the test")
        });
        assert!(panics.join().is_err());
    });
    assert!(mutex.is_poisoned());
}

struct Sleeps;
impl Drop for Sleeps {
    fn drop(&mut self) {
        green::sleep(Duration::from_millis(4));
    }
}

fn destructor_outlasts_time_out() {
    let panics = green::spawn_local(|| {
        green::timeout(Duration::from_millis(2), || {
            let _sleeps = Sleeps;
            panic!("of the test");
        })
    });
    assert!(panics.join().unwrap_err().is::<&str>());
}

fn cancelled_in_a_destructor() {
    let panics = green::spawn_local(|| {
        let _sleeps = Sleeps;
        panic!("of the test");
    });
    green::yield_now();
    panics.cancel();
    assert!(panics.join().unwrap_err().is::<&str>());
}

#[test]
fn a_hook_that_is_set_late_hides_no_panic() {
    in_a_child(&[], || [true, false].map(|late| with_a_hook_set(late, panic_is_seen)).into_iter().collect())
        .assert_success();
}

#[test]
fn a_hook_that_is_set_late_lets_no_time_out_into_a_cleanup() {
    in_a_child(&[], || {
        [true, false].map(|late| with_a_hook_set(late, destructor_outlasts_time_out)).into_iter().collect()
    })
    .assert_success();
}

#[test]
fn a_hook_that_is_set_late_lets_no_cancel_into_a_cleanup() {
    in_a_child(&[], || {
        [true, false].map(|late| with_a_hook_set(late, cancelled_in_a_destructor)).into_iter().collect()
    })
    .assert_success();
}

#[test]
fn a_hook_that_calls_the_one_it_has_taken_is_not_interrupted_while_a_neighbour_unwinds() {
    in_a_child(&[], || {
        runtime(1).run(|| {
            let (sender, receiver) = green::channel::unbounded();
            let previous = panic::take_hook();
            // So many that the turn's budget is used up.
            panic::set_hook(Box::new(move |info| {
                (0..300).for_each(|number| sender.send(number).unwrap());
                previous(info);
            }));
            struct Parks;
            impl Drop for Parks {
                fn drop(&mut self) {
                    green::thread::park();
                }
            }
            let neighbour = green::spawn_local(|| {
                let _parks = Parks;
                panic!("of the neighbour");
            });
            green::yield_now();
            // Its time-out has passed when the hook sends, and takes effect neither there nor later.
            let panic = |_| green::spawn_local(|| green::timeout(Duration::ZERO, || panic!("of the test")));
            let threads: Vec<_> = (0..4).map(panic).collect();
            threads.into_iter().for_each(|thread| assert!(thread.join().unwrap_err().is::<&str>()));
            assert_eq!(receiver.try_iter().count(), 5 * 300);
            neighbour.thread().unpark();
            assert!(neighbour.join().is_err());
        });
    })
    .assert_success();
}

#[test]
fn a_hook_that_is_set_late_and_waits_ends_the_process_with_a_message() {
    let ended = in_a_child(&[], || {
        runtime(1).run(|| panic_with_a_hook_that_is_set_now(|| green::sleep(Duration::from_millis(1))));
    });
    assert_eq!(ended.signal, Some(6), "{}", ended.output);
    assert!(ended.output.contains("a panic hook made a blocking call"), "{}", ended.output);
}

#[test]
fn a_late_hook_that_waits_before_it_calls_the_one_before_ends_the_process_with_a_message() {
    let ended = in_a_child(&[], || {
        runtime(1).run(|| {
            let before = panic::take_hook();
            let panics = green::spawn_local(|| panic!("of the test"));
            let neighbour = green::spawn_local(|| {
                green::sleep(Duration::from_millis(1));
                eprintln!("the neighbour runs");
            });
            panic::set_hook(Box::new(move |info| {
                green::yield_now();
                green::spawn(|| eprintln!("the neighbour runs")).join().unwrap();
                before(info);
            }));
            assert!(panics.join().is_err());
            neighbour.join().unwrap();
        });
    });
    assert_eq!(ended.signal, Some(6), "{}", ended.output);
    assert!(ended.output.contains("a panic hook made a blocking call"), "{}", ended.output);
    assert!(!ended.output.contains("the neighbour runs"), "{}", ended.output);
}

fn panic_with_a_hook_that_is_set_now(in_hook: fn()) {
    panic::set_hook(Box::new(move |info| {
        eprintln!("hook: {info}");
        in_hook();
    }));
    let panics = green::spawn_local(|| panic!("of the test"));
    let neighbour = green::spawn_local(|| green::sleep(Duration::from_millis(1)));
    assert!(panics.join().is_err());
    neighbour.join().unwrap();
}

#[test]
fn a_hook_that_is_taken_and_put_back_is_called_once() {
    let ended = in_a_child(&[], || {
        panic::set_hook(Box::new(|info| eprintln!("hook: {info}")));
        green::run(|| {
            for _ in 0..10 {
                let hook = panic::take_hook();
                panic::set_hook(Box::new(|_| eprintln!("silent")));
                assert!(green::spawn(|| panic!("of the test")).join().is_err());
                panic::set_hook(hook);
            }
            // One that calls the one before.
            for _ in 0..3 {
                let hook = panic::take_hook();
                panic::set_hook(Box::new(move |info| {
                    eprintln!("outer");
                    hook(info);
                }));
            }
            assert!(green::spawn(|| panic!("of the test")).join().is_err());
            drop(panic::take_hook());
            panic::set_hook(Box::new(|_| eprintln!("last")));
            assert!(green::spawn(|| panic!("of the test")).join().is_err());
        });
    });
    ended.assert_success();
    let count = |what| ended.output.matches(what).count();
    assert_eq!([count("hook:"), count("silent"), count("outer"), count("last")], [1, 10, 3, 1], "{}", ended.output);
}

#[test]
fn a_hook_that_was_taken_may_be_dropped_by_a_thread_that_unwinds() {
    let ended = in_a_child(&[], || {
        green::run(|| {
            let hook = panic::take_hook();
            let dropped = panic::catch_unwind(panic::AssertUnwindSafe(move || {
                let _hook = hook;
                panic!("of the test");
            }));
            assert!(dropped.is_err());
        });
    });
    ended.assert_success();
}

/// Says which line the report has to have.
fn expect(name: &str, thread: &green::thread::Thread) {
    let id: String = format!("{:?}", thread.id()).chars().filter(char::is_ascii_digit).collect();
    eprintln!("\nexpected: in green thread '{name}' ({id})");
}

fn panics_of_all_kinds() {
    for thread_locals in [green::ThreadLocals::PerWorker, green::ThreadLocals::PerThread] {
        if thread_locals == green::ThreadLocals::PerThread && green::ThreadLocals::supported().is_err() {
            continue;
        }
        let runtime = green::Runtime::builder().workers(2).thread_locals(thread_locals).build().unwrap();
        runtime.run(|| {
            let named = green::thread::Builder::new().name("reader".to_owned()).spawn(|| panic!("named")).unwrap();
            let thread = named.thread().clone();
            assert!(named.join().is_err());
            expect("reader", &thread);
            let nameless = green::spawn(|| panic!("nameless"));
            let thread = nameless.thread().clone();
            assert!(nameless.join().is_err());
            expect("<unnamed>", &thread);
        });
    }
}

#[test]
fn the_report_of_a_panic_names_the_green_thread_and_not_only_its_worker() {
    let ended = in_a_child(&[], panics_of_all_kinds);
    ended.assert_success();
    let lines: Vec<_> = ended.output.lines().collect();
    let expected: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("expected: ")).collect();
    assert!(expected.len() >= 2, "{}", ended.output);
    for line in expected {
        let at = lines
            .iter()
            .position(|other| *other == line)
            .unwrap_or_else(|| panic!("{line:?} is not in\n{}", ended.output));
        assert!(
            lines[at..].iter().take(3).any(|next| next.starts_with("thread '") && next.contains(" panicked at ")),
            "{}",
            ended.output
        );
    }
}

#[test]
fn the_report_of_an_os_threads_panic_is_stds_alone() {
    let ended = in_a_child(&[], || {
        runtime(1).run(|| ());
        assert!(std::thread::spawn(|| panic!("plain")).join().is_err());
    });
    ended.assert_success();
    assert!(ended.output.contains("plain") && !ended.output.contains("in green thread"), "{}", ended.output);
}
