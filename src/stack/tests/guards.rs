use std::ptr::NonNull;
use std::thread;

use super::{Cache, Ended, KIB, Stack, StackSize, child, role, size, stack, top_byte, write};
use crate::stack::guard::{self, GuardKind};
use crate::stack::{Slot, overflow};
use crate::sys::fault::testing;
use crate::sys::mem::{self, Pages};

/// The highest byte of a stack's guard.
fn guard_byte(stack: &Stack) -> NonNull<u8> {
    // SAFETY: the guard is not empty and in the same slot.
    unsafe { stack.limit().sub(1) }
}

#[test]
fn the_guard_faults_and_the_byte_above_it_works() {
    const TEST: &str = "guards::the_guard_faults_and_the_byte_above_it_works";
    if role().is_none() {
        // Here with what the system has, there with what it had before.
        child(TEST, "mprotect", Some("mprotect")).assert_passed();
    } else {
        assert_eq!(guard::kind().expect("a valid GREEN_GUARD"), GuardKind::Protection);
    }
    let mut cache = Cache::new();
    for own in [size(16 * KIB), StackSize::DEFAULT] {
        // More than one batch, and more than one chunk.
        for _ in 0..200 {
            let stack = stack(&mut cache, own);
            assert!(mem::faults(guard_byte(&stack)));
            assert!(mem::faults(stack.slot.0));
            assert!(!mem::faults(stack.limit()));
            write(stack.limit(), 1);
            write(top_byte(&stack), 1);
        }
    }
}

#[test]
fn a_guard_survives_that_its_stack_is_trimmed_and_reused() {
    let own = size(2048 * KIB);
    let mut cache = Cache::new();
    for _ in 0..2 {
        let stacks: Vec<_> = (0..100).map(|_| stack(&mut cache, own)).collect();
        for stack in stacks {
            assert!(mem::faults(guard_byte(&stack)));
            write(stack.limit(), 1);
            cache.release(stack);
        }
        cache.trim();
    }
}

#[test]
fn a_refused_advice_is_replaced_by_protection() {
    if guard::kind().expect("a valid GREEN_GUARD") != GuardKind::Advice {
        println!("skipped: this system has no guards by advice");
        return;
    }
    let own = size(16 * KIB);
    let base = mem::reserve(3 * own.bytes()).expect("there is address space");
    // SAFETY: within the range just reserved.
    let slots = [0, 1, 2].map(|index| Slot(unsafe { base.add(index * own.bytes()) }));
    mem::testing::lock(Pages { base: slots[1].0, len: own.bytes() }).expect("a few pages can be locked");
    guard::install_late(own, &slots);
    assert!(slots.iter().all(|slot| mem::faults(slot.0)));
}

const OVERFLOW: &str = "guards::an_overflow_is_reported_with_name_id_and_size";

#[test]
fn an_overflow_is_reported_with_name_id_and_size() {
    let Some(role) = role() else {
        let (named, unnamed) = ("green thread 'deep one' (id 7) has", "green thread '<unnamed>' (id 8) has");
        for guard in [None, Some("mprotect")] {
            assert_reported(child(OVERFLOW, "named", guard), named);
            assert_reported(child(OVERFLOW, "unnamed", guard), unnamed);
            assert_reported(child(OVERFLOW, "unknown", guard), "a green thread has");
        }
        return;
    };
    overflow::install(match role.as_str() {
        "named" => |tell| tell(7, Some("deep one")),
        "unnamed" => |tell| tell(8, None),
        _ => |_| (),
    });
    overflow_here();
}

/// On a thread with no signal stack but ours.
fn overflow_here() {
    let deep = thread::spawn(|| {
        testing::drop_alt_stack();
        assert!(!testing::has_alt_stack());
        overflow::prepare_thread();
        assert!(testing::has_alt_stack());
        write(guard_byte(&stack(&mut Cache::new(), StackSize::DEFAULT)), 1);
    });
    let _ = deep.join();
}

fn assert_reported(ended: Ended, who: &str) {
    assert_eq!(ended.signal, Some(testing::SIGABRT), "{ended:?}");
    let text = format!(
        "\n{who} overflowed its stack\n\
         (stack size 262144 bytes; set it with Builder::stack_size or GREEN_STACK_SIZE)\n\
         fatal runtime error: stack overflow, aborting\n"
    );
    assert!(ended.output.contains(&text), "{ended:?}");
}
