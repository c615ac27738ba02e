//! Clients of Redis and PostgreSQL, 200 at once: how long do they take on green threads of one worker, how much of a processor's time, and how much memory, by those on
//! OS threads? (On a busy machine the first says little: 200 OS threads get 200 shares of the processors, a worker one.)
//!
//! Wants `GREEN_TEST_REDIS` and `GREEN_TEST_POSTGRES`, as the tests do: see `.ci/green-std`.
#![cfg(green_std)]

use std::env::{current_exe, var};
use std::fs::read_to_string;
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use postgres::NoTls;
use redis::Commands;

green_std::interpose!();

const CLIENTS: usize = 200;
const REDIS_TURNS: usize = 200;
const POSTGRES_TURNS: usize = 40;
const ROUNDS: usize = 5;

/// Kibibytes of memory that belong to this process.
fn memory() -> usize {
    let text = read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("Pss:"));
    line.and_then(|line| line.split_whitespace().nth(1)).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Kibibytes of the kernel's stacks, one for each OS thread: of the whole machine.
fn kernel_stacks() -> usize {
    let text = read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("KernelStack:"));
    line.and_then(|line| line.split_whitespace().nth(1)).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The time of processors that this process has taken.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a time of this function's.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What a client does when all are connected, until all are through.
#[derive(Default)]
struct Course {
    took: Duration,
    processor: Duration,
    memory: usize,
    kernel: usize,
}

/// Runs `f` with a number in a thread, for each number below [`CLIENTS`], and waits for all.
type Spawn = dyn Fn(&(dyn Fn(usize) + Sync));

fn on_os_threads(f: &(dyn Fn(usize) + Sync)) {
    std::thread::scope(|scope| (0..CLIENTS).for_each(|number| _ = scope.spawn(move || f(number))));
}

fn on_green_threads(f: &(dyn Fn(usize) + Sync)) {
    green::scope(|scope| (0..CLIENTS).for_each(|number| _ = scope.spawn(move || f(number))));
}

/// `connect` makes a client, `work` is timed.
fn course<C>(spawn: &Spawn, connect: impl Fn() -> C + Sync, work: impl Fn(&mut C, usize) + Sync) -> Course {
    let (before, kernel_before) = (memory(), kernel_stacks());
    let (begin, end) = (Barrier::new(CLIENTS), Barrier::new(CLIENTS));
    let [nanos, processor_begun, processor, after, kernel] = [const { AtomicUsize::new(0) }; 5];
    spawn(&|number| {
        let mut client = connect();
        if begin.wait().is_leader() {
            processor_begun.store(processor_time().as_nanos() as usize, Ordering::Relaxed);
        }
        let begun = Instant::now();
        work(&mut client, number);
        if end.wait().is_leader() {
            nanos.store(begun.elapsed().as_nanos() as usize, Ordering::Relaxed);
            processor.store(processor_time().as_nanos() as usize, Ordering::Relaxed);
            after.store(memory(), Ordering::Relaxed);
            kernel.store(kernel_stacks(), Ordering::Relaxed);
        }
        // All have their clients while the memory is read.
        end.wait();
    });
    Course {
        took: Duration::from_nanos(nanos.into_inner() as u64),
        processor: Duration::from_nanos((processor.into_inner() - processor_begun.into_inner()) as u64),
        memory: after.into_inner().saturating_sub(before),
        kernel: kernel.into_inner().saturating_sub(kernel_before),
    }
}

fn redis_client() -> redis::Connection {
    let client = redis::Client::open(var("GREEN_TEST_REDIS").unwrap()).unwrap();
    client.get_connection().unwrap()
}

fn postgres_client() -> postgres::Client {
    postgres::Client::connect(&var("GREEN_TEST_POSTGRES").unwrap(), NoTls).unwrap()
}

fn redis_course(spawn: &Spawn) -> Course {
    let work = |connection: &mut redis::Connection, number: usize| {
        let key = format!("bench-{number}");
        for turn in 0..REDIS_TURNS {
            let () = connection.set(&key, turn).unwrap();
        }
    };
    course(spawn, redis_client, work)
}

fn postgres_course(spawn: &Spawn) -> Course {
    let work = |client: &mut postgres::Client, number: usize| {
        for turn in 0..POSTGRES_TURNS {
            let row = client.query_one("select $1::int8 * 2", &[&((number + turn) as i64)]).unwrap();
            assert_eq!(row.get::<_, i64>(0), (number + turn) as i64 * 2);
        }
    };
    course(spawn, postgres_client, work)
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// The medians of the times; the memory of the first time, as later ones find stacks of earlier ones.
fn summary(all: &[Course]) -> Course {
    let took = median(all.iter().map(|course| course.took).collect());
    let processor = median(all.iter().map(|course| course.processor).collect());
    let (memory, kernel) = all.first().map_or((0, 0), |first| (first.memory, first.kernel));
    Course { took, processor, memory, kernel }
}

/// The memory of clients that no thread waits for.
fn alone<C>(connect: impl Fn() -> C) -> usize {
    let before = memory();
    let clients: Vec<C> = (0..CLIENTS).map(|_| connect()).collect();
    let after = memory();
    drop(clients);
    after.saturating_sub(before)
}

/// One question of one peer, in a process of its own: what is left of one does not count for the next.
fn ask_here(name: &str, peer: &str) {
    let build = || green::Runtime::builder().workers(1).thread_locals(green::ThreadLocals::PerThread).build();
    let ask = if name == "redis" { redis_course } else { postgres_course };
    let courses: Vec<Course> = match peer {
        "green" => (0..ROUNDS).map(|_| build().unwrap().run(|| ask(&on_green_threads))).collect(),
        "OS" => (0..ROUNDS).map(|_| ask(&on_os_threads)).collect(),
        _ if name == "redis" => vec![Course { memory: alone(redis_client), ..Course::default() }],
        _ => vec![Course { memory: alone(postgres_client), ..Course::default() }],
    };
    let Course { took, processor, memory, kernel } = summary(&courses);
    println!("{} {} {memory} {kernel}", took.as_micros(), processor.as_micros());
}

fn main() {
    if var("GREEN_TEST_REDIS").is_err() {
        return println!("no servers are named: see .ci/green-std");
    }
    if green::ThreadLocals::supported().is_err() {
        return println!("not to be had on this machine");
    }
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if let [name, peer] = &args[..] {
        return ask_here(name, peer);
    }
    println!(
        "{CLIENTS} clients at once; the median time of {ROUNDS}; the memory of the first, and that of the kernel's stacks"
    );
    for name in ["redis", "postgres"] {
        let [green, os, alone] = ["green", "OS", "alone"].map(|peer| {
            let output = Command::new(current_exe().unwrap()).args([name, peer]).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            text.split_whitespace().map(|number| number.parse().unwrap()).collect::<Vec<f64>>()
        });
        for (peer, of) in [("green", &green), ("OS", &os)] {
            let (took, processor) = (of[0] / 1000.0, of[1] / 1000.0);
            println!(
                "{name:9} {peer:6} {took:7.1} ms, {processor:7.1} ms of a processor, {:6} KiB and {:5} KiB",
                of[2], of[3]
            );
        }
        println!(
            "{name:9} ratios {:.2}, {:.2} and {:.2}; with the kernel's stacks {:.2}; of both {} KiB are the clients'",
            green[0] / os[0],
            green[1] / os[1],
            green[2] / os[2],
            (green[2] + green[3]) / (os[2] + os[3]),
            alone[2]
        );
    }
}
