//! What a context offers besides: timers, stash, forward, helpers.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use green::actor::{Actor, Addr, Builder, Context, Exit, Handler, Mailbox, Overflow, SendError, Signal};

use crate::help::{cpu_of_this_thread, scaled, until_parked};
use crate::{Add, Counter, Do, Gate, Get, LONG, Puppet, everywhere, hold};

fn note(line: &'static str) -> Do<()> {
    Do::new(move |me, _| me.write(line))
}

#[test]
fn a_timer_sends_and_can_be_cancelled() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        let timers = Do::new(|_, ctx: &mut Context<Puppet>| {
            ctx.send_after(Duration::from_millis(60), note("first")).cancel();
            ctx.send_after(Duration::from_millis(70), note("second"));
            ctx.interval(Duration::from_millis(1), || note("beat"))
        });
        let interval = puppet.send(timers).unwrap();
        let mut seen = Vec::new();
        while !seen.contains(&"second".to_owned()) || seen.iter().filter(|line| *line == "beat").count() < 3 {
            seen.push(crate::next(&log));
        }
        assert!(!seen.contains(&"first".to_owned()));
        interval.cancel();
    });
}

#[test]
fn timers_do_not_keep_an_actor_alive_and_die_with_it() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        let timers = Do::new(|_, ctx: &mut Context<Puppet>| {
            ctx.send_after(Duration::from_secs(3600), note("never"));
            ctx.interval(Duration::from_secs(3600), || note("never"));
        });
        puppet.send(timers).unwrap();
        drop(puppet);
        assert_eq!(crate::next(&log), "stopping: ended by itself");
        assert_eq!(crate::next(&log), "dropped");
    });
}

#[test]
fn the_beats_of_an_interval_do_not_pile_up() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        let beats = Do::new(|_, ctx: &mut Context<Puppet>| ctx.interval(Duration::from_micros(100), || note("beat")));
        let interval = puppet.send(beats).unwrap();
        let gate = hold(&puppet);
        green::sleep(Duration::from_millis(5));
        interval.cancel();
        green::sleep(Duration::from_millis(1));
        let before = log.try_iter().count();
        gate.open();
        puppet.send(Do::new(|_, _| ())).unwrap();
        assert!(log.try_iter().count() <= 1, "{before} before");
        assert!(interval.is_over());
    });
}

#[test]
fn timers_go_before_what_is_queued_even_in_a_flood() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = Builder::new().mailbox(Mailbox::unbounded()).start(puppet).unwrap();
        let after = Do::new(|_, ctx: &mut Context<Puppet>| ctx.send_after(Duration::from_millis(1), note("timer")));
        let timer = puppet.send(after).unwrap();
        let gate = hold(&puppet);
        (0..1000).for_each(|_| puppet.tell(note("flood")).unwrap());
        while !timer.is_over() {
            green::sleep(Duration::from_micros(100));
        }
        gate.open();
        assert_eq!(crate::next(&log), "timer");
    });
}

#[test]
fn stashed_messages_come_back_in_order_with_their_askers() {
    everywhere(|| {
        struct Door {
            open: bool,
            passed: Vec<i64>,
        }
        impl Actor for Door {}
        struct Pass(i64);
        impl green::actor::Message for Pass {
            type Reply = i64;
        }
        struct Open;
        impl green::actor::Message for Open {
            type Reply = ();
        }
        impl green::actor::Handler<Pass> for Door {
            fn handle(&mut self, m: Pass, ctx: &mut Context<Self>) -> i64 {
                if !self.open {
                    ctx.stash(m).unwrap();
                    return -1;
                }
                self.passed.push(m.0);
                m.0
            }
        }
        impl green::actor::Handler<Open> for Door {
            fn handle(&mut self, _: Open, ctx: &mut Context<Self>) {
                self.open = true;
                ctx.unstash();
            }
        }
        impl green::actor::Handler<Do<Vec<i64>>> for Door {
            fn handle(&mut self, _: Do<Vec<i64>>, _: &mut Context<Self>) -> Vec<i64> {
                self.passed.clone()
            }
        }
        let door = Door { open: false, passed: Vec::new() }.start();
        let pending: Vec<_> = (0..4).map(|n| door.call(Pass(n)).unwrap()).collect();
        door.tell(Pass(4)).unwrap();
        let also = door.clone();
        let asker = green::spawn(move || also.send_timeout(Pass(5), LONG));
        until_parked(asker.thread(), "reply");
        door.send(Open).unwrap();
        door.tell(Pass(6)).unwrap();
        for (n, reply) in pending.into_iter().enumerate() {
            assert_eq!(reply.wait().unwrap(), n as i64);
        }
        assert_eq!(asker.join().unwrap().unwrap(), 5);
        let passed = door.send(Do::new(|_, _| Vec::new())).unwrap();
        assert_eq!(passed[..5], [0, 1, 2, 3, 4]);
        assert_eq!(passed.len(), 7);
        // What is still put aside at the end is answered.
        let closed = Door { open: false, passed: Vec::new() }.start();
        let reply = closed.call(Pass(1)).unwrap();
        closed.tell(Pass(2)).unwrap();
        closed.stop();
        closed.join();
        assert!(matches!(reply.wait(), Err(SendError::Died(Exit::Shutdown))));
    });
}

