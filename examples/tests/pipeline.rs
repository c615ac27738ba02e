//! The example `pipeline` prints the hashes of its input's lines, in order, whatever the number of threads.

#![cfg(not(miri))]

use std::io::Write;
use std::process::{Output, Stdio};

#[path = "../../tests/help/mod.rs"]
mod help;

use help::example;

/// Runs the example on `input`.
fn pipeline(args: &[&str], input: &[u8]) -> Output {
    let mut command = example("pipeline");
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // It may stop reading early: then the rest is not wanted.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// The same, computed here in the plainest way.
fn expected(input: &[u8]) -> String {
    let mut lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    let hash = |line: &[u8]| {
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        for byte in line {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        format!("{hash:016x} {}\n", line.len())
    };
    lines.into_iter().map(hash).collect()
}

#[test]
fn hashes_come_in_the_order_of_the_lines_for_any_number_of_threads() {
    let mut input = Vec::new();
    for i in 0..600usize {
        input.extend(b"\xff\0line ".iter().cycle().take(i * 7919 % 200));
        input.extend(format!("{i}\n").bytes());
    }
    for threads in [&[][..], &["1"], &["3"], &["500"]] {
        let output = pipeline(threads, &input);
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
        assert!(output.stdout == expected(&input).into_bytes(), "{threads:?}");
        assert!(output.status.success());
    }
}

#[test]
fn the_known_hashes_are_right_and_odd_ends_of_the_input_are_lines() {
    let known = pipeline(&["2"], b"\na\nfoobar");
    assert_eq!(
        String::from_utf8(known.stdout).unwrap(),
        "cbf29ce484222325 0\naf63dc4c8601ec8c 1\n85944171f73967e8 6\n"
    );
    for input in [&b""[..], b"\n", b"\n\n", b"x", b"x\n\ny", b"a\r\nb\r\n"] {
        assert_eq!(String::from_utf8(pipeline(&[], input).stdout).unwrap(), expected(input));
    }
}

#[test]
fn wrong_arguments_and_a_line_that_is_too_long_are_clear_errors() {
    for (args, message) in [
        (&["0"][..], "pipeline: THREADS = \"0\" is not a number from 1 to 10000\n"),
        (&["10001"], "pipeline: THREADS = \"10001\" is not a number from 1 to 10000\n"),
        (&["many"], "pipeline: THREADS = \"many\" is not a number from 1 to 10000\n"),
        (&["1", "2"], "pipeline: usage: pipeline [THREADS] < FILE\n"),
    ] {
        let output = pipeline(args, b"x\n");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), message);
    }
    let mut input = b"short\n".to_vec();
    input.resize(input.len() + (16 << 20) + 1, b'x');
    let output = pipeline(&[], &input);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "pipeline: standard input, line 2: longer than 16777216 bytes\n"
    );
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected(b"short"));
}

/// The reader of the output goes away: the pipeline ends instead of reading on.
#[test]
fn a_closed_output_ends_it() {
    let mut command = example("pipeline");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    // It writes until the pipe breaks; were the pipeline to read on, this would not end.
    while stdin.write_all(&b"line\n".repeat(10_000)).is_ok() {}
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("pipeline: standard output: "));
}
