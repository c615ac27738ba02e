//! What the contract promises.

use super::{Fiber, Status};
use crate::stack::{Cache, Stack, StackSize};

/// A stack of the default size, from `cache`.
fn stack(cache: &mut Cache) -> Stack {
    cache.reserve(StackSize::DEFAULT).unwrap();
    cache.acquire(StackSize::DEFAULT)
}

#[test]
fn a_fiber_takes_turns_with_its_hub() {
    struct Shared {
        fiber: Option<Fiber>,
        words: Vec<usize>,
    }

    unsafe fn entry(arg: *mut ()) {
        let shared = arg.cast::<Shared>();
        for _ in 0..3 {
            // SAFETY: the test keeps `shared` alive, and touches it only while the fiber is suspended.
            unsafe {
                let word = (*shared).fiber.as_ref().unwrap().suspend();
                (*shared).words.push(word);
            }
        }
    }

    let mut cache = Cache::new();
    let mut shared = Shared { fiber: None, words: Vec::new() };
    let shared = &raw mut shared;
    // SAFETY: `entry` gets what it casts to; the resumes follow the contract.
    unsafe {
        (*shared).fiber = Some(Fiber::new(stack(&mut cache), entry, shared.cast()));
        for word in 10..13 {
            assert_eq!((*shared).fiber.as_ref().unwrap().resume(word), Status::Suspended);
        }
        assert_eq!((*shared).words, [11, 12]);
        assert_eq!((*shared).fiber.as_ref().unwrap().resume(13), Status::Finished);
        assert_eq!((*shared).words, [11, 12, 13]);
        cache.release((*shared).fiber.take().unwrap().into_stack());
    }
}
