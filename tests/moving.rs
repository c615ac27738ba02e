//! Threads with thread-locals of their own go on on whichever worker has time for them.
#![cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod help;
#[path = "help/moves.rs"]
mod moves;

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use green::os::unix::net::UnixStream;
use green::sync::{Condvar, Mutex};
use green::{Runtime, ThreadLocals, channel, yield_now};
use moves::{compute, os_thread, runtime};

fn set_errno(value: i32) {
    // SAFETY: errno of the calling thread.
    unsafe { *libc::__errno_location() = value };
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

thread_local! {
    static OWN: Cell<usize> = const { Cell::new(0) };
    static LIST: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// What must be the same before and after a suspension.
struct Identity {
    number: usize,
    std_id: std::thread::ThreadId,
    green_id: green::thread::ThreadId,
    on: i64,
    moves: usize,
}

impl Identity {
    fn new(number: usize) -> Self {
        assert_eq!(OWN.replace(number), 0);
        set_errno(number as i32);
        Self {
            number,
            std_id: std::thread::current().id(),
            green_id: green::thread::current().id(),
            on: os_thread(),
            moves: 0,
        }
    }

    fn suspend(&mut self, f: impl FnOnce()) {
        LIST.with_borrow_mut(|list| *list = vec![self.number; 3]);
        set_errno(self.number as i32);
        f();
        assert_eq!(OWN.get(), self.number);
        LIST.with_borrow(|list| assert_eq!(*list, [self.number; 3]));
        assert_eq!(std::thread::current().id(), self.std_id);
        assert_eq!(green::thread::current().id(), self.green_id);
        assert!(!std::thread::panicking());
        let on = os_thread();
        self.moves += usize::from(on != self.on);
        self.on = on;
    }

    /// As [`suspend`](Self::suspend), by a call that leaves errno alone.
    fn suspend_quietly(&mut self, f: impl FnOnce()) {
        let number = self.number as i32;
        self.suspend(|| {
            f();
            assert_eq!(io::Error::last_os_error().raw_os_error(), Some(number));
        });
    }
}

#[test]
fn whatever_a_thread_waits_for_it_is_itself_when_it_goes_on_elsewhere() {
    const THREADS: usize = 100;
    let Some(runtime) = runtime(4) else { return };
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let (moves, end) = (AtomicUsize::new(0), Instant::now() + Duration::from_secs(120));
    let (lock, changed) = (Mutex::new(0_u64), Condvar::new());
    let (sender, receiver) = channel::bounded(10);
    runtime.run(|| {
        green::scope(|scope| {
            for number in 1..=THREADS {
                let (moves, lock, changed, sender, receiver) = (&moves, &lock, &changed, &sender, &receiver);
                scope.spawn(move || {
                    let mut random = Random(seed + number as u64 * 0x9e37_79b9);
                    let mut me = Identity::new(number);
                    let (mut near, mut far) = UnixStream::pair().unwrap();
                    let short = |random: &mut Random| Duration::from_micros(random.below(300));
                    let mut rounds = 0;
                    while rounds < 300 || moves.load(Relaxed) < 100 && Instant::now() < end {
                        rounds += 1;
                        moves.fetch_add(std::mem::take(&mut me.moves), Relaxed);
                        match random.below(9) {
                            0 => me.suspend_quietly(yield_now),
                            1 => me.suspend(|| green::sleep(short(&mut random))),
                            2 => me.suspend(|| {
                                let mut guard = lock.lock().unwrap();
                                yield_now();
                                *guard += 1;
                                changed.notify_one();
                            }),
                            3 => me.suspend(|| {
                                let guard = lock.lock().unwrap();
                                drop(changed.wait_timeout(guard, short(&mut random)).unwrap());
                            }),
                            4 => me.suspend(|| _ = sender.send_timeout(number, short(&mut random))),
                            5 => me.suspend(|| _ = receiver.recv_timeout(short(&mut random))),
                            6 => me.suspend(|| {
                                let mut bytes = [0; 3];
                                green::scope(|scope| {
                                    scope.spawn(|| far.write_all(b"abc").unwrap());
                                    near.read_exact(&mut bytes).unwrap();
                                });
                                assert_eq!(&bytes, b"abc");
                            }),
                            7 => me.suspend(|| {
                                let result = green::spawn(|| {
                                    yield_now();
                                    std::panic::resume_unwind(Box::new(7));
                                });
                                assert!(result.join().is_err());
                            }),
                            _ => compute(Duration::from_micros(random.below(100))),
                        }
                    }
                });
            }
        });
    });
    println!("{} moves", moves.load(Relaxed));
    assert!(moves.load(Relaxed) >= 100);
}

/// The thread that computes has spawned another, and waits for that without blocking; the other worker always has something to run.
#[test]
fn an_unstarted_thread_of_a_worker_that_is_stuck_starts_on_one_that_is_busy() {
    let Some(runtime) = runtime(2) else { return };
    let (over, started) = (AtomicBool::new(false), AtomicBool::new(false));
    runtime.run(|| {
        green::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !over.load(Relaxed) {
                        compute(Duration::from_millis(2));
                        yield_now();
                    }
                });
            }
            // Both workers are busy.
            green::sleep(Duration::from_millis(20));
            scope.spawn(|| started.store(true, Relaxed));
            let begin = Instant::now();
            while !started.load(Relaxed) && begin.elapsed() < Duration::from_secs(3) {
                std::hint::spin_loop();
            }
            let in_time = started.load(Relaxed);
            over.store(true, Relaxed);
            assert!(in_time);
        });
    });
}

