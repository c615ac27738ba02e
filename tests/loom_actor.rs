//! Models of the actor layer: who queues an actor, and the edges of the wait-for graph. Loom tries every
//! interleaving; the very source files are included here.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports)]

mod model;

mod actor {
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) struct ActorId(pub(crate) u64);

    /// No model has names.
    #[derive(Debug)]
    pub(crate) struct Cycle(Vec<ActorId>);

    impl Cycle {
        pub(crate) fn new(members: impl Iterator<Item = (ActorId, Option<Box<str>>)>) -> Self {
            Self(members.map(|(id, _)| id).collect())
        }
    }
}

#[path = "../src/actor/engine/busy.rs"]
mod busy;
#[path = "../src/actor/engine/edge.rs"]
mod edge;
#[path = "../src/actor/engine/walk.rs"]
mod walk;

/// What an actor is to the walk.
mod cell {
    use std::sync::atomic::{AtomicBool, Ordering};

    use loom::cell::UnsafeCell;
    use loom::sync::Arc;

    use crate::actor::ActorId;
    use crate::edge::{Edge, Mark};

    pub(crate) struct Core {
        pub(crate) edge: Edge<Core>,
        /// Written when it is freed.
        pub(crate) gone: UnsafeCell<bool>,
        /// Its wait was interrupted. For the model itself: no step of the protocol looks here.
        pub(crate) interrupted: AtomicBool,
    }

    // SAFETY: loom checks `gone`.
    unsafe impl Sync for Core {}
    // SAFETY: as above.
    unsafe impl Send for Core {}

    impl Core {
        pub(crate) fn new() -> Arc<Self> {
            let (gone, interrupted) = (UnsafeCell::new(false), AtomicBool::new(false));
            Arc::new(Self { edge: Edge::new(), gone, interrupted })
        }

        pub(crate) fn id(&self) -> ActorId {
            ActorId(std::ptr::from_ref(self).addr() as u64)
        }

        pub(crate) fn member(&self) -> (ActorId, Option<Box<str>>) {
            (self.id(), None)
        }

        pub(crate) fn interrupt(&self) {
            self.interrupted.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) struct EdgeWalk;

    impl EdgeWalk {
        pub(crate) fn begin() -> Self {
            EdgeWalk
        }

        pub(crate) fn follow<'a>(&'a self, at: &'a Core) -> Option<(&'a Core, Mark)> {
            let (to, mark) = at.edge.follow()?;
            // SAFETY: the actors of these models outlive the threads.
            Some((unsafe { &*to }, mark))
        }
    }
}

use base::atomic::AtomicU32;
use busy::Busy;
use cell::Core;
use edge::{Edge, How, Walkers};
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};
use loom::thread;
use model::prelude::base;
use model::{check, spawn_with};
use walk::{EdgeGuard, closes_cycle};

/// What a task header is to this protocol: touched by one run at a time, and handed from run to run.
struct Header(UnsafeCell<u32>);

// SAFETY: loom checks that nobody touches it at the same time as another; that is what the model is about.
unsafe impl Sync for Header {}

struct Actor {
    mail: Mutex<(Vec<u32>, Busy)>,
    header: Header,
    handled: std::sync::Mutex<Vec<u32>>,
}

impl Actor {
    /// Steps S1 to S5; the sender runs the actor itself, as some worker would.
    fn send(&self, message: u32) {
        let launch = {
            let mut mail = self.mail.lock().unwrap();
            mail.0.push(message);
            mail.1.mark_busy()
        };
        if launch.is_some() {
            self.run();
        }
    }

    fn run(&self) {
        loop {
            // The run, and step R1.
            self.header.0.with_mut(|runs| {
                // SAFETY: as loom checks.
                unsafe { *runs += 1 };
            });
            while let Some(message) = {
                let mut mail = self.mail.lock().unwrap();
                (!mail.0.is_empty()).then(|| mail.0.remove(0))
            } {
                self.handled.lock().unwrap().push(message);
            }
            let mut mail = self.mail.lock().unwrap();
            let more = !mail.0.is_empty();
            if !mail.1.rest(more) {
                return;
            }
        }
    }
}

#[test]
fn no_message_stays_behind_and_no_two_runs_meet() {
    check(3, || {
        let mut fresh = Busy::new();
        assert!(!fresh.rest(false));
        let actor = Arc::new(Actor {
            mail: Mutex::new((Vec::new(), fresh)),
            header: Header(UnsafeCell::new(0)),
            handled: std::sync::Mutex::new(Vec::new()),
        });
        let other = spawn_with(&actor, move |actor| {
            actor.send(1);
            actor.send(2);
        });
        actor.send(3);
        other.join().unwrap();
        let mut handled = actor.handled.lock().unwrap().clone();
        let order: Vec<_> = handled.iter().filter(|message| **message < 3).copied().collect();
        assert_eq!(order, [1, 2], "of one sender, in order");
        handled.sort_unstable();
        assert_eq!(handled, [1, 2, 3]);
    });
}

