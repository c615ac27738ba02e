//! What becomes of subscriptions and of what they have, when they end otherwise than by their subscriber.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use green::actor::{Actor, Addr, Builder, Context, Handler, Lag, Lagged, Mailbox, Message, Recipient, Topic, messages};

use crate::help::{bounded, runtime, scaled, until};

messages! {
    #[derive(Clone, Debug)]
    struct News(u64);
}

#[derive(Default)]
struct Reader(Vec<u64>);
impl Actor for Reader {}
impl Handler<News> for Reader {
    fn handle(&mut self, News(number): News, _: &mut Context<Self>) {
        self.0.push(number);
    }
}
impl Handler<Lagged> for Reader {
    fn handle(&mut self, _: Lagged, _: &mut Context<Self>) {}
}
messages! {
    impl Reader {
        fn Read(&self) -> Vec<u64> { self.0.clone() }
    }
}

/// It stayed in the topic for ever, and its subscriber could not subscribe again.
#[test]
fn a_subscription_that_has_ended_with_its_runtime_can_be_made_again() {
    bounded(|| {
        let (topic, reader) = (Topic::new(), Reader::default().start());
        let to = reader.recipient();
        for (number, lag) in [Lag::Block, Lag::Unsubscribe(reader.recipient()), Lag::DropOldest(reader.recipient())]
            .into_iter()
            .enumerate()
        {
            let number = 2 * number as u64;
            let short = runtime(1);
            assert!(short.run(|| topic.subscribe(&to, 4, lag.clone())));
            assert!(!topic.subscribe(&to, 4, Lag::Block));
            assert_eq!(topic.publish(News(number)), 1);
            until(|| reader.send(Read).unwrap().contains(&number));
            drop(short);
            assert_eq!(topic.subscribers(), 0, "{lag:?}");
            assert_eq!(topic.publish(News(100)), 0);
            assert!(topic.subscribe(&to, 4, Lag::Block));
            assert_eq!(topic.publish(News(number + 1)), 1);
            until(|| reader.send(Read).unwrap().contains(&(number + 1)));
            assert!(topic.unsubscribe(&to));
        }
        assert_eq!(reader.send(Read).unwrap(), [0, 1, 2, 3, 4, 5]);
    });
}

/// Panics when it is dropped, if it was not handled.
struct Bomb {
    is_live: bool,
    drops: Arc<AtomicUsize>,
}
impl Message for Bomb {
    type Reply = ();
}
impl Clone for Bomb {
    fn clone(&self) -> Self {
        Self { is_live: true, drops: Arc::clone(&self.drops) }
    }
}
impl Drop for Bomb {
    fn drop(&mut self) {
        if self.is_live {
            self.drops.fetch_add(1, Ordering::Relaxed);
            panic!("bang");
        }
    }
}

/// Waits in its handler.
struct Stuck(Arc<AtomicBool>);
impl Actor for Stuck {
    const MAILBOX: Mailbox = Mailbox::bounded(1);
}
impl Handler<Bomb> for Stuck {
    fn handle(&mut self, mut bomb: Bomb, _: &mut Context<Self>) {
        bomb.is_live = false;
        self.0.store(true, Ordering::Release);
        green::thread::park();
    }
}
impl Handler<Lagged> for Stuck {
    fn handle(&mut self, _: Lagged, _: &mut Context<Self>) {}
}

/// Two of them ended the process; the one that made room, its publisher.
#[test]
fn what_a_ring_loses_may_panic_when_it_is_dropped() {
    bounded(|| {
        let (drops, is_stuck) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let topic = Topic::<Bomb>::new();
        let stuck = Builder::new().start(Stuck(Arc::clone(&is_stuck))).unwrap();
        topic.subscribe(&stuck.recipient(), 3, Lag::DropOldest(stuck.recipient()));
        // What is told is a clone, and what is published goes in silence.
        let published = Arc::clone(&drops);
        let publish = || topic.publish(Bomb { is_live: false, drops: Arc::clone(&published) });
        assert_eq!(publish(), 1);
        until(|| is_stuck.load(Ordering::Acquire));
        // One is in the mailbox, one in the relay's hand, three are in the ring; four had to go.
        assert_eq!((0..9).map(|_| publish()).sum::<usize>(), 9);
        stuck.kill();
        stuck.join();
        until(|| drops.load(Ordering::Relaxed) == 9);
        until(|| topic.subscribers() == 0);
    });
}

/// It ended the publisher, and the subscribers behind it missed the message.
#[test]
fn what_a_full_subscription_rejects_may_panic_when_it_is_dropped() {
    bounded(|| {
        let (drops, is_stuck) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let topic = Topic::<Bomb>::new();
        let stuck = Builder::new().start(Stuck(Arc::clone(&is_stuck))).unwrap();
        topic.subscribe(&stuck.recipient(), 1, Lag::Unsubscribe(stuck.recipient()));
        let published = Arc::clone(&drops);
        let publish = || topic.publish(Bomb { is_live: false, drops: Arc::clone(&published) });
        until(|| publish() == 0);
        until(|| topic.subscribers() == 0);
        assert!(drops.load(Ordering::Relaxed) > 0);
        stuck.kill();
        stuck.join();
    });
}

/// Each that subscribed or ended was compared with all others, and had the list copied.
#[test]
fn so_many_as_one_likes_subscribe_and_end_in_a_time_that_grows_as_they_do() {
    bounded(|| {
        let topic = Topic::new();
        let readers: Vec<_> = (0..scaled(50_000)).map(|_| Reader::default().start()).collect();
        let start = Instant::now();
        readers.iter().for_each(|reader| assert!(topic.subscribe(&reader.recipient(), 1, Lag::Block)));
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        assert_eq!(topic.publish(News(7)), readers.len());
        readers.iter().rev().for_each(Addr::kill);
        until(|| topic.subscribers() == 0);
        assert!(start.elapsed() < Duration::from_secs(25), "{:?}", start.elapsed());
    });
}

#[test]
#[should_panic = "a mailbox has to hold one message at least"]
fn a_subscription_without_a_queue_panics() {
    Topic::new().subscribe(&Recipient::from_fn(|_: News| ()), 0, Lag::Block);
}
