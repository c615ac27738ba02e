//! Models of what is sent to an actor, and of its end: `actor/engine/`, the very files. Asks, calls that are
//! taken back, senders that wait for capacity and leave, an actor that ends by itself or with its runtime. Loom tries every
//! interleaving.
//!
//! An actor runs on a thread of the model that stands for its worker. A message that is lost, or an asker that is not woken,
//! shows as a deadlock; what two have at once, as a race on a loom cell.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports, missing_debug_implementations)]
#![allow(unfulfilled_lint_expectations, reason = "what the library exports is not exported here")]

mod model;

#[path = "model/os.rs"]
mod os_threads;
#[path = "model/actors.rs"]
mod park;
#[path = "model/worker.rs"]
mod sched;
#[path = "../src/base/spin.rs"]
mod spin;
#[path = "model/sys.rs"]
mod sys;
#[path = "model/task.rs"]
mod task;
#[path = "../src/park/queue.rs"]
mod wait_queue;

mod base {
    pub(crate) use crate::model::fresh::base::*;
    pub(crate) use crate::spin;
}

/// Nothing is recorded.
mod flight {
    pub(crate) enum EventKind {
        MessageBegins,
        MessageEnds,
    }

    pub(crate) fn records_all() -> bool {
        false
    }
}

mod rt {
    pub(crate) mod join {
        pub(crate) struct JoinHandle<T>(T);

        impl<T> JoinHandle<T> {
            pub(crate) fn cancel(&self) {}
        }

        impl<T> Drop for JoinHandle<T> {
            fn drop(&mut self) {}
        }
    }
}

/// The parts of `actor/` that are its users' side.
mod actor {
    use std::marker::PhantomData;
    use std::time::Duration;

    pub(crate) use self::deferred::Deferred;
    use self::engine::cell::{Core, RunState};
    pub(crate) use self::exit::{ActorId, Cycle, Exit, JoinError, SendError};
    pub(crate) use self::mailbox::{Mailbox, Overflow};
    pub(crate) use self::message::Message;
    pub(crate) use self::pending::Pending;
    pub(crate) use self::returned::Returned;
    pub(crate) use self::signal::{Down, MonitorRef, Signal};

    #[path = "../../src/actor/deferred.rs"]
    pub(crate) mod deferred;
    #[path = "../../src/actor/engine/mod.rs"]
    pub(crate) mod engine;
    #[path = "../../src/actor/exit.rs"]
    pub(crate) mod exit;
    #[path = "../../src/actor/glue.rs"]
    pub(crate) mod glue;
    #[path = "../../src/actor/handling.rs"]
    pub(crate) mod handling;
    #[path = "../../src/actor/mailbox.rs"]
    pub(crate) mod mailbox;
    #[path = "../../src/actor/message.rs"]
    pub(crate) mod message;
    #[path = "../../src/actor/pending.rs"]
    pub(crate) mod pending;
    #[path = "../../src/actor/returned.rs"]
    pub(crate) mod returned;
    #[path = "../../src/actor/signal.rs"]
    pub(crate) mod signal;

    pub(crate) mod timer {
        #[derive(Clone)]
        pub(crate) struct Timer;

        /// No future waits here.
        pub(crate) fn start(_: std::time::Duration, _: impl FnMut(&Timer, u64) -> Fired + Send + 'static) -> Timer {
            Timer
        }

        pub(crate) enum Fired {
            Over,
        }

        impl Timer {
            pub(crate) fn cancel(&self) {}
            pub(crate) fn set_queued(&self, _: bool) {}
            pub(crate) fn is_taken_up(&self) {}
            pub(crate) fn is_cancelled(&self) -> bool {
                false
            }
        }
    }

    pub trait Actor: Sized + Send + 'static {
        const ASK_TIMEOUT: Duration = Duration::from_secs(5);
        const TRAPS_EXITS: bool = false;
        const RECEIVE_TIMEOUT: Option<Duration> = None;

