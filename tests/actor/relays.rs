//! What is on its way in a relay (an adapter, a subscription, a stream) when a runtime ends: it gets there, or is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use green::actor::{
    Actor, Addr, Builder, Context, DeadLetter, Exit, Lag, Mailbox, Recipient, Topic, dead_letters, messages,
};
use green::channel::Sender;

use crate::LONG;
use crate::help::{Gate, Spot, bounded, in_a_child, runtime, until};

messages! {
    struct Outer(usize);
    struct Middle(usize);
}

/// Counts what it handles, behind a gate.
#[derive(Clone)]
struct Till {
    begun: Gate,
    gate: Gate,
    count: Arc<AtomicUsize>,
}
impl Till {
    fn new() -> Self {
        Self { begun: Gate::new(), gate: Gate::new(), count: Arc::default() }
    }

    fn open(&self) -> Addr<Till> {
        Builder::new().mailbox(Mailbox::bounded(1)).start(self.clone()).unwrap()
    }
}
impl Actor for Till {}
messages! {
    impl Till {
        #[derive(Clone)]
        fn Coin(&mut self, number: usize) {
            self.begun.open();
            self.gate.wait();
            self.count.fetch_add(1, Ordering::SeqCst);
        }
    }
}

type Way = fn(&Addr<Till>) -> Box<dyn Fn(usize) + Send>;

/// Each way to a till by relays.
const WAYS: [Way; 5] = [
    |till| {
        let one = till.recipient().map(|Outer(number)| Coin(number));
        Box::new(move |number| one.tell(Outer(number)).unwrap())
    },
    |till| {
        let inner = till.recipient().map(|Middle(number)| Coin(number));
        let outer = inner.map(|Outer(number)| Middle(number));
        Box::new(move |number| outer.tell(Outer(number)).unwrap())
    },
    |till| {
        let till = till.clone();
        let inner = Recipient::from_fn(move |Middle(number)| till.tell_timeout(Coin(number), LONG).unwrap());
        let outer = inner.map(|Outer(number)| Middle(number));
        Box::new(move |number| outer.tell(Outer(number)).unwrap())
    },
    |till| {
        let topic = Topic::new();
        topic.subscribe(&till.recipient(), 100, Lag::Block);
        Box::new(move |number| _ = topic.publish(Coin(number)))
    },
    |till| {
        let (topic, told) = (Topic::new(), Recipient::from_fn(|_| ()));
        let relay = till.recipient().map(|coin: Copied| Coin(coin.0));
        topic.subscribe(&relay, 100, Lag::DropOldest(told));
        Box::new(move |number| {
            let _held = &relay;
            topic.publish(Copied(number));
        })
    },
];
messages! {
    #[derive(Clone)]
    struct Copied(usize);
}

#[test]
fn what_relays_have_when_their_runtime_is_shut_down_gets_to_its_target() {
    for workers in [1, 2, 4] {
        for (number, way) in WAYS.into_iter().enumerate() {
            bounded(move || {
                let (runtime, till) = (runtime(workers), Till::new());
                let opened = till.clone();
                let (_sends, _till) = runtime.run(move || {
                    let addr = opened.open();
                    let send = way(&addr);
                    (0..50).for_each(&send);
                    opened.begun.wait();
                    (send, addr)
                });
                // When the runtime ends already.
                let gate = till.gate.clone();
                let opens = std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(20));
                    gate.open();
                });
                let end = runtime.shutdown(LONG);
                opens.join().unwrap();
                assert_eq!((till.count.load(Ordering::SeqCst), end.is_clean()), (50, true), "way {number}: {end}");
            });
        }
    }
}

#[test]
fn what_a_relay_cannot_pass_on_before_the_deadline_is_lost_and_counted() {
    let ended = in_a_child(&[], || {
        for workers in [1, 2] {
            for (number, way) in WAYS.into_iter().enumerate() {
                if number == 2 {
                    continue; // The closure's handler is unwound with what it handles.
                }
                let (runtime, till) = (runtime(workers), Till::new());
                let opened = till.clone();
                let before = dead_letters().count();
                let (_sends, _till) = runtime.run(move || {
                    let addr = opened.open();
                    let send = way(&addr);
                    (0..50).for_each(&send);
                    opened.begun.wait();
                    (send, addr)
                });
                let end = runtime.shutdown(Duration::from_millis(40));
                // One was being handled.
                assert_eq!((end.lost, end.left), (49, 0), "way {number}: {end}");
                assert_eq!(dead_letters().count() - before, 49, "way {number}");
            }
        }
    });
    ended.assert_success();
}

