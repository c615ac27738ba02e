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

fn read(c: &mut Criterion) {
    let mut group = c.benchmark_group("read lock and unlock");
    let ours = green::sync::RwLock::new(0u64);
    group.bench_function("green, OS thread", |b| b.iter(|| *black_box(&ours).read().unwrap()));
    let runtime = Runtime::builder().workers(1).build().unwrap();
    group.bench_function("green, green thread", |b| {
        runtime.run(|| b.iter(|| *black_box(&ours).read().unwrap()));
    });
    let std = std::sync::RwLock::new(0u64);
    group.bench_function("std", |b| b.iter(|| *black_box(&std).read().unwrap()));
    let parking_lot = parking_lot::RwLock::new(0u64);
    group.bench_function("parking_lot", |b| b.iter(|| *black_box(&parking_lot).read()));
    group.finish();
}

/// Two threads take turns, each woken by the other: time for a turn there and back.
fn ping_pong(c: &mut Criterion) {
    let mut group = c.benchmark_group("condvar, there and back");
    let runtime = Runtime::builder().workers(1).build().unwrap();
    group.bench_function("green, w1", |b| {
        b.iter_custom(|turns| {
            runtime.run(|| {
                let pair = Arc::new((green::sync::Mutex::new(0u64), green::sync::Condvar::new()));
                let play = move |pair: &(green::sync::Mutex<u64>, green::sync::Condvar), me: u64| {
                    let mut turn = pair.0.lock().unwrap();
                    while *turn < 2 * turns {
                        if *turn % 2 == me {
                            *turn += 1;
                            pair.1.notify_one();
                        } else {
                            turn = pair.1.wait(turn).unwrap();
                        }
                    }
                    pair.1.notify_one();
                };
                let start = Instant::now();
                let other = pair.clone();
                let player = green::spawn(move || play(&other, 1));
                play(&pair, 0);
                player.join().unwrap();
                start.elapsed()
            })
        });
    });
    group.bench_function("std, OS threads", |b| {
        b.iter_custom(|turns| {
            let pair = (std::sync::Mutex::new(0u64), std::sync::Condvar::new());
            let play = |me: u64| {
                let mut turn = pair.0.lock().unwrap();
                while *turn < 2 * turns {
                    if *turn % 2 == me {
                        *turn += 1;
                        pair.1.notify_one();
                    } else {
                        turn = pair.1.wait(turn).unwrap();
                    }
                }
                pair.1.notify_one();
            };
            let start = Instant::now();
            std::thread::scope(|s| {
                s.spawn(|| play(1));
                play(0);
            });
            start.elapsed()
        });
    });
    group.finish();
}

criterion_group!(benches, uncontended, contended, read, ping_pong);
criterion_main!(benches);
