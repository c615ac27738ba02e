//! Cycles of asks and locks are named whichever way an actor is asked: by a call, with what is too large for a stack, while messages of the chain are let in. Rings that are none are not.
#![cfg(all(any(debug_assertions, green_deadlocks), not(miri)))]

mod help;
#[path = "deadlock_asks/refused.rs"]
mod refused;

use std::sync::Arc;
use std::time::Duration;

use green::actor::{Actor, Addr, Builder, Context, Exit, Handler, Mailbox, Message, Overflow, SendError};
use green::sync::Mutex;
use help::Random;

/// Does what it is told, and says how that went.
struct Puppet;
impl Actor for Puppet {}

type Act = Box<dyn FnOnce(&mut Puppet, &mut Context<Puppet>) -> String + Send>;

struct Do(Act);
impl Message for Do {
    type Reply = String;
}
impl Handler<Do> for Puppet {
    fn handle(&mut self, act: Do, ctx: &mut Context<Self>) -> String {
        act.0(self, ctx)
    }
}

/// More than an asker's stack takes.
struct DoLarge(Act, [u8; 2048]);
impl Message for DoLarge {
    type Reply = String;
}
impl Handler<DoLarge> for Puppet {
    fn handle(&mut self, act: DoLarge, ctx: &mut Context<Self>) -> String {
        assert_eq!(act.1, [7; 2048]);
        act.0(self, ctx)
    }
}

/// How an actor is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Plain,
    Call,
    Large,
    LettingIn,
}
const WAYS: [Way; 4] = [Way::Plain, Way::Call, Way::Large, Way::LettingIn];

fn told<M>(answer: Result<String, SendError<M>>) -> String {
    match answer {
        Ok(answer) => answer,
        Err(SendError::Died(Exit::Panic(message))) => message,
        Err(error) => error.to_string(),
    }
}

impl Way {
    /// From within a handler.
    fn ask(self, me: &mut Puppet, ctx: &mut Context<Puppet>, to: &Addr<Puppet>, act: Act) -> String {
        match self {
            Way::LettingIn => told(ctx.reenter(me).send(to, Do(act))),
            _ => self.ask_outside(to, act),
        }
    }

    fn ask_outside(self, to: &Addr<Puppet>, act: Act) -> String {
        match self {
            Way::Plain | Way::LettingIn => told(to.send(Do(act))),
            Way::Call => to.call(Do(act)).map_or_else(|error| told(Err(error)), |pending| told(pending.wait())),
            Way::Large => told(to.send(DoLarge(act, [7; 2048]))),
        }
    }
}

fn puppet(name: &str) -> Addr<Puppet> {
    Builder::new().name(name).start(Puppet).unwrap()
}

/// An act that takes the lock and lets it go.
fn locks(lock: Arc<Mutex<()>>) -> Act {
    Box::new(move |_, _| format!("has it: {}", lock.lock().is_ok()))
}

/// Whoever comes last is told: the one that wants the lock, by a panic with the report, or one that asks, by an error.
fn is_a_deadlock(answer: &str) -> bool {
    answer.starts_with("deadlock: ") || answer.starts_with("waiting would close a cycle: ")
}

#[test]
fn an_actor_that_has_a_lock_and_asks_one_that_wants_it_is_told_whichever_way_it_asks() {
    for way in WAYS {
        help::on_workers(move || {
            let (holds, wants) = (puppet("holds"), puppet("wants"));
            let lock = Arc::new(Mutex::new(()));
            let answer = told(holds.send(Do(Box::new(move |me, ctx| {
                let _held = lock.lock();
                way.ask(me, ctx, &wants, locks(lock.clone()))
            }))));
            assert!(is_a_deadlock(&answer), "{way:?}: {answer}");
        });
    }
}

#[test]
fn the_report_says_where_it_was_asked() {
    for way in WAYS {
        // On one worker the asked one comes last.
        help::bounded(move || {
            help::runtime(1).run(move || {
                let (holds, wants) = (puppet("holds"), puppet("wants"));
                let lock = Arc::new(Mutex::new(()));
                let answer = told(holds.send(Do(Box::new(move |me, ctx| {
                    let _held = lock.lock();
                    way.ask(me, ctx, &wants, locks(lock.clone()))
                }))));
                assert!(answer.starts_with("deadlock: 2 threads wait for one another\n"), "{way:?}: {answer}");
                let line = answer.lines().find(|line| line.contains("for a reply of actor ")).expect("a line");
                assert!(line.contains("\"holds\" waits at tests/deadlock_asks.rs:"), "{way:?}: {answer}");
            });
        });
    }
}

