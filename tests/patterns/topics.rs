//! Topics, and their answers to a subscriber that is too slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use green::actor::{
    Actor, ActorId, Addr, Backoff, Builder, Child, ChildState, Context, DeadLetter, Handler, Lag, Lagged, Mailbox,
    Recipient, Supervisor, Topic, dead_letters, messages,
};

use crate::LONG;
use crate::help::{Gate, Random, bounded, everywhere, on_workers, runtime, scaled, until, until_parked};

messages! {
    #[derive(Clone, Debug)]
    struct News(u64);
}

/// Writes down what it hears.
#[derive(Default)]
struct Listener {
    heard: Vec<Heard>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Heard {
    News(u64),
    Lagged(Lagged),
}

impl Actor for Listener {
    const MAILBOX: Mailbox = Mailbox::bounded(1);
    const ASK_TIMEOUT: Duration = LONG;
}
impl Handler<News> for Listener {
    fn handle(&mut self, News(number): News, _: &mut Context<Self>) {
        self.heard.push(Heard::News(number));
    }
}
impl Handler<Lagged> for Listener {
    fn handle(&mut self, lagged: Lagged, _: &mut Context<Self>) {
        self.heard.push(Heard::Lagged(lagged));
    }
}
messages! {
    impl Listener {
        fn All(&mut self) -> Vec<Heard> { self.heard.clone() }
        fn Hold(&mut self, begun: Gate, gate: Gate) {
            begun.open();
            gate.wait();
        }
        fn Panic(&mut self) { std::panic::panic_any("as told".to_owned()) }
    }
}

/// A listener that hears nothing until the gate is opened.
fn held(gate: &Gate) -> Addr<Listener> {
    let (listener, begun) = (Listener::default().start(), Gate::new());
    listener.tell(Hold(begun.clone(), gate.clone())).unwrap();
    begun.wait();
    listener
}

fn all(listener: &Addr<Listener>) -> Vec<Heard> {
    listener.send(All).unwrap()
}

fn news(numbers: impl IntoIterator<Item = u64>) -> Vec<Heard> {
    numbers.into_iter().map(Heard::News).collect()
}

#[test]
fn each_subscriber_gets_each_message_once_and_in_order() {
    everywhere(|| {
        let topic = Topic::new();
        let listeners: Vec<_> = (0..3).map(|_| Listener::default().start()).collect();
        for (index, listener) in listeners.iter().enumerate() {
            assert!(topic.subscribe(&listener.recipient(), 100, lags(listener.recipient())[index].clone()));
            assert!(!topic.subscribe(&listener.recipient(), 100, Lag::Block), "it is subscribed already");
        }
        (0..100).for_each(|number| assert_eq!(topic.publish(News(number)), 3));
        for listener in &listeners {
            until(|| all(listener).len() == 100);
            assert_eq!(all(listener), news(0..100));
        }
    });
}

#[test]
fn a_publisher_waits_for_a_subscriber_that_blocks_and_nothing_is_lost() {
    everywhere(|| {
        let (topic, gate) = (Topic::new(), Gate::new());
        let slow = held(&gate);
        topic.subscribe(&slow.recipient(), 2, Lag::Block);
        let published = green::channel::unbounded();
        let publisher = green::spawn({
            let (topic, sender) = (topic.clone(), published.0);
            move || {
                for number in 0..10 {
                    topic.publish(News(number));
                    sender.send(number).unwrap();
                }
            }
        });
        // One in its mailbox, one in the relay's hand, and two queued.
        for number in 0..4 {
            assert_eq!(published.1.recv(), Ok(number));
        }
        assert!(published.1.try_recv().is_err());
        gate.open();
        publisher.join().unwrap();
        until(|| all(&slow).len() == 10);
        assert_eq!(all(&slow), news(0..10));
    });
}

#[test]
fn a_subscriber_whose_oldest_messages_are_dropped_is_told_how_many_right_there() {
    everywhere(|| {
        let (topic, gate) = (Topic::new(), Gate::new());
        let (slow, quick) = (held(&gate), Listener::default().start());
        topic.subscribe(&slow.recipient(), 2, Lag::DropOldest(slow.recipient()));
        topic.subscribe(&quick.recipient(), 100, Lag::Block);
        (0..12).for_each(|number| assert_eq!(topic.publish(News(number)), 2));
        gate.open();
        until(|| all(&slow).last() == Some(&Heard::News(11)));
        let heard = all(&slow);
        let lost: u64 =
            heard.iter().map(|heard| if let Heard::Lagged(Lagged::Lost(lost)) = heard { *lost } else { 0 }).sum();
        // Of twelve, one is in its mailbox, one in the relay's hand, and two are queued.
        assert!(lost >= 8, "{heard:?}");
        let mut next = 0;
        for item in &heard {
            match item {
                Heard::News(number) => assert_eq!((*number, next), (next, *number), "{heard:?}"),
                Heard::Lagged(Lagged::Lost(messages)) => next += messages - 1,
                Heard::Lagged(other) => panic!("{other:?}"),
            }
            next += 1;
        }
        until(|| all(&quick).len() == 12);
        assert_eq!(all(&quick), news(0..12), "the others are not held up");
    });
}

/// A recipient that nobody else has, and that is not the subscriber, lives as long as the subscription.
#[test]
fn who_is_told_of_the_lag_may_be_made_where_it_is_passed() {
    everywhere(|| {
        let (topic, gate) = (Topic::new(), Gate::new());
        let (sender, told) = green::channel::unbounded();
        let listener = held(&gate);
        topic.subscribe(&listener.recipient(), 1, Lag::DropOldest(Recipient::from(sender)));
        (0..10).for_each(|number| assert_eq!(topic.publish(News(number)), 1));
        gate.open();
        until(|| matches!(all(&listener).last(), Some(Heard::News(9))));
        // Of ten, one is in its mailbox, one in the relay's hand, and one queued, at most. It may be told in two parts.
        let mut lost = 0;
        while lost < 7 {
            let Lagged::Lost(messages) = told.recv_timeout(LONG).unwrap() else { panic!("it goes on") };
            lost += messages;
        }
        assert!(lost <= 9, "{lost}");
        // The subscription has the last address of it.
        topic.unsubscribe(&listener.recipient());
        assert_eq!(told.recv_timeout(LONG), Err(green::channel::RecvTimeoutError::Disconnected));
    });
}

#[test]
fn a_subscription_that_ends_because_of_its_lag_gives_what_was_queued_and_says_so() {
    everywhere(|| {
        let (topic, gate) = (Topic::new(), Gate::new());
        let slow = held(&gate);
        topic.subscribe(&slow.recipient(), 2, Lag::Unsubscribe(slow.recipient()));
        let mut queued = 0;
        while topic.publish(News(queued)) == 1 {
            queued += 1;
        }
        assert_eq!((topic.subscribers(), topic.publish(News(99))), (0, 0));
        gate.open();
        until(|| all(&slow).len() as u64 == queued + 1);
        let mut expected = news(0..queued);
        expected.push(Heard::Lagged(Lagged::Unsubscribed));
        assert_eq!(all(&slow), expected);
        assert!(topic.subscribe(&slow.recipient(), 2, Lag::Block), "it may come back");
    });
}

#[test]
fn a_message_by_which_a_subscription_ends_is_a_dead_letter() {
    everywhere(|| {
        let (topic, gate) = (Topic::new(), Gate::new());
        let slow = held(&gate);
        let (lost, _counts) = dead_letters_for(slow.id());
        topic.subscribe(&slow.recipient(), 1, Lag::Unsubscribe(slow.recipient()));
        let mut published = 0;
        while topic.publish(News(published)) == 1 {
            published += 1;
        }
        until(|| lost.load(Ordering::Relaxed) == 1);
        gate.open();
    });
}

/// `None`: the other's queue was full too early. Is the new subscription there in the end?
fn comes_late() -> Option<bool> {
    let (topic, first, second) = (Topic::new(), Gate::new(), Gate::new());
    // The publisher waits for the one, and then finds the queue of the other full.
    let (one, other) = (held(&first), held(&second));
    topic.subscribe(&one.recipient(), 1, Lag::Block);
    topic.subscribe(&other.recipient(), 1, Lag::Unsubscribe(other.recipient()));
    let publisher = green::spawn({
        let topic = topic.clone();
        move || {
            for number in 0..4 {
                topic.publish(News(number));
                // The relays pass it on.
                green::sleep(Duration::from_millis(5));
            }
        }
    });
    until_parked(publisher.thread(), "mailbox");
    let was_there = topic.unsubscribe(&other.recipient());
    assert!(topic.subscribe(&other.recipient(), 100, Lag::Unsubscribe(other.recipient())));
    first.open();
    publisher.join().unwrap();
    let is_there = topic.unsubscribe(&other.recipient());
    second.open();
    was_there.then_some(is_there)
}

#[test]
fn a_publisher_that_comes_late_ends_no_subscription_that_was_made_since() {
    everywhere(|| {
        let found = (0..100).find_map(|_| comes_late());
        assert_eq!(found, Some(true));
    });
}

#[test]
fn a_subscription_ends_with_its_subscriber_and_keeps_nobody_alive() {
    everywhere(|| {
        let topic = Topic::new();
        let (killed, dropped) = (Listener::default().start(), Listener::default().start());
        topic.subscribe(&killed.recipient(), 2, Lag::Block);
        topic.subscribe(&dropped.recipient(), 2, Lag::DropOldest(dropped.recipient()));
        assert_eq!(topic.publish(News(1)), 2);
        killed.kill();
        drop(dropped);
        until(|| topic.subscribers() == 0);
        killed.join();
        topic.subscribe(&killed.recipient(), 2, Lag::Block);
        until(|| topic.subscribers() == 0);
    });
}

#[test]
fn a_subscription_goes_on_over_restarts_of_its_subscriber() {
    everywhere(|| {
        let topic = Topic::new();
        let child = Child::new("listener", Listener::default).backoff(Backoff::none());
        let sup = Supervisor::one_for_one().intensity(1000, LONG).child(child).start().unwrap();
        let listener = sup.get::<Listener>("listener").unwrap();
        topic.subscribe(&listener.recipient(), 2, Lag::Block);
        for round in 0..5 {
            assert!(listener.send(Panic).is_err());
            until(|| sup.tree().find("listener").unwrap().restarts == round + 1);
            assert_eq!(topic.publish(News(round.into())), 1);
            until(|| all(&listener) == news([round.into()]));
        }
        sup.terminate("listener").unwrap();
        until(|| topic.subscribers() == 0);
    });
}

#[test]
fn a_subscription_outlives_the_time_in_which_its_subscriber_waits_with_a_sibling_for_a_restart() {
    everywhere(|| {
        let topic = Topic::new();
        let backoff = Backoff::exponential(Duration::from_millis(50)..=Duration::from_millis(50));
        let tree = Supervisor::one_for_all().intensity(1000, LONG).backoff(backoff);
        let tree = tree.child(Child::new("a", Listener::default)).child(Child::new("b", Listener::default));
        let sup = tree.start().unwrap();
        let (a, b) = (sup.get::<Listener>("a").unwrap(), sup.get::<Listener>("b").unwrap());
        topic.subscribe(&b.recipient(), 10, Lag::Block);
        for round in 0..3 {
            assert!(a.send(Panic).is_err());
            until(|| !matches!(sup.tree().find("b").unwrap().state, ChildState::Runs));
            assert_eq!(topic.publish(News(round)), 1);
            until(|| sup.tree().children.iter().all(|child| child.state == ChildState::Runs));
            until(|| all(&b) == news([round]));
            assert_eq!(topic.subscribers(), 1);
        }
    });
}

/// How many dead letters there are for an actor from now on.
fn dead_letters_for(id: ActorId) -> (Arc<AtomicU64>, Recipient<DeadLetter>) {
    let lost = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&lost);
    let counts = Recipient::from_fn(move |letter: DeadLetter| {
        counted.fetch_add(u64::from(letter.actor == id), Ordering::Relaxed);
    });
    dead_letters().subscribe(&counts);
    (lost, counts)
}

