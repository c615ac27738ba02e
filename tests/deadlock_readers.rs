//! Threads that wait for one another through readers are told so, in debug builds and others that are told to; those that do not, are not.
#![cfg(all(any(debug_assertions, green_deadlocks), not(miri)))]

mod help;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use green::sync::{Barrier, Mutex, RwLock, RwLockWriteGuard, Semaphore};
use green::thread::{Builder, JoinHandle};
use help::Random;

/// What `f` has panicked with.
fn told<T>(f: impl FnOnce() -> T) -> Option<String> {
    catch_unwind(AssertUnwindSafe(|| drop(f()))).err().map(|error| *error.downcast::<String>().unwrap())
}

fn named<T: Send + 'static>(name: &str, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().name(name.to_owned()).spawn(f).unwrap()
}

/// A thread that writes, and has parked before it could.
fn waits_to_write(lock: &Arc<RwLock<()>>) -> JoinHandle<()> {
    let lock = lock.clone();
    let writes = named("writes", move || drop(lock.write()));
    help::until_parked(writes.thread(), "rwlock");
    writes
}

fn leaked<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

#[test]
fn threads_that_read_and_want_to_write_what_the_next_one_reads_are_named_with_both_places() {
    help::on_workers(|| {
        for count in [2, 3] {
            let locks: Arc<Vec<RwLock<()>>> = Arc::new((0..count).map(|_| RwLock::new(())).collect());
            let all_have = Arc::new(Barrier::new(count));
            let threads: Vec<_> = (0..count)
                .map(|at| {
                    let (locks, all_have) = (locks.clone(), all_have.clone());
                    named(&format!("ring {at}"), move || {
                        let _own = locks[at].read();
                        all_have.wait();
                        let next = &locks[(at + 1) % locks.len()];
                        told(|| drop(next.write()))
                    })
                })
                .collect();
            let (has, wants) = (line!() - 7, line!() - 4);
            let texts: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
            assert_eq!(texts.len(), 1, "{texts:?}");
            let text = &texts[0];
            assert!(text.starts_with(&format!("deadlock: {count} threads wait for one another\n")), "{text}");
            assert_eq!(text.matches("for a readers-writer lock, which thread ").count(), count, "{text}");
            assert_eq!(
                text.matches(&format!(" reads since tests/deadlock_readers.rs:{has}:")).count(),
                count,
                "{text}"
            );
            let waits = format!(" waits at tests/deadlock_readers.rs:{wants}:");
            assert_eq!(text.matches(&waits).count(), count, "{text}");
            (0..count).for_each(|at| assert_eq!(text.matches(&format!("\"ring {at}\"")).count(), 2, "{text}"));
        }
    });
}

#[test]
fn a_reader_that_wants_to_write_is_told_that_it_waits_for_itself() {
    let lock = RwLock::new(());
    let (first, second) = (lock.read(), lock.try_read());
    let read_at = line!() - 1;
    let text = told(|| drop(lock.write())).unwrap();
    assert!(text.starts_with("deadlock: a thread waits for itself\n"), "{text}");
    assert!(text.contains(&format!(" reads since tests/deadlock_readers.rs:{read_at}:")), "{text}");
    assert!(text.contains(&format!(" waits at tests/deadlock_readers.rs:{}:", read_at + 2)), "{text}");
    drop(first);
    let text = told(|| drop(lock.write())).unwrap();
    assert!(text.contains(&format!(" reads since tests/deadlock_readers.rs:{read_at}:")), "{text}");
    drop(second);
    drop(lock.write());
}

#[test]
fn who_reads_again_behind_one_that_waits_to_write_is_told_so() {
    help::on_workers(|| {
        let lock = Arc::new(RwLock::new(()));
        let reading = lock.read();
        let writes = waits_to_write(&lock);
        let text = told(|| drop(lock.read())).unwrap();
        assert!(text.starts_with("deadlock: 2 threads wait for one another\n"), "{text}");
        assert!(text.contains("for a readers-writer lock, for which thread "), "{text}");
        assert!(text.contains("\"writes\" waits before it, to write\n"), "{text}");
        assert!(text.contains("\"writes\" waits at tests/deadlock_readers.rs:"), "{text}");
        assert!(text.contains(" reads since tests/deadlock_readers.rs:"), "{text}");
        drop(reading);
        writes.join().unwrap();
    });
}

