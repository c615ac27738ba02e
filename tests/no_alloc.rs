//! What a program does all the time allocates nothing: no wait with a deadline, however many wait at a time, as the timers have had their room since the threads
//! started; and nothing of what the threads of a worker do with each other.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod help;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use green::actor::{Actor, Context, Handler, Message};
use green::recorder::Detail;
use green::sync::{Condvar, Mutex};
use help::{bounded, scaled};

/// Counts what an OS thread allocates that says so.
struct Counting;

thread_local! {
    static COUNTS: Cell<bool> = const { Cell::new(false) };
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    /// Bytes that are allocated, and how many they were at most.
    static BYTES: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

/// Counts from now on what the calling OS thread allocates: a worker's, whose threads have no thread-locals of their own.
fn start_counting() {
    ALLOCATIONS.set(0);
    BYTES.set((0, 0));
    COUNTS.set(true);
}

/// How much it was.
fn counted() -> usize {
    COUNTS.set(false);
    ALLOCATIONS.get()
}

fn count_bytes(more: isize) {
    if COUNTS.get() {
        let (now, most) = BYTES.get();
        BYTES.set((now + more, most.max(now + more)));
    }
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + usize::from(COUNTS.get()));
        count_bytes(layout.size() as isize);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count_bytes(-(layout.size() as isize));
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
            // What a condition returns is made once in a process.
            drop(waits.2.wait_timeout(waits.1.lock().unwrap(), Duration::ZERO).unwrap());
            let held = waits.0.lock().unwrap();
            all_reach(1);
            // The worker's OS thread: others enter a table before they wait, where deadlocks are named.
            start_counting();
            threads.iter().for_each(|thread| thread.thread().unpark());
            all_reach(2);
            let allocations = counted();
            drop(held);
            threads.iter().for_each(|thread| thread.thread().unpark());
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(allocations, 0);
        });
    });
}

/// Whoever waits for another one enters a table, where deadlocks are named.
const NAMES_DEADLOCKS: bool = cfg!(any(debug_assertions, green_deadlocks));

struct Adder(u64);
impl Actor for Adder {}

struct Add(u64);
impl Message for Add {
    type Reply = ();
}
impl Handler<Add> for Adder {
    fn handle(&mut self, Add(more): Add, _: &mut Context<Self>) {
        self.0 += more;
    }
}

struct Sum;
impl Message for Sum {
    type Reply = u64;
}
impl Handler<Sum> for Adder {
    fn handle(&mut self, Sum: Sum, _: &mut Context<Self>) -> u64 {
        self.0
    }
}

#[test]
fn what_threads_do_with_each_other_allocates_nothing_whatever_the_recorder_has_of_it() {
    for detail in [Detail::Rare, Detail::All] {
        bounded(move || {
            let builder = green::Runtime::builder().workers(1).thread_locals(green::ThreadLocals::PerWorker);
            builder.recorder(detail).build().unwrap().run(allocates_nothing);
        });
    }
}

