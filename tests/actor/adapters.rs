//! Recipients of closures, of channels, of other recipients.

use std::time::Instant;

use green::actor::{Actor, Builder, Exit, Mailbox, Recipient, SendError, dead_letters, messages};

use crate::help::{Gate, everywhere};
use crate::{Add, Counter, Get, LONG};

messages! {
    struct Half(i64);
    struct Third;
    #[derive(Debug, PartialEq)]
    struct Number(usize);
    struct Sum -> i64;
}

fn until(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < LONG);
        green::yield_now();
    }
}

#[test]
fn a_recipient_of_a_closure_answers_and_ends_as_an_actor_does() {
    everywhere(|| {
        let adder = Recipient::from_fn(|n: Half| {
            assert!(n.0 < 100, "too much");
        });
        adder.tell(Half(8)).unwrap();
        adder.send(Half(10)).unwrap();
        assert!(matches!(adder.send(Half(100)), Err(SendError::Died(Exit::Panic(_)))));
        assert!(matches!(adder.join(), Exit::Panic(text) if text.contains("too much")));
        let stopped = Recipient::from_fn(|_: Third| ());
        stopped.stop();
        assert_eq!(stopped.join(), Exit::Shutdown);
    });
}

#[test]
fn a_closure_with_another_reply_asks() {
    everywhere(|| {
        let counter = Counter(5).start();
        let asks = Recipient::from_fn(move |_: Sum| counter.send(Get).unwrap() * 2);
        assert_eq!(asks.send(Sum).unwrap(), 10);
    });
}

#[test]
fn a_recipient_of_a_channel_waits_for_room_there_and_keeps_the_order() {
    everywhere(|| {
        let (sender, received) = green::channel::bounded(1);
        let to = Recipient::from(sender);
        let sends = green::spawn({
            let to = to.clone();
            move || (0..1000).for_each(|n| to.tell(Number(n)).unwrap())
        });
        (0..1000).for_each(|n| assert_eq!(received.recv(), Ok(Number(n))));
        sends.join().unwrap();
        let asked = green::spawn(move || to.send(Number(1000)).map(|()| to));
        assert_eq!(received.recv(), Ok(Number(1000)));
        let to = asked.join().unwrap().unwrap();
        drop(received);
        let before = dead_letters().count();
        to.tell(Number(0)).unwrap();
        assert_eq!(to.join(), Exit::Normal);
        assert!(dead_letters().count() > before);
        assert!(to.send(Number(0)).is_err());
    });
}

#[test]
fn an_ask_of_a_channel_that_nobody_reads_is_not_answered() {
    everywhere(|| {
        let (sender, _) = green::channel::bounded(1);
        let to = Recipient::from(sender);
        assert!(matches!(to.send(Number(0)), Err(SendError::NoReply)));
    });
}

#[test]
fn a_mapped_recipient_passes_on_tells_and_asks_and_ends_with_its_target() {
    everywhere(|| {
        let counter = Counter(0).start();
        let halves = counter.recipient().map(|n: Half| Add(n.0 / 2));
        let sum = counter.recipient().map(|_: Sum| Get);
        (0..300).for_each(|_| halves.tell(Half(4)).unwrap());
        halves.send(Half(2)).unwrap();
        assert_eq!(sum.send(Sum).unwrap(), 601);
        counter.kill();
        assert_eq!((halves.join(), sum.join()), (Exit::Killed, Exit::Killed));
        assert!(matches!(sum.send(Sum), Err(SendError::Closed(_))));
    });
}

#[test]
fn a_mapped_recipient_keeps_its_target_and_goes_with_its_last_holder() {
    everywhere(|| {
        let counter = Counter(3).start();
        let weak = counter.downgrade();
        let sum = counter.recipient().map(|_: Sum| Get);
        drop(counter);
        assert_eq!(sum.send(Sum).unwrap(), 3);
        drop(sum);
        until(|| weak.upgrade().is_none());
    });
}

/// Waits when it is told so.
struct Slow;
impl Actor for Slow {}
messages! {
    impl Slow {
        fn Wait(&mut self, gate: Gate) { gate.wait() }
    }
}

#[test]
fn what_a_mapped_recipient_is_told_waits_for_room_where_it_goes() {
    everywhere(|| {
        let slow = Builder::new().mailbox(Mailbox::bounded(1)).start(Slow).unwrap();
        let gate = Gate::new();
        let inner = gate.clone();
        let waits = slow.recipient().map(move |_: Third| Wait(inner.clone()));
        waits.tell(Third).unwrap();
        waits.tell(Third).unwrap();
        waits.tell(Third).unwrap();
        // One is handled, one is in the mailbox, one waits for room.
        until(|| slow.queued() == 1 && waits.queued() == 0);
        gate.open();
        waits.send(Third).unwrap();
    });
}
