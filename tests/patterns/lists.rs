//! The list of all actors, and the report of a panic.

use std::time::Duration;

use green::actor::{
    Actor, ActorInfo, Addr, Backoff, Builder, ByKey, Child, ChildState, Context, Exit, Handler, Keyed, Message, Pool,
    Supervisor, actors, messages, metrics,
};

use crate::Hand;
use crate::help::{Gate, bounded, everywhere, in_a_child, runtime, until};

struct Talks;
impl Actor for Talks {
    /// Asks wait until they are looked at, whenever that is.
    const ASK_TIMEOUT: Duration = Duration::from_secs(600);
}
messages! {
    impl Talks {
        fn Hold(&mut self, begun: Gate, gate: Gate) {
            begun.open();
            gate.wait();
        }
        fn Park(&mut self) { green::thread::park() }
        fn Ask(&mut self, to: Addr<Talks>) { drop(to.send(Park)) }
        fn Panic(&mut self) { panic!("as told") }
    }
}

fn find(actor: &Addr<Talks>) -> Option<ActorInfo> {
    actors().into_iter().find(|info| info.id == actor.id())
}

#[test]
fn the_list_shows_names_types_states_queues_and_what_each_waits_for() {
    everywhere(|| {
        let (parks, asks) = (Talks.start(), Builder::new().name("asks").start(Talks).unwrap());
        asks.tell(Ask(parks.clone())).unwrap();
        asks.tell(Ask(parks.clone())).unwrap();
        until(|| find(&asks).unwrap().waits_for == Some("reply"));
        until(|| find(&parks).unwrap().waits_for == Some("park"));
        let info = find(&asks).unwrap();
        assert_eq!((info.name.as_deref(), info.queued, info.state.clone()), (Some("asks"), 1, ChildState::Runs));
        assert_eq!(info.waits_for_actor, Some(parks.id()));
        assert!(info.type_name.ends_with("::Talks"), "{info}");
        let line =
            format!("{} \"asks\" ({}): runs; 1 queued, waits for reply of {}", asks.id(), info.type_name, parks.id());
        assert_eq!(info.to_string(), line);
        for actor in [asks, parks] {
            actor.kill();
            actor.join();
            assert_eq!(find(&actor), None);
        }
    });
}

#[test]
fn a_runtime_lists_its_own_actors_in_the_order_of_their_numbers() {
    for workers in [1, 2, 4] {
        bounded(move || {
            let (one, other) = (runtime(workers), runtime(workers));
            let mine: Vec<_> = (0..50).map(|_| Builder::new().runtime(&one).start(Talks).unwrap()).collect();
            let its = Builder::new().runtime(&other).start(Talks).unwrap();
            let listed: Vec<_> = one.actors().iter().map(|actor| actor.id).collect();
            let mut ids: Vec<_> = mine.iter().map(|actor| actor.id()).collect();
            ids.sort();
            assert_eq!(listed, ids);
            assert_eq!(other.actors().iter().map(|actor| actor.id).collect::<Vec<_>>(), [its.id()]);
            let (begun, gate) = (Gate::new(), Gate::new());
            mine[0].tell(Hold(begun.clone(), gate.clone())).unwrap();
            begun.wait();
            mine.iter().for_each(|actor| actor.kill());
            gate.open();
            mine.iter().for_each(|actor| _ = actor.join());
            assert!(one.actors().is_empty());
        });
    }
}

#[test]
fn supervisors_their_children_and_pools_are_in_the_list() {
    bounded(|| {
        let runtime = runtime(2);
        let names = runtime.run(|| {
            let hour = std::time::Duration::from_secs(3600);
            let pool = Child::pool("hands", || Pool::shared(2, Hand::default));
            let dies = Child::new("dies", || Talks).backoff(Backoff::exponential(hour..=hour));
            let sup = Supervisor::one_for_one().name("top").child(pool).child(dies).start().unwrap();
            let dies = sup.get::<Talks>("dies").unwrap();
            assert!(dies.send(Panic).is_err());
            until(|| find(&dies).unwrap().state == ChildState::Waits(Exit::Panic("as told".to_owned())));
            actors().into_iter().filter_map(|actor| actor.name).collect::<Vec<_>>()
        });
        let mut names: Vec<&str> = names.iter().map(|name| &**name).collect();
        names.sort_unstable();
        assert_eq!(names, ["dies", "hands", "hands (workers)", "hands 1", "hands 2", "top"]);
    });
}

#[test]
fn the_report_of_a_panic_names_the_actor_and_its_type() {
    let ended = in_a_child(&[], || {
        runtime(1).run(|| {
            let named = Builder::new().name("db 1").start(Talks).unwrap();
            assert!(named.send(Panic).is_err());
            let nameless = Talks.start();
            assert!(nameless.send(Panic).is_err());
            println!("ids: {} and {}.", named.id(), nameless.id());
        });
    });
    ended.assert_success();
    let ids = ended.output.split("ids: ").nth(1).unwrap().split('.').next().unwrap();
    let (named, nameless) = ids.split_once(" and ").unwrap();
    for line in
        [format!("in {named} \"db 1\" (patterns::lists::Talks)\n"), format!("in {nameless} (patterns::lists::Talks)\n")]
    {
        assert!(ended.output.contains(&line), "{line}: {}", ended.output);
    }
}

