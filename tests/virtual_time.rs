//! Virtual time: hours pass in no time, in the right order, and only while nothing else can happen.

mod help;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use green::channel::{after, tick, unbounded};
use green::sync::{Condvar, Mutex};
use green::time::{Limiter, interval, now, sleep_until};
use green::{sleep, spawn, timeout};
use help::bounded;

const HOUR: Duration = Duration::from_secs(3600);
/// A tick of the wheel, and the next one.
const GRAIN: Duration = Duration::from_nanos(2048);

/// Runs `f` in a runtime with virtual time. It must not last as long as it seems to.
#[track_caller]
fn virtually<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    bounded(|| help::builder().virtual_time().build().expect("a runtime").run(f))
}

#[track_caller]
fn assert_passed(since: Instant, d: Duration) {
    let passed = now() - since;
    assert!(passed >= d && passed <= d + GRAIN, "{passed:?}, not {d:?}");
}

#[test]
fn a_sleep_of_hours_takes_no_time_and_has_passed() {
    virtually(|| {
        let start = now();
        sleep(1000 * HOUR);
        assert_passed(start, 1000 * HOUR);
        sleep_until(start + 2000 * HOUR);
        assert_passed(start, 2000 * HOUR);
    });
}

#[test]
fn time_stands_still_while_a_thread_runs() {
    virtually(|| {
        let start = now();
        spawn(|| sleep(HOUR));
        for _ in 0..1000 {
            green::yield_now();
        }
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(now(), start);
    });
}

#[test]
fn what_is_due_in_between_happens_first_and_in_its_order() {
    virtually(|| {
        let (sender, log) = unbounded();
        for hours in [5, 1, 4, 2, 3] {
            let sender = sender.clone();
            spawn(move || {
                sleep(hours * HOUR);
                sender.send(hours).unwrap();
                // Ready again at the same moment: time waits for it.
                green::yield_now();
                sender.send(10 * hours).unwrap();
            });
        }
        sleep(3 * HOUR + HOUR / 2);
        assert_eq!(log.try_iter().collect::<Vec<_>>(), [1, 10, 2, 20, 3, 30]);
        sleep(2 * HOUR);
        assert_eq!(log.try_iter().collect::<Vec<_>>(), [4, 40, 5, 50]);
    });
}

#[test]
fn time_outs_end_waits_of_every_kind_on_time() {
    virtually(|| {
        let (_sender, receiver) = unbounded::<u32>();
        let start = now();
        assert!(receiver.recv_timeout(HOUR).is_err());
        assert_passed(start, HOUR);

        let start = now();
        assert!(timeout(HOUR, || receiver.recv()).is_err());
        assert_passed(start, HOUR);

        let start = now();
        let (mutex, condvar) = (Mutex::new(()), Condvar::new());
        let (_guard, ended) = condvar.wait_timeout_while(mutex.lock().unwrap(), HOUR, |()| true).unwrap();
        assert!(ended.timed_out());
        assert_passed(start, HOUR);

        let start = now();
        green::channel::select! {
            recv(receiver) -> _ => unreachable!(),
            recv(after(HOUR)) -> when => assert_eq!(when, Ok(start + HOUR)),
        }
        assert_passed(start, HOUR);

        let start = now();
        green::thread::park_timeout(HOUR);
        assert_passed(start, HOUR);
    });
}

#[test]
fn ticks_come_at_their_moments() {
    virtually(|| {
        let start = now();
        let mut every = interval(HOUR);
        assert_eq!(every.tick(), start);
        for n in 1..100 {
            assert_eq!(every.tick(), start + n * HOUR);
        }
        assert_passed(start, 99 * HOUR);

        let start = now();
        let ticks = tick(HOUR);
        for n in 1..100 {
            assert_eq!(ticks.recv(), Ok(start + n * HOUR));
        }
        assert_passed(start, 99 * HOUR);
    });
}

#[test]
fn a_message_that_comes_in_time_is_no_time_out() {
    virtually(|| {
        let (sender, receiver) = unbounded();
        spawn(move || {
            sleep(HOUR);
            sender.send(7).unwrap();
        });
        let start = now();
        assert_eq!(receiver.recv_timeout(2 * HOUR), Ok(7));
        assert_passed(start, HOUR);
    });
}

#[test]
fn time_stands_still_while_a_blocking_closure_runs() {
    virtually(|| {
        let start = now();
        green::scope(|scope| {
            let waiter =
                scope.spawn(|| timeout(HOUR, || green::unblock(|| std::thread::sleep(Duration::from_millis(30)))));
            let sleeper = scope.spawn(|| sleep(2 * HOUR));
            assert_eq!(waiter.join().unwrap(), Ok(()), "the time-out came first");
            assert_eq!(now(), start);
            sleeper.join().unwrap();
        });
        assert_passed(start, 2 * HOUR);
    });
}

