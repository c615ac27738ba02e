//! Models of the channels' handles and of a select, on the whole of `channel/`: loom tries every interleaving, and every
//! value that a weak memory may return; the threads of the models park as OS threads do, in the real parker.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports, missing_debug_implementations)]
#![allow(unfulfilled_lint_expectations, reason = "what the library exports is not exported here")]

mod model;

mod base {
    pub(crate) mod abort {
        pub(crate) fn fatal(message: std::fmt::Arguments<'_>) -> ! {
            panic!("{message}")
        }
    }
    pub(crate) mod atomic {
        pub(crate) use loom::cell::UnsafeCell;
        pub(crate) use loom::hint::spin_loop;
        pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
        pub(crate) use loom::thread::yield_now;

        pub(crate) const MODELLED: bool = true;

        pub(crate) struct Backoff;

        impl Backoff {
            pub(crate) fn new() -> Self {
                Self
            }
            pub(crate) fn snooze(&self) {
                loom::thread::yield_now();
            }
        }
    }
    pub(crate) use crate::list;
}

mod sys {
    pub(crate) mod clock {
        pub(crate) const NEVER: u64 = u64::MAX;

        pub(crate) fn after_ns(_: std::time::Duration) -> u64 {
            1
        }

        pub(crate) fn at_ns(_: std::time::Instant) -> u64 {
            1
        }

        pub(crate) fn now_ns() -> u64 {
            u64::from(crate::park::has_timed_out())
        }

        /// When the thread has timed out once.
        pub(crate) fn has_passed(deadline_ns: u64) -> bool {
            deadline_ns <= now_ns()
        }
    }
    pub(crate) use crate::{kernel as futex, parker};
}

mod fiber {
    pub(crate) type Entry = unsafe fn(*mut ());

    #[derive(Debug)]
    pub(crate) struct Fiber;
}

mod stack {
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct StackSize;
}

mod task {
    pub(crate) use crate::header::Ticket;
    pub(crate) use crate::{awaiter, header, limit, state, wait};

    pub(crate) mod local {
        #[derive(Default, Debug)]
        pub(crate) struct Locals;

        impl Locals {
            pub(crate) fn reset(&mut self) {}
        }
    }
}

#[path = "../src/task/awaiter.rs"]
mod awaiter;
#[path = "../src/channel/mod.rs"]
mod channel;
#[path = "../src/task/header.rs"]
mod header;
#[path = "model/kernel.rs"]
mod kernel;
#[path = "../src/task/limit.rs"]
mod limit;
#[path = "../src/base/list.rs"]
mod list;
#[path = "../src/sys/parker.rs"]
mod parker;
#[path = "../src/task/state.rs"]
mod state;
#[path = "../src/task/wait.rs"]
mod wait;

#[path = "model/os.rs"]
mod park;

use std::time::Duration;

use channel::{Receiver, Select, Sender, bounded};
use crossbeam_channel::{RecvError, TryRecvError};
use loom::thread;
use model::check;

/// What is sent: a number behind a cell of loom's, which fails the model when the receiver could read it too early.
struct Message(Box<loom::cell::UnsafeCell<u32>>);

// SAFETY: a message is owned by one thread at a time; loom's cell checks it.
unsafe impl Send for Message {}

impl Message {
    fn new(number: u32) -> Self {
        let cell = loom::cell::UnsafeCell::new(0);
        // SAFETY: loom checks the access.
        cell.with_mut(|number_at| unsafe { *number_at = number });
        Self(Box::new(cell))
    }

    fn number(self) -> u32 {
        // SAFETY: loom checks the access.
        self.0.with(|number| unsafe { *number })
    }
}

/// Sends one message and lets go of the handle.
fn sending(sender: Sender<Message>, number: u32) -> thread::JoinHandle<bool> {
    thread::spawn(move || sender.send(Message::new(number)).is_ok())
}

/// Receives from one of the two. `None`: the one that was chosen is closed.
fn select(receivers: [&Receiver<Message>; 2]) -> (usize, Option<u32>) {
    let mut select = Select::new_biased();
    for receiver in receivers {
        select.recv(receiver);
    }
    let chosen = select.select();
    let index = chosen.index();
    (index, chosen.recv(receivers[index]).ok().map(Message::number))
}

#[test]
fn a_select_gets_one_of_two_messages_and_leaves_the_other() {
    check(1, || {
        let ((to_a, a), (to_b, b)) = (bounded(1), bounded(1));
        let senders = [sending(to_a, 0), sending(to_b, 1)];
        let (first, number) = select([&a, &b]);
        assert_eq!(number, Some(first as u32));
        let other = if first == 0 { &b } else { &a };
        assert_eq!(other.recv().ok().map(Message::number), Some(1 - first as u32));
        assert!(senders.map(|sender| sender.join().unwrap()) == [true, true]);
        assert!(a.recv().is_err() && b.recv().is_err(), "the senders are gone");
    });
}

#[test]
fn a_select_gets_two_messages_from_hand_to_hand() {
    check(1, || {
        let ((to_a, a), (to_b, b)) = (bounded(0), bounded(0));
        let sender = thread::spawn(move || {
            assert!(to_a.send(Message::new(0)).is_ok() && to_b.send(Message::new(1)).is_ok());
            to_a
        });
        assert_eq!([select([&a, &b]), select([&a, &b])], [(0, Some(0)), (1, Some(1))]);
        sender.join().unwrap();
    });
}

#[test]
fn a_select_that_sends_meets_one_that_receives() {
    check(2, || {
        let (sender, receiver) = bounded(0);
        let sends = thread::spawn(move || {
            let mut select = Select::new_biased();
            select.send(&sender);
            select.select().send(&sender, Message::new(7)).is_ok()
        });
        let mut select = Select::new_biased();
        select.recv(&receiver);
        let got = select.select().recv(&receiver).ok().map(Message::number);
        assert_eq!(got, sends.join().unwrap().then_some(7));
        assert_eq!(got, Some(7));
    });
}

#[test]
fn a_select_that_times_out_leaves_the_message_where_it_is() {
    check(2, || {
        let (to_a, a) = bounded(1);
        let (_to_b, b) = bounded::<Message>(1);
        let sender = sending(to_a, 7);
        let mut select = Select::new_biased();
        select.recv(&a);
        select.recv(&b);
        let got = select.select_timeout(Duration::ZERO).ok().and_then(|chosen| chosen.recv(&a).ok());
        sender.join().unwrap();
        assert_eq!(got.is_none(), a.try_recv().is_ok());
    });
}

#[test]
fn the_last_of_two_senders_closes_and_no_message_is_lost() {
    check(2, || {
        let (sender, receiver) = bounded(2);
        let other = sending(sender.clone(), 1);
        assert!(sender.send(Message::new(2)).is_ok());
        drop(sender);
        let mut sum = 0;
        while let Ok(message) = receiver.recv() {
            sum += message.number();
        }
        assert_eq!(sum, 3);
        assert!(other.join().unwrap());
    });
}

#[test]
fn the_last_of_two_receivers_drops_what_nobody_will_receive() {
    check(2, || {
        let (sender, receiver) = bounded(1);
        let other = receiver.clone();
        let receiving = thread::spawn(move || other.try_recv().is_ok());
        let sent = sender.send(Message::new(1)).is_ok();
        let got = receiver.try_recv().is_ok();
        drop(receiver);
        let other_got = receiving.join().unwrap();
        assert!(sent && !(got && other_got));
        assert!(sender.send(Message::new(2)).is_err());
    });
}