#[test]
fn a_forwarded_message_is_answered_by_the_other_actor() {
    everywhere(|| {
        let counter = Counter(5).start();
        let (puppet, _log) = Puppet::new();
        let puppet = puppet.start();
        let pass = |counter: &Addr<Counter>| {
            let to = counter.recipient::<Get>();
            Do::new(move |_: &mut Puppet, ctx: &mut Context<Puppet>| {
                let _ = ctx.forward(&to, Get);
                0_i64
            })
        };
        assert_eq!(puppet.send(pass(&counter)).unwrap(), 5);
        assert_eq!(puppet.call(pass(&counter)).unwrap().wait().unwrap(), 5);
        puppet.tell(pass(&counter)).unwrap();
        counter.kill();
        counter.join();
        assert!(matches!(puppet.send(pass(&counter)), Err(SendError::Died(Exit::Killed))));
    });
}

#[test]
fn what_is_attached_arrives_as_messages() {
    everywhere(|| {
        struct Sum(i64, mpsc::Sender<i64>);
        impl Actor for Sum {
            fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
                ctx.attach((1..=1000).map(Add));
                Ok(())
            }
        }
        impl green::actor::Handler<Add> for Sum {
            fn handle(&mut self, m: Add, _: &mut Context<Self>) {
                self.0 += m.0;
                if m.0 == 1000 {
                    self.1.send(self.0).unwrap();
                }
            }
        }
        let (sender, receiver) = mpsc::channel();
        let _sum = Sum(0, sender).start();
        assert_eq!(crate::next(&receiver), 500_500);
    });
}

#[test]
fn a_helper_thread_dies_with_its_actor() {
    struct Note(mpsc::Sender<&'static str>);
    impl Drop for Note {
        fn drop(&mut self) {
            let _ = self.0.send("helper is gone");
        }
    }
    everywhere(|| {
        let (sender, receiver) = mpsc::channel();
        let (puppet, _log) = Puppet::new();
        let puppet = puppet.start();
        let helper = Do::new(move |_, ctx: &mut Context<Puppet>| {
            let note = Note(sender);
            ctx.spawn(move || {
                let _note = note;
                green::thread::park();
            });
        });
        puppet.send(helper).unwrap();
        puppet.stop();
        puppet.join();
        assert_eq!(crate::next(&receiver), "helper is gone");
    });
}

/// The best of a few runs, on one worker.
fn best(run: impl Fn() -> Duration + Sync) -> Duration {
    (0..3).map(|_| crate::help::runtime(1).run(&run)).min().unwrap()
}

#[test]
fn a_helper_costs_the_same_however_many_others_live() {
    let spawning = |n: usize| {
        let (puppet, _log) = Puppet::new();
        let puppet = puppet.start();
        let spawn = Do::new(move |_, ctx: &mut Context<Puppet>| {
            let start = cpu_of_this_thread();
            (0..n).for_each(|_| ctx.spawn(green::thread::park));
            cpu_of_this_thread() - start
        });
        let took = puppet.send_timeout(spawn, LONG).unwrap();
        puppet.kill();
        puppet.join();
        took
    };
    let n = scaled(1600);
    let (few, many) = (best(|| spawning(n)), best(|| spawning(10 * n)));
    // All of them in proportion: 10 times as long; each in proportion to those before: 100 times.
    assert!(many < few * 40, "{n}: {few:?}, {}: {many:?}", 10 * n);
}

#[test]
fn dropping_the_oldest_costs_the_same_however_many_that_do_not_count_are_before_it() {
    let dropping = |uncounted: usize| {
        let (puppet, _log) = Puppet::new();
        let mailbox = Mailbox::bounded(2).overflow(Overflow::DropOldest);
        let puppet = Builder::new().mailbox(mailbox).start(puppet).unwrap();
        let (reached, gate) = (Gate::new(), Gate::new());
        let (inside, until) = (reached.clone(), gate.clone());
        let fill = Do::new(move |_, ctx: &mut Context<Puppet>| {
            (0..uncounted).for_each(|_| ctx.notify(note("notified")).unwrap());
            inside.open();
            until.wait();
        });
        puppet.tell(fill).unwrap();
        reached.wait();
        let start = cpu_of_this_thread();
        (0..4000).for_each(|_| puppet.try_tell(note("told")).unwrap());
        let took = cpu_of_this_thread() - start;
        puppet.kill();
        gate.open();
        puppet.join();
        took
    };
    let (none, many) = (best(|| dropping(0)), best(|| dropping(scaled(20_000))));
    assert!(many < none * 50 + Duration::from_millis(50), "behind none: {none:?}, behind many: {many:?}");
}

#[test]
fn messages_that_do_not_count_keep_their_order_when_others_are_evicted_from_between_them() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let mailbox = Mailbox::bounded(2).overflow(Overflow::DropOldest);
        let puppet = Builder::new().mailbox(mailbox).start(puppet).unwrap();
        let fill = Do::new(|_, ctx: &mut Context<Puppet>| {
            let me = ctx.addr();
            ctx.stash(note("stashed")).unwrap();
            ctx.notify(note("n1")).unwrap();
            me.tell(note("t1")).unwrap();
            ctx.notify(note("n2")).unwrap();
            me.tell(note("t2")).unwrap();
            me.tell(note("t3")).unwrap();
            ctx.notify(note("n3")).unwrap();
            me.tell(note("t4")).unwrap();
            ctx.unstash();
            me.tell(note("t5")).unwrap();
        });
        puppet.tell(fill).unwrap();
        let lines: Vec<_> = (0..6).map(|_| crate::next(&log)).collect();
        assert_eq!(lines, ["stashed", "n1", "n2", "n3", "t4", "t5"]);
        puppet.stop();
        puppet.join();
        assert_eq!(log.try_iter().collect::<Vec<_>>(), ["stopping: was stopped", "dropped"]);
    });
}

