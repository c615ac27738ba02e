//! A runtime that ends ends all its actors, those that rest, too.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use green::Runtime;
use green::actor::{Actor, Addr, Builder, Context, Exit, Handler, Mailbox, Message, Pending, SendError, dead_letters};

use crate::help::{bounded, in_a_child, scaled, until, within};
use crate::{Do, Gate, LONG, Puppet};

fn runtime(workers: usize) -> Runtime {
    crate::help::builder().workers(workers).build().unwrap()
}

fn start(runtime: &Runtime) -> (Addr<Puppet>, mpsc::Receiver<String>) {
    let (puppet, log) = Puppet::new();
    (Builder::new().runtime(runtime).start(puppet).unwrap(), log)
}

#[test]
fn an_actor_that_rests_is_ended_before_the_drop_of_its_runtime_returns() {
    bounded(|| {
        for workers in 1..4 {
            for fate in 0..5 {
                let runtime = runtime(workers);
                let outside: Vec<_> = (0..100).map(|_| start(&runtime)).collect();
                let (puppet, log) = Puppet::new();
                let inside = runtime.run(|| (puppet.start(), log));
                let all: Vec<_> = outside.into_iter().chain([inside]).collect();
                for (puppet, _) in &all {
                    assert_eq!(puppet.send(Do::new(|_, _| 1)).unwrap(), 1);
                }
                match fate {
                    0 => drop(runtime),
                    1 => green::run(|| drop(runtime)),
                    2 => std::thread::spawn(|| drop(runtime)).join().unwrap(),
                    3 => green::blocking(|| drop(runtime)),
                    _ => {
                        // Those that have something to do end as they would.
                        all.iter().step_by(3).for_each(|(puppet, _)| {
                            puppet.tell(Do::new(|_, _| green::thread::park())).unwrap();
                        });
                        drop(runtime);
                    }
                }
                for (puppet, log) in all {
                    let lines: Vec<_> = log.try_iter().collect();
                    assert_eq!(lines, ["stopping: was stopped", "dropped"], "{workers} workers, {fate}");
                    assert!(puppet.is_ended());
                    assert_eq!(puppet.join(), Exit::Shutdown);
                    assert!(matches!(puppet.send(Do::new(|_, _| 1)), Err(SendError::Closed(_))));
                }
            }
        }
    });
}

#[test]
fn actors_end_with_a_runtime_that_is_dropped_by_one_of_its_own_threads() {
    bounded(|| {
        let runtime = runtime(2);
        let (puppet, log) = start(&runtime);
        puppet.send(Do::new(|_, _| ())).unwrap();
        let (sender, receiver) = mpsc::channel::<Runtime>();
        let thread = runtime.spawn(move || drop(receiver.recv().unwrap()));
        sender.send(runtime).unwrap();
        drop(thread);
        assert_eq!(puppet.join(), Exit::Shutdown);
        assert_eq!(log.try_iter().collect::<Vec<_>>(), ["stopping: was stopped", "dropped"]);
    });
}

#[test]
fn actors_that_come_and_go_leave_those_alone_that_rest() {
    bounded(|| {
        let runtime = runtime(2);
        let rest: Vec<_> = (0..scaled(300))
            .map(|n| {
                let rests = start(&runtime);
                (0..n % 7).for_each(|_| {
                    let (passes, log) = start(&runtime);
                    drop(passes);
                    assert_eq!(crate::next(&log), "stopping: ended by itself");
                });
                rests
            })
            .collect();
        for (puppet, _) in rest.iter().skip(1).step_by(2) {
            puppet.stop();
            puppet.join();
        }
        assert!(rest.iter().step_by(2).all(|(puppet, _)| puppet.send(Do::new(|_, _| true)).unwrap()));
        drop(runtime);
        for (puppet, log) in &rest {
            assert!(puppet.is_ended());
            assert_eq!(log.try_iter().collect::<Vec<_>>(), ["stopping: was stopped", "dropped"]);
        }
    });
}