#[test]
fn of_two_that_close_a_cycle_at_once_one_at_least_sees_it() {
    check(4, || {
        let (a, b) = (Core::new(), Core::new());
        let thread = {
            let (a, b) = (a.clone(), b.clone());
            thread::spawn(move || {
                b.edge.set(&*a, How::PLAIN);
                let told = closes_cycle(&b, &a).is_some();
                if told {
                    b.edge.clear();
                }
                told
            })
        };
        a.edge.set(&*b, How::PLAIN);
        let told = closes_cycle(&a, &b).is_some();
        if told {
            a.edge.clear();
        }
        assert!(thread.join().unwrap() || told, "both wait for each other, and nobody was told");
    });
}

#[test]
fn of_three_that_close_a_cycle_at_once_one_at_least_sees_it() {
    check(2, || {
        let nodes = [Core::new(), Core::new(), Core::new()];
        let wait = |at: usize| {
            let nodes = nodes.clone();
            move || {
                nodes[at].edge.set(&*nodes[(at + 1) % 3], How::PLAIN);
                closes_cycle(&nodes[at], &nodes[(at + 1) % 3]).is_some()
            }
        };
        let threads = [thread::spawn(wait(1)), thread::spawn(wait(2))];
        let mut told = wait(0)();
        for thread in threads {
            told |= thread.join().unwrap();
        }
        assert!(told);
    });
}

/// The first asks the second while that rests: it has no fence of its own, and the message goes through a lock.
#[test]
fn an_edge_to_one_that_rested_is_seen_by_whoever_it_asks() {
    check(4, || {
        let nodes = [Core::new(), Core::new(), Core::new()];
        let mail = Arc::new(Mutex::new(false));
        let wait = |at: usize| {
            let nodes = nodes.clone();
            move || {
                nodes[at].edge.set(&*nodes[(at + 1) % 3], How::PLAIN);
                closes_cycle(&nodes[at], &nodes[(at + 1) % 3]).is_some()
            }
        };
        let (second, third) = (wait(1), wait(2));
        let has_mail = mail.clone();
        let run = thread::spawn(move || *has_mail.lock().unwrap() && second());
        let other = thread::spawn(third);
        nodes[0].edge.set(&*nodes[1], How::PLAIN);
        *mail.lock().unwrap() = true;
        let mut told = other.join().unwrap();
        // If its run came too early, there is another one, on whatever thread.
        told |= run.join().unwrap();
        if nodes[1].edge.follow().is_none() {
            told |= wait(1)();
        }
        assert!(told, "three wait for each other, and nobody was told");
    });
}

/// The first waits for a promise of the second, which passes it on to the third, which asks the first: whoever sets an edge of
/// the first does so under the promise's lock, and looks for a cycle then.
#[test]
fn a_cycle_that_a_promise_closes_when_it_is_passed_on_is_seen() {
    check(3, || {
        let nodes = [Core::new(), Core::new(), Core::new()];
        // Who owes the answer, and whether the first waits.
        let promise = Arc::new(Mutex::new((1, false)));
        let sees = |at: usize, to: usize| {
            let nodes = nodes.clone();
            move || closes_cycle(&nodes[at], &nodes[to]).is_some()
        };
        let passes_on = {
            let (nodes, promise, sees) = (nodes.clone(), promise.clone(), sees(0, 2));
            thread::spawn(move || {
                let waits = {
                    let mut promise = promise.lock().unwrap();
                    promise.0 = 2;
                    if promise.1 {
                        nodes[0].edge.set(&*nodes[2], How::PLAIN);
                    }
                    promise.1
                };
                waits && sees()
            })
        };
        let third = {
            let (nodes, sees) = (nodes.clone(), sees(2, 0));
            thread::spawn(move || {
                nodes[2].edge.set(&*nodes[0], How::PLAIN);
                sees()
            })
        };
        let owes = {
            let mut promise = promise.lock().unwrap();
            promise.1 = true;
            nodes[0].edge.set(&*nodes[promise.0], How::PLAIN);
            promise.0
        };
        let mut told = sees(0, owes)();
        told |= passes_on.join().unwrap();
        told |= third.join().unwrap();
        assert!(told, "two wait for each other, and nobody was told");
    });
}

