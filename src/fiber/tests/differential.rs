//! One random program, run over every backend: the traces are the same.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::{Backend, Coro, Me, Noisy, Stacks, Status, UNWIND, stacks};

/// What a fiber does.
#[derive(Clone, Debug)]
enum Step {
    /// Gives way, and records the word that it gets.
    Suspend,
    /// Unwinds, as a panic does, with this payload.
    Panic(u8),
    /// Holds a value to the end of its block that records its drop.
    Hold(u8),
    /// Goes on in a frame of its own.
    Call(Vec<Step>),
    /// The same, and whatever unwinds out of it is swallowed.
    Catch(Vec<Step>),
    /// Is the hub of another fiber until that ends. Words go through, that to unwind included.
    Nest(Vec<Step>),
}

/// What the outermost hub does: resume fiber `.0 % fibers` with the word `.1`, or unwind it.
type Turn = (usize, Option<u8>);

/// Fiber (its place in the tree as a number), and what happened.
type Trace = Rc<RefCell<Vec<(u32, Event)>>>;

#[derive(Clone, Debug, PartialEq)]
enum Event {
    Started,
    Told(usize),
    Dropped(u8),
    Caught(String),
    Ended(String),
    Turn(Status),
}

fn what(payload: &(dyn std::any::Any + Send)) -> String {
    match payload.downcast_ref::<u8>() {
        Some(number) => format!("panic {number}"),
        None => "unwound".to_owned(),
    }
}

fn outcome(result: std::thread::Result<()>) -> String {
    result.map_or_else(|payload| what(&*payload), |()| "returned".to_owned())
}

/// What the steps of one fiber work with.
struct World<'a, B: Backend> {
    id: u32,
    me: &'a Me<B>,
    stacks: &'a Stacks,
    trace: &'a Trace,
}

impl<B: Backend> World<'_, B> {
    fn record(&self, event: Event) {
        self.trace.borrow_mut().push((self.id, event));
    }

    #[inline(never)]
    fn run(&self, steps: &[Step]) {
        let Some((step, rest)) = steps.split_first() else { return };
        match step {
            Step::Suspend => self.record(Event::Told(self.me.suspend())),
            Step::Panic(number) => panic::resume_unwind(Box::new(*number)),
            Step::Hold(number) => {
                let _held = Noisy((self.id, Event::Dropped(*number)), self.trace.clone());
                return self.run(rest);
            }
            Step::Call(steps) => self.run(steps),
            Step::Catch(steps) => {
                if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| self.run(steps))) {
                    self.record(Event::Caught(what(&*payload)));
                }
            }
            Step::Nest(steps) => self.nest(steps.clone()),
        }
        self.run(rest);
    }

    fn nest(&self, steps: Vec<Step>) {
        let mut inner = start::<B>(self.id * 10 + 1, steps, self.stacks, self.trace);
        let mut word = 0;
        while inner.resume(word) == Status::Suspended {
            // SAFETY: a fiber's steps run on its own stack.
            word = unsafe { self.me.fiber().suspend() };
        }
        self.record(Event::Ended(outcome(inner.end())));
    }
}

fn start<B: Backend>(id: u32, steps: Vec<Step>, stacks: &Stacks, trace: &Trace) -> Coro<B> {
    let (inner_stacks, trace) = (stacks.clone(), trace.clone());
    Coro::new(stacks, move |me| {
        let world = World { id, me, stacks: &inner_stacks, trace: &trace };
        world.record(Event::Started);
        world.run(&steps);
    })
}

/// Runs the program over one backend.
fn trace_of<B: Backend>(fibers: &[Vec<Step>], turns: &[Turn]) -> Vec<(u32, Event)> {
    let (stacks, trace) = (stacks(), Trace::default());
    let mut coros: Vec<_> =
        (1..).zip(fibers).map(|(id, steps)| start::<B>(id, steps.clone(), &stacks, &trace)).collect();
    let turn = |coros: &mut [Coro<B>], index: usize, word: usize| {
        if !coros[index].finished() {
            let status = coros[index].resume(word);
            trace.borrow_mut().push((0, Event::Turn(status)));
        }
    };
    for &(index, word) in turns {
        turn(&mut coros, index % fibers.len(), word.map_or(UNWIND, usize::from));
    }
    // What is left is unwound; a fiber that swallows it goes on to its next suspension.
    for index in 0..coros.len() {
        while !coros[index].finished() {
            turn(&mut coros, index, UNWIND);
        }
    }
    for coro in coros {
        let ended = Event::Ended(outcome(coro.end()));
        trace.borrow_mut().push((0, ended));
    }
    trace.take()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let plain = prop_oneof![
        4 => Just(Step::Suspend),
        1 => any::<u8>().prop_map(Step::Panic),
        3 => any::<u8>().prop_map(Step::Hold),
    ];
    let step =
        plain.prop_recursive(4, 24, 5, |inner| {
            let block = prop::collection::vec(inner, 0..5);
            prop_oneof![
                block.clone().prop_map(Step::Call),
                block.clone().prop_map(Step::Catch),
                block.prop_map(Step::Nest),
            ]
        });
    prop::collection::vec(step, 0..8)
}

/// Runs `cases` random programs over two backends. A failure prints the program, shrunk.
fn assert_same_trace<A: Backend, B: Backend>(cases: u32) {
    let program =
        (prop::collection::vec(steps(), 1..5), prop::collection::vec((0..4usize, any::<Option<u8>>()), 0..24));
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let same = |(fibers, turns): (Vec<Vec<Step>>, Vec<Turn>)| {
        prop_assert_eq!(trace_of::<A>(&fibers, &turns), trace_of::<B>(&fibers, &turns));
        Ok(())
    };
    TestRunner::new(config).run(&program, same).unwrap_or_else(|error| panic!("{error}"));
}

#[cfg(green_backend = "asm")]
#[test]
fn our_assembly_does_what_corosensei_does() {
    assert_same_trace::<crate::fiber::asm::Fiber, crate::fiber::corosensei::Fiber>(1000);
}

#[test]
fn os_threads_do_what_corosensei_does() {
    assert_same_trace::<crate::fiber::threads::Fiber, crate::fiber::corosensei::Fiber>(100);
}

#[test]
fn a_program_with_known_trace_gives_that_trace() {
    use Event::{Dropped, Ended, Started, Told, Turn};
    let program = [vec![
        Step::Hold(1),
        Step::Suspend,
        Step::Catch(vec![Step::Hold(2), Step::Suspend]),
        Step::Nest(vec![Step::Hold(3), Step::Suspend, Step::Panic(4)]),
    ]];
    let turns = [(0, Some(0)), (0, Some(5)), (0, None), (0, Some(6))];
    let trace = trace_of::<crate::fiber::Fiber>(&program, &turns);
    let expected = [
        (1, Started),
        (0, Turn(Status::Suspended)),
        (1, Told(5)),
        (0, Turn(Status::Suspended)),
        (1, Dropped(2)),
        (1, Event::Caught("unwound".to_owned())),
        (11, Started),
        (0, Turn(Status::Suspended)),
        (11, Told(6)),
        (11, Dropped(3)),
        (1, Ended("panic 4".to_owned())),
        (1, Dropped(1)),
        (0, Turn(Status::Finished)),
        (0, Ended("returned".to_owned())),
    ];
    assert_eq!(trace, expected);
}
