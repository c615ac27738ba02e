//! Trees in which children fail at random, alone and two at once, against a sequential model of OTP's rules.

use std::collections::HashSet;
use std::time::Duration;

use green::actor::{Addr, Backoff, Child, ChildState, Exit, Restart, Supervisor, SupervisorAddr, Tree};

use crate::help::{EMULATED, Random, bounded, cases, first_seed, runtime, until};
use crate::random::Strategy;
use crate::{End, Log, Puppet, puppet};

/// A supervisor of the model with its restarts that are borne, and that are still, and its children; or a child without any.
#[derive(Clone, Debug)]
struct Node {
    name: String,
    strategy: Strategy,
    borne: u32,
    left: u32,
    backoff: Backoff,
    /// Of a child without children: it is not started again after a normal end.
    is_transient: bool,
    /// It has had that, and no sibling's death has started it again.
    is_over: bool,
    children: Vec<Node>,
}

impl Node {
    /// With transient children, and the back-off of all of them.
    fn random(random: &mut Random, name: &str, depth: u32, has_transients: bool, backoff: Backoff) -> Self {
        let strategy = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne][random.below(3) as usize];
        let borne = random.below(4) as u32;
        let count = if depth == 0 { 0 } else { 1 + random.below(3) };
        let children = (0..count)
            .map(|n| {
                let depth = random.below(u64::from(depth)) as u32;
                Node::random(random, &format!("{name}.{n}"), depth, has_transients, backoff)
            })
            .collect::<Vec<_>>();
        let is_transient = has_transients && children.is_empty() && random.below(3) == 0;
        Self { name: name.to_owned(), strategy, borne, left: borne, backoff, is_transient, is_over: false, children }
    }

    fn describe(&self, log: &Log) -> Supervisor {
        let empty = match self.strategy {
            Strategy::OneForAll => Supervisor::one_for_all(),
            Strategy::RestForOne => Supervisor::rest_for_one(),
            _ => Supervisor::one_for_one(),
        };
        let empty = empty.backoff(self.backoff).intensity(self.borne, Duration::from_secs(86_400));
        self.children.iter().fold(empty, |supervisor, node| {
            let (inner, log) = (node.clone(), log.clone());
            match node.children[..] {
                [] if node.is_transient => supervisor.child(puppet(&node.name, &log).restart(Restart::Transient)),
                [] => supervisor.child(puppet(&node.name, &log)),
                _ => supervisor.child(Child::supervisor(&node.name, move || inner.describe(&log))),
            }
        })
    }

    fn start(&mut self, log: &mut Vec<String>) {
        (self.left, self.is_over) = (self.borne, false);
        if self.children.is_empty() {
            log.push(format!("+{}", self.name));
        }
        self.children.iter_mut().for_each(|child| child.start(log));
    }

    fn stop(&self, log: &mut Vec<String>) {
        self.children.iter().rev().for_each(|child| child.stop(log));
        if self.children.is_empty() && !self.is_over {
            log.push(format!("-{}", self.name));
        }
    }

    /// The way to a random child without children, by names.
    fn any_path(&self, random: &mut Random) -> Vec<String> {
        let (mut node, mut path) = (self, Vec::new());
        while !node.children.is_empty() {
            node = &node.children[random.below(node.children.len() as u64) as usize];
            path.push(node.name.clone());
        }
        path
    }

    fn is_over_at(&self, path: &[String]) -> bool {
        let [first, rest @ ..] = path else { return self.is_over };
        self.children.iter().any(|child| child.name == *first && child.is_over_at(rest))
    }

    /// The child at the end of that way ends so. True: and its supervisor hears of it, as of the end of this one.
    fn fail(&mut self, path: &[String], how: End, log: &mut Vec<String>) -> bool {
        let [first, rest @ ..] = path else {
            log.push(format!("-{}", self.name));
            self.is_over = self.is_transient && how == End::Quit;
            return !self.is_over;
        };
        let at = self.children.iter().position(|child| child.name == *first).expect("a way");
        if !self.children[at].fail(rest, how, log) {
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

/// Or have ended, and are not started again.
fn all_run(tree: &Tree) -> bool {
    let settled = |tree: &Tree| tree.state == ChildState::Runs || matches!(tree.state, ChildState::Ended(_));
    settled(tree) && tree.children.iter().all(all_run)
}

/// None, or a short one in a third of the cases.
fn backoff(seed: u64) -> Backoff {
    let ms = Duration::from_millis(1);
    if seed.is_multiple_of(3) { Backoff::exponential(ms..=3 * ms) } else { Backoff::none() }
}

fn at(sup: &SupervisorAddr, path: &[String]) -> Addr<Puppet> {
    let (last, path) = path.split_last().expect("the top has children");
    let team = path.iter().fold(sup.clone(), |sup, name| sup.supervisor(name).unwrap());
    team.get(last).unwrap()
}

fn any_end(random: &mut Random) -> End {
    [End::Panic, End::Fail, End::Quit][random.below(3) as usize]
}

fn tree_case(seed: u64) {
    let mut random = Random::new(seed);
    let (log, mut should) = (Log::default(), Vec::new());
    let mut model = Node::random(&mut random, "top", 3, true, backoff(seed));
    let sup = model.describe(&log).start().unwrap();
    model.start(&mut should);
    for _ in 0..20 {
        assert_eq!(log.take(), std::mem::take(&mut should), "seed {seed}, {model:?}");
        let (path, how) = (model.any_path(&mut random), any_end(&mut random));
        if model.is_over_at(&path) {
            continue;
        }
        let has_ended = model.fail(&path, how, &mut should);
        let _ = at(&sup, &path).send(how);
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
    for seed in first_seed()..first_seed() + u64::from(cases(60)) {
        println!("seed {seed}");
        bounded(move || runtime(1 + seed as usize % 2).run(move || tree_case(seed)));
    }
}

/// The children without children, in order.
fn leaves(tree: &Tree, into: &mut Vec<String>) {
    if tree.children.is_empty() {
        into.extend(tree.name.as_deref().map(str::to_owned));
    }
    tree.children.iter().for_each(|child| leaves(child, into));
}

/// Two fail at once, wherever they are: which supervisor hears of which first, and what of it is one restart, is open. What holds in any case is
/// that each life that has begun has an end before the next, that the tree is whole again, or that the top has given up, which it may only if it
/// would have where one failed after the other.
fn two_at_once(seed: u64) {
    let mut random = Random::new(seed);
    let log = Log::default();
    let mut model = Node::random(&mut random, "top", 3, false, backoff(seed));
    let sup = model.describe(&log).start().unwrap();
    model.start(&mut Vec::new());
    let mut expected = Vec::new();
    leaves(&sup.tree(), &mut expected);
    let paths = [model.any_path(&mut random), model.any_path(&mut random)];
    let may_end = [[0, 1], [1, 0]].into_iter().any(|order| {
        let mut model = model.clone();
        order.into_iter().any(|first| model.fail(&paths[first], End::Fail, &mut Vec::new()))
    });
    let both: Vec<_> = paths.iter().map(|path| (at(&sup, path), any_end(&mut random))).collect();
    let fall = both.into_iter().map(|(child, how)| green::spawn(move || _ = child.send(how)));
    fall.collect::<Vec<_>>().into_iter().for_each(|fall| fall.join().unwrap());
    // Both have been told; their supervisors may have to hear of it.
    let lives = || {
        let lines = log.0.lock().unwrap().clone();
        let begun = lines.iter().filter(|line| line.starts_with('+')).count();
        (begun, lines.len() - begun)
    };
    until(|| {
        let (begun, ended) = lives();
        sup.is_ended() || ended > 0 && begun - ended == expected.len() && all_run(&sup.tree())
    });
    // What comes late is seen.
    green::sleep(Duration::from_millis(if EMULATED { 50 } else { 1 }));
    until(|| sup.is_ended() || all_run(&sup.tree()));
    if sup.is_ended() {
        assert!(may_end, "seed {seed}: {model:?}");
        assert!(matches!(sup.join(), Exit::Escalated { .. }), "seed {seed}");
    } else {
        let mut is = Vec::new();
        leaves(&sup.tree(), &mut is);
        assert_eq!(is, expected, "seed {seed}");
        let end = sup.shutdown(crate::LONG);
        assert_eq!((end.failed, end.killed, end.left), (0, 0, 0), "seed {seed}");
    }
    let mut alive = HashSet::new();
    for line in log.take() {
        let is_new = line.starts_with('+');
        let changes = if is_new { alive.insert(line[1..].to_owned()) } else { alive.remove(&line[1..]) };
        assert!(changes, "seed {seed}: {line}");
    }
    assert!(alive.is_empty(), "seed {seed}: {alive:?}");
}

#[test]
fn two_failures_at_once_leave_a_tree_whole_or_climb_it() {
    for seed in first_seed()..first_seed() + u64::from(cases(200)) {
        println!("seed {seed}");
        bounded(move || runtime([1, 2, 4][seed as usize % 3]).run(move || two_at_once(seed)));
    }
}