/// Another thread, green or not, has a mutex and wants to write; this one reads by `read`, and wants the mutex.
fn reads_and_locks(is_green: bool, read: fn(&RwLock<()>) -> green::sync::RwLockReadGuard<'_, ()>) {
    let locks = Arc::new((RwLock::new(()), Mutex::new(()), Barrier::new(2)));
    let theirs = locks.clone();
    let other = move || {
        let _own = theirs.1.lock();
        theirs.2.wait();
        told(|| drop(theirs.0.write()))
    };
    let join: Box<dyn FnOnce() -> Option<String>> = if is_green {
        let thread = named("other", other);
        Box::new(|| thread.join().unwrap())
    } else {
        let thread = std::thread::spawn(other);
        Box::new(|| green::blocking(|| thread.join().unwrap()))
    };
    let reading = read(&locks.0);
    locks.2.wait();
    let here = told(|| drop(locks.1.lock()));
    drop(reading);
    let texts: Vec<_> = [here, join()].into_iter().flatten().collect();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].contains("for a mutex, which thread "), "{texts:?}");
    assert!(texts[0].contains(" reads since tests/deadlock_readers.rs:"), "{texts:?}");
    assert_eq!(texts[0].matches(" waits at tests/deadlock_readers.rs:").count(), 2, "{texts:?}");
}

#[test]
fn a_reader_and_one_that_wants_to_write_with_its_mutex_are_told_so() {
    help::on_workers(|| {
        for is_green in [true, false] {
            reads_and_locks(is_green, |lock| lock.read().unwrap());
            reads_and_locks(is_green, |lock| lock.try_read().unwrap());
            reads_and_locks(is_green, |lock| lock.read_timeout(Duration::from_secs(9)).unwrap());
            reads_and_locks(is_green, |lock| RwLockWriteGuard::downgrade(lock.write().unwrap()));
        }
    });
}

#[test]
fn a_reader_that_joins_one_that_wants_to_write_is_told_so() {
    help::on_workers(|| {
        let lock = Arc::new(RwLock::new(()));
        let reading = lock.read();
        let writes = waits_to_write(&lock);
        let thread = writes.thread().clone();
        let text = told(|| writes.join()).unwrap();
        assert!(text.contains("for the end of thread ") && text.contains("\"writes\" waits at "), "{text}");
        assert!(text.contains(" reads since tests/deadlock_readers.rs:"), "{text}");
        drop(reading);
        help::until(|| thread.waits_for().is_none());
    });
}

#[test]
fn a_scope_that_ends_under_a_reader_of_what_its_thread_wants_to_write_is_reported() {
    let ended = help::in_a_child(&[], || {
        green::run(|| {
            let lock = RwLock::new(());
            let reading = lock.read();
            let here = green::thread::current();
            green::scope(|scope| {
                let writes = scope.spawn(|| drop(lock.write()));
                help::until_parked(writes.thread(), "rwlock");
                // The report ends nothing.
                scope.spawn(move || {
                    help::until_parked(&here, "scope");
                    writes.cancel();
                });
            });
            drop(reading);
        });
    });
    ended.assert_success();
    assert!(ended.output.contains("for the end of a scope, in which thread "), "{}", ended.output);
    assert!(ended.output.contains(" reads since tests/deadlock_readers.rs:"), "{}", ended.output);
}

#[test]
fn three_threads_of_which_one_stands_in_line_behind_another_are_told_so() {
    help::on_workers(|| {
        let (lock, mutex) = (Arc::new(RwLock::new(())), Arc::new(Mutex::new(())));
        let reading = lock.read();
        let writes = waits_to_write(&lock);
        let theirs = (lock.clone(), mutex.clone());
        let reads = named("reads", move || {
            let _own = theirs.1.lock();
            drop(theirs.0.read());
        });
        help::until_parked(reads.thread(), "rwlock");
        let text = told(|| drop(mutex.lock())).unwrap();
        assert!(text.starts_with("deadlock: 3 threads wait for one another\n"), "{text}");
        assert!(text.contains("for a mutex, which thread ") && text.contains("\"reads\" has since "), "{text}");
        assert!(text.contains("\"writes\" waits before it, to write\n"), "{text}");
        assert!(text.contains(" reads since tests/deadlock_readers.rs:"), "{text}");
        drop(reading);
        writes.join().unwrap();
        reads.join().unwrap();
    });
}

