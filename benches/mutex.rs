//! What does a lock cost? Uncontended against parking_lot and std; contended by 8 threads on one and two workers against
//! std on 8 OS threads; a reader's lock; a round trip over a condition variable.
#![allow(missing_docs)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use green::Runtime;

const THREADS: u64 = 8;

fn uncontended(c: &mut Criterion) {
    let mut group = c.benchmark_group("lock and unlock");
    let ours = green::sync::Mutex::new(0u64);
    group.bench_function("green, OS thread", |b| b.iter(|| *black_box(&ours).lock().unwrap() += 1));
    let runtime = Runtime::builder().workers(1).build().unwrap();
    group.bench_function("green, green thread", |b| {
        runtime.run(|| b.iter(|| *black_box(&ours).lock().unwrap() += 1));
    });
    let std = std::sync::Mutex::new(0u64);
    group.bench_function("std", |b| b.iter(|| *black_box(&std).lock().unwrap() += 1));
    let parking_lot = parking_lot::Mutex::new(0u64);
    group.bench_function("parking_lot", |b| b.iter(|| *black_box(&parking_lot).lock() += 1));
    group.finish();
}

/// Wall time of `ops` operations, shared between 8 green threads.
fn eight_green(runtime: &Runtime, ops: u64) -> Duration {
    let mutex = Arc::new(green::sync::Mutex::new(0u64));
    let start = Instant::now();
    runtime.run(|| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let mutex = mutex.clone();
                green::spawn(move || {
                    for _ in 0..ops.div_ceil(THREADS) {
                        *mutex.lock().unwrap() += 1;
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    });
    start.elapsed()
}

fn eight_os(ops: u64, add: impl Fn() + Sync) -> Duration {
    let start = Instant::now();
    std::thread::scope(|s| {
        for _ in 0..THREADS {
            s.spawn(|| (0..ops.div_ceil(THREADS)).for_each(|_| add()));
        }
    });
    start.elapsed()
}

fn contended(c: &mut Criterion) {
    let mut group = c.benchmark_group("8 threads on one mutex");
    for workers in [1, 2] {
        let runtime = Runtime::builder().workers(workers).build().unwrap();
        group.bench_function(format!("green, w{workers}"), |b| b.iter_custom(|ops| eight_green(&runtime, ops)));
    }
    let std = std::sync::Mutex::new(0u64);
    group.bench_function("std", |b| b.iter_custom(|ops| eight_os(ops, || *std.lock().unwrap() += 1)));
    let parking_lot = parking_lot::Mutex::new(0u64);
    group.bench_function("parking_lot", |b| b.iter_custom(|ops| eight_os(ops, || *parking_lot.lock() += 1)));
    group.finish();
}

criterion_group!(benches, uncontended, contended);
criterion_main!(benches);
