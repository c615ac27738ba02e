//! Models of the inbox and the idle protocol: loom tries every interleaving, and every value that a weak memory may return. The
//! very source files are included here, with loom's atomics in the place of std's, and the functions by which a worker goes to
//! sleep, is notified, and takes what is in its inbox (`sched/doorbell.rs`) are called, not copied.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports)]

mod model;

/// A gate in the place of the parker, which has models of its own (`tests/loom_base.rs`).
mod parker {
    use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    #[derive(Debug)]
    pub(crate) struct Parker {
        gate: crate::model::Gate,
        pub(crate) unparks: AtomicUsize,
    }

    impl Parker {
        pub(crate) fn new() -> Self {
            Self { gate: crate::model::Gate::new(), unparks: AtomicUsize::new(0) }
        }

        pub(crate) fn park(&self) {
            self.gate.wait();
        }

        pub(crate) fn unpark_or(&self, _: impl FnOnce()) {
            self.unparks.fetch_add(1, Relaxed);
            self.gate.open();
        }
    }
}

mod sched {
    pub(crate) use crate::{counted, idle, inbox};
}

mod sys {
    pub(crate) use crate::parker;
}

#[path = "../src/sched/counted.rs"]
mod counted;
#[path = "../src/sched/doorbell.rs"]
mod doorbell;
#[path = "../src/sched/idle.rs"]
mod idle;
#[path = "../src/sched/inbox.rs"]
mod inbox;

use std::ptr::{self, NonNull};

use base::atomic::{AtomicPtr, AtomicUsize, Ordering};
use doorbell::{Doorbell, Sleeper};
use idle::Idle;
use inbox::Queued;
use loom::sync::Arc;
use loom::thread;
use model::prelude::base;
use model::{Gate, check, spawn_with};

struct Note {
    link: AtomicPtr<Note>,
    value: usize,
}

impl Queued for Note {
    fn link(&self) -> &AtomicPtr<Self> {
        &self.link
    }
}

fn note(value: usize) -> NonNull<Note> {
    NonNull::from(Box::leak(Box::new(Note { link: AtomicPtr::new(ptr::null_mut()), value })))
}

/// A worker that may sleep, and how much work others have published.
struct Worker {
    bell: Doorbell<Note>,
    idle: &'static Idle,
    work: AtomicUsize,
    /// A timer is due: its sleep is over at once.
    timer: bool,
    /// As the lookout it gets up by itself, and looks round.
    naps: bool,
    slept: AtomicUsize,
    /// A spare worker is up.
    spare: AtomicUsize,
    /// That of a spare worker that comes and goes.
    spares_bell: Option<Doorbell<Note>>,
}

impl Sleeper for Worker {
    fn has_work_to_share(&self) -> bool {
        self.work.load(Ordering::Relaxed) >= 2
    }

    fn has_unstarted(&self) -> bool {
        self.work.load(Ordering::Relaxed) >= 1
    }

    fn sleep(&self, lookout: bool) -> bool {
        if lookout && self.naps {
            thread::yield_now();
            return false;
        }
        if !self.timer {
            self.slept.fetch_add(1, Ordering::Relaxed);
            self.bell.parker.park();
        }
        true
    }

    fn look_round(&self) -> bool {
        self.has_unstarted() || self.is_spare_up()
    }

    fn notify_thief(&self) {}

    fn is_spare_up(&self) -> bool {
        let is_up = |bell: &Doorbell<Note>| bell.counted.idle().nobody_asleep();
        self.spare.load(Ordering::Relaxed) != 0 || self.spares_bell.as_ref().is_some_and(is_up)
    }
}

/// A spare worker whose timer is due.
struct SpareNight;

impl Sleeper for SpareNight {
    fn has_work_to_share(&self) -> bool {
        false
    }

    fn has_unstarted(&self) -> bool {
        false
    }

    fn sleep(&self, _: bool) -> bool {
        true
    }

    fn look_round(&self) -> bool {
        true
    }

    fn notify_thief(&self) {}
}

impl Worker {
    fn new(timer: bool, naps: bool) -> Arc<Self> {
        let idle: &'static Idle = Box::leak(Box::new(Idle::new()));
        let [work, slept, spare] = [0; 3].map(AtomicUsize::new);
        Arc::new(Self { bell: Doorbell::new(idle), idle, work, timer, naps, slept, spare, spares_bell: None })
    }

