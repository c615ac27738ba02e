//! Pools whose messages go to the worker of their key.

use std::collections::HashMap;
use std::time::Duration;

use green::actor::{Actor, Addr, Backoff, ByKey, Pool, SendError};

use crate::help::{Gate, Random, everywhere, on_workers, scaled, until};
use crate::{Die, ENDS, End, Hand, Handled, Record, Wait, Work, eager, numbers};

fn occupy(pool: &Addr<Pool<Hand, ByKey>>, key: u64, gate: &Gate) {
    let begun = Gate::new();
    pool.tell(Wait(key, begun.clone(), gate.clone())).unwrap();
    begun.wait();
}

/// Two keys of which the workers are different ones.
fn two_keys(pool: &Addr<Pool<Hand, ByKey>>) -> (u64, u64) {
    let worker = |key| pool.send(Work(key, 0)).unwrap();
    let first = worker(0);
    (0, (1..).find(|key| worker(*key) != first).unwrap())
}

#[test]
fn messages_of_one_key_are_handled_by_one_worker_in_order() {
    everywhere(|| {
        let record = Record::default();
        let pool = Pool::by_key(4, Hand::of(&record)).start();
        for number in 0..200 {
            pool.tell(Work(number % 10, number)).unwrap();
        }
        (0..10).for_each(|key| _ = pool.send(Handled(key)).unwrap());
        let mut by_key: HashMap<u64, Vec<_>> = HashMap::new();
        record.lock().unwrap().iter().for_each(|(worker, n)| by_key.entry(n % 10).or_default().push((*worker, *n)));
        assert_eq!(by_key.len(), 10);
        for handled in by_key.values() {
            assert!(handled.iter().all(|(worker, _)| *worker == handled[0].0));
            assert!(handled.is_sorted_by_key(|(_, number)| *number));
            assert_eq!(handled.len(), 20);
        }
    });
}

#[test]
fn a_key_stays_with_its_worker_and_in_order_over_restarts() {
    everywhere(|| {
        for how in ENDS {
            let (record, gate) = (Record::default(), Gate::new());
            let pool = eager(Pool::by_key(2, Hand::of(&record))).start();
            let worker = pool.send(Work(7, 0)).unwrap();
            occupy(&pool, 7, &gate);
            let dies = pool.call(Die(7, how)).unwrap();
            let rest: Vec<_> = (1..5)
                .map(|number| {
                    let pool = pool.clone();
                    if number == 1 {
                        gate.open();
                    }
                    pool.call(Work(7, number)).unwrap()
                })
                .collect();
            let _ = dies.wait();
            for reply in rest {
                assert_eq!(reply.wait().unwrap(), worker, "{how:?}");
            }
            assert_eq!(numbers(&record), [0, 1, 2, 3, 4], "{how:?}");
        }
    });
}

#[test]
fn what_is_queued_for_a_worker_waits_for_its_restart_and_others_go_on() {
    everywhere(|| {
        let (record, hour) = (Record::default(), Duration::from_secs(3600));
        let pool = Pool::by_key(2, Hand::of(&record)).backoff(Backoff::exponential(hour..=hour)).start();
        let (one, two) = two_keys(&pool);
        assert!(pool.send(Die(one, End::Panic)).is_err());
        let waits = pool.call(Work(one, 1)).unwrap();
        for number in 10..20 {
            pool.send(Work(two, number)).unwrap();
        }
        assert!(!waits.is_ready());
        pool.kill();
        assert!(waits.wait().is_err());
    });
}

#[test]
fn a_slow_key_does_not_hold_up_others_until_its_queue_is_full() {
    everywhere(|| {
        let (record, gate) = (Record::default(), Gate::new());
        let pool = Pool::by_key(2, Hand::of(&record)).start();
        let (one, two) = two_keys(&pool);
        // A worker has two messages: one that it handles, and one that waits.
        occupy(&pool, one, &gate);
        pool.tell(Work(one, 1)).unwrap();
        for number in 10..20 {
            pool.send(Work(two, number)).unwrap();
        }
        // One in the pool's hand, and two in its queue.
        pool.tell(Work(one, 2)).unwrap();
        until(|| pool.queued() == 0);
        pool.tell(Work(two, 3)).unwrap();
        pool.tell(Work(one, 4)).unwrap();
        assert!(matches!(pool.try_tell(Work(two, 5)), Err(SendError::Full(_))));
        gate.open();
        until(|| [1, 2, 3, 4].iter().all(|number| numbers(&record).contains(number)));
    });
}

#[test]
fn each_ask_by_key_is_answered_in_order_of_its_key_though_workers_die() {
    on_workers(|| {
        let record = Record::default();
        let pool = eager(Pool::by_key(3, Hand::of(&record))).start();
        let senders: Vec<_> = (0..4)
            .map(|key| {
                let pool = pool.clone();
                green::spawn(move || {
                    let mut random = Random::new(key + 1);
                    for number in 0..scaled(200) {
                        if random.below(8) == 0 {
                            let _ = pool.send(Die(key, ENDS[random.below(4) as usize]));
                        }
                        pool.tell(Work(key, key * 1000 + number)).unwrap();
                    }
                    pool.send(Handled(key)).unwrap();
                })
            })
            .collect();
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        for key in 0..4 {
            let of_key: Vec<_> = numbers(&record).into_iter().filter(|number| number / 1000 == key).collect();
            assert_eq!(of_key, (0..scaled(200)).map(|number| key * 1000 + number).collect::<Vec<_>>());
        }
    });
}
