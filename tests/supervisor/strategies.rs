//! Which siblings a death concerns, and in which order.

use std::time::Duration;

use green::actor::{Backoff, Child, ChildState, Exit, Supervisor};

use crate::help::{everywhere, until};
use crate::{Add, End, Log, Puppet, eager, end, get, never, puppet, restarts, runs, three, waits};

#[test]
fn one_for_one_restarts_the_terminated_process_alone() {
    everywhere(|| {
        let log = Log::default();
        let sup = three(Supervisor::one_for_one(), &log);
        get(&sup, "a").send(Add(1)).unwrap();
        end(&sup, "b", End::Panic);
        assert_eq!(log.take(), ["-b", "+b"]);
        assert_eq!(get(&sup, "a").send(Add(1)).unwrap(), 2);
    });
}

#[test]
fn one_for_all_terminates_all_others_in_reverse_and_restarts_all_in_order() {
    everywhere(|| {
        let log = Log::default();
        let sup = three(Supervisor::one_for_all(), &log);
        let a = get(&sup, "a");
        a.send(Add(1)).unwrap();
        end(&sup, "b", End::Panic);
        until(|| log.len() == 6);
        assert_eq!(log.take(), ["-b", "-c", "-a", "+a", "+b", "+c"]);
        assert_eq!(a.send(Add(1)).unwrap(), 1);
        assert_eq!((restarts(&sup, "a"), restarts(&sup, "b")), (0, 1));
    });
}

#[test]
fn rest_for_one_terminates_and_restarts_those_that_were_started_after() {
    everywhere(|| {
        let log = Log::default();
        let sup = three(Supervisor::rest_for_one(), &log);
        end(&sup, "b", End::Panic);
        until(|| log.len() == 4);
        assert_eq!(log.take(), ["-b", "-c", "+b", "+c"]);
        end(&sup, "c", End::Panic);
        assert_eq!(log.take(), ["-c", "+c"]);
        end(&sup, "a", End::Panic);
        until(|| log.len() == 6);
        assert_eq!(log.take(), ["-a", "-c", "-b", "+a", "+b", "+c"]);
    });
}

#[test]
fn children_added_later_are_the_last_in_the_order() {
    everywhere(|| {
        let log = Log::default();
        let sup = three(Supervisor::rest_for_one(), &log);
        sup.start_child(puppet("d", &log)).unwrap();
        end(&sup, "c", End::Panic);
        until(|| log.len() == 5);
        assert_eq!(log.take(), ["+d", "-c", "-d", "+c", "+d"]);
    });
}

#[test]
fn while_one_waits_for_its_restart_the_others_go_on_and_its_messages_queue() {
    everywhere(|| {
        let log = Log::default();
        let never = Backoff::exponential(Duration::from_secs(3600)..=Duration::from_secs(3600));
        let sup = eager(Supervisor::one_for_one())
            .child(puppet("a", &log).backoff(never))
            .child(puppet("b", &log))
            .start()
            .unwrap();
        let a = get(&sup, "a");
        let _ = a.send(End::Fail);
        until(|| matches!(&sup.tree().children[0].state, ChildState::Waits(_)));
        a.tell(Add(1)).unwrap();
        assert_eq!(sup.tree().children[0].queued, 1);
        end(&sup, "b", End::Panic);
        assert!(!runs(&sup, "a"));
        assert_eq!(sup.shutdown(crate::LONG).lost, 1);
    });
}

#[test]
fn a_group_waits_for_the_delay_of_the_child_that_died() {
    everywhere(|| {
        let log = Log::default();
        let never = Backoff::exponential(Duration::from_secs(3600)..=Duration::from_secs(3600));
        let sup = eager(Supervisor::one_for_all())
            .child(puppet("a", &log).backoff(never))
            .child(puppet("b", &log))
            .start()
            .unwrap();
        let _ = get(&sup, "a").send(End::Fail);
        until(|| sup.tree().children.iter().all(|child| matches!(child.state, ChildState::Waits(_))));
        assert_eq!(log.take(), ["+a", "+b", "-a", "-b"]);
    });
}

#[test]
fn a_later_death_leaves_the_back_off_of_an_earlier_child_alone() {
    everywhere(|| {
        let log = Log::default();
        let sup = eager(Supervisor::rest_for_one()).child(puppet("a", &log).backoff(never())).start().unwrap();
        let _ = get(&sup, "a").send(End::Fail);
        until(|| waits(&sup, "a"));
        sup.start_child(puppet("d", &log)).unwrap();
        end(&sup, "d", End::Panic);
        assert!(waits(&sup, "a"));
        assert_eq!(log.take(), ["+a", "-a", "+d", "-d", "+d"]);
    });
}

#[test]
fn a_child_that_was_added_while_its_predecessor_was_down_is_started_again_after_it() {
    for supervisor in [Supervisor::one_for_all, Supervisor::rest_for_one] {
        green::actor::testkit::run(move || {
            let log = Log::default();
            let tree = supervisor().backoff(Backoff::exponential(Duration::from_secs(60)..=Duration::from_secs(60)));
            let sup = tree.child(puppet("a", &log)).child(puppet("b", &log)).start().unwrap();
            let _ = get(&sup, "a").send(End::Fail);
            until(|| waits(&sup, "a") && waits(&sup, "b"));
            sup.start_child(puppet("d", &log)).unwrap();
            assert_eq!(log.take(), ["+a", "+b", "-a", "-b", "+d"]);
            green::sleep(Duration::from_secs(61));
            assert_eq!(log.take(), ["-d", "+a", "+b", "+d"]);
        });
    }
}

/// Fails at its second and third start.
fn falters(name: &str, log: &Log) -> Child<Puppet> {
    let (text, log, mut starts) = (name.to_owned(), log.clone(), 0);
    Child::new(name, move || {
        starts += 1;
        let puppet = Puppet { name: text.clone(), log: log.clone(), sum: 0 };
        if (2..=3).contains(&starts) { Err(Exit::Error("it falters".to_owned())) } else { Ok(puppet) }
    })
}

#[test]
fn a_restart_of_a_group_that_fails_terminates_the_group_and_is_tried_again_and_counts() {
    everywhere(|| {
        // "b" dies; then the others go, in reverse; then twice a start up to "f", which fails; then all.
        let all = "-b -z -f -a +a +b -b -a +a +b -b -a +a +b +f +z";
        for (supervisor, lines) in [(Supervisor::one_for_all(), all), (Supervisor::rest_for_one(), "-b -z -f +b +f +z")]
        {
            let log = Log::default();
            let group = eager(supervisor).child(puppet("a", &log)).child(puppet("b", &log)).child(falters("f", &log));
            let sup = group.child(puppet("z", &log)).start().unwrap();
            assert_eq!(log.take(), ["+a", "+b", "+f", "+z"]);
            let _ = get(&sup, "b").send(End::Panic);
            until(|| restarts(&sup, "f") == 2 && ["a", "b", "f", "z"].iter().all(|name| runs(&sup, name)));
            assert_eq!(restarts(&sup, "b"), 1);
            assert_eq!(log.take().join(" "), lines);
        }
    });
}
