//! Model of a remote that one runtime after another has, while somebody who is late still leaves something in it; the very
//! source files are included here.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports)]

mod model;

mod base {
    pub(crate) mod atomic {
        pub(crate) use crate::model::prelude::atomic::*;
        /// The other threads go on.
        pub(crate) use loom::thread::yield_now as spin_loop;
    }
}

/// Counts instead of unparking.
mod parker {
    use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    #[derive(Debug)]
    pub(crate) struct Parker(AtomicUsize);

    impl Parker {
        pub(crate) fn new() -> Self {
            Self(AtomicUsize::new(0))
        }

        pub(crate) fn unpark_or(&self, _: impl FnOnce()) {
            self.0.fetch_add(1, Relaxed);
        }
    }
}

#[path = "../src/sched/counted.rs"]
mod counted;
#[path = "../src/sched/doorbell.rs"]
mod doorbell;
#[path = "../src/sched/idle.rs"]
mod idle;
#[path = "../src/sched/inbox.rs"]
mod inbox;

mod sched {
    pub(crate) use crate::{counted, idle, inbox};
}

mod sys {
    pub(crate) use crate::parker;
}

use std::ptr::{self, NonNull};

use base::atomic::AtomicPtr;
use doorbell::{Doorbell, Sleeper};
use idle::Idle;
use inbox::Queued;
use loom::sync::{Arc, Mutex};
use loom::thread;
use model::{check, spawn_with};

struct Note(AtomicPtr<Note>);

impl Queued for Note {
    fn link(&self) -> &AtomicPtr<Self> {
        &self.0
    }
}

/// As `sched/remote.rs` has it.
struct Remote {
    bell: Doorbell<Note>,
    /// The numbers of threads that were cancelled.
    cancels: Mutex<Vec<u32>>,
}

fn new_idle() -> &'static Idle {
    Box::leak(Box::new(Idle::new()))
}

/// Of a worker with a timer that is due at once.
struct Short;

impl Sleeper for Short {
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
        unreachable!()
    }

    fn notify_thief(&self) {
        unreachable!()
    }
}

impl Remote {
    fn new(idle: &'static Idle) -> Arc<Self> {
        Arc::new(Self { bell: Doorbell::new(idle), cancels: Mutex::new(Vec::new()) })
    }

    /// `remote::interrupt`.
    fn cancel(&self, thread: u32) {
        self.cancels.lock().unwrap().push(thread);
        self.bell.notify_control(|| {});
    }

    /// One sleep of a worker. The cancels that it has seen.
    fn sleeps(&self, idle: &'static Idle) -> Vec<u32> {
        let control = self.bell.go_to_sleep(idle, 1, false, &Short).control;
        if control { std::mem::take(&mut *self.cancels.lock().unwrap()) } else { Vec::new() }
    }

    /// `remote::release`, and `remote::acquire` by the next runtime.
    fn changes_hands(&self, last: &'static Idle, next: &'static Idle) {
        self.bell.counted.wait_for_the_late();
        drop(std::mem::take(&mut *self.cancels.lock().unwrap()));
        self.bell.answer(last, false).deliver(|_| unreachable!("a thread was woken after its runtime had ended"));
        self.bell.counted.hand_over(next);
    }
}

/// A thread of the first runtime is cancelled; the thread has ended by the time that this reaches its remote, and so has its
/// runtime, or the next one.
#[test]
fn a_late_cancel_takes_every_sleeper_out_of_its_own_count() {
    check(3, || {
        let idles = [new_idle(), new_idle(), new_idle()];
        let remote = Remote::new(idles[0]);
        let late = spawn_with(&remote, move |remote| remote.cancel(1));
        let _ = remote.sleeps(idles[0]);
        remote.changes_hands(idles[0], idles[1]);
        let _ = remote.sleeps(idles[1]);
        remote.changes_hands(idles[1], idles[2]);
        let _ = remote.sleeps(idles[2]);
        late.join().unwrap();
        assert!(idles.iter().all(|idle| idle.nobody_asleep()));
    });
}

/// The next runtime's worker sleeps until it is woken, and a cancel of one of its own threads comes together with a late one of
/// the last runtime.
#[test]
fn a_cancel_reaches_the_next_owner_beside_one_that_came_too_late() {
    check(2, || {
        let idles = [new_idle(), new_idle()];
        let remote = Remote::new(idles[0]);
        let late = spawn_with(&remote, move |remote| remote.cancel(1));
        let _ = remote.sleeps(idles[0]);
        remote.changes_hands(idles[0], idles[1]);
        let own = spawn_with(&remote, move |remote| remote.cancel(2));
        let mut seen = remote.sleeps(idles[1]);
        own.join().unwrap();
        late.join().unwrap();
        seen.extend(remote.sleeps(idles[1]));
        assert!(seen.contains(&2), "{seen:?}");
        assert!(remote.cancels.lock().unwrap().is_empty());
        assert!(idles.iter().all(|idle| idle.nobody_asleep()));
    });
}
