//! Actors that asked for it.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use green::actor::{Actor, Addr, Backoff, Builder, Child, Context, Exit, Handler, Message, Supervisor};
use green::thread::OnSwitch;
use green::{Runtime, ThreadLocals};

use crate::help::{bounded, in_a_child};
use crate::{Counted, Double, Doubler, Mine, USER, on};

/// Waits in every way, and looks whose `USER` it sees. Says how it ends into the other field.
struct Keeper {
    user: u32,
    doubler: Addr<Doubler>,
    last: Arc<AtomicU32>,
}

impl Keeper {
    fn check(&self) {
        assert_eq!(USER.get(), self.user);
    }
}

impl Actor for Keeper {
    fn started(&mut self, _: &mut Context<Self>) -> Result<(), Exit> {
        self.check();
        Ok(())
    }

    fn stopping(&mut self, _: &Exit, _: &mut Context<Self>) {
        self.last.fetch_add(USER.get(), SeqCst);
    }
}

struct Wait;
impl Message for Wait {
    type Reply = u32;
}
impl Handler<Wait> for Keeper {
    fn handle(&mut self, _: Wait, ctx: &mut Context<Self>) -> u32 {
        self.check();
        green::yield_now();
        self.check();
        green::sleep(Duration::from_millis(1));
        self.check();
        // It would see ours on top of us.
        assert_eq!(self.doubler.send(Double(self.user)).unwrap(), self.user * 2);
        self.check();
        assert_eq!(self.doubler.call(Double(4)).unwrap().wait().unwrap(), 8);
        // So would a child that has not started.
        green::spawn(|| assert_eq!(USER.get(), 0)).join().unwrap();
        self.check();
        ctx.spawn(|| assert_eq!(USER.get(), 0));
        green::blocking(|| ());
        self.check();
        // Lets this actor handle another message on top of this one.
        let (doubler, me) = (Doubler.start(), ctx.addr());
        assert_eq!(ctx.reenter(self).send(&doubler, Back(me)).unwrap(), self.user);
        self.check();
        let late = green::timeout(Duration::from_millis(1), || green::sleep(Duration::from_secs(60)));
        assert!(late.is_err());
        self.check();
        self.user
    }
}

struct Look;
impl Message for Look {
    type Reply = u32;
}
impl Handler<Look> for Keeper {
    fn handle(&mut self, _: Look, _: &mut Context<Self>) -> u32 {
        green::yield_now();
        USER.get()
    }
}

struct Back(Addr<Keeper>);
impl Message for Back {
    type Reply = u32;
}
impl Handler<Back> for Doubler {
    fn handle(&mut self, m: Back, _: &mut Context<Self>) -> u32 {
        assert_eq!(USER.get(), 0);
        m.0.send(Look).unwrap()
    }
}

struct Panic;
impl Message for Panic {
    type Reply = ();
}
impl Handler<Panic> for Keeper {
    fn handle(&mut self, _: Panic, _: &mut Context<Self>) {
        std::panic::resume_unwind(Box::new("ends"));
    }
}

struct Park;
impl Message for Park {
    type Reply = ();
}
impl Handler<Park> for Keeper {
    fn handle(&mut self, _: Park, _: &mut Context<Self>) {
        green::thread::park();
    }
}

fn keeper(user: u32) -> Keeper {
    Keeper { user, doubler: Doubler.start(), last: Arc::default() }
}

fn mine(user: u32) -> Addr<Keeper> {
    Builder::new().on_switch(Mine(user)).start(keeper(user)).unwrap()
}

#[test]
fn a_handler_keeps_what_is_its_actors_over_every_kind_of_wait() {
    for workers in [1, 2] {
        on(workers, || {
            let keepers: Vec<_> = (1..=20).map(mine).collect();
            let asked: Vec<_> = keepers.iter().map(|keeper| keeper.call(Wait).unwrap()).collect();
            let plain = green::spawn(|| {
                for _ in 0..200 {
                    assert_eq!(USER.get(), 0);
                    green::yield_now();
                }
            });
            for (user, pending) in (1..).zip(asked) {
                assert_eq!(pending.wait().unwrap(), user);
            }
            plain.join().unwrap();
            assert_eq!(USER.get(), 0);
        });
    }
}

