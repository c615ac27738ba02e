//! What does it cost to spawn a thread and join it, one at a time and a hundred thousand at once, on one worker and on
//! two? Peers: tokio, std threads.
#![allow(missing_docs)]

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const MANY: u64 = 100_000;

/// Spawns and joins one after the other.
fn green_one_by_one(runtime: &green::Runtime, n: u64) -> Duration {
    runtime.run(|| {
        let start = Instant::now();
        for i in 0..n {
            assert_eq!(green::spawn(move || i).join().expect("it does not panic"), i);
        }
        start.elapsed()
    })
}

/// Spawns [`MANY`], then joins them all.
fn green_at_once(runtime: &green::Runtime) -> Duration {
    runtime.run(|| {
        let start = Instant::now();
        let threads: Vec<_> = (0..MANY).map(|i| green::spawn(move || i)).collect();
        let sum: u64 = threads.into_iter().map(|thread| thread.join().expect("it does not panic")).sum();
        assert_eq!(sum, MANY * (MANY - 1) / 2);
        start.elapsed()
    })
}

fn tokio_one_by_one(runtime: &tokio::runtime::Runtime, n: u64) -> Duration {
    runtime.block_on(async {
        let task = tokio::spawn(async move {
            let start = Instant::now();
            for i in 0..n {
                assert_eq!(tokio::spawn(async move { i }).await.expect("it does not panic"), i);
            }
            start.elapsed()
        });
        task.await.expect("it does not panic")
    })
}

fn tokio_at_once(runtime: &tokio::runtime::Runtime) -> Duration {
    runtime.block_on(async {
        let task = tokio::spawn(async {
            let start = Instant::now();
            let tasks: Vec<_> = (0..MANY).map(|i| tokio::spawn(async move { i })).collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.await.expect("it does not panic");
            }
            assert_eq!(sum, MANY * (MANY - 1) / 2);
            start.elapsed()
        });
        task.await.expect("it does not panic")
    })
}

fn spawn(c: &mut Criterion) {
    for workers in [1, 2] {
        let green = green::Runtime::builder().workers(workers).build().expect("a runtime");
        let tokio = match workers {
            1 => tokio::runtime::Builder::new_current_thread().build(),
            n => tokio::runtime::Builder::new_multi_thread().worker_threads(n).build(),
        };
        let tokio = tokio.expect("a runtime");
        let mut group = c.benchmark_group(format!("spawn and join, {workers} worker(s)"));
        group.bench_function("green", |b| b.iter_custom(|n| green_one_by_one(&green, n)));
        group.bench_function("tokio", |b| b.iter_custom(|n| tokio_one_by_one(&tokio, n)));
        if workers == 1 {
            group.bench_function("std", |b| {
                b.iter(|| std::thread::spawn(|| ()).join().expect("it does not panic"));
            });
        }
        group.finish();
        let mut group = c.benchmark_group(format!("spawn 100 000, join all, {workers} worker(s)"));
        group.throughput(Throughput::Elements(MANY));
        let rounds = |n: u64, once: &dyn Fn() -> Duration| (0..n).map(|_| once()).sum();
        group.bench_function("green", |b| b.iter_custom(|n| rounds(n, &|| green_at_once(&green))));
        group.bench_function("tokio", |b| b.iter_custom(|n| rounds(n, &|| tokio_at_once(&tokio))));
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .without_plots()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = spawn
}
criterion_main!(benches);
