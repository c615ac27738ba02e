//! What Valgrind says of a program whose stacks it is told of: nothing. `.ci/sanitizers valgrind` runs this test, and without `GREEN_VALGRIND=1`, too: then it has to fail.
#![cfg(all(target_os = "linux", not(miri)))]
#![allow(missing_docs)]

mod help;

use std::hint::black_box;

const CHILD: &str = "GREEN_UNDER_VALGRIND";

/// Has so many bytes on its stack, and lets others run in between.
#[inline(never)]
fn uses_its_stack(depth: usize, seed: usize) -> usize {
    let mut bytes = black_box([seed as u8; 700]);
    green::yield_now();
    if depth > 0 {
        bytes[seed % 700] = uses_its_stack(depth - 1, seed + 1) as u8;
    }
    green::yield_now();
    let unchanged = bytes.iter().filter(|byte| **byte == seed as u8).count();
    if unchanged >= 699 { 7 } else { 8 }
}

/// The program that is looked at.
#[test]
fn under_valgrind() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let runtime = help::runtime(1);
    runtime.run(|| {
        for _ in 0..3 {
            let threads: Vec<_> = (0..40).map(|seed| green::spawn(move || uses_its_stack(10, seed))).collect();
            threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), 7));
        }
        // Some that unwind, and whose stacks others have afterwards.
        let waits: Vec<_> = (0..40).map(|_| green::spawn(green::thread::park)).collect();
        green::yield_now();
        waits.iter().for_each(|thread| thread.cancel());
        waits.into_iter().for_each(|thread| assert!(thread.join().unwrap_err().is::<green::Cancelled>()));
    });
}

#[test]
#[ignore = "it needs valgrind, and a build for it"]
fn switches_between_stacks_that_are_neighbours_are_no_faults() {
    let mut valgrind = std::process::Command::new("valgrind");
    valgrind.args(["--error-exitcode=99", "--max-stackframe=2000000"]).arg(std::env::current_exe().unwrap());
    valgrind.args(["--exact", "under_valgrind", "--nocapture"]).envs([(CHILD, "1"), ("GREEN_STALL_LIMIT", "0")]);
    let output = valgrind.output().expect("valgrind is installed");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("ERROR SUMMARY: 0 errors"), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}
