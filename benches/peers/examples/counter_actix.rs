//! A counter in actix: as it is on the page on migration, src/actor/MIGRATING.md, so that it is compiled and run.

use actix::prelude::*;

struct Counter(i64);
impl Actor for Counter {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Add(i64);
impl Handler<Add> for Counter {
    type Result = ();
    fn handle(&mut self, m: Add, _: &mut Context<Self>) {
        self.0 += m.0;
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Double;
impl Handler<Double> for Counter {
    type Result = ();
    fn handle(&mut self, _: Double, _: &mut Context<Self>) {
        self.0 *= 2;
    }
}

#[derive(Message)]
#[rtype(result = "i64")]
struct Get;
impl Handler<Get> for Counter {
    type Result = i64;
    fn handle(&mut self, _: Get, _: &mut Context<Self>) -> i64 {
        self.0
    }
}

#[derive(Message)]
#[rtype(result = "i64")]
struct Take;
impl Handler<Take> for Counter {
    type Result = i64;
    fn handle(&mut self, _: Take, _: &mut Context<Self>) -> i64 {
        std::mem::take(&mut self.0)
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let counter = Counter(0).start();
    counter.do_send(Add(5));
    counter.do_send(Double);
    assert_eq!(counter.send(Get).await?, 10);
    assert_eq!(counter.send(Take).await?, 10);
    Ok(())
}
