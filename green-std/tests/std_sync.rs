//! std's own locks, channels, threads and sleeps: they park green threads, and wake green and OS threads alike.
#![cfg(green_std)]

mod help;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, Once, OnceLock, RwLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use help::{many, on_one_worker, on_shared_thread_locals, on_two_workers, until};

green_std::interpose!();

#[test]
fn a_mutex_that_is_held_across_a_park_parks_its_neighbours() {
    on_one_worker(|| {
        let count = Mutex::new(0);
        many(100, |_| {
            let mut count = count.lock().unwrap();
            let before = *count;
            green::yield_now();
            *count = before + 1;
        });
        assert_eq!(count.into_inner().unwrap(), 100);
    });
}

#[test]
fn a_mutex_is_one_thread_at_a_time_while_threads_move() {
    on_two_workers(|| {
        let count = Mutex::new(0);
        many(200, |number| {
            for turn in 0..20 {
                let mut count = count.lock().unwrap();
                let before = *count;
                if (number + turn) % 7 == 0 {
                    green::yield_now();
                }
                *count = before + 1;
            }
        });
        assert_eq!(count.into_inner().unwrap(), 4000);
    });
}

#[test]
fn a_condition_variable_wakes_one_or_all_and_times_out() {
    on_one_worker(|| {
        let (turn, changed) = (Mutex::new(0), Condvar::new());
        many(50, |number| {
            // Those that come first wait longest.
            let mut turn = changed.wait_while(turn.lock().unwrap(), |turn| *turn != 49 - number).unwrap();
            *turn += 1;
            changed.notify_all();
        });
        assert_eq!(*turn.lock().unwrap(), 50);
        let begun = Instant::now();
        let (_turn, late) = changed.wait_timeout(turn.lock().unwrap(), Duration::from_millis(20)).unwrap();
        assert!(late.timed_out() && begun.elapsed() >= Duration::from_millis(20));
    });
}

#[test]
fn a_rwlock_a_barrier_and_lazy_values_park() {
    on_one_worker(|| {
        static ONCE: Once = Once::new();
        static VALUE: OnceLock<u32> = OnceLock::new();
        let (lock, barrier, calls) = (RwLock::new(0), Barrier::new(40), AtomicUsize::new(0));
        many(40, |number| {
            ONCE.call_once(|| {
                thread::sleep(Duration::from_millis(5));
                calls.fetch_add(1, Ordering::Relaxed);
            });
            let value = VALUE.get_or_init(|| {
                green::sleep(Duration::from_millis(5));
                7
            });
            assert_eq!(*value, 7);
            if number % 4 == 0 {
                let mut value = lock.write().unwrap();
                green::yield_now();
                *value += 1;
            } else {
                let value = lock.read().unwrap();
                green::yield_now();
                assert!(*value <= 10);
            }
            barrier.wait();
        });
        assert_eq!((*lock.read().unwrap(), calls.into_inner()), (10, 1));
    });
}

#[test]
fn channels_of_std_park_on_both_sides() {
    on_one_worker(|| {
        let (sender, receiver) = mpsc::channel();
        let sums = green::spawn(move || receiver.iter().sum::<usize>());
        many(20, |number| (0..50).for_each(|_| sender.send(number).unwrap()));
        drop(sender);
        assert_eq!(sums.join().unwrap(), (0..20).sum::<usize>() * 50);

        let (sender, receiver) = mpsc::sync_channel(0);
        let sends = green::spawn(move || (0..100).for_each(|n| sender.send(n).unwrap()));
        assert!(receiver.iter().eq(0..100));
        sends.join().unwrap();

        let (_sender, receiver) = mpsc::channel::<()>();
        let late = receiver.recv_timeout(Duration::from_millis(10));
        assert_eq!(late, Err(mpsc::RecvTimeoutError::Timeout));
    });
}

#[test]
fn park_and_unpark_of_std_are_a_green_threads_own() {
    on_one_worker(|| {
        let (sender, receiver) = mpsc::channel();
        let parks = green::spawn(move || {
            sender.send(thread::current()).unwrap();
            thread::park();
            thread::park_timeout(Duration::from_millis(5));
            7
        });
        let parked = receiver.recv().unwrap();
        assert_ne!(parked.id(), thread::current().id());
        green::yield_now();
        parked.unpark();
        assert_eq!(parks.join().unwrap(), 7);
    });
}

