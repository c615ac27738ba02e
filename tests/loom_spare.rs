//! A model of the places for spare workers: the monitor takes one while the runtime stops, or while the worker before leaves it. loom tries every interleaving, and
//! every value that a weak memory may return. The very source files are included here.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports)]

mod model;

mod base {
    pub(crate) mod atomic {
        pub(crate) use crate::model::prelude::atomic::*;
    }
}

mod sched {
    /// As far as a place for a spare worker asks for it.
    pub(crate) mod remote {
        use loom::sync::atomic::{AtomicU32, Ordering};

        use crate::arriving::Arriving;

        pub(crate) struct Remote {
            pub(crate) arriving: Arriving,
            pub(crate) doorbell: Doorbell,
            pub(crate) notices: AtomicU32,
        }

        pub(crate) struct Doorbell {
            pub(crate) counted: Counted,
        }

        pub(crate) struct Counted;

        impl Counted {
            pub(crate) fn idle(&self) -> &Self {
                self
            }

            pub(crate) fn nobody_asleep(&self) -> bool {
                true
            }
        }

        impl Remote {
            pub(crate) fn notify_control(&self) {
                self.notices.fetch_add(1, Ordering::Relaxed);
            }
        }

        pub(crate) fn acquire_spare() -> Option<&'static Remote> {
            let doorbell = Doorbell { counted: Counted };
            Some(Box::leak(Box::new(Remote { arriving: Arriving::new(), doorbell, notices: AtomicU32::new(0) })))
        }
    }
}

#[path = "../src/sched/arriving.rs"]
mod arriving;
#[path = "../src/sched/spare.rs"]
mod spare;
#[path = "../src/sched/stop_word.rs"]
mod stop_word;

use loom::sync::Arc;
use loom::sync::atomic::Ordering;
use loom::thread;
use model::{Watched, check, spawn_with};
use spare::SpareSlot;
use stop_word::StopWord;

struct Runtime {
    stop: StopWord,
    slot: SpareSlot,
    /// Of the worker that has the place.
    of_worker: Watched,
}

impl Runtime {
    fn new() -> Arc<Self> {
        Arc::new(Self { stop: StopWord::new(), slot: SpareSlot::new(), of_worker: Watched::new(0) })
    }

    fn stop(&self) {
        self.stop.stop(|| self.slot.remote().into_iter().for_each(sched::remote::Remote::notify_control));
    }

    /// The monitor's step A2. True: it has started a worker.
    fn start_spare(&self) -> bool {
        if !self.slot.take() {
            return false;
        }
        if self.stop.stops() {
            self.slot.free();
            return false;
        }
        true
    }
}

/// The end of the runtime waits for its workers: for one that is not told it would wait for ever.
#[test]
fn a_worker_that_starts_while_its_runtime_stops_is_told_so() {
    check(3, || {
        let runtime = Runtime::new();
        let monitor = spawn_with(&runtime, Runtime::start_spare);
        runtime.stop();
        if monitor.join().unwrap() {
            let remote = runtime.slot.remote().expect("it was started");
            assert_eq!(remote.notices.load(Ordering::Relaxed), 1);
        }
        assert!(!runtime.start_spare(), "one starts after the end");
    });
}

/// loom fails where both touch what is the worker's.
#[test]
fn the_next_worker_of_a_place_begins_when_the_one_before_has_left_it() {
    check(3, || {
        let runtime = Runtime::new();
        assert!(runtime.start_spare());
        let worker = spawn_with(&runtime, |runtime| {
            runtime.of_worker.add(1);
            runtime.slot.free();
        });
        if runtime.start_spare() {
            assert_eq!(runtime.of_worker.add(1), 2);
            // Nobody sends threads to one that has ended, and somebody may to one that has begun.
            assert!(runtime.slot.remote().expect("it was started").arriving.expect());
        }
        worker.join().unwrap();
    });
}

#[test]
fn a_place_has_one_worker_at_a_time_and_none_that_has_ended_is_sent_a_thread() {
    check(3, || {
        let runtime = Runtime::new();
        let other = spawn_with(&runtime, Runtime::start_spare);
        let here = runtime.start_spare();
        assert!(here != other.join().unwrap(), "none, or two");
        runtime.slot.free();
        assert!(!runtime.slot.remote().expect("there was one").arriving.expect());
    });
}

/// A thread that has looked at the clock says that the time for last words is over, when who ends the runtime has done so: it was not over any more.
#[test]
fn a_runtime_that_is_over_stays_so_whoever_hurries_it() {
    check(3, || {
        let runtime = Runtime::new();
        runtime.stop();
        let hurries = spawn_with(&runtime, |runtime| runtime.stop.hurry(|| ()));
        runtime.stop.end();
        hurries.join().unwrap();
        assert!(runtime.stop.is_over() && !runtime.stop.is_late());
    });
}
