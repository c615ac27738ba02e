//! Timers: what one costs that is set and taken back, and how late sleepers wake. One worker. Peer: tokio.
#![allow(missing_docs)]

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};

/// Sets a time-out and takes it back, `n` times: a token is there already, so the park ends at once.
fn green_cancelled(runtime: &green::Runtime, n: u64) -> Duration {
    runtime.run(|| {
        let partner = green::thread::current();
        let other = green::spawn(move || {
            for _ in 0..n {
                partner.unpark();
                green::yield_now();
            }
        });
        let start = Instant::now();
        for _ in 0..n {
            // Set when the thread waits, taken back when the other one ends the wait.
            green::thread::park_timeout(Duration::from_secs(60));
        }
        let took = start.elapsed();
        other.join().expect("it does not panic");
        took
    })
}

fn tokio_cancelled(runtime: &tokio::runtime::Runtime, n: u64) -> Duration {
    runtime.block_on(async {
        let notify = std::sync::Arc::new(tokio::sync::Notify::new());
        let wakes = notify.clone();
        let other = tokio::spawn(async move {
            for _ in 0..n {
                wakes.notify_one();
                tokio::task::yield_now().await;
            }
        });
        let start = Instant::now();
        for _ in 0..n {
            tokio::time::timeout(Duration::from_secs(60), notify.notified()).await.expect("it is in time");
        }
        let took = start.elapsed();
        other.await.expect("it does not panic");
        took
    })
}

fn cancelled(c: &mut Criterion) {
    let mut group = c.benchmark_group("a time-out set, the wait ended by a neighbour");
    let runtime = green::Runtime::builder().workers(1).build().expect("a runtime");
    group.bench_function("green", |b| b.iter_custom(|n| green_cancelled(&runtime, n)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    group.bench_function("tokio", |b| b.iter_custom(|n| tokio_cancelled(&runtime, n)));
    group.finish();
}

/// What the processor has done for this process.
fn cpu() -> Duration {
    // SAFETY: the call fills the struct in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &raw mut usage), 0);
        usage
    };
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// How late each of many sleepers with random deadlines wakes: median, 99th percentile, maximum; and what all of it costs.
fn report(who: &str, sleepers: impl FnOnce() -> Vec<Duration>) {
    let before = cpu();
    let mut late = sleepers();
    let cpu = cpu() - before;
    late.sort_unstable();
    let at = |part: f64| late[((late.len() - 1) as f64 * part) as usize];
    let (p50, p99, max, many) = (at(0.5), at(0.99), at(1.0), late.len());
    println!("{who}: {many} sleepers, {cpu:?} of processor, late by {p50:?} (p50), {p99:?} (p99), {max:?} (max)");
}

const SLEEPERS: u64 = 100_000;

/// Between 0.5 and 1.5 seconds, the same for every run.
fn length(sleeper: u64) -> Duration {
    Duration::from_micros(500_000 + sleeper.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 1_000_000)
}

fn lateness(_: &mut Criterion) {
    let runtime = green::Runtime::builder().workers(1).build().expect("a runtime");
    let sleep = |sleeper| {
        move || {
            let due = Instant::now() + length(sleeper);
            green::thread::sleep_until(due);
            due.elapsed()
        }
    };
    report("green", || {
        runtime.run(|| {
            let sleepers: Vec<_> = (0..SLEEPERS).map(|sleeper| green::spawn(sleep(sleeper))).collect();
            sleepers.into_iter().map(|sleeper| sleeper.join().expect("it does not panic")).collect()
        })
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    report("tokio", || {
        runtime.block_on(async {
            let sleep = |sleeper| async move {
                let due = Instant::now() + length(sleeper);
                tokio::time::sleep_until(due.into()).await;
                due.elapsed()
            };
            let sleepers: Vec<_> = (0..SLEEPERS).map(|sleeper| tokio::spawn(sleep(sleeper))).collect();
            let mut late = Vec::new();
            for sleeper in sleepers {
                late.push(sleeper.await.expect("it does not panic"));
            }
            late
        })
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .without_plots()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = cancelled, lateness
}
criterion_main!(benches);
