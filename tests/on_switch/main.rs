//! `on_switch`: what is called at each switch of a thread that asked for it, and the spans of `tracing` that go by it. [`actors`] has those of actors, [`several`] those on several workers.

#![cfg(not(miri))]
#![allow(missing_docs)]

mod actors;
#[path = "../help/mod.rs"]
mod help;
#[cfg(target_os = "linux")]
#[path = "../help/moves.rs"]
mod moves;
#[cfg(target_os = "linux")]
mod several;

use std::cell::Cell;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use green::actor::{Actor, Context, Handler, Message};
use green::thread::{Builder, OnSwitch};
use green::{Runtime, ThreadLocals, channel};
use help::in_a_child;

thread_local! {
    static USER: Cell<u32> = const { Cell::new(0) };
}

/// Keeps `USER` for a thread.
struct Mine(u32);

impl OnSwitch for Mine {
    fn resume(&mut self) {
        self.0 = USER.replace(self.0);
    }
    fn suspend(&mut self) {
        self.0 = USER.replace(self.0);
    }
}

/// Counts both calls, and checks that they come in turn.
#[derive(Clone, Default)]
struct Counted(Arc<Mutex<(u32, u32, bool)>>);

impl Counted {
    fn now(&self) -> (u32, u32) {
        let counts = self.0.lock().unwrap();
        (counts.0, counts.1)
    }
}

impl OnSwitch for Counted {
    fn resume(&mut self) {
        let mut counts = self.0.lock().unwrap();
        assert!(!std::mem::replace(&mut counts.2, true), "resumed twice");
        counts.0 += 1;
    }
    fn suspend(&mut self) {
        let mut counts = self.0.lock().unwrap();
        assert!(std::mem::replace(&mut counts.2, false), "suspended twice");
        counts.1 += 1;
    }
}

fn on(workers: usize, f: impl FnOnce() + Send) {
    Runtime::builder().workers(workers).build().unwrap().run(f);
}

fn mine(user: u32) -> Builder {
    Builder::new().on_switch(Mine(user))
}

struct Double(u32);
impl Message for Double {
    type Reply = u32;
}
struct Doubler;
impl Actor for Doubler {}
impl Handler<Double> for Doubler {
    fn handle(&mut self, m: Double, _: &mut Context<Self>) -> u32 {
        // On top of the asker it would see the asker's.
        assert_eq!(USER.get(), 0);
        m.0 * 2
    }
}

#[test]
fn a_thread_keeps_what_is_its_own_over_every_kind_of_wait() {
    for workers in [1, 2] {
        on(workers, || {
            let doubler = Doubler.start();
            let (sender, receiver) = channel::bounded(1);
            let lock = Arc::new(green::sync::Mutex::new(0));
            let threads: Vec<_> = (1..=50)
                .map(|user| {
                    let (doubler, sender, lock) = (doubler.clone(), sender.clone(), lock.clone());
                    let body = move || {
                        let check = || assert_eq!(USER.get(), user);
                        check();
                        green::yield_now();
                        check();
                        green::sleep(Duration::from_millis(1));
                        check();
                        assert_eq!(doubler.send(Double(user)).unwrap(), user * 2);
                        check();
                        let mut guard = lock.lock().unwrap();
                        green::yield_now();
                        *guard += 1;
                        drop(guard);
                        check();
                        // A child that has not started would run on top of one that has no such calls.
                        green::spawn(|| assert_eq!(USER.get(), 0)).join().unwrap();
                        check();
                        green::blocking(|| ());
                        check();
                        sender.send(user).unwrap();
                        check();
                        let late = green::timeout(Duration::from_millis(1), || green::sleep(Duration::from_secs(60)));
                        assert!(late.is_err());
                        check();
                    };
                    mine(user).spawn(body).unwrap()
                })
                .collect();
            let plain = green::spawn(|| {
                for _ in 0..200 {
                    assert_eq!(USER.get(), 0);
                    green::yield_now();
                }
            });
            drop(sender);
            assert_eq!(receiver.iter().sum::<u32>(), 50 * 51 / 2);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            plain.join().unwrap();
            assert_eq!(USER.get(), 0);
        });
    }
}

