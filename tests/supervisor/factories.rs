//! Factories that do not go in silence: what they have captured panics when it is dropped.

use green::actor::{Child, ChildError, Restart, Supervisor};

use crate::help::{bounded, everywhere, until};
use crate::{Add, End, HOUR, LONG, Log, Puppet, eager, get};

/// Panics when it is dropped.
struct Bomb(Log);
impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.write("bang");
        panic!("bang");
    }
}

fn bombed(name: &str, log: &Log) -> Child<Puppet> {
    let (text, bomb) = (name.to_owned(), Bomb(log.clone()));
    Child::new(name, move || Puppet { name: text.clone(), log: bomb.0.clone(), sum: 0 })
}

/// It ended the supervisor, and all its children.
#[test]
fn a_factory_that_panics_when_its_child_is_forgotten_ends_nobody_else() {
    everywhere(|| {
        let log = Log::default();
        let sup = eager(Supervisor::dynamic()).start().unwrap();
        let short = sup.start_child(bombed("short", &log).restart(Restart::Temporary)).unwrap();
        let ended = sup.start_child(bombed("ended", &log)).unwrap();
        let stays = sup.start_child(bombed("stays", &log)).unwrap();
        assert_eq!(sup.start_child(bombed("stays", &log)), Err(ChildError::Duplicate("stays".into())));
        assert!(matches!(sup.start_child(bombed("a\0b", &log)), Err(ChildError::Start { .. })));
        short.send(End::Quit).unwrap();
        until(|| sup.len() == 2);
        sup.terminate("ended").unwrap();
        assert!(ended.is_ended());
        until(|| log.count("bang") == 4);
        assert_eq!(stays.send(Add(1)).unwrap(), 1);
        let end = sup.shutdown(LONG);
        assert_eq!((end.stopped, end.is_clean()), (2, true), "{end}");
        assert_eq!(log.count("bang"), 5);
    });
}

/// It ended the supervisor: what a child's calls have captured was not taken for the factory's.
#[test]
fn calls_at_switches_that_panic_when_their_child_is_forgotten_end_nobody_else() {
    bounded(|| {
        let log = Log::default();
        let sup = eager(Supervisor::dynamic()).start().unwrap();
        let (bomb, kept) = (Bomb(log.clone()), log.clone());
        let calls = move || {
            let _ = &bomb;
            (|| (), || ())
        };
        let child = Child::new("short", move || Puppet { name: "short".to_owned(), log: kept.clone(), sum: 0 });
        let short = sup.start_child(child.on_switch(calls).restart(Restart::Temporary)).unwrap();
        let stays = sup.start_child(bombed("stays", &log)).unwrap();
        short.send(End::Quit).unwrap();
        until(|| log.count("bang") == 1);
        assert_eq!(stays.send(Add(1)).unwrap(), 1);
        assert!(sup.shutdown(LONG).is_clean());
    });
}

/// Several of them ended the process.
#[test]
fn factories_that_all_panic_at_the_end_of_their_supervisor_leave_the_order_of_that_as_it_is() {
    bounded(|| {
        let log = Log::default();
        let three =
            ["a", "b", "c"].into_iter().fold(Supervisor::one_for_one(), |all, name| all.child(bombed(name, &log)));
        let sup = three.start().unwrap();
        let first = get(&sup, "a");
        log.take();
        assert!(sup.shutdown(HOUR).is_clean());
        assert_eq!(log.take(), ["-c", "bang", "-b", "bang", "-a", "bang"]);
        assert!(first.is_ended());
    });
}

/// Children that no supervisor has come to have are dropped with what describes it.
#[test]
fn factories_that_all_panic_when_no_supervisor_is_made_of_them_do_not_end_the_process() {
    let log = Log::default();
    let twice = Supervisor::one_for_one().child(bombed("a", &log)).child(bombed("a", &log));
    assert!(twice.start().is_err());
    assert_eq!(log.count("bang"), 2);
}
