//! How pools end, and how they live in a tree.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use green::actor::{
    Actor, Addr, Backoff, Builder, Child, ChildState, Context, Exit, Keyed, Mailbox, Pool, SendError, Supervisor,
    actors, messages,
};

use crate::help::{Gate, bounded, everywhere, runtime, until};
use crate::{Die, End, Hand, Handled, LONG, Record, Wait, Work, eager, numbers};

/// Counts the workers that live.
struct Lives(Arc<AtomicU32>);

impl Lives {
    fn of(count: &Arc<AtomicU32>) -> impl Fn() -> Lives + Send + Sync + use<> {
        let count = Arc::clone(count);
        move || {
            count.fetch_add(1, Ordering::SeqCst);
            Lives(Arc::clone(&count))
        }
    }
}

impl Drop for Lives {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Actor for Lives {}
messages! {
    impl Lives {
        fn Touch(&mut self) {}
        fn Sleep(&mut self, begun: Gate) {
            begun.open();
            green::sleep(LONG);
        }
    }
}

#[test]
fn a_stop_drains_the_queue_into_the_workers_and_ends_them() {
    everywhere(|| {
        for workers in [1, 4] {
            let record = Record::default();
            let pool = Pool::shared(workers, Hand::of(&record)).start();
            let sends = green::spawn({
                let pool = pool.clone();
                move || (0..100).for_each(|number| pool.tell(Work(0, number)).unwrap())
            });
            sends.join().unwrap();
            let end = pool.shutdown(LONG);
            assert_eq!((end.stopped, end.lost, pool.join()), (1 + workers, 0, Exit::Shutdown));
            let mut handled = numbers(&record);
            handled.sort_unstable();
            assert_eq!(handled, (0..100).collect::<Vec<_>>());
        }
    });
}

#[test]
fn workers_that_go_on_beyond_the_deadline_are_killed() {
    everywhere(|| {
        let (count, begun) = (Arc::default(), Gate::new());
        let pool = Pool::shared(2, Lives::of(&count)).start();
        let sleeps = pool.call(Sleep(begun.clone())).unwrap();
        begun.wait();
        let end = pool.shutdown(Duration::from_millis(5));
        assert_eq!(end.left, 0);
        assert!(pool.is_ended());
        assert_eq!(count.load(Ordering::SeqCst), 0);
        match sleeps.wait() {
            Err(SendError::Died(Exit::Killed)) => {}
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_worker_that_dies_while_its_pool_drains_has_failed() {
    struct Doomed;
    impl Actor for Doomed {}
    messages! {
        impl Doomed {
            fn Hold(&mut self, ctx: &mut Context<Self>, me: green::channel::Sender<Addr<Doomed>>, gate: Gate) {
                me.send(ctx.addr()).unwrap();
                gate.wait();
            }
            fn Burst(&mut self) { std::panic::panic_any("as told".to_owned()) }
        }
    }
    impl Keyed for Hold {
        type Key = u64;
        fn key(&self) -> u64 {
            0
        }
    }
    impl Keyed for Burst {
        type Key = u64;
        fn key(&self) -> u64 {
            0
        }
    }
    everywhere(|| {
        let (pool, gate, (sends, receives)) =
            (Pool::by_key(1, || Doomed).start(), Gate::new(), green::channel::bounded(1));
        pool.tell(Hold(sends, gate.clone())).unwrap();
        let worker = receives.recv().unwrap();
        pool.tell(Burst).unwrap();
        until(|| pool.queued() == 0);
        let opens = green::spawn(move || {
            until(|| matches!(worker.try_tell(Burst), Err(SendError::Closed(_))));
            gate.open();
        });
        let end = pool.shutdown(LONG);
        opens.join().unwrap();
        assert_eq!((end.stopped, end.failed, end.killed, end.left), (1, 1, 0, 0), "{end}");
        assert!(!end.is_clean());
    });
}

#[test]
fn what_workers_had_in_their_queues_when_they_were_killed_is_lost() {
    struct Sleeper;
    impl Actor for Sleeper {
        const MAILBOX: Mailbox = Mailbox::bounded(20);
    }
    messages! {
        impl Sleeper {
            fn Nap(&mut self, begun: Gate) {
                begun.open();
                green::sleep(LONG);
            }
        }
    }
    impl Keyed for Nap {
        type Key = u64;
        fn key(&self) -> u64 {
            0
        }
    }
    everywhere(|| {
        let (pool, begun) = (Pool::by_key(1, || Sleeper).start(), Gate::new());
        pool.tell(Nap(begun.clone())).unwrap();
        begun.wait();
        (0..10).for_each(|_| pool.tell(Nap(Gate::new())).unwrap());
        let end = pool.shutdown(Duration::from_millis(5));
        assert_eq!((end.stopped + end.killed, end.left, end.lost), (2, 0, 10), "{end}");
        assert!(end.killed >= 1 && !end.is_clean(), "{end}");
    });
}

#[test]
fn a_kill_ends_the_workers_and_answers_every_asker() {
    everywhere(|| {
        let (count, begun) = (Arc::default(), Gate::new());
        let pool = Pool::shared(1, Lives::of(&count)).start();
        let handled = pool.call(Sleep(begun.clone())).unwrap();
        begun.wait();
        let in_hand = pool.call(Touch).unwrap();
        until(|| pool.queued() == 0);
        let queued = pool.call(Touch).unwrap();
        pool.kill();
        assert_eq!(pool.join(), Exit::Killed);
        assert_eq!(count.load(Ordering::SeqCst), 0);
        assert!(matches!(handled.wait(), Err(SendError::Died(Exit::Killed))));
        assert!(matches!(in_hand.wait(), Err(SendError::Died(Exit::Killed))));
        assert!(matches!(queued.wait(), Err(SendError::Closed(_))));
    });
}

#[test]
fn a_kill_reaches_the_workers_of_a_pool_that_waits_for_them_to_end() {
    everywhere(|| {
        for supervised in [false, true] {
            let (count, begun) = (Arc::default(), Gate::new());
            let lives = Arc::new(Lives::of(&count));
            let make = move || {
                let lives = Arc::clone(&lives);
                Pool::shared(1, move || lives())
            };
            let sup = Supervisor::one_for_one();
            let sup = if supervised { sup.child(Child::pool("pool", make.clone())) } else { sup }.start().unwrap();
            let pool = if supervised { sup.get("pool").unwrap() } else { make().start() };
            let sleeps = pool.call(Sleep(begun.clone())).unwrap();
            begun.wait();
            let first = count.load(Ordering::SeqCst);
            pool.stop_within(LONG);
            until(|| actors().iter().any(|actor| actor.id == pool.id() && actor.waits_for.is_some()));
            let since = Instant::now();
            pool.kill();
            assert!(matches!(sleeps.wait(), Err(SendError::Died(Exit::Killed))));
            if supervised {
                // It has another life, with another worker.
                until(|| {
                    sup.tree().find("pool").is_some_and(|pool| pool.restarts == 1 && pool.state == ChildState::Runs)
                });
                pool.send(Touch).unwrap();
                sup.shutdown(LONG);
            } else {
                assert_eq!(pool.join(), Exit::Shutdown, "as it was told first");
            }
            assert!(since.elapsed() < LONG / 2, "it was killed and not waited for");
            assert_eq!((first, count.load(Ordering::SeqCst)), (1, 0));
        }
    });
}

#[test]
fn a_pool_without_an_address_handles_what_is_queued_and_ends_with_its_workers() {
    everywhere(|| {
        let count = Arc::default();
        let pool = Pool::shared(3, Lives::of(&count)).start();
        let replies: Vec<_> = (0..20).map(|_| pool.call(Touch).unwrap()).collect();
        drop(pool);
        replies.into_iter().for_each(|reply| reply.wait().unwrap());
        until(|| count.load(Ordering::SeqCst) == 0);
    });
}

#[test]
fn too_many_deaths_of_workers_end_the_pool_and_name_the_worker() {
    everywhere(|| {
        let gate = Gate::new();
        let pool = Pool::shared(2, Hand::default).backoff(Backoff::none()).intensity(1, LONG);
        let pool = Builder::new().name("hands").start(pool).unwrap();
        for _ in 0..2 {
            let begun = Gate::new();
            pool.tell(Wait(0, begun.clone(), gate.clone())).unwrap();
            begun.wait();
        }
        let mut replies: Vec<_> = (0..2).map(|_| pool.call(Die(0, End::Panic)).unwrap()).collect();
        gate.open();
        // Meanwhile one may wait in the pool's hand.
        while let Ok(reply) = pool.call(Die(0, End::Panic)) {
            replies.push(reply);
        }
        for reply in replies {
            assert!(matches!(reply.wait(), Err(SendError::Died(_) | SendError::Closed(_))));
        }
        match pool.join() {
            Exit::Escalated { child, last } => {
                assert!(child.starts_with("hands "), "{child}");
                assert_eq!(*last, Exit::Panic("as told".to_owned()));
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_pool_whose_workers_do_not_start_ends_with_the_cause() {
    everywhere(|| {
        let pool = Pool::<Hand>::shared(2, || Err::<Hand, _>(Exit::Error("no hands".to_owned()))).start();
        let asked = pool.send(Handled(0));
        assert!(matches!(asked, Err(SendError::Closed(_))), "{asked:?}");
        match pool.join() {
            Exit::Escalated { child, last } => {
                assert_eq!((&*child, *last), ("worker 1", Exit::Error("no hands".to_owned())));
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_tree_shows_the_workers_below_their_pool() {
    everywhere(|| {
        let gate = Gate::new();
        let child = Child::pool("hands", || eager(Pool::shared(2, Hand::default)));
        let sup = Supervisor::one_for_one().child(child).start().unwrap();
        let pool = sup.get::<Pool<Hand>>("hands").unwrap();
        assert!(pool.send(Die(0, End::Panic)).is_err());
        until(|| {
            sup.tree().find("hands 1").is_some_and(|worker| worker.restarts == 1 && worker.state == ChildState::Runs)
        });
        for _ in 0..2 {
            pool.tell(Wait(0, Gate::new(), gate.clone())).unwrap();
        }
        pool.tell(Work(0, 1)).unwrap();
        until(|| sup.tree().find("hands").unwrap().waits_for == Some("worker"));
        pool.tell(Work(0, 1)).unwrap();
        let tree = sup.tree();
        let hands = tree.find("hands").unwrap();
        assert_eq!((hands.queued, hands.children.len()), (1, 2));
        assert_eq!(hands.children[1].name.as_deref(), Some("hands 2"));
        gate.open();
        let end = sup.shutdown(LONG);
        assert_eq!((end.stopped, end.killed, end.lost), (3, 0, 0), "{end}");
    });
}

#[test]
fn a_pool_that_is_started_again_keeps_its_address_and_its_queue() {
    everywhere(|| {
        let (record, gate) = (Record::default(), Gate::new());
        let hands = Hand::of(&record);
        let hands = Arc::new(hands);
        let make = move || {
            let hands = Arc::clone(&hands);
            Pool::shared(1, move || hands()).backoff(Backoff::none()).intensity(0, LONG)
        };
        let child = Child::pool("hands", make).backoff(Backoff::none());
        let sup = Supervisor::one_for_one().child(child).start().unwrap();
        let pool = sup.get::<Pool<Hand>>("hands").unwrap();
        let begun = Gate::new();
        pool.tell(Wait(0, begun.clone(), gate.clone())).unwrap();
        begun.wait();
        let dies = pool.call(Die(0, End::Panic)).unwrap();
        until(|| pool.queued() == 0);
        let queued: Vec<_> = (0..2).map(|number| pool.call(Work(0, number)).unwrap()).collect();
        gate.open();
        assert!(matches!(dies.wait(), Err(SendError::Died(Exit::Panic(_)))));
        // The first may be in the hand of the pool that ends.
        let replies: Vec<_> = queued.into_iter().map(|reply| reply.wait()).collect();
        assert!(matches!(replies[0], Ok(_) | Err(SendError::Died(Exit::Escalated { .. }))), "{replies:?}");
        assert!(replies[1].is_ok(), "{replies:?}");
        assert_eq!(sup.get::<Pool<Hand>>("hands").unwrap(), pool);
        assert_eq!(sup.tree().find("hands").unwrap().restarts, 1);
    });
}

#[test]
fn the_end_of_a_runtime_drains_its_pools() {
    for workers in [1, 2, 4] {
        bounded(move || {
            let (record, runtime) = (Record::default(), runtime(workers));
            let pool = Builder::new().runtime(&runtime).start(Pool::shared(2, Hand::of(&record))).unwrap();
            (0..50).for_each(|number| pool.tell(Work(0, number)).unwrap());
            let end = runtime.shutdown(LONG);
            assert!(end.is_clean(), "{end}");
            assert_eq!(end.stopped, 4, "the pool, two workers and their supervisor: {end}");
            assert_eq!(numbers(&record).len(), 50);
        });
    }
}

#[test]
fn a_pools_stopping_does_not_outlive_a_parent_that_is_in_a_hurry() {
    struct Slow;
    impl Actor for Slow {
        fn stopping(&mut self, _: &Exit, _: &mut Context<Self>) {
            green::sleep(Duration::from_millis(20));
        }
    }
    everywhere(|| {
        let pools = Supervisor::one_for_one()
            .child(Child::pool("slow", || Pool::shared(4, || Slow)).shutdown(Duration::ZERO))
            .start()
            .unwrap();
        let end = pools.shutdown(LONG);
        assert_eq!(end.left, 0, "{end}");
        assert!(pools.is_ended());
    });
}