#[test]
fn on_top_of_its_asker_an_actor_sees_its_own_and_the_asker_the_askers() {
    on(1, || {
        let keeper = mine(3);
        assert_eq!(keeper.send(Look).unwrap(), 3);
        // A plain thread's, as of a neighbour: nothing follows it, and nothing takes it away where nobody else sets it.
        USER.set(9);
        struct At(Addr<Keeper>);
        for _ in 0..3 {
            // On top of this thread until it waits.
            let at = At(keeper.clone());
            assert_eq!(at.0.send(Look).unwrap(), 3);
            assert_eq!(USER.get(), 9);
        }
        USER.set(0);
        // Neither does a thread with calls mix with it.
        let asker = crate::mine(5).spawn(move || (keeper.send(Look).unwrap(), USER.get(), keeper.send(Wait).unwrap()));
        assert_eq!(asker.unwrap().join().unwrap(), (3, 5, 3));
        assert_eq!(USER.get(), 0);
    });
    // From an OS thread.
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let keeper = runtime.run(|| mine(4));
    assert_eq!((keeper.send(Look).unwrap(), USER.get()), (4, 0));
}

#[test]
fn the_calls_of_an_actor_come_in_turn_from_its_first_run_to_its_last_however_it_ends() {
    /// Says when it is dropped.
    struct Dropped(Counted, Arc<AtomicU32>);
    impl OnSwitch for Dropped {
        fn resume(&mut self) {
            self.0.resume();
        }
        fn suspend(&mut self) {
            self.0.suspend();
        }
    }
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.1.fetch_add(1, SeqCst);
        }
    }
    type EndsIt = fn(Addr<Keeper>);
    let ends: [(EndsIt, Exit); 5] = [
        (|actor| drop(actor), Exit::Normal),
        (|actor| actor.stop(), Exit::Shutdown),
        (|actor| _ = actor.send(Panic), Exit::Panic("ends".to_owned())),
        (
            |actor| {
                actor.tell(Park).unwrap();
                green::sleep(Duration::from_millis(1));
                actor.kill();
            },
            Exit::Killed,
        ),
        (|actor| actor.kill(), Exit::Killed),
    ];
    for (end, exit) in ends {
        on(1, move || {
            let (counts, dropped) = (Counted::default(), Arc::new(AtomicU32::new(0)));
            let calls = Dropped(counts.clone(), dropped.clone());
            let addr = Builder::new().on_switch(calls).start(Keeper { user: 0, ..keeper(0) }).unwrap();
            addr.send(Look).unwrap();
            let weak = addr.downgrade();
            green::yield_now();
            // One when it starts, or asked at once with that; one for the yield.
            let (resumes, suspends) = counts.now();
            assert!((2..=3).contains(&resumes) && resumes == suspends, "{:?}", counts.now());
            assert_eq!(dropped.load(SeqCst), 0, "it rests");
            let kept = (exit != Exit::Normal).then(|| addr.clone());
            end(addr);
            while dropped.load(SeqCst) == 0 {
                green::sleep(Duration::from_millis(1));
            }
            kept.inspect(|addr| assert_eq!(addr.join(), exit));
            let (resumes, suspends) = counts.now();
            assert!(resumes > 2 && resumes == suspends, "{:?}", counts.now());
            drop(weak);
            assert_eq!(dropped.load(SeqCst), 1);
        });
    }
}

#[test]
fn the_last_words_of_an_actor_that_ends_with_its_runtime_see_what_is_its_own() {
    let last = Arc::new(AtomicU32::new(0));
    let counts = Counted::default();
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let start = |user: u32| {
        let state = Keeper { last: last.clone(), ..keeper(user) };
        (Builder::new().on_switch(Mine(user)).start(state).unwrap(), Builder::new().on_switch(counts.clone()))
    };
    let kept = runtime.run(|| {
        let (rests, builder) = start(30);
        rests.send(Look).unwrap();
        let counted = builder.start(keeper(0)).unwrap();
        counted.send(Look).unwrap();
        let (waits, _) = start(7);
        waits.tell(Park).unwrap();
        green::yield_now();
        (rests, waits, counted)
    });
    drop(runtime);
    assert_eq!(kept.0.join(), Exit::Shutdown);
    assert_eq!(last.load(SeqCst), 37, "one that rested, and one that waited");
    let (resumes, suspends) = counts.now();
    assert!(resumes >= 3 && resumes == suspends, "{:?}", counts.now());
    assert_eq!(USER.get(), 0);
}

/// Waits in its `stopping`, between two signs.
struct Slow(green::channel::Sender<()>, green::channel::Receiver<()>);
impl Actor for Slow {
    fn stopping(&mut self, _: &Exit, _: &mut Context<Self>) {
        self.0.send(()).unwrap();
        self.1.recv().unwrap();
    }
}
impl Handler<Look> for Slow {
    fn handle(&mut self, _: Look, _: &mut Context<Self>) -> u32 {
        USER.get()
    }
}

