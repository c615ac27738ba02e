//! Recipients of closures, of channels, of other recipients.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use green::actor::{
    Actor, Builder, Context, DeadLetter, Exit, Machine, Mailbox, On, Recipient, SendError, StateMachine, Step,
    dead_letters, messages,
};

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

/// How many messages of that type were dead letters since, once they have been told.
fn dead<M>() -> (Recipient<DeadLetter>, Arc<AtomicUsize>) {
    let count = Arc::<AtomicUsize>::default();
    let counts = Arc::clone(&count);
    let reader = Recipient::from_fn(move |letter: DeadLetter| {
        if letter.message == std::any::type_name::<M>() {
            counts.fetch_add(1, Ordering::SeqCst);
        }
    });
    dead_letters().subscribe(&reader);
    (reader, count)
}

messages! {
    struct IntoAChannel;
    struct ToAnActor;
    #[derive(Clone, PartialEq, Eq, Debug)]
    struct Postponed;
}

/// Asked or not was looked at before the message was given to the channel.
#[test]
fn a_call_whose_pending_is_dropped_while_an_adapter_has_it_in_hand_is_a_dead_letter_if_it_does_not_arrive() {
    everywhere(|| {
        let (_reader, count) = dead::<IntoAChannel>();
        let (sender, received) = green::channel::bounded(1);
        let to = Recipient::from(sender);
        to.tell(IntoAChannel).unwrap();
        let pending = to.call(IntoAChannel).unwrap();
        until(|| received.len() == 1 && to.queued() == 0);
        green::sleep(Duration::from_millis(2));
        drop(pending);
        drop(received);
        until(|| count.load(Ordering::SeqCst) == 1);
        to.join();
        assert_eq!(count.load(Ordering::SeqCst), 1);
    });
}

/// The error went unseen, and the message with it.
#[test]
fn a_call_that_an_adapter_has_lost_is_a_dead_letter_if_nobody_looks_at_the_answer() {
    everywhere(|| {
        let (_reader, count) = dead::<IntoAChannel>();
        let (sender, received) = green::channel::bounded(1);
        drop(received);
        let to = Recipient::from(sender);
        let unseen = to.call(IntoAChannel).unwrap();
        until(|| unseen.is_ready());
        drop(unseen);
        until(|| count.load(Ordering::SeqCst) == 1);
    });
}

#[test]
fn a_call_that_is_refused_where_an_adapter_has_passed_it_on_is_a_dead_letter_if_nobody_looks_at_the_answer() {
    everywhere(|| {
        let (_reader, count) = dead::<ToAnActor>();
        let slow = Builder::new().mailbox(Mailbox::bounded(1)).start(Slow).unwrap();
        let (gate, passed) = (Gate::new(), Arc::<AtomicUsize>::default());
        slow.tell(Wait(gate.clone())).unwrap();
        let (inside, passes) = (gate.clone(), Arc::clone(&passed));
        let to = slow.recipient().map(move |_: ToAnActor| {
            passes.fetch_add(1, Ordering::SeqCst);
            Wait(inside.clone())
        });
        let mut calls = vec![to.call(ToAnActor).unwrap(), to.call(ToAnActor).unwrap()];
        // The first is queued there by then.
        until(|| passed.load(Ordering::SeqCst) == 2);
        slow.stop();
        let refused = to.call(ToAnActor).unwrap();
        until(|| refused.is_ready());
        slow.kill();
        until(|| calls.iter().all(green::actor::Pending::is_ready));
        calls.push(refused);
        drop(calls);
        until(|| count.load(Ordering::SeqCst) == 3);
        gate.open();
    });
}

struct PostponesAll;
impl StateMachine for PostponesAll {
    type State = ();
    const POSTPONED: usize = 0;

    fn timed_out(&mut self, (): &(), _: &mut Context<Machine<Self>>) {}
}
impl On<Postponed> for PostponesAll {
    fn on(&mut self, (): &(), msg: Postponed, _: &mut Context<Machine<Self>>) -> Step<(), Postponed> {
        Step::Postpone(msg)
    }
}

#[test]
fn a_call_that_a_state_machine_has_no_room_for_is_a_dead_letter_if_nobody_looks_at_the_answer() {
    everywhere(|| {
        let (_reader, count) = dead::<Postponed>();
        let machine = Machine::new((), PostponesAll).start();
        let unseen = machine.call(Postponed).unwrap();
        until(|| unseen.is_ready());
        drop(unseen);
        until(|| count.load(Ordering::SeqCst) == 1);
        // Its caller is told.
        assert!(machine.call(Postponed).unwrap().wait().is_err());
        machine.stop();
        machine.join();
        assert_eq!(count.load(Ordering::SeqCst), 1);
    });
}
