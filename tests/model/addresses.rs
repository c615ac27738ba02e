//! Models of an actor whose last address goes, comes back, and goes while the actor runs: of `actor/engine/cell.rs` as it is.

use super::{Exit, IDS, LONG, Log, Relaxed, Sums, plan, start};
use crate::actor::engine::cell::Strong;
use crate::actor::engine::envelope::Boxed;
use crate::actor::engine::payload::Tell;
use crate::actor::engine::tell;
use crate::actor::engine::weak::Weak;
use crate::actor::handling::route;
use crate::actor::{Context, Handler, Message};
use crate::model::{Gate, fresh};
use crate::sched::Shared;
use loom::sync::Mutex;
use loom::thread;
use std::sync::Arc;

/// Where an actor leaves an address of its own.
struct Given {
    strong: Mutex<Option<Strong>>,
    is_there: Gate,
}

/// The actor gives an address of its own away.
struct GiveAway(loom::sync::Arc<Given>);

impl Message for GiveAway {
    type Reply = ();
}

impl Handler<GiveAway> for Sums {
    fn handle(&mut self, msg: GiveAway, ctx: &mut Context<Self>) {
        *msg.0.strong.lock().unwrap() = Some(ctx.core().strong());
        msg.0.is_there.open();
    }
}

/// The caller is the worker of an actor that `begin` has made something of; `other` runs beside it, and then the runtime ends.
fn beside_the_worker(preemptions: usize, begin: fn(Strong) -> Option<Strong>, other: fn(Strong) -> Option<Weak>) {
    fresh::check(preemptions, move || {
        IDS.set(0);
        let (shared, log) = (Shared::new(), Arc::new(Log::default()));
        let given = loom::sync::Arc::new(Given { strong: Mutex::new(None), is_there: Gate::new() });
        let actor = start(&shared, plan(8), Sums::new(&log)).unwrap();
        let give = GiveAway(given.clone());
        let told =
            tell::tell(actor.core(), Boxed::new(const { &route::<Sums, GiveAway>() }.tell, Tell(give)), Some(LONG));
        assert!(told.is_ok());
        let kept = begin(actor);
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let strong = kept.unwrap_or_else(|| {
                    given.is_there.wait();
                    given.strong.lock().unwrap().take().unwrap()
                });
                let kept = other(strong);
                drop(given.strong.lock().unwrap().take());
                shared.end();
                kept
            }
        });
        shared.work();
        let kept = thread.join().unwrap();
        assert_eq!(log.states_dropped.load(Relaxed), 1, "the actor has ended once");
        assert_eq!(Arc::weak_count(&shared), usize::from(kept.is_some()), "its block stays as long as somebody has it");
        drop(kept);
        assert_eq!(Arc::weak_count(&shared), 0, "its block is gone");
    });
}

/// The address goes, and would come back by another reference.
fn goes_and_comes(strong: Strong) -> Option<Weak> {
    let weak = strong.core().weak();
    drop(strong);
    drop(weak.upgrade());
    None
}

#[test]
fn an_actor_that_has_given_its_only_address_away_has_its_mailbox_to_itself_or_not() {
    let nobody = |actor: Strong| {
        drop(actor);
        None
    };
    beside_the_worker(3, nobody, goes_and_comes);
}

/// The worker begins when that is over.
#[test]
fn the_last_address_goes_while_another_would_be_made() {
    fresh::check(3, || {
        IDS.set(0);
        let (shared, log) = (Shared::new(), Arc::new(Log::default()));
        let actor = start(&shared, plan(8), Sums::new(&log)).unwrap();
        let weak = actor.core().weak();
        let thread = thread::spawn(move || drop(actor));
        let came_back = weak.upgrade();
        thread.join().unwrap();
        assert!(came_back.as_ref().is_none_or(|strong| strong.core().is_addressed()));
        drop((came_back, weak));
        shared.end();
        shared.work();
        assert_eq!(log.states_dropped.load(Relaxed), 1, "the actor has ended once");
        assert_eq!(Arc::weak_count(&shared), 0, "its block is gone");
    });
}

#[test]
fn an_address_that_goes_while_the_last_run_ends_frees_the_block_or_leaves_it() {
    let stopped = |actor: Strong| {
        actor.core().stop(Exit::Shutdown, LONG);
        Some(actor)
    };
    beside_the_worker(2, stopped, |strong| {
        let weak = strong.core().weak();
        drop(strong);
        Some(weak)
    });
}
