//! How actors end, and what becomes of what they leave undone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use green::actor::{Actor, Builder, Context, Exit, Handler, Mailbox, Message, SendError, dead_letters};

use crate::help::until_parked;
use crate::{Add, Counter, Do, Gate, Get, LONG, Puppet, everywhere, hold};

fn lines(receiver: &Receiver<String>) -> Vec<String> {
    receiver.try_iter().collect()
}

#[test]
fn an_actor_ends_when_its_last_address_is_gone() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        let weak = puppet.downgrade();
        puppet.send(Do::new(|me, _| me.write("handled"))).unwrap();
        drop(weak.upgrade().unwrap());
        drop(puppet);
        assert_eq!(crate::next(&log), "handled");
        assert_eq!(crate::next(&log), "stopping: ended by itself");
        assert_eq!(crate::next(&log), "dropped");
        assert!(weak.upgrade().is_none());
    });
}

#[test]
fn what_is_queued_when_the_last_address_goes_is_handled_first() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        let gate = hold(&puppet);
        puppet.tell(Do::new(|me, _| me.write("told"))).unwrap();
        let reply = puppet.call(Do::new(|_, _| 5)).unwrap();
        drop(puppet);
        gate.open();
        assert_eq!(reply.wait_timeout(LONG).unwrap(), 5);
        assert_eq!(crate::next(&log), "told");
        assert_eq!(crate::next(&log), "stopping: ended by itself");
    });
}

#[test]
fn an_actor_that_keeps_its_own_address_lives() {
    everywhere(|| {
        let (puppet, _log) = Puppet::new();
        let puppet = puppet.start();
        let kept = puppet.send(Do::new(|_, ctx| ctx.addr())).unwrap();
        drop(puppet);
        assert_eq!(kept.send(Do::new(|_, _| 2)).unwrap(), 2);
    });
}

#[test]
fn a_weak_address_from_the_context_is_the_actors_own_and_keeps_nobody_alive() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        let weak = puppet.send(Do::new(|_, ctx| ctx.weak_addr())).unwrap();
        let upgraded = weak.upgrade().unwrap();
        assert_eq!(upgraded.id(), puppet.id());
        assert_eq!(upgraded.send(Do::new(|_, _| 2)).unwrap(), 2);
        drop((puppet, upgraded));
        assert_eq!(crate::next(&log), "stopping: ended by itself");
        assert_eq!(crate::next(&log), "dropped");
        assert!(weak.upgrade().is_none());
    });
}

#[test]
fn a_weak_address_from_the_context_of_an_actor_that_ends_leads_nowhere() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        // Its last address is gone while the handler runs: the actor is ending already.
        let gone = Gate::new();
        let until = gone.clone();
        let (sender, weak) = std::sync::mpsc::channel();
        puppet
            .tell(Do::new(move |_, ctx| {
                until.wait();
                sender.send(ctx.weak_addr()).unwrap();
            }))
            .unwrap();
        drop(puppet);
        gone.open();
        let weak = crate::next(&weak);
        assert_eq!(crate::next(&log), "stopping: ended by itself");
        assert!(weak.upgrade().is_none());
    });
}

#[test]
fn stop_closes_at_once_and_drains_what_is_queued() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        let gate = hold(&puppet);
        puppet.tell(Do::new(|me, _| me.write("queued"))).unwrap();
        let reply = puppet.call(Do::new(|_, _| 5)).unwrap();
        puppet.stop();
        assert!(matches!(puppet.tell(Do::new(|_, _| ())), Err(SendError::Closed(_))));
        assert!(matches!(puppet.send(Do::new(|_, _| ())), Err(SendError::Closed(_))));
        gate.open();
        assert_eq!(puppet.join(), Exit::Shutdown);
        assert_eq!(reply.wait().unwrap(), 5);
        assert_eq!(lines(&log), ["queued", "stopping: was stopped", "dropped"]);
    });
}