#[test]
fn joined_at_once_a_thread_with_calls_does_not_see_its_joiners() {
    on(1, || {
        let doubler = Doubler.start();
        let joiner = mine(1).spawn(move || {
            mine(2).spawn(|| assert_eq!(USER.get(), 2)).unwrap().join().unwrap();
            assert_eq!(USER.get(), 1);
            assert_eq!(doubler.send(Double(4)).unwrap(), 8);
            let counts = Counted::default();
            let both = counts.clone();
            let outer = Builder::new().on_switch(counts.clone()).spawn(move || {
                let before = both.now();
                mine(3).spawn(|| ()).unwrap().join().unwrap();
                (before, both.now())
            });
            assert_eq!(outer.unwrap().join().unwrap(), ((1, 0), (2, 1)), "a join of an unstarted thread is a switch");
        });
        joiner.unwrap().join().unwrap();
        mine(3).spawn(|| assert_eq!(USER.get(), 3)).unwrap().join().unwrap();
        assert_eq!(USER.get(), 0);
    });
}

#[test]
fn the_calls_come_in_turn_from_the_begin_to_the_end_however_the_thread_ends() {
    on(1, || {
        let counts = Counted::default();
        let thread = Builder::new().on_switch(counts.clone()).spawn(|| (0..10).for_each(|_| green::yield_now()));
        thread.unwrap().join().unwrap();
        green::yield_now();
        assert_eq!(counts.now(), (11, 11));

        let counts = Counted::default();
        let thread = Builder::new().on_switch(counts.clone()).spawn(|| {
            green::yield_now();
            resume_unwind(Box::new("ends"));
        });
        assert!(thread.unwrap().join().is_err());
        green::yield_now();
        assert_eq!(counts.now(), (2, 2));

        let counts = Counted::default();
        let thread = Builder::new().on_switch(counts.clone()).spawn(green::thread::park).unwrap();
        green::yield_now();
        assert_eq!(counts.now(), (1, 1));
        thread.cancel();
        assert!(thread.join().is_err());
        green::yield_now();
        assert_eq!(counts.now(), (2, 2));

        // Cancelled before it has started: nothing of its own runs, but it is a thread.
        let counts = Counted::default();
        let thread = Builder::new().on_switch(counts.clone()).spawn(|| unreachable!()).unwrap();
        thread.cancel();
        assert!(thread.join().is_err());
        green::yield_now();
        assert_eq!(counts.now(), (1, 1));
    });
}

#[test]
fn a_runtime_that_is_dropped_ends_its_waiting_threads_with_their_calls() {
    let counts = Counted::default();
    let runtime = Runtime::builder().workers(1).build().unwrap();
    runtime.run(|| {
        drop(Builder::new().on_switch(counts.clone()).spawn(green::thread::park).unwrap());
        green::yield_now();
    });
    drop(runtime);
    assert_eq!(counts.now(), (2, 2));
}

#[test]
fn a_destructor_of_a_local_and_one_that_unwinds_see_what_is_the_threads() {
    green::local!(static LAST: Check = const { Check });
    struct Check;
    impl Drop for Check {
        fn drop(&mut self) {
            green::yield_now();
            SEEN.fetch_add(USER.get(), SeqCst);
        }
    }
    static SEEN: AtomicU32 = AtomicU32::new(0);
    on(1, || {
        let thread = mine(7).spawn(|| {
            LAST.with(|_| ());
            let caught = catch_unwind(AssertUnwindSafe(|| {
                let _check = Check;
                resume_unwind(Box::new(()));
            }));
            assert!(caught.is_err());
            assert_eq!(USER.get(), 7);
        });
        thread.unwrap().join().unwrap();
    });
    assert_eq!(SEEN.load(SeqCst), 14);
}

#[test]
fn the_calls_are_made_on_the_thread_itself() {
    struct Named(Arc<AtomicU32>);
    impl OnSwitch for Named {
        fn resume(&mut self) {
            assert_eq!(green::thread::current().name(), Some("named"));
            self.0.fetch_add(1, SeqCst);
        }
        fn suspend(&mut self) {
            assert_eq!(green::thread::current().name(), Some("named"));
            self.0.fetch_add(1, SeqCst);
        }
    }
    let calls = Arc::new(AtomicU32::new(0));
    let named = Builder::new().name("named".into()).on_switch(Named(calls.clone()));
    named.spawn(green::yield_now).unwrap().join().unwrap();
    while calls.load(SeqCst) < 4 {
        green::yield_now();
    }
}

