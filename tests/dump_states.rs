//! What `green::dump` says of threads that run, are ready, or have not started: whether they are there, which they are, and where.
#![cfg(not(miri))]

mod help;

use std::cell::Cell;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::{Duration, Instant};

use green::dump::{ThreadInfo, ThreadStatus, for_each};
use green::thread::{Builder, Thread};
use green::{Runtime, ThreadLocals};

/// Has the machine stacks to show?
const STACKS: bool = cfg!(all(
    feature = "backtrace",
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(green_sanitized),
    green_backend = "asm"
));

/// So also if the test fails.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// With both kinds of threads, where there are two.
fn kinds() -> impl Iterator<Item = ThreadLocals> {
    let own = ThreadLocals::supported().is_ok().then_some(ThreadLocals::PerThread);
    [ThreadLocals::PerWorker].into_iter().chain(own)
}

fn runtime(kind: ThreadLocals, workers: usize) -> Runtime {
    Runtime::builder().workers(workers).spare_workers(0).thread_locals(kind).build().unwrap()
}

fn all() -> Vec<ThreadInfo> {
    let mut all = Vec::new();
    for_each(|thread| {
        all.push(thread.clone());
        Ok(())
    })
    .unwrap();
    all
}

fn info(thread: &Thread) -> Option<ThreadInfo> {
    all().into_iter().find(|met| met.id() == thread.id())
}