#[test]
fn stop_answers_the_senders_that_wait_for_room() {
    everywhere(|| {
        let (puppet, _log) = Puppet::new();
        let puppet = Builder::new().mailbox(Mailbox::bounded(1)).start(puppet).unwrap();
        let gate = hold(&puppet);
        puppet.tell(Do::new(|_, _| ())).unwrap();
        let (tells, asks) = (puppet.clone(), puppet.clone());
        let tell = green::spawn(move || tells.tell(Do::new(|_, _| ())));
        let ask = green::spawn(move || asks.send_timeout(Do::new(|_, _| ()), LONG));
        until_parked(tell.thread(), "mailbox");
        until_parked(ask.thread(), "reply");
        puppet.stop();
        assert!(matches!(tell.join().unwrap(), Err(SendError::Closed(_))));
        assert!(matches!(ask.join().unwrap(), Err(SendError::Closed(_))));
        gate.open();
        assert_eq!(puppet.join(), Exit::Shutdown);
    });
}

#[test]
fn stop_drains_no_longer_than_it_may() {
    everywhere(|| {
        let (puppet, _log) = Puppet::new();
        let puppet = puppet.start();
        let gate = hold(&puppet);
        let reply = puppet.call(Do::new(|_, _| 5)).unwrap();
        puppet.stop_within(Duration::ZERO);
        gate.open();
        assert_eq!(puppet.join(), Exit::Shutdown);
        assert!(matches!(reply.wait(), Err(SendError::Closed(_))));
    });
}

#[test]
fn stop_gets_through_a_flood() {
    struct Flooded(u64);
    impl Actor for Flooded {}
    struct Drop1;
    impl Message for Drop1 {
        type Reply = ();
    }
    impl Handler<Drop1> for Flooded {
        fn handle(&mut self, _: Drop1, _: &mut Context<Self>) {
            self.0 += 1;
        }
    }
    everywhere(|| {
        let flooded = Flooded(0).start();
        let senders: Vec<_> = (0..3)
            .map(|_| {
                let flooded = flooded.clone();
                green::spawn(move || while flooded.tell(Drop1).is_ok() {})
            })
            .collect();
        green::sleep(Duration::from_millis(2));
        flooded.stop();
        assert_eq!(flooded.join(), Exit::Shutdown);
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    });
}

#[test]
fn kill_unwinds_a_handler_where_it_waits_and_answers_the_rest() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        let inside = Gate::new();
        let reached = inside.clone();
        let also = puppet.clone();
        let handled = green::spawn(move || {
            also.send_timeout(
                Do::new(move |_, _| {
                    reached.open();
                    green::thread::park();
                }),
                LONG,
            )
        });
        inside.wait();
        let queued = puppet.call(Do::new(|_, _| ())).unwrap();
        puppet.kill();
        assert_eq!(puppet.join(), Exit::Killed);
        assert!(matches!(handled.join().unwrap(), Err(SendError::Died(Exit::Killed))));
        assert!(matches!(queued.wait(), Err(SendError::Closed(_))));
        assert_eq!(lines(&log), ["stopping: was killed", "dropped"]);
    });
}

#[test]
fn kill_reaches_an_actor_that_rests_or_has_not_begun() {
    everywhere(|| {
        let counter = Counter(0).start();
        assert_eq!(counter.send(Get).unwrap(), 0);
        counter.kill();
        assert_eq!(counter.join(), Exit::Killed);
        let counter = Counter(0).start();
        counter.kill();
        assert_eq!(counter.join(), Exit::Killed);
        counter.kill();
        counter.stop();
        assert!(matches!(counter.tell(Add(1)), Err(SendError::Closed(_))));
    });
}

#[test]
fn kill_does_not_interrupt_stopping() {
    struct Slow(std::sync::mpsc::Sender<&'static str>);
    impl Actor for Slow {
        fn stopping(&mut self, _: &Exit, ctx: &mut Context<Self>) {
            ctx.addr().kill();
            green::sleep(Duration::from_millis(1));
            self.0.send("done").unwrap();
        }
    }
    everywhere(|| {
        let (sender, receiver) = std::sync::mpsc::channel();
        let slow = Slow(sender).start();
        slow.stop();
        assert_eq!(slow.join(), Exit::Shutdown);
        assert_eq!(receiver.try_recv().unwrap(), "done");
    });
}

#[test]
fn a_context_stops_and_fails_its_actor() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        puppet
            .send(Do::new(|_, ctx| {
                ctx.notify(Do::new(|me, _| me.write("still"))).unwrap();
                ctx.stop();
            }))
            .unwrap();
        assert_eq!(puppet.join(), Exit::Normal);
        assert_eq!(lines(&log), ["still", "stopping: ended by itself", "dropped"]);
        let (puppet, _log) = Puppet::new();
        let puppet = puppet.start();
        let reply = puppet.send(Do::new(|_, ctx| {
            ctx.fail(std::io::Error::other("no disk"));
            3
        }));
        assert_eq!(reply.unwrap(), 3);
        assert_eq!(puppet.join(), Exit::Error("no disk".into()));
    });
}

