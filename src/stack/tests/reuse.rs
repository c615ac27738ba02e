use std::collections::HashSet;
use std::io;

use super::{Cache, KIB, Stack, StackSize, size, stack};
use crate::sys::mem::page_size;

#[test]
fn sizes_are_rounded_up_to_a_power_of_two_and_bounded() {
    let bytes = |n| StackSize::new(n).map(StackSize::bytes).map_err(|error| error.to_string());
    let mib = 1024 * KIB;
    assert_eq!(StackSize::DEFAULT.bytes(), mib / 4);
    assert_eq!(bytes(mib), Ok(mib));
    assert_eq!(bytes(mib + 1), Ok(2 * mib));
    assert_eq!(bytes(16 * KIB), Ok((16 * KIB).max(4 * page_size())));
    assert_eq!(bytes(1024 * mib), Ok(1024 * mib));
    for wrong in [0, 16 * KIB - 1, 1024 * mib + 1, usize::MAX] {
        let error = StackSize::new(wrong).expect_err("out of bounds");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let text = format!("a stack size of {wrong} bytes is out of bounds: the least is 16384, the most 1073741824");
        assert_eq!(error.to_string(), text);
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
        assert_eq!(stack(&mut cache, StackSize::DEFAULT).limit(), limit);
    }
}

#[test]
fn each_size_has_stacks_of_its_own() {
    let mut cache = Cache::new();
    for bytes in [16 * KIB, 256 * KIB, 4096 * KIB, 1024 * 1024 * KIB] {
        let wanted = size(bytes);
        let stack = stack(&mut cache, wanted);
        assert_eq!(stack.size(), wanted);
        let usable = stack.top().addr().get() - stack.limit().addr().get();
        // A guard takes a quarter at most, the colours an eighth and 2 KiB.
        assert!(usable >= wanted.bytes() * 5 / 8 - 2048, "{usable} of {bytes}");
        assert!(usable < wanted.bytes());
        cache.release(stack);
    }
}

#[test]
fn fresh_stacks_come_in_address_order() {
    let own = size(32 * KIB);
    let mut cache = Cache::new();
    let limits: Vec<_> = (0..64).map(|_| stack(&mut cache, own).limit().addr().get()).collect();
    assert!(limits.windows(2).all(|pair| pair[1] == pair[0] + own.bytes()), "{limits:x?}");
}

#[test]
fn tops_are_coloured_and_aligned() {
    let own = size(64 * KIB);
    let mut cache = Cache::new();
    let stacks: Vec<_> = (0..64).map(|_| stack(&mut cache, own)).collect();
    let below_end = |stack: &Stack| stack.slot.0.addr().get() + own.bytes() - stack.top().addr().get();
    for neighbours in stacks.windows(32) {
        let lines: HashSet<_> = neighbours.iter().map(|stack| below_end(stack) % 4096 / 64).collect();
        assert_eq!(lines.len(), 32);
        assert!(lines.iter().all(|line| *line < 32), "half of the top page is left: {lines:?}");
    }
    // An eighth of 64 KiB are two pages.
    let pages: HashSet<_> = stacks.iter().map(|stack| below_end(stack) / 4096).collect();
    assert_eq!(pages, HashSet::from([0, 1]));
    assert!(stacks.iter().all(|stack| stack.top().addr().get() % 64 == 0));
}

#[test]
fn a_full_cache_passes_its_coldest_stacks_on() {
    let own = size(8192 * KIB);
    let mut cache = Cache::new();
    // More than a cache holds of this size.
    let stacks: Vec<_> = (0..100).map(|_| stack(&mut cache, own)).collect();
    let coldest = stacks[0].limit();
    for stack in stacks {
        cache.release(stack);
    }
    let mut other = Cache::new();
    let passed_on: Vec<_> = (0..100).map(|_| stack(&mut other, own).limit()).collect();
    assert!(passed_on.contains(&coldest));
}

#[test]
fn an_idle_workers_cold_stacks_serve_the_others() {
    let own = size(16384 * KIB);
    let mut idle = Cache::new();
    let stacks: Vec<_> = (0..10).map(|_| stack(&mut idle, own)).collect();
    let limits: Vec<_> = stacks.iter().map(|stack| stack.limit()).collect();
    for stack in stacks {
        idle.release(stack);
    }
    idle.trim();
    let mut busy = Cache::new();
    // All but the hottest one, the hotter ones first.
    for limit in limits[..9].iter().rev() {
        assert_eq!(stack(&mut busy, own).limit(), *limit);
    }
}