/// The second to begin saw the first one's, and left that on the OS thread for ever.
#[test]
fn actors_that_end_on_green_threads_which_take_turns_leave_the_os_thread_as_it_was() {
    bounded(|| {
        let runtime = Runtime::builder().workers(1).build().unwrap();
        let slow = |user: u32| {
            let (is_in, comes_in) = green::channel::bounded(1);
            let (is_out, comes_out) = green::channel::bounded(1);
            let actor = Builder::new().runtime(&runtime).on_switch(Mine(user)).start(Slow(is_in, comes_out)).unwrap();
            assert_eq!(actor.send(Look).unwrap(), user);
            (actor, comes_in, is_out)
        };
        let (first, second) = (slow(3), slow(4));
        // The youngest, which ends first: meanwhile the runtime is over, and the others rest.
        let (last, is_over, go_on) = slow(5);
        let ends = std::thread::spawn(move || drop(runtime));
        is_over.recv().unwrap();
        on(1, move || {
            let users = [first, second].map(|(actor, comes_in, is_out)| {
                let ends = green::spawn(move || {
                    _ = actor.try_call(Look).map(drop);
                    assert!(actor.is_ended());
                });
                comes_in.recv().unwrap();
                assert_eq!(USER.get(), 0);
                (ends, is_out)
            });
            for (ends, is_out) in users {
                is_out.send(()).unwrap();
                ends.join().unwrap();
            }
            assert_eq!(USER.get(), 0);
        });
        go_on.send(()).unwrap();
        ends.join().unwrap();
        assert!(last.is_ended());
    });
}

/// It ended the supervisor, with all its children.
#[test]
fn what_makes_the_calls_of_a_runtime_may_panic_when_a_supervisor_starts_a_child() {
    static BAD: AtomicU32 = AtomicU32::new(0);
    let make = || {
        assert_eq!(BAD.load(SeqCst), 0, "none is made");
        Mine(1)
    };
    let runtime = Runtime::builder().workers(1).on_switch(make).build().unwrap();
    runtime.run(|| {
        let child = |name| Child::new(name, || Joiner).restart(green::actor::Restart::Temporary);
        let supervisor = Supervisor::dynamic().start().unwrap();
        let stays: Addr<Joiner> = supervisor.start_child(child("stays")).unwrap();
        BAD.store(1, SeqCst);
        let refused = supervisor.start_child(child("bad")).unwrap_err();
        assert!(format!("{refused:?}").contains("none is made"), "{refused:?}");
        BAD.store(0, SeqCst);
        assert!(!stays.is_ended());
        let _: Addr<Joiner> = supervisor.start_child(child("good")).unwrap();
        supervisor.shutdown(Duration::from_secs(5));
    });
}

struct Seen;
impl Actor for Seen {}
impl Handler<Look> for Seen {
    fn handle(&mut self, _: Look, _: &mut Context<Self>) -> u32 {
        green::yield_now();
        USER.get()
    }
}
impl Handler<Panic> for Seen {
    fn handle(&mut self, _: Panic, _: &mut Context<Self>) {
        std::panic::resume_unwind(Box::new("ends"));
    }
}

#[test]
fn an_actor_of_a_runtime_with_calls_has_its_own_over_its_restarts() {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let make = || Mine(MADE.fetch_add(1, SeqCst) + 1);
    let runtime = Runtime::builder().workers(1).on_switch(make).build().unwrap();
    runtime.run(|| {
        assert_eq!(USER.get(), 1);
        assert_eq!(Seen.start().send(Look).unwrap(), 2);
        assert_eq!(Builder::new().on_switch(Mine(70)).start(Seen).unwrap().send(Look).unwrap(), 70);
        let ms = Duration::from_millis(1);
        let quick = Backoff::exponential(ms..=ms);
        let supervisor = Supervisor::one_for_one().child(Child::new("seen", || Seen).backoff(quick)).start().unwrap();
        let seen: Addr<Seen> = supervisor.get("seen").unwrap();
        let first = seen.send(Look).unwrap();
        assert!(first > 2);
        seen.send(Panic).unwrap_err();
        let again = loop {
            if let Ok(user) = seen.send(Look) {
                break user;
            }
            green::sleep(Duration::from_millis(1));
        };
        assert_eq!(again, first);
        supervisor.shutdown(Duration::from_secs(5));
        assert_eq!(USER.get(), 1);
    });
}

