//! What memory does a waiting thread cost, and one that has ended? Peers: tokio tasks, std threads.
//!
//! `cargo bench -p green-benches --bench memory [-- THREADS]`, 100 000 by default. A figure is resident memory with page tables, as the
//! kernel counts them, divided by the number of threads, each measured in a process of its own. The time is that of
//! making a thread and having it wait.

use std::env;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use green::ThreadLocals;

const WHAT: &str = "GREEN_BENCH_MEMORY";
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Resident memory and page tables of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let kib = |name: &str| -> usize {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux has the field");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    (kib("VmRSS:") + kib("VmPTE:")) << 10
}

fn all_wait(threads: usize) -> bool {
    WAITING.load(Ordering::Relaxed) == threads
}

fn wait_here() {
    WAITING.fetch_add(1, Ordering::Relaxed);
}

/// Prints what the memory has grown by since `before`, for each of `threads`.
fn report(what: &str, threads: usize, before: usize, start: Instant) {
    let ns = start.elapsed().as_nanos() / threads as u128;
    println!("{what}: {} bytes each, {ns} ns each ({threads} threads)", (resident() - before) / threads);
}

fn green_waiting(threads: usize, kind: ThreadLocals) {
    let Ok(runtime) = green::Runtime::builder().workers(1).thread_locals(kind).build() else {
        return println!("green, parked, {kind:?}: not to be had here");
    };
    runtime.run(|| {
        let (before, start) = (resident(), Instant::now());
        let body = || {
            wait_here();
            green::thread::park();
        };
        let handles: Vec<_> = (0..threads).map(|_| green::spawn(body)).collect();
        while !all_wait(threads) {
            green::yield_now();
        }
        report(&format!("green, parked, {kind:?}"), threads, before, start);
        handles.iter().for_each(|handle| handle.thread().unpark());
        handles.into_iter().for_each(|handle| handle.join().expect("it does not panic"));
    });
}

fn green_ended(threads: usize) {
    let runtime = green::Runtime::builder().workers(1).build().expect("a runtime");
    runtime.run(|| {
        let (before, start) = (resident(), Instant::now());
        let handles: Vec<_> = (0..threads).map(|_| green::spawn(wait_here)).collect();
        handles.into_iter().for_each(|handle| handle.join().expect("it does not panic"));
        assert!(all_wait(threads));
        report("green, spawned and joined", threads, before, start);
    });
}

fn tokio_waiting(threads: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let (before, start) = (resident(), Instant::now());
        let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
        let body = |gate: std::sync::Arc<tokio::sync::Semaphore>| async move {
            wait_here();
            drop(gate.acquire().await);
        };
        let handles: Vec<_> = (0..threads).map(|_| tokio::spawn(body(gate.clone()))).collect();
        while !all_wait(threads) {
            tokio::task::yield_now().await;
        }
        report("tokio, waiting", threads, before, start);
        gate.close();
        for handle in handles {
            handle.await.expect("it does not panic");
        }
    });
}

fn std_waiting(threads: usize) {
    let (before, start) = (resident(), Instant::now());
    let body = || {
        wait_here();
        std::thread::park();
    };
    let handles: Vec<_> = (0..threads).map(|_| std::thread::spawn(body)).collect();
    while !all_wait(threads) {
        std::thread::yield_now();
    }
    report("std, parked", threads, before, start);
    for handle in handles {
        handle.thread().unpark();
        handle.join().expect("it does not panic");
    }
}

fn main() -> ExitCode {
    let smoke = env::args().any(|arg| arg == "--test");
    let given = env::args().skip(1).find_map(|arg| arg.parse().ok());
    let threads = given.unwrap_or(if smoke { 1_000 } else { 100_000 });
    match env::var(WHAT).as_deref() {
        Ok("parked") => green_waiting(threads, ThreadLocals::PerWorker),
        Ok("own") => green_waiting(threads, ThreadLocals::PerThread),
        Ok("ended") => green_ended(threads),
        Ok("tokio") => tokio_waiting(threads),
        // The system has no room for more.
        Ok("std") => std_waiting(threads.min(2_000)),
        _ => {
            for what in ["parked", "own", "ended", "tokio", "std"] {
                let exe = env::current_exe().expect("this bench");
                let child = Command::new(exe).env(WHAT, what).arg(threads.to_string()).status();
                if !child.expect("it can be run again").success() {
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    ExitCode::SUCCESS
}
