//! The example `flags` finds what is wrong in traces, and only that; and knows which files are no traces.

#![cfg(not(miri))]

use std::collections::HashMap;
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

/// Reads protobuf apart from the example's reader: the key of each field with what it has.
mod read {
    #[derive(Clone, Debug)]
    pub(super) enum Field {
        Varint(u64),
        Fixed(u64),
        Bytes(Vec<u8>),
    }

    impl Field {
        pub(super) fn varint(&self) -> u64 {
            if let Self::Varint(value) = self { *value } else { panic!("{self:?} is no varint") }
        }

        pub(super) fn fixed(&self) -> u64 {
            if let Self::Fixed(value) = self { *value } else { panic!("{self:?} is no fixed64") }
        }

        pub(super) fn text(&self) -> String {
            if let Self::Bytes(bytes) = self {
                return String::from_utf8(bytes.clone()).expect("a string");
            }
            panic!("{self:?} is no string")
        }

        pub(super) fn message(&self) -> Vec<(u64, Field)> {
            if let Self::Bytes(bytes) = self { message(bytes) } else { panic!("{self:?} is no message") }
        }
    }

    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *bytes.split_off_first().expect("a whole varint");
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }

    pub(super) fn message(mut bytes: &[u8]) -> Vec<(u64, Field)> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let field = match key & 7 {
                0 => Field::Varint(varint(&mut bytes)),
                1 => Field::Fixed(u64::from_le_bytes(bytes.split_off(..8).unwrap().try_into().unwrap())),
                2 => {
                    let len = varint(&mut bytes) as usize;
                    Field::Bytes(bytes.split_off(..len).expect("a whole field").to_vec())
                }
                kind => panic!("a field of wire type {kind}"),
            };
            fields.push((key >> 3, field));
        }
        fields
    }

    /// The only field with this number.
    pub(super) fn one(fields: &[(u64, Field)], number: u64) -> Option<&Field> {
        let mut found = fields.iter().filter(|(is, _)| *is == number).map(|(_, field)| field);
        let first = found.next();
        assert!(found.next().is_none(), "field {number} twice");
        first
    }
}

