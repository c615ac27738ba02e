//! Models of the lock by which threads are listed: loom tries every interleaving, and every value that a weak memory may return. The
//! very source file is included here.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports)]

mod model;

mod base {
    pub(crate) use crate::model::prelude::atomic;

    /// loom's mutex.
    pub(crate) mod lock {
        use loom::sync::{Mutex, MutexGuard};

        pub(crate) type LockGuard<'a, T> = MutexGuard<'a, T>;

        #[derive(Debug)]
        pub(crate) struct Lock<T>(Mutex<T>);

        impl<T> Lock<T> {
            pub(crate) fn new(value: T) -> Self {
                Self(Mutex::new(value))
            }

            pub(crate) fn lock(&self) -> LockGuard<'_, T> {
                self.0.lock().unwrap()
            }
        }
    }
}

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

#[path = "../src/sched/biased.rs"]
mod biased;

use biased::BiasedLock;
use loom::sync::Arc;
use model::{Watched, check, spawn_with};

/// What the lock guards, which loom watches, and the lock; a visitor keeps how often it came.
struct Guarded {
    number: Watched,
    lock: BiasedLock<u32>,
}

impl Guarded {
    fn new() -> Arc<Self> {
        Arc::new(Self { number: Watched::new(0), lock: BiasedLock::new(0) })
    }

    /// By the owner.
    fn change(&self) {
        self.lock.own(|_| self.number.add(1));
    }
}

#[test]
fn the_owner_and_a_visitor_never_meet_and_see_what_the_other_has_done() {
    check(3, || {
        let guarded = Guarded::new();
        let visitor = spawn_with(&guarded, |guarded| {
            let visitor = guarded.lock.open().unwrap();
            let first = {
                let mut visits = visitor.visit();
                *visits += 1;
                guarded.number.add(10)
            };
            let visits = visitor.visit();
            assert_eq!(*visits, 1);
            assert!(guarded.number.get() >= first);
        });
        guarded.change();
        guarded.change();
        visitor.join().unwrap();
        guarded.change();
        assert_eq!(guarded.number.get(), 13);
    });
}

#[test]
fn the_owner_gets_what_the_visitors_keep_as_long_as_there_may_be_one() {
    check(2, || {
        let guarded = Guarded::new();
        let visitor = guarded.lock.open().unwrap();
        let owner = spawn_with(&guarded, |guarded| {
            guarded.lock.own(|kept| {
                guarded.number.add(1);
                kept.map(|kept| *kept += 1).is_some()
            })
        });
        let seen = *visitor.visit();
        drop(visitor);
        let was_given = owner.join().unwrap();
        assert!(was_given || seen == 0);
        assert_eq!(guarded.number.get(), 1);
    });
}

#[test]
fn one_visitor_after_the_other_and_the_second_sees_what_the_first_has_done() {
    check(2, || {
        let guarded = Guarded::new();
        let comes = |guarded: &Guarded| {
            let Ok(visitor) = guarded.lock.open() else { return 0 };
            let _visit = visitor.visit();
            guarded.number.add(1);
            1
        };
        let other = spawn_with(&guarded, comes);
        let came = comes(&guarded);
        let all = came + other.join().unwrap();
        assert!(all >= 1);
        assert_eq!(guarded.number.get(), all);
    });
}
