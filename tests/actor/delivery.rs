//! What gets into a mailbox, and in which order it comes out.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use green::actor::{Actor, Addr, Builder, Context, Handler, Mailbox, Message, Overflow, SendError, dead_letters};

use crate::{Add, Counter, Do, Gate, Get, LONG, Puppet, everywhere, hold, next};

#[test]
fn an_actor_counts() {
    everywhere(|| {
        let counter = Counter(0).start();
        (0..10_000).for_each(|n| counter.tell(Add(n)).unwrap());
        assert_eq!(counter.send(Get).unwrap(), 49_995_000);
    });
}

/// The stacks that a program's green threads have run on.
fn count_stacks(stacks: &Mutex<HashSet<usize>>) {
    let local = 0_u8;
    // The stacks are 256 KiB, aligned to their size.
    stacks.lock().unwrap().insert((&raw const local).addr() >> 18);
}

#[test]
fn an_actor_that_thousands_of_short_ones_tell_keeps_up_with_them() {
    static STACKS: LazyLock<Mutex<HashSet<usize>>> = LazyLock::new(Mutex::default);
    struct Short(Addr<Counter>);
    impl Actor for Short {}
    impl Handler<Add> for Short {
        fn handle(&mut self, m: Add, _: &mut Context<Self>) {
            count_stacks(&STACKS);
            self.0.tell(m).unwrap(); // Keeps its stack while the mailbox is full.
        }
    }
    let runtime = crate::help::builder().workers(1).build().unwrap();
    runtime.run(|| {
        let counter = Counter(0).start();
        let count = 4_000;
        (0..count).for_each(|_| Short(counter.clone()).start().tell(Add(1)).unwrap());
        while counter.send(Get).unwrap() != count {
            green::yield_now();
        }
    });
    let stacks = STACKS.lock().unwrap().len();
    assert!(stacks < 100, "{stacks} stacks: the senders waited for the one that they told");
}

#[test]
fn messages_of_one_sender_stay_in_order_under_every_kind_of_send() {
    struct Ordered(Vec<i64>);
    impl Actor for Ordered {
        const MAILBOX: Mailbox = Mailbox::bounded(4);
    }
    struct Item(usize, i64);
    impl Message for Item {
        type Reply = ();
    }
    impl Handler<Item> for Ordered {
        fn handle(&mut self, Item(sender, n): Item, _: &mut Context<Self>) {
            assert_eq!(self.0[sender] + 1, n, "of sender {sender}");
            self.0[sender] = n;
        }
    }
    everywhere(|| {
        let actor = Ordered(vec![-1; 4]).start();
        green::scope(|s| {
            for sender in 0..4 {
                let actor = actor.clone();
                s.spawn(move || {
                    let recipient = actor.recipient();
                    for n in 0..400 {
                        let item = Item(sender, n);
                        match n % 5 {
                            0 => actor.tell(item).unwrap(),
                            1 => actor.send(item).unwrap(),
                            2 => drop(actor.call(item).unwrap()),
                            3 => recipient.tell(item).unwrap(),
                            _ => {
                                let mut item = Some(item);
                                while let Err(error) = actor.try_tell(item.take().unwrap()) {
                                    assert!(matches!(error, SendError::Full(_)), "{error}");
                                    item = error.into_message();
                                    green::yield_now();
                                }
                            }
                        }
                    }
                });
            }
        });
        actor.stop();
        assert_eq!(actor.join(), green::actor::Exit::Shutdown);
    });
}

#[test]
fn a_bound_of_n_takes_exactly_n_and_then_the_sender_waits() {
    everywhere(|| {
        let (puppet, _lines) = Puppet::new();
        let puppet = Builder::new().mailbox(Mailbox::bounded(3)).start(puppet).unwrap();
        let gate = hold(&puppet);
        for _ in 0..3 {
            puppet.try_tell(Do::new(|_, _| ())).unwrap();
        }
        assert_eq!(puppet.queued(), 3);
        assert!(matches!(puppet.try_tell(Do::new(|_, _| ())), Err(SendError::Full(_))));
        let (entered, also) = (std::sync::Arc::new(AtomicUsize::new(0)), puppet.clone());
        let sent = entered.clone();
        let sender = green::spawn(move || {
            also.tell(Do::new(|_, _| ())).unwrap();
            sent.store(1, Ordering::SeqCst);
        });
        for _ in 0..100 {
            green::yield_now();
        }
        assert_eq!(entered.load(Ordering::SeqCst), 0, "the mailbox is full");
        gate.open();
        sender.join().unwrap();
        assert_eq!(puppet.send_timeout(Do::new(|_, _| 7), LONG).unwrap(), 7);
    });
}

