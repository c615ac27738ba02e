//! Ends that surely come: of one actor, of a runtime.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use green::actor::{Actor, Builder, Child, Context, Exit, Handler, Message, Supervisor, SupervisorAddr};

use crate::LONG;
use crate::help::{Gate, bounded, everywhere, in_a_child, runtime, scaled, until};
use crate::{Add, End, Log, eager, get, never, puppet, three, waits};

struct Slow;
impl Actor for Slow {}
struct Park;
impl Message for Park {
    type Reply = ();
}
impl Handler<Park> for Slow {
    fn handle(&mut self, _: Park, _: &mut Context<Self>) {
        green::thread::park();
    }
}
impl Handler<End> for Slow {
    fn handle(&mut self, end: End, ctx: &mut Context<Self>) {
        match end {
            End::Panic => std::panic::panic_any("as told".to_owned()),
            End::Fail => ctx.fail("as told"),
            End::Quit => ctx.stop(),
        }
    }
}
struct Note;
impl Message for Note {
    type Reply = ();
}
impl Handler<Note> for Slow {
    fn handle(&mut self, _: Note, _: &mut Context<Self>) {}
}

/// Counts the notes that it has handled, in all of its lives.
struct Counts(Arc<AtomicU64>);
impl Actor for Counts {}
impl Handler<Note> for Counts {
    fn handle(&mut self, _: Note, _: &mut Context<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
impl Handler<End> for Counts {
    fn handle(&mut self, _: End, ctx: &mut Context<Self>) {
        ctx.fail("as told");
    }
}

#[test]
fn a_shutdown_drains_what_is_queued() {
    everywhere(|| {
        let handled = Arc::new(AtomicU64::new(0));
        let counts = Counts(Arc::clone(&handled)).start();
        for _ in 0..100 {
            counts.tell(Note).unwrap();
        }
        let end = counts.shutdown(LONG);
        assert_eq!((end.stopped, end.killed, end.left, end.lost), (1, 0, 0, 0));
        assert!(end.is_clean() && end.drained <= 100);
        assert_eq!(handled.load(Ordering::SeqCst), 100);
        assert_eq!(counts.join(), Exit::Shutdown);
    });
}

#[test]
fn a_shutdown_of_a_supervised_actor_ends_one_life_of_it() {
    everywhere(|| {
        let log = Log::default();
        let inner_log = log.clone();
        let inner = move || eager(Supervisor::one_for_one()).child(puppet("b", &inner_log));
        let tree = eager(Supervisor::one_for_one()).child(puppet("a", &log)).child(Child::supervisor("inner", inner));
        let sup = tree.start().unwrap();
        let since = std::time::Instant::now();
        let a = get(&sup, "a");
        let end = a.shutdown(LONG);
        assert_eq!((end.stopped, end.killed, end.left), (1, 0, 0), "{end}");
        until(|| crate::restarts(&sup, "a") == 1 && crate::runs(&sup, "a"));
        assert_eq!(a.send(Add(1)).unwrap(), 1);
        let end = sup.supervisor("inner").unwrap().shutdown(LONG);
        assert_eq!((end.killed, end.left), (0, 0), "{end}");
        until(|| crate::restarts(&sup, "inner") == 1 && crate::runs(&sup, "inner"));
        assert!(since.elapsed() < LONG);
    });
}

/// Its parent starts it again before the caller, another thread, has read the answer.
#[test]
fn a_shutdown_of_a_nested_supervisor_says_what_became_of_that_life_of_it() {
    everywhere(|| {
        let log = Log::default();
        let inner_log = log.clone();
        let inner = move || eager(Supervisor::one_for_one()).child(puppet("b", &inner_log));
        let sup = eager(Supervisor::one_for_one()).child(Child::supervisor("inner", inner)).start().unwrap();
        let nested = sup.supervisor("inner").unwrap();
        for round in 1..=20 {
            let shuts = nested.clone();
            let end = green::blocking(move || shuts.shutdown(LONG));
            assert_eq!((end.stopped, end.killed, end.left), (1, 0, 0), "{end}");
            until(|| crate::restarts(&sup, "inner") == round && crate::runs(&sup, "inner"));
        }
    });
}

#[test]
fn a_shutdown_kills_what_does_not_end_and_counts_what_is_lost() {
    everywhere(|| {
        let slow = Slow.start();
        slow.tell(Park).unwrap();
        until(|| slow.queued() == 0);
        for _ in 0..10 {
            slow.tell(Note).unwrap();
        }
        let asked = slow.call(Note).unwrap();
        let end = slow.shutdown(Duration::from_millis(10));
        assert_eq!((end.killed, end.left), (1, 0));
        assert!(end.lost == 11, "{end}");
        assert!(asked.wait().is_err());
        assert_eq!(slow.join(), Exit::Killed);
        // Of one that has ended.
        assert_eq!(slow.shutdown(LONG).left, 0);
    });
}

/// Waits at a gate.
struct At(Gate, Gate);
impl Message for At {
    type Reply = ();
}
impl Handler<At> for Slow {
    fn handle(&mut self, At(begun, gate): At, _: &mut Context<Self>) {
        begun.open();
        gate.wait();
    }
}
struct Aside;
impl Message for Aside {
    type Reply = ();
}
impl Handler<Aside> for Slow {
    fn handle(&mut self, aside: Aside, ctx: &mut Context<Self>) {
        ctx.stash(aside).unwrap();
    }
}
struct Beats(Gate);
impl Message for Beats {
    type Reply = ();
}
impl Handler<Beats> for Slow {
    fn handle(&mut self, Beats(begun): Beats, ctx: &mut Context<Self>) {
        ctx.interval(Duration::from_micros(100), move || {
            begun.open();
            Note
        });
        green::thread::park();
    }
}

fn at_a_gate() -> (green::actor::Addr<Slow>, Gate) {
    let (slow, begun, gate) = (Slow.start(), Gate::new(), Gate::new());
    slow.tell(At(begun.clone(), gate.clone())).unwrap();
    begun.wait();
    (slow, gate)
}

#[test]
fn what_is_drained_are_the_messages_that_were_queued_and_not_what_was_put_aside() {
    everywhere(|| {
        let (slow, gate) = at_a_gate();
        (0..10).for_each(|_| slow.tell(Note).unwrap());
        slow.stop();
        gate.open();
        slow.join();
        let end = slow.shutdown(LONG);
        assert_eq!((end.drained, end.lost), (10, 0), "{end}");

        let slow = Slow.start();
        (0..3).for_each(|_| slow.tell(Aside).unwrap());
        let (begun, gate) = (Gate::new(), Gate::new());
        slow.tell(At(begun.clone(), gate.clone())).unwrap();
        begun.wait();
        (0..5).for_each(|_| slow.tell(Note).unwrap());
        slow.tell(Aside).unwrap();
        slow.stop();
        gate.open();
        slow.join();
        let end = slow.shutdown(LONG);
        assert_eq!((end.drained, end.lost), (5, 4), "{end}");
    });
}

/// Dies of a message that it has got before it is stopped, and behind which another one waits.
#[test]
fn one_that_dies_while_it_drains_has_failed_and_was_not_stopped() {
    let dying = |slow: &green::actor::Addr<Slow>, how: End| {
        let (begun, gate) = (Gate::new(), Gate::new());
        slow.tell(At(begun.clone(), gate.clone())).unwrap();
        begun.wait();
        slow.tell(how).unwrap();
        slow.tell(Note).unwrap();
        gate
    };
    everywhere(move || {
        for how in [End::Panic, End::Fail] {
            let slow = Slow.start();
            let gate = dying(&slow, how);
            slow.stop();
            gate.open();
            let end = slow.shutdown(LONG);
            assert!(matches!(slow.join(), Exit::Panic(_) | Exit::Error(_)));
            assert_eq!((end.stopped, end.failed, end.killed, end.drained, end.lost), (0, 1, 0, 1, 1), "{end}");
            assert!(!end.is_clean());

            let inner = || eager(Supervisor::dynamic()).child(Child::new("slow", || Slow));
            let tree = eager(Supervisor::one_for_one()).child(Child::supervisor("inner", inner));
            let sup = tree.start().unwrap();
            let slow = sup.supervisor("inner").unwrap().get::<Slow>("slow").unwrap();
            let gate = dying(&slow, how);
            let opens = green::spawn(move || {
                until(|| slow.try_tell(Note).is_err_and(|error| error.into_message().is_some()));
                gate.open();
            });
            let end = sup.shutdown(LONG);
            opens.join().unwrap();
            assert_eq!((end.stopped, end.failed, end.killed, end.left), (1, 1, 0, 0), "{end}");
            assert!(!end.is_clean());
        }
    });
    bounded(move || {
        let runtime = runtime(2);
        let slow = Builder::new().runtime(&runtime).start(Slow).unwrap();
        let gate = dying(&slow, End::Panic);
        slow.stop();
        gate.open();
        // It may have ended, which is no concern of the runtime's, or not.
        let end = runtime.shutdown(LONG);
        assert_eq!((end.stopped, end.killed), (0, 0), "{end}");
    });
}

#[test]
fn the_beat_of_a_timer_that_nobody_handles_is_no_message_that_was_lost() {
    everywhere(|| {
        let slow = Slow.start();
        let begun = Gate::new();
        slow.tell(Beats(begun.clone())).unwrap();
        begun.wait();
        // What the timer sends is queued right after that.
        green::sleep(Duration::from_millis(1));
        let end = slow.shutdown(Duration::from_millis(20));
        assert_eq!((end.killed, end.lost), (1, 0), "{end}");
    });
}

#[test]
fn what_waits_for_a_child_that_is_down_is_lost_with_its_tree() {
    everywhere(|| {
        let log = Log::default();
        let sup = eager(Supervisor::one_for_one()).child(puppet("a", &log).backoff(never())).start().unwrap();
        let a = get(&sup, "a");
        let _ = a.send(crate::End::Fail);
        until(|| waits(&sup, "a"));
        (0..10).for_each(|_| a.tell(Add(1)).unwrap());
        let end = sup.shutdown(LONG);
        assert_eq!((end.stopped + end.killed, end.lost), (0, 10), "{end}");
        assert!(!end.is_clean());
        assert!(a.is_ended());
    });
}

/// Dies together with the order to its supervisor to end: the supervisor learns of it, or does not.
#[test]
fn what_waits_for_a_child_that_has_just_died_is_drained_or_lost_and_its_cell_has_ended_with_its_supervisor() {
    everywhere(|| {
        for round in 0..scaled(64) {
            let handled = Arc::new(AtomicU64::new(0));
            let counted = Arc::clone(&handled);
            let a = Child::new("a", move || Counts(Arc::clone(&counted)));
            let others = ["b", "c"].map(|name| puppet(name, &Log::default()));
            let tree = others.into_iter().fold(eager(Supervisor::one_for_one()).child(a), Supervisor::child);
            let sup = tree.start().unwrap();
            let a = sup.get::<Counts>("a").unwrap();
            a.tell(End::Fail).unwrap();
            // More than it handles in one run.
            (0..200).for_each(|_| a.tell(Note).unwrap());
            // Before its death, in the midst of its restart, and after that.
            (0..round % 16).for_each(|_| green::yield_now());
            let end = sup.shutdown(LONG);
            assert!(a.is_ended() && end.left == 0, "{end}");
            // Each note was handled, or is lost; those that were handled before the stop were not drained.
            let handled = handled.load(Ordering::SeqCst);
            assert_eq!(handled + end.lost, 200, "{handled} handled, {end}");
            assert!(end.drained <= handled + 1, "{handled} handled, {end}");
            assert_eq!(a.queued(), 0);
        }
    });
}

#[test]
fn a_runtime_that_waits_for_one_in_vain_counts_those_that_ended_meanwhile() {
    bounded(|| {
        let runtime = runtime(1);
        let parked = Builder::new().runtime(&runtime).start(Slow).unwrap();
        let idle = Builder::new().runtime(&runtime).start(Slow).unwrap();
        parked.tell(Park).unwrap();
        until(|| parked.queued() == 0);
        idle.send(Note).unwrap();
        let end = runtime.shutdown(Duration::from_millis(50));
        assert_eq!((end.stopped, end.killed, end.left), (1, 1, 0), "{end}");
    });
}

#[test]
fn a_runtime_that_is_shut_down_says_what_became_of_its_actors() {
    bounded(|| {
        for workers in [1, 2, 4] {
            let runtime = runtime(workers);
            let log = Log::default();
            let sup = runtime.run(|| three(Supervisor::one_for_one(), &log));
            let plain: Vec<_> = (0..10).map(|_| Builder::new().runtime(&runtime).start(Slow).unwrap()).collect();
            for actor in &plain {
                actor.tell(Note).unwrap();
            }
            get(&sup, "a").tell(Add(1)).unwrap();
            let end = runtime.shutdown(LONG);
            assert_eq!((end.stopped, end.killed, end.left, end.lost), (14, 0, 0, 0), "{end}");
            assert_eq!(log.take(), ["-c", "-b", "-a"]);
        }
    });
}

#[test]
fn a_runtime_whose_actors_do_not_stop_kills_them() {
    bounded(|| {
        let runtime = runtime(2);
        let parked: Vec<_> = (0..5).map(|_| Builder::new().runtime(&runtime).start(Slow).unwrap()).collect();
        for actor in &parked {
            actor.tell(Park).unwrap();
            until(|| actor.queued() == 0);
            actor.tell(Note).unwrap();
        }
        let inner = || eager(Supervisor::one_for_one()).child(Child::new("slow", || Slow).shutdown(Duration::MAX));
        let sup =
            runtime.run(|| eager(Supervisor::one_for_one()).child(Child::supervisor("inner", inner)).start().unwrap());
        let slow = sup.supervisor("inner").unwrap().get::<Slow>("slow").unwrap();
        slow.tell(Park).unwrap();
        until(|| slow.queued() == 0);
        let end = runtime.shutdown(Duration::from_millis(50));
        assert_eq!((end.left, end.lost), (0, 5), "{end}");
        assert_eq!(end.stopped + end.killed, 8);
        assert!(end.killed >= 6, "{end}");
    });
}

#[test]
fn a_shutdown_of_the_default_runtime_kills_what_does_not_end_and_counts_what_is_lost() {
    let ended = in_a_child(&[], || {
        let parked = Slow.start();
        parked.tell(Park).unwrap();
        until(|| parked.queued() == 0);
        (0..5).for_each(|_| parked.tell(Note).unwrap());
        let idle = Slow.start();
        let end = green::shutdown(Duration::from_millis(20));
        // The idle one may not have had its turn in that time.
        assert_eq!((end.stopped + end.killed, end.failed, end.left), (2, 0, 0), "{end}");
        assert_eq!((end.drained, end.lost), (0, 5), "{end}");
        assert!(end.killed >= 1 && idle.is_ended(), "{end}");
        assert_eq!(parked.join(), Exit::Killed);
    });
    ended.assert_success();
}

#[test]
fn an_actor_that_shuts_its_runtime_down_does_not_wait_for_itself() {
    bounded(|| {
        let runtime = runtime(2);
        let slow = Builder::new().runtime(&runtime).start(Slow).unwrap();
        let (sender, gets) = std::sync::mpsc::channel();
        struct Starter(std::sync::mpsc::Receiver<green::Runtime>);
        impl Actor for Starter {}
        impl Handler<Note> for Starter {
            fn handle(&mut self, _: Note, ctx: &mut Context<Self>) {
                let end = self.0.recv().unwrap().shutdown(LONG);
                assert_eq!((end.stopped, end.left), (1, 0));
                ctx.stop();
            }
        }
        let starter = Builder::new().runtime(&runtime).start(Starter(gets)).unwrap();
        starter.tell(Note).unwrap();
        sender.send(runtime).unwrap();
        starter.join();
        assert!(slow.is_ended());
    });
}

#[test]
fn a_tree_that_is_shut_down_from_one_of_its_children_ends() {
    struct Boss(green::channel::Receiver<green::actor::SupervisorAddr>);
    impl Actor for Boss {}
    impl Handler<Note> for Boss {
        fn handle(&mut self, _: Note, _: &mut Context<Self>) {
            let _ = self.0.recv().unwrap().shutdown(Duration::from_millis(20));
        }
    }
    everywhere(|| {
        let (sender, receiver) = green::channel::bounded(1);
        let log = Log::default();
        let boss = Child::new("boss", move || Boss(receiver.clone())).shutdown(Duration::from_millis(20));
        let sup = eager(Supervisor::one_for_one()).child(puppet("a", &log)).child(boss).start().unwrap();
        sender.send(sup.clone()).unwrap();
        sup.get::<Boss>("boss").unwrap().tell(Note).unwrap();
        sup.join();
        assert_eq!(log.take(), ["+a", "-a"]);
    });
}

/// Says why it ends.
struct Says(Log);
impl Actor for Says {
    fn stopping(&mut self, why: &Exit, _: &mut Context<Self>) {
        self.0.write(format!("{why:?}"));
    }
}

#[test]
fn a_child_that_shuts_its_own_tree_down_has_no_sibling_killed() {
    struct Boss(green::channel::Receiver<green::actor::SupervisorAddr>);
    impl Actor for Boss {}
    impl Handler<Note> for Boss {
        fn handle(&mut self, _: Note, _: &mut Context<Self>) {
            let _ = self.0.recv().unwrap().shutdown(LONG);
        }
    }
    everywhere(|| {
        let ((sender, receiver), log) = (green::channel::bounded(1), Log::default());
        let written = log.clone();
        let boss = Child::new("boss", move || Boss(receiver.clone())).shutdown(LONG);
        let says = Child::new("says", move || Says(written.clone()));
        let sup = eager(Supervisor::one_for_one()).child(says).child(boss).start().unwrap();
        sender.send(sup.clone()).unwrap();
        sup.get::<Boss>("boss").unwrap().tell(Note).unwrap();
        sup.join();
        assert_eq!(log.take(), ["Shutdown"]);
    });
}

/// Ends the supervisor when its next life is made, and not begun.
fn ends_between_two_lives(end: fn(&SupervisorAddr)) {
    everywhere(move || {
        let (log, made) = (Log::default(), Arc::new(AtomicU32::new(0)));
        let (of_child, count) = (log.clone(), Arc::clone(&made));
        let addr: Arc<Mutex<Option<SupervisorAddr>>> = Arc::default();
        let inside = Arc::clone(&addr);
        let inner = move || {
            if count.fetch_add(1, Ordering::Relaxed) == 1 {
                end(inside.lock().unwrap().as_ref().unwrap());
            }
            eager(Supervisor::one_for_one()).child(puppet("b", &of_child))
        };
        let sup = eager(Supervisor::one_for_one()).child(Child::supervisor("inner", inner)).start().unwrap();
        let first = sup.supervisor("inner").unwrap();
        *addr.lock().unwrap() = Some(first.clone());
        first.kill();
        until(|| crate::restarts(&sup, "inner") == 1 && crate::runs(&sup, "inner"));
        assert_eq!(made.load(Ordering::Relaxed), 2);
        let b = get(&sup.supervisor("inner").unwrap(), "b");
        assert_eq!(b.send(Add(1)).unwrap(), 1);
        let end = sup.shutdown(LONG);
        assert_eq!((end.stopped, end.killed, end.left), (2, 0, 0), "{end}");
        assert_eq!(log.count("-b"), 2);
    });
}

#[test]
fn a_supervisor_that_is_killed_between_two_lives_leaves_the_next_ones_children_their_time() {
    ends_between_two_lives(SupervisorAddr::kill);
}

#[test]
fn a_supervisor_that_is_shut_down_between_two_lives_leaves_the_next_ones_children_their_time() {
    ends_between_two_lives(|inner| _ = inner.shutdown(Duration::ZERO));
}
