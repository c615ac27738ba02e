//! Threads that wait for one another are told so, in debug builds and others that are told to; those that do not, are not.
#![cfg(all(any(debug_assertions, green_deadlocks), not(miri)))]

mod help;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use green::sync::{Barrier, LazyLock, Mutex, Once, OnceLock, RwLock};
use green::thread::Builder;
use help::Random;

/// Both the threads' results: what each has panicked with.
type Ended = Vec<Option<String>>;

fn message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

fn named<T: Send + 'static>(name: &str, f: impl FnOnce() -> T + Send + 'static) -> green::thread::JoinHandle<T> {
    Builder::new().name(name.to_owned()).spawn(f).unwrap()
}

/// Each of so many threads has a mutex, and waits for that of the next one.
fn in_a_ring(count: usize) -> Ended {
    let locks: Arc<Vec<Mutex<()>>> = Arc::new((0..count).map(|_| Mutex::new(())).collect());
    let all_have = Arc::new(Barrier::new(count));
    let threads: Vec<_> = (0..count)
        .map(|at| {
            let (locks, all_have) = (locks.clone(), all_have.clone());
            named(&format!("ring {at}"), move || {
                let _own = locks[at].lock();
                all_have.wait();
                let _next = locks[(at + 1) % locks.len()].lock();
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().err().map(|payload| message(&*payload))).collect()
}

#[test]
fn threads_that_wait_for_one_anothers_mutexes_are_named_with_both_places() {
    help::on_workers(|| {
        for count in [2, 3] {
            let ended = in_a_ring(count);
            let messages: Vec<_> = ended.into_iter().flatten().collect();
            // The one that came last; the others get their locks then, though poisoned.
            assert_eq!(messages.len(), 1, "{messages:?}");
            let text = &messages[0];
            assert!(text.starts_with(&format!("deadlock: {count} threads wait for one another\n")), "{text}");
            assert_eq!(text.matches("a mutex, which thread ").count(), count, "{text}");
            assert_eq!(text.matches("deadlock.rs:").count(), 2 * count, "{text}");
            (0..count).for_each(|at| assert_eq!(text.matches(&format!("\"ring {at}\"")).count(), 2, "{text}"));
        }
    });
}

#[test]
fn a_thread_that_joins_one_that_waits_for_its_lock_is_told_so() {
    help::on_workers(|| {
        let lock = Arc::new(Mutex::new(()));
        let held = lock.lock().unwrap();
        let theirs = lock.clone();
        let waits = named("waits", move || drop(theirs.lock()));
        help::until_parked(waits.thread(), "mutex");
        let error = catch_unwind(AssertUnwindSafe(|| waits.join())).unwrap_err();
        let text = message(&*error);
        assert!(text.contains("for the end of thread") && text.contains("\"waits\" waits at"), "{text}");
        drop(held);
    });
}

#[test]
fn threads_that_join_each_other_are_told_so() {
    help::on_workers(|| {
        let (sender, receiver) = green::channel::bounded::<green::thread::JoinHandle<()>>(1);
        let told = Arc::new(AtomicU32::new(0));
        let tells = told.clone();
        let first = named("first", move || {
            let second = receiver.recv().unwrap();
            if catch_unwind(AssertUnwindSafe(|| second.join()))
                .is_err_and(|error| message(&*error).contains("deadlock"))
            {
                tells.fetch_add(1, Ordering::SeqCst);
            }
        });
        let first_thread = first.thread().clone();
        let tells = told.clone();
        let (done, is_done) = green::channel::bounded::<()>(1);
        let second = named("second", move || {
            if catch_unwind(AssertUnwindSafe(|| first.join())).is_err_and(|error| message(&*error).contains("deadlock"))
            {
                tells.fetch_add(1, Ordering::SeqCst);
            }
            done.send(()).unwrap();
        });
        help::until_parked(second.thread(), "join");
        sender.send(second).unwrap();
        is_done.recv().unwrap();
        let _ = first_thread;
        assert_eq!(told.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_scope_whose_thread_waits_for_its_owners_lock_is_reported_and_goes_on_when_that_is_cancelled() {
    help::on_workers(|| {
        let lock = Mutex::new(());
        let held = lock.lock().unwrap();
        green::scope(|scope| {
            let waits = scope.spawn(|| drop(lock.lock()));
            let thread = waits.thread().clone();
            help::until_parked(&thread, "mutex");
            // The end of the scope is not left by a panic. Who joins in it is.
            let error = catch_unwind(AssertUnwindSafe(|| waits.join())).unwrap_err();
            assert!(message(&*error).contains("deadlock"), "{}", message(&*error));
            drop(held);
        });
    });
}

/// A thread that initialises something waits for a lock, whose holder waits, by `waits`, for what is initialised.
fn waits_for_an_initialiser(initialises: impl FnOnce(&dyn Fn()) + Send + 'static, waits: impl FnOnce()) {
    let lock = Arc::new(Mutex::new(()));
    let held = lock.lock().unwrap();
    let theirs = lock.clone();
    let runs = named("initialises", move || initialises(&|| drop(theirs.lock())));
    help::until_parked(runs.thread(), "mutex");
    let error = catch_unwind(AssertUnwindSafe(waits)).unwrap_err();
    let text = message(&*error);
    assert!(text.contains("waits at tests/deadlock.rs:"), "{text}");
    assert!(
        text.contains("for an initialiser, which thread ") && text.contains("\"initialises\" runs since "),
        "{text}"
    );
    assert!(text.contains("for a mutex, which thread "), "{text}");
    drop(held);
    runs.join().unwrap();
}

#[test]
fn a_thread_that_waits_for_an_initialiser_which_waits_for_it_is_told_so() {
    help::on_workers(|| {
        let once = Arc::new(Once::new());
        let theirs = once.clone();
        waits_for_an_initialiser(move |wait| theirs.call_once(wait), || once.call_once(|| ()));
        let once = Arc::new(Once::new());
        let theirs = once.clone();
        waits_for_an_initialiser(move |wait| theirs.call_once(wait), || once.wait());
        let cell = Arc::new(OnceLock::new());
        let theirs = cell.clone();
        waits_for_an_initialiser(move |wait| *theirs.get_or_init(wait), || *cell.get_or_init(|| ()));
    });
}

#[test]
fn a_thread_that_needs_a_lazy_value_whose_closure_waits_for_it_is_told_so() {
    help::on_workers(|| {
        let lock = Arc::new(Mutex::new(()));
        let held = lock.lock().unwrap();
        let theirs = lock.clone();
        let lazy = Arc::new(LazyLock::new(move || drop(theirs.lock())));
        let needs = lazy.clone();
        let runs = named("initialises", move || LazyLock::force(&*needs).to_owned());
        help::until_parked(runs.thread(), "mutex");
        let error = catch_unwind(AssertUnwindSafe(|| LazyLock::force(&*lazy).to_owned())).unwrap_err();
        assert!(message(&*error).contains("for an initialiser, which thread "), "{}", message(&*error));
        drop(held);
        runs.join().unwrap();
    });
}

#[test]
fn threads_that_wait_for_an_initialiser_which_goes_on_are_not_told_so() {
    help::on_workers(|| {
        let cell = Arc::new(OnceLock::new());
        let lock = Arc::new(Mutex::new(0));
        let threads: Vec<_> = (0..10)
            .map(|n| {
                let (cell, lock) = (cell.clone(), lock.clone());
                green::spawn(move || {
                    let value = *cell.get_or_init(|| {
                        green::yield_now();
                        *lock.lock().unwrap() += 1;
                        n
                    });
                    *lock.lock().unwrap() += 1;
                    value
                })
            })
            .collect();
        let values: Vec<i32> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
        assert_eq!(*lock.lock().unwrap(), 11);
    });
}

#[test]
fn the_writers_of_two_locks_are_told_so() {
    help::on_workers(|| {
        let locks = Arc::new((RwLock::new(()), Mutex::new(())));
        let both = Arc::new(Barrier::new(2));
        let (theirs, meets) = (locks.clone(), both.clone());
        let reads = named("reads", move || {
            let _own = theirs.1.lock();
            meets.wait();
            drop(theirs.0.read());
        });
        let own = locks.0.write();
        both.wait();
        let here = catch_unwind(AssertUnwindSafe(|| drop(locks.1.lock()))).err().map(|error| message(&*error));
        drop(own);
        let there = reads.join().err().map(|error| message(&*error));
        let told: Vec<_> = [here, there].into_iter().flatten().collect();
        assert!(told.len() == 1 && told[0].contains("a readers-writer lock, which"), "{told:?}");
    });
}

/// Two threads that take two locks in both orders, by such calls that one of them always gives up.
#[test]
fn threads_that_try_or_wait_for_a_time_are_not_told_so() {
    help::on_workers(|| {
        let locks = Arc::new([Mutex::new(0_u64), Mutex::new(0_u64), Mutex::new(0_u64)]);
        let seed = 0xdead_10c5;
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let locks = locks.clone();
                let mut random = Random::new(seed + number);
                green::spawn(move || {
                    for _ in 0..help::scaled(300) {
                        let (first, second) = (random.below(3) as usize, random.below(3) as usize);
                        let mut held = locks[first].lock().unwrap();
                        *held += 1;
                        if first == second {
                            continue;
                        }
                        match random.below(4) {
                            0 => drop(locks[second].try_lock()),
                            1 => drop(locks[second].lock_timeout(Duration::from_micros(200))),
                            2 => drop(green::timeout(Duration::from_micros(200), || drop(locks[second].lock()))),
                            // In one order there is no cycle, as the other order is always bounded.
                            _ if first < second => drop(locks[second].lock().unwrap()),
                            _ => green::yield_now(),
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn threads_whose_cycle_a_cancel_has_ended_are_not_told_so() {
    help::on_workers(|| {
        let lock = Arc::new(Mutex::new(()));
        let held = lock.lock().unwrap();
        let theirs = lock.clone();
        let waits = named("waits", move || drop(theirs.lock()));
        help::until_parked(waits.thread(), "mutex");
        waits.cancel();
        assert!(waits.join().unwrap_err().is::<green::Cancelled>());
        drop(held);
    });
}

/// Actors that ask, and locks.
mod actors {
    use green::actor::{Actor, Addr, Builder, Context, Deferred, Exit, Handler, Mailbox, Message, Overflow, SendError};

    use super::*;

    /// Does what it is told, and says how that went.
    struct Puppet;
    impl Actor for Puppet {}

    struct Do(Box<dyn FnOnce() -> String + Send>);
    impl Message for Do {
        type Reply = String;
    }
    impl Handler<Do> for Puppet {
        fn handle(&mut self, act: Do, _: &mut Context<Self>) -> String {
            act.0()
        }
    }

    fn act(f: impl FnOnce() -> String + Send + 'static) -> Do {
        Do(Box::new(f))
    }

    fn puppet(name: &str) -> Addr<Puppet> {
        Builder::new().name(name).start(Puppet).unwrap()
    }

    /// What an ask has come to.
    fn told(answer: Result<String, SendError<Do>>) -> String {
        match answer {
            Ok(answer) => answer,
            Err(SendError::Deadlock { msg: Some(_), cycle }) => {
                let text = cycle.to_string();
                assert_eq!(text.matches('"').count(), 2 * (cycle.len() + 1), "all have names: {text}");
                format!("deadlock of {}", cycle.len())
            }
            Err(SendError::Died(Exit::Panic(message))) => message,
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn two_actors_that_ask_each_other_are_named_with_both_places() {
        // With another worker, who asks back may be refused before the first one waits: then the report has no place of that.
        let ended = help::in_a_child(&[("GREEN_WORKERS", "1")], || {
            let (ping, pong) = (puppet("ping"), puppet("pong"));
            let (there, back) = (pong.clone(), ping.clone());
            let asks_back = act(move || told(back.send(act(String::new))));
            let answer = told(ping.send(act(move || told(there.send(asks_back)))));
            assert_eq!(answer, "deadlock of 2");
        });
        ended.assert_success();
        let said = ended.output;
        assert!(said.contains("green: deadlock: 2 threads wait for one another\n"), "{said}");
        for (asks, owes) in [("ping", "pong"), ("pong", "ping")] {
            let line = said.lines().find(|line| line.contains(&format!("{asks:?} waits at tests/deadlock.rs:")));
            let line = line.unwrap_or_else(|| panic!("{said}"));
            assert!(line.trim().starts_with("actor ") && line.contains("for a reply of actor "), "{line}");
            assert!(line.ends_with(&format!("{owes:?}")), "{line}");
        }
    }

    #[test]
    fn an_actor_that_wants_a_lock_of_the_one_that_asks_it_is_told_so() {
        help::bounded(|| help::runtime(1).run(|| wanted_of_the_asker(true)));
        // On another worker the handler may wait before the ask does: whose wait closes the cycle is told so.
        help::on_workers(|| wanted_of_the_asker(false));
    }

    fn wanted_of_the_asker(asker_comes_first: bool) {
        let (holds, wants) = (puppet("holds"), puppet("wants"));
        let lock = Arc::new(Mutex::new(()));
        let theirs = lock.clone();
        let answer = told(holds.send(act(move || {
            let _held = lock.lock();
            told(wants.send(act(move || format!("{:?}", theirs.lock().is_ok()))))
        })));
        if !asker_comes_first && answer.starts_with("waiting would close a cycle: ") {
            return;
        }
        assert!(answer.starts_with("deadlock: 2 threads wait for one another\n"), "{answer}");
        assert!(answer.contains("\"wants\" waits at tests/deadlock.rs:"), "{answer}");
        assert!(answer.contains("for a mutex, which actor ") && answer.contains("\"holds\" has since"), "{answer}");
        assert!(answer.contains("for a reply of actor "), "{answer}");
    }

    #[test]
    fn who_asks_an_actor_that_waits_for_its_lock_gets_the_message_back() {
        let ended = help::in_a_child(&[], || {
            green::run(|| {
                let lock = Arc::new(Mutex::new(()));
                let theirs = lock.clone();
                let wants = puppet("wants");
                let held = lock.lock().unwrap();
                let spot = help::Spot::default();
                let mark = spot.clone();
                let waits = wants.call(act(move || {
                    mark.mark();
                    format!("{:?}", theirs.lock().is_ok())
                }));
                help::until(|| spot.waits_for() == Some("mutex"));
                assert_eq!(told(wants.send(act(String::new))), "deadlock of 1");
                drop(held);
                assert_eq!(waits.unwrap().wait().unwrap(), "true");
                assert_eq!(told(wants.send(act(|| "goes on".to_owned()))), "goes on");
            });
        });
        ended.assert_success();
        assert!(ended.output.contains(" for a reply of actor "), "{}", ended.output);
        assert!(ended.output.contains("\"wants\" waits at tests/deadlock.rs:"), "{}", ended.output);
    }

    /// Has another answer, and wants a lock meanwhile.
    struct Later(Arc<Mutex<()>>, green::channel::Sender<Deferred<u32>>, help::Spot);
    impl Actor for Later {}
    struct Ask;
    impl Message for Ask {
        type Reply = u32;
    }
    impl Handler<Ask> for Later {
        fn handle(&mut self, _: Ask, ctx: &mut Context<Self>) -> u32 {
            self.2.mark();
            self.1.send(ctx.defer::<Ask>()).unwrap();
            drop(self.0.lock().unwrap());
            0
        }
    }

    #[test]
    fn who_asks_an_actor_that_has_another_answer_is_not_told_so() {
        help::on_workers(|| {
            let (lock, spot) = (Arc::new(Mutex::new(())), help::Spot::default());
            let (sender, receiver) = green::channel::bounded(1);
            let actor = Later(lock.clone(), sender, spot.clone()).start();
            let answers = named("answers", move || {
                let deferred = receiver.recv().unwrap();
                help::until(|| spot.waits_for() == Some("mutex"));
                deferred.reply(7);
            });
            let held = lock.lock().unwrap();
            assert_eq!(actor.send(Ask).unwrap(), 7);
            drop(held);
            answers.join().unwrap();
            actor.stop();
            assert_eq!(actor.join(), Exit::Shutdown);
        });
    }

    #[test]
    fn who_asks_for_a_time_is_not_told_so() {
        help::on_workers(|| {
            let lock = Arc::new(Mutex::new(()));
            let theirs = lock.clone();
            let wants = puppet("wants");
            let held = lock.lock().unwrap();
            let waits = act(move || format!("{:?}", theirs.lock().is_ok()));
            let error = wants.send_timeout(waits, Duration::from_millis(20)).unwrap_err();
            // Where the machine is busy the handler has not begun.
            assert!(matches!(error, SendError::Timeout(_)), "{error}");
            drop(held);
            assert_eq!(wants.send(act(|| "goes on".to_owned())).unwrap(), "goes on");
        });
    }

    #[test]
    fn who_asks_an_actor_that_takes_no_message_is_told_that_although_it_waits_for_the_askers_lock() {
        help::on_workers(|| {
            let lock = Arc::new(Mutex::new(()));
            let rejects = || Mailbox::bounded(1).overflow(Overflow::Reject);
            let (ends, full) = (puppet("ends"), Builder::new().mailbox(rejects()).start(Puppet).unwrap());
            let held = lock.lock().unwrap();
            let waits = [&ends, &full].map(|actor| {
                let (theirs, spot) = (lock.clone(), help::Spot::default());
                let mark = spot.clone();
                let waits = actor.call(act(move || {
                    mark.mark();
                    format!("{:?}", theirs.lock().is_ok())
                }));
                help::until(|| spot.waits_for() == Some("mutex"));
                waits.unwrap()
            });
            ends.stop();
            let _fills = full.call(act(String::new)).unwrap();
            let error = ends.send(act(String::new)).unwrap_err();
            assert!(matches!(error, SendError::Closed(_)), "{error}");
            let error = full.send(act(String::new)).unwrap_err();
            assert!(matches!(error, SendError::Full(_)), "{error}");
            drop(held);
            assert!(waits.into_iter().all(|waits| waits.wait().unwrap() == "true"));
            assert_eq!(ends.join(), Exit::Shutdown);
        });
    }

    #[test]
    fn actors_whose_wait_the_time_of_the_first_asker_ends_are_not_told_so() {
        help::on_workers(|| {
            let (holds, wants) = (puppet("holds"), puppet("wants"));
            let lock = Arc::new(Mutex::new(()));
            let (theirs, asked) = (lock.clone(), wants.clone());
            let nested = act(move || {
                let _held = lock.lock();
                told(asked.send(act(move || format!("{:?}", theirs.lock().is_ok()))))
            });
            // The inner ask has the same deadline: it ends first, or last.
            let answer = told(holds.send_timeout(nested, Duration::from_millis(20)));
            assert!(!answer.contains("deadlock") && answer.contains("time"), "{answer}");
            for actor in [holds, wants] {
                assert_eq!(actor.send(act(|| "goes on".to_owned())).unwrap(), "goes on");
            }
        });
    }

    /// Is asked for a short time only.
    struct Brief;
    impl Actor for Brief {
        const ASK_TIMEOUT: Duration = Duration::from_millis(20);
    }
    impl Handler<Do> for Brief {
        fn handle(&mut self, act: Do, _: &mut Context<Self>) -> String {
            act.0()
        }
    }

    #[test]
    fn who_asks_an_actor_that_has_a_short_time_to_answer_is_not_told_so() {
        help::on_workers(|| {
            let lock = Arc::new(Mutex::new(()));
            let theirs = lock.clone();
            let wants = Brief.start();
            let held = lock.lock().unwrap();
            let error = wants.send(act(move || format!("{:?}", theirs.lock().is_ok()))).unwrap_err();
            assert!(matches!(error, SendError::Timeout(_)), "{error}");
            drop(held);
            let goes_on = wants.send_timeout(act(|| "goes on".to_owned()), Duration::from_secs(60));
            assert_eq!(goes_on.unwrap(), "goes on");
        });
    }
}
