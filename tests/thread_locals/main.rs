//! Green threads with thread-locals of their own: what keeps state by thread is right across a park.
#![cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod crates;
mod debugger;
mod ends;
#[path = "../help/mod.rs"]
mod help;
mod libraries;
mod system;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use green::{Runtime, ThreadLocals};

/// A runtime whose threads have thread-locals of their own. One worker: its threads are neighbours. `None`: none is to be had here.
fn runtime() -> Option<Runtime> {
    match Runtime::builder().workers(1).thread_locals(ThreadLocals::PerThread).build() {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{error}");
            eprintln!("not tried: {error}");
            None
        }
    }
}

/// Runs `f` in many green threads of one worker at once.
fn many(n: usize, f: impl Fn(usize) + Sync) {
    let Some(runtime) = runtime() else { return };
    runtime.run(|| {
        green::scope(|scope| {
            let f = &f;
            for number in 0..n {
                scope.spawn(move || f(number));
            }
        });
    });
}

#[test]
fn a_machine_like_this_has_them() {
    let found = ThreadLocals::supported();
    // `.ci/glibc` says what is missing.
    if let Ok(missing) = std::env::var("GREEN_TEST_REFUSED") {
        assert!(found.unwrap_err().to_string().contains(&missing));
        return;
    }
    let wanted = cfg!(all(green_thread_locals, any(not(green_sanitized), green_sanitizer = "address")));
    assert_eq!(found.is_ok(), wanted, "{found:?}");
}

#[test]
fn the_environment_gives_them_to_the_default_runtimes_threads() {
    for value in ["worker", "thread"] {
        let ended = help::in_a_child(&[("GREEN_THREAD_LOCALS", value)], || {
            let wanted = std::env::var("GREEN_THREAD_LOCALS").as_deref() == Ok("thread");
            match green::thread::Builder::new().spawn(|| std::thread::current().name().is_none()) {
                Ok(thread) => assert_eq!(thread.join().unwrap(), wanted),
                Err(error) => assert!(wanted && error.kind() == io::ErrorKind::Unsupported, "{error}"),
            }
        });
        ended.assert_success();
    }
}

#[test]
fn a_thread_local_is_the_threads_own() {
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(7) };
    }
    many(50, |number| {
        assert_eq!(NUMBER.get(), 7);
        NUMBER.set(number);
        for _ in 0..10 {
            green::yield_now();
            assert_eq!(NUMBER.get(), number);
        }
    });
}

#[test]
fn errno_is_the_threads_own() {
    many(20, |number| {
        let wanted = number as i32 + 1;
        // SAFETY: errno of the calling thread.
        unsafe { *libc::__errno_location() = wanted };
        green::yield_now();
        assert_eq!(io::Error::last_os_error().raw_os_error(), Some(wanted));
    });
}

#[test]
fn std_knows_each_thread() {
    let ids = Mutex::new(Vec::new());
    many(20, |_| {
        let id = std::thread::current().id();
        ids.lock().unwrap().push(id);
        green::yield_now();
        assert_eq!(std::thread::current().id(), id);
    });
    let ids = ids.into_inner().unwrap();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
}

#[test]
fn panics_are_counted_by_thread() {
    struct Waits(bool);
    impl Drop for Waits {
        fn drop(&mut self) {
            assert_eq!(std::thread::panicking(), self.0);
            green::yield_now();
            assert_eq!(std::thread::panicking(), self.0);
        }
    }
    let Some(runtime) = runtime() else { return };
    runtime.run(|| {
        let threads: Vec<_> = (0..20)
            .map(|number| {
                green::spawn(move || {
                    let _waits = Waits(number % 2 == 0);
                    green::yield_now();
                    if number % 2 == 0 {
                        std::panic::resume_unwind(Box::new(number));
                    }
                })
            })
            .collect();
        for (number, thread) in threads.into_iter().enumerate() {
            assert_eq!(thread.join().is_err(), number % 2 == 0);
        }
    });
}

