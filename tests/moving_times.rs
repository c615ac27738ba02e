//! Threads that move: how often they do where they need not, and how late they are beside one that computes.
//!
//! The machine has other things to do, too: so each of these has to come right nearly always for a while.
#![cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod help;
#[path = "help/moves.rs"]
mod moves;

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use green::os::unix::net::UnixStream;
use green::sync::Mutex;
use green::{Runtime, channel, yield_now};
use moves::{compute, os_thread, runtime};

/// These take times: one after the other.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[test]
fn a_pair_that_talks_stays_on_its_worker_beside_an_idle_one() {
    let trips = help::scaled(10_000);
    let _alone = alone();
    let Some(runtime) = runtime(2) else { return };
    help::nearly_always(8, "changes of a pair", || {
        let changes = AtomicUsize::new(0);
        runtime.run(|| {
            let ((there, from_here), (back, from_there)) = (channel::bounded(1), channel::bounded(1));
            // After each message of its own.
            let looks = || {
                let (changes, mut on) = (&changes, os_thread());
                move || changes.fetch_add(usize::from(std::mem::replace(&mut on, os_thread()) != on), Relaxed)
            };
            green::scope(|scope| {
                scope.spawn(|| {
                    let (mut looks, back) = (looks(), back);
                    for trip in from_here.iter() {
                        looks();
                        back.send(trip).unwrap();
                    }
                });
                let mut looks = looks();
                for trip in 0..trips {
                    there.send(trip).unwrap();
                    assert_eq!(from_there.recv().unwrap(), trip);
                    looks();
                }
                drop(there);
            });
        });
        let changes = changes.into_inner();
        (changes, changes < trips / 100)
    });
}

/// A pool of eight threads that have all waited before the first of 32 jobs comes; each computes for a while.
#[test]
fn a_pool_whose_threads_have_waited_on_one_worker_uses_both() {
    const JOBS: usize = 32;
    let _alone = alone();
    let Some(runtime) = runtime(2) else { return };
    help::nearly_always(8, "jobs of each worker", || {
        let used = Mutex::new(std::collections::HashMap::new());
        runtime.run(|| {
            let (sender, receiver) = channel::unbounded::<()>();
            green::scope(|scope| {
                for _ in 0..8 {
                    let (receiver, used) = (receiver.clone(), &used);
                    let thread = scope.spawn(move || {
                        while receiver.recv().is_ok() {
                            compute(Duration::from_millis(2));
                            *used.lock().unwrap().entry(os_thread()).or_insert(0) += 1;
                        }
                    });
                    help::until_parked(thread.thread(), "channel receive");
                }
                (0..JOBS).for_each(|_| sender.send(()).unwrap());
                drop(sender);
            });
        });
        let used = used.into_inner().unwrap();
        assert_eq!(used.values().sum::<usize>(), JOBS);
        let are_shared_out = used.len() == 2 && used.values().all(|jobs| *jobs >= JOBS / 4);
        (used, are_shared_out)
    });
}

/// Runs `sleepers` until they have slept often, beside a thread that computes without end, and others that compute for `turn` and yield. What each sleep says of itself,
/// the least first; and for how long the one that computes has got no processor, at most: so long others wait for one, too.
fn sleeps_beside_a_hog<T: Ord + Send>(
    runtime: &Runtime,
    sleepers: usize,
    times: usize,
    turns: &[Duration],
    sleep: impl Fn() -> T + Sync,
) -> (Vec<T>, Duration) {
    let (over, all) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let mut without = Duration::ZERO;
    runtime.run(|| {
        green::scope(|scope| {
            let sleepers: Vec<_> = (0..sleepers)
                .map(|_| {
                    let (sleep, all) = (&sleep, &all);
                    scope.spawn(move || {
                        for _ in 0..times {
                            let said = sleep();
                            all.lock().unwrap().push(said);
                        }
                    })
                })
                .collect();
            sleepers.iter().for_each(|thread| help::until(|| thread.thread().waits_for().is_some()));
            let hog = scope.spawn(|| {
                let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
                while !over.load(Relaxed) {
                    longest = longest.max(last.elapsed());
                    last = Instant::now();
                }
                longest
            });
            for turn in turns {
                let over = &over;
                scope.spawn(move || {
                    while !over.load(Relaxed) {
                        compute(*turn);
                        TURNS.fetch_add(1, Relaxed);
                        yield_now();
                    }
                });
            }
            sleepers.into_iter().for_each(|thread| thread.join().unwrap());
            over.store(true, Relaxed);
            without = hog.join().unwrap();
        });
    });
    let mut all = all.into_inner().unwrap();
    all.sort();
    (all, without)
}

/// Turns that [`sleeps_beside_a_hog`] has had so far.
static TURNS: AtomicUsize = AtomicUsize::new(0);

/// Most are less. (The machine has other things to do, too.)
#[track_caller]
fn assert_most<T: PartialOrd + std::fmt::Debug>(all: &[T], limit: T) {
    let (middle, worst) = (&all[all.len() / 2], &all[all.len() - 1]);
    println!("half of {} are {middle:?} at most, all {worst:?}; half have to be less than {limit:?}", all.len());
    assert!(*middle < limit, "{middle:?}");
}

