//! Threads that wait while they unwind: their neighbours, who share std's count of panics with them, do not notice.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod help;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use green::Cancelled;
use green::sync::Mutex;
use green::thread::JoinHandle;
use help::{Flag, bounded, everywhere, in_a_child, on_workers, runtime, until, until_parked};

/// Cancels a thread when it is dropped, and waits for it.
struct CancelOnDrop(Option<JoinHandle<()>>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            handle.cancel();
            assert!(handle.join().is_err_and(|payload| payload.is::<Cancelled>()));
        }
    }
}

fn unwind() -> ! {
    panic!("of the test")
}

/// Parks when it is dropped, until the flag is set.
struct ParkOnDrop(Arc<Flag>);

impl Drop for ParkOnDrop {
    fn drop(&mut self) {
        while !self.0.is_set() {
            green::thread::park();
        }
    }
}

/// A thread of this worker that is parked in a destructor while it unwinds: by a panic, a cancel, a time-out, or
/// `resume_unwind`.
struct Neighbour {
    thread: JoinHandle<()>,
    over: Arc<Flag>,
}

const MANNERS: [&str; 4] = ["panic", "cancel", "time-out", "resume_unwind"];

impl Neighbour {
    fn new(manner: &'static str) -> Self {
        let over = Arc::new(Flag::new());
        let until = Arc::clone(&over);
        let thread = green::spawn_local(move || {
            let body = || {
                let _park = ParkOnDrop(until);
                match manner {
                    "panic" => unwind(),
                    "resume_unwind" => resume_unwind(Box::new(1)),
                    _ => green::sleep(Duration::from_secs(600)),
                }
            };
            if manner == "time-out" {
                assert!(green::timeout(Duration::ZERO, body).is_err());
            } else {
                body();
            }
        });
        if manner == "cancel" {
            until_parked(thread.thread(), "sleep");
            thread.cancel();
        }
        until_parked(thread.thread(), "park");
        Self { thread, over }
    }

    fn end(self) {
        self.over.set();
        self.thread.thread().unpark();
        let _ = self.thread.join();
    }
}

fn catch_a_panic() {
    assert!(catch_unwind(|| unwind()).is_err());
}

/// Ends by its `timeout`, not by itself.
fn must_time_out() {
    assert!(green::timeout(Duration::from_millis(2), green::thread::park).is_err());
}

#[test]
fn a_thread_that_unwinds_can_cancel_another_and_join_it() {
    everywhere(|| {
        for parked_before in [true, false] {
            let result = catch_unwind(|| {
                let parks = green::spawn(green::thread::park);
                if parked_before {
                    until_parked(parks.thread(), "park");
                }
                let _guard = CancelOnDrop(Some(parks));
                unwind();
            });
            assert!(result.is_err());
        }
    });
}

#[test]
fn a_thread_that_first_parks_while_a_neighbour_unwinds_can_be_cancelled() {
    on_workers(|| {
        struct StartAndCancel;
        impl Drop for StartAndCancel {
            fn drop(&mut self) {
                let parks = green::spawn_local(green::thread::park);
                // It starts and parks while this thread is waiting here, unwinding.
                until_parked(parks.thread(), "park");
                drop(CancelOnDrop(Some(parks)));
            }
        }
        assert!(
            catch_unwind(|| {
                let _guard = StartAndCancel;
                unwind();
            })
            .is_err()
        );
    });
}

#[test]
fn a_thread_that_panics_while_a_neighbour_unwinds_is_not_cancelled_out_of_its_destructors() {
    on_workers(|| {
        let parks_unwinding = |over: &Arc<Flag>| {
            let over = Arc::clone(over);
            let thread = green::spawn(move || {
                let _park = ParkOnDrop(over);
                unwind();
            });
            until_parked(thread.thread(), "park");
            thread
        };
        let (release, go_on) = (Arc::new(Flag::new()), Arc::new(Flag::new()));
        let neighbour = parks_unwinding(&release);
        let cancelled = parks_unwinding(&go_on);
        // Raised in the destructor, the cancel would end the process.
        cancelled.cancel();
        green::sleep(Duration::from_millis(1));
        assert!(!cancelled.is_finished());
        for (over, thread) in [(go_on, cancelled), (release, neighbour)] {
            over.set();
            thread.thread().unpark();
            assert!(thread.join().unwrap_err().is::<&str>());
        }
    });
}

#[test]
fn a_time_out_ends_a_wait_although_a_neighbour_unwinds() {
    on_workers(|| {
        struct Wait;
        impl Drop for Wait {
            fn drop(&mut self) {
                green::thread::park();
            }
        }
        let unwinds = green::spawn_local(|| {
            let _wait = Wait;
            unwind();
        });
        green::yield_now();
        assert!(green::timeout(Duration::from_millis(2), green::thread::park).is_err());
        assert!(!unwinds.is_finished());
        unwinds.thread().unpark();
        assert!(unwinds.join().is_err());
    });
}

