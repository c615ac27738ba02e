//! Trees with random failures, against a sequential model of OTP's rules.

use std::time::Duration;

use green::actor::{Backoff, ChildError, ChildState, Exit, Restart, Supervisor, SupervisorAddr};

use crate::help::{Random, bounded, cases, runtime, until};
use crate::{End, Log, Puppet, puppet};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Strategy {
    OneForOne,
    OneForAll,
    RestForOne,
    Dynamic,
}

#[derive(Clone, Debug)]
struct Model {
    strategy: Strategy,
    /// Restarts that are borne still.
    borne: u32,
    /// In the order of their starts.
    children: Vec<ModelChild>,
    /// `+` and `-`, as they are to be written.
    log: Vec<String>,
    has_ended: bool,
}

#[derive(Clone, Debug)]
struct ModelChild {
    name: String,
    restart: Restart,
    runs: bool,
}

impl Model {
    fn start(&mut self, at: usize) {
        self.children[at].runs = true;
        self.log.push(format!("+{}", self.children[at].name));
    }

    fn stop(&mut self, at: usize) {
        if std::mem::take(&mut self.children[at].runs) {
            self.log.push(format!("-{}", self.children[at].name));
        }
    }

    fn is_forgotten(&self, at: usize) -> bool {
        self.children[at].restart == Restart::Temporary || self.strategy == Strategy::Dynamic
    }

    /// The child at that place has ended.
    fn ended(&mut self, at: usize, is_normal: bool) {
        self.stop(at);
        let due = match self.children[at].restart {
            Restart::Permanent => true,
            Restart::Transient => !is_normal,
            Restart::Temporary => false,
        };
        if !due {
            if self.is_forgotten(at) {
                self.children.remove(at);
            }
            return;
        }
        if self.borne == 0 {
            return self.end();
        }
        self.borne -= 1;
        let first = match self.strategy {
            Strategy::OneForOne | Strategy::Dynamic => return self.start(at),
            Strategy::OneForAll => 0,
            Strategy::RestForOne => at,
        };
        (first..self.children.len()).rev().for_each(|other| self.stop(other));
        let mut place = 0;
        self.children.retain(|child| {
            place += 1;
            place <= first || child.restart != Restart::Temporary
        });
        (first..self.children.len()).for_each(|other| self.start(other));
    }

    fn end(&mut self) {
        self.has_ended = true;
        if self.strategy == Strategy::Dynamic {
            // In no order.
            (0..self.children.len()).for_each(|at| self.stop(at));
        } else {
            (0..self.children.len()).rev().for_each(|at| self.stop(at));
        }
    }

    fn at(&self, name: &str) -> Option<usize> {
        self.children.iter().position(|child| child.name == name)
    }

    fn agrees(&self, sup: &SupervisorAddr) -> bool {
        if self.has_ended {
            return sup.is_ended();
        }
        let tree = sup.tree();
        tree.children.len() == self.children.len()
            && tree.children.iter().zip(&self.children).all(|(is, should)| {
                let state_agrees =
                    if should.runs { is.state == ChildState::Runs } else { matches!(is.state, ChildState::Ended(_)) };
                is.name.as_deref() == Some(&*should.name) && state_agrees
            })
    }
}

fn child(name: &str, restart: Restart, log: &Log) -> green::actor::Child<Puppet> {
    puppet(name, log).restart(restart)
}

