//! Models of the readiness of a descriptor (`driver/readiness.rs`): loom tries every interleaving of threads that read and
//! of events that come, on the very source file, with its own atomics in the place of std's.
//!
//! The kernel is a counter of bytes under a lock; the slot, a flag under a lock, as in `driver/slot.rs`. The kernel may
//! contradict itself: it tells of ends and errors, and the call after it finds nothing, and of nothing at all.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports)]

mod model;

#[path = "../src/driver/readiness.rs"]
mod readiness;

use loom::sync::{Arc, Condvar, Mutex};
use model::prelude::base;
use model::{check, spawn_with};
use readiness::{Direction, Generation, Readiness, Ready};

const READABLE: Ready = Ready { read: true, write: false, end: false, urgent: false };

/// The reading side has ended, says the event.
const END: Ready = Ready { end: true, ..READABLE };
/// An error, or nothing at all.
const ERROR: Ready = Ready { read: true, write: true, end: false, urgent: false };

#[derive(Default)]
struct Kernel {
    bytes: usize,
    /// The reading side is shut down. A read still says `EAGAIN`, as that of a datagram socket does.
    ended: bool,
}

struct Socket {
    kernel: Mutex<Kernel>,
    word: Readiness,
    of: Generation,
    /// Events so far: whoever waits since an earlier one is woken.
    slot: Mutex<usize>,
    changed: Condvar,
}

impl Socket {
    fn new() -> Arc<Socket> {
        let word = Readiness::new();
        word.clear(Direction::Read, word.load());
        let of = word.renew();
        Arc::new(Socket { kernel: Mutex::default(), word, of, slot: Mutex::new(0), changed: Condvar::new() })
    }

    /// A byte arrives.
    fn arrive(&self) {
        self.kernel.lock().unwrap().bytes += 1;
        self.event(READABLE);
    }

    fn shut_down(&self) {
        self.kernel.lock().unwrap().ended = true;
        self.event(END);
    }

    /// The poller hands an event out: P1 to P4.
    fn event(&self, ready: Ready) {
        assert!(self.word.event(self.of, ready));
        *self.slot.lock().unwrap() += 1;
        self.changed.notify_all();
    }

    /// R1 to R5, until there are bytes: up to `wanted`; less is a short read. 0: the end.
    fn read(&self, wanted: usize) -> usize {
        let mut ended = false;
        loop {
            let seen = self.word.load();
            if ended || seen.may_try(Direction::Read) {
                let mut kernel = self.kernel.lock().unwrap();
                let got = kernel.bytes.min(wanted);
                kernel.bytes -= got;
                drop(kernel);
                if got == 0 && ended {
                    return 0;
                }
                ended = got == 0 && seen.has_ended() && self.kernel.lock().unwrap().ended;
                if ended {
                    continue;
                }
                if got == 0 || got < wanted && seen.short_means_drained() {
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
            let before = *slot;
            while *slot == before {
                slot = self.changed.wait(slot).unwrap();
            }
        }
    }
}

#[test]
fn a_byte_that_comes_during_a_short_read_is_not_forgotten() {
    check(3, || {
        let socket = Socket::new();
        let sender = spawn_with(&socket, move |socket| (0..2).for_each(|_| socket.arrive()));
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
        let reader = spawn_with(&socket, move |socket| socket.read(1));
        let sender = spawn_with(&socket, move |socket| (0..2).for_each(|_| socket.arrive()));
        assert_eq!(socket.read(1) + reader.join().unwrap(), 2);
        sender.join().unwrap();
    });
}

#[test]
fn an_end_and_an_error_that_the_call_contradicts_lose_no_byte_and_nobody_goes_round_for_ever() {
    for contradiction in [END, ERROR] {
        check(3, move || {
            let socket = Socket::new();
            let sender = spawn_with(&socket, move |socket| {
                socket.event(contradiction);
                socket.arrive();
            });
            assert_eq!(socket.read(1), 1);
            sender.join().unwrap();
            // The end stays up; the next byte is waited for all the same.
            let sender = spawn_with(&socket, Socket::arrive);
            assert_eq!(socket.read(1), 1);
            sender.join().unwrap();
        });
    }
}

#[test]
fn a_shutdown_ends_the_read_of_everybody_after_what_is_there() {
    check(3, || {
        let socket = Socket::new();
        let reader = spawn_with(&socket, move |socket| socket.read(1) + socket.read(1));
        let closes = spawn_with(&socket, move |socket| {
            socket.arrive();
            socket.shut_down();
        });
        assert_eq!(socket.read(1) + socket.read(1) + reader.join().unwrap(), 1);
        closes.join().unwrap();
        assert_eq!(socket.read(1), 0, "and it stays so");
    });
}

#[test]
fn a_byte_that_comes_just_before_the_end_is_read_before_it() {
    check(3, || {
        let socket = Socket::new();
        // An end that was none is known.
        socket.event(END);
        let closes = spawn_with(&socket, move |socket| {
            socket.arrive();
            socket.shut_down();
        });
        assert_eq!((socket.read(1), socket.read(1)), (1, 0));
        closes.join().unwrap();
    });
}