struct Stream {
    till: Till,
    items: usize,
}
impl Actor for Stream {
    const MAILBOX: Mailbox = Mailbox::bounded(1);

    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
        ctx.attach((0..self.items).map(Item));
        Ok(())
    }
}
messages! {
    impl Stream {
        fn Item(&mut self, number: usize) {
            self.till.begun.open();
            self.till.gate.wait();
        }
    }
}

#[test]
fn the_item_of_a_stream_that_its_actor_refuses_is_lost_and_counted() {
    let ended = in_a_child(&[], || {
        for workers in [1, 2] {
            let (runtime, till) = (runtime(workers), Till::new());
            let before = dead_letters().count();
            let stream = Stream { till: till.clone(), items: 10 };
            let stream = Builder::new().runtime(&runtime).start(stream).unwrap();
            until(|| till.begun.is_open() && stream.queued() == 1);
            // The third waits for room; the others have not been made.
            let end = runtime.shutdown(Duration::from_millis(40));
            assert_eq!((end.killed, end.lost), (1, 2), "{end}");
            assert_eq!(dead_letters().count() - before, 2);
        }
    });
    ended.assert_success();
}

/// Takes items, the last of which says which thread it was that gave them.
struct Follows(Till, Spot);
impl Actor for Follows {
    const MAILBOX: Mailbox = Mailbox::bounded(1);

    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
        let (channel, items) = green::channel::unbounded();
        (0..9).for_each(|number| channel.send(number).unwrap());
        let spot = self.1.clone();
        let marks = move |number: &usize| {
            if *number == 2 {
                spot.mark();
            }
        };
        ctx.attach(items.into_iter().inspect(marks).map(Followed));
        Ok(())
    }
}
messages! {
    impl Follows {
        fn Followed(&mut self, _number: usize) {
            self.0.begun.open();
            self.0.gate.wait();
        }
    }
}

/// It had left the channel, and was in no queue.
#[test]
fn the_item_of_a_stream_that_waits_for_room_when_the_process_ends_is_counted() {
    let ended = in_a_child(&[], || {
        let (till, spot) = (Till::new(), Spot::default());
        let follows = Follows(till.clone(), spot.clone()).start();
        // The first is handled, the second queued, the third waits for room, and the others are still in the channel.
        until(|| till.begun.is_open() && follows.queued() == 1 && spot.waits_for() == Some("mailbox"));
    });
    ended.assert_success();
    assert!(ended.output.contains("when the process ends: 2 (of 1 actors"), "{}", ended.output);
}

#[test]
fn a_relay_that_is_stuck_leaves_the_others_their_time() {
    for workers in [1, 2] {
        bounded(move || {
            let (runtime, stuck, other) = (runtime(workers), Till::new(), Till::new());
            other.gate.open();
            let (till, free) = (stuck.clone(), other.clone());
            let _held = runtime.run(move || {
                let (stuck, free) = (till.open(), Builder::new().start(free).unwrap());
                let relay = stuck.recipient().map(|Outer(number)| Coin(number));
                (0..10).for_each(|number| relay.tell(Outer(number)).unwrap());
                till.begun.wait();
                (0..100).for_each(|number| free.tell(Coin(number)).unwrap());
                (stuck, free, relay)
            });
            let end = runtime.shutdown(Duration::from_millis(600));
            assert_eq!((other.count.load(Ordering::SeqCst), end.lost, end.left), (100, 9, 0), "{end}");
        });
    }
}

messages! {
    #[derive(Clone, Debug)]
    struct Line(usize);
}

/// Prints a line for each job, once the gate is open.
struct Worker {
    gate: Gate,
    print: Box<dyn Fn(usize) -> bool + Send>,
}
impl Actor for Worker {}
messages! {
    impl Worker {
        fn Job(&mut self, number: usize) {
            self.gate.wait();
            assert!((self.print)(number), "nobody prints it");
        }
    }
}

type Print = fn(Sender<usize>) -> (Box<dyn Fn(usize) -> bool + Send>, Recipient<Line>);

