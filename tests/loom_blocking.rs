//! Models of the blocking pool and of those who call closures on it: `blocking/pool.rs` and `blocking/call.rs`, the very files. Loom
//! tries every interleaving; the threads of the models park as OS threads do, in the real parker.
//!
//! A closure or a value that nobody drops, a job that no thread takes, or a `stop` that waits for ever shows as a deadlock;
//! one that is touched by two, as a race on a loom cell.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports, missing_debug_implementations)]
#![allow(unfulfilled_lint_expectations, reason = "what the library exports is not exported here")]

mod model;

#[path = "../src/blocking/call.rs"]
mod calls;
#[path = "model/os.rs"]
mod os;
#[path = "../src/sys/parker.rs"]
mod parker;
#[path = "../src/blocking/pool.rs"]
mod pool;
#[path = "model/task.rs"]
mod task;
#[path = "../src/park/queue.rs"]
mod wait_queue;

mod sys {
    pub(crate) mod clock {
        pub(crate) use crate::model::prelude::clock::*;

        /// How long a thread of the pool waits for a job.
        pub(crate) fn after_ns(_: std::time::Duration) -> u64 {
            crate::PATIENCE_NS.get()
        }
    }
    pub(crate) use crate::model::kernel as futex;
    pub(crate) use crate::model::prelude::fork;
    pub(crate) use crate::parker;
}

mod park {
    pub(crate) use crate::model::prelude::fork;
    pub(crate) use crate::os::*;
    pub(crate) use crate::wait_queue as queue;

    pub(crate) mod no_park {
        pub(crate) fn assert_may_park(_: &str) {}
    }

    pub(crate) mod current {
        pub(crate) struct Thread {
            pub(crate) limits: Vec<()>,
        }

        pub(crate) fn with_header<R>(f: impl FnOnce(&Thread) -> R) -> R {
            f(&Thread { limits: Vec::new() })
        }
    }
}

mod blocking {
    pub(crate) use crate::pool;
}

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use calls::Surroundings;
use loom::thread;
use model::late::base;
use model::prelude::{fiber, stack};
use model::{Gate, Watched, check};
use os::unwind_me;
use pool::BlockingPool;
use sys::clock::NEVER;

// Of one model: loom runs all its threads on one OS thread.
thread_local! {
    static PATIENCE_NS: Cell<u64> = const { Cell::new(NEVER) };
    static POOL: RefCell<Option<Arc<BlockingPool>>> = const { RefCell::new(None) };
}

fn the_pool() -> Arc<BlockingPool> {
    POOL.with_borrow(|pool| Arc::clone(pool.as_ref().expect("a model has its pool")))
}

/// No runtime is around a closure.
struct Nothing;

impl Surroundings for Nothing {
    fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        f()
    }
}

fn blocking<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    // SAFETY: the caller does not leave.
    unsafe { calls::call(&the_pool(), Nothing, f, false) }
}

fn unblock<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    // SAFETY: the closure and its value borrow nothing.
    unsafe { calls::call(&the_pool(), Nothing, f, true) }
}

/// A thread of the pool that finds no job ends there and then.
const AT_ONCE: u64 = 1;

/// Runs `model` with a pool of so many threads and jobs that wait, and stops that afterwards.
fn with_pool(preemptions: usize, threads: usize, jobs: usize, patience_ns: u64, model: fn()) {
    check(preemptions, move || {
        PATIENCE_NS.set(patience_ns);
        POOL.set(Some(Arc::new(BlockingPool::new(threads, jobs, "pool".to_owned()))));
        model();
        the_pool().stop();
        POOL.take();
    });
}

fn call() {
    let ran = Watched::new(0);
    let value = blocking(|| {
        ran.add(1);
        7
    });
    assert_eq!((value, ran.get()), (7, 1));
}

/// What it lends is its own again, whether it is unwound or not.
fn call_cancelled() {
    let ran = Watched::new(0);
    let value = unwind_me(|| {
        blocking(|| {
            ran.add(1);
            7
        })
    });
    assert_eq!(ran.get(), u32::from(value.is_some()));
}

/// What is dropped once, and says so.
#[derive(Clone)]
struct Traced(Arc<(AtomicUsize, Gate)>);

struct Thing(Traced);

