//! A million green threads that sleep at the same time, and what each of them costs.
//!
//! `cargo run --release --bin million [THREADS]`
//!
//! Every thread has a guarded stack of its own with 256 KiB of address space; it takes memory page by page, and a thread
//! that only sleeps needs one page.
//!
//! Ctrl-c and SIGTERM stop it in good order: there are no further threads, those that sleep end, and it says how many did, and exits with 1.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// More would need half a terabyte.
const MOST: usize = 100_000_000;

/// Somebody wants it to stop: there are no further threads.
static STOPS: AtomicBool = AtomicBool::new(false);

/// Resident memory and page tables of this process, in bytes.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |name: &str| -> usize {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
    };
    (kib("VmRSS:") + kib("VmPTE:")) << 10
}

/// The number of threads that the arguments ask for, if they make sense.
fn threads() -> Option<usize> {
    let mut args = std::env::args_os().skip(1);
    let (arg, None) = (args.next(), args.next()) else { return None };
    let Some(arg) = arg else { return Some(1_000_000) };
    arg.to_str()?.parse().ok().filter(|threads| (1..=MOST).contains(threads))
}

fn main() -> ExitCode {
    let Some(threads) = threads() else {
        eprintln!("usage: million [THREADS], a number from 1 to {MOST}");
        return ExitCode::from(2);
    };
    let asleep = AtomicUsize::new(0);
    let (before, start) = (memory(), Instant::now());
    let slept = green::run(|| {
        // The signals are ours before there is anything to stop.
        let _ = green::timeout(Duration::ZERO, green::signal::terminate);
        green::spawn(|| green::signal::terminate().map(|_| STOPS.store(true, Ordering::Relaxed)));
        let stops = || STOPS.load(Ordering::Relaxed);
        green::scope(|scope| {
            let mut sleepers = Vec::with_capacity(threads);
            for number in 0..threads {
                let sleeper = green::thread::Builder::new().spawn_scoped(scope, || {
                    asleep.fetch_add(1, Ordering::Relaxed);
                    green::sleep(Duration::from_secs(3600));
                });
                match sleeper {
                    Ok(sleeper) => sleepers.push(sleeper),
                    Err(error) => {
                        eprintln!("million: thread {number}: {error}");
                        break;
                    }
                }
                if stops() {
                    break;
                }
            }
            while asleep.load(Ordering::Relaxed) < sleepers.len() && !stops() {
                green::sleep(Duration::from_millis(1));
            }
            let (more, made) = (memory().saturating_sub(before), start.elapsed());
            let asleep = asleep.load(Ordering::Relaxed);
            let each = more / asleep.max(1);
            println!("{asleep} threads asleep after {made:.2?}: {each} bytes each, page tables included");
            // They need not sleep out their hour.
            sleepers.iter().for_each(|sleeper| sleeper.cancel());
            asleep
        })
    });
    println!("all ended after {:.2?}", start.elapsed());
    if slept == threads {
        return ExitCode::SUCCESS;
    }
    if STOPS.load(Ordering::Relaxed) {
        eprintln!("million: stopped after {slept} of {threads} threads");
    }
    ExitCode::FAILURE
}
