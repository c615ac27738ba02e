//! The wheel on a clock of the test's own, beside a model that sorts.

use proptest::prelude::*;

use crate::base::cases;

use super::wheel::Wheel;
use crate::sys::clock::NEVER;

const TICK: u64 = 1024;
const SECOND: u64 = 1_000_000_000;
const YEAR: u64 = 365 * 24 * 3600 * SECOND;

/// Turns the wheel; what the timers that fired were inserted with, in order.
fn turn<T: Copy>(wheel: &mut Wheel<T>, now_ns: u64) -> Vec<T> {
    std::iter::from_fn(|| wheel.turn(now_ns)).collect()
}

#[test]
fn a_timer_fires_once_and_not_before_its_deadline() {
    let mut wheel = Wheel::new(0);
    let timer = wheel.insert(5000, 0);
    assert_eq!(turn(&mut wheel, 4999), []);
    assert_eq!(wheel.len(), 1);
    assert_eq!(turn(&mut wheel, 5000 + TICK), [0]);
    assert_eq!(turn(&mut wheel, YEAR), []);
    assert!(wheel.is_empty());
    assert!(!wheel.remove(timer), "it has fired");
}

#[test]
fn a_deadline_that_has_passed_fires_at_the_next_turn() {
    let mut wheel = Wheel::new(SECOND);
    let _timers = [(0, 0), (SECOND - SECOND % TICK, 1)].map(|(deadline_ns, number)| wheel.insert(deadline_ns, number));
    assert!(wheel.next_ns() <= SECOND);
    assert_eq!(turn(&mut wheel, SECOND), [0, 1]);
}

#[test]
fn a_removed_timer_does_not_fire() {
    let mut wheel = Wheel::new(0);
    let [first, second, _third] = [0, 1, 2].map(|number| wheel.insert(SECOND, number));
    assert!(wheel.remove(second));
    assert_eq!(wheel.len(), 2);
    assert_eq!(turn(&mut wheel, 2 * SECOND), [0, 2]);
    assert!(!wheel.remove(first));
    assert_eq!((wheel.len(), wheel.next_ns()), (0, NEVER));
}

#[test]
fn a_timer_can_be_removed_and_another_inserted_between_two_that_fire_in_one_turn() {
    let mut wheel = Wheel::new(0);
    let mut timers = [0, 1, 2].map(|number| Some(wheel.insert(SECOND, number)));
    assert_eq!(wheel.turn(10 * SECOND), Some(0));
    wheel.remove(timers[1].take().unwrap());
    let _late = wheel.insert(5 * SECOND, 3);
    let _later = wheel.insert(20 * SECOND, 4);
    assert_eq!(turn(&mut wheel, 10 * SECOND), [2, 3]);
    assert_eq!(turn(&mut wheel, 20 * SECOND + TICK), [4]);
}

#[test]
fn timers_of_one_tick_fire_in_the_order_of_insertion_on_whatever_level_they_began() {
    let mut wheel = Wheel::new(0);
    let deadline = 70 * 64 * TICK + 3 * TICK;
    let _timers: Vec<_> = [0, 70 * 64 * TICK - 1, 70 * 64 * TICK, deadline - 1]
        .into_iter()
        .enumerate()
        .map(|(number, now)| {
            assert_eq!(turn(&mut wheel, now), []);
            wheel.insert(deadline, number)
        })
        .collect();
    assert_eq!(turn(&mut wheel, deadline), [0, 1, 2, 3]);
}

#[test]
fn time_that_goes_backwards_is_ignored() {
    let mut wheel = Wheel::new(SECOND);
    let _timer = wheel.insert(SECOND + 5 * TICK, 0);
    assert_eq!(turn(&mut wheel, 0), []);
    assert_eq!(turn(&mut wheel, SECOND + 4 * TICK), []);
    assert_eq!(turn(&mut wheel, SECOND + 6 * TICK), [0]);
}

