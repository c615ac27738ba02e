//! Of the queue of unstarted threads. Apart, as the models of `tests/loom_deque.rs` compile that file without the library.

use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;

use proptest::prelude::*;

use crate::base::atomic::Ordering;
use crate::base::cases;
use crate::sched::deque::{Deque, Pointer};

impl<T: Send> Pointer for Box<T> {
    type Target = T;

    fn into_raw(self) -> NonNull<T> {
        NonNull::from(Box::leak(self))
    }

    unsafe fn from_raw(raw: NonNull<T>) -> Self {
        // SAFETY: as the caller promises.
        unsafe { Self::from_raw(raw.as_ptr()) }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Push,
    Pop,
    TakeOldest,
    Steal,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![5 => Just(Step::Push), 1 => Just(Step::Pop), 1 => Just(Step::TakeOldest), 1 => Just(Step::Steal)]
}

/// Miri takes a second for some ten.
const STEPS: usize = if cfg!(miri) { 60 } else { 600 };

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases(200)) })]

    /// More pushes than takes, so that the ring is replaced.
    #[test]
    fn random_steps_do_what_they_do_to_a_deque_of_std(steps in prop::collection::vec(step(), 1..STEPS)) {
        let (ours, mut theirs) = (Deque::new(), VecDeque::new());
        let stealer = ours.stealer();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Push => {
                    ours.push(Box::new(number));
                    theirs.push_back(number);
                }
                Step::Pop => prop_assert_eq!(ours.pop().map(|entry| *entry), theirs.pop_back()),
                Step::TakeOldest => prop_assert_eq!(ours.take_oldest().map(|entry| *entry), theirs.pop_front()),
                Step::Steal => prop_assert_eq!(stealer.steal().map(|entry| *entry), theirs.pop_front()),
            }
            prop_assert_eq!((ours.len(), stealer.len()), (theirs.len(), theirs.len()));
            prop_assert_eq!((ours.is_empty(), stealer.is_empty()), (theirs.is_empty(), theirs.is_empty()));
        }
    }
}

#[test]
fn what_is_left_is_dropped_with_the_owner_and_a_thief_finds_nothing() {
    struct Counts<'a>(&'a AtomicUsize);
    impl Drop for Counts<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    /// More than the first rings hold.
    const COUNT: usize = 100;
    let dropped = AtomicUsize::new(0);
    let deque = Deque::new();
    (0..COUNT).for_each(|_| deque.push(Box::new(Counts(&dropped))));
    let stealer = deque.stealer();
    drop(stealer.steal());
    drop(deque);
    assert_eq!(dropped.load(Ordering::Relaxed), COUNT);
    assert!(stealer.steal().is_none());
}

#[test]
fn stress_each_entry_comes_out_once_beside_thieves() {
    let count = if cfg!(miri) { 120 } else { 200_000 };
    let taken: Vec<_> = (0..count).map(|_| AtomicUsize::new(0)).collect();
    let take = |entry: Box<usize>| _ = taken[*entry].fetch_add(1, Ordering::Relaxed);
    let (deque, over) = (Deque::new(), AtomicBool::new(false));
    thread::scope(|scope| {
        for stealer in [deque.stealer(), deque.stealer()] {
            let (take, over) = (&take, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    stealer.steal().map_or_else(thread::yield_now, take);
                }
            });
        }
        for number in 0..count {
            deque.push(Box::new(number));
            match number % 7 {
                1 | 4 => _ = deque.pop().map(take),
                2 => _ = deque.take_oldest().map(take),
                _ => {}
            }
        }
        while let Some(entry) = deque.pop() {
            take(entry);
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(taken.iter().all(|times| times.load(Ordering::Relaxed) == 1));
}