#[test]
fn a_runtime_that_is_dropped_unwinds_neighbours_of_a_thread_that_waits_for_them_unwinding() {
    bounded(|| {
        for workers in [1, 2] {
            let runtime = runtime(workers);
            let unwound = Arc::new(AtomicBool::new(false));
            let flag = unwound.clone();
            let unwinds = runtime.spawn(move || {
                struct Join(Option<JoinHandle<()>>, Arc<AtomicBool>);
                impl Drop for Join {
                    fn drop(&mut self) {
                        if let Some(handle) = self.0.take() {
                            let _ = handle.join();
                            self.1.store(true, Ordering::SeqCst);
                        }
                    }
                }
                let other = green::spawn_local(green::thread::park);
                let _join = Join(Some(other), flag);
                unwind();
            });
            until_parked(unwinds.thread(), "join");
            drop(runtime);
            assert!(unwound.load(Ordering::SeqCst));
        }
    });
}

#[test]
fn a_cancel_that_comes_while_the_thread_unwinds_comes_again_afterwards() {
    everywhere(|| {
        let thread = green::spawn(|| {
            struct Park;
            impl Drop for Park {
                fn drop(&mut self) {
                    green::thread::park();
                }
            }
            let caught = catch_unwind(AssertUnwindSafe(|| {
                let _park = Park;
                unwind();
            }));
            assert!(caught.is_err_and(|payload| payload.is::<&str>()));
            green::sleep(Duration::from_secs(600));
        });
        until_parked(thread.thread(), "park");
        thread.cancel();
        thread.thread().unpark();
        assert!(thread.join().unwrap_err().is::<Cancelled>());
    });
}

#[test]
fn a_wait_that_began_while_a_neighbour_unwound_can_be_ended_by_a_cancel_and_a_time_out() {
    on_workers(|| {
        for manner in MANNERS {
            for during in [true, false] {
                let neighbour = Neighbour::new(manner);
                let [cancelled, timed] = [false, true].map(|timed| {
                    green::spawn_local(move || {
                        catch_a_panic();
                        assert!(!green::thread::panicking());
                        if timed {
                            must_time_out();
                        } else {
                            green::thread::park();
                        }
                    })
                });
                until_parked(cancelled.thread(), "park");
                until(|| timed.is_finished() || timed.thread().waits_for() == Some("park"));
                if during {
                    cancelled.cancel();
                    assert!(cancelled.join().unwrap_err().is::<Cancelled>());
                    timed.join().unwrap();
                    neighbour.end();
                } else {
                    neighbour.end();
                    cancelled.cancel();
                    assert!(cancelled.join().unwrap_err().is::<Cancelled>());
                    timed.join().unwrap();
                }
            }
        }
    });
}

#[test]
fn a_runtime_ends_although_a_thread_began_to_wait_while_a_neighbour_unwound() {
    bounded(|| {
        for manner in MANNERS {
            let runtime = runtime(1);
            runtime.run(move || {
                let neighbour = Neighbour::new(manner);
                let waits = green::spawn_local(|| {
                    catch_a_panic();
                    green::thread::park();
                });
                until_parked(waits.thread(), "park");
                neighbour.end();
            });
            drop(runtime);
        }
    });
}

#[test]
fn a_destructor_that_cancels_and_joins_a_thread_that_has_caught_a_panic_meanwhile_does_not_hang() {
    on_workers(|| {
        struct Guard(Option<JoinHandle<()>>, Arc<Flag>);
        impl Drop for Guard {
            fn drop(&mut self) {
                // The other one catches its panic, and waits again, while this one unwinds.
                self.1.set();
                let works = self.0.take().unwrap();
                until_parked(works.thread(), "park");
                drop(CancelOnDrop(Some(works)));
            }
        }
        let go = Arc::new(Flag::new());
        let flag = Arc::clone(&go);
        let works = green::spawn_local(move || {
            flag.wait();
            catch_a_panic();
            green::thread::park();
        });
        let result = catch_unwind(AssertUnwindSafe(|| {
            let _guard = Guard(Some(works), go);
            unwind();
        }));
        assert!(result.is_err_and(|payload| payload.is::<&str>()));
    });
}

