//! Models of the mutex, the readers-writer lock and the condition variable: loom tries every interleaving within its
//! bounds, and every value that a weak memory may return. The very source files are included here, with loom's atomics in
//! the place of std's and a stand-in for `park`: a gate for each thread, behind the real park word.
//!
//! A lost wake-up shows as a deadlock, which loom reports; a lock that two threads have, as a race on a loom cell.
//! `.ci/mutants` removes each line of them that is marked `KEY`, and sees to it that a model fails then.
#![cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#![allow(missing_docs, dead_code, unreachable_pub, unused_imports, clippy::undocumented_unsafe_blocks)]

mod model;

#[path = "model/turns.rs"]
mod park;
#[path = "../src/sync/queue.rs"]
mod queue;
#[path = "../src/sync/raw_condvar.rs"]
mod raw_condvar;
#[path = "../src/sync/raw_mutex.rs"]
mod raw_mutex;
#[path = "../src/sync/raw_rwlock.rs"]
mod raw_rwlock;
#[path = "model/task.rs"]
mod task;

mod sync {
    pub(crate) use crate::model::prelude::{holder, readers};
    pub(crate) use crate::{queue, raw_condvar, raw_mutex, raw_rwlock};

    pub(crate) mod spin {
        pub(crate) struct Spin;

        impl Spin {
            pub(crate) fn new() -> Self {
                Self
            }
            pub(crate) fn pause(&mut self) -> bool {
                false
            }
        }
    }
}

mod sys {
    pub(crate) use crate::model::prelude::clock;
}

use loom::sync::Arc;
use loom::thread;
use model::late::base;
use model::prelude::{fiber, stack};
use model::{Watched, check};
use park::{Parked, be};
use sync::raw_condvar::RawCondvar;
use sync::raw_mutex::RawMutex;
use sync::raw_rwlock::RawRwLock;
use task::wait::End;

/// Raw locks around a value that loom watches.
struct Shared {
    mutex: RawMutex,
    rwlock: RawRwLock,
    condvar: RawCondvar,
    value: Watched,
}

impl Shared {
    fn new() -> Arc<Self> {
        let (mutex, rwlock, condvar) = (RawMutex::new(), RawRwLock::new(), RawCondvar::new());
        // What is made late is made before another thread sees it.
        assert!(mutex.try_lock() && rwlock.try_write());
        mutex.unlock();
        rwlock.unlock_write();
        condvar.notify_one();
        Arc::new(Self { mutex, rwlock, condvar, value: Watched::new(0) })
    }

    fn add(&self) -> u32 {
        self.value.add(1)
    }

    fn get(&self) -> u32 {
        self.value.get()
    }
}

/// Runs `f` on a loom thread with a park word of its own.
fn spawn(shared: &Arc<Shared>, f: impl FnOnce(&Shared) + 'static) -> (std::sync::Arc<Parked>, thread::JoinHandle<()>) {
    let (parked, shared) = (Parked::new(), shared.clone());
    let me = parked.clone();
    let handle = thread::spawn(move || {
        be(&me);
        f(&shared);
    });
    (parked, handle)
}

fn lock_and_add(shared: &Shared) {
    shared.mutex.lock();
    shared.add();
    shared.mutex.unlock();
}

fn be_somebody() {
    be(&Parked::new());
}

#[test]
fn a_mutex_keeps_three_threads_apart_and_wakes_each() {
    check(2, || {
        be_somebody();
        let shared = Shared::new();
        let threads = [spawn(&shared, lock_and_add), spawn(&shared, lock_and_add)];
        lock_and_add(&shared);
        for (_, handle) in threads {
            handle.join().unwrap();
        }
        shared.mutex.lock();
        assert_eq!(shared.get(), 3);
        shared.mutex.unlock();
    });
}

#[test]
fn a_mutex_waiter_that_overtakers_beat_is_handed_the_lock() {
    check(2, || {
        be_somebody();
        let shared = Shared::new();
        shared.mutex.lock();
        let (_, waiter) = spawn(&shared, lock_and_add);
        for _ in 0..2 {
            shared.add();
            shared.mutex.unlock();
            shared.mutex.lock();
        }
        shared.mutex.unlock();
        waiter.join().unwrap();
        assert!(shared.mutex.try_lock());
        assert_eq!(shared.get(), 3);
    });
}

