//! Models of the table in which green threads wait for words of memory (`interposed/futex.rs`, proof in `PROTOCOL.md` there): loom tries every
//! interleaving, and every value that a weak memory may return, on the very source files, those of the table's parts that are made late
//! (`sys/fork/per_process.rs`) and of the lines of waiters among them.
//!
//! A lost wake-up shows as a deadlock, which loom reports.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports, missing_debug_implementations)]
#![allow(clippy::undocumented_unsafe_blocks, clippy::modulo_one, reason = "the table has one bucket here")]

mod model;

mod base {
    pub(crate) use crate::model::prelude::{abort, debug, list, shown};

    pub(crate) mod atomic {
        pub(crate) use crate::model::fresh::AtomicPtr;
        pub(crate) use crate::model::prelude::atomic::{
            AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Backoff, MODELLED, Ordering, OsThread, UnsafeCell, fence,
            spin_loop, yield_now,
        };
    }

    pub(crate) use crate::spin;
}

mod park {
    pub(crate) use crate::turns::*;
}

mod sys {
    pub(crate) use crate::model::prelude::clock;

    pub(crate) mod fork {
        pub(crate) use crate::model::prelude::fork::*;
        pub(crate) use crate::per_process::PerProcess;
    }
}

#[path = "../src/interposed/futex.rs"]
mod futex;
#[path = "../src/sys/fork/per_process.rs"]
mod per_process;
#[path = "../src/base/spin.rs"]
mod spin;
#[path = "model/task.rs"]
mod task;
#[path = "model/turns.rs"]
mod turns;

use std::ptr;

use futex::{FutexEnd, address_wait, futex_wait, futex_wake};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;
use model::prelude::{fiber, stack};
use model::{fresh, spawn_with};
use sys::clock::NEVER;
use task::wait::End;
use turns::{Parked, be};

const ALL: u32 = u32::MAX;
/// A deadline that passes whenever loom wants.
const SOON: u64 = 1;

/// Words that threads wait for, as long as they are zero. All are in one bucket of the table.
struct Words {
    words: [AtomicU32; 2],
}

impl Words {
    fn new() -> Arc<Self> {
        be(&Parked::new());
        let words = Arc::new(Self { words: [0, 0].map(AtomicU32::new) });
        assert_eq!(words.wake(0, 1), 0, "the table has no parts yet");
        words
    }

    fn address(&self, at: usize) -> usize {
        ptr::from_ref(&self.words[at]).addr()
    }

    fn wake(&self, at: usize, most: u32) -> u32 {
        futex_wake(self.address(at), most, ALL).count
    }

    fn set(&self, at: usize, value: u32) {
        self.words[at].store(value, Ordering::Relaxed);
    }

    /// The system call, once. How often a wake-up has ended it.
    fn wait_once(&self, at: usize, bits: u32, deadline_ns: u64) -> FutexEnd {
        // SAFETY: it lives longer than this.
        unsafe { futex_wait(&self.words[at], 0, bits, deadline_ns) }
    }

    /// Until the word has changed. How many wake-ups that took.
    fn wait(&self, at: usize) -> u32 {
        let mut woken = 0;
        while self.words[at].load(Ordering::Relaxed) == 0 {
            woken += u32::from(self.wait_once(at, ALL, NEVER) == FutexEnd::Woken);
        }
        woken
    }
}

/// A green thread of the model.
fn spawn<R: 'static>(
    words: &Arc<Words>,
    f: impl FnOnce(&Words) -> R + 'static,
) -> (std::sync::Arc<Parked>, thread::JoinHandle<R>) {
    let (parked, words) = (Parked::new(), words.clone());
    let me = parked.clone();
    let handle = thread::spawn(move || {
        be(&me);
        f(&words)
    });
    (parked, handle)
}