#[test]
fn a_panic_of_a_helper_or_of_an_attached_stream_is_told_and_ends_the_actor_by_default() {
    fn bang<T>() -> T {
        std::panic::resume_unwind(Box::new("bang"))
    }
    everywhere(|| {
        for is_stream in [false, true] {
            let (puppet, log) = Puppet::new();
            let puppet = puppet.start();
            let helper = Do::new(move |_, ctx: &mut Context<Puppet>| {
                if is_stream { ctx.attach(std::iter::from_fn(bang::<Option<Do<()>>>)) } else { ctx.spawn(bang) }
            });
            puppet.send(helper).unwrap();
            assert_eq!(puppet.join(), Exit::Panic("bang".into()));
            let lines: Vec<_> = log.try_iter().collect();
            assert_eq!(lines, ["HelperPanicked { reason: Panic(\"bang\") }", "stopping: panicked: bang", "dropped"]);
        }
    });
}

#[test]
fn an_actor_that_is_told_of_its_helpers_panics_may_go_on() {
    everywhere(|| {
        #[derive(Default)]
        struct Goes(usize);
        impl Actor for Goes {
            const TRAPS_EXITS: bool = true;

            fn signal(&mut self, signal: Signal, ctx: &mut Context<Self>) {
                match signal {
                    Signal::HelperPanicked { .. } => self.0 += 1,
                    other => ctx.default_signal(other),
                }
            }
        }
        impl Handler<Do<()>> for Goes {
            fn handle(&mut self, _: Do<()>, ctx: &mut Context<Self>) {
                ctx.spawn(|| std::panic::resume_unwind(Box::new(5)));
                ctx.spawn(|| ());
                ctx.spawn(green::thread::park);
            }
        }
        impl Handler<Get> for Goes {
            fn handle(&mut self, _: Get, _: &mut Context<Self>) -> i64 {
                self.0 as i64
            }
        }
        let goes = Goes::default().start();
        (0..10).for_each(|_| goes.send(Do::new(|_, _| ())).unwrap());
        let start = Instant::now();
        while goes.send(Get).unwrap() < 10 {
            assert!(start.elapsed() < LONG);
            green::thread::yield_now();
        }
        goes.stop();
        assert_eq!(goes.join(), Exit::Shutdown, "a helper that is cancelled has not panicked");
    });
}

#[test]
fn the_end_of_an_attached_stream_is_told_after_its_last_message() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        let attach = Do::new(|_, ctx: &mut Context<Puppet>| ctx.attach(["first", "second", "last"].map(note)));
        puppet.send(attach).unwrap();
        let lines: Vec<_> = (0..4).map(|_| crate::next(&log)).collect();
        assert_eq!(lines[..3], ["first", "second", "last"]);
        assert!(lines[3].starts_with("StreamEnded") && lines[3].contains("Do<()>"), "{lines:?}");
        assert!(!puppet.is_ended());
        // With the actor it just ends.
        let (sender, receiver) = green::channel::bounded::<Do<()>>(1);
        puppet.send(Do::new(move |_, ctx: &mut Context<Puppet>| ctx.attach(receiver))).unwrap();
        puppet.stop();
        puppet.join();
        assert_eq!(log.try_iter().collect::<Vec<_>>(), ["stopping: was stopped", "dropped"]);
        drop(sender);
    });
}