/// Runs `f`, beside an OS thread that sleeps for `nap` again and again: how late that was, nine times of ten. It is what the system does to any thread.
fn beside_an_os_thread<R>(nap: Duration, f: impl FnOnce() -> R) -> (R, Duration) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let beside = scope.spawn(|| {
            let mut late = Vec::new();
            while !over.load(Relaxed) {
                let start = Instant::now();
                std::thread::sleep(nap);
                late.push(start.elapsed() - nap);
            }
            late.sort();
            late[late.len() * 9 / 10]
        });
        let result = f();
        over.store(true, Relaxed);
        (result, beside.join().unwrap())
    })
}

/// Without others that stand in for its worker, they would sleep for as long as the hog computes: for ever.
#[test]
fn sleepers_wake_in_time_beside_a_thread_that_computes() {
    const NAP: Duration = Duration::from_millis(5);
    const LATEST: Duration = Duration::from_millis(5);
    let _alone = alone();
    let Some(runtime) = runtime(2) else { return };
    help::nearly_always(8, "late, and by the system", || {
        let sleep = || {
            sleeps_beside_a_hog(&runtime, 20, 20, &[], || {
                let start = Instant::now();
                green::sleep(NAP);
                start.elapsed()
            })
        };
        let ((theirs, without), system) = beside_an_os_thread(NAP, sleep);
        let late = theirs[theirs.len() * 9 / 10] - NAP;
        // Who stands in for a worker has looked at it twice.
        ((late, system, without), late <= LATEST + 2 * system + without)
    });
}

/// How late a sleeper is whose worker computes, while the other worker sleeps and has nobody who would wake it. `None`: the two did not begin on one worker.
fn lateness_beside_a_hog(runtime: &Runtime, nap: Duration) -> Option<Duration> {
    runtime.run(|| {
        let (me, over) = (os_thread(), &AtomicBool::new(false));
        green::scope(|scope| {
            let sleeper = scope.spawn(move || {
                let (start, on) = (Instant::now(), os_thread());
                green::sleep(nap);
                let late = start.elapsed() - nap;
                over.store(true, Relaxed);
                (on, late)
            });
            while sleeper.thread().waits_for().is_none() && !over.load(Relaxed) {
                yield_now();
            }
            let stays = os_thread() == me;
            while !over.load(Relaxed) {
                std::hint::spin_loop();
            }
            let (on, late) = sleeper.join().unwrap();
            (stays && on == me).then_some(late)
        })
    })
}

/// With the sleepers of the test above, whose others wake the worker on guard, nobody saw that it looked each 32 ms.
#[test]
fn a_sleeper_alone_beside_a_thread_that_computes_is_found_by_the_worker_on_guard() {
    const NAP: Duration = Duration::from_millis(5);
    const LATEST: Duration = Duration::from_millis(5);
    let _alone = alone();
    let Some(runtime) = runtime(2) else { return };
    help::nearly_always(8, "late, and by the system", || {
        let sleep = || (0..200).filter_map(|_| lateness_beside_a_hog(&runtime, NAP)).take(10).collect();
        let (mut theirs, system): (Vec<_>, _) = beside_an_os_thread(Duration::from_millis(1), sleep);
        assert_eq!(theirs.len(), 10, "both on one worker");
        theirs.sort();
        let late = theirs[5];
        // As above.
        ((late, system), late <= LATEST + 2 * system)
    });
}

/// A worker that is busy with turns of 10 ms looks after its siblings, and its own timers, after each; it was after eight of them.
#[test]
fn sleepers_beside_a_thread_that_computes_wake_while_the_other_worker_has_long_turns() {
    let _alone = alone();
    let Some(runtime) = runtime(2) else { return };
    let turns = [Duration::from_millis(10); 2];
    // By turns, which are as long as the machine lets them be.
    let (had, _) = sleeps_beside_a_hog(&runtime, 1, 40, &turns, || {
        let before = TURNS.load(Relaxed);
        green::sleep(Duration::from_millis(5));
        TURNS.load(Relaxed) - before
    });
    assert_most(&had, 6);
}

#[test]
fn readers_get_their_bytes_beside_a_thread_that_computes() {
    const NAP: Duration = Duration::from_millis(3);
    const LATEST: Duration = Duration::from_millis(5);
    let _alone = alone();
    let Some(runtime) = runtime(2) else { return };
    // How late the byte comes.
    let read = || {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        let written = Arc::new(OnceLock::new());
        let notes = written.clone();
        let writer = std::thread::spawn(move || {
            std::thread::sleep(NAP);
            notes.set(Instant::now()).unwrap();
            far.write_all(b"x").unwrap();
        });
        near.read_exact(&mut [0]).unwrap();
        drop(writer);
        written.get().unwrap().elapsed()
    };
    // An emulator makes an OS thread in milliseconds, for which the other readers would wait.
    let readers = help::scaled(10);
    let ((late, without), system) = beside_an_os_thread(NAP, || sleeps_beside_a_hog(&runtime, readers, 40, &[], read));
    assert_most(&late, LATEST + without + 2 * system);
}
