//! A join is an edge of the wait-for graph: nobody waits in a cycle that leads through one.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use green::actor::{
    Actor, Addr, Builder, Context, Exit, Handler, JoinError, Mailbox, Message, Pool, SendError, Supervisor,
};

use crate::help::{Spot, bounded, until, until_parked};
use crate::{Do, Gate, Get, LONG, Puppet, everywhere};

/// Less than the time-out of an ask: who comes back by then was told.
const AT_ONCE: Duration = Duration::from_secs(3);

/// The last word of a child to its parent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Word {
    Tell,
    Send,
    CallAndWait,
    Join,
    JoinTimeout,
}

const WORDS: [Word; 5] = [Word::Tell, Word::Send, Word::CallAndWait, Word::Join, Word::JoinTimeout];

/// Who waits first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum First {
    Parent,
    Child,
    Whoever,
}

struct Child {
    parent: Addr<Puppet>,
    word: Word,
    before: Gate,
    about: Spot,
    answer: mpsc::Sender<String>,
}

impl Actor for Child {
    fn stopping(&mut self, _: &Exit, _: &mut Context<Self>) {
        self.before.wait();
        let note = Do::new(|_: &mut Puppet, _: &mut Context<Puppet>| ());
        self.about.mark();
        let answer = match self.word {
            Word::Tell => format!("{:?}", self.parent.tell(note)),
            Word::Send => format!("{:?}", self.parent.send(note)),
            Word::CallAndWait => format!("{:?}", self.parent.call(note).and_then(|reply| reply.wait())),
            Word::JoinTimeout => format!("{:?}", self.parent.join_timeout(LONG)),
            Word::Join => {
                let joins = std::panic::AssertUnwindSafe(|| self.parent.join());
                let text = std::panic::catch_unwind(joins).unwrap_err();
                format!("Deadlock: {}", text.downcast_ref::<String>().unwrap())
            }
        };
        self.answer.send(answer).unwrap();
    }
}

/// Fills the mailbox of one whose handler runs.
fn fill(puppet: &Addr<Puppet>) {
    while puppet.try_tell(Do::new(|_: &mut Puppet, _: &mut Context<Puppet>| ())).is_ok() {}
}

#[test]
fn a_parent_that_joins_its_child_and_the_child_that_has_a_last_word_for_it_both_go_on() {
    for word in WORDS {
        for first in [First::Parent, First::Child, First::Whoever] {
            // The one that closes the cycle is told; only where the parent waits first is that the child.
            // See `of_two_that_join_each_other_the_one_that_closes_the_cycle_is_told`.
            if first != First::Parent && matches!(word, Word::Join | Word::JoinTimeout) {
                continue;
            }
            everywhere(move || last_word(word, first));
        }
    }
}

fn last_word(word: Word, first: First) {
    let (puppet, _log) = Puppet::new();
    let parent = Builder::new().mailbox(Mailbox::bounded(2)).start(puppet).unwrap();
    let (before, about) = (Gate::new(), Spot::default());
    let (answer, answers) = mpsc::channel();
    let child = Child { parent: parent.clone(), word, before: before.clone(), about: about.clone(), answer }.start();
    let me = parent.clone();
    let stops = Do::new(move |_: &mut Puppet, _: &mut Context<Puppet>| {
        fill(&me);
        child.stop();
        match first {
            First::Parent => {
                let joins = green::thread::current();
                _ = green::spawn(move || {
                    until_parked(&joins, "actor's end");
                    before.open();
                })
            }
            First::Whoever => before.open(),
            First::Child => {
                before.open();
                until(|| about.waits_for().is_some());
            }
        }
        let start = Instant::now();
        (child.join(), start.elapsed())
    });
    let (exit, took) = parent.send_timeout(stops, LONG).unwrap();
    assert_eq!(exit, Exit::Shutdown);
    assert!(took < AT_ONCE, "{word:?} {first:?}: {took:?}");
    let told = crate::next(&answers);
    let joins = matches!(word, Word::Join | Word::JoinTimeout);
    assert!(told.contains("Deadlock") && told.contains("msg: Some") != joins, "{word:?} {first:?}: {told}");
    assert!(parent.send_timeout(Do::new(|_, _| true), LONG).unwrap(), "the parent lives");
}

/// Has each of them run what it is given, at once.
fn together<R: Send + 'static>(jobs: Vec<(Addr<Puppet>, Do<R>)>) -> Vec<Result<R, SendError<Do<R>>>> {
    let pending: Vec<_> = jobs.into_iter().map(|(actor, job)| actor.call(job).unwrap()).collect();
    pending.into_iter().map(|reply| reply.wait_timeout(LONG)).collect()
}

fn puppets(n: usize) -> Vec<Addr<Puppet>> {
    (0..n).map(|_| Puppet::new().0.start()).collect()
}

