//! What the flight recorder has of a program, when and where it is asked.
#![cfg(not(miri))]

mod help;
#[path = "recorder/triggers.rs"]
mod triggers;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use green::recorder::{Detail, Happening, Trace, Trigger, snapshot, write_on};
use green::sync::Mutex;
use green::thread::{Builder, ThreadId};
use green::{Runtime, channel};

fn recording(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).spare_workers(0).recorder(Detail::All).build().unwrap()
}

/// So also if the test fails: else who looks at it would go on for ever.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What has happened to one thread, in order.
fn of_thread(trace: &Trace, thread: ThreadId) -> Vec<Happening> {
    let is_of = |what: &Happening| {
        use Happening::{Arrives, Ends, Parks, Runs, Spawns, Starts, Wakes};
        match what {
            Starts(id) | Ends(id) | Runs(id) | Parks(id, _) | Wakes(id) | Spawns(id) | Arrives(id) => *id == thread,
            _ => false,
        }
    };
    trace.events().iter().map(|event| event.what).filter(is_of).collect()
}

#[test]
fn the_life_of_a_thread_is_there_with_its_waits_and_who_has_woken_it() {
    let runtime = recording(1);
    let (id, trace) = runtime.run(|| {
        let (sender, receiver) = channel::bounded::<u32>(1);
        let thread = green::spawn(move || receiver.recv().unwrap());
        let id = thread.thread().id();
        help::until_parked(thread.thread(), "channel receive");
        sender.send(7).unwrap();
        assert_eq!(thread.join().unwrap(), 7);
        (id, snapshot())
    });
    use Happening::{Ends, Parks, Runs, Spawns, Starts, Wakes};
    assert_eq!(
        of_thread(&trace, id),
        [Spawns(id), Starts(id), Parks(id, Some("channel receive")), Wakes(id), Runs(id), Ends(id)]
    );
}

#[test]
fn a_thread_that_another_worker_has_woken_says_so_on_both() {
    let runtime = recording(2);
    // A thread on each worker, which may not move: both wait for the other.
    let trace = runtime.run(|| {
        let both = Arc::new(green::sync::Barrier::new(2));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let both = Arc::clone(&both);
                green::spawn(move || {
                    // Without a switch until the other one runs, too: so on another worker.
                    static RUNNING: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
                    RUNNING.fetch_add(1, Ordering::SeqCst);
                    while RUNNING.load(Ordering::SeqCst) < 2 {
                        std::hint::spin_loop();
                    }
                    for _ in 0..20 {
                        both.wait();
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        snapshot()
    });
    let mut wakes: HashMap<ThreadId, usize> = HashMap::new();
    let mut across = 0;
    for event in trace.events() {
        match event.what {
            Happening::Wakes(id) => _ = wakes.insert(id, event.worker.unwrap()),
            Happening::Arrives(id) => across += usize::from(wakes.get(&id).is_some_and(|by| Some(*by) != event.worker)),
            _ => {}
        }
    }
    assert!(across > 0, "{:?}", trace.events());
}

#[test]
fn threads_that_move_are_recorded_by_the_workers_that_run_them() {
    let builder = Runtime::builder().workers(2).spare_workers(0).thread_locals(green::ThreadLocals::PerThread);
    let Ok(runtime) = builder.recorder(Detail::All).recorder_events(1 << 16).build() else { return };
    // A sleep that is over before the thread can wait is none.
    let long = Duration::from_micros(if help::EMULATED { 1000 } else { 50 });
    let trace = runtime.run(|| {
        let mutex = Mutex::new(0);
        green::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let mut count = mutex.lock().unwrap();
                        green::sleep(long);
                        *count += 1;
                    }
                });
            }
        });
        assert_eq!(*mutex.lock().unwrap(), 800);
        snapshot()
    });
    let mut ends: HashMap<ThreadId, u32> = HashMap::new();
    let (mut parks, mut wakes) = (0, 0);
    for event in trace.events() {
        match event.what {
            Happening::Ends(id) => *ends.entry(id).or_default() += 1,
            Happening::Parks(..) => parks += 1,
            Happening::Wakes(_) => wakes += 1,
            _ => {}
        }
    }
    // Those that have told their scope last may not have left their stacks: one on each worker.
    assert!(ends.len() >= 14 && ends.values().all(|times| *times == 1), "{ends:?}");
    assert!(parks >= 800 && wakes >= 16, "{parks} waits, {wakes} wakes");
}

