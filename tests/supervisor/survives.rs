//! What survives a restart, and who is told of it.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use green::actor::{
    Actor, Addr, Child, ChildState, Context, Down, Exit, Handler, Message, Restart, SendError, Signal, Supervisor,
};
use green::channel;

use crate::help::{everywhere, until};
use crate::{Add, End, Log, eager, get, never, puppet, restarts, runs, three, waits};

#[test]
fn the_address_survives_and_the_state_is_new() {
    everywhere(|| {
        let log = Log::default();
        let sup = three(Supervisor::one_for_one(), &log);
        let a = get(&sup, "a");
        let weak = a.downgrade();
        for _ in 0..100 {
            assert_eq!(a.send(Add(5)).unwrap(), 5);
            assert!(matches!(a.send(End::Panic), Err(SendError::Died(Exit::Panic(text))) if text == "as told"));
        }
        assert_eq!(get(&sup, "a"), a);
        assert_eq!(weak.upgrade(), Some(a.clone()));
        assert!(!a.is_ended());
    });
}

#[test]
fn the_message_that_killed_is_not_tried_again_and_what_is_queued_behind_it_is_handled() {
    everywhere(|| {
        let log = Log::default();
        let sup = three(Supervisor::one_for_one(), &log);
        let a = get(&sup, "a");
        let killer = a.call(End::Panic).unwrap();
        let queued: Vec<_> = (0..100).map(|_| a.call(Add(1)).unwrap()).collect();
        assert!(matches!(killer.wait(), Err(SendError::Died(_))));
        let sums: Vec<_> = queued.into_iter().map(|pending| pending.wait().unwrap()).collect();
        assert_eq!(sums, (1..=100).collect::<Vec<_>>());
        until(|| runs(&sup, "a"));
        assert_eq!(restarts(&sup, "a"), 1);
    });
}

green::actor::messages! { struct Twice(u32) -> u32; }

#[test]
fn a_mapped_recipient_survives_restarts_and_ends_with_its_target() {
    everywhere(|| {
        let log = Log::default();
        let sup = three(Supervisor::one_for_one(), &log);
        let a = get(&sup, "a");
        let twice = a.recipient().map(|n: Twice| Add(2 * n.0));
        for round in 0..20 {
            assert_eq!(twice.send(Twice(2)).unwrap(), 4);
            if round % 2 == 0 {
                a.kill()
            } else {
                _ = a.send(End::Panic)
            }
            // It is told of the end before, or after, this.
            until(|| restarts(&sup, "a") == 2 * round + 1 && runs(&sup, "a"));
            twice.tell(Twice(1)).unwrap();
            assert_eq!(twice.send(Twice(1)).unwrap(), 4);
            let _ = a.send(End::Fail);
            until(|| restarts(&sup, "a") == 2 * round + 2 && runs(&sup, "a"));
        }
        assert!(!twice.is_ended());
        sup.terminate("a").unwrap();
        assert_eq!(twice.join(), Exit::Shutdown);
    });
}

#[test]
fn a_kill_and_a_failure_keep_the_queue_too() {
    everywhere(|| {
        let log = Log::default();
        let sup = three(Supervisor::one_for_all(), &log);
        let (a, c) = (get(&sup, "a"), get(&sup, "c"));
        for round in 0..20 {
            let first = a.call(End::Fail).unwrap();
            let queued: Vec<_> = (0..10).map(|_| a.call(Add(1)).unwrap()).collect();
            if round % 2 == 0 {
                a.kill();
            }
            let _ = first.wait();
            // Not all are handled by the same life: the kill may come between.
            assert!(queued.into_iter().all(|pending| pending.wait().is_ok()));
            // A sibling that is ended with it drains, and is closed until it is back.
            until(|| c.send(Add(1)).is_ok());
        }
    });
}

