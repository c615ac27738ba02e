//! Signals, timers and messages take turns, and a stop ends an actor whatever the others do.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use green::actor::{Actor, Builder, Context, Exit, Handler, Mailbox, Message, Signal};

use crate::help::within;
use crate::{Do, LONG, Puppet, everywhere, hold};

/// How a [`Poller`] comes by its next beat.
#[derive(Clone, Copy, Debug)]
enum Beats {
    Interval(Duration),
    SetAgain(Duration),
}

const BEATS: [Beats; 4] = [
    Beats::Interval(Duration::from_micros(100)),
    Beats::Interval(Duration::from_nanos(1)),
    Beats::SetAgain(Duration::from_micros(100)),
    Beats::SetAgain(Duration::ZERO),
];

/// Takes longer for a beat than until the next one is due.
struct Poller(Beats, mpsc::Sender<&'static str>);

impl Actor for Poller {
    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
        match self.0 {
            Beats::Interval(period) => _ = ctx.interval(period, || Beat),
            Beats::SetAgain(after) => _ = ctx.send_after(after, Beat),
        }
        Ok(())
    }
}

struct Beat;
impl Message for Beat {
    type Reply = ();
}
impl Handler<Beat> for Poller {
    fn handle(&mut self, _: Beat, ctx: &mut Context<Self>) {
        if let Beats::SetAgain(after) = self.0 {
            ctx.send_after(after, Beat);
        }
        green::sleep(Duration::from_millis(10));
        let _ = self.1.send("beat");
    }
}

struct Note;
impl Message for Note {
    type Reply = ();
}
impl Handler<Note> for Poller {
    fn handle(&mut self, _: Note, _: &mut Context<Self>) {
        green::sleep(Duration::from_millis(1));
        let _ = self.1.send("note");
    }
}

/// Queues ten notes, all before the first is handled.
struct Notes;
impl Message for Notes {
    type Reply = ();
}
impl Handler<Notes> for Poller {
    fn handle(&mut self, _: Notes, ctx: &mut Context<Self>) {
        (0..10).for_each(|_| ctx.notify(Note).unwrap());
    }
}

#[test]
fn an_actor_whose_timer_is_slower_than_its_period_still_handles_messages() {
    for beats in BEATS {
        everywhere(move || {
            let (sender, log) = mpsc::channel();
            let poller = Poller(beats, sender).start();
            (0..3).for_each(|_| assert_eq!(crate::next(&log), "beat"));
            poller.send_timeout(Notes, LONG).unwrap();
            let mut lines = Vec::new();
            while lines.iter().filter(|line| **line == "note").count() < 10 {
                lines.push(crate::next(&log));
            }
            let first = lines.iter().position(|line| *line == "note").unwrap();
            let starved = lines[first..].windows(2).any(|pair| pair == ["beat", "beat"]);
            assert!(!starved, "two beats between two messages that were queued: {lines:?}");
            poller.kill();
        });
    }
}

#[test]
fn a_stop_ends_an_actor_whose_timer_is_slower_than_its_period() {
    for beats in BEATS {
        everywhere(move || {
            for drain in [Duration::ZERO, Duration::from_millis(20), Duration::MAX] {
                within(Duration::from_secs(4), || {
                    let (sender, log) = mpsc::channel();
                    let poller = Poller(beats, sender).start();
                    (0..2).for_each(|_| assert_eq!(crate::next(&log), "beat"));
                    poller.tell(Note).unwrap();
                    poller.stop_within(drain);
                    let start = Instant::now();
                    assert_eq!(poller.join(), Exit::Shutdown);
                    let took = start.elapsed();
                    let notes = log.try_iter().filter(|line| *line == "note").count();
                    assert!(notes == 1 || drain != Duration::MAX, "what is queued is handled");
                    took
                });
            }
        });
    }
}

#[test]
fn a_context_that_stops_itself_in_a_slow_beat_is_the_last_that_is_heard_of_it() {
    struct Once;
    impl Actor for Once {
        fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
            ctx.interval(Duration::from_micros(10), || Beat);
            Ok(())
        }
    }
    impl Handler<Beat> for Once {
        fn handle(&mut self, _: Beat, ctx: &mut Context<Self>) {
            ctx.stop();
            green::sleep(Duration::from_millis(2));
        }
    }
    everywhere(|| assert_eq!(Once.start().join(), Exit::Normal));
}

#[test]
fn a_drain_has_its_deadline_although_there_is_always_another_message() {
    everywhere(|| {
        let (puppet, _log) = Puppet::new();
        let puppet = Builder::new().mailbox(Mailbox::unbounded()).start(puppet).unwrap();
        let gate = hold(&puppet);
        let slow = || Do::new(|_: &mut Puppet, _: &mut Context<Puppet>| green::sleep(Duration::from_millis(1)));
        (0..100_000).for_each(|_| puppet.tell(slow()).unwrap());
        puppet.stop_within(Duration::from_millis(10));
        gate.open();
        let start = Instant::now();
        assert_eq!(puppet.join(), Exit::Shutdown);
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    });
}

#[test]
fn what_becomes_due_while_an_actor_drains_is_dropped() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        let timers = Do::new(|_, ctx: &mut Context<Puppet>| {
            ctx.send_after(
                Duration::from_millis(5),
                Do::new(|me: &mut Puppet, _: &mut Context<Puppet>| me.write("late")),
            )
        });
        let timer = puppet.send(timers).unwrap();
        let gate = hold(&puppet);
        let due = timer.is_over();
        puppet.stop();
        while !timer.is_over() {
            green::sleep(Duration::from_micros(100));
        }
        gate.open();
        assert_eq!(puppet.join(), Exit::Shutdown);
        let lines: Vec<_> = log.try_iter().collect();
        assert!(due || lines == ["stopping: was stopped", "dropped"], "{lines:?}");
    });
}

