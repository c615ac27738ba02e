//! What `green::dump` shows of the threads of a program that goes on, or does not.
#![cfg(not(miri))]

mod help;

use std::collections::HashMap;
use std::io;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use green::dump::{ThreadInfo, ThreadStatus, for_each};
use green::thread::ThreadId;

/// Has the machine stacks to show?
const STACKS: bool = cfg!(all(
    feature = "backtrace",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(green_sanitized),
    green_backend = "asm"
));

/// One test at a time: each looks at all threads of the process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn threads() -> HashMap<ThreadId, ThreadInfo> {
    let mut all = HashMap::new();
    let add = |thread: &ThreadInfo| {
        assert!(all.insert(thread.id(), thread.clone()).is_none(), "{thread:?} twice");
        Ok(())
    };
    for_each(add).unwrap();
    all
}

fn text() -> String {
    let mut text = Vec::new();
    green::dump::text(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

#[inline(never)]
fn a_wait_deep_down(depth: u64, mutex: &green::sync::Mutex<u64>) -> u64 {
    if depth > 0 {
        return std::hint::black_box(a_wait_deep_down(depth - 1, mutex)) + 1;
    }
    *mutex.lock().unwrap()
}

/// A thousand threads wait for a mutex while `f` runs, on an OS thread.
fn while_a_thousand_wait(f: impl FnOnce()) {
    let runtime = help::runtime(2);
    let mutex = Arc::new(green::sync::Mutex::new(0));
    let locked = mutex.lock().unwrap();
    let waiters: Vec<_> = (0..1000)
        .map(|number| {
            let mutex = Arc::clone(&mutex);
            let name = format!("waiter {number}");
            runtime.run(|| green::thread::Builder::new().name(name).spawn(move || a_wait_deep_down(3, &mutex)).unwrap())
        })
        .collect();
    help::dump::until_shown(waiters.iter().map(|waiter| waiter.thread()), "mutex");
    f();
    drop(locked);
    assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap() == 3));
}

#[test]
fn threads_that_wait_in_one_place_are_one_group_with_their_count_and_their_stack() {
    let _alone = alone();
    while_a_thousand_wait(|| {
        let text = text();
        let group = text.split("\n\n").find(|group| group.starts_with("1000 threads, waits: mutex, spawned at "));
        let group = group.unwrap_or_else(|| panic!("no group in {text}"));
        assert!(group.contains("tests/dump.rs:"), "{group}");
        assert!(group.contains("\"waiter "), "{group}");
        if STACKS {
            assert_eq!(group.matches("a_wait_deep_down").count(), 4, "{group}");
            assert!(group.contains("thread_main"), "{group}");
        }
    });
}

/// Each line, as a program reads it.
fn are_threads_and_their_stacks(json: &str) {
    let mut stacks = std::collections::HashSet::new();
    for line in json.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let stack = value["stack"].as_u64();
        if let Some(frames) = value["frames"].as_array() {
            assert!(stacks.insert(stack.unwrap()), "{line}");
            assert!(
                !frames.is_empty() && frames.iter().all(|at| at["function"].is_string() || at["address"].is_string())
            );
            continue;
        }
        assert!(value["id"].is_u64() && value["spawned_at"].is_string(), "{line}");
        assert!(stack.is_none_or(|stack| stacks.contains(&stack)), "{line}");
        match value["state"].as_str() {
            Some("waiting") => assert!(value["waits_for"].is_string(), "{line}"),
            Some("running") => assert!(value["worker"].is_u64(), "{line}"),
            Some("ready" | "unstarted") => {}
            _ => panic!("{line}"),
        }
    }
}

#[test]
fn a_name_of_whatever_characters_comes_out_of_json_as_it_was() {
    let _alone = alone();
    let name = "a \"name\" with \\ and \n, \u{1b}[31m, \u{7f}, ü, \u{2028}, 🧵";
    let runtime = help::runtime(1);
    let waits = green::thread::Builder::new().name(name.to_owned());
    let waits = runtime.run(|| waits.spawn(green::thread::park).unwrap());
    help::until_parked(waits.thread(), "park");
    let mut json = Vec::new();
    green::dump::json(&mut json).unwrap();
    let json = String::from_utf8(json).unwrap();
    are_threads_and_their_stacks(&json);
    let names = json.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["name"].clone());
    assert_eq!(names.filter(|found| found == name).count(), 1, "{json}");
    waits.thread().unpark();
    waits.join().unwrap();
}