#[test]
fn a_sibling_that_waits_with_the_dead_one_takes_messages_and_handles_them_in_its_next_life() {
    everywhere(|| {
        for supervisor in [Supervisor::one_for_all, Supervisor::rest_for_one] {
            let log = Log::default();
            let tree = eager(supervisor()).child(puppet("a", &log).backoff(never())).child(puppet("b", &log));
            let sup = tree.start().unwrap();
            let b = get(&sup, "b");
            let _ = get(&sup, "a").send(End::Fail);
            until(|| waits(&sup, "b"));
            b.tell(Add(1)).unwrap();
            assert_eq!(sup.tree().find("b").unwrap().queued, 1);
            let twice = b.recipient().map(|n: Twice| Add(2 * n.0));
            twice.tell(Twice(1)).unwrap();
            until(|| sup.tree().find("b").unwrap().queued == 2);
        }
        let log = Log::default();
        let sup = three(Supervisor::one_for_all(), &log);
        let (a, c) = (get(&sup, "a"), get(&sup, "c"));
        let _ = a.send(End::Fail);
        until(|| restarts(&sup, "a") == 1 && runs(&sup, "c"));
        assert_eq!(c.send(Add(1)).unwrap(), 1);
    });
}

#[test]
fn a_stop_of_a_child_that_waits_for_its_restart_closes_nothing() {
    everywhere(|| {
        let log = Log::default();
        let sup = eager(Supervisor::one_for_one()).child(puppet("a", &log).backoff(never())).start().unwrap();
        let a = get(&sup, "a");
        let _ = a.send(End::Fail);
        until(|| waits(&sup, "a"));
        a.stop();
        a.tell(Add(1)).unwrap();
        assert_eq!(sup.shutdown(crate::LONG).lost, 1);
    });
}

#[test]
fn senders_that_wait_for_room_get_it_after_the_restart() {
    everywhere(|| {
        let log = Log::default();
        let child = puppet("a", &log).mailbox(green::actor::Mailbox::bounded(1));
        let sup = eager(Supervisor::one_for_one()).child(child).start().unwrap();
        let a = get(&sup, "a");
        let senders: Vec<_> = (0..8)
            .map(|n| {
                let a = a.clone();
                green::spawn(move || {
                    for _ in 0..50 {
                        if n == 0 { a.tell(End::Fail).unwrap() } else { a.tell(Add(1)).unwrap() }
                    }
                })
            })
            .collect();
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        assert!(a.send(Add(0)).is_ok());
    });
}

/// Writes down whose end it is told.
struct Watcher(channel::Sender<Exit>);
impl Actor for Watcher {
    fn signal(&mut self, signal: Signal, _: &mut Context<Self>) {
        if let Signal::Down(Down { reason, .. }) = signal {
            self.0.send(reason).unwrap();
        }
    }
}
struct Watch(Addr<crate::Puppet>);
impl Message for Watch {
    type Reply = ();
}
impl Handler<Watch> for Watcher {
    fn handle(&mut self, Watch(other): Watch, ctx: &mut Context<Self>) {
        let _ = ctx.monitor(&other);
    }
}

#[test]
fn a_monitor_is_told_of_the_end_of_one_life() {
    everywhere(|| {
        let log = Log::default();
        let sup = three(Supervisor::one_for_one(), &log);
        let a = get(&sup, "a");
        let (sender, told) = channel::unbounded();
        let watcher = Watcher(sender).start();
        for _ in 0..3 {
            watcher.send(Watch(a.clone())).unwrap();
            let _ = a.send(End::Fail);
            assert_eq!(told.recv(), Ok(Exit::Error("as told".to_owned())));
            assert!(a.send(Add(1)).is_ok());
        }
        watcher.send(Watch(a.clone())).unwrap();
        sup.stop();
        assert_eq!(told.recv(), Ok(Exit::Shutdown));
        assert!(told.try_recv().is_err());
        assert_eq!(a.join(), Exit::Shutdown);
    });
}

