//! Spare workers: when there is one, and what lives on it.
#![cfg(all(not(miri), target_os = "linux"))]

mod help;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use green::{Runtime, RuntimeBuilder};

fn watched(workers: usize) -> RuntimeBuilder {
    Runtime::builder().workers(workers).stall_limit(Duration::from_millis(20))
}

fn computes(over: &AtomicBool) {
    while !over.load(Ordering::SeqCst) {
        std::hint::spin_loop();
    }
}

#[test]
fn a_runtime_with_one_worker_has_no_spare_one_unless_it_asks_for_it() {
    let runtime = watched(1).build().unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let until = Arc::clone(&over);
    let long = runtime.spawn(move || computes(&until));
    let waits = runtime.spawn(|| ());
    // Longer than after which there would be one.
    std::thread::sleep(Duration::from_millis(600));
    let seen = (waits.is_finished(), runtime.metrics().spare_workers);
    // First: a runtime with a thread that computes does not end.
    over.store(true, Ordering::SeqCst);
    long.join().unwrap();
    waits.join().unwrap();
    assert_eq!(seen, (false, 0));
}

/// Short, and there is always a next one. Notes the longest time from one to the other.
fn goes_on(over: Arc<AtomicBool>, last: Arc<Mutex<(Instant, Duration)>>) {
    {
        let mut last = last.lock().unwrap();
        *last = (Instant::now(), last.1.max(last.0.elapsed()));
    }
    std::thread::sleep(Duration::from_millis(1));
    if !over.load(Ordering::SeqCst) {
        drop(green::spawn(|| goes_on(over, last)));
    }
}

/// Its turns are short, though it does not come to the end of what has not started. The same of a spare one: it gets no other beside it.
#[test]
fn a_runtime_of_which_one_worker_goes_on_has_no_spare_one() {
    const LIMIT: Duration = Duration::from_millis(100);
    let ended = help::in_a_child(&[], || {
        for (workers, spares, wanted) in [(2, 1, 0), (1, 2, 1)] {
            let is_right = || {
                let runtime = watched(workers).stall_limit(LIMIT).spare_workers(spares).build().unwrap();
                let over = Arc::new(AtomicBool::new(false));
                let until = Arc::clone(&over);
                let long = runtime.spawn(move || computes(&until));
                let last = Arc::new(Mutex::new((Instant::now(), Duration::ZERO)));
                for _ in 0..50 {
                    let (over, last) = (Arc::clone(&over), Arc::clone(&last));
                    drop(runtime.spawn(|| goes_on(over, last)));
                }
                let spares = || runtime.metrics().spare_workers;
                if wanted == 1 {
                    help::spin_until("a spare worker", || spares() >= 1);
                }
                // Longer than after which there would be one more.
                std::thread::sleep(14 * LIMIT);
                let (is_finished, spare) = (long.is_finished(), spares());
                let longest = {
                    let last = last.lock().unwrap();
                    last.1.max(last.0.elapsed())
                };
                over.store(true, Ordering::SeqCst);
                long.join().unwrap();
                println!("{spare} spare workers, {longest:?} from one thread to the next");
                assert!(!is_finished && spare >= wanted);
                // A turn that is so long has two such times, at its beginning and at its end.
                assert!(wanted > 0 || spare == wanted || longest >= 5 * LIMIT, "{spare}, after {longest:?}");
                spare == wanted
            };
            // A worker that gets no processor for so long stands still, too.
            help::spin_until("a round without more", is_right);
        }
    });
    ended.assert_success();
}

/// As std's own test of `OnceLock` has it: the readers spin until a writer has come.
#[test]
fn readers_that_spin_before_the_writers_have_started_get_what_these_write() {
    use std::sync::{OnceLock, mpsc};

    static ONCE: OnceLock<usize> = OnceLock::new();
    let builder = Runtime::builder().workers(2);
    let runtime = help::bounded(|| {
        let runtime = builder.build().unwrap();
        runtime.run(|| {
            let (sender, receiver) = mpsc::channel();
            let spin = |sender: mpsc::Sender<usize>| {
                green::spawn(move || {
                    let found = loop {
                        match ONCE.get() {
                            Some(found) => break *found,
                            None => std::hint::spin_loop(),
                        }
                    };
                    sender.send(found).unwrap();
                });
            };
            (0..10).for_each(|_| spin(sender.clone()));
            (0..10).for_each(|n| drop(green::spawn(move || _ = ONCE.set(n))));
            drop(sender);
            let found: Vec<_> = receiver.iter().collect();
            assert!(found.len() == 10 && found.iter().all(|n| *n == *ONCE.get().unwrap()));
        });
        runtime
    });
    assert!(runtime.metrics().spare_workers >= 1);
}

#[test]
fn a_thread_that_has_started_on_a_spare_worker_goes_on_there() {
    let ran = help::bounded(|| {
        let runtime = watched(1).spare_workers(1).build().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let spins = runtime.spawn(move || computes(&until));
        let (sender, receiver) = green::channel::bounded::<u32>(0);
        let echo = runtime.spawn(move || {
            let children: Vec<_> = (0..10).map(|n| green::spawn(move || n)).collect();
            children.into_iter().for_each(|child| _ = child.join().unwrap());
            receiver.iter().sum::<u32>()
        });
        for n in 0..10 {
            sender.send(n).unwrap();
            green::sleep(Duration::from_millis(20));
        }
        let shown = runtime.metrics().threads.live;
        drop(sender);
        assert_eq!(echo.join().unwrap(), 45);
        assert!(shown >= 2);
        // It has ended, or ends with the runtime.
        let again = runtime.spawn(|| 7);
        assert_eq!(again.join().unwrap(), 7);
        over.store(true, Ordering::SeqCst);
        spins.join().unwrap();
        runtime.metrics().spare_workers
    });
    assert!(ran >= 1);
}

