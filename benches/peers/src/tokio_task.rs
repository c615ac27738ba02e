//! A tokio task that owns a state and answers through a `oneshot`: what people write who use no actor library, as tokio's own
//! tutorial has it. The channels have a bound of 256; those of "big" have none, as in Savina. A task ends when its last sender
//! is gone.

use std::sync::Arc;

use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::yield_now;

use crate::{FAN, GATE, Job, NODES, Random, Work, in_tokio, is_time};

const BOUND: usize = 256;

enum Msg {
    Add(u64),
    Tick,
    Get(oneshot::Sender<u64>),
}

fn counter(mut n: u64) -> Sender<Msg> {
    let (sender, mut receiver) = channel(BOUND);
    tokio::spawn(async move {
        while let Some(msg) = receiver.recv().await {
            match msg {
                Msg::Add(more) => n += more,
                Msg::Tick => {
                    n += 1;
                    GATE.arrive();
                }
                Msg::Get(reply) => reply.send(n).unwrap(),
            }
        }
    });
    sender
}

async fn get<M>(actor: &Sender<M>, message: impl Fn(oneshot::Sender<u64>) -> M) -> u64 {
    let (sender, reply) = oneshot::channel();
    actor.send(message(sender)).await.ok().unwrap();
    reply.await.unwrap()
}

type Nodes = Arc<[UnboundedSender<NodeMsg>]>;

enum NodeMsg {
    Others(Nodes),
    Go,
    Ping(usize),
    Pong,
}

/// One of "big".
async fn node(me: usize, mut left: u64, mut receiver: UnboundedReceiver<NodeMsg>) {
    let mut others: Nodes = Arc::new([]);
    let (mut random, mut answered) = (Random::new(me as u64 + 1), 0);
    while let Some(msg) = receiver.recv().await {
        match msg {
            NodeMsg::Others(all) => {
                others = all;
                GATE.arrive();
                continue;
            }
            NodeMsg::Ping(from) => {
                others[from].send(NodeMsg::Pong).ok().unwrap();
                continue;
            }
            NodeMsg::Go => {}
            NodeMsg::Pong => answered += 1,
        }
        if left == 0 {
            GATE.bring(answered);
            continue;
        }
        left -= 1;
        others[random.other(me)].send(NodeMsg::Ping(me)).ok().unwrap();
    }
}

async fn once(mut receiver: Receiver<u64>) {
    let mut sum = 0;
    while let Some(more) = receiver.recv().await {
        sum += more;
    }
    GATE.bring(sum);
}

async fn resting(n: u64, mut receiver: Receiver<oneshot::Sender<u64>>) {
    GATE.arrive();
    while let Some(reply) = receiver.recv().await {
        reply.send(n).unwrap();
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
    let counter = counter(0);
    let meter = job.start();
    let send = |counter: Sender<Msg>| async move {
        for _ in 0..job.count / senders {
            counter.send(Msg::Add(1)).await.ok().unwrap();
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
    assert_eq!(get(&counter, Msg::Get).await, job.count);
    meter.each(job.count)
}

/// The asker is the first task; it spawns the other, and tokio puts that where it likes.
async fn ask(job: Job) -> f64 {
    let counter = counter(1);
    let (mut sum, meter) = (0, job.start());
    for _ in 0..job.count {
        sum += get(&counter, Msg::Get).await;
    }
    assert_eq!(sum, job.count);
    meter.each(job.count)
}

async fn fan_out(job: Job) -> f64 {
    let actors: Vec<_> = (0..FAN).map(|_| counter(0)).collect();
    let round = async || {
        GATE.shut(FAN);
        for actor in &actors {
            actor.send(Msg::Tick).await.ok().unwrap();
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
        assert_eq!(get(actor, Msg::Get).await, rounds + 1);
    }
    each
}

async fn big(job: Job) -> f64 {
    let start = |me: u64| {
        let (sender, receiver) = unbounded_channel();
        tokio::spawn(node(me as usize, job.count / NODES, receiver));
        sender
    };
    GATE.shut(NODES);
    let nodes: Nodes = (0..NODES).map(start).collect();
    for node in &nodes[..] {
        node.send(NodeMsg::Others(nodes.clone())).ok().unwrap();
    }
    GATE.wait().await;
    GATE.shut(NODES);
    let meter = job.start();
    for node in &nodes[..] {
        node.send(NodeMsg::Go).ok().unwrap();
    }
    assert_eq!(GATE.wait().await, job.count);
    meter.each(job.count)
}

async fn create(job: Job) -> f64 {
    GATE.shut(job.count);
    let meter = job.start();
    for n in 0..job.count {
        let (sender, receiver) = channel(BOUND);
        tokio::spawn(once(receiver));
        sender.send(1).await.unwrap();
        drop(sender);
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
        let (sender, receiver) = channel(BOUND);
        tokio::spawn(resting(n, receiver));
        actors.push(sender);
        if is_time(n) {
            yield_now().await;
        }
    }
    GATE.wait().await;
    let (each, mut sum) = (meter.each(job.count), 0);
    for actor in &actors {
        sum += get(actor, |reply| reply).await;
    }
    assert_eq!(sum, job.count * (job.count - 1) / 2);
    each
}