#[test]
fn rare_events_are_there_without_being_asked_for_and_none_at_all_when_it_is_off() {
    let rare = Runtime::builder().workers(1).build().unwrap();
    let (id, trace) = rare.run(|| {
        let thread = Builder::new().name("a reader with a name".into()).spawn(|| ()).unwrap();
        let id = thread.thread().id();
        thread.join().unwrap();
        // Where its time is over before the worker has come to sleep, that does not.
        let trace = RefCell::new(snapshot());
        help::until(|| {
            green::sleep(Duration::from_millis(30));
            trace.replace(snapshot());
            let has = |what| trace.borrow().events().iter().any(|event| event.what == what);
            has(Happening::Sleeps) && has(Happening::GetsUp)
        });
        (id, trace.into_inner())
    });
    assert_eq!(of_thread(&trace, id), [Happening::Starts(id), Happening::Ends(id)]);
    assert_eq!(trace.name_of(id), Some("a reader with a name"));
    assert!(trace.events().iter().any(|event| matches!(event.what, Happening::TimerFires(_))));

    let off = Runtime::builder().workers(1).recorder(Detail::Off).build().unwrap();
    let id = off.run(|| green::thread::current().id());
    let others = off.run(snapshot);
    assert_eq!(of_thread(&others, id), []);
}

#[test]
fn a_small_ring_keeps_the_last_events_and_counts_the_others() {
    let runtime = Runtime::builder().workers(1).recorder(Detail::All).recorder_events(64).build().unwrap();
    let trace = runtime.run(|| {
        for _ in 0..1000 {
            green::spawn(|| ()).join().unwrap();
        }
        snapshot()
    });
    // Other tests of this process have rings of their own.
    assert!(trace.lost() >= 900, "{}", trace.lost());
    assert!(trace.events().is_sorted_by_key(|event| event.at));
}

#[test]
fn a_ring_of_no_size_is_an_error_that_names_it() {
    for events in [0, (1 << 24) + 1] {
        let error = Runtime::builder().recorder_events(events).build().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        assert!(
            error.to_string().contains(&format!("recorder_events = {events} is not within 1 to 16777216")),
            "{error}"
        );
    }
}

#[test]
fn a_bad_variable_is_an_error_that_names_it() {
    const CASES: [(&str, &str, &str); 4] = [
        ("GREEN_RECORDER", "loud", "neither \"off\", \"rare\" nor \"all\""),
        ("GREEN_RECORDER_EVENTS", "0", "not a number from 1 to 16777216"),
        ("GREEN_RECORDER_EVENTS", "16777217", "not a number from 1 to 16777216"),
        ("GREEN_RECORDER_EVENTS", "many", "not a number from 1 to 16777216"),
    ];
    if CASES.iter().any(|(name, value, _)| std::env::var_os(name).is_some_and(|is| is == *value)) {
        green::run(|| ());
    }
    for (name, value, why) in CASES {
        let output = help::itself()
            .args(["--exact", "a_bad_variable_is_an_error_that_names_it", "--nocapture"])
            .env(name, value)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(&format!("{name}=\"{value}\" is {why}")), "{text}");
    }
}

#[test]
fn the_variable_sets_how_many_events_the_default_runtime_keeps() {
    let variables = [("GREEN_RECORDER", "all"), ("GREEN_RECORDER_EVENTS", "64"), ("GREEN_WORKERS", "1")];
    let in_child = || {
        let trace = green::run(|| {
            (0..200).for_each(|_| green::spawn(|| ()).join().unwrap());
            snapshot()
        });
        let kept = trace.events().iter().filter(|event| event.worker.is_some()).count();
        // The one that the next will be written over is given up.
        assert!((63..=64).contains(&kept) && trace.lost() >= 500, "{kept}, and {} before", trace.lost());
    };
    help::in_a_child(&variables, in_child).assert_success();
}

