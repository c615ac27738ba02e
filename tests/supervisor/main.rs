//! Supervisors: the rules of OTP's `supervisor`, each by name, and what goes beyond them: addresses and queues survive.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod conservation;
mod defaults;
mod ends;
mod factories;
#[path = "../help/mod.rs"]
mod help;
mod intensity;
mod notices;
mod orders;
mod random;
mod random_trees;
mod restarts;
mod runtime_ends;
mod shutdowns;
mod starts;
mod strategies;
mod survives;
mod trees;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use green::actor::{Actor, Addr, Backoff, Child, Context, Exit, Handler, Message, Supervisor, SupervisorAddr};

use help::until;

/// Longer than any test should take.
const LONG: Duration = Duration::from_secs(25);

/// What has happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn write(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    /// What was written since the last look.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// How often a line was written.
    fn count(&self, line: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|other| *other == line).count()
    }
}

/// A child that does as it is told, and writes `+name` when it starts, `-name` when it stops.
struct Puppet {
    name: String,
    log: Log,
    sum: u32,
}

impl Actor for Puppet {
    fn started(&mut self, _: &mut Context<Self>) -> Result<(), Exit> {
        self.log.write(format!("+{}", self.name));
        Ok(())
    }

    fn stopping(&mut self, _: &Exit, _: &mut Context<Self>) {
        self.log.write(format!("-{}", self.name));
    }
}

/// Adds to what the puppet remembers, and returns the sum.
struct Add(u32);
impl Message for Add {
    type Reply = u32;
}
impl Handler<Add> for Puppet {
    fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> u32 {
        self.sum += n;
        self.sum
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Panic,
    Fail,
    Quit,
}
impl Message for End {
    type Reply = ();
}
impl Handler<End> for Puppet {
    fn handle(&mut self, end: End, ctx: &mut Context<Self>) {
        match end {
            End::Panic => std::panic::panic_any("as told".to_owned()),
            End::Fail => ctx.fail(Exit::Error("as told".to_owned())),
            End::Quit => ctx.stop(),
        }
    }
}

fn puppet(name: &str, log: &Log) -> Child<Puppet> {
    let (text, log) = (name.to_owned(), log.clone());
    Child::new(name, move || Puppet { name: text.clone(), log: log.clone(), sum: 0 })
}

/// With restarts at once, and as many as one likes.
fn eager(supervisor: Supervisor) -> Supervisor {
    supervisor.backoff(Backoff::none()).intensity(1_000_000, Duration::from_secs(3600))
}

fn three(supervisor: Supervisor, log: &Log) -> SupervisorAddr {
    let three = ["a", "b", "c"].into_iter().fold(eager(supervisor), |all, name| all.child(puppet(name, log)));
    let sup = three.start().unwrap();
    assert_eq!(log.take(), ["+a", "+b", "+c"]);
    sup
}

fn get(sup: &SupervisorAddr, name: &str) -> Addr<Puppet> {
    sup.get(name).unwrap()
}

/// Ends a child that is to be started again, and waits until it is.
fn end(sup: &SupervisorAddr, name: &str, how: End) {
    let before = restarts(sup, name);
    let _ = get(sup, name).send(how);
    until(|| restarts(sup, name) > before && runs(sup, name));
}

fn restarts(sup: &SupervisorAddr, name: &str) -> u32 {
    sup.tree().find(name).map_or(0, |child| child.restarts)
}

fn runs(sup: &SupervisorAddr, name: &str) -> bool {
    sup.tree().find(name).is_some_and(|child| child.state == green::actor::ChildState::Runs)
}

/// As good as for ever.
const HOUR: Duration = Duration::from_secs(3600);

/// A back-off that no test sees the end of.
fn never() -> Backoff {
    Backoff::exponential(HOUR..=HOUR)
}

fn waits(sup: &SupervisorAddr, name: &str) -> bool {
    sup.tree().find(name).is_some_and(|child| matches!(child.state, green::actor::ChildState::Waits(_)))
}

fn has_ended(sup: &SupervisorAddr, name: &str) -> bool {
    sup.tree().find(name).is_some_and(|child| matches!(child.state, green::actor::ChildState::Ended(_)))
}