/// A thread has a lock and asks the first actor, which asks the second, which wants the lock.
#[test]
fn a_cycle_of_a_thread_and_two_actors_is_told_whichever_way_they_ask() {
    for (outer, inner) in WAYS.iter().flat_map(|outer| WAYS.map(|inner| (*outer, inner))) {
        help::on_workers(move || {
            let (first, second) = (puppet("first"), puppet("second"));
            let lock = Arc::new(Mutex::new(()));
            let _held = lock.lock();
            let wants = locks(lock.clone());
            let answer = outer.ask_outside(&first, Box::new(move |me, ctx| inner.ask(me, ctx, &second, wants)));
            assert!(is_a_deadlock(&answer), "{outer:?}, {inner:?}: {answer}");
        });
    }
}

/// The first has a lock and asks while it lets its chain in; the second, which handles a message of that chain, does the same; the third wants the lock. The second's
/// message is of a chain that the second lets in, but it is handled already.
#[test]
fn who_waits_for_an_actor_that_lets_a_chain_in_after_it_has_taken_the_message_is_told() {
    for way in [Way::Plain, Way::Call, Way::Large, Way::LettingIn] {
        help::on_workers(move || {
            let (first, second, third) = (puppet("first"), puppet("second"), puppet("third"));
            let lock = Arc::new(Mutex::new(()));
            let answer = told(first.send(Do(Box::new(move |me, ctx| {
                let _held = lock.lock();
                let wants = locks(lock.clone());
                let asks = Box::new(move |me: &mut Puppet, ctx: &mut Context<Puppet>| way.ask(me, ctx, &third, wants));
                told(ctx.reenter(me).send(&second, Do(asks)))
            }))));
            assert!(is_a_deadlock(&answer), "{way:?}: {answer}");
        });
    }
}

/// The first lets in what the second, which has a lock, asks back. While the first handles that, it lets the chain in again, and asks the third, which wants the lock: the second's ask is not let in, but handled
/// already.
#[test]
fn who_has_asked_back_and_is_waited_for_by_what_was_let_in_is_told() {
    for way in [Way::Plain, Way::Call, Way::Large] {
        help::on_workers(move || {
            let (first, second, third) = (puppet("first"), puppet("second"), puppet("third"));
            let (back, lock) = (first.clone(), Arc::new(Mutex::new(())));
            let answer = told(first.send(Do(Box::new(move |me, ctx| {
                let asks_back = Box::new(move |_: &mut Puppet, _: &mut Context<Puppet>| {
                    let _held = lock.lock();
                    let wants = locks(lock.clone());
                    way.ask_outside(&back, Box::new(move |me, ctx| told(ctx.reenter(me).send(&third, Do(wants)))))
                });
                told(ctx.reenter(me).send(&second, Do(asks_back)))
            }))));
            assert!(is_a_deadlock(&answer), "{way:?}: {answer}");
        });
    }
}

/// One that handles a message of a chain lets the chain in and asks one that wants a lock. Who has the lock, and is of the chain, has asked before: that queues.
#[test]
fn who_has_asked_before_its_chain_was_let_in_is_told() {
    for way in [Way::Plain, Way::Call, Way::Large] {
        help::on_workers(move || {
            let [begins, lets_in, holds, wants] = ["begins", "lets in", "holds", "wants"].map(puppet);
            let lock = Arc::new(Mutex::new(()));
            let (handles, waits) = (help::Gate::new(), help::Spot::default());
            let (handled, waited, theirs, asked) = (handles.clone(), waits.clone(), lock.clone(), lets_in.clone());
            let in_holds: Act = Box::new(move |_, _| {
                handled.wait();
                let _held = theirs.lock();
                waited.mark();
                way.ask_outside(&asked, Box::new(|_, _| String::new()))
            });
            let in_lets_in: Act = Box::new(move |me, ctx| {
                handles.open();
                help::until(|| waits.waits_for() == Some("reply"));
                told(ctx.reenter(me).send(&wants, Do(locks(lock))))
            });
            let answer = told(begins.send(Do(Box::new(move |me, ctx| {
                // From now on the messages are of one chain.
                told(ctx.reenter(me).send(&holds, Do(Box::new(|_, _| String::new()))));
                let asks = holds.call(Do(in_holds)).unwrap();
                let answer = told(lets_in.call(Do(in_lets_in)).unwrap().wait());
                assert_eq!(told(asks.wait()), "");
                answer
            }))));
            assert!(is_a_deadlock(&answer), "{way:?}: {answer}");
        });
    }
}

