//! Which workers are reported as stalled, and what is said of them.
#![cfg(all(not(miri), target_os = "linux"))]

mod help;
#[path = "stall/hook.rs"]
mod hook;
#[path = "stall/limits.rs"]
mod limits;
#[path = "stall/moving.rs"]
mod moving;
#[cfg(not(green_emulated))]
#[path = "stall/processors.rs"]
mod processors;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use green::stall::{Stall, StallCause};
use green::thread::{Builder, Thread};
use green::{Runtime, RuntimeBuilder, ThreadLocals};

/// Is it known what a worker does?
const ASKS: bool =
    cfg!(all(green_backend = "asm", not(green_sanitized), any(target_arch = "x86_64", target_arch = "aarch64")));
const STACKS: bool = ASKS && cfg!(feature = "backtrace");

/// The hook is the process's: one test at a time.
struct Reports(#[expect(dead_code, reason = "held")] MutexGuard<'static, ()>);

static ALONE: Mutex<()> = Mutex::new(());
static SEEN: Mutex<VecDeque<Stall>> = Mutex::new(VecDeque::new());

impl Reports {
    fn new() -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        static HOOK: Once = Once::new();
        HOOK.call_once(|| green::stall::set_hook(|stall| SEEN.lock().unwrap().push_back(stall.clone())));
        SEEN.lock().unwrap().clear();
        Self(alone)
    }

    /// The reports of this thread.
    fn of(&self, thread: &Thread) -> Vec<Stall> {
        SEEN.lock().unwrap().iter().filter(|stall| stall.thread_id() == Some(thread.id())).cloned().collect()
    }

    fn any(&self) -> bool {
        !SEEN.lock().unwrap().is_empty()
    }
}

/// A runtime that is watched.
fn watched(workers: usize) -> RuntimeBuilder {
    Runtime::builder().workers(workers).stall_limit(Duration::from_millis(20))
}

/// Without a spare one, which might run what stalls and leave the other one to what waits.
fn one_worker() -> Runtime {
    watched(1).spare_workers(0).build().unwrap()
}

/// Has threads stall, each as long as `stalls` says while `go_on` is not called, until the one is reported that `is` wants. A worker that gets no processor at the moment
/// says nothing of itself.
#[track_caller]
fn is_reported(runtime: &Runtime, is: fn(&Stall) -> bool, stalls: fn(&AtomicBool)) -> Stall {
    let reports = Reports::new();
    let (start, long) = (Instant::now(), Duration::from_secs(if help::EMULATED { 120 } else { 60 }));
    loop {
        SEEN.lock().unwrap().clear();
        let over = Arc::new(AtomicBool::new(false));
        let _over = SetAtEnd(Arc::clone(&over));
        let (until, begun) = (Arc::clone(&over), Arc::new(AtomicBool::new(false)));
        let begins = Arc::clone(&begun);
        let body = move || {
            begins.store(true, Ordering::SeqCst);
            stalls(&until);
        };
        let thread = runtime.run(|| Builder::new().name("stalls".to_owned()).spawn(body).unwrap());
        // What waits must not be started first.
        help::spin_until("the thread", || begun.load(Ordering::SeqCst));
        let waits = runtime.spawn(|| ());
        help::spin_until("a report", || reports.any());
        over.store(true, Ordering::SeqCst);
        waits.join().unwrap();
        let id = thread.thread().clone();
        thread.join().unwrap();
        let found = reports.of(&id).into_iter().find(is);
        if let Some(stall) = found {
            return stall;
        }
        assert!(start.elapsed() < long, "no such report: {:?}", SEEN.lock().unwrap());
    }
}

/// So also if the test fails: else the end of the runtime would wait for ever.
struct SetAtEnd(Arc<AtomicBool>);