#[test]
fn senders_that_wait_for_room_get_in_in_the_order_in_which_they_came() {
    let runtime = crate::help::builder().workers(1).build().unwrap();
    runtime.run(|| {
        let (puppet, _lines) = Puppet::new();
        let puppet = Builder::new().mailbox(Mailbox::bounded(1)).start(puppet).unwrap();
        let gate = hold(&puppet);
        let order: &'static Mutex<Vec<usize>> = Box::leak(Box::default());
        let note = move |n| Do::new(move |_: &mut Puppet, _: &mut _| order.lock().unwrap().push(n));
        puppet.tell(note(0)).unwrap();
        let senders: Vec<_> = (1..6)
            .map(|n| {
                let puppet = puppet.clone();
                let sender = green::spawn(move || if n % 2 == 0 { puppet.tell(note(n)) } else { puppet.send(note(n)) });
                green::yield_now();
                sender
            })
            .collect();
        gate.open();
        senders.into_iter().for_each(|sender| sender.join().unwrap().unwrap());
        puppet.send(Do::new(|_, _| ())).unwrap();
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
    });
}

#[test]
fn a_full_mailbox_does_what_its_overflow_says() {
    fn run(overflow: Overflow) -> (Vec<Result<(), String>>, Vec<i64>) {
        let (puppet, _lines) = Puppet::new();
        let mailbox = Mailbox::bounded(2).overflow(overflow);
        let puppet = Builder::new().mailbox(mailbox).start(puppet).unwrap();
        let gate = hold(&puppet);
        let seen: &'static Mutex<Vec<i64>> = Box::leak(Box::default());
        let told = (0..4).map(|n| {
            let note = Do::new(move |_: &mut Puppet, _: &mut _| seen.lock().unwrap().push(n));
            puppet.tell(note).map_err(|error| format!("{error:?}"))
        });
        let told: Vec<_> = told.collect();
        gate.open();
        puppet.stop();
        puppet.join();
        (told, seen.lock().unwrap().clone())
    }
    everywhere(|| {
        let full = || Err("Full(..)".to_owned());
        assert_eq!(run(Overflow::Reject), (vec![Ok(()), Ok(()), full(), full()], vec![0, 1]));
        assert_eq!(run(Overflow::DropOldest), (vec![Ok(()); 4], vec![2, 3]));
        assert_eq!(run(Overflow::DropNewest), (vec![Ok(()); 4], vec![0, 1]));
    });
}

#[test]
fn an_ask_that_is_dropped_by_the_mailbox_is_answered_with_its_message() {
    everywhere(|| {
        let (puppet, _lines) = Puppet::new();
        let mailbox = Mailbox::bounded(1).overflow(Overflow::DropOldest);
        let puppet = Builder::new().mailbox(mailbox).start(puppet).unwrap();
        let gate = hold(&puppet);
        let also = puppet.clone();
        let asker = green::spawn(move || also.send_timeout(Do::new(|_, _| 1), LONG));
        while puppet.queued() == 0 {
            green::sleep(std::time::Duration::from_micros(100));
        }
        puppet.tell(Do::new(|_, _| ())).unwrap();
        assert!(matches!(asker.join().unwrap(), Err(SendError::Full(_))));
        gate.open();
    });
}

#[test]
fn dropped_messages_are_counted_and_told() {
    struct Collector(Vec<green::actor::DeadLetter>);
    impl Actor for Collector {
        const MAILBOX: Mailbox = Mailbox::unbounded();
    }
    impl Handler<green::actor::DeadLetter> for Collector {
        fn handle(&mut self, letter: green::actor::DeadLetter, _: &mut Context<Self>) {
            self.0.push(letter);
        }
    }
    struct Of(green::actor::ActorId);
    impl Message for Of {
        type Reply = usize;
    }
    impl Handler<Of> for Collector {
        fn handle(&mut self, of: Of, _: &mut Context<Self>) -> usize {
            self.0.iter().filter(|letter| letter.actor == of.0 && letter.message.contains("Do<")).count()
        }
    }
    everywhere(|| {
        let collector = Collector(Vec::new()).start();
        dead_letters().subscribe(&collector.recipient());
        let before = dead_letters().count();
        let (puppet, _lines) = Puppet::new();
        let puppet = puppet.start();
        let gate = hold(&puppet);
        (0..5).for_each(|_| puppet.tell(Do::new(|_, _| ())).unwrap());
        puppet.kill();
        puppet.join();
        gate.open();
        assert!(dead_letters().count() >= before + 5);
        assert_eq!(collector.send(Of(puppet.id())).unwrap(), 5);
    });
}

