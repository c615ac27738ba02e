//! Hashes the lines of standard input on many green threads, and prints the hashes in the order of the lines.
//!
//! ```text
//! cargo run --release --bin pipeline -- [THREADS] < FILE
//! ```
//!
//! Prints a line for each line of input: its FNV-1a hash of 64 bits in hexadecimal, a space, and its length in bytes,
//! line ending excluded. Exits with 2 and a message after a wrong argument, an input line over 16 MiB, or an error of a
//! stream. Ctrl-c and SIGTERM stop it in good order: it reads no further line, prints the hashes of those that it has, says how many they
//! are, and exits with 1.
//!
//! A thread reads, `THREADS` of them hash, and the main thread puts the results back into order. The channels between
//! them are bounded, so memory is bounded however long the input is, and a stage that is slow slows those before it.
//! Each line travels with a channel of its own on which its hash will come; the printer receives these in order. So
//! nobody sorts, and no result waits for more than the lines before it.

use std::env;
use std::io::{self, BufRead, BufWriter, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use green::channel::{Receiver, Sender, bounded, select};

/// Hashing threads when the argument does not say.
const THREADS: usize = 8;
const MAX_THREADS: usize = 10_000;
/// Lines under way between two stages.
const IN_FLIGHT: usize = 256;
/// The longest line, in bytes.
const MAX_LINE: u64 = 16 << 20;

fn main() -> ExitCode {
    let threads = match threads(env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned())) {
        Ok(threads) => threads,
        Err(message) => return fail(&message),
    };
    match green::run(|| pipeline(threads)) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(lines)) => {
            eprintln!("pipeline: stopped after {lines} lines");
            ExitCode::FAILURE
        }
        Err(message) => fail(&message),
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("pipeline: {message}");
    ExitCode::from(2)
}

/// The number of threads that the arguments ask for.
fn threads(mut args: impl Iterator<Item = String>) -> Result<usize, String> {
    let (first, None) = (args.next(), args.next()) else { return Err("usage: pipeline [THREADS] < FILE".to_owned()) };
    let Some(text) = first else { return Ok(THREADS) };
    match text.parse() {
        Ok(threads) if (1..=MAX_THREADS).contains(&threads) => Ok(threads),
        _ => Err(format!("THREADS = {text:?} is not a number from 1 to {MAX_THREADS}")),
    }
}

/// A line, and where its hash goes.
type Job = (Vec<u8>, Sender<Hashed>);

struct Hashed {
    hash: u64,
    len: usize,
}

/// `Some`: it was stopped after so many lines.
fn pipeline(threads: usize) -> Result<Option<usize>, String> {
    // The signals are ours before there is anything to lose.
    let _ = green::timeout(Duration::ZERO, green::signal::terminate);
    let (told, stops) = bounded::<()>(0);
    green::spawn(move || green::signal::terminate().map(|_| drop(told)));
    let (jobs, to_hash) = bounded::<Job>(IN_FLIGHT);
    let (results, in_order) = bounded::<Receiver<Hashed>>(IN_FLIGHT);
    green::scope(|scope| {
        for _ in 0..threads {
            let to_hash = to_hash.clone();
            scope.spawn(move || {
                for (line, result) in to_hash {
                    // The printer may have given up: then nobody wants it.
                    let _ = result.send(Hashed { hash: fnv1a(&line), len: line.len() });
                }
            });
        }
        drop(to_hash);
        let reader = scope.spawn(move || read(&jobs, &results, &stops));
        let printed = print(&in_order);
        // If printing has failed, the reader finds that out when it sends the next line.
        drop(in_order);
        let read = reader.join().expect("the reader does not panic");
        printed.and(read)
    })
}

/// Sends each line to be hashed, and its place in the order to the printer, until there is none, or until `stops` is closed: then it gives how
/// many were read.
fn read(jobs: &Sender<Job>, results: &Sender<Receiver<Hashed>>, stops: &Receiver<()>) -> Result<Option<usize>, String> {
    let lines = lines();
    for number in 1.. {
        let line = select! {
            recv(stops) -> _ => return Ok(Some(number - 1)),
            recv(lines) -> line => line,
        };
        let Ok(line) = line else { break };
        let line = line.map_err(|error| format!("standard input, line {number}: {error}"))?;
        let (result, receiver) = bounded(1);
        if results.send(receiver).is_err() || jobs.send((line, result)).is_err() {
            break;
        }
    }
    Ok(None)
}

/// The lines of standard input. A read there blocks, and the kernel cannot say when it would not: so an OS thread reads, and nobody waits for
/// that one.
fn lines() -> Receiver<io::Result<Vec<u8>>> {
    let (sender, lines) = bounded(IN_FLIGHT);
    std::thread::spawn(move || {
        while let Some(line) = next_line().transpose() {
            let is_last = line.is_err();
            if sender.send(line).is_err() || is_last {
                break;
            }
        }
    });
    lines
}

/// The next line of standard input without its ending; `None` at the end.
fn next_line() -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut input = io::stdin().lock();
    if input.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() as u64 > MAX_LINE {
        return Err(io::Error::other(format!("longer than {MAX_LINE} bytes")));
    }
    Ok(Some(line))
}

/// Prints the hashes as they come, in order.
fn print(in_order: &Receiver<Receiver<Hashed>>) -> Result<(), String> {
    let mut output = BufWriter::new(io::stdout());
    let mut print_all = || -> io::Result<()> {
        while let Ok(result) = in_order.try_recv().or_else(|_| {
            // The next line may be long in coming.
            output.flush()?;
            in_order.recv().map_err(io::Error::other)
        }) {
            let Ok(Hashed { hash, len }) = result.recv() else { unreachable!("a line that was read is hashed") };
            writeln!(output, "{hash:016x} {len}")?;
        }
        output.flush()
    };
    print_all().map_err(|error| format!("standard output: {error}"))
}

/// The hash of Fowler, Noll and Vo, variant 1a.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
