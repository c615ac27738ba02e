//! Threads that wait while they unwind: their neighbours, who share std's count of panics with them, do not notice.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod help;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use green::Cancelled;
use green::thread::JoinHandle;
use help::{Flag, bounded, everywhere, on_workers, runtime};

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

/// Past the hook, by `resume_unwind`, a panic may go unnoticed: see `park::interrupt`.
fn unwind() -> ! {
    panic!("of the test")
}

#[test]
fn a_thread_that_unwinds_can_cancel_another_and_join_it() {
    everywhere(|| {
        for parked_before in [true, false] {
            let result = catch_unwind(|| {
                let _guard = CancelOnDrop(Some(green::spawn(green::thread::park)));
                if parked_before {
                    green::sleep(Duration::from_millis(1));
                }
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
                green::sleep(Duration::from_millis(1));
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
        struct Wait<'a>(&'a Flag);
        impl Drop for Wait<'_> {
            fn drop(&mut self) {
                while !self.0.is_set() {
                    green::sleep(Duration::from_millis(1));
                }
            }
        }
        let (release, seen) = (Flag::new(), Flag::new());
        green::scope(|s| {
            let neighbour = s.spawn(|| {
                let _wait = Wait(&release);
                unwind();
            });
            let cancelled = s.spawn(|| {
                struct Sleeps<'a>(&'a Flag);
                impl Drop for Sleeps<'_> {
                    fn drop(&mut self) {
                        // A cancel raised here would end the process: the thread unwinds.
                        green::sleep(Duration::from_millis(3));
                        self.0.set();
                    }
                }
                green::sleep(Duration::from_millis(1));
                let _sleeps = Sleeps(&seen);
                panic!("of the test");
            });
            green::sleep(Duration::from_millis(2));
            cancelled.cancel();
            let payload = cancelled.join().unwrap_err();
            assert!(payload.is::<&str>() || payload.is::<Cancelled>());
            release.set();
            assert!(neighbour.join().is_err());
        });
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
            let parked = Arc::new(Flag::new());
            let (flag, was_parked) = (unwound.clone(), parked.clone());
            runtime.spawn(move || {
                struct Join(Option<JoinHandle<()>>, Arc<AtomicBool>);
                impl Drop for Join {
                    fn drop(&mut self) {
                        if let Some(handle) = self.0.take() {
                            let _ = handle.join();
                            self.1.store(true, Ordering::SeqCst);
                        }
                    }
                }
                let other = green::spawn_local(move || {
                    was_parked.set();
                    green::thread::park();
                });
                let _join = Join(Some(other), flag);
                unwind();
            });
            help::spin_until("the thread", || parked.is_set());
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
        green::sleep(Duration::from_millis(1));
        thread.cancel();
        thread.thread().unpark();
        assert!(thread.join().unwrap_err().is::<Cancelled>());
    });
}
