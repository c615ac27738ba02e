//! How much more do std's lock and channel cost between 2000 green threads of one worker than green's own? In time of the worker's processor, which others that use
//! the machine do not lengthen much; and how often a thread has waited in a call of std's for each turn. What std's own code takes of a message is measured by itself: one thread
//! sends some and receives them, and nobody waits.
//!
//! `cargo bench -p green-std --bench locks [-- WORDS OF A ROW]`
#![cfg(green_std)]

use std::time::Duration;

green_std::interpose!();

const THREADS: usize = 2000;
/// So many, too: what belongs to all of them has room in a processor's nearest cache.
const FEW: usize = 20;
const TURNS: usize = 50;
const TURNS_OF_FEW: usize = 2000;
const ROUNDS: usize = 21;
/// Messages that a thread sends before the one that receives them has its turn.
const BATCH: usize = 50;

/// What `f` takes of the processor's time: of the worker that runs the caller, which is the only one.
fn cpu_of(f: impl FnOnce()) -> Duration {
    let now = || {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: it writes there.
        assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) }, 0);
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    };
    let begun = now();
    f();
    now() - begun
}

/// Runs `f` in so many green threads at once; what each of `turns` took.
fn each(threads: usize, turns: usize, f: impl Fn(usize) + Sync) -> Duration {
    let took = cpu_of(|| {
        green::scope(|scope| {
            let f = &f;
            (0..threads).for_each(|number| _ = scope.spawn(move || f(number)));
        })
    });
    took / (threads * turns) as u32
}

/// Std's channel without anybody who waits: what of a message is std's own code.
fn std_alone(threads: usize, turns: usize) -> Duration {
    let (sender, receiver) = std::sync::mpsc::channel();
    let batches = threads * turns / BATCH;
    let took = cpu_of(|| {
        for _ in 0..batches {
            (0..BATCH).for_each(|turn| sender.send(turn).unwrap());
            (0..BATCH).for_each(|turn| assert_eq!(receiver.recv(), Ok(turn)));
        }
    });
    took / (batches * BATCH) as u32
}

/// The lock is held over a yield, or not.
fn std_mutex(held: bool, threads: usize, turns: usize) -> Duration {
    let count = std::sync::Mutex::new(0_usize);
    each(threads, turns, |_| {
        for _ in 0..turns {
            let mut count = count.lock().unwrap();
            *count += 1;
            if held {
                green::yield_now();
            }
            drop(count);
            if !held {
                green::yield_now();
            }
        }
    })
}

fn green_mutex(held: bool, threads: usize, turns: usize) -> Duration {
    let count = green::sync::Mutex::new(0_usize);
    each(threads, turns, |_| {
        for _ in 0..turns {
            let mut count = count.lock().unwrap();
            *count += 1;
            if held {
                green::yield_now();
            }
            drop(count);
            if !held {
                green::yield_now();
            }
        }
    })
}

/// All but one send to one.
fn std_many_to_one(threads: usize, turns: usize) -> Duration {
    let (sender, receiver) = std::sync::mpsc::channel();
    let sums = green::spawn(move || receiver.iter().sum::<usize>());
    let took = each(threads, turns, |_| {
        let sender = sender.clone();
        (0..turns).for_each(|turn| sender.send(turn).unwrap());
    });
    drop(sender);
    sums.join().unwrap();
    took
}

fn green_many_to_one(threads: usize, turns: usize) -> Duration {
    let (sender, receiver) = green::sync::mpsc::channel();
    let sums = green::spawn(move || receiver.iter().sum::<usize>());
    let took = each(threads, turns, |_| {
        let sender = sender.clone();
        (0..turns).for_each(|turn| sender.send(turn).unwrap());
    });
    drop(sender);
    sums.join().unwrap();
    took
}

/// Half of them ask, each one of the other half, which answer.
fn std_pairs(threads: usize, turns: usize) -> Duration {
    each(threads / 2, turns, |_| {
        let (ask, asked) = std::sync::mpsc::channel::<usize>();
        let (answer, answered) = std::sync::mpsc::channel();
        let answers = green::spawn(move || asked.iter().for_each(|n| answer.send(n).unwrap()));
        for turn in 0..turns {
            ask.send(turn).unwrap();
            assert_eq!(answered.recv().unwrap(), turn);
        }
        drop(ask);
        answers.join().unwrap();
    })
}

fn green_pairs(threads: usize, turns: usize) -> Duration {
    each(threads / 2, turns, |_| {
        let (ask, asked) = green::sync::mpsc::channel::<usize>();
        let (answer, answered) = green::sync::mpsc::channel();
        let answers = green::spawn(move || asked.iter().for_each(|n| answer.send(n).unwrap()));
        for turn in 0..turns {
            ask.send(turn).unwrap();
            assert_eq!(answered.recv().unwrap(), turn);
        }
        drop(ask);
        answers.join().unwrap();
    })
}

fn median(mut all: Vec<Duration>) -> f64 {
    all.sort_unstable();
    all[all.len() / 2].as_nanos() as f64
}

fn main() {
    let only = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let runtime = green::Runtime::builder().workers(1).thread_locals(green::ThreadLocals::PerThread).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return println!("not to be had on this machine: {error}"),
    };
    type Way = fn(usize, usize) -> Duration;
    let questions: [(&str, Way, Way); 5] = [
        (
            "a mutex that is held over a yield",
            |n, turns| std_mutex(true, n, turns),
            |n, turns| green_mutex(true, n, turns),
        ),
        (
            "a mutex that is free before the yield",
            |n, turns| std_mutex(false, n, turns),
            |n, turns| green_mutex(false, n, turns),
        ),
        ("a channel from all to one", std_many_to_one, green_many_to_one),
        ("all to one, std's own code alone", std_alone, green_many_to_one),
        ("two channels in a pair, there and back", std_pairs, green_pairs),
    ];
    println!("green threads on one worker, nanoseconds of CPU time for each turn; the median of {ROUNDS}");
    let questions =
        questions.into_iter().filter(|(name, ..)| only.as_ref().is_none_or(|only| name.contains(only.as_str())));
    for (name, std, green) in questions {
        for (threads, turns) in [(THREADS, TURNS), (FEW, TURNS_OF_FEW)] {
            let (mut theirs, mut ours, mut waits) = (Vec::new(), Vec::new(), 0);
            for _ in 0..ROUNDS {
                let before = green_std::counters().futexes;
                theirs.push(runtime.run(|| std(threads, turns)));
                waits += green_std::counters().futexes - before;
                ours.push(runtime.run(|| green(threads, turns)));
            }
            let (theirs, ours) = (median(theirs), median(ours));
            let waits = waits as f64 / (ROUNDS * threads * turns) as f64;
            let ratio = theirs / ours;
            println!(
                "{name:40} {threads:4} threads: std {theirs:7.0}  green {ours:7.0}  ratio {ratio:.2}  waits {waits:.3}"
            );
        }
    }
}
