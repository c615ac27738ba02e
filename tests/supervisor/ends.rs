//! Ends of children and supervisors: deadlines, kills, the last address, the runtime.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use green::actor::{Actor, Builder, Child, Context, Exit, Handler, Message, Supervisor};
use green::sync::Barrier;

use crate::help::{Flag, bounded, everywhere, runtime, spin_until, until, within};
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
fn a_kill_reaches_the_tree_of_a_supervisor_that_waits_for_its_children_to_end() {
    everywhere(|| {
        within(Duration::from_secs(4), || {
            let log = Log::default();
            let sup = eager(Supervisor::one_for_one()).child(stubborn(&log, "s", Duration::MAX)).start().unwrap();
            let s = sup.get::<Stubborn>("s").unwrap();
            s.tell(Wait).unwrap();
            until(|| s.queued() == 0);
            sup.stop();
            until(|| sup.tree().waits_for.is_some());
            let since = Instant::now();
            sup.kill();
            sup.join();
            let took = since.elapsed();
            assert_eq!(s.join(), Exit::Killed);
            took
        });
    });
}

#[test]
fn a_factory_that_waits_at_a_restart_does_not_hold_the_end_up() {
    everywhere(|| {
        within(Duration::from_secs(4), || {
            let (log, made, waits) = (Log::default(), AtomicU32::new(0), Arc::new(Flag::default()));
            let (written, flag) = (log.clone(), Arc::clone(&waits));
            let child = Child::new("s", move || {
                if made.fetch_add(1, Ordering::Relaxed) == 1 {
                    flag.set();
                    green::thread::park();
                }
                Stubborn(written.clone())
            });
            let sup = eager(Supervisor::one_for_one()).child(child.shutdown(Duration::MAX)).start().unwrap();
            sup.get::<Stubborn>("s").unwrap().kill();
            waits.wait();
            let since = Instant::now();
            let end = sup.shutdown(Duration::from_millis(20));
            let took = since.elapsed();
            assert_eq!(end.left, 0, "{end}");
            took
        });
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
        within(Duration::from_secs(4), || {
            let log = Log::default();
            let sup = three(Supervisor::one_for_one(), &log);
            let starts = Arc::new(Flag::default());
            let (flag, to) = (Arc::clone(&starts), sup.clone());
            let asks = green::spawn(move || to.start_child(Child::new("slow", move || Slow(flag.clone()))));
            starts.wait();
            let since = Instant::now();
            let end = sup.shutdown(Duration::from_millis(20));
            let took = since.elapsed();
            // The one that starts is no child yet, if it is killed before the supervisor has come to its own end.
            assert!((3..=4).contains(&(end.stopped + end.killed)) && end.left == 0, "{end}");
            assert!(asks.join().unwrap().is_err());
            took
        });
    });
}

