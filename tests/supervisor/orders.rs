//! Children that are started, terminated, restarted and removed at run time.

use green::actor::{Actor, AutoShutdown, Child, ChildError, Context, Exit, Restart, StartError, Supervisor};

use crate::help::{everywhere, until};
use crate::{Add, End, Log, Puppet, eager, end, get, has_ended, never, puppet, restarts, runs, three, waits};

#[test]
fn start_child_of_a_name_that_is_there_is_an_error_whether_it_runs_or_not() {
    everywhere(|| {
        let log = Log::default();
        let sup = three(Supervisor::one_for_one(), &log);
        assert_eq!(sup.start_child(puppet("a", &log)), Err(ChildError::Duplicate("a".into())));
        sup.terminate("a").unwrap();
        assert_eq!(sup.start_child(puppet("a", &log)), Err(ChildError::Duplicate("a".into())));
        assert_eq!(log.take(), ["-a"]);
    });
}

#[test]
fn start_child_that_fails_discards_the_specification() {
    everywhere(|| {
        let sup = Supervisor::one_for_one().start().unwrap();
        let never = Child::new("x", || -> Result<Puppet, Exit> { Err(Exit::Error("no".to_owned())) });
        let exit = Exit::Error("no".to_owned());
        assert_eq!(sup.start_child(never), Err(ChildError::Start { name: "x".into(), exit }));
        assert!(sup.is_empty());
        assert_eq!(sup.terminate("x"), Err(ChildError::Unknown("x".into())));
    });
}

#[test]
fn terminate_child_keeps_the_specification_and_restart_child_uses_it() {
    everywhere(|| {
        let log = Log::default();
        let sup = three(Supervisor::one_for_one(), &log);
        let before = get(&sup, "b");
        sup.terminate("b").unwrap();
        sup.terminate("b").unwrap(); // one that has ended already
        assert_eq!(sup.len(), 3);
        assert!(has_ended(&sup, "b"));
        assert_eq!(before.join(), Exit::Shutdown);
        assert!(before.send(Add(1)).is_err());
        sup.restart("b").unwrap();
        assert_eq!(get(&sup, "b").send(Add(1)).unwrap(), 1);
        end(&sup, "b", End::Panic);
        assert_eq!(log.take(), ["-b", "+b", "-b", "+b"]);
    });
}

#[test]
fn terminate_child_of_a_temporary_one_deletes_it_and_of_none_is_an_error() {
    everywhere(|| {
        let log = Log::default();
        let sup =
            eager(Supervisor::one_for_one()).child(puppet("t", &log).restart(Restart::Temporary)).start().unwrap();
        sup.terminate("t").unwrap();
        assert!(sup.is_empty());
        for refused in [sup.terminate("t"), sup.restart("t"), sup.remove("t")] {
            assert_eq!(refused, Err(ChildError::Unknown("t".into())));
        }
    });
}

#[test]
fn restart_child_of_one_that_runs_is_an_error_and_one_that_fails_keeps_the_specification() {
    everywhere(|| {
        let log = Log::default();
        let mut starts = 0;
        let (name, written) = ("a".to_owned(), log.clone());
        let child = Child::new("a", move || {
            starts += 1;
            if starts == 2 {
                Err(Exit::Killed)
            } else {
                Ok(Puppet { name: name.clone(), log: written.clone(), sum: 0 })
            }
        });
        let sup = eager(Supervisor::one_for_one()).child(child).start().unwrap();
        assert_eq!(sup.restart("a"), Err(ChildError::Running("a".into())));
        sup.terminate("a").unwrap();
        assert_eq!(sup.restart("a"), Err(ChildError::Start { name: "a".into(), exit: Exit::Killed }));
        sup.restart("a").unwrap();
        assert!(runs(&sup, "a"));
    });
}

#[test]
fn delete_child_of_one_that_runs_is_an_error_and_frees_the_name_of_one_that_does_not() {
    everywhere(|| {
        let log = Log::default();
        let sup = three(Supervisor::one_for_one(), &log);
        assert_eq!(sup.remove("a"), Err(ChildError::Running("a".into())));
        sup.terminate("a").unwrap();
        sup.remove("a").unwrap();
        assert_eq!((sup.len(), sup.remove("a")), (2, Err(ChildError::Unknown("a".into()))));
        sup.start_child(puppet("a", &log)).unwrap();
    });
}

