//! What the asker learns when the actor that has its message ends.

use std::sync::mpsc;

use green::actor::{Actor, Addr, Context, Deferred, Exit, Handler, Message, Pending, SendError};

use crate::{Gate, LONG, everywhere};

#[derive(Clone, Copy, PartialEq, Debug)]
enum Where {
    Queued,
    Stashed,
    Forwarded,
    /// Kept in the actor's state.
    Deferred,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum How {
    Panic,
    Fail,
    Kill,
    Stop,
    LastAddress,
}

/// Keeps what it is asked.
struct Keeper {
    kept: Vec<Deferred<u32>>,
    in_end: mpsc::Sender<()>,
}

impl Actor for Keeper {}

struct Keep(Where);
impl Message for Keep {
    type Reply = u32;
}
impl Handler<Keep> for Keeper {
    fn handle(&mut self, m: Keep, ctx: &mut Context<Self>) -> u32 {
        match m.0 {
            Where::Stashed => ctx.stash(m).unwrap(),
            _ => self.kept.push(ctx.defer::<Keep>()),
        }
        0
    }
}

struct End(How, Option<Gate>);
impl Message for End {
    type Reply = ();
}
impl Handler<End> for Keeper {
    fn handle(&mut self, m: End, ctx: &mut Context<Self>) {
        let _ = self.in_end.send(());
        if let Some(gate) = m.1 {
            gate.wait();
        }
        match m.0 {
            How::Panic => std::panic::resume_unwind(Box::new("boom")),
            How::Fail => ctx.fail(Exit::Error("bad".to_owned())),
            // From outside.
            How::Kill | How::Stop | How::LastAddress => {}
        }
    }
}

/// An ask whose own handler ends the actor while it has the reply on its stack.
struct DeferAndEnd(How, Gate);
impl Message for DeferAndEnd {
    type Reply = u32;
}
impl Handler<DeferAndEnd> for Keeper {
    fn handle(&mut self, m: DeferAndEnd, ctx: &mut Context<Self>) -> u32 {
        let _reply = ctx.defer::<DeferAndEnd>();
        let _ = self.in_end.send(());
        m.1.wait();
        match m.0 {
            How::Panic => std::panic::resume_unwind(Box::new("boom")),
            How::Fail => ctx.fail(Exit::Error("bad".to_owned())),
            How::Kill | How::Stop | How::LastAddress => {}
        }
        0
    }
}

/// Passes what it is asked on.
struct Passes(Addr<Keeper>);
impl Actor for Passes {}
impl Handler<Keep> for Passes {
    fn handle(&mut self, m: Keep, ctx: &mut Context<Self>) -> u32 {
        ctx.forward(&self.0.recipient(), m).unwrap();
        0
    }
}
struct Sync;
impl Message for Sync {
    type Reply = ();
}
impl Handler<Sync> for Passes {
    fn handle(&mut self, _: Sync, _: &mut Context<Self>) {}
}
impl Handler<Sync> for Keeper {
    fn handle(&mut self, _: Sync, _: &mut Context<Self>) {}
}

fn cause(how: How) -> Exit {
    match how {
        How::Panic => Exit::Panic("boom".to_owned()),
        How::Fail => Exit::Error("bad".to_owned()),
        How::Kill => Exit::Killed,
        How::Stop => Exit::Shutdown,
        How::LastAddress => Exit::Normal,
    }
}

fn keeper() -> (Addr<Keeper>, mpsc::Receiver<()>) {
    let (in_end, reached) = mpsc::channel();
    (Keeper { kept: Vec::new(), in_end }.start(), reached)
}

/// Has the actor at its last message, with the ask where it is to be. Opened, the gate lets that go on.
fn ask(place: Where, how: How, keeper: &Addr<Keeper>, reached: &mpsc::Receiver<()>) -> (Pending<Keep>, Gate) {
    let gate = Gate::new();
    let end = || keeper.tell(End(how, Some(gate.clone()))).unwrap();
    let pending = match place {
        Where::Queued => {
            end();
            keeper.call(Keep(place)).unwrap()
        }
        Where::Stashed | Where::Deferred => {
            let pending = keeper.call(Keep(place)).unwrap();
            keeper.send(Sync).unwrap();
            end();
            pending
        }
        Where::Forwarded => {
            end();
            let passes = Passes(keeper.clone()).start();
            let pending = passes.call(Keep(place)).unwrap();
            passes.send(Sync).unwrap();
            pending
        }
    };
    crate::next(reached);
    (pending, gate)
}

fn end_from_outside(how: How, keeper: Addr<Keeper>) {
    match how {
        How::Kill => keeper.kill(),
        How::Stop => keeper.stop_within(std::time::Duration::ZERO),
        How::Panic | How::Fail | How::LastAddress => {}
    }
}

#[test]
fn asks_that_lose_their_actor_are_told_the_true_cause() {
    for place in [Where::Queued, Where::Stashed, Where::Forwarded, Where::Deferred] {
        for how in [How::Panic, How::Fail, How::Kill, How::Stop] {
            everywhere(move || {
                let (keeper, reached) = keeper();
                let (pending, gate) = ask(place, how, &keeper, &reached);
                end_from_outside(how, keeper);
                gate.open();
                match (place, pending.wait_timeout(LONG)) {
                    (Where::Queued, Err(SendError::Closed(back))) => assert_eq!(back.into_inner().0, Where::Queued),
                    (_, Err(SendError::Died(exit))) => assert_eq!(exit, cause(how), "{place:?}, {how:?}"),
                    (_, other) => panic!("{place:?}, {how:?}: {other:?}"),
                }
            });
        }
    }
}

#[test]
fn an_ask_that_was_put_off_or_aside_learns_that_the_actor_ended_by_itself() {
    for place in [Where::Stashed, Where::Deferred] {
        everywhere(move || {
            let (keeper, reached) = keeper();
            let (pending, gate) = ask(place, How::LastAddress, &keeper, &reached);
            drop(keeper);
            gate.open();
            match pending.wait_timeout(LONG) {
                Err(SendError::Died(exit)) => assert_eq!(exit, Exit::Normal, "{place:?}"),
                other => panic!("{place:?}: {other:?}"),
            }
        });
    }
}

#[test]
fn a_reply_that_is_put_off_by_the_handler_that_dies_has_its_cause() {
    for how in [How::Panic, How::Kill] {
        everywhere(move || {
            let (keeper, reached) = keeper();
            let gate = Gate::new();
            let pending = keeper.call(DeferAndEnd(how, gate.clone())).unwrap();
            crate::next(&reached);
            end_from_outside(how, keeper);
            if how == How::Panic {
                gate.open();
            }
            match pending.wait_timeout(LONG) {
                Err(SendError::Died(exit)) => assert_eq!(exit, cause(how), "{how:?}"),
                other => panic!("{how:?}: {other:?}"),
            }
        });
    }
}

#[test]
fn a_reply_that_a_living_actor_drops_is_none_at_once() {
    struct Drops;
    impl Actor for Drops {}
    impl Handler<DeferAndEnd> for Drops {
        fn handle(&mut self, m: DeferAndEnd, ctx: &mut Context<Self>) -> u32 {
            drop(ctx.defer::<DeferAndEnd>());
            m.1.wait();
            0
        }
    }
    everywhere(|| {
        let gate = Gate::new();
        let pending = Drops.start().call(DeferAndEnd(How::Stop, gate.clone())).unwrap();
        assert!(matches!(pending.wait_timeout(LONG), Err(SendError::NoReply)));
        gate.open();
    });
}

#[test]
fn a_handler_that_catches_its_own_panic_loses_a_reply_and_nothing_else() {
    struct Catches;
    impl Actor for Catches {}
    impl Handler<DeferAndEnd> for Catches {
        fn handle(&mut self, _: DeferAndEnd, ctx: &mut Context<Self>) -> u32 {
            let reply = ctx.defer::<DeferAndEnd>();
            let bang = move || {
                let _reply = reply;
                std::panic::resume_unwind(Box::new("caught"))
            };
            let caught: Result<(), _> = std::panic::catch_unwind(std::panic::AssertUnwindSafe(bang));
            assert!(caught.is_err());
            0
        }
    }
    everywhere(|| {
        let catches = Catches.start();
        let pending = catches.call(DeferAndEnd(How::Stop, Gate::new())).unwrap();
        assert!(matches!(pending.wait_timeout(LONG), Err(SendError::NoReply)));
        assert!(!catches.is_ended());
    });
}