/// One has a message that wants a lock, and another that waits. Who has the lock waits for room there, or is about to.
#[test]
fn who_has_a_lock_and_waits_for_room_of_one_that_wants_it_is_told() {
    for (way, asks_last) in WAYS.iter().filter(|way| **way != Way::Call).flat_map(|way| [(*way, false), (*way, true)]) {
        help::on_workers(move || {
            let (holds, wants) = (puppet("holds"), full_at_one("wants"));
            let lock = Arc::new(Mutex::new(()));
            let (held, wanted, waits) = (help::Gate::new(), help::Spot::default(), help::Spot::default());
            let (is_held, wants_it, waits_there, theirs) = (held.clone(), wanted.clone(), waits.clone(), lock.clone());
            let first = wants.call(Do(Box::new(move |_, _| {
                is_held.wait();
                wants_it.mark();
                help::until(|| asks_last || matches!(waits_there.waits_for(), Some("mailbox" | "reply")));
                format!("has it: {}", theirs.lock().is_ok())
            })));
            help::until(|| wants.queued() == 0);
            let second = wants.call(Do(Box::new(|_, _| String::new())));
            let answer = told(holds.send(Do(Box::new(move |me, ctx| {
                let _held = lock.lock();
                waits.mark();
                held.open();
                help::until(|| !asks_last || wanted.waits_for() == Some("mutex"));
                way.ask(me, ctx, &wants, Box::new(|_, _| String::new()))
            }))));
            let told_first = told(first.unwrap().wait());
            let told_of = if asks_last { &answer } else { &told_first };
            assert!(is_a_deadlock(told_of), "{way:?}, {asks_last}: {answer}, {told_first}");
            if !asks_last {
                assert!(told_first.contains("\"holds\" waits at tests/deadlock_asks.rs:"), "{way:?}: {told_first}");
            }
            drop(second);
        });
    }
}

fn full_at_one(name: &str) -> Addr<Puppet> {
    Builder::new().name(name).mailbox(Mailbox::bounded(1).overflow(Overflow::Block)).start(Puppet).unwrap()
}

/// For room, and not for the answer: another may give up, and leave its place.
#[test]
fn who_has_a_lock_and_calls_one_that_wants_it_and_has_no_room_is_not_told() {
    help::on_workers(|| {
        let (holds, wants) = (puppet("holds"), full_at_one("wants"));
        let lock = Arc::new(Mutex::new(()));
        let held = help::Gate::new();
        let (is_held, theirs) = (held.clone(), lock.clone());
        let first = wants.call(Do(Box::new(move |_, _| {
            is_held.wait();
            format!("has it: {}", theirs.lock().is_ok())
        })));
        help::until(|| wants.queued() == 0);
        let second = wants.call(Do(Box::new(|_, _| String::new()))).unwrap();
        let waits = help::Spot::default();
        let (to, waits_there) = (wants.clone(), waits.clone());
        let third = holds.call(Do(Box::new(move |_, _| {
            let _held = lock.lock();
            waits_there.mark();
            held.open();
            to.call(Do(Box::new(|_, _| String::new()))).map_or_else(|error| told(Err(error)), |_| "called".to_owned())
        })));
        help::until(|| waits.waits_for() == Some("mailbox"));
        assert!(matches!(second.wait_timeout(Duration::from_millis(5)), Err(SendError::Timeout(_))));
        assert_eq!(told(third.unwrap().wait()), "called");
        assert_eq!(told(first.unwrap().wait()), "has it: true");
    });
}

/// It has not gone on when the other, which is stopped, wants its lock.
#[test]
fn who_was_refused_while_it_waited_for_room_is_not_told() {
    for way in [Way::Large, Way::LettingIn] {
        help::on_workers(move || {
            let (holds, wants) = (puppet("holds"), full_at_one("wants"));
            let (lock, waits) = (Arc::new(Mutex::new(())), help::Spot::default());
            let (theirs, waits_there) = (lock.clone(), waits.clone());
            let first = wants.call(Do(Box::new(move |_, ctx| {
                help::until(|| waits_there.waits_for() == Some("mailbox"));
                ctx.stop();
                format!("has it: {}", theirs.lock().is_ok())
            })));
            help::until(|| wants.queued() == 0);
            let second = wants.call(Do(Box::new(|_, _| String::new())));
            let answer = told(holds.send(Do(Box::new(move |me, ctx| {
                let _held = lock.lock();
                waits.mark();
                way.ask(me, ctx, &wants, Box::new(|_, _| String::new()))
            }))));
            let told_first = told(first.unwrap().wait());
            assert_eq!(told_first, "has it: true", "{way:?}: {answer}");
            assert!(!is_a_deadlock(&answer), "{way:?}: {answer}");
            drop(second);
        });
    }
}