/// The numbers and types of fields are those of Perfetto's `trace_packet.proto`, `track_descriptor.proto`, `track_event.proto` and `debug_annotation.proto`.
#[test]
fn a_trace_is_what_perfetto_reads_with_each_arrow_from_who_wakes_to_who_is_woken() {
    use read::one;
    let trace = read::message(&fs::read(demo("convoy")).unwrap());
    let (mut tracks, mut arrows) = (HashMap::new(), HashMap::new());
    let (mut open, mut last, mut ended, mut counts) = (HashMap::<u64, u32>::new(), HashMap::new(), 0, 0);
    for (at, (number, packet)) in trace.iter().enumerate() {
        assert_eq!(*number, 1, "Trace.packet");
        let packet = packet.message();
        let known = |fields: &[(u64, _)], numbers: &[u64]| fields.iter().all(|(number, _)| numbers.contains(number));
        assert!(known(&packet, &[8, 10, 11, 13, 60]), "{packet:?}");
        // trusted_packet_sequence_id, and SEQ_INCREMENTAL_STATE_CLEARED of sequence_flags.
        assert!(one(&packet, 10).unwrap().varint() != 0);
        assert_eq!(one(&packet, 13).map(|flags| flags.varint()), (at == 0).then_some(1));
        if let Some(descriptor) = one(&packet, 60).map(|descriptor| descriptor.message()) {
            // uuid, name, process, parent_uuid, counter.
            assert!(known(&descriptor, &[1, 2, 3, 5, 8]) && one(&packet, 11).is_none(), "{packet:?}");
            let (uuid, name) = (one(&descriptor, 1).unwrap().varint(), one(&descriptor, 2).unwrap().text());
            match one(&descriptor, 3).map(|process| process.message()) {
                Some(process) => assert!(at == 0 && one(&process, 1).unwrap().varint() > 0 && name == "green"),
                None => assert!(tracks.contains_key(&one(&descriptor, 5).unwrap().varint()), "{descriptor:?}"),
            }
            assert!(uuid != 0 && tracks.insert(uuid, (name, one(&descriptor, 8).is_some())).is_none(), "{uuid} twice");
            continue;
        }
        let (at_ns, event) = (one(&packet, 8).unwrap().varint(), one(&packet, 11).unwrap().message());
        // debug_annotations, type, track_uuid, name, counter_value, flow_ids, terminating_flow_ids.
        assert!(known(&event, &[4, 9, 11, 23, 30, 47, 48]), "{event:?}");
        let track = one(&event, 11).unwrap().varint();
        let (name, is_counter) = &tracks[&track];
        let kind = one(&event, 9).unwrap().varint();
        assert_eq!((kind == 4, one(&event, 30).is_some()), (*is_counter, *is_counter), "{event:?} on {name}");
        assert!(last.insert(track, at_ns).is_none_or(|before| before <= at_ns), "{name} goes back");
        // Its thread: `uint_value` of the annotation of that name.
        let annotations = event.iter().filter(|(number, _)| *number == 4).map(|(_, field)| field.message());
        let of_thread = |annotation: Vec<_>| {
            (one(&annotation, 10).unwrap().text() == "thread").then(|| one(&annotation, 3).unwrap().varint())
        };
        let thread = annotations.filter_map(of_thread).next();
        match kind {
            1 => *open.entry(track).or_default() += 1,
            2 => *open.get_mut(&track).filter(|open| **open > 0).expect("one that has begun") -= 1,
            3 => {}
            4 => counts += 1,
            _ => panic!("{event:?}"),
        }
        if let Some(flow) = one(&event, 47) {
            assert!(kind == 3 && arrows.insert(flow.fixed(), (at_ns, thread.unwrap())).is_none(), "{event:?}");
        }
        if let Some(flow) = one(&event, 48) {
            let (begun_ns, to) = arrows[&flow.fixed()];
            assert!(kind == 1 && begun_ns <= at_ns && thread == Some(to), "{event:?}, begun at {begun_ns} to {to}");
            assert!(name.starts_with("worker "), "{event:?} on {name}");
            ended += 1;
        }
    }
    assert!(open.values().all(|open| *open == 0), "{open:?}");
    // Each of the eight clients waits for the lock, or its timer, 20 times, of which others end some.
    assert!(ended >= 50 && counts >= 2, "{ended} arrows, {counts} counts");
    let names: Vec<_> = tracks.values().map(|(name, _)| name.as_str()).collect();
    for name in ["worker 0", "threads on worker 0", "ready on worker 0"] {
        assert!(names.contains(&name), "no {name} in {names:?}");
    }
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

/// The turn is not in the file.
#[test]
fn of_a_trace_without_turns_it_is_said_that_long_ones_were_not_looked_for() {
    let runtime = green::Runtime::builder().workers(1).build().unwrap();
    let trace = runtime.run(|| {
        let begin = std::time::Instant::now();
        while begin.elapsed().as_millis() < 300 {
            std::hint::spin_loop();
        }
        // So that there is an event.
        green::thread::Builder::new().name("named".to_owned()).spawn(|| ()).unwrap().join().unwrap();
        green::recorder::snapshot()
    });
    let path = file("rare.pftrace");
    trace.write_perfetto(fs::File::create(&path).unwrap()).unwrap();
    let output = flags(&[path.to_str().unwrap()]);
    let found = text(&output);
    assert!(found.contains("not looked for on 1 of 1 workers"), "{found}");
    assert!(found.contains("long turns, late wake-ups, convoys (GREEN_RECORDER=all records them)"), "{found}");
    assert_eq!(output.status.code(), Some(3), "{found}");
    let output = look(&demo("clean"));
    assert!(!text(&output).contains("not looked for"), "{}", text(&output));
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