#[test]
fn of_two_that_join_each_other_the_one_that_closes_the_cycle_is_told() {
    everywhere(|| {
        for len in 1..5 {
            let actors = puppets(len);
            let jobs = (0..len).map(|at| {
                let (next, me) = (actors[(at + 1) % len].clone(), actors[at].clone());
                let joins = move |_: &mut Puppet, ctx: &mut Context<Puppet>| {
                    let answer = next.join_timeout(LONG);
                    // So that the others can go on.
                    ctx.stop();
                    (answer, me.id())
                };
                (actors[at].clone(), Do::new(joins))
            });
            let start = Instant::now();
            let answers: Vec<_> = together(jobs.collect()).into_iter().map(Result::unwrap).collect();
            assert!(start.elapsed() < AT_ONCE);
            let mut told = 0;
            for (answer, me) in answers {
                match answer {
                    Ok(exit) => assert_eq!(exit, Exit::Normal),
                    Err(JoinError::Deadlock { cycle }) => {
                        assert_eq!((cycle.len(), cycle[0]), (len, me));
                        told += 1;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            assert!(told > 0, "nobody was told");
        }
    });
}

#[test]
fn an_actor_that_joins_itself_panics_and_says_so() {
    everywhere(|| {
        let puppet = puppets(1).pop().unwrap();
        let me = puppet.clone();
        let joins = Do::new(move |_: &mut Puppet, _: &mut Context<Puppet>| {
            assert!(matches!(me.join_timeout(LONG), Err(JoinError::Deadlock { cycle }) if *cycle == [me.id()]));
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| me.join()))
                .map_err(|payload| payload.downcast::<String>().map_or_else(|_| String::new(), |text| *text))
        });
        let text = puppet.send(joins).unwrap().unwrap_err();
        assert!(text.contains("would close a cycle"), "{text}");
    });
}

/// A chain of joins ends in an ask that leads back: whoever closes the cycle, it is the ask that is told.
#[test]
fn in_a_cycle_of_joins_and_an_ask_the_ask_is_told() {
    everywhere(|| {
        for (len, last) in [(2, 0), (3, 0), (3, 2), (4, 1), (6, 5), (6, 0)] {
            let actors = puppets(len);
            let gates: Vec<_> = (0..len).map(|_| Gate::new()).collect();
            let spots: Vec<_> = (0..len).map(|_| Spot::default()).collect();
            let jobs = (0..len).map(|at| {
                let (next, gates, spots) = (actors[(at + 1) % len].clone(), gates.clone(), spots.clone());
                let waits = move |_: &mut Puppet, ctx: &mut Context<Puppet>| {
                    gates[at].open();
                    gates.iter().for_each(Gate::wait);
                    spots[at].mark();
                    if at == last {
                        // All edges but this one stand by then.
                        let stands = |(other, spot): (usize, &Spot)| other == at || spot.waits_for().is_some();
                        until(|| spots.iter().enumerate().all(stands));
                    }
                    if at == 0 {
                        let answer = next.send_timeout(Do::new(|_, _| ()), LONG);
                        ctx.stop();
                        matches!(answer, Err(SendError::Deadlock { msg: Some(_), cycle }) if cycle.len() == len)
                    } else {
                        let exit = next.join();
                        ctx.stop();
                        exit == Exit::Normal
                    }
                };
                (actors[at].clone(), Do::new(waits))
            });
            let start = Instant::now();
            let answers: Vec<_> = together(jobs.collect()).into_iter().map(Result::unwrap).collect();
            assert!(answers.iter().all(|as_it_should| *as_it_should), "{len}, {last}: {answers:?}");
            assert!(start.elapsed() < AT_ONCE, "{len}, {last}: {:?}", start.elapsed());
        }
    });
}

#[test]
fn an_ask_that_is_being_handled_is_told_when_its_answerer_joins_the_asker() {
    everywhere(|| {
        let [asker, answerer] = puppets(2).try_into().unwrap();
        let (me, stops) = (answerer.clone(), asker.clone());
        let asks = Do::new(move |_: &mut Puppet, ctx: &mut Context<Puppet>| {
            let joins = Do::new(move |_: &mut Puppet, _: &mut Context<Puppet>| stops.join());
            ctx.stop();
            matches!(me.send_timeout(joins, LONG), Err(SendError::Deadlock { msg: None, cycle }) if cycle.len() == 2)
        });
        let start = Instant::now();
        assert!(asker.send_timeout(asks, LONG).unwrap());
        assert!(start.elapsed() < AT_ONCE);
        assert!(answerer.send_timeout(Do::new(|_, _| true), LONG).unwrap(), "its join is over");
    });
}

#[test]
fn a_join_with_a_time_out_ends_by_it_and_by_the_deadline_of_the_handler() {
    everywhere(|| {
        let [parent, child] = puppets(2).try_into().unwrap();
        assert_eq!(child.join_timeout(Duration::from_millis(1)), Err(JoinError::Timeout));
        let (sender, answer) = mpsc::channel();
        let joined = child.clone();
        let joins = Do::new(move |_: &mut Puppet, _: &mut Context<Puppet>| {
            sender.send(joined.join_timeout(LONG)).unwrap();
        });
        let start = Instant::now();
        // The reply may come with the deadline.
        assert!(!matches!(parent.send_timeout(joins, Duration::from_millis(20)), Err(SendError::Timeout(Some(_)))));
        assert_eq!(crate::next(&answer), Err(JoinError::Timeout));
        assert!(start.elapsed() < AT_ONCE);
        child.stop();
        assert_eq!(child.join_timeout(LONG), Ok(Exit::Shutdown));
    });
}

#[test]
fn those_who_join_without_a_cycle_are_not_told_of_one() {
    everywhere(|| {
        let actors = puppets(6);
        let spots: [Spot; 5] = Default::default();
        let jobs = (0..5).map(|at| {
            let (next, spot) = (actors[at + 1].clone(), spots[at].clone());
            let joins = move |_: &mut Puppet, ctx: &mut Context<Puppet>| {
                ctx.stop();
                spot.mark();
                next.join_timeout(LONG)
            };
            (actors[at].clone(), Do::new(joins))
        });
        let jobs: Vec<_> = jobs.collect();
        let last = actors[5].clone();
        let ends = green::spawn(move || {
            until(|| spots.iter().all(|spot| spot.waits_for() == Some("actor's end")));
            last.stop();
        });
        for (at, answer) in together(jobs).into_iter().enumerate() {
            let expected = if at == 4 { Exit::Shutdown } else { Exit::Normal };
            assert_eq!(answer.unwrap(), Ok(expected));
        }
        ends.join().unwrap();
    });
}

/// Takes what it is told, at its leisure.
struct Full;
impl Actor for Full {
    const MAILBOX: Mailbox = Mailbox::bounded(1);
    const ASK_TIMEOUT: Duration = Duration::from_millis(100);
}
struct Item;
impl Message for Item {
    type Reply = ();
}
struct Lock(std::sync::Arc<green::sync::Mutex<()>>);
impl Message for Lock {
    type Reply = ();
}
impl Handler<Item> for Full {
    fn handle(&mut self, _: Item, _: &mut Context<Self>) {}
}
impl Handler<Lock> for Full {
    fn handle(&mut self, m: Lock, _: &mut Context<Self>) {
        drop(m.0.lock());
    }
}

fn until_taken(full: &Addr<Full>) {
    while full.queued() > 0 {
        green::yield_now();
    }
}

#[test]
fn a_lock_that_is_held_over_a_tell_to_a_full_mailbox_does_not_hang_both() {
    everywhere(|| {
        let full = Full.start();
        let (puppet, _log) = Puppet::new();
        let puppet = puppet.start();
        let to = full.clone();
        let tells = Do::new(move |_: &mut Puppet, _: &mut Context<Puppet>| {
            let lock = std::sync::Arc::new(green::sync::Mutex::new(()));
            let _held = lock.lock();
            to.tell(Lock(std::sync::Arc::clone(&lock))).unwrap();
            until_taken(&to);
            while to.try_tell(Item).is_ok() {}
            matches!(to.tell(Item), Err(SendError::Timeout(Some(_))))
        });
        // The message is not one that anybody waits for.
        let reply = puppet.call(tells).unwrap();
        assert!(reply.wait_timeout(LONG).unwrap());
        full.send_timeout(Item, LONG).unwrap();
    });
}

#[test]
fn a_tell_to_a_full_mailbox_waits_for_as_long_as_it_takes_elsewhere() {
    everywhere(|| {
        let full = Full.start();
        let lock = std::sync::Arc::new(green::sync::Mutex::new(()));
        let held = lock.lock();
        full.tell(Lock(std::sync::Arc::clone(&lock))).unwrap();
        until_taken(&full);
        while full.try_tell(Item).is_ok() {}
        let to = full.clone();
        let tells = green::spawn(move || to.tell(Item));
        green::sleep(2 * Full::ASK_TIMEOUT);
        assert!(!tells.is_finished());
        drop(held);
        tells.join().unwrap().unwrap();
    });
}

/// One of the others in the circle has a time-out, so it ends in good order, well before the deadline of the shutdown.
#[test]
fn a_shutdown_in_a_circle_of_joins_kills_nobody_before_its_deadline() {
    everywhere(|| {
        let [shuts, joins, is_patient] = puppets(3).try_into().unwrap();
        let (first, joined) = (shuts.clone(), Spot::default());
        let mark = joined.clone();
        let patient = Do::new(move |_: &mut Puppet, ctx: &mut Context<Puppet>| {
            mark.mark();
            ctx.stop();
            first.join_timeout(Duration::from_millis(500))
        });
        let patient = is_patient.call(patient).unwrap();
        until(|| joined.waits_for() == Some("actor's end"));
        let joined = Spot::default();
        let mark = joined.clone();
        joins
            .tell(Do::new(move |_, _| {
                mark.mark();
                is_patient.join();
            }))
            .unwrap();
        until(|| joined.waits_for() == Some("actor's end"));
        let end = shuts.send_timeout(Do::new(move |_, _| joins.shutdown(LONG)), LONG).unwrap();
        assert_eq!((end.stopped, end.killed, end.left), (1, 0, 0), "{end}");
        assert_eq!(patient.wait().unwrap(), Err(JoinError::Timeout));
    });
}

/// Nobody in the circle has a time-out.
#[test]
fn a_shutdown_without_a_deadline_in_a_circle_of_joins_kills_after_a_while() {
    bounded(|| {
        let [shuts, joins] = puppets(2).try_into().unwrap();
        let (first, joined) = (shuts.clone(), Spot::default());
        let mark = joined.clone();
        joins
            .tell(Do::new(move |_, _| {
                mark.mark();
                first.join();
            }))
            .unwrap();
        until(|| joined.waits_for() == Some("actor's end"));
        let end = shuts.send_timeout(Do::new(move |_, _| joins.shutdown(Duration::MAX)), LONG).unwrap();
        assert_eq!((end.stopped, end.killed, end.left), (0, 1, 0), "{end}");
    });
}

/// Has a word for the one that waits for its start.
struct Newborn {
    parent: Addr<Puppet>,
    joins: bool,
    answer: mpsc::Sender<String>,
}
impl Actor for Newborn {
    const ASK_TIMEOUT: Duration = Duration::MAX;

    fn started(&mut self, _: &mut Context<Self>) -> Result<(), Exit> {
        let answer = if self.joins {
            format!("{:?}", self.parent.join_timeout(Duration::MAX))
        } else {
            format!("{:?}", self.parent.send(Do::new(|_, _| ())))
        };
        let _ = self.answer.send(answer);
        Ok(())
    }
}
impl Handler<Get> for Newborn {
    fn handle(&mut self, _: Get, _: &mut Context<Self>) -> i64 {
        1
    }
}

type Start = fn(Box<dyn Fn() -> Newborn + Send + Sync>) -> Result<i64, String>;

/// Has an actor start something, and gives what that came to and what a newborn was told.
fn starts(joins: bool, start: Start) -> (Result<i64, String>, Option<String>) {
    let ((puppet, _log), (answer, answers)) = (Puppet::new(), mpsc::channel());
    let parent = puppet.start();
    let weak = parent.downgrade();
    let newborn = move || Newborn { parent: weak.upgrade().unwrap(), joins, answer: answer.clone() };
    let started = parent.call(Do::new(move |_, _| start(Box::new(newborn)))).unwrap().wait_timeout(Duration::MAX);
    (started.unwrap(), answers.try_recv().ok())
}

#[test]
fn a_child_that_asks_the_actor_which_starts_its_supervisor_is_told() {
    everywhere(|| {
        let (started, told) = starts(false, |newborn| {
            let sup = Supervisor::one_for_one().child(green::actor::Child::new("newborn", newborn)).start();
            sup.map(|sup| sup.len() as i64).map_err(|error| error.to_string())
        });
        assert_eq!(started, Ok(1));
        assert!(told.as_ref().is_some_and(|told| told.starts_with("Err(Deadlock")), "{told:?}");
    });
}

#[test]
fn a_worker_that_asks_the_actor_which_asks_its_new_pool_is_told() {
    everywhere(|| {
        let (started, told) = starts(false, |newborn| {
            let pool = Pool::shared(1, newborn).start();
            pool.send_timeout(Get, LONG).map_err(|error| error.to_string())
        });
        assert_eq!(started, Ok(1));
        assert!(told.as_ref().is_some_and(|told| told.starts_with("Err(Deadlock")), "{told:?}");
    });
}

/// Whoever closes the circle is told: the one that starts, or the one that is started.
#[test]
fn of_two_of_which_one_joins_and_one_starts_the_other_one_is_told() {
    everywhere(|| {
        let (started, told) = starts(true, |newborn| {
            let sup = Supervisor::one_for_one().child(green::actor::Child::new("newborn", newborn)).start();
            sup.map(|sup| sup.len() as i64).map_err(|error| error.to_string())
        });
        match (started, told) {
            (Ok(1), Some(told)) => assert!(told.starts_with("Err(Deadlock"), "{told}"),
            (Err(error), _) => assert!(error.contains("waits for its caller"), "{error}"),
            other => panic!("{other:?}"),
        }
    });
}