/// Has a timer, a helper and a stream, counts what comes, and dies when told.
struct Busy(Arc<AtomicU32>);
struct Gone(Arc<AtomicU32>);
impl Drop for Gone {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
struct Tick;
impl Message for Tick {
    type Reply = ();
}
impl Actor for Busy {
    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
        ctx.send_after(Duration::from_secs(3600), Tick);
        ctx.interval(Duration::from_secs(3600), || Tick);
        self.0.fetch_add(1, Ordering::Relaxed);
        let gone = Gone(Arc::clone(&self.0));
        ctx.spawn(move || {
            let _gone = gone;
            green::thread::park();
        });
        Ok(())
    }
}
impl Handler<Tick> for Busy {
    fn handle(&mut self, _: Tick, ctx: &mut Context<Self>) {
        ctx.fail(Exit::Error("ticked".to_owned()));
    }
}

#[test]
fn timers_and_helpers_end_with_their_life() {
    everywhere(|| {
        let alive = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&alive);
        let sup =
            eager(Supervisor::one_for_one()).child(Child::new("busy", move || Busy(count.clone()))).start().unwrap();
        let busy = sup.get::<Busy>("busy").unwrap();
        for lives in 1..=5 {
            let _ = busy.send(Tick);
            until(|| restarts(&sup, "busy") == lives && runs(&sup, "busy") && alive.load(Ordering::Relaxed) == 1);
        }
        sup.shutdown(crate::LONG);
        until(|| alive.load(Ordering::Relaxed) == 0);
    });
}

