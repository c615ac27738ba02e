//! Locks and condition variables of pthread, as libraries in C and C++ call them: they park green threads, and wake green and OS threads alike.
#![cfg(green_std)]

mod help;

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::mem::zeroed;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use help::{many, on_one_worker, on_two_workers, until};
use libc::{clockid_t, pthread_cond_t, pthread_mutex_t, pthread_rwlock_t, timespec};

green_std::interpose!();

unsafe extern "C" {
    fn pthread_mutex_clocklock(mutex: *mut pthread_mutex_t, clock: clockid_t, moment: *const timespec) -> c_int;
    fn pthread_rwlock_clockwrlock(lock: *mut pthread_rwlock_t, clock: clockid_t, moment: *const timespec) -> c_int;
}

/// Something of C's that threads share.
struct Shared<T>(UnsafeCell<T>);

// SAFETY: only functions get it that any thread may call.
unsafe impl<T> Sync for Shared<T> {}
// SAFETY: the same.
unsafe impl<T> Send for Shared<T> {}

impl<T> Shared<T> {
    /// A static initialiser of C's: zeros.
    fn new() -> Self {
        // SAFETY: zeros are a lock, or a condition variable.
        Self(UnsafeCell::new(unsafe { zeroed() }))
    }

    fn at(&self) -> *mut T {
        self.0.get()
    }
}

/// A moment of a clock, so long from now.
fn from_now(clock: clockid_t, d: Duration) -> timespec {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a time of this function's.
    assert_eq!(unsafe { libc::clock_gettime(clock, &raw mut now) }, 0);
    let moment = Duration::new(now.tv_sec as u64, now.tv_nsec as u32) + d;
    timespec { tv_sec: moment.as_secs() as libc::time_t, tv_nsec: moment.subsec_nanos().into() }
}

/// Runs `f` under the lock.
fn locked<R>(mutex: &Shared<pthread_mutex_t>, f: impl FnOnce() -> R) -> R {
    // SAFETY: a mutex that lives, and is not moved.
    unsafe { assert_eq!(libc::pthread_mutex_lock(mutex.at()), 0) };
    let result = f();
    // SAFETY: the same; it is locked.
    unsafe { assert_eq!(libc::pthread_mutex_unlock(mutex.at()), 0) };
    result
}

fn adds_under_a_lock(yields: bool, turns: usize, mutex: &Shared<pthread_mutex_t>, count: &AtomicUsize) {
    for turn in 0..turns {
        locked(mutex, || {
            let before = count.load(Ordering::Relaxed);
            if yields && turn % 3 == 0 {
                green::yield_now();
            }
            count.store(before + 1, Ordering::Relaxed);
        });
    }
}

#[test]
fn a_mutex_of_pthread_that_is_held_across_a_park_blocked_its_worker() {
    for on in [on_one_worker, on_two_workers] {
        on(|| {
            let (mutex, count) = (Shared::new(), AtomicUsize::new(0));
            thread::scope(|os| {
                (0..2).for_each(|_| _ = os.spawn(|| adds_under_a_lock(false, 200, &mutex, &count)));
                many(50, |_| adds_under_a_lock(true, 20, &mutex, &count));
            });
            assert_eq!(count.into_inner(), 1400);
        });
    }
}

/// Each waits for its turn, green and OS threads in turn.
fn takes_turns(clock: Option<clockid_t>) {
    const TURNS: usize = 200;
    let (mutex, condition, at) = (Shared::new(), Shared::<pthread_cond_t>::new(), AtomicUsize::new(0));
    let takes = |first: usize| {
        for turn in (first..TURNS).step_by(4) {
            locked(&mutex, || {
                while at.load(Ordering::Relaxed) != turn {
                    let moment = from_now(libc::CLOCK_REALTIME, Duration::from_secs(1000));
                    // SAFETY: both live, and the mutex is locked.
                    let result = unsafe {
                        match clock {
                            None => libc::pthread_cond_wait(condition.at(), mutex.at()),
                            Some(_) => libc::pthread_cond_timedwait(condition.at(), mutex.at(), &raw const moment),
                        }
                    };
                    assert_eq!(result, 0);
                }
                at.store(turn + 1, Ordering::Relaxed);
                // SAFETY: it lives.
                assert_eq!(unsafe { libc::pthread_cond_broadcast(condition.at()) }, 0);
            });
        }
    };
    thread::scope(|os| {
        _ = [0, 2].map(|first| os.spawn(move || takes(first)));
        green::scope(|green| {
            _ = [1, 3].map(|first| green.spawn(move || takes(first)));
        });
    });
    assert_eq!(at.into_inner(), TURNS);
}

