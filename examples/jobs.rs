//! A job system: workers that die at random, a supervisor that starts them again, and a result that is complete all the same.
//!
//! `cargo run --bin jobs -- [--workers N] [--fail PERCENT] [--seed N] [--pause MS] RESULTS < JOBS`
//!
//! Each line of standard input is a job, to be hashed; a line that came before is the same job. RESULTS gets a line for each, in the
//! order in which they are done: the hash (FNV-1a, 64 bits), a space, the job. So many percent of the tries fail, which ones follows from the
//! seed: the worker panics, is killed, or fails after its answer. A job whose worker has died is tried again, after a pause that grows.
//! Each job takes so many milliseconds more, so that there is something to look at.
//!
//! Ctrl-c and SIGTERM stop it in good order: nothing more is read, the jobs that are under way end, and those that were read and
//! are not done are printed on standard output, together with the beginning of a line that was read. What RESULTS has already is
//! not done again. So whether it was stopped or killed, run it again with the same file and the same jobs, and
//! only the rest is done. Exits with 0 if all are done, with 1 if some are left, with 2 after an error; then, too, what is left is printed.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use green::actor::{Actor, Addr, Backoff, Child, Context, Supervisor, messages};
use green::channel::{Receiver, Sender, bounded, select};
use green::sync::Mutex;
use green::thread::JoinHandle;
use indicatif::{ProgressBar, ProgressStyle};

const USAGE: &str = "usage: jobs [--workers N] [--fail PERCENT] [--seed N] [--pause MS] RESULTS < JOBS";
/// Jobs that wait for a worker.
const QUEUED: usize = 256;
/// How long a job that has failed waits, at first and at most.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(10)];
/// How long actors have to end.
const GRACE: Duration = Duration::from_secs(10);

struct Options {
    workers: u64,
    fail: u64,
    seed: u64,
    pause: Duration,
    results: PathBuf,
}

/// What all parts of the program have in common.
struct Common {
    stopping: AtomicBool,
    deaths: AtomicU64,
    bar: ProgressBar,
    /// Jobs that were dropped before they were done.
    left: Mutex<Vec<Arc<[u8]>>>,
    /// What was read of a line whose end was not.
    begun: Mutex<Vec<u8>>,
}

/// A job on its way: whoever drops it before it is done, and for whatever reason, leaves it to the next run.
struct Job {
    text: Arc<[u8]>,
    is_done: bool,
    common: Arc<Common>,
}

impl Drop for Job {
    fn drop(&mut self) {
        if !self.is_done {
            self.common.left.lock().unwrap().push(Arc::clone(&self.text));
        }
    }
}

fn hash(parts: &[&[u8]]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    parts.iter().flat_map(|part| part.iter()).fold(0xcbf2_9ce4_8422_2325, step)
}

/// Hashes, and has faults.
#[derive(Clone, Copy)]
struct Worker {
    fail: u64,
    seed: u64,
    pause: Duration,
}

impl Actor for Worker {}

messages! {
    impl Worker {
        fn Try(&mut self, ctx: &mut Context<Self>, job: Arc<[u8]>, attempt: u64) -> u64 {
            let dice = hash(&[&job, &self.seed.to_le_bytes(), &attempt.to_le_bytes()]) >> 16;
            if dice % 100 < self.fail {
                match dice / 100 % 3 {
                    0 => resume_unwind(Box::new("a panic, without the report")),
                    1 => ctx.addr().kill(), // while it sleeps
                    _ => ctx.fail("it breaks down, but this one it finishes"),
                }
            }
            green::sleep(self.pause);
            hash(&[&job])
        }
    }
}

/// Keeps the results.
struct Ledger {
    file: green::fs::File,
    len: u64,
}

impl Actor for Ledger {
    // However slow the disk is: a result that is written is not to be called left.
    const ASK_TIMEOUT: Duration = Duration::MAX;
}

