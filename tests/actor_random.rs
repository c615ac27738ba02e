//! Random programs of actors, each driven against a simple sequential model. A failure prints the smallest program that fails.
#![allow(missing_docs)]

mod help;

use green::actor::{Actor, Addr, Builder, Context, Exit, Handler, Mailbox, Message, SendError};
use help::cases;
use proptest::prelude::*;

const ACTORS: usize = 4;

/// A list of numbers, and the others.
#[derive(Default)]
struct Node {
    items: Vec<u32>,
    peers: Vec<Addr<Node>>,
    shut: bool,
}
impl Actor for Node {}

struct Peers(Vec<Addr<Node>>);
impl Message for Peers {
    type Reply = ();
}
impl Handler<Peers> for Node {
    fn handle(&mut self, m: Peers, _: &mut Context<Self>) {
        self.peers = m.0;
    }
}

/// Appends; the reply is how many there are.
struct Push(u32);
impl Message for Push {
    type Reply = usize;
}
impl Handler<Push> for Node {
    fn handle(&mut self, m: Push, ctx: &mut Context<Self>) -> usize {
        if self.shut {
            ctx.stash(m).unwrap();
            return 0;
        }
        self.items.push(m.0);
        self.items.len()
    }
}

struct Items;
impl Message for Items {
    type Reply = Vec<u32>;
}
impl Handler<Items> for Node {
    fn handle(&mut self, _: Items, _: &mut Context<Self>) -> Vec<u32> {
        self.items.clone()
    }
}

/// Has the actor ask along a path for what the last one on it has. `None`: somebody was told of a deadlock, or has ended.
struct Along {
    path: Vec<usize>,
    reenters: bool,
}
impl Message for Along {
    type Reply = Option<Vec<u32>>;
}
impl Handler<Along> for Node {
    fn handle(&mut self, mut m: Along, ctx: &mut Context<Self>) -> Option<Vec<u32>> {
        let Some(next) = m.path.pop() else { return Some(self.items.clone()) };
        let next = self.peers[next].clone();
        if m.reenters { ctx.reenter(self).send(&next, m) } else { next.send(m) }.ok().flatten()
    }
}

