//! Models of the readiness of a descriptor (`driver/readiness.rs`): loom tries every interleaving of threads that read and
//! of events that come, on the very source file, with its own atomics in the place of std's.
//!
//! The kernel is a counter of bytes under a lock; the slot, a flag under a lock, as in `driver/source.rs`.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports)]

mod model;

mod base {
    pub(crate) mod atomic {
        pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
    }
}

#[path = "../src/driver/readiness.rs"]
mod readiness;

use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use model::check;
use readiness::{Direction, Generation, Readiness, Ready};

const READABLE: Ready = Ready { read: true, read_end: false, write: false, write_end: false, urgent: false };

struct Waiting {
    threads: usize,
    woken: usize,
}

struct Socket {
    bytes: Mutex<usize>,
    word: Readiness,
    of: Generation,
    slot: Mutex<Waiting>,
    changed: Condvar,
}

impl Socket {
    fn new() -> Arc<Socket> {
        let word = Readiness::new();
        word.clear(Direction::Read, word.load());
        let of = word.renew();
        let slot = Mutex::new(Waiting { threads: 0, woken: 0 });
        Arc::new(Socket { bytes: Mutex::new(0), word, of, slot, changed: Condvar::new() })
    }

    /// A byte arrives, and the poller hands the event out: P1 to P4.
    fn arrive(&self) {
        *self.bytes.lock().unwrap() += 1;
        assert!(self.word.event(self.of, READABLE));
        let mut slot = self.slot.lock().unwrap();
        slot.woken += std::mem::take(&mut slot.threads);
        self.changed.notify_all();
    }

    /// R1 to R5, until there are bytes: up to `wanted`; less is a short read.
    fn read(&self, wanted: usize) -> usize {
        loop {
            let seen = self.word.load();
            if seen.may_try(Direction::Read) {
                let mut bytes = self.bytes.lock().unwrap();
                let got = (*bytes).min(wanted);
                *bytes -= got;
                drop(bytes);
                if got < wanted {
                    self.word.clear(Direction::Read, seen);
                }
                if got > 0 {
                    return got;
                }
            }
            let mut slot = self.slot.lock().unwrap();
            if self.word.load().may_try(Direction::Read) {
                continue;
            }
            slot.threads += 1;
            while slot.woken == 0 {
                slot = self.changed.wait(slot).unwrap();
            }
            slot.woken -= 1;
        }
    }
}

#[test]
fn a_byte_that_comes_during_a_short_read_is_not_forgotten() {
    check(3, || {
        let socket = Socket::new();
        let sender = {
            let socket = socket.clone();
            thread::spawn(move || (0..2).for_each(|_| socket.arrive()))
        };
        let mut total = 0;
        while total < 2 {
            total += socket.read(2);
        }
        sender.join().unwrap();
    });
}

#[test]
fn two_readers_get_a_byte_each() {
    check(2, || {
        let socket = Socket::new();
        let reader = {
            let socket = socket.clone();
            thread::spawn(move || socket.read(1))
        };
        let sender = {
            let socket = socket.clone();
            thread::spawn(move || (0..2).for_each(|_| socket.arrive()))
        };
        assert_eq!(socket.read(1) + reader.join().unwrap(), 2);
        sender.join().unwrap();
    });
}
