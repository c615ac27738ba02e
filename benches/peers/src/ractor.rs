//! ractor. Its mailboxes have no bound, so that a sender yields now and then. An actor ends when it stops itself. `spawn` runs
//! `pre_start` in the caller's task; `spawn_instant` would make a second task for it.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, call};
use tokio::task::yield_now;

use crate::{FAN, GATE, Job, NODES, Random, Work, in_tokio, is_time};

type Handled = Result<(), ActorProcessingErr>;

struct Counter;
enum Msg {
    Add(u64),
    Tick,
    Get(RpcReplyPort<u64>),
}
impl Actor for Counter {
    type Msg = Msg;
    type State = u64;
    type Arguments = u64;
    async fn pre_start(&self, _: ActorRef<Msg>, n: u64) -> Result<u64, ActorProcessingErr> {
        Ok(n)
    }
    async fn handle(&self, _: ActorRef<Msg>, m: Msg, n: &mut u64) -> Handled {
        match m {
            Msg::Add(more) => *n += more,
            Msg::Tick => {
                *n += 1;
                GATE.arrive();
            }
            Msg::Get(port) => port.send(*n)?,
        }
        Ok(())
    }
}

/// One of "big".
struct Node;
struct NodeState {
    me: usize,
    others: Arc<[ActorRef<NodeMsg>]>,
    random: Random,
    left: u64,
    answered: u64,
}
enum NodeMsg {
    Others(Arc<[ActorRef<NodeMsg>]>, RpcReplyPort<()>),
    Go,
    Ping(usize),
    Pong,
}
impl NodeState {
    fn go_on(&mut self) -> Handled {
        if self.left == 0 {
            GATE.bring(self.answered);
            return Ok(());
        }
        self.left -= 1;
        Ok(self.others[self.random.other(self.me)].cast(NodeMsg::Ping(self.me))?)
    }
}
impl Actor for Node {
    type Msg = NodeMsg;
    type State = NodeState;
    type Arguments = NodeState;
    async fn pre_start(&self, _: ActorRef<NodeMsg>, state: NodeState) -> Result<NodeState, ActorProcessingErr> {
        Ok(state)
    }
    async fn handle(&self, _: ActorRef<NodeMsg>, m: NodeMsg, state: &mut NodeState) -> Handled {
        match m {
            NodeMsg::Others(others, port) => {
                state.others = others;
                port.send(())?;
                Ok(())
            }
            NodeMsg::Go => state.go_on(),
            NodeMsg::Ping(from) => Ok(state.others[from].cast(NodeMsg::Pong)?),
            NodeMsg::Pong => {
                state.answered += 1;
                state.go_on()
            }
        }
    }
}

struct Once;
struct Sum(u64);
impl Drop for Sum {
    fn drop(&mut self) {
        GATE.bring(self.0);
    }
}
impl Actor for Once {
    type Msg = u64;
    type State = Sum;
    type Arguments = ();
    async fn pre_start(&self, _: ActorRef<u64>, (): ()) -> Result<Sum, ActorProcessingErr> {
        Ok(Sum(0))
    }
    async fn handle(&self, me: ActorRef<u64>, more: u64, sum: &mut Sum) -> Handled {
        sum.0 += more;
        me.stop(None);
        Ok(())
    }
}

struct Idle;
impl Actor for Idle {
    type Msg = RpcReplyPort<u64>;
    type State = u64;
    type Arguments = u64;
    async fn pre_start(&self, _: ActorRef<Self::Msg>, n: u64) -> Result<u64, ActorProcessingErr> {
        Ok(n)
    }
    async fn post_start(&self, _: ActorRef<Self::Msg>, _: &mut u64) -> Handled {
        GATE.arrive();
        Ok(())
    }
    async fn handle(&self, _: ActorRef<Self::Msg>, port: Self::Msg, n: &mut u64) -> Handled {
        Ok(port.send(*n)?)
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

async fn counter(n: u64) -> ActorRef<Msg> {
    Actor::spawn(None, Counter, n).await.unwrap().0
}

async fn tell(job: Job, senders: u64) -> f64 {
    let counter = counter(0).await;
    let meter = job.start();
    let send = |counter: ActorRef<Msg>| async move {
        for n in 0..job.count / senders {
            counter.cast(Msg::Add(1)).unwrap();
            if is_time(n) {
                yield_now().await;
            }
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
    assert_eq!(call!(counter, Msg::Get).unwrap(), job.count);
    meter.each(job.count)
}

/// The asker is the first task; tokio puts the actor's task where it likes.
async fn ask(job: Job) -> f64 {
    let counter = counter(1).await;
    let (mut sum, meter) = (0, job.start());
    for _ in 0..job.count {
        sum += call!(counter, Msg::Get).unwrap();
    }
    assert_eq!(sum, job.count);
    meter.each(job.count)
}

async fn fan_out(job: Job) -> f64 {
    let mut actors = Vec::new();
    for _ in 0..FAN {
        actors.push(counter(0).await);
    }
    let round = async || {
        GATE.shut(FAN);
        for (n, actor) in (0..).zip(&actors) {
            actor.cast(Msg::Tick).unwrap();
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
        assert_eq!(call!(actor, Msg::Get).unwrap(), rounds + 1);
    }
    each
}

async fn big(job: Job) -> f64 {
    let mut nodes = Vec::new();
    for me in 0..NODES {
        let (me, random) = (me as usize, Random::new(me + 1));
        let state = NodeState { me, others: Arc::new([]), random, left: job.count / NODES, answered: 0 };
        nodes.push(Actor::spawn(None, Node, state).await.unwrap().0);
    }
    let nodes: Arc<[_]> = nodes.into();
    for node in &nodes[..] {
        call!(node, |port| NodeMsg::Others(nodes.clone(), port)).unwrap();
    }
    GATE.shut(NODES);
    let meter = job.start();
    for node in &nodes[..] {
        node.cast(NodeMsg::Go).unwrap();
    }
    assert_eq!(GATE.wait().await, job.count);
    meter.each(job.count)
}

async fn create(job: Job) -> f64 {
    GATE.shut(job.count);
    let meter = job.start();
    for n in 0..job.count {
        Actor::spawn(None, Once, ()).await.unwrap().0.cast(1).unwrap();
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
        actors.push(Actor::spawn(None, Idle, n).await.unwrap().0);
        if is_time(n) {
            yield_now().await;
        }
    }
    GATE.wait().await;
    let (each, mut sum) = (meter.each(job.count), 0);
    for actor in &actors {
        sum += call!(actor, |port| port).unwrap();
    }
    assert_eq!(sum, job.count * (job.count - 1) / 2);
    each
}
