//! Why threads that have started should be able to go on on another worker: four loads, each on OS threads, on green threads that are *pinned* to the worker that the
//! first of them was on, on green threads that stay where they have been *placed*, and on green threads that *move*.
//!
//! `cargo run --release --bin why_move [-- --rounds N]`
//!
//! All threads come one after the other and wait at first. Then a pool has 200 jobs of 2 ms for its eight threads; a thread computes for 20 ms at a time, and one for
//! 300 ms at one go, beside twenty that sleep for 5 ms again and again; and one connection has 150 requests of 2 ms beside five that have a small one now and
//! then. How long does the work take, and how late is the latest: the first job of a thread of the pool, a sleeper, a reply to the five?
//!
//! With `--rounds N`: only two of them, so many times. The sleepers beside the one that computes at one go: how late is the latest of all, and in how many rounds is none later than
//! 5 ms? The pool, on each kind of threads in turn: how much longer than OS threads of the same round do the others take, and in how many rounds at most a tenth?
//!
//! Ctrl-c and SIGTERM stop it in good order: a load that is under way ends, no further one begins, and it says how many there were, and exits with 1.

use std::hint::black_box;
use std::io::{Read, Write};
use std::process::ExitCode;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use green::os::unix::net::UnixStream;
use green::{Runtime, ThreadLocals, channel};

/// Somebody wants it to stop: no further load begins.
static STOPS: AtomicBool = AtomicBool::new(false);

/// Loads that have run.
static LOADS: AtomicUsize = AtomicUsize::new(0);

/// Runs `load`; `None` if somebody wants it to stop.
fn unless_stopped(load: impl FnOnce() -> Took) -> Option<Took> {
    if STOPS.load(Relaxed) {
        return None;
    }
    let took = load();
    LOADS.fetch_add(1, Relaxed);
    Some(took)
}

/// Two workers, or as many OS threads as it takes.
enum Threads {
    Os,
    Green(Runtime),
}

type Body<'a> = Box<dyn FnOnce() + Send + 'a>;

impl Threads {
    /// Runs all of them, which come one after the other, to their end.
    fn run<'a>(&self, bodies: impl IntoIterator<Item = Body<'a>> + Send) {
        let between = || green::sleep(Duration::from_millis(1));
        match self {
            Threads::Os => std::thread::scope(|scope| {
                for body in bodies {
                    scope.spawn(body);
                    between();
                }
            }),
            Threads::Green(runtime) => runtime.run(|| {
                green::scope(|scope| {
                    for body in bodies {
                        scope.spawn(body);
                        between();
                    }
                });
            }),
        }
    }
}

/// All of the work, and the latest of those beside it.
struct Took(Duration, Duration);

/// A few microseconds of work.
fn work() {
    black_box((0..black_box(5_000_u32)).fold(0_u32, |sum, n| sum.rotate_left(5) ^ n));
}

/// How long that takes where nothing comes in between.
static WORK: LazyLock<Duration> = LazyLock::new(|| {
    let takes = || {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..1000).map(|_| takes()).min().expect("a thousand")
});

/// As much work as takes so long on a CPU of its own. (Who looked at the clock would be done the sooner the more it had to share its CPU.)
fn compute(d: Duration) {
    (0..d.as_nanos() / WORK.as_nanos().max(1)).for_each(|_| work());
}

/// Eight threads that wait for jobs, and one that has them. How long do all jobs take, and how late does the latest of the eight get its first?
fn pool(threads: &Threads) -> Took {
    const JOBS: u32 = 200;
    let ((jobs, to_do), (done, finished)) = (channel::unbounded(), channel::unbounded());
    let (sender, receiver) = channel::bounded(1);
    let latest_ns = AtomicU64::new(0);
    let mut bodies: Vec<Body> = Vec::new();
    for _ in 0..8 {
        let (to_do, done, latest_ns) = (to_do.clone(), done.clone(), &latest_ns);
        bodies.push(Box::new(move || {
            let mut is_first = true;
            while let Ok((given, job)) = to_do.recv() {
                if std::mem::take(&mut is_first) {
                    latest_ns.fetch_max(Instant::elapsed(&given).as_nanos() as u64, Relaxed);
                }
                compute(job);
                done.send(()).unwrap();
            }
        }));
    }
    bodies.push(Box::new(move || {
        let start = Instant::now();
        (0..JOBS).for_each(|_| jobs.send((start, Duration::from_millis(2))).unwrap());
        (0..JOBS).for_each(|_| finished.recv().unwrap());
        sender.send(start.elapsed()).unwrap();
    }));
    threads.run(bodies);
    Took(receiver.recv().unwrap(), Duration::from_nanos(latest_ns.load(Relaxed)))
}

