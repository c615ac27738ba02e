//! Cycles among actors that let messages of their own chain in: those that are real are told, and no others.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use green::actor::{Actor, ActorId, Addr, Context, Handler, Message, SendError};

use crate::help::{Spot, bounded, runtime, until};
use crate::{Do, Gate, LONG, Puppet, everywhere};

fn puppets<const N: usize>() -> [Addr<Puppet>; N] {
    std::array::from_fn(|_| Puppet::new().0.start())
}

/// A lets in what B may ask, and waits for B; C, for another client, waits for A; B, in the ask of A, lets in what C may ask.
#[test]
fn a_cycle_through_ones_own_caller_is_told_although_its_chain_is_let_in() {
    everywhere(|| {
        for reenters in [false, true] {
            let [a, b, c] = puppets();
            let c_waits = Spot::default();
            let (to_a, waits) = (a.clone(), c_waits.clone());
            let in_c = Do::new(move |_: &mut Puppet, _: &mut Context<Puppet>| {
                waits.mark();
                to_a.send_timeout(Do::new(|_, _| 1), LONG).is_ok()
            });
            let to_c = c.clone();
            let in_b = Do::new(move |puppet: &mut Puppet, ctx: &mut Context<Puppet>| {
                until(|| c_waits.waits_for() == Some("reply"));
                let nothing = Do::new(|_: &mut Puppet, _: &mut Context<Puppet>| ());
                let answer = if reenters { ctx.reenter(puppet).send(&to_c, nothing) } else { to_c.send(nothing) };
                matches!(answer, Err(SendError::Deadlock { msg: Some(_), cycle }) if cycle.len() == 3)
            });
            let to_c = c.clone();
            let in_a = Do::new(move |puppet: &mut Puppet, ctx: &mut Context<Puppet>| {
                to_c.tell(Do::new(move |puppet, ctx| assert!((in_c.0)(puppet, ctx)))).unwrap();
                // If the last ask meets the look of another asker, any of the three may be told.
                match ctx.reenter(puppet).send(&b, in_b) {
                    Err(SendError::Deadlock { cycle, .. }) => cycle.len() == 3,
                    answer => answer.unwrap(),
                }
            });
            let start = Instant::now();
            assert!(a.send_timeout(in_a, LONG).unwrap());
            assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
            assert!(c.send_timeout(Do::new(|_, _| true), LONG).unwrap());
        }
    });
}

/// T handles a message of A's chain; A asks B, which forwards that to T, where it is queued; then T, which lets the chain in, asks A.
#[test]
fn a_cycle_through_an_ask_that_was_forwarded_behind_others_is_told_although_its_chain_is_let_in_later() {
    everywhere(|| {
        let [a, b, t] = puppets();
        let nothing = || Do::new(|_: &mut Puppet, _: &mut Context<Puppet>| ());
        let (forwarded, to_a) = (Gate::new(), a.clone());
        let until = forwarded.clone();
        let in_t = Do::new(move |puppet: &mut Puppet, ctx: &mut Context<Puppet>| {
            until.wait();
            green::sleep(Duration::from_millis(2));
            let answer = ctx.reenter(puppet).send(&to_a, nothing());
            matches!(answer, Err(SendError::Deadlock { msg: Some(_), cycle }) if cycle.len() == 2)
        });
        let to_t = t.recipient();
        let in_b = Do::new(move |_: &mut Puppet, ctx: &mut Context<Puppet>| {
            ctx.forward(&to_t, nothing()).unwrap();
            forwarded.open();
        });
        let in_a = Do::new(move |puppet: &mut Puppet, ctx: &mut Context<Puppet>| {
            ctx.reenter(puppet).send(&b, nothing()).unwrap(); // From now on the messages are of one chain.
            let pending = t.call(in_t).unwrap();
            b.send(in_b).unwrap();
            pending.wait().unwrap()
        });
        let start = Instant::now();
        assert!(a.send_timeout(in_a, LONG).unwrap());
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    });
}