struct Joins;
impl Message for Joins {
    type Reply = (u32, u32);
}
struct Joiner;
impl Actor for Joiner {}
impl Handler<Joins> for Joiner {
    fn handle(&mut self, _: Joins, _: &mut Context<Self>) -> (u32, u32) {
        USER.set(7);
        let child = green::spawn(|| USER.get()).join().unwrap();
        (child, USER.get())
    }
}

#[test]
fn a_thread_that_an_actor_on_its_own_thread_locals_joins_does_not_begin_on_those() {
    if ThreadLocals::supported().is_err() {
        return;
    }
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let joiner = Builder::new().runtime(&runtime).thread_locals(ThreadLocals::PerThread).start(Joiner).unwrap();
    assert_eq!(joiner.send(Joins).unwrap(), (0, 7));
}

#[test]
fn an_actor_with_thread_locals_of_its_own_takes_no_calls() {
    if ThreadLocals::supported().is_err() {
        return;
    }
    let own = || Builder::new().thread_locals(ThreadLocals::PerThread);
    let refused = own().on_switch(Mine(1)).start(Doubler).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(refused.to_string().contains("on_switch"), "{refused}");
    // In a runtime with calls it may have its own, and has no calls then; nor need it.
    let runtime = Runtime::builder().workers(1).on_switch(|| Mine(1)).build().unwrap();
    let doubler = own().runtime(&runtime).start(Doubler).unwrap();
    assert_eq!(doubler.send(Double(4)).unwrap(), 8);
}

