//! What pthread waits with besides locks: functions that are called once, barriers, the end of a thread until a moment. They park green threads, and wake green and OS threads alike.
#![cfg(green_std)]

mod help;

use std::cell::{Cell, UnsafeCell};
use std::ffi::{c_int, c_void};
use std::mem::zeroed;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use green_std::counters;
use help::{alone_on_one_worker, many, on_one_worker, on_two_workers, until};
use libc::{clockid_t, pthread_barrier_t, pthread_t, timespec};

green_std::interpose!();

type Routine = unsafe extern "C-unwind" fn();

unsafe extern "C-unwind" {
    fn pthread_once(control: *mut c_int, routine: Routine) -> c_int;
    fn call_once(flag: *mut c_int, routine: Routine);
    fn pthread_barrier_init(barrier: *mut pthread_barrier_t, attributes: *const c_void, count: u32) -> c_int;
    fn pthread_barrier_wait(barrier: *mut pthread_barrier_t) -> c_int;
    fn pthread_barrier_destroy(barrier: *mut pthread_barrier_t) -> c_int;
    fn pthread_timedjoin_np(thread: pthread_t, value: *mut *mut c_void, moment: *const timespec) -> c_int;
    fn pthread_clockjoin_np(
        thread: pthread_t,
        value: *mut *mut c_void,
        clock: clockid_t,
        moment: *const timespec,
    ) -> c_int;
    fn thrd_create(thread: *mut pthread_t, start: extern "C" fn(*mut c_void) -> c_int, of: *mut c_void) -> c_int;
    fn thrd_join(thread: pthread_t, value: *mut c_int) -> c_int;
}

/// The function of one test, which is called through `once`.
struct Once {
    control: AtomicI32,
    calls: AtomicUsize,
}

impl Once {
    const fn new() -> Self {
        Self { control: AtomicI32::new(0), calls: AtomicUsize::new(0) }
    }