/// What comes back has the lock that the actor without room wants. When another gives up its place there, it is let in.
#[test]
fn who_waits_for_room_and_lets_in_what_comes_back_when_there_is_some_is_not_told() {
    help::on_workers(|| {
        let (asks, holds, wants) = (puppet("asks"), puppet("holds"), full_at_one("wants"));
        let lock = Arc::new(Mutex::new(()));
        let [asker, holder, wanter] = [(); 3].map(|()| help::Spot::default());
        let (theirs, holder_waits, marks) = (lock.clone(), holder.clone(), wanter.clone());
        let first = wants.call(Do(Box::new(move |_, _| {
            help::until(|| holder_waits.waits_for() == Some("reply"));
            marks.mark();
            format!("has it: {}", theirs.lock().is_ok())
        })));
        help::until(|| wants.queued() == 0);
        let second = wants.call(Do(Box::new(|_, _| String::new()))).unwrap();
        let (back, asker_waits) = (asks.clone(), asker.clone());
        let in_holds: Act = Box::new(move |_, _| {
            help::until(|| asker_waits.waits_for() == Some("mailbox"));
            let _held = lock.lock();
            holder.mark();
            told(back.send(Do(Box::new(|_, _| "let in".to_owned()))))
        });
        let answers = asks.call(Do(Box::new(move |me, ctx| {
            // From now on the messages are of one chain.
            told(ctx.reenter(me).send(&holds, Do(Box::new(|_, _| String::new()))));
            let held = holds.call(Do(in_holds)).unwrap();
            asker.mark();
            let answer = told(ctx.reenter(me).send(&wants, Do(Box::new(|_, _| "handled".to_owned()))));
            answer + ", " + &told(held.wait())
        })));
        help::until(|| wanter.waits_for() == Some("mutex"));
        assert!(matches!(second.wait_timeout(Duration::from_millis(5)), Err(SendError::Timeout(_))));
        assert_eq!(told(answers.unwrap().wait()), "handled, let in");
        assert_eq!(told(first.unwrap().wait()), "has it: true");
    });
}

#[test]
fn a_message_that_comes_back_and_is_let_in_closes_no_cycle() {
    for way in WAYS {
        help::on_workers(move || {
            let (first, second) = (puppet("first"), puppet("second"));
            let lock = Arc::new(Mutex::new(()));
            for _ in 0..help::scaled(50) {
                let (back, to, lock) = (first.clone(), second.clone(), lock.clone());
                let answer = told(first.send(Do(Box::new(move |me, ctx| {
                    // The other has a lock while it asks back.
                    let asks = Box::new(move |me: &mut Puppet, ctx: &mut Context<Puppet>| {
                        let _held = lock.lock();
                        way.ask(me, ctx, &back, Box::new(|_, _| "let in".to_owned()))
                    });
                    told(ctx.reenter(me).send(&to, Do(asks)))
                }))));
                assert_eq!(answer, "let in", "{way:?}");
            }
        });
    }
}

#[test]
fn who_waits_for_a_call_for_a_time_of_its_own_is_not_told() {
    help::on_workers(|| {
        let wants = puppet("wants");
        let lock = Arc::new(Mutex::new(()));
        let held = lock.lock();
        let short = Duration::from_millis(20);
        let calls = || wants.call(Do(locks(lock.clone()))).unwrap();
        for answer in [
            calls().wait_timeout(short),
            calls().within(short).wait(),
            calls().wait_deadline(std::time::Instant::now() + short),
        ] {
            assert!(matches!(answer, Err(SendError::Timeout(_))), "{answer:?}");
        }
        drop(held);
        assert_eq!(told(wants.send(Do(Box::new(|_, _| "goes on".to_owned())))), "goes on");
    });
}