#[test]
fn an_actor_whose_start_fails_gives_everything_back_with_the_cause() {
    struct Broken;
    impl Actor for Broken {
        fn started(&mut self, _: &mut Context<Self>) -> Result<(), Exit> {
            green::sleep(Duration::from_millis(1));
            "x".parse::<i32>()?;
            Ok(())
        }
        fn stopping(&mut self, _: &Exit, _: &mut Context<Self>) {
            panic!("it has not started");
        }
    }
    impl Handler<Get> for Broken {
        fn handle(&mut self, _: Get, _: &mut Context<Self>) -> i64 {
            0
        }
    }
    everywhere(|| {
        let broken = Broken.start();
        assert!(matches!(broken.send(Get), Err(SendError::Closed(_))));
        assert_eq!(broken.join(), Exit::Error("invalid digit found in string".into()));
    });
}

#[test]
fn a_panic_in_each_hook_and_destructor_ends_one_actor_only() {
    #[derive(PartialEq, Clone, Copy, Debug)]
    enum Where {
        Started,
        Stopping,
        Drop,
        DropMessage,
        DropReply,
    }
    struct Fragile(Where);
    fn bang() {
        std::panic::resume_unwind(Box::new("bang"));
    }
    impl Actor for Fragile {
        fn started(&mut self, _: &mut Context<Self>) -> Result<(), Exit> {
            if self.0 == Where::Started {
                bang();
            }
            Ok(())
        }
        fn stopping(&mut self, _: &Exit, _: &mut Context<Self>) {
            if self.0 == Where::Stopping {
                bang();
            }
        }
    }
    impl Drop for Fragile {
        fn drop(&mut self) {
            if self.0 == Where::Drop {
                bang();
            }
        }
    }
    struct Bomb(bool);
    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 {
                bang();
            }
        }
    }
    struct Carry(Bomb);
    impl Message for Carry {
        type Reply = Bomb;
    }
    impl Handler<Carry> for Fragile {
        fn handle(&mut self, m: Carry, _: &mut Context<Self>) -> Bomb {
            Bomb(m.0.0 && self.0 == Where::DropReply)
        }
    }
    everywhere(|| {
        for place in [Where::Started, Where::Stopping, Where::Drop] {
            let fragile = Fragile(place).start();
            fragile.stop();
            let expected = if place == Where::Started { Exit::Panic("bang".into()) } else { Exit::Shutdown };
            assert_eq!(fragile.join(), expected, "{place:?}");
        }
        let fragile = Fragile(Where::DropMessage).start();
        assert!(matches!(fragile.send(Carry(Bomb(true))), Err(SendError::Died(Exit::Panic(_)))));
        let fragile = Fragile(Where::DropReply).start();
        fragile.tell(Carry(Bomb(false))).unwrap();
        assert!(fragile.send(Carry(Bomb(false))).is_ok());
    });
}

/// Panics when it is dropped.
struct Bomb;
impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("bang");
    }
}

#[test]
fn what_timers_and_helpers_leave_behind_may_panic_when_it_is_dropped() {
    everywhere(|| {
        let (puppet, log) = Puppet::new();
        let puppet = puppet.start();
        let leave = Do::new(|_, ctx: &mut Context<Puppet>| {
            let bomb = Bomb;
            ctx.send_after(Duration::from_secs(3600), Do::new(move |_, _| drop(bomb)));
            let gate = Gate::new();
            let done = gate.clone();
            ctx.spawn(move || {
                done.open();
                std::panic::panic_any(Bomb);
            });
            gate.wait();
        });
        puppet.send(leave).unwrap();
        // The helper's panic ends it, like one of a linked actor.
        let text = "a panic without a text";
        assert_eq!(puppet.join(), Exit::Panic(text.into()));
        let told = format!("HelperPanicked {{ reason: Panic({text:?}) }}");
        assert_eq!(lines(&log), [told, format!("stopping: panicked: {text}"), "dropped".to_owned()]);
    });
}