#[test]
fn what_a_ring_has_when_its_relay_is_stopped_is_heard_or_a_dead_letter() {
    bounded(|| {
        for (workers, is_killed) in [(1, false), (1, true), (2, false), (2, true)] {
            let (runtime, topic, gate) = (runtime(workers), Topic::new(), Gate::new());
            let heard = Arc::new(AtomicU64::new(0));
            let listener = Builder::new().runtime(&runtime).start(Counting(Arc::clone(&heard))).unwrap();
            // Of another runtime, which goes on.
            let (lost, _counts) = dead_letters_for(listener.id());
            let begun = Gate::new();
            listener.tell(HoldOn(begun.clone(), gate.clone())).unwrap();
            begun.wait();
            runtime.run({
                let (topic, listener) = (topic.clone(), listener.clone());
                move || {
                    topic.subscribe(&listener.recipient(), 10, Lag::DropOldest(Recipient::from_fn(|_| {})));
                    (0..10).for_each(|number| assert_eq!(topic.publish(News(number)), 1));
                }
            });
            if is_killed {
                listener.kill();
            }
            gate.open();
            runtime.shutdown(LONG);
            until(|| heard.load(Ordering::Relaxed) + lost.load(Ordering::Relaxed) == 10);
            assert_eq!(topic.publish(News(11)), 0);
        }
    });
}