/// A lets in what B may ask. B has C and D ask A, and answers before A, whose worker is taken, goes on: A's handler ends, and what was let in queues. In the ask of C, A
/// lets the chain in again and asks D, whose ask it does not take out of its queue.
#[test]
fn a_cycle_through_an_ask_that_was_let_in_and_queues_after_all_is_told_although_its_chain_is_let_in_again() {
    fn nothing() -> Do<()> {
        Do::new(|_, _| ())
    }
    let ways: [fn(&Addr<Puppet>, &Spot); 4] = [
        |a, waits| {
            waits.mark();
            a.send(nothing()).unwrap();
        },
        |a, waits| {
            waits.mark();
            a.call(nothing()).unwrap().wait().unwrap();
        },
        // Too large for an asker's stack.
        |a, waits| {
            waits.mark();
            assert_eq!(a.send(Do::new(|_, _| [7_u8; 2048])).unwrap(), [7; 2048]);
        },
        |a, waits| {
            let ([between], to, forwarded) = (puppets(), a.recipient(), Gate::new());
            let is = forwarded.clone();
            let forwards = move |_: &mut Puppet, ctx: &mut Context<Puppet>| {
                ctx.forward(&to, nothing()).unwrap();
                is.open();
            };
            let pending = between.call(Do::new(forwards)).unwrap();
            forwarded.wait();
            waits.mark();
            pending.wait().unwrap();
        },
    ];
    for asks in ways {
        bounded(move || falls_back(asks));
    }
}

fn falls_back(asks: fn(&Addr<Puppet>, &Spot)) {
    let runtime = runtime(1);
    let a = runtime.run(|| Puppet::new().0.start());
    let [b, c, d] = puppets();
    let [c_waits, d_waits] = [Spot::default(), Spot::default()];
    let [taken, answers, free] = [Gate::new(), Gate::new(), Gate::new()];

    let (to_a, waits, to_d) = (a.clone(), c_waits.clone(), d.clone());
    let in_c = Do::new(move |_: &mut Puppet, _: &mut Context<Puppet>| {
        waits.mark();
        let asks_d = move |puppet: &mut Puppet, ctx: &mut Context<Puppet>| match ctx
            .reenter(puppet)
            .send(&to_d, Do::new(|_, _| ()))
        {
            Err(SendError::Deadlock { msg: Some(_), cycle }) => format!("a cycle of {}", cycle.len()),
            answer => format!("{:?}", answer.map_err(|error| error.to_string())),
        };
        to_a.send(Do::new(asks_d)).unwrap()
    });
    let (to_a, waits) = (a.clone(), d_waits.clone());
    let in_d = Do::new(move |_: &mut Puppet, _: &mut Context<Puppet>| asks(&to_a, &waits));
    let (has, is_taken) = (answers.clone(), taken.clone());
    let in_b = Do::new(move |_: &mut Puppet, _: &mut Context<Puppet>| {
        is_taken.wait();
        let of_c = c.call(in_c).unwrap();
        until(|| c_waits.waits_for() == Some("reply"));
        let of_d = d.call(in_d).unwrap();
        until(|| d_waits.waits_for() == Some("reply"));
        has.open();
        (of_c, of_d)
    });
    let (to_b, until_free) = (b.clone(), free.clone());
    let in_a = Do::new(move |puppet: &mut Puppet, ctx: &mut Context<Puppet>| {
        let takes = move || {
            taken.open();
            while !until_free.is_open() {
                std::thread::yield_now(); // The worker's.
            }
        };
        drop(green::spawn(takes));
        ctx.reenter(puppet).send(&to_b, in_b).unwrap()
    });

    let start = Instant::now();
    let of_a = a.call(in_a).unwrap();
    answers.wait();
    b.send(Do::new(|_, _| ())).unwrap(); // So B has answered.
    free.open();
    let (of_c, of_d) = of_a.wait().unwrap();
    assert_eq!(of_c.wait().unwrap(), "a cycle of 2");
    of_d.wait().unwrap();
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

/// What the actors of a random run wait for, as they themselves say.
#[derive(Default)]
struct Model {
    /// For each actor: its waits, the innermost last.
    waits: HashMap<ActorId, Vec<Waits>>,
    started: HashSet<u64>,
    /// Plans of which an ask was told of a cycle when its handler had started: there one does not follow the other any more.
    split: HashSet<u64>,
    /// For each wait that was told of a cycle: from whom to whom, and when (by the numbers of asks).
    told: HashMap<(ActorId, ActorId), u64>,
}

#[derive(Clone, Copy, Debug)]
struct Waits {
    to: ActorId,
    ask: u64,
    plan: u64,
    reenters: bool,
}

impl Model {
    /// Does everybody of `cycle` wait for the next, for an ask that nobody will let in? The first of `cycle` has waited since
    /// `since`: those who were told of a cycle in that time are taken at their word, whatever they have asked after it.
    fn is_real(&self, cycle: &[ActorId], since: u64) -> bool {
        let was_told = |at, next| self.told.get(&(at, next)).is_some_and(|&when| when > since);
        cycle.iter().zip(cycle.iter().cycle().skip(1)).all(|(at, next)| {
            let last = |actor: &ActorId| self.waits.get(actor).and_then(|waits| waits.last());
            if was_told(*at, *next) || self.told.keys().any(|&(told, of)| told == *next && was_told(told, of)) {
                return true;
            }
            let Some(waits) = last(at).filter(|waits| waits.to == *next) else { return false };
            let lets_in = last(next).is_some_and(|target| target.reenters && target.plan == waits.plan);
            !lets_in || self.started.contains(&waits.ask) || self.split.contains(&waits.plan)
        })
    }
}

struct Node {
    others: Vec<Addr<Node>>,
    model: Arc<Mutex<Model>>,
}
impl Actor for Node {}

struct Meet(Vec<Addr<Node>>);
impl Message for Meet {
    type Reply = ();
}
impl Handler<Meet> for Node {
    fn handle(&mut self, m: Meet, _: &mut Context<Self>) {
        self.others = m.0;
    }
}

/// One of the asks that a client's ask leads to. The reply says how many were told of a cycle.
struct Go {
    ask: u64,
    plan: u64,
    depth: u32,
    random: u64,
}
impl Message for Go {
    type Reply = Result<u32, String>;
}

fn fresh() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random >> 16
}