/// How late a sleeper is whose worker computes, when the worker that is on guard has taken a second thread that computes. `None`: the threads were not on one
/// worker to begin with.
fn lateness_beside_two_hogs(runtime: &Runtime) -> Option<Duration> {
    const HOGS: Duration = Duration::from_secs(5);
    runtime.run(|| {
        let (me, stop, elsewhere) = (os_thread(), &AtomicBool::new(false), &AtomicBool::new(false));
        let hogs = move || {
            let start = Instant::now();
            while !stop.load(Relaxed) && start.elapsed() < HOGS {
                std::hint::spin_loop();
            }
        };
        let sleeps = move |d| {
            if os_thread() != me {
                elsewhere.store(true, Relaxed);
                stop.store(true, Relaxed);
            }
            green::sleep(d);
        };
        green::scope(|scope| {
            let sleeper = scope.spawn(move || {
                let start = Instant::now();
                sleeps(Duration::from_millis(60));
                let late = start.elapsed();
                stop.store(true, Relaxed);
                late
            });
            // It is taken over by the one on guard, alone.
            let other = scope.spawn(move || {
                sleeps(Duration::from_millis(10));
                hogs();
            });
            for thread in [sleeper.thread(), other.thread()] {
                while thread.waits_for().is_none() && !stop.load(Relaxed) {
                    yield_now();
                }
            }
            if os_thread() != me {
                elsewhere.store(true, Relaxed);
            }
            hogs();
            let late = sleeper.join().unwrap();
            (!elsewhere.load(Relaxed)).then_some(late)
        })
    })
}

#[test]
fn a_sleeper_beside_a_hog_wakes_although_the_worker_on_guard_has_got_a_hog_too() {
    let Some(runtime) = runtime(3) else { return };
    let late = (0..200).find_map(|_| lateness_beside_two_hogs(&runtime));
    let late = late.expect("all on one worker");
    assert!(late < Duration::from_secs(3), "{late:?}");
}