        fn started(&mut self, _: &mut Context<Self>) -> Result<(), Exit> {
            Ok(())
        }
        fn signal(&mut self, _: Signal, _: &mut Context<Self>) {}
        fn stopping(&mut self, _: &Exit, _: &mut Context<Self>) {}
    }

    pub trait Handler<M: Message>: Actor {
        fn handle(&mut self, msg: M, ctx: &mut Context<Self>) -> M::Reply;
    }

    pub trait Receives<M: Message>: Actor {
        fn __run<T>(
            &mut self,
            msg: impl FnOnce() -> M,
            ctx: &mut Context<Self>,
            pass_on: impl FnOnce(M::Reply) -> T,
        ) -> Option<T>;
    }

    impl<A: Handler<M>, M: Message> Receives<M> for A {
        fn __run<T>(
            &mut self,
            msg: impl FnOnce() -> M,
            ctx: &mut Context<Self>,
            pass_on: impl FnOnce(M::Reply) -> T,
        ) -> Option<T> {
            Some(pass_on(self.handle(msg(), ctx)))
        }
    }

    pub struct Context<A: Actor> {
        pub(crate) inner: RunState,
        _actor: PhantomData<fn(A) -> A>,
    }

    impl<A: Actor> Context<A> {
        pub(crate) fn new(inner: RunState) -> Self {
            Self { inner, _actor: PhantomData }
        }
        pub(crate) fn core(&self) -> &Core {
            self.inner.core()
        }
        pub(crate) fn expect_messages(&mut self, _: Duration) {}
        pub(crate) fn default_signal(&mut self, _: Signal) {}
    }
}

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use actor::engine::call::NewCall;
use actor::engine::cell::{Core, Plan, Strong};
use actor::engine::envelope::Boxed;
use actor::engine::origin::SendOrigin;
use actor::engine::payload::Tell;
use actor::engine::send::{Asking, ask, ask_by_call, send};
use actor::engine::tell;
use actor::engine::warden::Warden;
use actor::glue::{Kept, start, start_kept};
use actor::handling::route;
use actor::{Actor, Context, Exit, Handler, Mailbox, Message, Pending, SendError};
use loom::cell::UnsafeCell;
use loom::thread;
use model::prelude::{fiber, stack};
use model::{fresh, spawn_with};
use os_threads::unwind_me;
use sched::Shared;
use sched::switched::Begins;
use stack::StackSize;

// Of one model: loom runs all its threads on one OS thread.
thread_local! {
    static IDS: Cell<u64> = const { Cell::new(0) };
}

/// Its state: loom watches it.
struct Sums {
    sum: UnsafeCell<usize>,
    log: Arc<Log>,
}

/// What happened. For the model itself: no step of the protocol looks here.
#[derive(Default)]
struct Log {
    handled: AtomicUsize,
    made: AtomicUsize,
    dropped: AtomicUsize,
    stopped: AtomicUsize,
    states_dropped: AtomicUsize,
}

// SAFETY: loom checks `sum`.
unsafe impl Send for Sums {}

impl Sums {
    fn new(log: &Arc<Log>) -> Self {
        Sums { sum: UnsafeCell::new(0), log: Arc::clone(log) }
    }
}

impl Actor for Sums {
    fn stopping(&mut self, _: &Exit, _: &mut Context<Self>) {
        self.log.stopped.fetch_add(1, Relaxed);
    }
}

impl Drop for Sums {
    fn drop(&mut self) {
        self.log.states_dropped.fetch_add(1, Relaxed);
    }
}

/// Dropped once, wherever it ends.
struct Add {
    amount: UnsafeCell<usize>,
    log: Arc<Log>,
}

// SAFETY: loom checks `amount`.
unsafe impl Send for Add {}

impl Add {
    fn amount(&self) -> usize {
        // SAFETY: loom checks the access.
        self.amount.with(|amount| unsafe { *amount })
    }
}

impl Drop for Add {
    fn drop(&mut self) {
        // SAFETY: as above.
        self.amount.with_mut(|amount| unsafe { *amount = 0 });
        self.log.dropped.fetch_add(1, Relaxed);
    }
}

impl Message for Add {
    type Reply = usize;
}

