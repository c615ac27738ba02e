//! The wheel on a clock of the test's own, beside a model that sorts.

use std::ptr::{self, NonNull};
use std::time::Instant;

use proptest::prelude::*;

use super::wheel::{Timer, Wheel};
use crate::sys::clock::NEVER;

const TICK: u64 = 1024;
const SECOND: u64 = 1_000_000_000;
const YEAR: u64 = 365 * 24 * 3600 * SECOND;

/// Timers whose payload is their number.
fn timers(n: usize) -> Vec<Timer> {
    (0..n).map(|i| Timer::new(ptr::without_provenance(i))).collect()
}

fn insert(wheel: &Wheel, timer: &Timer, deadline_ns: u64) {
    assert!(!timer.is_pending());
    // SAFETY: not pending as was just checked; the tests keep their timers in vectors that outlive the wheel's use of
    // them and are not resized.
    unsafe { wheel.insert(NonNull::from(timer), deadline_ns) }
}

fn remove(wheel: &Wheel, timer: &Timer) {
    // SAFETY: each test has one wheel.
    unsafe { wheel.remove(NonNull::from(timer)) }
}

/// Turns the wheel; the numbers of the timers that fired, in order.
fn turn(wheel: &Wheel, now_ns: u64) -> Vec<usize> {
    let mut fired = Vec::new();
    wheel.turn(now_ns, |timer| {
        // SAFETY: a timer that fires is one that a test has inserted and still holds.
        let timer = unsafe { timer.as_ref() };
        assert!(!timer.is_pending());
        fired.push(timer.payload().addr());
    });
    fired
}

#[test]
fn a_timer_fires_once_and_not_before_its_deadline() {
    let (wheel, timers) = (Wheel::new(0), timers(1));
    insert(&wheel, &timers[0], 5000);
    assert_eq!(turn(&wheel, 4999), []);
    assert!(timers[0].is_pending());
    assert_eq!(turn(&wheel, 5000 + TICK), [0]);
    assert_eq!(turn(&wheel, YEAR), []);
    assert!(wheel.is_empty());
}

#[test]
fn a_deadline_that_has_passed_fires_at_the_next_turn() {
    let (wheel, timers) = (Wheel::new(SECOND), timers(2));
    insert(&wheel, &timers[0], 0);
    insert(&wheel, &timers[1], SECOND - SECOND % TICK);
    assert!(wheel.next_ns() <= SECOND);
    assert_eq!(turn(&wheel, SECOND), [0, 1]);
}

#[test]
fn a_removed_timer_does_not_fire_and_removing_it_again_changes_nothing() {
    let (wheel, timers) = (Wheel::new(0), timers(3));
    for timer in &timers {
        insert(&wheel, timer, SECOND);
    }
    remove(&wheel, &timers[1]);
    remove(&wheel, &timers[1]);
    assert_eq!(wheel.len(), 2);
    assert_eq!(turn(&wheel, 2 * SECOND), [0, 2]);
    remove(&wheel, &timers[0]);
    assert_eq!((wheel.len(), wheel.next_ns()), (0, NEVER));
}

#[test]
fn a_fired_timer_can_be_inserted_again_even_while_the_wheel_turns() {
    let (wheel, timers) = (Wheel::new(0), timers(1));
    insert(&wheel, &timers[0], SECOND);
    let mut times = 0;
    wheel.turn(10 * SECOND, |_| {
        times += 1;
        if times < 4 {
            insert(&wheel, &timers[0], (1 + times) * SECOND);
        }
    });
    assert_eq!(times, 4);
}

#[test]
fn timers_of_one_tick_fire_in_the_order_of_insertion_on_whatever_level_they_began() {
    let (wheel, timers) = (Wheel::new(0), timers(4));
    let deadline = 70 * 64 * TICK + 3 * TICK;
    for (timer, now) in timers.iter().zip([0, 70 * 64 * TICK - 1, 70 * 64 * TICK, deadline - 1]) {
        assert_eq!(turn(&wheel, now), []);
        insert(&wheel, timer, deadline);
    }
    assert_eq!(turn(&wheel, deadline), [0, 1, 2, 3]);
}

#[test]
fn time_that_goes_backwards_is_ignored() {
    let (wheel, timers) = (Wheel::new(SECOND), timers(1));
    insert(&wheel, &timers[0], SECOND + 5 * TICK);
    assert_eq!(turn(&wheel, 0), []);
    assert_eq!(turn(&wheel, SECOND + 4 * TICK), []);
    assert_eq!(turn(&wheel, SECOND + 6 * TICK), [0]);
}

#[test]
fn a_timer_for_never_stays_until_it_is_removed() {
    let (wheel, timers) = (Wheel::new(0), timers(2));
    insert(&wheel, &timers[0], NEVER);
    insert(&wheel, &timers[1], NEVER - TICK);
    assert_eq!(turn(&wheel, NEVER), [1]);
    assert_eq!((wheel.len(), wheel.next_ns()), (1, NEVER));
    remove(&wheel, &timers[0]);
    assert!(wheel.is_empty());
}

#[test]
fn a_panic_while_firing_leaves_the_other_timers_pending() {
    let (wheel, timers) = (Wheel::new(0), timers(3));
    for timer in &timers {
        insert(&wheel, timer, SECOND);
    }
    let panicking = std::panic::AssertUnwindSafe(|| wheel.turn(YEAR, |_| std::panic::resume_unwind(Box::new(()))));
    std::panic::catch_unwind(panicking).unwrap_err();
    assert_eq!(wheel.len(), 2);
    assert_eq!(turn(&wheel, YEAR), [1, 2]);
}