// What is none.

/// Two readers are handed the lock before a writer. The first to run joins the other, which has not run since it waited.
#[test]
fn a_reader_that_has_been_handed_the_lock_waits_for_nobody_in_line() {
    help::on_workers(|| {
        let lock = Arc::new(RwLock::new(()));
        let (one_runs, readers) = (Arc::new(AtomicBool::new(false)), Arc::new(std::sync::Mutex::new(Vec::new())));
        let writing = lock.write();
        for number in [0, 1] {
            let (theirs, one_runs, others) = (lock.clone(), one_runs.clone(), readers.clone());
            let reads = named("reads", move || {
                let _reading = theirs.read();
                if !one_runs.swap(true, Ordering::Relaxed) {
                    let other: JoinHandle<()> = others.lock().unwrap().remove(1 - number);
                    other.join().unwrap();
                }
            });
            help::until_parked(reads.thread(), "rwlock");
            readers.lock().unwrap().push(reads);
        }
        let writes = waits_to_write(&lock);
        drop(writing);
        writes.join().unwrap();
        let joins = readers.lock().unwrap().remove(0);
        joins.join().unwrap();
    });
}

/// A writer, behind it a reader, behind that another writer. The first goes on as a reader, and joins the reader.
#[test]
fn a_reader_does_not_wait_for_a_writer_behind_it() {
    help::on_workers(|| {
        let lock = Arc::new(RwLock::new(()));
        let writing = lock.write();
        let theirs = lock.clone();
        let reads = named("reads", move || drop(theirs.read()));
        help::until_parked(reads.thread(), "rwlock");
        let writes = waits_to_write(&lock);
        let reading = RwLockWriteGuard::downgrade(writing.unwrap());
        reads.join().unwrap();
        drop(reading);
        writes.join().unwrap();
    });
}

#[test]
fn who_reads_again_behind_one_that_waits_for_a_time_is_not_told_so() {
    help::on_workers(|| {
        for by_scope in [false, true] {
            let lock = Arc::new(RwLock::new(()));
            let reading = lock.read();
            let theirs = lock.clone();
            let short = Duration::from_millis(20);
            let writes = named("writes", move || match by_scope {
                true => green::timeout(short, || drop(theirs.write())).is_err(),
                false => theirs.write_timeout(short).is_err(),
            });
            help::until(|| writes.thread().waits_for() == Some("rwlock") || writes.is_finished());
            drop(lock.read());
            assert!(writes.join().unwrap());
            drop(reading);
        }
    });
}

#[test]
fn who_reads_again_behind_one_that_is_cancelled_is_not_told_so() {
    help::on_workers(|| {
        let lock = Arc::new(RwLock::new(()));
        let reading = lock.read();
        let writes = waits_to_write(&lock);
        writes.cancel();
        drop(lock.read());
        assert!(writes.join().unwrap_err().is::<green::Cancelled>());
        drop(reading);
    });
}

/// The lock stays taken for ever, by nobody that waits.
#[test]
fn the_forgotten_guard_of_a_thread_that_has_ended_is_nobodys() {
    help::on_workers(|| {
        let (lock, mutex) = (Arc::new(RwLock::new(())), Arc::new(Mutex::new(())));
        let theirs = lock.clone();
        named("forgets", move || std::mem::forget(theirs.read())).join().unwrap();
        let theirs = (lock.clone(), mutex.clone());
        let writes = named("writes", move || {
            let _own = theirs.1.lock();
            drop(theirs.0.write());
        });
        help::until_parked(writes.thread(), "rwlock");
        let here = green::thread::current();
        let cancels = green::spawn(move || {
            help::until_parked(&here, "mutex");
            writes.cancel();
            writes.join().unwrap_err().is::<green::Cancelled>()
        });
        drop(mutex.lock().unwrap());
        assert!(cancels.join().unwrap());
        drop(lock.read());
    });
}

