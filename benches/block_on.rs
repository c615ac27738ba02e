//! What does it cost to run a future in `block_on`: one that is ready, and one that wakes itself and is pending once?
//!
//! Peers in the same run: `futures::executor::block_on`, pollster, tokio's current-thread runtime. Ours runs in a green
//! thread (where the pending one also yields to the neighbours, of which there are none) and on a plain OS thread.
#![allow(missing_docs)]

use std::future::{Future, poll_fn, ready};
use std::hint::black_box;
use std::task::Poll;

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};

/// Wakes itself and is pending, once.
fn pending_once() -> impl Future<Output = u32> {
    let mut polled = false;
    poll_fn(move |context| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(black_box(7));
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
}

fn all<F: Future<Output = u32> + 'static>(group: &mut BenchmarkGroup<'_, WallTime>, make: fn() -> F) {
    let runtime = green::Runtime::builder().workers(1).build().unwrap();
    group.bench_function("green thread", |bencher| runtime.run(|| bencher.iter(|| green::block_on(make()))));
    group.bench_function("green, OS thread", |bencher| bencher.iter(|| green::block_on(make())));
    group.bench_function("futures", |bencher| bencher.iter(|| futures::executor::block_on(make())));
    group.bench_function("pollster", |bencher| bencher.iter(|| pollster::block_on(make())));
    let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
    group.bench_function("tokio ct", |bencher| bencher.iter(|| tokio.block_on(make())));
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("block_on/ready");
    all(&mut group, || ready(black_box(7)));
    group.finish();
    let mut group = criterion.benchmark_group("block_on/pending once");
    all(&mut group, pending_once);
    group.finish();
}

criterion_group!(block_on, benches);
criterion_main!(block_on);
