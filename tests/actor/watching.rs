//! Monitors and links.

use std::time::{Duration, Instant};

use green::actor::{Actor, Addr, Builder, Context, Exit, Handler, JoinError, Message, Name, Recipient, Signal};

use crate::help::{cpu_of_this_thread, scaled};
use crate::{Counter, Do, Get, LONG, Puppet, everywhere};

#[test]
fn a_monitor_tells_why_an_actor_ended_even_if_it_was_over() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        let counter = Counter(0).start();
        let watched = counter.clone();
        let first = puppet.send(Do::new(move |_, ctx| ctx.monitor(&watched))).unwrap();
        counter.kill();
        counter.join();
        let line = crate::next(&log);
        assert!(line.contains("Killed") && line.contains(&format!("{first:?}")), "{line}");
        let watched = counter.clone();
        let second = puppet.send(Do::new(move |_, ctx| ctx.monitor(&watched))).unwrap();
        let line = crate::next(&log);
        assert!(line.contains("Killed") && line.contains(&format!("{second:?}")), "{line}");
        assert_ne!(first, second);
        assert!(!puppet.is_ended());
    });
}

#[test]
fn a_name_belongs_to_one_actor_until_that_ends() {
    static NAME: Name<Counter> = Name::new("the counter");
    static OTHER: Name<Puppet> = Name::new("the counter");
    let counter = Counter(1).start();
    assert!(NAME.lookup().is_none());
    NAME.register(&counter).unwrap();
    NAME.register(&counter).unwrap();
    assert_eq!(NAME.lookup().unwrap(), counter);
    assert!(OTHER.lookup().is_none());
    let second = Counter(2).start();
    assert!(NAME.register(&second).is_err());
    drop(counter);
    NAME.register(&second).unwrap();
    second.kill();
    second.join();
    assert!(NAME.lookup().is_none());
}

#[test]
fn a_late_unregister_does_not_take_the_successors_name() {
    static NAME: Name<Counter> = Name::new("the one and its successor");
    let (one, two) = (Counter(1).start(), Counter(2).start());
    assert!(!NAME.unregister(&one));
    NAME.register(&one).unwrap();
    assert!(!NAME.unregister(&two));
    one.kill();
    one.join();
    NAME.register(&two).unwrap();
    assert!(!NAME.unregister(&one));
    assert_eq!(NAME.lookup().as_ref(), Some(&two));
    assert!(NAME.unregister(&two));
    assert!(NAME.lookup().is_none());
    NAME.register(&Counter(3).start()).unwrap();
}

#[test]
fn a_monitor_can_be_taken_back() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        let counter = Counter(0).start();
        let watched = counter.clone();
        let take_back = Do::new(move |_, ctx| {
            let monitor = ctx.monitor(&watched);
            ctx.demonitor(monitor);
        });
        puppet.send(take_back).unwrap();
        counter.kill();
        counter.join();
        puppet.send(Do::new(|_, _| ())).unwrap();
        assert!(log.try_recv().is_err());
    });
}

#[test]
fn a_link_takes_the_other_along_unless_the_end_is_normal() {
    everywhere(|| {
        for (abnormal, expected) in [(true, Exit::Panic("bang".into())), (false, Exit::Shutdown)] {
            let ((one, _one_log), (two, two_log)) = (Puppet::new(), Puppet::new());
            let (one, two) = (one.start(), two.start());
            let other = two.clone();
            one.send(Do::new(move |_, ctx| ctx.link(&other))).unwrap();
            if abnormal {
                one.tell(Do::new(|_, _| std::panic::resume_unwind(Box::new("bang")))).unwrap();
            } else {
                one.stop();
            }
            assert_eq!(one.join(), expected);
            assert!(crate::next(&two_log).contains("LinkExit"));
            if abnormal {
                assert_eq!(two.join(), expected);
            } else {
                assert_eq!(two.send(Do::new(|_, _| 1)).unwrap(), 1);
            }
        }
    });
}

