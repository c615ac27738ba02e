//! A ring of actors that hand a token round: `cargo run --release --example ring -- [actors] [hops]`.
//!
//! Each actor is a heap cell; only the one that has the token runs.

use std::time::Instant;

use green::actor::{Actor, Addr, Context, Handler, Message, Recipient, SendError};

struct Node {
    next: Option<Addr<Node>>,
    seen: u64,
    done: Recipient<Arrived>,
}

impl Actor for Node {}

struct Connect(Addr<Node>);
impl Message for Connect {
    type Reply = ();
}

struct Token(u64);
impl Message for Token {
    type Reply = ();
}

struct Seen;
impl Message for Seen {
    type Reply = u64;
}

impl Handler<Connect> for Node {
    fn handle(&mut self, m: Connect, _: &mut Context<Self>) {
        self.next = Some(m.0);
    }
}

impl Handler<Token> for Node {
    fn handle(&mut self, Token(hops): Token, _: &mut Context<Self>) {
        self.seen += 1;
        let sent = match &self.next {
            Some(next) if hops > 0 => next.tell(Token(hops - 1)).is_ok(),
            _ => self.done.tell(Arrived).is_ok(),
        };
        assert!(sent, "the ring is broken");
    }
}

impl Handler<Seen> for Node {
    fn handle(&mut self, _: Seen, _: &mut Context<Self>) -> u64 {
        self.seen
    }
}

/// Answers whoever waits when the token has arrived.
#[derive(Default)]
struct Finish {
    arrived: bool,
    waiting: Option<green::actor::Deferred<()>>,
}

impl Actor for Finish {
    const ASK_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(3600);
}

struct Arrived;
impl Message for Arrived {
    type Reply = ();
}

struct Wait;
impl Message for Wait {
    type Reply = ();
}

impl Handler<Arrived> for Finish {
    fn handle(&mut self, _: Arrived, _: &mut Context<Self>) {
        self.arrived = true;
        if let Some(waiting) = self.waiting.take() {
            waiting.reply(());
        }
    }
}

impl Handler<Wait> for Finish {
    fn handle(&mut self, _: Wait, ctx: &mut Context<Self>) {
        if !self.arrived {
            self.waiting = Some(ctx.defer::<Wait>());
        }
    }
}

fn argument(at: usize, default: u64) -> Result<u64, String> {
    match std::env::args().nth(at) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|error| format!("{text:?} is not a number: {error}")),
    }
}

fn ring(actors: u64, hops: u64) -> Result<u64, Box<dyn std::error::Error>> {
    let finish = Finish::default().start();
    let node = || Node { next: None, seen: 0, done: finish.recipient() }.start();
    let nodes: Vec<_> = (0..actors).map(|_| node()).collect();
    for (at, node) in nodes.iter().enumerate() {
        node.send(Connect(nodes[(at + 1) % nodes.len()].clone()))?;
    }
    let start = Instant::now();
    nodes[0].tell(Token(hops))?;
    finish.send(Wait)?;
    println!(
        "{hops} hops round {actors} actors: {:.1} ns a hop",
        start.elapsed().as_nanos() as f64 / hops.max(1) as f64
    );
    let seen = nodes.iter().map(|node| node.send(Seen)).sum::<Result<u64, SendError<Seen>>>()?;
    nodes.iter().for_each(Addr::stop); // A ring keeps itself alive.
    Ok(seen)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (actors, hops) = (argument(1, 503)?, argument(2, 1_000_000)?);
    if actors == 0 {
        return Err("a ring has one actor at least".into());
    }
    let seen = green::run(|| ring(actors, hops).map_err(|error| error.to_string()))?;
    assert_eq!(seen, hops + 1, "every hop was seen by one actor");
    Ok(())
}
