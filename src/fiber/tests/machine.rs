//! What only assembly can get wrong: registers, control words, the end of a backtrace.

use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::{Coro, Me, Status, stacks};
use crate::arch::tests::{Control, HELD, hold, with_control};
use crate::fiber::Fiber;

/// Different patterns for different `seed`s, and for all registers.
fn patterns(seed: u64) -> [u64; HELD.len()] {
    std::array::from_fn(|at| 0x0123_4567_89ab_cdef_u64.rotate_left(at as u32) ^ (seed << 32 | seed))
}

/// Calls `body`, which switches, with every callee-saved register filled.
fn assert_kept(seed: u64, mut body: impl FnMut()) {
    let mut registers = patterns(seed);
    hold(&mut registers, &mut body);
    for ((name, now), before) in HELD.iter().zip(registers).zip(patterns(seed)) {
        assert_eq!(now, before, "{name}");
    }
}

#[test]
fn every_callee_saved_register_survives_a_switch_on_both_sides() {
    let mut coro = Coro::<Fiber>::new(&stacks(), |me| {
        for seed in 1..5 {
            assert_kept(seed, || {
                me.suspend();
            });
        }
    });
    for seed in 11..15 {
        assert_kept(seed, || assert_eq!(coro.resume(0), Status::Suspended));
    }
    assert_kept(15, || assert_eq!(coro.resume(0), Status::Finished));
    coro.end().unwrap();
}

#[test]
fn every_callee_saved_register_of_the_hub_survives_a_whole_fiber() {
    let mut coro = Coro::<Fiber>::new(&stacks(), |_| assert_kept(1, || ()));
    assert_kept(2, || assert_eq!(coro.resume(0), Status::Finished));
    coro.end().unwrap();
}

#[test]
fn a_switch_neither_saves_nor_changes_the_floating_point_control_words() {
    let [hub, fiber, hub_again] = Control::three_unlike_the_default();
    let seen = Rc::new(Cell::new([None; 2]));
    let inside = seen.clone();
    let mut coro = Coro::<Fiber>::new(&stacks(), move |me| {
        let on_start = Control::current();
        let after = with_control(fiber, || {
            me.suspend();
        });
        inside.set([Some(on_start), Some(after)]);
    });
    let default = Control::current();
    // What one side sets, the other finds.
    assert_eq!(with_control(hub, || assert_eq!(coro.resume(0), Status::Suspended)), fiber);
    // In the end the fiber restores what it found in the beginning.
    assert_eq!(with_control(hub_again, || assert_eq!(coro.resume(0), Status::Finished)), hub);
    assert_eq!(seen.get(), [Some(hub), Some(hub_again)]);
    assert_eq!(Control::current(), default);
    coro.end().unwrap();
}

#[inline(never)]
fn innermost(me: &Me<Fiber>, log: &RefCell<Vec<String>>) {
    me.suspend();
    log.borrow_mut().push(Backtrace::force_capture().to_string());
}

#[test]
fn a_backtrace_taken_in_a_fiber_ends_at_its_entry() {
    let log = Rc::new(RefCell::new(Vec::new()));
    let inside = log.clone();
    let mut coro = Coro::<Fiber>::new(&stacks(), move |me| innermost(me, &inside));
    assert_eq!(coro.resume(0), Status::Suspended);
    assert_eq!(coro.resume(0), Status::Finished);
    coro.end().unwrap();
    let backtrace = &log.borrow()[0];
    // Lines of the form `12: name`; the others say where that is.
    let frames: Vec<_> = backtrace.lines().filter_map(|line| line.trim().split_once(": ")).collect();
    let is_frame = |(number, _): &&(&str, &str)| number.parse::<u32>().is_ok();
    let names: Vec<_> = frames.iter().filter(is_frame).map(|(_, name)| *name).collect();
    assert!(names.iter().any(|name| name.contains("innermost")), "{backtrace}");
    let last = names.last().expect("a backtrace has frames");
    assert!(last.starts_with("green_") && last.ends_with("_entry"), "{backtrace}");
}
