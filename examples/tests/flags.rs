//! The example `flags` finds what is wrong in traces, and only that; and knows which files are no traces.

#![cfg(not(miri))]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};

#[path = "../../tests/help/mod.rs"]
mod help;

use help::example;

fn flags(args: &[&str]) -> Output {
    let mut command = example("flags");
    command.args(args).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("flags-{}-{name}", std::process::id()))
}

/// A real trace, of a program that the example runs; in a file of the caller's own.
fn demo(which: &str) -> PathBuf {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let path = file(&format!("{which}-{}.pftrace", MADE.fetch_add(1, Ordering::Relaxed)));
    let output = flags(&["--demo", which, path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output));
    path
}

/// So long a turn may take, and a wake-up, where other tests have the processors.
const PATIENT: [&str; 4] = ["--turn", "100000", "--wake", "100000"];

fn look(path: &Path) -> Output {
    flags(&[&[path.to_str().unwrap()][..], &PATIENT].concat())
}

#[test]
fn a_convoy_is_found_and_a_program_without_one_is_not_accused() {
    let output = look(&demo("convoy"));
    assert!(output.status.code() == Some(1) && text(&output).contains("convoys at one lock: 1"), "{}", text(&output));
    let output = look(&demo("clean"));
    assert!(!text(&output).contains("convoys"), "{}", text(&output));
}

#[test]
fn a_picture_has_a_row_for_each_worker_and_each_named_thread() {
    let svg = file("picture.svg");
    flags(&[demo("convoy").to_str().unwrap(), "--svg", svg.to_str().unwrap()]);
    let picture = fs::read_to_string(svg).unwrap();
    assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
    for row in ["worker 0", "client 0", "client 7"] {
        assert!(picture.contains(row), "no {row}");
    }
}

#[test]
fn a_trace_that_is_cut_off_anywhere_or_foreign_is_an_error_that_says_so() {
    let whole = fs::read(demo("clean")).unwrap();
    let cut = file("cut");
    for len in [whole.len() - 1, whole.len() / 2, whole.len() / 2 + 1, whole.len() * 9 / 10] {
        fs::write(&cut, &whole[..len]).unwrap();
        let output = look(&cut);
        assert!(output.status.code() == Some(2) && text(&output).contains("is cut off after"), "{}", text(&output));
    }
    for foreign in [&b""[..], b"\n\x04this is no trace", b"\x7fELF", &[0x0a; 64], &[0xff; 64]] {
        fs::write(&cut, foreign).unwrap();
        let output = look(&cut);
        assert!(output.status.code() == Some(2) && text(&output).contains("no trace of green's"), "{}", text(&output));
    }
    let output = look(Path::new("/nowhere/to/be/found"));
    assert!(output.status.code() == Some(2) && text(&output).contains("/nowhere/to/be/found"), "{}", text(&output));
}

/// A trace that is made for the purpose: a protobuf writer of five lines, apart from the crate's.
mod made {
    pub(super) fn varint(mut value: u64, out: &mut Vec<u8>) {
        while value >= 128 {
            out.push(value as u8 | 128);
            value >>= 7;
        }
        out.push(value as u8);
    }

    pub(super) fn number(field: u64, value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        varint(field << 3, &mut out);
        varint(value, &mut out);
        out
    }

    pub(super) fn bytes(field: u64, parts: &[Vec<u8>]) -> Vec<u8> {
        let (mut out, bytes) = (Vec::new(), parts.concat());
        varint(field << 3 | 2, &mut out);
        varint(bytes.len() as u64, &mut out);
        out.extend(bytes);
        out
    }

    pub(super) fn text(field: u64, text: &str) -> Vec<u8> {
        bytes(field, &[text.as_bytes().to_vec()])
    }

    pub(super) fn fixed(field: u64, value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        varint(field << 3 | 1, &mut out);
        out.extend(value.to_le_bytes());
        out
    }