#[test]
fn a_link_to_a_dead_actor_answers_at_once_and_can_be_taken_back() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        let counter = Counter(0).start();
        counter.kill();
        counter.join();
        puppet.send(Do::new(move |_, ctx| ctx.link(&counter))).unwrap();
        assert_eq!(puppet.join(), Exit::Killed);
        assert!(crate::next(&log).contains("LinkExit"));
        let (puppet, _log) = Puppet::new();
        let puppet = puppet.start();
        let counter = Counter(0).start();
        let other = counter.clone();
        puppet
            .send(Do::new(move |_, ctx| {
                ctx.link(&other);
                ctx.unlink(&other);
            }))
            .unwrap();
        puppet.kill();
        puppet.join();
        assert_eq!(counter.send(Get).unwrap(), 0);
    });
}

/// What the puppet was told by the end of all that was sent to it.
fn told(puppet: &Addr<Puppet>, log: &std::sync::mpsc::Receiver<String>) -> Vec<String> {
    puppet.send(Do::new(|_, _| ())).unwrap();
    log.try_iter().collect()
}

#[test]
fn a_link_is_one_however_often_and_from_whichever_side_it_is_made() {
    everywhere(|| {
        let ((one, one_log), (two, _two_log)) = (Puppet::new(), Puppet::new());
        let (one, two) = (one.start(), two.start());
        for _ in 0..3 {
            let (to_one, to_two) = (one.clone(), two.clone());
            one.send(Do::new(move |_, ctx| ctx.link(&to_two))).unwrap();
            two.send(Do::new(move |_, ctx| ctx.link(&to_one))).unwrap();
        }
        two.stop();
        two.join();
        let lines = told(&one, &one_log);
        assert_eq!(lines.iter().filter(|line| line.contains("LinkExit")).count(), 1, "{lines:?}");
        // Links to the dead, one after the other, are links of their own.
        for _ in 0..2 {
            let dead = two.clone();
            let twice = Do::new(move |_, ctx: &mut Context<Puppet>| {
                ctx.link(&dead);
                ctx.link(&dead);
            });
            one.send(twice).unwrap();
            let lines = told(&one, &one_log);
            assert_eq!(lines.iter().filter(|line| line.contains("LinkExit")).count(), 1, "{lines:?}");
        }
    });
}

#[test]
fn one_unlink_takes_all_that_was_linked_away_on_both_sides() {
    everywhere(|| {
        for first_ends in [true, false] {
            let ((one, one_log), (two, two_log)) = (Puppet::new(), Puppet::new());
            let (one, two) = (one.start(), two.start());
            let (to_one, to_two) = (one.clone(), two.clone());
            one.send(Do::new(move |_, ctx| ctx.link(&to_two))).unwrap();
            two.send(Do::new(move |_, ctx| {
                ctx.link(&to_one);
                ctx.unlink(&to_one);
            }))
            .unwrap();
            let (ends, stays, log) = if first_ends { (one, two, two_log) } else { (two, one, one_log) };
            ends.kill();
            ends.join();
            assert!(told(&stays, &log).is_empty());
        }
    });
}

#[test]
fn a_queued_down_or_link_exit_is_not_handled_after_it_was_taken_back() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        let take_back = Do::new(move |_, ctx: &mut Context<Puppet>| {
            let counter = Counter(0).start();
            let (first, second) = (ctx.monitor(&counter), ctx.monitor(&counter));
            ctx.link(&counter);
            counter.kill();
            counter.join();
            // All three are queued; a fourth is made and queued at once.
            ctx.demonitor(first);
            ctx.unlink(&counter);
            let third = ctx.monitor(&counter);
            ctx.demonitor(third);
            ctx.demonitor(third);
            second
        });
        let second = puppet.send(take_back).unwrap();
        let lines = told(&puppet, &log);
        assert!(lines.len() == 1 && lines[0].contains(&format!("{second:?}")), "{lines:?}");
        assert!(!puppet.is_ended());
    });
}

#[test]
fn a_link_that_was_taken_back_and_made_again_tells_once() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        let again = Do::new(move |_, ctx: &mut Context<Puppet>| {
            let counter = Counter(0).start();
            ctx.link(&counter);
            counter.stop();
            counter.join();
            ctx.unlink(&counter);
            ctx.link(&counter);
        });
        puppet.send(again).unwrap();
        let lines = told(&puppet, &log);
        assert!(lines.len() == 1 && lines[0].contains("LinkExit"), "{lines:?}");
    });
}