#[test]
fn a_hundred_thousand_idle_actors_move_between_workers_and_lose_nothing() {
    let runtime = crate::help::builder().workers(2).build().unwrap();
    let count = crate::help::scaled(20_000);
    runtime.run(move || {
        let actors: Vec<Addr<Counter>> = (0..count).map(|_| Counter(0).start()).collect();
        green::scope(|s| {
            for offset in 0..4 {
                let actors = &actors;
                s.spawn(move || {
                    for at in 0..actors.len() {
                        actors[(at * 7 + offset) % actors.len()].tell(Add(1)).unwrap();
                    }
                });
            }
        });
        let sum: i64 = actors.iter().map(|actor| actor.send(Get).unwrap()).sum();
        assert_eq!(sum, 4 * count as i64);
    });
}

#[test]
fn a_send_works_from_a_handler_a_destructor_and_a_thread_outside() {
    struct OnDrop(Addr<Counter>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.tell(Add(1)).unwrap();
            assert!(self.0.send(Get).unwrap() >= 1);
        }
    }
    everywhere(|| {
        let counter = Counter(0).start();
        drop(OnDrop(counter.clone()));
        let (puppet, _lines) = Puppet::new();
        let puppet = puppet.start();
        let also = counter.clone();
        puppet.send(Do::new(move |_, _| drop(OnDrop(also)))).unwrap();
        let also = counter.clone();
        let outside = std::thread::spawn(move || drop(OnDrop(also)));
        green::blocking(|| outside.join().unwrap());
        // While a thread unwinds from a panic.
        let also = counter.clone();
        let thread = green::spawn(move || {
            let _on_drop = OnDrop(also);
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        assert!(thread.join().is_err());
        assert_eq!(counter.send(Get).unwrap(), 4);
    });
}

#[test]
fn drop_oldest_drops_the_oldest_that_counts() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let mailbox = Mailbox::bounded(1).overflow(Overflow::DropOldest);
        let puppet = Builder::new().mailbox(mailbox).start(puppet).unwrap();
        let (reached, gate) = (Gate::new(), Gate::new());
        let (inside, until) = (reached.clone(), gate.clone());
        let wait = Do::new(move |_, ctx: &mut Context<Puppet>| {
            ctx.notify(Do::new(|me, _| me.write("notified"))).unwrap();
            inside.open();
            until.wait();
        });
        puppet.tell(wait).unwrap();
        reached.wait();
        puppet.tell(Do::new(|me, _| me.write("one"))).unwrap();
        puppet.tell(Do::new(|me, _| me.write("two"))).unwrap();
        gate.open();
        assert_eq!(next(&log), "notified");
        assert_eq!(next(&log), "two");
    });
}

#[test]
fn a_call_that_is_evicted_by_an_ask_is_told_at_once() {
    everywhere(|| {
        let (puppet, _log) = Puppet::new();
        let mailbox = Mailbox::bounded(1).overflow(Overflow::DropOldest);
        let puppet = Builder::new().mailbox(mailbox).start(puppet).unwrap();
        let gate = hold(&puppet);
        let call = puppet.call(Do::new(|_, _| 1)).unwrap();
        let asker = puppet.clone();
        let ask = green::spawn(move || asker.send_timeout(Do::new(|_, _| 2), LONG));
        let told = call.wait_timeout(Duration::from_secs(2));
        gate.open();
        assert!(matches!(told, Err(SendError::Full(_))), "{:?}", told.map(drop));
        assert_eq!(ask.join().unwrap().unwrap(), 2);
    });
}

#[test]
fn a_tell_in_no_park_that_finds_no_room_panics_and_the_process_goes_on() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    everywhere(|| {
        for _ in 0..50 {
            let (puppet, _log) = Puppet::new();
            let puppet = Builder::new().mailbox(Mailbox::bounded(1)).start(puppet).unwrap();
            let work = || Do::new(|_, _| std::thread::sleep(Duration::from_micros(50)));
            for _ in 0..20 {
                let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    green::no_park(|| puppet.tell(work())).unwrap();
                }));
                PANICS.fetch_add(usize::from(told.is_err()), Ordering::Relaxed);
            }
        }
    });
    assert_ne!(PANICS.load(Ordering::Relaxed), 0);
}