#[test]
fn what_a_relay_has_for_a_subscriber_that_is_gone_is_a_dead_letter() {
    everywhere(|| {
        for lag in 0..3 {
            let (topic, gate) = (Topic::new(), Gate::new());
            let slow = held(&gate);
            let (lost, counts) = dead_letters_for(slow.id());
            topic.subscribe(&slow.recipient(), 10, lags(slow.recipient())[lag].clone());
            // One may be in its mailbox, and then it is handled before it ends, or given back.
            (0..10).for_each(|number| assert_eq!(topic.publish(News(number)), 1));
            slow.kill();
            gate.open();
            until(|| topic.subscribers() == 0);
            until(|| lost.load(Ordering::Relaxed) == 10);
            drop(counts);
        }
    });
}

fn lags(told: Recipient<Lagged>) -> [Lag; 3] {
    [Lag::Block, Lag::DropOldest(told.clone()), Lag::Unsubscribe(told)]
}

/// Counts what it hears.
struct Counting(Arc<AtomicU64>);
impl Actor for Counting {
    const MAILBOX: Mailbox = Mailbox::bounded(1);
}
impl Handler<News> for Counting {
    fn handle(&mut self, _: News, _: &mut Context<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
messages! {
    impl Counting {
        fn HoldOn(&mut self, begun: Gate, gate: Gate) {
            begun.open();
            gate.wait();
        }
    }
}

#[test]
fn what_was_published_before_an_unsubscribe_still_comes() {
    everywhere(|| {
        for lag in 0..3 {
            let (topic, gate) = (Topic::new(), Gate::new());
            let slow = held(&gate);
            topic.subscribe(&slow.recipient(), 10, lags(slow.recipient())[lag].clone());
            (0..5).for_each(|number| _ = topic.publish(News(number)));
            assert!(topic.unsubscribe(&slow.recipient()));
            assert!(!topic.unsubscribe(&slow.recipient()));
            topic.publish(News(9));
            gate.open();
            until(|| all(&slow).len() == 5);
            assert_eq!(all(&slow), news(0..5));
        }
    });
}

#[test]
fn a_subscriber_that_publishes_to_its_own_full_topic_is_not_stuck() {
    struct Echo(Topic<News>);
    impl Actor for Echo {
        const MAILBOX: Mailbox = Mailbox::bounded(1);
    }
    impl Handler<News> for Echo {
        fn handle(&mut self, News(number): News, _: &mut Context<Self>) {
            if number > 0 {
                self.0.publish(News(number - 1));
                self.0.publish(News(number - 1));
            }
        }
    }
    messages! {
        impl Echo { fn Done(&mut self) {} }
    }
    everywhere(|| {
        let topic = Topic::new();
        let echo = Builder::new().start(Echo(topic.clone())).unwrap();
        topic.subscribe(&echo.recipient(), 1, Lag::Block);
        topic.publish(News(8));
        for _ in 0..10 {
            echo.send_timeout(Done, LONG).unwrap();
        }
        echo.kill();
    });
}

#[test]
fn whatever_the_lag_what_is_heard_and_what_is_reported_lost_is_all() {
    on_workers(|| {
        let topic = Topic::new();
        let listeners: Vec<_> = (0..4).map(|_| Listener::default().start()).collect();
        for (index, listener) in listeners.iter().enumerate() {
            let lag = if index % 2 == 0 { Lag::Block } else { Lag::DropOldest(listener.recipient()) };
            topic.subscribe(&listener.recipient(), 1 + index, lag);
        }
        let rounds: u64 = scaled(300);
        let publishers: Vec<_> = (0..3)
            .map(|publisher| {
                let topic = topic.clone();
                green::spawn(move || {
                    let mut random = Random::new(publisher + 1);
                    for number in 0..rounds {
                        topic.publish(News(publisher * 1_000_000 + number));
                        if random.below(4) == 0 {
                            green::yield_now();
                        }
                    }
                })
            })
            .collect();
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
        topic.publish(News(u64::MAX));
        for (index, listener) in listeners.iter().enumerate() {
            until(|| all(listener).last() == Some(&Heard::News(u64::MAX)));
            let (mut lost, mut heard) = (0, vec![]);
            for item in all(listener) {
                match item {
                    Heard::News(number) => heard.push(number),
                    Heard::Lagged(Lagged::Lost(messages)) => lost += messages,
                    Heard::Lagged(other) => panic!("{other:?}"),
                }
            }
            assert_eq!(heard.len() as u64 + lost, 3 * rounds + 1);
            assert!(index % 2 == 1 || lost == 0);
            for publisher in 0..3 {
                let of_one = heard.iter().filter(|number| **number / 1_000_000 == publisher);
                assert!(of_one.is_sorted());
            }
        }
    });
}
