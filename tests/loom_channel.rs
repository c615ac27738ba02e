//! Models of the channels: loom tries every interleaving, and every value that a weak memory may return. The source files
//! of the channels are included here, with loom's atomics in the place of std's and a stand-in for parking that sleeps
//! on loom's own lock: the park word in it is the real one.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports, missing_debug_implementations)]

mod model;

#[path = "../src/channel/buffer.rs"]
mod buffer;
#[path = "model/turns.rs"]
mod park;
#[path = "../src/channel/queue.rs"]
mod queue;
#[path = "../src/channel/selected.rs"]
mod selected;
#[path = "model/task.rs"]
mod task;
#[path = "../src/channel/waiter.rs"]
mod waiter;
#[path = "../src/channel/word.rs"]
mod word;
#[path = "../src/channel/zero.rs"]
mod zero;

mod channel {
    pub(crate) use crate::{buffer, queue, selected, waiter, word, zero};
}

mod sys {
    pub(crate) use crate::model::prelude::clock;
}

use std::mem::ManuallyDrop;

use channel::buffer::{Blocks, Buffer, Ring};
use channel::queue::Queue;
use channel::selected::Selected;
use channel::waiter::{ChannelWaiter, Outcome, Role, place};
use channel::zero::ZeroChannel;
use crossbeam_channel::{RecvTimeoutError, TryRecvError};
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};
use model::prelude::{base, fiber, stack};
use model::{Gate, Message, check, spawn_with};
use park::{Wait, WaitResult, on_worker, park};
use sys::clock::NEVER;
use task::header::Reason;

/// A deadline that passes as soon as the thread waits.
const SOON: u64 = 1;

type Bounded = Queue<Message, Ring<Message>>;

fn bounded(cap: usize) -> Arc<Bounded> {
    Arc::new(Queue::new(Ring::new(cap), cap as u64))
}

/// A thread that sends one message.
fn sending(queue: &Arc<Bounded>, number: u32) -> JoinHandle<()> {
    spawn_with(queue, move |queue| queue.send(Message::new(number), NEVER).expect("the channel is open"))
}

/// The same on a worker.
fn sending_on(worker: &Arc<Gate>, queue: &Arc<Bounded>, number: u32) -> JoinHandle<()> {
    let worker = worker.clone();
    spawn_with(queue, move |queue| {
        on_worker(&worker, || queue.send(Message::new(number), NEVER).expect("the channel is open"))
    })
}

fn number(result: Result<Message, RecvTimeoutError>) -> Option<u32> {
    result.ok().map(Message::number)
}

#[test]
fn a_full_buffer_and_an_empty_one_lose_no_wake_up() {
    check(2, || {
        let queue = bounded(1);
        let sender = spawn_with(&queue, move |queue| {
            for i in 0..2 {
                queue.send(Message::new(i), NEVER).expect("the channel is open");
            }
            queue.close_senders();
        });
        for i in 0..2 {
            assert_eq!(number(queue.recv(NEVER)), Some(i));
        }
        assert!(matches!(queue.recv(NEVER), Err(RecvTimeoutError::Disconnected)));
        sender.join().unwrap();
    });
}

#[test]
fn blocks_grow_are_reused_and_keep_the_order() {
    check(1, || {
        let queue = Arc::new(Queue::new(Blocks::new(), u64::MAX));
        let sender = spawn_with(&queue, move |queue| {
            for i in 0..3 {
                queue.try_send(Message::new(i)).expect("it is unbounded");
            }
        });
        for i in 0..3 {
            assert_eq!(number(queue.recv(NEVER)), Some(i));
        }
        sender.join().unwrap();
        queue.try_send(Message::new(3)).expect("it is unbounded");
        queue.close_receivers();
    });
}

#[test]
fn a_block_that_is_used_again_is_handed_over_by_whoever_emptied_it() {
    check(1, || {
        let queue = Arc::new(Queue::new(Blocks::new(), u64::MAX));
        for i in 0..4 {
            queue.try_send(Message::new(i)).expect("it is unbounded");
        }
        let receiver = spawn_with(&queue, move |queue| {
            // The third is in another block than the first two.
            for i in 0..3 {
                assert_eq!(queue.try_recv().ok().map(Message::number), Some(i));
            }
        });
        for i in 4..7 {
            queue.try_send(Message::new(i)).expect("it is unbounded");
        }
        receiver.join().unwrap();
        for i in 3..7 {
            assert_eq!(number(queue.recv(NEVER)), Some(i));
        }
        queue.close_receivers();
    });
}

#[test]
fn two_receivers_get_one_message_each_and_a_third_thread_closes() {
    check(1, || {
        let queue = bounded(1);
        let receive = |queue: Arc<Bounded>| move || number(queue.recv(NEVER));
        let other = thread::spawn(receive(queue.clone()));
        let sender = spawn_with(&queue, move |queue| {
            queue.send(Message::new(1), NEVER).expect("the channel is open");
            queue.close_senders();
        });
        let got = [number(queue.recv(NEVER)), other.join().unwrap()];
        sender.join().unwrap();
        assert!(got == [Some(1), None] || got == [None, Some(1)], "{got:?}");
    });
}

