//! What a message costs: round trips, many producers with one consumer, a ring. Ours on one and two workers, in the same
//! run as tokio's tasks and channels, and crossbeam-channel and std's mpsc on OS threads.
#![allow(missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use green::Runtime;

fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().expect("a runtime starts")
}

/// There and back through two channels, `n` times, by two threads that `spawn` starts.
macro_rules! round_trips {
    ($spawn:path, $channel:expr, $n:expr) => {{
        let n = $n;
        let ((there, from_there), (back, from_back)) = ($channel, $channel);
        let echo = $spawn(move || {
            while let Ok(message) = from_there.recv() {
                if back.send(message).is_err() {
                    break;
                }
            }
        });
        let start = Instant::now();
        for i in 0..n {
            there.send(i).expect("the echo listens");
            black_box(from_back.recv().expect("the echo answers"));
        }
        let elapsed = start.elapsed();
        drop(there);
        echo.join().expect("the echo does not panic");
        elapsed
    }};
}

/// `round_trips` by two tasks.
macro_rules! task_round_trips {
    ($channel:expr, $n:expr, $send:ident) => {{
        let n = $n;
        let ((there, mut from_there), (back, mut from_back)) = ($channel, $channel);
        let echo = tokio::spawn(async move {
            while let Some(message) = from_there.recv().await {
                if $send!(back, message).is_err() {
                    break;
                }
            }
        });
        let start = Instant::now();
        for i in 0..n {
            $send!(there, i).expect("the echo listens");
            black_box(from_back.recv().await.expect("the echo answers"));
        }
        let elapsed = start.elapsed();
        drop(there);
        echo.await.expect("the echo does not panic");
        elapsed
    }};
}

macro_rules! send_waiting {
    ($sender:expr, $message:expr) => {
        $sender.send($message).await
    };
}

macro_rules! send_at_once {
    ($sender:expr, $message:expr) => {
        $sender.send($message)
    };
}

/// `n` messages by four producers to one consumer.
macro_rules! four_to_one {
    ($spawn:path, $channel:expr, $n:expr) => {{
        let n: u64 = $n;
        let (sender, receiver) = $channel;
        let each = n.div_ceil(4);
        let start = Instant::now();
        let producers: Vec<_> = (0..4)
            .map(|_| {
                let sender = sender.clone();
                $spawn(move || (0..each).for_each(|i| sender.send(i).expect("the consumer listens")))
            })
            .collect();
        drop(sender);
        let mut sum = 0;
        while let Ok(message) = receiver.recv() {
            sum += message;
        }
        black_box(sum);
        producers.into_iter().for_each(|producer| producer.join().expect("a producer does not panic"));
        start.elapsed()
    }};
}

/// A token goes round among `size` threads, `n` hops.
macro_rules! ring {
    ($spawn:path, $channel:expr, $size:expr, $n:expr) => {{
        let (size, n): (usize, u64) = ($size, $n);
        let channels: Vec<_> = (0..size).map(|_| $channel).collect();
        let mut senders: Vec<_> = channels.iter().map(|(sender, _)| sender.clone()).collect();
        senders.rotate_left(1);
        let first = channels[0].0.clone();
        let threads: Vec<_> = channels
            .into_iter()
            .zip(senders)
            .map(|((_, receiver), next)| {
                $spawn(move || {
                    while let Ok(left) = receiver.recv() {
                        if left == 0 || next.send(left - 1).is_err() {
                            break;
                        }
                    }
                })
            })
            .collect();
        let start = Instant::now();
        first.send(n).expect("the ring listens");
        drop(first);
        threads.into_iter().for_each(|thread| thread.join().expect("no thread panics"));
        start.elapsed()
    }};
}

/// `ring` of tasks.
async fn task_ring(size: usize, n: u64) -> Duration {
    let channels: Vec<_> = (0..size).map(|_| tokio::sync::mpsc::unbounded_channel()).collect();
    let mut senders: Vec<_> = channels.iter().map(|(sender, _)| sender.clone()).collect();
    senders.rotate_left(1);
    let first = channels[0].0.clone();
    let receivers = channels.into_iter().map(|(_, receiver)| receiver);
    let tasks: Vec<_> = receivers
        .zip(senders)
        .map(|(mut receiver, next)| {
            tokio::spawn(async move {
                while let Some(left) = receiver.recv().await {
                    if left == 0 || next.send(left - 1).is_err() {
                        break;
                    }
                }
            })
        })
        .collect();
    let start = Instant::now();
    first.send(n).expect("the ring listens");
    drop(first);
    for task in tasks {
        task.await.expect("no task panics");
    }
    start.elapsed()
}

