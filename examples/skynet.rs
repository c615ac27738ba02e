//! A tree of green threads: the root spawns ten, each of those ten more, down to a million leaves; each leaf returns its
//! number and each parent the sum of its children. The sum is checked.
//!
//! `cargo run --release --example skynet [LEAVES]`
//!
//! Joining a child that has not started runs it at once, so the tree is walked depth first and needs a few stacks, not a
//! million.

use std::time::Instant;

fn skynet(first: u64, leaves: u64) -> u64 {
    if leaves == 1 {
        return first;
    }
    let part = leaves / 10;
    let children: Vec<_> = (0..10).map(|i| green::spawn(move || skynet(first + i * part, part))).collect();
    children.into_iter().map(|child| child.join().unwrap()).sum()
}

fn main() {
    let leaves: u64 = std::env::args().nth(1).map_or(1_000_000, |arg| arg.parse().expect("LEAVES is a power of ten"));
    assert!(leaves > 0 && 10_u64.pow(leaves.ilog10()) == leaves, "LEAVES is a power of ten");
    let begin = Instant::now();
    let sum = green::run(|| skynet(0, leaves));
    let took = begin.elapsed();
    assert_eq!(sum, leaves * (leaves - 1) / 2, "the sum of all leaves");
    println!("sum {sum}, {leaves} leaves in {took:.1?}, {} ns each", took.as_nanos() / u128::from(leaves));
}