#[test]
fn an_actor_is_not_told_of_its_own_end() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        let me = puppet.clone();
        let own = Do::new(move |_, ctx: &mut Context<Puppet>| {
            ctx.link(&me);
            let monitor = ctx.monitor(&me);
            ctx.unlink(&me);
            ctx.demonitor(monitor);
            _ = ctx.monitor(&me);
        });
        puppet.send(own).unwrap();
        puppet.stop();
        assert_eq!(puppet.join(), Exit::Shutdown);
        let lines: Vec<_> = log.try_iter().collect();
        assert_eq!(lines, ["stopping: was stopped", "dropped"]);
    });
}

/// Handles the ends of those that it monitors, and says nothing of links.
struct Inattentive(Vec<Option<std::sync::Arc<str>>>);

impl Actor for Inattentive {
    fn signal(&mut self, signal: Signal, _: &mut Context<Self>) {
        if let Signal::Down(down) = signal {
            self.0.push(down.name);
        }
    }
}

/// Has it watch.
struct Watch {
    monitored: Recipient<Get>,
    linked: Recipient<Get>,
}
impl Message for Watch {
    type Reply = ();
}
impl Handler<Watch> for Inattentive {
    fn handle(&mut self, m: Watch, ctx: &mut Context<Self>) {
        let _ = ctx.monitor(&m.monitored);
        ctx.link(&m.linked);
    }
}

struct Names;
impl Message for Names {
    type Reply = Vec<Option<std::sync::Arc<str>>>;
}
impl Handler<Names> for Inattentive {
    fn handle(&mut self, _: Names, _: &mut Context<Self>) -> Vec<Option<std::sync::Arc<str>>> {
        self.0.clone()
    }
}

fn named(name: &str) -> Recipient<Get> {
    Builder::new().name(name).start(Counter::default()).unwrap().recipient()
}

#[test]
fn a_signal_that_does_not_speak_of_links_leaves_them_on() {
    everywhere(|| {
        let (monitored, linked, normal) = (named("monitored"), named("linked"), named("normal"));
        let actor = Inattentive(Vec::new()).start();
        let watch = |linked: &Recipient<Get>| Watch { monitored: monitored.clone(), linked: linked.clone() };
        actor.send(watch(&linked)).unwrap();
        actor.send(watch(&normal)).unwrap();
        normal.stop();
        assert_eq!(normal.join(), Exit::Shutdown);
        assert!(actor.send(Names).unwrap().is_empty(), "a normal end is not told, and ends nobody");
        linked.kill();
        assert_eq!(actor.join(), Exit::Killed);
    });
}

#[test]
fn a_recipient_is_monitored_joined_named_and_stopped() {
    everywhere(|| {
        let (one, other) = (named("one"), named("other"));
        assert_eq!((one.name(), one.is_ended(), one.queued()), (Some("one"), false, 0));
        let actor = Inattentive(Vec::new()).start();
        actor.send(Watch { monitored: one.clone(), linked: other.clone() }).unwrap();
        assert_eq!(one.join_timeout(Duration::ZERO), Err(JoinError::Timeout));
        one.stop_within(Duration::ZERO);
        assert_eq!((one.join(), one.is_ended()), (Exit::Shutdown, true));
        assert_eq!(actor.send(Names).unwrap(), [Some("one".into())]);
        // One that has ended already has its name still.
        actor.send(Watch { monitored: one, linked: other }).unwrap();
        let start = Instant::now();
        while actor.send(Names).unwrap() != [Some("one".into()), Some("one".into())] {
            assert!(start.elapsed() < LONG);
        }
    });
}

#[test]
fn a_recipient_is_shut_down_as_an_address_is() {
    everywhere(|| {
        let one = named("one");
        let end = one.shutdown(LONG);
        assert!(end.is_clean(), "{end}");
        assert_eq!((end.stopped, one.is_ended(), one.join()), (1, true, Exit::Shutdown));
    });
}

/// Counts what it is told.
#[derive(Default)]
struct Tally {
    downs: usize,
    exits: usize,
}

impl Actor for Tally {
    const TRAPS_EXITS: bool = true;