#[test]
fn a_receiver_that_times_out_takes_nothing_along() {
    check(2, || {
        let queue = bounded(1);
        let sender = sending(&queue, 7);
        let first = number(queue.recv(SOON));
        sender.join().unwrap();
        let second = queue.try_recv().ok().map(Message::number);
        assert!([first, second].into_iter().flatten().eq([7]));
    });
}

#[test]
fn a_sender_that_times_out_keeps_its_message_or_has_sent_it() {
    check(2, || {
        let queue = bounded(1);
        queue.send(Message::new(0), NEVER).expect("there is room");
        let sender = spawn_with(&queue, move |queue| {
            queue.send(Message::new(1), SOON).map_err(|error| error.into_inner().number())
        });
        assert_eq!(number(queue.recv(NEVER)), Some(0));
        let sent = sender.join().unwrap();
        let got = queue.try_recv().ok().map(Message::number);
        assert_eq!((sent == Ok(()), sent == Err(1)), (got == Some(1), got.is_none()));
    });
}

#[test]
fn closing_reaches_a_sender_that_waits_and_its_message_comes_back() {
    check(2, || {
        let queue = bounded(1);
        queue.send(Message::new(0), NEVER).expect("there is room");
        let sender = spawn_with(&queue, move |queue| {
            queue.send(Message::new(1), NEVER).map_err(|error| error.into_inner().number())
        });
        queue.close_receivers();
        assert_eq!(sender.join().unwrap(), Err(1));
    });
}

#[test]
fn without_a_buffer_the_message_goes_from_hand_to_hand() {
    check(2, || {
        let zero = Arc::new(ZeroChannel::new());
        let sender = spawn_with(&zero, move |zero| {
            zero.send(Message::new(1), NEVER).expect("the channel is open");
            zero.close();
        });
        assert_eq!(number(zero.recv(NEVER)), Some(1));
        assert!(matches!(zero.recv(NEVER), Err(RecvTimeoutError::Disconnected)));
        sender.join().unwrap();
    });
}

#[test]
fn without_a_buffer_a_time_out_on_either_side_loses_nothing() {
    check(2, || {
        let zero = Arc::new(ZeroChannel::new());
        let sender = spawn_with(&zero, move |zero| zero.send(Message::new(1), SOON).is_ok());
        let got = number(zero.recv(SOON));
        assert_eq!(sender.join().unwrap(), got.is_some());
    });
}

/// One wait of a select over two channels with a buffer, to receive: what it got, and from which.
fn select_once(queues: [&Bounded; 2], deadline_ns: u64) -> Option<(usize, u32)> {
    let mut selected = ManuallyDrop::new(Selected::Empty);
    let at = place(&mut selected);
    let nodes = [ChannelWaiter::new(Role::Select, at), ChannelWaiter::new(Role::Select, at)];
    let woken = park(Wait::new(Reason::Select).until(deadline_ns), |ticket| {
        // SAFETY: both nodes are unregistered below.
        queues.iter().zip(&nodes).all(|(queue, node)| unsafe { queue.register_receiver(node, ticket) })
    });
    for (queue, node) in queues.iter().zip(&nodes) {
        // SAFETY: it was registered there, if at all.
        unsafe { queue.unregister_receiver(node) };
    }
    let chosen = nodes.iter().position(|node| node.outcome() == Outcome::Done);
    assert_eq!(woken == WaitResult::Notified, chosen.is_some());
    chosen.map(|index| {
        // SAFETY: it was filled by whoever woke this thread; the channel is one of messages.
        let selected = unsafe { at.cast::<Selected>().read() };
        // SAFETY: as above.
        (index, unsafe { selected.into_message::<Message>() }.expect("a message was handed over").number())
    })
}

/// Looks, waits, looks again, as a select does.
fn select(queues: [&Bounded; 2], deadline_ns: u64) -> Option<(usize, u32)> {
    loop {
        for (index, queue) in queues.iter().enumerate() {
            if let Ok(message) = queue.try_recv() {
                return Some((index, message.number()));
            }
        }
        let got = select_once(queues, deadline_ns);
        if got.is_some() || deadline_ns != NEVER {
            return got;
        }
    }
}

#[test]
fn a_select_takes_one_of_two_messages_and_leaves_the_other() {
    check(1, || {
        let (a, b) = (bounded(1), bounded(1));
        let senders = [sending(&a, 0), sending(&b, 1)];
        let (index, got) = select([&a, &b], NEVER).expect("it has no deadline");
        assert_eq!(index as u32, got);
        let other = if index == 0 { &b } else { &a };
        assert_eq!(number(other.recv(NEVER)), Some(1 - got));
        for sender in senders {
            sender.join().unwrap();
        }
        assert!(matches!(a.try_recv(), Err(TryRecvError::Empty)) && matches!(b.try_recv(), Err(TryRecvError::Empty)));
    });
}