messages! {
    impl Ledger {
        fn Record(&mut self, hash: u64, job: Arc<[u8]>) -> io::Result<()> {
            let line = [format!("{hash:016x} ").as_bytes(), &*job, b"\n"].concat();
            let written = self.file.write_all(&line);
            match &written {
                Ok(()) => self.len += line.len() as u64,
                // Half a line would be no result.
                Err(_) => self.file.set_len(self.len)?,
            }
            written
        }
        fn Sync(&mut self) -> io::Result<()> { self.file.sync_all() }
    }
}

impl Ledger {
    /// Opens the file. The jobs that have their results in it come along.
    fn open(path: &PathBuf) -> io::Result<(Self, HashSet<Arc<[u8]>>)> {
        let mut file = green::fs::OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        // What was being written when the program was killed.
        file.set_len(whole as u64)?;
        let done = text[..whole].split_inclusive(|byte| *byte == b'\n').map(|line| {
            let (hashed, job) = line[..line.len() - 1].split_at_checked(17)?;
            (format!("{:016x} ", hash(&[job])).as_bytes() == hashed).then(|| Arc::from(job))
        });
        let done = done.collect::<Option<HashSet<_>>>();
        let done = done.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "not a file of results"))?;
        Ok((Ledger { file, len: whole as u64 }, done))
    }
}

/// Reads jobs and queues those that are not `done`, until the input ends.
fn read(common: &Arc<Common>, queue: &Sender<Job>, mut done: HashSet<Arc<[u8]>>) -> io::Result<()> {
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut buf = vec![0; 1 << 16];
    loop {
        green::io::wait_readable(&input)?;
        // What is read are jobs, or left, from the read on: nothing waits in between.
        let mut begun = common.begun.lock().unwrap();
        let len = input.read(&mut buf)?;
        begun.extend(if len > 0 { &buf[..len] } else { b"\n" });
        let whole = begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = begun.drain(..whole).collect();
        drop(begun);
        let fresh = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && done.insert(Arc::from(*line)));
        let jobs = fresh.map(|line| Job { text: line.into(), is_done: false, common: Arc::clone(common) });
        for job in jobs.collect::<Vec<_>>() {
            common.bar.inc_length(1);
            if queue.send(job).is_err() {
                return Ok(());
            }
        }
        if len == 0 {
            return Ok(());
        }
    }
}

/// Has one worker do jobs, until there are none, or it is time to stop.
fn feed(common: &Common, worker: &Addr<Worker>, ledger: &Addr<Ledger>, queue: &Receiver<Job>) -> Result<(), String> {
    for mut job in queue {
        let mut pause = PAUSES[0];
        for attempt in 0.. {
            if common.stopping.load(Ordering::Relaxed) {
                break;
            }
            match worker.send(Try(Arc::clone(&job.text), attempt)) {
                Ok(hash) => {
                    let recorded = ledger.send(Record(hash, Arc::clone(&job.text)));
                    recorded.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
                    job.is_done = true;
                    common.bar.inc(1);
                    break;
                }
                // It is started again, under the same address.
                Err(_) => {
                    let deaths = common.deaths.fetch_add(1, Ordering::Relaxed) + 1;
                    common.bar.set_message(format!("{deaths} tries have failed"));
                    green::sleep(pause);
                    pause = (pause * 2).min(PAUSES[1]);
                }
            }
        }
    }
    Ok(())
}