#[test]
fn a_child_that_waits_for_its_restart_can_be_terminated_and_then_started() {
    everywhere(|| {
        for restart in [Restart::Permanent, Restart::Transient] {
            let log = Log::default();
            let a = puppet("a", &log).restart(restart).backoff(never());
            let sup = eager(Supervisor::one_for_one()).child(a).start().unwrap();
            let _ = get(&sup, "a").send(End::Fail);
            until(|| waits(&sup, "a"));
            assert_eq!(sup.restart("a"), Err(ChildError::Running("a".into())));
            assert_eq!(sup.remove("a"), Err(ChildError::Running("a".into())));
            sup.terminate("a").unwrap();
            assert!(has_ended(&sup, "a"), "{}", sup.tree());
            sup.restart("a").unwrap();
            assert!(runs(&sup, "a"));
            let _ = get(&sup, "a").send(End::Quit);
            match restart {
                Restart::Transient => until(|| has_ended(&sup, "a")),
                _ => until(|| waits(&sup, "a")),
            }
        }
    });
}

#[test]
fn a_dynamic_supervisor_forgets_what_is_not_restarted() {
    everywhere(|| {
        let log = Log::default();
        let sup = eager(Supervisor::dynamic()).start().unwrap();
        for name in ["a", "b", "c"] {
            sup.start_child(puppet(name, &log).restart(Restart::Transient)).unwrap();
        }
        end(&sup, "a", End::Panic);
        let _ = get(&sup, "b").send(End::Quit);
        until(|| sup.len() == 2);
        sup.terminate("c").unwrap();
        assert_eq!((sup.len(), sup.terminate("b")), (1, Err(ChildError::Unknown("b".into()))));
        assert_eq!(sup.shutdown(crate::LONG).stopped, 1 + 1); // "c" before
    });
}

#[test]
fn a_wrong_type_and_an_unknown_name_are_errors() {
    struct Other;
    impl Actor for Other {}
    let log = Log::default();
    let sup = three(Supervisor::one_for_one(), &log);
    assert!(matches!(sup.get::<Other>("a"), Err(ChildError::WrongType { name, actor })
        if &*name == "a" && actor.ends_with("Puppet")));
    assert_eq!(sup.get::<Other>("z"), Err(ChildError::Unknown("z".into())));
    assert!(matches!(sup.supervisor("a"), Err(ChildError::WrongType { .. })));
    sup.stop();
    sup.join();
    assert_eq!(sup.terminate("a"), Err(ChildError::Closed));
    assert_eq!(sup.get::<Puppet>("a"), Err(ChildError::Unknown("a".into())));
}

#[test]
fn auto_shutdown_any_significant_ends_the_supervisor_with_the_first_that_ends_by_itself() {
    everywhere(|| {
        let log = Log::default();
        let significant = puppet("s", &log).restart(Restart::Transient).significant();
        let plain = puppet("p", &log).restart(Restart::Transient);
        let any = eager(Supervisor::one_for_one()).auto_shutdown(AutoShutdown::Any);
        let sup = any.child(puppet("a", &log)).child(significant).child(plain).start().unwrap();
        let _ = get(&sup, "p").send(End::Quit);
        end(&sup, "s", End::Panic);
        let _ = get(&sup, "s").send(End::Quit);
        assert_eq!(sup.join(), Exit::Normal);
        assert_eq!(log.count("-a"), 1);
    });
}

#[test]
fn auto_shutdown_all_significant_waits_for_the_last_and_does_not_count_those_that_were_terminated() {
    everywhere(|| {
        let log = Log::default();
        let significant = |name| puppet(name, &log).restart(Restart::Temporary).significant();
        let all = eager(Supervisor::one_for_one()).auto_shutdown(AutoShutdown::All);
        let sup = all.child(significant("a")).child(significant("b")).child(significant("c")).start().unwrap();
        let _ = get(&sup, "a").send(End::Quit);
        sup.terminate("b").unwrap();
        assert!(!sup.is_ended());
        let _ = get(&sup, "c").send(End::Panic);
        assert_eq!(sup.join(), Exit::Normal);
    });
}

#[test]
fn a_supervisor_that_shuts_down_by_itself_has_ended_normally_for_the_next_higher_one() {
    everywhere(|| {
        let log = Log::default();
        let inner_log = log.clone();
        let inner = move || {
            let any = eager(Supervisor::one_for_one()).auto_shutdown(AutoShutdown::Any);
            any.child(puppet("s", &inner_log).restart(Restart::Transient).significant()).child(puppet("b", &inner_log))
        };
        let inner = Child::supervisor("inner", inner).restart(Restart::Transient);
        let sup = eager(Supervisor::one_for_one()).child(inner).start().unwrap();
        let _ = get(&sup.supervisor("inner").unwrap(), "s").send(End::Quit);
        until(|| has_ended(&sup, "inner"));
        assert_eq!((restarts(&sup, "inner"), log.take().len()), (0, 4));
        assert!(!sup.is_ended());
    });
}