#[test]
fn a_runtime_that_ends_unwinds_what_lives_on_a_spare_worker() {
    help::bounded(|| {
        for _ in 0..help::scaled(8) {
            let runtime = watched(1).spare_workers(2).build().unwrap();
            let over = Arc::new(AtomicBool::new(false));
            let until = Arc::clone(&over);
            let spins = runtime.spawn(move || computes(&until));
            let waits = runtime.spawn(green::thread::park);
            help::until_parked(waits.thread(), "park");
            over.store(true, Ordering::SeqCst);
            drop(runtime);
            assert!(waits.join().unwrap_err().is::<green::Cancelled>());
            let _ = spins.join();
        }
    });
}

const HOG: Duration = Duration::from_secs(20);

/// How long a thread has slept beside one that computes, and whether both were on the spare worker.
fn beside_a_hog() -> (Duration, bool) {
    let builder = watched(2).thread_name("crew").stall_limit(Duration::from_millis(2)).spare_workers(1);
    let runtime = builder.thread_locals(green::ThreadLocals::PerThread).build().unwrap();
    let over = Arc::new(AtomicBool::new(false));
    // These stay, and keep both workers until there is a spare one.
    let spins: Vec<_> = (0..2)
        .map(|_| {
            let until = Arc::clone(&over);
            runtime.run(move || {
                let thread = green::thread::Builder::new().thread_locals(green::ThreadLocals::PerWorker);
                thread.spawn(move || computes(&until)).unwrap()
            })
        })
        .collect();
    let has_slept = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&has_slept);
    let hog = runtime.spawn(move || {
        green::thread::park();
        let (begin, on) = (Instant::now(), help::os_thread());
        while begin.elapsed() < HOG && !stop.load(Ordering::SeqCst) {
            std::hint::spin_loop();
        }
        on
    });
    let hogs = hog.thread().clone();
    let sleeper = runtime.spawn(move || {
        help::until_parked(&hogs, "park");
        let spare = number_of("crew-2");
        over.store(true, Ordering::SeqCst);
        // The others go to sleep meanwhile, soundly.
        green::sleep(Duration::from_millis(50));
        let on = help::os_thread();
        hogs.unpark();
        let begin = Instant::now();
        green::sleep(Duration::from_millis(1));
        has_slept.store(true, Ordering::SeqCst);
        (begin.elapsed(), on, spare)
    });
    let (slept, on, spare) = sleeper.join().unwrap();
    let hog_on = hog.join().unwrap();
    spins.into_iter().for_each(|spin| spin.join().unwrap());
    (slept, spare.is_some_and(|spare| hog_on == spare && on == spare))
}

/// Where threads move: while the thread that computes is on a spare worker, and all others sleep.
#[test]
fn a_sleeper_beside_a_hog_on_a_spare_worker_wakes_in_time() {
    if green::ThreadLocals::supported().is_err() {
        return;
    }
    // A spare worker that gets no processor as the hog is ready loses that to another one.
    help::spin_until("a hog and a sleeper on the spare worker", || {
        let (slept, were_there) = help::bounded(beside_a_hog);
        assert!(slept < HOG / 2, "{slept:?}");
        were_there
    });
}

/// The number of the OS thread of that name, if one runs.
fn number_of(name: &str) -> Option<u64> {
    let mut tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let is_named = |task: &PathBuf| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name);
    tasks.find(is_named)?.file_name()?.to_str()?.parse().ok()
}

fn is_there(name: &str) -> bool {
    number_of(name).is_some()
}

#[test]
fn there_are_no_more_spare_workers_than_asked_for_and_one_that_has_nothing_to_do_ends() {
    let ended = help::in_a_child(&[], || {
        let runtime = watched(1).thread_name("crew").spare_workers(2).build().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let spin = |_| {
            let until = Arc::clone(&over);
            let begun = Arc::new(AtomicBool::new(false));
            let begins = Arc::clone(&begun);
            let thread = runtime.spawn(move || {
                begins.store(true, Ordering::SeqCst);
                computes(&until);
            });
            (thread, begun)
        };
        let (spinning, begun): (Vec<_>, Vec<_>) = (0..5).map(spin).unzip();
        let count = || begun.iter().filter(|begun| begun.load(Ordering::SeqCst)).count();
        // The worker has one, and each spare one.
        help::spin_until("the spare workers", || count() == 3);
        // Longer than after which there would be another.
        std::thread::sleep(Duration::from_millis(600));
        assert_eq!((count(), runtime.metrics().spare_workers), (3, 2));
        assert!(is_there("crew-1") && is_there("crew-2") && !is_there("crew-3"));
        over.store(true, Ordering::SeqCst);
        spinning.into_iter().for_each(|thread| thread.join().unwrap());
        help::spin_until("their ends", || !is_there("crew-1") && !is_there("crew-2"));
        assert!(is_there("crew-0"));
        // There is room for others then.
        over.store(false, Ordering::SeqCst);
        let (again, _): (Vec<_>, Vec<_>) = (0..2).map(spin).unzip();
        help::spin_until("another one", || runtime.metrics().spare_workers > 2);
        over.store(true, Ordering::SeqCst);
        again.into_iter().for_each(|thread| thread.join().unwrap());
    });
    ended.assert_success();
}