#[test]
fn each_line_of_json_is_a_thread_or_a_stack_that_was_not_there_before() {
    let _alone = alone();
    while_a_thousand_wait(|| {
        let mut json = Vec::new();
        green::dump::json(&mut json).unwrap();
        let json = String::from_utf8(json).unwrap();
        are_threads_and_their_stacks(&json);
        let waiters = json.lines().filter(|line| line.contains(r#""name":"waiter "#)).collect::<Vec<_>>();
        assert_eq!(waiters.len(), 1000);
        assert!(waiters.iter().all(|line| line.contains(r#""state":"waiting","waits_for":"mutex","spawned_at":""#)));
        if STACKS {
            let stack = waiters[0].split(r#""stack":"#).nth(1).unwrap();
            let stack = format!(r#"{{"stack":{},"#, &stack[..stack.len() - 1]);
            let shown: Vec<_> = json.lines().filter(|line| line.starts_with(&stack)).collect();
            assert_eq!(shown.len(), 1);
            assert_eq!(shown[0].matches("a_wait_deep_down").count(), 4, "{}", shown[0]);
            assert!(json.find(shown[0]) < json.find(waiters[0]));
        }
    });
}

#[test]
fn with_every_worker_stuck_all_threads_are_shown_those_too_that_have_not_started() {
    let _alone = alone();
    let runtime = help::runtime(2);
    let stuck = AtomicUsize::new(0);
    let go_on = AtomicBool::new(false);
    let waiting = runtime.spawn(green::thread::park);
    help::until_parked(waiting.thread(), "park");
    std::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                runtime.run(|| {
                    stuck.fetch_add(1, Ordering::SeqCst);
                    help::spin_until("the end of the test", || go_on.load(Ordering::SeqCst));
                })
            });
        }
        let _go_on = SetAtEnd(&go_on);
        help::spin_until("stuck workers", || stuck.load(Ordering::SeqCst) == 2);
        let unstarted: Vec<_> = (0..100).map(|n| runtime.spawn(move || n)).collect();
        for _ in 0..2 {
            let all = threads();
            assert_eq!(all[&waiting.thread().id()].status(), ThreadStatus::Waiting("park"));
            assert!(unstarted.iter().all(|thread| all[&thread.thread().id()].status() == ThreadStatus::Unstarted));
            for worker in 0..2 {
                assert!(all.values().any(|thread| thread.status() == ThreadStatus::Running(worker)));
            }
        }
        go_on.store(true, Ordering::SeqCst);
        assert!(unstarted.into_iter().enumerate().all(|(n, thread)| thread.join().unwrap() == n));
    });
    waiting.thread().unpark();
    waiting.join().unwrap();
}

#[test]
fn the_order_in_which_threads_start_is_kept_and_none_starts_twice() {
    let _alone = alone();
    let runtime = help::runtime(1);
    let started = Arc::new(Mutex::new(Vec::new()));
    runtime.run(|| {
        let threads: Vec<_> = (0..1000)
            .map(|n| {
                let started = Arc::clone(&started);
                green::spawn(move || started.lock().unwrap().push(n))
            })
            .collect();
        // Also from a thread of the worker's own.
        let unstarted = self::threads().values().filter(|thread| thread.status() == ThreadStatus::Unstarted).count();
        assert_eq!(unstarted, 1000);
        // By the last: a thread that is joined starts at once.
        while !threads.iter().all(|thread| thread.is_finished()) {
            green::yield_now();
        }
    });
    assert!(started.lock().unwrap().iter().copied().eq(0..1000));
}

#[inline(never)]
fn a_loop_deep_down(depth: u64, over: &AtomicBool) -> u64 {
    if depth > 0 {
        return std::hint::black_box(a_loop_deep_down(depth - 1, over)) + 1;
    }
    help::spin_until("the end of the test", || over.load(Ordering::SeqCst));
    0
}

#[test]
fn a_thread_that_runs_is_shown_with_the_stack_on_which_it_stands() {
    let _alone = alone();
    let runtime = green::Runtime::builder().workers(1).thread_name("deep").build().unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|s| {
        let _over = SetAtEnd(&over);
        s.spawn(|| runtime.run(|| assert_eq!(a_loop_deep_down(3, &over), 3)));
        if !STACKS {
            return;
        }
        // A worker that gets no processor does not answer.
        let start = Instant::now();
        loop {
            let text = text();
            // Its name is also in those of what it calls: `spin_until<dump::a_loop_deep_down::{closure}>`.
            let is_loop = |line: &&str| {
                let name = line.trim_start().split("  ").next().unwrap_or_default();
                ["a_loop_deep_down", "dump::a_loop_deep_down"].contains(&name)
            };
            // It may not be down there yet.
            if let Some(group) = text.split("\n\n").find(|group| group.lines().filter(is_loop).count() == 4) {
                let says =
                    |name: &str| group.starts_with("1 thread, runs on worker 0 of runtime ") && group.contains(name);
                assert!(says(" \"deep\", spawned at "), "{group}");
                assert!(group.contains("thread_main"), "{group}");
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "no such stack in {text}");
        }
    });
}

/// Calls `spawn`, and says where.
#[track_caller]
fn is_spawned_here(line: u32, thread: &green::thread::Thread) {
    // One that is about to start may be missed.
    let start = std::time::Instant::now();
    let found: &Location<'_> = loop {
        match threads().get(&thread.id()) {
            Some(record) => break record.spawned_at(),
            None => assert!(start.elapsed() < Duration::from_secs(30), "{thread:?} is in no dump"),
        }
    };
    assert!(found.file().ends_with("dump.rs") && found.line() == line, "{found}, not line {line}");
}