#[test]
fn a_thread_that_waits_beside_one_that_computes_can_be_cancelled() {
    let Some(runtime) = runtime(2) else { return };
    let over = AtomicBool::new(false);
    runtime.run(|| {
        let waiters: Vec<_> = (0..10).map(|_| green::spawn(|| green::sleep(Duration::from_secs(3600)))).collect();
        waiters.iter().for_each(|thread| help::until_parked(thread.thread(), "sleep"));
        green::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    std::hint::spin_loop()
                }
            });
            waiters.iter().for_each(green::thread::JoinHandle::cancel);
            for waiter in waiters {
                assert!(waiter.join().unwrap_err().is::<green::Cancelled>());
            }
            over.store(true, Relaxed);
        });
    });
}

/// Wherever a thread has got to, its time-outs and cancels find it.
#[test]
fn cancels_and_timeouts_find_a_thread_wherever_it_is() {
    let Some(runtime) = runtime(3) else { return };
    runtime.run(|| {
        for round in 0..20 {
            let threads: Vec<_> = (0..20)
                .map(|number| {
                    green::spawn(move || {
                        loop {
                            compute(Duration::from_micros(number * 10));
                            let _ = green::timeout(Duration::from_micros(200), green::thread::park);
                            yield_now();
                        }
                    })
                })
                .collect();
            green::sleep(Duration::from_millis(round % 5));
            for thread in threads {
                thread.cancel();
                let ended: std::thread::Result<()> = thread.join();
                assert!(ended.unwrap_err().is::<green::Cancelled>());
            }
        }
    });
}

#[test]
fn a_thread_that_has_called_spawn_local_stays_and_so_does_what_it_has_spawned() {
    let Some(runtime) = runtime(4) else { return };
    let (others, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    runtime.run(|| {
        green::scope(|scope| {
            // Load that moves about.
            for _ in 0..20 {
                scope.spawn(|| {
                    let on = os_thread();
                    while !over.load(Relaxed) {
                        compute(Duration::from_micros(200));
                        green::sleep(Duration::from_micros(100));
                        others.fetch_add(usize::from(os_thread() != on), Relaxed);
                    }
                });
            }
            let pinned: Vec<_> = (0..20)
                .map(|_| {
                    scope.spawn(|| {
                        yield_now();
                        let count = std::rc::Rc::new(Cell::new(0));
                        let theirs = count.clone();
                        let child = green::spawn_local(move || {
                            let on = os_thread();
                            for _ in 0..200 {
                                theirs.set(theirs.get() + 1);
                                yield_now();
                                assert_eq!(os_thread(), on);
                            }
                            on
                        });
                        let on = os_thread();
                        for _ in 0..50 {
                            count.set(count.get() + 1);
                            green::sleep(Duration::from_micros(100));
                            assert_eq!(os_thread(), on);
                        }
                        assert_eq!(child.join().unwrap(), on);
                        assert_eq!(count.get(), 250);
                    })
                })
                .collect();
            pinned.into_iter().for_each(|thread| thread.join().unwrap());
            help::until(|| others.load(Relaxed) > 0);
            over.store(true, Relaxed);
        });
    });
}

#[test]
fn without_migration_a_thread_stays_where_it_started() {
    let builder = Runtime::builder().workers(2).thread_locals(ThreadLocals::PerThread).migration(false);
    let Ok(runtime) = builder.build() else { return };
    runtime.run(|| {
        green::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let on = os_thread();
                    for _ in 0..50 {
                        compute(Duration::from_micros(100));
                        green::sleep(Duration::from_micros(100));
                        assert_eq!(os_thread(), on);
                    }
                });
            }
        });
    });
}

#[test]
#[cfg(not(green_emulated))]
fn where_membarrier_is_forbidden_threads_stay_and_it_is_said_or_an_error() {
    help::in_a_child(&[], || {
        let builder = || Runtime::builder().workers(2).thread_locals(ThreadLocals::PerThread);
        let Ok(moves) = builder().migration(true).build() else {
            assert!(ThreadLocals::supported().is_err(), "it is allowed as yet");
            return;
        };
        assert!(moves.migrates());
        drop(moves);
        help::forbid_membarrier();
        let error = builder().migration(true).build().unwrap_err();
        // One that is refused takes nothing from those that come after it: there is room for 4096 workers.
        (0..4096 / 2).for_each(|_| drop(builder().migration(true).build().unwrap_err()));
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        assert!(error.to_string().contains("cannot move") && error.to_string().contains("membarrier"), "{error}");
        let stays = builder().build().unwrap();
        assert!(!stays.migrates() && stays.run(|| true));
        // What is without meaning is no error.
        assert!(!Runtime::builder().workers(2).migration(true).build().unwrap().migrates());
        assert!(!builder().workers(1).migration(true).build().unwrap().migrates());
    })
    .assert_success();
}

