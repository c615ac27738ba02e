//! A fork while another thread, or the forking thread itself, makes the first runtime or changes the panic hook.

use std::io::Read;
use std::panic::catch_unwind;
use std::time::Duration;

use green::net::{TcpListener, TcpStream};
use green::{Runtime, ThreadLocals};

use crate::help::{self, bounded, in_a_child, runtime};
use crate::{Add, Counter, assert_works};

/// The first thing that a process makes of the crate's: std is asked for its panic hook then, and much else is asked for once, libc for its list of libraries, under a lock that it
/// does not open in a child.
#[test]
fn a_child_that_was_forked_while_another_made_the_very_first_runtime_does_not_hang() {
    const ROUND: &str = "GREEN_TEST_ROUND";
    for round in 0..help::scaled(60_u32) {
        let ended = in_a_child(&[(ROUND, &round.to_string())], || {
            let round: u32 = std::env::var(ROUND).unwrap().parse().unwrap();
            let begins = std::sync::Barrier::new(2);
            let runtime = |workers| {
                let own = || Runtime::builder().workers(workers).thread_locals(ThreadLocals::PerThread).build().ok();
                (round % 2 == 1).then(own).flatten().unwrap_or_else(|| runtime(workers))
            };
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    begins.wait();
                    assert_eq!(runtime(1).run(|| 7), 7);
                });
                begins.wait();
                // The first one right away, or later.
                (0..round % 8 * 500).for_each(|_| std::hint::spin_loop());
                for _ in 0..4 {
                    assert_works("a runtime of the child's own", || {
                        assert_eq!(runtime(1).run(|| 5), 5);
                        let panics = catch_unwind(|| runtime(1).run(|| panic!("in the child")));
                        assert!(panics.is_err());
                    });
                }
            });
        });
        ended.assert_success();
    }
}

/// Another library's handlers, which run between those of this crate: its first half comes after theirs, as it was there before.
#[test]
fn a_handler_of_pthread_atfork_may_make_the_first_runtime_change_the_hook_and_fork() {
    unsafe extern "C" fn uses() {
        static ONCE: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
        if !ONCE.swap(true, std::sync::atomic::Ordering::Relaxed) {
            assert_works("a child of a handler", || assert_eq!(runtime(1).run(|| 3), 3));
            assert_eq!(runtime(1).run(|| 7), 7);
            std::panic::set_hook(Box::new(|_| ()));
            assert_works("another", || assert_eq!(runtime(1).run(|| 4), 4));
        }
    }
    let ended = in_a_child(&[], || {
        // SAFETY: a function of this program.
        assert_eq!(unsafe { libc::pthread_atfork(Some(uses), None, None) }, 0);
        green::dump::on_signal(libc::SIGUSR2).unwrap();
        assert_works("a child", || assert_eq!(runtime(1).run(|| 5), 5));
        // The gate is free.
        std::thread::spawn(|| assert_works("a child of another thread", || ())).join().unwrap();
        std::panic::set_hook(Box::new(|_| ()));
        runtime(2).run(|| assert_works("a child of a worker", || assert_eq!(runtime(1).run(|| 6), 6)));
    });
    ended.assert_success();
}

/// It has the gate, and waits for std's hook, which runs and waits for the thread that forks.
#[test]
fn a_thread_forks_though_a_panic_hook_that_makes_the_first_runtime_waits_for_it() {
    let ended = in_a_child(&[], || {
        std::panic::set_hook(Box::new(|_| {
            drop(runtime(1));
            // The thread that wraps the hook has come to the gate.
            std::thread::sleep(Duration::from_millis(50));
            std::thread::spawn(|| assert_works("a child", || ())).join().unwrap();
        }));
        catch_unwind(|| panic!("once")).unwrap_err();
        assert_works("a child afterwards", || assert_eq!(runtime(1).run(|| 5), 5));
    });
    ended.assert_success();
}

#[test]
fn what_is_made_once_may_be_half_made_when_one_forks() {
    use green::actor::{Actor, Name};
    static NAMED: Name<Counter> = Name::new("named");
    let use_much = || {
        let counter = Counter::default().start();
        NAMED.register(&counter).unwrap();
        assert_eq!(counter.send(Add(3)).unwrap(), 3);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        client.read(&mut [0]).unwrap_err();
    };
    for pause_us in [0, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000] {
        let ended = in_a_child(&[("PAUSE_US", &pause_us.to_string())], || {
            let pause_us = std::env::var("PAUSE_US").unwrap().parse().unwrap();
            bounded(move || {
                let first = runtime(1);
                let thread = first.spawn(use_much);
                std::thread::sleep(Duration::from_micros(pause_us));
                assert_works("all of it in a runtime of the child's", || runtime(1).run(use_much));
                thread.join().unwrap();
            });
        });
        ended.assert_success();
    }
}