#[test]
fn a_thread_shows_the_line_that_spawned_it_whatever_did() {
    use green::thread::Builder;

    let _alone = alone();
    let runtime = help::runtime(1);
    let parks = green::thread::park;
    let end = |thread: green::thread::JoinHandle<()>| {
        thread.thread().unpark();
        thread.join().unwrap();
    };
    let (line, thread) = (line!(), runtime.spawn(parks));
    is_spawned_here(line, thread.thread());
    end(thread);
    let line = line!() + 1;
    runtime.run(move || {
        is_spawned_here(line, &green::thread::current());
        let (line, thread) = (line!(), green::spawn(parks));
        is_spawned_here(line, thread.thread());
        end(thread);
        let (line, thread) = (line!(), green::spawn_local(parks));
        is_spawned_here(line, thread.thread());
        end(thread);
        let (line, thread) = (line!(), Builder::new().spawn(parks).unwrap());
        is_spawned_here(line, thread.thread());
        end(thread);
        let (line, thread) = (line!(), Builder::new().name("here".to_owned()).spawn_local(parks).unwrap());
        is_spawned_here(line, thread.thread());
        end(thread);
        green::scope(|s| {
            let (line, thread) = (line!(), s.spawn(parks));
            is_spawned_here(line, thread.thread());
            thread.thread().unpark();
            let (line, thread) = (line!(), Builder::new().spawn_scoped(s, parks).unwrap());
            is_spawned_here(line, thread.thread());
            thread.thread().unpark();
        });
    });
    let line = line!() + 1;
    green::run(move || is_spawned_here(line, &green::thread::current()));
}

#[test]
fn an_actor_that_works_shows_its_name_and_the_line_that_started_it() {
    use green::actor::{Actor, Builder, Context, Handler, Message};

    struct Works;
    impl Actor for Works {}
    struct Work(green::channel::Receiver<()>);
    impl Message for Work {
        type Reply = ();
    }
    impl Handler<Work> for Works {
        fn handle(&mut self, work: Work, _: &mut Context<Self>) {
            work.0.recv().unwrap();
        }
    }

    let _alone = alone();
    let runtime = help::runtime(1);
    runtime.run(|| {
        let (sender, receiver) = green::channel::bounded(0);
        let (line, actor) = (line!(), Builder::new().name("works").start(Works).unwrap());
        actor.tell(Work(receiver)).unwrap();
        let found = || threads().into_values().find(|thread| thread.name() == Some("works"));
        help::until(|| found().is_some_and(|thread| thread.status() == ThreadStatus::Waiting("channel receive")));
        assert_eq!(found().unwrap().spawned_at().line(), line);
        sender.send(()).unwrap();
    });
}

/// Threads start, wait, are woken and end, all the time; dumps are made all the time.
#[test]
fn a_thread_is_whole_or_absent_while_all_of_them_come_and_go() {
    let _alone = alone();
    for workers in [1, 3] {
        let runtime = help::runtime(workers);
        let over = AtomicBool::new(false);
        std::thread::scope(|s| {
            for churner in 0..3 {
                let (runtime, over) = (&runtime, &over);
                s.spawn(move || {
                    runtime.run(|| {
                        let mut round = 0;
                        while !over.load(Ordering::Relaxed) {
                            round += 1;
                            churn(churner, round);
                        }
                    });
                });
            }
            let _over = SetAtEnd(&over);
            let (start, mut waits, mut stacks) = (Instant::now(), 0, 0);
            while start.elapsed() < Duration::from_millis(1500) || waits == 0 || (STACKS && stacks == 0) {
                assert!(start.elapsed() < Duration::from_secs(60), "{waits} are met that wait, {stacks} with a stack");
                for thread in threads().values() {
                    check(thread);
                    waits += usize::from(thread.status() == ThreadStatus::Waiting("channel receive"));
                    stacks += usize::from(!thread.frames().is_empty());
                }
            }
        });
    }
}

