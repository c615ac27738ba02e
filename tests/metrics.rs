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
                    assert_eq!(metrics.threads.ended, 0);
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
            (threads.spawned, threads.unstarted, threads.ended, threads.panicked, threads.cancelled),
            (46, 0, 46, 3, 2),
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
        // A worker that has nothing to do looks round for a while before it sleeps.
        when(&runtime, "its worker's sleep", |metrics| metrics.workers[0].sleeps >= n);
        let woken = runtime.metrics().workers[0].woken;
        sleeper.thread().unpark();
        when(&runtime, "the wake-up", |metrics| metrics.workers[0].woken > woken);
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
    let long = long.sum::<u64>();
    assert!(long >= 1 && delays.sum() >= long as u32 * Duration::from_nanos(1 << 19), "{delays:?}");
}

#[test]
fn a_thread_that_has_not_started_does_not_live_wherever_it_stands() {
    let runtime = runtime(1);
    runtime.run(|| {
        let waits: Vec<_> = (0..7).map(|_| green::spawn(green::thread::park)).collect();
        // They stand in their worker's own queue, as they start nowhere else.
        let local: Vec<_> = (0..5).map(|_| green::spawn_local(|| ())).collect();
        let threads = green::metrics().threads;
        assert_eq!((threads.live, threads.unstarted, threads.ended), (1, 12, 0), "{threads:?}");
        local.into_iter().for_each(|thread| thread.join().unwrap());
        waits.iter().for_each(|thread| thread.thread().unpark());
        waits.into_iter().for_each(|thread| thread.join().unwrap());
        let threads = green::metrics().threads;
        assert_eq!((threads.live, threads.unstarted, threads.ended), (1, 0, 12), "{threads:?}");
    });
}

#[test]
fn threads_that_are_given_to_a_worker_are_not_wake_ups() {
    // Each of them counts where it was given, and nobody else wakes anything.
    let given = || {
        let runtime = runtime(2);
        let go = help::Flag::new();
        runtime.run(|| {
            green::scope(|scope| {
                for _ in 0..40 {
                    scope.spawn(|| {
                        while !go.is_set() {
                            green::yield_now();
                        }
                    });
                }
                (0..100).for_each(|_| green::yield_now());
                let metrics = runtime.metrics();
                go.set();
                let given = sum(&metrics, |worker| worker.given);
                assert!(sum(&metrics, |worker| worker.woken) < given.max(1), "{metrics:?}");
                given
            })
        })
    };
    help::spin_until("some are given", || given() > 5);
}