#[test]
fn the_last_moment_that_there_is_has_a_slot() {
    let mut wheel = Wheel::new(0);
    let last = NEVER - NEVER % TICK;
    let _timers = [NEVER, last - TICK].map(|deadline_ns| wheel.insert(deadline_ns, deadline_ns));
    assert_eq!(turn(&mut wheel, last - 1), [last - TICK]);
    assert_eq!(wheel.len(), 1);
    assert_eq!(turn(&mut wheel, NEVER), [NEVER]);
}

#[test]
fn sleeping_until_next_ns_reaches_every_deadline_in_at_most_a_step_a_level() {
    let deadlines = (0..64).flat_map(|bit| [1 << bit, (1_u64 << bit) + 1, (1_u64 << bit) - 1, u64::MAX >> bit]);
    for deadline in deadlines.filter(|d| *d <= NEVER - TICK) {
        let mut wheel = Wheel::new(0);
        let _timer = wheel.insert(deadline, ());
        let mut steps = 0;
        let now = loop {
            let now = wheel.next_ns();
            steps += 1;
            if wheel.turn(now).is_some() {
                break now;
            }
        };
        assert!(steps <= 9, "{steps} steps to {deadline}");
        assert!((deadline..deadline + TICK).contains(&now), "{now} for {deadline}");
    }
}

/// What one call costs: the nodes that it looks at.
fn looks<T, R>(wheel: &mut Wheel<T>, call: impl FnOnce(&mut Wheel<T>) -> R) -> (usize, R) {
    let before = wheel.looks;
    let result = call(wheel);
    (wheel.looks - before, result)
}

#[test]
fn among_a_million_pending_timers_one_costs_no_more_to_insert_to_remove_or_to_fire_than_among_ten() {
    let many = if cfg!(miri) { 300 } else { 1_000_000 / if cfg!(target_arch = "x86_64") { 1 } else { 10 } };
    for n in [10, many] {
        let mut wheel = Wheel::new(0);
        // Within a minute, each bit of the number at its own.
        let deadline_ns = |i: usize| SECOND + (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) % (60 * SECOND);
        let mut timers = Vec::with_capacity(n);
        for i in 0..n {
            let (cost, timer) = looks(&mut wheel, |wheel| wheel.insert(deadline_ns(i), i));
            assert!(cost <= 4, "{cost} nodes to insert one among {i}");
            timers.push(Some(timer));
        }
        assert_eq!(wheel.len(), n);
        // Every third is removed, the oldest first, but for the last ones, which go first.
        for i in (0..n).rev().step_by(3).take(n / 6).chain((0..n / 2).step_by(3)) {
            let Some(timer) = timers[i].take() else { continue };
            let (cost, removed) = looks(&mut wheel, |wheel| wheel.remove(timer));
            assert!(removed && cost <= 3, "{cost} nodes to remove one among {n}");
        }
        let mut last_ns = 0;
        let pending = wheel.len();
        let (cost, fired) = looks(&mut wheel, |wheel| turn(wheel, 62 * SECOND));
        for i in &fired {
            assert!(timers[*i].is_some(), "a removed timer fired");
            let tick_ns = deadline_ns(*i).next_multiple_of(TICK);
            assert!(last_ns <= tick_ns, "out of order");
            last_ns = tick_ns;
        }
        assert_eq!((fired.len(), wheel.len()), (pending, 0));
        // A minute ahead is level 4; a timer that is alone in its slot costs seven looks for each level down.
        assert!(cost <= pending * (4 + 4 * 7), "{cost} nodes to fire {pending}");
    }
}

