//! A model of the flight recorder's ring: one writes while another reads. loom tries every interleaving, and every value that a weak memory may
//! return. The very source file is included here, with loom's atomics in the place of std's.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports)]

mod model;

mod base {
    pub(crate) mod atomic {
        pub(crate) use crate::model::prelude::atomic::*;
    }
}

#[path = "../src/flight/ring.rs"]
mod ring;

use loom::sync::Arc;
use loom::thread;
use model::{check, spawn_with};
use ring::EventRing;

/// A reader finds whole events only, in order, without a hole, and none that it has no right to: the writer goes round while it reads.
#[test]
fn what_is_read_from_a_ring_was_written_so() {
    check(3, || {
        let ring = Arc::new(EventRing::new(2));
        let reads = spawn_with(&ring, |ring| {
            let (before, events) = ring.read();
            for (at, (ticks, word)) in events.into_iter().enumerate() {
                let number = before + at as u64;
                assert_eq!((ticks, word), (number + 10, number + 20));
            }
        });
        (0..4).for_each(|n| ring.push(n + 10, n + 20));
        reads.join().unwrap();
    });
}

/// What was published is there for a reader that knows of it.
#[test]
fn what_was_written_before_is_found() {
    check(3, || {
        let ring = Arc::new(EventRing::new(4));
        let writes = {
            let ring = Arc::clone(&ring);
            thread::spawn(move || (0..3).for_each(|n| ring.push(n + 10, n + 20)))
        };
        writes.join().unwrap();
        assert_eq!(ring.read(), (0, vec![(10, 20), (11, 21), (12, 22)]));
    });
}