    /// The only one beside a spare one.
    fn beside_spare() -> Arc<Self> {
        let mut worker = Self::new(false, true);
        let bell = Doorbell::new(Box::leak(Box::new(Idle::new())));
        Arc::get_mut(&mut worker).expect("nobody else has it").spares_bell = Some(bell);
        worker
    }

    /// The spare one has several threads, and begins a turn that lasts.
    fn begin_spares_turn(&self) {
        if self.idle.publish_one() {
            self.idle.notify_thief(|| self.bell.notify_search(|| {}), || true);
        }
    }

    /// P1 to P6', by somebody else.
    fn publish(&self, threads: usize) {
        self.work.fetch_add(threads, Ordering::Relaxed);
        if self.idle.publish_more() {
            self.idle.notify_thief(|| self.bell.notify_search(|| {}), || self.has_work_to_share());
        }
    }

    /// One sleep, without a search before.
    fn sleep(&self) {
        if self.bell.go_to_sleep(self.idle, 3, false, self).search {
            let _ = self.idle.found();
        }
    }
}

#[test]
fn what_is_left_arrives_once_and_in_order_and_wakes_a_sleeping_owner_once() {
    check(2, || {
        let worker = Worker::new(false, false);
        let senders: Vec<_> = [1, 2]
            .into_iter()
            .map(|sender| {
                spawn_with(&worker, move |worker| {
                    for number in 0..if sender == 1 { 2 } else { 1 } {
                        // SAFETY: the note is leaked until the owner has taken it.
                        unsafe { worker.bell.send(note(sender * 10 + number), || {}) };
                    }
                })
            })
            .collect();
        let mut got: Vec<usize> = Vec::new();
        while got.len() < 3 {
            worker.bell.go_to_sleep(worker.idle, 3, false, &*worker).deliver(|note| {
                // SAFETY: it came from `note`, and is handed out once.
                got.push(unsafe { Box::from_raw(note.as_ptr()) }.value);
            });
        }
        for sender in senders {
            sender.join().unwrap();
        }
        let unparks = worker.bell.parker.unparks.load(Ordering::Relaxed);
        assert_eq!(unparks, worker.slept.load(Ordering::Relaxed), "one unpark for each sleep");
        assert!(worker.idle.nobody_asleep());
        assert!(
            got.iter().position(|v| *v == 10) < got.iter().position(|v| *v == 11),
            "what a sender leaves keeps its order"
        );
    });
}

#[test]
fn a_worker_does_not_sleep_over_published_work() {
    check(4, || {
        let worker = Worker::new(false, false);
        let publisher = spawn_with(&worker, move |worker| worker.publish(2));
        // If the publication were missed by both sides, this would never return: loom reports a deadlock.
        worker.sleep();
        publisher.join().unwrap();
        assert!(worker.has_work_to_share() && worker.idle.nobody_asleep());
    });
}

fn beside_two_publishers(preemptions: usize, threads: usize) {
    check(preemptions, move || {
        let worker = Worker::new(false, false);
        let publishers: Vec<_> = (0..2).map(|_| spawn_with(&worker, move |worker| worker.publish(threads))).collect();
        worker.sleep();
        for publisher in publishers {
            publisher.join().unwrap();
        }
        assert!(worker.idle.nobody_asleep());
    });
}

#[test]
fn two_publishers_that_rely_on_each_other_do_not_leave_a_sleeper_behind() {
    beside_two_publishers(1, 2);
}

/// Only together is it work to share.
#[test]
fn a_publisher_that_finds_nobody_looks_again_for_one_that_relied_on_it() {
    beside_two_publishers(2, 1);
}

#[test]
fn the_last_searcher_that_finds_something_sees_what_was_left_to_it() {
    check(3, || {
        let idle = Arc::new(Idle::new());
        let work = Arc::new(AtomicUsize::new(0));
        // A third worker sleeps all the time.
        let _ = idle.announce(false, 3);
        assert!(idle.try_search(1));
        let searcher = {
            let (idle, work) = (idle.clone(), work.clone());
            thread::spawn(move || idle.found() && work.load(Ordering::Relaxed) == 2)
        };
        work.store(2, Ordering::Relaxed);
        let wakes = idle.publish_more();
        assert!(wakes | searcher.join().unwrap(), "nobody wakes the third worker");
    });
}