/// Does something when it ends.
struct Last(Gate, Box<dyn FnMut() + Send>);
impl Last {
    /// Returns when it rests, or is about to.
    fn start_in(runtime: &Runtime, last: impl FnMut() + Send + 'static) -> Addr<Last> {
        let gate = Gate::new();
        let actor = Builder::new().runtime(runtime).start(Last(gate.clone(), Box::new(last))).unwrap();
        gate.wait();
        actor
    }
}
impl Actor for Last {
    fn started(&mut self, _: &mut Context<Self>) -> Result<(), Exit> {
        self.0.open();
        Ok(())
    }
    fn stopping(&mut self, _: &Exit, _: &mut Context<Self>) {
        (self.1)();
    }
}

struct Ping;
impl Message for Ping {
    type Reply = ();
}
impl Handler<Ping> for Last {
    fn handle(&mut self, _: Ping, _: &mut Context<Self>) {}
}

#[test]
fn what_one_that_is_ended_so_sends_to_the_others_is_refused_at_once() {
    bounded(|| {
        for workers in 1..3 {
            within(Duration::from_secs(3), || {
                let runtime = runtime(workers);
                let others: Vec<_> = (0..8).map(|_| start(&runtime).0).collect();
                others.iter().for_each(|other| other.send(Do::new(|_, _| ())).unwrap());
                let (sender, answers) = mpsc::channel();
                let lasts: Vec<_> = (0..8)
                    .map(|_| {
                        let (others, sender) = (others.clone(), sender.clone());
                        Last::start_in(&runtime, move || {
                            for other in &others {
                                let sent = other.send_timeout(Do::new(|_, _| ()), LONG);
                                let told = other.tell(Do::new(|_, _| ()));
                                sender.send((sent.is_err(), told.is_err())).unwrap();
                                assert_eq!(other.join(), Exit::Shutdown);
                            }
                        })
                    })
                    .collect();
                let start = Instant::now();
                drop(runtime);
                let took = start.elapsed();
                assert!(lasts.iter().all(Addr::is_ended));
                let answers: Vec<_> = answers.try_iter().collect();
                assert_eq!(answers.len(), 64);
                assert!(answers.iter().all(|refused| *refused == (true, true)));
                took
            });
        }
    });
}

#[test]
fn one_that_joins_another_when_it_ends_with_their_runtime_has_that_end_first() {
    bounded(|| {
        within(Duration::from_secs(3), || {
            let runtime = runtime(2);
            let mut last = start(&runtime).0;
            last.send(Do::new(|_, _| ())).unwrap();
            let (sender, exits) = mpsc::channel();
            // Each has the one before as its child.
            let child = last.clone();
            let also = sender.clone();
            let mut parent = Last::start_in(&runtime, move || also.send(child.join()).unwrap());
            for _ in 0..20 {
                let (child, sender) = (parent, sender.clone());
                parent = Last::start_in(&runtime, move || sender.send(child.join()).unwrap());
            }
            last = last.clone();
            let begun = Instant::now();
            drop(runtime);
            let took = begun.elapsed();
            assert_eq!(exits.try_iter().collect::<Vec<_>>(), vec![Exit::Shutdown; 21]);
            assert!(last.is_ended() && parent.is_ended());
            took
        })
    });
}

/// The child, which ended first, had its parent end on top of it, and that waited for the child.
#[test]
fn a_child_that_tells_its_parent_of_its_end_does_not_hold_up_the_end_of_their_runtime() {
    bounded(|| {
        let words: [fn(&Addr<Last>); 3] = [
            |parent| _ = parent.tell(Ping),
            |parent| _ = parent.send(Ping),
            |parent| _ = parent.call(Ping).map(Pending::wait),
        ];
        for say in words {
            within(Duration::from_secs(3), || {
                let runtime = runtime(1);
                let (sender, exits) = mpsc::channel();
                let child = std::sync::Arc::new(std::sync::OnceLock::<Addr<Last>>::new());
                let to_join = std::sync::Arc::clone(&child);
                let parent = Last::start_in(&runtime, move || sender.send(to_join.get().unwrap().join()).unwrap());
                let to_tell = parent.clone();
                child.set(Last::start_in(&runtime, move || say(&to_tell))).unwrap();
                let begun = Instant::now();
                drop(runtime);
                let took = begun.elapsed();
                assert_eq!(exits.try_iter().collect::<Vec<_>>(), [Exit::Shutdown]);
                assert!(parent.is_ended());
                took
            });
        }
    });
}