#[test]
fn a_significant_child_that_a_siblings_death_terminates_shuts_nothing_down() {
    everywhere(|| {
        let log = Log::default();
        let any = eager(Supervisor::one_for_all()).auto_shutdown(AutoShutdown::Any);
        let significant = puppet("s", &log).restart(Restart::Transient).significant();
        let sup = any.child(puppet("a", &log)).child(significant).start().unwrap();
        end(&sup, "a", End::Panic);
        until(|| log.len() == 6);
        assert_eq!(log.take(), ["+a", "+s", "-a", "-s", "+a", "+s"]);
        assert!(!sup.is_ended());
    });
}

#[test]
fn a_significant_child_that_was_restarted_with_its_predecessor_still_shuts_its_supervisor_down() {
    everywhere(|| {
        let log = Log::default();
        let any = eager(Supervisor::rest_for_one()).auto_shutdown(AutoShutdown::Any);
        let significant = puppet("s", &log).restart(Restart::Transient).significant();
        let sup = any.child(puppet("a", &log)).child(significant).start().unwrap();
        end(&sup, "a", End::Panic);
        until(|| runs(&sup, "s"));
        assert_eq!(log.take(), ["+a", "+s", "-a", "-s", "+a", "+s"]);
        let _ = get(&sup, "s").send(End::Quit);
        assert_eq!(sup.join(), Exit::Normal);
    });
}

#[test]
fn temporary_significant_children_that_a_siblings_death_has_ended_shut_nothing_down() {
    everywhere(|| {
        let log = Log::default();
        let significant = |name| puppet(name, &log).restart(Restart::Temporary).significant();
        let all = eager(Supervisor::one_for_all()).auto_shutdown(AutoShutdown::All);
        let sup = all.child(puppet("a", &log)).child(significant("s")).child(significant("t")).start().unwrap();
        end(&sup, "a", End::Panic);
        assert_eq!((sup.len(), log.take().join(" ")), (1, "+a +s +t -a -t -s +a".to_owned()));
        sup.start_child(significant("u")).unwrap();
        assert!(!sup.is_ended());
        let _ = get(&sup, "u").send(End::Quit);
        assert_eq!(sup.join(), Exit::Normal);
    });
}

#[test]
fn a_significant_child_that_is_permanent_or_whose_supervisor_does_not_shut_down_by_itself_is_refused() {
    let is_taken = |auto_shutdown, restart| {
        let log = Log::default();
        let significant = || puppet("s", &log).restart(restart).significant();
        let supervisor = || eager(Supervisor::one_for_one()).auto_shutdown(auto_shutdown);
        let first = supervisor().child(significant()).start();
        let sup = supervisor().start().unwrap();
        let added = sup.start_child(significant());
        assert_eq!(first.is_ok(), added.is_ok());
        let Err(error) = first else { return true };
        assert!(matches!(&error, StartError::Significant(name) if &**name == "s"), "{error:?}");
        assert!(error.to_string().starts_with("the child \"s\" cannot be significant"), "{error}");
        assert_eq!(added, Err(ChildError::Significant("s".into())));
        assert_eq!((log.len(), sup.len()), (0, 0));
        false
    };
    for restart in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
        assert!(!is_taken(AutoShutdown::Never, restart));
        assert_eq!(is_taken(AutoShutdown::Any, restart), restart != Restart::Permanent);
        assert_eq!(is_taken(AutoShutdown::All, restart), restart != Restart::Permanent);
    }
}

/// Asks its supervisor for a sibling, while it starts.
struct Eager(green::channel::Receiver<green::actor::SupervisorAddr>, Log);
impl Actor for Eager {
    fn started(&mut self, _: &mut Context<Self>) -> Result<(), Exit> {
        let sup = self.0.recv().unwrap();
        let refused = sup.start_child(puppet("sibling", &self.1));
        assert_eq!(refused, Err(ChildError::Unanswered));
        assert!(sup.get::<Eager>("eager").is_ok()); // waits for nobody
        Ok(())
    }
}

#[test]
fn a_child_that_asks_its_supervisor_while_that_waits_for_it_is_told_so() {
    everywhere(|| {
        let (log, sup) = (Log::default(), eager(Supervisor::one_for_one()).start().unwrap());
        let (sender, receiver) = green::channel::bounded(1);
        sender.send(sup.clone()).unwrap();
        sup.start_child(Child::new("eager", move || Eager(receiver.clone(), log.clone()))).unwrap();
    });
}