/// A runtime that is dropped ends its threads, wherever they are.
#[test]
fn a_runtime_whose_threads_move_ends_with_all_of_them() {
    struct Counts<'a>(&'a AtomicUsize);
    impl Drop for Counts<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    static ENDED: AtomicUsize = AtomicUsize::new(0);
    for round in 0..20 {
        let Some(runtime) = runtime(3) else { return };
        ENDED.store(0, Relaxed);
        let started = std::sync::Arc::new(AtomicUsize::new(0));
        for number in 0..50 {
            let started = started.clone();
            runtime.spawn(move || {
                let _counts = Counts(&ENDED);
                started.fetch_add(1, Relaxed);
                loop {
                    compute(Duration::from_micros(number));
                    green::sleep(Duration::from_micros(50));
                    yield_now();
                }
            });
        }
        help::spin_until("all have started", || started.load(Relaxed) == 50);
        std::thread::sleep(Duration::from_micros(round * 200));
        drop(runtime);
        assert_eq!(ENDED.load(Relaxed), 50);
    }
}

/// A runtime stops while one of its two workers computes, and so many threads behind that go on: first with `wait`, then with `f`.
fn stop_with_some_behind_one_that_computes(count: usize, wait: fn(), f: fn()) {
    static BEGUN: AtomicUsize = AtomicUsize::new(0);
    static RUNS: AtomicBool = AtomicBool::new(false);
    static STOPS: AtomicBool = AtomicBool::new(false);
    static HAS_RUN: AtomicBool = AtomicBool::new(false);
    let ended = help::in_a_child(&[], || {
        let Some(runtime) = runtime(2) else { return };
        runtime.spawn(move || {
            green::spawn(|| {
                RUNS.store(true, Relaxed);
                help::spin_until("this worker, too, has no time", || STOPS.load(Relaxed));
                compute(Duration::from_millis(50));
            });
            help::spin_until("it runs", || RUNS.load(Relaxed));
            for _ in 0..count {
                green::spawn(move || {
                    BEGUN.fetch_add(1, Relaxed);
                    wait();
                    HAS_RUN.store(true, Relaxed);
                    f();
                });
            }
            while BEGUN.load(Relaxed) < count {
                yield_now();
            }
            STOPS.store(true, Relaxed);
            help::spin_until("what is behind this one has run", || HAS_RUN.load(Relaxed));
        });
        help::spin_until("it computes", || STOPS.load(Relaxed));
        drop(runtime);
    });
    ended.assert_success();
}

/// The other worker ended, and nobody was left to run what stood ready behind a thread that computes until that has run.
#[test]
fn a_runtime_that_stopped_left_a_ready_thread_behind_one_that_waits_for_it() {
    stop_with_some_behind_one_that_computes(1, yield_now, || ());
}

/// The other worker had cancelled its threads, took those over, and nobody cancelled them: it cancels all again when it has nothing to run, which did not come.
#[test]
fn threads_that_a_worker_took_over_when_it_had_stopped_went_on_for_ever() {
    // They are ready when the other worker has stopped: it is at it 50 ms before.
    stop_with_some_behind_one_that_computes(
        2,
        || green::sleep(Duration::from_millis(150)),
        || {
            loop {
                // A point at which a cancel is seen, and no wait: the worker always has something to run.
                green::thread::current().unpark();
                green::thread::park();
                yield_now();
            }
        },
    );
}
