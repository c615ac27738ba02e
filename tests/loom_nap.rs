//! A model of the monitor's sleep: loom tries every interleaving, and every value that a weak memory may return. The very source file is included here.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports)]

mod model;

use model::late::base;

/// Two fences, as where there is no membarrier(2).
mod sys {
    pub(crate) mod membarrier {
        use loom::sync::atomic::{Ordering, fence};

        pub(crate) fn light() {
            fence(Ordering::SeqCst);
        }

        pub(crate) fn heavy() -> std::io::Result<()> {
            fence(Ordering::SeqCst);
            Ok(())
        }
    }
}

#[path = "../src/sched/nap.rs"]
mod nap;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use model::{Gate, check, spawn_with};
use nap::Nap;

struct Watch {
    nap: Nap,
    /// The worker's word.
    busy: AtomicU32,
    parker: Gate,
}

/// The monitor goes to sleep while a worker gets busy: if it did not wake, loom would find that nobody can go on.
#[test]
fn the_monitor_does_not_sleep_past_a_worker_that_gets_busy() {
    check(3, || {
        let watch = Arc::new(Watch { nap: Nap::new(), busy: AtomicU32::new(0), parker: Gate::new() });
        // loom demands that a use comes after the making.
        watch.nap.gets_busy(|| unreachable!("nobody sleeps yet"));
        let worker = spawn_with(&watch, |watch| {
            watch.busy.store(1, Ordering::Relaxed);
            watch.nap.gets_busy(|| watch.parker.open());
        });
        watch.nap.sleep(
            || watch.busy.load(Ordering::Relaxed) != 0,
            |is_fenced| {
                assert!(is_fenced);
                watch.parker.wait();
            },
        );
        worker.join().unwrap();
    });
}
