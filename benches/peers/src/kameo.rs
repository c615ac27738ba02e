//! kameo, with mailboxes of its default bound of 64; those of "big" have none, as in Savina. An actor ends when its last
//! reference is gone. Its `tracing` is compiled out.

use std::sync::Arc;

use kameo::Actor;
use kameo::actor::{ActorRef, Spawn};
use kameo::error::Infallible;
use kameo::mailbox;
use kameo::message::{Context, Message};
use tokio::task::yield_now;

use crate::{FAN, GATE, Job, NODES, Random, Work, in_tokio, is_time};

struct Add(u64);
struct Tick;
struct Get;
struct Others(Arc<[ActorRef<Node>]>);
struct Go;
struct Ping(usize);
struct Pong;

/// An actor that is its own argument.
macro_rules! actor {
    ($($actor:ident)*) => {
        $(
            impl Actor for $actor {
                type Args = Self;
                type Error = Infallible;
                async fn on_start(this: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
                    Ok(this)
                }
            }
        )*
    };
}
actor!(Counter Node Once);

struct Counter(u64);
impl Message<Add> for Counter {
    type Reply = ();
    async fn handle(&mut self, m: Add, _: &mut Context<Self, ()>) {
        self.0 += m.0;
    }
}
impl Message<Tick> for Counter {
    type Reply = ();
    async fn handle(&mut self, _: Tick, _: &mut Context<Self, ()>) {
        self.0 += 1;
        GATE.arrive();
    }
}
impl Message<Get> for Counter {
    type Reply = u64;
    async fn handle(&mut self, _: Get, _: &mut Context<Self, u64>) -> u64 {
        self.0
    }
}

/// One of "big".
struct Node {
    me: usize,
    others: Arc<[ActorRef<Node>]>,
    random: Random,
    left: u64,
    answered: u64,
}
impl Node {
    async fn go_on(&mut self) {
        if self.left == 0 {
            return GATE.bring(self.answered);
        }
        self.left -= 1;
        self.others[self.random.other(self.me)].tell(Ping(self.me)).await.unwrap();
    }
}
impl Message<Others> for Node {
    type Reply = ();
    async fn handle(&mut self, m: Others, _: &mut Context<Self, ()>) {
        self.others = m.0;
    }
}
impl Message<Go> for Node {
    type Reply = ();
    async fn handle(&mut self, _: Go, _: &mut Context<Self, ()>) {
        self.go_on().await;
    }
}
impl Message<Ping> for Node {
    type Reply = ();
    async fn handle(&mut self, m: Ping, _: &mut Context<Self, ()>) {
        self.others[m.0].tell(Pong).await.unwrap();
    }
}
impl Message<Pong> for Node {
    type Reply = ();
    async fn handle(&mut self, _: Pong, _: &mut Context<Self, ()>) {
        self.answered += 1;
        self.go_on().await;
    }
}

struct Once(u64);
impl Message<Add> for Once {
    type Reply = ();
    async fn handle(&mut self, m: Add, _: &mut Context<Self, ()>) {
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
    type Args = Self;
    type Error = Infallible;
    async fn on_start(this: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        GATE.arrive();
        Ok(this)
    }
}
impl Message<Get> for Idle {
    type Reply = u64;
    async fn handle(&mut self, _: Get, _: &mut Context<Self, u64>) -> u64 {
        self.0
    }
}

pub fn run(job: Job) -> f64 {
    in_tokio(job, async move {
        match job.work {
            Work::Tell { senders } => tell(job, senders).await,
            Work::Ask => ask(job).await,
            Work::FanOut => fan_out(job).await,
            Work::Big => big(job).await,
            Work::Create => create(job).await,
            Work::Idle => idle(job).await,
        }
    })
}

async fn tell(job: Job, senders: u64) -> f64 {
    let counter = Counter::spawn(Counter(0));
    let meter = job.start();
    let send = |counter: ActorRef<Counter>| async move {
        for _ in 0..job.count / senders {
            counter.tell(Add(1)).await.unwrap();
        }
    };
    if senders == 1 {
        send(counter.clone()).await;
    } else {
        let tasks: Vec<_> = (0..senders).map(|_| tokio::spawn(send(counter.clone()))).collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
    assert_eq!(counter.ask(Get).await.unwrap(), job.count);
    meter.each(job.count)
}

/// The asker is the first task; tokio puts the actor's task where it likes.
async fn ask(job: Job) -> f64 {
    let counter = Counter::spawn(Counter(1));
    let (mut sum, meter) = (0, job.start());
    for _ in 0..job.count {
        sum += counter.ask(Get).await.unwrap();
    }
    assert_eq!(sum, job.count);
    meter.each(job.count)
}

async fn fan_out(job: Job) -> f64 {
    let actors: Vec<_> = (0..FAN).map(|_| Counter::spawn(Counter(0))).collect();
    let round = async || {
        GATE.shut(FAN);
        for actor in &actors {
            actor.tell(Tick).await.unwrap();
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
        assert_eq!(actor.ask(Get).await.unwrap(), rounds + 1);
    }
    each
}

async fn big(job: Job) -> f64 {
    let node = |me: u64| {
        let (me, random) = (me as usize, Random::new(me + 1));
        let node = Node { me, others: Arc::new([]), random, left: job.count / NODES, answered: 0 };
        Node::spawn_with_mailbox(node, mailbox::unbounded())
    };
    let nodes: Arc<[_]> = (0..NODES).map(node).collect();
    for node in &nodes[..] {
        node.ask(Others(nodes.clone())).await.unwrap();
    }
    GATE.shut(NODES);
    let meter = job.start();
    for node in &nodes[..] {
        node.tell(Go).await.unwrap();
    }
    assert_eq!(GATE.wait().await, job.count);
    meter.each(job.count)
}

async fn create(job: Job) -> f64 {
    GATE.shut(job.count);
    let meter = job.start();
    for n in 0..job.count {
        Once::spawn(Once(0)).tell(Add(1)).await.unwrap();
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
        actors.push(Idle::spawn(Idle(n)));
        if is_time(n) {
            yield_now().await;
        }
    }
    GATE.wait().await;
    let (each, mut sum) = (meter.each(job.count), 0);
    for actor in &actors {
        sum += actor.ask(Get).await.unwrap();
    }
    assert_eq!(sum, job.count * (job.count - 1) / 2);
    each
}
