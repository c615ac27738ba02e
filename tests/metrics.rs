//! What a runtime says that it has counted, against what it did.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod help;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use green::Runtime;
use green::metrics::Metrics;
use help::{runtime, spin_until};

/// Of all workers.
fn sum(metrics: &Metrics, count: fn(&green::metrics::WorkerMetrics) -> u64) -> u64 {
    metrics.workers.iter().map(count).sum()
}

fn when(runtime: &Runtime, what: &str, holds: impl Fn(&Metrics) -> bool) -> Metrics {
    spin_until(what, || holds(&runtime.metrics()));
    runtime.metrics()
}

#[test]
fn threads_are_counted_by_how_they_end_and_by_where_they_are() {
    for workers in [1, 3] {
        let runtime = runtime(workers);
        let stop = AtomicBool::new(false);
        runtime.run(|| {
            green::scope(|scope| {
                for _ in 0..40 {
                    scope.spawn(|| {
                        while !stop.load(Ordering::Relaxed) {
                            green::sleep(Duration::from_millis(1));
                        }
                    });
                }
                let metrics = loop {
                    let metrics = green::metrics();
                    // A thread that is given to another worker lives there from then on, and has not started yet.
                    if metrics.threads.live == 41 && metrics.threads.unstarted == 0 {
                        break metrics;
                    }
                    green::sleep(Duration::from_millis(1));
                };
                stop.store(true, Ordering::Relaxed);
                assert_eq!(metrics.threads.spawned, 41, "{metrics:?}");
            });
            for _ in 0..3 {
                green::spawn(|| std::panic::resume_unwind(Box::new(()))).join().unwrap_err();
            }
            for _ in 0..2 {
                let waits = green::spawn(green::thread::park);
                waits.cancel();
                waits.join().unwrap_err();
            }
        });
        let metrics = when(&runtime, "the end of all", |metrics| metrics.threads.live == 0);
        let threads = metrics.threads;
        assert_eq!(
            (threads.spawned, threads.unstarted, threads.panicked, threads.cancelled),
            (46, 0, 3, 2),
            "{metrics:?}"
        );
        assert_eq!(sum(&metrics, |worker| worker.started), 46);
        assert!(sum(&metrics, |worker| worker.timers) >= 40, "{metrics:?}");
        assert_eq!(metrics.workers.len(), workers);
    }
}

#[test]
fn what_other_threads_spawn_and_wake_is_counted() {
    let runtime = runtime(1);
    let sleeper = runtime.spawn(|| (0..5).for_each(|_| green::thread::park()));
    for n in 1..=5 {
        spin_until("it waits", || sleeper.thread().waits_for() == Some("park"));
        let woken = runtime.metrics().workers[0].woken;
        sleeper.thread().unpark();
        when(&runtime, "the wake-up", |metrics| metrics.workers[0].woken > woken);
        assert!(runtime.metrics().workers[0].sleeps >= 1, "{n}");
        spin_until("it goes on", || n == 5 || sleeper.thread().waits_for() == Some("park"));
    }
    sleeper.join().unwrap();
    assert_eq!(runtime.metrics().threads.spawned, 1);
}

/// So that a failure is one, and no endless loop.
struct StopsAtEnd<'a>(&'a AtomicBool);

impl Drop for StopsAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_worker_that_computes_is_busy_and_one_that_has_nothing_to_do_is_not() {
    let runtime = runtime(1);
    // The first thread may be there before the worker has ever rested.
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stops = StopsAtEnd(&stop);
        scope.spawn(|| {
            runtime.run(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        });
        when(&runtime, "work", |metrics| metrics.workers[0].busy > 0.9);
        stop.store(true, Ordering::Relaxed);
    });
    when(&runtime, "rest", |metrics| metrics.workers[0].busy < 0.1);
}

#[test]
fn delays_are_sampled_and_one_that_is_long_is_seen() {
    let runtime = runtime(1);
    runtime.run(|| {
        let neighbour = green::spawn(|| (0..300).for_each(|_| green::yield_now()));
        for _ in 0..300 {
            std::thread::sleep(Duration::from_millis(1)); // It blocks its worker.
            green::yield_now();
        }
        neighbour.join().unwrap();
    });
    let delays = runtime.metrics().workers[0].delays;
    assert!(delays.len() >= 3 && !delays.is_empty(), "{delays:?}");
    let long = delays.counts().filter(|(bound, _)| *bound > Duration::from_millis(1)).map(|(_, count)| count);
    assert!(long.sum::<u64>() >= 1, "{delays:?}");
}

#[test]
fn stacks_and_the_pool_that_blocks_are_counted() {
    let runtime = runtime(1);
    let before = runtime.metrics().stacks;
    runtime.run(|| {
        let threads: Vec<_> = (0..500).map(|_| green::spawn(green::thread::park)).collect();
        assert!(green::metrics().stacks.claimed >= before.claimed.min(500));
        assert!(green::metrics().stacks.most_claimed >= 500);
        threads.iter().for_each(|thread| thread.thread().unpark());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        green::blocking(|| {
            let blocking = runtime.metrics().blocking;
            assert_eq!((blocking.threads, blocking.idle, blocking.queued), (1, 0, 0));
        });
    });
    when(&runtime, "an idle thread", |metrics| metrics.blocking.idle == 1);
    assert!(["advice", "protection"].contains(&runtime.metrics().stacks.guards));
}

#[test]
fn actors_turns_are_no_threads() {
    use green::actor::{Actor, Builder, Context, Handler, Message};
    struct Echo;
    impl Actor for Echo {}
    struct Ask;
    impl Message for Ask {
        type Reply = u32;
    }
    impl Handler<Ask> for Echo {
        fn handle(&mut self, Ask: Ask, _: &mut Context<Self>) -> u32 {
            7
        }
    }
    let runtime = runtime(2);
    let echo = Builder::new().runtime(&runtime).start(Echo).unwrap();
    (0..100).for_each(|_| assert_eq!(echo.send(Ask).unwrap(), 7));
    let metrics = runtime.metrics();
    assert!(sum(&metrics, |worker| worker.actor_runs) >= 1, "{metrics:?}");
    assert_eq!(metrics.threads.spawned, 0);
}

#[test]
fn the_next_runtime_counts_from_zero() {
    for _ in 0..3 {
        let runtime = runtime(2);
        assert_eq!(runtime.metrics().threads.spawned, 0);
        runtime.run(|| green::spawn(|| ()).join().unwrap());
        let threads = runtime.metrics().threads;
        assert_eq!((threads.spawned, threads.panicked, threads.cancelled), (2, 0, 0));
    }
}
