//! What does a yield cost, with 2 threads taking turns and with 1000? One worker. Peers: tokio, std threads.
#![allow(missing_docs)]

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Threads of a runtime with one worker that yield `yields` times in all, `each` calling `turn` between two.
fn green(runtime: &green::Runtime, threads: u64, yields: u64) -> Duration {
    let each = yields.div_ceil(threads);
    runtime.run(|| {
        let start = Instant::now();
        green::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| (0..each).for_each(|_| green::yield_now()));
            }
        });
        start.elapsed()
    })
}

fn tokio(runtime: &tokio::runtime::Runtime, threads: u64, yields: u64) -> Duration {
    let each = yields.div_ceil(threads);
    runtime.block_on(async {
        let start = Instant::now();
        let tasks: Vec<_> = (0..threads)
            .map(|_| {
                tokio::spawn(async move {
                    for _ in 0..each {
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("it does not panic");
        }
        start.elapsed()
    })
}

fn std_threads(threads: u64, yields: u64) -> Duration {
    let each = yields.div_ceil(threads);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..each).for_each(|_| std::thread::yield_now()));
        }
    });
    start.elapsed()
}

fn yields(c: &mut Criterion) {
    let one = green::Runtime::builder().workers(1).build().expect("a runtime");
    let current = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for threads in [2, 1000] {
        let mut group = c.benchmark_group(format!("yield, {threads} threads"));
        group.throughput(Throughput::Elements(1));
        // Long enough that making the threads does not count.
        let yields = |iterations: u64| iterations.max(threads * 100);
        let scale = |iterations: u64, took: Duration| took.mul_f64(iterations as f64 / yields(iterations) as f64);
        group.bench_function("green", |b| b.iter_custom(|n| scale(n, green(&one, threads, yields(n)))));
        group.bench_function("tokio current-thread", |b| {
            b.iter_custom(|n| scale(n, tokio(&current, threads, yields(n))))
        });
        if threads == 2 {
            group.bench_function("std", |b| b.iter_custom(|n| scale(n, std_threads(threads, yields(n)))));
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .without_plots()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = yields
}
criterion_main!(benches);
