//! How many restarts are borne, and what follows.

use std::time::Duration;

use green::actor::{Actor, Backoff, Child, Context, Exit, Pool, Restart, StartError, Supervisor};

use crate::help::{everywhere, until};
use crate::{End, HOUR, Log, eager, end, get, puppet, restarts, runs};

#[test]
fn more_restarts_than_the_intensity_terminate_all_children_and_then_the_supervisor() {
    everywhere(|| {
        let log = Log::default();
        let two = Supervisor::one_for_one().backoff(Backoff::none()).intensity(2, HOUR);
        let sup = two.child(puppet("a", &log)).child(puppet("b", &log)).start().unwrap();
        // Of all children together.
        end(&sup, "a", End::Panic);
        end(&sup, "b", End::Panic);
        assert!(!sup.is_ended());
        log.take();
        let _ = get(&sup, "b").send(End::Fail);
        let last = Box::new(Exit::Error("as told".to_owned()));
        assert_eq!(sup.join(), Exit::Escalated { child: "b".into(), last });
        assert_eq!(log.take(), ["-b", "-a"]);
    });
}

#[test]
fn an_intensity_of_zero_bears_no_restart() {
    everywhere(|| {
        let log = Log::default();
        let sup = Supervisor::one_for_one().intensity(0, HOUR).child(puppet("a", &log)).start().unwrap();
        let _ = get(&sup, "a").send(End::Quit);
        assert_eq!(sup.join(), Exit::Escalated { child: "a".into(), last: Box::new(Exit::Normal) });
    });
}

#[test]
fn the_next_higher_supervisor_restarts_the_one_that_has_given_up_or_terminates_itself() {
    everywhere(|| {
        let log = Log::default();
        let inner_log = log.clone();
        let inner = move || {
            let one = Supervisor::one_for_one().backoff(Backoff::none()).intensity(0, HOUR);
            one.child(puppet("a", &inner_log))
        };
        let outer = Supervisor::one_for_one().backoff(Backoff::none()).intensity(1, HOUR);
        let sup = outer.child(Child::supervisor("inner", inner)).start().unwrap();
        let first = get(&sup.supervisor("inner").unwrap(), "a");
        let _ = first.send(End::Panic);
        until(|| restarts(&sup, "inner") == 1 && runs(&sup, "inner"));
        first.join();
        let second = get(&sup.supervisor("inner").unwrap(), "a");
        let _ = second.send(End::Fail);
        let last = Box::new(Exit::Error("as told".to_owned()));
        let inner = Box::new(Exit::Escalated { child: "a".into(), last });
        assert_eq!(sup.join(), Exit::Escalated { child: "inner".into(), last: inner });
        assert_eq!(log.take(), ["+a", "-a", "+a", "-a"]);
    });
}

/// In OTP a supervisor that gives up ends with `shutdown`, which is no abnormal end.
#[test]
fn a_transient_supervisor_that_has_given_up_is_started_again() {
    everywhere(|| {
        let log = Log::default();
        let inner_log = log.clone();
        let inner = move || Supervisor::one_for_one().intensity(0, HOUR).child(puppet("a", &inner_log));
        let inner = Child::supervisor("inner", inner).restart(Restart::Transient);
        let sup = eager(Supervisor::one_for_one()).child(inner).start().unwrap();
        let _ = get(&sup.supervisor("inner").unwrap(), "a").send(End::Fail);
        until(|| restarts(&sup, "inner") == 1 && runs(&sup, "inner"));
        assert_eq!(log.take(), ["+a", "-a", "+a"]);
    });
}

/// Dies at once: for ever, or so often.
struct ShortLived;
impl Actor for ShortLived {
    fn started(&mut self, ctx: &mut Context<Self>) -> Result<(), Exit> {
        ctx.fail(Exit::Error("at once".to_owned()));
        Ok(())
    }
}

#[test]
fn a_child_that_dies_at_once_for_ever_is_given_up() {
    everywhere(|| {
        let often = Supervisor::one_for_one().backoff(Backoff::none()).intensity(100, HOUR);
        let sup = often.child(Child::new("short", || ShortLived)).start().unwrap();
        let last = Box::new(Exit::Error("at once".to_owned()));
        assert_eq!(sup.join(), Exit::Escalated { child: "short".into(), last });
    });
}

#[test]
fn a_restart_that_fails_is_tried_again_and_counts() {
    everywhere(|| {
        let log = Log::default();
        let (name, written) = ("a".to_owned(), log.clone());
        let mut lives = 0;
        let child = Child::new("a", move || {
            lives += 1;
            match lives {
                2 => Err(Exit::Error("no second life".to_owned())),
                3 => panic!("no third life"),
                _ => Ok(crate::Puppet { name: name.clone(), log: written.clone(), sum: 0 }),
            }
        });
        let sup = eager(Supervisor::one_for_one()).child(child).start().unwrap();
        let a = get(&sup, "a");
        let _ = a.send(End::Panic);
        assert_eq!(a.send(crate::Add(3)).unwrap(), 3);
        until(|| runs(&sup, "a"));
        assert_eq!(restarts(&sup, "a"), 3);
        let twice = Supervisor::one_for_one().intensity(1, HOUR).backoff(Backoff::none());
        let mut starts = 0;
        let child = Child::new("once", move || {
            starts += 1;
            if starts == 1 { Ok(ShortLived) } else { Err(Exit::Error("only once".to_owned())) }
        });
        let exit = twice.child(child).start().unwrap().join();
        assert_eq!(exit.to_string(), "gave up its child \"once\", which failed: only once");
    });
}

#[test]
fn a_window_of_zero_is_an_error() {
    let zero = Supervisor::one_for_one().intensity(3, Duration::ZERO).start();
    assert!(matches!(zero, Err(StartError::ZeroWindow)));
    // Of one that is a child, or a part of a pool, the exit says so.
    let inner = || Supervisor::one_for_one().intensity(3, Duration::ZERO);
    let error = Supervisor::one_for_one().child(Child::supervisor("inner", inner)).start().unwrap_err();
    assert!(matches!(&error, StartError::Child { name, .. } if &**name == "inner"), "{error:?}");
    let pool = Pool::shared(1, || ShortLived).intensity(3, Duration::ZERO).start().join();
    for text in [error.to_string(), pool.to_string()] {
        assert!(text.contains("the window of a supervisor's intensity is zero"), "{text}");
    }
}

#[test]
fn what_is_not_restarted_does_not_count() {
    everywhere(|| {
        let log = Log::default();
        let sup = Supervisor::one_for_one().intensity(0, HOUR).start().unwrap();
        for _ in 0..5 {
            let a = sup.start_child(puppet("a", &log).restart(Restart::Temporary)).unwrap();
            let _ = a.send(End::Panic);
            until(|| sup.is_empty());
        }
        assert!(!sup.is_ended());
    });
}
