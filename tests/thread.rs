//! `green::thread` in std's shape.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod help;

use std::collections::HashSet;
use std::io::ErrorKind;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use green::thread::{Builder, JoinHandle, Thread, ThreadId};
use help::{Flag, bounded, everywhere, on_workers, runtime, scaled, spin_until};

#[test]
fn join_gives_the_value_or_the_payload_of_the_panic() {
    everywhere(|| {
        assert_eq!(green::spawn(|| String::from("value")).join().unwrap(), "value");
        let payload = green::spawn(|| -> i32 { std::panic::panic_any(7_i32) }).join().unwrap_err();
        assert_eq!(*payload.downcast::<i32>().unwrap(), 7);
        // The threads around it do not notice.
        assert_eq!(green::spawn(|| green::spawn(|| panic!("stays inside")).join().is_err()).join().ok(), Some(true));
    });
}

/// The thread that is joined starts on top of its joiner; when it waits, each of the two goes its own way.
#[test]
fn a_thread_that_waits_after_its_joiner_has_started_it_ends_on_its_own() {
    on_workers(|| {
        let parked = green::spawn(|| {
            green::thread::park();
            green::yield_now();
            green::sleep(Duration::from_millis(1));
            5
        });
        let thread = parked.thread().clone();
        let joiner = green::spawn(move || parked.join().unwrap());
        let outer = green::spawn(move || joiner.join().unwrap() + 1);
        let waker = green::spawn(move || thread.unpark());
        assert_eq!(outer.join().unwrap(), 6);
        waker.join().unwrap();
    });
}

