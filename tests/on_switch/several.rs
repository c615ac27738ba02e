//! Calls at switches, and spans, of threads that others take: those that have not started, and, with thread-locals of their own, those that are ready.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use green::actor::{self, Actor, Context, Handler, Message};
use green::{ThreadLocals, yield_now};

use super::moves::{compute, os_thread, runtime};
use super::{Counted, Mine, OnSwitch, USER, help, mine, on};

/// Moves that are waited for.
const MOVES: usize = 50;

/// Goes on until threads have moved often enough.
struct Moves {
    count: AtomicUsize,
    end: Instant,
}

impl Moves {
    fn new() -> Self {
        Self { count: AtomicUsize::new(0), end: Instant::now() + Duration::from_secs(120) }
    }

    fn are_enough(&self) -> bool {
        self.count.load(Relaxed) >= MOVES || Instant::now() > self.end
    }

    /// Is ready, so that others may take it, again and again; `check` is called after each time. How often it has moved.
    fn wander(&self, number: u64, check: impl Fn()) -> usize {
        let (mut own, mut at) = (0, os_thread());
        while !self.are_enough() {
            compute(Duration::from_micros(20 + 10 * (number % 7)));
            yield_now();
            check();
            let now = os_thread();
            if now != at {
                own += 1;
                self.count.fetch_add(1, Relaxed);
            }
            at = now;
        }
        own
    }
}

/// Both kinds at once: the second.
struct Both(Mine, Counted);

impl OnSwitch for Both {
    fn resume(&mut self) {
        self.0.resume();
        self.1.resume();
    }
    fn suspend(&mut self) {
        self.1.suspend();
        self.0.suspend();
    }
}

#[test]
fn a_thread_with_calls_stays_among_those_that_move_and_neither_sees_what_is_the_others() {
    let Some(runtime) = runtime(4) else { return };
    let moves = Moves::new();
    runtime.run(|| {
        green::scope(|scope| {
            for number in 1..=20 {
                let moves = &moves;
                scope.spawn(move || {
                    USER.set(100 + number);
                    moves.wander(u64::from(number), || assert_eq!(USER.get(), 100 + number));
                });
                let counts = Counted::default();
                let calls = Both(Mine(number), counts.clone());
                let stays = green::thread::Builder::new().thread_locals(ThreadLocals::PerWorker).on_switch(calls);
                let thread = stays.spawn_scoped(scope, move || {
                    let here = os_thread();
                    let mut rounds = 0;
                    while !moves.are_enough() {
                        rounds += 1;
                        yield_now();
                        assert_eq!((USER.get(), os_thread()), (number, here));
                        green::sleep(Duration::from_micros(100));
                        assert_eq!((USER.get(), os_thread()), (number, here));
                        let (resumes, suspends) = counts.now();
                        assert!(resumes == suspends + 1 && resumes > rounds, "{resumes}, {suspends} in {rounds}");
                    }
                });
                drop(thread.unwrap());
            }
        });
    });
    assert!(moves.count.load(Relaxed) >= MOVES);
}

/// Who spawns them keeps its worker busy until another has begun some.
#[test]
fn threads_that_another_worker_begins_have_the_calls_of_their_own() {
    on(4, || {
        let (here, elsewhere) = (os_thread(), AtomicUsize::new(0));
        green::scope(|scope| {
            for user in 1..=50 {
                let elsewhere = &elsewhere;
                let thread = mine(user).spawn_scoped(scope, move || {
                    let at = os_thread();
                    elsewhere.fetch_add(usize::from(at != here), Relaxed);
                    for _ in 0..5 {
                        assert_eq!((USER.get(), os_thread()), (user, at));
                        yield_now();
                    }
                });
                drop(thread.unwrap());
            }
            let end = Instant::now() + Duration::from_secs(60);
            while elsewhere.load(Relaxed) == 0 && Instant::now() < end {
                std::hint::spin_loop();
            }
        });
        assert!(elsewhere.load(Relaxed) > 0);
        assert_eq!(USER.get(), 0);
    });
}

