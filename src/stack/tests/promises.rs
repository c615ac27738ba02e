use std::io;
use std::sync::mpsc;
use std::thread;

use super::{Cache, KIB, StackSize, child, read, role, size, top_byte, write};
use crate::stack::guard::{self, GuardKind};
use crate::stack::{arena, reserve, unreserve};
use crate::sys::limits;

#[test]
fn a_promise_from_one_cache_is_kept_by_another() {
    const WORKERS: u8 = 4;
    const ROUNDS: usize = 2000;
    let own = size(128 * KIB);
    thread::scope(|scope| {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..WORKERS).map(|_| mpsc::channel()).unzip();
        for (me, promises) in (0_u8..).zip(receivers) {
            let next = senders[usize::from(me + 1) % senders.len()].clone();
            scope.spawn(move || {
                let mut cache = Cache::new();
                let mut held = Vec::new();
                for round in 0..ROUNDS {
                    cache.reserve(own).expect("there is address space");
                    next.send(()).expect("the next worker lives");
                    promises.recv().expect("the worker before lives");
                    let stack = cache.acquire(own);
                    write(top_byte(&stack), me);
                    held.push(stack);
                    // In waves, so that caches fill, spill and run dry.
                    if round % 300 == 299 {
                        for stack in held.drain(..) {
                            assert_eq!(read(top_byte(&stack)), me, "two workers have the same stack");
                            cache.release(stack);
                        }
                    }
                }
                held.drain(..).for_each(|stack| cache.release(stack));
            });
        }
    });
    assert_eq!(arena::claimed(own), 0, "a promise or a stack was lost");
}

#[test]
fn a_promise_to_a_plain_thread_can_be_kept_or_taken_back() {
    let own = size(512 * KIB);
    reserve(own).expect("there is address space");
    reserve(own).expect("there is address space");
    assert_eq!(arena::claimed(own), 2);
    unreserve(own);
    let mut cache = Cache::new();
    let stack = cache.acquire(own);
    cache.release(stack);
    drop(cache);
    assert_eq!(arena::claimed(own), 0);
}

#[test]
fn a_hundred_thousand_promises_need_only_address_space() {
    let own = size(1024 * KIB);
    let mut cache = Cache::new();
    if guard::kind().expect("a valid GREEN_GUARD") != GuardKind::Advice {
        println!("skipped: guards cost mappings on this system, so promises are few");
        return;
    }
    for _ in 0..100_000 {
        cache.reserve(own).expect("there is address space");
    }
    for _ in 0..100_000 {
        cache.unreserve(own);
    }
    drop(cache);
    assert_eq!(arena::claimed(own), 0);
}

/// Promises until there are no more.
fn exhaust(cache: &mut Cache, size: StackSize) -> (usize, io::Error) {
    for promised in 0.. {
        if let Err(error) = cache.reserve(size) {
            return (promised, error);
        }
    }
    unreachable!("counts for ever")
}

/// What was promised can be had; when it has been given back, the same number can be had again.
fn all_promises_are_kept(cache: &mut Cache, size: StackSize, promised: usize) {
    for _ in 0..2 {
        let stacks: Vec<_> = (0..promised).map(|_| cache.acquire(size)).collect();
        for stack in stacks {
            write(top_byte(&stack), 1);
            cache.release(stack);
        }
        assert_eq!(exhaust(cache, size).0, promised);
    }
}

#[test]
fn without_address_space_the_error_names_rlimit_as() {
    if role().is_none() {
        let ended = child("promises::without_address_space_the_error_names_rlimit_as", "limited", None);
        print!("{}", ended.output);
        return ended.assert_passed();
    }
    let Some(limit) = limits::leave_address_space(100 << 20) else {
        println!("skipped: RLIMIT_AS cannot be set here");
        return;
    };
    let mut cache = Cache::new();
    let (promised, error) = exhaust(&mut cache, StackSize::DEFAULT);
    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    assert_eq!(error.to_string(), format!("no memory for another stack: RLIMIT_AS is {limit} bytes"));
    // All but what malloc and the rounding to chunks take.
    assert!((300..=400).contains(&promised), "{promised}");
    all_promises_are_kept(&mut cache, StackSize::DEFAULT, promised);
}

#[test]
fn without_mappings_the_error_names_max_map_count() {
    if role().is_none() {
        let ended = child("promises::without_mappings_the_error_names_max_map_count", "limited", Some("mprotect"));
        print!("{}", ended.output);
        return ended.assert_passed();
    }
    let Some(max) = limits::max_map_count() else {
        println!("skipped: this system does not bound mappings");
        return;
    };
    let own = size(16 * KIB);
    let mut cache = Cache::new();
    let (promised, error) = exhaust(&mut cache, own);
    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    assert!(error.to_string().contains(&format!("vm.max_map_count is {max}")), "{error}");
    assert!((max / 4..=max * 3 / 8).contains(&promised), "{promised} of {max} mappings");
    all_promises_are_kept(&mut cache, own, promised);
}

#[test]
fn a_wrong_green_guard_is_an_error_that_names_it() {
    if role().is_none() {
        return child("promises::a_wrong_green_guard_is_an_error_that_names_it", "wrong", Some("yes")).assert_passed();
    }
    let error = reserve(StackSize::DEFAULT).expect_err("no such guard");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "GREEN_GUARD is \"yes\": the only value that it takes is \"mprotect\"");
}