/// Twenty threads that sleep for 5 ms at a time, and `busy`. How long does that take, and how late is the latest of them?
fn sleepers(threads: &Threads, busy: impl FnOnce() + Send) -> Took {
    const NAP: Duration = Duration::from_millis(5);
    let (over, latest_ns, all_ns) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let mut bodies: Vec<Body> = Vec::new();
    for _ in 0..20 {
        let (over, latest_ns) = (&over, &latest_ns);
        bodies.push(Box::new(move || {
            while !over.load(Relaxed) {
                let start = Instant::now();
                green::sleep(NAP);
                latest_ns.fetch_max((start.elapsed() - NAP).as_nanos() as u64, Relaxed);
            }
        }));
    }
    bodies.push(Box::new(|| {
        green::sleep(NAP);
        latest_ns.store(0, Relaxed);
        let start = Instant::now();
        busy();
        all_ns.store(start.elapsed().as_nanos() as u64, Relaxed);
        over.store(true, Relaxed);
    }));
    threads.run(bodies);
    Took(Duration::from_nanos(all_ns.load(Relaxed)), Duration::from_nanos(latest_ns.load(Relaxed)))
}

/// Computes for 300 ms, and gives way every 20.
fn slow_loop() {
    for _ in 0..15 {
        compute(Duration::from_millis(20));
        green::yield_now();
    }
}

/// Computes for 300 ms.
fn hog() {
    compute(Duration::from_millis(300));
}

/// Six connections, whose clients are OS threads. One has its next request ready when the last is answered, and each takes 2 ms. How long do all of these take, and
/// how late is the latest reply to the others?
fn hot_connection(threads: &Threads) -> Took {
    const REQUESTS: u32 = 150;
    let (over, latest_ns, all_ns) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|clients| {
        let mut bodies: Vec<Body> = Vec::new();
        for number in 0..6 {
            let (mut near, mut far) = UnixStream::pair().expect("a pair of sockets");
            let work = Duration::from_millis(if number == 0 { 2 } else { 0 });
            bodies.push(Box::new(move || {
                let mut request = [0];
                while near.read_exact(&mut request).is_ok() {
                    compute(work);
                    near.write_all(&request).unwrap();
                }
            }));
            let (over, latest_ns, all_ns) = (&over, &latest_ns, &all_ns);
            clients.spawn(move || {
                std::thread::sleep(Duration::from_millis(20));
                let mut ask = || {
                    let start = Instant::now();
                    far.write_all(b"?").unwrap();
                    far.read_exact(&mut [0]).unwrap();
                    start.elapsed().as_nanos() as u64
                };
                if number == 0 {
                    all_ns.store((0..REQUESTS).map(|_| ask()).sum(), Relaxed);
                    over.store(true, Relaxed);
                }
                while !over.load(Relaxed) {
                    std::thread::sleep(Duration::from_millis(5));
                    latest_ns.fetch_max(ask(), Relaxed);
                }
            });
        }
        threads.run(bodies);
    });
    Took(Duration::from_nanos(all_ns.load(Relaxed)), Duration::from_nanos(latest_ns.load(Relaxed)))
}

/// `--rounds N`. `None`: no arguments.
fn rounds() -> Option<usize> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => return None,
        ["--rounds", number] => match number.parse() {
            Ok(number) if number > 0 => return Some(number),
            _ => {}
        },
        _ => {}
    }
    eprintln!("usage: why_move [--rounds N]");
    std::process::exit(2);
}

