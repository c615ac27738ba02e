//! The system call itself: green waiters and the kernel's, counted together; no wake-up is lost, none is used twice.
#![cfg(green_std)]

mod help;

use std::ffi::{c_int, c_long};
use std::io;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use help::{alone_on_one_worker, many, on_one_worker, on_two_workers, until};
use libc::timespec;

green_std::interpose!();

fn futex(word: &AtomicU32, operation: c_int, value: u32, time: *const timespec, other: *mut u32, last: u32) -> c_long {
    let operation = operation | libc::FUTEX_PRIVATE_FLAG;
    // SAFETY: words and a time that are valid for the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, time, other, last) }
}

fn wait(word: &AtomicU32, value: u32) -> c_long {
    futex(word, libc::FUTEX_WAIT, value, null(), null_mut(), 0)
}

fn wake(word: &AtomicU32, most: u32) -> c_long {
    futex(word, libc::FUTEX_WAKE, most, null(), null_mut(), 0)
}

fn last_error() -> Option<i32> {
    io::Error::last_os_error().raw_os_error()
}

/// Wakes until so many have been woken: they may be on their way to their wait still.
fn wake_in_all(word: &AtomicU32, count: c_long) {
    let mut woken = 0;
    while woken < count {
        woken += wake(word, (count - woken) as u32);
        green::yield_now();
    }
    assert_eq!(woken, count);
}

#[test]
fn green_waiters_and_the_kernels_are_counted_together() {
    on_one_worker(|| {
        let (word, woken) = (AtomicU32::new(7), AtomicUsize::new(0));
        let waits = || {
            assert_eq!(wait(&word, 7), 0);
            woken.fetch_add(1, Ordering::Relaxed);
        };
        thread::scope(|os| {
            (0..2).for_each(|_| _ = os.spawn(waits));
            green::scope(|green| {
                let waiters: Vec<_> = (0..3).map(|_| green.spawn(waits)).collect();
                until(|| waiters.iter().all(|waiter| waiter.thread().waits_for() == Some("futex")));
                // Green threads first; the others may not wait yet.
                assert_eq!(wake(&word, 2), 2);
                until(|| woken.load(Ordering::Relaxed) == 2);
                wake_in_all(&word, 3);
            });
        });
        assert_eq!((woken.into_inner(), wake(&word, 10)), (5, 0));
    });
}

#[test]
fn a_wait_for_another_value_is_none_and_a_late_one_times_out() {
    on_one_worker(|| {
        let word = AtomicU32::new(7);
        assert_eq!((wait(&word, 8), last_error()), (-1, Some(libc::EAGAIN)));
        let time = timespec { tv_sec: 0, tv_nsec: 10_000_000 };
        let begun = Instant::now();
        let late = futex(&word, libc::FUTEX_WAIT, 7, &raw const time, null_mut(), 0);
        assert_eq!((late, last_error()), (-1, Some(libc::ETIMEDOUT)));
        assert!(begun.elapsed() >= Duration::from_millis(10));
        // A moment that has passed.
        let late = futex(&word, libc::FUTEX_WAIT_BITSET, 7, &raw const time, null_mut(), u32::MAX);
        assert_eq!((late, last_error()), (-1, Some(libc::ETIMEDOUT)));
        let none = timespec { tv_sec: 0, tv_nsec: -1 };
        let none = futex(&word, libc::FUTEX_WAIT, 7, &raw const none, null_mut(), 0);
        assert_eq!((none, last_error()), (-1, Some(libc::EINVAL)));
        assert_eq!(wake(&word, 10), 0, "one that timed out is still there");
    });
}

#[test]
fn bits_choose_who_is_woken_and_a_requeue_wakes() {
    on_one_worker(|| {
        let (word, other, woken) = (AtomicU32::new(7), AtomicU32::new(0), AtomicUsize::new(0));
        green::scope(|scope| {
            let (word, woken) = (&word, &woken);
            let waiters: Vec<_> = [1, 2, 4]
                .into_iter()
                .map(|bits| {
                    scope.spawn(move || {
                        assert_eq!(futex(word, libc::FUTEX_WAIT_BITSET, 7, null(), null_mut(), bits), 0);
                        woken.fetch_add(bits as usize, Ordering::Relaxed);
                    })
                })
                .collect();
            until(|| waiters.iter().all(|waiter| waiter.thread().waits_for() == Some("futex")));
            assert_eq!(futex(word, libc::FUTEX_WAKE_BITSET, 10, null(), null_mut(), 6), 2);
            until(|| woken.load(Ordering::Relaxed) == 6);
            let moves =
                |last| futex(word, libc::FUTEX_CMP_REQUEUE, 0, std::ptr::without_provenance(10), other.as_ptr(), last);
            assert_eq!((moves(8), last_error()), (-1, Some(libc::EAGAIN)));
            assert!(moves(7) >= 0);
        });
        assert_eq!(woken.into_inner(), 7);
    });
}

