//! Cancels and time-outs: where they take effect, and where they must not.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod help;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use green::thread::JoinHandle;
use green::{Cancelled, Elapsed};
use help::{Flag, bounded, everywhere, on_workers, runtime, scaled, spin_until, until_parked};

const LONG: Duration = Duration::from_secs(600);

#[track_caller]
fn assert_cancelled<T: std::fmt::Debug>(thread: JoinHandle<T>) {
    assert!(thread.join().unwrap_err().is::<Cancelled>());
}

/// A thread that sets the flag and then does `f`.
fn spawn_with_sign<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let sign = Arc::new(Flag::new());
    let flag = sign.clone();
    let thread = green::spawn(move || {
        flag.set();
        f()
    });
    sign.wait();
    thread
}

#[test]
fn a_cancel_ends_each_kind_of_blocking_call() {
    everywhere(|| {
        let calls: [(&str, fn()); 6] = [
            ("park", green::thread::park),
            ("park", || green::thread::park_timeout(LONG)),
            ("sleep", || green::sleep(LONG)),
            ("sleep", || green::thread::sleep_until(Instant::now() + LONG)),
            ("join", || drop(green::spawn(green::thread::park).join())),
            ("park", || assert!(green::timeout(LONG, green::thread::park).is_ok())),
        ];
        for (reason, call) in calls {
            for is_parked in [false, true] {
                let thread = spawn_with_sign(call);
                if is_parked {
                    until_parked(thread.thread(), reason);
                }
                thread.cancel();
                thread.cancel();
                assert_cancelled(thread);
            }
        }
    });
}

#[test]
fn a_thread_that_is_cancelled_before_its_start_never_starts_and_drops_what_it_owns() {
    bounded(|| {
        let runtime = runtime(1);
        let (owned, ran) = (Arc::new(()), Arc::new(Flag::new()));
        runtime.run(|| {
            let (inside, flag) = (owned.clone(), ran.clone());
            let thread = green::spawn(move || {
                flag.set();
                drop(inside);
            });
            thread.cancel();
            assert_cancelled(thread);
        });
        assert!(!ran.is_set());
        assert_eq!(Arc::strong_count(&owned), 1);
    });
}

#[test]
fn destructors_run_in_order_and_nothing_is_poisoned_by_std_in_between() {
    everywhere(|| {
        struct Note(&'static str, Arc<Mutex<Vec<&'static str>>>);
        impl Drop for Note {
            fn drop(&mut self) {
                self.1.lock().unwrap().push(self.0);
            }
        }
        let order = Arc::new(Mutex::new(vec![]));
        let notes = order.clone();
        let thread = spawn_with_sign(move || {
            let _first = Note("first", notes.clone());
            let _second = Note("second", notes.clone());
            green::thread::park();
            notes.lock().unwrap().push("went on");
        });
        thread.cancel();
        assert_cancelled(thread);
        assert_eq!(*order.lock().unwrap(), ["second", "first"]);
    });
}

#[test]
fn a_swallowed_cancel_is_raised_again_at_the_next_blocking_call() {
    everywhere(|| {
        let thread = spawn_with_sign(|| {
            let mut swallowed = 0;
            for _ in 0..5 {
                swallowed += usize::from(catch_unwind(|| green::sleep(LONG)).is_err());
            }
            swallowed
        });
        thread.cancel();
        assert_eq!(thread.join().unwrap(), 5, "what it returns is its result");
    });
}

#[test]
fn yield_now_is_no_cancellation_point_and_a_computing_thread_is_left_alone() {
    on_workers(|| {
        let thread = spawn_with_sign(|| {
            for _ in 0..100 {
                green::yield_now();
            }
            "through"
        });
        thread.cancel();
        assert_eq!(thread.join().unwrap(), "through");
    });
}

#[test]
fn a_cancel_during_a_panic_changes_nothing() {
    everywhere(|| {
        struct Sleeps;
        impl Drop for Sleeps {
            fn drop(&mut self) {
                green::sleep(Duration::from_millis(3));
            }
        }
        let thread = spawn_with_sign(|| {
            let _sleeps = Sleeps;
            std::panic::panic_any(5_u64);
        });
        thread.cancel();
        assert_eq!(*thread.join().unwrap_err().downcast::<u64>().unwrap(), 5);
    });
}

#[test]
fn a_cancelled_joiner_leaves_the_thread_that_it_waited_for_running() {
    everywhere(|| {
        let (go_on, done) = (Arc::new(Flag::new()), Arc::new(Flag::new()));
        let (gate, flag) = (go_on.clone(), done.clone());
        let joiner = spawn_with_sign(move || {
            green::spawn(move || {
                gate.wait();
                flag.set();
            })
            .join()
        });
        until_parked(joiner.thread(), "join");
        joiner.cancel();
        assert!(joiner.join().is_err());
        assert!(!done.is_set());
        go_on.set();
        done.wait();
    });
}

#[test]
fn threads_of_another_runtime_and_from_os_threads_are_cancelled() {
    bounded(|| {
        let (first, second) = (runtime(2), runtime(1));
        let thread = second.spawn(green::thread::park);
        first.run(|| {
            until_parked(thread.thread(), "park");
            thread.cancel();
            assert_cancelled(thread);
        });
        let thread = first.spawn(green::thread::park);
        thread.cancel();
        assert_cancelled(thread);
    });
}

