//! Threads that may move wait for a worker if no other one comes round either, or if they stay where they are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use green::thread::{Builder, Thread};
use green::{Runtime, ThreadLocals};

use crate::{ASKS, Reports, SEEN, SetAtEnd, computes, help, watched};

/// Of two workers.
fn moving() -> Option<Runtime> {
    let builder = watched(2).spare_workers(0).thread_locals(ThreadLocals::PerThread);
    (ASKS && ThreadLocals::supported().is_ok()).then(|| builder.build().unwrap())
}

/// Two threads compute, each on a worker of its own, until the one or the other is reported.
fn one_of_two_is_reported(runtime: &Runtime, reports: &Reports) {
    let (over, begun) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let _over = SetAtEnd(Arc::clone(&over));
    let compute = || {
        let (over, begun) = (Arc::clone(&over), Arc::clone(&begun));
        runtime.spawn(move || {
            begun.fetch_add(1, Ordering::SeqCst);
            computes(&over);
        })
    };
    let both = [compute(), compute()];
    help::spin_until("both", || begun.load(Ordering::SeqCst) == 2);
    help::spin_until("a report", || both.iter().any(|thread| !reports.of(thread.thread()).is_empty()));
    over.store(true, Ordering::SeqCst);
    both.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn when_all_workers_of_moving_threads_compute_a_sleeper_is_waited_for() {
    let Some(runtime) = moving() else { return };
    let reports = Reports::new();
    let over = Arc::new(AtomicBool::new(false));
    let _over = SetAtEnd(Arc::clone(&over));
    let sleeper = |_| {
        let over = Arc::clone(&over);
        runtime.spawn(move || {
            while !over.load(Ordering::SeqCst) {
                green::sleep(Duration::from_millis(2));
            }
        })
    };
    let sleepers: Vec<_> = (0..8).map(sleeper).collect();
    sleepers.iter().for_each(|thread| help::until_parked(thread.thread(), "sleep"));
    one_of_two_is_reported(&runtime, &reports);
    over.store(true, Ordering::SeqCst);
    sleepers.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn when_all_workers_of_moving_threads_compute_one_that_is_ready_is_waited_for() {
    let Some(runtime) = moving() else { return };
    let reports = Reports::new();
    let over = Arc::new(AtomicBool::new(false));
    let _over = SetAtEnd(Arc::clone(&over));
    let yields = |_| {
        let over = Arc::clone(&over);
        runtime.spawn(move || {
            while !over.load(Ordering::SeqCst) {
                green::yield_now();
            }
        })
    };
    let ready: Vec<_> = (0..8).map(yields).collect();
    one_of_two_is_reported(&runtime, &reports);
    over.store(true, Ordering::SeqCst);
    ready.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Runs `prepare` on a thread that then computes until it is reported.
fn is_reported_after(prepare: impl FnOnce() + Send, locals: ThreadLocals) {
    let Some(runtime) = moving() else { return };
    let reports = Reports::new();
    let reported = AtomicBool::new(false);
    let long = Duration::from_secs(if help::EMULATED { 100 } else { 20 });
    let computes = |this: Thread| {
        let start = Instant::now();
        while reports.of(&this).is_empty() && start.elapsed() < long {
            std::thread::yield_now();
        }
        reported.store(!reports.of(&this).is_empty(), Ordering::SeqCst);
    };
    runtime.run(|| {
        green::scope(|scope| {
            let thread = Builder::new().thread_locals(locals).spawn_scoped(scope, || {
                prepare();
                computes(green::thread::current());
            });
            thread.unwrap();
        });
    });
    assert!(reported.load(Ordering::SeqCst), "it is not reported, but {:?}", SEEN.lock().unwrap());
}

#[test]
fn a_thread_that_stays_waits_for_its_worker_though_others_that_may_take_threads_over_are_idle() {
    let prepare = || {
        // It has not started.
        drop(green::thread::spawn_local(|| ()));
    };
    is_reported_after(prepare, ThreadLocals::PerThread);
    let prepare = || {
        // It has started, and is ready.
        drop(green::thread::spawn_local(|| (0..1000).for_each(|_| green::yield_now())));
        green::yield_now();
    };
    is_reported_after(prepare, ThreadLocals::PerThread);
}

#[test]
fn a_thread_that_stays_behind_more_that_sleep_than_are_looked_at_was_not_seen() {
    let prepare = || {
        let sleeper = |_| green::thread::spawn_local(|| green::sleep(Duration::from_secs(60)));
        let before: Vec<_> = (0..1100).map(sleeper).collect();
        let stays = green::thread::spawn_local(green::thread::park);
        let behind: Vec<_> = (0..1100).map(sleeper).collect();
        before.iter().chain(&behind).for_each(|thread| help::until_parked(thread.thread(), "sleep"));
        help::until_parked(stays.thread(), "park");
        stays.thread().unpark();
    };
    is_reported_after(prepare, ThreadLocals::PerThread);
}

#[test]
fn threads_that_may_move_wait_for_a_worker_that_is_on_its_own_thread_locals() {
    let prepare = || {
        for _ in 0..8 {
            drop(green::spawn(|| (0..1000).for_each(|_| green::sleep(Duration::from_millis(1)))));
        }
        // Some of them live where this one does.
        green::sleep(Duration::from_millis(20));
    };
    is_reported_after(prepare, ThreadLocals::PerWorker);
}

#[test]
fn threads_that_another_worker_takes_over_do_not_wait() {
    let Some(runtime) = moving() else { return };
    let reports = Reports::new();
    // A machine that has much to do may keep the other worker from it.
    for _ in 0..200 {
        let thread = runtime.run(|| {
            green::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| (0..4).for_each(|_| green::sleep(Duration::from_millis(1))));
                }
                green::sleep(Duration::from_micros(100));
                let start = Instant::now();
                while start.elapsed() < Duration::from_millis(150) {
                    std::hint::spin_loop();
                }
                green::thread::current()
            })
        });
        if reports.of(&thread).is_empty() {
            return;
        }
    }
    panic!("it is reported each time");
}

