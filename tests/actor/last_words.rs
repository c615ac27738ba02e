//! An actor's `stopping` that waits for ever does not keep what ends the actor, or its runtime, for ever.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use green::actor::{Actor, Addr, Builder, Context, Exit, Handler, JoinError, Message};
use green::{Runtime, ThreadLocals};

use crate::help::{Gate, bounded};
use crate::{Add, LONG};

/// Does that in its `stopping`, and that when it is dropped.
struct Talks {
    words: Option<Box<dyn FnOnce() + Send>>,
    last: Option<Box<dyn FnOnce() + Send>>,
}
impl Actor for Talks {
    fn stopping(&mut self, _: &Exit, _: &mut Context<Self>) {
        self.words.take().into_iter().for_each(|words| words());
    }
}
impl Handler<Add> for Talks {
    fn handle(&mut self, _: Add, _: &mut Context<Self>) {}
}
impl Drop for Talks {
    fn drop(&mut self) {
        self.last.take().into_iter().for_each(|last| last());
    }
}

fn waits_for_ever() {
    loop {
        green::thread::park();
    }
}

fn talks(
    runtime: &Runtime,
    words: impl FnOnce() + Send + 'static,
    last: impl FnOnce() + Send + 'static,
) -> Addr<Talks> {
    let state = Talks { words: Some(Box::new(words)), last: Some(Box::new(last)) };
    let talks = Builder::new().runtime(runtime).start(state).unwrap();
    talks.send(Add(1)).unwrap();
    talks
}

/// For what waits for ever.
const SHORT: Duration = Duration::from_millis(200);

/// On so many workers, with threads of either kind, at the same time: each takes as long as last words do, which is `d`.
fn in_each_runtime(d: Duration, f: impl Fn(Runtime) + Send + Sync + Copy + 'static) {
    let (is_done, done) = mpsc::channel();
    let kinds = [ThreadLocals::PerWorker, ThreadLocals::PerThread];
    let mut left = 0;
    for (workers, kind) in [1, 3].into_iter().flat_map(|workers| kinds.map(|kind| (workers, kind))) {
        let builder = Runtime::builder().workers(workers).thread_locals(kind).stopping_timeout(d);
        let Ok(runtime) = builder.build() else {
            assert_eq!(kind, ThreadLocals::PerThread);
            continue;
        };
        let is_done = is_done.clone();
        left += 1;
        std::thread::spawn(move || {
            f(runtime);
            is_done.send(()).unwrap();
        });
    }
    for _ in 0..left {
        done.recv_timeout(LONG).expect("the end of a runtime does not come");
    }
}

/// Waits in its handler.
struct Wait(Gate);
impl Message for Wait {
    type Reply = ();
}
impl Handler<Wait> for Talks {
    fn handle(&mut self, wait: Wait, _: &mut Context<Self>) {
        wait.0.open();
        waits_for_ever();
    }
}

/// Waits when it is dropped.
struct Lingers(Gate);
impl Message for Lingers {
    type Reply = ();
}
impl Handler<Lingers> for Talks {
    fn handle(&mut self, _: Lingers, _: &mut Context<Self>) {}
}
impl Drop for Lingers {
    fn drop(&mut self) {
        self.0.open();
        waits_for_ever();
    }
}

/// The bound held from the actor's last words on only, and what is queued is given back before.
#[test]
fn a_queued_message_that_waits_when_it_is_dropped_does_not_keep_the_end_of_its_runtime_for_ever() {
    in_each_runtime(SHORT, |runtime| {
        let (inside, dropped, over) = (Gate::new(), [Gate::new(), Gate::new()], Gate::new());
        let last = over.clone();
        let talks = talks(&runtime, || (), move || last.open());
        talks.tell(Wait(inside.clone())).unwrap();
        inside.wait();
        dropped.iter().for_each(|dropped| talks.tell(Lingers(dropped.clone())).unwrap());
        drop(runtime);
        assert!(talks.is_ended() && over.is_open() && dropped.iter().all(Gate::is_open));
    });
}

/// The bound held for actors only that end when the workers are gone.
#[test]
fn a_stopping_that_waits_on_a_worker_does_not_keep_the_end_of_its_runtime_for_ever() {
    in_each_runtime(SHORT, |runtime| {
        let (waits, inside) = (Gate::new(), Gate::new());
        let opens = inside.clone();
        let words = move || {
            opens.open();
            waits_for_ever();
        };
        let dropped = waits.clone();
        let talks = talks(&runtime, words, move || dropped.open());
        talks.stop();
        inside.wait();
        drop(runtime);
        assert!(talks.is_ended() && waits.is_open());
    });
}

#[test]
fn a_stopping_that_swallows_its_end_or_a_destructor_that_waits_is_unwound_at_each_wait() {
    in_each_runtime(SHORT, |runtime| {
        let inside = Gate::new();
        let opens = inside.clone();
        let words = move || {
            opens.open();
            for _ in 0..3 {
                assert!(catch_unwind(AssertUnwindSafe(waits_for_ever)).is_err());
            }
        };
        let talks = talks(&runtime, words, waits_for_ever);
        talks.stop();
        inside.wait();
        drop(runtime);
        assert!(talks.is_ended());
    });
}

#[test]
fn a_stopping_that_begins_when_its_runtime_has_ended_for_long_is_unwound_too() {
    in_each_runtime(SHORT, |runtime| {
        let (first, second) = (Gate::new(), Gate::new());
        let opens = first.clone();
        let late = talks(&runtime, waits_for_ever, || ());
        let stopped = late.clone();
        let words = move || {
            opens.open();
            let _ = catch_unwind(AssertUnwindSafe(waits_for_ever));
            stopped.stop();
        };
        let opens = second.clone();
        let talks = talks(&runtime, words, move || opens.open());
        talks.stop();
        first.wait();
        drop(runtime);
        assert!(talks.is_ended() && late.is_ended() && second.is_open());
    });
}

