//! Models of the actor layer: who queues an actor, and the edges of the wait-for graph. Loom tries every
//! interleaving; the very source files are included here.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports)]

mod model;

mod base {
    pub(crate) mod atomic {
        pub(crate) use loom::hint::spin_loop;
        pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
    }
}

#[path = "../src/actor/raw/busy.rs"]
mod busy;
#[path = "../src/actor/raw/edge.rs"]
mod edge;

use base::atomic::AtomicU32;
use busy::Busy;
use edge::{Edge, How, Walkers};
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};
use loom::thread;
use model::check;

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
            mail.1.rouse()
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
        let other = {
            let actor = actor.clone();
            thread::spawn(move || {
                actor.send(1);
                actor.send(2);
            })
        };
        actor.send(3);
        other.join().unwrap();
        let mut handled = actor.handled.lock().unwrap().clone();
        let order: Vec<_> = handled.iter().filter(|message| **message < 3).copied().collect();
        assert_eq!(order, [1, 2], "of one sender, in order");
        handled.sort_unstable();
        assert_eq!(handled, [1, 2, 3]);
    });
}

struct Node {
    edge: Edge<Node>,
    /// Written when the node is freed.
    gone: UnsafeCell<bool>,
}

// SAFETY: loom checks `gone`.
unsafe impl Sync for Node {}
// SAFETY: as above.
unsafe impl Send for Node {}

impl Node {
    fn new() -> Arc<Self> {
        Arc::new(Self { edge: Edge::new(), gone: UnsafeCell::new(false) })
    }

    /// Is there a way from here back here?
    fn sees_cycle(&self) -> bool {
        let mut at: *const Node = self;
        for _ in 0..4 {
            // SAFETY: the nodes of these models outlive the threads.
            let Some((next, _)) = unsafe { &*at }.edge.follow() else { return false };
            if std::ptr::eq(next, self) {
                return true;
            }
            at = next;
        }
        false
    }
}

#[test]
fn of_two_that_close_a_cycle_at_once_one_at_least_sees_it() {
    check(4, || {
        let (a, b) = (Node::new(), Node::new());
        let thread = {
            let (a, b) = (a.clone(), b.clone());
            thread::spawn(move || {
                b.edge.set(&*a, How::PLAIN);
                let told = a.edge.is_set_after_fence() && b.sees_cycle();
                if told {
                    b.edge.clear();
                }
                told
            })
        };
        a.edge.set(&*b, How::PLAIN);
        let told = b.edge.is_set_after_fence() && a.sees_cycle();
        if told {
            a.edge.clear();
        }
        assert!(thread.join().unwrap() || told, "both wait for each other, and nobody was told");
    });
}

#[test]
fn of_three_that_close_a_cycle_at_once_one_at_least_sees_it() {
    check(2, || {
        let nodes = [Node::new(), Node::new(), Node::new()];
        let wait = |at: usize| {
            let nodes = nodes.clone();
            move || {
                nodes[at].edge.set(&*nodes[(at + 1) % 3], How::PLAIN);
                nodes[(at + 1) % 3].edge.is_set_after_fence() && nodes[at].sees_cycle()
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
        let nodes = [Node::new(), Node::new(), Node::new()];
        let mail = Arc::new(Mutex::new(false));
        let wait = |at: usize| {
            let nodes = nodes.clone();
            move || {
                nodes[at].edge.set(&*nodes[(at + 1) % 3], How::PLAIN);
                nodes[(at + 1) % 3].edge.is_set_after_fence() && nodes[at].sees_cycle()
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
        let nodes = [Node::new(), Node::new(), Node::new()];
        // Who owes the answer, and whether the first waits.
        let promise = Arc::new(Mutex::new((1, false)));
        let sees = |at: usize, to: usize| {
            let nodes = nodes.clone();
            move || nodes[to].edge.is_set_after_fence() && nodes[at].sees_cycle()
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

#[test]
fn what_a_walker_reads_is_alive_until_it_is_counted_no_more() {
    check(4, || {
        let (a, b) = (Node::new(), Node::new());
        let walkers = Arc::new(Walkers(AtomicU32::new(0)));
        a.edge.set(&*b, How::PLAIN);
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
        a.edge.clear();
        walkers.wait();
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
        let (a, b, c) = (Node::new(), Node::new(), Node::new());
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