#[test]
fn sleeps_of_many_threads_pass_at_once() {
    for on in [on_one_worker, on_shared_thread_locals] {
        on(|| {
            let begun = Instant::now();
            many(100, |_| {
                let own = Instant::now();
                thread::sleep(Duration::from_millis(200));
                assert!(own.elapsed() >= Duration::from_millis(200));
            });
            assert!(begun.elapsed() < Duration::from_secs(10), "one after the other they take twenty seconds");
        });
    }
}

#[test]
fn green_threads_and_os_threads_wake_each_other() {
    on_one_worker(|| {
        let shared = Arc::new((Mutex::new(0_usize), Condvar::new()));
        let (done, joined) = mpsc::channel();
        let takes_turns = |first: usize, shared: &(Mutex<usize>, Condvar)| {
            for turn in (first..200).step_by(4) {
                let mut at = shared.1.wait_while(shared.0.lock().unwrap(), |at| *at != turn).unwrap();
                *at += 1;
                shared.1.notify_all();
            }
        };
        for first in [0, 2] {
            let (shared, done) = (Arc::clone(&shared), done.clone());
            thread::spawn(move || {
                takes_turns(first, &shared);
                done.send(first).unwrap();
            });
        }
        for first in [1, 3] {
            let (shared, done) = (Arc::clone(&shared), done.clone());
            drop(green::spawn(move || {
                takes_turns(first, &shared);
                done.send(first).unwrap();
            }));
        }
        drop(done);
        let mut all: Vec<usize> = joined.iter().collect();
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2, 3]);
        assert_eq!(*shared.0.lock().unwrap(), 200);
    });
}

#[test]
fn a_scope_of_os_threads_is_waited_for_by_a_parked_thread() {
    on_one_worker(|| {
        let (begun, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
        green::scope(|green_scope| {
            green_scope.spawn(|| {
                let number = thread::scope(|scope| {
                    scope
                        .spawn(|| {
                            begun.store(1, Ordering::Relaxed);
                            // The neighbour runs while this green thread waits for its OS thread.
                            while ended.load(Ordering::Relaxed) == 0 {
                                thread::yield_now();
                            }
                            7
                        })
                        .join()
                        .unwrap()
                });
                assert_eq!(number, 7);
            });
            green_scope.spawn(|| {
                until(|| begun.load(Ordering::Relaxed) == 1);
                ended.store(1, Ordering::Relaxed);
            });
        });
    });
}

#[test]
fn locks_do_not_park_threads_that_share_thread_locals() {
    on_shared_thread_locals(|| {
        let (lock, ran) = (Mutex::new(()), AtomicUsize::new(0));
        let (lock, ran) = (&lock, &ran);
        let (locked, is_locked) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                let _held = lock.lock().unwrap();
                locked.send(()).unwrap();
                thread::sleep(Duration::from_millis(20));
            });
            is_locked.recv().unwrap();
            green::scope(|scope| {
                scope.spawn(move || ran.store(1, Ordering::Relaxed));
                drop(lock.lock().unwrap());
                assert_eq!(ran.load(Ordering::Relaxed), 0, "a neighbour had a turn");
            });
        });
    });
}

#[test]
fn semaphores_of_libc_park() {
    for on in [on_one_worker, on_two_workers] {
        on(|| {
            // SAFETY: zeros are room for two semaphores.
            let sems: [libc::sem_t; 2] = unsafe { std::mem::zeroed() };
            // An address, as it goes to threads of all kinds.
            let [ping, pong] = [0, 1].map(|at| (&raw const sems[at]).expose_provenance());
            let at = std::ptr::with_exposed_provenance_mut::<libc::sem_t>;
            // SAFETY: semaphores that live until all threads are through with them.
            unsafe {
                [ping, pong].iter().for_each(|sem| assert_eq!(libc::sem_init(at(*sem), 0, 0), 0));
                let answers = move || {
                    for _ in 0..500 {
                        assert_eq!(libc::sem_wait(at(ping)), 0);
                        assert_eq!(libc::sem_post(at(pong)), 0);
                    }
                };
                let asks = move || {
                    for _ in 0..500 {
                        assert_eq!(libc::sem_post(at(ping)), 0);
                        assert_eq!(libc::sem_wait(at(pong)), 0);
                    }
                };
                let (os, green) = (thread::spawn(answers), green::spawn(answers));
                many(2, |_| asks());
                os.join().unwrap();
                green.join().unwrap();
                let past = libc::timespec { tv_sec: 1, tv_nsec: 0 };
                assert_eq!(libc::sem_timedwait(at(ping), &raw const past), -1);
                assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::ETIMEDOUT));
            }
        });
    }
}