/// Says what it sees, and where.
struct Look;
impl Message for Look {
    type Reply = (u32, i64);
}
struct Looker;
impl Actor for Looker {}
impl Handler<Look> for Looker {
    fn handle(&mut self, _: Look, _: &mut Context<Self>) -> (u32, i64) {
        (USER.get(), os_thread())
    }
}

#[test]
fn an_actor_that_is_asked_on_several_workers_has_its_calls_on_each() {
    on(4, || {
        let looker = actor::Builder::new().on_switch(Mine(5)).start(Looker).unwrap();
        let (places, over) = (green::sync::Mutex::new(HashSet::new()), AtomicBool::new(false));
        green::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while !over.load(Relaxed) {
                        let (user, place) = looker.send(Look).unwrap();
                        assert_eq!((user, USER.get()), (5, 0));
                        places.lock().unwrap().insert(place);
                        compute(Duration::from_micros(100));
                        yield_now();
                    }
                });
            }
            help::until(|| places.lock().unwrap().len() > 1);
            over.store(true, Relaxed);
        });
    });
}

#[cfg(feature = "tracing")]
mod spans {
    use green::Runtime;
    use green::tracing::Spans;
    use tracing::{Dispatch, Span, dispatcher, info_span};
    use tracing_subscriber::Registry;

    use super::*;

    /// Tells one dispatcher from another.
    fn dispatcher_address() -> usize {
        dispatcher::get_default(|now| {
            now.downcast_ref::<Registry>().map_or(0, |registry| &raw const *registry as usize)
        })
    }

    #[test]
    fn spans_and_a_dispatcher_are_a_threads_own_when_others_take_it_while_it_is_ready() {
        let Some(runtime) = runtime(4) else { return };
        let moves = Moves::new();
        runtime.run(|| {
            green::scope(|scope| {
                for number in 0..20 {
                    let moves = &moves;
                    scope.spawn(move || {
                        dispatcher::with_default(&Dispatch::new(tracing_subscriber::registry()), || {
                            let own = dispatcher_address();
                            assert!(own != 0 && Span::current().is_none());
                            // Of another, spans have the same numbers.
                            let outer = info_span!("outer", number).entered();
                            let inner = info_span!("inner");
                            moves.wander(number, || {
                                assert_eq!((Span::current().id(), dispatcher_address()), (outer.id(), own));
                                inner.in_scope(|| {
                                    yield_now();
                                    assert_eq!((Span::current().id(), dispatcher_address()), (inner.id(), own));
                                });
                            });
                            drop(outer);
                            assert!(Span::current().is_none());
                        });
                        assert_eq!(dispatcher_address(), 0);
                    });
                }
            });
        });
        assert!(moves.count.load(Relaxed) >= MOVES);
    }

    #[test]
    fn threads_that_another_worker_begins_are_in_the_span_of_the_one_that_has_spawned_them() {
        let runtime = Runtime::builder().workers(4).on_switch(Spans::inherited).build().unwrap();
        let subscriber = Dispatch::new(tracing_subscriber::registry());
        runtime.run(|| {
            dispatcher::with_default(&subscriber, || {
                let (here, elsewhere) = (os_thread(), AtomicUsize::new(0));
                let request = info_span!("request").entered();
                let id = request.id();
                green::scope(|scope| {
                    for number in 0..50 {
                        let (id, elsewhere) = (&id, &elsewhere);
                        scope.spawn(move || {
                            elsewhere.fetch_add(usize::from(os_thread() != here), Relaxed);
                            let own = info_span!("own", number);
                            for _ in 0..5 {
                                assert_eq!(Span::current().id(), *id);
                                own.in_scope(|| {
                                    yield_now();
                                    assert_eq!(Span::current().id(), own.id());
                                });
                            }
                        });
                    }
                    let end = Instant::now() + Duration::from_secs(60);
                    while elsewhere.load(Relaxed) == 0 && Instant::now() < end {
                        std::hint::spin_loop();
                    }
                });
                assert!(elsewhere.load(Relaxed) > 0);
                assert_eq!(Span::current().id(), id);
            });
        });
    }
}
