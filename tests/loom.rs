//! Models of the park word and of a task's state: loom tries every interleaving, and every value that a weak
//! memory may return. The very source files are included here, with loom's atomics in the place of std's.
//!
//! `.ci/mutants` removes each line of them that is marked `KEY`, and sees to it that a model fails then.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports)]

mod model;

#[path = "../src/task/state.rs"]
mod state;
#[path = "../src/task/wait.rs"]
mod wait;

use base::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;
use model::prelude::base;
use model::{Gate, check, spawn_with};
use state::State;
use wait::{End, Epoch, ParkToken, WaitWord};

/// A thread with its park word, and the place where its worker would resume it.
struct Parked {
    word: WaitWord,
    token: ParkToken,
    scheduled: Gate,
    times: AtomicUsize,
}

impl Parked {
    fn new() -> Arc<Self> {
        let (word, token) = (WaitWord::new(), ParkToken::new());
        Arc::new(Self { word, token, scheduled: Gate::new(), times: AtomicUsize::new(0) })
    }

    fn schedule(&self) {
        self.times.fetch_add(1, Ordering::Relaxed);
        self.scheduled.open();
    }

    fn park(&self) {
        if self.token.take() {
            return;
        }
        let epoch = self.word.begin();
        if !self.token.wait(epoch) && self.word.retract(epoch) {
            return;
        }
        self.scheduled.wait();
        assert_eq!(self.word.finish(), End::Notified);
        let _ = self.token.take();
    }

    fn unpark(&self) {
        if let Some(epoch) = self.token.put()
            && self.word.end(epoch, End::Notified)
        {
            self.schedule();
        }
    }
}

#[test]
fn an_unpark_is_not_lost_whenever_it_comes() {
    check(3, || {
        let parked = Parked::new();
        let done = Arc::new(AtomicUsize::new(0));
        let waker = {
            let (parked, done) = (parked.clone(), done.clone());
            thread::spawn(move || {
                done.store(1, Ordering::Relaxed);
                parked.unpark();
            })
        };
        parked.park();
        assert_eq!(done.load(Ordering::Relaxed), 1, "what the waker did before is visible");
        waker.join().unwrap();
    });
}

#[test]
fn two_unparks_and_two_parks_end_with_nobody_asleep() {
    check(3, || {
        let parked = Parked::new();
        let other = parked.clone();
        let waker = thread::spawn(move || {
            other.unpark();
            other.unpark();
        });
        parked.park();
        waker.join().unwrap();
        parked.unpark();
        parked.park();
    });
}

#[test]
fn who_takes_a_wait_out_of_a_token_finds_it_begun() {
    check(3, || {
        let parked = Parked::new();
        let other = parked.clone();
        let waker = thread::spawn(move || {
            if let Some(epoch) = other.token.put() {
                assert_eq!(other.word.waiting(), Some(epoch), "an `end` would find nothing to end");
                assert!(other.word.end(epoch, End::Notified));
                other.schedule();
            }
        });
        parked.park();
        waker.join().unwrap();
    });
}

/// A joiner with the handle's reference and the queue entry's, and somebody with a third, who cancels meanwhile: where the
/// joiner finds itself alone it stores without an exchange.
#[test]
fn a_sole_holder_that_stores_without_an_exchange_overwrites_nothing() {
    check(3, || {
        let state = Arc::new(State::new(3, true));
        let seen = Arc::new(loom::cell::UnsafeCell::new(0));
        let other = {
            let (state, seen) = (state.clone(), seen.clone());
            thread::spawn(move || {
                let _ = state.cancel();
                // SAFETY: nobody else touches it before this reference is given up.
                seen.with_mut(|seen| unsafe { *seen += 1 });
                state.drop_ref()
            })
        };
        assert!(state.claim_joined(7, true));
        let done = state.complete();
        assert!(!done.joiner && !done.detached);
        let last = state.drop_ref();
        if last {
            // SAFETY: the other reference is gone, and what was done through it is visible.
            seen.with_mut(|seen| unsafe { *seen += 1 });
        }
        assert!(last != other.join().unwrap(), "one of the two is the last");
        assert!(state.is_cancelled() && state.is_complete() && state.home() == 7, "{state:?}");
    });
}