/// A guard cannot be sent, but a neighbour of the same worker may get it.
#[test]
fn who_has_given_its_guards_to_a_neighbour_is_not_told_so() {
    help::on_workers(|| {
        let (lock, mutex) = (leaked(RwLock::new(())), leaked(Mutex::new(0)));
        let (reading, mut locked) = (lock.read(), mutex.lock().unwrap());
        *locked += 1;
        let writes = named("writes", || drop(lock.write()));
        help::until_parked(writes.thread(), "rwlock");
        let here = green::thread::current();
        let neighbour = green::spawn_local(move || {
            help::until_parked(&here, "mutex");
            drop(locked);
            help::until_parked(&here, "join");
            drop(reading);
        });
        // Both would wait for this thread itself, if it had the guards.
        assert_eq!(*mutex.lock().unwrap(), 1);
        writes.join().unwrap();
        neighbour.join().unwrap();
    });
}

/// The same in the other direction: the neighbour leaves its guards where this one takes them.
#[test]
fn a_neighbour_that_has_given_its_guards_away_is_not_told_so() {
    help::on_workers(|| {
        let lock = leaked(RwLock::new(()));
        let place = Rc::new(RefCell::new(None));
        let theirs = place.clone();
        let neighbour = green::spawn_local(move || {
            *theirs.borrow_mut() = Some(lock.read().unwrap());
            // It would wait for its own guard.
            drop(lock.write().unwrap());
        });
        help::until_parked(neighbour.thread(), "rwlock");
        drop(place.borrow_mut().take());
        neighbour.join().unwrap();
    });
}

#[test]
fn a_permit_has_no_holder() {
    help::on_workers(|| {
        let (lock, permits) = (Arc::new(RwLock::new(())), Arc::new(Semaphore::new(1)));
        let permit = permits.acquire();
        let theirs = (lock.clone(), permits.clone());
        let reads = named("reads", move || {
            let _reading = theirs.0.read();
            drop(theirs.1.acquire());
        });
        help::until_parked(reads.thread(), "semaphore");
        let adds = permits.clone();
        let here = green::thread::current();
        let other = green::spawn(move || {
            help::until_parked(&here, "rwlock");
            adds.add_permits(1);
        });
        drop(lock.write());
        drop(permit);
        other.join().unwrap();
        reads.join().unwrap();
    });
}

/// Threads that take three locks in all orders; against the order of the locks by such calls that one of them always gives up.
#[test]
fn threads_that_read_and_write_by_trying_or_for_a_time_are_not_told_so() {
    help::on_workers(|| {
        let locks = Arc::new([RwLock::new(0_u64), RwLock::new(0_u64), RwLock::new(0_u64)]);
        let seed = 0x5eed_0dea;
        let threads: Vec<_> = (0..8)
            .map(|number| {
                let locks = locks.clone();
                let mut random = Random::new(seed + number);
                green::spawn(move || {
                    for _ in 0..help::scaled(300) {
                        let (first, second) = (random.below(3) as usize, random.below(3) as usize);
                        let short = Duration::from_micros(200);
                        let then = |random: &mut Random| {
                            let next = &locks[second];
                            match random.below(8) {
                                0 => drop(next.try_read()),
                                1 => drop(next.try_write()),
                                2 => drop(next.read_timeout(short)),
                                3 => drop(next.write_timeout(short)),
                                4 => drop(green::timeout(short, || drop(next.write()))),
                                5 => drop(green::timeout(short, || drop(next.read()))),
                                // In one order there is no cycle, as the other order is always bounded.
                                6 if first < second => drop(next.write()),
                                7 if first < second => drop(next.read()),
                                _ => green::yield_now(),
                            }
                        };
                        if random.below(3) == 0 {
                            let mut writing = locks[first].write().unwrap();
                            *writing += 1;
                            if random.below(2) == 0 {
                                let _reading = RwLockWriteGuard::downgrade(writing);
                                then(&mut random);
                            } else if first != second {
                                then(&mut random);
                            }
                        } else {
                            let _reading = locks[first].read().unwrap();
                            then(&mut random);
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}