#[test]
fn a_cancelled_thread_has_calls_that_make_cancellation_points() {
    struct Locks(Arc<green::sync::Mutex<u32>>);
    impl OnSwitch for Locks {
        fn resume(&mut self) {
            *self.0.lock().unwrap() += 1;
        }
        fn suspend(&mut self) {
            *self.0.lock().unwrap() += 1;
        }
    }
    on(1, || {
        let lock = Arc::new(green::sync::Mutex::new(0));
        let thread = Builder::new().on_switch(Locks(lock.clone())).spawn(green::thread::park).unwrap();
        green::yield_now();
        thread.cancel();
        assert!(thread.join().unwrap_err().is::<green::Cancelled>());
        green::yield_now();
        assert_eq!(*lock.lock().unwrap(), 4);
        let locks = Locks(lock.clone());
        let late = Builder::new()
            .on_switch(locks)
            .spawn(|| green::timeout(Duration::from_millis(1), || green::sleep(Duration::from_secs(60))).is_err());
        assert!(late.unwrap().join().unwrap());
    });
}

#[test]
fn a_scoped_and_a_local_thread_have_their_calls_too() {
    on(2, || {
        let text = String::from("borrowed");
        green::scope(|scope| {
            let thread = mine(4).spawn_scoped(scope, || {
                green::yield_now();
                assert_eq!(USER.get(), 4);
                text.len()
            });
            assert_eq!(thread.unwrap().join().unwrap(), 8);
        });
        let near = std::rc::Rc::new(5);
        let local = mine(5).spawn_local(move || {
            green::yield_now();
            assert_eq!(USER.get(), *near);
        });
        local.unwrap().join().unwrap();
    });
}

#[test]
fn a_runtimes_threads_have_what_is_made_for_each_and_an_own_one_goes_first() {
    let runtime = Runtime::builder().workers(2).on_switch(|| Mine(USER.get() + 1)).build().unwrap();
    runtime.run(|| {
        assert_eq!(USER.get(), 1);
        let child = green::spawn(|| (USER.get(), green::spawn(|| USER.get()).join().unwrap()));
        assert_eq!(child.join().unwrap(), (2, 3));
        assert_eq!(mine(9).spawn(|| USER.get()).unwrap().join().unwrap(), 9);
        assert_eq!(USER.get(), 1);
    });
}