/// Runs what `f` makes in a task of a runtime with so many workers; 0: of a current-thread runtime.
fn run_task<F>(workers: usize, f: fn(u64) -> F) -> impl FnMut(u64) -> Duration
where
    F: Future<Output = Duration> + Send + 'static,
{
    let mut builder = match workers {
        0 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(workers.max(1)).build().expect("a runtime starts");
    move |n| runtime.block_on(async { tokio::spawn(f(n)).await.expect("no task panics") })
}

fn run(workers: usize, f: impl Fn(u64) -> Duration + Copy + Send + Sync) -> impl FnMut(u64) -> Duration {
    let runtime = runtime(workers);
    move |n| runtime.run(|| f(n))
}

fn round_trip(c: &mut Criterion) {
    let mut group = c.benchmark_group("round trip, one worker");
    group.bench_function("bounded(1)", |b| {
        b.iter_custom(run(1, |n| round_trips!(green::spawn, green::channel::bounded(1), n)));
    });
    group.bench_function("unbounded", |b| {
        b.iter_custom(run(1, |n| round_trips!(green::spawn, green::channel::unbounded(), n)));
    });
    group.bench_function("bounded(0)", |b| {
        b.iter_custom(run(1, |n| round_trips!(green::spawn, green::channel::bounded(0), n)));
    });
    group.bench_function("mpsc", |b| {
        b.iter_custom(run(1, |n| round_trips!(green::spawn, green::sync::mpsc::channel(), n)));
    });
    group.bench_function("tokio ct, bounded(1)", |b| {
        b.iter_custom(run_task(
            0,
            |n| async move { task_round_trips!(tokio::sync::mpsc::channel(1), n, send_waiting) },
        ));
    });
    group.bench_function("tokio ct, unbounded", |b| {
        b.iter_custom(run_task(0, |n| async move {
            task_round_trips!(tokio::sync::mpsc::unbounded_channel(), n, send_at_once)
        }));
    });
    group.bench_function("crossbeam-channel, OS threads, bounded(1)", |b| {
        b.iter_custom(|n| round_trips!(std::thread::spawn, crossbeam_channel::bounded(1), n));
    });
    group.bench_function("std mpsc, OS threads", |b| {
        b.iter_custom(|n| round_trips!(std::thread::spawn, std::sync::mpsc::channel(), n));
    });
    group.finish();
}

fn four_producers(c: &mut Criterion) {
    for workers in [1, 2] {
        let mut group = c.benchmark_group(format!("4 producers, {workers} workers"));
        group.bench_function("bounded(1024)", |b| {
            b.iter_custom(run(workers, |n| four_to_one!(green::spawn, green::channel::bounded(1024), n)));
        });
        group.bench_function("unbounded", |b| {
            b.iter_custom(run(workers, |n| four_to_one!(green::spawn, green::channel::unbounded(), n)));
        });
        if workers == 2 {
            group.bench_function("crossbeam-channel, OS threads, bounded(1024)", |b| {
                b.iter_custom(|n| four_to_one!(std::thread::spawn, crossbeam_channel::bounded(1024), n));
            });
            group.bench_function("crossbeam-channel, OS threads, unbounded", |b| {
                b.iter_custom(|n| four_to_one!(std::thread::spawn, crossbeam_channel::unbounded(), n));
            });
            group.bench_function("std mpsc, OS threads, sync_channel(1024)", |b| {
                b.iter_custom(|n| four_to_one!(std::thread::spawn, std::sync::mpsc::sync_channel(1024), n));
            });
        }
        group.finish();
    }
}

fn ring(c: &mut Criterion) {
    let mut group = c.benchmark_group("ring of 503, a hop");
    for workers in [1, 2] {
        group.bench_function(format!("{workers} workers"), |b| {
            b.iter_custom(run(workers, |n| ring!(green::spawn, green::channel::unbounded(), 503, n)));
        });
        group.bench_function(format!("tokio mt, {workers} workers"), |b| {
            b.iter_custom(run_task(workers, |n| task_ring(503, n)));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_millis(1200));
    targets = round_trip, four_producers, ring
}
criterion_main!(benches);
