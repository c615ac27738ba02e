//! A global allocator that keeps something by thread, with a destructor, as mimalloc and jemalloc do.
#![cfg(all(target_os = "linux", not(miri)))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

static MADE: AtomicUsize = AtomicUsize::new(0);
static ENDED: AtomicUsize = AtomicUsize::new(0);
static TWICE: AtomicUsize = AtomicUsize::new(0);

/// Is it in use?
struct Cache(Cell<bool>);

impl Drop for Cache {
    fn drop(&mut self) {
        ENDED.fetch_add(1, Ordering::Relaxed);
        if !self.0.replace(false) {
            TWICE.fetch_add(1, Ordering::Relaxed);
        }
    }
}

thread_local! {
    static CACHE: Cache = const { Cache(Cell::new(false)) };
}

struct Caching;

// SAFETY: the system's, but for what it counts.
unsafe impl GlobalAlloc for Caching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = CACHE.try_with(|cache| {
            if !cache.0.replace(true) {
                MADE.fetch_add(1, Ordering::Relaxed);
            }
        });
        // mimalloc's first call in a thread leaves this behind.
        // SAFETY: errno of the calling thread; the rest is as the caller promises.
        unsafe {
            *libc::__errno_location() = libc::ENOMEM;
            System.alloc(layout)
        }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Caching = Caching;

#[test]
fn each_thread_has_its_part_of_the_allocator_once() {
    let builder = green::Runtime::builder().workers(1).thread_locals(green::ThreadLocals::PerThread);
    let Ok(runtime) = builder.build() else {
        assert!(green::ThreadLocals::supported().is_err());
        return;
    };
    let before = (MADE.load(Ordering::Relaxed), ENDED.load(Ordering::Relaxed));
    runtime.run(|| {
        for _ in 0..100 {
            green::spawn(|| drop(std::hint::black_box(Box::new(1)))).join().unwrap();
        }
    });
    assert_eq!(TWICE.load(Ordering::Relaxed), 0);
    assert!(MADE.load(Ordering::Relaxed) - before.0 >= 100);
    assert!(ENDED.load(Ordering::Relaxed) - before.1 >= 100);
}