#[test]
fn a_panic_that_is_handed_on_poisons_and_its_neighbours_mutex_is_not_poisoned() {
    on_workers(|| {
        for manner in MANNERS {
            let neighbour = Neighbour::new(manner);
            let (over, handed_on) = (Arc::new(Flag::new()), Arc::new(Mutex::new(())));
            let (go_on, mutex) = (Arc::clone(&over), Arc::clone(&handed_on));
            let hands_on = green::spawn_local(move || {
                let payload = green::spawn(|| unwind()).join().unwrap_err();
                let _park = ParkOnDrop(go_on);
                let _guard = mutex.lock();
                resume_unwind(payload);
            });
            until(|| handed_on.is_poisoned());
            let good = Arc::new(Mutex::new(()));
            let (mutex, before) = (Arc::clone(&good), good.lock().unwrap());
            neighbour.end();
            must_time_out();
            let waits = green::spawn_local(move || {
                let _guard = mutex.lock().unwrap();
                must_time_out();
                assert!(!green::thread::panicking());
                green::sleep(Duration::from_secs(600));
            });
            until_parked(waits.thread(), "mutex");
            drop(before);
            until_parked(waits.thread(), "sleep");
            waits.cancel();
            assert!(waits.join().unwrap_err().is::<Cancelled>());
            assert!(!good.is_poisoned());
            over.set();
            hands_on.thread().unpark();
            assert!(hands_on.join().unwrap_err().is::<&str>());
        }
    });
}

#[test]
fn a_guard_poisons_only_if_a_panic_of_its_own_thread_drops_it() {
    on_workers(|| {
        for manner in MANNERS {
            let neighbour = Neighbour::new(manner);
            let poisoned_by = |f: &dyn Fn(&Mutex<()>)| {
                let mutex = Mutex::new(());
                let _ = catch_unwind(AssertUnwindSafe(|| f(&mutex)));
                mutex.is_poisoned()
            };
            assert!(!poisoned_by(&|mutex| drop(mutex.lock())));
            assert!(!poisoned_by(&|mutex| {
                let _guard = mutex.lock();
                catch_a_panic();
            }));
            assert!(!poisoned_by(&|mutex| {
                let _guard = mutex.lock();
                green::yield_now();
                catch_a_panic();
                must_time_out();
                green::yield_now();
            }));
            assert!(!poisoned_by(&|mutex| {
                let _ = green::timeout(Duration::ZERO, || {
                    let _guard = mutex.lock();
                    green::thread::park();
                });
            }));
            assert!(poisoned_by(&|mutex| {
                let _guard = mutex.lock();
                unwind();
            }));
            assert!(poisoned_by(&|mutex| {
                let _guard = mutex.lock();
                catch_a_panic();
                green::yield_now();
                resume_unwind(Box::new(1));
            }));
            // In a destructor that unwinding runs, in good order.
            assert!(!poisoned_by(&|mutex| {
                struct Locks<'a>(&'a Mutex<()>);
                impl Drop for Locks<'_> {
                    fn drop(&mut self) {
                        assert!(green::thread::panicking());
                        let guard = self.0.lock();
                        green::yield_now();
                        drop(guard);
                    }
                }
                let _locks = Locks(mutex);
                unwind();
            }));
            neighbour.end();
        }
    });
}

/// A cancelled thread hands a panic on, and a destructor of its waits; a neighbour unwinds. Returns how it ended.
fn hands_on_while_cancelled(late_hook: bool) {
    bounded(move || {
        runtime(1).run(move || {
            if late_hook {
                set_hook(Box::new(|_| ()));
            }
            let neighbour = Neighbour::new("panic");
            let (cancelled, seen) = (Arc::new(Flag::new()), Arc::new(Flag::new()));
            let (until, done) = (Arc::clone(&cancelled), Arc::clone(&seen));
            let thread = green::spawn_local(move || {
                struct Sleeps(Arc<Flag>);
                impl Drop for Sleeps {
                    fn drop(&mut self) {
                        assert!(green::thread::panicking());
                        green::sleep(Duration::from_millis(1));
                        green::yield_now();
                        green::sleep(Duration::from_millis(1));
                        self.0.set();
                    }
                }
                let _sleeps = Sleeps(done);
                while !until.is_set() {
                    green::yield_now();
                }
                if late_hook {
                    unwind();
                }
                let child = std::thread::spawn(|| resume_unwind(Box::new("of a child")));
                resume_unwind(child.join().unwrap_err());
            });
            green::yield_now();
            thread.cancel();
            cancelled.set();
            assert!(thread.join().unwrap_err().is::<&str>());
            assert!(seen.is_set());
            neighbour.end();
        });
    });
}

#[test]
fn a_cancelled_thread_that_hands_a_panic_on_may_wait_in_its_destructors() {
    in_a_child(&[], || hands_on_while_cancelled(false)).assert_success();
}

#[test]
fn a_cancelled_thread_may_wait_in_its_destructors_after_a_panic_that_a_late_hook_has_seen() {
    in_a_child(&[], || hands_on_while_cancelled(true)).assert_success();
}

#[test]
fn a_selection_that_is_dropped_unfinished_panics_although_a_neighbour_unwinds() {
    on_workers(|| {
        let neighbour = Neighbour::new("panic");
        let (sender, _receiver) = green::channel::bounded::<u8>(1);
        let dropped = catch_unwind(AssertUnwindSafe(|| {
            let mut select = green::channel::Select::new();
            select.send(&sender);
            drop(select.select());
        }));
        assert!(dropped.is_err());
        neighbour.end();
    });
}
