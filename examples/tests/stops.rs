//! The examples that are no servers stop in good order, too, by ctrl-c and by SIGTERM: what is under way ends, and they say how far they have come.
//! The servers are in `servers.rs`, the example `jobs` in `jobs.rs`.

#![cfg(not(miri))]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

#[path = "../../tests/help/mod.rs"]
mod help;

use help::{bounded, example};

const BOTH: [libc::c_int; 2] = [libc::SIGTERM, libc::SIGINT];

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

    fn signal(&self, signal: libc::c_int) {
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

#[test]
fn ring_says_how_far_its_token_has_come() {
    for signal in BOTH {
        let has_begun = [50, 500, 5000, 15_000].into_iter().any(|wait| {
            let mut ring = Program::start("ring", &["100", "1000000000000"]);
            std::thread::sleep(Duration::from_millis(wait));
            ring.signal(signal);
            let mut printed = String::new();
            ring.0.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
            let (status, said) = ring.end();
            if status.signal().is_some() {
                return false; // It had not begun.
            }
            let hops = said.strip_prefix("ring: stopped after ").and_then(|said| said.split(' ').next()).expect(&said);
            assert_eq!(said, format!("ring: stopped after {hops} of 1000000000000 hops\n"));
            assert!(printed.starts_with(&format!("{hops} hops round 100 actors: ")), "{printed}");
            assert_eq!(status.code(), Some(1));
            true
        });
        assert!(has_begun);
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
