//! Models of monitors and links: two actors that tie themselves to each other, take that back, and end, in every interleaving;
//! the very source file is included here. Loom says so, too, if a half is left behind: the two would keep each other.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub)]

mod model;

#[path = "../src/actor/engine/ties.rs"]
mod ties;

use std::ops::DerefMut;

use loom::sync::{Arc, Mutex};
use loom::thread;
use model::check;
use ties::{Party, Tie, Tied, Ties};

/// What the mail of an actor is to this protocol.
#[derive(Default)]
struct Mail {
    ties: Ties<Actor>,
    dead: bool,
    signals: Vec<Tie>,
    handled: Vec<Tie>,
}

#[derive(Clone)]
struct Actor(Arc<(u64, Mutex<Mail>)>);

impl Party for Actor {
    type Mailbox = Mail;

    fn number(&self) -> u64 {
        self.0.0
    }

    fn lock(&self) -> impl DerefMut<Target = Mail> {
        self.0.1.lock().unwrap()
    }
}

impl Tied<Actor> for Mail {
    fn ties(&mut self) -> Option<&mut Ties<Actor>> {
        (!self.dead).then_some(&mut self.ties)
    }
}

impl Actor {
    fn two() -> [Actor; 2] {
        [0, 1].map(|number| Actor(Arc::new((number, Mutex::default()))))
    }

    fn tie(&self, other: &Actor, tie: Tie) {
        if ties::tie(self, other, tie) {
            self.lock().signals.push(tie);
        }
    }

    fn link(&self, other: &Actor) {
        self.tie(other, Tie::Linked(other.number()));
    }

    fn unlink(&self, other: &Actor) {
        ties::untie(self, Tie::Linked(other.number()));
    }

    fn end(&self) {
        let ties = {
            let mut mail = self.lock();
            mail.dead = true;
            std::mem::take(&mut mail.ties)
        };
        for (tie, other) in ties.into_held() {
            let half = tie.other_half(self.number());
            let _ = ties::end(self.number(), tie, &other, |mail| mail.signals.push(half));
        }
    }

    /// Handles what is queued; how many signals there were in all.
    fn handle(&self) -> usize {
        let mut mail = self.lock();
        let mail = &mut *mail;
        for tie in mail.signals.drain(..) {
            if mail.ties.is_told(tie) {
                mail.handled.push(tie);
            }
        }
        mail.handled.len()
    }
}

/// The second does what it is told on a thread of its own, the first here.
fn race(first: impl FnOnce(&Actor, &Actor), second: impl FnOnce(&Actor, &Actor) + Send + 'static) -> [Actor; 2] {
    let actors = Actor::two();
    run(&actors, first, second);
    actors
}

fn run(actors: &[Actor; 2], first: impl FnOnce(&Actor, &Actor), second: impl FnOnce(&Actor, &Actor) + Send + 'static) {
    let [one, two] = actors;
    let (also_one, also_two) = (one.clone(), two.clone());
    let thread = thread::spawn(move || second(&also_two, &also_one));
    first(one, two);
    thread.join().unwrap();
}

#[test]
fn two_that_link_each_other_are_linked_once_and_the_survivor_is_told_once() {
    check(3, || {
        let [one, two] = race(Actor::link, |two, one| two.link(one));
        two.end();
        assert_eq!(one.handle(), 1);
        assert_eq!(two.handle(), 0);
    });
}

#[test]
fn a_link_that_races_with_the_end_of_either_side_tells_once() {
    check(3, || {
        let [one, _] = race(Actor::link, |two, one| {
            two.link(one);
            two.end();
        });
        assert_eq!(one.handle(), 1);
    });
}

#[test]
fn two_that_end_at_once_leave_nothing_behind() {
    check(3, || {
        race(
            |one, two| {
                one.link(two);
                one.tie(two, Tie::Watches(7));
                one.end();
            },
            |two, one| {
                two.link(one);
                two.end();
            },
        );
    });
}

#[test]
fn nothing_is_told_after_a_tie_was_taken_back() {
    check(3, || {
        let actors = Actor::two();
        actors[0].link(&actors[1]);
        actors[0].tie(&actors[1], Tie::Watches(7));
        let take_back = |one: &Actor, two: &Actor| {
            one.unlink(two);
            ties::untie(one, Tie::Watches(7));
            assert_eq!(one.handle(), 0);
        };
        run(&actors, take_back, |two, _| two.end());
        assert_eq!(actors[0].handle(), 0);
    });
}

#[test]
fn a_link_that_is_taken_back_and_made_again_tells_once() {
    check(3, || {
        let actors = Actor::two();
        actors[0].link(&actors[1]);
        let again = |one: &Actor, two: &Actor| {
            one.unlink(two);
            one.link(two);
        };
        run(&actors, again, |two, _| two.end());
        assert_eq!(actors[0].handle(), 1);
    });
}

#[test]
fn a_link_and_an_unlink_from_two_sides_end_with_both_halves_or_none() {
    check(3, || {
        let [one, two] = race(
            |one, two| {
                one.link(two);
                one.unlink(two);
            },
            |two, one| two.link(one),
        );
        let half = |actor: &Actor, other: &Actor| {
            let tie = Tie::Linked(other.number());
            let mut mail = actor.lock();
            let is_there = mail.ties.is_told(tie);
            drop(mail);
            is_there
        };
        assert_eq!(half(&one, &two), half(&two, &one));
    });
}
