//! The micro benchmarks: 1 to 7 of the suite.

use green::actor::{Actor, Addr, Context, Deferred, Handler, Mailbox};

use crate::{LONG, Random, message, scaled};

/// Counts down and answers whoever waits for the end.
#[derive(Default)]
pub(crate) struct Latch {
    left: i64,
    sum: u64,
    waiting: Option<Deferred<u64>>,
}

message! {
    Done(u64) -> ();
    Await(i64) -> u64;
}

impl Actor for Latch {
    const ASK_TIMEOUT: std::time::Duration = LONG;
}
impl Handler<Done> for Latch {
    fn handle(&mut self, m: Done, _: &mut Context<Self>) {
        self.left -= 1;
        self.sum += m.0;
        if self.left == 0
            && let Some(waiting) = self.waiting.take()
        {
            waiting.reply(self.sum);
        }
    }
}
impl Handler<Await> for Latch {
    fn handle(&mut self, m: Await, ctx: &mut Context<Self>) -> u64 {
        self.left += m.0;
        if self.left != 0 {
            self.waiting = Some(ctx.defer::<Await>());
        }
        self.sum
    }
}

#[derive(Default)]
struct Counter(u64);
impl Actor for Counter {
    const ASK_TIMEOUT: std::time::Duration = LONG;
}
message! {
    Inc -> ();
    Total -> u64;
    Ping(u64) -> u64;
}
impl Handler<Inc> for Counter {
    fn handle(&mut self, _: Inc, _: &mut Context<Self>) {
        self.0 += 1;
    }
}
impl Handler<Total> for Counter {
    fn handle(&mut self, _: Total, _: &mut Context<Self>) -> u64 {
        self.0
    }
}
impl Handler<Ping> for Counter {
    fn handle(&mut self, m: Ping, _: &mut Context<Self>) -> u64 {
        self.0 += 1;
        m.0 + 1
    }
}

struct Pinger(Addr<Counter>);
impl Actor for Pinger {
    const ASK_TIMEOUT: std::time::Duration = LONG;
}
message! { Start(u64) -> u64; }
impl Handler<Start> for Pinger {
    fn handle(&mut self, m: Start, _: &mut Context<Self>) -> u64 {
        (0..m.0).fold(0, |n, _| self.0.send(Ping(n)).unwrap())
    }
}

pub(crate) fn ping_pong(scale: u64) {
    let n = scaled(40_000, scale);
    let pong = Counter(0).start();
    assert_eq!(Pinger(pong.clone()).start().send(Start(n)).unwrap(), n);
    assert_eq!(pong.send(Total).unwrap(), n);
}

pub(crate) fn counting(scale: u64) {
    let n = scaled(1_000_000, scale);
    let counter = Counter(0).start();
    (0..n).for_each(|_| counter.tell(Inc).unwrap());
    assert_eq!(counter.send(Total).unwrap(), n);
}

pub(crate) fn fork_join_throughput(scale: u64) {
    let n = scaled(10_000, scale);
    let actors: Vec<_> = (0..60).map(|_| Counter(0).start()).collect();
    for _ in 0..n {
        actors.iter().for_each(|actor| actor.tell(Inc).unwrap());
    }
    assert!(actors.iter().all(|actor| actor.send(Total).unwrap() == n));
}

pub(crate) fn fork_join_creation(scale: u64) {
    let n = scaled(40_000, scale);
    let latch = Latch::default().start();
    struct Once(Addr<Latch>);
    impl Actor for Once {}
    impl Handler<Inc> for Once {
        fn handle(&mut self, _: Inc, _: &mut Context<Self>) {
            self.0.tell(Done(1)).unwrap();
        }
    }
    for _ in 0..n {
        Once(latch.clone()).start().tell(Inc).unwrap();
    }
    assert_eq!(latch.send(Await(n as i64)).unwrap(), n);
}

pub(crate) struct Ring {
    next: Option<Addr<Ring>>,
    latch: Addr<Latch>,
}
message! {
    Next(Addr<Ring>) -> ();
    Hop(u64) -> ();
}
impl Actor for Ring {}
impl Handler<Next> for Ring {
    fn handle(&mut self, m: Next, _: &mut Context<Self>) {
        self.next = Some(m.0);
    }
}
impl Handler<Hop> for Ring {
    fn handle(&mut self, m: Hop, _: &mut Context<Self>) {
        match &self.next {
            Some(next) if m.0 > 0 => next.tell(Hop(m.0 - 1)).unwrap(),
            _ => self.latch.tell(Done(1)).unwrap(),
        }
    }
}