#[test]
fn a_long_row_of_actors_that_tell_each_other_of_their_end_does_not_overflow_the_stack() {
    bounded(|| {
        for (youngest_first, by_its_own) in [(false, false), (true, false), (false, true), (true, true)] {
            let runtime = runtime(2);
            let slots: Vec<_> = (0..scaled(5000)).map(|_| std::sync::Arc::new(std::sync::OnceLock::new())).collect();
            let all: Vec<_> = (0..slots.len())
                .map(|at| {
                    let to =
                        if youngest_first { at.checked_sub(1) } else { Some(at + 1).filter(|at| *at < slots.len()) };
                    let to = to.map(|to| std::sync::Arc::clone(&slots[to]));
                    let actor = Last::start_in(&runtime, move || {
                        if let Some(to) = &to {
                            let to: &Addr<Last> = to.get().unwrap();
                            to.stop();
                        }
                    });
                    slots[at].set(actor.clone()).unwrap();
                    actor
                })
                .collect();
            if by_its_own {
                let (sender, own) = mpsc::channel::<Runtime>();
                runtime.spawn(move || drop(own.recv().unwrap()));
                sender.send(runtime).unwrap();
                all.iter().for_each(|actor| assert_eq!(actor.join(), Exit::Shutdown));
            } else {
                drop(runtime);
            }
            assert!(all.iter().all(Addr::is_ended));
        }
    });
}

