//! A thread that waits for long keeps of its stack what it uses, and not what one deep call has touched.
#![cfg(target_os = "linux")]
// Where the frames of a fiber end is known of our own switch only.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![cfg(not(any(miri, green_backend = "threads")))]
#![allow(missing_docs)]

mod help;

use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use green::sync::Semaphore;
use help::{Flag, in_a_child, runtime, scaled, spin_until};

const KIB: usize = 1024;

/// Calls `then` when `bytes` of the stack have been touched. True: all is still there afterwards.
fn deep(bytes: usize, then: &mut dyn FnMut()) -> bool {
    #[inline(never)]
    fn frames(end: usize, then: &mut dyn FnMut()) -> bool {
        let frame = black_box([end; 32]);
        if frame.as_ptr().addr() > end {
            return frames(end, then) && black_box(frame) == [end; 32];
        }
        then();
        black_box(frame) == [end; 32]
    }
    let top = 0_u8;
    frames((&raw const top).addr() - bytes, then)
}

/// How many of the `bytes` below `top`, an address on a stack, are in memory. (What the whole process has is also an emulator's, which comes and goes.)
fn resident(top: usize, bytes: usize) -> usize {
    // SAFETY: no requirements.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let begin = (top - bytes) & !(page - 1);
    let mut pages = vec![0_u8; (top - begin).div_ceil(page)];
    let begin = std::ptr::with_exposed_provenance_mut(begin);
    // SAFETY: the call reads nothing there, and writes a byte for each page.
    let done = unsafe { libc::mincore(begin, pages.len() * page, pages.as_mut_ptr()) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    pages.iter().filter(|flags| **flags & 1 != 0).count() * page
}

/// How a thread waits until it is released.
type Waits = fn(&Semaphore);

fn for_a_permit(gate: &Semaphore) {
    drop(gate.acquire());
}

fn with_a_time_out(gate: &Semaphore) {
    green::timeout(Duration::from_secs(3600), || drop(gate.acquire())).unwrap();
}

fn threads_that_were_deep_once(workers: usize, waits: Waits, busy: bool) {
    let ended = in_a_child(&[], || {
        const THREADS: usize = if help::EMULATED { 50 } else { 200 };
        const DEEP: usize = 160 * KIB;
        let runtime = runtime(workers);
        let gate = Arc::new(Semaphore::new(0));
        /// Where the threads' stacks are.
        static STACKS: Mutex<Vec<usize>> = Mutex::new(Vec::new());
        static OVER: Flag = Flag::new();
        let threads: Vec<_> = (0..THREADS)
            .map(|number| {
                let gate = gate.clone();
                runtime.spawn(move || {
                    let shallow = black_box([number; 100]);
                    assert!(deep(DEEP, &mut || ()));
                    let here = (&raw const shallow).expose_provenance();
                    assert!(resident(here, DEEP) > DEEP / 2, "it is measured");
                    STACKS.lock().unwrap().push(here);
                    waits(&gate);
                    assert!(black_box(shallow).iter().all(|value| *value == number));
                    assert!(deep(DEEP, &mut || ()));
                })
            })
            .collect();
        let neighbours: Vec<_> = (0..if busy { workers } else { 0 })
            .map(|_| {
                runtime.spawn(|| {
                    while !OVER.is_set() {
                        green::yield_now();
                    }
                })
            })
            .collect();
        spin_until("each thread", || STACKS.lock().unwrap().len() == THREADS);
        let all = || STACKS.lock().unwrap().iter().map(|stack| resident(*stack, DEEP)).sum::<usize>();
        spin_until("memory", || all() < THREADS * DEEP / 4);
        gate.add_permits(THREADS);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        OVER.set();
        neighbours.into_iter().for_each(|thread| thread.join().unwrap());
    });
    ended.assert_success();
}

#[test]
fn a_deep_call_of_a_thread_that_waits_for_long_costs_no_memory() {
    threads_that_were_deep_once(1, for_a_permit, false);
}

#[test]
fn a_deep_call_of_a_thread_that_waits_for_long_costs_no_memory_with_workers_and_time_outs() {
    threads_that_were_deep_once(2, with_a_time_out, false);
}

#[test]
fn a_deep_call_of_a_thread_that_waits_for_long_costs_no_memory_beside_busy_ones() {
    threads_that_were_deep_once(2, for_a_permit, true);
}

#[test]
fn a_deep_call_of_a_thread_that_waits_for_long_costs_no_memory_beside_busy_ones_and_timers() {
    threads_that_were_deep_once(2, with_a_time_out, true);
}

#[test]
fn a_thread_that_waits_for_long_deep_in_its_stack_keeps_all_of_it() {
    let ended = in_a_child(&[], || {
        let runtime = runtime(1);
        runtime.run(|| {
            let deepest = 200 * KIB;
            let threads: Vec<_> = (0..scaled(32))
                .map(|n| {
                    let bytes = deepest / (1 + n % 8);
                    green::spawn(move || deep(bytes, &mut || green::sleep(Duration::from_millis(3500))))
                })
                .collect();
            assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
        });
    });
    ended.assert_success();
}

#[test]
fn a_thread_that_waits_for_long_on_a_stack_of_another_library_keeps_its_own() {
    let ended = in_a_child(&[], || {
        // Made before the runtime's, so that they lie above those.
        let theirs: Vec<_> = (0..8).map(|_| DefaultStack::new(64 * KIB * KIB).expect("a stack")).collect();
        runtime(2).run(|| {
            let waits = |(number, stack)| {
                green::spawn(move || {
                    let ours = black_box([number; 2000]);
                    let mut coroutine = Coroutine::with_stack(stack, |_: &Yielder<(), ()>, ()| {
                        assert!(deep(160 * KIB, &mut || ()));
                        green::sleep(Duration::from_millis(3500));
                    });
                    assert!(matches!(coroutine.resume(()), CoroutineResult::Return(())));
                    assert!(black_box(ours).iter().all(|value| *value == number));
                })
            };
            let threads: Vec<_> = theirs.into_iter().enumerate().map(waits).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    });
    ended.assert_success();
}

/// Pages that this process had to be given.
fn faults() -> i64 {
    // SAFETY: zeros are a valid value, and the call fills it in.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage.ru_minflt
    }
}

#[test]
fn a_thread_that_calls_deep_five_times_a_second_keeps_its_pages() {
    let ended = in_a_child(&[], || {
        runtime(1).run(|| {
            let threads: Vec<_> = (0..20)
                .map(|_| {
                    green::spawn(|| {
                        assert!(deep(160 * KIB, &mut || ()));
                        let before = faults();
                        for _ in 0..15 {
                            green::sleep(Duration::from_millis(200));
                            assert!(deep(160 * KIB, &mut || ()));
                        }
                        faults() - before
                    })
                })
                .collect();
            for thread in threads {
                // The neighbours' first call, and little more; 20 threads with 40 pages each five times a second would be 12 000.
                let count = thread.join().unwrap();
                assert!(count < 2000, "{count}");
            }
        });
    });
    ended.assert_success();
}

#[test]
fn a_worker_whose_threads_all_wait_sleeps_in_the_end() {
    let ended = in_a_child(&[], || {
        let runtime = runtime(1);
        let gate = Arc::new(Semaphore::new(0));
        let threads: Vec<_> = (0..500)
            .map(|_| {
                let gate = gate.clone();
                runtime.spawn(move || for_a_permit(&gate))
            })
            .collect();
        // The times that it gave its processor up, which it does once each time that it gets up.
        let naps = || {
            let tasks = std::fs::read_dir("/proc/self/task").expect("Linux has it");
            let of_one = |dir: std::path::PathBuf| {
                let is_worker = std::fs::read_to_string(dir.join("comm")).is_ok_and(|name| name.starts_with("green"));
                let status = std::fs::read_to_string(dir.join("status")).unwrap_or_default();
                let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
                if is_worker { count.map_or(0, |count| count.trim().parse::<u64>().expect("a number")) } else { 0 }
            };
            tasks.map(|task| of_one(task.expect("a directory").path())).sum::<u64>()
        };
        spin_until("the worker", || naps() > 0);
        spin_until("a rest of three seconds", || {
            let before = naps();
            std::thread::sleep(Duration::from_secs(3));
            naps() == before
        });
        gate.add_permits(500);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    ended.assert_success();
}