/// With `--rounds N`. How many loads that would be; they are fewer if somebody wants it to stop, which leaves out the figures that need the others.
fn many_rounds(rounds: usize, columns: &[Threads]) -> usize {
    const LATEST: Duration = Duration::from_millis(5);
    const LONGEST: f64 = 1.1;
    const NAMES: [&str; 4] = ["OS threads", "pinned", "placed", "moving"];
    let loads = 2 * rounds * columns.len();
    for (name, threads) in NAMES.iter().zip(columns) {
        let latest = (0..rounds).map(|_| unless_stopped(|| sleepers(threads, hog)).map(|Took(_, latest)| latest));
        let Some(latest) = latest.collect::<Option<Vec<_>>>() else { return loads };
        let within = latest.iter().filter(|late| **late <= LATEST).count();
        let worst = latest.iter().max().expect("a round").as_secs_f64() * 1e3;
        println!(
            "{name:12} the latest sleeper {worst:8.1} ms late; none later than 5 ms in {within} of {rounds} rounds"
        );
    }
    let of_pool = |threads| unless_stopped(|| pool(threads)).map(|Took(all, _)| all.as_secs_f64());
    let pools = (0..rounds).map(|_| columns.iter().map(of_pool).collect());
    let Some(pools) = pools.collect::<Option<Vec<Vec<f64>>>>() else { return loads };
    for (at, name) in NAMES.iter().enumerate().take(columns.len()).skip(1) {
        let mut ratios: Vec<_> = pools.iter().map(|took| took[at] / took[0]).collect();
        ratios.sort_by(f64::total_cmp);
        let within = ratios.iter().filter(|ratio| **ratio <= LONGEST).count();
        let (middle, most) = (ratios[rounds / 2], ratios[rounds - 1]);
        println!(
            "{name:12} the pool {middle:.2} times as long as OS threads, {most:.2} at most; within {LONGEST} in {within} of {rounds} rounds"
        );
    }
    loads
}

/// One load a row. How many loads that would be.
fn table(columns: &[Threads]) -> usize {
    type Load = fn(&Threads) -> Took;
    let rows: [(&str, Load); 4] = [
        ("a pool of eight, first jobs", pool),
        ("a slow loop, sleepers", |threads| sleepers(threads, slow_loop)),
        ("a hog, sleepers", |threads| sleepers(threads, hog)),
        ("a hot connection, others", hot_connection),
    ];
    println!("{:28}{:>16}{:>16}{:>16}{:>16}", "milliseconds: all, latest", "OS threads", "pinned", "placed", "moving");
    for (name, load) in rows {
        let ms = |d: Duration| d.as_secs_f64() * 1e3;
        let took = columns.iter().map_while(|threads| unless_stopped(|| load(threads)));
        let cells: String = took.map(|Took(all, latest)| format!("{:8.1}{:8.1}", ms(all), ms(latest))).collect();
        if !cells.is_empty() {
            println!("{name:28}{cells}");
        }
    }
    rows.len() * columns.len()
}

fn main() -> ExitCode {
    let rounds = rounds();
    // The signals are ours before there is anything to stop.
    let _ = green::timeout(Duration::ZERO, green::signal::terminate);
    std::thread::spawn(|| green::signal::terminate().map(|_| STOPS.store(true, Relaxed)));
    // The loads stall workers on purpose: that needs no reports.
    let builder = Runtime::builder().workers(2).stall_limit(Duration::ZERO);
    // Pinned to one of two workers is to be on the only one.
    let pinned = builder.clone().workers(1).build().expect("a runtime");
    let placed = builder.clone().build().expect("a runtime");
    let mut columns = vec![Threads::Os, Threads::Green(pinned), Threads::Green(placed)];
    match builder.thread_locals(ThreadLocals::PerThread).build() {
        Ok(runtime) => columns.push(Threads::Green(runtime)),
        Err(error) => println!("threads do not move here: {error}"),
    }
    LazyLock::force(&WORK);
    let all = match rounds {
        Some(rounds) => many_rounds(rounds, &columns),
        None => table(&columns),
    };
    match LOADS.load(Relaxed) {
        done if done == all => ExitCode::SUCCESS,
        done => {
            eprintln!("why_move: stopped after {done} of {all} loads");
            ExitCode::FAILURE
        }
    }
}