impl Drop for SetAtEnd {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[inline(never)]
fn computes(over: &AtomicBool) {
    while !over.load(Ordering::SeqCst) {
        std::hint::spin_loop();
    }
}

fn sleeps(over: &AtomicBool) {
    while !over.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A worker that gets no processor for some time does not say where it stands.
fn computes_with_stack(stall: &Stall) -> bool {
    stall.cause() == StallCause::Computes && (!STACKS || stall.frames().len() > 3)
}

fn check(stall: &Stall) {
    assert_eq!((stall.worker(), stall.thread_name()), (0, Some("stalls")), "{stall:?}");
    assert!(stall.spawned_at().unwrap().file().ends_with("stall.rs"), "{stall:?}");
    assert!(stall.duration() >= Duration::from_millis(20), "{stall:?}");
    let begins = format!("worker 0 of {} stalled for ", stall.runtime());
    assert!(stall.to_string().starts_with(&begins), "{stall}");
}

#[test]
fn a_thread_that_computes_while_another_waits_is_reported_with_its_stack() {
    if ASKS {
        let computes = is_reported(&one_worker(), computes_with_stack, computes);
        check(&computes);
    }
}

#[test]
fn a_thread_in_a_system_call_is_reported_with_the_call() {
    if ASKS {
        let is_sleep = |stall: &Stall| matches!(stall.cause(), StallCause::SystemCall { .. });
        let sleeps = is_reported(&one_worker(), is_sleep, sleeps);
        check(&sleeps);
        assert!(sleeps.to_string().contains("nanosleep") || help::EMULATED, "{sleeps}");
    }
}

#[test]
fn a_thread_that_waits_for_a_lock_of_stds_is_reported_so() {
    static LOCK: Mutex<()> = Mutex::new(());
    // The number of a system call there is another machine's.
    if !ASKS || help::EMULATED {
        return;
    }
    let waits = |over: &AtomicBool| {
        while !over.load(Ordering::SeqCst) {
            // Another OS thread has it for a while.
            let has = AtomicBool::new(false);
            std::thread::scope(|s| {
                s.spawn(|| {
                    let _has = LOCK.lock();
                    has.store(true, Ordering::SeqCst);
                    let start = Instant::now();
                    while !over.load(Ordering::SeqCst) && start.elapsed() < Duration::from_secs(20) {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                });
                while !has.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
                let _waits = LOCK.lock();
            });
        }
    };
    check(&is_reported(&one_worker(), |stall| stall.cause() == StallCause::Lock, waits));
}

/// How often each OS thread of that name has slept.
#[cfg(not(green_emulated))]
fn sleeps_of(name: &str) -> Vec<u64> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let named = tasks.filter(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name));
    let status = named.filter_map(|task| std::fs::read_to_string(task.join("status")).ok());
    let count = |status: String| {
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:").map(str::to_owned));
        line.expect("Linux tells it").trim().parse().expect("a number")
    };
    status.map(count).collect()
}

#[cfg(not(green_emulated))]
#[test]
fn there_is_one_monitor_for_all_runtimes_and_it_sleeps_while_nothing_runs() {
    let ended = help::in_a_child(&[], || {
        let runtimes = [watched(1).build().unwrap(), watched(2).build().unwrap()];
        runtimes.iter().for_each(|runtime| runtime.run(|| ()));
        let all = || sleeps_of("green-monitor");
        help::spin_until("the monitor", || !all().is_empty());
        assert_eq!(all().len(), 1);
        // Of looks there would be 150 in that time.
        let looks_in_a_second = || {
            let before = all()[0];
            std::thread::sleep(Duration::from_secs(1));
            all()[0] - before
        };
        help::spin_until("its sleep", || looks_in_a_second() <= 10);
        // A worker that gets busy wakes it.
        let before = all()[0];
        help::spin_until("its looks", || {
            runtimes[0].run(|| ());
            all()[0] > before + 10
        });
        assert_eq!(all().len(), 1);
    });
    ended.assert_success();
}

#[test]
fn a_thread_with_thread_locals_of_its_own_is_reported_as_any() {
    if ASKS && ThreadLocals::supported().is_ok() {
        let builder = watched(1).spare_workers(0).thread_locals(ThreadLocals::PerThread);
        check(&is_reported(&builder.build().unwrap(), computes_with_stack, computes));
    }
}

/// Is a thread reported that computes while one that `waits` has begun to wait lives on its worker?
fn while_one(waits: fn(&AtomicBool), reported: bool) {
    let reports = Reports::new();
    let runtime = one_worker();
    for _ in 0..200 {
        let done = AtomicBool::new(false);
        let thread = runtime.run(|| {
            green::scope(|scope| {
                scope.spawn(|| waits(&done));
                // It starts, and waits.
                green::yield_now();
                let start = Instant::now();
                while start.elapsed() < Duration::from_millis(150) {
                    std::hint::spin_loop();
                }
                done.store(true, Ordering::SeqCst);
                green::thread::current()
            })
        });
        if !reported {
            return assert!(reports.of(&thread).is_empty(), "{:?}", reports.of(&thread));
        }
        // A worker that gets no processor does not answer.
        if !reports.of(&thread).is_empty() {
            return;
        }
    }
    panic!("it is not reported");
}

#[test]
fn a_thread_that_is_ready_waits_for_its_worker() {
    if ASKS {
        while_one(|done| (0..4).filter(|_| !done.load(Ordering::SeqCst)).for_each(|_| green::yield_now()), true);
    }
}

#[test]
fn a_timer_that_is_due_waits_for_its_worker() {
    if ASKS {
        while_one(|_| green::sleep(Duration::from_millis(5)), true);
    }
}

#[test]
fn a_thread_that_computes_while_nothing_waits_is_not_reported() {
    while_one(|_| {}, false);
}

/// Computes for many limits, as `f` has prepared it; that is not reported, as nothing waits for it.
fn is_no_stall(f: impl FnOnce() + Send) {
    let reports = Reports::new();
    let runtime = one_worker();
    let thread = runtime.run(|| {
        f();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(200) {
            std::hint::spin_loop();
        }
        green::thread::current()
    });
    assert!(reports.of(&thread).is_empty(), "{:?}", reports.of(&thread));
}

#[test]
fn threads_that_their_joiner_has_run_itself_do_not_wait() {
    is_no_stall(|| {
        let threads: Vec<_> = (0..8).map(|n| green::spawn(move || n)).collect();
        threads.into_iter().for_each(|thread| _ = thread.join().unwrap());
    });
}

#[test]
fn a_timer_that_is_not_due_yet_does_not_wait() {
    let sleeper = Arc::new(Mutex::new(None));
    let handle = Arc::clone(&sleeper);
    is_no_stall(move || {
        *handle.lock().unwrap() = Some(green::spawn(|| green::sleep(Duration::from_secs(3600))));
        green::yield_now();
    });
    let sleeper = sleeper.lock().unwrap().take().unwrap();
    sleeper.cancel();
    assert!(sleeper.join().is_err());
}

#[test]
fn an_event_that_no_thread_waits_for_does_not_wait() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut far = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (near, _) = listener.accept().unwrap();
    let mut near = green::net::TcpStream::from(std::os::fd::OwnedFd::from(near));
    let kept = Arc::new(Mutex::new(None));
    let keeps = Arc::clone(&kept);
    is_no_stall(move || {
        let reads = green::spawn(move || {
            near.read_exact(&mut [0]).unwrap();
            near
        });
        // A second thread that lives here, and waits for no event.
        drop(green::spawn(green::thread::park));
        help::until_parked(reads.thread(), "readable");
        far.write_all(&[1]).unwrap();
        let near = reads.join().unwrap();
        // Nobody reads this.
        far.write_all(&[2]).unwrap();
        *keeps.lock().unwrap() = Some((near, far));
    });
    drop(kept);
}