    fn signal(&mut self, signal: Signal, _: &mut Context<Self>) {
        match signal {
            Signal::Down(_) => self.downs += 1,
            Signal::LinkExit { .. } => self.exits += 1,
            _ => unreachable!("{signal:?}"),
        }
    }
}

/// Does something with its context.
struct With<R>(WithJob<R>);

type WithJob<R> = Box<dyn FnOnce(&mut Tally, &mut Context<Tally>) -> R + Send>;

impl<R: Send + 'static> Message for With<R> {
    type Reply = R;
}

impl<R: Send + 'static> Handler<With<R>> for Tally {
    fn handle(&mut self, m: With<R>, ctx: &mut Context<Self>) -> R {
        (m.0)(self, ctx)
    }
}

fn with<R>(f: impl FnOnce(&mut Tally, &mut Context<Tally>) -> R + Send + 'static) -> With<R> {
    With(Box::new(f))
}

#[test]
fn crossed_links_that_race_with_both_deaths_tell_once_and_hang_nobody() {
    everywhere(|| {
        for round in 0..scaled(4000) {
            let (one, two) = (Tally::default().start(), Tally::default().start());
            let (to_one, to_two) = (one.clone(), two.clone());
            let links = with(move |_, ctx| {
                ctx.link(&to_two);
                if round % 4 == 3 {
                    ctx.unlink(&to_two);
                    ctx.link(&to_two);
                }
                let _ = ctx.monitor(&to_two);
            });
            // A link that comes after one is told is another link, with another signal.
            let one_goes_first = round % 2 == 0;
            if one_goes_first {
                one.send(links).unwrap()
            } else {
                one.tell(links).unwrap()
            }
            two.tell(with(move |_, ctx| ctx.link(&to_one))).unwrap();
            match round % 3 {
                0 => two.kill(),
                1 => two.stop(),
                _ => (one.kill(), two.kill()).1,
            }
            two.join();
            if round % 3 == 2 {
                one.join();
                continue;
            }
            let start = std::time::Instant::now();
            while one.send(with(|me, _| me.downs.min(me.exits))).unwrap() == 0 {
                assert!(start.elapsed() < LONG, "not told");
                green::thread::yield_now();
            }
            let (downs, exits) = one.send(with(|me, _| (me.downs, me.exits))).unwrap();
            assert!(downs == 1 && (exits == 1 || exits == 2 && !one_goes_first), "round {round}: {downs}, {exits}");
        }
    });
}

#[test]
fn each_of_many_watchers_is_told_of_one_end_exactly_once() {
    everywhere(|| {
        let hub = Counter(0).start();
        let watchers: Vec<_> = (0..scaled(2000)).map(|_| Tally::default().start()).collect();
        for watcher in &watchers {
            let hub = hub.clone();
            watcher.tell(with(move |_, ctx| _ = ctx.monitor(&hub))).unwrap();
        }
        hub.kill();
        for watcher in &watchers {
            while watcher.send(with(|me, _| me.downs)).unwrap() == 0 {
                green::thread::yield_now();
            }
        }
        assert!(watchers.iter().all(|watcher| watcher.send(with(|me, _| me.downs)).unwrap() == 1));
    });
}

/// How long `n` links with one hub take to be taken back, at best.
fn unlinking(n: usize) -> Duration {
    let one = |_| {
        let hub = Tally::default().start();
        let peers: Vec<_> = (0..n).map(|_| Counter(0).start()).collect();
        let all = peers.clone();
        hub.send(with(move |_, ctx| all.iter().for_each(|peer| ctx.link(peer)))).unwrap();
        hub.send(with(move |_, ctx| {
            let start = cpu_of_this_thread();
            peers.iter().for_each(|peer| ctx.unlink(peer));
            cpu_of_this_thread() - start
        }))
        .unwrap()
    };
    (0..5).map(one).min().unwrap()
}

#[test]
fn to_unlink_all_peers_of_a_hub_takes_time_in_proportion_to_their_number() {
    // The caches cost more than the lists: measured, 16 times as many take some 35 times as long. A list that is scanned: 256.
    let n = scaled(1000);
    let (few, many) = (unlinking(n), unlinking(16 * n));
    assert!(many < few * 100, "{n}: {few:?}, {}: {many:?}", 16 * n);
}
