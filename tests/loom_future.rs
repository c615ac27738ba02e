//! Models of the waker's place in a thread (`task/awaiter.rs`) and of a thread in `block_on`: loom tries every
//! interleaving, on the very source files, with its own atomics in the place of std's.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports)]

mod model;

mod task {
    pub(crate) use crate::state;
}

#[path = "../src/task/awaiter.rs"]
mod awaiter;
#[path = "../src/task/state.rs"]
mod state;
#[path = "../src/task/wait.rs"]
mod wait;

use std::sync::Arc as StdArc;
use std::task::{Wake, Waker};

use awaiter::Awaiter;
use base::atomic::{AtomicUsize, Ordering};
use loom::sync::Arc;
use loom::thread;
use model::prelude::base;
use model::{Gate, check};
use state::State;
use wait::{End, ParkToken, WaitWord};

/// What a waker of the model opens. Its `Arc` is std's, so that the references can be counted.
struct Bell(Gate);

impl Wake for Bell {
    fn wake(self: StdArc<Self>) {
        self.0.open();
    }
}

fn bell() -> (StdArc<Bell>, Waker) {
    let bell = StdArc::new(Bell(Gate::new()));
    let waker = bell.clone().into();
    (bell, waker)
}

/// A thread that ends, and its handle.
struct Thread {
    state: State,
    awaiter: Awaiter,
    result: AtomicUsize,
    dropped: AtomicUsize,
}

impl Thread {
    fn new() -> Arc<Self> {
        let (state, awaiter) = (State::new(2, true), Awaiter::new());
        Arc::new(Self { state, awaiter, result: AtomicUsize::new(0), dropped: AtomicUsize::new(0) })
    }

    /// As `Header::complete` and what follows it.
    fn complete(&self) {
        self.result.store(7, Ordering::Relaxed);
        let done = self.state.complete();
        if done.awaiter {
            // SAFETY: this is the thread, and `AWAITED` was set.
            unsafe { self.awaiter.wake() };
        }
        if done.detached {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// As `JoinHandle::poll`: true is ready.
    fn poll(&self, waker: &Waker) -> bool {
        if !self.state.is_complete() && self.awaiter.register(&self.state, waker) {
            return false;
        }
        assert_eq!(self.result.load(Ordering::Relaxed), 7, "the result is visible");
        self.state.result_taken();
        true
    }

    /// As the handle's `drop`.
    fn detach(&self) {
        let detached = self.state.detach();
        if detached.result {
            assert_eq!(self.result.load(Ordering::Relaxed), 7, "the result is visible");
            self.dropped.fetch_add(1, Ordering::Relaxed);
        } else if detached.awaiter {
            // SAFETY: it was taken back before the thread was complete.
            drop(unsafe { self.awaiter.take() });
        }
    }
}

/// Runs `handle` against a thread that ends, and demands that no reference of `bells` is left.
fn against_completion(bells: &[&StdArc<Bell>], handle: impl FnOnce(&Thread)) -> Arc<Thread> {
    let thread = Thread::new();
    let other = thread.clone();
    let ending = thread::spawn(move || other.complete());
    handle(&thread);
    ending.join().unwrap();
    for bell in bells {
        assert_eq!(StdArc::strong_count(bell), 1, "a waker was leaked");
    }
    thread
}

#[test]
fn a_pending_poll_is_woken_whenever_the_thread_ends() {
    check(4, || {
        let (bell, waker) = bell();
        against_completion(&[&bell], move |thread| {
            while !thread.poll(&waker) {
                waker_of(&waker).0.wait();
            }
            thread.detach();
        });
    });
}

/// The bell behind a waker that [`bell`] made.
fn waker_of(waker: &Waker) -> &Bell {
    // SAFETY: `Waker::from(Arc<Bell>)` keeps the pointer of the `Arc`.
    unsafe { &*waker.data().cast::<Bell>() }
}

#[test]
fn the_waker_of_the_last_poll_is_the_one_that_is_called() {
    check(4, || {
        let ((bell_one, one), (bell_two, two)) = (bell(), bell());
        against_completion(&[&bell_one, &bell_two], move |thread| {
            let ready = thread.poll(&one) || thread.poll(&two) || thread.poll(&two);
            if !ready {
                waker_of(&two).0.wait();
                assert!(thread.poll(&one));
            }
            thread.detach();
        });
    });
}

#[test]
fn a_handle_that_is_dropped_while_pending_leaves_neither_waker_nor_result() {
    check(4, || {
        let (bell, waker) = bell();
        let taken = StdArc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = taken.clone();
        let thread = against_completion(&[&bell], move |thread| {
            seen.store(thread.poll(&waker), std::sync::atomic::Ordering::Relaxed);
            thread.detach();
        });
        let dropped = thread.dropped.load(Ordering::Relaxed);
        assert_eq!(
            dropped,
            usize::from(!taken.load(std::sync::atomic::Ordering::Relaxed)),
            "once, unless it was taken"
        );
    });
}

/// A thread in `block_on`: polls, and waits on its own token; two wakers, one of which lives on after the end.
struct Parked {
    word: WaitWord,
    woken: ParkToken,
    scheduled: Gate,
}

impl Parked {
    fn wake(&self) {
        if let Some(epoch) = self.woken.put()
            && self.word.end(epoch, End::Notified)
        {
            self.scheduled.open();
        }
    }

    /// As the loop of `block_on`, for the future that is ready when `ready` says so.
    fn block_on(&self, ready: impl Fn() -> bool) {
        while !ready() {
            if self.woken.take() {
                continue;
            }
            let epoch = self.word.begin();
            if !self.woken.wait(epoch) && self.word.retract(epoch) {
                continue;
            }
            self.scheduled.wait();
            assert_eq!(self.word.finish(), End::Notified);
            let _ = self.woken.take();
        }
    }
}

#[test]
fn a_thread_in_block_on_misses_no_wake_of_two_wakers() {
    check(3, || {
        let parked = Arc::new(Parked { word: WaitWord::new(), woken: ParkToken::new(), scheduled: Gate::new() });
        let events = Arc::new(AtomicUsize::new(0));
        let wakers: Vec<_> = (0..2)
            .map(|_| {
                let (parked, events) = (parked.clone(), events.clone());
                thread::spawn(move || {
                    events.fetch_add(1, Ordering::Relaxed);
                    parked.wake();
                })
            })
            .collect();
        parked.block_on(|| events.load(Ordering::Relaxed) == 2);
        for waker in wakers {
            waker.join().unwrap();
        }
    });
}

/// `ParkToken::wait` once emptied the word by a plain store when a token had come: a second one that came just then was gone,
/// without what its thread had done before being visible.
#[test]
fn two_tokens_taken_at_once_are_both_seen() {
    check(3, || {
        let parked = Arc::new((WaitWord::new(), ParkToken::new()));
        let events: Arc<[AtomicUsize; 2]> = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let putters: Vec<_> = (0..2)
            .map(|me| {
                let (parked, events) = (parked.clone(), events.clone());
                thread::spawn(move || {
                    events[me].store(1, Ordering::Relaxed);
                    let _ = parked.1.put();
                })
            })
            .collect();
        let epoch = parked.0.begin();
        if !parked.1.wait(epoch) {
            assert!(parked.0.retract(epoch));
            // Whichever was not taken above is there now, or comes later: it is not gone unseen.
            let seen = events.iter().filter(|event| event.load(Ordering::Relaxed) == 1).count();
            for putter in putters {
                putter.join().unwrap();
            }
            assert!(seen == 2 || parked.1.take());
        } else {
            for putter in putters {
                putter.join().unwrap();
            }
        }
    });
}
