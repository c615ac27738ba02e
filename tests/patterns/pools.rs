//! Pools with one queue.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use green::actor::{
    Actor, Addr, Backoff, Builder, Exit, Handler, Mailbox, Message, Overflow, Pool, Recipient, SendError, dead_letters,
    messages,
};

use crate::help::{Gate, Random, everywhere, on_workers, scaled, until};
use crate::{Die, ENDS, End, Hand, Handled, LONG, Record, Wait, Work, eager, numbers};

fn work(number: u64) -> Work {
    Work(0, number)
}

/// Has a worker wait until the gate is opened.
fn occupy(pool: &Addr<Pool<Hand>>, gate: &Gate) {
    let begun = Gate::new();
    pool.tell(Wait(0, begun.clone(), gate.clone())).unwrap();
    begun.wait();
}

#[test]
fn no_message_waits_behind_a_slow_one_while_another_worker_is_free() {
    everywhere(|| {
        let (record, gate) = (Record::default(), Gate::new());
        let pool = Pool::shared(3, Hand::of(&record)).start();
        occupy(&pool, &gate);
        occupy(&pool, &gate);
        for number in 0..50 {
            pool.send(work(number)).unwrap();
        }
        assert_eq!(numbers(&record), (0..50).collect::<Vec<_>>());
        gate.open();
    });
}

#[test]
fn all_workers_work_at_once_and_no_more_than_all() {
    everywhere(|| {
        let gate = Gate::new();
        let pool = Pool::shared(4, Hand::default).start();
        let begun: Vec<_> = (0..5).map(|_| Gate::new()).collect();
        let wait = |begun: &Gate| Wait(0, begun.clone(), gate.clone());
        let pending: Vec<_> = begun.iter().map(|begun| pool.call(wait(begun)).unwrap()).collect();
        begun[..4].iter().for_each(Gate::wait);
        assert!(!begun[4].is_open());
        gate.open();
        let workers: Vec<_> = pending.into_iter().map(|reply| reply.wait().unwrap()).collect();
        assert_eq!(workers[..4].iter().collect::<HashSet<_>>().len(), 4);
    });
}