impl Handler<Go> for Node {
    fn handle(&mut self, m: Go, ctx: &mut Context<Self>) -> Result<u32, String> {
        let (me, mut random) = (ctx.id(), m.random);
        self.model.lock().unwrap().started.insert(m.ask);
        let mut told = 0;
        for _ in 0..if m.depth == 0 { 0 } else { next(&mut random) % 3 } {
            let to = self.others[next(&mut random) as usize % self.others.len()].clone();
            let how = next(&mut random) % 4;
            let (ask, reenters) = (fresh(), how < 2);
            let waits = Waits { to: to.id(), ask, plan: m.plan, reenters };
            {
                let mut model = self.model.lock().unwrap();
                model.waits.entry(me).or_default().push(waits);
            }
            let go = Go { ask, plan: m.plan, depth: m.depth - 1, random: next(&mut random) | 1 };
            let answer = match how {
                0 | 1 => ctx.reenter(self).send(&to, go),
                2 => to.send(go),
                _ => to.call(go).and_then(|reply| reply.wait()),
            };
            let mut model = self.model.lock().unwrap();
            let answer = match answer {
                Ok(answer) => answer,
                Err(SendError::Deadlock { msg, cycle }) => {
                    if msg.is_none() {
                        model.split.insert(m.plan);
                    }
                    let real = cycle.first() == Some(&me) && model.is_real(&cycle, ask);
                    model.told.insert((me, to.id()), fresh());
                    if real {
                        Ok(1)
                    } else {
                        let waits: Vec<_> = cycle.iter().map(|id| model.waits.get(id)).collect();
                        Err(format!("{me} was told of a cycle that is none, {how}: {cycle:?}, {waits:?}"))
                    }
                }
                Err(error) => Err(format!("{me} to {}, {how}: {error}", to.id())),
            };
            model.waits.get_mut(&me).unwrap().pop();
            drop(model);
            told += answer?;
        }
        Ok(told)
    }
}

#[test]
fn random_asks_among_actors_that_let_their_chains_in_neither_hang_nor_are_told_of_cycles_that_are_none() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5eed_u64);
    println!("SEED={seed}");
    everywhere(move || {
        for len in 1..5 {
            let model = Arc::<Mutex<Model>>::default();
            let nodes: Vec<_> =
                (0..len).map(|_| Node { others: Vec::new(), model: Arc::clone(&model) }.start()).collect();
            nodes.iter().for_each(|node| node.send(Meet(nodes.clone())).unwrap());
            let clients: Vec<_> = (0..4_u64)
                .map(|client| {
                    let nodes = nodes.clone();
                    green::spawn(move || {
                        let mut random = seed.wrapping_mul(2 * client + 1) | 1;
                        (0..crate::help::scaled(200)).try_fold(0, |told, _| {
                            let at = next(&mut random) as usize % nodes.len();
                            let go = Go { ask: fresh(), plan: fresh(), depth: 4, random: next(&mut random) | 1 };
                            // A client's ask is no actor's: it may queue behind others for long.
                            let answer = nodes[at].send_timeout(go, LONG).map_err(|error| error.to_string())?;
                            answer.map(|more| told + more)
                        })
                    })
                })
                .collect();
            for client in clients {
                if let Err(error) = client.join().unwrap() {
                    panic!("{len} actors: {error}");
                }
            }
            nodes.iter().for_each(Addr::kill);
        }
    });
}