#[test]
fn a_supervisor_whose_start_is_killed_leaves_no_child() {
    everywhere(|| {
        let (log, starts) = (Log::default(), Arc::new(Flag::default()));
        let flag = Arc::clone(&starts);
        let slow = eager(Supervisor::one_for_one())
            .child(puppet("a", &log))
            .child(Child::new("slow", move || Slow(flag.clone())));
        let starter = green::spawn(move || slow.start());
        starts.wait();
        starter.cancel();
        assert!(starter.join().is_err());
        until(|| log.len() == 2);
        assert_eq!(log.take(), ["+a", "-a"]);
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

/// Computes, or waits in a system call, which is the same to its worker, until it is told to end.
struct Computes(Arc<Flag>, Arc<Flag>);
impl Actor for Computes {}
impl Handler<Wait> for Computes {
    fn handle(&mut self, _: Wait, _: &mut Context<Self>) {
        self.0.set();
        spin_until("the end of the computation", || {
            std::thread::sleep(Duration::from_millis(1));
            self.1.is_set()
        });
    }
}

/// A supervisor of so many children that compute, each on a worker of its own, and then three that are idle. For an OS thread: no
/// green thread has to run on those workers.
fn computing(supervisor: Supervisor, count: usize, done: &Arc<Flag>) -> (green::Runtime, green::actor::SupervisorAddr) {
    let runtime = runtime(1 + count);
    let begun: Vec<_> = (0..count).map(|_| Arc::new(Flag::default())).collect();
    let tree = begun.iter().enumerate().fold(eager(supervisor), |tree, (n, begun)| {
        let (begun, done) = (Arc::clone(begun), Arc::clone(done));
        let child = Child::new(n.to_string(), move || Computes(Arc::clone(&begun), Arc::clone(&done)));
        tree.child(child.shutdown(Duration::from_millis(5)))
    });
    let tree = ["a", "b", "c"].iter().fold(tree, |tree, name| tree.child(puppet(name, &Log::default())));
    let sup = runtime.run(|| tree.start().unwrap());
    for (n, begun) in begun.iter().enumerate() {
        sup.get::<Computes>(&n.to_string()).unwrap().tell(Wait).unwrap();
        begun.wait();
    }
    (runtime, sup)
}

#[test]
fn a_child_that_computes_is_counted_once_and_holds_the_end_up_once() {
    let tree = |count: usize, supervisor: Supervisor| {
        let done = Arc::new(Flag::default());
        let (runtime, sup) = computing(supervisor, count, &done);
        let end = sup.shutdown(Duration::from_millis(20));
        done.set();
        assert_eq!((end.stopped + end.killed, end.left), (3, count), "{end}");
        sup.join();
        drop(runtime);
    };
    // Each takes five seconds: all at once.
    bounded(move || {
        std::thread::scope(|s| {
            s.spawn(|| tree(1, Supervisor::one_for_one()));
            s.spawn(|| tree(2, Supervisor::one_for_one()));
            s.spawn(|| tree(2, Supervisor::dynamic()));
        });
    });
}

/// They went uncounted: the one that is given up has others after that.
#[test]
fn children_of_a_nested_supervisor_that_is_given_up_are_counted() {
    bounded(|| {
        let (runtime, begun, done) = (runtime(2), Arc::new(Flag::default()), Arc::new(Flag::default()));
        let (begins, ends) = (Arc::clone(&begun), Arc::clone(&done));
        let below = move || {
            let (begins, ends, made) = (Arc::clone(&begins), Arc::clone(&ends), AtomicBool::new(false));
            // It computes when it makes the second.
            let builds = Child::new("builds", move || {
                if made.swap(true, Ordering::SeqCst) {
                    begins.set();
                    spin_until("the end of the computation", || {
                        std::thread::sleep(Duration::from_millis(1));
                        ends.is_set()
                    });
                }
                Stubborn(Log::default())
            });
            eager(Supervisor::one_for_one()).child(puppet("idle", &Log::default())).child(builds)
        };
        let tree = Supervisor::one_for_one().child(Child::supervisor("below", below));
        let sup = runtime.run(|| tree.start().unwrap());
        sup.supervisor("below").unwrap().get::<Stubborn>("builds").unwrap().kill();
        begun.wait();
        let end = sup.shutdown(Duration::from_millis(20));
        done.set();
        // The nested one, and the child that it makes, are left.
        assert_eq!((end.stopped, end.failed, end.killed, end.left), (0, 0, 1, 2), "{end}");
    });
}

#[test]
fn an_actor_that_computes_is_left_by_its_own_shutdown_and_by_that_of_its_runtime() {
    let actor = || {
        let (runtime, begun, done) = (runtime(2), Arc::new(Flag::default()), Arc::new(Flag::default()));
        let computes = Computes(Arc::clone(&begun), Arc::clone(&done));
        let computes = Builder::new().runtime(&runtime).start(computes).unwrap();
        computes.tell(Wait).unwrap();
        begun.wait();
        (0..3).for_each(|_| computes.tell(Wait).unwrap());
        (runtime, computes, done)
    };
    let of_actor = move || {
        let (runtime, computes, done) = actor();
        let end = computes.shutdown(Duration::from_millis(20));
        assert!(!computes.is_ended());
        done.set();
        assert_eq!((end.stopped, end.failed, end.killed, end.left), (0, 0, 0, 1), "{end}");
        assert_eq!((end.drained, end.lost), (0, 0), "they are queued still: {end}");
        assert_eq!(computes.join(), Exit::Killed);
        drop(runtime);
    };
    let of_runtime = move || {
        let (runtime, computes, done) = actor();
        let idle = Builder::new().runtime(&runtime).start(Stubborn(Log::default())).unwrap();
        // When the actors have been waited for, the runtime cancels its threads: this one, on the other worker.
        let ends = Ends(done);
        drop(runtime.spawn(move || {
            let _ends = ends;
            green::thread::park();
        }));
        let end = runtime.shutdown(Duration::from_millis(20));
        assert_eq!((end.stopped + end.killed, end.failed, end.left), (1, 0, 1), "{end}");
        assert!(idle.is_ended() && computes.is_ended());
    };
    bounded(move || {
        std::thread::scope(|s| {
            s.spawn(of_actor);
            s.spawn(of_runtime);
        });
    });
}

/// Ends a computation when it is dropped.
struct Ends(Arc<Flag>);
impl Drop for Ends {
    fn drop(&mut self) {
        self.0.set();
    }
}

#[test]
fn a_sibling_that_computes_has_a_successor_when_its_group_is_started_again() {
    bounded(|| {
        let done = Arc::new(Flag::default());
        let (runtime, sup) = computing(Supervisor::one_for_all(), 1, &done);
        let (before, a) = (sup.get::<Computes>("0").unwrap(), get(&sup, "a"));
        let _ = a.call(crate::End::Fail).unwrap().wait();
        until(|| crate::restarts(&sup, "a") == 1 && ["0", "a", "b", "c"].iter().all(|name| crate::runs(&sup, name)));
        assert_ne!(sup.get::<Computes>("0").unwrap(), before);
        assert_eq!(get(&sup, "a"), a);
        assert!(!before.is_ended());
        done.set();
        before.join();
        assert!(sup.shutdown(LONG).left == 0);
        drop(runtime);
    });
}

/// A supervisor below another one whose child computes where it is started again, so that the one above gives it up.
#[test]
fn a_nested_supervisor_that_was_given_up_has_no_child_in_common_with_its_successor() {
    bounded(|| {
        let (log, begun, done) = (Log::default(), Arc::new(Flag::default()), Arc::new(Flag::default()));
        let runtime = runtime(2);
        let inner = {
            let (log, begun, done) = (log.clone(), Arc::clone(&begun), Arc::clone(&done));
            let lives = Arc::new(AtomicU32::new(0));
            move || {
                let (inner_log, begun, done, lives) =
                    (log.clone(), Arc::clone(&begun), Arc::clone(&done), Arc::clone(&lives));
                let falters = move || {
                    if lives.fetch_add(1, Ordering::SeqCst) == 1 {
                        begun.set();
                        spin_until("the end of the factory", || done.is_set());
                    }
                    crate::Puppet { name: "f".to_owned(), log: inner_log.clone(), sum: 0 }
                };
                eager(Supervisor::one_for_one()).child(puppet("s", &log)).child(Child::new("f", falters))
            }
        };
        let tree = eager(Supervisor::one_for_all())
            .child(puppet("a", &Log::default()))
            .child(Child::supervisor("inner", inner).shutdown(Duration::from_millis(5)));
        let sup = runtime.run(|| tree.start().unwrap());
        let before = sup.supervisor("inner").unwrap();
        let (s, a) = (get(&before, "s"), get(&sup, "a"));
        get(&before, "f").tell(crate::End::Fail).unwrap();
        begun.wait();
        // Both are told; the one that computes does not listen.
        let _ = a.call(crate::End::Fail).unwrap().wait();
        until(|| crate::restarts(&sup, "a") == 1 && ["a", "inner"].iter().all(|name| crate::runs(&sup, name)));
        let after = sup.supervisor("inner").unwrap();
        assert_ne!(before, after);
        let successor = get(&after, "s");
        assert_ne!(successor, s);
        done.set();
        before.join();
        assert!(before.is_empty(), "{}", before.tree());
        assert_eq!(get(&after, "s"), successor, "the end of the one concerns the other");
        assert_eq!((after.len(), successor.send(Add(1)).unwrap()), (2, 1));
        before.kill();
        assert!(!after.is_ended() && !successor.is_ended());
        assert_eq!(sup.shutdown(LONG).left, 0);
        drop(runtime);
    });
}

#[test]
fn a_sibling_that_parks_is_killed_with_its_group_and_runs_again() {
    everywhere(|| {
        let log = Log::default();
        let s = stubborn(&log, "s", Duration::from_millis(5));
        let sup = eager(Supervisor::one_for_all()).child(puppet("a", &log)).child(s).start().unwrap();
        let s = sup.get::<Stubborn>("s").unwrap();
        s.tell(Wait).unwrap();
        until(|| s.queued() == 0);
        let _ = get(&sup, "a").send(crate::End::Fail);
        until(|| crate::restarts(&sup, "a") == 1 && crate::runs(&sup, "s"));
        assert_eq!(log.take(), ["+a", "-a", "Killed", "+a"]);
        s.tell(Wait).unwrap();
        until(|| s.queued() == 0);
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