/// So also if the test fails.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn churn(churner: usize, round: usize) {
    let (sender, receiver) = green::channel::bounded::<usize>(1);
    let threads: Vec<_> = (0..50)
        .map(|n| {
            let receiver = receiver.clone();
            let name = format!("churns {churner} {round} {n} {churner}");
            let body = move || a_receive_deep_down(n % 7, &receiver);
            green::thread::Builder::new().name(name).spawn(body).unwrap()
        })
        .collect();
    // Most of them start, and wait.
    (0..5).for_each(|_| green::yield_now());
    for n in 0..50 {
        sender.send(n).unwrap();
    }
    threads.into_iter().for_each(|thread| assert!(thread.join().unwrap() < 100));
}

#[inline(never)]
fn a_receive_deep_down(depth: usize, receiver: &green::channel::Receiver<usize>) -> usize {
    if depth > 0 {
        return std::hint::black_box(a_receive_deep_down(depth - 1, receiver)) + 1;
    }
    receiver.recv().unwrap()
}

/// Is it one of those threads, whole?
fn check(thread: &ThreadInfo) {
    assert!(thread.spawned_at().file().ends_with(".rs"), "{thread:?}");
    let Some(name) = thread.name() else { return };
    let parts: Vec<_> = name.split(' ').collect();
    assert!(parts.len() == 5 && parts[0] == "churns" && parts[1] == parts[4], "{thread:?}");
    let depth = parts[3].parse::<usize>().unwrap() % 7;
    if thread.status() == ThreadStatus::Waiting("channel receive") && !thread.frames().is_empty() {
        // Where the function calls itself. So no walk ends early or goes astray.
        let repeated = |frame: &usize| thread.frames().iter().filter(|other| *other == frame).count();
        let most = thread.frames().iter().map(repeated).max().unwrap_or_default();
        assert_eq!(most, depth.max(1), "{thread:?}");
    }
}

#[test]
fn what_is_called_with_each_thread_may_wait_and_spawn_and_its_error_ends_the_dump() {
    let _alone = alone();
    help::on_workers(|| {
        let parked: Vec<_> = (0..200).map(|_| green::spawn(green::thread::park)).collect();
        // One that is about to start, or on its way to another worker, may be missed.
        parked.iter().for_each(|thread| help::until_parked(thread.thread(), "park"));
        let mut met = 0;
        for_each(|_| {
            met += 1;
            green::yield_now();
            green::spawn(|| ()).join().unwrap();
            Ok(())
        })
        .unwrap();
        assert!(met >= 200);
        let error = for_each(|_| Err(io::Error::other("enough"))).unwrap_err();
        assert_eq!(error.to_string(), "enough");
        for_each(|_| {
            for_each(|_| Ok(())).unwrap();
            Err(io::Error::other("enough"))
        })
        .unwrap_err();
        parked.iter().for_each(|thread| thread.thread().unpark());
        parked.into_iter().for_each(|thread| thread.join().unwrap());
        for_each(|_| Ok(())).unwrap();
    });
}

#[test]
fn a_thread_with_thread_locals_of_its_own_is_shown_with_its_stack() {
    let _alone = alone();
    if green::ThreadLocals::supported().is_err() {
        return;
    }
    let runtime = green::Runtime::builder().workers(2).thread_locals(green::ThreadLocals::PerThread).build().unwrap();
    let mutex = Arc::new(green::sync::Mutex::new(0));
    let locked = mutex.lock().unwrap();
    let waiters: Vec<_> = (0..10)
        .map(|_| {
            let mutex = Arc::clone(&mutex);
            runtime.spawn(move || a_wait_deep_down(3, &mutex))
        })
        .collect();
    help::dump::until_shown(waiters.iter().map(|waiter| waiter.thread()), "mutex");
    let all = threads();
    for waiter in &waiters {
        let thread = &all[&waiter.thread().id()];
        assert_eq!(thread.status(), ThreadStatus::Waiting("mutex"));
        assert!(!STACKS || thread.frames().len() > 5, "{thread:?}");
    }
    drop(locked);
    waiters.into_iter().for_each(|waiter| assert_eq!(waiter.join().unwrap(), 3));
}

