//! The readiness word, one step after the other. Its interleavings are in `tests/loom_net.rs`.

use super::readiness::{Direction, Generation, Readiness, Ready};

const READABLE: Ready = Ready { read: true, write: false, end: false, urgent: false };

#[test]
fn an_event_between_the_look_and_the_clear_keeps_the_flag() {
    let word = Readiness::new();
    let of = word.renew();
    let seen = word.load();
    assert!(word.event(of, READABLE));
    word.clear(Direction::Read, seen);
    assert!(word.load().may_try(Direction::Read));
    word.clear(Direction::Read, word.load());
    assert!(!word.load().may_try(Direction::Read));
    assert!(word.load().may_try(Direction::Write));
}

#[test]
fn a_clear_of_the_other_direction_does_not_undo_this_one() {
    let word = Readiness::new();
    let seen = word.load();
    word.clear(Direction::Write, seen);
    word.clear(Direction::Read, seen);
    assert!(!word.load().may_try(Direction::Read) && !word.load().may_try(Direction::Write));
}

#[test]
fn an_event_of_an_earlier_registration_changes_nothing() {
    let word = Readiness::new();
    let old = word.renew();
    let new = word.renew();
    word.clear(Direction::Read, word.load());
    assert!(!word.event(old, READABLE) && !word.load().may_try(Direction::Read));
    assert!(word.event(new, READABLE) && word.load().may_try(Direction::Read));
    word.reset();
    assert!(!word.event(new, READABLE));
}

#[test]
fn the_end_of_the_stream_ends_the_conclusion_from_short_reads_and_not_that_from_a_call_that_found_nothing() {
    let word = Readiness::new();
    let of = word.renew();
    assert!(word.load().short_means_drained());
    assert!(word.event(of, Ready { end: true, ..READABLE }));
    word.clear(Direction::Read, word.load());
    assert!(!word.load().may_try(Direction::Read), "an `EAGAIN` is believed");
    assert!(word.load().has_ended() && !word.load().short_means_drained());
    assert!(word.event(of, Ready { end: true, ..Ready::default() }));
    assert!(word.load().may_try(Direction::Read), "an end is a reason to try");
}

#[test]
fn the_tick_does_not_run_into_the_generation() {
    let word = Readiness::at_last_tick();
    assert!(word.event(Generation(0), READABLE));
    assert!(word.event(Generation(0), READABLE), "the generation is the same");
}