/// One step, for both.
fn step(random: &mut Random, model: &mut Model, sup: &SupervisorAddr, log: &Log, fresh: &mut u32) {
    let restart = [Restart::Permanent, Restart::Transient, Restart::Temporary][random.below(3) as usize];
    let known = || model.children.iter().map(|child| child.name.clone());
    let names: Vec<_> = known().chain(["nobody".to_owned()]).collect();
    let name = &*names[random.below(names.len() as u64) as usize];
    let at = model.at(name);
    let unknown = || Err(ChildError::Unknown(name.into()));
    match random.below(8) {
        0..=3 => {
            let how = [End::Panic, End::Fail, End::Quit][random.below(3) as usize];
            let Some(at) = at.filter(|at| model.children[*at].runs) else { return };
            let _ = sup.get::<Puppet>(name).unwrap().send(how);
            model.ended(at, matches!(how, End::Quit));
        }
        4 => {
            *fresh += 1;
            let name = format!("new {fresh}");
            sup.start_child(child(&name, restart, log)).unwrap();
            model.children.push(ModelChild { name, restart, runs: false });
            model.start(model.children.len() - 1);
        }
        5 => match at {
            None => assert_eq!(sup.terminate(name), unknown()),
            Some(at) => {
                sup.terminate(name).unwrap();
                model.stop(at);
                if model.is_forgotten(at) {
                    model.children.remove(at);
                }
            }
        },
        6 => match at {
            None => assert_eq!(sup.restart(name), unknown()),
            Some(at) if model.children[at].runs => assert_eq!(sup.restart(name), Err(ChildError::Running(name.into()))),
            Some(at) => {
                sup.restart(name).unwrap();
                model.start(at);
            }
        },
        _ => match at {
            None => assert_eq!(sup.remove(name), unknown()),
            Some(at) if model.children[at].runs => assert_eq!(sup.remove(name), Err(ChildError::Running(name.into()))),
            Some(at) => {
                sup.remove(name).unwrap();
                model.children.remove(at);
            }
        },
    }
}

fn case(seed: u64) {
    let mut random = Random::new(seed);
    let strategies = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne, Strategy::Dynamic];
    let strategy = strategies[random.below(4) as usize];
    let borne = if random.below(3) == 0 { random.below(6) as u32 } else { 10_000 };
    let log = Log::default();
    let mut model = Model { strategy, borne, children: Vec::new(), log: Vec::new(), has_ended: false };
    let mut described = match strategy {
        Strategy::OneForOne => Supervisor::one_for_one(),
        Strategy::OneForAll => Supervisor::one_for_all(),
        Strategy::RestForOne => Supervisor::rest_for_one(),
        Strategy::Dynamic => Supervisor::dynamic(),
    };
    described = described.backoff(Backoff::none()).intensity(borne, Duration::from_secs(86_400));
    for n in 0..random.below(6) {
        let restart = [Restart::Permanent, Restart::Transient, Restart::Temporary][random.below(3) as usize];
        let name = format!("first {n}");
        described = described.child(child(&name, restart, &log));
        model.children.push(ModelChild { name, restart, runs: false });
        model.start(model.children.len() - 1);
    }
    let sup = described.start().unwrap();
    let mut fresh = 0;
    for _ in 0..30 {
        step(&mut random, &mut model, &sup, &log, &mut fresh);
        until(|| model.agrees(&sup) && log.len() == model.log.len());
        let (mut is, mut should) = (log.take(), std::mem::take(&mut model.log));
        if model.has_ended && strategy == Strategy::Dynamic {
            is.sort();
            should.sort();
        }
        assert_eq!(is, should, "seed {seed}, {model:?}");
        if model.has_ended {
            assert!(matches!(sup.join(), Exit::Escalated { .. }));
            return;
        }
    }
    model.end();
    let end = sup.shutdown(crate::LONG);
    assert_eq!((end.killed, end.left), (0, 0), "seed {seed}");
    let (mut is, mut should) = (log.take(), model.log);
    if strategy == Strategy::Dynamic {
        is.sort();
        should.sort();
    }
    assert_eq!(is, should, "seed {seed}");
}

#[test]
fn random_failures_leave_a_tree_as_the_rules_say() {
    let first = std::env::var("GREEN_SEED").ok().map(|text| text.parse().expect("GREEN_SEED is a number"));
    for seed in first.map_or(1..=u64::from(cases(60)), |seed| seed..=seed) {
        println!("seed {seed}");
        bounded(move || runtime(1 + seed as usize % 2).run(move || case(seed)));
    }
}

/// A supervisor of the model with its restarts that are borne, and that are still, and its children; or a child without any.
#[derive(Clone, Debug)]
struct Node {
    name: String,
    strategy: Strategy,
    borne: u32,
    left: u32,
    children: Vec<Node>,
}