#[test]
fn the_report_of_a_panic_names_the_actor_on_several_workers_and_below_a_supervisor_and_in_a_pool() {
    for workers in ["2", "4"] {
        let ended = in_a_child(&[], || {
            runtime(workers.parse().unwrap()).run(|| {
                let pool = Child::pool("hands", || Pool::by_key(1, || Talks));
                let sup = Supervisor::one_for_one().child(Child::new("child", || Talks)).child(pool).start().unwrap();
                let named = Builder::new().name("alone").start(Talks).unwrap();
                assert!(named.send(Panic).is_err());
                assert!(sup.get::<Talks>("child").unwrap().send(Panic).is_err());
                assert!(sup.get::<Pool<Talks, ByKey>>("hands").unwrap().send(PanicThere).is_err());
            });
        });
        ended.assert_success();
        for name in ["alone", "child", "hands 1"] {
            let line = format!(" \"{name}\" (patterns::lists::Talks)\n");
            assert!(ended.output.contains(&line), "{workers} workers, {line}: {}", ended.output);
        }
    }
}

#[test]
fn a_hook_of_the_programs_own_is_all_that_reports_a_panic() {
    let ended = in_a_child(&[], || {
        std::panic::set_hook(Box::new(|_| {
            println!("of {:?}", green::thread::current().name());
        }));
        runtime(1).run(|| {
            let named = Builder::new().name("db 1").start(Talks).unwrap();
            assert!(named.send(Panic).is_err());
        });
    });
    ended.assert_success();
    assert!(ended.output.contains("of Some(\"db 1\")"), "{}", ended.output);
    assert!(!ended.output.contains("in actor"), "{}", ended.output);
}

struct Key(Gate, Gate);
impl Message for Key {
    type Reply = ();
}
impl Keyed for Key {
    type Key = u8;
    fn key(&self) -> u8 {
        0
    }
}
impl Handler<Key> for Talks {
    fn handle(&mut self, Key(begun, gate): Key, _: &mut Context<Self>) {
        begun.open();
        gate.wait();
    }
}

struct PanicThere;
impl Message for PanicThere {
    type Reply = ();
}
impl Keyed for PanicThere {
    type Key = u8;
    fn key(&self) -> u8 {
        0
    }
}
impl Handler<PanicThere> for Talks {
    fn handle(&mut self, _: PanicThere, _: &mut Context<Self>) {
        panic!("as told");
    }
}

/// What was passed on takes no room in the mailbox, and is queued there nevertheless.
#[test]
fn messages_that_a_pool_has_passed_on_are_in_the_numbers_of_its_worker() {
    for workers in [1, 2, 4] {
        bounded(move || {
            runtime(workers).run(|| {
                let (begun, gate) = (Gate::new(), Gate::new());
                let pool = Child::pool("keys", || Pool::by_key(2, || Talks));
                let sup = Supervisor::one_for_one().child(pool).start().unwrap();
                let pool = sup.get::<Pool<Talks, ByKey>>("keys").unwrap();
                (0..11).for_each(|_| pool.tell(Key(begun.clone(), gate.clone())).unwrap());
                begun.wait();
                let in_list = || actors().iter().map(|actor| actor.queued).max();
                until(|| pool.queued() == 0 && in_list() == Some(10));
                let metrics = metrics();
                assert_eq!((metrics.queued, metrics.longest.len(), metrics.longest[0].queued), (10, 1, 10));
                let workers = sup.tree().find("keys").unwrap().children.clone();
                assert_eq!(workers.iter().map(|worker| worker.queued).sum::<usize>(), 10);
                gate.open();
                sup.stop();
                sup.join();
            });
        });
    }
}

/// Hands each message on to another actor.
struct HandsOn(Addr<Talks>);
impl Actor for HandsOn {}
impl Handler<Key> for HandsOn {
    fn handle(&mut self, msg: Key, ctx: &mut Context<Self>) {
        let _ = ctx.forward(&self.0.recipient(), msg);
    }
}

#[test]
fn messages_that_were_forwarded_are_queued_where_they_are_and_those_put_aside_are_not() {
    everywhere(|| {
        let (begun, gate) = (Gate::new(), Gate::new());
        let talks = Talks.start();
        let hands_on = HandsOn(talks.clone()).start();
        (0..4).for_each(|_| hands_on.tell(Key(begun.clone(), gate.clone())).unwrap());
        begun.wait();
        until(|| talks.queued() == 3);
        assert_eq!(find(&talks).unwrap().queued, 3);
        gate.open();
        until(|| talks.queued() == 0);
    });
}
