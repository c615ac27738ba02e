//! Starts in order, and starts that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use green::actor::{Actor, AutoShutdown, Child, ChildError, Context, Exit, Restart, SendError, StartError, Supervisor};

use crate::help::{everywhere, until};
use crate::{Add, End, LONG, Log, Puppet, eager, get, has_ended, puppet, three};

#[test]
fn children_are_started_in_order_and_terminated_in_reverse() {
    everywhere(|| {
        let log = Log::default();
        let sup = three(Supervisor::one_for_one(), &log);
        sup.stop();
        assert_eq!(sup.join(), Exit::Shutdown);
        assert_eq!(log.take(), ["-c", "-b", "-a"]);
    });
}

/// Does not start.
struct Stillborn(bool);
impl Actor for Stillborn {
    fn started(&mut self, _: &mut Context<Self>) -> Result<(), Exit> {
        assert!(!self.0, "no panic please");
        Err(Exit::Error("not today".to_owned()))
    }
}

#[test]
fn a_start_that_fails_terminates_those_that_were_started_in_reverse_and_is_the_error() {
    everywhere(|| {
        let two = |log: &Log| eager(Supervisor::one_for_one()).child(puppet("a", log)).child(puppet("b", log));
        let log_of_none = Log::default();
        let never = move || Ok(Puppet { name: String::new(), log: log_of_none.clone(), sum: "no".parse()? });
        let panics = || -> Puppet { panic!("no factory") };
        let log = Log::default();
        let starts = [
            two(&log).child(Child::new("x", never)).child(puppet("c", &log)).start(),
            two(&log).child(Child::new("x", panics)).child(puppet("c", &log)).start(),
            two(&log).child(Child::new("x", || Stillborn(false))).child(puppet("c", &log)).start(),
            two(&log).child(Child::new("x", || Stillborn(true)).restart(Restart::Temporary)).start(),
        ];
        let texts = [
            "failed: invalid digit found in string",
            "panicked: no factory",
            "failed: not today",
            "panicked: no panic please",
        ];
        for (start, text) in starts.into_iter().zip(texts) {
            let error = start.unwrap_err();
            assert_eq!(error.to_string(), format!("the child \"x\" has not started: it {text}"));
            assert!(matches!(error, StartError::Child { name, .. } if &*name == "x"));
        }
        assert_eq!(log.take(), ["+a", "+b", "-b", "-a"].repeat(4));
    });
}

#[test]
fn two_children_of_one_name_are_an_error_before_anything_starts() {
    let log = Log::default();
    let twice = Supervisor::one_for_one().child(puppet("a", &log)).child(puppet("b", &log)).child(puppet("a", &log));
    let error = twice.start().unwrap_err();
    assert!(matches!(&error, StartError::Duplicate(name) if &**name == "a"), "{error:?}");
    assert_eq!(log.len(), 0);
    // In a nested one, too.
    let inner_log = log.clone();
    let inner = move || Supervisor::one_for_one().child(puppet("a", &inner_log)).child(puppet("a", &inner_log));
    let error = Supervisor::one_for_one().child(Child::supervisor("inner", inner)).start().unwrap_err();
    let text = "the child \"inner\" has not started: it failed: two children have the name \"a\"";
    assert_eq!(error.to_string(), text);
}

#[test]
fn a_nested_supervisor_that_does_not_start_says_which_of_its_children_does_not() {
    everywhere(|| {
        let inner = || Supervisor::one_for_one().child(Child::new("x", || Stillborn(false)));
        let error = Supervisor::one_for_one().child(Child::supervisor("inner", inner)).start().unwrap_err();
        let StartError::Child { name, exit } = error else { panic!("{error:?}") };
        let last = Box::new(Exit::Error("not today".to_owned()));
        assert_eq!((&*name, exit), ("inner", Exit::Escalated { child: "x".into(), last }));
    });
}

#[test]
fn a_bad_stack_size_and_a_bad_name_are_errors_of_the_start() {
    let log = Log::default();
    let small = Supervisor::one_for_one().child(puppet("a", &log).stack_size(1)).start();
    assert!(matches!(small, Err(StartError::Child { exit: Exit::Error(_), .. })));
    let nul = Supervisor::one_for_one().child(puppet("a\0", &log)).start();
    assert!(matches!(nul, Err(StartError::Child { exit: Exit::Error(_), .. })));
}