#[test]
fn exactly_one_of_two_wakers_wins_and_a_late_one_does_not_end_the_next_wait() {
    check(3, || {
        let parked = Parked::new();
        let ticket: Arc<Mutex<Option<Epoch>>> = Arc::new(Mutex::new(None));
        let wakers: Vec<_> = [End::Notified, End::Cancelled]
            .into_iter()
            .map(|how| {
                let (parked, ticket) = (parked.clone(), ticket.clone());
                thread::spawn(move || {
                    let found = *ticket.lock().unwrap();
                    // Outside the lock on purpose: it may come as late as it likes.
                    if let Some(epoch) = found
                        && parked.word.end(epoch, how)
                    {
                        parked.schedule();
                    }
                })
            })
            .collect();
        let first = parked.word.begin();
        *ticket.lock().unwrap() = Some(first);
        let mut scheduled = 0;
        if !parked.word.retract(first) {
            parked.scheduled.wait();
            let _ = parked.word.finish();
            scheduled = 1;
        }
        // The next wait: nobody knows its ticket.
        *ticket.lock().unwrap() = None;
        let second = parked.word.begin();
        for waker in wakers {
            waker.join().unwrap();
        }
        assert!(parked.word.retract(second), "a late waker ended a wait that it knew nothing of");
        assert_eq!(parked.times.load(Ordering::Relaxed), scheduled);
    });
}

/// A thread that its joiner has started on top of itself, and that waits there, as `Worker::turn_on_top` and
/// `Worker::interrupt` handle it: another worker wakes it, and a third one cancels it.
struct OnTop {
    state: State,
    parked: Parked,
    ticket: Mutex<Option<Epoch>>,
    /// The remotes of worker 0, which is not its own, and of worker 1, which is.
    cancels: [Gate; 2],
    over: AtomicUsize,
}

const JOINER: u16 = 1;

impl OnTop {
    /// On another worker: ends the wait if there is one, and hands the thread to its own worker.
    fn wake(&self) {
        let found = *self.ticket.lock().unwrap();
        if let Some(epoch) = found
            && self.parked.word.end(epoch, End::Notified)
        {
            assert_eq!(self.state.home(), JOINER, "it goes to the worker that claimed it");
            self.parked.schedule();
        }
    }

    /// `remote::cancel`.
    fn cancel(&self) {
        match self.state.cancel() {
            state::CancelFound::Started { home } => self.cancels[usize::from(home)].open(),
            state::CancelFound::Unstarted | state::CancelFound::Nothing => {}
        }
    }