#[test]
fn sleeping_until_next_ns_reaches_every_deadline_in_at_most_a_step_a_level() {
    let deadlines = (0..64).flat_map(|bit| [1 << bit, (1_u64 << bit) + 1, (1_u64 << bit) - 1, u64::MAX >> bit]);
    for deadline in deadlines.filter(|d| *d <= NEVER - TICK) {
        let (wheel, timers) = (Wheel::new(0), timers(1));
        insert(&wheel, &timers[0], deadline);
        let mut steps = 0;
        let now = loop {
            let now = wheel.next_ns();
            steps += 1;
            if !turn(&wheel, now).is_empty() {
                break now;
            }
        };
        assert!(steps <= 9, "{steps} steps to {deadline}");
        assert!((deadline..deadline + TICK).contains(&now), "{now} for {deadline}");
    }
}

#[test]
fn a_million_timers_cost_the_same_each_as_a_few() {
    let sizes: &[usize] = if cfg!(miri) { &[10, 300] } else { &[1_000, 10_000, 100_000, 1_000_000] };
    for &n in sizes {
        let (wheel, timers) = (Wheel::new(0), timers(n));
        let rounds = sizes[sizes.len() - 1] / n;
        let start = Instant::now();
        for _ in 0..rounds {
            for (i, timer) in timers.iter().enumerate() {
                insert(&wheel, timer, SECOND + (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) % (60 * SECOND));
            }
            assert_eq!(wheel.len(), n);
            for timer in &timers {
                remove(&wheel, timer);
            }
            assert!(wheel.is_empty());
        }
        let each = start.elapsed().as_nanos() / (n * rounds) as u128;
        println!("{n:>8} pending: {each} ns to insert and remove one");
    }
}

/// One step of a random program. Timers are picked modulo their number.
#[derive(Clone, Debug)]
enum Step {
    Insert { timer: usize, delay_ns: u64 },
    InsertAt { timer: usize, deadline_ns: u64 },
    Remove { timer: usize },
    Advance { by_ns: u64 },
    SleepUntilNext,
}

/// Spans of every size alike: a bound with a random number of bits first, then a number below it.
fn span() -> impl Strategy<Value = u64> {
    (0_u32..64, any::<u64>()).prop_map(|(bits, random)| random >> bits)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<usize>(), span()).prop_map(|(timer, delay_ns)| Step::Insert { timer, delay_ns }),
        1 => (any::<usize>(), any::<u64>()).prop_map(|(timer, deadline_ns)| Step::InsertAt { timer, deadline_ns }),
        2 => any::<usize>().prop_map(|timer| Step::Remove { timer }),
        2 => span().prop_map(|by_ns| Step::Advance { by_ns: by_ns >> 8 }),
        3 => Just(Step::SleepUntilNext),
    ]
}

/// What is pending, by the rules in plain words: (the tick at which it may fire, order of insertion, number).
#[derive(Default)]
struct Model {
    pending: Vec<(u64, usize, usize)>,
    inserted: usize,
    tick: u64,
}

impl Model {
    fn insert(&mut self, timer: usize, deadline_ns: u64) {
        self.inserted += 1;
        let tick = deadline_ns.div_ceil(TICK).max(self.tick);
        self.pending.push((tick, self.inserted, timer));
    }

    fn turn(&mut self, now_ns: u64) -> Vec<usize> {
        self.tick = now_ns / TICK;
        self.pending.sort_unstable();
        let due = self.pending.partition_point(|(tick, ..)| *tick <= self.tick);
        self.pending.drain(..due).map(|(.., timer)| timer).collect()
    }
}

/// Runs `steps` on a wheel and on the model, and compares after each.
fn compare_with_the_model(steps: &[Step], start_ns: u64) {
    const TIMERS: usize = 24;
    let (wheel, timers) = (Wheel::new(start_ns), timers(TIMERS));
    let mut model = Model { tick: start_ns / TICK, ..Model::default() };
    let mut deadlines = [0; TIMERS];
    let mut now = start_ns;
    for step in steps {
        let mut set = |timer: usize, deadline_ns| {
            if !timers[timer].is_pending() {
                deadlines[timer] = deadline_ns;
                insert(&wheel, &timers[timer], deadline_ns);
                model.insert(timer, deadline_ns);
            }
        };
        match *step {
            Step::Insert { timer, delay_ns } => set(timer % TIMERS, now.saturating_add(delay_ns)),
            Step::InsertAt { timer, deadline_ns } => set(timer % TIMERS, deadline_ns),
            Step::Remove { timer } => {
                remove(&wheel, &timers[timer % TIMERS]);
                model.pending.retain(|(.., other)| *other != timer % TIMERS);
            }
            Step::Advance { by_ns } => now = now.saturating_add(by_ns),
            Step::SleepUntilNext if wheel.next_ns() != NEVER => now = now.max(wheel.next_ns()),
            Step::SleepUntilNext => {}
        }
        if matches!(step, Step::Advance { .. } | Step::SleepUntilNext) {
            let fired = turn(&wheel, now);
            assert!(fired.iter().all(|timer| deadlines[*timer] <= now), "fired early");
            assert_eq!(fired, model.turn(now));
            let overdue = |timer: usize| timers[timer].is_pending() && deadlines[timer] <= now.saturating_sub(TICK);
            assert!(!(0..TIMERS).any(overdue), "more than a tick late");
        }
        assert_eq!(wheel.len(), model.pending.len());
        let first_due = model.pending.iter().map(|(tick, ..)| tick.saturating_mul(TICK)).min().unwrap_or(NEVER);
        assert!(wheel.next_ns() <= first_due, "next_ns is no lower bound");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 500 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_wheel_agrees_with_a_sorted_list(
        steps in prop::collection::vec(step(), 1..if cfg!(miri) { 40 } else { 300 }),
        start_ns in span(),
    ) {
        compare_with_the_model(&steps, start_ns);
    }
}
