//! From when on a stall is reported, and how soon.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::{SetAtEnd, computes, help, one_worker};

/// One that is not set in this process, whatever the tests were started with.
fn unset(variable: &str) {
    // SAFETY: of this child's two threads the other one waits for the test.
    unsafe { std::env::remove_var(variable) };
}

#[test]
fn a_limit_of_which_nobody_says_anything_is_20_milliseconds() {
    let limit = Duration::from_millis(20);
    let in_child = move || {
        unset("GREEN_STALL_LIMIT");
        let durations = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&durations);
        green::stall::set_hook(move |stall| seen.lock().unwrap().push(stall.duration()));
        let start = Instant::now();
        // A monitor that comes late sees it later, so one that is in time is enough.
        while !durations.lock().unwrap().iter().any(|duration| *duration < 5 * limit) {
            green::run(|| {
                let waits = green::spawn(|| ());
                std::thread::sleep(Duration::from_millis(300));
                waits.join().unwrap();
            });
            let durations = durations.lock().unwrap();
            assert!(durations.iter().all(|duration| *duration >= limit), "{durations:?}");
            assert!(start.elapsed() < Duration::from_secs(25), "{durations:?}");
        }
    };
    help::in_a_child(&[("GREEN_WORKERS", "1")], in_child).assert_success();
}

/// Of a release build. The monitor has to get a processor, where each is used by somebody else.
#[test]
#[ignore = "figures: ten seconds in which all processors are busy"]
fn figures_of_stalls() -> io::Result<()> {
    const STALLS: usize = 100;
    let (long, limit) = (Duration::from_millis(50), Duration::from_millis(20));
    let _reports = crate::Reports::new();
    let reported = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&reported);
    green::stall::set_hook(move |stall| *seen.lock().unwrap() = Some((stall.thread_id(), Instant::now())));
    let burns = Arc::new(AtomicBool::new(false));
    let _over = SetAtEnd(Arc::clone(&burns));
    for _ in 0..std::thread::available_parallelism()?.get() {
        let over = Arc::clone(&burns);
        std::thread::spawn(move || computes(&over));
    }
    let runtime = one_worker();
    let late = (0..STALLS).map(|_| {
        let begun = Arc::new(Mutex::new(None));
        let begins = Arc::clone(&begun);
        let stalls = runtime.spawn(move || {
            let begin = *begins.lock().unwrap().insert(Instant::now());
            while begin.elapsed() < long {
                std::hint::spin_loop();
            }
        });
        help::spin_until("the thread", || begun.lock().unwrap().is_some());
        runtime.spawn(|| ()).join().unwrap();
        let id = stalls.thread().id();
        stalls.join().unwrap();
        std::thread::sleep(limit);
        let begun = begun.lock().unwrap().expect("it has begun");
        // One that is not reported until it is over is late by more than all others.
        match reported.lock().unwrap().take() {
            Some((thread, at)) if thread.is_none_or(|thread| thread == id) => at - begun - limit,
            _ => Duration::MAX,
        }
    });
    let mut late: Vec<Duration> = late.collect();
    late.sort();
    let missed = late.iter().filter(|late| **late == Duration::MAX).count();
    let most = late[STALLS - missed.min(STALLS - 1) - 1];
    let (p50, p90) = (late[STALLS / 2], late[STALLS * 9 / 10]);
    println!(
        "{STALLS} stalls of {long:?}, reported after the limit of {limit:?}: p50 {p50:.1?}, p90 {p90:.1?}, max {most:.1?}; {missed} over before"
    );
    assert!(p90 <= Duration::from_millis(30), "{late:?}");
    Ok(())
}