#[test]
fn the_delay_of_a_thread_that_others_wake_begins_when_they_do() {
    let runtime = runtime(1);
    let over = std::sync::Arc::new(AtomicBool::new(false));
    let _over = StopsAtEnd(&over);
    let (done, finished) = (over.clone(), over.clone());
    let computes = runtime.spawn(move || {
        while !done.load(Ordering::Relaxed) {
            green::thread::park();
            std::thread::sleep(Duration::from_millis(10)); // It blocks its worker.
        }
    });
    let next = computes.thread().clone();
    let is_woken = runtime.spawn(move || {
        while !finished.load(Ordering::Relaxed) {
            next.unpark();
            green::thread::park();
        }
    });
    // Nothing else is ready there: so what it waits for its turn it waits in the inbox.
    spin_until("a long delay", || {
        match (is_woken.thread().waits_for(), computes.thread().waits_for()) {
            (Some("park"), None) => is_woken.thread().unpark(),
            // This thread came too late, and now both wait for it.
            (Some("park"), Some("park")) => computes.thread().unpark(),
            _ => {}
        }
        let delays = runtime.metrics().workers[0].delays;
        delays.counts().any(|(bound, count)| bound > Duration::from_millis(5) && count > 0)
    });
    over.store(true, Ordering::Relaxed);
    spin_until("their end", || {
        computes.thread().unpark();
        is_woken.thread().unpark();
        computes.is_finished() && is_woken.is_finished()
    });
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
fn actors_are_counted_by_what_they_do_with_the_longest_queues() {
    use green::actor::{Actor, Builder, Context, Handler, Message};
    struct Slow(std::sync::Arc<help::Flag>);
    impl Actor for Slow {}
    struct Wait;
    impl Message for Wait {
        type Reply = ();
    }
    impl Handler<Wait> for Slow {
        fn handle(&mut self, Wait: Wait, _: &mut Context<Self>) {
            self.0.wait();
        }
    }
    let runtime = runtime(2);
    let open = std::sync::Arc::new(help::Flag::new());
    let actors: Vec<_> = (0..20)
        .map(|n| {
            let builder = Builder::new().runtime(&runtime).name(format!("slow {n}"));
            builder.start(Slow(open.clone())).unwrap()
        })
        .collect();
    let metrics = || runtime.actor_metrics();
    spin_until("all rest", || metrics().resting == 20);
    assert!(metrics().longest.is_empty());
    // One handles the first of its messages, and waits in it; the others stay in its queue.
    for (n, actor) in actors.iter().enumerate().skip(5) {
        (0..=n).for_each(|_| actor.tell(Wait).unwrap());
    }
    // They look now and then whether the flag is set.
    let found = std::cell::RefCell::new(metrics());
    spin_until("15 wait", || found.replace(metrics()).waiting == 15 && found.borrow().waiting == 15);
    let found = found.into_inner();
    assert_eq!((found.starting, found.resting, found.working, found.restarting), (0, 5, 0, 0), "{found:?}");
    assert_eq!(found.queued, (5..20).sum(), "{found:?}");
    let longest: Vec<_> = found.longest.iter().map(|actor| (actor.name.as_deref().unwrap(), actor.queued)).collect();
    assert_eq!(longest.len(), 10);
    assert_eq!((longest[0], longest[9]), (("slow 19", 19), ("slow 10", 10)));
    open.set();
    spin_until("all rest", || metrics().resting == 20);
    assert_eq!(metrics().queued, 0);
    drop(actors);
    spin_until("all have ended", || metrics().resting == 0);
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

#[test]
fn the_states_of_threads_add_up() {
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let over = std::sync::Arc::new(AtomicBool::new(false));
        let _over = StopsAtEnd(&over);
        let parks: Vec<_> = (0..30).map(|_| runtime.spawn(green::thread::park)).collect();
        parks.iter().for_each(|thread| help::until_parked(thread.thread(), "park"));
        let metrics = when(&runtime, "all wait", |metrics| metrics.threads.running == 0);
        let green::metrics::ThreadMetrics { unstarted, live, running, ready, parked, .. } = metrics.threads;
        assert_eq!((unstarted, live, running, ready, parked), (0, 30, 0, 0, 30), "{metrics:?}");
        let until = over.clone();
        let spins = runtime.spawn(move || {
            while !until.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        when(&runtime, "one runs", |Metrics { threads, .. }| {
            (threads.live, threads.running, threads.ready, threads.parked) == (31, 1, 0, 30)
        });
        over.store(true, Ordering::Relaxed);
        spins.join().unwrap();
        let until = std::sync::Arc::new(AtomicBool::new(false));
        let yields = {
            let until = until.clone();
            runtime.run(move || {
                (0..4)
                    .map(|_| {
                        let until = until.clone();
                        green::spawn_local(move || {
                            while !until.load(Ordering::Relaxed) {
                                green::yield_now();
                            }
                        })
                        .thread()
                        .clone()
                    })
                    .collect::<Vec<_>>()
            })
        };
        // One of the four runs.
        when(&runtime, "others are ready", |Metrics { threads, .. }| threads.live == 34 && threads.ready >= 3);
        until.store(true, Ordering::Relaxed);
        when(&runtime, "their ends", |metrics| metrics.threads.live == 30 && metrics.threads.ready == 0);
        drop(yields);
        parks.iter().for_each(|thread| thread.thread().unpark());
        parks.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn looks_for_events_and_the_events_are_counted() {
    use std::io::{Read, Write};
    let runtime = runtime(2);
    let (mut near, mut far) = green::os::unix::net::UnixStream::pair().unwrap();
    let echo = runtime.spawn(move || {
        let mut byte = [0];
        while far.read(&mut byte).unwrap() == 1 {
            far.write_all(&byte).unwrap();
        }
    });
    let begin = runtime.metrics();
    for _ in 0..20 {
        help::until_parked(echo.thread(), "readable");
        let events = sum(&runtime.metrics(), |worker| worker.events);
        near.write_all(&[7]).unwrap();
        near.read_exact(&mut [0]).unwrap();
        // Nobody else waits for events: without one it would not have answered.
        assert!(sum(&runtime.metrics(), |worker| worker.events) > events);
    }
    // Each event was the only one of a look, but for that look which may have begun before.
    let end = runtime.metrics();
    let looks = sum(&end, |worker| worker.polls) - sum(&begin, |worker| worker.polls);
    assert!(looks >= 19, "{begin:?}, then {end:?}");
    drop(near);
    echo.join().unwrap();
}

#[test]
fn threads_that_another_worker_takes_are_counted_there() {
    let runtime = runtime(2);
    let started = AtomicBool::new(false);
    runtime.run(|| {
        green::scope(|scope| {
            // More than one, as one alone is not worth it.
            for _ in 0..8 {
                scope.spawn(|| started.store(true, Ordering::Relaxed));
            }
            // It keeps this worker, so where they start is the other one.
            spin_until("a start", || started.load(Ordering::Relaxed));
            let started_all = |metrics: &Metrics| metrics.workers.iter().any(|worker| worker.started == 8);
            let metrics = when(&runtime, "the other starts", started_all);
            // The first came from no worker, and one of them took it, too.
            assert!(metrics.workers.iter().any(|worker| worker.stolen == 8), "{metrics:?}");
            assert_eq!(sum(&metrics, |worker| worker.given), 0, "{metrics:?}");
        });
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_spare_worker_is_one_of_the_workers() {
    let counts = || {
        let builder = Runtime::builder().workers(1).spare_workers(1).stall_limit(Duration::from_millis(1));
        let runtime = builder.build().unwrap();
        assert_eq!(runtime.metrics().workers.len(), 1);
        let over = std::sync::Arc::new(AtomicBool::new(false));
        let _over = StopsAtEnd(&over);
        let until = over.clone();
        let spins = runtime.spawn(move || {
            while !until.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        let is_where_it_should =
            when(&runtime, "it spins", |metrics| metrics.threads.live == 1).workers[0].started == 1;
        if is_where_it_should {
            runtime.spawn(|| ()).join().unwrap();
            let metrics = when(&runtime, "its end", |metrics| metrics.workers[1].busy == 0.0);
            assert_eq!(metrics.workers.iter().map(|worker| worker.spare).collect::<Vec<_>>(), [false, true]);
            assert_eq!((metrics.workers[0].started, metrics.workers[1].started), (1, 1), "{metrics:?}");
        }
        over.store(true, Ordering::Relaxed);
        spins.join().unwrap();
        is_where_it_should
    };
    // Where the worker gets no processor as it gets up, a spare one has the first thread.
    spin_until("a thread that starts on the worker", counts);
}
