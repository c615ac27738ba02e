//! Models of how a started thread goes from one worker to another (`sched/MOVING.md`): loom tries every interleaving. The very source files are
//! included here: who takes threads over (`sched/moving.rs`), a thread's way out and in (`sched/own.rs`, `fiber/own.rs`), and the latch between the two.
//!
//! What they stand on is a machine of the model's: a worker is a thread of loom, with a register for the thread pointer; a fiber is one, too, which runs as
//! the worker that resumes it. The machine says so where two are on one block, where a fiber is resumed that has not suspended, and where two touch
//! the parts of a worker at the same time.
#![cfg(green_thread_locals)]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports, missing_debug_implementations)]
#![allow(clippy::undocumented_unsafe_blocks, clippy::missing_safety_doc)]

mod model;

#[path = "model/machine.rs"]
mod machine;
#[path = "model/parts.rs"]
mod parts;
#[path = "model/task.rs"]
mod task;
#[path = "model/two_workers.rs"]
mod two_workers;

#[path = "../src/fiber/own.rs"]
mod fiber_own;
#[path = "../src/park/latch.rs"]
mod latch;
#[path = "../src/sched/moving.rs"]
mod moving;
#[path = "../src/sched/own.rs"]
mod sched_own;
#[path = "../src/sched/siblings.rs"]
mod siblings;

mod base {
    pub(crate) use crate::model::prelude::{abort, debug, list, shown};

    pub(crate) mod atomic {
        pub(crate) use crate::model::prelude::atomic::*;
        /// The other threads go on.
        pub(crate) use loom::thread::yield_now as spin_loop;
    }
}

mod arch {
    pub(crate) use crate::machine::{set_thread_pointer, thread_pointer};
}

mod fiber {
    pub(crate) use crate::fiber_own as own;
    pub(crate) use crate::machine::{Border, Entry, Fiber, Hub};
}

mod thread_locals {
    pub(crate) use crate::machine::block;
}

mod park {
    pub(crate) use crate::latch;

    pub(crate) mod current {
        pub(crate) use crate::two_workers::WorkerContext;
    }

    pub(crate) mod no_park {
        use crate::task::Header;

        #[derive(Clone, Copy)]
        pub(crate) struct OnTop;

        impl OnTop {
            pub(crate) fn of_apart(_: &Header) -> Self {
                Self
            }
        }

        pub(crate) fn set_on_top(_: OnTop) {}
    }
}

mod sched {
    pub(crate) use crate::two_workers::{entry, remote, search, worker};
    pub(crate) use crate::{moving, siblings};
}

mod stack {
    pub(crate) use crate::model::prelude::stack::StackSize;
}

mod sys {
    pub(crate) mod clock {
        pub(crate) use crate::model::prelude::clock::*;

        pub(crate) fn real_ns() -> u64 {
            0
        }
    }

    pub(crate) use crate::model::prelude::fork;

    pub(crate) mod membarrier {
        use loom::sync::atomic::{Ordering::SeqCst, fence};

        pub(crate) fn light() {
            fence(SeqCst);
        }

        pub(crate) fn heavy() -> std::io::Result<()> {
            fence(SeqCst);
            Ok(())
        }
    }

    pub(crate) mod sanitizer {
        pub(crate) const IS_THERE: bool = false;
    }
}

use model::check;
use two_workers::{Pair, compute, compute_until_released, park, release, stand_in, unpark, wake, yield_once};

/// A thread is woken on its way to suspend, and who wakes it stands in for its worker then: it is not whole yet.
#[test]
fn a_thread_that_is_about_to_suspend_is_left_to_its_worker() {
    check(1, || {
        Pair::new([|this| {
            compute(this);
            park(this);
        }])
        .run(|worker| {
            wake(worker);
            stand_in(worker);
        });
    });
}

/// The same, of one that has suspended before.
#[test]
fn a_thread_that_is_about_to_suspend_again_is_left_to_its_worker() {
    check(1, || {
        Pair::new([|this| {
            yield_once(this);
            compute(this);
            park(this);
        }])
        .run(|worker| {
            wake(worker);
            stand_in(worker);
        });
    });
}

/// What stands ready behind a thread that computes begins elsewhere.
#[test]
fn a_thread_that_is_ready_runs_on_the_worker_that_stands_in() {
    check(1, || Pair::new([compute_until_released, release]).run(stand_in));
}

/// A thread goes on elsewhere, and suspends there.
#[test]
fn a_thread_that_has_yielded_goes_on_and_suspends_on_the_worker_that_stands_in() {
    check(1, || {
        Pair::new([
            |this| {
                yield_once(this);
                yield_once(this);
                release(this);
            },
            compute_until_released,
        ])
        .run(stand_in);
    });
}

/// It has waited for a time, and is the one that was woken last.
#[test]
fn a_thread_that_was_woken_by_one_that_computes_goes_on_on_the_worker_that_stands_in() {
    check(1, || {
        Pair::new([
            |this| {
                park(this);
                release(this);
            },
            |this| {
                unpark(this);
                compute_until_released(this);
            },
        ])
        .run(stand_in);
    });
}

/// Both workers run their own when the one gives back what it has of the other's.
#[test]
fn who_stands_in_and_whose_turn_ends_do_not_meet() {
    check(1, || Pair::new([compute, |_| ()]).run(stand_in));
}