impl Handler<Add> for Sums {
    fn handle(&mut self, msg: Add, _: &mut Context<Self>) -> usize {
        self.log.handled.fetch_add(1, Relaxed);
        // SAFETY: loom checks the access.
        self.sum.with_mut(|sum| unsafe {
            *sum += msg.amount();
            *sum
        })
    }
}

fn plan(capacity: usize) -> Plan {
    let (size, mailbox) = (StackSize, Mailbox::bounded(capacity));
    let (begins, started_at) = (Begins::PerWorker, std::panic::Location::caller());
    Plan { name: None, size, mailbox, begins, started_at }
}

struct World {
    shared: Arc<Shared>,
    actor: Strong,
    log: Arc<Log>,
    is_over: loom::sync::Arc<model::Gate>,
}

impl World {
    fn new(capacity: usize) -> Self {
        let (shared, log) = (Shared::new(), Arc::new(Log::default()));
        let actor = start(&shared, plan(capacity), Sums::new(&log)).unwrap();
        Self { shared, actor, log, is_over: loom::sync::Arc::new(model::Gate::new()) }
    }

    fn add(&self, amount: usize) -> Add {
        self.log.made.fetch_add(1, Relaxed);
        Add { amount: UnsafeCell::new(amount), log: Arc::clone(&self.log) }
    }

    /// A call in a block of its own.
    fn call(&self, timeout: Duration) -> Result<usize, SendError<Add>> {
        let (route, origin) = (const { &route::<Sums, Add>() }, SendOrigin::within(timeout));
        let call = NewCall::new(route.call, self.actor.core(), self.add(1), origin);
        ask_by_call(self.actor.core(), call)
    }

    /// An ask on the stack.
    fn ask(&self, timeout: Duration) -> Result<usize, SendError<Add>> {
        ask(self.actor.core(), const { &route::<Sums, Add>() }, self.add(1), Some(timeout))
    }

    fn tell(&self) -> Result<(), SendError<Add>> {
        let route = const { &route::<Sums, Add>() };
        tell::tell(self.actor.core(), Boxed::new(route.tell, Tell(self.add(1))), Some(Duration::from_secs(1)))
    }

    fn stop(&self) {
        self.actor.core().stop(Exit::Shutdown, Duration::from_secs(1));
    }
}

const LONG: Duration = Duration::from_secs(1);

#[path = "model/addresses.rs"]
mod addresses;

/// Runs `senders` and `last` beside the actor's worker, in a mailbox of `capacity`; at the end every message that was made is
/// gone, once, and so is the actor.
fn with_actor(preemptions: usize, capacity: usize, senders: &'static [fn(&World)], last: fn(&World)) {
    fresh::check(preemptions, move || {
        IDS.set(0);
        let world = loom::sync::Arc::new(World::new(capacity));
        let (shared, log) = (Arc::clone(&world.shared), Arc::clone(&world.log));
        let worker = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.work()
        });
        let senders: Vec<_> = senders.iter().map(|sender| spawn_with(&world, sender)).collect();
        last(&world);
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        shared.end();
        worker.join().unwrap();
        drop(world);
        assert_eq!(log.dropped.load(Relaxed), log.made.load(Relaxed), "a message was lost, or came twice");
        assert_eq!(log.states_dropped.load(Relaxed), 1, "the actor has ended once");
        assert!(log.stopped.load(Relaxed) <= 1);
    });
}

/// The message was handled, and the reply is there; or it is the caller's again, or the handler has it.
fn checked(answer: Result<usize, SendError<Add>>) {
    match answer {
        Ok(sum) => assert!(sum > 0),
        Err(error) => {
            if let Some(msg) = error.into_message() {
                assert_eq!(msg.amount(), 1);
            }
        }
    }
}

#[test]
fn a_call_is_answered() {
    with_actor(3, 8, &[], |world| assert_eq!(world.call(LONG).unwrap(), 1));
}

#[test]
fn a_call_that_times_out_has_its_message_back_or_the_handler_has_it() {
    with_actor(3, 8, &[], |world| checked(world.call(Duration::ZERO)));
}