#[test]
fn a_kill_comes_before_timers_and_messages() {
    everywhere(|| {
        let (sender, log) = mpsc::channel();
        let poller = Poller(BEATS[0], sender).start();
        assert_eq!(crate::next(&log), "beat");
        poller.kill();
        assert_eq!(poller.join(), Exit::Killed);
    });
}

#[test]
fn an_actor_is_told_of_the_panic_that_ends_its_interval() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        let beats = Do::new(|_, ctx: &mut Context<Puppet>| {
            let mut beats = 0;
            ctx.interval(Duration::from_micros(100), move || {
                beats += 1;
                assert_ne!(beats, 3, "no third beat");
                Do::new(|me: &mut Puppet, _: &mut Context<Puppet>| me.write("beat"))
            })
        });
        let timer = puppet.send(beats).unwrap();
        let Exit::Panic(text) = puppet.join() else { panic!("the default is to end") };
        assert!(text.contains("no third beat"), "{text}");
        let lines: Vec<_> = log.try_iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
        assert_eq!(lines, ["beat", "beat", "HelperPanicked", "stopping:", "dropped"]);
        let start = Instant::now();
        while !timer.is_over() {
            assert!(start.elapsed() < LONG);
            green::sleep(Duration::from_micros(100));
        }
    });
}

#[test]
fn an_interval_of_zero_is_refused() {
    everywhere(|| {
        let (puppet, _log) = Puppet::new();
        let puppet = puppet.start();
        // Also where the first beat is to come later, or at once.
        for first in [None, Some(Duration::from_secs(1)), Some(Duration::ZERO)] {
            let zero = Do::new(move |_, ctx: &mut Context<Puppet>| {
                let note = || Do::new(|_: &mut Puppet, _: &mut Context<Puppet>| ());
                let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match first {
                    None => ctx.interval(Duration::ZERO, note),
                    Some(first) => ctx.interval_after(first, Duration::ZERO, note),
                }));
                refused
                    .map(drop)
                    .map_err(|payload| payload.downcast::<&str>().map_or_else(|_| String::new(), |s| s.to_string()))
            });
            let text = puppet.send(zero).unwrap().unwrap_err();
            assert!(text.contains("`period`") && text.contains("zero"), "{text}");
        }
    });
}

/// Fails at once.
struct Unable;
impl Actor for Unable {
    fn started(&mut self, _: &mut Context<Self>) -> Result<(), Exit> {
        Err(Exit::Error("no configuration".into()))
    }
}

/// Restarts its child whenever that fails, and takes so long for it.
struct Supervisor(Duration, mpsc::Sender<&'static str>);
impl Supervisor {
    fn start_child(ctx: &mut Context<Self>) {
        ctx.monitor(&Unable.start());
    }
}
impl Actor for Supervisor {
    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
        Self::start_child(ctx);
        Ok(())
    }

    fn signal(&mut self, _: Signal, ctx: &mut Context<Self>) {
        let _ = self.1.send("signal");
        Self::start_child(ctx);
        green::sleep(self.0);
    }
}
impl Handler<Note> for Supervisor {
    fn handle(&mut self, _: Note, _: &mut Context<Self>) {
        let _ = self.1.send("note");
    }
}
impl Handler<Beat> for Supervisor {
    fn handle(&mut self, _: Beat, _: &mut Context<Self>) {
        let _ = self.1.send("beat");
    }
}
struct AndBeats;
impl Message for AndBeats {
    type Reply = ();
}
impl Handler<AndBeats> for Supervisor {
    fn handle(&mut self, _: AndBeats, ctx: &mut Context<Self>) {
        ctx.interval(Duration::from_micros(1), || Beat);
    }
}

#[test]
fn a_supervisor_whose_child_fails_at_once_still_handles_messages_and_timers() {
    for pause in [0, 1, 5] {
        everywhere(move || {
            let (sender, log) = mpsc::channel();
            let supervisor = Supervisor(Duration::from_millis(pause), sender).start();
            (0..3).for_each(|_| assert_eq!(crate::next(&log), "signal"));
            (0..10).for_each(|_| supervisor.tell(Note).unwrap());
            supervisor.send_timeout(Note, LONG).unwrap();
            assert_eq!(log.try_iter().filter(|line| *line == "note").count(), 11);
            supervisor.send_timeout(AndBeats, LONG).unwrap();
            while crate::next(&log) != "beat" {}
            supervisor.send_timeout(Note, LONG).unwrap();
            supervisor.stop_within(Duration::from_millis(20));
            assert_eq!(supervisor.join_timeout(LONG).unwrap(), Exit::Shutdown);
        });
    }
}

#[test]
fn a_signal_comes_ahead_of_the_messages_that_were_queued_before_it() {
    everywhere(|| {
        let (puppet, lines) = Puppet::new();
        let puppet = puppet.start();
        let monitors = Do::new(|_, ctx: &mut Context<Puppet>| {
            let children = [Unable.start(), Unable.start()];
            children.iter().for_each(|child| _ = child.join());
            children.iter().for_each(|child| _ = ctx.monitor(child));
        });
        let note = |line: &'static str| Do::new(move |me: &mut Puppet, _: &mut Context<Puppet>| me.write(line));
        let gate = hold(&puppet);
        puppet.tell(monitors).unwrap();
        ["first", "second"].into_iter().for_each(|line| puppet.tell(note(line)).unwrap());
        gate.open();
        let lines: Vec<_> = (0..4).map(|_| crate::next(&lines)).collect();
        let turns: Vec<_> = lines.iter().map(|line| line.split('(').next().unwrap()).collect();
        assert_eq!(turns, ["Down", "first", "Down", "second"]);
        puppet.kill();
    });
}
