//! What `green::dump` says of a thread that waits for the first of several things, or for a reply that comes later; and of actors that run again meanwhile.
#![cfg(not(any(miri, green_sanitized)))]

mod help;

use std::sync::mpsc;
use std::time::Duration;

use green::dump::WaitsOn;
use help::dump::{alone, info, json_of, text, waits_on};

/// Has others answer: hands the right to on.
struct Front(mpsc::Sender<green::actor::Deferred<u32>>);
impl green::actor::Actor for Front {}
struct Number;
impl green::actor::Message for Number {
    type Reply = u32;
}
impl green::actor::Handler<Number> for Front {
    fn handle(&mut self, _: Number, ctx: &mut green::actor::Context<Self>) -> u32 {
        self.0.send(ctx.defer::<Number>()).unwrap();
        0
    }
}

/// Waits for what it is told to before it answers.
struct Slow(green::channel::Receiver<u32>);
impl green::actor::Actor for Slow {}
impl green::actor::Handler<Number> for Slow {
    fn handle(&mut self, _: Number, _: &mut green::actor::Context<Self>) -> u32 {
        self.0.recv().unwrap()
    }
}

fn slow(runtime: &green::Runtime, name: &str) -> (green::actor::Addr<Slow>, green::channel::Sender<u32>) {
    let (tell, told) = green::channel::unbounded();
    (green::actor::Builder::new().runtime(runtime).name(name).start(Slow(told)).unwrap(), tell)
}

#[test]
fn a_thread_that_waits_for_a_call_shows_the_actor_that_owes_the_reply_if_one_does() {
    let _alone = alone();
    let runtime = help::runtime(2);
    let (actor, tell) = slow(&runtime, "slow");
    let waits = runtime.spawn({
        let actor = actor.clone();
        move || actor.call(Number).unwrap().wait().unwrap()
    });
    let on = waits_on(waits.thread(), "reply");
    assert!(matches!(&on, WaitsOn::Actor { name: Some(name), .. } if **name == *"slow"), "{on}");
    tell.send(5).unwrap();
    assert_eq!(waits.join().unwrap(), 5);
    // Of one whose answer nobody is known to owe any more nothing is told.
    let (deferred, later) = mpsc::channel();
    let front = green::actor::Builder::new().runtime(&runtime).start(Front(deferred)).unwrap();
    let asks = runtime.spawn(move || front.send(Number).unwrap());
    let later = later.recv().unwrap();
    help::until_parked(asks.thread(), "reply");
    help::until(|| info(asks.thread()).waits_on().is_none());
    later.reply(6);
    assert_eq!(asks.join().unwrap(), 6);
}