/// Puts everything aside.
struct Stashes;
impl Actor for Stashes {}
struct Keep(#[expect(dead_code, reason = "it is dropped")] Option<Addr<Stashes>>);
impl Message for Keep {
    type Reply = ();
}
impl Handler<Keep> for Stashes {
    fn handle(&mut self, keep: Keep, ctx: &mut Context<Self>) {
        ctx.stash(keep).unwrap();
    }
}
impl Handler<Ping> for Stashes {
    fn handle(&mut self, _: Ping, _: &mut Context<Self>) {}
}

/// What the first had put aside was dropped, and with that what the second had, and so on, each in the one before.
#[test]
fn a_long_row_of_actors_that_have_put_each_others_last_address_aside_does_not_overflow_the_stack() {
    bounded(|| {
        let runtime = runtime(1);
        let row = (0..scaled(4000)).fold(None, |next, _| {
            let actor = Builder::new().runtime(&runtime).start(Stashes).unwrap();
            actor.tell(Keep(next)).unwrap();
            actor.send(Ping).unwrap();
            Some(actor)
        });
        drop(runtime);
        assert!(row.unwrap().is_ended());
    });
}

#[test]
fn in_a_long_row_of_actors_that_ask_each_other_when_they_end_nobody_waits() {
    bounded(|| {
        within(Duration::from_secs(3), || {
            let runtime = runtime(1);
            let (sender, answers) = mpsc::channel();
            let mut next: Option<Addr<Last>> = None;
            for _ in 0..scaled(500) {
                let (to, sender) = (next.take(), sender.clone());
                next = Some(Last::start_in(&runtime, move || {
                    if let Some(to) = &to {
                        sender.send(matches!(to.send(Ping), Err(SendError::Closed(_)))).unwrap();
                    }
                }));
            }
            let begun = Instant::now();
            drop(runtime);
            let took = begun.elapsed();
            let answers: Vec<_> = answers.try_iter().collect();
            assert_eq!(answers, vec![true; scaled(500) - 1]);
            took
        })
    });
}

#[test]
fn an_actor_that_another_thread_ends_has_ended_before_the_drop_of_its_runtime_returns() {
    bounded(|| {
        for _ in 0..5 {
            let runtime = runtime(1);
            let (goes_on, ends) = (Gate::new(), Gate::new());
            // The youngest comes first.
            let oldest = Last::start_in(&runtime, {
                let goes_on = goes_on.clone();
                move || goes_on.open()
            });
            let middle = Last::start_in(&runtime, {
                let ends = ends.clone();
                move || {
                    ends.open();
                    goes_on.wait();
                    (0..1000).for_each(|_| std::thread::yield_now());
                }
            });
            let to = middle.clone();
            let youngest = Last::start_in(&runtime, move || {
                let to = to.clone();
                std::thread::spawn(move || assert!(to.send(Ping).is_err()));
                ends.wait();
            });
            drop(runtime);
            assert!(middle.is_ended());
            assert!(oldest.is_ended() && youngest.is_ended());
        }
    });
}

#[test]
fn a_stopping_that_waits_for_ever_does_not_keep_the_end_of_the_runtime_waiting() {
    bounded(|| {
        let runtime = runtime(1);
        let (sender, log) = mpsc::channel();
        let mut all = Vec::new();
        for _ in 0..3 {
            let sender = sender.clone();
            all.push(Last::start_in(&runtime, move || {
                sender.send("waits").unwrap();
                loop {
                    green::thread::park();
                }
            }));
        }
        let (quick, lines) = start(&runtime);
        quick.send(Do::new(|_, _| ())).unwrap();
        drop(runtime);
        assert!(all.iter().all(Addr::is_ended));
        assert_eq!(log.try_iter().count(), 3);
        assert_eq!(lines.try_iter().collect::<Vec<_>>(), ["stopping: was stopped", "dropped"]);
    });
}

/// Where a future waits: for room, and for a reply.
#[test]
fn futures_that_wait_for_an_actor_are_ready_when_its_runtime_has_ended() {
    bounded(|| {
        for workers in 1..3 {
            let runtime = runtime(workers);
            let puppet = Builder::new().runtime(&runtime).mailbox(Mailbox::bounded(1)).start(Puppet::new().0).unwrap();
            let inside = Gate::new();
            let reached = inside.clone();
            let parks = Do::new(move |_: &mut Puppet, _: &mut Context<Puppet>| {
                reached.open();
                green::thread::park();
            });
            let handled = puppet.call(parks).unwrap();
            inside.wait();
            let queued = puppet.call(Do::new(|_, _| ())).unwrap();
            let ends = std::thread::spawn(move || drop(runtime));
            futures::executor::block_on(async {
                let called = puppet.call_async(Do::new(|_, _| ()));
                let told = puppet.tell_async(Do::new(|_, _| ()));
                let (called, told) = futures::join!(called, told);
                assert!(matches!(called, Err(SendError::Closed(_))));
                assert!(matches!(told, Err(SendError::Closed(_))));
                assert!(matches!(handled.await, Err(SendError::Died(Exit::Shutdown))));
                assert!(matches!(queued.await, Err(SendError::Closed(_))));
            });
            ends.join().unwrap();
            assert!(puppet.is_ended());
        }
    });
}

#[test]
fn actors_of_the_default_runtime_go_with_the_process_as_threads_do() {
    let ended = in_a_child(&[], || {
        let gate = Gate::new();
        let last = Last(gate.clone(), Box::new(|| println!("stopping was called"))).start();
        gate.wait();
        assert!(!last.is_ended());
        // Else it would end because its last address goes.
        std::mem::forget(last);
    });
    ended.assert_success();
    assert!(!ended.output.contains("stopping was called"), "{}", ended.output);
}

/// Has an actor that waits in its handler, with so many messages behind that.
fn queue_behind_one(puppet: &Addr<Puppet>, count: usize) {
    let inside = Gate::new();
    let reached = inside.clone();
    let parks = Do::new(move |_: &mut Puppet, _: &mut Context<Puppet>| {
        reached.open();
        green::thread::park();
    });
    puppet.tell(parks).unwrap();
    inside.wait();
    (0..count).for_each(|_| puppet.tell(Do::new(|_, _| ())).unwrap());
}

#[test]
fn what_a_dropped_runtime_leaves_unhandled_is_counted_and_said() {
    let ended = in_a_child(&[], || {
        for workers in [1, 2] {
            let runtime = runtime(workers);
            let start = || Builder::new().runtime(&runtime).start(Puppet::new().0).unwrap();
            let (one, other) = (start(), start());
            queue_behind_one(&one, 7);
            queue_behind_one(&other, 4);
            // Its asker learns of it.
            let asked = one.call(Do::new(|_, _| ())).unwrap();
            let before = dead_letters().count();
            drop(runtime);
            assert!(matches!(asked.wait(), Err(SendError::Closed(_))));
            assert_eq!(dead_letters().count() - before, 11);
        }
    });
    ended.assert_success();
    let said: Vec<_> = ended.output.lines().filter(|line| line.contains("when a runtime was dropped")).collect();
    assert_eq!(said.len(), 2, "{}", ended.output);
    assert!(said.iter().all(|line| line.contains("dropped: 11 (")), "{said:?}");
}

#[test]
fn what_waits_when_the_process_ends_is_said() {
    let ended = in_a_child(&[], || {
        let (one, other) = (Puppet::new().0.start(), Puppet::new().0.start());
        queue_behind_one(&one, 7);
        queue_behind_one(&other, 4);
        let held = runtime(1);
        let third = Builder::new().runtime(&held).start(Puppet::new().0).unwrap();
        queue_behind_one(&third, 2);
        std::mem::forget((one, other, third, held));
    });
    ended.assert_success();
    assert!(ended.output.contains("the process ends: 13 (of 3 actors"), "{}", ended.output);
}

#[test]
fn what_was_drained_by_a_shutdown_is_not_said_to_wait() {
    let ended = in_a_child(&[], || {
        let ten = |puppet: &Addr<Puppet>| (0..10).for_each(|_| puppet.tell(Do::new(|_, _| ())).unwrap());
        let runtime = runtime(1);
        let other = start(&runtime).0;
        ten(&other);
        assert!(runtime.shutdown(LONG).is_clean());
        let one = Puppet::new().0.start();
        ten(&one);
        assert!(green::shutdown(LONG).is_clean());
        std::mem::forget((one, other));
    });
    ended.assert_success();
    assert!(!ended.output.contains("green:"), "{}", ended.output);
}

/// Starts another one with its last words, and leaves it five messages, of which that gets no further than the first.
struct Heir(Option<Box<Heir>>);
impl Actor for Heir {
    fn stopping(&mut self, _: &Exit, _: &mut Context<Self>) {
        let Some(heir) = self.0.take() else { return };
        let (heir, begun) = (heir.start(), Gate::new());
        (0..5).for_each(|_| heir.tell(Bequest(begun.clone())).unwrap());
        begun.wait();
    }
}
struct Bequest(Gate);
impl Message for Bequest {
    type Reply = ();
}
impl Handler<Bequest> for Heir {
    fn handle(&mut self, Bequest(begun): Bequest, _: &mut Context<Self>) {
        begun.open();
        green::thread::park();
    }
}

#[test]
fn actors_that_others_start_with_their_last_words_are_in_the_answer_of_a_shutdown_that_kills() {
    for workers in [1, 2, 4] {
        bounded(move || {
            let runtime = runtime(workers);
            let heir = Heir(Some(Box::new(Heir(Some(Box::new(Heir(None)))))));
            let heir = Builder::new().runtime(&runtime).start(heir).unwrap();
            until(|| runtime.actor_metrics().resting == 1);
            let end = runtime.shutdown(Duration::ZERO);
            assert_eq!((end.killed, end.left, end.drained, end.lost), (3, 0, 0, 8), "{end}");
            assert!(heir.is_ended());
        });
    }
}
