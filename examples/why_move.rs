//! Why threads that have started should be able to go on on another worker: four loads, each on OS threads, on green threads that stay where they
//! started, and on green threads that move.
//!
//! `cargo run --release --bin why_move`
//!
//! All threads come one after the other and wait at first, so those that stay are where the first of them was. Then a pool has 200 jobs of 2 ms for its eight
//! threads; a thread computes for 20 ms at a time, and one for 300 ms at one go, beside twenty that sleep for 5 ms again and again; and one connection keeps its
//! thread busy beside five that have a request now and then. How long does the pool take, how late is the latest sleeper, the latest reply?

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use green::os::unix::net::UnixStream;
use green::{Runtime, ThreadLocals, channel};

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

fn compute(d: Duration) {
    let start = Instant::now();
    while start.elapsed() < d {
        std::hint::spin_loop();
    }
}

/// Eight threads that wait for jobs, and one that has them. How long do all jobs take?
fn pool(threads: &Threads) -> Duration {
    const JOBS: u32 = 200;
    let ((jobs, to_do), (done, finished)) = (channel::unbounded(), channel::unbounded());
    let (sender, receiver) = channel::bounded(1);
    let mut bodies: Vec<Body> = Vec::new();
    for _ in 0..8 {
        let (to_do, done) = (to_do.clone(), done.clone());
        bodies.push(Box::new(move || {
            while let Ok(job) = to_do.recv() {
                compute(job);
                done.send(()).unwrap();
            }
        }));
    }
    bodies.push(Box::new(move || {
        let start = Instant::now();
        (0..JOBS).for_each(|_| jobs.send(Duration::from_millis(2)).unwrap());
        (0..JOBS).for_each(|_| finished.recv().unwrap());
        sender.send(start.elapsed()).unwrap();
    }));
    threads.run(bodies);
    receiver.recv().unwrap()
}

/// Twenty threads that sleep for 5 ms at a time, and `busy`. How late is the latest of them?
fn sleepers(threads: &Threads, busy: impl FnOnce() + Send) -> Duration {
    const NAP: Duration = Duration::from_millis(5);
    let (over, latest_ns) = (AtomicBool::new(false), AtomicU64::new(0));
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
        busy();
        over.store(true, Relaxed);
    }));
    threads.run(bodies);
    Duration::from_nanos(latest_ns.load(Relaxed))
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

/// Six connections, whose clients are OS threads. One has its next request ready when the last is answered, and each takes 2 ms. How late is the latest
/// reply to the others?
fn hot_connection(threads: &Threads) -> Duration {
    let latest_ns = AtomicU64::new(0);
    std::thread::scope(|clients| {
        let mut bodies: Vec<Body> = Vec::new();
        for number in 0..6 {
            let (mut near, mut far) = UnixStream::pair().expect("a pair of sockets");
            let (work, pause) = if number == 0 { (2, 0) } else { (0, 5) };
            bodies.push(Box::new(move || {
                let mut request = [0];
                while near.read_exact(&mut request).is_ok() {
                    compute(Duration::from_millis(work));
                    near.write_all(&request).unwrap();
                }
            }));
            let latest_ns = &latest_ns;
            clients.spawn(move || {
                std::thread::sleep(Duration::from_millis(20));
                let begin = Instant::now();
                while begin.elapsed() < Duration::from_millis(300) {
                    std::thread::sleep(Duration::from_millis(pause));
                    let start = Instant::now();
                    far.write_all(b"?").unwrap();
                    far.read_exact(&mut [0]).unwrap();
                    if number != 0 {
                        latest_ns.fetch_max(start.elapsed().as_nanos() as u64, Relaxed);
                    }
                }
            });
        }
        threads.run(bodies);
    });
    Duration::from_nanos(latest_ns.load(Relaxed))
}

fn main() {
    if std::env::args_os().len() > 1 {
        eprintln!("usage: why_move");
        std::process::exit(2);
    }
    let builder = Runtime::builder().workers(2);
    let stay = Threads::Green(builder.clone().build().expect("a runtime"));
    let columns = match builder.thread_locals(ThreadLocals::PerThread).build() {
        Ok(runtime) => vec![Threads::Os, stay, Threads::Green(runtime)],
        Err(error) => {
            println!("threads do not move here: {error}");
            vec![Threads::Os, stay]
        }
    };
    println!("{:28}{:>12}{:>12}{:>12}", "milliseconds", "OS threads", "stay", "move");
    let row = |name: &str, run: &dyn Fn(&Threads) -> Duration| {
        let cells = columns.iter().map(|threads| format!("{:12.1}", run(threads).as_secs_f64() * 1e3));
        println!("{name:28}{}", cells.collect::<String>());
    };
    row("a pool of eight: all jobs", &pool);
    row("a slow loop: latest sleeper", &|threads| sleepers(threads, slow_loop));
    row("a hog: latest sleeper", &|threads| sleepers(threads, hog));
    row("a hot connection: others", &hot_connection);
}
