//! A program whose allocator locks a mutex of pthread, as jemalloc does: that is found out, and no such lock parks.
#![cfg(green_std)]

mod help;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use help::{alone_on_one_worker, many, on_one_worker, on_two_workers};

green_std::interpose!();

struct Mutex(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: only functions get it that any thread may call.
unsafe impl Sync for Mutex {}

impl Mutex {
    fn locked<R>(&self, f: impl FnOnce() -> R) -> R {
        // SAFETY: a mutex that lives, and is not moved.
        unsafe { libc::pthread_mutex_lock(self.0.get()) };
        let result = f();
        // SAFETY: the same; it is locked.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) };
        result
    }
}

struct Locks(Mutex);

// SAFETY: what the system's allocator gives.
unsafe impl GlobalAlloc for Locks {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        self.0.locked(|| unsafe { System.alloc(layout) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        self.0.locked(|| unsafe { System.dealloc(block, layout) });
    }
}

#[global_allocator]
static ALLOCATOR: Locks = Locks(Mutex(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER)));

#[test]
fn an_allocator_that_locks_a_mutex_of_pthread_is_waited_for() {
    on_two_workers(|| {
        std::thread::scope(|os| {
            os.spawn(|| (0..20_000).for_each(|n| drop(vec![n; 10])));
            many(100, |number| {
                for turn in 0..200 {
                    let block = vec![number; turn + 1];
                    if turn % 20 == 0 {
                        green::yield_now();
                    }
                    assert_eq!(block[turn], number);
                }
            });
        });
    });
}

#[test]
fn with_such_an_allocator_no_lock_of_pthread_parks() {
    static MUTEX: Mutex = Mutex(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));
    alone_on_one_worker(|| {
        let ran = AtomicBool::new(false);
        let (locked, is_locked) = mpsc::channel();
        let before = green_std::counters().blocked;
        std::thread::scope(|os| {
            os.spawn(move || {
                MUTEX.locked(|| {
                    locked.send(()).unwrap();
                    std::thread::sleep(Duration::from_millis(50));
                });
            });
            is_locked.recv().unwrap();
            green::scope(|scope| {
                scope.spawn(|| ran.store(true, Ordering::Relaxed));
                MUTEX.locked(|| assert!(!ran.load(Ordering::Relaxed), "a neighbour had a turn"));
            });
        });
        assert!(green_std::counters().blocked > before);
    });
}

/// Such an allocator may wait by yields as well, where nothing may switch.
#[test]
fn a_yield_of_std_stays_one_of_the_os_thread_where_the_allocator_waits() {
    on_one_worker(|| {
        let ran = AtomicBool::new(false);
        green::scope(|scope| {
            scope.spawn(|| ran.store(true, Ordering::Relaxed));
            (0..1000).for_each(|_| std::thread::yield_now());
            assert!(!ran.load(Ordering::Relaxed), "a neighbour had a turn");
        });
    });
}
