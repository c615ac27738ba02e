//! Hashes the lines of standard input on many green threads, and prints the hashes in the order of the lines.
//!
//! ```text
//! cargo run --release --bin pipeline -- [THREADS] < FILE
//! ```
//!
//! Prints a line for each line of input: its FNV-1a hash of 64 bits in hexadecimal, a space, and its length in bytes,
//! line ending excluded. Exits with 2 and a message after a wrong argument, an input line over 16 MiB, or an error of a
//! stream.
//!
//! A thread reads, `THREADS` of them hash, and the main thread puts the results back into order. The channels between
//! them are bounded, so memory is bounded however long the input is, and a stage that is slow slows those before it.
//! Each line travels with a channel of its own on which its hash will come; the printer receives these in order. So
//! nobody sorts, and no result waits for more than the lines before it.

use std::env;
use std::io::{self, BufRead, BufWriter, Read, Write};
use std::process::ExitCode;

use green::channel::{Receiver, Sender, bounded};

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
        Ok(()) => ExitCode::SUCCESS,
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

fn pipeline(threads: usize) -> Result<(), String> {
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
        let reader = scope.spawn(move || read(&jobs, &results));
        let printed = print(&in_order);
        // If printing has failed, the reader finds that out when it sends the next line.
        drop(in_order);
        let read = reader.join().expect("the reader does not panic");
        printed.and(read)
    })
}

/// Sends each line to be hashed, and its place in the order to the printer.
fn read(jobs: &Sender<Job>, results: &Sender<Receiver<Hashed>>) -> Result<(), String> {
    let mut number = 0;
    loop {
        number += 1;
        // A read of standard input blocks, and the kernel cannot say when it would not: it runs on a thread for that.
        let line = green::blocking(next_line).map_err(|error| format!("standard input, line {number}: {error}"))?;
        let Some(line) = line else { return Ok(()) };
        let (result, receiver) = bounded(1);
        if results.send(receiver).is_err() || jobs.send((line, result)).is_err() {
            return Ok(());
        }
    }
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
    let result = in_order.iter().try_for_each(|receiver| match receiver.recv() {
        Ok(Hashed { hash, len }) => writeln!(output, "{hash:016x} {len}"),
        Err(_) => unreachable!("a line that was read is hashed"),
    });
    result.and_then(|()| output.flush()).map_err(|error| format!("standard output: {error}"))
}

/// The hash of Fowler, Noll and Vo, variant 1a.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
