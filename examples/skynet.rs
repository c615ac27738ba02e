//! A tree of green threads: the root spawns ten, each of those ten more, down to a million leaves; each leaf returns its
//! number and each parent the sum of its children. The sum is checked.
//!
//! `cargo run --release --bin skynet [LEAVES]`
//!
//! Joining a child that has not started runs it at once, so the tree is walked depth first and needs a few stacks, not a
//! million.

use std::time::Instant;

/// More would take hours.
const MOST: u64 = 1_000_000_000;

fn skynet(first: u64, leaves: u64) -> u64 {
    if leaves == 1 {
        return first;
    }
    let part = leaves / 10;
    let children: Vec<_> = (0..10).map(|i| green::spawn(move || skynet(first + i * part, part))).collect();
    children.into_iter().map(|child| child.join().unwrap()).sum()
}

/// The number of leaves that the arguments ask for, if they make sense.
fn leaves() -> Option<u64> {
    let mut args = std::env::args_os().skip(1);
    let (arg, None) = (args.next(), args.next()) else { return None };
    let Some(arg) = arg else { return Some(1_000_000) };
    let leaves = arg.to_str()?.parse().ok()?;
    (1..=MOST).contains(&leaves).then_some(leaves).filter(|leaves| 10_u64.pow(leaves.ilog10()) == *leaves)
}

fn main() {
    let Some(leaves) = leaves() else {
        eprintln!("usage: skynet [LEAVES], a power of ten from 1 to {MOST}");
        std::process::exit(2);
    };
    let begin = Instant::now();
    let sum = green::run(|| skynet(0, leaves));
    let took = begin.elapsed();
    assert_eq!(sum, leaves * (leaves - 1) / 2, "the sum of all leaves");
    println!("sum {sum}, {leaves} leaves in {took:.1?}, {} ns each", took.as_nanos() / u128::from(leaves));
}
