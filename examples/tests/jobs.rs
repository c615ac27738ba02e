//! The example `jobs`: its results are complete and right however many workers have died and however it was stopped.
#![cfg(not(miri))]
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::fd::FromRawFd;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

#[path = "../../tests/help/mod.rs"]
mod help;

use help::{bounded, example, scaled, spin_until};

/// Files of one test.
struct Files {
    dir: PathBuf,
}

impl Files {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("green-jobs-{}-{name}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self { dir }
    }

    fn results(&self) -> PathBuf {
        self.dir.join("results")
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.results()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// A file with the jobs as it is for a child, and for the test, with the place in common up to which it was read.
    fn input(&self, jobs: &[String]) -> File {
        let path = self.dir.join("input");
        fs::write(&path, jobs.concat()).unwrap();
        File::open(path).unwrap()
    }

    fn start(&self, args: &[&str], input: &File) -> Child {
        let mut command = example("jobs");
        command.args(args).arg(self.results()).stdin(input.try_clone().unwrap());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn run(&self, args: &[&str], input: &File) -> (Option<i32>, String, String) {
        told(self.start(args, input))
    }

    /// Each job has its result once, and that is right.
    #[track_caller]
    fn assert_complete(&self, jobs: &[String]) {
        let mut lines = self.lines();
        lines.sort();
        assert!(lines == expected(jobs), "{} results of {} jobs", lines.len(), jobs.len());
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn told(child: Child) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = bounded(move || child.wait_with_output()).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

fn jobs(n: usize) -> Vec<String> {
    (0..n).map(|n| format!("job {n} of many\n")).collect()
}

fn expected(jobs: &[String]) -> Vec<String> {
    let hash = |job: &str| {
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        for byte in job.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        format!("{hash:016x} {job}")
    };
    let all: BTreeSet<String> = jobs.iter().map(|job| hash(job.trim_end())).collect();
    all.into_iter().collect()
}

fn signal(child: &Child, signal: libc::c_int) {
    // SAFETY: the call takes two numbers; the child has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as libc::pid_t, signal) }, 0);
}

/// The number before `what` in the summary.
#[track_caller]
fn count(summary: &str, what: &str) -> usize {
    let before = summary.split(what).next().unwrap();
    before.rsplit(|byte: char| !byte.is_ascii_digit()).find(|word| !word.is_empty()).unwrap().parse().unwrap()
}

#[test]
fn the_results_are_complete_and_right_however_many_workers_die() {
    let files = Files::new("seeds");
    let jobs = jobs(scaled(160));
    for (seed, workers, fail) in
        [("1", "1", "50"), ("2", "8", "50"), ("3", "3", "90"), ("4", "64", "20"), ("5", "2", "0")]
    {
        let _ = fs::remove_file(files.results());
        let (code, left, said) =
            files.run(&["--seed", seed, "--workers", workers, "--fail", fail], &files.input(&jobs));
        assert_eq!((code, &*left), (Some(0), ""), "{said}");
        assert!(said.starts_with(&format!("jobs: {} done, 0 before, 0 left, ", jobs.len())), "{said}");
        // Two faults of three cost a try.
        let failed = count(&said, " tries failed");
        let percent: usize = fail.parse().unwrap();
        assert!(failed >= jobs.len() * percent / 300 && (percent > 0 || failed == 0), "{said}");
        files.assert_complete(&jobs);
    }
}

/// A terminal for the standard error of a child: what is shown there, and the child's end of it.
fn terminal() -> (File, File) {
    let (mut shown, mut end) = (-1, -1);
    let none = std::ptr::null_mut();
    // SAFETY: two places for descriptors; no name, no settings, no size is asked for or given.
    assert_eq!(unsafe { libc::openpty(&raw mut shown, &raw mut end, none, none.cast(), none.cast()) }, 0);
    // SAFETY: both were just opened, and nobody else has them.
    unsafe { (File::from_raw_fd(shown), File::from_raw_fd(end)) }
}

#[test]
fn the_progress_bar_comes_to_its_end_however_many_workers_die() {
    let files = Files::new("bar");
    let jobs = jobs(scaled(80));
    let (mut shown, end) = terminal();
    let mut command = example("jobs");
    command.args(["--workers", "4", "--fail", "60", "--seed", "7"]).arg(files.results());
    command.stdin(files.input(&jobs)).stdout(Stdio::piped()).stderr(end).env("TERM", "xterm");
    let mut child = command.spawn().unwrap();
    drop(command); // It has the other end of the terminal.
    let text = bounded(move || {
        let mut text = Vec::new();
        // The end is an error, of a terminal.
        let _ = shown.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    assert!(child.wait().unwrap().success(), "{text}");
    let last = text.rsplit("tries have failed").nth(1).expect(&text);
    let position = last.split_whitespace().rev().find(|word| word.contains('/')).expect(&text);
    assert_eq!(position, format!("{0}/{0}", jobs.len()), "{text}");
    files.assert_complete(&jobs);
}

/// Milliseconds for each job, of four workers: so 1500 take seven seconds, and who looks for the first twenty looks before all are done, whoever else has the
/// processors.
const PAUSE: &str = "20";

#[test]
fn sigterm_in_the_middle_loses_nothing_and_the_next_run_does_the_rest() {
    for how in [libc::SIGTERM, libc::SIGINT] {
        let files = Files::new(&format!("stop-{how}"));
        // More than is read at a time, with lines across the borders of what is.
        let jobs: Vec<_> = (0..1500).map(|n| format!("job {n} {:064}\n", n * 7)).collect();
        let mut input = files.input(&jobs);
        let child = files.start(&["--workers", "4", "--fail", "30", "--pause", PAUSE], &input);
        spin_until("a result", || files.lines().len() >= 20);
        signal(&child, how);
        let (code, left, said) = told(child);
        assert_eq!(code, Some(1), "{said}");
        let done = files.lines();
        assert!(done.len() < jobs.len(), "it was not in the middle");
        assert_eq!(count(&said, " done, "), done.len());

        // What it has not done is what it has printed, and what it has not read.
        let mut rest = left;
        let read = input.stream_position().unwrap();
        assert!(read > 0);
        input.read_to_string(&mut rest).unwrap();
        let mut all: Vec<String> = rest.lines().map(|job| format!("{job}\n")).collect();
        all.extend(done.iter().map(|line| format!("{}\n", &line[17..])));
        all.sort();
        let mut same = jobs.clone();
        same.sort();
        assert!(all == same, "{} of {}", all.len(), same.len());

        // And the next run does just that.
        let (code, left, said) = files.run(&["--fail", "2", "--workers", "16"], &files.input(&jobs));
        assert_eq!((code, &*left), (Some(0), ""), "{said}");
        assert_eq!((count(&said, " done, "), count(&said, " before, ")), (jobs.len() - done.len(), done.len()));
        files.assert_complete(&jobs);
    }
}

#[test]
fn a_run_that_was_killed_is_taken_up_where_it_was() {
    let files = Files::new("kill");
    let jobs = jobs(1500);
    let child = files.start(&["--workers", "4", "--fail", "30", "--pause", PAUSE], &files.input(&jobs));
    spin_until("a result", || files.lines().len() >= 20);
    signal(&child, libc::SIGKILL);
    assert_eq!(told(child).0, None);
    // The kernel writes such a line whole; a full disk, or a crash of the machine, would not.
    let mut results = File::options().append(true).open(files.results()).unwrap();
    results.write_all(b"0123456789abcdef job 7 of ma").unwrap();
    let (code, left, said) = files.run(&["--fail", "30"], &files.input(&jobs));
    assert_eq!((code, &*left), (Some(0), ""), "{said}");
    files.assert_complete(&jobs);
}

#[test]
fn jobs_come_through_a_pipe_as_they_are_and_are_done_once() {
    let files = Files::new("pipe");
    let mut child = example("jobs")
        .args(["--workers", "2"])
        .arg(files.results())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"tea\n\ncof").unwrap();
    spin_until("the first result", || files.lines().len() == 1);
    stdin.write_all(b"fee\ntea\n\nno end of line").unwrap();
    drop(stdin);
    let (code, left, said) = told(child);
    assert_eq!((code, &*left), (Some(0), ""), "{said}");
    assert_eq!(said, "jobs: 3 done, 0 before, 0 left, 0 tries failed\n");
    files.assert_complete(&["tea".to_owned(), "coffee".to_owned(), "no end of line".to_owned()]);
}

#[test]
fn a_stop_comes_through_while_it_waits_for_input() {
    let files = Files::new("waits");
    let mut command = example("jobs");
    command.arg(files.results()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Held until it has ended.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"tea\nhalf a li").unwrap();
    spin_until("the first result", || files.lines().len() == 1);
    signal(&child, libc::SIGTERM);
    let (code, left, said) = told(child);
    assert_eq!((code, &*left), (Some(1), "half a li"), "{said}");
    drop(stdin);
}

#[test]
fn a_write_that_fails_leaves_each_job_done_or_printed() {
    let files = Files::new("full");
    let jobs = jobs(100);
    // The file of results may not grow beyond a block or two, and the signal that would say so is ignored.
    let plain = example("jobs");
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' XFSZ; ulimit -f 2; exec \"$0\" \"$@\""])
        .arg(plain.get_program())
        .args(plain.get_args());
    command.args(["--workers", "3"]).arg(files.results()).stdin(files.input(&jobs));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (code, left, said) = told(child);
    assert_eq!(code, Some(2), "{said}");
    let done = files.lines();
    assert!(!done.is_empty() && done.len() < jobs.len(), "{} are done: {said}", done.len());
    let mut all: Vec<String> = left.lines().map(str::to_owned).collect();
    all.extend(done.iter().map(|line| line[17..].to_owned()));
    all.sort();
    let mut same: Vec<_> = jobs.iter().map(|job| job.trim_end().to_owned()).collect();
    same.sort();
    assert_eq!(all, same, "{said}");
}

/// A signal while the only job is under way. `None`: it was not, or the end of the input had not been read.
fn stopped_at_the_last_job(files: &Files) -> Option<i32> {
    let _ = fs::remove_file(files.results());
    let jobs = jobs(1);
    let input = files.input(&jobs);
    let child = files.start(&["--workers", "1", "--pause", "200"], &input);
    let read = || (&mut &input).stream_position().unwrap();
    spin_until("the job", || read() > 0);
    signal(&child, libc::SIGTERM);
    let (code, left, said) = told(child);
    assert_eq!(files.lines().is_empty(), !left.is_empty(), "{said}");
    code.filter(|code| left.is_empty() && *code == 0)
}

#[test]
fn a_stop_after_all_has_been_read_and_done_is_no_failure() {
    let files = Files::new("late");
    assert!((0..50).any(|_| stopped_at_the_last_job(&files) == Some(0)));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let files = Files::new("refused");
    let nothing = files.input(&[]);
    let (code, _, said) = files.run(&["--fail", "96"], &nothing);
    assert_eq!((code, said.starts_with("usage: jobs ")), (Some(2), true), "{said}");
    for args in [&["--workers", "0"][..], &["--pause"], &["--seed", "x"], &["--what", "1"], &["other"]] {
        let (code, _, said) = files.run(args, &nothing);
        assert_eq!((code, said.starts_with("usage: jobs ")), (Some(2), true), "{args:?}: {said}");
    }
    assert!(!files.results().exists());
    fs::write(files.results(), "a letter\nto somebody\n").unwrap();
    let (code, _, said) = files.run(&[], &nothing);
    assert_eq!((code, said.ends_with("results: not a file of results\n")), (Some(2), true), "{said}");
    assert_eq!(fs::read_to_string(files.results()).unwrap(), "a letter\nto somebody\n", "it is not touched");
    fs::remove_file(files.results()).unwrap();
    fs::create_dir(files.results()).unwrap();
    let (code, _, said) = files.run(&[], &nothing);
    assert_eq!((code, said.starts_with("jobs: ")), (Some(2), true), "{said}");
}
