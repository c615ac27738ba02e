//! Models of the channels' handles and of a select, on the whole of `channel/`: loom tries every interleaving, and every
//! value that a weak memory may return; the threads of the models park as OS threads do, in the real parker.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports, missing_debug_implementations)]
#![allow(unfulfilled_lint_expectations, reason = "what the library exports is not exported here")]

mod model;

#[path = "../src/channel/mod.rs"]
mod channel;
#[path = "model/os.rs"]
mod park;
#[path = "model/sys.rs"]
mod sys;
#[path = "model/task.rs"]
mod task;

use std::time::Duration;

use channel::{Receiver, Select, Sender, bounded};
use crossbeam_channel::{RecvError, TryRecvError};
use loom::thread;
use model::prelude::{base, fiber, stack};
use model::{Message, check};

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
