//! `Condvar`.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use green::sync::{Arc, Condvar, Mutex};

use crate::help::{bounded, scaled, until};
use crate::world::everywhere;

type Pair<T> = Arc<(Mutex<T>, Condvar)>;

fn pair<T>(value: T) -> Pair<T> {
    Arc::new((Mutex::new(value), Condvar::new()))
}

#[test]
fn two_threads_pass_a_ball_to_and_fro() {
    everywhere(|world| {
        let pair = pair(0u32);
        let turns = scaled(300);
        let players: Vec<_> = (0..2)
            .map(|me| {
                let pair = pair.clone();
                world.spawn(move || {
                    let (mutex, condvar) = &*pair;
                    let mut turn = mutex.lock().unwrap();
                    while *turn < turns {
                        if *turn % 2 == me {
                            *turn += 1;
                            condvar.notify_one();
                        } else {
                            turn = condvar.wait(turn).unwrap();
                        }
                    }
                    condvar.notify_one();
                })
            })
            .collect();
        for player in players {
            player.join().unwrap();
        }
    });
}

#[test]
fn notify_one_wakes_one_and_notify_all_the_rest() {
    everywhere(|world| {
        let pair = pair((0u32, 0u32));
        let waiters: Vec<_> = (0..5)
            .map(|_| {
                let pair = pair.clone();
                world.spawn(move || {
                    let mut state = pair.0.lock().unwrap();
                    state.0 += 1;
                    state = pair.1.wait(state).unwrap();
                    state.1 += 1;
                })
            })
            .collect();
        until(|| pair.0.lock().unwrap().0 == 5);
        pair.1.notify_one();
        until(|| pair.0.lock().unwrap().1 == 1);
        for _ in 0..20 {
            green::yield_now();
        }
        assert_eq!(pair.0.lock().unwrap().1, 1, "there are no spurious wake-ups");
        pair.1.notify_all();
        for waiter in waiters {
            waiter.join().unwrap();
        }
        assert_eq!(pair.0.lock().unwrap().1, 5);
    });
}

#[test]
fn a_wait_with_a_time_out_says_how_it_ended() {
    everywhere(|world| {
        let pair = pair(false);
        let guard = pair.0.lock().unwrap();
        let start = Instant::now();
        let (guard, result) = pair.1.wait_timeout(guard, Duration::from_millis(5)).unwrap();
        assert!(result.timed_out());
        assert!(start.elapsed() >= Duration::from_millis(5));
        let other = pair.clone();
        let setter = world.spawn(move || {
            *other.0.lock().unwrap() = true;
            other.1.notify_one();
        });
        let long = Duration::from_secs(60);
        let (guard, result) = pair.1.wait_timeout_while(guard, long, |ready| !*ready).unwrap();
        assert!(*guard && !result.timed_out());
        let (guard, result) = pair.1.wait_timeout_while(guard, Duration::from_millis(1), |ready| *ready).unwrap();
        assert!(*guard && result.timed_out());
        drop(guard);
        setter.join().unwrap();
    });
}

#[test]
fn a_notification_goes_to_a_thread_that_still_waits() {
    // Time-outs race with notifications; every notification that had a waiter wakes exactly one.
    everywhere(|world| {
        for round in 0..scaled(40_u32) {
            // In the mutex: threads that wait, notifications taken.
            let pair = pair((0u32, 0u32));
            let waiters: Vec<_> = (0..3)
                .map(|number| {
                    let pair = pair.clone();
                    world.spawn(move || {
                        let mut state = pair.0.lock().unwrap();
                        state.0 += 1;
                        if number < 2 {
                            let d = Duration::from_micros(u64::from(round) * 9);
                            let (guard, result) = pair.1.wait_timeout(state, d).unwrap();
                            state = guard;
                            state.1 += u32::from(!result.timed_out());
                        } else {
                            state = pair.1.wait(state).unwrap();
                            state.1 += 1;
                        }
                        state.0 -= 1;
                    })
                })
                .collect();
            let mut sent = 0;
            while waiters.iter().any(|waiter| !waiter.is_finished()) {
                let state = pair.0.lock().unwrap();
                // Whoever waits now and is not timed out has one notification, and takes it.
                if state.0 > 0 {
                    pair.1.notify_one();
                    sent += 1;
                }
                drop(state);
                green::sleep(Duration::from_micros(30));
            }
            for waiter in waiters {
                waiter.join().unwrap();
            }
            let taken = pair.0.lock().unwrap().1;
            assert!(taken >= 1 && taken <= sent, "{taken} of {sent}");
        }
    });
}

