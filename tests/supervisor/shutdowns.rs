//! Ends that surely come: of one actor, of a runtime.

use std::time::Duration;

use green::actor::{Actor, Builder, Child, Context, Exit, Handler, Message, Supervisor};

use crate::LONG;
use crate::help::{bounded, everywhere, runtime, until};
use crate::{Add, Log, eager, get, puppet, three};

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
struct Note;
impl Message for Note {
    type Reply = ();
}
impl Handler<Note> for Slow {
    fn handle(&mut self, _: Note, _: &mut Context<Self>) {}
}

#[test]
fn a_shutdown_drains_what_is_queued() {
    everywhere(|| {
        let slow = Slow.start();
        for _ in 0..100 {
            slow.tell(Note).unwrap();
        }
        let end = slow.shutdown(LONG);
        assert_eq!((end.stopped, end.killed, end.left, end.lost), (1, 0, 0, 0));
        assert!(end.is_clean() && end.drained <= 100);
        assert_eq!(slow.join(), Exit::Shutdown);
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