#[test]
fn a_mutex_waiter_that_times_out_or_is_cancelled_passes_its_turn_on() {
    for how in [End::TimedOut, End::Cancelled] {
        check(2, move || {
            be_somebody();
            let shared = Shared::new();
            shared.mutex.lock();
            let (first, one) = spawn(&shared, |shared| {
                if shared.mutex.lock_until(1) {
                    shared.add();
                    shared.mutex.unlock();
                }
            });
            let (_, two) = spawn(&shared, lock_and_add);
            shared.add();
            first.end(how);
            shared.mutex.unlock();
            one.join().unwrap();
            two.join().unwrap();
            assert!(shared.mutex.try_lock(), "nobody is left, and nobody is promised the lock");
            assert!(shared.get() >= 2);
        });
    }
}

#[test]
fn a_mutex_waiter_that_was_woken_lost_and_is_cancelled_passes_its_turn_on() {
    check(2, || {
        be_somebody();
        let shared = Shared::new();
        shared.mutex.lock();
        // What is cancelled here goes on, as a thread that must not be unwound does.
        let (first, one) = spawn(&shared, lock_and_add);
        let (_, two) = spawn(&shared, lock_and_add);
        shared.mutex.unlock();
        shared.mutex.lock();
        first.end(End::Cancelled);
        shared.mutex.unlock();
        one.join().unwrap();
        two.join().unwrap();
        assert!(shared.mutex.try_lock());
    });
}

/// A thread of the model waits until `parked` is suspended.
fn until_suspended(parked: &Parked) {
    while !matches!(*parked.turn.lock().unwrap(), park::Turn::Suspended(_)) {
        thread::yield_now();
    }
}

/// The first waiter was woken, lost, and is promised the lock. The holder lets it go, and before that has come to the queue a
/// second waiter leaves, and hands the lock on: with what the holder wrote.
#[test]
fn a_mutex_that_somebody_else_hands_on_comes_with_what_its_holder_wrote() {
    check(1, || {
        be_somebody();
        let shared = Shared::new();
        shared.mutex.lock();
        let (first, one) = spawn(&shared, lock_and_add);
        until_suspended(&first);
        let (second, two) = spawn(&shared, |shared| {
            if shared.mutex.lock_until(1) {
                shared.mutex.unlock();
            }
        });
        until_suspended(&second);
        shared.mutex.unlock();
        if shared.mutex.try_lock() {
            // It runs, and is suspended again.
            thread::yield_now();
            second.end(End::TimedOut);
            // After that, so that nothing but the lock's word brings it to whoever hands the lock on.
            shared.add();
            shared.mutex.unlock();
        } else {
            second.end(End::TimedOut);
        }
        one.join().unwrap();
        two.join().unwrap();
    });
}

#[test]
fn a_lock_for_writing_that_somebody_else_hands_on_comes_with_what_its_holder_wrote() {
    check(1, || {
        be_somebody();
        let shared = Shared::new();
        shared.rwlock.write();
        let (first, one) = spawn(&shared, |shared| {
            shared.rwlock.write();
            shared.add();
            shared.rwlock.unlock_write();
        });
        until_suspended(&first);
        let (second, two) = spawn(&shared, |shared| {
            if shared.rwlock.write_until(1) {
                shared.rwlock.unlock_write();
            }
        });
        until_suspended(&second);
        shared.rwlock.unlock_write();
        if shared.rwlock.try_write() {
            // It runs, and is suspended again.
            thread::yield_now();
            second.end(End::TimedOut);
            // After that, so that nothing but the lock's word brings it to whoever hands the lock on.
            shared.add();
            shared.rwlock.unlock_write();
        } else {
            second.end(End::TimedOut);
        }
        one.join().unwrap();
        two.join().unwrap();
    });
}

#[test]
fn a_writer_that_was_woken_lost_and_is_cancelled_passes_its_turn_on() {
    check(2, || {
        be_somebody();
        let shared = Shared::new();
        shared.rwlock.write();
        let write = |shared: &Shared| {
            shared.rwlock.write();
            shared.add();
            shared.rwlock.unlock_write();
        };
        let (first, one) = spawn(&shared, write);
        let (_, two) = spawn(&shared, write);
        shared.rwlock.unlock_write();
        shared.rwlock.write();
        first.end(End::Cancelled);
        shared.rwlock.unlock_write();
        one.join().unwrap();
        two.join().unwrap();
        assert!(shared.rwlock.try_write());
    });
}

