//! What is made of actors: pools, groups, topics, state machines, lists.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod between_lives;
mod groups;
#[path = "../help/mod.rs"]
mod help;
mod lists;
mod machines;
mod pools;
mod pools_by_key;
mod pools_end;
mod topics;
mod topics_end;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use green::actor::{Actor, ActorId, Backoff, Context, Exit, Keyed, Mailbox, Pool, messages};

use help::Gate;

/// Longer than any test should take.
const LONG: Duration = Duration::from_secs(25);

/// Restarts at once, and as many as one likes.
fn eager<A: Actor, R: 'static>(pool: Pool<A, R>) -> Pool<A, R> {
    pool.backoff(Backoff::none()).intensity(1_000_000, Duration::from_secs(3600))
}

/// What workers have done, in order: who, and what.
type Record = Arc<Mutex<Vec<(ActorId, u64)>>>;

fn numbers(record: &Record) -> Vec<u64> {
    record.lock().unwrap().iter().map(|(_, number)| *number).collect()
}

/// A worker that does as it is told.
#[derive(Default)]
struct Hand {
    record: Record,
    /// How many messages this life has handled.
    handled: u32,
}

impl Hand {
    fn of(record: &Record) -> impl Fn() -> Hand + Send + Sync + use<> {
        let record = Arc::clone(record);
        move || Hand { record: Arc::clone(&record), handled: 0 }
    }
}

impl Actor for Hand {
    const MAILBOX: Mailbox = Mailbox::bounded(2);
    const ASK_TIMEOUT: Duration = LONG;
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Panic,
    Fail,
    Quit,
    Killed,
}

const ENDS: [End; 4] = [End::Panic, End::Fail, End::Quit, End::Killed];

messages! {
    impl Hand {
        fn Work(&mut self, ctx: &mut Context<Self>, key: u64, number: u64) -> ActorId {
            self.handled += 1;
            self.record.lock().unwrap().push((ctx.id(), number));
            ctx.id()
        }
        fn Wait(&mut self, ctx: &mut Context<Self>, key: u64, begun: Gate, gate: Gate) -> ActorId {
            begun.open();
            gate.wait();
            ctx.id()
        }
        fn Die(&mut self, ctx: &mut Context<Self>, key: u64, how: End) -> ActorId {
            match how {
                End::Panic => std::panic::panic_any("as told".to_owned()),
                End::Fail => ctx.fail(Exit::Error("as told".to_owned())),
                End::Quit => ctx.stop(),
                End::Killed => {
                    ctx.addr().kill();
                    green::thread::park();
                }
            }
            ctx.id()
        }
        fn Handled(&mut self, key: u64) -> u32 { self.handled }
    }
}

macro_rules! keyed {
    ($($Message:ident),*) => {$(
        impl Keyed for $Message {
            type Key = u64;
            fn key(&self) -> u64 {
                self.0
            }
        }
    )*};
}
keyed!(Work, Wait, Die, Handled);