    pub(super) fn track(uuid: u64, name: &str, is_counter: bool) -> Vec<u8> {
        let counter = if is_counter { bytes(8, &[]) } else { Vec::new() };
        bytes(1, &[bytes(60, &[number(1, uuid), text(2, name), counter])])
    }

    /// An event at `us`; `kind`: 1 begins, 2 ends, 3 a mark, 4 a counter.
    pub(super) fn event(us: u64, kind: u64, track: u64, name: &str, more: &[Vec<u8>]) -> Vec<u8> {
        let name = if name.is_empty() { Vec::new() } else { text(23, name) };
        bytes(1, &[number(8, us * 1000), bytes(11, &[number(9, kind), number(11, track), name, more.concat()])])
    }

    pub(super) fn of(number_of: u64) -> Vec<u8> {
        bytes(4, &[text(10, "thread"), number(3, number_of)])
    }

    pub(super) fn trace(packets: &[Vec<u8>]) -> Vec<u8> {
        let end = event(1_000_000, 3, 1, "end of trace", &[]);
        [track(1, "green", false), track(2, "worker 0", false), track(3, "worker 1", false), packets.concat(), end]
            .concat()
    }
}

fn look_at(name: &str, packets: &[Vec<u8>], args: &[&str]) -> String {
    let path = file(name);
    fs::write(&path, made::trace(packets)).unwrap();
    text(&flags(&[&[path.to_str().unwrap()][..], args].concat()))
}

#[test]
fn long_turns_and_late_wake_ups_are_found_by_their_limits() {
    use made::{event, fixed, of};
    let packets = [
        event(0, 3, 3, "wakes", &[of(5), fixed(47, 1)]),
        event(15_000, 1, 2, "thread 5", &[of(5), fixed(48, 1)]),
        event(40_000, 2, 2, "", &[]),
    ];
    let found = look_at("turns", &packets, &[]);
    assert!(found.contains("long turns: 1\n    thread 5 ran for 25.0 ms on worker 0"), "{found}");
    assert!(found.contains("late wake-ups: 1\n    thread 5 ran 15.0 ms after it was woken"), "{found}");
    let found = look_at("turns", &packets, &["--turn", "26", "--wake", "16"]);
    assert!(found.contains("nothing looks wrong"), "{found}");
}

#[test]
fn growth_stalls_and_imbalance_are_found() {
    use made::{event, number, of, track};
    let counter = |us, of_track, value| event(us, 4, of_track, "", &[number(30, value)]);
    let grows: Vec<_> = (0..100).map(|n| counter(n * 1000, 4, n * 10)).collect();
    let mut packets = vec![track(4, "threads on worker 0", true)];
    packets.extend(grows);
    let found = look_at("growth", &packets, &[]);
    assert!(found.contains("growing numbers of threads: 1"), "{found}");

    let steady: Vec<_> = (0..100).map(|n| counter(n * 1000, 4, 500 + n % 2)).collect();
    let found = look_at("steady", &[vec![track(4, "threads on worker 0", true)], steady].concat(), &[]);
    assert!(found.contains("nothing looks wrong"), "{found}");

    let packets = [
        track(4, "monitor", false),
        event(1000, 3, 4, "worker 0 stalls", &[made::bytes(4, &[made::text(10, "us"), number(3, 26_000)])]),
    ];
    let found = look_at("stalls", &packets, &[]);
    assert!(found.contains("stalls: 1\n    worker 0 stalls for 26.0 ms"), "{found}");

    let packets = [
        track(4, "ready on worker 0", true),
        event(0, 1, 3, "sleeps", &[]),
        event(0, 1, 2, "thread 5", &[of(5)]),
        counter(1000, 4, 5),
        event(50_000, 2, 2, "", &[]),
        event(50_000, 2, 3, "", &[]),
    ];
    let found = look_at("imbalance", &packets, &["--turn", "100"]);
    assert!(found.contains("worker 0 was busy for 100 %, with 5 threads ready; 1 workers slept"), "{found}");
}