#[test]
fn a_call_to_an_actor_that_is_stopped_is_answered_or_refused() {
    with_actor(1, 8, &[|world| checked(world.call(LONG))], World::stop);
}

#[test]
fn a_call_that_is_taken_back_from_an_actor_that_is_stopped_is_dropped_once() {
    with_actor(1, 8, &[|world| checked(world.call(Duration::ZERO))], World::stop);
}

#[test]
fn a_caller_that_is_cancelled_leaves_nothing_behind() {
    with_actor(3, 8, &[], |world| {
        if let Some(answer) = unwind_me(|| world.call(LONG)) {
            checked(answer);
        }
    });
}

#[test]
fn an_ask_is_answered() {
    with_actor(3, 8, &[], |world| assert_eq!(world.ask(LONG).unwrap(), 1));
}

#[test]
fn an_ask_that_times_out_has_its_message_back_or_the_handler_has_it() {
    with_actor(3, 8, &[], |world| checked(world.ask(Duration::ZERO)));
}

#[test]
fn an_ask_of_an_actor_that_is_stopped_is_answered_or_refused() {
    with_actor(1, 8, &[|world| checked(world.ask(LONG))], World::stop);
}

#[test]
fn an_asker_that_is_cancelled_leaves_nothing_behind() {
    with_actor(3, 8, &[], |world| {
        if let Some(answer) = unwind_me(|| world.ask(LONG)) {
            checked(answer);
        }
    });
}

#[test]
fn who_waits_for_capacity_is_let_in() {
    with_actor(1, 1, &[|world| world.tell().unwrap()], |world| {
        world.tell().unwrap();
        assert!(world.ask(LONG).is_ok());
    });
}

#[test]
fn a_sender_that_leaves_while_it_is_let_in_loses_no_place() {
    with_actor(1, 1, &[|world| _ = unwind_me(|| world.tell())], |world| {
        world.tell().unwrap();
        assert!(world.call(LONG).is_ok());
    });
}

#[test]
fn the_place_of_a_call_that_was_taken_back_is_the_next_senders() {
    with_actor(1, 1, &[|world| checked(world.call(Duration::ZERO))], |world| {
        world.tell().unwrap();
        world.tell().unwrap();
    });
}

/// The worker is kept out until the sender has got in, so that nothing but the call makes room.
#[test]
fn a_sender_that_waits_for_capacity_gets_that_of_a_call_that_is_taken_back() {
    fresh::check(4, || {
        IDS.set(0);
        let world = loom::sync::Arc::new(World::new(1));
        let (shared, log) = (Arc::clone(&world.shared), Arc::clone(&world.log));
        let (route, origin) = (const { &route::<Sums, Add>() }, SendOrigin::within(LONG));
        let new = NewCall::new(route.call, world.actor.core(), world.add(1), origin);
        let asking = Asking::new(Arc::clone(&new.call));
        assert!(send(world.actor.core(), new, false).is_ok(), "there was room for one");
        let sender = thread::spawn({
            let world = world.clone();
            move || world.tell().unwrap()
        });
        drop(asking);
        sender.join().unwrap();
        let worker = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.work()
        });
        shared.end();
        worker.join().unwrap();
        drop(world);
        assert_eq!((log.dropped.load(Relaxed), log.handled.load(Relaxed) <= 1), (2, true));
    });
}

#[test]
fn who_waits_for_capacity_when_the_actor_is_stopped_gets_its_message_back() {
    with_actor(1, 1, &[|world| drop(world.tell())], |world| {
        let _ = world.tell();
        world.stop();
    });
}

#[test]
fn an_actor_ends_once_by_itself_or_with_its_runtime() {
    with_actor(2, 8, &[World::stop], |world| world.shared.end());
}

#[test]
fn an_actor_that_rests_is_ended_with_its_runtime() {
    with_actor(3, 8, &[], |world| assert_eq!(world.call(LONG).unwrap(), 1));
}