/// In a child: a program that a shell starts in the background has SIGQUIT ignored.
fn does_not_ignore_quit() {
    // SAFETY: nobody has set a handler in this process.
    unsafe { libc::signal(libc::SIGQUIT, libc::SIG_DFL) };
}

/// In a child: raises SIGQUIT while every worker is stuck, and waits for a dump on standard error. `prepare` is called before.
fn quits_after(prepare: impl FnOnce()) {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::FileExt;

    let path = std::env::temp_dir().join(format!("green-dump-{}", std::process::id()));
    let file = std::fs::OpenOptions::new().read(true).append(true).create(true).open(&path).unwrap();
    // SAFETY: both are open.
    assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), 2) }, 2);
    let runtime = help::runtime(1);
    let waits = green::thread::Builder::new().name("in vain".to_owned());
    let waits = runtime.run(|| waits.spawn(green::thread::park).unwrap());
    help::until_parked(waits.thread(), "park");
    let stuck = Arc::new(AtomicBool::new(false));
    let sticks = Arc::clone(&stuck);
    runtime.spawn(move || {
        sticks.store(true, Ordering::SeqCst);
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    help::spin_until("a stuck worker", || stuck.load(Ordering::SeqCst));
    prepare();
    // The file is open: there may be no other descriptor.
    let written = || {
        let mut bytes = vec![0; 1 << 20];
        let len = file.read_at(&mut bytes, 0).unwrap();
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    };
    for dumps in 1..=2 {
        // SAFETY: raises a signal that is handled.
        unsafe { libc::raise(libc::SIGQUIT) };
        help::spin_until("a dump", || written().matches("\"in vain\"\n").count() == dumps);
    }
    assert!(written().contains("waits: park"));
    std::fs::remove_file(path).unwrap();
    std::process::exit(0);
}

fn quits() {
    quits_after(|| ());
}

#[test]
fn a_program_that_has_used_up_its_descriptors_is_dumped_by_signal() {
    let asks = || {
        does_not_ignore_quit();
        green::dump::on_signal(libc::SIGQUIT).unwrap();
        quits_after(|| {
            let none = libc::rlimit { rlim_cur: 3, rlim_max: 3 };
            // SAFETY: a valid limit. What is open stays open.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const none) }, 0);
            std::fs::File::open("/dev/null").unwrap_err();
        });
    };
    help::in_a_child(&[], asks).assert_success();
}

#[test]
fn a_signal_to_a_child_of_fork_does_not_dump_the_parent() {
    use std::os::fd::AsRawFd;

    let forks = || {
        does_not_ignore_quit();
        green::dump::on_signal(libc::SIGQUIT).unwrap();
        let path = std::env::temp_dir().join(format!("green-dump-of-fork-{}", std::process::id()));
        let file = std::fs::File::create(&path).unwrap();
        // SAFETY: both are open.
        assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), 2) }, 2);
        help::runtime(1).run(|| {
            // SAFETY: the child calls nothing but what may be called in one.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: as above.
                unsafe {
                    libc::raise(libc::SIGQUIT);
                    libc::_exit(0)
                }
            }
            let mut status = 0;
            // SAFETY: its own child, and room for the status.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0);
        });
        // SAFETY: raises a signal that is handled.
        unsafe { libc::raise(libc::SIGQUIT) };
        let dumps = || std::fs::read_to_string(&path).unwrap().matches("green threads:").count();
        help::spin_until("a dump", || dumps() > 0);
        // Two would be written one after the other.
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(dumps(), 1);
        std::fs::remove_file(path).unwrap();
    };
    help::in_a_child(&[], forks).assert_success();
}

#[test]
fn a_signal_that_is_asked_for_has_a_dump_written_though_every_worker_is_stuck_and_the_program_goes_on() {
    let asks = || {
        does_not_ignore_quit();
        // One that is refused takes nothing away.
        green::dump::on_signal(libc::SIGKILL).unwrap_err();
        green::dump::on_signal(libc::SIGQUIT).unwrap();
        quits();
    };
    help::in_a_child(&[], asks).assert_success();
}

#[test]
fn the_variable_asks_for_a_dump_by_signal() {
    let quits = || {
        does_not_ignore_quit();
        quits();
    };
    help::in_a_child(&[("GREEN_DUMP", "quit")], quits).assert_success();
}