    /// The joiner's worker: the turn on top, then the loop, which reads its mail when the thread waits and resumes it.
    fn join(&self) {
        assert!(self.state.claim_joined(JOINER, true));
        if !self.state.is_cancelled() {
            let epoch = self.parked.word.begin();
            *self.ticket.lock().unwrap() = Some(epoch);
            // It has suspended; its turns are its own from now on, with a reference of its own.
            self.state.add_ref();
            self.cancels[usize::from(JOINER)].wait();
            assert!(self.state.lives_at(JOINER) && self.state.is_cancelled());
            if let Some(epoch) = self.parked.word.waiting()
                && self.parked.word.end(epoch, End::Cancelled)
            {
                self.parked.schedule();
            }
            self.parked.scheduled.wait();
            assert_ne!(self.parked.word.finish(), End::TimedOut);
            assert!(!self.state.drop_ref(), "the joiner has one, too");
        }
        let done = self.state.complete();
        assert!(!done.joiner && !done.awaiter && !done.detached);
        self.over.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_thread_that_waits_on_top_of_its_joiner_is_woken_or_cancelled_once_and_never_forgotten() {
    check(3, || {
        let (word, token) = (WaitWord::new(), ParkToken::new());
        let parked = Parked { word, token, scheduled: Gate::new(), times: AtomicUsize::new(0) };
        let thread = Arc::new(OnTop {
            state: State::new(3, true),
            parked,
            ticket: Mutex::new(None),
            cancels: [Gate::new(), Gate::new()],
            over: AtomicUsize::new(0),
        });
        let others = [OnTop::wake, OnTop::cancel].map(|act| spawn_with(&thread, act));
        // If a cancel went astray, this would never return: loom reports a deadlock.
        thread.join();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(thread.over.load(Ordering::Relaxed), 1);
        assert!(thread.parked.times.load(Ordering::Relaxed) <= 1, "it was scheduled once for its one wait");
        assert!(thread.state.is_complete() && !thread.state.drop_ref() && thread.state.drop_ref());
    });
}

/// A re-armable task has run at worker 0, and is claimed by worker 1, while somebody cancels it.
#[test]
fn a_task_that_has_run_elsewhere_is_found_by_a_cancel_where_it_is() {
    check(3, || {
        let state = Arc::new(State::new(2, false));
        assert!(state.claim(0));
        let canceller = spawn_with(&state, State::cancel);
        state.claim_rested(1);
        assert!(state.lives_at(1) && state.home() == 1);
        let starts_cancelled = state.is_cancelled();
        let found = canceller.join().unwrap();
        assert!(starts_cancelled || found == state::CancelFound::Started { home: 1 }, "{found:?}");
    });
}

/// Worker 0 reads the notice of an interruption when the task that it is for has been claimed by worker 1, and waits there.
#[test]
fn a_late_notice_does_not_take_a_wait_elsewhere_for_one_at_home() {
    check(3, || {
        let task = Arc::new((State::new(2, false), WaitWord::new()));
        assert!(task.0.claim(0));
        let reader = spawn_with(&task, |(state, wait)| wait.waiting().is_none() || !state.is_at(0));
        task.0.set_home(1);
        let _ = task.1.begin();
        assert!(reader.join().unwrap());
    });
}

/// Worker 1 has claimed a thread and gives it to worker 2, which starts it, while somebody cancels it.
#[test]
fn a_thread_that_is_given_to_another_worker_is_found_by_a_cancel_there() {
    check(3, || {
        let state = Arc::new(State::new(2, true));
        assert!(state.claim(1));
        let canceller = spawn_with(&state, State::cancel);
        state.set_home(2);
        assert!(state.lives_at(2) && state.home() == 2 && !state.claim(3));
        let starts_cancelled = state.is_cancelled();
        let found = canceller.join().unwrap();
        assert!(starts_cancelled || found == state::CancelFound::Started { home: 2 }, "{found:?}");
    });
}

#[test]
fn a_task_that_could_not_be_started_is_claimed_again_with_its_cancel() {
    check(3, || {
        let state = Arc::new(State::new(2, false));
        assert!(state.claim(3));
        let canceller = spawn_with(&state, State::cancel);
        state.unclaim();
        state.claim_rested(5);
        assert!(state.lives_at(5));
        let found = canceller.join().unwrap();
        assert!(state.is_cancelled(), "{found:?}: whoever starts it sees the cancel");
    });
}

/// Another thread touches what the task has, and gives its reference up; the caller of `last` has one.
fn with_an_other(last: fn(&State, &loom::cell::UnsafeCell<u32>)) {
    check(3, move || {
        let task = Arc::new((State::new(2, false), loom::cell::UnsafeCell::new(0)));
        let other = loom::thread::spawn({
            let task = Arc::clone(&task);
            move || {
                // SAFETY: loom checks the access.
                task.1.with_mut(|value| unsafe { *value += 1 });
                let _ = task.0.drop_ref();
            }
        });
        last(&task.0, &task.1);
        other.join().unwrap();
    });
}

#[test]
fn a_sole_holder_has_what_the_others_have_done() {
    with_an_other(|state, value| {
        if state.is_sole() {
            // SAFETY: as above.
            value.with_mut(|value| unsafe { *value += 1 });
        }
    });
}

#[test]
fn who_gives_a_reference_up_and_is_the_last_has_what_the_others_have_done() {
    with_an_other(|state, value| {
        if state.drop_ref() {
            // SAFETY: as above.
            value.with_mut(|value| unsafe { *value += 1 });
        }
    });
}