/// A lock of one word, as in U. Drepper, "Futexes Are Tricky": a wake-up that is lost hangs it.
struct Lock(AtomicU32);

impl Lock {
    fn lock(&self) {
        if self.0.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            while self.0.swap(2, Ordering::Acquire) != 0 {
                wait(&self.0, 2);
            }
        }
    }

    fn unlock(&self) {
        if self.0.swap(0, Ordering::Release) == 2 {
            wake(&self.0, 1);
        }
    }
}

#[test]
fn a_wake_up_inside_of_off_let_the_woken_thread_run() {
    on_one_worker(|| {
        let (lock, ran) = (Lock(AtomicU32::new(0)), AtomicUsize::new(0));
        let (lock, ran) = (&lock, &ran);
        green::scope(|scope| {
            lock.lock();
            let waiter = scope.spawn(move || {
                lock.lock();
                ran.store(1, Ordering::Relaxed);
                lock.unlock();
            });
            until(|| waiter.thread().waits_for() == Some("futex"));
            green_std::off(|| {
                lock.unlock();
                assert_eq!(ran.load(Ordering::Relaxed), 0);
            });
        });
        assert_eq!(ran.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn no_wake_up_is_lost_between_workers_and_os_threads() {
    const TURNS: usize = 1000;
    on_two_workers(|| {
        let (lock, count) = (Lock(AtomicU32::new(0)), AtomicUsize::new(0));
        let takes_turns = |yields: bool| {
            for turn in 0..TURNS {
                lock.lock();
                let before = count.load(Ordering::Relaxed);
                if yields && turn % 8 == 0 {
                    green::yield_now();
                }
                count.store(before + 1, Ordering::Relaxed);
                lock.unlock();
            }
        };
        thread::scope(|scope| {
            (0..2).for_each(|_| _ = scope.spawn(|| takes_turns(false)));
            many(8, |_| takes_turns(true));
        });
        assert_eq!(count.into_inner(), 10 * TURNS);
    });
}

/// Two threads alternate; a wake-up that is lost hangs both. Each looks for a while, another one each time, before it waits: so the other changes the word at every
/// moment of its way into the wait.
fn alternates(word: &AtomicU32, own: u32, turns: u32) {
    for turn in 0..turns {
        let mut looks = turn * 37 % 1009;
        loop {
            let value = word.load(Ordering::Acquire);
            if value % 2 == own {
                break;
            }
            if looks == 0 {
                wait(word, value);
            }
            looks = looks.saturating_sub(1);
        }
        word.fetch_add(1, Ordering::Release);
        wake(word, 1);
    }
}

#[test]
fn a_green_thread_and_an_os_thread_or_another_workers_alternate() {
    const TURNS: u32 = 5000;
    on_two_workers(|| {
        let words = [const { AtomicU32::new(0) }; 3];
        let [one, two, three] = &words;
        thread::scope(|os| {
            os.spawn(|| alternates(one, 0, TURNS));
            os.spawn(|| alternates(two, 1, TURNS));
            green::scope(|green| {
                green.spawn(|| alternates(one, 1, TURNS));
                green.spawn(|| alternates(two, 0, TURNS));
                green.spawn(|| alternates(three, 0, TURNS));
                green.spawn(|| alternates(three, 1, TURNS));
            });
        });
        assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 2 * TURNS));
    });
}

#[test]
fn a_wake_up_with_an_operation_on_another_word_reached_no_green_thread() {
    on_one_worker(|| {
        let (word, other) = (AtomicU32::new(7), AtomicU32::new(5));
        let (word, other) = (&word, &other);
        // Adds two to the other word, and wakes there, too, if it was five.
        let what = (libc::FUTEX_OP_ADD as u32) << 28 | (libc::FUTEX_OP_CMP_EQ as u32) << 24 | 2 << 12 | 5;
        let wakes = || futex(word, libc::FUTEX_WAKE_OP, 10, std::ptr::without_provenance(10), other.as_ptr(), what);
        green::scope(|scope| {
            let here = scope.spawn(move || wait(word, 7));
            let there = scope.spawn(move || wait(other, 5));
            let all = [&here, &there];
            until(|| all.iter().all(|waiter| waiter.thread().waits_for() == Some("futex")));
            assert_eq!((wakes(), other.load(Ordering::Relaxed)), (2, 7));
            assert_eq!((here.join().unwrap(), there.join().unwrap()), (0, 0));
            let here = scope.spawn(move || wait(word, 7));
            let there = scope.spawn(move || wait(other, 7));
            let all = [&here, &there];
            until(|| all.iter().all(|waiter| waiter.thread().waits_for() == Some("futex")));
            assert_eq!((wakes(), other.load(Ordering::Relaxed)), (1, 9));
            assert_eq!((wake(other, 1), here.join().unwrap(), there.join().unwrap()), (1, 0, 0));
        });
    });
}

/// As libstdc++ has it in `std::future` and in the guards of statics of functions.
fn shared_futex(word: &AtomicU32, operation: c_int, value: u32, time: *const timespec) -> c_long {
    // SAFETY: a word and a time that are valid for the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, time) }
}

#[test]
fn a_wait_by_a_futex_that_is_not_private_blocked_the_worker_with_whom_it_waited_for() {
    on_one_worker(|| {
        let word = AtomicU32::new(0);
        green::scope(|scope| {
            let word = &word;
            let waiter = scope.spawn(move || {
                while word.load(Ordering::Acquire) == 0 {
                    shared_futex(word, libc::FUTEX_WAIT, 0, null());
                }
            });
            until(|| waiter.thread().waits_for() == Some("futex"));
            word.store(1, Ordering::Release);
            // It may just be on its way from one wait to the next.
            assert!(shared_futex(word, libc::FUTEX_WAKE, 1, null()) <= 1);
        });
    });
}

/// Another process's, as it looks from here: the word has another address, and the kernel's wake-up finds nobody.
#[test]
fn a_wait_for_a_word_that_another_process_changes_ends() {
    on_one_worker(|| {
        // SAFETY: a file without a name, two mappings of its first page that stay, of which words are used.
        let [word, same] = unsafe {
            let fd = libc::memfd_create(c"word".as_ptr(), 0);
            assert!(fd >= 0 && libc::ftruncate(fd, 4096) == 0);
            [(); 2].map(|()| {
                let both = libc::PROT_READ | libc::PROT_WRITE;
                let at = libc::mmap(null_mut(), 4096, both, libc::MAP_SHARED, fd, 0);
                assert_ne!(at, libc::MAP_FAILED);
                &*at.cast::<AtomicU32>()
            })
        };
        green::scope(|scope| {
            let waiter = scope.spawn(move || {
                while word.load(Ordering::Acquire) == 0 {
                    assert!(matches!(shared_futex(word, libc::FUTEX_WAIT, 0, null()), 0 | -1));
                }
            });
            until(|| waiter.thread().waits_for() == Some("futex"));
            same.store(1, Ordering::Release);
            assert!(shared_futex(same, libc::FUTEX_WAKE, 1, null()) >= 0);
        });
        // A time of its own, which is shorter.
        let moment = timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        let late = shared_futex(word, libc::FUTEX_WAIT, 1, &raw const moment);
        assert_eq!((late, last_error()), (-1, Some(libc::ETIMEDOUT)));
    });
}

#[test]
fn a_wait_by_a_futex_with_priorities_is_counted_as_blocked() {
    alone_on_one_worker(|| {
        let word = AtomicU32::new(0);
        let before = green_std::counters().blocked;
        assert_eq!(futex(&word, libc::FUTEX_LOCK_PI, 0, null(), null_mut(), 0), 0);
        assert_eq!(futex(&word, libc::FUTEX_UNLOCK_PI, 0, null(), null_mut(), 0), 0);
        assert_eq!(green_std::counters().blocked, before + 1);
    });
}