/// One thread computes. The other one lets others run for `after`, and computes then: from there on nobody looks after the first one's sleepers. Is that reported before the first one has
/// computed for a quarter longer?
fn is_reported_soon(after: Duration) -> bool {
    let Some(runtime) = moving() else { return true };
    let reports = Reports::new();
    let over = Arc::new(AtomicBool::new(false));
    let _over = SetAtEnd(Arc::clone(&over));
    let start = Instant::now();
    let left = move || (after + Duration::from_millis(5)).saturating_sub(start.elapsed());
    let sleepers: Vec<_> = (0..8).map(|_| runtime.spawn(move || green::sleep(left()))).collect();
    sleepers.iter().for_each(|thread| help::until_parked(thread.thread(), "sleep"));
    let begun = Arc::new(AtomicBool::new(false));
    let (begins, until) = (Arc::clone(&begun), Arc::clone(&over));
    let first = runtime.spawn(move || {
        begins.store(true, Ordering::SeqCst);
        computes(&until);
    });
    help::spin_until("the first", || begun.load(Ordering::SeqCst));
    let until = Arc::clone(&over);
    let second = runtime.spawn(move || {
        while start.elapsed() < after {
            green::yield_now();
        }
        computes(&until);
    });
    let limit = after * 5 / 4;
    while reports.of(first.thread()).is_empty() && start.elapsed() < limit {
        std::thread::sleep(Duration::from_millis(1));
    }
    let is_reported = !reports.of(first.thread()).is_empty();
    over.store(true, Ordering::SeqCst);
    [first, second].into_iter().chain(sleepers).for_each(|thread| thread.join().unwrap());
    is_reported
}

#[test]
fn a_worker_that_others_left_alone_late_was_looked_at_only_when_its_turn_was_twice_as_long() {
    // One of these may happen to be when it is looked at in any case. A machine that has much to do may keep the monitor from it.
    for after in [360, 450, 570] {
        help::nearly_always(1, &format!("within a quarter of {after} ms"), || {
            let is_reported = is_reported_soon(Duration::from_millis(after));
            (is_reported, is_reported)
        });
    }
}

/// A thread computes, and wakes another `after` it has begun, which stays on that worker. Is that reported before it has computed for a quarter longer?
fn what_is_ready_late_is_reported_soon(after: Duration, locals: ThreadLocals) -> bool {
    let Some(runtime) = moving() else { return true };
    let reports = Reports::new();
    let over = Arc::new(AtomicBool::new(false));
    let _over = SetAtEnd(Arc::clone(&over));
    let (sender, begun) = std::sync::mpsc::channel();
    let until = Arc::clone(&over);
    let body = move || {
        let stays = green::thread::spawn_local(green::thread::park);
        help::until_parked(stays.thread(), "park");
        let start = Instant::now();
        sender.send(start).unwrap();
        while start.elapsed() < after {
            std::hint::spin_loop();
        }
        stays.thread().unpark();
        computes(&until);
    };
    let spawn = || Builder::new().thread_locals(locals).spawn(body).unwrap();
    let thread = runtime.run(spawn);
    let (start, limit) = (begun.recv().unwrap(), after * 5 / 4);
    while reports.of(thread.thread()).is_empty() && start.elapsed() < limit {
        std::thread::sleep(Duration::from_millis(1));
    }
    let is_reported = !reports.of(thread.thread()).is_empty();
    over.store(true, Ordering::SeqCst);
    thread.join().unwrap();
    is_reported
}

#[test]
fn a_worker_of_which_others_take_nothing_was_looked_at_late_when_something_was_ready_there() {
    for locals in [ThreadLocals::PerWorker, ThreadLocals::PerThread] {
        // That is long after it has been looked at in any case, and long before it is again. A machine that has much to do may keep the monitor from it, or have it look by chance.
        let after = Duration::from_millis(225);
        help::nearly_always(2, &format!("{locals:?}"), || {
            let is_reported = what_is_ready_late_is_reported_soon(after, locals);
            (is_reported, is_reported)
        });
    }
}
