//! Actors that have something to do when the workers of their runtime are gone: nobody but the end of the runtime runs them.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use green::actor::{Actor, Addr, Builder, Child, ChildState, Context, Exit, Supervisor};
use green::{Runtime, ThreadLocals};

use crate::help::{Gate, bounded};
use crate::{Add, End, HOUR, LONG, Log, Puppet, get, never, puppet, until};

thread_local! {
    /// Called when the worker's thread is about to be gone.
    static LAST: RefCell<Option<Farewell>> = const { RefCell::new(None) };
}

struct Farewell(Box<dyn Fn() + Send>);
impl Drop for Farewell {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A runtime whose only worker does that when it has gone, and its runtime has not ended.
fn with_last_words(runtime: &Runtime, words: impl Fn() + Send + 'static) {
    let keeps = runtime.spawn(move || LAST.with(|last| *last.borrow_mut() = Some(Farewell(Box::new(words)))));
    keeps.join().unwrap();
}

fn one_worker() -> Runtime {
    Runtime::builder().workers(1).thread_locals(ThreadLocals::PerWorker).build().unwrap()
}

/// The supervisor ended in the midst of the end of its first child, and waited for the second, which nobody ran.
#[test]
fn a_supervisor_that_ends_with_its_runtime_waits_for_no_child_that_nobody_runs() {
    bounded(|| {
        let runtime = one_worker();
        let log = Log::default();
        let children = ["a", "b", "c"].map(|name| puppet(name, &log).shutdown(HOUR));
        let (sup, children) = runtime.run(|| {
            let sup = children.into_iter().fold(Supervisor::one_for_one(), Supervisor::child).start().unwrap();
            let children: Vec<Addr<Puppet>> = ["a", "b", "c"].into_iter().map(|name| get(&sup, name)).collect();
            children.iter().for_each(|child| _ = child.send(Add(1)).unwrap());
            (sup, children)
        });
        let told = children.clone();
        with_last_words(&runtime, move || told.iter().for_each(|child| child.try_tell(Add(1)).unwrap()));
        let begin = Instant::now();
        drop(runtime);
        assert!(begin.elapsed() < LONG);
        assert!(sup.is_ended() && children.iter().all(Addr::is_ended));
        let mut lines = log.take();
        lines.sort();
        assert_eq!(lines, ["+a", "+b", "+c", "-a", "-b", "-c"]);
    });
}

#[test]
fn a_child_that_its_runtime_ends_while_it_is_vacant_has_the_exit_of_its_last_life() {
    bounded(|| {
        let runtime = one_worker();
        let (sup, child) = runtime.run(|| {
            let one = puppet("one", &Log::default()).backoff(never());
            let sup = Supervisor::one_for_one().child(one).start().unwrap();
            let child = get(&sup, "one");
            child.send(End::Panic).unwrap_err();
            until(|| matches!(sup.tree().children[0].state, ChildState::Waits(_)));
            (sup, child)
        });
        let begin = Instant::now();
        drop(runtime);
        assert!(begin.elapsed() < LONG);
        assert!(sup.is_ended());
        assert_eq!(child.join(), Exit::Panic("as told".into()));
    });
}

/// Waits for ever when it ends.
struct Stays;
impl Actor for Stays {
    fn stopping(&mut self, _: &Exit, _: &mut Context<Self>) {
        green::sleep(HOUR);
    }
}
impl green::actor::Handler<Add> for Stays {
    fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> u32 {
        n
    }
}

/// Those that rested had five seconds for their last words; those that were queued, as long as they liked.
#[test]
fn an_actor_that_was_queued_when_its_runtime_ended_has_no_longer_for_its_last_words_than_one_that_rested() {
    bounded(|| {
        let runtime = one_worker();
        let stays = Builder::new().runtime(&runtime).start(Stays).unwrap();
        stays.send(Add(1)).unwrap();
        let told = stays.clone();
        with_last_words(&runtime, move || told.try_tell(Add(1)).unwrap());
        drop(runtime);
        assert!(stays.is_ended());
    });
}

/// One worker, and not much time for last words.
fn hasty() -> Runtime {
    let builder = Runtime::builder().workers(1).thread_locals(ThreadLocals::PerWorker);
    builder.stopping_timeout(Duration::from_millis(200)).build().unwrap()
}

/// The supervisor's waits were unwound, and with them the count of those that it waited for.
#[test]
fn a_shutdown_counts_all_children_although_the_last_words_of_their_supervisor_are_cut_off() {
    bounded(|| {
        let runtime = hasty();
        let stays = |name: &str| Child::new(name, || Stays).shutdown(HOUR);
        let nested = move || Supervisor::one_for_one().child(stays("c")).child(stays("d"));
        let sup = Supervisor::one_for_one()
            .child(stays("a"))
            .child(Child::supervisor("nested", nested).shutdown(HOUR))
            .child(stays("b"));
        let sup = runtime.run(|| sup.start()).unwrap();
        let shuts_down = std::thread::spawn({
            let sup = sup.clone();
            move || sup.shutdown(HOUR)
        });
        // The last of them ends first.
        until(|| sup.get::<Stays>("b").is_err());
        drop(runtime);
        let end = shuts_down.join().unwrap();
        assert_eq!(end.stopped + end.failed + end.killed + end.left, 5, "{end}");
    });
}

/// Its `started` waits for ever.
struct NeverStarts(Gate);
impl Actor for NeverStarts {
    fn started(&mut self, _: &mut Context<Self>) -> Result<(), Exit> {
        self.0.open();
        green::sleep(HOUR);
        Ok(())
    }
}

/// Who had begun the start waited for its outcome for ever: the wait for a child's end before that was unwound.
#[test]
fn a_start_of_a_supervisor_whose_end_is_unwound_has_failed() {
    bounded(|| {
        let runtime = hasty();
        let starts = Gate::new();
        let begun = starts.clone();
        let new = Child::new("new", move || NeverStarts(begun.clone()));
        let sup = Supervisor::one_for_one().child(Child::new("stays", || Stays)).child(new);
        // The starter is no thread of that runtime, and not cancelled with it.
        let started = runtime.spawn(|| green::blocking(|| sup.start().map(drop)));
        starts.wait();
        drop(runtime);
        assert!(started.join().is_ok_and(|started| started.is_err()));
    });
}