#[test]
fn each_stall_is_reported_once_and_counted() {
    let reports = Reports::new();
    let runtime = one_worker();
    let start = Instant::now();
    // A monitor that gets no processor sees none.
    while runtime.metrics().workers[0].stalls == 0 {
        let long = runtime.spawn(|| std::thread::sleep(Duration::from_millis(400)));
        let thread = long.thread().clone();
        let waits = runtime.spawn(|| ());
        long.join().unwrap();
        waits.join().unwrap();
        assert!(reports.of(&thread).len() <= 1);
        assert!(start.elapsed() < Duration::from_secs(60), "none is counted");
    }
}

#[test]
fn a_limit_of_zero_is_none() {
    let reports = Reports::new();
    let runtime = Runtime::builder().workers(1).stall_limit(Duration::ZERO).build().unwrap();
    let long = runtime.spawn(|| std::thread::sleep(Duration::from_millis(150)));
    let thread = long.thread().clone();
    runtime.spawn(|| ()).join().unwrap();
    long.join().unwrap();
    assert!(reports.of(&thread).is_empty());
    assert_eq!(runtime.metrics().workers[0].stalls, 0);
}

#[test]
fn a_stall_after_all_have_slept_for_long_is_reported_too() {
    let reports = Reports::new();
    let runtime = watched(2).spare_workers(0).build().unwrap();
    runtime.run(|| ());
    // The monitor sleeps by then.
    std::thread::sleep(Duration::from_millis(500));
    let (over, begun) = (Arc::new(AtomicBool::new(false)), AtomicU32::new(0));
    let stalls = || {
        begun.fetch_add(1, Ordering::SeqCst);
        sleeps(&over);
    };
    std::thread::scope(|s| {
        let _over = SetAtEnd(Arc::clone(&over));
        for _ in 0..2 {
            s.spawn(|| runtime.run(stalls));
        }
        help::spin_until("both", || begun.load(Ordering::SeqCst) == 2);
        let waits = runtime.spawn(|| ());
        help::spin_until("a report", || reports.any());
        over.store(true, Ordering::SeqCst);
        waits.join().unwrap();
    });
}

