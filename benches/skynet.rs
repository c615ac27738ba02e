//! Skynet: a tree of a million leaves, ten children a node, each joined by its parent; one worker and two. Peer: tokio.
//!
//! The sum of the leaves' numbers is checked. Two workers have to beat one.
#![allow(missing_docs)]

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const LEAVES: u64 = 1_000_000;
const SUM: u64 = LEAVES * (LEAVES - 1) / 2;

fn green(first: u64, leaves: u64) -> u64 {
    if leaves == 1 {
        return first;
    }
    let part = leaves / 10;
    let children: Vec<_> = (0..10).map(|i| green::spawn(move || green(first + i * part, part))).collect();
    children.into_iter().map(|child| child.join().expect("it does not panic")).sum()
}

fn tokio(first: u64, leaves: u64) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(async move {
        if leaves == 1 {
            return first;
        }
        let part = leaves / 10;
        let children: Vec<_> = (0..10).map(|i| tokio::spawn(tokio(first + i * part, part))).collect();
        let mut sum = 0;
        for child in children {
            sum += child.await.expect("it does not panic");
        }
        sum
    })
}

fn skynet(c: &mut Criterion) {
    for workers in [1, 2] {
        let mut group = c.benchmark_group(format!("skynet, {workers} worker(s)"));
        group.throughput(Throughput::Elements(LEAVES));
        let runtime = green::Runtime::builder().workers(workers).build().expect("a runtime");
        group.bench_function("green", |b| b.iter(|| assert_eq!(runtime.run(|| green(0, LEAVES)), SUM)));
        let runtime = match workers {
            1 => tokio::runtime::Builder::new_current_thread().build(),
            n => tokio::runtime::Builder::new_multi_thread().worker_threads(n).build(),
        };
        let runtime = runtime.expect("a runtime");
        group.bench_function("tokio", |b| {
            b.iter(|| {
                let root = runtime.block_on(async { tokio::spawn(tokio(0, LEAVES)).await });
                assert_eq!(root.expect("it does not panic"), SUM);
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .without_plots()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_secs(2));
    targets = skynet
}
criterion_main!(benches);
