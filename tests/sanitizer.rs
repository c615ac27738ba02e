//! What the sanitizers see in a green thread, and that they see nothing where nothing is. `.ci/sanitizers` runs these tests;
//! with `GREEN_SANITIZER=ignore` as well, and then some have to fail.
#![cfg(any(green_sanitizer = "address", green_sanitizer = "thread"))]
#![allow(missing_docs)]

mod help;

#[cfg(green_sanitizer = "address")]
mod address {
    use std::hint::black_box;
    use std::sync::atomic::{AtomicPtr, Ordering};

    use green::{Runtime, ThreadLocals};

    use crate::help::{Ended, in_a_child};

    const KIND: &str = "GREEN_THREAD_LOCALS";

    /// Runs `f` in a child for each kind of threads.
    fn in_children(variables: &[(&str, &str)], f: impl Fn()) -> [Ended; 2] {
        ["worker", "thread"].map(|kind| in_a_child(&[&[(KIND, kind)], variables].concat(), &f))
    }

    fn runtime(workers: usize) -> Runtime {
        let kind = match std::env::var(KIND).as_deref() {
            Ok("thread") => ThreadLocals::PerThread,
            _ => ThreadLocals::PerWorker,
        };
        Runtime::builder().workers(workers).thread_locals(kind).build().expect("a runtime")
    }

    /// Is the report of that kind, and does its stack end where a green thread begins?
    #[track_caller]
    fn assert_reported_from_inside(ended: &Ended, kind: &str) {
        let report =
            ended.output.split("ERROR: AddressSanitizer: ").nth(1).unwrap_or_else(|| panic!("{}", ended.output));
        assert!(report.starts_with(kind), "{report}");
        let stack = report.split("\n\n").next().expect("it has a first part");
        assert!(stack.contains("thread_main") && stack.contains("_entry"), "{stack}");
    }

    #[test]
    fn a_block_that_a_green_thread_has_freed_is_seen_when_it_is_used() {
        let ended = in_children(&[], || {
            runtime(1).run(|| {
                let block = Box::into_raw(Box::new(7_u64));
                // SAFETY: none: this is the fault that is tested.
                unsafe {
                    drop(Box::from_raw(block));
                    black_box(block.read_volatile());
                }
            });
        });
        ended.iter().for_each(|ended| assert_reported_from_inside(ended, "heap-use-after-free"));
        for ended in ended {
            let freed = ended.output.split("freed by thread").nth(1).expect("it says by whom");
            assert!(freed.contains("_entry"), "{freed}");
        }
    }

    #[test]
    fn the_stack_of_a_thread_that_has_ended_is_seen_when_it_is_used() {
        let ended = in_children(&[("ASAN_OPTIONS", "detect_stack_use_after_return=0")], || {
            runtime(1).run(|| {
                static LOCAL: AtomicPtr<u64> = AtomicPtr::new(std::ptr::null_mut());
                let thread = green::spawn(|| {
                    let mut local = black_box(7_u64);
                    LOCAL.store(&raw mut local, Ordering::Relaxed);
                });
                thread.join().unwrap();
                // SAFETY: none: this is the fault that is tested.
                black_box(unsafe { LOCAL.load(Ordering::Relaxed).read_volatile() });
            });
        });
        ended.iter().for_each(|ended| assert_reported_from_inside(ended, "use-after-poison"));
    }

    #[test]
    fn a_local_of_a_function_that_has_returned_is_seen_when_it_is_used() {
        let ended = in_children(&[("ASAN_OPTIONS", "detect_stack_use_after_return=1")], || {
            #[inline(never)]
            fn escaped() -> *mut u64 {
                let mut local = black_box(7_u64);
                black_box(&raw mut local)
            }
            runtime(1).run(|| {
                let local = escaped();
                // Another one in between, on another fake stack.
                green::spawn(|| black_box(escaped()).addr()).join().unwrap();
                // SAFETY: none: this is the fault that is tested.
                black_box(unsafe { local.read_volatile() });
            });
        });
        ended.iter().for_each(|ended| assert_reported_from_inside(ended, "stack-use-after-return"));
    }

    /// Unwinds through some frames with locals in them.
    fn unwind(depth: usize) {
        let mut locals = [depth; 20];
        black_box(&mut locals);
        if depth == 0 {
            std::panic::resume_unwind(Box::new(()));
        }
        unwind(depth - 1);
        black_box(&locals);
    }

    #[test]
    fn unwinding_and_turns_on_top_of_turns_leave_no_false_reports() {
        let ended = in_children(&[], || {
            fn tree(depth: usize) -> usize {
                let locals = black_box([depth; 50]);
                let child = (depth > 0).then(|| green::spawn(move || tree(depth - 1)));
                if depth.is_multiple_of(3) {
                    green::yield_now();
                }
                assert!(std::panic::catch_unwind(|| unwind(10)).is_err());
                let below = child.map_or(0, |child| child.join().unwrap());
                // Cancelled while it waits: it unwinds by itself.
                let waits = green::spawn(green::thread::park);
                green::yield_now();
                waits.cancel();
                assert!(waits.join().is_err());
                below + locals[black_box(7)]
            }
            let runtime = runtime(2);
            assert_eq!(runtime.run(|| tree(50)), 50 * 51 / 2);
            // Far from the worker's own stack: told nothing, the sanitizer says that it does not understand, and goes on with a
            // shadow that is wrong.
            let far = || green::thread::Builder::new().stack_size(128 << 20).spawn(|| unwind(10)).unwrap().join();
            assert!(runtime.run(far).is_err());
        });
        for ended in ended {
            ended.assert_success();
            assert!(!ended.output.contains("ASan") && !ended.output.contains("AddressSanitizer"), "{}", ended.output);
        }
    }
}