#[test]
fn by_default_standard_error_says_so_and_names_the_functions() {
    use std::os::fd::AsRawFd;

    let in_child = || {
        let path = std::env::temp_dir().join(format!("green-stall-{}", std::process::id()));
        let file = std::fs::File::create(&path).unwrap();
        // SAFETY: both are open.
        assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), 2) }, 2);
        let runtime = one_worker();
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let long = runtime.spawn(move || sleeps(&until));
        let waits = runtime.spawn(|| ());
        let says = |text: &str| std::fs::read_to_string(&path).unwrap().contains(text);
        help::spin_until("a report", || says("green: worker 0 of runtime 0 stalled for "));
        // Once it has stood where it was read for long enough.
        let is_known = || says("green: worker 0 of runtime 0 stands in ") && says("sleep");
        if STACKS && !help::EMULATED && says("system call") {
            help::spin_until("the names of the functions", is_known);
        }
        over.store(true, Ordering::SeqCst);
        long.join().unwrap();
        waits.join().unwrap();
        std::fs::remove_file(path).unwrap();
    };
    help::in_a_child(&[], in_child).assert_success();
}

#[test]
fn the_variable_sets_the_limit_of_the_default_runtime() {
    for limit in ["0", "20"] {
        let ended = help::in_a_child(&[("GREEN_STALL_LIMIT", limit), ("GREEN_WORKERS", "1")], || {
            let seen = Arc::new(AtomicBool::new(false));
            let sees = Arc::clone(&seen);
            green::stall::set_hook(move |_| sees.store(true, Ordering::SeqCst));
            let watched = std::env::var("GREEN_STALL_LIMIT").unwrap() != "0";
            let start = Instant::now();
            while !seen.load(Ordering::SeqCst) && start.elapsed() < Duration::from_secs(if watched { 60 } else { 1 }) {
                green::run(|| {
                    let waits = green::spawn(|| ());
                    std::thread::sleep(Duration::from_millis(300));
                    waits.join().unwrap();
                });
            }
            assert_eq!(seen.load(Ordering::SeqCst), watched);
        });
        ended.assert_success();
    }
}

static URGENT: AtomicU32 = AtomicU32::new(0);