/// `publish_one` has no fence, and a worker that gets up for a timer takes what is in its inbox before anybody has unparked it.
#[test]
fn a_worker_that_is_woken_to_search_sees_what_was_published() {
    check(3, || {
        let worker = Worker::new(true, false);
        let publisher = spawn_with(&worker, move |worker| {
            worker.work.store(1, Ordering::Relaxed);
            if worker.idle.publish_one() {
                worker.idle.notify_thief(|| worker.bell.notify_search(|| {}), || true);
            }
        });
        // The only worker that could be the lookout.
        if worker.bell.go_to_sleep(worker.idle, 1, false, &*worker).search {
            assert_eq!(worker.work.load(Ordering::Relaxed), 1);
            let _ = worker.idle.found();
        }
        publisher.join().unwrap();
        assert!(worker.idle.nobody_asleep());
    });
}

/// One worker naps as the lookout, or sleeps because all do. The other goes to sleep, gets up by itself, and publishes a single
/// thread.
#[test]
fn a_single_thread_is_found_by_the_lookout_or_by_a_thief_that_is_woken_for_it() {
    check(2, || {
        let worker = Worker::new(false, true);
        let other = spawn_with(&worker, move |worker| {
            let lookout = worker.idle.announce(false, 2) == idle::Duty::Lookout;
            worker.idle.count_awake();
            if lookout {
                let _ = worker.idle.resign();
            }
            worker.work.store(1, Ordering::Relaxed);
            if worker.idle.publish_one() {
                worker.idle.notify_thief(|| worker.bell.notify_search(|| {}), || true);
            }
        });
        // If neither finds it, this would never return: loom reports a deadlock.
        if worker.bell.go_to_sleep(worker.idle, 2, false, &*worker).search {
            let _ = worker.idle.found();
        }
        other.join().unwrap();
        assert!(worker.has_unstarted() && worker.idle.nobody_asleep() && !worker.idle.has_lookout());
    });
}

/// Two workers sleep, one of them as the lookout; the other is roused, and publishes a single thread.
#[test]
fn a_thread_that_is_published_while_the_lookout_resigns_is_left_to_a_lookout_or_wakes_a_thief() {
    check(3, || {
        let idle = Arc::new(Idle::new());
        assert_eq!(idle.announce(false, 2), idle::Duty::Lookout);
        assert_eq!(idle.announce(false, 2), idle::Duty::None);
        let gate = Arc::new(Gate::new());
        let waker = {
            let (idle, gate) = (idle.clone(), gate.clone());
            thread::spawn(move || {
                idle.count_awake();
                gate.open();
            })
        };
        let publisher = spawn_with(&idle, move |idle| {
            gate.wait();
            idle.publish_one()
        });
        let resigned = idle.resign_if_all_asleep(2);
        assert_eq!(publisher.join().unwrap(), resigned, "somebody else looks after it just when there is no lookout");
        assert_eq!(idle.has_lookout(), !resigned);
        waker.join().unwrap();
    });
}

/// The only worker goes to sleep while a spare one gets up, which has more than one thread and is in one turn from then on.
#[test]
fn a_spare_worker_that_gets_up_is_looked_after() {
    check(3, || {
        let worker = Worker::new(false, true);
        let spare = spawn_with(&worker, move |worker| {
            worker.spare.store(1, Ordering::Relaxed);
            worker.idle.spare_is_up();
            if worker.idle.publish_one() {
                worker.idle.notify_thief(|| worker.bell.notify_search(|| {}), || true);
            }
        });
        // If it sleeps without being the lookout, and is not woken, this would never return.
        if worker.bell.go_to_sleep(worker.idle, 1, false, &*worker).search {
            let _ = worker.idle.found();
        }
        spare.join().unwrap();
        assert!(worker.is_spare_up() && worker.idle.nobody_asleep());
    });
}

/// As before, but its timer is due just when somebody leaves something for it, who counts it awake late.
#[test]
fn a_spare_worker_that_gets_up_before_it_is_counted_awake_is_looked_after() {
    check(3, || {
        let worker = Worker::beside_spare();
        let spare = spawn_with(&worker, move |worker| {
            let bell = worker.spares_bell.as_ref().expect("it is there");
            bell.go_to_sleep(bell.counted.idle(), 1, false, &SpareNight).deliver(drop);
            bell.spare_is_up(worker.idle);
            worker.begin_spares_turn();
        });
        let late = spawn_with(&worker, move |worker| {
            // SAFETY: the note is leaked.
            unsafe { worker.spares_bell.as_ref().expect("it is there").send(note(1), || {}) };
        });
        // As above.
        if worker.bell.go_to_sleep(worker.idle, 1, false, &*worker).search {
            let _ = worker.idle.found();
        }
        spare.join().unwrap();
        late.join().unwrap();
        assert!(worker.is_spare_up() && worker.idle.nobody_asleep());
    });
}