#[test]
fn a_cancelled_waiter_takes_no_notification_with_it() {
    for workers in [1, 2] {
        bounded(move || {
            let runtime = crate::help::builder().workers(workers).build().unwrap();
            for round in 0..scaled(200_u32) {
                let pair = pair(0u32);
                let spawn = || {
                    let pair = pair.clone();
                    runtime.spawn(move || {
                        let mut waiting = pair.0.lock().unwrap();
                        *waiting += 1;
                        drop(pair.1.wait(waiting).unwrap());
                    })
                };
                let (first, second) = (spawn(), spawn());
                until(|| *pair.0.lock().unwrap() == 2);
                // One notification, and a cancel of the thread that may be about to get it.
                if round % 2 == 0 {
                    first.cancel();
                    pair.1.notify_one();
                } else {
                    pair.1.notify_one();
                    first.cancel();
                }
                let first_was_woken = first.join().is_ok();
                if first_was_woken {
                    pair.1.notify_one();
                }
                second.join().unwrap();
                assert!(!pair.0.is_poisoned());
                drop(pair.0.try_lock().unwrap());
            }
        });
    }
}

#[test]
fn a_cancelled_wait_lets_the_mutex_be() {
    bounded(|| {
        let runtime = crate::help::builder().workers(1).build().unwrap();
        let (pair, waits) = (pair(()), Arc::new(AtomicBool::new(false)));
        let thread = runtime.spawn({
            let (pair, waits) = (pair.clone(), waits.clone());
            move || {
                let guard = pair.0.lock().unwrap();
                waits.store(true, Ordering::Relaxed);
                drop(pair.1.wait(guard));
            }
        });
        until(|| waits.load(Ordering::Relaxed));
        let guard = pair.0.lock().unwrap();
        // It needs no mutex to be unwound.
        thread.cancel();
        assert!(thread.join().unwrap_err().is::<green::Cancelled>());
        drop(guard);
        assert!(!pair.0.is_poisoned());
    });
}

#[test]
fn a_wait_whose_time_is_over_can_be_left_while_another_thread_has_the_mutex() {
    bounded(|| {
        for workers in [1, 2] {
            let runtime = crate::help::builder().workers(workers).build().unwrap();
            let (pair, waits) = (pair(()), Arc::new(AtomicBool::new(false)));
            let wait = {
                let (pair, waits) = (pair.clone(), waits.clone());
                move || -> () {
                    let mut guard = pair.0.lock().unwrap();
                    waits.store(true, Ordering::Relaxed);
                    // Again and again: the mutex may be free when the time of a wait is over.
                    loop {
                        guard = pair.1.wait_timeout(guard, Duration::from_millis(5)).unwrap().0;
                    }
                }
            };
            let timed = wait.clone();
            let timed = runtime.spawn(move || green::timeout(Duration::from_millis(20), timed));
            until(|| waits.swap(false, Ordering::Relaxed));
            let guard = pair.0.lock().unwrap();
            assert!(timed.join().unwrap().is_err());
            drop(guard);
            let cancelled = runtime.spawn(wait);
            until(|| waits.load(Ordering::Relaxed));
            let guard = pair.0.lock().unwrap();
            until(|| cancelled.thread().waits_for() == Some("mutex"));
            cancelled.cancel();
            assert!(cancelled.join().unwrap_err().is::<green::Cancelled>());
            drop(guard);
            assert!(!pair.0.is_poisoned());
        }
    });
}

#[test]
fn a_wait_ends_with_an_error_if_the_mutex_was_poisoned_meanwhile() {
    everywhere(|world| {
        let pair = pair(false);
        let guard = pair.0.lock().unwrap();
        let other = pair.clone();
        let poisons = world.spawn(move || {
            let mut guard = other.0.lock().unwrap();
            *guard = true;
            other.1.notify_one();
            resume_unwind(Box::new(()));
        });
        let mut guard = Some(guard);
        let error = loop {
            match pair.1.wait(guard.take().unwrap()) {
                Ok(again) => guard = Some(again),
                Err(error) => break error,
            }
        };
        assert!(*error.into_inner());
        assert!(poisons.join().is_err());
    });
}

#[test]
fn a_wait_in_no_park_panics_and_lets_the_mutex_go() {
    let (mutex, condvar) = (Mutex::new(()), Condvar::new());
    let waited = catch_unwind(AssertUnwindSafe(|| {
        let guard = mutex.lock().unwrap();
        green::no_park(|| drop(condvar.wait(guard)));
    }));
    assert!(waited.unwrap_err().downcast::<String>().unwrap().contains("no_park"));
    assert!(mutex.try_lock().is_err_and(|error| matches!(error, green::sync::TryLockError::Poisoned(_))));
}
