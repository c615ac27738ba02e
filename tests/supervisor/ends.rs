//! Ends of children and supervisors: deadlines, kills, the last address, the runtime.

use std::sync::Arc;
use std::time::Duration;

use green::actor::{Actor, Child, Context, Exit, Handler, Message, Supervisor};
use green::sync::Barrier;

use crate::help::{Flag, bounded, everywhere, runtime, until};
use crate::{Add, LONG, Log, eager, get, puppet, three};

/// Does not end when it is stopped: it waits where only a kill reaches.
struct Stubborn(Log);
struct Wait;
impl Message for Wait {
    type Reply = ();
}
impl Actor for Stubborn {
    fn stopping(&mut self, why: &Exit, _: &mut Context<Self>) {
        self.0.write(format!("{why:?}"));
    }
}
impl Handler<Wait> for Stubborn {
    fn handle(&mut self, _: Wait, _: &mut Context<Self>) {
        green::thread::park();
    }
}

fn stubborn(log: &Log, name: &str, shutdown: Duration) -> Child<Stubborn> {
    let log = log.clone();
    Child::new(name, move || Stubborn(log.clone())).shutdown(shutdown)
}

#[test]
fn a_child_that_does_not_terminate_within_its_shutdown_time_is_killed() {
    everywhere(|| {
        let log = Log::default();
        let sup = eager(Supervisor::one_for_one())
            .child(puppet("a", &log))
            .child(stubborn(&log, "s", Duration::from_millis(5)))
            .start()
            .unwrap();
        let s = sup.get::<Stubborn>("s").unwrap();
        s.tell(Wait).unwrap();
        until(|| s.queued() == 0);
        let end = sup.shutdown(Duration::from_secs(20));
        assert_eq!((end.stopped, end.killed, end.left), (1, 1, 0));
        assert_eq!(log.take(), ["+a", "Killed", "-a"]);
    });
}

#[test]
fn a_shutdown_time_of_zero_is_a_kill_at_once() {
    everywhere(|| {
        let log = Log::default();
        let sup = eager(Supervisor::one_for_one()).child(stubborn(&log, "s", Duration::ZERO)).start().unwrap();
        let end = sup.shutdown(Duration::from_secs(20));
        assert_eq!((end.stopped, end.killed), (0, 1));
        assert_eq!(log.take(), ["Killed"]);
    });
}

#[test]
fn an_infinite_shutdown_time_ends_with_the_deadline_of_the_tree() {
    everywhere(|| {
        let log = Log::default();
        let inner_log = log.clone();
        let inner = move || Supervisor::one_for_one().child(stubborn(&inner_log, "s", Duration::MAX));
        let sup = eager(Supervisor::one_for_one()).child(Child::supervisor("inner", inner)).start().unwrap();
        let s = sup.supervisor("inner").unwrap().get::<Stubborn>("s").unwrap();
        s.tell(Wait).unwrap();
        until(|| s.queued() == 0);
        s.tell(Wait).unwrap();
        let end = sup.shutdown(Duration::from_millis(20));
        assert_eq!((end.stopped + end.killed, end.left, end.lost), (2, 0, 1), "{end}");
        assert!(end.killed >= 1, "{end}");
        assert_eq!(s.join(), Exit::Killed);
    });
}

#[test]
fn a_stop_of_the_supervisor_lets_its_children_handle_what_is_queued() {
    everywhere(|| {
        let log = Log::default();
        let sup = three(Supervisor::one_for_one(), &log);
        let a = get(&sup, "a");
        let queued: Vec<_> = (0..50).map(|_| a.call(Add(1)).unwrap()).collect();
        let end = sup.shutdown(crate::LONG);
        assert_eq!((end.stopped, end.lost), (3, 0));
        assert!(queued.into_iter().all(|pending| pending.wait().is_ok()));
    });
}

#[test]
fn a_kill_of_the_supervisor_kills_its_tree() {
    everywhere(|| {
        let log = Log::default();
        let inner_log = log.clone();
        let inner = move || Supervisor::dynamic().child(stubborn(&inner_log, "s", Duration::MAX));
        let sup = eager(Supervisor::one_for_one())
            .child(stubborn(&log, "t", Duration::MAX))
            .child(Child::supervisor("inner", inner))
            .start()
            .unwrap();
        let s = sup.supervisor("inner").unwrap().get::<Stubborn>("s").unwrap();
        let t = sup.get::<Stubborn>("t").unwrap();
        s.tell(Wait).unwrap();
        t.tell(Wait).unwrap();
        sup.kill();
        assert_eq!((sup.join(), s.join(), t.join()), (Exit::Killed, Exit::Killed, Exit::Killed));
    });
}