#[test]
fn a_destructor_that_panics_on_the_timers_thread_ends_no_other_timer() {
    everywhere(|| {
        let [(failing, _log), (puppet, log)] = [Puppet::new(), Puppet::new()];
        let (failing, puppet) = (failing.start(), puppet.start());
        let timers = Do::new(|_, ctx: &mut Context<Puppet>| {
            let bomb = Bomb;
            ctx.interval(Duration::from_micros(10), move || -> Do<()> {
                let _kept = &bomb;
                std::panic::panic_any(Bomb)
            })
        });
        let failing = failing.send(timers).unwrap();
        while !failing.is_over() {
            green::sleep(Duration::from_micros(100));
        }
        puppet.send(Do::new(|_, ctx| _ = ctx.send_after(Duration::ZERO, Do::new(|me, _| me.write("sent"))))).unwrap();
        assert_eq!(crate::next(&log), "sent");
    });
}

#[test]
fn an_actor_outlives_its_runtime_only_as_memory() {
    let runtime = crate::help::builder().workers(1).build().unwrap();
    let (puppet, log) = Puppet::new();
    let (busy, busy_log) = Puppet::new();
    let puppet = Builder::new().runtime(&runtime).start(puppet).unwrap();
    let busy = Builder::new().runtime(&runtime).start(busy).unwrap();
    assert_eq!(puppet.send(Do::new(|_, _| 1)).unwrap(), 1);
    busy.tell(Do::new(|_, _| green::thread::park())).unwrap();
    drop(runtime);
    // Both were ended with it, the one that had work and the one that rested.
    assert_eq!(busy.join(), Exit::Shutdown);
    assert_eq!(lines(&busy_log), ["stopping: was stopped", "dropped"]);
    assert!(matches!(puppet.send(Do::new(|_, _| 1)), Err(SendError::Closed(_))));
    assert_eq!(lines(&log), ["stopping: was stopped", "dropped"]);
    assert_eq!(puppet.join(), Exit::Shutdown);
    let runtime = crate::help::builder().workers(1).build().unwrap();
    let (puppet, log) = Puppet::new();
    let puppet = Builder::new().runtime(&runtime).start(puppet).unwrap();
    assert_eq!(puppet.send(Do::new(|_, _| 1)).unwrap(), 1);
    drop(runtime);
    drop(puppet);
    assert_eq!(lines(&log), ["stopping: was stopped", "dropped"]);
}

#[test]
fn an_actor_that_ended_with_its_runtime_can_be_watched() {
    let runtime = crate::help::builder().workers(1).build().unwrap();
    let (puppet, log) = Puppet::new();
    let puppet = Builder::new().runtime(&runtime).start(puppet).unwrap();
    assert_eq!(puppet.send(Do::new(|_, _| 1)).unwrap(), 1);
    drop(runtime);
    assert!(puppet.is_ended());
    assert_eq!(lines(&log), ["stopping: was stopped", "dropped"]);
    let (watcher, told) = Puppet::new();
    let watcher = watcher.start();
    watcher.send(Do::new(move |_, ctx| _ = ctx.monitor(&puppet))).unwrap();
    assert!(crate::next(&told).contains("Shutdown"));
}

#[test]
fn an_actor_whose_end_is_waited_for_ends_with_its_runtime_although_it_rests() {
    for round in 0..20 {
        let runtime = crate::help::builder().workers(1 + round % 2).build().unwrap();
        let (rests, log) = Puppet::new();
        let (watcher, told) = Puppet::new();
        let rests = Builder::new().runtime(&runtime).start(rests).unwrap();
        assert_eq!(rests.send(Do::new(|_, _| 1)).unwrap(), 1);
        let watcher = watcher.start();
        let watched = rests.clone();
        watcher.send(Do::new(move |_, ctx| _ = ctx.monitor(&watched))).unwrap();
        let joins = [rests.clone(), rests.clone()].map(|actor| {
            let (sender, thread) = std::sync::mpsc::channel();
            let join = std::thread::spawn(move || {
                sender.send(green::thread::current()).unwrap();
                actor.join()
            });
            until_parked(&thread.recv().unwrap(), "actor's end");
            join
        });
        drop(runtime);
        for join in joins {
            assert_eq!(join.join().unwrap(), Exit::Shutdown);
        }
        assert!(crate::next(&told).contains("Shutdown"));
        assert_eq!(lines(&log), ["stopping: was stopped", "dropped"]);
    }
}

