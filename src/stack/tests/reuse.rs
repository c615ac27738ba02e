use super::{Cache, StackSize, stack};
use crate::sys::mem::page_size;

const MIB: usize = 1 << 20;

#[test]
fn sizes_are_rounded_up_to_a_power_of_two_and_bounded() {
    let bytes = |n| StackSize::new(n).map(StackSize::bytes).map_err(|error| error.to_string());
    assert_eq!(StackSize::DEFAULT.bytes(), MIB / 4);
    assert_eq!(bytes(MIB), Ok(MIB));
    assert_eq!(bytes(MIB + 1), Ok(2 * MIB));
    assert_eq!(bytes(16 * 1024), Ok((16 * 1024).max(4 * page_size())));
    assert_eq!(bytes(1024 * MIB), Ok(1024 * MIB));
    for wrong in [0, 16 * 1024 - 1, 1024 * MIB + 1, usize::MAX] {
        let error = StackSize::new(wrong).expect_err("out of bounds");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        let expected =
            format!("a stack size of {wrong} bytes is out of bounds: the least is 16384, the most 1073741824");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn the_stack_released_last_is_acquired_first() {
    let mut cache = Cache::new();
    let stacks: Vec<_> = (0..3).map(|_| stack(&mut cache, StackSize::DEFAULT)).collect();
    let limits: Vec<_> = stacks.iter().map(|stack| stack.limit()).collect();
    for stack in stacks {
        cache.release(stack);
    }
    for limit in limits.into_iter().rev() {
        // Kept out of the cache, or the next would be this one again.
        assert_eq!(stack(&mut cache, StackSize::DEFAULT).limit(), limit);
    }
}
