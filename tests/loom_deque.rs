//! Models of the queue of unstarted threads (`sched/deque.rs`): its owner at both ends, thieves at the old one. Loom tries every
//! interleaving, and every value that a weak memory may return, on the very source file.
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports)]

mod model;

#[path = "../src/sched/deque.rs"]
mod deque;

use std::ptr::NonNull;

use deque::{Deque, Pointer, Stealer};
use loom::thread::{self, JoinHandle};
use model::prelude::base;
use model::{Message, check};

/// A message whose content loom watches: who has it too early, or as the second, fails the model.
struct Item(Box<Message>);

impl Item {
    fn new(number: u32) -> Self {
        Self(Box::new(Message::new(number)))
    }

    fn number(self) -> u32 {
        self.0.number()
    }
}

impl Pointer for Item {
    type Target = Message;

    fn into_raw(self) -> NonNull<Message> {
        NonNull::from(Box::leak(self.0))
    }

    unsafe fn from_raw(raw: NonNull<Message>) -> Self {
        // SAFETY: as the caller promises.
        Self(unsafe { Box::from_raw(raw.as_ptr()) })
    }
}

/// What came out somewhere.
#[derive(Default)]
struct Found(Vec<u32>);

impl Found {
    fn add(&mut self, item: Option<Item>) {
        self.0.extend(item.map(Item::number));
    }

    /// All that came out anywhere, each once.
    fn assert_all(
        mut self,
        others: impl IntoIterator<Item = JoinHandle<Self>>,
        numbers: std::ops::RangeInclusive<u32>,
    ) {
        for other in others {
            self.0.extend(other.join().unwrap().0);
        }
        self.0.sort_unstable();
        assert_eq!(self.0, numbers.collect::<Vec<_>>());
    }
}

/// A thief that tries so many times.
fn thief(deque: &Deque<Item>, tries: u32) -> JoinHandle<Found> {
    let stealer: Stealer<Item> = deque.stealer();
    thread::spawn(move || {
        let mut found = Found::default();
        (0..tries).for_each(|_| found.add(stealer.steal()));
        found
    })
}

fn filled(numbers: std::ops::RangeInclusive<u32>) -> Deque<Item> {
    let deque = Deque::new();
    numbers.for_each(|number| deque.push(Item::new(number)));
    deque
}

/// The owner takes what is left, youngest first.
fn pop_all(deque: &Deque<Item>, found: &mut Found) {
    while let Some(item) = deque.pop() {
        found.add(Some(item));
    }
}

#[test]
fn each_entry_comes_out_once_at_one_end_or_the_other() {
    check(3, || {
        let deque = filled(1..=2);
        let mut found = Found::default();
        let thief = thief(&deque, 2);
        pop_all(&deque, &mut found);
        found.assert_all([thief], 1..=2);
    });
}

#[test]
fn the_last_entry_is_had_by_one_of_three() {
    check(3, || {
        let deque = filled(1..=1);
        let mut found = Found::default();
        let thieves = [thief(&deque, 1), thief(&deque, 1)];
        found.add(deque.pop());
        assert!(deque.is_empty());
        found.assert_all(thieves, 1..=1);
    });
}

#[test]
fn the_owner_takes_the_oldest_beside_thieves() {
    check(3, || {
        let deque = filled(1..=2);
        let mut found = Found::default();
        let thieves = [thief(&deque, 1), thief(&deque, 1)];
        found.add(deque.take_oldest());
        found.add(deque.take_oldest());
        assert!(deque.is_empty());
        found.assert_all(thieves, 1..=2);
    });
}

#[test]
fn a_thief_sees_what_was_pushed_and_what_that_points_to() {
    check(3, || {
        let deque = Deque::new();
        let mut found = Found::default();
        let thief = thief(&deque, 2);
        deque.push(Item::new(1));
        deque.push(Item::new(2));
        pop_all(&deque, &mut found);
        found.assert_all([thief], 1..=2);
    });
}

#[test]
fn a_place_that_was_popped_and_filled_again_is_not_stolen_with_its_former_entry() {
    check(3, || {
        let deque = filled(1..=2);
        let mut found = Found::default();
        let thief = thief(&deque, 2);
        found.add(deque.pop());
        deque.push(Item::new(3));
        pop_all(&deque, &mut found);
        found.assert_all([thief], 1..=3);
    });
}

#[test]
fn a_thief_steals_from_a_ring_that_is_replaced() {
    check(3, || {
        // The models' first ring has two slots.
        let deque = filled(1..=2);
        let mut found = Found::default();
        let thief = thief(&deque, 2);
        deque.push(Item::new(3));
        pop_all(&deque, &mut found);
        found.assert_all([thief], 1..=3);
    });
}

#[test]
fn a_slot_that_is_free_again_is_filled_beside_thieves() {
    check(3, || {
        let deque = filled(1..=2);
        let mut found = Found::default();
        let thief = thief(&deque, 2);
        found.add(deque.take_oldest());
        deque.push(Item::new(3));
        found.add(deque.take_oldest());
        deque.push(Item::new(4));
        pop_all(&deque, &mut found);
        found.assert_all([thief], 1..=4);
    });
}

#[test]
fn what_is_left_is_dropped_with_the_queue() {
    check(2, || {
        let deque = filled(1..=3);
        let thief = thief(&deque, 1);
        drop(deque);
        assert!(thief.join().unwrap().0.len() <= 1);
    });
}