struct Shut(bool);
impl Message for Shut {
    type Reply = ();
}
impl Handler<Shut> for Node {
    fn handle(&mut self, m: Shut, ctx: &mut Context<Self>) {
        self.shut = m.0;
        if !m.0 {
            ctx.unstash();
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Tell(usize, u32),
    Ask(usize, u32),
    Call(usize, u32),
    Look(usize),
    Along(usize, Vec<usize>, bool),
    Shut(usize),
    Open(usize),
    Stop(usize),
    Kill(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let at = 0..ACTORS;
    prop_oneof![
        6 => (at.clone(), 0..100_u32).prop_map(|(at, n)| Op::Tell(at, n)),
        3 => (at.clone(), 0..100_u32).prop_map(|(at, n)| Op::Ask(at, n)),
        3 => (at.clone(), 0..100_u32).prop_map(|(at, n)| Op::Call(at, n)),
        3 => at.clone().prop_map(Op::Look),
        3 => (at.clone(), prop::collection::vec(0..ACTORS, 0..6), any::<bool>())
            .prop_map(|(at, path, reenters)| Op::Along(at, path, reenters)),
        1 => at.clone().prop_map(Op::Shut),
        2 => at.clone().prop_map(Op::Open),
        1 => at.clone().prop_map(Op::Stop),
        1 => at.prop_map(Op::Kill),
    ]
}

/// What the actors should be.
#[derive(Clone, Default, Debug)]
struct Model {
    items: Vec<u32>,
    stash: Vec<u32>,
    shut: bool,
    ended: bool,
}

impl Model {
    fn push(&mut self, n: u32) {
        if self.shut { self.stash.push(n) } else { self.items.push(n) }
    }
}

/// What `Along` answers: an actor on the path twice is a deadlock, unless all lend themselves.
fn along(models: &[Model], first: usize, path: &[usize], reenters: bool) -> Option<Vec<u32>> {
    let mut waiting = vec![first];
    for next in path.iter().rev() {
        let known = waiting.contains(next) && !reenters;
        if known || models[*next].ended {
            return None;
        }
        waiting.push(*next);
    }
    Some(models[*waiting.last()?].items.clone())
}

fn run(program: &[Op]) {
    let actors: Vec<_> = (0..ACTORS).map(|_| Node::default().start()).collect();
    for actor in &actors {
        actor.send(Peers(actors.clone())).unwrap();
    }
    let mut models = vec![Model::default(); ACTORS];
    for op in program {
        match op.clone() {
            Op::Tell(at, n) => {
                assert_eq!(actors[at].tell(Push(n)).is_err(), models[at].ended);
                models[at].push(n);
            }
            Op::Ask(at, n) if models[at].ended => {
                let Err(SendError::Closed(back)) = actors[at].send(Push(n)) else { panic!("it has ended") };
                assert_eq!(back.into_inner().0, n);
            }
            // An ask of one that is shut would wait for its end.
            Op::Ask(at, n) if !models[at].shut => {
                models[at].push(n);
                assert_eq!(actors[at].send(Push(n)).unwrap(), models[at].items.len());
            }
            Op::Ask(..) => {}
            Op::Call(at, n) => {
                assert_eq!(actors[at].call(Push(n)).map(drop).is_err(), models[at].ended);
                models[at].push(n);
            }
            Op::Look(at) => match actors[at].send(Items) {
                Ok(items) => assert_eq!(items, models[at].items),
                Err(_) => assert!(models[at].ended),
            },
            Op::Along(at, path, reenters) => {
                let answer = actors[at].send(Along { path: path.clone(), reenters });
                match answer {
                    Ok(answer) => assert_eq!(answer, along(&models, at, &path, reenters)),
                    Err(_) => assert!(models[at].ended),
                }
            }
            Op::Shut(at) => {
                assert_eq!(actors[at].send(Shut(true)).is_err(), models[at].ended);
                models[at].shut = true;
            }
            Op::Open(at) => {
                assert_eq!(actors[at].send(Shut(false)).is_err(), models[at].ended);
                models[at].shut = false;
                let stash = std::mem::take(&mut models[at].stash);
                models[at].items.extend(stash);
            }
            Op::Stop(at) | Op::Kill(at) => {
                let kills = matches!(op, Op::Kill(_));
                if kills {
                    actors[at].kill()
                } else {
                    actors[at].stop()
                }
                let exit = actors[at].join();
                if !models[at].ended {
                    assert_eq!(exit, if kills { Exit::Killed } else { Exit::Shutdown });
                }
                models[at].ended = true;
            }
        }
    }
    actors.iter().for_each(Addr::kill);
}

/// Several senders at once: each one's messages stay in order, and none is lost or doubled.
fn run_together(senders: &[Vec<(usize, u8)>], capacity: usize) {
    let mailbox = Mailbox::bounded(capacity);
    let actors: Vec<_> = (0..ACTORS).map(|_| Builder::new().mailbox(mailbox).start(Node::default()).unwrap()).collect();
    green::scope(|s| {
        for (sender, messages) in senders.iter().enumerate() {
            let actors = &actors;
            s.spawn(move || {
                for (n, (to, kind)) in messages.iter().enumerate() {
                    let push = Push((sender * 1000 + n) as u32);
                    match kind % 3 {
                        0 => actors[*to].tell(push).unwrap(),
                        1 => assert!(actors[*to].send(push).unwrap() > 0),
                        _ => drop(actors[*to].call(push).unwrap()),
                    }
                }
            });
        }
    });
    for (at, actor) in actors.iter().enumerate() {
        let items = actor.send(Items).unwrap();
        let sent = |messages: &[(usize, u8)]| messages.iter().filter(|(to, _)| *to == at).count();
        assert_eq!(items.len(), senders.iter().map(|messages| sent(messages)).sum::<usize>());
        for sender in 0..senders.len() as u32 {
            let own: Vec<_> = items.iter().filter(|item| **item / 1000 == sender).collect();
            assert!(own.is_sorted(), "{own:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(100), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_random_program_does_what_the_model_says(program in prop::collection::vec(op(), 0..60), workers in 0..3_usize) {
        match workers {
            0 => run(&program),
            _ => help::builder().workers(workers).build().unwrap().run(|| run(&program)),
        }
    }

    #[test]
    fn random_senders_lose_nothing_and_stay_in_order(
        senders in prop::collection::vec(prop::collection::vec((0..ACTORS, any::<u8>()), 0..60), 1..5),
        capacity in 1..5_usize,
        workers in 1..3_usize,
    ) {
        help::builder().workers(workers).build().unwrap().run(|| run_together(&senders, capacity));
    }
}
