//! What a supervisor does that was told nothing: the documented numbers, in virtual time.

use std::ops::Range;
use std::time::{Duration, Instant};

use green::actor::testkit::run;
use green::actor::{Actor, Child, Context, Exit, Handler, Message, Supervisor, SupervisorAddr};
use green::time::now;

use crate::help::Gate;
use crate::{End, HOUR, Log, get, puppet, restarts, runs};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Fails the child "a", and gives how long it was away.
fn away(sup: &SupervisorAddr) -> Duration {
    let (before, died) = (restarts(sup, "a"), now());
    let _ = get(sup, "a").send(End::Fail);
    while !(restarts(sup, "a") > before && runs(sup, "a")) {
        green::sleep(MS);
    }
    now() - died
}

/// The default back-off's delay of so many milliseconds, with its jitter of a fifth, and what a look takes.
fn about(ms: u32) -> Range<Duration> {
    ms * MS * 4 / 5..ms * MS * 6 / 5 + 2 * MS
}

#[test]
fn three_deaths_in_five_seconds_are_borne_and_not_a_fourth() {
    run(|| {
        let sup = Supervisor::one_for_one().child(puppet("a", &Log::default())).start().unwrap();
        for _ in 0..3 {
            away(&sup);
            green::sleep(SECOND);
        }
        assert!(!sup.is_ended());
        let _ = get(&sup, "a").send(End::Fail);
        assert!(matches!(sup.join(), Exit::Escalated { .. }));

        let sup = Supervisor::one_for_one().child(puppet("a", &Log::default())).start().unwrap();
        for _ in 0..6 {
            away(&sup);
            green::sleep(2 * SECOND);
        }
        assert!(!sup.is_ended(), "three are in the window at most");
    });
}

#[test]
fn the_delay_begins_with_fifty_milliseconds_doubles_and_begins_anew_after_a_long_life() {
    run(|| {
        let sup = Supervisor::one_for_one().child(puppet("a", &Log::default())).start().unwrap();
        for delay in [50, 100, 200] {
            let away = away(&sup);
            assert!(about(delay).contains(&away), "{away:?}, not {delay} ms");
        }
        // As long as the longest delay, and longer than the window.
        green::sleep(9 * SECOND);
        let still = away(&sup);
        assert!(about(400).contains(&still), "{still:?}");
        green::sleep(11 * SECOND);
        let anew = away(&sup);
        assert!(about(50).contains(&anew), "{anew:?}");
    });
}

/// Its second start fails, and all that follow, each after eleven seconds.
struct SlowToFail {
    is_first: bool,
    begins: std::sync::mpsc::Sender<Instant>,
}
impl Actor for SlowToFail {
    fn started(&mut self, _: &mut Context<Self>) -> Result<(), Exit> {
        self.begins.send(now()).unwrap();
        if self.is_first {
            return Ok(());
        }
        green::sleep(11 * SECOND);
        Err(Exit::Error("too late".to_owned()))
    }
}

/// The time that a start took to fail was taken for a long life: each next one was 50 ms later, for ever.
#[test]
fn the_delay_doubles_when_starts_fail_however_long_each_takes() {
    run(|| {
        let (begins, begun) = std::sync::mpsc::channel();
        let mut is_first = true;
        let child = Child::new("slow", move || SlowToFail {
            is_first: std::mem::replace(&mut is_first, false),
            begins: begins.clone(),
        });
        let sup = Supervisor::one_for_one().child(child).start().unwrap();
        sup.get::<SlowToFail>("slow").unwrap().kill();
        green::sleep(60 * SECOND);
        let begins: Vec<_> = begun.try_iter().skip(1).take(4).collect();
        let delays: Vec<_> = begins.windows(2).map(|two| two[1] - two[0] - 11 * SECOND).collect();
        let doubled = delays.iter().zip([100, 200, 400]).all(|(delay, ms)| about(ms).contains(delay));
        assert!(doubled && delays.len() == 3, "{delays:?}");
        sup.shutdown(SECOND);
    });
}

#[test]
fn children_that_die_together_do_not_come_back_together() {
    run(|| {
        let (birth, births) = std::sync::mpsc::channel();
        let flaky = |name: usize| {
            let (birth, log) = (birth.clone(), Log::default());
            Child::new(name.to_string(), move || {
                birth.send(now()).unwrap();
                crate::Puppet { name: String::new(), log: log.clone(), sum: 0 }
            })
        };
        let tree = Supervisor::one_for_one().intensity(32, SECOND);
        let sup = (0..32).fold(tree, |tree, name| tree.child(flaky(name))).start().unwrap();
        assert_eq!(births.try_iter().count(), 32);
        let died = now();
        (0..32).for_each(|name| drop(get(&sup, &name.to_string()).tell(End::Fail)));
        green::sleep(SECOND);
        let mut away: Vec<_> = births.try_iter().map(|born| born - died).collect();
        away.sort();
        assert_eq!(away.len(), 32);
        assert!(away.iter().all(|away| about(50).contains(away)), "{away:?}");
        // Spread over most of the 20 ms, no two at the same moment.
        assert!(away[31] - away[0] > 10 * MS, "{away:?}");
        away.dedup();
        assert!(away.len() > 28, "{away:?}");
        sup.shutdown(SECOND);
    });
}

/// Sleeps for an hour in a handler.
struct Sleeper;
struct Sleep(Gate);
impl Message for Sleep {
    type Reply = ();
}
impl Actor for Sleeper {}
impl Handler<Sleep> for Sleeper {
    fn handle(&mut self, Sleep(begun): Sleep, _: &mut Context<Self>) {
        begun.open();
        green::sleep(HOUR);
    }
}

/// How long a stopped supervisor of a sleeper takes to end, and how the sleeper ends.
fn end_of(sleeper: impl Fn() -> Child<Sleeper> + Send + 'static, is_nested: bool) -> (Duration, Exit) {
    let below = Supervisor::one_for_one();
    let sup = if is_nested {
        below.child(Child::supervisor("inner", move || Supervisor::one_for_one().child(sleeper()))).start().unwrap()
    } else {
        below.child(sleeper()).start().unwrap()
    };
    let team = if is_nested { sup.supervisor("inner").unwrap() } else { sup.clone() };
    let (sleeper, begun) = (team.get::<Sleeper>("sleeper").unwrap(), Gate::new());
    sleeper.tell(Sleep(begun.clone())).unwrap();
    begun.wait();
    let start = now();
    sup.stop();
    assert_eq!(sup.join(), Exit::Shutdown);
    (now() - start, sleeper.join())
}

#[test]
fn a_child_has_five_seconds_to_end_and_without_a_bound_as_long_as_it_takes() {
    run(|| {
        let sleeper = || Child::new("sleeper", || Sleeper);
        for is_nested in [false, true] {
            let (took, exit) = end_of(sleeper, is_nested);
            assert_eq!(exit, Exit::Killed);
            assert!((5 * SECOND..5 * SECOND + 5 * MS).contains(&took), "{took:?}");
            let (took, exit) = end_of(move || sleeper().shutdown(Duration::MAX), is_nested);
            assert_eq!(exit, Exit::Shutdown);
            assert!((HOUR - SECOND..HOUR + SECOND).contains(&took), "{took:?}");
        }
    });
}
