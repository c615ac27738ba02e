//! Many green threads on one worker, with a limit on how long all may take: where one of them blocks the worker, they hang.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
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

/// Locked by who compares [`green_std::counters`], which count for the whole process; all others have a part of it.
static COUNTERS: RwLock<()> = RwLock::new(());

/// Others may count meanwhile: for who makes a runtime himself.
pub(crate) fn beside_others() -> RwLockReadGuard<'static, ()> {
    COUNTERS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `f` in a green thread with thread-locals of its own, on one worker.
pub(crate) fn on_one_worker(f: impl FnOnce() + Send) {
    let _others = beside_others();
    one_worker(f);
}

/// The same, while no other test of this process is in one of these functions: so what the counters count is done by `f`.
pub(crate) fn alone_on_one_worker(f: impl FnOnce() + Send) {
    let _alone = COUNTERS.write().unwrap_or_else(PoisonError::into_inner);
    one_worker(f);
}

/// The same, on two workers between which threads move.
pub(crate) fn alone_on_two_workers(f: impl FnOnce() + Send) {
    let _alone = COUNTERS.write().unwrap_or_else(PoisonError::into_inner);
    two_workers(f);
}

fn one_worker(f: impl FnOnce() + Send) {
    let _watch = Watch::new();
    if let Some(runtime) = runtime(1, ThreadLocals::PerThread) {
        runtime.run(f);
    }
}

/// The same, on two workers between which threads move.
pub(crate) fn on_two_workers(f: impl FnOnce() + Send) {
    let _others = beside_others();
    two_workers(f);
}

fn two_workers(f: impl FnOnce() + Send) {
    let _watch = Watch::new();
    if let Some(runtime) = runtime(2, ThreadLocals::PerThread) {
        runtime.run(f);
    }
}

/// The same, on one worker whose thread-locals all threads share.
pub(crate) fn on_shared_thread_locals(f: impl FnOnce() + Send) {
    let _others = beside_others();
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

/// Runs `f`, which has to let a neighbour run.
pub(crate) fn beside_a_neighbour(f: impl FnOnce()) {
    let ran = AtomicBool::new(false);
    green::scope(|scope| {
        scope.spawn(|| ran.store(true, Ordering::Relaxed));
        f();
        assert!(ran.load(Ordering::Relaxed), "it kept its neighbour from running");
    });
}

/// Waits until `is` holds: others have done something that it tells of.
pub(crate) fn until(is: impl Fn() -> bool) {
    while !is() {
        green::sleep(Duration::from_millis(1));
    }
}