#[test]
fn the_last_address_of_a_supervisor_ends_its_tree() {
    everywhere(|| {
        let log = Log::default();
        let sup = three(Supervisor::one_for_one(), &log);
        let a = get(&sup, "a");
        drop(sup);
        assert_eq!(a.join(), Exit::Shutdown);
        until(|| log.len() == 3);
        assert_eq!(log.take(), ["-c", "-b", "-a"]);
    });
}

/// Waits in `started`.
struct Slow(Arc<Flag>);
impl Actor for Slow {
    fn started(&mut self, _: &mut Context<Self>) -> Result<(), Exit> {
        self.0.set();
        green::thread::park();
        Ok(())
    }
}

#[test]
fn a_supervisor_that_is_shut_down_while_a_child_starts_ends_in_time() {
    everywhere(|| {
        let log = Log::default();
        let sup = three(Supervisor::one_for_one(), &log);
        let starts = Arc::new(Flag::default());
        let (flag, to) = (Arc::clone(&starts), sup.clone());
        let asks = green::spawn(move || to.start_child(Child::new("slow", move || Slow(flag.clone()))));
        starts.wait();
        let end = sup.shutdown(Duration::from_millis(20));
        // The one that starts is no child yet, if it is killed before the supervisor has come to its own end.
        assert!((3..=4).contains(&(end.stopped + end.killed)) && end.left == 0, "{end}");
        assert!(asks.join().unwrap().is_err());
    });
}

#[test]
fn a_supervisor_whose_start_is_killed_leaves_no_child() {
    everywhere(|| {
        let log = Log::default();
        let starts = Arc::new(Flag::default());
        let flag = Arc::clone(&starts);
        let slow = eager(Supervisor::one_for_one())
            .child(puppet("a", &log))
            .child(Child::new("slow", move || Slow(flag.clone())));
        let starter = green::spawn(move || slow.start());
        starts.wait();
        starter.cancel();
        assert!(starter.join().is_err());
        // Its last address is gone, but it waits: its runtime ends it, or the process.
        assert_eq!(log.take(), ["+a"]);
    });
}

#[test]
fn the_end_of_a_runtime_ends_its_trees_also_while_a_child_waits_for_its_restart() {
    bounded(|| {
        for workers in [1, 2] {
            let runtime = runtime(workers);
            let log = Log::default();
            let hour = Duration::from_secs(3600);
            let never = green::actor::Backoff::exponential(hour..=hour);
            let (sup, a, b) = runtime.run(|| {
                let sup = Supervisor::one_for_one().backoff(never).child(puppet("a", &log)).child(puppet("b", &log));
                let sup = sup.start().unwrap();
                let (a, b) = (get(&sup, "a"), get(&sup, "b"));
                let _ = a.send(crate::End::Fail);
                until(|| matches!(sup.tree().children[0].state, green::actor::ChildState::Waits(_)));
                (sup, a, b)
            });
            let queued = a.call(Add(1)).unwrap();
            drop(runtime);
            assert!(sup.is_ended() && a.is_ended() && b.is_ended());
            assert!(queued.wait().is_err());
        }
    });
}

#[test]
fn many_trees_that_die_while_their_runtime_ends_leave_nothing() {
    bounded(|| {
        for _ in 0..20 {
            let runtime = runtime(2);
            let log = Log::default();
            let sups: Vec<_> =
                (0..20).map(|_| runtime.run(|| three(Supervisor::one_for_all(), &Log::default()))).collect();
            for sup in &sups {
                get(sup, "b").tell(crate::End::Panic).unwrap();
            }
            drop(runtime);
            assert!(sups.iter().all(green::actor::SupervisorAddr::is_ended));
            drop(log);
        }
    });
}

/// Ends when all others of its kind do, too.
struct Meets(Arc<Barrier>);
impl Actor for Meets {
    fn stopping(&mut self, _: &Exit, _: &mut Context<Self>) {
        self.0.wait();
    }
}

#[test]
fn children_of_a_dynamic_supervisor_are_terminated_at_once_in_no_order() {
    everywhere(|| {
        let (sup, barrier) = (eager(Supervisor::dynamic()).start().unwrap(), Arc::new(Barrier::new(5)));
        for n in 0..5 {
            let barrier = Arc::clone(&barrier);
            sup.start_child(Child::new(n.to_string(), move || Meets(Arc::clone(&barrier)))).unwrap();
        }
        let end = sup.shutdown(LONG);
        assert_eq!((end.stopped, end.killed, end.left), (5, 0, 0));
    });
}