#[test]
fn an_actor_s_messages_begin_and_end() {
    use green::actor::{Actor, Context, Handler, Message};
    struct Adder(u32);
    struct Add(u32);
    impl Actor for Adder {}
    impl Message for Add {
        type Reply = u32;
    }
    impl Handler<Add> for Adder {
        fn handle(&mut self, Add(more): Add, _: &mut Context<Self>) -> u32 {
            green::sleep(Duration::from_millis(5));
            self.0 += more;
            self.0
        }
    }
    let runtime = recording(1);
    let (sent, trace) = runtime.run(|| {
        let adder = Adder(0).start();
        let (sent, trace) = (Cell::new(0), RefCell::new(snapshot()));
        // A sleep that is over before the actor can wait is none.
        help::spin_until("its waits", || {
            assert!(adder.send(Add(1)).is_ok());
            sent.set(sent.get() + 1);
            trace.replace(snapshot());
            let trace = trace.borrow();
            let happened = || trace.events().iter().map(|event| event.what);
            let begins = |what| if let Happening::MessageBegins(id) = what { Some(id) } else { None };
            let actor: HashSet<ThreadId> = happened().filter_map(begins).collect();
            happened().filter(|what| matches!(what, Happening::Parks(id, Some("sleep")) if actor.contains(id))).count()
                >= 3
        });
        (sent.into_inner(), trace.into_inner())
    });
    let count = |what: fn(&Happening) -> bool| trace.events().iter().filter(|event| what(&event.what)).count();
    assert!(count(|what| matches!(what, Happening::MessageBegins(_))) >= sent);
    assert!(count(|what| matches!(what, Happening::MessageEnds(_))) >= sent);
}

#[test]
fn snapshots_are_whole_while_the_workers_write_and_runtimes_come_and_go() {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let builder = Runtime::builder().workers(2).spare_workers(0).recorder(Detail::All);
                let runtime = builder.recorder_events(32).build().unwrap();
                runtime.run(|| {
                    let mutex = Mutex::new(0);
                    green::scope(|scope| {
                        for _ in 0..50 {
                            scope.spawn(|| *mutex.lock().unwrap() += 1);
                        }
                    });
                });
            }
        });
        let _over = SetAtEnd(&over);
        for _ in 0..if cfg!(green_emulated) { 20 } else { 200 } {
            let trace = snapshot();
            assert!(trace.events().is_sorted_by_key(|event| event.at));
            let mut file = Vec::new();
            trace.write_perfetto(&mut file).unwrap();
        }
    });
}

