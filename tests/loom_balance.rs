//! A model of how a thread is handed to another worker while that worker's runtime shuts down: loom tries every
//! interleaving, and every value that a weak memory may return. The very source files are included here, with loom's atomics
//! in the place of std's.
//!
//! The worker sleeps in its poller: an eventfd, which is a flag under a lock here. It has no threads of its own: what is sent
//! to it is a thread that ends at once.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports)]

mod model;

mod sched {
    pub(crate) use crate::{counted, idle, inbox};
}

#[path = "../src/sched/arriving.rs"]
mod arriving;
#[path = "../src/sched/counted.rs"]
mod counted;
#[path = "../src/sched/doorbell.rs"]
mod doorbell;
#[path = "../src/sched/idle.rs"]
mod idle;
#[path = "../src/sched/inbox.rs"]
mod inbox;
#[path = "model/sys.rs"]
mod sys;

use std::ptr::{self, NonNull};

use arriving::Arriving;
use base::atomic::{AtomicPtr, AtomicU32, Ordering};
use doorbell::{Doorbell, Sleeper};
use idle::Idle;
use inbox::Queued;
use loom::sync::Arc;
use loom::thread;
use model::prelude::base;
use model::{Gate, check, spawn_with};

#[repr(align(8))]
struct Thread {
    link: AtomicPtr<Thread>,
}

impl Queued for Thread {
    fn link(&self) -> &AtomicPtr<Thread> {
        &self.link
    }
}

fn fresh_thread() -> NonNull<Thread> {
    NonNull::from(Box::leak(Box::new(Thread { link: AtomicPtr::new(ptr::null_mut()) })))
}

/// The second one is the sender, and always awake.
const WORKERS: u32 = 2;

struct Worker {
    bell: Doorbell<Thread>,
    arriving: Arriving,
    idle: &'static Idle,
    /// What ends the sleep in the poller.
    eventfd: Gate,
    stop: AtomicU32,
}

impl Sleeper for Worker {
    fn has_work_to_share(&self) -> bool {
        false
    }

    fn has_unstarted(&self) -> bool {
        false
    }

    fn sleep(&self, _: bool) -> bool {
        self.bell.parker.park_elsewhere(|| self.eventfd.wait());
        true
    }

    fn look_round(&self) -> bool {
        unreachable!("each sleep ends with something to do")
    }

    fn notify_thief(&self) {
        unreachable!("nothing is unstarted")
    }
}

impl Worker {
    fn new() -> Arc<Self> {
        let idle: &'static Idle = Box::leak(Box::new(Idle::new()));
        Arc::new(Self {
            bell: Doorbell::new(idle),
            arriving: Arriving::new(),
            idle,
            eventfd: Gate::new(),
            stop: AtomicU32::new(0),
        })
    }

    /// As the policy of placement does. False: the sender keeps the thread.
    fn send(&self) -> bool {
        let sends = self.arriving.expect();
        if sends {
            // SAFETY: the thread is nobody else's, and freed by the worker.
            unsafe { self.bell.send(fresh_thread(), || self.eventfd.open()) };
        }
        sends
    }

    /// `Shared::stop`.
    fn stop(&self) {
        self.stop.store(1, Ordering::Release);
        self.bell.notify_control(|| self.eventfd.open());
    }

    /// Until the runtime stops. How many threads have run.
    fn run(&self) -> usize {
        let (mut stopping, mut ran) = (false, 0);
        while !(stopping && self.arriving.close()) {
            let batch = self.bell.go_to_sleep(self.idle, WORKERS, false, self);
            stopping |= batch.control && self.stop.load(Ordering::Acquire) != 0;
            batch.deliver(|thread| {
                // SAFETY: it was taken out, and is the worker's alone.
                drop(unsafe { Box::from_raw(thread.as_ptr()) });
                self.arriving.arrived();
                ran += 1;
            });
        }
        ran
    }
}

/// One worker, `senders` others that have a thread for it, and the runtime's owner who stops it.
fn handed_out_while_stopping(senders: usize) {
    let worker = Worker::new();
    let sending: Vec<_> = (0..senders).map(|_| spawn_with(&worker, move |worker| usize::from(worker.send()))).collect();
    let running = spawn_with(&worker, Worker::run);
    worker.stop();
    let sent: usize = sending.into_iter().map(|sender| sender.join().unwrap()).sum();
    assert_eq!(running.join().unwrap(), sent, "each thread that was sent has run");
    assert!(worker.bell.is_silent(), "nothing is left behind");
    assert!(worker.idle.nobody_asleep());
    assert_eq!(worker.arriving.count(), None, "the worker that has ended says so");
    assert!(!worker.send(), "nobody sends to it any more");
}

#[test]
fn a_thread_that_is_handed_to_a_worker_which_ends_is_run_or_kept() {
    check(2, || handed_out_while_stopping(1));
}

#[test]
fn two_threads_that_are_handed_to_a_worker_which_ends_are_run_or_kept() {
    check(1, || handed_out_while_stopping(2));
}
