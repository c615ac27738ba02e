//! The concurrency benchmarks: 8, 10 to 13 and 15 of the suite.

use std::collections::{HashMap, VecDeque};
use std::hint::black_box;

use green::actor::{Actor, Addr, Builder, Context, Handler, Mailbox, SendError};

use crate::micro::{Await, Done, Latch};
use crate::{LONG, Random, message, scaled};

message! {
    Go -> ();
    Write(u64, u64) -> Option<u64>;
    Read(u64) -> Option<u64>;
    Writes -> u64;
}

/// Work of so many steps.
fn work(steps: u64) -> f64 {
    black_box((0..steps).fold(0.0, |sum, n| sum + (n as f64).ln_1p()))
}

#[derive(Default)]
struct Dictionary(HashMap<u64, u64>, u64);
impl Actor for Dictionary {
    const ASK_TIMEOUT: std::time::Duration = LONG;
}
impl Handler<Write> for Dictionary {
    fn handle(&mut self, m: Write, _: &mut Context<Self>) -> Option<u64> {
        self.1 += 1;
        self.0.insert(m.0, m.1)
    }
}
impl Handler<Read> for Dictionary {
    fn handle(&mut self, m: Read, _: &mut Context<Self>) -> Option<u64> {
        self.0.get(&m.0).copied()
    }
}
impl Handler<Writes> for Dictionary {
    fn handle(&mut self, _: Writes, _: &mut Context<Self>) -> u64 {
        self.1
    }
}

struct DictionaryWorker(Addr<Dictionary>, Random, u64, Addr<Latch>);
impl Actor for DictionaryWorker {}
impl Handler<Go> for DictionaryWorker {
    fn handle(&mut self, _: Go, _: &mut Context<Self>) {
        let mut writes = 0;
        for _ in 0..self.2 {
            let key = self.1.below((1 << 31) / 4096);
            if self.1.below(100) < 10 {
                self.0.send(Write(key, key * 3)).unwrap();
                writes += 1;
            } else if let Some(value) = self.0.send(Read(key)).unwrap() {
                assert_eq!(value, key * 3);
            }
        }
        self.3.tell(Done(writes)).unwrap();
    }
}

pub(crate) fn dictionary(scale: u64) {
    let (latch, dictionary) = (Latch::default().start(), Dictionary::default().start());
    for n in 0..20 {
        let worker = DictionaryWorker(dictionary.clone(), Random::new(n + 1), scaled(10_000, scale), latch.clone());
        worker.start().tell(Go).unwrap();
    }
    assert_eq!(latch.send(Await(20)).unwrap(), dictionary.send(Writes).unwrap());
}

/// The buffer is a bounded mailbox: a full one makes producers wait.
struct Consumer(u64, Addr<Latch>, u64);
message! { Item(u64) -> (); }
impl Actor for Consumer {}
impl Handler<Item> for Consumer {
    fn handle(&mut self, m: Item, _: &mut Context<Self>) {
        work(25);
        self.0 += m.0;
        self.2 -= 1;
        if self.2 == 0 {
            self.1.tell(Done(self.0)).unwrap();
        }
    }
}
struct Producer(Vec<Addr<Consumer>>, u64);
impl Actor for Producer {}
impl Handler<Go> for Producer {
    fn handle(&mut self, _: Go, _: &mut Context<Self>) {
        for n in 0..self.1 {
            work(25);
            self.0[n as usize % self.0.len()].tell(Item(n)).unwrap();
        }
    }
}

pub(crate) fn bounded_buffer(scale: u64) {
    let (pairs, items) = (40, scaled(1000, scale).next_multiple_of(40));
    let latch = Latch::default().start();
    let mailbox = Mailbox::bounded(50);
    let consumer = || Builder::new().mailbox(mailbox).start(Consumer(0, latch.clone(), items)).unwrap();
    let consumers: Vec<_> = (0..pairs).map(|_| consumer()).collect();
    for _ in 0..pairs {
        Producer(consumers.clone(), items).start().tell(Go).unwrap();
    }
    assert_eq!(latch.send(Await(pairs)).unwrap(), pairs as u64 * items * (items - 1) / 2);
}