#[test]
fn an_abandoned_blocking_closure_does_not_hold_time() {
    virtually(|| {
        let go = Arc::new(AtomicBool::new(false));
        let waits = Arc::clone(&go);
        let thread = spawn(move || {
            green::unblock(move || {
                while !waits.load(Ordering::Acquire) {
                    std::thread::yield_now();
                }
            });
        });
        while thread.thread().waits_for().is_none() {
            green::yield_now();
        }
        thread.cancel();
        assert!(thread.join().is_err());
        let start = now();
        sleep(HOUR);
        assert_passed(start, HOUR);
        go.store(true, Ordering::Release);
    });
}

#[test]
fn many_short_blocking_closures_never_lose_to_their_time_out() {
    virtually(|| {
        let late = Arc::new(AtomicU32::new(0));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let late = Arc::clone(&late);
                spawn(move || {
                    for _ in 0..help::scaled(200) {
                        let ended = timeout(Duration::from_nanos(1), || green::unblock(std::thread::yield_now));
                        late.fetch_add(u32::from(ended.is_err()), Ordering::Relaxed);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(late.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn an_event_that_is_there_comes_before_a_time_out() {
    use std::io::{Read, Write};
    virtually(|| {
        let (mut a, mut b) = green::os::unix::net::UnixStream::pair().unwrap();
        b.set_read_timeout(Some(HOUR)).unwrap();
        let mut byte = [0];
        assert_eq!(b.read(&mut byte).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        for n in 0..100 {
            let reader = spawn(move || b.read_exact(&mut byte).map(|()| (b, byte[0])));
            green::yield_now();
            a.write_all(&[n]).unwrap();
            let (back, got) = reader.join().unwrap().unwrap();
            b = back;
            assert_eq!(got, n);
        }
    });
}

#[test]
fn threads_with_thread_locals_of_their_own_go_by_it_too() {
    if green::ThreadLocals::supported().is_err() {
        return;
    }
    bounded(|| {
        let builder = help::builder().thread_locals(green::ThreadLocals::PerThread).virtual_time();
        builder.build().unwrap().run(|| {
            let start = now();
            let other = spawn(|| {
                sleep(HOUR);
                now()
            });
            sleep(2 * HOUR);
            assert_passed(start, 2 * HOUR);
            let then = other.join().unwrap();
            assert!(then - start >= HOUR && then - start <= HOUR + GRAIN);
        });
    });
}

#[test]
fn other_threads_keep_to_real_time() {
    bounded(|| {
        let virtual_one = help::builder().virtual_time().build().unwrap();
        let far = virtual_one.run(|| {
            sleep(HOUR);
            now()
        });
        assert!(now() < far, "an OS thread");
        assert!(help::runtime(1).run(now) < far, "another runtime");
        assert!(green::run(now) < far, "the default runtime");
    });
}

#[test]
fn a_runtime_begins_at_the_moment_it_is_built_whatever_ran_on_its_worker_before() {
    bounded(|| {
        for _ in 0..3 {
            let before = Instant::now();
            let runtime = help::builder().virtual_time().build().unwrap();
            let (first, second) = runtime.run(|| {
                (now(), {
                    sleep(HOUR);
                    now()
                })
            });
            assert!(first + Duration::from_secs(1) >= before && first <= Instant::now());
            assert!(second >= first + HOUR);
        }
    });
}

#[test]
fn an_os_thread_wakes_a_thread_that_waits_without_a_timer() {
    let (sender, receiver) = unbounded();
    let waiter = std::thread::spawn(move || virtually(move || receiver.recv()));
    sender.send(7).unwrap();
    assert_eq!(waiter.join().unwrap(), Ok(7));
}

#[test]
fn it_needs_one_worker() {
    let error = help::builder().workers(2).virtual_time().build().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "workers = 2, and virtual time needs one worker");
    assert_eq!(help::builder().virtual_time().build().unwrap().workers(), 1);
    assert_eq!(help::builder().workers(1).virtual_time().build().unwrap().workers(), 1);
}

#[test]
fn dropping_the_runtime_unwinds_what_sleeps() {
    bounded(|| {
        let runtime = help::builder().virtual_time().build().unwrap();
        let dropped = Arc::new(AtomicBool::new(false));
        struct Note(Arc<AtomicBool>);
        impl Drop for Note {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let note = Note(Arc::clone(&dropped));
        let (_sender, never) = unbounded::<()>();
        runtime.spawn(move || {
            let _note = note;
            never.recv()
        });
        drop(runtime);
        assert!(dropped.load(Ordering::SeqCst));
    });
}

#[test]
fn a_limiter_lets_a_burst_through_and_then_keeps_to_its_rate() {
    virtually(|| {
        let limiter = Limiter::new(0.001, 3);
        for _ in 0..3 {
            let start = now();
            (0..3).for_each(|_| limiter.acquire());
            assert_eq!(now(), start, "what has gathered");
            assert!(!limiter.try_acquire());
            for n in 1..=5 {
                limiter.acquire();
                assert_passed(start, n * Duration::from_secs(1000));
            }
            sleep(100 * HOUR); // no more than three gather
        }
    });
}

#[test]
fn those_that_wait_for_a_limiter_are_served_in_turn_and_who_leaves_gives_its_permit_back() {
    virtually(|| {
        let (limiter, (sender, log)) = (Arc::new(Limiter::new(1.0 / 3600.0, 1)), unbounded());
        limiter.acquire();
        let start = now();
        assert!(timeout(HOUR / 2, || limiter.acquire()).is_err());
        for n in 1..=4 {
            let (limiter, sender) = (Arc::clone(&limiter), sender.clone());
            spawn(move || {
                limiter.acquire();
                sender.send((n, now())).unwrap();
            });
            green::yield_now();
        }
        for n in 1..=4 {
            let (who, at) = log.recv().unwrap();
            assert!(who == n && at >= start + n * HOUR && at <= start + n * HOUR + GRAIN, "{who}: {:?}", at - start);
        }
        // One that leaves from the middle leaves the others as they are.
        let late = {
            let limiter = Arc::clone(&limiter);
            spawn(move || limiter.acquire())
        };
        green::yield_now();
        let last = {
            let limiter = Arc::clone(&limiter);
            spawn(move || {
                limiter.acquire();
                now()
            })
        };
        green::yield_now();
        late.cancel();
        let at = last.join().unwrap() - start;
        assert!(at >= 6 * HOUR && at <= 6 * HOUR + GRAIN, "{at:?}");
        assert!(late.join().is_err());
    });
}

#[test]
fn who_waits_for_a_limiter_for_a_while_knows_at_once_that_no_permit_comes_in_that_time() {
    virtually(|| {
        let limiter = Arc::new(Limiter::new(1.0 / 3600.0, 1));
        assert!(limiter.acquire_timeout(Duration::ZERO));
        let start = now();
        for short in [Duration::ZERO, HOUR / 2, HOUR - GRAIN] {
            assert!(!limiter.acquire_timeout(short));
            assert_eq!(now(), start, "it did not wait, and has taken nothing");
        }
        // Whoever gets one waits for it, in turn.
        for n in 1..=3 {
            assert!(limiter.acquire_timeout(if n == 2 { Duration::MAX } else { HOUR }));
            assert_passed(start, n * HOUR);
        }
        // One that is cancelled, or has less time than it thought, gives it back.
        let cancelled = {
            let limiter = Arc::clone(&limiter);
            spawn(move || limiter.acquire_timeout(HOUR))
        };
        green::yield_now();
        assert!(!limiter.acquire_timeout(HOUR), "the other has it");
        cancelled.cancel();
        assert!(cancelled.join().is_err());
        assert!(timeout(HOUR / 4, || limiter.acquire_timeout(HOUR)).is_err());
        assert!(limiter.acquire_timeout(HOUR));
        assert_passed(start, 4 * HOUR);
    });
}

#[test]
fn a_permit_that_is_there_is_had_without_any_time() {
    // By a clock that goes on between two looks.
    let has_one = || Limiter::new(1.0, 1).acquire_timeout(Duration::ZERO);
    assert!((0..1000).all(|_| has_one()));
}

#[test]
fn a_limiter_of_many_threads_gives_as_many_permits_as_it_has() {
    bounded(|| {
        let (limiter, taken) = (Limiter::new(1e-6, 1000), AtomicU32::new(0));
        green::scope(|s| {
            for _ in 0..8 {
                s.spawn(|| {
                    while limiter.try_acquire() {
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(taken.into_inner(), 1000);
    });
}

#[test]
fn a_limiter_without_a_rate_or_a_burst_is_refused() {
    for (rate, burst) in [(0.0, 1), (-1.0, 1), (f64::NAN, 1), (f64::INFINITY, 1), (2e9, 1), (1.0, 0)] {
        assert!(std::panic::catch_unwind(|| Limiter::new(rate, burst)).is_err(), "{rate}, {burst}");
    }
}

/// It let everything through: the time that fills it did not fit in its number.
#[test]
fn a_limiter_that_would_take_more_than_292_years_to_fill_is_refused() {
    let a_month = 1.0 / 2.6e6;
    for (rate, burst) in [(1e-11, 1), (a_month, 10_000), (f64::MIN_POSITIVE, 1), (1e-9, u32::MAX)] {
        let refused = std::panic::catch_unwind(|| Limiter::new(rate, burst)).unwrap_err();
        let text = refused.downcast_ref::<String>().unwrap();
        assert!(text.contains(&format!("a burst of {burst}")) && text.contains(&format!("{rate}")), "{text}");
    }
    let slow = Limiter::new(a_month, 3000);
    (0..3000).for_each(|_| assert!(slow.try_acquire()));
    assert!(!slow.try_acquire());
}
