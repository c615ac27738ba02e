//! A model of how one worker stands in for another: loom tries every interleaving, and every value that a weak memory may return. The very
//! source file is included here, with loom's atomics in the place of std's, and SeqCst fences in that of membarrier(2).
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports)]

mod model;

mod base {
    pub(crate) mod atomic {
        pub(crate) use crate::model::prelude::atomic::*;
        /// The other threads go on.
        pub(crate) use loom::thread::{yield_now as spin_loop, yield_now};
    }
}

mod sys {
    pub(crate) mod membarrier {
        use loom::sync::atomic::{Ordering::SeqCst, fence};

        pub(crate) fn light() {
            fence(SeqCst);
        }

        pub(crate) fn heavy() -> std::io::Result<()> {
            fence(SeqCst);
            Ok(())
        }
    }
}

#[path = "../src/park/latch.rs"]
mod latch;

use latch::Latch;
use loom::sync::Arc;
use model::{Watched, check, spawn_with};

/// A worker: its latch, and what it keeps.
struct Worker {
    latch: Latch,
    parts: Watched,
}

impl Worker {
    fn new() -> Arc<Self> {
        Arc::new(Self { latch: Latch::new(), parts: Watched::new(0) })
    }

    /// The owner: two turns, in the first of which the thread wakes another.
    fn run(&self) {
        self.parts.add(1);
        self.latch.leave_for_turn();
        assert!(self.latch.enter());
        self.parts.add(1);
        self.latch.leave();
        assert!(self.latch.enter());
        assert!(!self.latch.enter());
        self.parts.add(1);
        self.latch.leave_for_turn();
        assert!(self.latch.enter());
        self.parts.add(1);
    }

    fn stand_in(&self) -> u32 {
        match self.latch.take() {
            Some(_taken) => {
                self.parts.add(1);
                1
            }
            None => 0,
        }
    }
}

#[test]
fn nobody_stands_in_while_the_owner_is_inside() {
    check(3, || {
        let worker = Worker::new();
        let other = spawn_with(&worker, Worker::stand_in);
        worker.run();
        let stood_in = other.join().unwrap();
        assert_eq!(worker.parts.get(), 4 + stood_in);
    });
}

#[test]
fn one_worker_at_a_time_stands_in() {
    check(2, || {
        let worker = Worker::new();
        worker.latch.leave_for_turn();
        let others = [spawn_with(&worker, Worker::stand_in), spawn_with(&worker, Worker::stand_in)];
        worker.latch.enter();
        worker.parts.add(1);
        worker.latch.leave();
        let stood_in: u32 = others.map(|other| other.join().unwrap()).iter().sum();
        worker.latch.enter();
        assert_eq!(worker.parts.get(), 1 + stood_in);
    });
}