pub(crate) fn thread_ring(scale: u64) {
    let latch = Latch::default().start();
    let ring: Vec<_> = (0..100).map(|_| Ring { next: None, latch: latch.clone() }.start()).collect();
    for (at, node) in ring.iter().enumerate() {
        node.send(Next(ring[(at + 1) % ring.len()].clone())).unwrap();
    }
    ring[0].tell(Hop(scaled(100_000, scale))).unwrap();
    assert_eq!(latch.send(Await(1)).unwrap(), 1);
    ring.iter().for_each(Addr::stop);
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Blue,
    Red,
    Yellow,
}

fn complement(a: Colour, b: Colour) -> Colour {
    use Colour::{Blue, Red, Yellow};
    match (a, b) {
        _ if a == b => a,
        (Blue, Red) | (Red, Blue) => Yellow,
        (Blue, Yellow) | (Yellow, Blue) => Red,
        _ => Blue,
    }
}

/// The mall: pairs those who come.
struct Mall {
    left: u64,
    waiting: Option<(Colour, Deferred<Option<Colour>>)>,
}
message! { Meet(Colour) -> Option<Colour>; }
impl Actor for Mall {
    const ASK_TIMEOUT: std::time::Duration = LONG;
}
impl Handler<Meet> for Mall {
    fn handle(&mut self, m: Meet, ctx: &mut Context<Self>) -> Option<Colour> {
        if self.left == 0 {
            if let Some((_, other)) = self.waiting.take() {
                other.reply(None);
            }
            return None;
        }
        match self.waiting.take() {
            Some((colour, other)) => {
                self.left -= 1;
                other.reply(Some(m.0));
                Some(colour)
            }
            None => {
                self.waiting = Some((m.0, ctx.defer::<Meet>()));
                None
            }
        }
    }
}

struct Chameneo(Colour, Addr<Mall>, Addr<Latch>);
impl Actor for Chameneo {}
impl Handler<Inc> for Chameneo {
    fn handle(&mut self, _: Inc, _: &mut Context<Self>) {
        let mut meetings = 0;
        while let Some(other) = self.1.send_timeout(Meet(self.0), LONG).unwrap() {
            self.0 = complement(self.0, other);
            meetings += 1;
        }
        self.2.tell(Done(meetings)).unwrap();
    }
}

pub(crate) fn chameneos(scale: u64) {
    let meetings = scaled(200_000, scale);
    let latch = Latch::default().start();
    let mall = Mall { left: meetings, waiting: None }.start();
    for n in 0..100 {
        let colour = [Colour::Blue, Colour::Red, Colour::Yellow][n % 3];
        Chameneo(colour, mall.clone(), latch.clone()).start().tell(Inc).unwrap();
    }
    assert_eq!(latch.send(Await(100)).unwrap(), 2 * meetings);
}

/// Pings random others, one at a time.
pub(crate) struct Big {
    me: usize,
    others: Vec<Addr<Big>>,
    random: Random,
    left: u64,
    answered: u64,
    latch: Addr<Latch>,
}
message! {
    Others(Vec<Addr<Big>>) -> ();
    BigPing(usize) -> ();
    BigPong -> ();
}
impl Actor for Big {
    const MAILBOX: Mailbox = Mailbox::unbounded();
}
impl Big {
    fn go_on(&mut self) {
        if self.left == 0 {
            self.latch.tell(Done(self.answered)).unwrap();
            return;
        }
        self.left -= 1;
        let to = self.random.below(self.others.len() as u64) as usize;
        self.others[to].tell(BigPing(self.me)).unwrap();
    }
}
impl Handler<Others> for Big {
    fn handle(&mut self, m: Others, _: &mut Context<Self>) {
        self.others = m.0;
    }
}
impl Handler<Inc> for Big {
    fn handle(&mut self, _: Inc, _: &mut Context<Self>) {
        self.go_on();
    }
}
impl Handler<BigPing> for Big {
    fn handle(&mut self, m: BigPing, _: &mut Context<Self>) {
        self.others[m.0].tell(BigPong).unwrap();
    }
}
impl Handler<BigPong> for Big {
    fn handle(&mut self, _: BigPong, _: &mut Context<Self>) {
        self.answered += 1;
        self.go_on();
    }
}

pub(crate) fn big(scale: u64) {
    let (workers, pings) = (120, scaled(20_000, scale));
    let latch = Latch::default().start();
    let node = |me: usize| {
        let random = Random::new(me as u64 + 1);
        Big { me, others: Vec::new(), random, left: pings, answered: 0, latch: latch.clone() }.start()
    };
    let nodes: Vec<_> = (0..workers).map(node).collect();
    nodes.iter().for_each(|node| node.send(Others(nodes.clone())).unwrap());
    nodes.iter().for_each(|node| node.tell(Inc).unwrap());
    assert_eq!(latch.send(Await(workers as i64)).unwrap(), workers as u64 * pings);
    nodes.iter().for_each(Addr::stop);
}