#[test]
fn green_and_os_threads_take_turns_by_a_condition_variable() {
    on_one_worker(|| takes_turns(None));
    on_two_workers(|| takes_turns(Some(libc::CLOCK_REALTIME)));
}

#[test]
fn a_signal_wakes_one_and_none_is_lost() {
    const ITEMS: usize = 2000;
    on_two_workers(|| {
        let (mutex, condition, items) = (Shared::new(), Shared::<pthread_cond_t>::new(), AtomicUsize::new(0));
        let taken = AtomicUsize::new(0);
        let takes = || {
            for _ in 0..ITEMS / 10 {
                locked(&mutex, || {
                    while items.load(Ordering::Relaxed) == 0 {
                        // SAFETY: both live, and the mutex is locked.
                        assert_eq!(unsafe { libc::pthread_cond_wait(condition.at(), mutex.at()) }, 0);
                    }
                    items.fetch_sub(1, Ordering::Relaxed);
                });
                taken.fetch_add(1, Ordering::Relaxed);
            }
        };
        green::scope(|scope| {
            (0..10).for_each(|_| _ = scope.spawn(takes));
            for item in 0..ITEMS {
                locked(&mutex, || items.fetch_add(1, Ordering::Relaxed));
                // SAFETY: it lives.
                assert_eq!(unsafe { libc::pthread_cond_signal(condition.at()) }, 0);
                if item % 16 == 0 {
                    green::yield_now();
                }
            }
        });
        assert_eq!((taken.into_inner(), items.into_inner()), (ITEMS, 0));
    });
}

