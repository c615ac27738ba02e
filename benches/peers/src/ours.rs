//! Ours. Mailboxes have the default bound of 256, so that a sender waits by itself; those of "big" have none, as in Savina.

use std::sync::Arc;

use green::actor::{Actor, Addr, Context, Exit, Handler, Mailbox, Message};

use crate::{FAN, GATE, Job, NODES, Random, Work, is_time};

macro_rules! message {
    ($($name:ident $(($field:ty))? -> $reply:ty;)*) => {
        $(
            struct $name $(($field))?;
            impl Message for $name {
                type Reply = $reply;
            }
        )*
    };
}

message! {
    Add(u64) -> ();
    Tick -> ();
    Get -> u64;
    Others(Arc<[Addr<Node>]>) -> ();
    Go -> ();
    Ping(usize) -> ();
    Pong -> ();
}

struct Counter(u64);
impl Actor for Counter {}
impl Handler<Add> for Counter {
    fn handle(&mut self, m: Add, _: &mut Context<Self>) {
        self.0 += m.0;
    }
}
impl Handler<Tick> for Counter {
    fn handle(&mut self, _: Tick, _: &mut Context<Self>) {
        self.0 += 1;
        GATE.arrive();
    }
}
impl Handler<Get> for Counter {
    fn handle(&mut self, _: Get, _: &mut Context<Self>) -> u64 {
        self.0
    }
}

/// One of "big".
struct Node {
    me: usize,
    others: Arc<[Addr<Node>]>,
    random: Random,
    left: u64,
    answered: u64,
}
impl Actor for Node {
    const MAILBOX: Mailbox = Mailbox::unbounded();
}
impl Node {
    fn go_on(&mut self) {
        if self.left == 0 {
            return GATE.bring(self.answered);
        }
        self.left -= 1;
        self.others[self.random.other(self.me)].tell(Ping(self.me)).unwrap();
    }
}
impl Handler<Others> for Node {
    fn handle(&mut self, m: Others, _: &mut Context<Self>) {
        self.others = m.0;
    }
}
impl Handler<Go> for Node {
    fn handle(&mut self, _: Go, _: &mut Context<Self>) {
        self.go_on();
    }
}
impl Handler<Ping> for Node {
    fn handle(&mut self, m: Ping, _: &mut Context<Self>) {
        self.others[m.0].tell(Pong).unwrap();
    }
}
impl Handler<Pong> for Node {
    fn handle(&mut self, _: Pong, _: &mut Context<Self>) {
        self.answered += 1;
        self.go_on();
    }
}

/// Ends when its last address is gone.
struct Once(u64);
impl Actor for Once {}
impl Handler<Add> for Once {
    fn handle(&mut self, m: Add, _: &mut Context<Self>) {
        self.0 += m.0;
    }
}
impl Drop for Once {
    fn drop(&mut self) {
        GATE.bring(self.0);
    }
}

struct Idle(u64);
impl Actor for Idle {
    fn started(&mut self, _: &mut Context<Self>) -> Result<(), Exit> {
        GATE.arrive();
        Ok(())
    }
}
impl Handler<Get> for Idle {
    fn handle(&mut self, _: Get, _: &mut Context<Self>) -> u64 {
        self.0
    }
}

pub fn run(job: Job) -> f64 {
    let runtime = green::Runtime::builder().workers(job.workers).build().unwrap();
    runtime.run(|| match job.work {
        Work::Tell { senders } => tell(job, senders),
        Work::Ask => ask(job),
        Work::FanOut => fan_out(job),
        Work::Big => big(job),
        Work::Create => create(job),
        Work::Idle => idle(job),
    })
}

/// With senders on two workers every message takes the lock of the mailbox twice, and its cache line may come from the other core each time: so who finds that lock taken
/// again and again stays away for longer and longer (`base::spin`), and each sender brings in many messages in a row. A lane for each worker would cost the order: what is
/// told after a join, or under a lock, comes after what the other one has told.
fn tell(job: Job, senders: u64) -> f64 {
    let counter = Counter(0).start();
    let meter = job.start();
    let send = |counter: Addr<Counter>| (0..job.count / senders).for_each(|_| counter.tell(Add(1)).unwrap());
    if senders == 1 {
        send(counter.clone());
    } else {
        green::scope(|scope| (0..senders).for_each(|_| drop(scope.spawn(|| send(counter.clone())))));
    }
    assert_eq!(counter.send(Get).unwrap(), job.count);
    meter.each(job.count)
}

/// The asker is the first green thread; where the actor is handled is up to the runtime.
fn ask(job: Job) -> f64 {
    let counter = Counter(1).start();
    let meter = job.start();
    let sum: u64 = (0..job.count).map(|_| counter.send(Get).unwrap()).sum();
    assert_eq!(sum, job.count);
    meter.each(job.count)
}

fn fan_out(job: Job) -> f64 {
    let actors: Vec<_> = (0..FAN).map(|_| Counter(0).start()).collect();
    let round = || {
        GATE.shut(FAN);
        actors.iter().for_each(|actor| actor.tell(Tick).unwrap());
        green::block_on(GATE.wait());
    };
    round(); // All have started.
    let (rounds, meter) = (job.count / FAN, job.start());
    (0..rounds).for_each(|_| round());
    let each = meter.each(job.count);
    assert!(actors.iter().all(|actor| actor.send(Get).unwrap() == rounds + 1));
    each
}

fn big(job: Job) -> f64 {
    let node = |me: u64| {
        let (me, random) = (me as usize, Random::new(me + 1));
        Node { me, others: Arc::new([]), random, left: job.count / NODES, answered: 0 }.start()
    };
    let nodes: Arc<[_]> = (0..NODES).map(node).collect();
    nodes.iter().for_each(|node| node.send(Others(nodes.clone())).unwrap());
    GATE.shut(NODES);
    let meter = job.start();
    nodes.iter().for_each(|node| node.tell(Go).unwrap());
    assert_eq!(green::block_on(GATE.wait()), job.count);
    meter.each(job.count)
}

fn create(job: Job) -> f64 {
    GATE.shut(job.count);
    let meter = job.start();
    for n in 0..job.count {
        Once(0).start().tell(Add(1)).unwrap();
        if is_time(n) {
            green::yield_now();
        }
    }
    assert_eq!(green::block_on(GATE.wait()), job.count);
    meter.each(job.count)
}

fn idle(job: Job) -> f64 {
    GATE.shut(job.count);
    let mut actors = Vec::with_capacity(job.count as usize);
    let meter = job.start();
    for n in 0..job.count {
        actors.push(Idle(n).start());
        if is_time(n) {
            green::yield_now();
        }
    }
    green::block_on(GATE.wait());
    let each = meter.each(job.count);
    let sum: u64 = actors.iter().map(|actor| actor.send(Get).unwrap()).sum();
    assert_eq!(sum, job.count * (job.count - 1) / 2);
    each
}