#[test]
fn a_shutdown_of_a_runtime_comes_back_from_a_stopping_that_waits() {
    in_each_runtime(SHORT, |runtime| {
        let talks = talks(&runtime, waits_for_ever, || ());
        let end = runtime.shutdown(Duration::from_millis(50));
        assert_eq!((end.left, talks.is_ended()), (1, true));
    });
}

/// It has its time: the end of the runtime waits for it.
#[test]
fn a_stopping_that_waits_for_a_while_is_not_unwound() {
    in_each_runtime(Duration::MAX, |runtime| {
        let (said, inside) = (Gate::new(), Gate::new());
        let (opens, says) = (inside.clone(), said.clone());
        let words = move || {
            opens.open();
            let since = Instant::now();
            green::sleep(Duration::from_millis(300));
            assert!(since.elapsed() >= Duration::from_millis(300));
            says.open();
        };
        let talks = talks(&runtime, words, || ());
        talks.stop();
        inside.wait();
        drop(runtime);
        assert!(talks.is_ended() && said.is_open());
    });
}

#[test]
fn where_last_words_have_no_time_what_computes_is_said_and_the_first_wait_unwound() {
    in_each_runtime(Duration::ZERO, |runtime| {
        let (inside, said) = (Gate::new(), Gate::new());
        let (opens, says) = (inside.clone(), said.clone());
        let words = move || {
            opens.open();
            // Until its runtime ends.
            waits_for_ever();
        };
        let stopped = talks(&runtime, words, move || says.open());
        stopped.stop();
        inside.wait();
        let late = Gate::new();
        let (says, waits) = (late.clone(), Gate::new());
        let rests = talks(
            &runtime,
            move || {
                says.open();
                waits.wait();
            },
            || (),
        );
        drop(runtime);
        assert!(stopped.is_ended() && said.is_open() && rests.is_ended() && late.is_open());
    });
}

/// Nobody waited for that runtime, and so nobody for their end.
#[test]
fn a_stopping_that_waits_does_so_no_longer_when_one_of_its_runtimes_own_threads_has_dropped_that() {
    in_each_runtime(SHORT, |runtime| {
        let inside = Gate::new();
        let opens = inside.clone();
        let words = move || {
            opens.open();
            waits_for_ever();
        };
        let (stopped, rests) = (talks(&runtime, words, || ()), talks(&runtime, waits_for_ever, || ()));
        stopped.stop();
        inside.wait();
        let (give, given) = green::channel::bounded::<Runtime>(1);
        drop(runtime.spawn(move || drop(given.recv().unwrap())));
        give.send(runtime).unwrap();
        stopped.join();
        rests.join();
    });
}

/// Drops `runtime`, of which an actor says its last words, in virtual time.
fn drop_virtually(runtime: Runtime, words: impl FnOnce() + Send + 'static) -> Addr<Talks> {
    let inside = Gate::new();
    let opens = inside.clone();
    let talks = talks(
        &runtime,
        move || {
            opens.open();
            words();
        },
        || (),
    );
    talks.stop();
    inside.wait();
    let drops = Runtime::builder().virtual_time().build().unwrap();
    drops.run(move || drop(runtime));
    talks
}

/// Their time was that of the one that waited for them, where hours pass at once.
#[test]
fn last_words_have_their_time_where_the_runtime_is_dropped_in_virtual_time() {
    bounded(|| {
        let said = Gate::new();
        let says = said.clone();
        let runtime = Runtime::builder().workers(1).stopping_timeout(Duration::from_secs(3600)).build().unwrap();
        let talks = drop_virtually(runtime, move || {
            green::sleep(Duration::from_millis(300));
            says.open();
        });
        assert!(talks.is_ended() && said.is_open());
    });
}

/// They had it without a bound.
#[test]
fn last_words_that_wait_for_ever_do_not_keep_who_drops_their_runtime_in_virtual_time() {
    bounded(|| {
        let runtime = Runtime::builder().workers(1).stopping_timeout(SHORT).build().unwrap();
        assert!(drop_virtually(runtime, waits_for_ever).is_ended());
    });
}

/// A worker that had nothing to run had them look again before each sleep, and so it never slept.
#[test]
fn last_words_that_wait_for_an_actor_look_again_once_when_their_runtime_ends() {
    bounded(|| {
        let builder = Runtime::builder().workers(1).thread_locals(ThreadLocals::PerWorker);
        let runtime = builder.stopping_timeout(Duration::MAX).build().unwrap();
        let elsewhere = Runtime::builder().workers(1).build().unwrap();
        let other = talks(&elsewhere, || (), || ());
        let (turns, inside, said) = (Arc::<AtomicUsize>::default(), Gate::new(), mpsc::channel());
        let (counts, opens, says) = (Arc::clone(&turns), inside.clone(), said.0);
        let words = move || {
            opens.open();
            let before = counts.load(Ordering::Relaxed);
            let joined = other.join_timeout(Duration::from_millis(500));
            says.send((joined, counts.load(Ordering::Relaxed) - before)).unwrap();
        };
        let state = Talks { words: Some(Box::new(words)), last: None };
        let counted = (move || _ = turns.fetch_add(1, Ordering::Relaxed), || ());
        let talks = Builder::new().runtime(&runtime).on_switch(counted).start(state).unwrap();
        talks.stop();
        inside.wait();
        drop(runtime);
        let (joined, turns) = said.1.recv().unwrap();
        assert_eq!(joined, Err(JoinError::Timeout));
        assert!(turns < 100, "{turns}");
    });
}