/// What has been called may be sent away for what is newer: then the answer is that.
#[test]
fn who_waits_for_a_call_in_a_mailbox_that_drops_the_oldest_is_not_told() {
    help::on_workers(|| {
        let newest = Mailbox::bounded(1).overflow(Overflow::DropOldest);
        let wants = Builder::new().mailbox(newest).start(Puppet).unwrap();
        let lock = Arc::new(Mutex::new(()));
        let held = lock.lock();
        let (spot, theirs) = (help::Spot::default(), lock.clone());
        let mark = spot.clone();
        let first = wants.call(Do(Box::new(move |_, _| {
            mark.mark();
            format!("has it: {}", theirs.lock().is_ok())
        })));
        help::until(|| spot.waits_for() == Some("mutex"));
        let second = wants.call(Do(locks(lock.clone()))).unwrap();
        let sends = {
            let wants = wants.clone();
            green::spawn(move || wants.call(Do(Box::new(|_, _| String::new()))).map(|_| ()).is_ok())
        };
        // The lock is held still.
        assert!(matches!(second.wait(), Err(SendError::Full(_))));
        assert!(sends.join().unwrap());
        drop(held);
        assert_eq!(told(first.unwrap().wait()), "has it: true");
    });
}

/// Actors in a ring that ask one another in all ways, some with locks, some for a time, some that refuse: from those with lower numbers to those with higher ones, and from the last back to
/// the first if that lets it in. The locks have an order as well. So nobody is ever in a cycle.
#[test]
fn rings_of_actors_that_go_on_are_not_told() {
    for seed in 0..help::scaled(300_u64) {
        let mut random = Random::new(0xa5ce + seed);
        let workers = [1, 2, 4][random.below(3) as usize];
        let answers = help::bounded(move || help::runtime(workers).run(move || ring(&mut random)));
        assert!(answers.iter().all(|answer| !is_a_deadlock(answer)), "{seed}: {answers:?}");
    }
}

/// The answers of several that go round at the same time.
fn ring(random: &mut Random) -> Vec<String> {
    let count = 2 + random.below(3) as usize;
    let mailbox = |random: &mut Random| match random.below(3) {
        0 => Mailbox::bounded(1).overflow(Overflow::DropOldest),
        1 => Mailbox::bounded(1).overflow(Overflow::Reject),
        _ => Mailbox::unbounded(),
    };
    let actors: Arc<Vec<_>> =
        Arc::new((0..count).map(|_| Builder::new().mailbox(mailbox(random)).start(Puppet).unwrap()).collect());
    let locks: Arc<Vec<_>> = Arc::new((0..=count).map(|_| Mutex::new(())).collect());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (actors, locks, mut random) = (actors.clone(), locks.clone(), random.fork());
            green::spawn(move || {
                let (at, comes_back) = (random.below(2) as usize, random.below(2) == 0);
                let act = along(actors.clone(), locks, at + 1, comes_back.then_some(at), random.fork());
                let way = WAYS[random.below(4) as usize];
                let first = actors[at].clone();
                way.ask_outside(&first, act)
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// What comes back: it takes the lock that comes after all others.
fn locks_last(all: Arc<Vec<Mutex<()>>>) -> Act {
    Box::new(move |_, _| format!("back: {}", all[all.len() - 1].lock().is_ok()))
}

fn along(
    actors: Arc<Vec<Addr<Puppet>>>,
    locks: Arc<Vec<Mutex<()>>>,
    next: usize,
    back: Option<usize>,
    mut random: Random,
) -> Act {
    Box::new(move |me, ctx| {
        let own = next - 1;
        let held = (random.below(2) == 0).then(|| locks[own].lock());
        if random.below(2) == 0 {
            let higher = own + 1 + random.below((locks.len() - next) as u64) as usize;
            drop(locks[higher].lock());
        }
        if random.below(4) == 0 {
            green::yield_now();
        }
        let way = WAYS[random.below(4) as usize];
        let Some(to) = actors.get(next).cloned() else {
            let Some(back) = back.filter(|back| *back != own) else { return "end".to_owned() };
            let comes_back = locks_last(locks.clone());
            return match random.below(2) {
                0 => told(actors[back].send_timeout(Do(comes_back), Duration::from_micros(random.below(400)))),
                _ => way.ask(me, ctx, &actors[back], comes_back),
            };
        };
        let act = along(actors, locks.clone(), next + 1, back, random.fork());
        let answer = match random.below(5) {
            _ if back.is_some() => Way::LettingIn.ask(me, ctx, &to, act),
            0 => told(to.send_timeout(Do(act), Duration::from_micros(random.below(400)))),
            1 => to.try_call(Do(act)).map_or_else(|error| told(Err(error)), |pending| told(pending.wait())),
            _ => way.ask(me, ctx, &to, act),
        };
        drop(held);
        answer
    })
}
