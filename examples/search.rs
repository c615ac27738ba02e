//! Searches a directory tree for a fixed string, with one green thread a file.
//!
//! ```text
//! cargo run --release --bin search -- PATTERN DIR
//! ```
//!
//! Prints what `grep -rnF PATTERN DIR` prints, in sorted order, then a line with what it took. Files with a NUL byte
//! and files that cannot be read are named on standard error and left out. Exits as grep does: 0 when something
//! matched, 1 when nothing did, 2 after an error. Ctrl-c and SIGTERM stop it in good order: it goes to no further file, prints what the
//! files have that are under way, and exits with 2.
//!
//! It is plain blocking code. The walk spawns a green thread for each file it comes to, and joins the oldest one when
//! [`IN_FLIGHT`] of them are under way: so the output streams in order, and memory stays bounded on any tree. The
//! kernel cannot wait for a file as it waits for a socket, so reads go through `green::blocking`.

use std::collections::VecDeque;
use std::env;
use std::ffi::OsString;
use std::fmt::Display;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How many files are searched at a time.
const IN_FLIGHT: usize = 256;

fn main() -> ExitCode {
    let mut args = env::args_os().skip(1);
    let (Some(pattern), Some(root), None) = (args.next(), args.next(), args.next()) else {
        eprintln!("usage: search PATTERN DIR");
        return ExitCode::from(2);
    };
    match green::run(|| search_tree(&pattern.into_vec(), Path::new(&root))) {
        Ok(totals) if STOPS.load(Ordering::Relaxed) => {
            eprintln!("search: stopped after {} files", totals.files);
            ExitCode::from(2)
        }
        Ok(totals) if totals.errors > 0 => ExitCode::from(2),
        Ok(totals) if totals.matches == 0 => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            complain(Path::new("standard output"), &error);
            ExitCode::from(2)
        }
    }
}

/// Somebody wants it to stop.
static STOPS: AtomicBool = AtomicBool::new(false);

#[derive(Default)]
struct Totals {
    files: usize,
    matches: usize,
    errors: usize,
}

/// What one green thread found in its file.
struct Found {
    path: PathBuf,
    /// The matching lines as they are printed, and how many they are.
    lines: io::Result<(Vec<u8>, usize)>,
}

/// Searches everything under `root` and prints it. Only writing to standard output fails as a whole.
fn search_tree(pattern: &[u8], root: &Path) -> io::Result<Totals> {
    // The signals are ours before there is anything to stop.
    let _ = green::timeout(Duration::ZERO, green::signal::terminate);
    green::spawn(|| green::signal::terminate().map(|_| STOPS.store(true, Ordering::Relaxed)));
    let start = Instant::now();
    let with_names = root.is_dir();
    let mut output = BufWriter::new(io::stdout());
    let mut totals = Totals::default();
    green::scope(|scope| {
        let mut under_way = VecDeque::new();
        for found in walk(root).take_while(|_| !STOPS.load(Ordering::Relaxed)) {
            match found {
                Ok(path) => under_way.push_back(scope.spawn(move || search_file(pattern, path, with_names))),
                Err((dir, error)) => {
                    complain(&dir, &error);
                    totals.errors += 1;
                }
            }
            if under_way.len() == IN_FLIGHT
                && let Some(oldest) = under_way.pop_front()
            {
                report(oldest.join().expect("searching a file does not panic"), &mut output, &mut totals)?;
            }
        }
        for thread in under_way {
            report(thread.join().expect("searching a file does not panic"), &mut output, &mut totals)?;
        }
        Ok::<(), io::Error>(())
    })?;
    let Totals { files, matches, .. } = totals;
    let (seconds, memory) = (start.elapsed().as_secs_f64(), peak_memory());
    writeln!(output, "{files} files, {matches} matches, {files} green threads, {seconds:.3} s, {memory}")?;
    output.flush()?;
    Ok(totals)
}

fn report(found: Found, output: &mut impl Write, totals: &mut Totals) -> io::Result<()> {
    totals.files += 1;
    match found.lines {
        Ok((lines, count)) => {
            totals.matches += count;
            output.write_all(&lines)
        }
        Err(error) => {
            // As for grep, a binary file is no match, and no error either.
            totals.errors += usize::from(error.kind() != io::ErrorKind::InvalidData);
            complain(&found.path, &error);
            Ok(())
        }
    }
}

fn search_file(pattern: &[u8], path: PathBuf, with_names: bool) -> Found {
    let lines = green::blocking(|| fs::read(&path)).and_then(|text| {
        if text.contains(&0) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "binary file skipped"));
        }
        let (mut lines, mut count) = (Vec::new(), 0);
        for (index, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            if !contains(line, pattern) {
                continue;
            }
            count += 1;
            if with_names {
                lines.extend_from_slice(path.as_os_str().as_bytes());
                lines.push(b':');
            }
            lines.extend_from_slice((index + 1).to_string().as_bytes());
            lines.push(b':');
            lines.extend_from_slice(line);
            lines.push(b'\n');
        }
        Ok((lines, count))
    });
    Found { path, lines }
}

fn contains(line: &[u8], pattern: &[u8]) -> bool {
    let Some((first, rest)) = pattern.split_first() else { return true };
    line.iter().enumerate().any(|(at, byte)| byte == first && line[at + 1..].starts_with(rest))
}

/// The regular files under `root` in sorted order, and the directories that cannot be read. Follows no symbolic link
/// but `root` itself.
fn walk(root: &Path) -> impl Iterator<Item = Result<PathBuf, (PathBuf, io::Error)>> {
    let mut pending = vec![(root.to_owned(), root.is_dir())];
    std::iter::from_fn(move || {
        loop {
            let (path, is_dir) = pending.pop()?;
            if !is_dir {
                return Some(Ok(path));
            }
            match green::blocking(|| entries(&path)) {
                Ok(entries) => pending.extend(entries),
                Err(error) => return Some(Err((path, error))),
            }
        }
    })
}

/// The files and directories in `dir`, the last one first; `true` marks a directory.
fn entries(dir: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_file() || kind.is_dir() {
            entries.push((entry.path(), kind.is_dir()));
        }
    }
    entries.sort_unstable_by(|a, b| b.cmp(a));
    Ok(entries)
}

/// Names a file and what is wrong with it. The name's bytes go out as they are.
fn complain(path: &Path, error: &dyn Display) {
    let mut line = OsString::from("search: ");
    line.push(path);
    line.push(format!(": {error}\n"));
    // There is nobody left to tell when standard error is closed.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// The most memory that this process has held so far, where the system says.
fn peak_memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB"));
    match peak.and_then(|kib| kib.trim().parse::<f64>().ok()) {
        Some(kib) => format!("peak memory {:.1} MiB", kib / 1024.0),
        None => "peak memory unknown".to_owned(),
    }
}