#[test]
fn what_was_made_room_for_is_there_and_room_is_used_again() {
    let mut wheel = Wheel::new(0);
    wheel.make_room(100);
    let room = wheel.room();
    assert!(room >= 100);
    for round in 0..10 {
        let timers: Vec<_> = (0..room as u64).map(|i| wheel.insert((round + i) * SECOND, i)).collect();
        turn(&mut wheel, (round + 50) * SECOND);
        timers.into_iter().for_each(|timer| _ = wheel.remove(timer));
        assert!(wheel.is_empty());
        assert_eq!(wheel.room(), room, "it has grown although there was room");
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
    let mut wheel = Wheel::new(start_ns);
    let mut timers = [const { None }; TIMERS];
    let mut model = Model { tick: start_ns / TICK, ..Model::default() };
    let mut deadlines = [0; TIMERS];
    let mut now = start_ns;
    for step in steps {
        let mut set = |number: usize, deadline_ns: u64| {
            // In the last tick that a `u64` can count there is no rounding up.
            let deadline_ns = deadline_ns.min(NEVER - TICK);
            if timers[number].is_none() {
                deadlines[number] = deadline_ns;
                timers[number] = Some(wheel.insert(deadline_ns, number));
                model.insert(number, deadline_ns);
            }
        };
        match *step {
            Step::Insert { timer, delay_ns } => set(timer % TIMERS, now.saturating_add(delay_ns)),
            Step::InsertAt { timer, deadline_ns } => set(timer % TIMERS, deadline_ns),
            Step::Remove { timer } => {
                let number = timer % TIMERS;
                if let Some(timer) = timers[number].take() {
                    assert!(wheel.remove(timer));
                }
                model.pending.retain(|(.., other)| *other != number);
            }
            Step::Advance { by_ns } => now = now.saturating_add(by_ns),
            Step::SleepUntilNext if wheel.next_ns() != NEVER => now = now.max(wheel.next_ns()),
            Step::SleepUntilNext => {}
        }
        if matches!(step, Step::Advance { .. } | Step::SleepUntilNext) {
            let fired = turn(&mut wheel, now);
            assert!(fired.iter().all(|number| deadlines[*number] <= now), "fired early");
            assert_eq!(fired, model.turn(now));
            for number in fired {
                assert!(!wheel.remove(timers[number].take().unwrap()), "it has fired");
            }
            let overdue = |number: usize| timers[number].is_some() && deadlines[number] <= now.saturating_sub(TICK);
            assert!(!(0..TIMERS).any(overdue), "more than a tick late");
        }
        assert_eq!(wheel.len(), model.pending.len());
        let first_due = model.pending.iter().map(|(tick, ..)| tick.saturating_mul(TICK)).min().unwrap_or(NEVER);
        assert!(wheel.next_ns() <= first_due, "next_ns is no lower bound");
    }
}

/// A deadline near a border at which timers cascade: a multiple of some level's slot, a few ticks or nanoseconds off.
fn near_a_border() -> impl Strategy<Value = u64> {
    let off = prop_oneof![-2_i64..=2, (-2_i64..=2).prop_map(|ticks| ticks * TICK as i64), -2000_i64..=2000];
    (0_u32..9, 1_u64..200, off)
        .prop_map(|(level, slot, off)| ((slot * TICK) << (level * 6)).min(YEAR).saturating_add_signed(off))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(500),
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

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(100),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn around_the_borders_of_slots_nothing_fires_early_late_or_out_of_order(
        deadlines in prop::collection::vec(near_a_border(), 1..if cfg!(miri) { 10 } else { 200 }),
        moments in prop::collection::vec(near_a_border(), 0..if cfg!(miri) { 5 } else { 50 }),
        start_ns in near_a_border(),
    ) {
        let mut wheel = Wheel::new(start_ns);
        // What is due at the start already counts as due in its tick.
        let tick = |ns: u64| ns.div_ceil(TICK).max(start_ns / TICK);
        let mut pending: Vec<_> = deadlines.into_iter().map(|ns| (tick(ns), ns)).collect();
        for (_, deadline_ns) in &pending {
            let _timer = wheel.insert(*deadline_ns, *deadline_ns);
        }
        // Stable: those of one tick stay in the order of their insertion.
        pending.sort_by_key(|(tick, _)| *tick);
        let mut moments = moments;
        moments.sort_unstable();
        for now in moments.into_iter().filter(|now| *now >= start_ns).chain([2 * YEAR]) {
            let due = pending.partition_point(|(tick, _)| *tick <= now / TICK);
            let due: Vec<_> = pending.drain(..due).map(|(_, deadline_ns)| deadline_ns).collect();
            let fired = turn(&mut wheel, now);
            prop_assert!(fired.iter().all(|deadline_ns| *deadline_ns <= now), "fired early");
            prop_assert_eq!(fired, due);
        }
        prop_assert!(wheel.is_empty());
    }
}
