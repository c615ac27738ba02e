//! `green::time` on the real clock: only bounds that hold on a busy machine are asserted. What comes when after a missed
//! tick is a unit test on a clock of its own.
#![allow(missing_docs)]

use green::time::{Duration, Instant, MissedTickBehavior, interval, interval_at, sleep, sleep_until, timeout};

mod help;

use help::everywhere;

const MS: Duration = Duration::from_millis(1);

#[test]
fn sleeps_are_not_short() {
    everywhere(|| {
        let start = Instant::now();
        sleep(3 * MS);
        assert!(start.elapsed() >= 3 * MS);
        let deadline = Instant::now() + 3 * MS;
        sleep_until(deadline);
        assert!(Instant::now() >= deadline);
        sleep_until(start);
        sleep(Duration::ZERO);
    });
}

#[test]
fn ticks_come_at_their_distance_and_never_early() {
    everywhere(|| {
        let start = Instant::now();
        let mut every = interval_at(start + 2 * MS, 3 * MS);
        for n in 0..4 {
            assert_eq!(every.tick(), start + 2 * MS + n * 3 * MS);
            assert!(Instant::now() >= start + 2 * MS + n * 3 * MS);
        }
        assert_eq!((every.period(), every.missed_tick_behavior()), (3 * MS, MissedTickBehavior::Burst));
    });
}

#[test]
fn the_first_tick_of_an_interval_comes_at_once() {
    everywhere(|| {
        let before = Instant::now();
        let due = timeout(Duration::from_secs(60), || interval(Duration::from_secs(3600)).tick());
        assert!(due.unwrap() >= before);
    });
}

#[test]
fn missed_ticks_are_made_up_for_or_dropped_as_chosen() {
    everywhere(|| {
        let second_after_a_pause = |behavior| {
            let mut every = interval(MS);
            every.set_missed_tick_behavior(behavior);
            let first = every.tick();
            sleep(20 * MS);
            let late = every.tick() - first;
            assert!(behavior != MissedTickBehavior::Burst || late == MS);
            every.tick() - first
        };
        assert_eq!(second_after_a_pause(MissedTickBehavior::Burst), 2 * MS);
        assert!(second_after_a_pause(MissedTickBehavior::Skip) > 20 * MS);
        assert!(second_after_a_pause(MissedTickBehavior::Delay) > 20 * MS);
    });
}

#[test]
fn a_tick_that_is_interrupted_is_not_taken() {
    everywhere(|| {
        let start = Instant::now() + Duration::from_secs(3600);
        let mut every = interval_at(start, MS);
        assert!(timeout(MS, || every.tick()).is_err());
        every.reset_immediately();
        assert!(every.tick() < start);
        every.reset_at(Instant::now() - MS);
        every.tick();
        every.reset_after(Duration::MAX);
        assert!(timeout(MS, || every.tick()).is_err());
        every.reset();
        every.tick();
    });
}

#[test]
fn a_period_of_zero_is_refused() {
    let panic = std::panic::catch_unwind(|| interval(Duration::ZERO)).unwrap_err();
    assert!(panic.downcast_ref::<&str>().unwrap().contains("zero"));
}