/// The OS thread has the mutex as soon as the green one leaves it, and signals while that is on its way into the wait.
#[test]
fn a_signal_that_comes_just_before_the_wait_is_not_lost() {
    const TURNS: usize = 5000;
    on_one_worker(|| {
        let (mutex, condition, turn) = (Shared::new(), Shared::<pthread_cond_t>::new(), AtomicUsize::new(0));
        thread::scope(|os| {
            os.spawn(|| {
                for expected in (0..TURNS).map(|turn| 2 * turn) {
                    loop {
                        // SAFETY: a mutex that lives; it is unlocked if it was locked here.
                        let is_told = unsafe {
                            let mut looks = 0_u32;
                            while libc::pthread_mutex_trylock(mutex.at()) != 0 {
                                looks += 1;
                                // There may be one core.
                                if looks.is_multiple_of(1000) {
                                    thread::yield_now();
                                }
                            }
                            let is_ours = turn.load(Ordering::Relaxed) == expected;
                            if is_ours {
                                assert_eq!(libc::pthread_cond_signal(condition.at()), 0);
                                turn.store(expected + 1, Ordering::Relaxed);
                            }
                            assert_eq!(libc::pthread_mutex_unlock(mutex.at()), 0);
                            is_ours
                        };
                        if is_told {
                            break;
                        }
                    }
                }
            });
            for expected in (0..TURNS).map(|turn| 2 * turn + 1) {
                locked(&mutex, || {
                    while turn.load(Ordering::Relaxed) != expected {
                        // SAFETY: both live, and the mutex is locked.
                        assert_eq!(unsafe { libc::pthread_cond_wait(condition.at(), mutex.at()) }, 0);
                    }
                    turn.store(expected + 1, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(turn.into_inner(), 2 * TURNS);
    });
}

#[test]
fn waits_for_locks_and_condition_variables_time_out_by_their_clocks() {
    const WAIT: Duration = Duration::from_millis(20);
    on_one_worker(|| {
        let (mutex, lock, condition) = (Shared::new(), Shared::new(), Shared::<pthread_cond_t>::new());
        // SAFETY: locks that live; attributes and moments of this function's.
        unsafe {
            let mut attributes = zeroed();
            assert_eq!(libc::pthread_condattr_init(&raw mut attributes), 0);
            assert_eq!(libc::pthread_condattr_setclock(&raw mut attributes, libc::CLOCK_MONOTONIC), 0);
            let monotonic = Shared::<pthread_cond_t>::new();
            assert_eq!(libc::pthread_cond_init(monotonic.at(), &raw const attributes), 0);
            for (condition, clock) in [(&condition, libc::CLOCK_REALTIME), (&monotonic, libc::CLOCK_MONOTONIC)] {
                let begun = Instant::now();
                let moment = from_now(clock, WAIT);
                let late =
                    locked(&mutex, || libc::pthread_cond_timedwait(condition.at(), mutex.at(), &raw const moment));
                assert_eq!(late, libc::ETIMEDOUT);
                assert!(begun.elapsed() >= WAIT && begun.elapsed() < Duration::from_secs(100), "{:?}", begun.elapsed());
            }
            assert_eq!((libc::pthread_mutex_lock(mutex.at()), libc::pthread_rwlock_rdlock(lock.at())), (0, 0));
            green::scope(|scope| {
                let (mutex, lock) = (&mutex, &lock);
                scope.spawn(move || {
                    let begun = Instant::now();
                    let moment = from_now(libc::CLOCK_REALTIME, WAIT);
                    assert_eq!(libc::pthread_mutex_timedlock(mutex.at(), &raw const moment), libc::ETIMEDOUT);
                    let moment = from_now(libc::CLOCK_MONOTONIC, WAIT);
                    let late = pthread_mutex_clocklock(mutex.at(), libc::CLOCK_MONOTONIC, &raw const moment);
                    assert_eq!(late, libc::ETIMEDOUT);
                    let moment = from_now(libc::CLOCK_MONOTONIC, WAIT);
                    let late = pthread_rwlock_clockwrlock(lock.at(), libc::CLOCK_MONOTONIC, &raw const moment);
                    assert_eq!(late, libc::ETIMEDOUT);
                    assert!(begun.elapsed() >= 3 * WAIT);
                    let none = timespec { tv_sec: 0, tv_nsec: -1 };
                    assert_eq!(libc::pthread_mutex_timedlock(mutex.at(), &raw const none), libc::EINVAL);
                });
            });
            assert_eq!((libc::pthread_mutex_unlock(mutex.at()), libc::pthread_rwlock_unlock(lock.at())), (0, 0));
        }
    });
}

#[test]
fn a_lock_that_its_holder_wants_again_is_an_error_or_counted() {
    on_one_worker(|| {
        // SAFETY: attributes and mutexes of this function's.
        unsafe {
            let of_type = |kind: c_int| {
                let mut attributes = zeroed();
                assert_eq!(libc::pthread_mutexattr_init(&raw mut attributes), 0);
                assert_eq!(libc::pthread_mutexattr_settype(&raw mut attributes, kind), 0);
                let mutex = Shared::<pthread_mutex_t>::new();
                assert_eq!(libc::pthread_mutex_init(mutex.at(), &raw const attributes), 0);
                mutex
            };
            let checked = of_type(libc::PTHREAD_MUTEX_ERRORCHECK);
            locked(&checked, || assert_eq!(libc::pthread_mutex_lock(checked.at()), libc::EDEADLK));
            let counted = of_type(libc::PTHREAD_MUTEX_RECURSIVE);
            let entered = AtomicUsize::new(0);
            many(20, |_| {
                locked(&counted, || {
                    let before = entered.load(Ordering::Relaxed);
                    green::yield_now();
                    locked(&counted, || entered.store(before + 1, Ordering::Relaxed));
                });
            });
            assert_eq!(entered.into_inner(), 20);
            let lock = Shared::<pthread_rwlock_t>::new();
            assert_eq!(libc::pthread_rwlock_wrlock(lock.at()), 0);
            assert_eq!(libc::pthread_rwlock_wrlock(lock.at()), libc::EDEADLK);
            assert_eq!(libc::pthread_rwlock_unlock(lock.at()), 0);
        }
    });
}

#[test]
fn a_read_write_lock_parks_readers_and_writers() {
    for on in [on_one_worker, on_two_workers] {
        on(|| {
            let (lock, value) = (Shared::<pthread_rwlock_t>::new(), AtomicUsize::new(0));
            many(60, |number| {
                // SAFETY: a lock that lives.
                unsafe {
                    if number % 3 == 0 {
                        assert_eq!(libc::pthread_rwlock_wrlock(lock.at()), 0);
                        let before = value.load(Ordering::Relaxed);
                        green::yield_now();
                        value.store(before + 1, Ordering::Relaxed);
                    } else {
                        assert_eq!(libc::pthread_rwlock_rdlock(lock.at()), 0);
                        let before = value.load(Ordering::Relaxed);
                        green::yield_now();
                        assert_eq!(value.load(Ordering::Relaxed), before);
                    }
                    assert_eq!(libc::pthread_rwlock_unlock(lock.at()), 0);
                }
            });
            assert_eq!(value.into_inner(), 20);
        });
    }
}

/// libc unlocks the mutex by itself when the OS thread begins to wait.
#[test]
fn an_os_thread_that_waits_for_a_condition_variable_lets_a_green_thread_lock() {
    on_one_worker(|| {
        let (mutex, condition) = (Shared::new(), Shared::<pthread_cond_t>::new());
        let (holds, goes_on, is_over) = (AtomicBool::new(false), AtomicBool::new(false), AtomicBool::new(false));
        let [holds, goes_on, is_over] = [&holds, &goes_on, &is_over];
        let [(mutex, condition)] = [(&mutex, &condition)];
        thread::scope(|os| {
            os.spawn(move || {
                locked(mutex, || {
                    holds.store(true, Ordering::Release);
                    while !goes_on.load(Ordering::Acquire) {
                        thread::yield_now();
                    }
                    while !is_over.load(Ordering::Acquire) {
                        // SAFETY: both live, and the mutex is locked.
                        assert_eq!(unsafe { libc::pthread_cond_wait(condition.at(), mutex.at()) }, 0);
                    }
                });
            });
            until(|| holds.load(Ordering::Acquire));
            green::scope(|green| {
                let locks = green.spawn(move || locked(mutex, || is_over.store(true, Ordering::Release)));
                until(|| locks.thread().waits_for() == Some("futex"));
                goes_on.store(true, Ordering::Release);
            });
            // SAFETY: it lives.
            assert_eq!(unsafe { libc::pthread_cond_signal(condition.at()) }, 0);
        });
    });
}

/// One green thread holds the lock over each of its parks, and leaves it just to take it again.
fn both_have_turns(lock: impl Fn() + Sync, unlock: impl Fn() + Sync) {
    on_one_worker(|| {
        let (others, own) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let [others, own] = [&others, &own];
        let (lock, unlock) = (&lock, &unlock);
        green::scope(|scope| {
            lock();
            let waiter = scope.spawn(move || {
                lock();
                others.fetch_add(1, Ordering::Relaxed);
                unlock();
            });
            until(|| waiter.thread().waits_for() == Some("futex"));
            while others.load(Ordering::Relaxed) == 0 && own.fetch_add(1, Ordering::Relaxed) < 1000 {
                unlock();
                lock();
                green::yield_now();
            }
            unlock();
        });
        assert!(own.load(Ordering::Relaxed) < 1000, "the neighbour had no turn");
    });
}

#[test]
fn who_holds_a_lock_across_parks_kept_its_neighbours_from_it_for_ever() {
    let (mutex, lock) = (Shared::<pthread_mutex_t>::new(), Shared::<pthread_rwlock_t>::new());
    let semaphore = Shared::<libc::sem_t>::new();
    // SAFETY: locks that live; who unlocks has locked.
    unsafe {
        assert_eq!(libc::sem_init(semaphore.at(), 0, 1), 0);
        both_have_turns(
            || assert_eq!(libc::pthread_mutex_lock(mutex.at()), 0),
            || assert_eq!(libc::pthread_mutex_unlock(mutex.at()), 0),
        );
        both_have_turns(
            || assert_eq!(libc::pthread_rwlock_wrlock(lock.at()), 0),
            || assert_eq!(libc::pthread_rwlock_unlock(lock.at()), 0),
        );
        both_have_turns(
            || assert_eq!(libc::sem_wait(semaphore.at()), 0),
            || assert_eq!(libc::sem_post(semaphore.at()), 0),
        );
    }
}

#[test]
fn a_wait_for_a_semaphore_that_succeeded_left_an_error_behind() {
    on_one_worker(|| {
        let semaphore = Shared::<libc::sem_t>::new();
        // SAFETY: a semaphore that lives; `errno` is the calling thread's own.
        unsafe {
            assert_eq!(libc::sem_init(semaphore.at(), 0, 0), 0);
            green::scope(|scope| {
                let semaphore = &semaphore;
                let waiter = scope.spawn(move || {
                    *libc::__errno_location() = 0;
                    assert_eq!((libc::sem_wait(semaphore.at()), *libc::__errno_location()), (0, 0));
                });
                until(|| waiter.thread().waits_for() == Some("futex"));
                assert_eq!(libc::sem_post(semaphore.at()), 0);
            });
        }
    });
}

/// The functions were looked up at their first calls, which took the loader's lock, and `dlerror`.
#[test]
fn the_first_call_of_a_function_discarded_what_dlerror_tells() {
    unsafe extern "C" {
        fn sem_clockwait(semaphore: *mut libc::sem_t, clock: clockid_t, moment: *const timespec) -> c_int;
    }
    let semaphore = Shared::<libc::sem_t>::new();
    let moment = from_now(libc::CLOCK_MONOTONIC, Duration::from_secs(100));
    // SAFETY: a semaphore that lives, a moment and strings.
    unsafe {
        assert_eq!(libc::sem_init(semaphore.at(), 0, 1), 0);
        assert!(libc::dlsym(libc::RTLD_DEFAULT, c"green_no_such_function".as_ptr()).is_null());
        // Nobody else in this program calls it.
        assert_eq!(sem_clockwait(semaphore.at(), libc::CLOCK_MONOTONIC, &raw const moment), 0);
        assert!(!libc::dlerror().is_null(), "it is forgotten");
    }
}

/// glibc takes blocks for large that are longer than the longest it was given back so far.
#[test]
fn the_watch_over_allocators_changed_which_blocks_are_large() {
    const LARGE: usize = 4 << 20;
    // SAFETY: a block of this function's; before it there is its length, whose second bit says that it has a mapping of its own.
    unsafe {
        let block = libc::malloc(LARGE);
        assert!(!block.is_null());
        assert_eq!(block.cast::<usize>().sub(1).read() & 2, 2);
        libc::free(block);
    }
}

/// A writer whose time is over leaves without an unlock.
#[test]
fn a_reader_that_a_writer_kept_out_was_not_told_that_it_has_given_up() {
    unsafe extern "C" {
        fn pthread_rwlockattr_setkind_np(attributes: *mut libc::pthread_rwlockattr_t, kind: c_int) -> c_int;
        fn pthread_rwlock_timedwrlock(lock: *mut pthread_rwlock_t, moment: *const timespec) -> c_int;
    }
    const WRITERS_FIRST: c_int = 2;
    on_one_worker(|| {
        let (lock, is_seen) = (Shared::<pthread_rwlock_t>::new(), AtomicBool::new(false));
        let (lock, is_seen) = (&lock, &is_seen);
        // SAFETY: attributes of this function's, and a lock that lives; who unlocks has locked.
        unsafe {
            let mut attributes = zeroed();
            assert_eq!(libc::pthread_rwlockattr_init(&raw mut attributes), 0);
            assert_eq!(pthread_rwlockattr_setkind_np(&raw mut attributes, WRITERS_FIRST), 0);
            assert_eq!(libc::pthread_rwlock_init(lock.at(), &raw const attributes), 0);
            assert_eq!(libc::pthread_rwlock_rdlock(lock.at()), 0);
            thread::scope(|os| {
                os.spawn(move || {
                    while !is_seen.load(Ordering::Acquire) {
                        let moment = from_now(libc::CLOCK_REALTIME, Duration::from_millis(100));
                        assert_eq!(pthread_rwlock_timedwrlock(lock.at(), &raw const moment), libc::ETIMEDOUT);
                    }
                });
                until(|| match libc::pthread_rwlock_tryrdlock(lock.at()) {
                    0 => libc::pthread_rwlock_unlock(lock.at()) != 0,
                    error => error == libc::EBUSY,
                });
                is_seen.store(true, Ordering::Release);
                green::scope(|scope| {
                    let reader = scope.spawn(move || {
                        assert_eq!(libc::pthread_rwlock_rdlock(lock.at()), 0);
                        assert_eq!(libc::pthread_rwlock_unlock(lock.at()), 0);
                    });
                    reader.join().unwrap();
                });
            });
            assert_eq!(libc::pthread_rwlock_unlock(lock.at()), 0);
        }
    });
}

#[test]
fn the_locks_of_c11_blocked_their_worker() {
    unsafe extern "C" {
        fn mtx_init(mutex: *mut pthread_mutex_t, kind: c_int) -> c_int;
        fn mtx_lock(mutex: *mut pthread_mutex_t) -> c_int;
        fn mtx_timedlock(mutex: *mut pthread_mutex_t, moment: *const timespec) -> c_int;
        fn mtx_unlock(mutex: *mut pthread_mutex_t) -> c_int;
        fn cnd_init(condition: *mut pthread_cond_t) -> c_int;
        fn cnd_wait(condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t) -> c_int;
        fn cnd_signal(condition: *mut pthread_cond_t) -> c_int;
    }
    const TIMED: c_int = 2;
    const TIMED_OUT: c_int = 4;
    on_one_worker(|| {
        let (mutex, condition) = (Shared::<pthread_mutex_t>::new(), Shared::<pthread_cond_t>::new());
        let (mutex, condition, is_over) = (&mutex, &condition, &AtomicBool::new(false));
        // SAFETY: a lock and a condition variable that live; who waits has locked.
        unsafe {
            assert_eq!((mtx_init(mutex.at(), TIMED), cnd_init(condition.at())), (0, 0));
            green::scope(|scope| {
                assert_eq!(mtx_lock(mutex.at()), 0);
                let late = scope.spawn(move || {
                    let moment = from_now(libc::CLOCK_REALTIME, Duration::from_millis(10));
                    mtx_timedlock(mutex.at(), &raw const moment)
                });
                assert_eq!(late.join().unwrap(), TIMED_OUT);
                let waiter = scope.spawn(move || {
                    assert_eq!(mtx_lock(mutex.at()), 0);
                    while !is_over.load(Ordering::Relaxed) {
                        assert_eq!(cnd_wait(condition.at(), mutex.at()), 0);
                    }
                    assert_eq!(mtx_unlock(mutex.at()), 0);
                });
                until(|| waiter.thread().waits_for() == Some("futex"));
                assert_eq!(mtx_unlock(mutex.at()), 0);
                green::yield_now();
                assert_eq!(mtx_lock(mutex.at()), 0);
                is_over.store(true, Ordering::Relaxed);
                assert_eq!((cnd_signal(condition.at()), mtx_unlock(mutex.at())), (0, 0));
            });
        }
    });
}

/// A thread that is cancelled is unwound, through the functions in the place of libc's.
#[test]
fn an_os_thread_that_is_cancelled_in_a_wait_is_unwound() {
    type Start = unsafe extern "C-unwind" fn(*mut c_void) -> *mut c_void;
    unsafe extern "C-unwind" {
        #[link_name = "pthread_cond_wait"]
        fn wait_for_condition(condition: *mut pthread_cond_t, mutex: *mut pthread_mutex_t) -> c_int;
        #[link_name = "sem_wait"]
        fn wait_for_semaphore(semaphore: *mut libc::sem_t) -> c_int;
    }
    unsafe extern "C" {
        fn pthread_cancel(thread: libc::pthread_t) -> c_int;
    }
    unsafe extern "C-unwind" fn waits_for_condition(of: *mut c_void) -> *mut c_void {
        let (mutex, condition) = (Shared::<pthread_mutex_t>::new(), Shared::<pthread_cond_t>::new());
        // SAFETY: both live, and the mutex is locked.
        unsafe {
            libc::pthread_mutex_lock(mutex.at());
            loop {
                wait_for_condition(condition.at(), mutex.at());
                assert!(of.is_null());
            }
        }
    }
    unsafe extern "C-unwind" fn waits_for_semaphore(of: *mut c_void) -> *mut c_void {
        let semaphore = Shared::<libc::sem_t>::new();
        // SAFETY: zeros are a semaphore that is taken.
        unsafe {
            loop {
                wait_for_semaphore(semaphore.at());
                assert!(of.is_null());
            }
        }
    }
    for start in [waits_for_condition as Start, waits_for_semaphore as Start] {
        // SAFETY: a thread whose frames have nothing to be dropped.
        unsafe {
            let (mut thread, mut value) = (zeroed(), std::ptr::null_mut());
            let start = std::mem::transmute::<Start, extern "C" fn(*mut c_void) -> *mut c_void>(start);
            assert_eq!(libc::pthread_create(&raw mut thread, std::ptr::null(), start, std::ptr::null_mut()), 0);
            assert_eq!(pthread_cancel(thread), 0);
            assert_eq!(libc::pthread_join(thread, &raw mut value), 0);
            assert_eq!(value.addr(), usize::MAX, "PTHREAD_CANCELED");
        }
    }
}
