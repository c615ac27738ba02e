//! What an actor costs: a tell, an ask, the same of a supervised one, a start, an idle one. One worker, so that nothing but our own work is measured.
//!
//! `cargo bench -p green-benches --bench actor [tell|supervised_tell|ask|supervised_ask|actor_ask|spawn|idle] [count]`
#![allow(missing_docs)]

use std::time::Instant;

use green::actor::{Actor, Addr, Child, Context, Handler, Message, Supervisor};

#[derive(Default)]
struct Counter(u64);
impl Actor for Counter {}

struct Add(u64);
impl Message for Add {
    type Reply = ();
}
impl Handler<Add> for Counter {
    fn handle(&mut self, m: Add, _: &mut Context<Self>) {
        self.0 += m.0;
    }
}

struct Get;
impl Message for Get {
    type Reply = u64;
}
impl Handler<Get> for Counter {
    fn handle(&mut self, _: Get, _: &mut Context<Self>) -> u64 {
        self.0
    }
}

/// Asks another actor so many times.
struct Asker(Addr<Counter>);
impl Actor for Asker {
    const ASK_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(3600);
}
struct Go(u64);
impl Message for Go {
    type Reply = u64;
}
impl Handler<Go> for Asker {
    fn handle(&mut self, m: Go, _: &mut Context<Self>) -> u64 {
        (0..m.0).map(|_| self.0.send(Get).unwrap()).sum()
    }
}

fn report(what: &str, count: u64, start: Instant) {
    println!("{what}: {:.1} ns", start.elapsed().as_nanos() as f64 / count as f64);
}

fn tell_to(counter: &Addr<Counter>, what: &str, count: u64) {
    let start = Instant::now();
    for _ in 0..count {
        counter.tell(Add(1)).unwrap();
    }
    assert_eq!(counter.send(Get).unwrap(), count);
    report(what, count, start);
}

fn ask_of(counter: &Addr<Counter>, what: &str, count: u64) {
    counter.send(Add(1)).unwrap();
    let start = Instant::now();
    let sum: u64 = (0..count).map(|_| counter.send(Get).unwrap()).sum();
    assert_eq!(sum, count);
    report(what, count, start);
}

fn tell(count: u64) {
    tell_to(&Counter::default().start(), "tell", count);
}

fn ask(count: u64) {
    ask_of(&Counter::default().start(), "ask", count);
}

fn supervised(f: impl FnOnce(&Addr<Counter>)) {
    let sup = Supervisor::one_for_one().child(Child::new("counter", Counter::default)).start().unwrap();
    f(&sup.get("counter").unwrap());
}

fn supervised_tell(count: u64) {
    supervised(|counter| tell_to(counter, "tell a supervised one", count));
}

fn supervised_ask(count: u64) {
    supervised(|counter| ask_of(counter, "ask a supervised one", count));
}

fn actor_ask(count: u64) {
    let asker = Asker(Counter(1).start()).start();
    let start = Instant::now();
    assert_eq!(asker.send(Go(count)).unwrap(), count);
    report("ask from an actor", count, start);
}

fn spawn(count: u64) {
    let start = Instant::now();
    let actors: Vec<_> = (0..count).map(|n| Counter(n).start()).collect();
    let last = actors.last().unwrap();
    assert_eq!(last.send(Get).unwrap(), count - 1);
    report("spawn", count, start);
    let start = Instant::now();
    drop(actors);
    report("end", count, start);
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn idle(count: u64) {
    let mut actors = Vec::with_capacity(count as usize);
    let before = resident();
    let start = Instant::now();
    actors.extend((0..count).map(|n| Counter(n).start()));
    for actor in &actors {
        actor.tell(Add(1)).unwrap();
    }
    let sum: u64 = actors.iter().map(|actor| actor.send(Get).unwrap()).sum();
    assert_eq!(sum, count * (count + 1) / 2);
    report("start, one tell, one ask", count, start);
    println!("an idle actor: {} bytes, its state of 8 and its address of 8 included", (resident() - before) / count);
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let what = args.next().unwrap_or_default();
    let count = args.next().and_then(|count| count.parse().ok());
    let runtime = green::Runtime::builder().workers(1).build().unwrap();
    runtime.run(move || {
        let run = |name: &str, default: u64, f: fn(u64)| {
            if what.is_empty() || what == name {
                f(count.unwrap_or(default));
            }
        };
        run("tell", 3_000_000, tell);
        run("supervised_tell", 3_000_000, supervised_tell);
        run("ask", 2_000_000, ask);
        run("supervised_ask", 2_000_000, supervised_ask);
        run("actor_ask", 2_000_000, actor_ask);
        run("spawn", 100_000, spawn);
        run("idle", 1_000_000, idle);
    });
}
