//! Models of a thread's header (`task/header.rs`: the joiner's ticket, the part that is made late) and of a scope's end
//! (`rt/members.rs`). Loom tries every interleaving, and every value that a weak memory may return, on the very source
//! files; the threads of the models park as OS threads do, in the real parker.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports, missing_debug_implementations)]

mod model;

#[path = "../src/rt/members.rs"]
mod members;
#[path = "model/os.rs"]
mod park;
#[path = "model/sys.rs"]
mod sys;
#[path = "model/task.rs"]
mod task;

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use loom::sync::Arc;
use loom::thread;
use members::Members;
use model::prelude::{base, fiber, stack};
use model::{Watched, check, spawn_with};
use park::{Wait, WaitResult, park, wait_unless};
use task::header::{Header, Reason, Task};

/// A thread that ends, with a result.
struct Joined {
    task: Task,
    result: Watched,
}

impl Joined {
    fn new() -> Arc<Self> {
        Arc::new(Self { task: park::task(3, true), result: Watched::new(0) })
    }

    fn end(&self) {
        self.result.add(7);
        // SAFETY: it is called once.
        assert!(!unsafe { Header::complete(self.task.as_ptr(), false, || {}) }, "there is a handle");
    }

    /// As `JoinHandle::wait`.
    fn join(&self, mut wait: Wait) {
        while !self.task.state.is_complete() {
            let mut slot = MaybeUninit::uninit();
            // SAFETY: `slot` stays until the wait is over.
            let enter = |ticket| unsafe { self.task.join_enter(NonNull::from(slot.write(ticket))) };
            let _ = wait_unless(&mut wait, enter, || self.task.join_leave());
        }
    }
}

fn joined_by(join: impl Fn(&Joined) + Sync + Send + 'static) {
    check(3, move || {
        let joined = Joined::new();
        let ending = spawn_with(&joined, Joined::end);
        join(&joined);
        assert_eq!(joined.result.get(), 7, "the result is visible");
        ending.join().unwrap();
    });
}

#[test]
fn a_joiner_is_woken_whenever_the_thread_ends() {
    joined_by(|joined| joined.join(Wait::new(Reason::Join)));
}

#[test]
fn a_joiner_that_was_interrupted_joins_again() {
    joined_by(|joined| {
        park::cancel_me();
        joined.join(Wait::new(Reason::Join));
    });
}

/// The ticket lies in the joiner's frame: who leaves that while the thread may still read the ticket has the thread end
/// another wait, or read rubbish.
#[test]
fn a_joiner_that_leaves_is_not_found_by_the_thread_that_ends() {
    joined_by(|joined| {
        park::cancel_me();
        let mut slot = MaybeUninit::uninit();
        // SAFETY: `slot` stays until the wait is over.
        let woken = park(Wait::new(Reason::Join), |ticket| unsafe {
            joined.task.join_enter(NonNull::from(slot.write(ticket)))
        });
        let mut left = false;
        if woken == WaitResult::Interrupted {
            left = joined.task.join_leave();
            if !left {
                assert_eq!(joined.result.get(), 7, "the result is visible");
            }
            // The frame is another's now.
            let other = park(Wait::new(Reason::Sleep), |ticket| {
                slot.write(ticket);
                true
            });
            assert_eq!(other, WaitResult::Interrupted, "nobody knows of this wait");
        }
        if left {
            joined.join(Wait::new(Reason::Join).uninterruptible());
        }
        assert!(joined.task.state.is_complete());
    });
}

#[test]
fn the_part_of_a_header_that_is_made_late_is_whole_for_whoever_finds_it() {
    check(3, || {
        let task = park::task(2, true);
        let look = |task: &Task| {
            let extra = task.extra_or_new();
            // SAFETY: nobody changes it.
            assert_eq!(unsafe { &*extra.locals.get() }.0.get(), 7);
            std::ptr::from_ref(extra).addr()
        };
        let other = {
            let task = task.clone();
            thread::spawn(move || look(&task))
        };
        assert_eq!(look(&task), other.join().unwrap(), "there is one of it");
    });
}

/// What the threads of a scope borrow.
struct Scope {
    members: Members,
    borrowed: [Watched; 2],
}

#[test]
fn a_scope_ends_after_its_threads_and_sees_what_they_did() {
    check(3, || {
        let borrowed = [0, 0].map(Watched::new);
        let scope = Arc::new(Scope { members: Members::new(), borrowed });
        let threads = [0, 1].map(|at| {
            scope.members.add();
            let scope = scope.clone();
            thread::spawn(move || {
                scope.borrowed[at].add(7);
                if at == 1 {
                    scope.members.note_panic();
                }
                // SAFETY: it was counted.
                unsafe { Members::done(&raw const scope.members) };
            })
        });
        scope.members.wait();
        assert_eq!(scope.members.count(), 0);
        assert!(scope.members.has_panicked());
        assert_eq!(scope.borrowed.each_ref().map(Watched::get), [7, 7]);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}