/// A worker that is free.
fn worker() -> Arc<Gate> {
    let worker = Arc::new(Gate::new());
    worker.open();
    worker
}

/// Both have a ticket of the select's, so the neighbour must not end the wait by a store.
#[test]
fn a_select_gets_one_of_two_messages_from_a_neighbour_and_from_another_worker() {
    check(2, || {
        let (a, b, worker) = (bounded(1), bounded(1), worker());
        let neighbour = sending_on(&worker, &a, 0);
        let elsewhere = sending(&b, 1);
        let (index, got) = on_worker(&worker, || select([&a, &b], NEVER).expect("it has no deadline"));
        assert_eq!(index as u32, got);
        neighbour.join().unwrap();
        elsewhere.join().unwrap();
        let other = if index == 0 { &b } else { &a };
        assert_eq!(other.try_recv().expect("it was left").number(), 1 - got);
    });
}

/// The wait has one ticket, and who takes it out of the list has it alone: the neighbour may store.
#[test]
fn a_receiver_is_woken_by_a_neighbour_that_stores_or_by_another_worker() {
    check(2, || {
        let (queue, worker) = (bounded(1), worker());
        let neighbour = sending_on(&worker, &queue, 1);
        let elsewhere = sending(&queue, 2);
        let got = on_worker(&worker, || [number(queue.recv(NEVER)), number(queue.recv(NEVER))]);
        assert!(got == [Some(1), Some(2)] || got == [Some(2), Some(1)], "{got:?}");
        neighbour.join().unwrap();
        elsewhere.join().unwrap();
    });
}

/// The wheel of the waiting thread's worker ends the wait on that worker, so never while the neighbour stores.
#[test]
fn a_receiver_times_out_or_is_woken_by_a_neighbour_that_stores() {
    check(3, || {
        let (queue, worker) = (bounded(1), worker());
        let neighbour = sending_on(&worker, &queue, 7);
        let first = on_worker(&worker, || number(queue.recv(SOON)));
        neighbour.join().unwrap();
        let second = queue.try_recv().ok().map(Message::number);
        assert!([first, second].into_iter().flatten().eq([7]));
    });
}

#[test]
fn a_select_that_times_out_leaves_the_message_where_it_is() {
    check(2, || {
        let (a, b) = (bounded(1), bounded(1));
        let sender = sending(&b, 1);
        let got = select([&a, &b], SOON);
        sender.join().unwrap();
        assert_eq!(got.is_some(), b.try_recv().is_err());
    });
}

#[test]
fn a_permit_keeps_its_place_and_lets_the_next_sender_in() {
    check(2, || {
        let queue = bounded(1);
        let Some(Selected::Permit) = queue.try_select_send() else { panic!("there is room") };
        let sender = sending(&queue, 2);
        queue.use_permit(Message::new(1)).expect("the place was kept");
        assert_eq!([number(queue.recv(NEVER)), number(queue.recv(NEVER))], [Some(1), Some(2)]);
        sender.join().unwrap();
    });
}

#[test]
fn a_permit_that_is_given_up_lets_the_next_sender_in() {
    check(2, || {
        let queue = bounded(1);
        let Some(Selected::Permit) = queue.try_select_send() else { panic!("there is room") };
        let sender = sending(&queue, 2);
        queue.drop_permit();
        assert_eq!(number(queue.recv(NEVER)), Some(2));
        sender.join().unwrap();
    });
}

/// A select sends, and completes or gives up, while somebody receives.
fn receive_from_select(completes: bool) {
    check(1, move || {
        let zero = Arc::new(ZeroChannel::new());
        let receiver = spawn_with(&zero, move |zero| number(zero.recv(NEVER)));
        let chosen = loop {
            if let Some(selected) = zero.try_select_send() {
                break selected;
            }
            let mut selected = ManuallyDrop::new(Selected::Empty);
            let at = place(&mut selected);
            let node = ChannelWaiter::new(Role::Select, at);
            // SAFETY: the node stays where it is until it is claimed.
            let woken = park(Wait::new(Reason::Select), |ticket| unsafe { zero.register_sender(&node, ticket) });
            if woken == WaitResult::Notified {
                // SAFETY: whoever woke this thread has filled it.
                break unsafe { at.cast::<Selected>().read() };
            }
        };
        let Selected::Peer(peer) = chosen else { panic!("a receiver was there") };
        if completes {
            // SAFETY: it is a receiver of messages.
            unsafe { peer.give(Message::new(3)) };
            peer.schedule();
        } else {
            drop(peer);
            zero.close();
        }
        assert_eq!(receiver.join().unwrap(), completes.then_some(3));
    });
}

#[test]
fn a_receiver_sleeps_in_the_hands_of_a_select_that_sends() {
    receive_from_select(true);
}

#[test]
fn a_receiver_is_let_go_by_a_select_that_gives_up() {
    receive_from_select(false);
}
