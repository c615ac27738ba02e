//! Slots of the roster, and their numbers.

use super::roster::{CHUNKS, FIRST, Roster};

#[test]
fn every_number_has_a_place_of_its_own_and_chunks_follow_one_another() {
    let mut expected = (0, 0);
    for number in 0..8 * FIRST {
        assert_eq!(Roster::place(number), expected, "{number}");
        expected.1 += 1;
        if expected.1 == (FIRST << expected.0) as usize {
            expected = (expected.0 + 1, 0);
        }
    }
    assert_eq!(Roster::place(i32::MAX as u32 - FIRST).0, CHUNKS - 1);
}

#[test]
fn slots_that_were_left_are_used_again() {
    let roster = Roster::new();
    for round in 0..3 {
        let mut numbers: Vec<_> = (0..3 * FIRST).map(|_| roster.reserve(None)).collect();
        numbers.iter().for_each(|number| roster.leave(*number, None));
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..3 * FIRST), "round {round}");
    }
}
