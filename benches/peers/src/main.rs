//! What actors cost with us, actix, ractor, kameo, a tokio task behind a channel, and a goroutine behind one, where `go` is on the PATH.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml -- [--quick] [--rounds N] [ROW...]`: the rows whose names
//! contain one of the words, all without. Each measurement is a process of its own, `--one PEER ROW`, which prints one number.
//! The peers of a row take turns.

mod actix;
mod go;
mod kameo;
mod ours;
mod ractor;
mod tokio_task;

use std::future::Future;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::Notify;

/// So many actors are told in the fan-out.
pub const FAN: u64 = 10_000;
/// So many actors ping each other.
pub const NODES: u64 = 120;

/// What is done.
#[derive(Clone, Copy)]
pub enum Work {
    /// One actor is told from so many tasks.
    Tell { senders: u64 },
    /// One actor is asked by one task. Asker and actor are where the runtime puts them by itself.
    Ask,
    /// `FAN` actors are told one message each, and all have handled it before the next round.
    FanOut,
    /// Savina's "big": each of `NODES` actors has one ping to a random other on its way, which answers by a tell.
    Big,
    /// An actor is made, told one message, and ends.
    Create,
    /// Actors are made and have started. All are alive when the meter is read, and so is an address of each, which counts as
    /// a part of it. A million take 6.7 GB with ractor, 6.0 GB with kameo.
    Idle,
}

/// What is read before and after.
#[derive(Clone, Copy, PartialEq)]
enum Unit {
    /// Nanoseconds of CPU time of the process.
    Cpu,
    /// Nanoseconds on the wall.
    Wall,
    /// Bytes of the resident set.
    Resident,
}

struct Row {
    name: &'static str,
    work: Work,
    workers: usize,
    /// So many messages, asks, ping-pongs or actors.
    count: u64,
    unit: Unit,
    /// Ours divided by the best peer's.
    want: &'static str,
}

const fn row(name: &'static str, work: Work, workers: usize, count: u64, want: &'static str) -> Row {
    let unit = if workers == 1 { Unit::Cpu } else { Unit::Wall };
    Row { name, work, workers, count, unit, want }
}

const ROWS: &[Row] = &[
    row("tell-w1", Work::Tell { senders: 1 }, 1, 2_000_000, "0.7 (of Go's channel)"),
    row("tell-w2", Work::Tell { senders: 4 }, 2, 2_000_000, "0.8 (of Go's channel)"),
    row("ask-w1", Work::Ask, 1, 500_000, "0.35"),
    row("ask-w2", Work::Ask, 2, 500_000, "0.35"),
    row("fan-out-w2", Work::FanOut, 2, 50 * FAN, "0.5"),
    row("big-w1", Work::Big, 1, NODES * 5_000, "0.6"),
    row("big-w2", Work::Big, 2, NODES * 5_000, "0.6"),
    row("create-w1", Work::Create, 1, 100_000, "0.35 (of Go's)"),
    row("idle-w1", Work::Idle, 1, 1_000_000, "0.4"),
    Row { unit: Unit::Resident, ..row("bytes", Work::Idle, 1, 1_000_000, "256 bytes") },
];

/// A measurement, as a peer sees it.
#[derive(Clone, Copy)]
pub struct Job {
    pub work: Work,
    pub workers: usize,
    pub count: u64,
    unit: Unit,
}

impl Job {
    /// Starts to measure.
    pub fn start(self) -> Meter {
        Meter { unit: self.unit, start: self.unit.read() }
    }
}

#[derive(Clone, Copy)]
pub struct Meter {
    unit: Unit,
    start: u64,
}

impl Meter {
    /// What each of `count` has taken since the start.
    pub fn each(self, count: u64) -> f64 {
        (self.unit.read() - self.start) as f64 / count as f64
    }
}

impl Unit {
    fn read(self) -> u64 {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        match self {
            Unit::Cpu => {
                let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
                // SAFETY: the pointer is to a `timespec` of our own.
                unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
                time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
            }
            Unit::Wall => START.get_or_init(Instant::now).elapsed().as_nanos() as u64,
            Unit::Resident => {
                let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux has it");
                statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number of pages") * 4096
            }
        }
    }
}

/// Opens when so many have arrived. The last one wakes who waits; nobody spins.
pub struct Gate {
    left: AtomicU64,
    sum: AtomicU64,
    open: Notify,
}

/// The one of this process; an actor of a bench needs no pointer to it.
pub static GATE: Gate = Gate { left: AtomicU64::new(0), sum: AtomicU64::new(0), open: Notify::const_new() };