#[test]
fn with_thread_locals_of_its_own_it_is_an_error_that_says_so() {
    if ThreadLocals::supported().is_err() {
        return;
    }
    let refused = mine(1).thread_locals(ThreadLocals::PerThread).spawn(|| ()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(refused.to_string().contains("on_switch"), "{refused}");
    let builder = Runtime::builder().workers(1).on_switch(|| Mine(1));
    let refused = builder.clone().thread_locals(ThreadLocals::PerThread).build().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    // A thread of such a runtime may have its own, and has no calls then.
    let runtime = builder.build().unwrap();
    let own = || Builder::new().thread_locals(ThreadLocals::PerThread).spawn(|| USER.get()).unwrap().join().unwrap();
    assert_eq!(runtime.run(|| (USER.get(), own())), (1, 0));
}

#[test]
fn a_dump_shows_a_thread_with_calls_as_any_other() {
    on(1, || {
        let thread = Builder::new().name("with calls".into()).on_switch(Mine(1)).spawn(green::thread::park).unwrap();
        green::yield_now();
        let mut lines = Vec::new();
        green::dump::json(&mut lines).unwrap();
        let lines = String::from_utf8(lines).unwrap();
        let line = lines.lines().find(|line| line.contains("with calls")).expect("it is there");
        assert!(line.contains(r#""state":"waiting""#), "{line}");
        thread.thread().unpark();
        thread.join().unwrap();
    });
}

#[test]
fn a_call_that_blocks_or_panics_ends_the_process_and_says_so() {
    let blocks: fn() = || green::sleep(Duration::from_millis(1));
    let ended = in_a_child(&[], move || {
        let thread = Builder::new().on_switch((|| (), blocks)).spawn(green::yield_now);
        thread.unwrap().join().unwrap();
    });
    assert_eq!(ended.signal, Some(libc::SIGABRT), "{}", ended.output);
    assert!(ended.output.contains("on_switch") && ended.output.contains("no_park"), "{}", ended.output);
}

/// Panics at its so manyeth call of each kind, counted from one; or when it is dropped.
struct Panics {
    resumes: u32,
    suspends: u32,
    at_resume: u32,
    at_suspend: u32,
}

impl OnSwitch for Panics {
    fn resume(&mut self) {
        self.resumes += 1;
        assert_ne!(self.resumes, self.at_resume, "resume");
    }

    fn suspend(&mut self) {
        self.suspends += 1;
        assert_ne!(self.suspends, self.at_suspend, "suspend");
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        assert!(self.at_resume + self.at_suspend > 0, "drop");
    }
}

#[test]
fn a_panic_of_a_call_at_a_switch_ends_the_process_wherever_it_comes() {
    // Before the closure, in the middle, at the end; when the calls are dropped.
    for (at_resume, at_suspend, what) in
        [(1, 0, "resume"), (2, 0, "resume"), (0, 1, "suspend"), (0, 2, "suspend"), (0, 0, "drop")]
    {
        let ended = in_a_child(&[], move || {
            let calls = Panics { resumes: 0, suspends: 0, at_resume, at_suspend };
            let runtime = Runtime::builder().workers(1).build().unwrap();
            runtime.run(move || {
                // Another thread to switch to.
                let other = green::spawn(|| (0..5).for_each(|_| green::yield_now()));
                let thread = Builder::new().on_switch(calls).spawn(green::yield_now).unwrap();
                other.join().unwrap();
                // Not reached: nor does a join get the panic.
                thread.join().unwrap_err();
            });
        });
        assert_eq!(ended.signal, Some(libc::SIGABRT), "{what}: {}", ended.output);
        assert!(ended.output.contains("on_switch has called panicked"), "{what}: {}", ended.output);
    }
}

#[cfg(feature = "tracing")]
mod spans {
    use green::Runtime;
    use green::thread::Builder;
    use green::tracing::Spans;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    use tracing::span::Id;
    use tracing::subscriber::NoSubscriber;
    use tracing::{Dispatch, Span, Subscriber, dispatcher, info_span};
    use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

    static CLOSED: AtomicU32 = AtomicU32::new(0);
    /// Counts the spans that close.
    struct Closed;
    impl<S: Subscriber> Layer<S> for Closed {
        fn on_close(&self, _: Id, _: Context<'_, S>) {
            CLOSED.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn a_span_and_a_dispatcher_follow_the_thread_that_has_entered_them() {
        let subscriber = Dispatch::new(tracing_subscriber::registry());
        let runtime = Runtime::builder().workers(1).on_switch(Spans::inherited).build().unwrap();
        runtime.run(|| {
            green::scope(|scope| {
                for number in 0..50 {
                    let subscriber = &subscriber;
                    scope.spawn(move || {
                        dispatcher::with_default(subscriber, || {
                            assert!(Span::current().is_none());
                            let outer = info_span!("outer", number);
                            let in_outer = outer.enter();
                            for _ in 0..5 {
                                green::yield_now();
                                assert!(outer.id().is_some());
                                assert_eq!(Span::current().id(), outer.id());
                                let inner = info_span!("inner");
                                inner.in_scope(|| {
                                    green::yield_now();
                                    assert_eq!(Span::current().id(), inner.id());
                                });
                            }
                            assert_eq!(Span::current().id(), outer.id());
                            let child = green::spawn(|| Span::current().id());
                            assert_eq!(child.join().unwrap(), outer.id());
                            drop(in_outer);
                            assert!(Span::current().is_none());
                        });
                        green::yield_now();
                        dispatcher::get_default(|now| assert!(now.is::<NoSubscriber>()));
                    });
                }
            });
        });
    }

    #[test]
    fn a_named_thread_is_in_a_span_of_its_own_that_ends_with_it() {
        let subscriber = Dispatch::new(tracing_subscriber::registry().with(Closed));
        let runtime = Runtime::builder().workers(1).build().unwrap();
        runtime.run(|| {
            dispatcher::with_default(&subscriber, || {
                let named = Builder::new().name("reader".into()).on_switch(Spans::inherited());
                let thread = named.spawn(|| {
                    green::yield_now();
                    let span = Span::current();
                    assert_eq!(span.metadata().map(|metadata| metadata.name()), Some("thread"));
                    assert_eq!(CLOSED.load(SeqCst), 0);
                });
                thread.unwrap().join().unwrap();
                green::yield_now();
                assert_eq!(CLOSED.load(SeqCst), 1);
                assert!(Span::current().is_none());
            });
        });
    }
}