fn run(options: &Options) -> Result<ExitCode, String> {
    // The signals are ours before there is anything to lose.
    let _ = green::timeout(Duration::ZERO, green::signal::terminate);
    let (ledger, done) =
        Ledger::open(&options.results).map_err(|error| format!("{}: {error}", options.results.display()))?;
    let before = done.len();
    let ledger = ledger.start();
    let Options { workers, fail, seed, pause, .. } = *options;
    let team = Supervisor::one_for_one()
        .intensity(u32::MAX, Duration::from_secs(1))
        .backoff(Backoff::exponential(Duration::from_millis(1)..=Duration::from_millis(10)).jitter(0.2));
    let child = |n| Child::new(format!("worker {n}"), move || Worker { fail, seed, pause });
    let team = (0..workers).fold(team, |team, n| team.child(child(n))).start().map_err(|error| error.to_string())?;

    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}").expect("it is well-formed"));
    let (left, begun) = (Mutex::default(), Mutex::default());
    let common = Arc::new(Common { stopping: AtomicBool::new(false), deaths: AtomicU64::new(0), bar, left, begun });
    let (jobs, queue) = bounded(QUEUED);
    let reader = green::spawn({
        let common = Arc::clone(&common);
        move || read(&common, &jobs, done)
    });
    let (over, all_over) = bounded::<()>(0);
    let feeders: Vec<JoinHandle<Result<(), String>>> = (0..workers)
        .map(|n| {
            let (common, ledger, queue, over) = (Arc::clone(&common), ledger.clone(), queue.clone(), over.clone());
            let worker = team.get(&format!("worker {n}")).expect("it was started");
            green::spawn(move || {
                let fed = feed(&common, &worker, &ledger, &queue);
                drop(over);
                fed
            })
        })
        .collect();
    drop((over, queue));
    let (told, stops) = bounded(1);
    green::spawn(move || told.send(green::signal::terminate()));
    select! {
        recv(all_over) -> _ => {}
        recv(stops) -> _ => common.stopping.store(true, Ordering::Relaxed),
    }
    // If it has not ended by itself.
    reader.cancel();
    // All of them, also after an error: what the others have begun is to be in the results, or left.
    let fed: Vec<_> = feeders.into_iter().map(|feeder| feeder.join().expect("it does not panic")).collect();
    let fed = fed.into_iter().collect::<Result<(), String>>();
    // Cancelled, it has no result, and has not come to the end of its input.
    let was_read = reader.join().map_or(Ok(false), |read| read.map(|()| true));
    team.shutdown(GRACE);
    let synced = ledger.send(Sync);
    ledger.shutdown(GRACE);
    common.bar.abandon(); // As it is: `finish` would fill it.
    // What is left is printed after an error, too: it was read, and nobody else has it.
    let reported = report(&common, before);
    fed?;
    synced.map_err(|error| error.to_string())?.map_err(|error| format!("{}: {error}", options.results.display()))?;
    let is_whole = was_read.map_err(|error| format!("standard input: {error}"))?;
    let left = reported.map_err(|error| format!("standard output: {error}"))?;
    Ok(if is_whole && left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints what is left, says what was done, and gives how many jobs are left.
fn report(common: &Common, before: usize) -> io::Result<usize> {
    let (left, begun) = (common.left.lock().unwrap(), common.begun.lock().unwrap());
    let mut out = io::BufWriter::new(io::stdout().lock());
    left.iter().try_for_each(|job| out.write_all(&[job, &b"\n"[..]].concat()))?;
    out.write_all(&begun)?;
    out.flush()?;
    let (done, deaths) = (common.bar.position(), common.deaths.load(Ordering::Relaxed));
    eprintln!("jobs: {done} done, {before} before, {} left, {deaths} tries failed", left.len());
    Ok(left.len())
}

fn options(args: impl Iterator<Item = OsString>) -> Option<Options> {
    let mut args = args;
    let mut options = Options { workers: 4, fail: 0, seed: 1, pause: Duration::ZERO, results: PathBuf::new() };
    while let Some(arg) = args.next() {
        let mut number = |max: u64| args.next()?.to_str()?.parse().ok().filter(|number| *number <= max);
        match arg.to_str() {
            Some("--workers") => options.workers = number(10_000).filter(|workers| *workers > 0)?,
            // With a hundred no job would ever be done.
            Some("--fail") => options.fail = number(95)?,
            Some("--seed") => options.seed = number(u64::MAX)?,
            Some("--pause") => options.pause = Duration::from_millis(number(4000)?),
            Some(unknown) if unknown.starts_with("--") => return None,
            _ if options.results.as_os_str().is_empty() => options.results = arg.into(),
            _ => return None,
        }
    }
    (!options.results.as_os_str().is_empty()).then_some(options)
}

fn main() -> ExitCode {
    let Some(options) = options(std::env::args_os().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    green::run(|| run(&options)).unwrap_or_else(|error| {
        eprintln!("jobs: {error}");
        ExitCode::from(2)
    })
}
