//! Models of what threads wait for besides the locks: `Once`, `Semaphore`, and the queue under the blocking pool and an
//! actor's end (`park/queue.rs`). Loom tries every interleaving, and every value that a weak memory may return, on the very
//! source files; the threads of the models park as OS threads do, in the real parker.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports, missing_debug_implementations)]
#![allow(unfulfilled_lint_expectations, reason = "what the library exports is not exported here")]

mod model;

#[path = "../src/sync/once.rs"]
mod once;
#[path = "model/os.rs"]
mod park;
#[path = "../src/sync/queue.rs"]
mod queue;
#[path = "../src/sync/semaphore.rs"]
mod semaphore;
#[path = "model/sys.rs"]
mod sys;
#[path = "model/task.rs"]
mod task;
#[path = "../src/park/queue.rs"]
mod wait_queue;

mod sync {
    pub(crate) use crate::model::prelude::holder;
    pub(crate) use crate::queue;
}

use std::time::Duration;

use loom::sync::Arc;
use loom::thread;
use model::late::base;
use model::prelude::{fiber, stack};
use model::{Watched, check, spawn_with};
use once::Once;
use park::Wait;
use semaphore::Semaphore;
use task::header::Reason;
use wait_queue::WaitQueue;

/// Runs `f` on so many threads beside the model's own, and `last` on that.
fn beside<T: 'static>(shared: T, threads: usize, f: fn(&T), last: fn(&T)) {
    let shared = Arc::new(shared);
    let threads: Vec<_> = (0..threads).map(|_| spawn_with(&shared, f)).collect();
    last(&shared);
    for thread in threads {
        thread.join().unwrap();
    }
}

struct Initialised {
    once: Once,
    value: Watched,
}

impl Initialised {
    fn new() -> Self {
        let this = Self { once: Once::new(), value: Watched::new(0) };
        assert!(!this.once.is_completed());
        this
    }

    fn call(&self) {
        self.once.call_once(|| _ = self.value.add(1));
        assert_eq!(self.value.get(), 1, "one closure was run, to its end");
    }
}

#[test]
fn one_closure_of_three_is_run_and_everybody_sees_what_it_did() {
    check(2, || beside(Initialised::new(), 2, Initialised::call, Initialised::call));
}

#[test]
fn who_waits_for_a_once_is_woken_when_it_has_run() {
    check(3, || {
        beside(Initialised::new(), 1, Initialised::call, |this| {
            this.once.wait();
            assert_eq!(this.value.get(), 1);
        });
    });
}

#[test]
fn who_finds_a_once_complete_sees_what_it_did() {
    check(3, || {
        beside(Initialised::new(), 1, Initialised::call, |this| {
            while !this.once.is_completed() {
                thread::yield_now();
            }
            assert_eq!(this.value.get(), 1);
        });
    });
}

/// A closure that a cancel has left: the next one sees what it did before.
#[test]
fn a_once_that_was_left_is_run_by_who_waits_for_it() {
    check(3, || {
        let leave = |this: &Initialised| {
            let left = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                this.once.call_once(|| {
                    this.value.add(1);
                    std::panic::resume_unwind(Box::new(()));
                });
            }));
            assert!(left.is_err() || this.once.is_completed());
        };
        beside(Initialised::new(), 1, leave, |this| {
            this.once.call_once(|| _ = this.value.add(1));
            assert!(matches!(this.value.get(), 1 | 2));
        });
    });
}

#[test]
fn a_wait_for_a_once_that_is_cancelled_leaves_nothing_behind() {
    check(3, || {
        beside(Initialised::new(), 1, Initialised::call, |this| {
            park::cancel_me();
            this.once.wait();
            assert_eq!(this.value.get(), 1);
        });
    });
}

struct Permitted {
    semaphore: Semaphore,
    value: Watched,
}

impl Permitted {
    fn new(permits: usize) -> Self {
        let this = Self { semaphore: Semaphore::new(permits), value: Watched::new(0) };
        assert_eq!(this.semaphore.available_permits(), permits);
        this
    }

    fn add(&self) {
        let _permit = self.semaphore.acquire();
        self.value.add(1);
    }

    fn add_in_time(&self) {
        if let Some(_permit) = self.semaphore.acquire_timeout(Duration::ZERO) {
            self.value.add(1);
        }
    }
}

#[test]
fn one_permit_keeps_three_threads_apart_and_each_has_its_turn() {
    check(2, || beside(Permitted::new(1), 2, Permitted::add, Permitted::add));
}

#[test]
fn a_permit_that_is_added_wakes_who_waits_for_it() {
    check(3, || {
        beside(Permitted::new(0), 1, Permitted::add, |this| {
            this.value.add(1);
            this.semaphore.add_permits(1);
        });
    });
}

#[test]
fn a_permit_that_is_given_to_who_times_out_goes_to_the_next() {
    check(2, || {
        let shared = Arc::new(Permitted::new(0));
        let threads = [Permitted::add_in_time, Permitted::add].map(|f| spawn_with(&shared, f));
        shared.value.add(1);
        shared.semaphore.add_permits(1);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(shared.semaphore.available_permits(), 1);
    });
}

#[test]
fn who_wants_two_permits_and_who_wants_one_have_them_in_turn() {
    check(2, || {
        let take_two = |this: &Permitted| {
            let _permits = this.semaphore.acquire_many(2);
            this.value.add(1);
        };
        beside(Permitted::new(1), 1, take_two, |this| {
            this.semaphore.add_permits(1);
            this.add();
        });
    });
}

#[test]
fn who_waits_in_a_queue_is_notified_or_finds_what_it_waits_for() {
    check(3, || {
        let queue = WaitQueue::new(0);
        queue.with(|_| ());
        let wait = |queue: &WaitQueue<u32>| {
            let ready = |count: &mut u32| (*count > 0).then(|| *count -= 1);
            assert!(queue.wait_until(Wait::new(Reason::Blocking), ready).is_some());
        };
        beside(queue, 2, wait, |queue| {
            for _ in 0..2 {
                queue.notify_one(|count| {
                    *count += 1;
                    true
                });
            }
        });
    });
}

#[test]
fn a_notification_that_meets_a_time_out_is_not_lost() {
    check(3, || {
        let queue = WaitQueue::new(0);
        queue.with(|_| ());
        let wait = |queue: &WaitQueue<u32>| {
            let ready = |count: &mut u32| (*count > 0).then(|| *count -= 1);
            if queue.wait_until(Wait::new(Reason::Blocking).until(1), ready).is_none() {
                assert!(queue.wait_until(Wait::new(Reason::Blocking), ready).is_some());
            }
        };
        beside(queue, 1, wait, |queue| {
            queue.notify_one(|count| {
                *count += 1;
                true
            });
        });
    });
}
