//! What runs out: memory, mappings, threads. An `Err` that names the limit, and everything that runs keeps running.
// An emulator does not hold the emulated program to such limits.
#![cfg(all(target_os = "linux", not(any(miri, green_emulated))))]
#![allow(missing_docs)]

mod help;

use std::io::ErrorKind;

use green::Runtime;
use green::thread::{Builder, JoinHandle};
use help::{in_a_child, leave_address_space, runtime, set_limit, until_parked};

/// Spawns parked threads until it gets an error; checks that those which run keep running, and that there is room again
/// when some have ended.
fn spawn_until_refused(stack_size: usize, at_most: usize) -> String {
    let builder = || Builder::new().stack_size(stack_size);
    let mut threads: Vec<JoinHandle<usize>> = vec![];
    let error = loop {
        let n = threads.len();
        let thread = builder().spawn(move || {
            green::thread::park();
            n
        });
        match thread {
            Ok(thread) => threads.push(thread),
            Err(error) => break error,
        }
        assert!(threads.len() <= at_most, "no limit was hit");
        if n.is_multiple_of(64) {
            green::yield_now();
        }
    };
    assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
    assert!(threads.len() > 2, "{error}");
    threads.iter().for_each(|thread| until_parked(thread.thread(), "park"));
    for (n, thread) in threads.into_iter().enumerate() {
        thread.thread().unpark();
        assert_eq!(thread.join().unwrap(), n);
    }
    assert_eq!(builder().spawn(|| 5).unwrap().join().unwrap(), 5);
    error.to_string()
}

#[test]
fn without_address_space_spawn_is_an_error_that_names_the_limit() {
    // One heap: glibc reserves 64 MiB for each further one, at a time of its own.
    let ended = in_a_child(&[("MALLOC_ARENA_MAX", "1")], || {
        let message = runtime(2).run(|| {
            green::spawn(|| ()).join().unwrap();
            leave_address_space(64 << 20);
            spawn_until_refused(1 << 20, 100_000)
        });
        assert!(message.contains("RLIMIT_AS"), "{message}");
    });
    ended.assert_success();
}

#[test]
fn without_mappings_spawn_is_an_error_that_names_the_limit() {
    // Guards by mprotect take two mappings each.
    let ended = in_a_child(&[("GREEN_GUARD", "mprotect")], || {
        let max = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
        let max: usize = max.trim().parse().unwrap();
        if max > 200_000 {
            return eprintln!("vm.max_map_count is {max}: too many to use up here");
        }
        let message = runtime(1).run(move || spawn_until_refused(16 << 10, max));
        assert!(message.contains("vm.max_map_count"), "{message}");
    });
    ended.assert_success();
}

#[test]
fn without_os_threads_build_is_an_error_that_says_which_worker() {
    let ended = in_a_child(&[], || {
        let first = runtime(1);
        assert_eq!(first.run(|| 3), 3);
        leave_address_space(3 << 20);
        let error = Runtime::builder().workers(8).build().unwrap_err();
        let message = error.to_string();
        assert!(message.contains("of 8 could not be started"), "{message}");
        assert_eq!(first.run(|| 4), 4, "the other runtime goes on");
    });
    ended.assert_success();
}

#[test]
fn without_processes_build_is_an_error_that_says_which_worker() {
    let ended = in_a_child(&[], || {
        // SAFETY: no requirements.
        if unsafe { libc::geteuid() } == 0 {
            // The limit does not hold for the superuser; nobody's does.
            // SAFETY: no requirements.
            if unsafe { libc::setuid(65534) } != 0 {
                return eprintln!("no other user can be had here");
            }
        }
        set_limit(libc::RLIMIT_NPROC as i32, 1);
        let error = Runtime::builder().workers(2).build().unwrap_err();
        assert!(error.to_string().contains("could not be started"), "{error}");
    });
    ended.assert_success();
}

#[test]
fn a_spawn_that_fails_drops_the_closure_and_panics_where_std_would() {
    let ended = in_a_child(&[], || {
        runtime(1).run(|| {
            leave_address_space(8 << 20);
            let owned = std::sync::Arc::new(());
            let inside = owned.clone();
            let error = Builder::new().stack_size(1 << 30).spawn(move || drop(inside)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
            assert_eq!(std::sync::Arc::strong_count(&owned), 1);
            // A scope that cannot spawn goes on.
            let value = green::scope(|s| {
                assert!(Builder::new().stack_size(1 << 30).spawn_scoped(s, || ()).is_err());
                s.spawn(|| 6).join().unwrap()
            });
            assert_eq!(value, 6);
        });
    });
    ended.assert_success();
}

#[test]
fn a_refusal_at_the_first_use_of_the_default_runtime_is_not_for_ever() {
    let ended = in_a_child(&[], || {
        for _ in 0..2 {
            leave_address_space(256 << 10);
            let error = Builder::new().spawn(|| 1).unwrap_err();
            set_limit(libc::RLIMIT_AS as i32, libc::RLIM_INFINITY);
            assert!(error.to_string().contains("could not be started"), "{error}");
        }
        assert_eq!(Builder::new().spawn(|| 1).unwrap().join().unwrap(), 1);
        assert_eq!(green::run(|| green::spawn(|| 2).join().unwrap()), 2);
    });
    ended.assert_success();
}

#[test]
fn a_bad_variable_is_an_error_of_the_default_runtime_until_it_is_set_right() {
    let ended = in_a_child(&[("GREEN_WORKERS", "none")], || {
        for _ in 0..2 {
            let error = Builder::new().spawn(|| 1).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("GREEN_WORKERS"), "{error}");
        }
        // SAFETY: nobody else looks at the environment.
        unsafe { std::env::set_var("GREEN_WORKERS", "2") };
        assert_eq!(Builder::new().spawn(|| 1).unwrap().join().unwrap(), 1);
    });
    ended.assert_success();
}
