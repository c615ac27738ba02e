//! `local!`: a value for each thread, green or OS; destructors, their order, and what they may do.
#![cfg(not(miri))]
#![allow(missing_docs)]

mod help;

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use green::thread::ThreadId;
use help::{bounded, everywhere, in_a_child, on_workers};

/// Runs `f` in a green thread, and in an OS thread of its own, to its end.
#[track_caller]
fn in_threads(f: impl Fn() + Send + Sync + Clone + 'static) {
    everywhere({
        let f = f.clone();
        move || green::spawn(f.clone()).join().unwrap()
    });
    bounded(move || std::thread::spawn(f).join().unwrap());
}

#[test]
fn each_thread_has_a_value_of_its_own_across_waits() {
    green::local! {
        static NUMBER: Cell<usize> = Cell::new(0);
        static LIST: RefCell<Vec<usize>> = RefCell::new(vec![]);
    }
    everywhere(|| {
        NUMBER.set(1000);
        let threads: Vec<_> = (0..20)
            .map(|n| {
                green::spawn(move || {
                    for round in 0..5 {
                        assert_eq!(NUMBER.get(), n * round);
                        LIST.with_borrow_mut(|list| list.push(round));
                        if round % 2 == 0 {
                            green::yield_now()
                        } else {
                            green::sleep(Duration::from_millis(1))
                        }
                        NUMBER.set(n * (round + 1));
                    }
                    assert_eq!(LIST.take(), [0, 1, 2, 3, 4]);
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(NUMBER.get(), 1000);
    });
}

struct Logs(&'static str, Arc<Mutex<Vec<&'static str>>>);

impl Drop for Logs {
    fn drop(&mut self) {
        self.1.lock().unwrap().push(self.0);
    }
}

#[test]
fn destructors_have_run_when_join_returns_last_made_first() {
    green::local! {
        static FIRST: RefCell<Option<Logs>> = RefCell::new(None);
        static SECOND: RefCell<Option<Logs>> = RefCell::new(None);
    }
    in_threads(|| {
        for end in ["returns", "panics", "is cancelled"] {
            let log = Arc::new(Mutex::new(vec![]));
            let inner = log.clone();
            let thread = green::spawn(move || {
                FIRST.set(Some(Logs("first", inner.clone())));
                SECOND.set(Some(Logs("second", inner)));
                match end {
                    "returns" => {}
                    "panics" => std::panic::resume_unwind(Box::new(())),
                    _ => green::thread::park(),
                }
            });
            if end == "is cancelled" {
                while log.lock().unwrap().is_empty() {
                    thread.cancel();
                    green::sleep(Duration::from_millis(1));
                    if thread.is_finished() {
                        break;
                    }
                }
            }
            let cancelled_before_its_start = thread.join().is_err() && log.lock().unwrap().is_empty();
            assert!(cancelled_before_its_start || *log.lock().unwrap() == ["second", "first"], "{end}");
        }
    });
}

static SEEN: AtomicUsize = AtomicUsize::new(0);

struct LooksAtItself;

green::local! {
    static ITSELF: LooksAtItself = LooksAtItself;
}

impl Drop for LooksAtItself {
    fn drop(&mut self) {
        assert!(ITSELF.try_with(|_| ()).is_err(), "a value that is being dropped was made anew");
        SEEN.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_value_that_is_being_dropped_is_gone_for_its_own_destructor() {
    let before = SEEN.load(Ordering::Relaxed);
    in_threads(|| ITSELF.with(|_| ()));
    assert_eq!(SEEN.load(Ordering::Relaxed) - before, 5, "one an end of a thread");
}

#[test]
fn a_destructor_may_make_another_value_and_may_wait() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Late;
    impl Drop for Late {
        fn drop(&mut self) {
            green::sleep(Duration::from_millis(1));
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
    struct Early;
    impl Drop for Early {
        fn drop(&mut self) {
            green::yield_now();
            LATE.with(|_| ());
            assert_eq!(green::spawn(|| 3).join().unwrap(), 3);
        }
    }
    green::local! {
        static EARLY: Early = Early;
        static LATE: Late = Late;
    }
    in_threads(|| EARLY.with(|_| ()));
    assert_eq!(DROPPED.load(Ordering::Relaxed), 5);
}

thread_local! {
    /// Made before the thread has anything to do with the crate, so it is dropped after all that the crate keeps there.
    static OUTLIVES: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

struct RunsAtTheEnd;

thread_local! {
    static AT_THE_END: RunsAtTheEnd = const { RunsAtTheEnd };
}

impl Drop for RunsAtTheEnd {
    fn drop(&mut self) {
        if let Some(f) = OUTLIVES.with_borrow_mut(Option::take) {
            f();
        }
    }
}

#[test]
fn the_last_destructors_of_an_os_thread_wait_like_the_thread_that_they_belong_to() {
    let (sender, receiver) = mpsc::channel::<(ThreadId, ThreadId, bool, i32)>();
    bounded(move || {
        let thread = std::thread::spawn(move || {
            OUTLIVES.with_borrow(|_| ());
            AT_THE_END.with(|_| ());
            let before = green::thread::current().id();
            OUTLIVES.set(Some(Box::new(move || {
                let me = green::thread::current();
                let id = me.id();
                let unparker = std::thread::spawn(move || me.unpark());
                green::thread::park();
                unparker.join().unwrap();
                let over = green::timeout(Duration::from_millis(2), || green::sleep(Duration::from_secs(60)));
                let joined = green::spawn(|| 4).join().unwrap();
                sender.send((before, id, over.is_err(), joined)).unwrap();
            })));
        });
        thread.join().unwrap();
    });
    let (before, id, timed_out, joined) = receiver.recv().unwrap();
    assert_eq!(before, id);
    assert!(timed_out);
    assert_eq!(joined, 4);
}

#[test]
fn an_initialiser_may_use_its_own_key() {
    green::local! {
        static DEPTH: Cell<u32> = Cell::new(0);
        static NUMBER: u32 = {
            DEPTH.set(DEPTH.get() + 1);
            if DEPTH.get() < 3 { NUMBER.with(|n| *n) + 1 } else { 10 }
        };
    }
    // The innermost value was there first, so it stands.
    in_threads(|| NUMBER.with(|n| assert_eq!(*n, 10)));
}

#[test]
fn an_initialiser_that_panics_or_is_cancelled_leaves_nothing_behind() {
    green::local! {
        static TRIES: Cell<u32> = Cell::new(0);
        static VALUE: u32 = {
            TRIES.set(TRIES.get() + 1);
            if TRIES.get() == 1 { std::panic::resume_unwind(Box::new(())) }
            green::sleep(Duration::from_millis(1));
            TRIES.get()
        };
    }
    in_threads(|| {
        assert!(std::panic::catch_unwind(|| VALUE.with(|_| ())).is_err());
        VALUE.with(|value| assert_eq!(*value, 2));
    });
}

#[test]
fn a_destructor_that_panics_ends_the_process_and_says_why() {
    let ended = in_a_child(&[], || {
        struct Bad;
        impl Drop for Bad {
            fn drop(&mut self) {
                panic!("of the destructor");
            }
        }
        green::local! { static BAD: Bad = Bad; }
        let _ = green::spawn(|| BAD.with(|_| ())).join();
    });
    assert_eq!(ended.signal, Some(6), "{}", ended.output);
    assert!(ended.output.contains("the destructor of a green-thread-local value panicked"), "{}", ended.output);
}

#[test]
fn values_of_a_runtime_that_is_dropped_are_dropped() {
    bounded(|| {
        let log = Arc::new(Mutex::new(vec![]));
        let runtime = help::runtime(2);
        green::local! { static LOGS: RefCell<Option<Logs>> = RefCell::new(None); }
        let parked: Vec<_> = (0..10)
            .map(|_| {
                let (logs, (started, is_there)) = (Logs("gone", log.clone()), mpsc::channel());
                runtime.spawn(move || {
                    LOGS.set(Some(logs));
                    started.send(()).unwrap();
                    green::thread::park();
                });
                is_there
            })
            .collect();
        for is_there in parked {
            is_there.recv().unwrap();
        }
        drop(runtime);
        assert_eq!(log.lock().unwrap().len(), 10);
    });
}

#[test]
fn several_keys_in_one_thread_do_not_mix() {
    green::local! {
        static A: Cell<u8> = Cell::new(1);
        static B: Cell<u64> = Cell::new(2);
        static C: String = String::from("three");
    }
    on_workers(|| {
        B.set(B.get() + 40);
        A.set(A.replace(7) + 1);
        assert_eq!((A.get(), B.get()), (2, 42));
        C.with(|text| assert_eq!(text, "three"));
        assert_eq!(A.take(), 2);
    });
}

#[test]
fn a_value_that_the_destructor_of_a_result_makes_is_dropped_too() {
    struct Counted;
    impl Drop for Counted {
        fn drop(&mut self) {
            LATE.fetch_add(1, Ordering::Relaxed);
        }
    }
    static LATE: AtomicUsize = AtomicUsize::new(0);
    green::local! {
        static MADE_LATE: Counted = Counted;
    }
    struct Touches;
    impl Drop for Touches {
        fn drop(&mut self) {
            MADE_LATE.with(|_| ());
        }
    }
    let runtime = help::runtime(1);
    // Nobody holds the handle, so the thread itself drops its result.
    runtime.run(|| {
        drop(green::spawn_local(|| Touches));
        green::yield_now();
    });
    assert_eq!(LATE.load(Ordering::Relaxed), 1);
}
