//! Reads a trace of green's flight recorder, and prints what looks wrong in it.
//!
//! ```text
//! cargo run --release --bin flags -- TRACE               red flags, worst first
//! cargo run --release --bin flags -- TRACE --svg PICTURE a picture of it, too
//! cargo run --release --bin flags -- --demo convoy TRACE makes a trace: of threads that queue for one lock
//! cargo run --release --bin flags -- --demo clean TRACE  the same without the lock
//! ```
//!
//! Long turns, late wake-ups, workers that are busy while others sleep, convoys at a lock, growing numbers of threads, stalls. What threads wait for, and
//! who wakes them, is only in traces of programs that record everything (`GREEN_RECORDER=all`); from others it says what there is to say, and what it
//! has not looked for.
//! `--turn MS` and `--wake MS` set from when on a turn is long, and a wake-up late: 10 ms each, if nothing is said.
//!
//! Exits with 0 when nothing looks wrong, with 1 when something does, with 2 after an error, with 3 when nothing looks wrong but not all was looked for.

mod demo;
mod file;
mod look;
mod picture;

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::file::TraceFile;
use crate::look::Limits;

const USAGE: &str = "usage: flags TRACE [--svg PICTURE] [--turn MS] [--wake MS] | flags --demo convoy|clean TRACE";

#[derive(Default)]
struct Args {
    trace: Option<PathBuf>,
    svg: Option<PathBuf>,
    demo: Option<String>,
    limits: Limits,
}

fn parse(args: impl Iterator<Item = OsString>) -> Result<Args, String> {
    let mut parsed = Args::default();
    let mut args = args;
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| USAGE.to_owned());
        let ms = |value: OsString| {
            let ms = value.to_str().and_then(|value| value.parse::<u64>().ok());
            ms.map(|ms| ms * 1_000_000).ok_or_else(|| format!("{value:?} is no number of milliseconds"))
        };
        match arg.to_str() {
            Some("--svg") => parsed.svg = Some(value()?.into()),
            Some("--turn") => parsed.limits.turn_ns = ms(value()?)?,
            Some("--wake") => parsed.limits.wake_ns = ms(value()?)?,
            Some("--demo") => parsed.demo = Some(value()?.to_string_lossy().into_owned()),
            Some(option) if option.starts_with("--") => return Err(USAGE.to_owned()),
            _ if parsed.trace.is_none() => parsed.trace = Some(arg.into()),
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(parsed)
}

fn main() -> ExitCode {
    match parse(env::args_os().skip(1)).map_err(io::Error::other).and_then(|args| run(&args)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("flags: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> io::Result<ExitCode> {
    let Some(path) = &args.trace else { return Err(io::Error::other(USAGE)) };
    let in_file = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    if let Some(which) = &args.demo {
        let trace = demo::run(which)?;
        let mut file = BufWriter::new(File::create(path).map_err(in_file)?);
        trace.write_perfetto(&mut file)?;
        file.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    let trace = fs::read(path).and_then(|bytes| TraceFile::read(&bytes)).map_err(in_file)?;
    if let Some(svg) = &args.svg {
        fs::write(svg, picture::draw(&trace))?;
    }
    let flags = look::look(&trace, &args.limits);
    let mut out = io::stdout().lock();
    for flag in &flags {
        writeln!(out, "{flag}")?;
    }
    if flags.is_empty() {
        writeln!(out, "nothing looks wrong in {}", trace.summary())?;
    }
    let blind = look::blind_to(&trace);
    if let Some(blind) = &blind {
        writeln!(out, "{blind}")?;
    }
    Ok(ExitCode::from(match (flags.is_empty(), blind) {
        (true, None) => 0,
        (true, Some(_)) => 3,
        (false, _) => 1,
    }))
}