/// A directory of the test's own.
fn directory(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("recorder-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn traces(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Runs a test of this file in a process and a directory of its own, until its panics are in time. What it has said.
fn in_a_process(test: &str, name: &str) -> (PathBuf, String) {
    let start = Instant::now();
    loop {
        let dir = directory(name);
        let mut child = help::itself();
        child.args(["--exact", test, "--nocapture"]).env("RECORDER_DIR", &dir);
        // Backtraces might leave a pipe no room for what is looked for.
        let output = child.env("RUST_BACKTRACE", "0").output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{text}");
        if !text.contains(TOO_LATE) {
            return (dir, text);
        }
        assert!(start.elapsed() < Duration::from_secs(120), "the traces of its panics never come in time: {text}");
    }
}

/// So long a thread that panics waits for its trace.
const PATIENCE: Duration = Duration::from_secs(5);
const TOO_LATE: &str = "a trace came too late";

/// Calls `f`, which panics. Is what it waits for there then?
fn is_in_time(f: impl FnOnce()) -> bool {
    let start = Instant::now();
    f();
    start.elapsed() < PATIENCE
}

/// The traces of panics are so many, each of them whole: at once if these were in time.
#[track_caller]
fn has(dir: &Path, count: usize, in_time: bool) {
    // A link may lead nowhere.
    let whole = || traces(dir).iter().filter(|path| path.exists() && is_whole(path)).count();
    if !in_time {
        help::spin_until("the traces", || whole() == count);
    }
    assert_eq!(whole(), count, "{:?}", traces(dir));
}

/// Calls `f` with the directory, in a process of the test's own; in the test's process returns what that has written.
fn apart(test: &str, f: impl FnOnce(&Path)) -> Option<Vec<PathBuf>> {
    if let Some(dir) = std::env::var_os("RECORDER_DIR") {
        f(Path::new(&dir));
        return None;
    }
    let (dir, _) = in_a_process(test, test);
    Some(traces(&dir))
}

fn is_whole(path: &Path) -> bool {
    let bytes = fs::read(path).unwrap();
    bytes.first() == Some(&0x0a) && bytes.windows(12).any(|window| window == b"end of trace")
}

#[test]
fn a_panic_has_its_trace_written_before_the_thread_goes_on() {
    let written = apart("a_panic_has_its_trace_written_before_the_thread_goes_on", |dir| {
        write_on(Trigger::Panic, dir).unwrap();
        let of_green = || assert!(green::run(|| green::spawn(|| panic!("as it should")).join()).is_err());
        has(dir, 1, is_in_time(of_green));
        // On an OS thread that is no worker, too.
        let of_os = || assert!(std::panic::catch_unwind(|| panic!("as it should")).is_err());
        has(dir, 2, is_in_time(of_os));
    });
    if let Some(written) = written {
        assert!(written.len() == 2 && written.iter().all(|path| is_whole(path)), "{written:?}");
    }
}

#[test]
fn a_signal_has_a_trace_written_though_every_worker_is_stuck() {
    let written = apart("a_signal_has_a_trace_written_though_every_worker_is_stuck", |dir| {
        write_on(Trigger::Signal(libc::SIGUSR1), dir).unwrap();
        let runtime = recording(1);
        let (stuck, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (stuck, over) = (Arc::clone(&stuck), Arc::clone(&over));
            runtime.spawn(move || {
                stuck.store(true, Ordering::SeqCst);
                while !over.load(Ordering::SeqCst) {
                    std::hint::spin_loop();
                }
            })
        };
        while !stuck.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        // SAFETY: `raise` has no conditions.
        assert_eq!(unsafe { libc::raise(libc::SIGUSR1) }, 0);
        let start = Instant::now();
        while !traces(dir).iter().any(|path| is_whole(path)) {
            assert!(start.elapsed() < Duration::from_secs(120), "no trace");
            std::thread::yield_now();
        }
        over.store(true, Ordering::SeqCst);
        thread.join().unwrap();
    });
    if let Some(written) = written {
        assert!(written.len() == 1 && is_whole(&written[0]), "{written:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_stall_has_a_trace_written_while_it_lasts() {
    let written = apart("a_stall_has_a_trace_written_while_it_lasts", |dir| {
        write_on(Trigger::Stall, dir).unwrap();
        let builder = Runtime::builder().workers(1).stall_limit(Duration::from_millis(20)).spare_workers(0);
        let runtime = builder.build().unwrap();
        let start = Instant::now();
        let is_written = |dir: &Path| traces(dir).iter().any(|path| is_whole(path));
        // One that gets no processor has none written: so they may be several.
        loop {
            let place = dir.to_owned();
            let stalls = runtime.spawn(move || {
                let start = Instant::now();
                // In a system call: that needs no processor.
                while !is_written(&place) && start.elapsed() < Duration::from_secs(1) {
                    std::thread::sleep(Duration::from_millis(100));
                }
                is_written(&place)
            });
            let waits = runtime.spawn(|| ());
            waits.join().unwrap();
            if stalls.join().unwrap() {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(120), "no trace");
        }
    });
    if let Some(written) = written {
        let says_it = |path: &PathBuf| fs::read(path).unwrap().windows(15).any(|window| window == b"worker 0 stalls");
        assert!(written.iter().any(|path| is_whole(path) && says_it(path)), "{written:?}");
    }
}

#[test]
#[cfg_attr(green_emulated, ignore = "an emulator has threads of its own, which a child lacks")]
fn a_child_of_fork_has_a_copy_and_asks_its_parents_thread_for_nothing() {
    apart("a_child_of_fork_has_a_copy_and_asks_its_parents_thread_for_nothing", |dir| {
        write_on(Trigger::Panic, dir).unwrap();
        let runtime = recording(1);
        let id = runtime.run(|| green::thread::current().id());
        // The result comes a little before the end.
        help::spin_until("its end", || of_thread(&snapshot(), id).contains(&Happening::Ends(id)));
        // SAFETY: no other thread of this process is in a call: the workers sleep, or look for work.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // One that hangs is ended by SIGALRM.
            // SAFETY: no requirements.
            unsafe { libc::alarm(60) };
            let has_it = of_thread(&snapshot(), id).contains(&Happening::Ends(id));
            let refuses = write_on(Trigger::Stall, dir).is_err();
            // It has nobody to wait for.
            let _ = std::panic::catch_unwind(|| panic!("as it should"));
            // SAFETY: `_exit` has no conditions.
            unsafe { libc::_exit(if has_it && refuses { 0 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: a valid place for the status.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
        assert_eq!(traces(dir), Vec::<PathBuf>::new());
    });
}

#[test]
fn what_cannot_be_written_is_an_error_that_says_so() {
    let error = write_on(Trigger::Panic, file!()).unwrap_err();
    assert!(error.to_string().contains("is no directory"), "{error}");
    let error = write_on(Trigger::Signal(libc::SIGKILL), std::env::temp_dir()).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{error}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_theft_a_gift_a_look_for_events_and_a_stall_are_there() {
    use std::io::{Read, Write};
    let builder = Runtime::builder().workers(2).spare_workers(0).stall_limit(Duration::from_millis(5));
    let runtime = builder.recorder_events(1 << 14).build().unwrap();
    let has = |what: fn(&Happening) -> bool| snapshot().events().iter().any(|event| what(&event.what));
    // The thread that spawns keeps its worker, so the others start on the other one.
    runtime.run(|| {
        green::scope(|scope| {
            let started: Vec<_> = (0..8).map(|_| scope.spawn(|| green::thread::current().id())).collect();
            help::spin_until("a theft", || started.iter().any(|thread| thread.is_finished()));
            let stolen = |id| snapshot().events().iter().any(|event| event.what == Happening::Stolen(id));
            help::spin_until("it in the ring", || started.iter().any(|thread| stolen(thread.thread().id())));
        });
    });
    // Some of those that all yield go to the worker that has none.
    let give = || {
        runtime.run(|| {
            let over = AtomicBool::new(false);
            green::scope(|scope| {
                for _ in 0..40 {
                    scope.spawn(|| {
                        while !over.load(Ordering::Relaxed) {
                            green::yield_now();
                        }
                    });
                }
                (0..100).for_each(|_| green::yield_now());
                over.store(true, Ordering::Relaxed);
            });
        });
        has(|what| matches!(what, Happening::Given(_)))
    };
    help::spin_until("a gift", give);
    let (mut near, mut far) = green::os::unix::net::UnixStream::pair().unwrap();
    let reads = runtime.spawn(move || far.read_exact(&mut [0]).unwrap());
    help::until_parked(reads.thread(), "readable");
    near.write_all(&[7]).unwrap();
    reads.join().unwrap();
    help::spin_until("an event", || has(|what| matches!(what, Happening::Polls(1..))));
    // Both workers are kept, and one more thread waits for them.
    let over = Arc::new(AtomicBool::new(false));
    let _over = SetAtEnd(&over);
    let spins: Vec<_> = (0..2)
        .map(|_| {
            let over = Arc::clone(&over);
            runtime.spawn(move || while !over.load(Ordering::Relaxed) {})
        })
        .collect();
    let waits = runtime.spawn(|| ());
    let limit = Duration::from_millis(5);
    let stall = || {
        let trace = snapshot();
        let of_stall = |what| if let Happening::Stalls(worker, time) = what { Some((worker, time)) } else { None };
        trace.events().iter().find_map(|event| of_stall(event.what).filter(|_| event.worker.is_none()))
    };
    help::spin_until("a stall", || stall().is_some());
    over.store(true, Ordering::Relaxed);
    let (worker, time) = stall().unwrap();
    assert!(worker < 2 && time >= limit, "{worker}, {time:?}");
    spins.into_iter().chain([waits]).for_each(|thread| thread.join().unwrap());
}
