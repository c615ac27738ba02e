use std::fs;

use super::{Cache, KIB, StackSize, child, read, role, size, stack, top_byte, write};
use crate::stack::guard::{self, GuardKind};
use crate::sys::mem::testing::is_resident;

#[test]
fn trimming_leaves_the_hot_stacks_and_drops_the_others_pages() {
    // In a process of its own: other tests use stacks of this size, and might take the trimmed ones.
    if role().is_none() {
        return child("cost::trimming_leaves_the_hot_stacks_and_drops_the_others_pages", "measure", None)
            .assert_passed();
    }
    // So many stay hot.
    const HOT: usize = 64;
    let own = size(256 * KIB);
    let mut cache = Cache::new();
    // As many as come from the arena at a time, so that none is left in the cache.
    let stacks: Vec<_> = (0..5 * 64).map(|_| stack(&mut cache, own)).collect();
    let tops: Vec<_> = stacks.iter().map(top_byte).collect();
    for (released, stack) in (1..).zip(stacks) {
        write(top_byte(&stack), 0xa5);
        cache.release(stack);
        if released == HOT + HOT / 4 {
            // Not worth a system call yet.
            cache.trim();
            assert!(tops[..released].iter().all(|top| is_resident(*top)));
        }
    }
    // Twice: the second time there is nothing left to do.
    for _ in 0..2 {
        cache.trim();
        let (cold, hot) = tops.split_at(tops.len() - HOT);
        assert_eq!(cold.iter().filter(|top| is_resident(**top)).count(), 0);
        assert_eq!(hot.iter().filter(|top| is_resident(**top)).count(), HOT);
    }
    for index in (0..tops.len()).rev() {
        let stack = stack(&mut cache, own);
        assert_eq!(top_byte(&stack), tops[index]);
        assert_eq!(read(top_byte(&stack)), if index >= tops.len() - HOT { 0xa5 } else { 0 });
    }
}

#[test]
fn a_stack_that_is_used_again_after_trimming_is_trimmed_again() {
    let own = size(4096 * KIB);
    let mut cache = Cache::new();
    for _ in 0..3 {
        let stacks: Vec<_> = (0..20).map(|_| stack(&mut cache, own)).collect();
        let tops: Vec<_> = stacks.iter().map(top_byte).collect();
        for stack in stacks {
            write(top_byte(&stack), 1);
            cache.release(stack);
        }
        cache.trim();
        let resident: Vec<_> = tops.iter().map(|top| is_resident(*top)).collect();
        assert_eq!(resident.iter().filter(|resident| **resident).count(), 4, "{resident:?}");
    }
}

/// Resident memory and page tables of this process, in bytes.
fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let field = |name: &str| -> usize {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux has the field");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number of kB") * KIB
    };
    field("VmRSS:") + field("VmPTE:")
}

#[test]
fn a_guarded_stack_in_use_costs_one_page_and_its_share_of_page_tables() {
    const STACKS: usize = 100_000;
    if role().is_none() {
        let ended = child("cost::a_guarded_stack_in_use_costs_one_page_and_its_share_of_page_tables", "measure", None);
        print!("{}", ended.output);
        return ended.assert_passed();
    }
    if guard::kind().expect("a valid GREEN_GUARD") != GuardKind::Advice {
        println!("skipped: guards cost mappings on this system, which has too few of them");
        return;
    }
    let before = resident_bytes();
    let mut cache = Cache::new();
    let start = std::time::Instant::now();
    for _ in 0..STACKS {
        // Dropped, so leaked: it stays in use.
        write(top_byte(&stack(&mut cache, StackSize::DEFAULT)), 1);
    }
    let nanos = start.elapsed().as_nanos() as usize / STACKS;
    let each = (resident_bytes() - before) / STACKS;
    println!("{STACKS} stacks: {each} resident bytes each, page tables included; {nanos} ns each at first use");
    assert!(each < 4700);
}