#[test]
fn cancels_and_unparks_that_race_end_the_wait_once() {
    bounded(|| {
        let runtime = runtime(2);
        for round in 0..scaled(2000) {
            let thread = runtime.spawn(move || {
                green::thread::park();
                round
            });
            let unparker = thread.thread().clone();
            let other = runtime.spawn(move || unparker.unpark());
            thread.cancel();
            other.join().unwrap();
            match thread.join() {
                Ok(value) => assert_eq!(value, round),
                Err(payload) => assert!(payload.is::<Cancelled>()),
            }
        }
    });
}

#[test]
fn a_completion_and_the_joiners_time_out_race_without_a_dangling_ticket() {
    on_workers(|| {
        let mut ends = [0, 0];
        for round in 0..scaled(600) as u64 {
            let d = Duration::from_micros(20 + round % 60);
            let thread = green::spawn(move || green::sleep(d));
            let ended = green::timeout(d, || thread.join());
            ends[usize::from(ended.is_ok())] += 1;
        }
        assert_eq!(ends[0] + ends[1], scaled(600));
    });
}

#[test]
fn a_time_out_ends_the_call_and_not_before_its_time() {
    everywhere(|| {
        let start = Instant::now();
        let d = Duration::from_millis(3);
        assert_eq!(green::timeout(LONG, || 7), Ok(7));
        assert!(matches!(green::timeout(d, || green::sleep(LONG)), Err(Elapsed { .. })));
        assert!(start.elapsed() >= d && start.elapsed() < LONG);
        // It is over: nothing is left that would end another call.
        green::sleep(d);
        green::thread::park_timeout(d);
        assert_eq!(green::timeout(Duration::MAX, || green::sleep(d)), Ok(()));
        assert!(green::timeout(Duration::ZERO, || green::sleep(Duration::ZERO)).is_err());
        assert_eq!(green::timeout(Duration::ZERO, || 3), Ok(3), "no blocking call, no time-out");
    });
}

#[test]
fn time_outs_nest_and_the_earliest_holds() {
    everywhere(|| {
        let (short, long) = (Duration::from_millis(2), LONG);
        assert_eq!(green::timeout(long, || green::timeout(short, || green::sleep(LONG)).is_err()), Ok(true));
        let went_on = Flag::new();
        let outer = green::timeout(short, || {
            let inner = green::timeout(long, || green::sleep(LONG));
            went_on.set();
            inner
        });
        assert!(outer.is_err());
        assert!(!went_on.is_set(), "the outer one ends the inner call too");
    });
}

#[test]
fn a_swallowed_time_out_comes_again_and_a_panic_goes_through() {
    everywhere(|| {
        let swallowed = AtomicUsize::new(0);
        let result = green::timeout(Duration::from_millis(2), || {
            while swallowed.load(Ordering::Relaxed) < 3 {
                let caught = catch_unwind(|| green::sleep(LONG));
                swallowed.fetch_add(usize::from(caught.is_err()), Ordering::Relaxed);
            }
            green::sleep(LONG);
        });
        assert!(result.is_err());
        assert_eq!(swallowed.into_inner(), 3);
        let payload = catch_unwind(|| green::timeout(LONG, || std::panic::panic_any(4_u8))).unwrap_err();
        assert_eq!(payload.downcast_ref(), Some(&4_u8));
    });
}

#[test]
fn a_cancel_inside_a_time_out_is_a_cancel() {
    everywhere(|| {
        let thread = spawn_with_sign(|| green::timeout(LONG, green::thread::park).is_err());
        thread.cancel();
        assert_cancelled(thread);
    });
}

#[test]
fn run_and_scope_are_not_cut_short_by_a_cancel_of_their_caller() {
    on_workers(|| {
        let done = Arc::new(Flag::new());
        let flag = done.clone();
        let thread = spawn_with_sign(move || {
            green::run(|| {
                green::sleep(Duration::from_millis(2));
                flag.set();
            });
            green::scope(|s| {
                s.spawn(|| ());
            });
            green::sleep(LONG);
        });
        thread.cancel();
        assert_cancelled(thread);
        assert!(done.is_set());
    });
}

#[test]
fn a_payload_of_one_time_out_means_nothing_to_another() {
    everywhere(|| {
        let stolen = green::timeout(Duration::from_millis(1), || {
            catch_unwind(AssertUnwindSafe(|| green::sleep(LONG))).unwrap_err()
        });
        let stolen = stolen.unwrap();
        let joined = green::spawn(move || -> () { std::panic::resume_unwind(stolen) }).join();
        assert!(!joined.unwrap_err().is::<Cancelled>());
    });
}

#[test]
fn cancelling_a_thread_that_has_ended_does_nothing() {
    bounded(|| {
        let runtime = runtime(2);
        let thread = runtime.spawn(|| 5);
        spin_until("its end", || thread.is_finished());
        thread.cancel();
        assert_eq!(thread.join().unwrap(), 5);
    });
}