fn allocates_nothing() {
    let (mutex, over) = (Arc::new(Mutex::new(0_u64)), Arc::new(AtomicBool::new(false)));
    let (to, from) = (green::channel::bounded::<u64>(0), green::channel::bounded::<u64>(4));
    let adder = Adder(0).start();
    // Another thread has the lock whenever this one yields, and one sends back what it is sent.
    let holds = {
        let (mutex, over) = (Arc::clone(&mutex), Arc::clone(&over));
        green::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let mut held = mutex.lock().unwrap();
                *held += 1;
                green::yield_now();
                drop(held);
                green::yield_now();
            }
        })
    };
    let echo = {
        let (receiver, sender) = (to.1.clone(), from.0.clone());
        green::spawn(move || receiver.iter().for_each(|number| sender.send(number).unwrap()))
    };
    let waits = Cell::new(0);
    let lock = || {
        waits.set(waits.get() + u32::from(mutex.try_lock().is_err()));
        drop(mutex.lock().unwrap());
    };
    let free = Mutex::new(());
    let rounds: [(&str, &dyn Fn()); 8] = [
        ("yield", &green::yield_now),
        ("spawn and join", &|| assert_eq!(green::spawn(|| 7).join().unwrap(), 7)),
        ("a lock that is free", &|| drop(free.lock().unwrap())),
        ("a lock that is held", &|| {
            lock();
            green::yield_now();
        }),
        ("channels", &|| {
            to.0.send(7).unwrap();
            assert_eq!(from.1.recv().unwrap(), 7);
        }),
        ("tell", &|| {
            adder.tell(Add(1)).unwrap();
            green::yield_now();
        }),
        ("many tells", &|| {
            (0..10).for_each(|_| adder.tell(Add(1)).unwrap());
            green::yield_now();
        }),
        ("ask", &|| assert!(adder.send(Sum).unwrap() > 0)),
    ];
    for (what, round) in rounds {
        let rounds = |count| (0..count).for_each(|_| round());
        // Room that is made once.
        rounds(100);
        start_counting();
        rounds(1000);
        let allocations = counted();
        assert!(NAMES_DEADLOCKS || allocations == 0, "{what}: {allocations} in 1000 rounds");
    }
    assert!(waits.get() > 100, "the lock was free");
    over.store(true, Ordering::Relaxed);
    holds.join().unwrap();
    drop(to);
    echo.join().unwrap();
}

/// Bytes that a dump takes at most, and how many threads are in it of which this is true.
#[cfg(target_os = "linux")]
fn dump_takes(is: impl Fn(green::dump::ThreadStatus) -> bool) -> (isize, usize) {
    let mut count = 0;
    start_counting();
    let done = green::dump::for_each(|thread| {
        count += usize::from(is(thread.status()));
        Ok(())
    });
    counted();
    done.unwrap();
    (BYTES.get().1, count)
}

#[cfg(target_os = "linux")]
fn dump_of_unstarted_takes(count: usize) -> isize {
    let runtime = green::Runtime::builder().workers(1).thread_locals(green::ThreadLocals::PerWorker).build().unwrap();
    runtime.run(|| {
        let threads: Vec<_> = (0..count).map(|_| green::spawn(|| ())).collect();
        let (bytes, unstarted) = dump_takes(|status| status == green::dump::ThreadStatus::Unstarted);
        assert!(unstarted >= count, "{unstarted} of {count}");
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        bytes
    })
}

#[cfg(target_os = "linux")]
fn dump_of_moving_takes(count: usize) -> isize {
    let own = green::ThreadLocals::PerThread;
    let runtime = green::Runtime::builder().workers(2).thread_locals(own).build().unwrap();
    let (gate, opens) = green::channel::bounded::<()>(0);
    let waits = || {
        let opens = opens.clone();
        runtime.spawn(move || opens.recv().unwrap_err())
    };
    let threads: Vec<_> = (0..count).map(|_| waits()).collect();
    threads.iter().for_each(|thread| help::until_parked(thread.thread(), "channel receive"));
    let (bytes, waiting) = dump_takes(|status| matches!(status, green::dump::ThreadStatus::Waiting(_)));
    assert!(waiting >= count, "{waiting} of {count}");
    drop(gate);
    threads.into_iter().for_each(|thread| assert!(thread.join().is_ok()));
    bytes
}

#[cfg(target_os = "linux")]
#[test]
fn a_dump_takes_a_few_words_of_each_thread_that_has_not_started_and_none_of_one_that_moves() {
    bounded(|| {
        let each = |takes: fn(usize) -> isize, few, many| {
            // What the first one finds out and keeps is none of it.
            takes(few);
            (takes(many) - takes(few)) / (many - few) as isize
        };
        let unstarted = each(dump_of_unstarted_takes, scaled(16 << 10), scaled(64 << 10));
        // A pointer in a list of them, which grows, and one in the queue.
        assert!(unstarted < 40, "{unstarted} bytes");
        // An emulator has too few of them: their stacks are copied in portions, of which each has hundreds.
        if green::ThreadLocals::supported().is_ok() && !help::EMULATED {
            let moving = each(dump_of_moving_takes, 1 << 10, 4 << 10);
            assert!(moving < 8, "{moving} bytes");
        }
    });
}
