//! What `green::dump` says of a thread that waits: for what, whose that is, how long, until when.
#![cfg(not(any(miri, green_sanitized)))]

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[path = "dump_waits/figures.rs"]
mod figures;
mod help;

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use green::dump::{HeldBy, WaitsOn, for_each};
use green::thread::Thread;
use help::dump::{alone, info, json_of, text, until_shown, waits_on};

/// Are threads met while they wait, and is it told where? As `Thread::waits_for` says of them all.
const TIMES: bool = cfg!(green_backend = "asm");

/// The object that a thread of `runtime` waits for that does this, and the thread.
fn object_of(
    runtime: &green::Runtime,
    why: &str,
    wait: impl FnOnce() + Send + 'static,
) -> (usize, green::thread::JoinHandle<()>) {
    let thread = runtime.spawn(wait);
    let on = waits_on(thread.thread(), why);
    let WaitsOn::Object { address } = on else { panic!("{why}: {on}") };
    assert!(json_of(thread.thread().id()).contains(&format!(r#""object":"{address:#x}""#)));
    assert!(text().contains(&format!("on object {address:#x}")));
    (address, thread)
}

#[test]
fn a_thread_that_waits_for_a_condition_a_permit_or_others_shows_which_object_that_is() {
    use green::sync::{Barrier, Condvar, Semaphore, WaitGroup};

    let hour = Duration::from_secs(3600);
    let _alone = alone();
    for workers in [1, 2] {
        let runtime = help::runtime(workers);
        let both = Arc::new((Condvar::new(), green::sync::Mutex::new(false)));
        let (semaphore, barrier) = (Arc::new(Semaphore::new(0)), Arc::new(Barrier::new(2)));
        let (group, pair) = (WaitGroup::new(), both.clone());
        let notified = object_of(&runtime, "condvar", move || {
            drop(pair.0.wait_while(pair.1.lock().unwrap(), |set| !*set).unwrap());
        });
        let pair = both.clone();
        let notified_in_time = object_of(&runtime, "condvar", move || {
            drop(pair.0.wait_timeout_while(pair.1.lock().unwrap(), hour, |set| !*set).unwrap());
        });
        assert_eq!(notified.0, notified_in_time.0);
        let permits = semaphore.clone();
        let permitted = object_of(&runtime, "semaphore", move || drop(permits.acquire()));
        let permits = semaphore.clone();
        let permitted_in_time = object_of(&runtime, "semaphore", move || drop(permits.acquire_timeout(hour)));
        assert_eq!([permitted.0, permitted_in_time.0], [Arc::as_ptr(&semaphore).addr(); 2]);
        let meets = barrier.clone();
        let met = object_of(&runtime, "barrier", move || _ = meets.wait());
        assert_eq!(met.0, Arc::as_ptr(&barrier).addr());
        let member = group.clone();
        let left = object_of(&runtime, "wait group", move || member.wait());
        *both.1.lock().unwrap() = true;
        both.0.notify_all();
        semaphore.add_permits(2);
        barrier.wait();
        drop(group);
        let all = [notified, notified_in_time, permitted, permitted_in_time, met, left];
        all.into_iter().for_each(|(_, thread)| thread.join().unwrap());
    }
}

#[test]
fn a_thread_that_waits_for_a_mutex_shows_who_has_it() {
    let _alone = alone();
    for workers in [1, 2] {
        let runtime = help::runtime(workers);
        let mutex = Arc::new(green::sync::Mutex::new(()));
        let holder = runtime.spawn({
            let mutex = Arc::clone(&mutex);
            move || {
                let _held = mutex.lock().unwrap();
                green::thread::park();
            }
        });
        help::until_parked(holder.thread(), "park");
        let waiters = [(); 3].map(|()| {
            let mutex = Arc::clone(&mutex);
            runtime.spawn(move || drop(mutex.lock().unwrap()))
        });
        let held_by = |waiter: &Thread| match waits_on(waiter, "mutex") {
            WaitsOn::Lock { address, held_by } => (address, held_by),
            other => panic!("{other:?}"),
        };
        let found = waiters.each_ref().map(|waiter| held_by(waiter.thread()));
        assert_eq!(found.map(|(_, held_by)| held_by), [HeldBy::Thread(holder.thread().id()); 3]);
        assert!(found[0] == found[1] && found[1] == found[2], "one lock has one address");
        assert!(text().contains(&format!("  3 on lock {:#x}, held by {}", found[0].0, found[0].1)), "{}", text());
        let json = json_of(waiters[0].thread().id());
        assert!(json.contains(&format!(r#""lock":"{:#x}","held_by":"#, found[0].0)), "{json}");
        holder.thread().unpark();
        holder.join().unwrap();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    }
}

// The emulator has no `process_vm_readv`.
#[cfg(all(target_os = "linux", not(green_emulated)))]
#[test]
fn a_thread_that_waits_shows_who_has_the_mutex_and_until_when_though_there_is_no_descriptor_left() {
    let shows = || {
        let runtime = help::runtime(2);
        let mutex = Arc::new(green::sync::Mutex::new(()));
        let over = Arc::new(AtomicBool::new(false));
        let (held, holds) = mpsc::channel();
        let holder = runtime.spawn({
            let (mutex, over) = (Arc::clone(&mutex), Arc::clone(&over));
            move || {
                let _held = mutex.lock().unwrap();
                held.send(()).unwrap();
                help::spin_until("the end of the test", || over.load(Ordering::SeqCst));
            }
        });
        holds.recv().unwrap();
        let waiter = runtime.spawn(move || drop(mutex.lock_timeout(Duration::from_secs(3600)).unwrap()));
        until_shown([waiter.thread()], "mutex");
        // What is open stays open.
        help::set_limit(libc::RLIMIT_NOFILE as i32, 3);
        std::fs::File::open("/dev/null").unwrap_err();
        let shown = info(waiter.thread());
        let held_by = HeldBy::Thread(holder.thread().id());
        let is_lock = |on: &WaitsOn| matches!(on, WaitsOn::Lock { held_by: found, .. } if *found == held_by);
        assert!(shown.waits_on().is_some_and(is_lock), "{shown:?}");
        assert!(shown.time_left().is_some(), "{shown:?}");
        over.store(true, Ordering::SeqCst);
        holder.join().unwrap();
        waiter.join().unwrap();
    };
    help::in_a_child(&[], shows).assert_success();
}

#[test]
fn a_lock_for_readers_and_a_writer_shows_its_readers_or_its_writer() {
    let _alone = alone();
    let runtime = help::runtime(2);
    let lock = Arc::new(green::sync::RwLock::new(()));
    // A writer was there before.
    runtime.run(|| drop(lock.write().unwrap()));
    let reads = runtime.spawn({
        let lock = Arc::clone(&lock);
        move || {
            let _held = lock.read().unwrap();
            green::thread::park();
        }
    });
    help::until_parked(reads.thread(), "park");
    let read = lock.read().unwrap();
    let named = |reader| cfg!(any(debug_assertions, green_deadlocks)).then_some(reader);
    let writer = runtime.spawn({
        let lock = Arc::clone(&lock);
        move || {
            let _held = lock.write().unwrap();
            green::thread::park();
        }
    });
    let held_by = |waiter: &Thread| match waits_on(waiter, "rwlock") {
        WaitsOn::Lock { held_by, .. } => held_by,
        other => panic!("{other:?}"),
    };
    assert_eq!(held_by(writer.thread()), HeldBy::Readers { count: 2, one: named(reads.thread().id()) });
    reads.thread().unpark();
    reads.join().unwrap();
    assert_eq!(held_by(writer.thread()), HeldBy::Readers { count: 1, one: named(green::thread::current().id()) });
    drop(read);
    help::until_parked(writer.thread(), "park");
    let reader = runtime.spawn({
        let lock = Arc::clone(&lock);
        move || drop(lock.read().unwrap())
    });
    assert_eq!(held_by(reader.thread()), HeldBy::Thread(writer.thread().id()));
    writer.thread().unpark();
    writer.join().unwrap();
    reader.join().unwrap();
}

#[test]
fn whoever_waits_for_an_initialiser_shows_the_thread_that_runs_it() {
    let _alone = alone();
    let runtime = help::runtime(1);
    let once = Arc::new(green::sync::Once::new());
    let runs = runtime.spawn({
        let once = Arc::clone(&once);
        move || once.call_once(green::thread::park)
    });
    help::until_parked(runs.thread(), "park");
    let waits = runtime.spawn(move || once.call_once(|| unreachable!()));
    match waits_on(waits.thread(), "once") {
        WaitsOn::Lock { held_by, .. } => assert_eq!(held_by, HeldBy::Thread(runs.thread().id())),
        other => panic!("{other:?}"),
    }
    runs.thread().unpark();
    runs.join().unwrap();
    waits.join().unwrap();
}

#[test]
fn a_thread_that_joins_shows_the_thread_that_it_joins() {
    let _alone = alone();
    let runtime = help::runtime(1);
    let parks = || green::thread::Builder::new().name("the \"joined\" one".to_owned()).spawn(green::thread::park);
    let joined = runtime.run(parks).unwrap();
    help::until_parked(joined.thread(), "park");
    let thread = joined.thread().clone();
    let joins = runtime.spawn(move || joined.join().unwrap());
    let on = waits_on(joins.thread(), "join");
    assert_eq!(on, WaitsOn::Thread { id: thread.id(), name: Some("the \"joined\" one".into()) });
    assert!(json_of(joins.thread().id()).contains(r#","thread_name":"the \"joined\" one""#));
    assert!(text().contains(&format!("\n  on {on}\n")), "{}", text());
    thread.unpark();
    joins.join().unwrap();
}

#[test]
fn a_thread_that_waits_at_a_channel_shows_it_and_its_length() {
    let _alone = alone();
    let runtime = help::runtime(1);
    let channel = |thread: &Thread, why| match waits_on(thread, why) {
        WaitsOn::Channel { address, len } => (address, len),
        other => panic!("{other:?}"),
    };
    for cap in [0, 1, 5] {
        let (sender, receiver) = green::channel::bounded(cap);
        // So that the positions are not those of the beginning.
        runtime.run(|| {
            let takes = green::spawn({
                let receiver = receiver.clone();
                move || (0..13).for_each(|n| assert_eq!(receiver.recv(), Ok(n)))
            });
            (0..13).for_each(|n| sender.send(n).unwrap());
            takes.join().unwrap();
        });
        let receives = runtime.spawn({
            let receiver = receiver.clone();
            move || receiver.recv().unwrap()
        });
        let (address, len) = channel(receives.thread(), "channel receive");
        assert_eq!(len, 0);
        sender.send(99).unwrap();
        assert_eq!(receives.join().unwrap(), 99);
        let sends = runtime.spawn(move || (0..=cap).for_each(|_| sender.send(1).unwrap()));
        assert_eq!(channel(sends.thread(), "channel send"), (address, cap));
        assert_eq!(receiver.iter().count(), cap + 1);
        sends.join().unwrap();
    }
    let (sender, receiver) = green::channel::unbounded::<u8>();
    let receives = runtime.spawn(move || receiver.recv().unwrap());
    assert_eq!(channel(receives.thread(), "channel receive").1, 0);
    sender.send(1).unwrap();
    receives.join().unwrap();
}

#[test]
fn a_thread_that_waits_for_an_event_shows_the_descriptor() {
    let _alone = alone();
    let runtime = help::runtime(1);
    let (mut reads, writes) = green::os::unix::net::UnixStream::pair().unwrap();
    let fd = reads.as_raw_fd();
    let reader = runtime.spawn(move || reads.read(&mut [0]).unwrap());
    assert_eq!(waits_on(reader.thread(), "readable"), WaitsOn::Descriptor(fd));
    assert!(json_of(reader.thread().id()).contains(&format!(r#","descriptor":{fd}"#)));
    drop(writes);
    assert_eq!(reader.join().unwrap(), 0);
    // In the other direction: what nobody reads fills it.
    let (mut reads, mut writes) = green::os::unix::net::UnixStream::pair().unwrap();
    let fd = writes.as_raw_fd();
    let writer = runtime.spawn(move || writes.write_all(&[7; 4 << 20]).unwrap());
    assert_eq!(waits_on(writer.thread(), "writable"), WaitsOn::Descriptor(fd));
    // A writer to a Unix socket looks now and then whether the peer is still there, and does not wait for that moment.
    help::until(|| json_of(writer.thread().id()).contains(r#""waits_for":"writable","#));
    help::until(|| {
        let text = text();
        text.contains(", waits: writable, ") && text.contains(&format!("\n  on descriptor {fd}\n"))
    });
    assert_eq!(std::io::copy(&mut reads, &mut std::io::sink()).unwrap(), 4 << 20);
    writer.join().unwrap();
}

#[test]
fn a_thread_that_asks_shows_the_actor_that_owes_the_reply() {
    use green::actor::{Actor, Builder, Context, Handler, Message};
    struct Silent(mpsc::Receiver<()>);
    impl Actor for Silent {}
    struct Ask;
    impl Message for Ask {
        type Reply = ();
    }
    impl Handler<Ask> for Silent {
        fn handle(&mut self, _: Ask, _: &mut Context<Self>) {
            let silent = &mut self.0;
            green::blocking(move || silent.recv().unwrap());
        }
    }
    let _alone = alone();
    let runtime = help::runtime(2);
    let (go_on, silent) = mpsc::channel();
    let actor = Builder::new().runtime(&runtime).name("silent").start(Silent(silent)).unwrap();
    let asks = runtime.spawn({
        let actor = actor.clone();
        move || actor.send(Ask).unwrap()
    });
    // It may be that the actor runs on top of the asker first.
    match waits_on(asks.thread(), "reply") {
        WaitsOn::Actor { name, .. } => assert_eq!(name.as_deref(), Some("silent")),
        other => panic!("{other:?}"),
    }
    let ends = runtime.spawn({
        let actor = actor.clone();
        move || drop(actor.join())
    });
    assert!(matches!(waits_on(ends.thread(), "actor's end"), WaitsOn::Actor { .. }));
    go_on.send(()).unwrap();
    asks.join().unwrap();
    actor.stop();
    ends.join().unwrap();
}

#[test]
fn a_blocking_call_shows_whose_closure_it_is() {
    fn a_blocking_function(over: &AtomicBool) {
        green::blocking(|| {
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
    }
    let _alone = alone();
    let runtime = help::runtime(1);
    let over = Arc::new(AtomicBool::new(false));
    let calls = runtime.spawn({
        let over = Arc::clone(&over);
        move || a_blocking_function(&over)
    });
    match waits_on(calls.thread(), "blocking") {
        WaitsOn::BlockingCall(name) => assert!(name.contains("a_blocking_function::{{closure}}"), "{name}"),
        other => panic!("{other:?}"),
    }
    over.store(true, Ordering::Relaxed);
    calls.join().unwrap();
}

#[test]
fn what_has_a_deadline_shows_how_much_of_it_is_left_and_what_has_none_does_not() {
    const HOUR: Duration = Duration::from_secs(3600);
    let _alone = alone();
    let runtime = help::runtime(2);
    let sleeps = runtime.spawn(|| green::sleep(HOUR));
    let parks = runtime.spawn(green::thread::park);
    let (_keep, receiver) = green::channel::bounded::<()>(1);
    let receives = runtime.spawn({
        let receiver = receiver.clone();
        move || receiver.recv_timeout(HOUR).map_err(drop)
    });
    let limited = runtime.spawn(move || green::timeout(HOUR, || receiver.recv()).map(drop).map_err(drop));
    for (thread, why, is_on) in [
        (sleeps.thread(), "sleep", false),
        (receives.thread(), "channel receive", true),
        (limited.thread(), "channel receive", true),
    ] {
        until_shown([thread], why);
        let info = info(thread);
        let left = info.time_left().expect("a deadline");
        assert!(left <= HOUR && left > HOUR / 2, "{left:?}");
        assert_eq!(info.waits_on().is_some(), is_on, "{info:?}");
        assert!(json_of(thread.id()).contains(r#","left_ms":"#));
    }
    help::until_parked(parks.thread(), "park");
    assert_eq!(info(parks.thread()).time_left(), None);
    for thread in [sleeps.thread(), receives.thread(), limited.thread(), parks.thread()] {
        assert!(info(thread).waited().is_none_or(|waited| waited < HOUR));
    }
    parks.thread().unpark();
    parks.join().unwrap();
    sleeps.cancel();
    receives.cancel();
    limited.cancel();
    drop((sleeps.join(), receives.join(), limited.join()));
}

/// Of whom the worker looks at some at a time.
#[cfg(not(green_emulated))]
#[test]
fn all_waits_show_how_long_they_have_lasted_though_another_dump_comes_to_no_end() {
    const THREADS: usize = 1500;
    if !TIMES {
        return;
    }
    let _alone = alone();
    let runtime = help::runtime(1);
    let threads: Vec<_> = (0..THREADS).map(|_| runtime.spawn(green::thread::park)).collect();
    threads.iter().for_each(|thread| help::until_parked(thread.thread(), "park"));
    let (go_on, goes_on) = mpsc::channel::<()>();
    let (stand, stands) = mpsc::channel();
    std::thread::scope(|s| {
        // It goes first if the test fails.
        let go_on = go_on;
        s.spawn(move || {
            let mut met = 0;
            for_each(|_| {
                met += 1;
                if met == THREADS / 3 {
                    stand.send(()).unwrap();
                    // Also if the test fails.
                    _ = goes_on.recv();
                }
                Ok(())
            })
            .unwrap();
        });
        stands.recv().unwrap();
        let count = || {
            let (mut show, mut all) = (0, 0);
            for_each(|thread| {
                show += usize::from(thread.waited().is_some());
                all += 1;
                Ok(())
            })
            .unwrap();
            (show, all)
        };
        let begun = Instant::now();
        // Some end meanwhile: one of them may be the next to be looked at.
        let mut ends = threads.iter().step_by(3);
        loop {
            let (show, all) = count();
            if show == all {
                break;
            }
            assert!(begun.elapsed() < help::BOUND / 2, "only {show} of {all}");
            for thread in ends.by_ref().take(5) {
                thread.thread().unpark();
                help::spin_until("its end", || thread.is_finished());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(go_on);
    });
    threads.iter().for_each(|thread| thread.thread().unpark());
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn after_some_seconds_a_wait_shows_how_long_it_has_lasted_at_least() {
    if !TIMES {
        return;
    }
    let _alone = alone();
    let runtime = help::runtime(2);
    let begun = Instant::now();
    let parks = runtime.spawn(green::thread::park);
    help::until_parked(parks.thread(), "park");
    let waited = |longer_than: Duration| loop {
        let waited = info(parks.thread()).waited();
        if let Some(waited) = waited.filter(|waited| *waited > longer_than) {
            break waited;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{waited:?}");
        std::thread::sleep(Duration::from_millis(10));
    };
    let first = waited(Duration::from_millis(100));
    let second = waited(first + Duration::from_millis(50));
    assert!(second <= begun.elapsed() + Duration::from_millis(2), "{second:?}");
    assert!(text().contains(" at least\n") && json_of(parks.thread().id()).contains(r#","waited_ms":"#));
    // The next wait begins anew.
    parks.thread().unpark();
    parks.join().unwrap();
}

/// Threads take locks that live no longer than the wait, while dumps are made of them.
#[test]
fn what_is_waited_for_may_end_and_be_freed_at_any_moment() {
    let _alone = alone();
    let runtime = help::runtime(2);
    let stop = Arc::new(AtomicBool::new(false));
    let churners: Vec<_> = (0..8)
        .map(|_| {
            let stop = Arc::clone(&stop);
            runtime.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let lock = Arc::new(green::sync::Mutex::new([0_u8; 5000]));
                    let held = lock.lock().unwrap();
                    let waits = green::spawn({
                        let lock = Arc::clone(&lock);
                        move || lock.lock().unwrap()[7]
                    });
                    let (sender, receiver) = green::channel::bounded::<Box<[u8]>>(1);
                    let receives = green::spawn(move || receiver.recv().unwrap().len());
                    green::yield_now();
                    drop(held);
                    drop(lock);
                    sender.send(vec![1; 300_000].into()).unwrap();
                    assert_eq!((waits.join().unwrap(), receives.join().unwrap()), (0, 300_000));
                }
            })
        })
        .collect();
    let mut met = 0;
    let begun = Instant::now();
    while met < 200 && begun.elapsed() < Duration::from_secs(20) {
        for_each(|thread| {
            if let Some(on) = thread.waits_on() {
                met += 1;
                assert!(!matches!(on, WaitsOn::Channel { len: 2.., .. } | WaitsOn::Descriptor(_)), "{thread:?}");
                if let WaitsOn::Lock { held_by, .. } = on {
                    assert!(!matches!(held_by, HeldBy::Readers { .. }), "{thread:?}");
                }
            }
            Ok(())
        })
        .unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    churners.into_iter().for_each(|churner| churner.join().unwrap());
    assert!(met > 0, "no wait was met");
}

/// Where one needs it: its worker does not come to look at how long its threads wait.
#[test]
fn of_threads_on_a_worker_that_is_stuck_it_was_not_known_how_long_they_wait() {
    if !TIMES || cfg!(not(target_os = "linux")) {
        return;
    }
    struct SetAtEnd(Arc<AtomicBool>);
    impl Drop for SetAtEnd {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let _alone = alone();
    let runtime = help::runtime(1);
    let over = Arc::new(AtomicBool::new(false));
    let (_over, until) = (SetAtEnd(Arc::clone(&over)), Arc::clone(&over));
    let spawned = Instant::now();
    let parks = runtime.spawn(green::thread::park);
    help::until_parked(parks.thread(), "park");
    let computes = runtime.spawn(move || help::spin_until("the end", || until.load(Ordering::SeqCst)));
    let waited = || info(parks.thread()).waited().unwrap_or_default();
    help::spin_until("the time that it has waited", || waited() >= Duration::from_millis(100));
    // A worker notes times by the millisecond.
    let (known, most) = (waited(), spawned.elapsed() + Duration::from_millis(2));
    assert!(known <= most, "{known:?}, and it was spawned {most:?} ago");
    over.store(true, Ordering::SeqCst);
    computes.join().unwrap();
    parks.thread().unpark();
    parks.join().unwrap();
}