/// Tells its supervisor, a thread of the model, when the actor is vacant.
struct Tells {
    vacant: model::Gate,
    fills: bool,
}

impl Warden for Tells {
    fn keeps(&self) -> bool {
        true
    }
    fn started(&self) {}
    fn ended(&self, _: &Exit) -> bool {
        self.vacant.open();
        self.fills
    }
}

/// As [`with_actor`], with an actor that outlives its states, of which there are at most so many. `ends` ends the first, and
/// `supervisor` sees to the vacancy; `fills`: the warden says that somebody will.
fn with_kept_actor(
    preemptions: usize,
    fills: bool,
    states: usize,
    ends: fn(&Core),
    supervisor: fn(&Kept<Sums>, &Arc<Log>),
    sender: fn(&World),
) {
    fresh::check(preemptions, move || {
        IDS.set(0);
        let (shared, log) = (Shared::new(), Arc::new(Log::default()));
        let tells = Arc::new(Tells { vacant: model::Gate::new(), fills });
        let warden = Arc::clone(&tells);
        let kept = start_kept(&shared, plan(8), warden, Sums::new(&log)).unwrap();
        let actor = kept.strong().clone();
        let is_over = loom::sync::Arc::new(model::Gate::new());
        let world = World { shared: Arc::clone(&shared), actor, log: Arc::clone(&log), is_over };
        let worker = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.work()
        });
        let supervisor = thread::spawn({
            let log = Arc::clone(&log);
            move || {
                ends(kept.strong().core());
                tells.vacant.wait();
                supervisor(&kept, &log);
            }
        });
        sender(&world);
        supervisor.join().unwrap();
        shared.end();
        worker.join().unwrap();
        drop(world);
        assert_eq!(log.dropped.load(Relaxed), log.made.load(Relaxed), "a message was lost, or came twice");
        assert_eq!(log.states_dropped.load(Relaxed), states, "each state has ended once");
    });
}

fn revive(kept: &Kept<Sums>, log: &Arc<Log>) {
    assert!(kept.revive(Sums::new(log)).is_ok(), "it is vacant");
    assert!(kept.revive(Sums::new(log)).is_err(), "and then it is not");
}

/// While it is vacant it is told something.
fn tell_and_revive(kept: &Kept<Sums>, log: &Arc<Log>) {
    log.made.fetch_add(1, Relaxed);
    let (route, msg) = (const { &route::<Sums, Add>() }, Add { amount: UnsafeCell::new(1), log: Arc::clone(log) });
    let told = tell::tell(kept.strong().core(), Boxed::new(route.tell, Tell(msg)), Some(LONG));
    assert!(told.is_ok(), "it is between two states");
    revive(kept, log);
}

fn bury(kept: &Kept<Sums>, log: &Arc<Log>) {
    kept.strong().core().bury();
    assert!(kept.revive(Sums::new(log)).is_err(), "it has ended");
}

#[test]
fn a_message_that_meets_the_end_of_a_state_is_handled_by_that_or_the_next() {
    // The third is the one that comes back.
    with_kept_actor(1, true, 3, Core::kill, revive, |world| assert_eq!(world.call(LONG).unwrap(), 1));
}

#[test]
fn an_ask_that_meets_the_end_of_a_state_is_answered_by_that_or_the_next() {
    with_kept_actor(1, true, 3, Core::kill, revive, |world| assert_eq!(world.ask(LONG).unwrap(), 1));
}

#[test]
fn a_message_to_an_actor_that_stays_vacant_is_handled_before_or_comes_back() {
    with_kept_actor(1, true, 2, Core::kill, bury, |world| checked(world.call(LONG)));
}

#[test]
fn an_actor_whose_vacancy_nobody_will_fill_ends() {
    with_kept_actor(1, false, 2, Core::kill, bury, |world| checked(world.call(LONG)));
}

#[test]
fn an_actor_that_was_stopped_and_is_vacant_takes_messages_for_its_next_state() {
    let stop = |core: &Core| core.stop(Exit::Shutdown, LONG);
    with_kept_actor(1, true, 3, stop, tell_and_revive, |_| ());
}