#[cfg(green_sanitizer = "thread")]
mod thread {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use crate::help::{Flag, in_a_child, runtime};

    #[derive(Default)]
    struct Shared {
        value: std::cell::UnsafeCell<u64>,
        /// How many have added ten times.
        ready: std::sync::atomic::AtomicUsize,
    }

    // SAFETY: none: this is the fault that is tested.
    unsafe impl Sync for Shared {}

    impl Shared {
        #[inline(never)]
        fn add(&self) {
            // SAFETY: by who calls it.
            unsafe { *self.value.get() += 1 };
        }

        /// Adds now and then until both have added ten times. A thread that ended at once would go out of the sanitizer's sight
        /// where the other one has no processor for 10 ms: its worker goes on, calls many functions, and so comes to the end of
        /// the history from which a report takes its stack, without which there is none; and the monitor's signals to both
        /// may order their turns.
        #[inline(never)]
        fn race(&self) {
            for turn in 0.. {
                if turn == 10 {
                    self.ready.fetch_add(1, Ordering::Relaxed);
                }
                if turn >= 10 && self.ready.load(Ordering::Relaxed) == 2 {
                    return;
                }
                self.add();
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    }

    /// Two threads on two workers, each of which has its own turn of `add`.
    fn on_two_workers(add: fn(&Shared)) {
        static MET: [Flag; 2] = [const { Flag::new() }; 2];
        let shared = Arc::new(Shared::default());
        let runtime = runtime(2);
        let threads = [0, 1].map(|number| {
            let shared = shared.clone();
            runtime.spawn(move || {
                // Neither gives its worker up before the other one has come.
                MET[number].set_relaxed();
                while !MET[1 - number].is_set_relaxed() {
                    std::hint::spin_loop();
                }
                add(&shared);
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    #[test]
    fn a_data_race_of_green_threads_is_seen() {
        let ended = in_a_child(&[], || on_two_workers(Shared::race));
        let report = ended.output.split("WARNING: ThreadSanitizer: data race").nth(1);
        let report = report.unwrap_or_else(|| panic!("{}", ended.output));
        assert!(report.contains("Shared>::add") && report.contains("thread_main"), "{report}");
        assert_eq!(ended.code, Some(66));
    }

    /// Calls itself so often, and then something else.
    #[inline(never)]
    fn neighbour(depth: usize, then: &dyn Fn()) -> usize {
        if depth == 0 {
            then();
            return 0;
        }
        std::hint::black_box(neighbour(depth - 1, then)) + 1
    }

    #[inline(never)]
    fn racer(shared: &Shared, over: &std::sync::atomic::AtomicBool) {
        // Others stand deep down on their stacks when this one goes on.
        (0..5).for_each(|_| green::yield_now());
        shared.race();
        over.store(true, Ordering::Relaxed);
    }

    #[test]
    fn a_report_shows_the_frames_of_the_green_thread_that_has_raced_and_no_others() {
        use std::sync::atomic::AtomicBool;

        let ended = in_a_child(&[], || {
            on_two_workers(|shared| {
                let over = Arc::new(AtomicBool::new(false));
                let seen = Arc::clone(&over);
                let yields = move || {
                    while !seen.load(Ordering::Relaxed) {
                        green::yield_now();
                    }
                };
                let near = green::spawn_local(move || neighbour(5, &yields));
                racer(shared, &over);
                assert_eq!(near.join().unwrap(), 5);
            });
        });
        let report = ended.output.split("WARNING: ThreadSanitizer: data race").nth(1);
        let report = report.unwrap_or_else(|| panic!("{}", ended.output));
        let stacks: Vec<_> = report.split("\n\n").take(2).collect();
        for stack in stacks {
            assert!(stack.contains("Shared>::add") && stack.contains("racer"), "{report}");
            assert!(stack.contains("thread_main") && !stack.contains("neighbour"), "{report}");
        }
    }

    #[test]
    fn six_hundred_thousand_frames_of_threads_that_wait_are_no_limit() {
        let ended = in_a_child(&[], || {
            runtime(1).run(|| {
                let threads: Vec<_> =
                    (0..3000).map(|_| green::spawn(|| neighbour(200, &green::thread::park))).collect();
                threads.iter().for_each(|thread| crate::help::until_parked(thread.thread(), "park"));
                threads.iter().for_each(|thread| thread.thread().unpark());
                threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), 200));
            });
        });
        ended.assert_success();
        assert!(!ended.output.contains("ThreadSanitizer"), "{}", ended.output);
    }

    #[test]
    fn what_a_lock_of_ours_orders_is_no_data_race() {
        let ended = in_a_child(&[], || {
            static LOCK: green::sync::Mutex<()> = green::sync::Mutex::new(());
            on_two_workers(|shared| {
                let _held = LOCK.lock().unwrap();
                shared.add();
            });
        });
        ended.assert_success();
        assert!(!ended.output.contains("ThreadSanitizer"), "{}", ended.output);
    }
}