/// The first, which lets its chain in, waits for the second, which handles that message and waits, so too, for the third, which
/// waits for the first: the edge of one's own caller is an edge.
#[test]
fn a_cycle_through_the_caller_of_one_that_lets_its_chain_in_is_seen() {
    check(3, || {
        let (a, b, c) = (Core::new(), Core::new(), Core::new());
        let on_its_way = How::message(1).letting_in(1);
        a.edge.set(&*b, on_its_way);
        let third = {
            let (a, c) = (a.clone(), c.clone());
            thread::spawn(move || {
                c.edge.set(&*a, How::PLAIN);
                closes_cycle(&c, &a).is_some()
            })
        };
        a.edge.harden();
        b.edge.set(&*c, on_its_way);
        let told = closes_cycle(&b, &c).is_some();
        assert!(third.join().unwrap() || told, "three wait for each other, and nobody was told");
    });
}

/// The first lets in what the second asks: whenever either looks, there is no cycle.
#[test]
fn a_message_that_is_let_in_closes_no_cycle() {
    check(4, || {
        let (a, b) = (Core::new(), Core::new());
        let other = {
            let (a, b) = (a.clone(), b.clone());
            thread::spawn(move || {
                b.edge.set(&*a, How::message(1));
                closes_cycle(&b, &a).is_some()
            })
        };
        // The message of the second is because of the first one's, so that is handled.
        a.edge.set(&*b, How::PLAIN.letting_in(1));
        let told = closes_cycle(&a, &b).is_some();
        assert!(!other.join().unwrap() && !told, "told of a cycle that is none");
    });
}

/// The first joins the second, which asks it: the second is told, by itself or by the first.
#[test]
fn who_asks_one_that_joins_it_is_told_by_one_of_the_two() {
    check(4, || {
        let (a, b) = (Core::new(), Core::new());
        let asks = {
            let (a, b) = (a.clone(), b.clone());
            thread::spawn(move || {
                b.edge.set(&*a, How::PLAIN);
                closes_cycle(&b, &a).is_some()
            })
        };
        let joins = EdgeGuard::set(Some(&a), &b, How::JOIN);
        let in_cycle = joins.check_join(&b).expect("not everybody joins");
        let told = asks.join().unwrap();
        assert!(told || in_cycle && b.interrupted.load(std::sync::atomic::Ordering::Relaxed) && b.edge.is_told());
        assert!(told || walk::look_again(&b).is_err(), "it looks, and finds nothing");
        drop(joins);
    });
}

/// They join each other: one at least has the error.
#[test]
fn of_two_that_join_each_other_one_at_least_is_told() {
    check(4, || {
        let (a, b) = (Core::new(), Core::new());
        let other = {
            let (a, b) = (a.clone(), b.clone());
            thread::spawn(move || {
                let joins = EdgeGuard::set(Some(&b), &a, How::JOIN);
                let told = joins.check_join(&a).is_err();
                if !told {
                    std::mem::forget(joins);
                }
                told
            })
        };
        let joins = EdgeGuard::set(Some(&a), &b, How::JOIN);
        let told = joins.check_join(&b).is_err();
        assert!(other.join().unwrap() || told, "both join each other, and nobody was told");
    });
}

#[test]
fn what_a_walker_reads_is_alive_until_it_is_counted_no_more() {
    check(4, || {
        let (a, b) = (Core::new(), Core::new());
        let walkers = Arc::new(Walkers(AtomicU32::new(0)));
        let waits = EdgeGuard::set(Some(&a), &b, How::PLAIN);
        let walker = {
            let (a, walkers) = (a.clone(), walkers.clone());
            thread::spawn(move || {
                let _walking = walkers.enter();
                if let Some((to, _)) = a.edge.follow() {
                    // SAFETY: that is the claim; loom sees it if `gone` is written at the same time.
                    unsafe { &*to }.gone.with(|gone| assert!(!unsafe { *gone }, "it was freed"));
                }
            })
        };
        drop(waits);
        // As the thread that frees it.
        if b.edge.is_reached() {
            walkers.wait();
        }
        b.gone.with_mut(|gone| {
            // SAFETY: as above.
            unsafe { *gone = true };
        });
        walker.join().unwrap();
    });
}

/// The first waits for the second twice, for a reply each time, and in between lets go: what the walker has read of each
/// edge stands at one moment, or is none.
#[test]
fn an_edge_that_is_set_again_while_it_is_read_is_none_or_one_of_the_two() {
    check(4, || {
        let (a, b, c) = (Core::new(), Core::new(), Core::new());
        a.edge.set(&*b, How::message(1));
        let walker = {
            let (a, b, c) = (a.clone(), b.clone(), c.clone());
            thread::spawn(move || {
                if let Some((to, mark)) = a.edge.follow() {
                    let first = std::ptr::eq(to, &*b);
                    assert!(first || std::ptr::eq(to, &*c));
                    let expected = How::message(if first { 1 } else { 2 });
                    assert_eq!(mark.how, expected, "half of one edge and half of another");
                }
            })
        };
        a.edge.clear();
        a.edge.set(&*c, How::message(2));
        walker.join().unwrap();
    });
}