/// Each way from a worker to the lines, and the printer, which a topic does not keep.
const PRINTS: [Print; 4] = [
    |lines| {
        let printer = Recipient::from_fn(move |Line(number)| lines.send(number).unwrap());
        let to = printer.clone();
        (Box::new(move |number| to.tell(Line(number)).is_ok()), printer)
    },
    |lines| {
        let (sender, received) = green::channel::bounded(1);
        green::spawn(move || received.iter().for_each(|Line(number)| lines.send(number).unwrap()));
        let printer = Recipient::from(sender);
        let to = printer.clone();
        (Box::new(move |number| to.tell(Line(number)).is_ok()), printer)
    },
    |lines| {
        let printer = Recipient::from_fn(move |Line(number)| lines.send(number).unwrap());
        let outer = printer.map(|Outer(number)| Line(number));
        (Box::new(move |number| outer.tell(Outer(number)).is_ok()), printer)
    },
    |lines| {
        let printer = Recipient::from_fn(move |Line(number)| lines.send(number).unwrap());
        let topic = Topic::new();
        topic.subscribe(&printer, 10, Lag::Block);
        (Box::new(move |number| topic.publish(Line(number)) == 1), printer)
    },
];

#[test]
fn what_an_actor_says_while_it_drains_gets_through_relays() {
    for workers in [1, 2, 4] {
        for (number, print) in PRINTS.into_iter().enumerate() {
            bounded(move || {
                let (runtime, gate) = (runtime(workers), Gate::new());
                let (sender, lines) = green::channel::unbounded();
                let inside = gate.clone();
                let _held = runtime.run(move || {
                    let (print, printer) = print(sender);
                    let worker = Worker { gate: inside, print }.start();
                    (0..100).for_each(|number| worker.tell(Job(number)).unwrap());
                    (worker, printer)
                });
                // When the runtime ends already.
                let opens = std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(20));
                    gate.open();
                });
                let end = runtime.shutdown(LONG);
                opens.join().unwrap();
                let printed: Vec<usize> = lines.try_iter().collect();
                assert_eq!((printed.len(), end.is_clean()), (100, true), "way {number}: {end}");
            });
        }
    }
}

#[test]
fn who_hears_of_dead_letters_by_a_relay_hears_of_those_of_a_drain() {
    for workers in [1, 2] {
        bounded(move || {
            let (runtime, gate) = (runtime(workers), Gate::new());
            let (sender, heard) = green::channel::unbounded();
            let inside = gate.clone();
            let held = runtime.run(move || {
                let hears = Recipient::from_fn(move |letter: DeadLetter| _ = sender.send(letter.actor));
                dead_letters().subscribe(&hears);
                // It dies of the first.
                let worker = Worker { gate: inside, print: Box::new(|_| false) }.start();
                (0..10).for_each(|number| worker.tell(Job(number)).unwrap());
                (worker, hears)
            });
            let opens = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(20));
                gate.open();
            });
            let end = runtime.shutdown(LONG);
            opens.join().unwrap();
            assert_eq!((end.failed, end.lost), (1, 9), "{end}");
            assert_eq!(heard.try_iter().filter(|actor| *actor == held.0.id()).count(), 9);
        });
    }
}

/// Waits for ever, and has a word when it is killed.
struct Stays(Gate, Recipient<Line>);
impl Actor for Stays {
    fn stopping(&mut self, _: &Exit, _: &mut Context<Self>) {
        self.1.tell(Line(7)).unwrap();
    }
}
messages! {
    impl Stays {
        fn Stay(&mut self) {
            self.0.open();
            green::thread::park();
        }
    }
}

/// They were closed with the others, before these were killed.
#[test]
fn what_an_actor_says_that_is_killed_when_the_time_is_over_gets_through_a_relay() {
    for workers in [1, 2] {
        bounded(move || {
            let (runtime, inside) = (runtime(workers), Gate::new());
            let (sender, lines) = green::channel::unbounded();
            let begins = inside.clone();
            let _held = runtime.run(move || {
                let printer = Recipient::from_fn(move |Line(number)| sender.send(number).unwrap());
                let stays = Stays(begins, printer.clone()).start();
                stays.tell(Stay).unwrap();
                (stays, printer)
            });
            inside.wait();
            let end = runtime.shutdown(Duration::from_millis(50));
            assert_eq!((end.killed, end.lost, lines.try_recv()), (1, 0, Ok(7)), "{end}");
        });
    }
}
