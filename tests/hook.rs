//! Panic hooks: nothing switches inside one.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod help;

use std::panic;
use std::time::Duration;

use help::{in_a_child, runtime};

/// Two threads of one worker; the first panics, and its hook calls `in_hook`.
fn panic_with_a_hook_that(in_hook: fn()) {
    panic::set_hook(Box::new(move |info| {
        eprintln!("hook: {info}");
        in_hook();
    }));
    runtime(1).run(|| {
        let panics = green::spawn_local(|| panic!("of the test"));
        let neighbour = green::spawn_local(|| {
            green::sleep(Duration::from_millis(1));
            panic!("of the neighbour")
        });
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
            green::sleep(Duration::from_millis(1));
            cancelled.cancel();
            assert!(cancelled.join().is_err());
            assert!(green::timeout(Duration::from_millis(1), green::thread::park).is_err());
            assert!(green::spawn(|| panic!("only this")).join().is_err());
        });
    });
    ended.assert_success();
    assert_eq!(ended.output.matches("hook:").count(), 1, "{}", ended.output);
}