#[test]
fn a_green_thread_local_lives_for_one_run_and_never_changes_its_worker() {
    green::local! {
        static MARK: std::cell::Cell<u32> = std::cell::Cell::new(0);
    }
    everywhere(|| {
        let (puppet, _log) = Puppet::new();
        let puppet = puppet.start();
        for _ in 0..100 {
            assert_eq!(puppet.send(Do::new(|_, _| MARK.replace(7))).unwrap(), 0);
            // It rests in between: the address is asked from outside only when the run is over.
            while puppet.send(Do::new(|_, _| MARK.get())).unwrap() != 0 {}
        }
    });
}

#[test]
fn what_is_stashed_by_one_that_ends_is_a_dead_letter() {
    struct Late(Arc<AtomicUsize>);
    struct Bye(Arc<AtomicUsize>);
    impl Drop for Bye {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    impl Message for Bye {
        type Reply = ();
    }
    impl Actor for Late {
        fn stopping(&mut self, _: &Exit, ctx: &mut Context<Self>) {
            ctx.stash(Bye(Arc::clone(&self.0))).unwrap();
        }
    }
    impl Handler<Bye> for Late {
        fn handle(&mut self, _: Bye, _: &mut Context<Self>) {}
    }
    everywhere(|| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let actor = Late(Arc::clone(&dropped)).start();
        let before = dead_letters().count();
        actor.stop();
        actor.join();
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
        assert!(dead_letters().count() > before);
    });
}

/// Takes its time to end, so that what waits for it waits.
struct Ends;
impl Actor for Ends {
    fn stopping(&mut self, _: &Exit, _: &mut Context<Self>) {
        green::sleep(Duration::from_micros(300));
    }
}
impl Handler<Add> for Ends {
    fn handle(&mut self, _: Add, _: &mut Context<Self>) {}
}

#[test]
fn a_join_that_meets_the_end_of_the_runtime_comes_back() {
    for round in 0..200 {
        let runtime = crate::help::builder().workers(1).build().unwrap();
        let actor = Builder::new().runtime(&runtime).start(Ends).unwrap();
        actor.send(Add(1)).unwrap();
        let over = std::sync::mpsc::channel();
        for at in 0..3 {
            let (actor, over) = (actor.clone(), over.0.clone());
            std::thread::spawn(move || {
                let start = std::time::Instant::now();
                while start.elapsed() < Duration::from_micros(round % 50 * 8 + at) {}
                over.send(actor.join()).unwrap();
            });
        }
        drop(runtime);
        (0..3).for_each(|_| assert_eq!(over.1.recv_timeout(LONG), Ok(Exit::Shutdown), "in round {round}"));
    }
}

/// The last to hold a runtime may be one who asks.
#[test]
fn asks_that_meet_the_end_of_the_runtime_are_answered() {
    for round in 0..200 {
        let runtime = crate::help::builder().workers(1).build().unwrap();
        let over = std::sync::mpsc::channel();
        for _ in 0..3 {
            let over = over.0.clone();
            let start = || Builder::new().runtime(&runtime).start(Ends).unwrap();
            let actors: Vec<_> = (0..40).map(|_| start()).collect();
            std::thread::spawn(move || {
                for actor in actors {
                    while actor.send(Add(1)).map_err(|error| assert!(matches!(error, SendError::Closed(_)))).is_ok() {}
                }
                over.send(()).unwrap();
            });
        }
        std::thread::sleep(Duration::from_micros(round % 30 * 30));
        drop(runtime);
        (0..3).for_each(|_| over.1.recv_timeout(LONG).unwrap_or_else(|_| panic!("an ask hangs in round {round}")));
    }
}
