//! Starts in order, and starts that fail.

use green::actor::{Actor, Child, Context, Exit, Restart, StartError, Supervisor};

use crate::help::everywhere;
use crate::{Log, Puppet, eager, puppet, three};

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