fn text() -> String {
    let mut text = Vec::new();
    green::dump::text(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// The group of the threads whose stack has this function.
fn group_with(function: &str) -> Option<String> {
    text().split("\n\n").find(|group| group.contains(function)).map(str::to_owned)
}

#[test]
fn a_thread_that_was_given_to_a_worker_which_is_stuck_is_shown_as_unstarted() {
    help::bounded(|| while !shows_those_that_were_given() {});
}

/// False: none was given away before its worker was stuck.
fn shows_those_that_were_given() -> bool {
    let runtime = runtime(ThreadLocals::PerWorker, 2);
    let (is_stuck, over) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|s| {
        let _over = SetAtEnd(&over);
        s.spawn(|| {
            runtime.run(|| {
                is_stuck.store(true, Ordering::SeqCst);
                help::spin_until("the end of the test", || over.load(Ordering::SeqCst));
            });
        });
        help::spin_until("a stuck worker", || is_stuck.load(Ordering::SeqCst));
        let threads = runtime.run(|| {
            let threads: Vec<_> = (0..40).map(|_| green::spawn(green::thread::park)).collect();
            (0..20).for_each(|_| green::yield_now());
            threads
        });
        let given = runtime.metrics().workers.iter().map(|worker| worker.given).sum::<u64>();
        for _ in 0..3 {
            let all = all();
            let status = |thread: &green::thread::JoinHandle<()>| {
                let found = all.iter().filter(|met| met.id() == thread.thread().id()).collect::<Vec<_>>();
                assert_eq!(found.len(), 1, "{thread:?}");
                found[0].status()
            };
            let unstarted = threads.iter().filter(|thread| status(thread) == ThreadStatus::Unstarted).count();
            assert!(unstarted as u64 >= given, "{unstarted} of {given}");
        }
        over.store(true, Ordering::SeqCst);
        threads.iter().for_each(|thread| thread.thread().unpark());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        given > 0
    })
}

/// How many unstarted threads a dump shows that were spawned in these lines of this file: other tests have others.
fn unstarted_of(lines: &Range<u32>) -> usize {
    let is_of_them = |met: &&ThreadInfo| met.spawned_at().file() == file!() && lines.contains(&met.spawned_at().line());
    all().iter().filter(is_of_them).filter(|met| met.status() == ThreadStatus::Unstarted).count()
}

#[test]
fn dumps_at_one_time_show_every_unstarted_thread() {
    // By itself: a dump beside it would have all of its threads to show.
    help::in_a_child(&[], show_every_unstarted_thread_at_one_time).assert_success();
}

fn show_every_unstarted_thread_at_one_time() {
    const THREADS: usize = if cfg!(green_emulated) { 1_000 } else { 20_000 };
    const DUMPS: usize = 3;
    let runtime = runtime(ThreadLocals::PerWorker, 1);
    let (is_ready, over) = (AtomicBool::new(false), AtomicBool::new(false));
    let together = Barrier::new(DUMPS);
    // All of this function.
    let lines = line!()..line!() + 40;
    std::thread::scope(|s| {
        let _over = SetAtEnd(&over);
        s.spawn(|| {
            runtime.run(|| {
                // Half of them are in the worker's own queue.
                let threads: Vec<_> = (0..THREADS / 2).map(|_| green::spawn(|| ())).collect();
                is_ready.store(true, Ordering::SeqCst);
                help::spin_until("the end of the test", || over.load(Ordering::SeqCst));
                threads.into_iter().for_each(|thread| thread.join().unwrap());
            });
        });
        help::spin_until("a stuck worker", || is_ready.load(Ordering::SeqCst));
        let outside: Vec<_> = (0..THREADS / 2).map(|_| runtime.spawn(|| ())).collect();
        let dump_often = || {
            let dump = |_| {
                together.wait();
                unstarted_of(&lines)
            };
            (0..5).map(dump).collect::<Vec<_>>()
        };
        let dumps: Vec<_> = (0..DUMPS).map(|_| s.spawn(dump_often)).collect();
        let found: Vec<_> = dumps.into_iter().map(|dump| dump.join().unwrap()).collect();
        assert!(found.iter().flatten().all(|count| *count == THREADS), "{found:?}");
        over.store(true, Ordering::SeqCst);
        outside.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_thread_with_calls_at_its_switches_that_has_started_is_never_shown_as_unstarted() {
    let runtime = runtime(ThreadLocals::PerWorker, 1);
    let over = Arc::new(AtomicBool::new(false));
    let _over = SetAtEnd(&over);
    let (begin, begun) = mpsc::channel();
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let (over, begin) = (Arc::clone(&over), begin.clone());
            let body = move || {
                begin.send(()).unwrap();
                while !over.load(Ordering::Relaxed) {
                    green::yield_now();
                }
            };
            runtime.run(|| Builder::new().on_switch((|| (), || ())).spawn(body).unwrap())
        })
        .collect();
    (0..3).for_each(|_| begun.recv().unwrap());
    let start = Instant::now();
    let mut running = 0;
    while start.elapsed() < Duration::from_millis(700) || running == 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "none is met while it runs");
        for thread in threads.iter().filter_map(|thread| info(thread.thread())) {
            assert_ne!(thread.status(), ThreadStatus::Unstarted, "{thread:?}");
            running += usize::from(thread.status() == ThreadStatus::Running(0));
        }
    }
    over.store(true, Ordering::SeqCst);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Stands on its stack so deep, and yields.
#[inline(never)]
fn yields_deep_down(depth: usize, over: &AtomicBool) -> usize {
    if depth > 0 {
        return std::hint::black_box(yields_deep_down(depth - 1, over)) + 1;
    }
    while !over.load(Ordering::Relaxed) {
        green::yield_now();
    }
    0
}

#[inline(never)]
fn joins_deep_down(depth: usize, child: green::thread::JoinHandle<()>) -> usize {
    if depth > 0 {
        return std::hint::black_box(joins_deep_down(depth - 1, child)) + 1;
    }
    child.join().unwrap();
    0
}

/// Stands there until the test is over.
#[inline(never)]
fn is_stuck(over: &AtomicBool) {
    help::spin_until("the end of the test", || over.load(Ordering::SeqCst));
}

#[test]
fn a_thread_that_is_ready_behind_one_that_computes_is_shown_with_its_stack() {
    for kind in kinds() {
        let runtime = runtime(kind, 1);
        let over = Arc::new(AtomicBool::new(false));
        let _over = SetAtEnd(&over);
        let (begin, begun) = mpsc::channel();
        let ready = {
            let over = Arc::clone(&over);
            runtime.spawn(move || {
                begin.send(()).unwrap();
                yields_deep_down(3, &over)
            })
        };
        begun.recv().unwrap();
        let stuck = {
            let over = Arc::clone(&over);
            runtime.spawn(move || is_stuck(&over))
        };
        help::spin_until("a thread that computes", || {
            info(stuck.thread()).is_some_and(|stuck| stuck.status() == ThreadStatus::Running(0))
        });
        let thread = info(ready.thread()).unwrap();
        assert_eq!(thread.status(), ThreadStatus::Ready, "{kind:?}");
        if STACKS {
            let group = group_with("yields_deep_down").unwrap_or_else(|| panic!("{kind:?}: no such stack"));
            assert!(group.starts_with("1 thread, ready, "), "{kind:?}: {group}");
            assert_eq!(group.matches("yields_deep_down").count(), 4, "{kind:?}: {group}");
        }
        over.store(true, Ordering::SeqCst);
        stuck.join().unwrap();
        assert_eq!(ready.join().unwrap(), 3);
    }
}

#[test]
fn a_thread_beneath_one_that_it_joins_is_shown_with_the_stack_on_which_it_stands() {
    for kind in kinds() {
        let runtime = runtime(kind, 1);
        let over = Arc::new(AtomicBool::new(false));
        let _over = SetAtEnd(&over);
        let (begin, begun) = mpsc::channel();
        let first = line!();
        let joins = {
            let over = Arc::clone(&over);
            runtime.spawn(move || {
                // It has been suspended elsewhere before.
                green::yield_now();
                let middle = green::spawn(move || {
                    green::yield_now();
                    let child = green::spawn(move || {
                        begin.send(()).unwrap();
                        is_stuck(&over);
                    });
                    assert_eq!(joins_deep_down(2, child), 2);
                });
                assert_eq!(joins_deep_down(3, middle), 3);
            })
        };
        begun.recv().unwrap();
        let thread = info(joins.thread()).unwrap();
        // The one in the middle has yielded on top of it: so it waits by itself, and only that one is beneath.
        assert_eq!(thread.status(), ThreadStatus::Waiting("join"), "{kind:?}");
        assert_eq!(unstarted_of(&(first..line!())), 0, "{kind:?}: all have started");
        if STACKS && kind == ThreadLocals::PerWorker {
            let text = text();
            let group = text.split("\n\n").find(|group| group.matches("joins_deep_down").count() == 3);
            let group = group.unwrap_or_else(|| panic!("no such stack in {text}"));
            assert!(group.starts_with("1 thread, ready, "), "{group}");
        }
        over.store(true, Ordering::SeqCst);
        joins.join().unwrap();
    }
}

#[test]
fn two_threads_beneath_one_that_runs_have_stacks_of_their_own() {
    let runtime = runtime(ThreadLocals::PerWorker, 1);
    let over = Arc::new(AtomicBool::new(false));
    let _over = SetAtEnd(&over);
    let (begin, begun) = mpsc::channel();
    let joins = {
        let over = Arc::clone(&over);
        runtime.spawn(move || {
            let middle = green::spawn(move || {
                let child = green::spawn(move || {
                    begin.send(()).unwrap();
                    is_stuck(&over);
                });
                assert_eq!(joins_deep_down(5, child), 5);
            });
            assert_eq!(joins_deep_down(8, middle), 8);
        })
    };
    begun.recv().unwrap();
    let text = text();
    for depth in [5, 8] {
        let has_them = |group: &&str| group.matches("joins_deep_down").count() == depth + 1;
        let group = text.split("\n\n").find(has_them);
        assert!(!STACKS || group.is_some_and(|group| group.starts_with("1 thread, ready, ")), "{depth}: {text}");
    }
    over.store(true, Ordering::SeqCst);
    joins.join().unwrap();
}

#[test]
fn the_stack_of_a_thread_that_is_ready_is_whole_or_absent_while_all_go_on() {
    for (kind, workers) in kinds().flat_map(|kind| [(kind, 1), (kind, 3)]) {
        let runtime = runtime(kind, workers);
        let over = Arc::new(AtomicBool::new(false));
        let _over = SetAtEnd(&over);
        let threads: Vec<_> = (0..20)
            .map(|depth| {
                let over = Arc::clone(&over);
                let body = move || {
                    while !over.load(Ordering::Relaxed) {
                        // It goes up and down its stack.
                        assert_eq!(yields_a_while(depth % 7), depth % 7);
                        green::spawn(|| ()).join().unwrap();
                    }
                };
                runtime.run(|| Builder::new().name(format!("yields {depth}")).spawn(body).unwrap())
            })
            .collect();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(400) {
            for thread in all().iter().filter(|thread| thread.status() == ThreadStatus::Ready) {
                let Some(depth) = thread.name().and_then(|name| name.strip_prefix("yields ")) else { continue };
                let depth = depth.parse::<usize>().unwrap() % 7;
                let repeated = |frame: &usize| thread.frames().iter().filter(|other| *other == frame).count();
                let most = thread.frames().iter().map(repeated).max().unwrap_or_default();
                assert!(most <= depth.max(1), "{kind:?} {workers}: {depth} {thread:?}");
            }
        }
        over.store(true, Ordering::SeqCst);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[inline(never)]
fn yields_a_while(depth: usize) -> usize {
    if depth > 0 {
        return std::hint::black_box(yields_a_while(depth - 1)) + 1;
    }
    (0..3).for_each(|_| green::yield_now());
    0
}

/// In a child of the test below, whose file has no symbols.
#[test]
fn shows_itself_without_symbols() {
    if std::env::var_os("GREEN_TEST_STRIPPED").is_none() {
        return;
    }
    let waits = green::spawn(green::thread::park);
    help::until_parked(waits.thread(), "park");
    let mut json = Vec::new();
    green::dump::json(&mut json).unwrap();
    println!("{}{}", text(), String::from_utf8(json).unwrap());
    waits.thread().unpark();
    waits.join().unwrap();
}

#[test]
fn a_program_without_symbols_shows_in_which_file_a_function_is_and_where() {
    // The tool is for this machine's files.
    if !STACKS || help::EMULATED {
        return;
    }
    let here = std::env::current_exe().unwrap();
    let name = format!("green-stripped-{}", std::process::id());
    let stripped = std::env::temp_dir().join(&name);
    std::fs::copy(&here, &stripped).unwrap();
    assert!(std::process::Command::new("strip").arg(&stripped).status().unwrap().success());
    let mut child = help::command(&stripped);
    child.args(["--exact", "--nocapture", "shows_itself_without_symbols"]).env("GREEN_TEST_STRIPPED", "1");
    let output = child.output().unwrap();
    std::fs::remove_file(&stripped).unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{shown}");
    assert!(shown.matches(&format!("{name}+0x")).count() > 3, "{shown}");
    assert!(shown.contains(&format!(r#"{name}","offset":"0x"#)), "{shown}");
}

#[test]
fn a_dump_that_comes_to_no_end_keeps_no_other_from_being_made() {
    for (kind, workers) in kinds().flat_map(|kind| [(kind, 1), (kind, 2)]) {
        let runtime = runtime(kind, workers);
        let threads: Vec<_> = (0..200).map(|_| runtime.spawn(green::thread::park)).collect();
        threads.iter().for_each(|thread| help::until_parked(thread.thread(), "park"));
        let (go_on, goes_on) = mpsc::channel::<()>();
        let (stand, stands) = mpsc::channel();
        std::thread::scope(|s| {
            // It goes first if the test fails.
            let (go_on, threads) = (go_on, &threads);
            let slow = s.spawn(move || {
                let mut met = 0;
                for_each(|thread| {
                    // Other tests have other threads.
                    let is_of_these = threads.iter().any(|other| other.thread().id() == thread.id());
                    met += usize::from(is_of_these);
                    if is_of_these && met == 100 {
                        stand.send(()).unwrap();
                        // Also if the test fails.
                        _ = goes_on.recv();
                    }
                    Ok(())
                })
                .map(|()| met)
            });
            stands.recv().unwrap();
            let of_these = |all: &[ThreadInfo]| {
                threads.iter().filter(|thread| all.iter().any(|met| met.id() == thread.thread().id())).count()
            };
            assert_eq!(of_these(&all()), 200, "{kind:?} {workers}");
            // One within the other.
            let mut inner = 0;
            for_each(|_| {
                for_each(|_| {
                    inner += 1;
                    Err(io::Error::other("enough"))
                })
                .unwrap_err();
                Ok(())
            })
            .unwrap();
            assert!(inner >= 200);
            // Threads that end meanwhile are absent, the others are there.
            threads[..50].iter().chain(&threads[150..]).for_each(|thread| thread.thread().unpark());
            help::spin_until("their end", || threads.iter().filter(|thread| thread.is_finished()).count() == 100);
            assert_eq!(of_these(&all()), 100);
            go_on.send(()).unwrap();
            assert!((100..=200).contains(&slow.join().unwrap().unwrap()));
        });
        threads.iter().for_each(|thread| thread.thread().unpark());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn runtimes_that_end_during_a_dump_end() {
    let over = AtomicBool::new(false);
    std::thread::scope(|s| {
        let makes = s.spawn(|| {
            for _ in 0..help::scaled(160) {
                let runtime = help::runtime(2);
                (0..20).for_each(|_| drop(runtime.spawn(green::thread::park)));
            }
            over.store(true, Ordering::Relaxed);
        });
        while !over.load(Ordering::Relaxed) && !makes.is_finished() {
            for_each(|_| Ok(())).unwrap();
        }
    });
}

/// Of two OS threads that make dumps: how many each has made, and whether it makes no more.
#[derive(Default)]
struct TwoDumpers {
    dumps: [AtomicUsize; 2],
    are_over: [AtomicBool; 2],
    /// One waits for the other, in a dump.
    waits: AtomicBool,
    has_waited: AtomicUsize,
}

thread_local! {
    static DUMPER: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Where a dump discards it, it waits there for the other one.
struct WaitsForADump(Arc<TwoDumpers>);

impl Drop for WaitsForADump {
    fn drop(&mut self) {
        let Some(own) = DUMPER.get() else { return };
        // Not each for the other.
        if self.0.waits.swap(true, Ordering::SeqCst) {
            return;
        }
        let dumps = || self.0.dumps[1 - own].load(Ordering::SeqCst);
        let before = dumps();
        let is_over = || self.0.are_over[1 - own].load(Ordering::SeqCst);
        help::spin_until("the other dump", || dumps() != before || is_over());
        self.0.has_waited.fetch_add(1, Ordering::SeqCst);
        self.0.waits.store(false, Ordering::SeqCst);
    }
}

#[test]
fn a_closure_that_a_dump_discards_at_a_runtimes_end_may_wait_for_another_dump() {
    // By itself: dumps beside it would hang with it.
    let in_child = || {
        let dumpers = Arc::new(TwoDumpers::default());
        // A dump has a closure in its hand at the moment in which the runtime ends: not in each round.
        let (start, waited) = (Instant::now(), || dumpers.has_waited.load(Ordering::SeqCst));
        while waited() < 1 || waited() < 4 && start.elapsed() < help::BOUND / 3 {
            end_a_runtime_during_dumps(&dumpers);
        }
    };
    help::in_a_child(&[], in_child).assert_success();
}

fn end_a_runtime_during_dumps(dumpers: &Arc<TwoDumpers>) {
    let runtime = runtime(ThreadLocals::PerWorker, 1);
    let (begin, begun) = mpsc::channel();
    let over = Arc::new(AtomicBool::new(false));
    let stays = Arc::clone(&over);
    drop(runtime.spawn(move || {
        begin.send(()).unwrap();
        is_stuck(&stays);
    }));
    begun.recv().unwrap();
    for _ in 0..1000 {
        let waits = WaitsForADump(Arc::clone(dumpers));
        drop(runtime.spawn(move || drop(waits)));
    }
    let has_ended = AtomicBool::new(false);
    std::thread::scope(|s| {
        for own in 0..2 {
            let has_ended = &has_ended;
            dumpers.are_over[own].store(false, Ordering::SeqCst);
            s.spawn(move || {
                DUMPER.set(Some(own));
                while !has_ended.load(Ordering::SeqCst) {
                    text();
                    dumpers.dumps[own].fetch_add(1, Ordering::SeqCst);
                }
                dumpers.are_over[own].store(true, Ordering::SeqCst);
            });
        }
        s.spawn(|| {
            drop(runtime);
            has_ended.store(true, Ordering::SeqCst);
        });
        // Time to tell the worker that it is to end, before it comes to the closures.
        std::thread::sleep(Duration::from_millis(1));
        over.store(true, Ordering::SeqCst);
    });
}
