//! A ring of actors that hand a token round: `cargo run --release --bin ring -- [ACTORS] [HOPS]`.
//!
//! Each actor is a heap cell; only the one that has the token runs. Ctrl-c and SIGTERM stop it in good order: the token goes no further, the
//! actors end, and it says how far the token has come, and exits with 1.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use green::actor::{Actor, Addr, Context, Deferred, Handler, Message, Recipient, SendError};

/// Beyond it the cells alone would take gigabytes.
const MOST: u64 = 10_000_000;

/// How long actors have to end.
const GRACE: Duration = Duration::from_secs(10);

/// Somebody wants it to stop: the token goes no further.
static STOPS: AtomicBool = AtomicBool::new(false);

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
            Some(next) if hops > 0 && !STOPS.load(Ordering::Relaxed) => next.tell(Token(hops - 1)).is_ok(),
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
    waiting: Option<Deferred<()>>,
}

impl Actor for Finish {
    const ASK_TIMEOUT: Duration = Duration::from_secs(3600);
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

/// The numbers of actors and hops that the arguments ask for, if they make sense.
fn arguments() -> Option<(u64, u64)> {
    let mut args = std::env::args_os().skip(1);
    let (actors, hops, None) = (args.next(), args.next(), args.next()) else { return None };
    let actors = actors.map_or(Some(503), |arg| arg.to_str()?.parse().ok())?;
    let hops = hops.map_or(Some(1_000_000), |arg| arg.to_str()?.parse().ok())?;
    (1..=MOST).contains(&actors).then_some((actors, hops))
}

fn ring(actors: u64, hops: u64) -> Result<u64, Box<dyn std::error::Error>> {
    // The signals are ours before there is anything to stop.
    let _ = green::timeout(Duration::ZERO, green::signal::terminate);
    green::spawn(|| green::signal::terminate().map(|_| STOPS.store(true, Ordering::Relaxed)));
    let finish = Finish::default().start();
    let node = || Node { next: None, seen: 0, done: finish.recipient() }.start();
    let nodes: Vec<_> = (0..actors).map(|_| node()).collect();
    for (at, node) in nodes.iter().enumerate() {
        node.send(Connect(nodes[(at + 1) % nodes.len()].clone()))?;
    }
    let start = Instant::now();
    nodes[0].tell(Token(hops))?;
    finish.send(Wait)?;
    let took = start.elapsed().as_nanos() as f64;
    let seen = nodes.iter().map(|node| node.send(Seen)).sum::<Result<u64, SendError<Seen>>>()?;
    let done = seen - 1;
    println!("{done} hops round {actors} actors: {:.1} ns a hop", took / done.max(1) as f64);
    nodes.iter().for_each(Addr::stop); // A ring keeps itself alive.
    drop(finish);
    let end = green::shutdown(GRACE);
    if end.is_clean() { Ok(done) } else { Err(format!("the actors: {end}").into()) }
}

fn main() -> ExitCode {
    let Some((actors, hops)) = arguments() else {
        eprintln!("usage: ring [ACTORS] [HOPS], from 1 to {MOST} actors");
        return ExitCode::from(2);
    };
    match green::run(|| ring(actors, hops).map_err(|error| error.to_string())) {
        Ok(done) if done == hops => ExitCode::SUCCESS,
        Ok(done) => {
            assert!(done < hops && STOPS.load(Ordering::Relaxed), "every hop was seen by one actor");
            eprintln!("ring: stopped after {done} of {hops} hops");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("ring: {error}");
            ExitCode::FAILURE
        }
    }
}