impl Gate {
    /// Shuts it until `count` have arrived. Nobody may be on the way.
    pub fn shut(&self, count: u64) {
        self.left.store(count, Ordering::Relaxed);
        self.sum.store(0, Ordering::Relaxed);
    }

    pub fn arrive(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.open.notify_one();
        }
    }

    /// Arrives, and brings something for the sum.
    pub fn bring(&self, n: u64) {
        self.sum.fetch_add(n, Ordering::Relaxed);
        self.arrive();
    }

    /// Waits until all have arrived. What they brought.
    pub async fn wait(&self) -> u64 {
        self.open.notified().await;
        assert_eq!(self.left.load(Ordering::Acquire), 0, "as many arrive as are waited for");
        self.sum.load(Ordering::Relaxed)
    }
}

/// A small generator of random numbers, the same in every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// One of the `NODES` that is not `me`.
    pub fn other(&mut self, me: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let to = (self.0 >> 32) as usize % (NODES as usize - 1);
        to + usize::from(to >= me)
    }
}

/// Is it time to let others run? Asked after each send to a mailbox without a bound, and after each start.
pub fn is_time(n: u64) -> bool {
    n % 256 == 255
}

/// Runs `body` in tokio: on the current thread, or as a task of so many workers, since a `block_on` of several workers would
/// run it beside them.
pub fn in_tokio(job: Job, body: impl Future<Output = f64> + Send + 'static) -> f64 {
    if job.workers == 1 {
        return tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(body);
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(job.workers).enable_time().build().unwrap();
    runtime.block_on(async { tokio::spawn(body).await.unwrap() })
}

/// A name, and what measures, in the child.
type Peer = (&'static str, fn(Job) -> f64);

const GO: &str = "go";

/// Ours is the first, Go's the last.
const PEERS: [Peer; 6] = [
    ("green", ours::run),
    ("actix", actix::run),
    ("ractor", ractor::run),
    ("kameo", kameo::run),
    ("tokio", tokio_task::run),
    (GO, go::run),
];

/// In the child: measures one row of one peer and prints the number.
fn one(peer: &str, row: &str, quick: bool) {
    let (_, run) = PEERS.iter().find(|(name, _)| *name == peer).expect("a peer");
    let row = ROWS.iter().find(|known| known.name == row).expect("a row");
    let job = Job {
        work: row.work,
        workers: row.workers,
        count: if quick { row.count / 20 } else { row.count },
        unit: row.unit,
    };
    println!("{}", run(job));
}

/// Measures in a child.
fn measure(peer: &str, row: &str, quick: bool) -> f64 {
    let mut child = Command::new(std::env::current_exe().expect("this bench"));
    child.args(["--one", peer, row]).args(quick.then_some("--quick"));
    let output = child.stderr(std::process::Stdio::inherit()).output().expect("it can be run again");
    assert!(output.status.success(), "{peer} failed at {row}: {}", output.status);
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn table(words: &[String], rounds: usize, quick: bool) {
    let has_go = go::build();
    if !has_go {
        println!("go is not on the PATH, or does not build: its column is missing");
    }
    let peers: Vec<_> = PEERS.iter().map(|(name, _)| *name).filter(|name| *name != GO || has_go).collect();
    println!("median of {rounds}; ns of CPU time of the process with one worker (w1), of wall clock with two (w2)");
    let names: String = peers.iter().map(|name| format!("{name:>9}")).collect();
    println!("{:<11}{names}{:>11}{:>9}  want at most", "", "ours/best", "ours/go");
    for row in ROWS.iter().filter(|row| words.is_empty() || words.iter().any(|word| row.name.contains(word.as_str()))) {
        let mut values = vec![Vec::new(); peers.len()];
        for _ in 0..rounds {
            for (values, peer) in values.iter_mut().zip(&peers) {
                values.push(measure(peer, row.name, quick));
            }
        }
        let medians: Vec<f64> = values.into_iter().map(median).collect();
        let shown: String = medians.iter().map(|value| format!("{value:>9.1}")).collect();
        let best = medians[1..].iter().copied().fold(f64::INFINITY, f64::min);
        let of_go = if has_go { format!("{:.2}", medians[0] / medians[medians.len() - 1]) } else { "-".to_owned() };
        println!("{:<11}{shown}{:>11.2}{of_go:>9}  {}", row.name, medians[0] / best, row.want);
    }
}

fn main() {
    let (mut words, mut rounds, mut quick, mut child) = (Vec::new(), 3, false, false);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--one" => child = true,
            "--quick" => quick = true,
            "--rounds" => {
                rounds = args.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0).expect("a number of rounds")
            }
            _ => words.push(arg),
        }
    }
    match &words[..] {
        [peer, row] if child => one(peer, row, quick),
        _ => table(&words, rounds, quick),
    }
}
