//! Actors: the guarantees of the layer, each by name. Every scenario runs from a plain OS thread, and on one worker and more.
#![allow(missing_docs)]

mod adapters;
mod async_side;
mod causes;
mod context;
mod deadlock;
mod delivery;
mod endings;
mod handed_on;
#[path = "../help/mod.rs"]
mod help;
mod joins;
mod last_run;
#[cfg(not(miri))]
mod last_words;
#[cfg(not(miri))]
mod orphans;
mod own_end;
mod queued;
mod reentrant;
mod relays;
mod reply;
mod shutdown;
mod taken_back;
mod testkit;
mod timing;
mod turns;
mod unawaited;
#[cfg(all(green_asks, not(green_emulated)))]
mod unfenced;
mod watching;
mod with_tokio;
mod writing;

use std::sync::mpsc;
use std::time::Duration;

use green::actor::{Actor, Context, Handler, Message};

use help::{Gate, everywhere};

/// Longer than any test should take.
const LONG: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Counter(i64);
impl Actor for Counter {}

struct Add(i64);
impl Message for Add {
    type Reply = ();
}
impl Handler<Add> for Counter {
    fn handle(&mut self, m: Add, _: &mut Context<Self>) {
        self.0 += m.0;
    }
}

struct Get;
impl Message for Get {
    type Reply = i64;
}
impl Handler<Get> for Counter {
    fn handle(&mut self, _: Get, _: &mut Context<Self>) -> i64 {
        self.0
    }
}

/// The next item, without blocking the worker.
fn next<T>(receiver: &mpsc::Receiver<T>) -> T {
    let start = std::time::Instant::now();
    loop {
        if let Ok(item) = receiver.try_recv() {
            return item;
        }
        assert!(start.elapsed() < LONG, "nothing came");
        green::sleep(Duration::from_micros(100));
    }
}

/// An actor that does as it is told and writes down what happens to it.
struct Puppet {
    log: mpsc::Sender<String>,
}

impl Puppet {
    fn new() -> (Self, mpsc::Receiver<String>) {
        let (log, lines) = mpsc::channel();
        (Self { log }, lines)
    }

    fn write(&self, line: impl Into<String>) {
        let _ = self.log.send(line.into());
    }
}

impl Actor for Puppet {
    const TRAPS_EXITS: bool = true;

    fn stopping(&mut self, why: &green::actor::Exit, _: &mut Context<Self>) {
        self.write(format!("stopping: {why}"));
    }

    fn signal(&mut self, signal: green::actor::Signal, ctx: &mut Context<Self>) {
        self.write(format!("{signal:?}"));
        ctx.default_signal(signal);
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.write("dropped");
    }
}

/// Runs a closure in the actor.
struct Do<R>(Job<R>);

type Job<R> = Box<dyn FnOnce(&mut Puppet, &mut Context<Puppet>) -> R + Send>;

impl<R: Send + 'static> Do<R> {
    fn new(f: impl FnOnce(&mut Puppet, &mut Context<Puppet>) -> R + Send + 'static) -> Self {
        Self(Box::new(f))
    }
}

impl<R: Send + 'static> Message for Do<R> {
    type Reply = R;
}

impl<R: Send + 'static> Handler<Do<R>> for Puppet {
    fn handle(&mut self, m: Do<R>, ctx: &mut Context<Self>) -> R {
        (m.0)(self, ctx)
    }
}

/// Has the actor wait in a handler until the gate is open; returns when it does.
fn hold(puppet: &green::actor::Addr<Puppet>) -> Gate {
    let (reached, gate) = (Gate::new(), Gate::new());
    let (inside, until) = (reached.clone(), gate.clone());
    let wait = Do::new(move |_, _| {
        inside.open();
        until.wait();
    });
    puppet.tell(wait).unwrap();
    reached.wait();
    gate
}