/// Hands forks out in pairs.
struct Table(Vec<bool>);
message! {
    Hungry(usize) -> bool;
    Sated(usize) -> ();
}
impl Actor for Table {
    const ASK_TIMEOUT: std::time::Duration = LONG;
}
impl Handler<Hungry> for Table {
    fn handle(&mut self, m: Hungry, _: &mut Context<Self>) -> bool {
        let (left, right) = (m.0, (m.0 + 1) % self.0.len());
        let free = !self.0[left] && !self.0[right];
        if free {
            (self.0[left], self.0[right]) = (true, true);
        }
        free
    }
}
impl Handler<Sated> for Table {
    fn handle(&mut self, m: Sated, _: &mut Context<Self>) {
        let (left, right) = (m.0, (m.0 + 1) % self.0.len());
        assert!(self.0[left] && self.0[right]);
        (self.0[left], self.0[right]) = (false, false);
    }
}
struct Philosopher(usize, u64, Addr<Table>, Addr<Latch>);
impl Actor for Philosopher {}
impl Handler<Go> for Philosopher {
    fn handle(&mut self, _: Go, _: &mut Context<Self>) {
        for _ in 0..self.1 {
            while !self.2.send(Hungry(self.0)).unwrap() {
                green::yield_now();
            }
            self.2.tell(Sated(self.0)).unwrap();
        }
        self.3.tell(Done(self.1)).unwrap();
    }
}

pub(crate) fn philosophers(scale: u64) {
    let (seats, rounds) = (20, scaled(10_000, scale));
    let (latch, table) = (Latch::default().start(), Table(vec![false; seats]).start());
    for seat in 0..seats {
        Philosopher(seat, rounds, table.clone(), latch.clone()).start().tell(Go).unwrap();
    }
    assert_eq!(latch.send(Await(seats as i64)).unwrap(), seats as u64 * rounds);
}

