//! Which children are started again.

use green::actor::{ChildError, Restart, SendError, Supervisor};

use crate::help::{everywhere, until};
use crate::{Add, End, Log, Puppet, eager, end, get, has_ended, puppet, restarts, runs};

#[test]
fn a_permanent_child_is_always_restarted() {
    everywhere(|| {
        let log = Log::default();
        let sup = eager(Supervisor::one_for_one()).child(puppet("a", &log)).start().unwrap();
        for how in [End::Panic, End::Fail, End::Quit] {
            end(&sup, "a", how);
        }
        get(&sup, "a").stop();
        until(|| restarts(&sup, "a") == 4 && runs(&sup, "a"));
        get(&sup, "a").kill();
        until(|| restarts(&sup, "a") == 5 && runs(&sup, "a"));
        assert_eq!(log.count("+a"), 6);
    });
}

#[test]
fn a_transient_child_is_restarted_only_if_it_terminates_abnormally() {
    everywhere(|| {
        let log = Log::default();
        let child = |name| puppet(name, &log).restart(Restart::Transient);
        let sup = eager(Supervisor::one_for_one()).child(child("a")).child(child("b")).start().unwrap();
        end(&sup, "a", End::Panic);
        end(&sup, "a", End::Fail);
        get(&sup, "a").kill();
        until(|| restarts(&sup, "a") == 3 && runs(&sup, "a"));
        // Normally, and by a shutdown from outside.
        let _ = get(&sup, "a").send(End::Quit);
        get(&sup, "b").stop();
        until(|| has_ended(&sup, "a") && has_ended(&sup, "b"));
        // Its supervisor may not have looked yet.
        until(|| sup.get::<Puppet>("a") == Err(ChildError::Ended("a".into())));
        assert_eq!((log.count("+a"), log.count("+b")), (4, 1));
    });
}

#[test]
fn a_temporary_child_is_never_restarted_and_its_specification_is_deleted() {
    everywhere(|| {
        let log = Log::default();
        let child = |name| puppet(name, &log).restart(Restart::Temporary);
        let sup = eager(Supervisor::one_for_one()).child(child("a")).child(child("b")).start().unwrap();
        let (a, b) = (get(&sup, "a"), get(&sup, "b"));
        assert!(matches!(a.send(End::Panic), Err(SendError::Died(_))));
        b.send(End::Quit).unwrap();
        assert_eq!((a.join().is_normal(), b.join().is_normal()), (false, true));
        until(|| sup.is_empty());
        assert_eq!(sup.get::<Puppet>("a"), Err(ChildError::Unknown("a".into())));
        assert_eq!((log.count("+a"), log.count("+b")), (1, 1));
    });
}

#[test]
fn a_temporary_child_is_not_restarted_even_when_a_siblings_death_terminates_it() {
    for strategy in [Supervisor::one_for_all, Supervisor::rest_for_one] {
        everywhere(move || {
            let log = Log::default();
            let temporary = puppet("t", &log).restart(Restart::Temporary);
            let sup = eager(strategy()).child(puppet("a", &log)).child(temporary).start().unwrap();
            end(&sup, "a", End::Panic);
            assert_eq!(sup.get::<Puppet>("t"), Err(ChildError::Unknown("t".into())));
            assert_eq!(log.take(), ["+a", "+t", "-a", "-t", "+a"]);
        });
    }
}

#[test]
fn a_transient_sibling_that_the_supervisor_terminates_is_restarted() {
    everywhere(|| {
        let log = Log::default();
        let transient = puppet("t", &log).restart(Restart::Transient);
        let sup = eager(Supervisor::one_for_all()).child(puppet("a", &log)).child(transient).start().unwrap();
        end(&sup, "a", End::Panic);
        until(|| runs(&sup, "t"));
        assert_eq!(log.take(), ["+a", "+t", "-a", "-t", "+a", "+t"]);
    });
}

#[test]
fn a_child_that_ended_normally_before_is_started_with_its_group() {
    // As OTP does: the group is started, not what ran of it.
    everywhere(|| {
        let log = Log::default();
        let transient = puppet("t", &log).restart(Restart::Transient);
        let sup = eager(Supervisor::one_for_all()).child(puppet("a", &log)).child(transient).start().unwrap();
        let _ = get(&sup, "t").send(End::Quit);
        until(|| has_ended(&sup, "t"));
        end(&sup, "a", End::Panic);
        until(|| runs(&sup, "t"));
        assert_eq!(get(&sup, "t").send(Add(1)).unwrap(), 1);
    });
}