#[test]
fn a_thread_that_its_joiner_has_started_goes_on_when_the_joiner_is_cancelled() {
    on_workers(|| {
        struct Notes(Arc<AtomicUsize>);
        impl Drop for Notes {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let dropped = Arc::new(AtomicUsize::new(0));
        let notes = Notes(dropped.clone());
        let (started, go_on) = (Arc::new(Flag::new()), Arc::new(Flag::new()));
        let (here, there) = (started.clone(), go_on.clone());
        let joiner = green::spawn(move || {
            let child = green::spawn(move || {
                here.set();
                while !there.is_set() {
                    green::yield_now();
                }
                notes // The result, which nobody takes.
            });
            drop(child.join());
        });
        while !started.is_set() {
            green::yield_now();
        }
        joiner.cancel();
        assert!(joiner.join().is_err());
        assert_eq!(dropped.load(Ordering::SeqCst), 0);
        go_on.set();
        while dropped.load(Ordering::SeqCst) == 0 {
            green::yield_now();
        }
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn many_threads_are_joined_in_any_order() {
    everywhere(|| {
        let count = scaled(5000);
        let sum = Arc::new(AtomicUsize::new(0));
        let mut threads: Vec<_> = (0..count)
            .map(|n| {
                let sum = sum.clone();
                green::spawn(move || {
                    if n % 3 == 0 {
                        green::yield_now();
                    }
                    sum.fetch_add(n, Ordering::Relaxed);
                    n
                })
            })
            .collect();
        while !threads.is_empty() {
            let at = (threads.len() * 7) % 11 % threads.len();
            threads.swap_remove(at).join().unwrap();
        }
        assert_eq!(sum.load(Ordering::Relaxed), count * (count - 1) / 2);
    });
}

#[test]
fn a_handle_that_is_dropped_leaves_the_thread_running_and_its_result_is_dropped() {
    struct Counts(Arc<AtomicUsize>);
    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    everywhere(|| {
        let count = Arc::new(AtomicUsize::new(0));
        for wait_first in [false, true] {
            for _ in 0..10 {
                let counts = Counts(count.clone());
                let thread = green::spawn(move || {
                    green::yield_now();
                    counts
                });
                while wait_first && !thread.is_finished() {
                    green::sleep(Duration::from_micros(50));
                }
            }
        }
        while count.load(Ordering::SeqCst) < 20 {
            green::sleep(Duration::from_micros(50));
        }
    });
}

#[test]
fn is_finished_says_when_a_join_does_not_wait() {
    everywhere(|| {
        let release = Arc::new(Flag::new());
        let flag = release.clone();
        let thread = green::spawn(move || {
            flag.wait();
        });
        green::yield_now();
        assert!(!thread.is_finished());
        release.set();
        while !thread.is_finished() {
            green::sleep(Duration::from_micros(50));
        }
        thread.join().unwrap();
    });
}

#[test]
fn a_thread_that_joins_itself_panics_and_says_so() {
    on_workers(|| {
        let slot = Arc::new(std::sync::Mutex::new(None::<JoinHandle<()>>));
        let message = Arc::new(std::sync::Mutex::new(String::new()));
        let (inner, said) = (slot.clone(), message.clone());
        let thread = green::spawn(move || {
            green::thread::park();
            let itself = inner.lock().unwrap().take().unwrap();
            let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| itself.join())).unwrap_err();
            *said.lock().unwrap() = panics.downcast_ref::<&str>().unwrap_or(&"another payload").to_string();
        });
        let unparker = thread.thread().clone();
        *slot.lock().unwrap() = Some(thread);
        unparker.unpark();
        while message.lock().unwrap().is_empty() {
            green::sleep(Duration::from_micros(50));
        }
        assert!(message.lock().unwrap().contains("cannot join itself"), "{}", message.lock().unwrap());
    });
}

#[test]
fn names_and_ids_are_those_that_were_given() {
    everywhere(|| {
        let thread = Builder::new().name("reader".into()).spawn(green::thread::current).unwrap();
        assert_eq!(thread.thread().name(), Some("reader"));
        let (id, seen) = (thread.thread().id(), thread.join().unwrap());
        assert_eq!((seen.id(), seen.name()), (id, Some("reader")));
        assert_eq!(green::spawn(|| green::thread::current().name().is_none()).join().ok(), Some(true));

        let ids: Vec<ThreadId> =
            (0..100).map(|_| green::spawn(|| green::thread::current().id())).map(|t| t.join().unwrap()).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 100);
        assert!(!ids.contains(&green::thread::current().id()));
    });
    let os = std::thread::Builder::new().name("plain".into()).spawn(green::thread::current).unwrap();
    assert_eq!(os.join().unwrap().name(), Some("plain"));
}

#[test]
fn a_builder_with_bad_settings_is_an_error_that_says_the_bounds() {
    everywhere(|| {
        for (bytes, bound) in
            [(0, "16384"), (16383, "16384"), ((1 << 30) + 1, "1073741824"), (usize::MAX, "1073741824")]
        {
            let error = Builder::new().stack_size(bytes).spawn(|| ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(bound) && error.to_string().contains(&bytes.to_string()), "{error}");
        }
        assert_eq!(Builder::new().stack_size(16 << 10).spawn(|| 1).unwrap().join().unwrap(), 1);
        assert_eq!(Builder::new().stack_size(8 << 20).spawn(|| [1_u8; 4 << 20][5]).unwrap().join().unwrap(), 1);
    });
}

#[test]
fn an_unpark_before_park_is_not_lost_and_tokens_do_not_add_up() {
    everywhere(|| {
        let me = green::thread::current();
        me.unpark();
        me.unpark();
        green::thread::park();
        let start = Instant::now();
        green::thread::park_timeout(Duration::from_millis(5));
        assert!(start.elapsed() >= Duration::from_millis(5), "a second token was there");
    });
}

#[test]
fn threads_pass_a_token_round_without_losing_it() {
    everywhere(|| {
        let rounds = scaled(2000);
        let turn = Arc::new(AtomicUsize::new(0));
        let me = green::thread::current();
        let inner = turn.clone();
        let other = green::spawn(move || {
            for round in 0..rounds {
                while inner.load(Ordering::Acquire) != round * 2 + 1 {
                    green::thread::park();
                }
                inner.store(round * 2 + 2, Ordering::Release);
                me.unpark();
            }
        });
        for round in 0..rounds {
            turn.store(round * 2 + 1, Ordering::Release);
            other.thread().unpark();
            while turn.load(Ordering::Acquire) != round * 2 + 2 {
                green::thread::park();
            }
        }
        other.join().unwrap();
    });
}

#[test]
fn an_unpark_of_a_thread_that_has_ended_or_not_started_does_no_harm() {
    on_workers(|| {
        let thread = green::spawn(green::thread::park);
        thread.thread().unpark();
        let handle: Thread = thread.thread().clone();
        thread.join().unwrap();
        handle.unpark();
        assert!(handle.name().is_none());
    });
}

#[test]
fn spawn_local_stays_on_its_worker_and_takes_what_is_not_send() {
    on_workers(|| {
        let (shared, here) = (Rc::new(7), help::os_thread());
        let threads: Vec<JoinHandle<Rc<i32>>> = (0..50)
            .map(|_| {
                let also = shared.clone();
                green::spawn_local(move || {
                    assert_eq!(help::os_thread(), here);
                    green::sleep(Duration::from_micros(100));
                    assert_eq!(help::os_thread(), here);
                    also
                })
            })
            .collect();
        for thread in threads {
            assert_eq!(*thread.join().unwrap(), 7);
        }
        assert_eq!(Rc::strong_count(&shared), 1);
    });
    let outside = std::panic::catch_unwind(|| green::spawn_local(|| ())).unwrap_err();
    assert!(outside.downcast_ref::<&str>().unwrap().contains("outside a green thread"));
}

#[test]
fn a_started_thread_never_changes_its_worker() {
    bounded(|| {
        runtime(4).run(|| {
            let threads: Vec<_> = (0..scaled(400))
                .map(|_| {
                    green::spawn(|| {
                        let here = std::thread::current().id();
                        for n in 0..10 {
                            if n % 2 == 0 {
                                green::yield_now()
                            } else {
                                green::sleep(Duration::from_micros(50))
                            }
                            assert_eq!(std::thread::current().id(), here);
                        }
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    });
}

#[test]
fn a_sleep_never_ends_early_and_neither_does_park_timeout() {
    everywhere(|| {
        let threads: Vec<_> = (0..scaled(200) as u64)
            .map(|n| {
                green::spawn(move || {
                    let (start, d) = (Instant::now(), Duration::from_micros(n * 37 % 5000));
                    match n % 3 {
                        0 => green::sleep(d),
                        1 => green::thread::sleep_until(start + d),
                        _ => green::thread::park_timeout(d),
                    }
                    assert!(start.elapsed() >= d, "{:?} < {d:?}", start.elapsed());
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        green::thread::sleep_until(Instant::now() - Duration::from_millis(1));
    });
}

#[test]
fn sleepers_wake_in_the_order_of_their_deadlines() {
    bounded(|| {
        let order = Arc::new(std::sync::Mutex::new(vec![]));
        runtime(1).run(|| {
            // All sleep before the first deadline, on a loaded machine, too.
            let start = Instant::now() + Duration::from_millis(100);
            let threads: Vec<_> = [5, 3, 9, 1, 7, 2]
                .map(|n| {
                    let order = order.clone();
                    green::spawn(move || {
                        green::thread::sleep_until(start + Duration::from_millis(n * 4));
                        order.lock().unwrap().push(n);
                    })
                })
                .into();
            threads.into_iter().for_each(|thread: JoinHandle<()>| thread.join().unwrap());
        });
        assert_eq!(*order.lock().unwrap(), [1, 2, 3, 5, 7, 9]);
    });
}

#[test]
fn sleepers_that_are_late_all_at_once_wake_in_the_order_of_their_deadlines() {
    bounded(|| {
        let order = Arc::new(std::sync::Mutex::new(vec![]));
        runtime(1).run(|| {
            let start = Instant::now();
            let threads: Vec<_> = [5, 3, 9, 1, 7, 2]
                .map(|n| {
                    let order = order.clone();
                    green::spawn(move || {
                        green::thread::sleep_until(start + Duration::from_millis(50 + n));
                        order.lock().unwrap().push(n);
                    })
                })
                .into();
            green::yield_now();
            // Keeps the worker until all are due.
            std::thread::sleep(Duration::from_millis(70));
            threads.into_iter().for_each(|thread: JoinHandle<()>| thread.join().unwrap());
        });
        assert_eq!(*order.lock().unwrap(), [1, 2, 3, 5, 7, 9]);
    });
}

#[test]
fn many_pending_timers_are_cancelled_at_once() {
    bounded(|| {
        for workers in [1, 2] {
            let (runtime, started) = (runtime(workers), Arc::new(AtomicUsize::new(0)));
            let count = scaled(10_000);
            let threads: Vec<_> = (0..count)
                .map(|n| {
                    let started = started.clone();
                    runtime.spawn(move || {
                        started.fetch_add(1, Ordering::Relaxed);
                        green::sleep(Duration::from_secs(3600 + n as u64));
                    })
                })
                .collect();
            spin_until("the sleepers", || started.load(Ordering::Relaxed) == count);
            threads.iter().for_each(JoinHandle::cancel);
            assert!(threads.into_iter().all(|thread| thread.join().is_err()));
        }
    });
}

#[test]
fn the_public_types_may_go_where_stds_may() {
    fn shared<T: Send + Sync>() {}
    fn unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}
    shared::<Thread>();
    unwind_safe::<Thread>();
    shared::<ThreadId>();
    shared::<Builder>();
    unwind_safe::<Builder>();
    shared::<JoinHandle<String>>();
    unwind_safe::<JoinHandle<*mut u8>>();
    shared::<green::Runtime>();
    unwind_safe::<green::Runtime>();
    shared::<green::RuntimeBuilder>();
    shared::<green::thread::Scope<'_, '_>>();
    shared::<green::thread::ScopedJoinHandle<'_, String>>();
    shared::<green::Cancelled>();
    shared::<green::Elapsed>();
    shared::<green::thread::LocalKey<Rc<u8>>>();
}
