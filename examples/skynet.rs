//! A tree of green threads: the root spawns ten, each of those ten more, down to a million leaves; each leaf returns its
//! number and each parent the sum of its children. The sum is checked.
//!
//! `cargo run --release --bin skynet [LEAVES]`
//!
//! Joining a child that has not started runs it at once, so the tree is walked depth first and needs a few stacks, not a
//! million.
//!
//! Ctrl-c and SIGTERM stop it in good order: no further leaf is counted, all threads end, and it says how many there were, and exits with 1.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// More would take hours.
const MOST: u64 = 1_000_000_000;

/// Somebody wants it to stop: no further leaf is counted.
static STOPS: AtomicBool = AtomicBool::new(false);

/// The sum of the leaves from `first` on, and how many of them were counted.
fn skynet(first: u64, leaves: u64) -> (u64, u64) {
    if STOPS.load(Ordering::Relaxed) {
        return (0, 0);
    }
    if leaves == 1 {
        return (first, 1);
    }
    let part = leaves / 10;
    let children: Vec<_> = (0..10).map(|i| green::spawn(move || skynet(first + i * part, part))).collect();
    let parts = children.into_iter().map(|child| child.join().unwrap());
    parts.fold((0, 0), |all, part| (all.0 + part.0, all.1 + part.1))
}

/// The number of leaves that the arguments ask for, if they make sense.
fn leaves() -> Option<u64> {
    let mut args = std::env::args_os().skip(1);
    let (arg, None) = (args.next(), args.next()) else { return None };
    let Some(arg) = arg else { return Some(1_000_000) };
    let leaves = arg.to_str()?.parse().ok()?;
    (1..=MOST).contains(&leaves).then_some(leaves).filter(|leaves| 10_u64.pow(leaves.ilog10()) == *leaves)
}

fn main() -> ExitCode {
    let Some(leaves) = leaves() else {
        eprintln!("usage: skynet [LEAVES], a power of ten from 1 to {MOST}");
        return ExitCode::from(2);
    };
    let begin = Instant::now();
    let (sum, counted) = green::run(|| {
        // The signals are ours before there is anything to stop.
        let _ = green::timeout(Duration::ZERO, green::signal::terminate);
        green::spawn(|| green::signal::terminate().map(|_| STOPS.store(true, Ordering::Relaxed)));
        skynet(0, leaves)
    });
    let took = begin.elapsed();
    let each = took.as_nanos() / u128::from(counted.max(1));
    println!("sum {sum}, {counted} leaves in {took:.1?}, {each} ns each");
    if counted < leaves {
        assert!(STOPS.load(Ordering::Relaxed), "every leaf is counted");
        eprintln!("skynet: stopped after {counted} of {leaves} leaves");
        return ExitCode::FAILURE;
    }
    assert_eq!(sum, leaves * (leaves - 1) / 2, "the sum of all leaves");
    ExitCode::SUCCESS
}
