//! The examples that are no servers stop in good order, too, by ctrl-c and by SIGTERM: what is under way ends, and they say how far they have come.
//! The servers are in `servers.rs`, the example `jobs` in `jobs.rs`.

#![cfg(not(miri))]

use std::ffi::c_int;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use libc::{SIGINT, SIGTERM};

#[path = "../../tests/help/mod.rs"]
mod help;

use help::{bounded, example, scaled};

const BOTH: [c_int; 2] = [SIGTERM, SIGINT];

/// An example that runs. Its standard input stays open until it has ended.
struct Program(Child);

impl Program {
    fn start(name: &str, args: &[&str]) -> Self {
        let mut command = example(name);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    fn write(&mut self, text: &str) {
        self.0.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn signal(&self, signal: c_int) {
        // SAFETY: the call takes two numbers; the child has not been waited for.
        assert_eq!(unsafe { libc::kill(self.0.id() as libc::pid_t, signal) }, 0);
    }

    /// How it has ended, and what it says on standard error.
    fn end(mut self) -> (ExitStatus, String) {
        bounded(move || {
            let mut said = String::new();
            self.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            (self.0.wait().unwrap(), said)
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn bank_ends_the_transfers_that_are_under_way_and_its_totals_agree() {
    for signal in BOTH {
        let mut bank = Program::start("bank", &[]);
        bank.write("open alice 100\nopen bob 0\ntransfer alice bob 30\nbalance alice\nslow bob 200\n");
        let mut lines = BufReader::new(bank.0.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "alice: 70");
        bank.write("transfer alice bob 5\ntransfer alice bob 5\n");
        bank.signal(signal);
        let last = bounded(move || lines.last()).unwrap().unwrap();
        let (status, said) = bank.end();
        // Each line was read, or was not.
        let after: u64 = said.strip_prefix("bank: stopped after line ").expect(&said).trim().parse().unwrap();
        assert!((4..=7).contains(&after), "{said}");
        assert_eq!(last, format!("2 accounts, {} transfers, 0 refused, 100 in all", after.max(5) - 4));
        assert_eq!(status.code(), Some(1));
    }
}

#[test]
fn pipeline_prints_the_hashes_of_what_it_has_read() {
    for signal in BOTH {
        let mut pipeline = Program::start("pipeline", &["3"]);
        pipeline.write("\na\nfoobar\n");
        let mut lines = BufReader::new(pipeline.0.stdout.take().unwrap()).lines().map(Result::unwrap);
        let known = ["cbf29ce484222325 0", "af63dc4c8601ec8c 1", "85944171f73967e8 6"];
        assert!(lines.by_ref().take(3).eq(known));
        pipeline.signal(signal);
        let (status, said) = pipeline.end();
        assert_eq!((status.code(), &*said), (Some(1), "pipeline: stopped after 3 lines\n"));
        assert_eq!(lines.next(), None);
    }
}

/// A run of an example that `signal` has stopped in the middle: what it prints, how many it says that it came to, and of what.
fn stopped(name: &str, args: &[&str], signal: c_int) -> (String, u64, String) {
    let mut wait = Duration::from_millis(5);
    for _ in 0..40 {
        let mut program = Program::start(name, args);
        std::thread::sleep(wait);
        program.signal(signal);
        let mut stdout = program.0.stdout.take().unwrap();
        let printed = bounded(move || std::io::read_to_string(&mut stdout)).unwrap();
        let (status, said) = program.end();
        match (status.signal(), status.code()) {
            // It had not begun.
            (Some(_), _) if wait < Duration::from_secs(10) => wait *= 2,
            // It was over.
            (_, Some(0)) => wait = Duration::from_millis(5),
            (_, code) => {
                assert_eq!(code, Some(1), "{status}: {said}");
                let said = said.strip_prefix(&format!("{name}: stopped after ")).expect(&said);
                let (count, all) = said.trim_end().split_once(" of ").expect(said);
                return (printed, count.parse().unwrap(), all.to_owned());
            }
        }
    }
    panic!("{name} {args:?} was never in the middle");
}

#[test]
fn ring_says_how_far_its_token_has_come() {
    for signal in BOTH {
        let (printed, hops, all) = stopped("ring", &["100", "1000000000000"], signal);
        assert_eq!(all, "1000000000000 hops");
        assert!(printed.starts_with(&format!("{hops} hops round 100 actors: ")), "{printed}");
    }
}

#[test]
fn skynet_says_how_many_leaves_it_has_counted() {
    for signal in BOTH {
        let (printed, counted, all) = stopped("skynet", &["1000000000"], signal);
        assert_eq!(all, "1000000000 leaves");
        assert!(printed.starts_with("sum ") && printed.contains(&format!(", {counted} leaves in ")), "{printed}");
    }
}

#[test]
fn million_says_how_many_threads_slept_and_ends_them() {
    let threads = scaled(200_000).to_string();
    for signal in BOTH {
        let (printed, asleep, all) = stopped("million", &[&threads], signal);
        assert_eq!(all, format!("{threads} threads"));
        assert!(printed.starts_with(&format!("{asleep} threads asleep after ")), "{printed}");
        assert!(printed.contains("\nall ended after "), "{printed}");
    }
}

#[test]
fn why_move_begins_no_further_load() {
    // On three kinds of threads, or four.
    for (signal, args, all) in [(SIGTERM, &[][..], [12, 16]), (SIGINT, &["--rounds", "100"], [600, 800])] {
        let (printed, loads, said) = stopped("why_move", args, signal);
        assert!(all.map(|all| format!("{all} loads")).contains(&said), "{said}");
        assert!(loads < 12, "{loads} loads: {printed}");
    }
}

#[test]
fn search_goes_to_no_further_file_and_prints_what_it_has() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stops-search");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    let (files, text) = (1500, "needle ".repeat(60) + "\n");
    (0..files).for_each(|n| fs::write(dir.join(format!("{n:06}")), &text).unwrap());
    for signal in BOTH {
        let mut search = Program::start("search", &["needle", dir.to_str().unwrap()]);
        let mut out = search.0.stdout.take().unwrap();
        // It has begun; and it cannot end before somebody reads all that it prints.
        out.read_exact(&mut [0; 8]).unwrap();
        search.signal(signal);
        std::thread::sleep(Duration::from_millis(50));
        let mut printed = String::new();
        out.read_to_string(&mut printed).unwrap();
        let (status, said) = search.end();
        let count = printed.lines().count() - 1;
        assert!(count < files, "it was not in the middle");
        assert_eq!(said, format!("search: stopped after {count} files\n"));
        assert!(printed.lines().last().unwrap().starts_with(&format!("{count} files, {count} matches, ")), "{printed}");
        assert_eq!(status.code(), Some(2));
    }
    fs::remove_dir_all(&dir).unwrap();
}