#[test]
fn a_wake_up_after_the_word_has_changed_reaches_who_waits_for_it() {
    fresh::check(3, || {
        let words = Words::new();
        let (_, waiter) = spawn(&words, |words| words.wait(0));
        words.set(0, 1);
        let woken = words.wake(0, 1);
        // If it sleeps on, loom reports a deadlock.
        assert_eq!(waiter.join().unwrap(), woken, "who is said to be woken is");
    });
}

#[test]
fn each_wake_up_of_one_wakes_one() {
    fresh::check(2, || {
        let words = Words::new();
        let waiters = [0, 1].map(|_| spawn(&words, |words| words.wait(0)).1);
        words.set(0, 1);
        let first = words.wake(0, 1);
        let second = words.wake(0, 1);
        assert!(first <= 1 && second <= 1);
        let ended: u32 = waiters.map(|waiter| waiter.join().unwrap()).iter().sum();
        assert_eq!(ended, first + second);
    });
}

#[test]
fn one_wake_up_of_all_leaves_nobody_behind() {
    fresh::check(2, || {
        let words = Words::new();
        let waiters = [0, 1].map(|_| spawn(&words, |words| words.wait(0)).1);
        words.set(0, 1);
        let woken = words.wake(0, ALL);
        let ended: u32 = waiters.map(|waiter| waiter.join().unwrap()).iter().sum();
        assert_eq!(ended, woken);
    });
}

/// The thread whose time is over, and one that waits as long as it takes: of one wake-up for one of them it is said truly whether it was used.
#[test]
fn a_wake_up_that_meets_a_time_out_goes_to_the_next_or_is_given_back() {
    fresh::check(2, || {
        let words = Words::new();
        let (in_time, first) = spawn(&words, |words| {
            let end = words.wait_once(0, ALL, SOON);
            u32::from(end == FutexEnd::Woken)
        });
        let (_, second) = spawn(&words, |words| words.wait(0));
        in_time.end(End::TimedOut);
        words.set(0, 1);
        let woken = words.wake(0, 1);
        // The kernel's turn is the other's.
        let left = words.wake(0, ALL);
        assert_eq!(first.join().unwrap() + second.join().unwrap(), woken + left);
    });
}

#[test]
fn a_thread_whose_time_is_over_leaves_nothing_in_the_line() {
    fresh::check(3, || {
        let words = Words::new();
        // Nobody drives it: its deadline has passed.
        let waiter = spawn_with(&words, |words| words.wait_once(0, ALL, SOON));
        let woken = words.wake(0, 1);
        let end = waiter.join().unwrap();
        assert_eq!(end == FutexEnd::Woken, woken == 1, "{end:?}");
        assert_eq!(words.wake(0, ALL), 0, "nobody is there");
    });
}

#[test]
fn a_wake_up_is_for_its_address_and_its_bits() {
    fresh::check(2, || {
        let words = Words::new();
        let (_, other) = spawn(&words, |words| words.wait(1));
        let (_, bits) = spawn(&words, |words| words.wait_once(0, 2, NEVER));
        // Neither is meant.
        assert_eq!(futex_wake(words.address(0), ALL, 1).count, 0);
        words.set(1, 1);
        let woken = words.wake(1, ALL);
        assert_eq!(other.join().unwrap(), woken);
        words.set(0, 1);
        let woken = futex_wake(words.address(0), ALL, 2).count;
        assert_eq!(u32::from(bits.join().unwrap() == FutexEnd::Woken), woken);
    });
}

#[test]
fn a_semaphore_that_is_posted_lets_one_in() {
    fresh::check(2, || {
        let words = Words::new();
        // As libc's: one is taken, or there is none.
        let acquire = |words: &Words| {
            let take = |count: u32| count.checked_sub(1);
            let tries = || words.words[0].fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
            while address_wait(words.address(0), NEVER, tries) != FutexEnd::Changed {}
        };
        let waiters = [0, 1].map(|_| spawn(&words, acquire).1);
        for _ in 0..2 {
            words.words[0].fetch_add(1, Ordering::Relaxed);
            words.wake(0, 1);
        }
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        assert_eq!(words.words[0].load(Ordering::Relaxed), 0);
    });
}