/// Its first life has an interval of an hour, and no other life has one.
struct Ticks {
    is_first: bool,
    ticked: Arc<AtomicU32>,
}
impl Actor for Ticks {
    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
        if self.is_first {
            ctx.interval(crate::HOUR, || Tick);
        }
        Ok(())
    }
}
impl Handler<Tick> for Ticks {
    fn handle(&mut self, _: Tick, _: &mut Context<Self>) {
        self.ticked.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn an_interval_of_one_life_does_not_tick_in_the_next() {
    green::actor::testkit::run(|| {
        let ticked = Arc::new(AtomicU32::new(0));
        let (count, mut lives) = (Arc::clone(&ticked), 0);
        let child = Child::new("ticks", move || {
            lives += 1;
            Ticks { is_first: lives == 1, ticked: Arc::clone(&count) }
        });
        let sup = eager(Supervisor::one_for_one()).child(child).start().unwrap();
        let ticks = sup.get::<Ticks>("ticks").unwrap();
        green::sleep(crate::HOUR + crate::HOUR / 2);
        assert_eq!(ticked.load(Ordering::Relaxed), 1);
        ticks.kill();
        until(|| restarts(&sup, "ticks") == 1 && runs(&sup, "ticks"));
        green::sleep(10 * crate::HOUR);
        assert_eq!(ticked.load(Ordering::Relaxed), 1);
    });
}

/// Linked to its sibling, by the name.
struct Linked {
    other: &'static str,
    sup: channel::Receiver<green::actor::SupervisorAddr>,
}
struct Die;
impl Message for Die {
    type Reply = ();
}
struct Tie;
impl Message for Tie {
    type Reply = ();
}
impl Actor for Linked {}
impl Handler<Tie> for Linked {
    fn handle(&mut self, _: Tie, ctx: &mut Context<Self>) {
        let sup = self.sup.recv().unwrap();
        ctx.link(&sup.get::<Linked>(self.other).unwrap());
    }
}
impl Handler<Die> for Linked {
    fn handle(&mut self, _: Die, _: &mut Context<Self>) {
        panic!("as told");
    }
}

#[test]
fn a_cycle_of_links_ends_all_of_them_once() {
    everywhere(|| {
        let (sender, receiver) = channel::bounded(3);
        let names = ["a", "b", "c"];
        let sup = (0..3).fold(eager(Supervisor::one_for_one()), |all, n| {
            let sup = receiver.clone();
            all.child(Child::new(names[n], move || Linked { other: names[(n + 1) % 3], sup: sup.clone() }))
        });
        let sup = sup.start().unwrap();
        for round in 1..=10 {
            for name in names {
                sender.send(sup.clone()).unwrap();
                sup.get::<Linked>(name).unwrap().send(Tie).unwrap();
            }
            let _ = sup.get::<Linked>("a").unwrap().send(Die);
            until(|| names.iter().all(|name| restarts(&sup, name) == round && runs(&sup, name)));
        }
    });
}

#[test]
fn a_named_child_keeps_its_name() {
    static NAME: green::actor::Name<crate::Puppet> = green::actor::Name::new("a named child");
    let log = Log::default();
    let sup = three(Supervisor::one_for_one(), &log);
    let a = get(&sup, "a");
    NAME.register(&a).unwrap();
    let _ = a.send(End::Panic);
    assert_eq!(NAME.lookup(), Some(a));
}

/// Takes a name for as long as it lives.
struct Chief;
static CHIEF: green::actor::Name<Chief> = green::actor::Name::new("the chief");

impl Actor for Chief {
    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
        Ok(CHIEF.register(&ctx.addr())?)
    }
}

impl Handler<End> for Chief {
    fn handle(&mut self, _: End, ctx: &mut Context<Self>) {
        ctx.fail("as told");
    }
}

/// The children of a supervisor that is restarted are other actors. Those before them have ended by then, so their names are free.
#[test]
fn the_name_of_a_child_goes_to_its_successor_when_the_supervisor_of_both_is_restarted() {
    everywhere(|| {
        let inner =
            || Supervisor::one_for_one().intensity(0, Duration::from_secs(3600)).child(Child::new("chief", || Chief));
        let sup = eager(Supervisor::one_for_one()).child(Child::supervisor("inner", inner)).start().unwrap();
        for n in 0..20 {
            until(|| restarts(&sup, "inner") == n && runs(&sup, "inner"));
            let _ = CHIEF.lookup().expect("the name was free").send(End::Fail);
        }
        until(|| restarts(&sup, "inner") == 20 && runs(&sup, "inner"));
        sup.shutdown(crate::LONG);
    });
}

/// Has the puppet do that.
struct Do(Box<dyn FnOnce() + Send>);
impl Message for Do {
    type Reply = ();
}
impl Handler<Do> for crate::Puppet {
    fn handle(&mut self, Do(job): Do, _: &mut Context<Self>) {
        job();
    }
}

/// Stops the actor when it is dropped: as a thread-local, when the run is over in which the actor has failed, and before its supervisor is told.
struct StopsAtTheEnd(Option<Addr<crate::Puppet>>);
impl Drop for StopsAtTheEnd {
    fn drop(&mut self) {
        self.0.take().inspect(Addr::stop);
    }
}
green::local! {
    static AT_THE_END: Cell<StopsAtTheEnd> = Cell::new(StopsAtTheEnd(None));
}

/// Its supervisor was told that it had been stopped.
#[test]
fn a_child_that_has_failed_and_is_stopped_before_its_supervisor_is_told_has_failed() {
    everywhere(|| {
        let log = Log::default();
        let child = puppet("a", &log).restart(Restart::Transient);
        let sup = eager(Supervisor::one_for_one()).child(child).start().unwrap();
        let a = get(&sup, "a");
        let (stops, inner) = (a.clone(), log.clone());
        let fails = Do(Box::new(move || {
            AT_THE_END.set(StopsAtTheEnd(Some(stops)));
            inner.write("fails");
            std::panic::panic_any("as told".to_owned());
        }));
        assert!(a.send(fails).is_err());
        let was_stopped = || sup.tree().find("a").is_some_and(|child| child.state == ChildState::Ended(Exit::Shutdown));
        until(|| was_stopped() || log.count("+a") == 2);
        assert_eq!(log.take(), ["+a", "fails", "-a", "+a"]);
        assert_eq!(a.send(Add(1)).unwrap(), 1);
    });
}