#[test]
fn a_thread_that_waits_for_the_first_of_several_replies_shows_who_owes_them() {
    let _alone = alone();
    let runtime = help::runtime(2);
    let actors: Vec<_> = ["one", "two", "three"].map(|name| slow(&runtime, name)).into();
    let pending: Vec<_> = actors.iter().map(|(actor, _)| actor.call(Number).unwrap()).collect();
    let waits = runtime.spawn(move || green::actor::wait_any(&pending));
    let on = waits_on(waits.thread(), "reply");
    let WaitsOn::FirstOf { count: 3, some } = &on else { panic!("{on}") };
    let names = some.iter().map(|one| match one {
        WaitsOn::Actor { name, .. } => name.as_deref(),
        other => panic!("{other}"),
    });
    assert_eq!(names.collect::<Vec<_>>(), [Some("one"), Some("two"), Some("three")]);
    assert!(text().contains(&format!("  on {on}\n")), "{}", text());
    let json = json_of(waits.thread().id());
    assert!(json.contains(r#","first_of":3,"some":[{"actor":"#) && json.contains(r#""actor_name":"two"},{"#), "{json}");
    actors[1].1.send(5).unwrap();
    assert_eq!(waits.join().unwrap(), 1);
    actors.iter().for_each(|(_, tell)| tell.send(1).unwrap());
}

#[test]
fn a_thread_that_selects_shows_the_channels_and_their_lengths() {
    let _alone = alone();
    let runtime = help::runtime(1);
    let (full, _keeps) = green::channel::bounded(2);
    (0..2).for_each(|n| full.send(n).unwrap());
    let (meets, met) = green::channel::bounded::<u8>(0);
    let (late, timer) = (green::channel::after(Duration::from_secs(3600)), green::channel::never::<u8>());
    let selects = runtime.spawn(move || {
        green::channel::select! {
            send(full, 3) -> sent => panic!("{sent:?}"),
            recv(met) -> got => got.unwrap(),
            recv(late) -> _ => panic!("an hour is over"),
            recv(timer) -> got => panic!("{got:?}"),
        }
    });
    let on = waits_on(selects.thread(), "select");
    let WaitsOn::FirstOf { count: 4, some } = &on else { panic!("{on}") };
    let mut lens: Vec<_> = some
        .iter()
        .map(|one| match one {
            WaitsOn::Channel { len, .. } => *len,
            other => panic!("{other}"),
        })
        .collect();
    lens.sort_unstable();
    // Of timers and of what never comes nothing is told.
    assert_eq!(lens, [0, 2], "{on}");
    assert!(text().contains(&format!("  on {on}\n")), "{}", text());
    let left = info(selects.thread()).time_left();
    assert!(left.is_some_and(|left| left > Duration::from_secs(3000)), "{left:?}");
    meets.send(7).unwrap();
    assert_eq!(selects.join().unwrap(), 7);
    let many: Vec<_> = (0..20).map(|_| green::channel::unbounded::<u8>()).collect();
    let receivers: Vec<_> = many.iter().map(|(_, receiver)| receiver.clone()).collect();
    let selects = runtime.spawn(move || {
        let mut select = green::channel::Select::new();
        receivers.iter().for_each(|receiver| _ = select.recv(receiver));
        select.ready()
    });
    let on = waits_on(selects.thread(), "select");
    assert!(matches!(&on, WaitsOn::FirstOf { count: 20, some } if some.len() == 8), "{on}");
    many[11].0.send(1).unwrap();
    assert_eq!(selects.join().unwrap(), 11);
}

/// It leaves the list after each run, and each run enters it at the end.
#[test]
fn actors_that_run_again_while_the_threads_are_shown_are_shown_once() {
    use green::actor::{Actor, Addr, Builder, Context, Handler, Message};
    struct Waits;
    impl Actor for Waits {}
    struct Wait {
        begins: help::Gate,
        ends: help::Gate,
    }
    impl Message for Wait {
        type Reply = ();
    }
    impl Handler<Wait> for Waits {
        fn handle(&mut self, wait: Wait, _: &mut Context<Self>) {
            wait.begins.open();
            wait.ends.wait();
        }
    }
    fn runs(waits: &Addr<Waits>) -> help::Gate {
        let (begins, ends) = (help::Gate::new(), help::Gate::new());
        waits.tell(Wait { begins: begins.clone(), ends: ends.clone() }).unwrap();
        begins.wait();
        ends
    }
    let _alone = alone();
    let runtime = help::runtime(1);
    let (mut running, mut parked) = (std::collections::HashMap::new(), Vec::new());
    for number in 0..5 {
        let name = format!("waits {number}");
        let waits = Builder::new().runtime(&runtime).name(&*name).start(Waits).unwrap();
        running.insert(name, (runs(&waits), waits));
        parked.extend((0..40).map(|_| runtime.spawn(green::thread::park)));
        help::dump::until_shown(parked.iter().map(|thread| thread.thread()), "park");
    }
    let mut shown = std::collections::HashSet::new();
    green::dump::for_each(|thread| {
        assert!(shown.insert(thread.id()), "{thread:?} twice");
        // It first, so that what is met again is met instead of those that have left their places.
        if let Some((ends, waits)) = thread.name().and_then(|name| running.get_mut(name)) {
            ends.open();
            *ends = runs(waits);
            for (_, (ends, waits)) in running.iter_mut().filter(|(name, _)| Some(&***name) != thread.name()) {
                ends.open();
                *ends = runs(waits);
            }
        }
        Ok(())
    })
    .unwrap();
    assert!(parked.iter().all(|thread| shown.contains(&thread.thread().id())));
    running.values().for_each(|(ends, _)| ends.open());
    parked.iter().for_each(|thread| thread.thread().unpark());
    parked.into_iter().for_each(|thread| thread.join().unwrap());
}