#[test]
fn a_reader_and_writers_keep_apart_and_each_is_woken() {
    check(2, || {
        be_somebody();
        let shared = Shared::new();
        let (_, reader) = spawn(&shared, |shared| {
            shared.rwlock.read();
            let before = shared.get();
            assert_eq!(shared.get(), before);
            shared.rwlock.unlock_read();
        });
        let write = |shared: &Shared| {
            shared.rwlock.write();
            shared.add();
            shared.rwlock.unlock_write();
        };
        let (_, writer) = spawn(&shared, write);
        write(&shared);
        reader.join().unwrap();
        writer.join().unwrap();
        assert!(shared.rwlock.try_write());
        assert_eq!(shared.get(), 2);
    });
}

#[test]
fn a_writer_that_leaves_lets_the_reader_behind_it_in() {
    for how in [End::TimedOut, End::Cancelled] {
        check(2, move || {
            be_somebody();
            let shared = Shared::new();
            shared.rwlock.read();
            let (first, writer) = spawn(&shared, |shared| {
                if shared.rwlock.write_until(1) {
                    shared.add();
                    shared.rwlock.unlock_write();
                }
            });
            let (_, reader) = spawn(&shared, |shared| {
                shared.rwlock.read();
                shared.get();
                shared.rwlock.unlock_read();
            });
            first.end(how);
            shared.rwlock.unlock_read();
            writer.join().unwrap();
            reader.join().unwrap();
            assert!(shared.rwlock.try_write(), "nobody is left, and nobody is promised the lock");
        });
    }
}

#[test]
fn a_reader_behind_a_writer_that_timed_out_reads_beside_the_first() {
    check(3, || {
        be_somebody();
        let shared = Shared::new();
        shared.rwlock.read();
        let (first, writer) = spawn(&shared, |shared| {
            // Waits until its time is over, whenever that is: the lock is never free.
            assert!(!shared.rwlock.write_until(1));
        });
        let (_, reader) = spawn(&shared, |shared| {
            shared.rwlock.read();
            shared.rwlock.unlock_read();
        });
        until_suspended(&first);
        first.end(End::TimedOut);
        writer.join().unwrap();
        reader.join().unwrap();
        shared.rwlock.unlock_read();
        assert!(shared.rwlock.try_write());
    });
}

#[test]
fn a_downgrade_publishes_what_was_written_and_lets_the_reader_in() {
    check(3, || {
        be_somebody();
        let shared = Shared::new();
        shared.rwlock.write();
        let (_, reader) = spawn(&shared, |shared| {
            shared.rwlock.read();
            assert_eq!(shared.get(), 1);
            shared.rwlock.unlock_read();
        });
        shared.add();
        shared.rwlock.downgrade();
        reader.join().unwrap();
        shared.rwlock.unlock_read();
    });
}

#[test]
fn a_notification_after_the_state_has_changed_is_not_lost() {
    check(2, || {
        be_somebody();
        let shared = Shared::new();
        let (_, waiter) = spawn(&shared, |shared| {
            shared.mutex.lock();
            while shared.get() == 0 {
                assert!(shared.condvar.wait(&shared.mutex, u64::MAX));
                shared.mutex.lock_again();
            }
            shared.mutex.unlock();
        });
        lock_and_add(&shared);
        shared.condvar.notify_one();
        waiter.join().unwrap();
    });
}

#[test]
fn a_notification_goes_to_the_next_if_the_first_waiter_times_out() {
    check(2, || {
        be_somebody();
        let shared = Shared::new();
        let wait = |shared: &Shared| {
            shared.mutex.lock();
            let mut notified = true;
            while notified && shared.get() == 0 {
                notified = shared.condvar.wait(&shared.mutex, 1);
                shared.mutex.lock_again();
            }
            shared.mutex.unlock();
            if notified {
                // Whoever has seen the change tells the next one.
                shared.condvar.notify_one();
            }
        };
        let (first, one) = spawn(&shared, wait);
        let (_, two) = spawn(&shared, wait);
        first.end(End::TimedOut);
        lock_and_add(&shared);
        shared.condvar.notify_one();
        one.join().unwrap();
        two.join().unwrap();
    });
}