/// Makes nothing until it is allowed to.
fn when(allowed: &Arc<AtomicBool>, log: &Log, name: &str) -> Child<Puppet> {
    let (allowed, log, text) = (Arc::clone(allowed), log.clone(), name.to_owned());
    Child::new(name, move || {
        allowed.load(Ordering::SeqCst).then(|| Puppet { name: text.clone(), log: log.clone(), sum: 0 })
    })
}

#[test]
fn a_child_whose_factory_makes_nothing_is_kept_and_can_be_started_later() {
    everywhere(|| {
        let (log, allowed) = (Log::default(), Arc::new(AtomicBool::new(false)));
        let sup = eager(Supervisor::one_for_one()).child(when(&allowed, &log, "a")).child(puppet("b", &log));
        let sup = sup.start().unwrap();
        assert_eq!(log.take(), ["+b"]);
        assert!(has_ended(&sup, "a"));
        assert_eq!(sup.get::<Puppet>("a"), Err(ChildError::Ended("a".into())));
        sup.restart("a").unwrap();
        assert!(has_ended(&sup, "a"));
        allowed.store(true, Ordering::SeqCst);
        sup.restart("a").unwrap();
        assert_eq!(get(&sup, "a").send(Add(3)).unwrap(), 3);
        assert!(sup.shutdown(LONG).is_clean());
    });
}

#[test]
fn a_child_whose_factory_makes_nothing_at_a_restart_has_ended_and_its_queue_goes_back() {
    everywhere(|| {
        let (log, allowed) = (Log::default(), Arc::new(AtomicBool::new(true)));
        let sup = eager(Supervisor::one_for_one()).child(when(&allowed, &log, "a")).start().unwrap();
        let a = get(&sup, "a");
        allowed.store(false, Ordering::SeqCst);
        assert!(matches!(a.send(End::Panic), Err(SendError::Died(_))));
        a.join();
        assert!(matches!(a.send(Add(1)), Err(SendError::Closed(_))));
        until(|| has_ended(&sup, "a"));
        allowed.store(true, Ordering::SeqCst);
        sup.restart("a").unwrap();
        assert_eq!(get(&sup, "a").send(Add(3)).unwrap(), 3);
    });
}

#[test]
fn a_child_of_a_dynamic_supervisor_whose_factory_makes_nothing_is_forgotten() {
    everywhere(|| {
        let (log, allowed) = (Log::default(), Arc::new(AtomicBool::new(false)));
        let sup = Supervisor::dynamic().start().unwrap();
        assert_eq!(sup.start_child(when(&allowed, &log, "a")), Err(ChildError::Ended("a".into())));
        assert!(sup.is_empty());
    });
}

/// It kept its name for ever, and was counted.
#[test]
fn a_child_of_a_dynamic_supervisor_whose_factory_makes_nothing_at_a_restart_is_forgotten() {
    everywhere(|| {
        let (log, allowed) = (Log::default(), Arc::new(AtomicBool::new(true)));
        let sup = eager(Supervisor::dynamic()).start().unwrap();
        let a = sup.start_child(when(&allowed, &log, "a")).unwrap();
        allowed.store(false, Ordering::SeqCst);
        assert!(matches!(a.send(End::Panic), Err(SendError::Died(_))));
        a.join();
        until(|| sup.is_empty());
        let another = sup.start_child(puppet("a", &log)).unwrap();
        assert_eq!(another.send(Add(3)).unwrap(), 3);
    });
}

#[test]
fn a_significant_child_whose_factory_makes_nothing_at_a_restart_shuts_its_supervisor_down() {
    everywhere(|| {
        for how in [AutoShutdown::Any, AutoShutdown::All] {
            for supervisor in [Supervisor::one_for_one, Supervisor::one_for_all, Supervisor::dynamic] {
                let (log, allowed) = (Log::default(), Arc::new(AtomicBool::new(true)));
                let sup = eager(supervisor()).auto_shutdown(how).start().unwrap();
                let significant = when(&allowed, &log, "s").restart(Restart::Transient).significant();
                let significant = sup.start_child(significant).unwrap();
                sup.start_child(puppet("a", &log)).unwrap();
                allowed.store(false, Ordering::SeqCst);
                let _ = significant.send(End::Panic);
                assert_eq!(sup.addr().join_timeout(LONG), Ok(Exit::Normal));
            }
        }
    });
}
