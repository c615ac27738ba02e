//! actix. A worker is an arbiter, and an actor stays on the one that it was started on: the system's own or, with two
//! workers, a second one, in turn. `do_send` has no bound, so that a sender yields now and then. An actor ends when its last
//! address is gone.

use std::sync::Arc;

use actix::{Actor, Addr, Arbiter, ArbiterHandle, Context, Handler, Message, System};
use tokio::task::yield_now;

use crate::{FAN, GATE, Job, NODES, Random, Work, is_time};

struct Add(u64);
struct Tick;
struct Get;
struct Others(Arc<[Addr<Node>]>);
struct Go;
struct Ping(usize);
struct Pong;

macro_rules! results {
    ($($message:ident -> $result:ty;)*) => {
        $(
            impl Message for $message {
                type Result = $result;
            }
        )*
    };
}
results! {
    Add -> ();
    Tick -> ();
    Get -> u64;
    Others -> ();
    Go -> ();
    Ping -> ();
    Pong -> ();
}

struct Counter(u64);
impl Actor for Counter {
    type Context = Context<Self>;
}
impl Handler<Add> for Counter {
    type Result = ();
    fn handle(&mut self, m: Add, _: &mut Context<Self>) {
        self.0 += m.0;
    }
}
impl Handler<Tick> for Counter {
    type Result = ();
    fn handle(&mut self, _: Tick, _: &mut Context<Self>) {
        self.0 += 1;
        GATE.arrive();
    }
}
impl Handler<Get> for Counter {
    type Result = u64;
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
    type Context = Context<Self>;
}
impl Node {
    fn go_on(&mut self) {
        if self.left == 0 {
            return GATE.bring(self.answered);
        }
        self.left -= 1;
        self.others[self.random.other(self.me)].do_send(Ping(self.me));
    }
}
impl Handler<Others> for Node {
    type Result = ();
    fn handle(&mut self, m: Others, _: &mut Context<Self>) {
        self.others = m.0;
    }
}
impl Handler<Go> for Node {
    type Result = ();
    fn handle(&mut self, _: Go, _: &mut Context<Self>) {
        self.go_on();
    }
}
impl Handler<Ping> for Node {
    type Result = ();
    fn handle(&mut self, m: Ping, _: &mut Context<Self>) {
        self.others[m.0].do_send(Pong);
    }
}
impl Handler<Pong> for Node {
    type Result = ();
    fn handle(&mut self, _: Pong, _: &mut Context<Self>) {
        self.answered += 1;
        self.go_on();
    }
}

struct Once(u64);
impl Actor for Once {
    type Context = Context<Self>;
}
impl Handler<Add> for Once {
    type Result = ();
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
    type Context = Context<Self>;
    fn started(&mut self, _: &mut Context<Self>) {
        GATE.arrive();
    }
}
impl Handler<Get> for Idle {
    type Result = u64;
    fn handle(&mut self, _: Get, _: &mut Context<Self>) -> u64 {
        self.0
    }
}

/// The arbiters, the system's own first. The list goes round for ever.
struct Arbiters(Vec<ArbiterHandle>);

impl Arbiters {
    fn new(workers: usize) -> Self {
        let more = (1..workers).map(|_| Arbiter::new().handle());
        Self(std::iter::once(Arbiter::current()).chain(more).collect())
    }

    fn nth(&self, n: u64) -> &ArbiterHandle {
        &self.0[n as usize % self.0.len()]
    }
}

pub fn run(job: Job) -> f64 {
    System::new().block_on(async move {
        let arbiters = Arbiters::new(job.workers);
        match job.work {
            Work::Tell { senders } => tell(job, &arbiters, senders).await,
            Work::Ask => ask(job).await,
            Work::FanOut => fan_out(job, &arbiters).await,
            Work::Big => big(job, &arbiters).await,
            Work::Create => create(job).await,
            Work::Idle => idle(job).await,
        }
    })
}

async fn tell(job: Job, arbiters: &Arbiters, senders: u64) -> f64 {
    let counter = Counter(0).start();
    GATE.shut(senders);
    let meter = job.start();
    for nth in 0..senders {
        let counter = counter.clone();
        arbiters.nth(nth).spawn(async move {
            for n in 0..job.count / senders {
                counter.do_send(Add(1));
                if is_time(n) {
                    yield_now().await;
                }
            }
            GATE.arrive();
        });
    }
    GATE.wait().await;
    assert_eq!(counter.send(Get).await.unwrap(), job.count);
    meter.each(job.count)
}

/// `start` puts the actor on the asker's arbiter, also when there is another. Across the two, each ask would wake two idle
/// cores: about 60 µs.
async fn ask(job: Job) -> f64 {
    let counter = Counter(1).start();
    let (mut sum, meter) = (0, job.start());
    for _ in 0..job.count {
        sum += counter.send(Get).await.unwrap();
    }
    assert_eq!(sum, job.count);
    meter.each(job.count)
}

async fn fan_out(job: Job, arbiters: &Arbiters) -> f64 {
    let start = |n| Counter::start_in_arbiter(arbiters.nth(n), |_| Counter(0));
    let actors: Vec<_> = (0..FAN).map(start).collect();
    let round = async || {
        GATE.shut(FAN);
        for (n, actor) in (0..).zip(&actors) {
            actor.do_send(Tick);
            if is_time(n) {
                yield_now().await;
            }
        }
        GATE.wait().await;
    };
    round().await; // All have started.
    let (rounds, meter) = (job.count / FAN, job.start());
    for _ in 0..rounds {
        round().await;
    }
    let each = meter.each(job.count);
    for actor in &actors {
        assert_eq!(actor.send(Get).await.unwrap(), rounds + 1);
    }
    each
}

async fn big(job: Job, arbiters: &Arbiters) -> f64 {
    let node = |me: u64| {
        let (left, random) = (job.count / NODES, Random::new(me + 1));
        let node = Node { me: me as usize, others: Arc::new([]), random, left, answered: 0 };
        Node::start_in_arbiter(arbiters.nth(me), |_| node)
    };
    let nodes: Arc<[_]> = (0..NODES).map(node).collect();
    for node in &nodes[..] {
        node.send(Others(nodes.clone())).await.unwrap();
    }
    GATE.shut(NODES);
    let meter = job.start();
    nodes.iter().for_each(|node| node.do_send(Go));
    assert_eq!(GATE.wait().await, job.count);
    meter.each(job.count)
}

async fn create(job: Job) -> f64 {
    GATE.shut(job.count);
    let meter = job.start();
    for n in 0..job.count {
        Once(0).start().do_send(Add(1));
        if is_time(n) {
            yield_now().await;
        }
    }
    assert_eq!(GATE.wait().await, job.count);
    meter.each(job.count)
}

async fn idle(job: Job) -> f64 {
    GATE.shut(job.count);
    let mut actors = Vec::with_capacity(job.count as usize);
    let meter = job.start();
    for n in 0..job.count {
        actors.push(Idle(n).start());
        if is_time(n) {
            yield_now().await;
        }
    }
    GATE.wait().await;
    let (each, mut sum) = (meter.each(job.count), 0);
    for actor in &actors {
        sum += actor.send(Get).await.unwrap();
    }
    assert_eq!(sum, job.count * (job.count - 1) / 2);
    each
}