impl Node {
    fn random(random: &mut Random, name: &str, depth: u32) -> Self {
        let strategy = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne][random.below(3) as usize];
        let borne = random.below(4) as u32;
        let count = if depth == 0 { 0 } else { 1 + random.below(3) };
        let children = (0..count)
            .map(|n| {
                let depth = random.below(u64::from(depth)) as u32;
                Node::random(random, &format!("{name}.{n}"), depth)
            })
            .collect();
        Self { name: name.to_owned(), strategy, borne, left: borne, children }
    }

    fn describe(&self, log: &Log) -> Supervisor {
        let empty = match self.strategy {
            Strategy::OneForAll => Supervisor::one_for_all(),
            Strategy::RestForOne => Supervisor::rest_for_one(),
            _ => Supervisor::one_for_one(),
        };
        let empty = empty.backoff(Backoff::none()).intensity(self.borne, Duration::from_secs(86_400));
        self.children.iter().fold(empty, |supervisor, node| {
            let (inner, log) = (node.clone(), log.clone());
            match node.children[..] {
                [] => supervisor.child(puppet(&node.name, &log)),
                _ => supervisor.child(green::actor::Child::supervisor(&node.name, move || inner.describe(&log))),
            }
        })
    }

    fn start(&mut self, log: &mut Vec<String>) {
        self.left = self.borne;
        if self.children.is_empty() {
            log.push(format!("+{}", self.name));
        }
        self.children.iter_mut().for_each(|child| child.start(log));
    }

    fn stop(&self, log: &mut Vec<String>) {
        self.children.iter().rev().for_each(|child| child.stop(log));
        if self.children.is_empty() {
            log.push(format!("-{}", self.name));
        }
    }

    /// A random child without children ends, from here on at the places that `path` gets. True: and this one with it.
    fn fail(&mut self, random: &mut Random, path: &mut Vec<String>, log: &mut Vec<String>) -> bool {
        if self.children.is_empty() {
            log.push(format!("-{}", self.name));
            return true;
        }
        let at = random.below(self.children.len() as u64) as usize;
        path.push(self.children[at].name.clone());
        if !self.children[at].fail(random, path, log) {
            return false;
        }
        let is_borne = self.left > 0;
        self.left = self.left.saturating_sub(1);
        let others = match self.strategy {
            _ if !is_borne => 0..self.children.len(),
            Strategy::OneForAll => 0..self.children.len(),
            Strategy::RestForOne => at..self.children.len(),
            _ => at..at + 1,
        };
        others.clone().rev().filter(|other| *other != at).for_each(|other| self.children[other].stop(log));
        if is_borne {
            self.children[others].iter_mut().for_each(|child| child.start(log));
        }
        !is_borne
    }
}

fn all_run(tree: &green::actor::Tree) -> bool {
    tree.state == ChildState::Runs && tree.children.iter().all(all_run)
}

fn tree_case(seed: u64) {
    let mut random = Random::new(seed);
    let (log, mut should) = (Log::default(), Vec::new());
    let mut model = Node::random(&mut random, "top", 3);
    let sup = model.describe(&log).start().unwrap();
    model.start(&mut should);
    for _ in 0..20 {
        assert_eq!(log.take(), std::mem::take(&mut should), "seed {seed}, {model:?}");
        let mut path = Vec::new();
        let how = [End::Panic, End::Fail, End::Quit][random.below(3) as usize];
        let has_ended = model.fail(&mut random, &mut path, &mut should);
        let last = path.pop().expect("the top has children");
        let team = path.iter().fold(sup.clone(), |sup, name| sup.supervisor(name).unwrap());
        let _ = team.get::<Puppet>(&last).unwrap().send(how);
        if has_ended {
            assert!(matches!(sup.join(), Exit::Escalated { .. }), "seed {seed}");
            assert_eq!(log.take(), should, "seed {seed}, {model:?}");
            return;
        }
        until(|| log.len() == should.len() && all_run(&sup.tree()));
    }
    log.take();
    let (end, mut should) = (sup.shutdown(crate::LONG), Vec::new());
    model.stop(&mut should);
    assert_eq!((end.killed, end.left, log.take()), (0, 0, should), "seed {seed}");
}

#[test]
fn random_failures_climb_a_tree_as_the_rules_say() {
    for seed in 1..=u64::from(cases(60)) {
        println!("seed {seed}");
        bounded(move || runtime(1 + seed as usize % 2).run(move || tree_case(seed)));
    }
}
