//! Actors: what a user writes, and the guarantees.
#![allow(missing_docs)]

use green::actor::{Actor, Context, Handler, Message, SendError};

struct Counter(i64);
impl Actor for Counter {}
struct Add(i64);
impl Message for Add {
    type Reply = ();
}
struct Get;
impl Message for Get {
    type Reply = i64;
}
impl Handler<Add> for Counter {
    fn handle(&mut self, m: Add, _: &mut Context<Self>) {
        self.0 += m.0;
    }
}
impl Handler<Get> for Counter {
    fn handle(&mut self, _: Get, _: &mut Context<Self>) -> i64 {
        self.0
    }
}

#[test]
fn an_actor_counts() {
    let counter = Counter(0).start();
    for i in 0..10_000 {
        counter.tell(Add(i)).unwrap();
    }
    assert_eq!(counter.send(Get).unwrap(), 49_995_000);
    counter.stop();
    counter.join();
    assert!(matches!(counter.send(Get), Err(SendError::Closed(Get))));
}

#[test]
fn an_actor_counts_green() {
    green::run(|| {
        let counter = Counter(0).start();
        for i in 0..10_000 {
            counter.tell(Add(i)).unwrap();
        }
        for _ in 0..1000 {
            assert_eq!(counter.send(Get).unwrap(), 49_995_000);
        }
    });
}
