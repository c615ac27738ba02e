//! To wait with a deadline allocates nothing, however many wait at a time: the timers have had their room since the threads
//! started.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod help;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use green::sync::{Condvar, Mutex};
use help::{bounded, scaled};

/// Counts what an OS thread allocates that says so.
struct Counting;

thread_local! {
    static COUNTS: Cell<usize> = const { Cell::new(0) };
}
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(COUNTS.get(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_wait_with_a_deadline_allocates_nothing_though_all_threads_wait_at_the_same_time() {
    bounded(|| {
        green::Runtime::builder().workers(1).thread_locals(green::ThreadLocals::PerWorker).build().unwrap().run(|| {
            let waits = Arc::new((Mutex::new(()), Mutex::new(()), Condvar::new(), green::channel::unbounded::<u8>()));
            let (count, reached) = (scaled(2000_usize), Arc::new(AtomicUsize::new(0)));
            let threads: Vec<_> = (0..count)
                .map(|_| {
                    let (waits, reached) = (waits.clone(), reached.clone());
                    green::spawn(move || {
                        let (held, free, changed, (_sender, receiver)) = &*waits;
                        let short = Duration::from_millis(2);
                        reached.fetch_add(1, Ordering::Relaxed);
                        green::thread::park();
                        green::sleep(short);
                        green::thread::park_timeout(short);
                        assert!(held.lock_timeout(short).is_err());
                        assert!(receiver.recv_timeout(short).is_err());
                        drop(changed.wait_timeout(free.lock().unwrap(), short).unwrap());
                        reached.fetch_add(1, Ordering::Relaxed);
                        green::thread::park();
                    })
                })
                .collect();
            let all_reach = |rounds| {
                while reached.load(Ordering::Relaxed) < rounds * count {
                    green::sleep(Duration::from_millis(1));
                }
            };
            let held = waits.0.lock().unwrap();
            all_reach(1);
            // The worker's OS thread: others enter a table before they wait, where deadlocks are named.
            COUNTS.set(1);
            threads.iter().for_each(|thread| thread.thread().unpark());
            all_reach(2);
            COUNTS.set(0);
            drop(held);
            threads.iter().for_each(|thread| thread.thread().unpark());
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed), 0);
    });
}
