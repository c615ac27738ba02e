//! What do thread-locals of a thread's own cost? A yield, a thread that is spawned and joined, a round trip, beside threads that use their
//! worker's, and beside tokio's tasks. One worker. (The memory of a parked thread: `memory.rs`.)
#![allow(missing_docs)]

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use green::ThreadLocals;

fn yields(n: u64) {
    let turns = || (0..n / 2).for_each(|_| green::yield_now());
    green::scope(|scope| {
        scope.spawn(turns);
        scope.spawn(turns);
    });
}

fn spawns(n: u64) {
    for i in 0..n {
        let _ = green::spawn(move || i).join();
    }
}

fn round_trips(n: u64) {
    let ((there, from_here), (back, from_there)) = (green::channel::bounded(1), green::channel::bounded(1));
    green::scope(|scope| {
        scope.spawn(move || from_here.iter().for_each(|i| _ = back.send(i)));
        for i in 0..n {
            let _ = there.send(i);
            let _ = from_there.recv();
        }
        drop(there);
    });
}

/// The same of tokio's.
mod peer {
    pub(super) async fn yields(n: u64) {
        let turns = move || async move {
            for _ in 0..n / 2 {
                tokio::task::yield_now().await;
            }
        };
        let (one, other) = (tokio::spawn(turns()), tokio::spawn(turns()));
        one.await.unwrap();
        other.await.unwrap();
    }

    pub(super) async fn spawns(n: u64) {
        for i in 0..n {
            let _ = tokio::spawn(async move { i }).await;
        }
    }

    pub(super) async fn round_trips(n: u64) {
        let ((there, mut from_here), (back, mut from_there)) =
            (tokio::sync::mpsc::channel(1), tokio::sync::mpsc::channel(1));
        let answers = tokio::spawn(async move {
            while let Some(i) = from_here.recv().await {
                let _ = back.send(i).await;
            }
        });
        for i in 0..n {
            let _ = there.send(i).await;
            let _ = from_there.recv().await;
        }
        drop(there);
        answers.await.unwrap();
    }
}

/// As long as `n` of them take, in a task.
fn tokio_takes<F: Future<Output = ()> + Send + 'static>(runtime: &tokio::runtime::Runtime, run: F) -> Duration {
    let takes = runtime.spawn(async move {
        let start = Instant::now();
        run.await;
        start.elapsed()
    });
    runtime.block_on(takes).unwrap()
}

fn thread_locals(c: &mut Criterion) {
    type Run = (&'static str, fn(u64));
    let runs: [Run; 3] = [("yield, 2 threads", yields), ("spawn and join", spawns), ("round trip", round_trips)];
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    for (name, run) in runs {
        let mut group = c.benchmark_group(name);
        for kind in [ThreadLocals::PerWorker, ThreadLocals::PerThread] {
            let Ok(runtime) = green::Runtime::builder().workers(1).thread_locals(kind).build() else { continue };
            group.bench_function(format!("{kind:?}"), |b| {
                b.iter_custom(|n| {
                    runtime.run(|| {
                        let start = Instant::now();
                        run(n);
                        start.elapsed()
                    })
                });
            });
        }
        group.bench_function("tokio", |b| {
            b.iter_custom(|n| match name {
                "spawn and join" => tokio_takes(&tokio, peer::spawns(n)),
                "round trip" => tokio_takes(&tokio, peer::round_trips(n)),
                _ => tokio_takes(&tokio, peer::yields(n)),
            });
        });
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
    targets = thread_locals
}
criterion_main!(benches);
