//! Many green threads on one worker, with a limit on how long all may take: where one of them blocks the worker, they hang.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use green::{Runtime, ThreadLocals};

/// A machine may be an emulated one.
const LIMIT: Duration = Duration::from_secs(240);

/// Ends the process if it is not dropped in time.
struct Watch(&'static AtomicBool);

impl Watch {
    fn new() -> Self {
        let over: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
        let begun = Instant::now();
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                if begun.elapsed() > LIMIT {
                    eprintln!("a test hangs: something blocks a worker");
                    std::process::abort();
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        Self(over)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn runtime(workers: usize, thread_locals: ThreadLocals) -> Option<Runtime> {
    match Runtime::builder().workers(workers).thread_locals(thread_locals).build() {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{error}");
            eprintln!("not tried: {error}");
            None
        }
    }
}

/// Runs `f` in a green thread with thread-locals of its own, on one worker.
pub(crate) fn on_one_worker(f: impl FnOnce() + Send) {
    let _watch = Watch::new();
    if let Some(runtime) = runtime(1, ThreadLocals::PerThread) {
        runtime.run(f);
    }
}

/// The same, on two workers between which threads move.
pub(crate) fn on_two_workers(f: impl FnOnce() + Send) {
    let _watch = Watch::new();
    if let Some(runtime) = runtime(2, ThreadLocals::PerThread) {
        runtime.run(f);
    }
}

/// The same, on one worker whose thread-locals all threads share.
pub(crate) fn on_shared_thread_locals(f: impl FnOnce() + Send) {
    let _watch = Watch::new();
    runtime(1, ThreadLocals::PerWorker).expect("it is to be had everywhere").run(f);
}

/// Runs `f` in `n` green threads at once.
pub(crate) fn many(n: usize, f: impl Fn(usize) + Sync) {
    green::scope(|scope| {
        let f = &f;
        for number in 0..n {
            scope.spawn(move || f(number));
        }
    });
}

/// Waits until `is` holds: others have done something that it tells of.
pub(crate) fn until(is: impl Fn() -> bool) {
    while !is() {
        green::sleep(Duration::from_millis(1));
    }
}
