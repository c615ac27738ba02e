//! Models of what the rest stands on: an OS thread's parker (`sys/parker.rs`) and the small lock (`base/spin.rs`). Loom tries
//! every interleaving, and every value that a weak memory may return, on the very source files.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports)]

mod model;

mod sys {
    pub(crate) use crate::model::prelude::clock;

    pub(crate) use crate::model::kernel as futex;
}

#[path = "../src/sys/parker.rs"]
mod parker;
#[path = "../src/base/spin.rs"]
mod spin;

use loom::sync::Arc;
use loom::thread;
use model::prelude::base;
use model::{Gate, Watched, check, spawn_with};
use parker::Parker;
use spin::SpinLock;
use sys::clock::NEVER;

/// A deadline that has passed.
const PASSED: u64 = 1;

/// A parker, and what its wakers write before they unpark.
struct Sleeper {
    parker: Parker,
    written: [Watched; 2],
    /// What the owner writes before it sleeps elsewhere: where.
    place: Watched,
    elsewhere: Gate,
}

impl Sleeper {
    fn new() -> Arc<Self> {
        let written = [0, 0].map(Watched::new);
        Arc::new(Self { parker: Parker::new(), written, place: Watched::new(0), elsewhere: Gate::new() })
    }

    fn unpark(this: &Arc<Self>, waker: usize) -> thread::JoinHandle<()> {
        spawn_with(this, move |this| {
            this.written[waker].add(1);
            this.parker.unpark_or(|| {
                assert_eq!(this.place.get(), 7, "the waker sees where the owner sleeps");
                this.elsewhere.open();
            });
        })
    }

    fn has_written(&self, waker: usize) -> bool {
        self.written[waker].get() == 1
    }

    fn park_elsewhere(&self) -> bool {
        self.place.add(7);
        self.parker.park_elsewhere(|| self.elsewhere.wait())
    }
}

#[test]
fn a_parked_thread_is_woken_and_sees_what_its_waker_did() {
    check(3, || {
        let sleeper = Sleeper::new();
        let waker = Sleeper::unpark(&sleeper, 0);
        assert!(sleeper.parker.park(NEVER), "it comes back with the token");
        assert!(sleeper.has_written(0));
        waker.join().unwrap();
    });
}

#[test]
fn a_park_that_times_out_takes_a_token_that_comes_at_the_last_moment_or_leaves_it() {
    check(3, || {
        let sleeper = Sleeper::new();
        let waker = Sleeper::unpark(&sleeper, 0);
        if !sleeper.parker.park(PASSED) {
            assert!(sleeper.parker.park(NEVER), "the token is still to come");
        }
        assert!(sleeper.has_written(0));
        waker.join().unwrap();
    });
}

#[test]
fn a_token_that_was_left_twice_shows_what_both_wakers_did() {
    check(2, || {
        let sleeper = Sleeper::new();
        let wakers = [Sleeper::unpark(&sleeper, 0), Sleeper::unpark(&sleeper, 1)];
        assert!(sleeper.parker.park(NEVER));
        // Whose unpark is not taken with the first is taken now, or comes later.
        let seen = [0, 1].into_iter().filter(|_| !sleeper.parker.park(PASSED)).count();
        for waker in wakers {
            waker.join().unwrap();
        }
        if seen == 2 {
            let _ = sleeper.parker.park(PASSED);
        }
        assert!(sleeper.has_written(0) && sleeper.has_written(1));
    });
}

#[test]
fn a_thread_that_sleeps_elsewhere_is_fetched_there() {
    check(3, || {
        let sleeper = Sleeper::new();
        let waker = Sleeper::unpark(&sleeper, 0);
        // Without the token it was fetched from the sleep before this; then the token has come since.
        assert!(sleeper.park_elsewhere());
        assert!(sleeper.has_written(0));
        waker.join().unwrap();
    });
}

/// Events end the sleep, too: then nothing but the token brings what the waker did.
#[test]
fn a_thread_that_gets_up_elsewhere_by_itself_takes_the_token_or_leaves_it() {
    check(3, || {
        let sleeper = Sleeper::new();
        sleeper.place.add(7);
        let waker = Sleeper::unpark(&sleeper, 0);
        if !sleeper.parker.park_elsewhere(|| {}) {
            assert!(sleeper.parker.park(NEVER), "the token is still to come");
        }
        assert!(sleeper.has_written(0));
        waker.join().unwrap();
    });
}

#[test]
fn the_small_lock_keeps_two_threads_apart() {
    check(2, || {
        let lock = Arc::new(SpinLock::new(Watched::new(0)));
        let add = |lock: &SpinLock<Watched>| _ = lock.lock().add(1);
        let other = spawn_with(&lock, add);
        add(&lock);
        add(&lock);
        other.join().unwrap();
        assert_eq!(lock.lock().get(), 3);
    });
}