extern "C" fn urgent(_: libc::c_int) {
    URGENT.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn a_handler_of_the_programs_stays_with_its_flags_and_the_thread_is_known_without_a_signal() {
    if !ASKS {
        return;
    }
    let in_child = || {
        let handler = urgent as *const () as libc::sighandler_t;
        let installed = || {
            // SAFETY: zeros are a valid `sigaction`, and a null new action only reads.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                assert_eq!(libc::sigaction(libc::SIGURG, std::ptr::null(), &raw mut action), 0);
                action
            }
        };
        let mut action = installed();
        (action.sa_sigaction, action.sa_flags) = (handler, libc::SA_ONSTACK);
        // SAFETY: a handler that may be called in a signal handler.
        assert_eq!(unsafe { libc::sigaction(libc::SIGURG, &raw const action, std::ptr::null_mut()) }, 0);
        let flags = installed().sa_flags;
        let stall = is_reported(&one_worker(), |stall| stall.cause() == StallCause::Computes, computes);
        assert_eq!((stall.thread_name(), stall.frames()), (Some("stalls"), &[][..]));
        assert_eq!(URGENT.load(Ordering::SeqCst), 0);
        assert_eq!((installed().sa_sigaction, installed().sa_flags), (handler, flags));
        // SAFETY: it is handled.
        unsafe { libc::raise(libc::SIGURG) };
        assert_eq!(URGENT.load(Ordering::SeqCst), 1);
    };
    help::in_a_child(&[], in_child).assert_success();
}

#[test]
fn a_call_that_a_signal_would_end_is_not_interrupted() {
    static ENDED: AtomicU32 = AtomicU32::new(0);
    if !ASKS || help::EMULATED {
        return;
    }
    ENDED.store(0, Ordering::SeqCst);
    let polls = |over: &AtomicBool| {
        while !over.load(Ordering::SeqCst) {
            // SAFETY: no descriptors.
            if unsafe { libc::poll(std::ptr::null_mut(), 0, 300) } != 0 {
                ENDED.fetch_add(1, Ordering::SeqCst);
            }
        }
    };
    let stall = is_reported(&one_worker(), |stall| matches!(stall.cause(), StallCause::SystemCall { .. }), polls);
    check(&stall);
    assert_eq!(ENDED.load(Ordering::SeqCst), 0, "poll has returned EINTR");
}

#[test]
fn a_hook_that_panics_with_what_panics_when_it_is_dropped_does_not_end_the_reports() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let in_child = || {
        static CALLS: AtomicU32 = AtomicU32::new(0);
        green::stall::set_hook(|_| {
            CALLS.fetch_add(1, Ordering::SeqCst);
            std::panic::panic_any(Bomb);
        });
        let runtime = one_worker();
        for calls in 1..=3 {
            let over = Arc::new(AtomicBool::new(false));
            let until = Arc::clone(&over);
            let long = runtime.spawn(move || sleeps(&until));
            let waits = runtime.spawn(|| ());
            help::spin_until("a report", || CALLS.load(Ordering::SeqCst) >= calls);
            over.store(true, Ordering::SeqCst);
            long.join().unwrap();
            waits.join().unwrap();
        }
    };
    help::in_a_child(&[], in_child).assert_success();
}

#[test]
fn a_runtime_of_a_child_of_fork_is_watched_by_a_monitor_of_the_childs() {
    let in_child = || {
        let parents = one_worker();
        parents.run(|| ());
        // SAFETY: the child makes a runtime of its own, and exits.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let seen = Arc::new(AtomicBool::new(false));
            let sees = Arc::clone(&seen);
            green::stall::set_hook(move |_| sees.store(true, Ordering::SeqCst));
            let runtime = one_worker();
            let over = Arc::new(AtomicBool::new(false));
            let until = Arc::clone(&over);
            let _long = runtime.spawn(move || sleeps(&until));
            let _waits = runtime.spawn(|| ());
            help::spin_until("a report", || seen.load(Ordering::SeqCst));
            // SAFETY: no requirements.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: the child is ours.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
    };
    help::in_a_child(&[], in_child).assert_success();
}