#[test]
fn messages_of_one_sender_are_taken_up_in_order() {
    everywhere(|| {
        let record = Record::default();
        let pool = Pool::shared(1, Hand::of(&record)).start();
        for number in 0..100 {
            if number % 3 == 0 {
                pool.send(work(number)).map(drop).unwrap();
            } else {
                pool.tell(work(number)).unwrap();
            }
        }
        pool.send(Handled(0)).unwrap();
        assert_eq!(numbers(&record), (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn the_asker_of_a_worker_that_dies_learns_the_cause_and_the_queue_survives() {
    everywhere(|| {
        let (record, gate) = (Record::default(), Gate::new());
        let pool = eager(Pool::shared(1, Hand::of(&record))).start();
        occupy(&pool, &gate);
        let dies = pool.call(Die(0, End::Panic)).unwrap();
        pool.tell(work(1)).unwrap();
        let last = pool.call(work(2)).unwrap();
        gate.open();
        match dies.wait() {
            Err(SendError::Died(Exit::Panic(text))) => assert_eq!(text, "as told"),
            other => panic!("{other:?}"),
        }
        last.wait().unwrap();
        assert_eq!(numbers(&record), [1, 2]);
        assert_eq!(pool.send(Handled(0)).unwrap(), 2, "by the next life");
    });
}

#[test]
fn a_worker_that_waits_for_its_restart_gets_nothing_while_another_is_free() {
    everywhere(|| {
        for how in ENDS {
            let (record, hour) = (Record::default(), Duration::from_secs(3600));
            let pool = Pool::shared(2, Hand::of(&record)).backoff(Backoff::exponential(hour..=hour)).start();
            let _ = pool.send(Die(0, how));
            let workers: HashSet<_> = (0..50).map(|number| pool.send(work(number)).unwrap()).collect();
            assert_eq!(workers.len(), 1, "{how:?}");
            assert_eq!(numbers(&record).len(), 50);
            pool.kill();
        }
    });
}

#[test]
fn a_worker_is_started_again_however_it_ends() {
    everywhere(|| {
        let pool = eager(Pool::shared(1, Hand::default)).start();
        for how in ENDS {
            for _ in 0..10 {
                let reply = pool.send(Die(0, how));
                assert_eq!(reply.is_ok(), matches!(how, End::Fail | End::Quit), "{how:?}: {reply:?}");
            }
        }
        assert_eq!(pool.send(Handled(0)).unwrap(), 0);
        assert!(!pool.is_ended());
    });
}

#[test]
fn the_queue_is_bounded_exactly_and_senders_wait_for_room() {
    everywhere(|| {
        let (record, gate) = (Record::default(), Gate::new());
        let pool = Pool::shared(1, Hand::of(&record)).start();
        occupy(&pool, &gate);
        // One in the pool's hand, and two in the queue.
        pool.tell(work(0)).unwrap();
        until(|| pool.queued() == 0);
        pool.tell(work(1)).unwrap();
        pool.tell(work(2)).unwrap();
        assert!(matches!(pool.try_tell(work(9)), Err(SendError::Full(_))));
        assert!(matches!(pool.tell_timeout(work(9), Duration::from_millis(1)), Err(SendError::Timeout(Some(_)))));
        let waits = green::spawn({
            let pool = pool.clone();
            move || pool.send(work(3)).map(drop).map_err(drop)
        });
        gate.open();
        waits.join().unwrap().unwrap();
        assert_eq!(numbers(&record), [0, 1, 2, 3]);
    });
}

#[test]
fn the_pools_mailbox_can_be_another_one() {
    everywhere(|| {
        let (record, gate) = (Record::default(), Gate::new());
        let mailbox = Mailbox::bounded(1).overflow(Overflow::DropOldest);
        let pool = Builder::new().mailbox(mailbox).start(Pool::shared(1, Hand::of(&record))).unwrap();
        occupy(&pool, &gate);
        pool.tell(work(0)).unwrap();
        until(|| pool.queued() == 0);
        for number in 1..10 {
            pool.tell(work(number)).unwrap();
        }
        gate.open();
        until(|| numbers(&record).len() == 2);
        assert_eq!(numbers(&record), [0, 9]);
    });
}

#[test]
fn workers_have_the_names_of_their_pool() {
    struct Who;
    impl Message for Who {
        type Reply = Option<String>;
    }
    impl Handler<Who> for Hand {
        fn handle(&mut self, _: Who, ctx: &mut green::actor::Context<Self>) -> Option<String> {
            ctx.addr().name().map(str::to_owned)
        }
    }
    everywhere(|| {
        let pool = Builder::new().name("hands").start(Pool::shared(1, Hand::default)).unwrap();
        assert_eq!(pool.send(Who).unwrap().as_deref(), Some("hands 1"));
    });
}

#[test]
fn a_pool_is_asked_through_a_recipient_and_with_a_deadline() {
    everywhere(|| {
        let gate = Gate::new();
        let pool = Pool::shared(1, Hand::default).start();
        let recipient: Recipient<Work> = pool.recipient();
        recipient.send(work(1)).unwrap();
        occupy(&pool, &gate);
        assert!(matches!(recipient.send_timeout(work(2), Duration::from_millis(1)), Err(SendError::Timeout(_))));
        gate.open();
        recipient.send(work(3)).unwrap();
    });
}

#[test]
fn a_worker_may_ask_its_own_pool_while_another_is_free() {
    struct Fib;
    impl Actor for Fib {
        const ASK_TIMEOUT: Duration = LONG;
    }
    messages! {
        impl Fib {
            fn Ask(&mut self, pool: Recipient<Ask>, depth: u32) -> u32 {
                if depth == 0 { 1 } else { 1 + pool.send(Ask(pool.clone(), depth - 1)).unwrap() }
            }
        }
    }
    everywhere(|| {
        let pool = Pool::shared(4, || Fib).start();
        assert_eq!(pool.send(Ask(pool.recipient(), 3)).unwrap(), 4);
    });
}

#[test]
fn workers_that_all_ask_their_own_pool_get_a_timeout() {
    struct Loops;
    impl Actor for Loops {
        const ASK_TIMEOUT: Duration = LONG;
    }
    messages! {
        impl Loops {
            fn Again(&mut self, pool: Recipient<Again>) -> bool {
                let again = Again(pool.clone());
                matches!(pool.send_timeout(again, Duration::from_millis(20)), Err(SendError::Timeout(_)))
            }
        }
    }
    everywhere(|| {
        let pool = Pool::shared(1, || Loops).start();
        assert!(pool.send(Again(pool.recipient())).unwrap());
        pool.kill();
    });
}

#[test]
fn a_cycle_through_a_pool_is_found_as_one_through_a_forwarder_is() {
    struct Asks(Option<Recipient<Turn>>);
    impl Actor for Asks {}
    messages! {
        impl Asks {
            fn Begin(&mut self) -> bool {
                // If both close it at the same instant, either may be told.
                matches!(self.0.as_ref().unwrap().send(Turn), Ok(true) | Err(SendError::Deadlock { .. }))
            }
            fn Set(&mut self, to: Recipient<Turn>) { self.0 = Some(to) }
        }
    }
    struct Back(Recipient<Begin>);
    impl Actor for Back {}
    messages! {
        impl Back {
            fn Turn(&mut self) -> bool { matches!(self.0.send(Begin), Err(SendError::Deadlock { .. })) }
        }
    }
    everywhere(|| {
        let asks = Asks(None).start();
        let back = asks.recipient();
        let pool = Pool::shared(2, move || Back(back.clone())).start();
        asks.send(Set(pool.recipient())).unwrap();
        assert!(asks.send(Begin).unwrap());
        asks.kill();
    });
}

#[test]
#[should_panic(expected = "a pool needs one worker at least")]
fn a_pool_of_no_workers_is_a_panic() {
    let _ = Pool::shared(0, Hand::default);
}

/// Whatever happens, each ask is answered, each message is handled at most once, and what was not answered by a death or a refusal
/// is handled.
#[test]
fn each_ask_of_a_pool_whose_workers_die_is_answered() {
    on_workers(|| {
        let (record, asked) = (Record::default(), Arc::new(AtomicUsize::new(0)));
        let pool = eager(Pool::shared(3, Hand::of(&record))).start();
        let senders: Vec<_> = (0..4)
            .map(|sender| {
                let (pool, asked) = (pool.clone(), Arc::clone(&asked));
                green::spawn(move || {
                    let mut random = Random::new(sender + 1);
                    for number in 0..scaled(200) {
                        match random.below(6) {
                            0 => {
                                let how = ENDS[random.below(4) as usize];
                                match pool.send(Die(0, how)) {
                                    Ok(_) => assert!(matches!(how, End::Fail | End::Quit)),
                                    Err(SendError::Died(_)) => {}
                                    Err(other) => panic!("{other:?}"),
                                }
                            }
                            1 => {
                                pool.tell(work(sender * 1000 + number)).unwrap();
                                asked.fetch_add(1, Ordering::Relaxed);
                            }
                            _ => {
                                pool.send(work(sender * 1000 + number)).unwrap();
                                asked.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                })
            })
            .collect();
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        until(|| record.lock().unwrap().len() == asked.load(Ordering::Relaxed));
        let mut all = numbers(&record);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), asked.load(Ordering::Relaxed));
    });
}

#[test]
fn a_sender_that_is_cancelled_leaves_the_pool_whole() {
    everywhere(|| {
        let (record, gate) = (Record::default(), Gate::new());
        let pool = Pool::shared(1, Hand::of(&record)).start();
        occupy(&pool, &gate);
        let asks: Vec<_> = (0..6)
            .map(|number| {
                let pool = pool.clone();
                green::spawn(move || drop(pool.send(work(number))))
            })
            .collect();
        until(|| pool.queued() == 2);
        for ask in asks {
            ask.cancel();
            assert!(ask.join().is_err());
        }
        gate.open();
        pool.send(work(100)).unwrap();
        let handled = numbers(&record);
        assert_eq!(handled.last(), Some(&100));
        assert!(handled.len() <= 2, "the one in the pool's hand, and the last: {handled:?}");
    });
}

#[test]
fn told_messages_that_no_worker_gets_are_dead_letters() {
    everywhere(|| {
        let gate = Gate::new();
        let (letters, received) = green::channel::unbounded();
        let subscriber = Recipient::from(letters);
        dead_letters().subscribe(&subscriber);
        let pool = Pool::shared(1, Hand::default).start();
        occupy(&pool, &gate);
        pool.tell(work(1)).unwrap();
        until(|| pool.queued() == 0);
        pool.tell(work(2)).unwrap();
        pool.kill();
        pool.join();
        let mut of_pool = received.iter().filter(|letter| letter.actor == pool.id());
        assert_eq!(of_pool.by_ref().take(2).count(), 2);
        gate.open();
    });
}