#[test]
fn a_neighbours_panic_poisons_no_lock() {
    let Some(runtime) = runtime() else { return };
    runtime.run(|| {
        struct Waits;
        impl Drop for Waits {
            fn drop(&mut self) {
                green::sleep(Duration::from_millis(5));
            }
        }
        let (std_lock, own_lock) = (Arc::new(Mutex::new(0)), Arc::new(green::sync::Mutex::new(0)));
        let panics = green::spawn(|| {
            let _waits = Waits;
            std::panic::resume_unwind(Box::new(()));
        });
        green::yield_now();
        drop(std_lock.lock().unwrap());
        drop(own_lock.lock().unwrap());
        assert!(!std_lock.is_poisoned() && !own_lock.is_poisoned());
        assert!(panics.join().is_err());
        let (std_again, own_again) = (Arc::clone(&std_lock), Arc::clone(&own_lock));
        let poisons = green::spawn(move || {
            let _both = (std_again.lock().unwrap(), own_again.lock().unwrap());
            green::yield_now();
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(poisons.join().is_err());
        assert!(std_lock.is_poisoned() && own_lock.is_poisoned());
    });
}

#[test]
fn destructors_run_before_join_returns_and_may_park() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Counts;
    impl Drop for Counts {
        fn drop(&mut self) {
            green::yield_now();
            green::sleep(Duration::from_micros(100));
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
    thread_local! {
        static COUNTS: RefCell<Vec<Counts>> = const { RefCell::new(Vec::new()) };
    }
    let Some(runtime) = runtime() else { return };
    runtime.run(|| {
        for round in 0..50 {
            assert_eq!(DROPPED.load(Ordering::Relaxed), round * 3);
            let thread = green::spawn(|| {
                COUNTS.with_borrow_mut(|counts| counts.extend([Counts, Counts, Counts]));
            });
            thread.join().unwrap();
        }
        assert_eq!(DROPPED.load(Ordering::Relaxed), 150);
    });
}

#[test]
fn a_lazy_initialiser_may_park() {
    thread_local! {
        static LAZY: usize = {
            green::yield_now();
            green::sleep(Duration::from_micros(50));
            42
        };
    }
    many(50, |_| assert_eq!(LAZY.with(|lazy| *lazy), 42));
}

#[test]
fn a_guard_that_sets_a_thread_local_may_be_held_across_a_park() {
    thread_local! {
        static SPAN: Cell<usize> = const { Cell::new(0) };
    }
    struct Leave(usize);
    impl Drop for Leave {
        fn drop(&mut self) {
            SPAN.set(self.0);
        }
    }
    many(50, |number| {
        let _leave = Leave(SPAN.replace(number + 1));
        for _ in 0..5 {
            green::yield_now();
            assert_eq!(SPAN.get(), number + 1);
        }
    });
}

#[test]
fn kinds_of_threads_live_side_by_side_and_join_each_other() {
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(0) };
    }
    if ThreadLocals::supported().is_err() {
        return;
    }
    for kind in [ThreadLocals::PerWorker, ThreadLocals::PerThread] {
        let runtime = Runtime::builder().workers(1).thread_locals(kind).build().unwrap();
        let spawn = |kind, f: fn() -> usize| green::thread::Builder::new().thread_locals(kind).spawn(f).unwrap();
        runtime.run(|| {
            for _ in 0..20 {
                // Joined at once: each runs on top of the other.
                let own = spawn(ThreadLocals::PerThread, || {
                    NUMBER.set(NUMBER.get() + 1);
                    let shared = green::thread::Builder::new().thread_locals(ThreadLocals::PerWorker);
                    let shared = shared.spawn(|| NUMBER.replace(NUMBER.get() + 1)).unwrap();
                    let parks = green::spawn(|| {
                        green::yield_now();
                        NUMBER.get()
                    });
                    shared.join().unwrap();
                    parks.join().unwrap();
                    green::yield_now();
                    NUMBER.get()
                });
                assert_eq!(own.join().unwrap(), 1);
            }
            assert_eq!(spawn(ThreadLocals::PerWorker, || NUMBER.get()).join().unwrap(), 20);
            assert_eq!(spawn(ThreadLocals::PerThread, || NUMBER.get()).join().unwrap(), 0);
        });
    }
}

#[test]
fn threads_of_both_kinds_follow_each_other_in_any_order() {
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(0) };
    }
    if ThreadLocals::supported().is_err() {
        return;
    }
    let mut random = help::Random::new(7);
    let runtime = Runtime::builder().workers(1).build().unwrap();
    runtime.run(|| {
        NUMBER.set(1000);
        let (sender, receiver) = green::channel::bounded(3);
        let threads: Vec<_> = (1..=20)
            .map(|number| {
                let (mut random, sender, receiver) = (random.fork(), sender.clone(), receiver.clone());
                let own = random.below(2) == 0;
                let kind = if own { ThreadLocals::PerThread } else { ThreadLocals::PerWorker };
                let body = move || {
                    if own {
                        NUMBER.set(number);
                    }
                    for _ in 0..help::scaled(2000) {
                        match random.below(4) {
                            0 => sender.send(number).unwrap(),
                            1 => _ = receiver.try_recv(),
                            2 => _ = receiver.recv_timeout(Duration::from_micros(random.below(3))),
                            _ => green::yield_now(),
                        }
                        // A full channel is emptied by those that are left.
                        while receiver.len() > 2 {
                            let _ = receiver.try_recv();
                        }
                        assert_eq!(NUMBER.get(), if own { number } else { 1000 });
                        assert_eq!(std::thread::current().name().is_some(), !own);
                    }
                };
                green::thread::Builder::new().thread_locals(kind).spawn(body).unwrap()
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(NUMBER.get(), 1000);
    });
}

#[test]
fn a_result_that_nobody_takes_is_dropped_with_its_threads_own() {
    struct Looks(std::thread::ThreadId);
    impl Drop for Looks {
        fn drop(&mut self) {
            green::yield_now();
            DROPPED.fetch_add(usize::from(std::thread::current().id() == self.0), Ordering::Relaxed);
        }
    }
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    let Some(runtime) = runtime() else { return };
    runtime.run(|| {
        drop(green::spawn(|| Looks(std::thread::current().id())));
        (0..10).for_each(|_| green::yield_now());
    });
    drop(runtime);
    assert_eq!(DROPPED.load(Ordering::Relaxed), 1);
}

#[test]
fn std_locks_and_channels_are_held_across_a_park() {
    // Nothing waits for them: that would block the worker.
    let (sender, receiver) = std::sync::mpsc::channel();
    let receiver = Mutex::new(receiver);
    let locks: Vec<_> = (0..20).map(Mutex::new).collect();
    many(20, |number| {
        let held = locks[number].lock().unwrap();
        sender.send(number).unwrap();
        green::yield_now();
        assert!(receiver.lock().unwrap().try_recv().is_ok());
        assert_eq!(*held, number);
    });
}

#[test]
fn short_threads_do_not_all_select_the_same() {
    static CHOSEN: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
    let ((to_one, one), (to_other, other)) = (green::channel::unbounded(), green::channel::unbounded());
    let threads = 200;
    (0..threads).for_each(|_| _ = (to_one.send(()), to_other.send(())));
    many(threads, |_| {
        let chosen = green::channel::select! {
            recv(one) -> _ => 0,
            recv(other) -> _ => 1,
        };
        CHOSEN[chosen].fetch_add(1, Ordering::Relaxed);
    });
    if ThreadLocals::supported().is_ok() {
        CHOSEN.iter().for_each(|chosen| assert!(chosen.load(Ordering::Relaxed) > 0));
    }
}

#[test]
fn an_actors_handlers_have_them_for_a_run() {
    use green::actor::{Actor, Builder, Context, Handler, Message};
    thread_local! {
        static DEPTH: Cell<usize> = const { Cell::new(0) };
    }
    struct Enters;
    impl Actor for Enters {}
    struct Enter;
    impl Message for Enter {
        type Reply = usize;
    }
    impl Handler<Enter> for Enters {
        fn handle(&mut self, _: Enter, _: &mut Context<Self>) -> usize {
            let before = DEPTH.replace(DEPTH.get() + 1);
            green::yield_now();
            DEPTH.set(before);
            before
        }
    }
    let Some(runtime) = runtime() else { return };
    runtime.run(|| {
        let actors: Vec<_> = (0..10).map(|_| Enters.start()).collect();
        green::scope(|scope| {
            for actor in &actors {
                scope.spawn(|| (0..10).for_each(|_| assert_eq!(actor.send(Enter).unwrap(), 0)));
            }
        });
        let shares = Builder::new().thread_locals(ThreadLocals::PerWorker).start(Enters).unwrap();
        assert_eq!(shares.send(Enter).unwrap(), 0);
    });
}

#[test]
fn a_blocks_next_thread_finds_nothing_of_the_last_one() {
    thread_local! {
        static NUMBERS: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
        static LARGE: RefCell<[u8; 5000]> = const { RefCell::new([3; 5000]) };
    }
    let Some(runtime) = runtime() else { return };
    runtime.run(|| {
        for number in 0..1000 {
            let thread = green::spawn(move || {
                // SAFETY: errno of the calling thread.
                assert_eq!(unsafe { *libc::__errno_location() }, 0);
                assert!(NUMBERS.with_borrow(Vec::is_empty));
                assert!(LARGE.with_borrow(|large| large.iter().all(|byte| *byte == 3)));
                NUMBERS.with_borrow_mut(|numbers| numbers.push(number));
                LARGE.with_borrow_mut(|large| large.fill(number as u8));
                // SAFETY: as above.
                unsafe { *libc::__errno_location() = 5 };
            });
            thread.join().unwrap();
        }
    });
}

#[test]
fn many_threads_may_be_cancelled_and_timed_out() {
    let Some(runtime) = runtime() else { return };
    runtime.run(|| {
        let threads: Vec<_> = (0..100).map(|_| green::spawn(|| green::sleep(Duration::from_secs(1000)))).collect();
        green::yield_now();
        threads.iter().for_each(|thread| thread.cancel());
        for thread in threads {
            assert!(thread.join().unwrap_err().is::<green::Cancelled>());
        }
        assert!(green::timeout(Duration::from_millis(1), || green::sleep(Duration::from_secs(1000))).is_err());
    });
    runtime.spawn(|| green::sleep(Duration::from_secs(1000)));
    drop(runtime);
}
