//! A program whose allocator locks a mutex of pthread when a thread first allocates, as newer versions of mimalloc do: that is found out, too.
#![cfg(green_std)]

mod help;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use help::alone_on_one_worker;

green_std::interpose!();

struct Mutex(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: only functions get it that any thread may call.
unsafe impl Sync for Mutex {}

impl Mutex {
    const fn new() -> Self {
        Self(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER))
    }

    fn locked<R>(&self, f: impl FnOnce() -> R) -> R {
        // SAFETY: a mutex that lives, and is not moved.
        unsafe { libc::pthread_mutex_lock(self.0.get()) };
        let result = f();
        // SAFETY: the same; it is locked.
        unsafe { libc::pthread_mutex_unlock(self.0.get()) };
        result
    }
}

struct KnowsThreads(Mutex);

// SAFETY: what the system's allocator gives.
unsafe impl GlobalAlloc for KnowsThreads {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        thread_local! {
            static IS_KNOWN: Cell<bool> = const { Cell::new(false) };
        }
        // The first thread is known from the beginning.
        // SAFETY: they take nothing.
        let is_first = unsafe { libc::gettid() == libc::getpid() };
        if !is_first && !IS_KNOWN.replace(true) {
            self.0.locked(|| {});
        }
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: KnowsThreads = KnowsThreads(Mutex::new());

#[test]
fn an_allocator_that_locks_when_a_thread_is_new_was_not_found_out() {
    static MUTEX: Mutex = Mutex::new();
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