#[test]
fn a_dump_shows_an_actor_with_calls_as_any_other() {
    on(1, || {
        let actor = Builder::new().name("has calls").on_switch(Mine(1)).start(keeper(1)).unwrap();
        let line = || {
            let mut lines = Vec::new();
            green::dump::json(&mut lines).unwrap();
            let lines = String::from_utf8(lines).unwrap();
            lines.lines().find(|line| line.contains("has calls")).map(str::to_owned).unwrap_or_default()
        };
        actor.tell(Park).unwrap();
        green::sleep(Duration::from_millis(1));
        assert!(line().contains(r#""state":"waiting""#), "{}", line());
        actor.kill();
        actor.join();
    });
}

#[test]
fn the_default_runtime_takes_its_settings_before_it_starts_and_none_later() {
    let ended = in_a_child(&[("GREEN_THREAD_LOCALS", "worker"), ("GREEN_WORKERS", "1")], || {
        let settings = || Runtime::builder().workers(3).on_switch(|| Mine(USER.get() + 1));
        // After an error it can still be started.
        let refused = Runtime::builder().stack_size(1).build_default().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        settings().build_default().unwrap();
        assert_eq!(green::run(|| (USER.get(), green::spawn(|| USER.get()).join().unwrap())), (1, 2));
        // The environment's word goes first.
        assert_eq!(green::metrics().workers.len(), 1);
        assert_eq!(settings().build_default().unwrap_err().kind(), ErrorKind::AlreadyExists);
    });
    assert_eq!(ended.code, Some(0), "{}", ended.output);
}

/// It did not start.
#[test]
fn a_default_runtime_with_calls_starts_without_them_if_the_environment_has_threads_use_their_own_thread_locals() {
    if ThreadLocals::supported().is_err() {
        return;
    }
    let ended = in_a_child(&[("GREEN_THREAD_LOCALS", "thread")], || {
        Runtime::builder().on_switch(|| Mine(3)).build_default().unwrap();
        assert_eq!(green::run(|| USER.get()), 0);
    });
    assert_eq!(ended.code, Some(0), "{}", ended.output);
}

/// They were refused, and so a program whose threads have calls did not run with that variable.
#[test]
fn threads_and_actors_with_calls_start_without_them_where_the_runtime_has_its_threads_use_their_own_thread_locals() {
    if ThreadLocals::supported().is_err() {
        return;
    }
    fn look() {
        let builder = green::thread::Builder::new().on_switch(Mine(3));
        assert_eq!(builder.spawn(|| USER.get()).unwrap().join().unwrap(), 0);
        assert_eq!(Builder::new().on_switch(Mine(3)).start(Seen).unwrap().send(Look).unwrap(), 0);
        let child = Child::new("seen", || Seen).on_switch(|| Mine(3));
        let supervisor = Supervisor::one_for_one().child(child).start().unwrap();
        assert_eq!(supervisor.get::<Seen>("seen").unwrap().send(Look).unwrap(), 0);
    }
    let ended = in_a_child(&[("GREEN_THREAD_LOCALS", "thread")], || green::run(look));
    assert_eq!(ended.code, Some(0), "{}", ended.output);
    let runtime = Runtime::builder().workers(1).thread_locals(ThreadLocals::PerThread).build().unwrap();
    runtime.run(look);
}

#[test]
fn a_child_has_calls_of_its_own_over_its_restarts_or_thread_locals_of_its_own() {
    static MADE: AtomicU32 = AtomicU32::new(0);
    on(1, || {
        let make = || Mine(MADE.fetch_add(1, SeqCst) + 40);
        let child = |name| Child::new(name, || Seen).backoff(Backoff::none()).on_switch(make);
        let supervisor = Supervisor::one_for_one().child(child("seen")).start().unwrap();
        let seen: Addr<Seen> = supervisor.get("seen").unwrap();
        assert_eq!(seen.send(Look).unwrap(), 40);
        seen.send(Panic).unwrap_err();
        assert_eq!((seen.send(Look).unwrap(), MADE.load(SeqCst)), (40, 1));
        assert_eq!(USER.get(), 0);
        if ThreadLocals::supported().is_ok() {
            let own = |child: Child<Seen>| child.thread_locals(ThreadLocals::PerThread);
            let supervisor = Supervisor::dynamic().start().unwrap();
            let refused = supervisor.start_child(own(child("both"))).unwrap_err();
            assert!(refused.to_string().contains("on_switch"), "{refused}");
            let seen = supervisor.start_child(own(Child::new("own", || Seen))).unwrap();
            assert_eq!(seen.send(Look).unwrap(), 0);
        }
    });
}

#[test]
fn the_default_runtime_that_has_started_takes_no_settings() {
    let ended = in_a_child(&[], || {
        green::spawn(|| ()).join().unwrap();
        let late = Runtime::builder().build_default().unwrap_err();
        assert_eq!(late.kind(), ErrorKind::AlreadyExists);
    });
    assert_eq!(ended.code, Some(0), "{}", ended.output);
}

#[cfg(feature = "tracing")]
mod spans {
    use green::actor::{Actor, Addr, Builder, Context, Handler, Message};
    use green::tracing::Spans;
    use tracing::span::Id;
    use tracing::{Dispatch, Span, dispatcher, info_span};

    use crate::on;

    /// Waits within a span of its own, and tells which it was in before that.
    struct Within(u32);
    impl Message for Within {
        type Reply = (Option<Id>, Option<&'static str>);
    }
    struct Waiter;
    impl Actor for Waiter {}
    impl Handler<Within> for Waiter {
        fn handle(&mut self, m: Within, _: &mut Context<Self>) -> (Option<Id>, Option<&'static str>) {
            let outer = Span::current();
            for _ in 0..5 {
                let span = info_span!("handles", number = m.0);
                let entered = span.enter();
                green::yield_now();
                assert_eq!(Span::current().id(), span.id());
                green::sleep(std::time::Duration::from_millis(1));
                assert_eq!(Span::current().id(), span.id());
                drop(entered);
                assert_eq!(Span::current().id(), outer.id());
            }
            (outer.id(), outer.metadata().map(|metadata| metadata.name()))
        }
    }

    #[test]
    fn spans_follow_the_handlers_of_actors_that_take_turns_on_a_worker() {
        let subscriber = Dispatch::new(tracing_subscriber::registry());
        on(1, || {
            dispatcher::with_default(&subscriber, || {
                let request = info_span!("request");
                let start = || Builder::new().on_switch(Spans::inherited());
                let (anonymous, named): (Vec<Addr<Waiter>>, _) = request.in_scope(|| {
                    let anonymous = (0..10).map(|_| start().start(Waiter).unwrap());
                    (anonymous.collect(), start().name("named").start(Waiter).unwrap())
                });
                let asked: Vec<_> = (0..).zip(&anonymous).map(|(n, actor)| actor.call(Within(n)).unwrap()).collect();
                let (id, name) = named.send(Within(99)).unwrap();
                assert!(id.is_some() && id != request.id());
                assert_eq!(name, Some("actor"));
                for pending in asked {
                    assert_eq!(pending.wait().unwrap(), (request.id(), Some("request")));
                }
                assert!(Span::current().is_none());
                // It is in the same span in its next run.
                assert_eq!(named.send(Within(100)).unwrap(), (id, Some("actor")));
            });
        });
    }
}