    fn control(&self) -> *mut c_int {
        self.control.as_ptr()
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

/// Parks in the function, and says how often it was called.
fn parks_in(once: &Once) {
    green::sleep(Duration::from_millis(5));
    once.calls.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn who_waited_for_a_neighbour_in_pthread_once_blocked_the_worker_for_ever() {
    static ONCE: Once = Once::new();
    static ONCE_ON_TWO: Once = Once::new();
    static FLAG: Once = Once::new();
    fn all_come_back(once: &'static Once, call: impl Fn() + Sync) {
        many(50, |_| {
            call();
            assert_eq!(once.calls(), 1, "it is done when the call comes back");
        });
    }
    // SAFETY: control words that stay; functions that may be called.
    unsafe {
        unsafe extern "C-unwind" fn one() {
            parks_in(&ONCE);
        }
        unsafe extern "C-unwind" fn on_two() {
            parks_in(&ONCE_ON_TWO);
        }
        unsafe extern "C-unwind" fn of_c11() {
            parks_in(&FLAG);
        }
        on_one_worker(|| all_come_back(&ONCE, || assert_eq!(pthread_once(ONCE.control(), one), 0)));
        on_two_workers(|| {
            all_come_back(&ONCE_ON_TWO, || assert_eq!(pthread_once(ONCE_ON_TWO.control(), on_two), 0));
        });
        on_one_worker(|| all_come_back(&FLAG, || call_once(FLAG.control(), of_c11)));
    }
}

#[test]
fn green_and_os_threads_wait_for_each_other_in_pthread_once() {
    /// Whose turn it is, so that both kinds are in the function, and wait.
    static GREEN: Once = Once::new();
    static OS: Once = Once::new();
    static IS_SEEN: AtomicUsize = AtomicUsize::new(0);
    unsafe extern "C-unwind" fn by_green() {
        until(|| IS_SEEN.load(Ordering::Acquire) == 1);
        parks_in(&GREEN);
    }
    unsafe extern "C-unwind" fn by_os() {
        while IS_SEEN.load(Ordering::Acquire) != 2 {
            thread::yield_now();
        }
        OS.calls.fetch_add(1, Ordering::Relaxed);
    }
    on_one_worker(|| {
        let calls = |once: &'static Once, routine: Routine| {
            // SAFETY: a control word that stays; a function that may be called.
            assert_eq!(unsafe { pthread_once(once.control(), routine) }, 0);
            assert_eq!(once.calls(), 1);
        };
        thread::scope(|os| {
            green::scope(|scope| {
                scope.spawn(move || calls(&GREEN, by_green));
                until(|| GREEN.control.load(Ordering::Relaxed) != 0);
                os.spawn(move || {
                    IS_SEEN.store(1, Ordering::Release);
                    calls(&GREEN, by_green);
                });
            });
            os.spawn(move || calls(&OS, by_os));
            until(|| OS.control.load(Ordering::Relaxed) != 0);
            green::scope(|scope| {
                let waiter = scope.spawn(move || calls(&OS, by_os));
                until(|| waiter.thread().waits_for() == Some("futex"));
                IS_SEEN.store(2, Ordering::Release);
            });
        });
    });
}

/// As C++ does by an exception.
#[test]
fn a_function_that_unwinds_out_of_pthread_once_is_called_anew_by_who_waits() {
    static ONCE: Once = Once::new();
    unsafe extern "C-unwind" fn fails_at_first() {
        parks_in(&ONCE);
        if ONCE.calls() < 3 {
            std::panic::resume_unwind(Box::new("not yet"));
        }
    }
    on_one_worker(|| {
        let (failed, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        many(10, |_| {
            // SAFETY: a control word that stays; a function that may be called.
            let call = AssertUnwindSafe(|| unsafe { pthread_once(ONCE.control(), fails_at_first) });
            match catch_unwind(call) {
                Ok(result) => {
                    assert_eq!((result, ONCE.calls()), (0, 3));
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Err(_) => _ = failed.fetch_add(1, Ordering::Relaxed),
            }
        });
        assert_eq!((failed.into_inner(), done.into_inner(), ONCE.calls()), (2, 8, 3));
    });
}

/// A child does not have the thread that was in the function.
#[test]
fn a_function_that_a_fork_cut_off_is_called_anew_in_the_child() {
    static ONCE: Once = Once::new();
    unsafe extern "C-unwind" fn counts() {
        ONCE.calls.fetch_add(1, Ordering::Relaxed);
    }
    on_one_worker(|| {
        thread_local! {
            static STATUS: Cell<c_int> = const { Cell::new(0) };
        }
        unsafe extern "C-unwind" fn forks() {
            // SAFETY: the child calls what may be called there, and leaves.
            unsafe {
                let child = libc::fork();
                if child == 0 {
                    let result = pthread_once(ONCE.control(), counts);
                    libc::_exit(if result == 0 && ONCE.calls() == 1 { 7 } else { 8 });
                }
                let mut status = 0;
                assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
                STATUS.set(status);
            }
        }
        // SAFETY: a control word that stays; a function that may be called.
        assert_eq!(unsafe { pthread_once(ONCE.control(), forks) }, 0);
        assert!(libc::WIFEXITED(STATUS.get()) && libc::WEXITSTATUS(STATUS.get()) == 7, "{}", STATUS.get());
        assert_eq!(ONCE.calls(), 0);
    });
}

/// Something of C's that threads share.
struct Shared<T>(UnsafeCell<T>);

// SAFETY: only functions get it that any thread may call.
unsafe impl<T> Sync for Shared<T> {}

#[test]
fn neighbours_that_meet_at_a_barrier_of_pthread_blocked_their_worker_for_ever() {
    const THREADS: usize = 6;
    const ROUNDS: usize = 20;
    for on in [alone_on_one_worker, on_two_workers] {
        on(|| {
            // SAFETY: room for a barrier, which is made before anybody comes, and is gone when all have left.
            unsafe {
                let barrier = Shared(UnsafeCell::new(zeroed::<pthread_barrier_t>()));
                assert_eq!(pthread_barrier_init(barrier.0.get(), null(), THREADS as u32), 0);
                let (came, last) = (AtomicUsize::new(0), AtomicUsize::new(0));
                let meets = || {
                    for round in 1..=ROUNDS {
                        came.fetch_add(1, Ordering::Relaxed);
                        let result = pthread_barrier_wait((&raw const barrier).cast_mut().cast());
                        assert!(came.load(Ordering::Relaxed) >= round * THREADS);
                        match result {
                            libc::PTHREAD_BARRIER_SERIAL_THREAD => _ = last.fetch_add(1, Ordering::Relaxed),
                            result => assert_eq!(result, 0),
                        }
                    }
                };
                let before = counters().handed_over;
                thread::scope(|os| {
                    os.spawn(meets);
                    many(THREADS - 1, |_| meets());
                });
                // The second time, other tests make such calls meanwhile.
                assert!(counters().handed_over - before >= ((THREADS - 1) * ROUNDS) as u64);
                assert_eq!((last.into_inner(), came.into_inner()), (ROUNDS, ROUNDS * THREADS));
                assert_eq!(pthread_barrier_destroy(barrier.0.get()), 0);
            }
        });
    }
}

/// In a process of its own, as the limit is for the whole process.
#[test]
fn a_barrier_for_which_the_system_had_refused_an_os_thread_once_never_opened() {
    const ROLE: &str = "GREEN_TEST_REFUSED";
    if std::env::var_os("GREEN_EMULATED").is_some() {
        return; // The limit would be the emulator's.
    }
    if std::env::var_os(ROLE).is_none() {
        let name = thread::current().name().expect("the harness names a test's thread").to_owned();
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let ended = child.args([&name, "--exact", "--nocapture"]).env(ROLE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
        assert!(ended.status.success() && said.contains("running 1 test"), "{said}");
        return;
    }
    let os_threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    // Room for what is allocated, and for no stack; or for all.
    let limit = |limits: bool| {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
        // SAFETY: no more than one number is asked for; one limit is read.
        unsafe {
            let page = libc::sysconf(libc::_SC_PAGESIZE) as u64;
            let most = if limits { pages * page + (1 << 20) } else { libc::RLIM_INFINITY };
            let limit = libc::rlimit { rlim_cur: most, rlim_max: libc::RLIM_INFINITY };
            assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &raw const limit), 0);
        }
    };
    on_one_worker(|| {
        // SAFETY: room for a barrier, which is made before anybody comes.
        unsafe {
            let barrier = Shared(UnsafeCell::new(zeroed::<pthread_barrier_t>()));
            assert_eq!(pthread_barrier_init(barrier.0.get(), null(), 3), 0);
            let (barrier, may_come) = (&barrier, &AtomicUsize::new(0));
            green::scope(|scope| {
                let meet = |number| {
                    scope.spawn(move || {
                        until(|| may_come.load(Ordering::Relaxed) >= number);
                        pthread_barrier_wait((&raw const *barrier).cast_mut().cast());
                    })
                };
                let threads = [1, 2, 3].map(meet);
                let comes = |number: usize| {
                    may_come.store(number, Ordering::Relaxed);
                    until(|| threads[number - 1].thread().waits_for() == Some("blocking"));
                };
                comes(1);
                let before = os_threads();
                limit(true);
                comes(2);
                assert_eq!(os_threads(), before, "none was refused");
                limit(false);
                may_come.store(3, Ordering::Relaxed);
            });
        }
    });
}

/// A moment of a clock, so long from now.
fn from_now(clock: clockid_t, d: Duration) -> timespec {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a time of this function's.
    assert_eq!(unsafe { libc::clock_gettime(clock, &raw mut now) }, 0);
    let moment = Duration::new(now.tv_sec as u64, now.tv_nsec as u32) + d;
    timespec { tv_sec: moment.as_secs() as libc::time_t, tv_nsec: moment.subsec_nanos().into() }
}

/// An OS thread that ends when a neighbour of the one that joins has run.
#[test]
fn the_joins_with_a_time_and_those_of_c11_blocked_their_worker() {
    static MAY_END: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn waits(number: *mut c_void) -> *mut c_void {
        while MAY_END.load(Ordering::Acquire) <= number.addr() {
            thread::yield_now();
        }
        number
    }
    extern "C" fn waits_as_c11(number: *mut c_void) -> c_int {
        waits(number).addr() as c_int
    }
    on_one_worker(|| {
        // SAFETY: threads of this function's, each of which is joined once; times and values that live.
        unsafe {
            let started = |number: usize| {
                let mut thread = zeroed();
                let of = std::ptr::without_provenance_mut(number);
                assert_eq!(libc::pthread_create(&raw mut thread, null(), waits, of), 0);
                thread
            };
            // The thread ends once a neighbour has run.
            let joined = |number: usize, join: &(dyn Fn() -> c_int + Sync)| {
                green::scope(|scope| {
                    let joins = scope.spawn(move || assert_eq!(join(), 0));
                    until(|| joins.thread().waits_for().is_some());
                    MAY_END.store(number + 1, Ordering::Release);
                });
            };
            let far = from_now(libc::CLOCK_REALTIME, Duration::from_secs(1000));
            let far_monotonic = from_now(libc::CLOCK_MONOTONIC, Duration::from_secs(1000));
            let value = || {
                let value: *mut c_void = null_mut();
                Cell::new(value)
            };

            let thread = started(1);
            let begun = Instant::now();
            let soon = from_now(libc::CLOCK_REALTIME, Duration::from_millis(20));
            assert_eq!(pthread_timedjoin_np(thread, null_mut(), &raw const soon), libc::ETIMEDOUT);
            assert!(begun.elapsed() >= Duration::from_millis(20));
            joined(1, &|| {
                let value = value();
                let result = pthread_timedjoin_np(thread, value.as_ptr(), &raw const far);
                assert_eq!(value.get().addr(), 1);
                result
            });
            let thread = started(2);
            joined(2, &|| {
                let value = value();
                let result =
                    pthread_clockjoin_np(thread, value.as_ptr(), libc::CLOCK_MONOTONIC, &raw const far_monotonic);
                assert_eq!(value.get().addr(), 2);
                result
            });
            let mut thread = zeroed();
            assert_eq!(thrd_create(&raw mut thread, waits_as_c11, std::ptr::without_provenance_mut(3)), 0);
            joined(3, &|| {
                let value = Cell::new(0);
                let result = thrd_join(thread, value.as_ptr());
                assert_eq!(value.get(), 3);
                result
            });
        }
    });
}

/// Before 2.36 glibc finds the oldest version of a function: one for another kind of condition variable, without a clock.
#[test]
fn an_os_thread_waited_by_a_version_of_a_function_that_knows_no_clock() {
    const WAIT: Duration = Duration::from_millis(20);
    // SAFETY: a condition variable and a mutex of this function's, which is locked; attributes and a moment.
    unsafe {
        let (mut attributes, mut condition) = (zeroed(), zeroed::<libc::pthread_cond_t>());
        let mut mutex = libc::PTHREAD_MUTEX_INITIALIZER;
        assert_eq!(libc::pthread_condattr_init(&raw mut attributes), 0);
        assert_eq!(libc::pthread_condattr_setclock(&raw mut attributes, libc::CLOCK_MONOTONIC), 0);
        assert_eq!(libc::pthread_cond_init(&raw mut condition, &raw const attributes), 0);
        let begun = Instant::now();
        let moment = from_now(libc::CLOCK_MONOTONIC, WAIT);
        assert_eq!(libc::pthread_mutex_lock(&raw mut mutex), 0);
        while libc::pthread_cond_timedwait(&raw mut condition, &raw mut mutex, &raw const moment) == 0 {}
        assert!(begun.elapsed() >= WAIT, "it goes by another clock");
        assert_eq!(libc::pthread_mutex_unlock(&raw mut mutex), 0);
    }
}