/// The barber's mailbox is the waiting room.
struct Barber(Random, u64);
message! { Cut -> u64; }
impl Actor for Barber {
    const MAILBOX: Mailbox = Mailbox::bounded(1000).overflow(green::actor::Overflow::Reject);
    const ASK_TIMEOUT: std::time::Duration = LONG;
}
impl Handler<Cut> for Barber {
    fn handle(&mut self, _: Cut, _: &mut Context<Self>) -> u64 {
        work(self.0.below(1000));
        self.1 += 1;
        self.1
    }
}
struct Customer(Addr<Barber>, Addr<Latch>);
impl Actor for Customer {}
impl Handler<Go> for Customer {
    fn handle(&mut self, _: Go, _: &mut Context<Self>) {
        let mut tries = 1;
        loop {
            match self.0.send(Cut) {
                Ok(_) => break,
                Err(SendError::Full(_)) => {
                    tries += 1;
                    green::yield_now();
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert!(tries > 0);
        self.1.tell(Done(1)).unwrap();
    }
}

pub(crate) fn barber(scale: u64) {
    let cuts = scaled(5000, scale);
    let (latch, barber) = (Latch::default().start(), Barber(Random::new(5), 0).start());
    let mut random = Random::new(6);
    for _ in 0..cuts {
        Customer(barber.clone(), latch.clone()).start().tell(Go).unwrap();
        work(random.below(1000));
    }
    assert_eq!(latch.send(Await(cuts as i64)).unwrap(), cuts);
    assert_eq!(barber.send(Cut).unwrap(), cuts + 1);
}

/// Gives two of three ingredients away; the smoker that has the third smokes, then asks for the next round.
struct Arbiter {
    smokers: Vec<Addr<Smoker>>,
    random: Random,
    rounds: u64,
    latch: Addr<Latch>,
}
pub(crate) struct Smoker(Addr<Arbiter>);
message! {
    Smokers(Vec<Addr<Smoker>>) -> ();
    Smoked -> ();
    Smoke(u64) -> ();
}
impl Actor for Arbiter {}
impl Actor for Smoker {}
impl Handler<Smokers> for Arbiter {
    fn handle(&mut self, m: Smokers, _: &mut Context<Self>) {
        self.smokers = m.0;
    }
}
impl Handler<Smoked> for Arbiter {
    fn handle(&mut self, _: Smoked, _: &mut Context<Self>) {
        if self.rounds == 0 {
            self.smokers.clear();
            self.latch.tell(Done(1)).unwrap();
            return;
        }
        self.rounds -= 1;
        let lucky = self.random.below(self.smokers.len() as u64) as usize;
        self.smokers[lucky].tell(Smoke(self.random.below(1000))).unwrap();
    }
}
impl Handler<Smoke> for Smoker {
    fn handle(&mut self, m: Smoke, _: &mut Context<Self>) {
        self.0.tell(Smoked).unwrap();
        work(m.0);
    }
}

pub(crate) fn smokers(scale: u64) {
    let latch = Latch::default().start();
    let rounds = scaled(1000, scale);
    let arbiter = Arbiter { smokers: Vec::new(), random: Random::new(7), rounds, latch: latch.clone() }.start();
    let smokers: Vec<_> = (0..200).map(|_| Smoker(arbiter.clone()).start()).collect();
    arbiter.send(Smokers(smokers)).unwrap();
    arbiter.tell(Smoked).unwrap();
    assert_eq!(latch.send(Await(1)).unwrap(), 1);
}

/// Credits by an ask, so that a transfer is whole or not at all; two accounts that credit each other are told so, and the
/// teller tries again.
pub(crate) struct Account(i64);
message! {
    Debit(i64, Addr<Account>) -> bool;
    Credit(i64) -> ();
    Balance -> i64;
}
impl Actor for Account {
    const ASK_TIMEOUT: std::time::Duration = LONG;
}
impl Handler<Debit> for Account {
    fn handle(&mut self, m: Debit, _: &mut Context<Self>) -> bool {
        match m.1.send(Credit(m.0)) {
            Ok(()) => {
                self.0 -= m.0;
                true
            }
            Err(SendError::Deadlock { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    }
}
impl Handler<Credit> for Account {
    fn handle(&mut self, m: Credit, _: &mut Context<Self>) {
        self.0 += m.0;
    }
}
impl Handler<Balance> for Account {
    fn handle(&mut self, _: Balance, _: &mut Context<Self>) -> i64 {
        self.0
    }
}

pub(crate) fn bank(scale: u64) {
    let (count, transfers) = (1000, scaled(50_000, scale));
    let accounts: Vec<_> = (0..count).map(|_| Account(1_000_000).start()).collect();
    let mut random = Random::new(8);
    let mut expected = vec![1_000_000_i64; count];
    let mut pick = || {
        let from = random.below(count as u64) as usize;
        let to = (from + 1 + random.below(count as u64 - 1) as usize) % count;
        (from, to, random.below(1000) as i64)
    };
    let mut running = VecDeque::new();
    let debit =
        |(from, to, amount): (usize, usize, i64)| accounts[from].call(Debit(amount, accounts[to].clone())).unwrap();
    let mut settle = |running: &mut VecDeque<_>, left: usize| {
        while running.len() > left {
            let Some((order, reply)) = running.pop_front() else { return };
            let reply: green::actor::Pending<Debit> = reply;
            let mut done = reply.wait_timeout(LONG).unwrap();
            while !done {
                done = debit(order).wait_timeout(LONG).unwrap();
            }
            let (from, to, amount) = order;
            expected[from] -= amount;
            expected[to] += amount;
        }
    };
    for _ in 0..transfers {
        let order = pick();
        running.push_back((order, debit(order)));
        settle(&mut running, 1000);
    }
    settle(&mut running, 0);
    for (account, expected) in accounts.iter().zip(expected) {
        assert_eq!(account.send(Balance).unwrap(), expected);
    }
}