impl Traced {
    fn new() -> (Self, Thing) {
        let traced = Self(Arc::new((AtomicUsize::new(0), Gate::new())));
        (traced.clone(), Thing(traced))
    }

    fn drops(&self) -> usize {
        self.0.0.load(Relaxed)
    }

    fn wait(&self) {
        self.0.1.wait();
        assert_eq!(self.drops(), 1);
    }
}

impl Drop for Thing {
    fn drop(&mut self) {
        assert_eq!(self.0.0.0.fetch_add(1, Relaxed), 0, "dropped twice");
        self.0.0.1.open();
    }
}

/// What it gives away is dropped once, by itself, the thread, or with the value that nobody wants.
fn call_and_leave() {
    let (given, thing) = Traced::new();
    let (made, value) = Traced::new();
    let runs = Arc::new(AtomicUsize::new(0));
    let closure = {
        let runs = Arc::clone(&runs);
        move || {
            assert_eq!(runs.fetch_add(1, Relaxed), 0, "run twice");
            drop(thing);
            value
        }
    };
    let value = unwind_me(|| unblock(closure));
    let taken_back = value.is_none() && runs.load(Relaxed) == 0 && given.drops() == 1;
    given.wait();
    drop(value);
    made.wait();
    assert_eq!(runs.load(Relaxed), usize::from(!taken_back), "a closure that was taken back is not run");
}

fn beside(other: fn(), own: fn()) {
    let other = thread::spawn(other);
    own();
    other.join().unwrap();
}

#[test]
fn a_job_that_comes_while_the_last_thread_ends_has_a_thread() {
    with_pool(2, 1, 8, AT_ONCE, || {
        call();
        call();
    });
}

#[test]
fn a_job_that_comes_while_a_thread_goes_idle_is_found_by_it() {
    with_pool(2, 1, 8, NEVER, || {
        call();
        call();
    });
}

/// What a worker with virtual time relies on: it looks for wake-ups after it has found the pool quiet.
#[test]
fn a_pool_that_is_quiet_has_woken_its_callers() {
    struct Wakes(loom::sync::atomic::AtomicU32);
    impl pool::Runnable for Wakes {
        fn run(&self) -> bool {
            self.0.store(1, Relaxed);
            false
        }
    }
    with_pool(3, 1, 8, NEVER, || {
        let wakes = Arc::new(Wakes(loom::sync::atomic::AtomicU32::new(0)));
        let job: pool::Job = wakes.clone();
        the_pool().submit(park::Wait::new(task::header::Reason::Blocking), &job).unwrap();
        while !the_pool().is_quiet() {
            thread::yield_now();
        }
        assert_eq!(wakes.0.load(Relaxed), 1);
    });
}

#[test]
fn two_callers_of_one_thread_that_ends_whenever_it_can_have_their_turns() {
    with_pool(2, 1, 8, AT_ONCE, || beside(call, call));
}

#[test]
fn two_callers_of_two_threads_have_one_each() {
    with_pool(1, 2, 8, NEVER, || beside(call, call));
}

#[test]
fn who_waits_for_the_only_place_of_the_queue_gets_it() {
    with_pool(1, 1, 1, NEVER, || beside(call, call));
}

#[test]
fn a_caller_that_is_cancelled_has_what_it_lent() {
    with_pool(3, 1, 8, AT_ONCE, call_cancelled);
}

#[test]
fn a_caller_that_is_cancelled_behind_another_has_what_it_lent() {
    with_pool(2, 1, 8, NEVER, || beside(call, call_cancelled));
}

#[test]
fn a_closure_that_is_left_is_dropped_once_and_so_is_its_value() {
    with_pool(3, 1, 8, AT_ONCE, call_and_leave);
}

#[test]
fn a_closure_that_is_left_behind_another_is_dropped_once() {
    with_pool(2, 1, 8, NEVER, || beside(call, call_and_leave));
}

#[test]
fn the_place_of_one_that_was_taken_back_is_the_next_callers() {
    with_pool(2, 1, 1, AT_ONCE, || beside(call_cancelled, call));
}

#[test]
fn a_thread_with_a_closure_that_was_left_takes_the_next_job() {
    with_pool(2, 1, 8, NEVER, || {
        call_and_leave();
        call();
    });
}
